//! Proof of memory: a chain of dependent look-ups in a table held in RAM.
//!
//! `s_0 = tag(S, start)`; step `i` needs a pair `p_i` of the table whose `e` begins with the `m`
//! bits that `s_i` begins with; `s_(i+1) = tag(T, s_i XOR p_i)`; the quality is `s_L`. A proof is
//! the start and the `L` pairs:
//!
//! | bytes | field |
//! |---|---|
//! | 8 | start, u64 |
//! | 8 | number of pairs, u64, always `L` |
//! | 8 each | x1 u32, x2 u32 |
//!
//! # Invariants
//!
//! 1. Starts are tried from zero, each with all its branches, so a cap on look-ups names the
//!    starts that were tried.
//! 2. A search looks at the clock once per step of a block of walks, well under a millisecond.

mod walk;

use rayon::ThreadPool;

use self::walk::{Search, Walker};
use super::{
    Attempt, Budget, BuildError, Challenge, Entry, Footprint, Miner, Param, PrepareError, Progress,
    Proof, ProofEngine, ProofKind, ProveError, Prover, Resources, Shape, Trial, VerifyError,
    pairs::{Levels, Pair, Size, Table, top},
};
use crate::{
    hash::{Context, derive},
    tag::Tagger,
    units::{Quality, Target},
};

const KIND: ProofKind = ProofKind::new(2);
const WALK_MAX: usize = 256;
/// Bytes of start and count.
const FIXED_LEN: usize = 16;

pub(super) const ENTRY: Entry = Entry {
    kind: KIND,
    name: "memory",
    summary: "walk through a table held in RAM",
    params: &[
        Param {
            name: "m",
            summary: "log2 of the entries of the table",
            min: Size::MIN as u64,
            max: Size::MAX as u64,
            default: 20,
        },
        Param {
            name: "walk",
            summary: "look-ups in one walk",
            min: 1,
            max: WALK_MAX as u64,
            default: 32,
        },
    ],
    shape: Shape { fixed_len: 8, item_len: Pair::LEN, items_max: WALK_MAX },
    trial: Trial { params: &[18, 32], attempts_max: 1 << 16, draws: 1 << 11 },
    build: |params| {
        let steps = usize::try_from(params.get("walk")).unwrap_or(WALK_MAX);
        Box::new(ProofOfMemory { size: Size::from_param(params.get("m")), steps })
    },
};

#[derive(Debug)]
struct ProofOfMemory {
    size: Size,
    steps: usize,
}

impl ProofOfMemory {
    fn levels(&self, miner: &Miner) -> Levels {
        let identity = [&miner.address.0[..], &miner.fingerprint.0, &[self.size.k()]];
        Levels::new(self.size, [Context::MemoryTable1, Context::MemoryTable2], &identity)
    }
}

/// The two keys of a round's walks.
#[derive(Debug)]
struct Keys {
    start: Tagger,
    step: Tagger,
}

impl Keys {
    fn new(challenge: &Challenge, miner: &Miner, size: Size) -> Self {
        let parts = [&challenge.0.0[..], &miner.address.0, &miner.fingerprint.0, &[size.k()]];
        let tagger = |context| Tagger::new(derive(context, &parts).as_bytes());
        Self { start: tagger(Context::MemoryStart), step: tagger(Context::MemoryStep) }
    }
}

impl ProofEngine for ProofOfMemory {
    fn kind(&self) -> ProofKind {
        KIND
    }

    fn prepare(
        &self,
        miner: &Miner,
        resources: &Resources,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError> {
        let pool = resources.pool()?;
        let needed = Table::ram_bytes_to_build(self.size, pool.current_num_threads());
        BuildError::check_ram(needed, resources.ram_bytes_max)?;
        let table = Table::build(&self.levels(miner), &pool, progress)?;
        Ok(Box::new(Holder { miner: *miner, size: self.size, steps: self.steps, pool, table }))
    }

    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError> {
        let (start, pairs) = parse(KIND.check(proof)?, self.steps)?;
        let placed = self.levels(miner).check_all(&pairs)?;
        let keys = Keys::new(challenge, miner, self.size);
        let mut state = keys.start.tag(start);
        for (step, (pair, e)) in pairs.iter().zip(placed).enumerate() {
            let (got, expected) = (top(e, self.size.bits()), top(state, self.size.bits()));
            if got != expected {
                return Err(VerifyError::StepMismatch { step, got, expected });
            }
            state = keys.step.tag(state ^ pair.0);
        }
        Ok(Quality(state))
    }
}

/// Reads the start and the pairs of a proof.
fn parse(bytes: &[u8], steps: usize) -> Result<(u64, Vec<Pair>), VerifyError> {
    let expected = steps.saturating_mul(Pair::LEN).saturating_add(FIXED_LEN);
    let split = bytes.split_first_chunk().and_then(|(start, rest)| {
        rest.split_first_chunk().map(|(count, pairs)| (*start, *count, pairs))
    });
    match split {
        Some((start, count, pairs)) if bytes.len() == expected => {
            let (got, expected) = (u64::from_le_bytes(count), steps as u64);
            if got != expected {
                let field = "number of pairs";
                return Err(VerifyError::OutOfRange { field, got, min: expected, max: expected });
            }
            Ok((u64::from_le_bytes(start), Pair::read_all(pairs).collect()))
        }
        _ => Err(VerifyError::Length { got: bytes.len(), expected }),
    }
}

/// Writes the proof of a finished walk.
fn write(start: u64, pairs: &[u64]) -> Proof {
    let words = [start, pairs.len() as u64].into_iter().chain(pairs.iter().copied());
    Proof { kind: KIND, bytes: words.flat_map(u64::to_le_bytes).collect() }
}

/// A table held in RAM for one miner.
#[derive(Debug)]
struct Holder {
    miner: Miner,
    size: Size,
    steps: usize,
    pool: ThreadPool,
    table: Table,
}

impl Prover for Holder {
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError> {
        let keys = Keys::new(challenge, &self.miner, self.size);
        let view = self.table.view();
        let walker = Walker { view, keys: &keys, steps: self.steps, budget };
        let search = Search::new(walker);
        let threads = budget.threads(self.pool.current_num_threads());
        self.pool.scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| search.run());
            }
        });
        let (best, lookups) = search.finish();
        let best = best.filter(|walk| target.is_met_by(walk.quality));
        let best = best.map(|walk| (write(walk.start, &walk.pairs), walk.quality));
        Ok(Attempt { best, attempts: lookups })
    }

    fn footprint(&self) -> Footprint {
        Footprint { ram_bytes: self.table.ram_bytes(), disk_bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{
        NoProgress,
        testing::{Unhurried, vector_challenge, vector_miner},
    };

    /// The walk of the published vector.
    const PAIRS: [(u32, u32); 32] = [
        (25264, 28243),
        (28764, 64174),
        (16713, 29755),
        (23116, 35506),
        (11036, 16966),
        (50063, 58574),
        (1706, 50929),
        (14151, 44380),
        (5188, 24907),
        (9682, 13172),
        (42850, 48709),
        (19465, 26249),
        (34994, 58193),
        (44433, 59322),
        (56858, 57591),
        (10702, 47187),
        (55100, 64792),
        (18233, 42808),
        (33583, 59929),
        (12342, 15125),
        (13102, 49157),
        (13607, 24799),
        (1063, 62506),
        (8394, 9035),
        (7100, 24060),
        (27993, 41343),
        (12179, 27587),
        (23992, 57630),
        (32965, 42226),
        (20810, 64289),
        (52056, 58229),
        (28875, 64046),
    ];

    fn engine() -> Box<dyn ProofEngine> {
        ENTRY.build_with(&[16, 32]).unwrap()
    }

    fn vector_proof() -> Proof {
        write(637, &PAIRS.map(|(x1, x2)| u64::from(x1) | u64::from(x2) << 32))
    }

    fn verify(proof: &Proof) -> Result<Quality, VerifyError> {
        engine().verify(&vector_challenge(), &vector_miner(), proof)
    }

    fn damaged(at: usize, bytes: &[u8]) -> VerifyError {
        let mut proof = vector_proof();
        proof.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        verify(&proof).unwrap_err()
    }

    #[test]
    fn the_published_vector_is_found_and_verified() {
        let resources = Resources { threads: 2, ..Resources::new("") };
        let mut prover = engine().prepare(&vector_miner(), &resources, &NoProgress).unwrap();
        let free = Unhurried::default();
        let budget = free.budget().with_attempts_max(59_908);
        let attempt = prover.prove(&vector_challenge(), Target::MAX, &budget).unwrap();
        let quality = Quality(10_311_429_036_009_837);
        assert_eq!(attempt, Attempt { best: Some((vector_proof(), quality)), attempts: 59_908 });
        assert_eq!(verify(&vector_proof()), Ok(quality));
        assert!((8 << 16..10 << 16).contains(&prover.footprint().ram_bytes));
    }

    #[test]
    fn each_rule_has_its_error() {
        let short = Proof { kind: KIND, bytes: vec![0; 16] };
        let length = VerifyError::Length { got: 16, expected: 272 };
        assert_eq!(verify(&short), Err(length));
        let count = damaged(8, &[31]).to_string();
        assert_eq!(count, "number of pairs is 31, expected 32 to 32");
        let range = damaged(16 + 8 + 2, &[1]).to_string();
        assert_eq!(range, "x1 is 94300, expected 0 to 65535");
        let order = damaged(16, &28_243_u32.to_le_bytes()).to_string();
        assert_eq!(order, "x1 = 28243 is not below x2 = 28243");
        assert_eq!(damaged(16, &[1]), VerifyError::NoMatch { x1: 25_089, x2: 28_243 });
        let step = damaged(16 + 8, &vector_proof().bytes[16..24]);
        assert!(matches!(step, VerifyError::StepMismatch { step: 1, .. }), "{step}");
        assert!(step.to_string().starts_with("step 1 leads to prefix "), "{step}");
    }

    #[test]
    fn a_table_that_does_not_fit_is_not_begun() {
        let resources = Resources { ram_bytes_max: 1 << 20, ..Resources::new("") };
        let found = engine().prepare(&vector_miner(), &resources, &NoProgress).unwrap_err();
        let PrepareError::Build(BuildError::RamTooSmall { needed, allowed }) = found else {
            panic!("{found}")
        };
        assert!(allowed == 1 << 20 && needed > allowed);
    }
}
