//! `dsc bench proof`: the engines, beside naive ways and the limits of the hardware.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dsc_lib::proof::{ENGINES, ProofKind};

use super::super::{Context, validator::parse_kind, watched::Watched};
use crate::{
    bench::{
        disk,
        machine::{self, Machine},
        measure::Pace,
        noise::Ticks,
        proof::{self, Options},
        record::{self, Measured},
    },
    clock::SystemClock,
    duration,
    exit::Failure,
    output::note,
    size::ByteSize,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Measure this proof only; may be repeated [default: every one]
    #[arg(long = "proof", value_name = "PROOF", value_parser = parse_kind)]
    proofs: Vec<ProofKind>,
    /// log2 of the entries of the vault
    #[arg(
        long,
        value_name = "K",
        default_value_t = 22,
        value_parser = clap::value_parser!(u8).range(16..=32)
    )]
    k: u8,
    /// log2 of the entries of the table in RAM
    #[arg(
        long,
        value_name = "M",
        default_value_t = 22,
        value_parser = clap::value_parser!(u8).range(16..=32)
    )]
    m: u8,
    /// Rounds in which everything is measured in turn; figures are medians
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    rounds: u32,
    /// Length of one measurement of a rate
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration::parse)]
    time: Duration,
    /// Look-ups in the vault, each cold and warm
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    lookups: u32,
    /// Most threads; rates are measured on 1, 2, 4 and so on up to them [default: one per core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Most RAM that making a table may take [default: unlimited]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Folder in which a temporary one is made for the vault [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Append the result to a file, one line of JSON each
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            k: self.k,
            m: self.m,
            rounds: self.rounds,
            milliseconds: u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX),
            lookups: self.lookups,
            threads: self.threads.map_or_else(machine::cores, usize::from),
            memory_bytes: self.memory.map(|size| size.0),
        }
    }

    /// The proofs asked for, each once, in their order.
    fn kinds(&self) -> Vec<ProofKind> {
        let kinds = ENGINES.iter().map(|entry| entry.kind);
        kinds.filter(|kind| self.proofs.is_empty() || self.proofs.contains(kind)).collect()
    }
}

pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let (options, kinds, clock) = (args.options(), args.kinds(), SystemClock::new());
    let started = clock.unix();
    args.out.as_deref().map_or(Ok(()), record::check_appendable)?;
    proof::check_ram(&options, &kinds)?;
    let folder = folder(args.folder.as_deref(), proof::disk_bytes(&options, &kinds))?;
    if record::PROFILE == "debug" {
        note("this is a debug build: measure with `cargo build --release`");
    }
    let watched = Watched::new(context)?;
    // Before the run, so that the load is that of others.
    let machine = Machine::here(folder.path());
    let (rounds, time) = (args.rounds, args.time);
    let pace = Pace { rounds, time, clock: &clock, progress: &watched };
    let ticks = Ticks::now(&[]);
    let figures = proof::measure(&options, &kinds, folder.path(), pace)?;
    let measured =
        Measured::new(started, machine, ticks.and_then(|ticks| ticks.until_now(&[])), figures);
    if let Some(path) = &args.out {
        record::append(path, &measured)?;
    }
    context.output.document(&measured)
}

/// Makes a folder that is removed at the end, if the disk has room for `needed` bytes.
fn folder(parent: Option<&Path>, needed: u64) -> Result<tempfile::TempDir, Failure> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let made = tempfile::Builder::new().prefix("dsc-bench-").tempdir_in(&parent);
    let made = made.map_err(|error| Failure::file("make a folder in", &parent, &error))?;
    if needed > 0 {
        note(format_args!("takes {} of disk in {}", ByteSize(needed), parent.display()));
    }
    if let Some(free) = disk::free_bytes(made.path()).filter(|free| *free < needed) {
        let message = format!("{needed} bytes of disk are needed, {free} are free");
        return Err(Failure::no_space("disk-full", message)
            .with_hint("free some space, or choose a smaller --k or another --folder"));
    }
    Ok(made)
}
