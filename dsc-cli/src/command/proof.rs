//! `dsc proof`: one engine, one challenge, no network.

use std::{fmt, fs, path::PathBuf, time::Duration};

use dsc_lib::{
    address::{Address, Prefix},
    codec,
    hash::Digest,
    proof::{
        Budget, Challenge, Clock, ENGINES, Entry, Fingerprint, Miner, ProofEngine, ProofEntry,
        ProofKind, Resources, VerifyError, verify_target,
    },
    units::{Quality, Target},
};
use serde::Serialize;

use super::{Context, input, validator::parse_kind, vault, watched::Watched};
use crate::{
    clock::SystemClock,
    duration,
    exit::{Exit, Failure},
    output::Document,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Look for a proof
    Solve(Solve),
    /// Check a proof
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Solve {
    /// Which proof: work, space or memory
    #[arg(long, value_name = "PROOF", value_parser = parse_kind)]
    proof: ProofKind,
    #[command(flatten)]
    question: Question,
    /// Address that the proof pays
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// UUID of the validator
    #[arg(long, value_name = "UUID")]
    fingerprint: Fingerprint,
    /// Tries at most [default: what suits a small machine; unlimited with --time]
    #[arg(long, value_name = "COUNT")]
    attempts: Option<u64>,
    /// Time at most [default: unlimited]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    time: Option<Duration>,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Folder for files that the proof needs; they are kept [default: the validator's]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The proof entry, as `solve` writes it: hexadecimal, @FILE, or - for standard input
    #[arg(value_name = "HEX|@FILE|-")]
    entry: String,
    #[command(flatten)]
    question: Question,
}

impl Solve {
    /// Tries allowed: who gives a time means all of it.
    fn attempts_max(&self, entry: &Entry) -> u64 {
        let by_default = self.time.map_or(entry.trial.attempts_max, |_| u64::MAX);
        self.attempts.unwrap_or(by_default)
    }
}

/// What a proof answers.
#[derive(Debug, clap::Args)]
struct Question {
    /// The challenge: 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    challenge: Digest,
    /// Greatest quality that counts; lower is harder [default: any]
    #[arg(long, value_name = "NUMBER", default_value_t = u64::MAX, hide_default_value = true)]
    target: u64,
    /// Parameter of the proof; may be repeated [default: the engine's]
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, u64)>,
}

fn parse_param(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as k=20")?;
    let value = value.parse().map_err(|_| format!("`{value}` is not a whole number"))?;
    Ok((name.to_owned(), value))
}

impl Question {
    /// The engine of this kind under the parameters that were given.
    fn engine(&self, kind: ProofKind) -> Result<Box<dyn ProofEngine>, Failure> {
        let entry = find(kind)?;
        if let Some((name, _)) = self.params.iter().find(|(name, _)| !declares(entry, name)) {
            return Err(Failure::usage(format!("proof of {} has no parameter {name}", entry.name))
                .with_hint(format!("it has: {}", names(entry))));
        }
        let value = |param: &dsc_lib::proof::Param| {
            let named = self.params.iter().rev().find(|(name, _)| name == param.name);
            named.map_or(param.default, |(_, value)| *value)
        };
        let values: Vec<_> = entry.params.iter().map(value).collect();
        entry.build_with(&values).map_err(|error| Failure::usage(format!("--param: {error}")))
    }

    fn challenge(&self) -> Challenge {
        Challenge(self.challenge)
    }
}

fn find(kind: ProofKind) -> Result<&'static Entry, Failure> {
    let found = ENGINES.iter().copied().find(|entry| entry.kind == kind);
    found.ok_or_else(|| Failure::usage(format!("there is no proof of kind {kind}")))
}

fn declares(entry: &Entry, name: &str) -> bool {
    entry.params.iter().any(|param| param.name == name)
}

fn names(entry: &Entry) -> String {
    let names: Vec<_> = entry.params.iter().map(|param| param.name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Solve(args) => solve(args, context),
        Verb::Verify(args) => verify(args, context),
    }
}

/// A proof and what it answers.
#[derive(Debug, Serialize)]
struct ProofDocument {
    proof: ProofKind,
    /// On a development network.
    address: String,
    fingerprint: Fingerprint,
    challenge: Digest,
    quality: Quality,
    target: Target,
    /// The proof's own bytes.
    bytes: String,
    /// The entry as it stands in a block.
    entry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

impl ProofDocument {
    fn new(entry: &ProofEntry, question: &Question, quality: Quality) -> Self {
        Self {
            proof: entry.proof.kind,
            address: entry.miner.address.to_text(Prefix::Development),
            fingerprint: entry.miner.fingerprint,
            challenge: question.challenge,
            quality,
            target: Target(question.target),
            bytes: hex::encode(&entry.proof.bytes),
            entry: hex::encode(codec::encode(entry)),
            attempts: None,
            seconds: None,
        }
    }
}

impl Document for ProofDocument {
    const SCHEMA: &'static str = "dsc.proof/1";

    /// The entry alone if it was solved, so that it can be piped; a sentence if it was verified.
    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            Some(_) => writeln!(f, "{}", self.entry),
            None => writeln!(f, "proof of {} holds, quality {}", self.proof, self.quality),
        }
    }
}

fn solve(args: &Solve, context: &Context<'_>) -> Result<(), Failure> {
    let (_, address) = Address::from_any_text(&args.address)?;
    let miner = Miner { address, fingerprint: args.fingerprint };
    let engine = args.question.engine(args.proof)?;
    let folder = args.folder.clone().unwrap_or_else(|| vault::default_folder(context));
    fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
    let resources = Resources { threads: args.threads, ..Resources::new(folder) };
    let watched = Watched::new(context)?;
    let mut prover = engine.prepare(&miner, &resources, &watched)?;
    let clock = SystemClock::new();
    let attempts_max = args.attempts_max(find(args.proof)?);
    let budget = Budget::new(&clock, watched.shutdown.flag()).with_attempts_max(attempts_max);
    let budget = match args.time {
        Some(time) => budget.with_deadline(clock.now().saturating_add(time)),
        None => budget,
    };
    let target = Target(args.question.target);
    let attempt = prover.prove(&args.question.challenge(), target, &budget);
    let attempt = attempt.map_err(|error| Failure::corrupt("prover-failed", error))?;
    let Some((proof, quality)) = attempt.best else {
        watched.check("the search")?;
        let message = format!("no proof meets the target within {} attempts", attempt.attempts);
        return Err(Failure::not_found("no-proof", message)
            .with_hint("allow more --attempts or --time, or a greater --target"));
    };
    let entry = ProofEntry { miner, proof };
    let document = ProofDocument::new(&entry, &args.question, quality);
    let (attempts, seconds) = (Some(attempt.attempts), Some(clock.elapsed().as_secs_f64()));
    context.output.document(&ProofDocument { attempts, seconds, ..document })
}

/// Reads an entry; the whole document that `solve --json` writes will do too.
fn read_entry(text: &str) -> Result<ProofEntry, Failure> {
    let longest = ENGINES.iter().map(|entry| entry.shape.len_max()).max().unwrap_or_default();
    // Kind, address and fingerprint, and what JSON adds around two copies in hexadecimal.
    let bytes = input::bytes(text, longest.saturating_mul(4).saturating_add(4096))?;
    let entry = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let entry = entry.and_then(|document| hex::decode(document["entry"].as_str()?).ok());
    codec::decode(&entry.unwrap_or(bytes)).map_err(|error| {
        Failure::corrupt("not-canonical", format!("not a proof entry: {error}"))
            .with_hint("give what `dsc proof solve` wrote")
    })
}

fn verify(args: &Verify, context: &Context<'_>) -> Result<(), Failure> {
    let entry = read_entry(&args.entry)?;
    let engine = args.question.engine(entry.proof.kind)?;
    let target = Target(args.question.target);
    let challenge = args.question.challenge();
    let quality = verify_target(engine.as_ref(), &challenge, &entry.miner, &entry.proof, target);
    let quality = quality.map_err(|error| {
        let code = match error {
            VerifyError::TargetMissed { .. } => "target-missed",
            _ => "bad-proof",
        };
        Failure::new(Exit::Rejected, code, format!("the proof does not hold: {error}"))
            .with_hint("a proof holds for one challenge, one miner and one set of --param only")
    })?;
    context.output.document(&ProofDocument::new(&entry, &args.question, quality))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        solve: Solve,
    }

    fn attempts_max(more: &[&str]) -> u64 {
        let challenge = "07".repeat(32);
        let fingerprint = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        let line = ["solve", "--proof", "work", "--address", "a", "--challenge", &challenge];
        let line = [&line[..], &["--fingerprint", fingerprint], more].concat();
        let solve = Line::try_parse_from(line).unwrap().solve;
        solve.attempts_max(find(solve.proof).unwrap())
    }

    #[test]
    fn a_search_that_is_given_time_alone_ends_with_it() {
        assert_eq!(attempts_max(&["--time", "5s"]), u64::MAX);
        assert_eq!(attempts_max(&["--time", "5s", "--attempts", "7"]), 7);
        assert_eq!(attempts_max(&["--attempts", "7"]), 7);
        assert!(attempts_max(&[]) < u64::MAX);
    }
}
