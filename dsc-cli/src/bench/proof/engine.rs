//! What is measured of every engine: preparing, proving on some threads, verifying.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use dsc_lib::{
    proof::{Budget, Challenge, Clock, Entry, Proof, ProofEngine, ProveError, Prover, Resources},
    units::Target,
};
use serde::Serialize;
use serde_json::Value;

use super::{Bench, MINER, Scale, Spread, challenge, scaling, section, tag::Tag};
use crate::{
    bench::{
        measure::{Contender, Quiet},
        peak,
        stats::{Samples, float},
    },
    exit::Failure,
};

/// Proofs that are verified in turn, so that no branch or cache learns one by heart.
const PROOFS: u64 = 16;

/// The engine of `entry`; parameters not among `values` have their defaults.
pub(super) fn build(
    entry: &Entry,
    values: &[(&str, u64)],
) -> Result<Box<dyn ProofEngine>, Failure> {
    let value = |param: &dsc_lib::proof::Param| {
        let named = values.iter().find(|(name, _)| *name == param.name);
        named.map_or(param.default, |(_, value)| *value)
    };
    let values: Vec<_> = entry.params.iter().map(value).collect();
    entry.build_with(&values).map_err(|error| Failure::usage(error.to_string()))
}

pub(super) fn failed(error: ProveError) -> Failure {
    Failure::corrupt("prover-failed", error)
}

/// How long calls of `prove` went on after their deadline, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Overruns(RefCell<Vec<f64>>);

impl Overruns {
    /// The longest, if there was a call.
    pub(super) fn longest(&self) -> Option<f64> {
        Samples::new(self.0.borrow().clone()).map(|samples| samples.range()[1])
    }
}

/// How often the time of a call is doubled that was too short for a single attempt.
const DOUBLINGS: u32 = 12;

/// Attempts per second of one call on `threads` threads that ends at a deadline.
pub(super) fn rate(
    bench: &Bench<'_>,
    prover: &mut dyn Prover,
    threads: usize,
    overruns: &Overruns,
) -> Result<f64, Failure> {
    let (clock, never) = (bench.pace.clock, AtomicBool::new(false));
    for doubling in 0..DOUBLINGS {
        let start = clock.now();
        let deadline = start + bench.pace.time * (1 << doubling);
        let budget = Budget::new(clock, &never).with_threads(threads).with_deadline(deadline);
        let attempt = prover.prove(&challenge(0), Target(0), &budget).map_err(failed)?;
        let end = clock.now();
        if attempt.attempts > 0 {
            overruns.0.borrow_mut().push(end.saturating_sub(deadline).as_secs_f64() * 1e6);
            return Ok(float(attempt.attempts) / end.saturating_sub(start).as_secs_f64());
        }
        bench.pace.check()?;
    }
    Err(Failure::other("no-measurement", "the time was too short for a single attempt")
        .with_hint("allow more --time"))
}

/// Some proofs with the challenges that they answer.
pub(super) fn proofs(
    bench: &Bench<'_>,
    entry: &Entry,
    prover: &mut dyn Prover,
) -> Result<Vec<(Challenge, Proof)>, Failure> {
    let never = AtomicBool::new(false);
    let cap = entry.trial.attempts_max;
    let budget = Budget::new(bench.pace.clock, &never).with_attempts_max(cap);
    let mut found = Vec::new();
    for number in 0..PROOFS {
        bench.pace.check()?;
        let challenge = challenge(number);
        let attempt = prover.prove(&challenge, Target::MAX, &budget).map_err(failed)?;
        found.extend(attempt.best.map(|(proof, _)| (challenge, proof)));
    }
    if found.is_empty() {
        return Err(Failure::other("no-proof", format!("{} found no proof", entry.name)));
    }
    Ok(found)
}

/// Nanoseconds that verifying one proof takes, in each round.
pub(super) fn verify_ns(
    bench: &Bench<'_>,
    engine: &dyn ProofEngine,
    proofs: &[(Challenge, Proof)],
) -> Result<Samples, Failure> {
    let valid = |(challenge, proof): &(Challenge, Proof)| {
        engine.verify(challenge, &MINER, std::hint::black_box(proof)).is_ok()
    };
    if !proofs.iter().all(valid) {
        return Err(Failure::corrupt("bad-proof", "the engine refuses a proof of its own"));
    }
    let batch = || proofs.iter().filter(|proof| valid(proof)).count() as u64;
    let verify: Contender<'_> = Box::new(|| Ok(1e9 / bench.pace.rate(batch)));
    let mut found = bench.pace.interleave("verify", vec![verify])?;
    Ok(found.remove(0))
}

/// Microseconds from the wish to stop to the end of a call of `prove`, in each round.
pub(super) fn cancel_us(bench: &Bench<'_>, prover: &mut dyn Prover) -> Result<Samples, Failure> {
    let clock = bench.pace.clock;
    let cancel = || {
        let stop = AtomicBool::new(false);
        let budget = Budget::new(clock, &stop);
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                thread::sleep(bench.pace.time);
                let asked = clock.now();
                stop.store(true, Ordering::Relaxed);
                asked
            });
            prover.prove(&challenge(0), Target(0), &budget).map_err(failed)?;
            let end = clock.now();
            let asked = asked.join().expect("a clock does not panic");
            Ok(end.saturating_sub(asked).as_secs_f64() * 1e6)
        })
    };
    let mut found = bench.pace.interleave("cancel", vec![Box::new(cancel)])?;
    Ok(found.remove(0))
}

/// What is known of an engine that has no section of its own.
#[derive(Debug, Serialize)]
struct Plain {
    prepare_seconds: f64,
    attempts_per_second: f64,
    threads: usize,
    verify_ns: f64,
    ram_bytes: u64,
    disk_bytes: u64,
    peak_rss_bytes: Option<u64>,
    spread: Spread,
    scaling: Vec<Scale>,
}

/// Measures what every engine has, at the size at which it is tried out.
pub(super) fn measure(bench: &Bench<'_>, entry: &Entry, _tag: &Tag) -> Result<Value, Failure> {
    let engine = entry.build_with(entry.trial.params);
    let engine = engine.map_err(|error| Failure::usage(error.to_string()))?;
    let resources = Resources { threads: bench.threads_max(), ..Resources::new(bench.folder) };
    let (prepare_seconds, prover) =
        bench.pace.seconds(|| engine.prepare(&MINER, &resources, &Quiet(bench.pace.progress)));
    let prover = RefCell::new(prover?);
    let overruns = Overruns::default();
    let contender = |&threads: &usize| -> Contender<'_> {
        let (prover, overruns) = (&prover, &overruns);
        Box::new(move || rate(bench, &mut **prover.borrow_mut(), threads, overruns))
    };
    let rates = bench.pace.interleave("prove", bench.threads.iter().map(contender).collect())?;
    let mut prover = prover.into_inner();
    let proofs = proofs(bench, entry, &mut *prover)?;
    let verify = verify_ns(bench, &*engine, &proofs)?;
    let (mut spread, footprint) = (Spread::default(), prover.footprint());
    let most = &rates[rates.len() - 1];
    section(&Plain {
        prepare_seconds,
        attempts_per_second: spread.keep("attempts_per_second", most),
        threads: bench.threads_max(),
        verify_ns: spread.keep("verify_ns", &verify),
        ram_bytes: footprint.ram_bytes,
        disk_bytes: footprint.disk_bytes,
        peak_rss_bytes: peak::bytes(),
        spread,
        scaling: scaling(&bench.threads, &rates),
    })
}
