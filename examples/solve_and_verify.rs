//! Finds a proof of each kind and verifies it: no chain, no network.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example solve_and_verify
//! work: round ..., 8 bytes of proof after ... tries and ... ms, quality ...
//! space: round ..., 13 bytes of proof after ... tries and ... ms, quality ...
//! memory: round ..., 24 bytes of proof after ... tries and ... ms, quality ...
//! ```

use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use dsc_lib::{
    address::Address,
    hash::{Context, derive},
    proof::{
        Budget, Challenge, Clock, ENGINES, Entry, Fingerprint, Miner, NoProgress, Resources,
        verify_target,
    },
    units::Target,
};

/// One proof in about this many tries.
const TRIES: u64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

/// The library reads no clock: its caller does.
struct Stopwatch(Instant);

impl Clock for Stopwatch {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

fn main() -> anyhow::Result<()> {
    for entry in ENGINES {
        solve(entry)?;
    }
    Ok(())
}

fn solve(entry: &Entry) -> anyhow::Result<()> {
    // The least of every parameter: small tables, made in a moment.
    let least: Vec<_> = entry.params.iter().map(|param| param.min).collect();
    let engine = entry.build_with(&least)?;
    let miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
    let folder = tempfile::tempdir()?;
    let mut prover = engine.prepare(&miner, &Resources::new(folder.path()), &NoProgress)?;

    let (clock, cancel) = (Stopwatch(Instant::now()), AtomicBool::new(false));
    let budget = Budget::new(&clock, &cancel).with_deadline(PATIENCE);
    let target = Target::for_tries(TRIES);
    for round in 0_u64.. {
        let challenge = Challenge(derive(Context::Challenge, &[&round.to_le_bytes()]));
        let budget = budget.with_attempts_max(100 * TRIES);
        let attempt = prover.prove(&challenge, target, &budget)?;
        let Some((proof, quality)) = attempt.best else { continue };
        assert_eq!(verify_target(&*engine, &challenge, &miner, &proof, target)?, quality);
        println!(
            "{}: round {round}, {} bytes of proof after {} tries and {:.1} ms, quality {quality}",
            entry.name,
            proof.bytes.len(),
            attempt.attempts,
            clock.now().as_secs_f64() * 1e3
        );
        return Ok(());
    }
    Ok(())
}
