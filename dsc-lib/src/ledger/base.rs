//! How a ledger starts, and the state that it starts with if it has not every block from the genesis
//! on.
//!
//! # Invariants
//!
//! 1. The file is believed in nothing: it has to be the state that the tip in the head of the log
//!    commits to, and that tip has to be signed.
//! 2. The file is on disk before the log is, and is never changed after that.
//!
//! [`BASE`] is the canonical encoding of a [`Snapshot`]. What the index has of it can be made anew
//! from there.

use std::io;

use super::{
    OpenError, Snapshot, SnapshotTip, State, StoreError,
    index::{self, Covered, Fresh, Tables},
    log::{self, BLOCKS, SYNCED},
};
use crate::{
    codec,
    disk::{Disk, read_all},
    genesis::Chain,
    units::Height,
};

/// The file.
const BASE: &str = "base.state";
const BASE_NEW: &str = "base.new";

/// Starts a log unless there is one.
pub(super) fn start(
    disk: &dyn Disk,
    chain: Option<&Chain>,
    read_only: bool,
) -> Result<(), OpenError> {
    if has_log(disk)? {
        return Ok(());
    }
    let Some(chain) = chain.filter(|_| !read_only) else { return Err(OpenError::Missing) };
    Ok(log::create(disk, &codec::encode(chain.genesis()), None)?)
}

/// Starts a log that goes on where `snapshot` ends.
pub(super) fn start_after(
    disk: &dyn Disk,
    chain: &Chain,
    snapshot: Snapshot,
) -> Result<(), OpenError> {
    if has_log(disk)? {
        return Err(OpenError::Present);
    }
    let (tip, bytes) = (snapshot.tip.clone(), codec::encode(&snapshot));
    State::from_snapshot(chain.clone(), snapshot)?;
    if tip.is_some() {
        write(disk, &bytes)?;
    }
    Ok(log::create(disk, &codec::encode(chain.genesis()), tip.as_ref())?)
}

/// Whether there is a log; there is nothing else of a ledger then.
fn has_log(disk: &dyn Disk) -> Result<bool, StoreError> {
    let names = disk.list().map_err(StoreError::io("list the ledger's folder"))?;
    if names.iter().any(|name| name == BLOCKS) {
        return Ok(true);
    }
    match names.iter().find(|name| *name == SYNCED || index::is_own(name)) {
        Some(name) => Err(StoreError::corrupt(format!("{BLOCKS} is missing beside {name}"))),
        None => Ok(false),
    }
}

/// Puts an encoded snapshot on disk, in place of one that no log has come to.
fn write(disk: &dyn Disk, snapshot: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let file = disk.create(BASE_NEW)?;
        file.write_at(snapshot, 0)?;
        file.sync()?;
        disk.rename(BASE_NEW, BASE)?;
        disk.sync()
    };
    write().map_err(StoreError::io("write the state that the ledger starts with"))
}

/// The state before the first block of a log with this base; without one, that of the genesis.
pub(super) fn first_state(
    disk: &dyn Disk,
    chain: &Chain,
    base: Option<&SnapshotTip>,
) -> Result<State, StoreError> {
    let Some(base) = base else { return Ok(State::genesis(chain.clone())) };
    let read = || read_all(&*disk.open(BASE)?);
    let bytes = read().map_err(StoreError::io("read the state that the ledger starts with"))?;
    let damaged = |error: &dyn std::fmt::Display| StoreError::corrupt(format!("{BASE}: {error}"));
    let snapshot: Snapshot = codec::decode(&bytes).map_err(|error| damaged(&error))?;
    if snapshot.tip.as_ref() != Some(base) {
        return Err(damaged(&"it is of another block than the log's"));
    }
    State::from_snapshot(chain.clone(), snapshot).map_err(|error| damaged(&error))
}

/// The height of the first block of a log with this base.
pub(super) fn first_height(base: Option<&SnapshotTip>) -> Height {
    base.map_or(Height(0), |tip| tip.header.height.next())
}

/// What the index has of the state that a ledger starts with, whose log begins at `end`.
pub(super) fn indexed(state: &State, height: Height, end: u64) -> Fresh {
    // Each transaction has counted up its sender's sequence by one.
    let sequences = state.accounts().values().map(|account| account.sequence);
    let transactions = sequences.fold(0, u64::saturating_add);
    let covered = Covered { height, hash: state.tip().hash, end, transactions };
    Fresh { covered, tables: Tables::of_base(state.chain().genesis(), state.accounts()) }
}
