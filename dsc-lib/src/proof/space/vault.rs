//! The vault file: a pair table on disk, one page for each bucket.
//!
//! Page 0 is the header, page `b + 1` is bucket `b`; there are 2^(k-9) buckets, named by the top
//! `k - 9` bits of `e`. Integers are little-endian, unused bytes are zero. Pages stand at fixed
//! places, so a challenge gives an offset and writing a page twice does no harm.
//!
//! | header offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `DSCVAULT` |
//! | 8 | 2 | version, 1 |
//! | 10 | 1 | k |
//! | 11 | 1 | 1 if complete, else 0 |
//! | 12 | 4 | index |
//! | 16 | 32 | address |
//! | 48 | 16 | fingerprint |
//! | 64 | 8 | pairs of the table |
//! | 72 | 8 | pairs dropped because their bucket was full |
//! | 4092 | 4 | CRC-32C |
//!
//! | bucket offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 each | up to 511 entries in increasing `e`: x1 u32, x2 u32 |
//! | 4088 | 2 | number of entries |
//! | 4090 | 2 | format, 1 |
//! | 4092 | 4 | CRC-32C |
//!
//! The CRC is over the page's first 4092 bytes, its number as u64 and the vault's id: address,
//! fingerprint, k (1 byte) and index (4 bytes). A page that was moved or comes from another vault
//! fails it.
//!
//! # Invariants
//!
//! 1. A page is used only after its CRC was checked.
//! 2. A header is accepted only if it is, byte for byte, what this program would write, and its
//!    file has the length that its `k` gives.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::super::{
    Fingerprint, Miner,
    pairs::{Pair, Placed, Size},
};
use crate::address::Address;

/// Bytes of a page.
pub const PAGE_LEN: usize = 4096;
/// Most entries of a bucket.
pub const ENTRIES_MAX: usize = 511;
/// log2 of the entries expected in a bucket.
pub(super) const BUCKET_BITS: u32 = 9;

const MAGIC: [u8; 8] = *b"DSCVAULT";
const VERSION: u16 = 1;
const FORMAT: u16 = 1;
const VERSION_AT: usize = 8;
const K_AT: usize = 10;
const COMPLETE_AT: usize = 11;
pub(super) const PAIRS_AT: usize = 64;
pub(super) const DROPPED_AT: usize = 72;
const HEADER_LEN: usize = 80;
const COUNT_AT: usize = 4088;
const FORMAT_AT: usize = 4090;
const CRC_AT: usize = 4092;
pub(super) const ID_LEN: usize = 53;

/// One page.
pub(super) type Page = [u8; PAGE_LEN];

/// Which table a vault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultId {
    /// Whose it is.
    pub miner: Miner,
    size: Size,
    /// Which of the miner's vaults of this size.
    pub index: u32,
}

impl VaultId {
    /// The vault of `miner` with 2^`k` entries and this `index`, or `None` if `k` is not 16 to 32.
    pub fn new(miner: Miner, k: u8, index: u32) -> Option<Self> {
        Size::new(k).map(|size| Self { miner, size, index })
    }

    pub(super) const fn of_size(miner: Miner, size: Size, index: u32) -> Self {
        Self { miner, size, index }
    }

    /// log2 of the number of entries.
    pub const fn k(&self) -> u8 {
        self.size.k()
    }

    pub(super) const fn size(&self) -> Size {
        self.size
    }

    /// Number of buckets.
    pub const fn buckets(&self) -> u64 {
        self.size.values() >> BUCKET_BITS
    }

    /// Bits of a bucket's number.
    pub(super) fn bucket_bits(&self) -> u32 {
        self.size.bits().saturating_sub(BUCKET_BITS)
    }

    /// Bytes of the file.
    pub const fn file_len(&self) -> u64 {
        offset_of(self.buckets().saturating_add(1))
    }

    /// The name of the file: whose it is, `k` and index.
    pub fn file_name(&self) -> String {
        let Miner { address, fingerprint } = &self.miner;
        let owner = address.0.first_chunk::<4>().map(hex::encode).unwrap_or_default();
        format!("space-{owner}-{fingerprint}-k{}-i{}.vault", self.k(), self.index)
    }

    pub(super) fn to_bytes(self) -> [u8; ID_LEN] {
        let mut bytes = [0; ID_LEN];
        put(&mut bytes, 0, &self.miner.address.0);
        put(&mut bytes, 32, &self.miner.fingerprint.0);
        put(&mut bytes, 48, &[self.k()]);
        put(&mut bytes, 49, &self.index.to_le_bytes());
        bytes
    }
}

/// Byte offset of page `number`.
pub(super) const fn offset_of(number: u64) -> u64 {
    number.saturating_mul(PAGE_LEN as u64)
}

/// What the header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which table it is.
    pub id: VaultId,
    /// Whether every page was written.
    pub complete: bool,
    /// Pairs of the table.
    pub pairs: u64,
    /// Pairs that found their bucket full.
    pub dropped: u64,
}

/// What is wrong with a vault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {fault}", path.display())]
pub struct VaultError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

impl VaultError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        Self { path: path.to_path_buf(), fault }
    }
}

/// One way for a vault to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The system could not read it.
    #[error("cannot read page {page} at offset {offset}: {reason}")]
    Io {
        /// Number of the page.
        page: u64,
        /// Its byte offset.
        offset: u64,
        /// What the system said.
        reason: String,
    },
    /// It does not begin like a vault.
    #[error("not a vault file")]
    Magic,
    /// It is of a version that this program does not know.
    #[error("vault version {got}, expected {expected}")]
    Version {
        /// Version of the file.
        got: u16,
        /// Version that this program writes.
        expected: u16,
    },
    /// The header's `k` is none.
    #[error("vault of k = {got}, expected {min} to {max}")]
    Size {
        /// What the header says.
        got: u8,
        /// Least `k`.
        min: u8,
        /// Greatest `k`.
        max: u8,
    },
    /// The file is longer or shorter than its `k` gives.
    #[error("{got} bytes, expected {expected}")]
    Length {
        /// Bytes of the file.
        got: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// It is the vault of somebody else, or another one.
    #[error("it is the vault {got}, expected {expected}")]
    Identity {
        /// Name of the vault it is.
        got: String,
        /// Name of the vault asked for.
        expected: String,
    },
    /// Plotting did not finish.
    #[error("plotting did not finish")]
    Incomplete,
    /// It is being repaired, so it cannot be mapped.
    #[error("it is being repaired")]
    Busy,
    /// There is no such bucket.
    #[error("bucket {got}, expected less than {buckets}")]
    NoBucket {
        /// The bucket asked for.
        got: u64,
        /// Buckets of the vault.
        buckets: u64,
    },
    /// The bytes of a page are not those that were written.
    #[error("page {page} at offset {offset} fails its checksum")]
    Checksum {
        /// Number of the page.
        page: u64,
        /// Its byte offset.
        offset: u64,
    },
    /// A page has the right checksum and the wrong content.
    #[error("page {page} at offset {offset}: {rule}")]
    Content {
        /// Number of the page.
        page: u64,
        /// Byte offset of what is wrong.
        offset: u64,
        /// The rule that is broken.
        rule: String,
    },
}

impl Fault {
    /// Number of the page that is wrong, if it is one page.
    pub const fn page(&self) -> Option<u64> {
        match self {
            Self::Io { page, .. } | Self::Checksum { page, .. } | Self::Content { page, .. } => {
                Some(*page)
            }
            Self::Magic | Self::Version { .. } | Self::Size { .. } | Self::Incomplete => Some(0),
            Self::Length { .. } | Self::Identity { .. } | Self::Busy | Self::NoBucket { .. } => {
                None
            }
        }
    }

    /// Byte offset of what is wrong: an entry, a field, or else the page.
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::Io { offset, .. }
            | Self::Checksum { offset, .. }
            | Self::Content { offset, .. } => Some(*offset),
            Self::Magic | Self::Incomplete => Some(0),
            Self::Version { .. } => Some(VERSION_AT as u64),
            Self::Size { .. } => Some(K_AT as u64),
            Self::Length { .. } | Self::Identity { .. } | Self::Busy | Self::NoBucket { .. } => {
                None
            }
        }
    }

    /// What is wrong `at` bytes into page `page`, whose checksum is right.
    pub(super) fn content(page: u64, at: usize, rule: impl Into<String>) -> Self {
        let offset = offset_of(page).saturating_add(at as u64);
        Self::Content { page, offset, rule: rule.into() }
    }
}

impl Header {
    pub(super) fn to_page(self) -> Page {
        let mut page = [0; PAGE_LEN];
        put(&mut page, 0, &MAGIC);
        put(&mut page, VERSION_AT, &VERSION.to_le_bytes());
        put(&mut page, K_AT, &[self.id.k(), self.complete.into()]);
        put(&mut page, 12, &self.id.index.to_le_bytes());
        put(&mut page, 16, &self.id.miner.address.0);
        put(&mut page, 48, &self.id.miner.fingerprint.0);
        put(&mut page, PAIRS_AT, &self.pairs.to_le_bytes());
        put(&mut page, DROPPED_AT, &self.dropped.to_le_bytes());
        seal(&mut page, 0, &self.id);
        page
    }

    /// Reads a header page; the length of the file is the caller's to check.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it is none, whatever its bytes are.
    pub fn from_page(page: &[u8; PAGE_LEN]) -> Result<Self, Fault> {
        if take(page, 0) != MAGIC {
            return Err(Fault::Magic);
        }
        let got = u16::from_le_bytes(take(page, VERSION_AT));
        if got != VERSION {
            return Err(Fault::Version { got, expected: VERSION });
        }
        let id = VaultId::claimed(page)?;
        check_crc(page, 0, &id)?;
        let [complete] = take(page, COMPLETE_AT);
        if complete > 1 {
            let rule = format!("completion flag {complete}, expected 0 or 1");
            return Err(Fault::content(0, COMPLETE_AT, rule));
        }
        check_unused(page, 0, HEADER_LEN..CRC_AT)?;
        let [pairs, dropped] = [PAIRS_AT, DROPPED_AT].map(|at| u64::from_le_bytes(take(page, at)));
        Ok(Self { id, complete: complete == 1, pairs, dropped })
    }
}

impl VaultId {
    /// The vault that a header page claims to be of; nothing else of the page is looked at.
    pub(super) fn claimed(page: &Page) -> Result<Self, Fault> {
        let [k] = take(page, K_AT);
        let size = Size::new(k).ok_or(Fault::Size { got: k, min: Size::MIN, max: Size::MAX })?;
        Ok(Self::claimed_of_size(page, size))
    }

    /// As [`Self::claimed`], but of another size.
    pub(super) fn claimed_of_size(page: &Page, size: Size) -> Self {
        let (address, fingerprint) = (Address(take(page, 16)), Fingerprint(take(page, 48)));
        let index = u32::from_le_bytes(take(page, 12));
        Self { miner: Miner { address, fingerprint }, size, index }
    }

    /// The size of a vault whose file has `len` bytes.
    pub(super) fn size_of_file(len: u64) -> Option<Size> {
        (Size::MIN..=Size::MAX)
            .filter_map(Size::new)
            .find(|size| offset_of((size.values() >> BUCKET_BITS).saturating_add(1)) == len)
    }
}

/// Writes the page of bucket `bucket`: as many of `placed` as fit, the lowest.
///
/// Returns how many were dropped.
pub(super) fn write_bucket(page: &mut Page, bucket: u64, id: &VaultId, placed: &[Placed]) -> u64 {
    page.fill(0);
    for (slot, placed) in page[..COUNT_AT].as_chunks_mut().0.iter_mut().zip(placed) {
        *slot = placed.pair.to_bytes();
    }
    let count = placed.len().min(ENTRIES_MAX);
    put(page, COUNT_AT, &u16::try_from(count).unwrap_or_default().to_le_bytes());
    put(page, FORMAT_AT, &FORMAT.to_le_bytes());
    seal(page, bucket.saturating_add(1), id);
    placed.len().saturating_sub(count) as u64
}

/// Checks the page of bucket `bucket` and returns its entries.
pub(super) fn read_bucket<'p>(
    page: &'p Page,
    bucket: u64,
    id: &VaultId,
) -> Result<impl ExactSizeIterator<Item = Pair> + use<'p>, Fault> {
    let number = bucket.saturating_add(1);
    check_crc(page, number, id)?;
    let format = u16::from_le_bytes(take(page, FORMAT_AT));
    if format != FORMAT {
        let rule = format!("page format {format}, expected {FORMAT}");
        return Err(Fault::content(number, FORMAT_AT, rule));
    }
    let count = usize::from(u16::from_le_bytes(take(page, COUNT_AT)));
    if count > ENTRIES_MAX {
        let rule = format!("{count} entries, at most {ENTRIES_MAX} fit");
        return Err(Fault::content(number, COUNT_AT, rule));
    }
    Ok(page.as_chunks().0.iter().take(count).map(|bytes| Pair::from_bytes(*bytes)))
}

/// Checks that the bytes behind the `count` entries of bucket `bucket` are zero.
pub(super) fn check_unused_entries(page: &Page, bucket: u64, count: usize) -> Result<(), Fault> {
    check_unused(page, bucket.saturating_add(1), count.saturating_mul(Pair::LEN)..COUNT_AT)
}

fn check_unused(page: &Page, number: u64, unused: Range<usize>) -> Result<(), Fault> {
    let start = unused.start;
    let used = page.get(unused).and_then(|bytes| bytes.iter().position(|&byte| byte != 0));
    used.map_or(Ok(()), |at| {
        Err(Fault::content(number, start.saturating_add(at), "an unused byte is not zero"))
    })
}

/// Whether page `number` has the checksum of a page of vault `id`.
pub(super) fn belongs(page: &Page, number: u64, id: &VaultId) -> bool {
    check_crc(page, number, id).is_ok()
}

fn crc(page: &Page, number: u64, id: &VaultId) -> [u8; 4] {
    let crc = crc32c::crc32c(&page[..CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &number.to_le_bytes());
    crc32c::crc32c_append(crc, &id.to_bytes()).to_le_bytes()
}

pub(super) fn seal(page: &mut Page, number: u64, id: &VaultId) {
    let crc = crc(page, number, id);
    put(page, CRC_AT, &crc);
}

fn check_crc(page: &Page, number: u64, id: &VaultId) -> Result<(), Fault> {
    if crc(page, number, id) == take(page, CRC_AT) {
        Ok(())
    } else {
        Err(Fault::Checksum { page: number, offset: offset_of(number) })
    }
}

/// Copies `bytes` to `page` at a fixed place that the format sets.
fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = page.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        slot.copy_from_slice(bytes);
    }
}

/// Reads bytes of `page` at a fixed place that the format sets.
fn take<const LEN: usize>(page: &Page, at: usize) -> [u8; LEN] {
    page.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; LEN])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proof::testing::vector_miner;

    proptest! {
        /// Judging a page is total, and what is accepted was written by us.
        #[test]
        fn any_header_page_is_judged(
            changes in prop::collection::vec((0..100_usize, any::<u8>()), 0..4),
        ) {
            let mut page = header().to_page();
            for (at, byte) in changes {
                page[at] = byte;
            }
            if let Ok(read) = Header::from_page(&page) {
                prop_assert_eq!(read, header());
            }
            seal(&mut page, 0, &header().id);
            if let Ok(read) = Header::from_page(&page) {
                prop_assert_eq!(read.id, header().id);
            }
        }
    }

    fn header() -> Header {
        let id = VaultId::new(vector_miner(), 16, 3).unwrap();
        Header { id, complete: true, pairs: 65_000, dropped: 7 }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_byte_is_noticed() {
        let page = header().to_page();
        assert_eq!(Header::from_page(&page), Ok(header()));
        for at in 0..PAGE_LEN {
            let mut damaged = page;
            damaged[at] ^= 1;
            assert!(Header::from_page(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn each_header_rule_has_its_fault() {
        let damage = |at: usize, byte: u8| {
            let mut page = header().to_page();
            page[at] = byte;
            Header::from_page(&page).unwrap_err().to_string()
        };
        assert_eq!(damage(0, 0), "not a vault file");
        assert_eq!(damage(8, 2), "vault version 2, expected 1");
        assert_eq!(damage(10, 33), "vault of k = 33, expected 16 to 32");
        assert_eq!(damage(70, 1), "page 0 at offset 0 fails its checksum");
    }

    #[test]
    fn a_sealed_header_that_nobody_would_write_is_damaged_and_not_incomplete() {
        let damage = |at: usize, byte: u8| {
            let mut page = header().to_page();
            page[at] = byte;
            seal(&mut page, 0, &header().id);
            Header::from_page(&page).unwrap_err()
        };
        let flag = damage(COMPLETE_AT, 2);
        assert_eq!(flag.to_string(), "page 0 at offset 11: completion flag 2, expected 0 or 1");
        let unused = damage(81, 1);
        assert_eq!(unused.to_string(), "page 0 at offset 81: an unused byte is not zero");
        assert_eq!(damage(CRC_AT - 1, 1).offset(), Some(4091));
    }

    #[test]
    fn every_fault_of_a_page_names_it() {
        let page_0 = [
            (Fault::Magic, 0),
            (Fault::Version { got: 2, expected: 1 }, 8),
            (Fault::Size { got: 33, min: 16, max: 32 }, 10),
            (Fault::Incomplete, 0),
            (Fault::content(0, 64, "rule"), 64),
        ];
        for (fault, offset) in page_0 {
            assert_eq!((fault.page(), fault.offset()), (Some(0), Some(offset)), "{fault}");
        }
        let page_2 = [
            (Fault::Io { page: 2, offset: 8192, reason: "reason".into() }, 8192),
            (Fault::Checksum { page: 2, offset: 8192 }, 8192),
            (Fault::content(2, 8, "rule"), 8200),
        ];
        for (fault, offset) in page_2 {
            assert_eq!((fault.page(), fault.offset()), (Some(2), Some(offset)), "{fault}");
        }
        let of_file = [
            Fault::Length { got: 1, expected: 2 },
            Fault::Identity { got: "a".into(), expected: "b".into() },
            Fault::Busy,
            Fault::NoBucket { got: 128, buckets: 128 },
        ];
        for fault in of_file {
            assert_eq!((fault.page(), fault.offset()), (None, None), "{fault}");
        }
    }

    #[test]
    fn the_length_of_a_file_gives_its_size() {
        let id = header().id;
        assert_eq!(VaultId::size_of_file(id.file_len()), Some(id.size()));
        assert_eq!(VaultId::size_of_file(id.file_len() - 1), None);
        assert_eq!(VaultId::size_of_file(0), None);
    }

    #[test]
    fn a_full_bucket_drops_the_highest_entries() {
        let id = header().id;
        let placed: Vec<_> =
            (0..515).map(|n| Placed { e: n, pair: Pair(n | (n + 1) << 32) }).collect();
        let mut page = [7; PAGE_LEN];
        assert_eq!(write_bucket(&mut page, 5, &id, &placed), 4);
        let entries: Vec<_> = read_bucket(&page, 5, &id).unwrap().collect();
        assert_eq!(entries, placed[..ENTRIES_MAX].iter().map(|p| p.pair).collect::<Vec<_>>());
    }

    #[test]
    fn a_page_of_another_place_or_vault_fails_its_checksum() {
        let id = header().id;
        let mut page = [0; PAGE_LEN];
        write_bucket(&mut page, 5, &id, &[]);
        let fault = Fault::Checksum { page: 7, offset: 7 * 4096 };
        assert_eq!(read_bucket(&page, 6, &id).err(), Some(fault));
        assert!(read_bucket(&page, 5, &VaultId { index: 4, ..id }).is_err());
    }

    #[test]
    fn a_sealed_page_with_wrong_content_is_named() {
        let id = header().id;
        let sealed = |at: usize, byte: u8| {
            let mut page = [0; PAGE_LEN];
            write_bucket(&mut page, 0, &id, &[]);
            page[at] = byte;
            seal(&mut page, 1, &id);
            read_bucket(&page, 0, &id).err().unwrap().to_string()
        };
        let count = "page 1 at offset 8184: 512 entries, at most 511 fit";
        assert_eq!(sealed(COUNT_AT + 1, 2), count);
        assert_eq!(sealed(FORMAT_AT, 2), "page 1 at offset 8186: page format 2, expected 1");
    }

    #[test]
    fn a_file_is_named_after_its_vault() {
        let id = header().id;
        let name = "space-00010203-00010203-0405-0607-0809-0a0b0c0d0e0f-k16-i3.vault";
        assert_eq!(id.file_name(), name);
        assert_eq!(id.file_len(), (1 << 19) + 4096);
    }
}
