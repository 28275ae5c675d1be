//! Proof of work: the search for a nonce.

use std::{
    hint::black_box,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use dsc_benches::{Contender, Criterion, MINER, digest, engine, rounds, run, side_by_side};
use dsc_lib::{
    proof::{Budget, Challenge, Clock, NoProgress, Resources, find},
    tag::Tagger,
    units::Target,
};

const TITLE: &str = "proof::work::beside_the_kernel";

fn main() {
    run(&[|criterion| engine(criterion, "work", &[]), beside_the_kernel]);
}

struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The kernel alone, on as many threads as the search: what is lost to the clock, to sharing nonces
/// and to starting and joining threads.
fn beside_the_kernel(_: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Nonces that each thread of a contender tries in a round.
    let nonces = if rounds(TITLE) == Some(1) { 1 << 16 } else { 1 << 24 };
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for threads in [1, threads] {
        let alone = move || kernel(threads, nonces);
        contenders.push((format!("kernel/threads={threads}"), Box::new(alone)));
        contenders.push((format!("prove/threads={threads}"), Box::new(prove(threads, nonces))));
    }
    side_by_side(TITLE, contenders);
}

/// Searches with the kernel and nothing else.
fn kernel(threads: usize, nonces: u64) -> u64 {
    let tagger = &Tagger::new(&[7; 32]);
    std::thread::scope(|scope| {
        for thread in 0..threads as u64 {
            scope.spawn(move || black_box(tagger.min_in_range(thread * nonces, nonces)));
        }
    });
    nonces * threads as u64
}

/// Searches as a validator does, under a deadline and a cap.
fn prove(threads: usize, nonces: u64) -> impl FnMut() -> u64 {
    let engine = find("work").expect("a registered engine").build_default();
    let resources = Resources { threads, ..Resources::new("") };
    let mut prover = engine.prepare(&MINER, &resources, &NoProgress).expect("threads");
    let (clock, cancel) = (Running(Instant::now()), AtomicBool::new(false));
    move || {
        let budget = Budget::new(&clock, &cancel).with_deadline(Duration::from_secs(1 << 20));
        let budget = budget.with_attempts_max(nonces * threads as u64);
        let attempt = prover.prove(&Challenge(digest(0)), Target::MAX, &budget);
        attempt.expect("a working prover").attempts
    }
}
