//! Proof of space: look up a challenge in a vault held on disk.
//!
//! `D = derive(space challenge)`. The top `k - 9 - s` bits of its first 8 bytes choose an aligned
//! group of `2^s` buckets; every entry of the group is a try, with quality
//! `tag(D, x1 | x2 << 32) >> (k - 9 - s)`. A proof is:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | k |
//! | 1 | 4 | index, u32 |
//! | 5 | 4 | x1, u32 |
//! | 9 | 4 | x2, u32 |
//!
//! # Invariants
//!
//! 1. A vault of any accepted size counts 2^k tries per challenge, whatever the scan width.
//! 2. Vaults are tried in the order of their indices, entries in the order of the table, so a cap
//!    on attempts names the entries that were tried.
//! 3. A challenge costs one read of each vault; the reads of several are under way at once.

mod census;
mod check;
mod journal;
mod lookup;
mod output;
mod plot;
mod repair;
mod scan;
mod vault;

use std::collections::BTreeSet;

use rayon::{ThreadPool, prelude::*};

pub use self::{
    check::{CheckError, Depth, Report, check, check_on},
    lookup::{Vault, list},
    plot::{PlotError, plot, plot_on},
    repair::{RepairError, Repaired, repair, repair_on},
    scan::Upkeep,
    vault::{ENTRIES_MAX, Fault, Header, PAGE_LEN, VaultError, VaultId},
};
use super::{
    Attempt, Budget, Challenge, Entry, Footprint, Miner, Param, PrepareError, Progress, Proof,
    ProofEngine, ProofKind, ProveError, Prover, Resources, Shape, ThreadsError, Trial, VerifyError,
    file,
    pairs::{Levels, Pair, Size, tags_of, top},
    pool,
};
use crate::{
    hash::{Context, derive},
    tag::Tagger,
    units::{Quality, Target},
};

const KIND: ProofKind = ProofKind::new(1);
const PROOF_LEN: usize = 13;
/// Greatest scan width: a group of the smallest vault is half of it.
const SCAN_MAX: u32 = 6;
/// Most reads under way at once: what one disk takes with profit.
const READS_MAX: usize = 32;

pub(super) const ENTRY: Entry = Entry {
    kind: KIND,
    name: "space",
    summary: "look up a challenge in a vault held on disk",
    params: &[
        Param {
            name: "k",
            summary: "least log2 of the entries of a vault",
            min: Size::MIN as u64,
            max: Size::MAX as u64,
            default: 20,
        },
        Param {
            name: "s",
            summary: "log2 of the buckets scanned per challenge",
            min: 0,
            max: SCAN_MAX as u64,
            default: 0,
        },
    ],
    shape: Shape { fixed_len: PROOF_LEN, item_len: 0, items_max: 0 },
    trial: Trial { params: &[18, 0], attempts_max: u64::MAX, draws: 1 << 18 },
    build: |params| {
        let scan_bits = u32::try_from(params.get("s")).unwrap_or(SCAN_MAX);
        Box::new(ProofOfSpace { size_min: Size::from_param(params.get("k")), scan_bits })
    },
};

#[derive(Debug)]
struct ProofOfSpace {
    size_min: Size,
    scan_bits: u32,
}

/// The pair table of a vault.
fn levels(id: &VaultId) -> Levels {
    let (miner, index) = (&id.miner, id.index.to_le_bytes());
    let identity = [&miner.address.0[..], &miner.fingerprint.0, &[id.k()], &index];
    Levels::new(id.size(), [Context::SpaceTable1, Context::SpaceTable2], &identity)
}

/// What a challenge asks of one vault.
#[derive(Debug)]
struct Question {
    tagger: Tagger,
    /// Bits of a group's number.
    group_bits: u32,
    group: u64,
}

impl Question {
    fn new(challenge: &Challenge, id: &VaultId, scan_bits: u32) -> Self {
        let (miner, index) = (&id.miner, id.index.to_le_bytes());
        let parts = [&challenge.0.0[..], &miner.address.0, &miner.fingerprint.0, &[id.k()], &index];
        let digest = derive(Context::SpaceChallenge, &parts);
        let group_bits = id.bucket_bits().saturating_sub(scan_bits);
        let group = top(digest.first64(), group_bits);
        Self { tagger: Tagger::new(digest.as_bytes()), group_bits, group }
    }

    /// The quality of a try: one stands for all the groups that were not scanned.
    fn quality(&self, tag: u64) -> Quality {
        Quality(tag.checked_shr(self.group_bits).unwrap_or_default())
    }
}

impl ProofOfSpace {
    fn size(&self, asked: Option<u8>) -> Result<Size, PrepareError> {
        let (min, max) = (self.size_min.k(), Size::MAX);
        let got = asked.unwrap_or(min);
        let size = Size::new(got).filter(|&size| size >= self.size_min);
        size.ok_or(PrepareError::Size { got, min, max })
    }

    /// Reads a proof's vault and pair.
    fn parse(&self, miner: &Miner, bytes: &[u8]) -> Result<(VaultId, Pair), VerifyError> {
        let split = bytes.split_first_chunk().and_then(|([k], rest)| {
            rest.split_first_chunk().map(|(index, pair)| (*k, *index, pair))
        });
        let wrong = VerifyError::Length { got: bytes.len(), expected: PROOF_LEN };
        let (k, index, pair) = split.ok_or_else(|| wrong.clone())?;
        let pair = Pair::from_bytes(pair.try_into().map_err(|_| wrong)?);
        let (min, max) = (self.size_min.k().into(), Size::MAX.into());
        let size = Size::new(k).filter(|&size| size >= self.size_min);
        let range = || VerifyError::OutOfRange { field: "k", got: k.into(), min, max };
        let size = size.ok_or_else(range)?;
        Ok((VaultId::of_size(*miner, size, u32::from_le_bytes(index)), pair))
    }
}

fn write(id: &VaultId, pair: Pair) -> Proof {
    let mut bytes = vec![id.k()];
    bytes.extend(id.index.to_le_bytes());
    bytes.extend(pair.to_bytes());
    Proof { kind: KIND, bytes }
}

impl ProofEngine for ProofOfSpace {
    fn kind(&self) -> ProofKind {
        KIND
    }

    /// Opens the vaults asked for and plots those that are missing.
    fn prepare(
        &self,
        miner: &Miner,
        resources: &Resources,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError> {
        let size = self.size(resources.size)?;
        let indices: BTreeSet<u32> = resources.indices.iter().copied().collect();
        if indices.is_empty() {
            return Err(PrepareError::NoIndex);
        }
        let open = |index| open_or_plot(VaultId::of_size(*miner, size, index), resources, progress);
        let vaults = indices.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let readers = Readers::new(vaults.len())?;
        Ok(Box::new(Keeper { vaults, scan_bits: self.scan_bits, readers }))
    }

    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError> {
        let (id, pair) = self.parse(miner, KIND.check(proof)?)?;
        let e = levels(&id).check(pair)?;
        let question = Question::new(challenge, &id, self.scan_bits);
        let (got, expected) = (top(e, question.group_bits), question.group);
        if got != expected {
            return Err(VerifyError::WrongBucket { got, expected });
        }
        Ok(question.quality(question.tagger.tag(pair.0)))
    }
}

fn open_or_plot(
    id: VaultId,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<Vault, PrepareError> {
    let path = resources.folder.join(id.file_name());
    if !path.exists() {
        plot(&id, resources, progress)?;
    }
    Ok(Vault::open_as(&path, &id, resources.lookup)?)
}

/// Threads that wait for disks: as many as there are things to read, up to a bound.
///
/// They are not counted as threads of a budget, since a thread that waits takes no core.
#[derive(Debug)]
struct Readers(Option<ThreadPool>);

impl Readers {
    /// Starts threads for `count` reads at once; one read needs none but the caller's.
    fn new(count: usize) -> Result<Self, ThreadsError> {
        let pool = (count > 1).then(|| pool(count.min(READS_MAX))).transpose()?;
        Ok(Self(pool))
    }

    /// Calls `read` on every item, many at once; answers in the order of the items.
    fn read_all<T, A>(&self, items: &[T], read: impl Fn(&T) -> A + Send + Sync) -> Vec<A>
    where
        T: Sync,
        A: Send,
    {
        match &self.0 {
            Some(pool) => pool.install(|| items.par_iter().with_max_len(1).map(read).collect()),
            None => items.iter().map(read).collect(),
        }
    }
}

/// The open vaults of one miner.
#[derive(Debug)]
struct Keeper {
    vaults: Vec<Vault>,
    scan_bits: u32,
    readers: Readers,
}

/// The entries of one vault that a challenge asks for, with the tag of each.
struct Tries {
    id: VaultId,
    question: Question,
    pairs: Vec<Pair>,
    tags: Vec<u64>,
}

impl Keeper {
    /// Reads what the challenge asks of one vault; nothing if the budget is over.
    fn read(
        &self,
        vault: &Vault,
        challenge: &Challenge,
        budget: &Budget<'_>,
    ) -> Result<Tries, VaultError> {
        let id = vault.header().id;
        let question = Question::new(challenge, &id, self.scan_bits);
        let (mut pairs, width) = (Vec::with_capacity(ENTRIES_MAX), 1_u64 << self.scan_bits);
        if !budget.is_over() {
            vault.read(question.group.saturating_mul(width), width, &mut pairs)?;
        }
        // Here and not later, so that one vault's tags are computed while others are waited for.
        let tags = tags_of(&question.tagger, &pairs);
        Ok(Tries { id, question, pairs, tags })
    }

    /// Reads every vault, many at once.
    fn read_all(
        &self,
        challenge: &Challenge,
        budget: &Budget<'_>,
    ) -> Vec<Result<Tries, VaultError>> {
        self.readers.read_all(&self.vaults, |vault| self.read(vault, challenge, budget))
    }
}

impl Tries {
    /// The best of the first `count` entries, with its proof.
    fn best(&self, count: usize) -> Option<(Proof, Quality)> {
        // Of equal qualities the first wins, as `min_by_key` returns the first.
        let qualities = self.tags.iter().map(|&tag| self.question.quality(tag));
        let tries = qualities.zip(&self.pairs).take(count);
        let (quality, &pair) = tries.min_by_key(|(quality, _)| *quality)?;
        Some((write(&self.id, pair), quality))
    }
}

impl Prover for Keeper {
    /// A vault that fails does not keep the others from proving: its error is returned only if
    /// they found nothing.
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError> {
        let (mut attempt, mut failed) = (Attempt::default(), None);
        for tries in self.read_all(challenge, budget) {
            match tries {
                Ok(tries) => attempt.try_all(&tries, target, budget),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if attempt.best.is_none() => Err(error.into()),
            _ => Ok(attempt),
        }
    }

    fn footprint(&self) -> Footprint {
        let lens = self.vaults.iter().map(|vault| vault.header().id.file_len());
        Footprint { ram_bytes: 0, disk_bytes: lens.fold(0, u64::saturating_add) }
    }
}

impl Attempt {
    /// Adds as many of `tries` as the cap on attempts admits.
    fn try_all(&mut self, tries: &Tries, target: Target, budget: &Budget<'_>) {
        let left = budget.attempts_max().saturating_sub(self.attempts);
        let count =
            usize::try_from(left).map_or(tries.pairs.len(), |left| left.min(tries.pairs.len()));
        self.attempts = self.attempts.saturating_add(count as u64);
        let found = tries.best(count).filter(|(_, quality)| target.is_met_by(*quality));
        let best = self.best.take().into_iter().chain(found);
        self.best = best.min_by_key(|(_, quality)| *quality);
    }
}

#[cfg(test)]
mod tests;
