//! The block log: one file to which blocks are appended, the truth that all else is made from.
//!
//! # Invariants
//!
//! 1. A block is on disk when [`Log::append`] returns, and the block before it was before that:
//!    a crash can harm the last record alone.
//! 2. What is read when a log is opened is on disk, even if whoever wrote it was killed before a sync.
//!    What a crash left of a last record is kept aside, then cut off. Everything else that does not
//!    check is an error: no record is dropped that is known to have been on disk.
//! 3. No byte that fails its checksum is handed out.
//!
//! All integers are little-endian, all checksums CRC-32C.
//!
//! ```text
//! head    magic `DSCBLOCK` . format u16 . 0 u16 . len u32 . checksum u32 of all but itself
//!         . canonical genesis . in format 2: canonical base, both of len bytes
//! record  len u32 . height u64 . checksum u32 of both and of sums . sums . canonical block, len bytes
//! sums    one checksum u32 for each 16,384 bytes of the block, the last one perhaps shorter
//! ```
//!
//! The first record of format 1 is that of height 0; of format 2, that of the height after the base,
//! which is the last block (its header and proofs) that the log does not have.
//!
//! A record that does not check is the last one, left by a crash, unless
//!
//! 1. its height was synced: the file [`SYNCED`] or the index says so;
//! 2. its head is good and bytes follow the block;
//! 3. more bytes follow than one record has, or a good head of a later record does.
//!
//! `SYNCED` is rewritten after each sync, but not itself synced: it survives the end of a process,
//! and may be behind after the end of power.

mod record;
mod unread;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::record::{CHUNK_BYTES, Head, head_at, read, read_part, write};
pub(super) use self::{record::Extent, unread::Unread};
use super::{CheckedBlock, SnapshotTip, StaleBlock, StoreError};
use crate::{
    block::BlockHash,
    codec,
    disk::{Disk, DiskFile},
    units::Height,
};

/// The log's file.
pub(super) const BLOCKS: &str = "blocks.log";
/// A log that is being started.
const BLOCKS_NEW: &str = "blocks.new";
/// The height that was synced last, and where it ends.
pub(super) const SYNCED: &str = "blocks.synced";
const MAGIC: [u8; 8] = *b"DSCBLOCK";
/// Layout of a log with every block.
const FORMAT: u16 = 1;
/// Layout of a log that begins after a base.
const FORMAT_BASED: u16 = 2;
const HEAD_BYTES: usize = 20;
/// Bytes at the end of the log that the system is to hold in memory.
const CACHED_BYTES: u64 = 64 << 20;

/// A last record that was cut off, as it was not on disk when the machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The height that its block would have had.
    pub height: Height,
    /// Bytes there were of it.
    pub bytes: u64,
    /// The file in the ledger's folder that they are kept in; `None` if opened for reading.
    pub kept: Option<String>,
}

/// The place of the next record.
#[derive(Clone, Debug)]
struct Tail {
    end: u64,
    height: Height,
    /// Hash of the last block, or of the genesis.
    hash: BlockHash,
    /// The last block's place.
    last: Option<Extent>,
    /// Why nothing can be appended any more.
    halted: Option<String>,
    /// Up to where the system was advised to forget.
    forgotten: u64,
}

/// The log, open.
#[derive(Debug)]
pub(super) struct Log {
    file: Arc<dyn DiskFile>,
    synced: Option<Arc<dyn DiskFile>>,
    start: u64,
    tail: Mutex<Tail>,
}

/// Starts a log, after `base` if there is one: it is there whole or not at all.
pub(super) fn create(
    disk: &dyn Disk,
    genesis: &[u8],
    base: Option<&SnapshotTip>,
) -> Result<(), StoreError> {
    let failed = StoreError::io("start the block log");
    let base_bytes = base.map(codec::encode).unwrap_or_default();
    let body = [genesis, &base_bytes].concat();
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut head = MAGIC.to_vec();
    head.extend(if base.is_some() { FORMAT_BASED } else { FORMAT }.to_le_bytes());
    head.extend([0; 2]);
    head.extend(len.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head), &body);
    head.extend(sum.to_le_bytes());
    head.extend(body);
    let write = || {
        let file = disk.create(BLOCKS_NEW)?;
        file.write_at(&head, 0)?;
        file.sync()?;
        disk.rename(BLOCKS_NEW, BLOCKS)?;
        disk.sync()
    };
    write().map_err(failed)
}

impl Log {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the first record is.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The bytes of the block at `height`, whose record is at `extent`.
    pub(super) fn read(&self, extent: Extent, height: Height) -> Result<Vec<u8>, StoreError> {
        read(&*self.file, extent, height)
    }

    /// At most `len` bytes from `from` on of the block at `height`.
    pub(super) fn read_part(
        &self,
        extent: Extent,
        height: Height,
        from: u32,
        len: u32,
    ) -> Result<Vec<u8>, StoreError> {
        read_part(&*self.file, extent, height, from, len)
    }

    /// The record of `height` at `offset`, which must be there.
    pub(super) fn record(
        &self,
        offset: u64,
        height: Height,
    ) -> Result<(Extent, Vec<u8>), StoreError> {
        let left = self.tail().end.saturating_sub(offset);
        let Head::Good(extent) = head_at(&*self.file, offset, height, left)? else {
            let what = format!("block {height} at byte {offset}: its head is not what was written");
            return Err(StoreError::corrupt(what));
        };
        Ok((extent, self.read(extent, height)?))
    }

    /// Appends a block and returns when it is on disk.
    ///
    /// The same block again, right after, is found to be there.
    pub(super) fn append(&self, block: &CheckedBlock) -> Result<Extent, AppendError> {
        let mut tail = self.tail();
        if let (Some(last), true) = (tail.last, tail.hash == block.hash()) {
            return Ok(last);
        }
        let (checked, tip) = (block.header().parent, tail.hash);
        if checked != tip || block.header().height != tail.height {
            return Err(StaleBlock { checked, tip }.into());
        }
        if let Some(after) = tail.halted.clone() {
            return Err(StoreError::Halted { after }.into());
        }
        let extent =
            write(&*self.file, tail.end, block).map_err(|error| self.undo(&mut tail, error))?;
        if let Err(source) = self.file.sync() {
            return Err(halt(&mut tail, source).into());
        }
        tail.end = extent.end();
        tail.height = tail.height.next();
        tail.hash = block.hash();
        tail.last = Some(extent);
        self.note_synced(block.header().height, extent.end());
        Ok(extent)
    }

    /// Gives back the memory in which the system holds blocks that everybody has had time to fetch:
    /// on some machines, virtual ones above all, memory that was not used before costs more than
    /// the rest of an append.
    pub(super) fn forget_old(&self) {
        let mut tail = self.tail();
        let (from, to) = (tail.forgotten, tail.end.saturating_sub(CACHED_BYTES));
        if to > from {
            tail.forgotten = to;
            drop(tail);
            // Pages that are partly within are kept, so neighbours overlap.
            self.file.forget(from.saturating_sub(CHUNK_BYTES as u64), to.saturating_sub(from));
        }
    }

    /// Takes back what was written of a record, so that the next try finds the file as it was.
    fn undo(&self, tail: &mut Tail, error: std::io::Error) -> StoreError {
        match self.file.set_len(tail.end) {
            Ok(()) => StoreError::io("append to the block log")(error),
            Err(_) => halt(tail, error),
        }
    }

    /// Tells whoever opens the log after a crash that this record is no leftover; if it cannot be
    /// written, that opening knows less.
    fn note_synced(&self, height: Height, end: u64) {
        let Some(file) = &self.synced else { return };
        let mut bytes = [height.0.to_le_bytes(), end.to_le_bytes()].concat();
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let _ = file.write_at(&bytes, 0);
    }
}

/// After a failed sync nobody knows what is on disk, and a second one may claim success.
fn halt(tail: &mut Tail, error: std::io::Error) -> StoreError {
    tail.halted = Some(error.to_string());
    StoreError::io("append to the block log")(error)
}

/// A block that was not appended.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    #[error(transparent)]
    Stale(#[from] StaleBlock),
    #[error(transparent)]
    Store(#[from] StoreError),
}
