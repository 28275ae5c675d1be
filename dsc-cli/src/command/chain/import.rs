//! Blocks from a file onto a ledger, each checked as if it came from a stranger.

use std::{fmt, fs, path::PathBuf};

use dsc_lib::{
    block::Block,
    hash::Digest,
    ledger::{CommitError, Ledger},
    proof::Progress,
};
use serde::Serialize;

use super::{
    super::role::ChainArgs,
    Context, broken,
    source::{Source, default_ledger},
};
use crate::{command::watched::Watched, exit::Failure, lock::FolderLock, output::Document};

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Exported chain to read
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder of the ledger to write [default: the one in the data folder]
    #[arg(long, value_name = "FOLDER")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

/// What an import came to.
#[derive(Debug, Serialize)]
struct Imported {
    chain: Digest,
    /// Blocks that the ledger did not have.
    added: u64,
    /// Blocks that it has now.
    blocks: u64,
}

impl Document for Imported {
    const SCHEMA: &'static str = "dsc.chain.import/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "added {} blocks, the ledger has {}", self.added, self.blocks)
    }
}

pub(super) fn run(args: &Import, context: &Context<'_>) -> Result<(), Failure> {
    let watched = Watched::new(context)?;
    let source = Source::open(&args.file, &args.chain)?;
    let path = args.ledger.clone().unwrap_or_else(|| default_ledger(context));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| std::path::Path::new(".")).to_owned();
    fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
    let _lock = FolderLock::acquire(&folder)?;
    let mut ledger = Ledger::open(&path, Some(source.chain.clone()))?;
    let before = ledger.state().round().height.0;
    source.each(|block, done, total| {
        add(&mut ledger, block)?;
        watched.update("import", done, total);
        watched.check("the import")
    })?;
    let (chain, blocks) = (ledger.state().chain().hash(), ledger.state().round().height.0);
    context.output.document(&Imported { chain, added: blocks.saturating_sub(before), blocks })
}

/// Puts a block on the ledger, unless it is there.
fn add(ledger: &mut Ledger, block: Block) -> Result<(), Failure> {
    let height = block.header.height;
    // A ledger that was started from a snapshot has not these, and needs them for nothing.
    if ledger.base() >= Some(height) {
        return Ok(());
    }
    if height < ledger.state().round().height {
        if ledger.height_of(&block.header.hash())? == Some(height) {
            return Ok(());
        }
        let message = format!("the ledger has another block {height} than the file");
        return Err(Failure::rejected("other-block", message)
            .with_hint("they are two histories of one chain; verify both"));
    }
    let checked = ledger.check(block);
    let checked = checked
        .map_err(|error| broken(error.code(), format!("block {height} breaks a rule: {error}")))?;
    ledger.commit(&checked).map_err(|error| match error {
        CommitError::Store(error) => error.into(),
        error => Failure::other("not-committed", error),
    })
}
