//! Checks proofs that somebody else found and wrote down as JSON: no prover, no table, no disk.
//!
//! Takes a file with one JSON object a line, as `dsc proof solve --json` writes them, or a sample.
//! The entry names kind, miner and proof in the canonical encoding, so that is what is checked.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example verify_proof
//! work: quality 1013226587475031, one in 18205 tries is as good
//! space: quality 436421146050021, one in 42268 tries is as good
//! memory: quality 7372561255387324, one in 2502 tries is as good
//! for another miner: ...
//! cut: ...
//! ```

use std::{env, fs};

use dsc_lib::{
    codec,
    hash::Digest,
    proof::{Challenge, ENGINES, Entry, Fingerprint, ProofEngine, ProofEntry},
    units::Quality,
};
use serde::Deserialize;

const SAMPLE: &str = include_str!("data/proofs.ndjson");

/// What is needed of a line; the rest of it is for people.
#[derive(Deserialize)]
struct Line {
    challenge: Digest,
    entry: String,
    quality: Quality,
}

fn main() -> anyhow::Result<()> {
    let text = env::args().nth(1).map_or_else(|| Ok(SAMPLE.to_owned()), fs::read_to_string)?;
    for line in text.lines() {
        check(&serde_json::from_str(line)?)?;
    }
    let line: Line = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    refuse(&line)
}

/// The parameters are the chain's; these are the least, which the sample was made with.
fn engine(entry: &Entry) -> anyhow::Result<Box<dyn ProofEngine>> {
    let size = |name: &str| ["k", "m"].contains(&name);
    let values = entry.params.iter().map(|p| if size(p.name) { p.min } else { p.default });
    Ok(entry.build_with(&values.collect::<Vec<_>>())?)
}

fn check(line: &Line) -> anyhow::Result<()> {
    // One value, in the one encoding it has, and nothing after it.
    let ProofEntry { miner, proof } = codec::decode(&hex::decode(&line.entry)?)?;
    let entry = ENGINES[usize::from(proof.kind.index())];
    let quality = engine(entry)?.verify(&Challenge(line.challenge), &miner, &proof)?;
    anyhow::ensure!(quality == line.quality, "the line claims quality {}", line.quality);
    let tries = u64::MAX / quality.0.max(1);
    println!("{}: quality {quality}, one in {tries} tries is as good", entry.name);
    Ok(())
}

/// A proof is good for one challenge and one miner, and in one encoding.
fn refuse(line: &Line) -> anyhow::Result<()> {
    let bytes = hex::decode(&line.entry)?;
    let mut stolen: ProofEntry = codec::decode(&bytes)?;
    stolen.miner.fingerprint = Fingerprint([9; 16]);
    let engine = engine(ENGINES[usize::from(stolen.proof.kind.index())])?;
    let quality = engine.verify(&Challenge(line.challenge), &stolen.miner, &stolen.proof)?;
    println!("for another miner: quality {quality}, chance and nothing more");
    let cut = codec::decode::<ProofEntry>(&bytes[..bytes.len() - 1]).unwrap_err();
    println!("cut: {cut}");
    Ok(())
}
