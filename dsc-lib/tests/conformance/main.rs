//! The contract of `dsc_lib::proof`, checked for every engine and for a toy one.
//!
//! Nothing here names an engine: each is run with small values of its parameters.

mod toy;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use dsc_lib::{
    address::Address,
    codec::{decode, encode},
    hash::Digest,
    proof::{
        Attempt, Budget, Challenge, Clock, ENGINES, Entry, Fingerprint, Miner, NoProgress, Param,
        ParamError, Proof, ProofEngine, ProofEntry, ProofKind, Prover, Resources, VerifyError,
        verify_target,
    },
    units::{Quality, Target},
};
use proptest::prelude::*;
use tempfile::TempDir;

/// Attempts that give every engine several proofs.
const ATTEMPTS: u64 = 20_000;

/// A clock that moves on whenever it is read, and throws a switch when it is told to.
struct Ticking {
    readings: AtomicU64,
    cancel: AtomicBool,
    cancel_after: u64,
}

impl Ticking {
    const fn new(cancel_after: u64) -> Self {
        Self { readings: AtomicU64::new(0), cancel: AtomicBool::new(false), cancel_after }
    }

    fn budget(&self) -> Budget<'_> {
        Budget::new(self, &self.cancel)
    }
}

impl Clock for Ticking {
    fn now(&self) -> Duration {
        let readings = self.readings.fetch_add(1, Ordering::Relaxed);
        if readings >= self.cancel_after {
            self.cancel.store(true, Ordering::Relaxed);
        }
        Duration::from_millis(readings)
    }
}

/// One engine, small, with what its provers need.
struct Rig {
    entry: Entry,
    engine: Box<dyn ProofEngine>,
    folder: TempDir,
}

impl Rig {
    fn new(entry: Entry) -> Self {
        let values: Vec<u64> = entry.params.iter().map(small).collect();
        let engine = entry.build_with(&values).unwrap();
        Self { entry, engine, folder: tempfile::tempdir().unwrap() }
    }

    fn prover(&self, miner: &Miner, threads: usize) -> Box<dyn Prover> {
        let resources = Resources { threads, ..Resources::new(self.folder.path()) };
        self.engine.prepare(miner, &resources, &NoProgress).unwrap()
    }

    fn solve(&self, challenge: &Challenge, threads: usize, attempts_max: u64) -> Attempt {
        let clock = Ticking::new(u64::MAX);
        let budget = clock.budget().with_attempts_max(attempts_max);
        self.prover(&miner(), threads).prove(challenge, Target::MAX, &budget).unwrap()
    }

    fn solved(&self, challenge: &Challenge) -> (Proof, Quality) {
        self.solve(challenge, 1, ATTEMPTS).best.expect("enough attempts for a proof")
    }
}

/// A value near 16, which is small for a table and enough for everything else.
fn small(param: &Param) -> u64 {
    16.clamp(param.min, param.default)
}

fn rigs() -> impl Iterator<Item = Rig> {
    ENGINES.iter().map(|entry| **entry).chain([toy::ENTRY]).map(Rig::new)
}

fn miner() -> Miner {
    Miner { address: Address([7; 32]), fingerprint: Fingerprint([9; 16]) }
}

fn challenge(seed: u8) -> Challenge {
    Challenge(Digest([seed; 32]))
}

#[test]
fn a_proof_found_verifies_and_meets_the_target() {
    for rig in rigs() {
        let mut prover = rig.prover(&miner(), 2);
        for seed in 0..20 {
            let clock = Ticking::new(u64::MAX);
            let budget = clock.budget().with_attempts_max(ATTEMPTS);
            let (engine, asked) = (&*rig.engine, challenge(seed));
            let found = prover.prove(&asked, Target::MAX, &budget).unwrap();
            let (proof, quality) = found.best.expect("enough attempts for a proof");
            assert_eq!((proof.kind, engine.kind()), (rig.entry.kind, rig.entry.kind));
            let exact = Target(quality.0);
            assert_eq!(verify_target(engine, &asked, &miner(), &proof, exact), Ok(quality));
            assert_eq!(prover.prove(&asked, exact, &budget).unwrap().best, Some((proof, quality)));
        }
    }
}

#[test]
fn a_target_that_is_missed_gives_nothing() {
    for rig in rigs() {
        let (proof, quality) = rig.solved(&challenge(1));
        let target = Target(quality.0 - 1);
        let clock = Ticking::new(u64::MAX);
        let budget = clock.budget().with_attempts_max(ATTEMPTS);
        let found = rig.prover(&miner(), 1).prove(&challenge(1), target, &budget).unwrap();
        assert_eq!(found.best, None);
        let missed = VerifyError::TargetMissed { quality, target };
        let verified = verify_target(&*rig.engine, &challenge(1), &miner(), &proof, target);
        assert_eq!(verified, Err(missed.clone()));
        let text = format!("quality {quality} misses target {target}");
        assert_eq!(missed.to_string(), text);
    }
}

#[test]
fn a_proof_is_bound_to_its_challenge_and_its_miner() {
    for rig in rigs() {
        let (proof, quality) = rig.solved(&challenge(1));
        let verify = |seed, miner| rig.engine.verify(&challenge(seed), &miner, &proof);
        assert_eq!(verify(1, miner()), Ok(quality));
        let (mut address, mut fingerprint) = (miner(), miner());
        address.address.0[31] ^= 1;
        fingerprint.fingerprint.0[15] ^= 1;
        for other in [verify(2, miner()), verify(1, address), verify(1, fingerprint)] {
            assert_ne!(other, Ok(quality), "{}", rig.entry.name);
        }
    }
}

#[test]
fn the_result_does_not_depend_on_threads() {
    for rig in rigs() {
        for attempts_max in [0, 1, 500, 4097, ATTEMPTS] {
            let expected = rig.solve(&challenge(3), 1, attempts_max);
            for threads in [2, 3, 5] {
                let found = rig.solve(&challenge(3), threads, attempts_max);
                assert_eq!(found, expected, "{}, {threads} threads", rig.entry.name);
            }
        }
    }
}

#[test]
fn a_budget_of_fewer_threads_finds_the_same() {
    for rig in rigs() {
        let clock = Ticking::new(u64::MAX);
        let budget = clock.budget().with_attempts_max(ATTEMPTS);
        let mut prover = rig.prover(&miner(), 3);
        let mut prove = |budget| prover.prove(&challenge(3), Target::MAX, &budget).unwrap();
        assert_eq!(prove(budget), prove(budget.with_threads(1)));
    }
}

#[test]
fn a_cap_on_attempts_is_kept() {
    for rig in rigs() {
        for attempts_max in [0, 1, 10, 1000, ATTEMPTS] {
            let attempt = rig.solve(&challenge(4), 2, attempts_max);
            assert!(attempt.attempts <= attempts_max, "{}: {attempt:?}", rig.entry.name);
            assert!(attempts_max > 0 || attempt.best.is_none());
        }
    }
}

#[test]
fn more_attempts_find_nothing_worse() {
    for rig in rigs() {
        let mut last = None;
        for attempts_max in [100, 1000, 10_000] {
            let quality =
                rig.solve(&challenge(5), 1, attempts_max).best.map(|(_, quality)| quality);
            assert!(last.is_none() || quality <= last, "{}", rig.entry.name);
            last = quality;
        }
    }
}

#[test]
fn a_search_ends_at_its_deadline() {
    for rig in rigs() {
        let mut prover = rig.prover(&miner(), 2);
        for deadline in [0, 1, 40] {
            let clock = Ticking::new(u64::MAX);
            let budget = clock.budget().with_deadline(Duration::from_millis(deadline));
            let attempt = prover.prove(&challenge(6), Target::MAX, &budget).unwrap();
            // Readings stand for time: only those already under way may follow the last one.
            let readings = clock.readings.into_inner();
            assert!(readings <= deadline + 2 + 256, "{}: {readings}", rig.entry.name);
            assert!(deadline > 0 || attempt == Attempt::default(), "{}", rig.entry.name);
        }
    }
}

#[test]
fn a_search_ends_when_it_is_cancelled() {
    for rig in rigs() {
        let mut prover = rig.prover(&miner(), 2);
        for cancel_after in [0, 3, 50] {
            let clock = Ticking::new(cancel_after);
            let budget = clock.budget().with_deadline(Duration::MAX);
            prover.prove(&challenge(6), Target::MAX, &budget).unwrap();
        }
        let clock = Ticking::new(u64::MAX);
        clock.cancel.store(true, Ordering::Relaxed);
        let attempt = prover.prove(&challenge(6), Target::MAX, &clock.budget()).unwrap();
        assert_eq!(attempt, Attempt::default(), "{}", rig.entry.name);
    }
}

#[test]
fn proofs_keep_the_declared_shape() {
    for rig in rigs() {
        let (proof, _) = rig.solved(&challenge(7));
        assert!(proof.bytes.len() <= rig.entry.shape.len_max());
        if rig.entry.kind.entry().is_some() {
            let entry = ProofEntry { miner: miner(), proof };
            assert_eq!(decode::<ProofEntry>(&encode(&entry)), Ok(entry));
        }
    }
}

#[test]
fn a_proof_of_another_kind_is_refused() {
    for rig in rigs() {
        let (proof, _) = rig.solved(&challenge(7));
        let other = ProofKind::new(99);
        let found = rig.engine.verify(&challenge(7), &miner(), &Proof { kind: other, ..proof });
        let wrong = VerifyError::WrongKind { got: other, expected: rig.entry.kind };
        assert_eq!(found, Err(wrong.clone()));
        let text = format!("a proof of kind 99 was given to engine {}", rig.entry.kind);
        assert_eq!(wrong.to_string(), text);
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    for entry in ENGINES.iter().map(|entry| **entry).chain([toy::ENTRY]) {
        let defaults: Vec<u64> = entry.params.iter().map(|param| param.default).collect();
        entry.build_with(&defaults).unwrap();
        for (position, param) in entry.params.iter().enumerate() {
            for wrong in [param.min.checked_sub(1), param.max.checked_add(1)].into_iter().flatten()
            {
                let mut values = defaults.clone();
                values[position] = wrong;
                let found = entry.build_with(&values).unwrap_err();
                assert!(matches!(found, ParamError::OutOfRange { .. }), "{found}");
            }
        }
        let found = entry.build_with(&[&defaults[..], &[0]].concat()).unwrap_err();
        assert!(matches!(found, ParamError::Count { .. }), "{found}");
    }
}

/// Engines with a proof of each, made once for the properties below.
static SOLVED: LazyLock<Vec<(Rig, Proof, Quality)>> = LazyLock::new(|| {
    let solve = |rig: Rig| {
        let (proof, quality) = rig.solved(&challenge(8));
        (rig, proof, quality)
    };
    rigs().map(solve).collect()
});

proptest! {
    /// Verifying is total and repeatable, whatever the kind and bytes.
    #[test]
    fn any_bytes_are_judged(
        kind: u8,
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        own_kind: bool,
    ) {
        for (rig, _, _) in &*SOLVED {
            let kind = if own_kind { rig.entry.kind } else { ProofKind::new(kind) };
            let proof = Proof { kind, bytes: bytes.clone() };
            let judge = || rig.engine.verify(&challenge(8), &miner(), &proof);
            let judged = judge();
            prop_assert_eq!(&judge(), &judged);
            prop_assert!(judged.is_err() || proof.kind == rig.entry.kind);
        }
    }

    /// No other bytes have a proof's quality: not changed, not cut, not continued.
    #[test]
    fn a_changed_proof_is_another(position: prop::sample::Index, change in 1..=u8::MAX) {
        for (rig, proof, quality) in &*SOLVED {
            let judge = |bytes| {
                let proof = Proof { kind: proof.kind, bytes };
                rig.engine.verify(&challenge(8), &miner(), &proof)
            };
            let position = position.index(proof.bytes.len());
            let mut changed = proof.bytes.clone();
            changed[position] ^= change;
            prop_assert_ne!(judge(changed), Ok(*quality));
            let cut = judge(proof.bytes[..position].to_vec());
            let continued = judge([&proof.bytes[..], &[change]].concat());
            for judged in [cut, continued] {
                let length = matches!(judged, Err(VerifyError::Length { .. }));
                prop_assert!(length, "{:?}", judged);
            }
        }
    }
}
