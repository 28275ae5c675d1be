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
//!         . canonical genesis, len bytes
//! record  len u32 . height u64 . checksum u32 of both and of sums . sums . canonical block, len bytes
//! sums    one checksum u32 for each 16,384 bytes of the block, the last one perhaps shorter
//! ```
//!
//! A record that does not check is the last one, left by a crash, unless
//!
//! 1. its height was synced: the file [`SYNCED`] or the index says so;
//! 2. its head is good and bytes follow the block;
//! 3. more bytes follow than one record has, or a good head of a later record does.
//!
//! `SYNCED` is rewritten after each sync, but not itself synced: it survives the end of a process,
//! and may be behind after the end of power.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    CheckedBlock, OpenError, StaleBlock, StoreError, checked::fixed_bytes, rules::check_origin,
};
use crate::{
    block::{BlockHash, Header},
    codec,
    disk::{Disk, DiskFile},
    genesis::{BLOCK_BYTES_MAX, Chain, GENESIS_BYTES_MAX, Genesis},
    units::Height,
};

/// The log's file.
pub(super) const BLOCKS: &str = "blocks.log";
/// A log that is being started.
const BLOCKS_NEW: &str = "blocks.new";
/// The height that was synced last, and where it ends.
pub(super) const SYNCED: &str = "blocks.synced";
/// How names of records kept aside start.
const TORN: &str = "blocks.torn-";
const MAGIC: [u8; 8] = *b"DSCBLOCK";
/// Layout of the log.
pub(super) const FORMAT: u16 = 1;
const HEAD_BYTES: usize = 20;
const RECORD_BYTES: usize = 16;
/// How far ahead of a record that does not check one is looked for that does.
const HEIGHTS_AHEAD: u64 = 1 << 20;
/// Bytes of a block under one checksum.
const CHUNK: u32 = 16 << 10;
const CHUNK_BYTES: usize = CHUNK as usize;
/// Bytes at the end of the log that the system is to hold in memory.
const CACHED_BYTES: u64 = 64 << 20;
/// Bytes that are written at once: what fits the processor's cache.
const WRITE_BYTES: usize = 64 * CHUNK_BYTES;

/// Where a block's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first byte.
    pub(super) offset: u64,
    /// Bytes of the block in it.
    pub(super) len: u32,
}

impl Extent {
    /// The first byte of the block.
    fn body(self) -> u64 {
        self.offset.saturating_add(RECORD_BYTES as u64).saturating_add(self.sums_bytes())
    }

    fn sums_bytes(self) -> u64 {
        u64::from(self.len).div_ceil(CHUNK_BYTES as u64).saturating_mul(4)
    }

    /// The first byte after the record.
    pub(super) fn end(self) -> u64 {
        self.body().saturating_add(u64::from(self.len))
    }
}

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

/// A log whose records have not been looked at.
#[derive(Debug)]
pub(super) struct Unread {
    file: Arc<dyn DiskFile>,
    start: u64,
    size: u64,
    /// The height that was synced last, and where it ends.
    synced: Option<(Height, u64)>,
    chain: Chain,
}

/// Starts a log: it is there whole or not at all.
pub(super) fn create(disk: &dyn Disk, genesis: &[u8]) -> Result<(), StoreError> {
    let failed = StoreError::io("start the block log");
    let len = u32::try_from(genesis.len()).unwrap_or(u32::MAX);
    let mut head = MAGIC.to_vec();
    head.extend(FORMAT.to_le_bytes());
    head.extend([0; 2]);
    head.extend(len.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head), genesis);
    head.extend(sum.to_le_bytes());
    head.extend(genesis);
    let write = || {
        let file = disk.create(BLOCKS_NEW)?;
        file.write_at(&head, 0)?;
        file.sync()?;
        disk.rename(BLOCKS_NEW, BLOCKS)?;
        disk.sync()
    };
    write().map_err(failed)
}

impl Unread {
    /// Opens the log and reads its head; it must be of the chain `wanted`, if that is given.
    pub(super) fn open(disk: &dyn Disk, wanted: Option<Chain>) -> Result<Self, OpenError> {
        let file = disk.open(BLOCKS).map_err(StoreError::io("open the block log"))?;
        let size = file.size().map_err(StoreError::io("open the block log"))?;
        let (genesis, start) = read_head(&*file, size)?;
        let chain = match_chain(&genesis, wanted)?;
        let synced = disk.open(SYNCED).ok().and_then(|file| read_synced(&*file));
        Ok(Self { file, start, size, synced, chain })
    }

    /// The chain whose blocks it has.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where the first record is.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of the block at `height`, whose record is at `extent`.
    pub(super) fn read(&self, extent: Extent, height: Height) -> Result<Vec<u8>, StoreError> {
        read(&*self.file, extent, height)
    }

    /// The record of `height` at `offset`, which was synced if `height` is at most `known`; `None`
    /// if the log ends here, or if what is here was left by a crash.
    pub(super) fn next(
        &self,
        offset: u64,
        height: Height,
        known: Option<Height>,
    ) -> Result<Option<(Extent, Vec<u8>)>, StoreError> {
        let synced = self.synced.map(|(synced, _)| synced).max(known);
        let must = synced.is_some_and(|synced| height <= synced);
        let left = self.size.saturating_sub(offset);
        let (found, whole) = match head_at(&*self.file, offset, height, left)? {
            Head::Good(extent) if extent.end() <= self.size => {
                match read(&*self.file, extent, height) {
                    Err(StoreError::Corrupt { .. }) => (None, extent.end() < self.size),
                    found => return Ok(Some((extent, found?))),
                }
            }
            Head::Good(_) => (Some("the file ends within it"), false),
            Head::Bad => (None, self.later_record(offset, height, left)?),
            Head::None => (Some("the file ends before it"), false),
        };
        if must || whole {
            let why = found.unwrap_or("its checksum is wrong");
            return Err(StoreError::corrupt(format!("block {height} at byte {offset}: {why}")));
        }
        Ok(None)
    }

    /// Whether more than a last record follows.
    fn later_record(&self, offset: u64, height: Height, left: u64) -> Result<bool, StoreError> {
        if left > RECORD_MAX {
            return Ok(true);
        }
        let bytes = read_exact(&*self.file, offset, left)?;
        let mut places = 1..bytes.len();
        Ok(places.any(|place| bytes.get(place..).is_some_and(|rest| self.is_later(rest, height))))
    }

    /// Whether `bytes` start with the record of a block after `height`.
    ///
    /// Whoever pays can put bytes into a block that look like a record. A signed header of a block
    /// that does not exist yet is not among them.
    fn is_later(&self, bytes: &[u8], height: Height) -> bool {
        let header = || {
            let found = u64::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
            let ahead = found.checked_sub(height.0)?;
            let extent = (1..=HEIGHTS_AHEAD).contains(&ahead);
            let extent = extent.then(|| parse_head(bytes, 0, Height(found))).flatten()?;
            let body = bytes.get(usize::try_from(extent.body()).ok()?..)?;
            let (header, _) = codec::decode_first::<Header>(body).ok()?;
            (header.height.0 == found).then_some(header)
        };
        header().is_some_and(|header| check_origin(&self.chain, &header).is_ok())
    }

    /// Ends reading: the log goes on after `last`. What follows is kept aside and cut off.
    pub(super) fn finish(
        self,
        disk: &dyn Disk,
        read_only: bool,
        end: u64,
        next: (Height, BlockHash),
        last: Option<Extent>,
    ) -> Result<(Log, Option<Torn>), StoreError> {
        let (height, hash) = next;
        let bytes = self.size.saturating_sub(end);
        let mut torn = (bytes > 0).then_some(Torn { height, bytes, kept: None });
        if let Some(torn) = torn.as_mut().filter(|_| !read_only) {
            let kept = keep_aside(&*self.file, disk, end, torn);
            torn.kept = Some(kept.map_err(StoreError::io("cut the block log"))?);
        }
        if !read_only {
            let kept = keep_last(&*self.file, disk, last);
            kept.map_err(StoreError::io("put the last block on disk"))?;
        }
        let synced = if read_only { None } else { Some(open_synced(disk)?) };
        let tail = Mutex::new(Tail { end, height, hash, last, halted: None, forgotten: end });
        Ok((Log { file: self.file, synced, start: self.start, tail }, torn))
    }
}

/// Bytes of the largest record there can be.
const RECORD_MAX: u64 =
    RECORD_BYTES as u64 + 4 * BLOCK_BYTES_MAX.div_ceil(CHUNK_BYTES as u64) + BLOCK_BYTES_MAX;

/// The chain on record, which must be the one wanted.
fn match_chain(genesis: &[u8], wanted: Option<Chain>) -> Result<Chain, OpenError> {
    let genesis: Genesis = codec::decode_bounded(genesis, GENESIS_BYTES_MAX)
        .map_err(|error| StoreError::corrupt(format!("the log's genesis: {error}")))?;
    let got = genesis.hash();
    match wanted {
        None => Ok(genesis.check()?),
        Some(chain) if chain.hash() == got => Ok(chain),
        Some(chain) => Err(OpenError::OtherChain { got, expected: chain.hash() }),
    }
}

fn keep_aside(
    file: &dyn DiskFile,
    disk: &dyn Disk,
    end: u64,
    torn: &Torn,
) -> std::io::Result<String> {
    let kept = format!("{TORN}{}", torn.height);
    let copy = disk.create(&kept)?;
    let mut bytes = vec![0; usize::try_from(torn.bytes).unwrap_or(0)];
    file.read_at(&mut bytes, end)?;
    copy.write_at(&bytes, 0)?;
    copy.sync()?;
    disk.sync()?;
    file.set_len(end)?;
    file.sync()?;
    Ok(kept)
}

/// Puts on disk what may so far be in the system's memory alone: the last record, and the log's name.
///
/// Who wrote them may have been killed before the sync returned, or have seen it fail; then the
/// system need not write those bytes any more unless they are written again.
fn keep_last(file: &dyn DiskFile, disk: &dyn Disk, last: Option<Extent>) -> std::io::Result<()> {
    if let Some(extent) = last {
        let len = extent.end().saturating_sub(extent.offset);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_at(&mut bytes, extent.offset)?;
        file.write_at(&bytes, extent.offset)?;
        file.sync()?;
    }
    disk.sync()
}

fn open_synced(disk: &dyn Disk) -> Result<Arc<dyn DiskFile>, StoreError> {
    let opened = disk.open(SYNCED).or_else(|_| disk.create(SYNCED));
    opened.map_err(StoreError::io("open blocks.synced"))
}

fn read_synced(file: &dyn DiskFile) -> Option<(Height, u64)> {
    let mut bytes = [0; 20];
    file.read_at(&mut bytes, 0).ok()?;
    let (fields, sum) = bytes.split_at(16);
    let (height, end) = fields.split_at(8);
    let good = sum == crc32c::crc32c(fields).to_le_bytes();
    let (height, end) = (height.try_into().ok()?, end.try_into().ok()?);
    good.then_some((Height(u64::from_le_bytes(height)), u64::from_le_bytes(end)))
}

fn read_head(file: &dyn DiskFile, size: u64) -> Result<(Vec<u8>, u64), OpenError> {
    let damaged = |what: &str| StoreError::corrupt(format!("the block log: {what}"));
    let head = read_exact(file, 0, size.min(HEAD_BYTES as u64))?;
    let (fields, sum) = head.split_at_checked(16).ok_or_else(|| damaged("its head is cut"))?;
    if !fields.starts_with(&MAGIC) {
        return Err(damaged("it does not start with DSCBLOCK").into());
    }
    let format = u16_at(fields, 8);
    if format != FORMAT {
        return Err(OpenError::Format { got: format, expected: FORMAT });
    }
    let len = u64::from(u32_at(fields, 12));
    let start = len.saturating_add(HEAD_BYTES as u64);
    if len > GENESIS_BYTES_MAX as u64 || start > size {
        return Err(damaged("its head is cut").into());
    }
    let genesis = read_exact(file, HEAD_BYTES as u64, len)?;
    if sum != crc32c::crc32c_append(crc32c::crc32c(fields), &genesis).to_le_bytes() {
        return Err(damaged("the checksum of its head is wrong").into());
    }
    Ok((genesis, start))
}

/// What is where a record should start.
enum Head {
    /// Nothing.
    None,
    /// No head of the record that comes next.
    Bad,
    /// The head of a record that may be cut.
    Good(Extent),
}

fn head_at(
    file: &dyn DiskFile,
    offset: u64,
    height: Height,
    left: u64,
) -> Result<Head, StoreError> {
    if left == 0 {
        return Ok(Head::None);
    }
    let fixed = read_exact(file, offset, left.min(RECORD_BYTES as u64))?;
    let Some(extent) = (fixed.len() == RECORD_BYTES)
        .then(|| Extent { offset, len: u32_at(&fixed, 0) })
        .filter(|extent| u64::from(extent.len) <= BLOCK_BYTES_MAX)
    else {
        return Ok(Head::Bad);
    };
    let bytes = (RECORD_BYTES as u64).saturating_add(extent.sums_bytes());
    let head = read_exact(file, offset, bytes.min(left))?;
    Ok(parse_head(&head, offset, height).map_or(Head::Bad, Head::Good))
}

/// Reads a record's head from the front of `bytes`; `None` unless it is whole and of `height`.
fn parse_head(bytes: &[u8], offset: u64, height: Height) -> Option<Extent> {
    let (fields, rest) = bytes.split_at_checked(12)?;
    let (sum, rest) = rest.split_at_checked(4)?;
    let extent = Extent { offset, len: u32_at(fields, 0) };
    let sums = rest.get(..usize::try_from(extent.sums_bytes()).ok()?)?;
    let good = extent.len > 0
        && fields.get(4..) == Some(&height.0.to_le_bytes())
        && sum == head_sum(fields, sums).to_le_bytes();
    good.then_some(extent)
}

fn head_sum(fields: &[u8], sums: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(fields), sums)
}

fn read_exact(file: &dyn DiskFile, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_at(&mut bytes, offset).map_err(StoreError::io("read the block log"))?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

fn read(file: &dyn DiskFile, extent: Extent, height: Height) -> Result<Vec<u8>, StoreError> {
    read_part(file, extent, height, 0, extent.len)
}

/// Reads a part of a block; whatever chunks it touches are checked.
fn read_part(
    file: &dyn DiskFile,
    extent: Extent,
    height: Height,
    from: u32,
    len: u32,
) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| {
        StoreError::corrupt(format!("block {height} at byte {}: {what}", extent.offset))
    };
    let head_len = (RECORD_BYTES as u64).saturating_add(extent.sums_bytes());
    let head = read_exact(file, extent.offset, head_len)?;
    if parse_head(&head, extent.offset, height) != Some(extent) {
        return Err(damaged("its head is not what was written"));
    }
    let to = from.saturating_add(len).min(extent.len);
    let first = from.min(extent.len) / CHUNK;
    let start = first.saturating_mul(CHUNK);
    let end = to.div_ceil(CHUNK).saturating_mul(CHUNK).clamp(start, extent.len.max(start));
    let body = extent.body().saturating_add(u64::from(start));
    let mut bytes = read_exact(file, body, u64::from(end.saturating_sub(start)))?;
    let sums = head.get(RECORD_BYTES..).unwrap_or_default().chunks_exact(4);
    for (part, sum) in bytes.chunks(CHUNK_BYTES).zip(sums.skip(first as usize)) {
        if crc32c::crc32c(part).to_le_bytes() != *sum {
            return Err(damaged("its checksum is wrong"));
        }
    }
    bytes.truncate(to.saturating_sub(start) as usize);
    bytes.drain(..(from.saturating_sub(start) as usize).min(bytes.len()));
    Ok(bytes)
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

/// Writes a record at `offset`: the body in parts that fit the processor's cache, the head last.
fn write(file: &dyn DiskFile, offset: u64, block: &CheckedBlock) -> std::io::Result<Extent> {
    let len = block_len(block).ok_or(std::io::ErrorKind::FileTooLarge)?;
    let extent = Extent { offset, len };
    let sums = Vec::with_capacity(usize::try_from(extent.sums_bytes()).unwrap_or(0));
    let buffer = Vec::with_capacity(WRITE_BYTES.min(len as usize));
    let mut body = Body { file, at: extent.body(), buffer, sums };
    body.take(&codec::encode(block.header()))?;
    body.take(&codec::encode(block.proofs()))?;
    body.take(&(block.transactions().len() as u64).to_le_bytes())?;
    block.transactions().iter().try_for_each(|transaction| body.take(transaction.bytes()))?;
    body.flush()?;
    let mut head = len.to_le_bytes().to_vec();
    head.extend(block.header().height.0.to_le_bytes());
    head.extend(head_sum(&head, &body.sums).to_le_bytes());
    head.extend(body.sums);
    file.write_at(&head, offset)?;
    Ok(extent)
}

/// Bytes of the block's encoding, if a block may have as many.
fn block_len(block: &CheckedBlock) -> Option<u32> {
    let transactions = block.transactions().iter().map(|t| t.bytes().len() as u64);
    let len = transactions.fold(fixed_bytes(block.proofs()), u64::saturating_add);
    u32::try_from(len).ok().filter(|len| u64::from(*len) <= BLOCK_BYTES_MAX)
}

/// The body of a record being written.
struct Body<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    buffer: Vec<u8>,
    sums: Vec<u8>,
}

impl Body<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let room = WRITE_BYTES.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == WRITE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        for chunk in self.buffer.chunks(CHUNK_BYTES) {
            self.sums.extend(crc32c::crc32c(chunk).to_le_bytes());
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.at = self.at.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}
