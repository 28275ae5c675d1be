//! A ledger's blocks into the log of an engine: the way from one machine to several, and back after
//! all data of the engine was lost.
//!
//! # Invariants
//!
//! 1. Every block that the log has already is compared with the ledger's; one that differs ends it.
//! 2. Blocks are appended by the one rule for that, each after the one before it, so that a copy that
//!    was interrupted is gone on with, and one that others overtake ends.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    block::Block,
    cluster::{
        AppendError, BlockLog, Position, ReadError,
        settle::{self, Appended},
    },
    codec,
    hash::Digest,
    ledger::Ledger,
    proof::Progress,
    units::Height,
};
use serde::Serialize;

use super::super::{Context, chain::source::open_ledger, role::ChainArgs, watched::Watched};
use crate::{
    engine::{Engine, Settings},
    exit::Failure,
    output::Document,
};

/// Most bytes of blocks in memory at once, of the ledger and of the log each.
const BYTES_MAX: usize = 16 << 20;
/// How often an append is asked for whose acknowledgement is lost.
const TRIES: u32 = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Copy {
    /// Folder of the ledger; no server may be using it
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    #[command(flatten)]
    chain: ChainArgs,
}

/// What a copy came to.
#[derive(Debug, Serialize)]
struct Copied {
    chain: Digest,
    /// Blocks that the log did not have.
    added: u64,
    /// Blocks of the ledger, all of which it has now.
    blocks: u64,
}

impl Document for Copied {
    const SCHEMA: &'static str = "dsc.engine.copy/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "added {} blocks, the log has all {} of the ledger", self.added, self.blocks)
    }
}

pub(super) fn run(args: &Copy, settings: Settings, context: &Context<'_>) -> Result<(), Failure> {
    let watched = Watched::new(context)?;
    let ledger = open_ledger(&args.from, &args.chain, &watched).map_err(|failure| {
        if failure.code() == "ledger-not-found" {
            failure.with_hint("name the folder `ledger` in that of a blockchain server: --from")
        } else {
            failure
        }
    })?;
    require_whole(&ledger)?;
    let chain = ledger.state().chain();
    let Some(cluster) = Engine::Nats(settings).open(chain)? else {
        return Err(Failure::other("engine-missing", "there is no engine"));
    };
    let blocks = ledger.state().round().height.0;
    let same = compare(&*cluster.blocks, &ledger, blocks, &watched)?;
    let added = append(&*cluster.blocks, &ledger, same, blocks, &watched)?;
    context.output.document(&Copied { chain: chain.hash(), added, blocks })
}

/// Refuses a ledger that has not the first blocks, with which the log begins.
fn require_whole(ledger: &Ledger) -> Result<(), Failure> {
    let Some(base) = ledger.base() else { return Ok(()) };
    let message = format!("the ledger began at a snapshot: it has no block up to {base} to copy");
    Err(Failure::rejected("ledger-has-base", message).with_hint(
        "copy the ledger of a server that has every block from the first on: `dsc chain verify \
         --ledger FOLDER` says whether it does",
    ))
}

/// How many of the ledger's blocks the log has, all before any other entry.
fn compare(
    log: &dyn BlockLog,
    ledger: &Ledger,
    blocks: u64,
    watched: &Watched,
) -> Result<u64, Failure> {
    let mut same = 0_u64;
    while same < blocks {
        let entries = log.read(Position(same), BYTES_MAX).map_err(read_failure)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries.into_iter().take_while(|entry| entry.position.0 <= blocks) {
            if entry.bytes != block_bytes(ledger, same)? {
                return Err(other_block(same));
            }
            same = entry.position.0;
        }
        watched.update("compare", same, blocks);
        watched.check("the copy")?;
    }
    Ok(same)
}

fn append(
    log: &dyn BlockLog,
    ledger: &Ledger,
    same: u64,
    blocks: u64,
    watched: &Watched,
) -> Result<u64, Failure> {
    for height in same..blocks {
        let bytes = block_bytes(ledger, height)?;
        let id = block_hash(&bytes)?;
        match settle::append(log, Position(height), &id, &bytes, TRIES).map_err(append_failure)? {
            Appended::Mine(_) => {}
            _ => return Err(other_block(height)),
        }
        watched.update("copy", height.saturating_add(1), blocks);
        watched.check("the copy")?;
    }
    Ok(blocks.saturating_sub(same))
}

fn block_bytes(ledger: &Ledger, height: u64) -> Result<Vec<u8>, Failure> {
    ledger.block_bytes(Height(height))?.ok_or_else(|| {
        Failure::corrupt("ledger-short", format!("the ledger has no block {height}"))
            .with_hint("copy a ledger that has every block from the first on")
    })
}

fn block_hash(bytes: &[u8]) -> Result<Digest, Failure> {
    let block: Block = codec::decode(bytes).map_err(|error| {
        Failure::corrupt("ledger-corrupt", format!("a block is not canonical: {error}"))
    })?;
    Ok(block.header.hash())
}

fn other_block(height: u64) -> Failure {
    let message = format!("the log has something else than block {height} of the ledger");
    Failure::rejected("other-block", message).with_hint(
        "another server has written there, or they are two histories of one chain: nothing was \
         changed; compare them, and clear the engine if the ledger is right",
    )
}

fn read_failure(error: ReadError) -> Failure {
    match error {
        ReadError::Missing { .. } => Failure::corrupt("engine-damaged", error).with_hint(
            "`dsc engine status` says which node leads: wipe it, or another that lost it",
        ),
        _ => Failure::unreachable("engine-unavailable", error)
            .with_hint("`dsc engine check` says which nodes answer; run this again to go on"),
    }
}

fn append_failure(error: AppendError) -> Failure {
    match error {
        AppendError::Unknown { .. } => Failure::outcome_unknown("engine-unsettled", error)
            .with_hint("run this again: it goes on where the log ends"),
        _ => Failure::unreachable("engine-unavailable", error)
            .with_hint("`dsc engine check` says which nodes answer; run this again to go on"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dsc_lib::{
        cluster::Embedded,
        disk::Memory,
        ledger::OpenOptions,
        testing::{chain, next_block},
    };

    use super::*;
    use crate::{
        config::{Config, Sources},
        exit::Exit,
        output::{Output, testing::Buffer},
        shutdown::Shutdown,
    };

    /// A ledger of empty blocks.
    fn ledger(blocks: usize) -> Ledger {
        let disk = Arc::new(Memory::default());
        let options = OpenOptions::default();
        let mut ledger = Ledger::with_disk(disk, Some(chain()), options, |_, _| {}).unwrap();
        for _ in 0..blocks {
            let block = next_block(ledger.state(), Vec::new(), Vec::new());
            ledger.commit(&block).unwrap();
        }
        ledger
    }

    fn copied(log: &dyn BlockLog, ledger: &Ledger, shutdown: Shutdown) -> Result<u64, Failure> {
        let output = Output::new(true, Box::new(Buffer::default()));
        let flags = vec![("general.progress", "--progress", "none".to_owned())];
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
        let watched = Watched::until(shutdown, &Context { output: &output, config });
        let blocks = ledger.state().round().height.0;
        let same = compare(log, ledger, blocks, &watched)?;
        append(log, ledger, same, blocks, &watched)
    }

    #[test]
    fn a_ledger_is_put_where_the_log_ends_and_gone_on_with() {
        let engine = Embedded::in_memory();
        let log = engine.cluster().blocks;
        let copy = |ledger: &Ledger| copied(&*log, ledger, Shutdown::new()).unwrap();
        let whole = ledger(5);
        assert_eq!(
            [copy(&ledger(3)), copy(&ledger(3)), copy(&whole), copy(&ledger(2))],
            [3, 0, 2, 0]
        );
        let entries = log.read(Position::START, usize::MAX).unwrap();
        assert_eq!(entries.len(), 5);
        for (height, entry) in (0..).map(Height).zip(entries) {
            assert_eq!(Some(&entry.bytes), whole.block_bytes(height).unwrap().as_ref());
            assert_eq!(entry.id, whole.header(height).unwrap().unwrap().hash());
        }
    }

    #[test]
    fn a_log_with_something_else_is_left_as_it_is() {
        let engine = Embedded::in_memory();
        let log = engine.cluster().blocks;
        copied(&*log, &ledger(1), Shutdown::new()).unwrap();
        log.append(Position(1), &Digest::ZERO, b"other").unwrap();
        let failure = copied(&*log, &ledger(3), Shutdown::new()).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Rejected, "other-block"));
        assert!(failure.message().contains("block 1"), "{failure}");
        assert_eq!(log.read(Position::START, usize::MAX).unwrap().len(), 2);
    }

    #[test]
    fn a_ledger_from_a_snapshot_is_refused_and_says_what_it_has_not() {
        let snapshot = ledger(3).snapshot().unwrap();
        let disk = Arc::new(Memory::default());
        let options = OpenOptions::default();
        let based = Ledger::start_from(disk, chain(), snapshot, options).unwrap();
        let failure = require_whole(&based).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Rejected, "ledger-has-base"));
        assert!(failure.message().contains("no block up to 2"), "{failure}");
        require_whole(&ledger(3)).unwrap();
    }

    #[test]
    fn a_copy_that_was_interrupted_is_gone_on_with() {
        let engine = Embedded::in_memory();
        let log = engine.cluster().blocks;
        let shutdown = Shutdown::new();
        shutdown.request();
        let failure = copied(&*log, &ledger(3), shutdown).unwrap_err();
        assert_eq!(failure.exit(), Exit::Interrupted);
        assert_eq!(log.read(Position::START, usize::MAX).unwrap().len(), 1);
        assert_eq!(copied(&*log, &ledger(3), Shutdown::new()), Ok(2));
    }
}
