//! Reading a vault from end to end and judging every page.
//!
//! Pages can be judged only by those who know whose vault it is, because their checksums cover the
//! vault's id. It is known, in this order,
//!
//! 1. from the header, if that is sound;
//! 2. from the caller, who may state it;
//! 3. from the fields of a damaged header, if at least [`WITNESSES`] pages have a checksum that
//!    agrees. `k` is then also taken from the length of the file.
//!
//! A file's name is no witness: it holds four bytes of the address, and anyone can change it.
//!
//! # Invariants
//!
//! 1. A page is judged sound only if its checksum is right, every entry is a matching pair of its
//!    bucket, entries increase, and unused bytes are zero.
//! 2. Whatever the bytes of the file are, judging ends with a verdict on each page.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::{ThreadPool, prelude::*};

use super::{
    super::{
        BuildError, Progress,
        pairs::{Levels, Pair, Placed, top},
    },
    file::AlignedBytes,
    levels,
    lookup::{check_identity, io_fault, read_header_page, read_pages},
    vault::{
        ENTRIES_MAX, Fault, Header, PAGE_LEN, Page, VaultId, belongs, check_unused_entries,
        read_bucket,
    },
};
use crate::disk::DiskFile;

/// Buckets read at once: 256 KiB, which a disk delivers at its full rate.
const CHUNK: u64 = 64;
/// Chunks between two reports of progress.
const STEP: u64 = 64;
/// Pages that have to bear out the identity in a damaged header: one by chance is one in millions.
const WITNESSES: usize = 2;
/// Pages that are asked for it.
const WITNESSES_ASKED: u64 = 256;
/// Faults kept; a disk of zeros has one for each page.
pub(super) const FAULTS_MAX: usize = 1 << 16;

/// What checking and repairing may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Threads; zero means one per core.
    pub threads: usize,
    /// RAM it may take; with less, the table is hashed more often.
    pub ram_bytes_max: u64,
    /// Whose vault it is, for those who know: pages can then be judged without the header.
    pub id: Option<VaultId>,
}

impl Default for Upkeep {
    /// Every core, a gibibyte, and the identity that the file gives.
    fn default() -> Self {
        Self { threads: 0, ram_bytes_max: 1 << 30, id: None }
    }
}

/// A file and whose vault it is.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) id: VaultId,
    pub(super) levels: Levels,
    /// The header page as it is.
    pub(super) page: Box<Page>,
    pub(super) header: Result<Header, Fault>,
    /// Bytes of the file.
    pub(super) len: u64,
}

impl Subject {
    /// Finds out whose vault `file` is.
    pub(super) fn new(
        path: &Path,
        file: Arc<dyn DiskFile>,
        stated: Option<&VaultId>,
    ) -> Result<Self, Fault> {
        let len = file.size().map_err(|error| io_fault(0, &error))?;
        // What is cached may be better than what the disk holds.
        file.forget(0, len);
        let mut page = Box::new([0; PAGE_LEN]);
        let read = read_header_page(&*file, &mut page);
        let header = read.and_then(|()| Header::from_page(&page));
        let id = match (&header, stated) {
            (Ok(header), Some(stated)) => {
                check_identity(&header.id, stated)?;
                header.id
            }
            (Ok(header), None) => header.id,
            (Err(_), Some(stated)) => *stated,
            (Err(fault), None) => witnessed(&*file, &page, len).ok_or_else(|| fault.clone())?,
        };
        Ok(Self { path: path.to_owned(), file, id, levels: levels(&id), page, header, len })
    }

    /// Refuses a vault that was never finished: nothing in it is damaged.
    pub(super) fn complete(self) -> Result<Self, Fault> {
        match &self.header {
            Ok(header) if !header.complete => Err(Fault::Incomplete),
            _ => Ok(self),
        }
    }

    /// Whole pages of buckets that the file has.
    fn buckets(&self) -> u64 {
        self.len
            .checked_div(PAGE_LEN as u64)
            .unwrap_or_default()
            .saturating_sub(1)
            .min(self.id.buckets())
    }

    /// Judges one page.
    pub(super) fn judge(&self, bucket: u64) -> Verdict {
        if bucket >= self.buckets() {
            return Verdict::missing();
        }
        let mut bytes = AlignedBytes::zeroed(PAGE_LEN);
        let read = read_pages(&*self.file, &self.id, bucket.saturating_add(1), bytes.as_mut());
        match (read, bytes.as_mut().first_chunk()) {
            (Ok(()), Some(page)) => judge(&self.levels, &self.id, bucket, page),
            (Err(fault), _) => Verdict::damaged(fault),
            (Ok(()), None) => Verdict::missing(),
        }
    }

    /// Judges `count` pages from `first` on, read at once if the disk lets us.
    fn judge_chunk(&self, first: u64, count: u64) -> Vec<Verdict> {
        let count_there = self.buckets().saturating_sub(first).min(count);
        let len = usize::try_from(count_there).unwrap_or_default().saturating_mul(PAGE_LEN);
        let mut bytes = AlignedBytes::zeroed(len);
        let read = read_pages(&*self.file, &self.id, first.saturating_add(1), bytes.as_mut());
        let there = first..first.saturating_add(count_there);
        let mut verdicts: Vec<_> = if read.is_ok() {
            let pages = bytes.as_mut().as_chunks().0.iter();
            there.zip(pages).map(|(at, page)| judge(&self.levels, &self.id, at, page)).collect()
        } else {
            // One bad sector spoils the read: find out which.
            there.map(|bucket| self.judge(bucket)).collect()
        };
        verdicts.resize_with(usize::try_from(count).unwrap_or_default(), Verdict::missing);
        verdicts
    }

    /// Judges every page in order and hands each verdict to `take`.
    pub(super) fn judge_all(
        &self,
        pool: &ThreadPool,
        progress: &dyn Progress,
        mut take: impl FnMut(u64, Verdict),
    ) -> Result<(), BuildError> {
        let (buckets, mut done) = (self.id.buckets(), 0);
        while done < buckets {
            let end = done.saturating_add(CHUNK.saturating_mul(STEP)).min(buckets);
            let chunks = (0..end.saturating_sub(done).div_ceil(CHUNK)).into_par_iter();
            let judged: Vec<_> = pool.install(|| {
                let first = |chunk: u64| done.saturating_add(chunk.saturating_mul(CHUNK));
                let count = |first: u64| end.saturating_sub(first).min(CHUNK);
                chunks.map(|chunk| self.judge_chunk(first(chunk), count(first(chunk)))).collect()
            });
            for (bucket, verdict) in (done..).zip(judged.into_iter().flatten()) {
                take(bucket, verdict);
            }
            done = end;
            progress.update("check", done, buckets);
            if progress.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
        }
        Ok(())
    }

    /// What is wrong with the file as a whole.
    pub(super) fn length_fault(&self) -> Option<Fault> {
        let (got, expected) = (self.len, self.id.file_len());
        (got != expected).then_some(Fault::Length { got, expected })
    }
}

/// The identity in a damaged header, if the checksums of pages bear it out.
fn witnessed(file: &dyn DiskFile, header: &Page, len: u64) -> Option<VaultId> {
    let claimed = VaultId::claimed(header).ok();
    let of_len = VaultId::size_of_file(len).map(|size| VaultId::claimed_of_size(header, size));
    claimed.into_iter().chain(of_len).find(|id| {
        let stride = id.buckets().div_ceil(WITNESSES_ASKED).max(1);
        let numbers = (0..WITNESSES_ASKED).map(|at| at.saturating_mul(stride).saturating_add(1));
        let agrees = |&number: &u64| {
            let mut bytes = AlignedBytes::zeroed(PAGE_LEN);
            read_pages(file, id, number, bytes.as_mut()).is_ok()
                && bytes.as_mut().first_chunk().is_some_and(|page| belongs(page, number, id))
        };
        numbers.filter(agrees).take(WITNESSES).count() == WITNESSES
    })
}

/// What a page was found to hold.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The entries, if the page is sound.
    pub(super) held: Option<Held>,
    /// What is wrong with it, in the order of offsets. A page that is not there has none.
    pub(super) faults: Vec<Fault>,
}

/// The entries of a sound page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) count: u16,
    /// Greatest `e` of a pair that belongs in the page: the last one's if no more fit.
    pub(super) limit: u64,
}

impl Verdict {
    fn damaged(fault: Fault) -> Self {
        Self { held: None, faults: vec![fault] }
    }

    fn missing() -> Self {
        Self::default()
    }
}

/// Checks every rule that the page of `bucket` has to keep on its own.
fn judge(levels: &Levels, id: &VaultId, bucket: u64, page: &Page) -> Verdict {
    let pairs: Vec<Pair> = match read_bucket(page, bucket, id) {
        Ok(pairs) => pairs.collect(),
        Err(fault) => return Verdict::damaged(fault),
    };
    let placed = place_all(levels, &pairs);
    let mut faults = entry_faults(id, bucket, &placed);
    faults.extend(check_unused_entries(page, bucket, pairs.len()).err());
    let last = placed.last().and_then(|placed| placed.as_ref().ok());
    let limit = last.filter(|_| pairs.len() == ENTRIES_MAX).map_or(u64::MAX, |last| last.e);
    let count = u16::try_from(pairs.len()).unwrap_or_default();
    let held = faults.is_empty().then_some(Held { count, limit });
    Verdict { held, faults }
}

/// The `e` of each pair, or which rule it breaks.
fn place_all(levels: &Levels, pairs: &[Pair]) -> Vec<Result<Placed, String>> {
    let place = |(e, &pair)| Ok(Placed { e, pair });
    match levels.check_all(pairs) {
        Ok(placed) => placed.into_iter().zip(pairs).map(place).collect(),
        Err(_) => pairs
            .iter()
            .map(|&pair| levels.check(pair).map_err(|error| error.to_string()))
            .zip(pairs)
            .map(|(e, pair)| e.and_then(|e| place((e, pair))))
            .collect(),
    }
}

/// The first rule that each entry breaks.
fn entry_faults(id: &VaultId, bucket: u64, placed: &[Result<Placed, String>]) -> Vec<Fault> {
    let (mut faults, mut before, bits) = (Vec::new(), None, id.bucket_bits());
    for (position, placed) in placed.iter().enumerate() {
        let rule = match placed {
            Err(rule) => rule.clone(),
            Ok(placed) if top(placed.e, bits) != bucket => {
                "the entry belongs to another bucket".into()
            }
            Ok(placed) if before.is_some_and(|before| before >= placed) => {
                "the entry is out of order".into()
            }
            Ok(placed) => {
                before = Some(placed);
                continue;
            }
        };
        faults.push(entry_fault(bucket, position, rule));
    }
    faults
}

/// What is wrong with the entry at `position` of `bucket`.
pub(super) fn entry_fault(bucket: u64, position: usize, rule: impl Into<String>) -> Fault {
    Fault::content(bucket.saturating_add(1), position.saturating_mul(Pair::LEN), rule)
}
