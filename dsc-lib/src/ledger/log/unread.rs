//! Opening the block log: which records it has, and what a crash left of the last one.
//!
//! # Invariants
//!
//! 1. A log is cut only where nothing shows that what is cut off was on disk, and that is kept.
//! 2. The last record, and the log's name, are on disk before anybody hears of them, whoever has
//!    written them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{
    BLOCKS, FORMAT, FORMAT_BASED, HEAD_BYTES, Log, MAGIC, SYNCED, Tail, Torn,
    record::{
        Extent, Head, RECORD_BYTES, RECORD_MAX, head_at, parse_head, read, read_exact, u16_at,
        u32_at, write_anew,
    },
};
use crate::{
    block::{BlockHash, Header},
    codec,
    disk::{Disk, DiskFile, set_aside},
    genesis::{BLOCK_BYTES_MAX, Chain, GENESIS_BYTES_MAX, Genesis},
    ledger::{OpenError, SnapshotTip, StoreError, rules::check_origin},
    units::Height,
};

/// How names of records kept aside start.
const TORN: &str = "blocks.torn-";
/// How far ahead of a record that does not check one is looked for that does.
const HEIGHTS_AHEAD: u64 = 1 << 20;
/// Most bytes of a base: more than any header has with proofs of all engines.
const BASE_BYTES_MAX: usize = 1 << 20;

/// A log whose records have not been looked at.
#[derive(Debug)]
pub(in crate::ledger) struct Unread {
    file: Arc<dyn DiskFile>,
    start: u64,
    size: u64,
    /// The height that was synced last, and where it ends.
    synced: Option<(Height, u64)>,
    chain: Chain,
    base: Option<SnapshotTip>,
}

impl Unread {
    /// Opens the log and reads its head; it must be of the chain `wanted`, if that is given.
    pub(in crate::ledger) fn open(
        disk: &dyn Disk,
        wanted: Option<Chain>,
    ) -> Result<Self, OpenError> {
        let file = disk.open(BLOCKS).map_err(StoreError::io("open the block log"))?;
        let size = file.size().map_err(StoreError::io("open the block log"))?;
        let (genesis, base, start) = read_head(&*file, size)?;
        let chain = match_chain(&genesis, wanted)?;
        let synced = match disk.open(SYNCED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.and_then(|file| read_synced(&*file)),
        };
        let synced = synced.map_err(StoreError::io("read blocks.synced"))?;
        Ok(Self { file, start, size, synced, chain, base })
    }

    /// The chain whose blocks it has.
    pub(in crate::ledger) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The last block that it does not have, if it does not begin with the first one.
    pub(in crate::ledger) fn base(&self) -> Option<&SnapshotTip> {
        self.base.as_ref()
    }

    /// Where the first record is.
    pub(in crate::ledger) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes there are.
    pub(in crate::ledger) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of the block at `height`, whose record is at `extent`.
    pub(in crate::ledger) fn read(
        &self,
        extent: Extent,
        height: Height,
    ) -> Result<Vec<u8>, StoreError> {
        read(&*self.file, extent, height)
    }

    /// The record of `height` at `offset`, which was synced if `height` is at most `known`; `None`
    /// if the log ends here, or if what is here was left by a crash.
    pub(in crate::ledger) fn next(
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
    /// that does not exist yet is not among them. The checksum of the head, which is over as many
    /// bytes as its length says, is worked out only where such a header follows.
    fn is_later(&self, bytes: &[u8], height: Height) -> bool {
        let header = || {
            let (fields, _) = bytes.split_at_checked(RECORD_BYTES)?;
            let found = u64::from_le_bytes(*fields.get(4..)?.first_chunk()?);
            let ahead = found.checked_sub(height.0)?;
            let claimed = Extent { offset: 0, len: u32_at(fields, 0) };
            let can_be =
                (1..=HEIGHTS_AHEAD).contains(&ahead) && u64::from(claimed.len) <= BLOCK_BYTES_MAX;
            let body = bytes.get(usize::try_from(claimed.body()).ok()?..).filter(|_| can_be)?;
            let (header, _) = codec::decode_first::<Header>(body).ok()?;
            let is_its = header.height.0 == found && header.chain == self.chain.hash();
            parse_head(bytes, 0, Height(found)).filter(|_| is_its)?;
            Some(header)
        };
        header().is_some_and(|header| check_origin(&self.chain, &header).is_ok())
    }

    /// Ends reading: the log goes on after `last`. What follows is kept aside and cut off.
    pub(in crate::ledger) fn finish(
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
        let mut synced = None;
        if !read_only {
            synced = Some(open_synced(disk)?);
            let settled = self.settle(disk, end, height, last, torn.as_mut());
            settled.map_err(StoreError::io("cut the block log"))?;
        }
        let tail = Mutex::new(Tail { end, height, hash, last, halted: None, forgotten: end });
        let log = Log { file: self.file, synced, start: self.start, tail };
        if let (Some(last), Some(before)) = (last, height.0.checked_sub(1)) {
            log.note_synced(Height(before), last.end());
        }
        Ok((log, torn))
    }

    /// Puts the last record and the log's name on disk, and cuts off what follows the record.
    ///
    /// The record may so far be in the system's memory alone: its writer was killed before the sync
    /// returned, or its sync has failed, after which the system need not write those bytes any more
    /// unless they are written again.
    fn settle(
        &self,
        disk: &dyn Disk,
        end: u64,
        height: Height,
        last: Option<Extent>,
        torn: Option<&mut Torn>,
    ) -> io::Result<()> {
        let is_synced = self.synced.is_some_and(|(synced, _)| synced.next() >= height);
        if let Some(last) = last.filter(|_| !is_synced) {
            write_anew(&*self.file, last)?;
        }
        if let Some(torn) = torn {
            let mut bytes = vec![0; usize::try_from(torn.bytes).unwrap_or(0)];
            self.file.read_at(&mut bytes, end)?;
            torn.kept = Some(set_aside(disk, &format!("{TORN}{height}"), &bytes)?);
            self.file.set_len(end)?;
        }
        self.file.sync()?;
        disk.sync()
    }
}

/// The chain on record, which must be the one wanted.
fn match_chain(genesis: &Genesis, wanted: Option<Chain>) -> Result<Chain, OpenError> {
    let got = genesis.hash();
    match wanted {
        None => Ok(genesis.clone().check()?),
        Some(chain) if chain.hash() == got => Ok(chain),
        Some(chain) => Err(OpenError::OtherChain { got, expected: chain.hash() }),
    }
}

fn open_synced(disk: &dyn Disk) -> Result<Arc<dyn DiskFile>, StoreError> {
    let opened = match disk.open(SYNCED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(SYNCED),
        opened => opened,
    };
    opened.map_err(StoreError::io("open blocks.synced"))
}

/// What the file says; nothing if it is cut or damaged.
fn read_synced(file: &dyn DiskFile) -> io::Result<Option<(Height, u64)>> {
    let mut bytes = [0; 20];
    match file.read_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (fields, sum) = bytes.split_at(16);
    let (height, end) = fields.split_at(8);
    let number = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
    let good = sum == crc32c::crc32c(fields).to_le_bytes();
    Ok(good.then_some((Height(number(height)), number(end))))
}

/// Genesis and base, and where the first record is.
fn read_head(
    file: &dyn DiskFile,
    size: u64,
) -> Result<(Genesis, Option<SnapshotTip>, u64), OpenError> {
    let damaged = |what: &str| StoreError::corrupt(format!("the block log: {what}"));
    let head = read_exact(file, 0, size.min(HEAD_BYTES as u64))?;
    let (fields, sum) = head.split_at_checked(16).ok_or_else(|| damaged("its head is cut"))?;
    if !fields.starts_with(&MAGIC) {
        return Err(damaged("it does not start with DSCBLOCK").into());
    }
    let base_max = match u16_at(fields, 8) {
        FORMAT => 0,
        FORMAT_BASED => BASE_BYTES_MAX,
        got => return Err(OpenError::Format { got, expected: FORMAT }),
    };
    let len = u64::from(u32_at(fields, 12));
    let start = len.saturating_add(HEAD_BYTES as u64);
    if len > GENESIS_BYTES_MAX.saturating_add(base_max) as u64 || start > size {
        return Err(damaged("its head is cut").into());
    }
    let body = read_exact(file, HEAD_BYTES as u64, len)?;
    if sum != crc32c::crc32c_append(crc32c::crc32c(fields), &body).to_le_bytes() {
        return Err(damaged("the checksum of its head is wrong").into());
    }
    let (genesis, base) = read_body(&body, base_max > 0)?;
    Ok((genesis, base, start))
}

fn read_body(body: &[u8], is_based: bool) -> Result<(Genesis, Option<SnapshotTip>), StoreError> {
    let damaged = |what: &'static str| {
        move |error: codec::DecodeError| StoreError::corrupt(format!("the log's {what}: {error}"))
    };
    if !is_based {
        let genesis = codec::decode_bounded(body, GENESIS_BYTES_MAX).map_err(damaged("genesis"))?;
        return Ok((genesis, None));
    }
    let (genesis, rest) = codec::decode_first(body).map_err(damaged("genesis"))?;
    Ok((genesis, Some(codec::decode(rest).map_err(damaged("base"))?)))
}
