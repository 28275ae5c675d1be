//! `dsc vault check` and `dsc vault repair`: whether a file holds what it should, and making it so.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use dsc_lib::{
    address::Address,
    proof::{
        BuildError, Fingerprint, Miner,
        space::{self, CheckError, Depth, Fault, PAGE_LEN, RepairError, Report, Upkeep, VaultId},
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{VaultDocument, check_file, damaged};
use crate::{
    command::{Context, watched::Watched},
    exit::Failure,
    output::{Document, note},
    size::ByteSize,
};

/// Faults that the message of a failure names; all of them are listed on standard error.
const FAULTS_NAMED: usize = 5;
/// Pages that the text for people names.
const PAGES_NAMED: usize = 20;

/// What both verbs take.
#[derive(Debug, clap::Args)]
struct Means {
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Most RAM to take; with less, it takes longer
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: ByteSize,
    #[command(flatten)]
    identity: Identity,
}

/// Whose vault it is: for a file whose header does not tell any more.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Whose vault it is, if its header does not tell any more")]
struct Identity {
    /// log2 of the number of entries
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(16..=32))]
    #[arg(requires_all = ["address", "fingerprint"])]
    size: Option<u8>,
    /// Address that is paid for its proofs
    #[arg(long, value_name = "ADDRESS", requires_all = ["size", "fingerprint"])]
    address: Option<String>,
    /// UUID of the validator that uses it
    #[arg(long, value_name = "UUID", requires_all = ["size", "address"])]
    fingerprint: Option<Fingerprint>,
    /// Which of the validator's vaults of this size [default: 0]
    #[arg(long, value_name = "INDEX", requires_all = ["size", "address", "fingerprint"])]
    index: Option<u32>,
}

impl Identity {
    fn id(&self) -> Result<Option<VaultId>, Failure> {
        let Self { size: Some(size), address: Some(address), fingerprint, index } = self else {
            return Ok(None);
        };
        let (_, address) = Address::from_any_text(address)?;
        let miner = fingerprint.map(|fingerprint| Miner { address, fingerprint });
        Ok(miner.and_then(|miner| VaultId::new(miner, *size, index.unwrap_or_default())))
    }
}

impl Means {
    fn upkeep(&self) -> Result<Upkeep, Failure> {
        let (threads, ram_bytes_max) = (self.threads, self.memory.0);
        Ok(Upkeep { threads, ram_bytes_max, id: self.identity.id()? })
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The vault
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check every bucket instead of a sample, and that none lacks an entry
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    means: Means,
}

#[derive(Debug, clap::Args)]
pub(super) struct Repair {
    /// The vault
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    means: Means,
}

/// A vault that is sound.
#[derive(Debug, Serialize)]
struct Sound {
    #[serde(flatten)]
    vault: VaultDocument,
    full: bool,
    buckets_checked: u64,
    entries_checked: u64,
    /// Buckets shown to lack no entry.
    buckets_complete: u64,
    /// Buckets made anew and compared.
    buckets_rebuilt: u64,
}

impl Document for Sound {
    const SCHEMA: &'static str = "dsc.vault.check/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buckets, entries) = (self.buckets_checked, self.entries_checked);
        let of = self.vault.buckets;
        writeln!(f, "{} is sound:", self.vault.file.display())?;
        writeln!(f, "{entries} entries in {buckets} of {of} buckets are what they should be")?;
        if self.full {
            let (complete, rebuilt) = (self.buckets_complete, self.buckets_rebuilt);
            writeln!(f, "{complete} lack no entry; {rebuilt} were made anew and are the same")?;
        }
        Ok(())
    }
}

pub(super) fn check(args: &Check, context: &Context<'_>) -> Result<(), Failure> {
    check_file(&args.file)?;
    let (upkeep, watched) = (args.means.upkeep()?, Watched::new(context)?);
    let depth = if args.full { Depth::Full } else { Depth::Sample };
    let report = space::check(&args.file, depth, &upkeep, &watched);
    let report = report.map_err(|error| check_failure(&error))?;
    let Some(header) = report.header.filter(|_| report.faults.is_empty()) else {
        return Err(faulty(&args.file, &report, context));
    };
    context.output.document(&Sound {
        vault: VaultDocument::new(&args.file, &header),
        full: args.full,
        buckets_checked: report.buckets,
        entries_checked: report.entries,
        buckets_complete: report.complete,
        buckets_rebuilt: report.rebuilt,
    })
}

fn check_failure(error: &CheckError) -> Failure {
    match error {
        CheckError::Vault(error) => damaged(error),
        CheckError::Build(error) => build_failure(error, "the check"),
        error => Failure::other("check-failed", error),
    }
}

fn build_failure(error: &BuildError, task: &str) -> Failure {
    match error {
        BuildError::Cancelled => Failure::interrupted(format!("{task} was interrupted")),
        error => Failure::no_space("not-enough-memory", error)
            .with_hint("allow more with --memory, or end other programs"),
    }
}

fn faulty(path: &Path, report: &Report, context: &Context<'_>) -> Failure {
    if !context.output.is_json() {
        report.faults.iter().for_each(note);
    }
    let named = report.faults.iter().take(FAULTS_NAMED).map(ToString::to_string);
    let mut named = named.collect::<Vec<_>>().join("; ");
    if report.faults.len() > FAULTS_NAMED {
        named.push_str("; and so on");
    }
    let (count, of) = (report.damaged, report.buckets);
    let pages = if count == 1 { "page is" } else { "pages are" };
    let message =
        format!("{}: {count} {pages} damaged, {of} were checked: {named}", path.display());
    let faults = report.faults.iter().map(fault_json).collect();
    Failure::corrupt("vault-corrupt", message)
        .with_hint("`dsc vault repair` makes them anew")
        .with_faults(faults)
}

/// Where a fault is and which rule is broken; a cut file's is at the first page that is missing.
fn fault_json(fault: &Fault) -> Value {
    let (page, offset) = match *fault {
        Fault::Length { got, expected } if got < expected => {
            let page = got / PAGE_LEN as u64;
            (Some(page), Some(page * PAGE_LEN as u64))
        }
        _ => (fault.page(), fault.offset()),
    };
    json!({ "page": page, "offset": offset, "rule": fault.to_string() })
}

/// What a repair changed.
#[derive(Debug, Serialize)]
struct RepairDocument {
    #[serde(flatten)]
    vault: VaultDocument,
    /// Bytes of the file before.
    bytes_before: u64,
    pages_repaired: u64,
    /// Their numbers; 0 is the header.
    pages: Vec<u64>,
}

impl Document for RepairDocument {
    const SCHEMA: &'static str = "dsc.vault.repair/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, bytes) = (self.vault.file.display(), self.vault.bytes);
        if self.bytes_before != bytes {
            writeln!(f, "{file} has {bytes} bytes again, it had {}", self.bytes_before)?;
        }
        if self.pages.is_empty() {
            return writeln!(f, "{file} is sound, no page was written");
        }
        let mut named = String::new();
        for page in self.pages.iter().take(PAGES_NAMED) {
            write!(named, " {page}")?;
        }
        if self.pages.len() > PAGES_NAMED {
            named.push_str(" and so on");
        }
        let pages = match self.pages_repaired {
            1 => "1 page was".to_owned(),
            count => format!("{count} pages were"),
        };
        writeln!(f, "{file} is sound again: {pages} made anew:{named}")
    }
}

pub(super) fn repair(args: &Repair, context: &Context<'_>) -> Result<(), Failure> {
    check_file(&args.file)?;
    let (upkeep, watched) = (args.means.upkeep()?, Watched::new(context)?);
    let done = space::repair(&args.file, &upkeep, &watched);
    let done = done.map_err(|error| repair_failure(&error))?;
    context.output.document(&RepairDocument {
        vault: VaultDocument::new(&args.file, &done.header),
        bytes_before: done.len_before,
        pages_repaired: done.pages.len() as u64,
        pages: done.pages,
    })
}

fn repair_failure(error: &RepairError) -> Failure {
    match error {
        RepairError::Vault(error) => damaged(error),
        RepairError::Foreign { .. } => Failure::corrupt("vault-foreign", error)
            .with_hint("check --size, --index, --address and --fingerprint"),
        RepairError::Busy { .. } => {
            Failure::other("vault-busy", error).with_hint("wait for the other process, or end it")
        }
        RepairError::Build(error) => build_failure(error, "the repair"),
        RepairError::NoSpace { .. } => {
            Failure::no_space("disk-full", error).with_hint("free some space")
        }
        RepairError::Io { path, source } => Failure::file("repair", path, source),
        RepairError::NotKept { .. } => Failure::corrupt("disk-failing", error)
            .with_hint("copy what you need from this disk and replace it"),
        _ => Failure::other("repair-failed", error),
    }
}
