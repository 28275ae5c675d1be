//! One proof of each engine, found by the definitions in docs/protocol.md and verified by the
//! engines.

use std::{collections::BTreeMap, ops::Range};

use dsc_lib::{
    address::Address,
    hash::{Context, Digest, derive},
    proof::{Challenge, Fingerprint, Miner, Proof, find},
    tag::Tagger,
    units::Quality,
};
use serde::{Deserialize, Serialize};

use super::{
    Case,
    values::{Decimal, Hex},
};

/// Entries of a page of a vault.
const BUCKET_ENTRIES_MAX: usize = 511;

type Pair = (u32, u32);

fn packed((x1, x2): Pair) -> u64 {
    u64::from(x1) | u64::from(x2) << 32
}

/// Asks the engine called `name` for the quality of the proof with these bytes.
fn verified(
    name: &str,
    params: &[u64],
    challenge: Digest,
    miner: Miner,
    bytes: Vec<u8>,
) -> Quality {
    let entry = find(name).unwrap();
    let proof = Proof { kind: entry.kind, bytes };
    let engine = entry.build_with(params).unwrap();
    engine.verify(&Challenge(challenge), &miner, &proof).unwrap()
}

/// Reads `first..end`.
fn range(text: &str) -> Range<u64> {
    let (first, end) = text.split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}

fn miner(address: Address, fingerprint: &Hex) -> Miner {
    Miner { address, fingerprint: Fingerprint(fingerprint.0.as_slice().try_into().unwrap()) }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkCase {
    address: Address,
    fingerprint: Hex,
    challenge: Digest,
    nonces: String,
    nonce: Decimal,
    quality: Quality,
}

impl Case for WorkCase {
    fn compute(&self) -> Self {
        let parts = [self.challenge.as_bytes(), &self.address.0[..], &self.fingerprint.0];
        let tagger = Tagger::new(derive(Context::Work, &parts).as_bytes());
        let nonce = range(&self.nonces).min_by_key(|&nonce| tagger.tag(nonce)).unwrap();
        let (miner, bytes) = (miner(self.address, &self.fingerprint), nonce.to_le_bytes().to_vec());
        let quality = verified("work", &[], self.challenge, miner, bytes);
        Self { nonce: Decimal(nonce), quality, ..self.clone() }
    }
}

/// The pair table, by its definition: every pair in increasing `e`, ties by x1, then x2.
struct Table(Vec<(u64, Pair)>);

impl Table {
    fn new(k: u32, first: &Digest, second: &Digest) -> Self {
        let mut y = vec![0; 1 << k];
        Tagger::new(first.as_bytes()).fill_range(0, &mut y);
        let mut groups: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (x, y) in (0..).zip(y) {
            groups.entry(y >> (64 - (k - 1))).or_default().push(x);
        }
        let second = Tagger::new(second.as_bytes());
        let mut entries = Vec::new();
        for group in groups.values() {
            for (index, &x1) in group.iter().enumerate() {
                let pairs = group[index + 1..].iter().map(|&x2| (x1, x2));
                entries.extend(pairs.map(|pair| (second.tag(packed(pair)), pair)));
            }
        }
        entries.sort_unstable();
        Self(entries)
    }

    fn hash(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (_, pair) in &self.0 {
            hasher.update(&packed(*pair).to_le_bytes());
        }
        Digest(hasher.finalize().into())
    }

    /// The entries whose `e` has the top `bits` bits `prefix`.
    fn with_prefix(&self, bits: u32, prefix: u64) -> &[(u64, Pair)] {
        let shift = 64 - bits;
        let start = self.0.partition_point(|(e, _)| e >> shift < prefix);
        let end = self.0.partition_point(|(e, _)| e >> shift <= prefix);
        &self.0[start..end]
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpaceCase {
    address: Address,
    fingerprint: Hex,
    challenge: Digest,
    k: u32,
    index: u32,
    s: u32,
    pairs: usize,
    dropped: usize,
    x1: u32,
    x2: u32,
    quality: Quality,
    table_blake3: Digest,
    first: Vec<(Decimal, Decimal, Decimal)>,
}

impl SpaceCase {
    fn identity(&self) -> Vec<u8> {
        let k = u8::try_from(self.k).unwrap();
        let parts = [&self.address.0[..], &self.fingerprint.0, &[k], &self.index.to_le_bytes()];
        parts.concat()
    }

    fn table(&self) -> Table {
        let key = |context| derive(context, &[&self.identity()]);
        Table::new(self.k, &key(Context::SpaceTable1), &key(Context::SpaceTable2))
    }

    /// The entries of each bucket that a vault keeps: the lowest ones.
    fn kept<'a>(&self, table: &'a Table, bucket: u64) -> &'a [(u64, Pair)] {
        let entries = table.with_prefix(self.k - 9, bucket);
        &entries[..entries.len().min(BUCKET_ENTRIES_MAX)]
    }

    fn dropped(&self, table: &Table) -> usize {
        let buckets = 0..1_u64 << (self.k - 9);
        table.0.len() - buckets.map(|bucket| self.kept(table, bucket).len()).sum::<usize>()
    }

    /// The pair with the lowest quality among those the challenge asks for.
    fn best(&self, table: &Table) -> Pair {
        let parts = [self.challenge.as_bytes(), &self.identity()[..]];
        let challenge = derive(Context::SpaceChallenge, &parts);
        let group = challenge.first64() >> (64 - (self.k - 9 - self.s));
        let tagger = Tagger::new(challenge.as_bytes());
        let buckets = group << self.s..(group + 1) << self.s;
        let entries = buckets.flat_map(|bucket| self.kept(table, bucket));
        entries.map(|(_, pair)| *pair).min_by_key(|pair| tagger.tag(packed(*pair))).unwrap()
    }

    fn verified(&self, (x1, x2): Pair) -> Quality {
        let k = u8::try_from(self.k).unwrap();
        let parts = [&[k], &self.index.to_le_bytes()[..], &x1.to_le_bytes(), &x2.to_le_bytes()];
        let miner = miner(self.address, &self.fingerprint);
        verified("space", &[16, self.s.into()], self.challenge, miner, parts.concat())
    }
}

impl Case for SpaceCase {
    fn compute(&self) -> Self {
        let table = self.table();
        let (x1, x2) = self.best(&table);
        let decimal = |x: u32| Decimal(x.into());
        let row = |(e, (x1, x2)): &(u64, Pair)| (Decimal(*e), decimal(*x1), decimal(*x2));
        Self {
            pairs: table.0.len(),
            dropped: self.dropped(&table),
            x1,
            x2,
            quality: self.verified((x1, x2)),
            table_blake3: table.hash(),
            first: table.0.iter().take(3).map(row).collect(),
            ..self.clone()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemoryCase {
    address: Address,
    fingerprint: Hex,
    challenge: Digest,
    m: u32,
    walk: usize,
    starts: String,
    lookups: u64,
    finished_walks: u64,
    start: Decimal,
    pairs: Vec<Pair>,
    quality: Quality,
    table_blake3: Digest,
}

/// A search of all branches from all starts.
struct Walks<'a> {
    table: &'a Table,
    step: Tagger,
    m: u32,
    len: usize,
    lookups: u64,
    finished: u64,
    best: Option<(u64, u64, Vec<Pair>)>,
}

impl Walks<'_> {
    fn explore(&mut self, start: u64, state: u64, path: &mut Vec<Pair>) {
        if path.len() == self.len {
            self.finished += 1;
            if self.best.as_ref().is_none_or(|(quality, ..)| state < *quality) {
                self.best = Some((state, start, path.clone()));
            }
            return;
        }
        self.lookups += 1;
        for &(_, pair) in self.table.with_prefix(self.m, state >> (64 - self.m)) {
            path.push(pair);
            self.explore(start, self.step.tag(state ^ packed(pair)), path);
            path.pop();
        }
    }
}

impl MemoryCase {
    fn key(&self, context: Context, challenge: &[u8]) -> Digest {
        let m = u8::try_from(self.m).unwrap();
        derive(context, &[challenge, &self.address.0, &self.fingerprint.0, &[m]])
    }

    fn table(&self) -> Table {
        let (first, second) = (Context::MemoryTable1, Context::MemoryTable2);
        Table::new(self.m, &self.key(first, &[]), &self.key(second, &[]))
    }

    fn walks<'a>(&self, table: &'a Table) -> Walks<'a> {
        let tagger = |context| Tagger::new(self.key(context, self.challenge.as_bytes()).as_bytes());
        let (start, step) = (tagger(Context::MemoryStart), tagger(Context::MemoryStep));
        let mut walks =
            Walks { table, step, m: self.m, len: self.walk, lookups: 0, finished: 0, best: None };
        for first in range(&self.starts) {
            walks.explore(first, start.tag(first), &mut Vec::new());
        }
        walks
    }

    fn verified(&self, start: u64, pairs: &[Pair]) -> Quality {
        let mut bytes = start.to_le_bytes().to_vec();
        bytes.extend((pairs.len() as u64).to_le_bytes());
        for pair in pairs {
            bytes.extend(packed(*pair).to_le_bytes());
        }
        let params = [u64::from(self.m), self.walk as u64];
        let miner = miner(self.address, &self.fingerprint);
        verified("memory", &params, self.challenge, miner, bytes)
    }
}

impl Case for MemoryCase {
    fn compute(&self) -> Self {
        let table = self.table();
        let Walks { lookups, finished, best, .. } = self.walks(&table);
        let (_, start, pairs) = best.unwrap();
        Self {
            lookups,
            finished_walks: finished,
            start: Decimal(start),
            quality: self.verified(start, &pairs),
            pairs,
            table_blake3: table.hash(),
            ..self.clone()
        }
    }
}
