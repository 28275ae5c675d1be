//! `dsc vault`: the tables on disk that proof of space looks things up in.

mod upkeep;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use dsc_lib::{
    address::{Address, Prefix},
    proof::{
        BuildError, Fingerprint, Miner, Resources,
        space::{self, Fault, Header, PlotError, Vault, VaultError, VaultId},
    },
};
use serde::Serialize;

use super::{Context, watched::Watched};
use crate::{
    exit::Failure,
    memory,
    output::{Document, note},
    size::ByteSize,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a vault; minutes to hours for a large one
    Plot(Plot),
    /// Check that a vault holds what it should
    Check(upkeep::Check),
    /// Make the damaged pages of a vault anew
    Repair(upkeep::Repair),
    /// Show the header of a vault
    Info(FileArgs),
    /// List the vaults in a folder
    List(List),
}

#[derive(Debug, clap::Args)]
struct Plot {
    /// log2 of the number of entries: 16 to 32; the file has about 2^(k+3) bytes
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(16..=32))]
    size: u8,
    /// Address that is paid for its proofs
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// UUID of the validator that will use it
    #[arg(long, value_name = "UUID")]
    fingerprint: Fingerprint,
    /// Which of the validator's vaults of this size
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    index: u32,
    /// Folder of the vault [default: where a validator looks for it]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Threads to plot with [default: one per core]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Most RAM to take, such as 512MiB; what does not fit goes to temporary files in the folder
    /// [default: three quarters of what is free]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The vault
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Folder to look in [default: where a validator keeps its vaults]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Plot(args) => plot(args, context),
        Verb::Check(args) => upkeep::check(args, context),
        Verb::Repair(args) => upkeep::repair(args, context),
        Verb::Info(args) => info(args, context),
        Verb::List(args) => list(args, context),
    }
}

/// What a plot tells that ended before all was written.
const RESUMES: &str =
    "run this again: it hashes and matches again, then writes only what is missing";
/// What a plot tells that ended before anything was written.
const STARTS_OVER: &str = "nothing was kept: run this again to start over";

/// What a plot adds to the vault's name until it is finished.
const UNFINISHED: &str = ".partial";

/// Where a space validator keeps its vaults.
pub(super) fn default_folder(context: &Context<'_>) -> PathBuf {
    context.config.path("general.data_dir").join("validator").join("space")
}

/// What a vault's header says.
#[derive(Debug, Serialize)]
struct VaultDocument {
    file: PathBuf,
    k: u8,
    index: u32,
    /// On a development network.
    address: String,
    /// On any other network.
    address_main: String,
    fingerprint: Fingerprint,
    complete: bool,
    bytes: u64,
    buckets: u64,
    pairs: u64,
    /// Pairs that found their bucket full.
    dropped: u64,
}

impl VaultDocument {
    fn new(file: &Path, header: &Header) -> Self {
        let Header { id, complete, pairs, dropped } = *header;
        let Miner { address, fingerprint } = id.miner;
        Self {
            file: file.to_owned(),
            k: id.k(),
            index: id.index,
            address: address.to_text(Prefix::Development),
            address_main: address.to_text(Prefix::Main),
            fingerprint,
            complete,
            bytes: id.file_len(),
            buckets: id.buckets(),
            pairs,
            dropped,
        }
    }
}

impl Document for VaultDocument {
    const SCHEMA: &'static str = "dsc.vault/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vault       {}", self.file.display())?;
        writeln!(f, "k           {}", self.k)?;
        writeln!(f, "index       {}", self.index)?;
        writeln!(f, "address     {}", self.address)?;
        writeln!(f, "            {}", self.address_main)?;
        writeln!(f, "fingerprint {}", self.fingerprint)?;
        writeln!(f, "complete    {}", if self.complete { "yes" } else { "no" })?;
        writeln!(f, "bytes       {}", self.bytes)?;
        writeln!(f, "pairs       {} in {} buckets", self.pairs, self.buckets)?;
        writeln!(f, "dropped     {}", self.dropped)
    }
}

fn plot(args: &Plot, context: &Context<'_>) -> Result<(), Failure> {
    let (_, address) = Address::from_any_text(&args.address)?;
    let miner = Miner { address, fingerprint: args.fingerprint };
    let id = VaultId::new(miner, args.size, args.index)
        .ok_or_else(|| Failure::usage(format!("--size is {}, expected 16 to 32", args.size)))?;
    let folder = args.folder.clone().unwrap_or_else(|| default_folder(context));
    let ram_bytes_max = args.memory.map_or_else(memory::allowance, |memory| memory.0);
    let resources = Resources { threads: args.threads, ram_bytes_max, ..Resources::new(folder) };
    let watched = Watched::new(context)?;
    let path = space::plot(&id, &resources, &watched).map_err(|error| {
        // What a plot cannot go on with, it removes.
        let kept = resources.folder.join(id.file_name() + UNFINISHED).exists();
        plot_failure(&error, kept)
    })?;
    let header = Vault::read_header(&path).map_err(|error| damaged(&error))?;
    context.output.document(&VaultDocument::new(&path, &header))
}

/// The failure of a plot, with what the flags of `dsc vault plot` can do about it.
fn plot_failure(error: &PlotError, kept: bool) -> Failure {
    let hint = match error {
        PlotError::Exists { .. } => {
            "choose another --index or --folder; `dsc vault check` checks the file"
        }
        PlotError::NoSpace { temporary: 0, .. } => {
            "free some space and run this again, or choose a smaller --size"
        }
        PlotError::NoSpace { .. } => "free some space and run this again, or allow more --memory",
        PlotError::Build(BuildError::Cancelled | BuildError::Temporary { .. }) if kept => RESUMES,
        PlotError::Build(BuildError::Cancelled | BuildError::Temporary { .. }) => STARTS_OVER,
        PlotError::Build(_) => {
            "allow more with --memory, or choose fewer --threads or a smaller --size"
        }
        _ => return error.into(),
    };
    Failure::from(error).with_hint(hint)
}

fn damaged(error: &VaultError) -> Failure {
    let hint = match error.fault {
        Fault::Io { .. } => return error.into(),
        Fault::Identity { .. } => "leave out --size and the others: the header tells whose it is",
        Fault::Incomplete => "`dsc vault plot` makes it",
        Fault::Length { .. } => "`dsc vault repair` mends it",
        _ => {
            "`dsc vault check --full` and `dsc vault repair` can do without the header if --size, \
             --index, --address and --fingerprint say whose vault it is"
        }
    };
    Failure::from(error).with_hint(hint)
}

/// A missing file is no damaged one, and neither is one that is still to be finished.
fn check_file(path: &Path) -> Result<(), Failure> {
    fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    if is_unfinished(path) {
        let message = format!("{}: it is the unfinished part of a plot", path.display());
        return Err(Failure::corrupt("vault-unfinished", message)
            .with_hint("`dsc vault plot` goes on with it if given the same vault and folder"));
    }
    Ok(())
}

/// Whether the name is that of a plot that is under way or ended early.
fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".vault.partial"))
}

fn info(args: &FileArgs, context: &Context<'_>) -> Result<(), Failure> {
    check_file(&args.file)?;
    let header = Vault::read_header(&args.file).map_err(|error| damaged(&error))?;
    let len =
        fs::metadata(&args.file).map_err(|error| Failure::file("read", &args.file, &error))?;
    let (got, expected) = (len.len(), header.id.file_len());
    if got != expected {
        let fault = Fault::Length { got, expected };
        return Err(damaged(&VaultError { path: args.file.clone(), fault }));
    }
    context.output.document(&VaultDocument::new(&args.file, &header))
}

/// A vault, a plot that is under way or ended early, or why a file is no vault.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Listed {
    Vault(Box<VaultDocument>),
    Unfinished { file: PathBuf, unfinished: bool },
    Fault { file: PathBuf, fault: String },
}

#[derive(Debug, Serialize)]
struct Vaults {
    vaults: Vec<Listed>,
}

impl Document for Vaults {
    const SCHEMA: &'static str = "dsc.vaults/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for vault in &self.vaults {
            match vault {
                Listed::Vault(vault) => {
                    let VaultDocument { file, k, index, fingerprint, bytes, .. } = &**vault;
                    let file = file.display();
                    writeln!(f, "k{k} index {index} of {fingerprint}, {bytes} bytes: {file}")?;
                }
                Listed::Unfinished { file, .. } => writeln!(f, "{}: unfinished", file.display())?,
                Listed::Fault { file, fault } => writeln!(f, "{}: {fault}", file.display())?,
            }
        }
        Ok(())
    }
}

fn list(args: &List, context: &Context<'_>) -> Result<(), Failure> {
    let folder = args.folder.clone().unwrap_or_else(|| default_folder(context));
    if args.folder.is_none() && !folder.exists() {
        // Nothing was plotted yet.
        return show(Vec::new(), &folder, context);
    }
    let found = space::list(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
    let listed = found.into_iter().map(|(file, header)| match header {
        Ok(header) => Listed::Vault(Box::new(VaultDocument::new(&file, &header))),
        Err(error) => Listed::Fault { file, fault: error.fault.to_string() },
    });
    let unfinished = unfinished(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
    let unfinished = unfinished.into_iter();
    let unfinished = unfinished.map(|file| Listed::Unfinished { file, unfinished: true });
    show(listed.chain(unfinished).collect(), &folder, context)
}

fn show(vaults: Vec<Listed>, folder: &Path, context: &Context<'_>) -> Result<(), Failure> {
    if vaults.is_empty() && !context.output.is_json() {
        note(format_args!("no vaults in {}", folder.display()));
    }
    context.output.document(&Vaults { vaults })
}

/// The files of plots that are under way or ended early, in the order of their names.
fn unfinished(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        paths.push(entry?.path());
    }
    paths.retain(|path| is_unfinished(path));
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_that_ended_early_tells_whether_anything_was_kept() {
        let temporary = BuildError::Temporary { reason: "reason".into() };
        for error in [BuildError::Cancelled, temporary] {
            let error = PlotError::Build(error);
            assert_eq!(plot_failure(&error, true).hint(), Some(RESUMES));
            assert_eq!(plot_failure(&error, false).hint(), Some(STARTS_OVER));
            assert_eq!(plot_failure(&error, true).exit(), Failure::from(&error).exit());
        }
    }
}
