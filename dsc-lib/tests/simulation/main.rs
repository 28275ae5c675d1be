//! All six roles in one thread from a seed, over a transport that loses, delays, doubles and
//! reorders, with a forging validator and a cheating metronome among them.
//!
//! What must hold at the end of every run, whatever the seed:
//!
//! 1. Supply is conserved, and a replay of the whole chain finds nothing wrong.
//! 2. No forged proof and no block that breaks a rule was accepted.
//! 3. Every payment has ended: confirmed (and proved), rejected or expired.
//! 4. The same seed gives the same final state.
//!
//! `DSC_SIMULATION_SEEDS=FROM..TO` runs other seeds than the first twenty.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod adversary;
mod world;

use std::{env, ops::Range};

use world::{Outcome, World};

const ROUNDS: u64 = 200;

fn seeds() -> Range<u64> {
    let Ok(text) = env::var("DSC_SIMULATION_SEEDS") else { return 0..20 };
    let (from, to) = text.split_once("..").expect("DSC_SIMULATION_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

fn run(seed: u64) -> Outcome {
    let outcome = World::new(seed).run(ROUNDS);
    println!("seed {seed}: {outcome}");
    outcome
}

#[test]
fn every_seed_keeps_every_promise() {
    let mut total = Outcome::default();
    for seed in seeds() {
        total.add(&run(seed));
    }
    // A network in which something never happens proves nothing about it.
    println!("all seeds: {total}");
    assert!(total.wins.iter().all(|wins| *wins > 0), "an engine never won");
    assert!(total.empty > 0, "no block was without a winner");
    assert!(total.confirmed > 0 && total.rejected > 0 && total.expired > 0, "an end never came");
    assert!(total.forgeries > 0 && total.cheats > 0 && total.stolen_rounds > 0);
    assert!(total.lost > 0 && total.doubled > 0);
}

#[test]
fn the_same_seed_gives_the_same_state() {
    let (first, second) = (run(1), run(1));
    assert_eq!(first, second);
    assert_ne!(first.state, run(2).state);
}
