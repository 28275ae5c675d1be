//! A run: an immutable file of sorted records, checked page by page.
//!
//! # Invariants
//!
//! 1. Records are in strictly increasing order of key.
//! 2. No page is used whose checksum does not fit its place in its file.
//!
//! All integers are little-endian, all checksums CRC-32C.
//!
//! ```text
//! pages   16,384 bytes each: records, zeros, checksum u32 of run id, page number and the rest
//! fences  one u64 for each page: the first 8 bytes of its first key, as a big-endian number
//! foot    magic `DSCINDEX` . format u16 . kind u8 . 0 u8 . checksum u32 of fences . run id u64
//!         . count of records u64 . checksum u32 of the foot before it
//! ```

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::table::{Kind, lower_bound, prefix};
use crate::{
    disk::{Disk, DiskFile},
    ledger::StoreError,
};

const MAGIC: [u8; 8] = *b"DSCINDEX";
const FORMAT: u16 = 1;
/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 16 << 10;
/// Bytes of a page before its checksum.
const BODY_BYTES: usize = PAGE_BYTES - 4;
const FOOT_BYTES: usize = 36;
/// Pages written and read ahead at once.
const BATCH: usize = 32;

/// What a manifest says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) count: u64,
}

impl Name {
    /// The run's file.
    pub(super) fn file(&self) -> String {
        file_name(self.id)
    }

    fn pages(&self) -> u64 {
        self.count.div_ceil(per_page(self.kind) as u64)
    }
}

/// The file of the run with this id.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:016x}.run")
}

/// Whether a file is a run.
pub(super) fn is_run(name: &str) -> bool {
    name.strip_suffix(".run").is_some_and(|id| id.len() == 16)
}

const fn per_page(kind: Kind) -> usize {
    BODY_BYTES.div_euclid(kind.record_len())
}

fn page_sum(id: u64, page: u64, body: &[u8]) -> u32 {
    let mut place = [0; 16];
    let (left, right) = place.split_at_mut(8);
    left.copy_from_slice(&id.to_le_bytes());
    right.copy_from_slice(&page.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), body)
}

/// A run being written.
#[derive(Debug)]
pub(super) struct Writer {
    kind: Kind,
    id: u64,
    file: Arc<dyn DiskFile>,
    pages: Vec<u8>,
    body: usize,
    written: u64,
    fences: Vec<u8>,
    count: u64,
}

impl Writer {
    pub(super) fn create(disk: &dyn Disk, kind: Kind, id: u64) -> io::Result<Self> {
        let file = disk.create(&file_name(id))?;
        let (pages, fences) = (Vec::with_capacity(BATCH * PAGE_BYTES), Vec::new());
        Ok(Self { kind, id, file, pages, body: 0, written: 0, fences, count: 0 })
    }

    /// Takes the next record in order of key.
    pub(super) fn push(&mut self, record: &[u8]) -> io::Result<()> {
        if self.body == 0 {
            self.fences.extend(prefix(record).to_le_bytes());
        }
        self.pages.extend_from_slice(record);
        self.body = self.body.saturating_add(record.len());
        self.count = self.count.saturating_add(1);
        if self.body.saturating_add(record.len()) > BODY_BYTES { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        let start = self.pages.len().saturating_sub(self.body);
        self.pages.resize(start.saturating_add(BODY_BYTES), 0);
        let page = (self.fences.len() as u64 / 8).saturating_sub(1);
        let body = self.pages.get(start..).unwrap_or_default();
        let sum = page_sum(self.id, page, body);
        self.pages.extend(sum.to_le_bytes());
        self.body = 0;
        if self.pages.len() >= BATCH * PAGE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.pages, self.written)?;
        self.written = self.written.saturating_add(self.pages.len() as u64);
        self.pages.clear();
        Ok(())
    }

    /// Puts on disk what was taken so far, so that ending the run takes no long.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.body == 0 {
            self.flush()?;
        }
        self.file.sync()
    }

    /// Ends the file, and returns when all of it is on disk but perhaps its name.
    pub(super) fn finish(mut self, damaged: &Arc<AtomicBool>) -> io::Result<Run> {
        if self.body > 0 {
            self.end_page()?;
        }
        let fences: Vec<u64> = self.fences.chunks_exact(8).map(read_u64).collect();
        let foot = foot(self.kind, self.id, self.count, crc32c::crc32c(&self.fences));
        self.pages.append(&mut self.fences);
        self.pages.extend(foot);
        self.flush()?;
        self.file.sync()?;
        let name = Name { kind: self.kind, id: self.id, count: self.count };
        Ok(Run { name, file: self.file, fences, damaged: damaged.clone() })
    }
}

fn foot(kind: Kind, id: u64, count: u64, fences_sum: u32) -> Vec<u8> {
    let mut foot = MAGIC.to_vec();
    foot.extend(FORMAT.to_le_bytes());
    foot.extend([kind.code(), 0]);
    foot.extend(fences_sum.to_le_bytes());
    foot.extend(id.to_le_bytes());
    foot.extend(count.to_le_bytes());
    foot.extend(crc32c::crc32c(&foot).to_le_bytes());
    foot
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// A run, open.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: Name,
    file: Arc<dyn DiskFile>,
    fences: Vec<u64>,
    /// Set when a page does not check: the index has to be made anew.
    damaged: Arc<AtomicBool>,
}

impl Run {
    /// Opens the run that a manifest names.
    pub(super) fn open(
        disk: &dyn Disk,
        name: Name,
        damaged: &Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let wrong = || StoreError::index(format!("{} is not what was written", name.file()));
        let failed = StoreError::io("open a run of the index");
        let file = disk.open(&name.file()).map_err(&failed)?;
        let pages = name.pages().saturating_mul(PAGE_BYTES as u64);
        let tail = name.pages().saturating_mul(8).saturating_add(FOOT_BYTES as u64);
        if file.size().map_err(&failed)? != pages.saturating_add(tail) {
            return Err(wrong());
        }
        let mut bytes = vec![0; usize::try_from(tail).map_err(|_| wrong())?];
        file.read_at(&mut bytes, pages).map_err(&failed)?;
        let (fences, found) = bytes.split_at(bytes.len().saturating_sub(FOOT_BYTES));
        if found != foot(name.kind, name.id, name.count, crc32c::crc32c(fences)) {
            return Err(wrong());
        }
        let fences = fences.chunks_exact(8).map(read_u64).collect();
        Ok(Self { name, file, fences, damaged: damaged.clone() })
    }

    fn kind(&self) -> Kind {
        self.name.kind
    }

    /// The records of `pages` pages from `page` on, one page after another.
    fn read(&self, page: u64, pages: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; pages.saturating_mul(PAGE_BYTES)];
        let offset = page.saturating_mul(PAGE_BYTES as u64);
        self.file.read_at(&mut bytes, offset).map_err(StoreError::io("read the index"))?;
        for (page, bytes) in (page..).zip(bytes.chunks_exact(PAGE_BYTES)) {
            let (body, sum) = bytes.split_at(BODY_BYTES);
            if page_sum(self.name.id, page, body).to_le_bytes() != sum {
                self.damaged.store(true, Ordering::Relaxed);
                let what = format!("page {page} of {}: its checksum is wrong", self.name.file());
                return Err(StoreError::index(what));
            }
        }
        Ok(bytes)
    }

    /// The records of one page.
    fn page(&self, page: u64) -> Result<Vec<u8>, StoreError> {
        let mut bytes = self.read(page, 1)?;
        bytes.truncate(self.count_on(page).saturating_mul(self.kind().record_len()));
        Ok(bytes)
    }

    /// Records on a page.
    fn count_on(&self, page: u64) -> usize {
        let per_page = per_page(self.kind());
        let before = page.saturating_mul(per_page as u64);
        usize::try_from(self.name.count.saturating_sub(before)).unwrap_or(per_page).min(per_page)
    }

    /// The last page whose first key is not above `key`, with its records; the first page if there
    /// is none such.
    fn page_of(&self, key: &[u8]) -> Result<(u64, Vec<u8>), StoreError> {
        let wanted = prefix(key);
        let last = |above: usize| above.saturating_sub(1) as u64;
        let mut low = last(self.fences.partition_point(|fence| *fence < wanted));
        let mut high = last(self.fences.partition_point(|fence| *fence <= wanted));
        while low < high {
            let middle = low.midpoint(high.saturating_add(1));
            let page = self.page(middle)?;
            let above = page.get(..self.kind().key_len()).is_none_or(|first| first > key);
            if above {
                high = middle.saturating_sub(1);
            } else {
                low = middle;
            }
        }
        Ok((low, self.page(low)?))
    }

    /// The record with this key.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (_, page) = self.page_of(key)?;
        let len = self.kind().record_len();
        let place = lower_bound(&page, self.kind(), key).saturating_mul(len);
        let record = page.get(place..place.saturating_add(len));
        Ok(record.filter(|record| record.starts_with(key)).map(<[u8]>::to_vec))
    }

    /// Hands out the records below `end`, highest first, until `take` wants no more; says whether
    /// it does.
    pub(super) fn below(
        &self,
        end: &[u8],
        take: &mut impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, StoreError> {
        let len = self.kind().record_len();
        let (mut number, mut page) = self.page_of(end)?;
        page.truncate(lower_bound(&page, self.kind(), end).saturating_mul(len));
        loop {
            if !page.chunks_exact(len).rev().all(&mut *take) {
                return Ok(false);
            }
            let Some(before) = number.checked_sub(1) else { return Ok(true) };
            (number, page) = (before, self.page(before)?);
        }
    }
}

/// Reads a run from its first record to its last.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Arc<Run>,
    /// The next page to read.
    next: u64,
    pages: Vec<u8>,
    /// Where the present record is in `pages`, and how many follow it on its page.
    at: usize,
    left: usize,
    /// The number of the page that the present record is on, and of the first one in `pages`.
    page: u64,
    first: u64,
    /// Whether pages that were read are of no more use.
    forget: bool,
}

impl Cursor {
    pub(super) fn new(run: Arc<Run>) -> Result<Self, StoreError> {
        let (pages, forget) = (Vec::new(), false);
        let mut cursor = Self { run, next: 0, pages, at: 0, left: 0, page: 0, first: 0, forget };
        cursor.read()?;
        Ok(cursor)
    }

    /// A cursor for the last one to read this run, who will not need a page twice.
    pub(super) fn last(run: Arc<Run>) -> Result<Self, StoreError> {
        Ok(Self { forget: true, ..Self::new(run)? })
    }

    /// Reads the next pages.
    fn read(&mut self) -> Result<(), StoreError> {
        if self.forget {
            let offset = self.first.saturating_mul(PAGE_BYTES as u64);
            self.run.file.forget(offset, self.pages.len() as u64);
        }
        self.first = self.next;
        let left = self.run.name.pages().saturating_sub(self.next);
        let pages = usize::try_from(left).unwrap_or(BATCH).min(BATCH);
        self.pages = self.run.read(self.next, pages)?;
        (self.page, self.at) = (self.next, 0);
        self.next = self.next.saturating_add(pages as u64);
        self.left = self.run.count_on(self.page).min(self.pages.len());
        Ok(())
    }

    /// The present record; `None` after the last one.
    pub(super) fn record(&self) -> Option<&[u8]> {
        let len = self.run.kind().record_len();
        self.pages.get(self.at..self.at.saturating_add(len)).filter(|_| self.left > 0)
    }

    /// Goes on to the next record.
    pub(super) fn advance(&mut self) -> Result<(), StoreError> {
        self.left = self.left.saturating_sub(1);
        self.at = self.at.saturating_add(self.run.kind().record_len());
        if self.left > 0 {
            return Ok(());
        }
        self.page = self.page.saturating_add(1);
        self.left = self.run.count_on(self.page);
        self.at = self.at.div_ceil(PAGE_BYTES).saturating_mul(PAGE_BYTES);
        if self.at >= self.pages.len() && self.left > 0 { self.read() } else { Ok(()) }
    }
}
