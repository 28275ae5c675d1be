//! `dsc bench tables`: the paper's Tables 1-3, measured on networks of its own.

use std::{
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use dsc_lib::proof::ProofKind;

use super::super::{Context, validator::parse_kind, watched::Watched};
use crate::{
    bench::{
        machine::Machine,
        noise::Ticks,
        record::{self, Measured},
        tables::{self, Options, Processes, Profile},
    },
    clock::SystemClock,
    duration,
    exit::Failure,
    output::{Document, note},
};

/// What takes longer is started only by somebody who says so.
const ASK_SECONDS: u64 = 1200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to measure, and how much of it
    #[arg(long, value_name = "PROFILE", value_enum, default_value = "quick")]
    profile: Profile,
    /// Processes of the servers [default: one,six]
    #[arg(long, value_name = "COUNT", value_enum, value_delimiter = ',')]
    processes: Vec<Processes>,
    /// Measure this proof only; may be repeated [default: every one]
    #[arg(long = "proof", value_name = "PROOF", value_parser = parse_kind)]
    proofs: Vec<ProofKind>,
    /// Numbers of clients, up to 10 [default: of the profile]
    #[arg(
        long,
        value_name = "COUNT",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u8).range(1..=10)
    )]
    clients: Vec<u8>,
    /// Transactions of each row [default: of the profile]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=128_000))]
    transactions: Option<u32>,
    /// Time between blocks [default: of the profile]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    block_time: Option<Duration>,
    /// Time that the latency of each row is measured [default: of the profile]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    latency_time: Option<Duration>,
    /// Validators of the row's proof [default: of the profile]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    validators: Option<u32>,
    /// Transactions in one request
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// Requests of one client under way at once
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: Option<u16>,
    /// Leave out one transaction a request and 256 payments under one signature
    #[arg(long)]
    no_extras: bool,
    /// Start without asking, however long it takes
    #[arg(long, short = 'y')]
    yes: bool,
    /// Folder in which a temporary one is made for ledgers [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Append the result to a file, one line of JSON each
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("expected 100ms or more".to_owned());
    }
    Ok(interval)
}

impl Args {
    fn options(&self) -> Options {
        let mut options = Options::of(self.profile);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        replace(&mut options.processes, &self.processes);
        replace(&mut options.proofs, &self.proofs);
        let clients: Vec<_> = self.clients.iter().copied().map(usize::from).collect();
        replace(&mut options.clients, &clients);
        options.transactions = self.transactions.map_or(options.transactions, |n| n as usize);
        options.interval_ms = self.block_time.map_or(options.interval_ms, millis);
        options.latency_ms = self.latency_time.map_or(options.latency_ms, millis);
        options.validators = self.validators.unwrap_or(options.validators);
        options.batch = self.batch.map_or(options.batch, |batch| batch as usize);
        options.in_flight = self.in_flight.map_or(options.in_flight, usize::from);
        options.extras = !self.no_extras;
        options
    }
}

/// Takes what was asked for, each once, if anything was.
fn replace<T: Copy + PartialEq>(default: &mut Vec<T>, asked: &[T]) {
    if !asked.is_empty() {
        default.clear();
    }
    for &item in asked {
        if !default.contains(&item) {
            default.push(item);
        }
    }
}

pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let (options, clock) = (args.options(), SystemClock::new());
    let started = clock.unix();
    args.out.as_deref().map_or(Ok(()), record::check_appendable)?;
    if record::PROFILE == "debug" {
        note("this is a debug build: measure with `cargo build --release`");
    }
    ask(args, &options)?;
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("dsc-bench-").tempdir_in(&parent);
    let folder = folder.map_err(|error| Failure::file("make a folder in", &parent, &error))?;
    let watched = Watched::new(context)?;
    let machine = Machine::here(folder.path());
    let ticks = Ticks::now(&[]);
    let (figures, ended) = tables::measure(&options, folder.path(), &watched, &watched.shutdown)?;
    let rows = figures.rows();
    if let Some(failure) = ended.as_ref().filter(|_| rows == 0) {
        return Err(failure.clone());
    }
    let measured =
        Measured::new(started, machine, ticks.and_then(|ticks| ticks.until_now(&[])), figures);
    if let Some(path) = &args.out {
        record::append(path, &measured)?;
    }
    match ended {
        None => context.output.document(&measured),
        Some(ended) => Err(unfinished(&ended, rows, &measured, args, context)),
    }
}

/// The failure of a run that ended early, with what was measured before.
fn unfinished<D: Document>(
    ended: &Failure,
    rows: usize,
    measured: &D,
    args: &Args,
    context: &Context<'_>,
) -> Failure {
    // Programs find what was measured in the failure: there is one document.
    let shown = if context.output.is_json() { Ok(()) } else { context.output.document(measured) };
    let faults = shown.and_then(|()| {
        serde_json::to_value(measured).map_err(|error| Failure::other("json", error))
    });
    let faults = match faults {
        Ok(measured) => serde_json::json!([{ "measured": measured }]),
        Err(failure) => return failure,
    };
    let to = args
        .out
        .as_deref()
        .map_or_else(|| "shown".to_owned(), |path| format!("appended to {}", path.display()));
    let message = format!("{}; {rows} finished rows are {to}", ended.message());
    Failure::new(ended.exit(), ended.code().to_owned(), message)
        .with_hint(ended.hint().unwrap_or("run the rows that are missing by themselves"))
        .with_faults(faults)
}

/// Says how long it takes, and asks before it takes very long.
fn ask(args: &Args, options: &Options) -> Result<(), Failure> {
    let (rows, seconds) = options.estimate();
    let time = duration::display(Duration::from_secs(seconds));
    note(format_args!("{rows} rows take about {time}"));
    if seconds <= ASK_SECONDS || args.yes {
        return Ok(());
    }
    let refused = || {
        Failure::usage(format!("a run of about {time} was not confirmed"))
            .with_hint("pass --yes, or choose --profile quick or fewer rows")
    };
    if !io::stdin().is_terminal() {
        return Err(refused());
    }
    note("start? [y/N]");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::other("input", error))?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(refused()) }
}
