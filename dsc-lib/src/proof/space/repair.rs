//! Repairing a vault: what is damaged is made anew, and nothing else is touched.
//!
//! All pairs of the table are made once and those of damaged pages kept; the same pass counts the
//! others, so that it finds pages which lack a pair, and gives the totals of the header: `pairs` is
//! the number of pairs that passed by, `dropped` those of each bucket beyond 511, summed. None of it
//! is taken from the file.
//!
//! # Invariants
//!
//! 1. A repaired file is, byte for byte, the one that plotting makes.
//! 2. Pages stand at fixed places and are written whole, the header last: a repair that is killed
//!    leaves damage of the same kind, and the next one mends it.
//! 3. Two repairs of one file exclude each other by a lock on it, which also keeps it from being
//!    mapped; look-ups that read are not disturbed.
//! 4. A file is written to only if its header or at least one page bears out whose vault it is.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::ThreadPool;
use thiserror::Error;

use super::{
    super::{BuildError, Progress, ThreadsError, pool},
    census::{Census, Rebuilt},
    file::{free_bytes, open_file},
    scan::{Subject, Upkeep},
    vault::{Header, PAGE_LEN, Page, VaultError, offset_of},
};
use crate::disk::{Disk, DiskFile, Real};

/// What a repair changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What the header says now.
    pub header: Header,
    /// Numbers of the pages that were written, increasing; 0 is the header.
    pub pages: Vec<u64>,
    /// Bytes of the file before, which may have been cut or have grown.
    pub len_before: u64,
}

/// A vault was not repaired.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepairError {
    /// It cannot be told whose vault it is, or it is another one, or plotting did not finish.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The header is damaged and no page is of the vault that the caller stated.
    #[error("{}: no page of it is of the vault {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Name of the vault that it was said to be.
        expected: String,
    },
    /// Another process is repairing or plotting it, or has it mapped.
    #[error("{}: another process has locked it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The table could not be made anew.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The threads asked for could not be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// The disk has not enough room for what was cut off.
    #[error("{}: {needed} more bytes are needed, {free} are free", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes to add.
        needed: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// The system refused to read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk does not give back what was written to it.
    #[error("{}: page {page} at offset {offset} does not keep what is written to it", path.display())]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Number of the page.
        page: u64,
        /// Its byte offset.
        offset: u64,
    },
}

/// Repairs the vault at `path`.
///
/// # Errors
///
/// [`RepairError`]; what was not yet repaired is then as damaged as before.
pub fn repair(
    path: &Path,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Repaired, RepairError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let free = free_bytes(folder.unwrap_or_else(|| Path::new(".")));
    repair_file(path, lock(path)?, free, upkeep, progress)
}

/// Repairs the vault called `name` on `disk` as [`repair`] does.
///
/// # Errors
///
/// As there.
pub fn repair_on(
    disk: &dyn Disk,
    name: &str,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Repaired, RepairError> {
    let path = Path::new(name);
    let file = disk.open(name).and_then(|file| Ok((file.lock()?, file)));
    match file.map_err(|source| RepairError::Io { path: path.into(), source })? {
        (true, file) => repair_file(path, file, disk.free_bytes(), upkeep, progress),
        (false, _) => Err(RepairError::Busy { path: path.into() }),
    }
}

fn repair_file(
    path: &Path,
    file: Arc<dyn DiskFile>,
    free: Option<u64>,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Repaired, RepairError> {
    let subject = Subject::new(path, file, upkeep.id.as_ref())
        .and_then(Subject::complete)
        .map_err(|fault| VaultError::new(path, fault))?;
    let pool = pool(upkeep.threads)?;
    let threads = pool.current_num_threads();
    let census = Census::new(&subject.id, threads, upkeep.ram_bytes_max)?;
    let mut mend = Mend { subject, census, pool, progress, pages: Vec::new() };
    let len_before = mend.subject.len;
    mend.judge()?;
    mend.make_room(free)?;
    let header = mend.rebuild()?;
    mend.sync()?;
    mend.write_header(&header)?;
    mend.verify(&header)?;
    Ok(Repaired { header, len_before, pages: mend.pages })
}

/// Opens the file for this process alone.
fn lock(path: &Path) -> Result<Arc<dyn DiskFile>, RepairError> {
    let failed = |source| RepairError::Io { path: path.to_owned(), source };
    // A pipe would not open before somebody writes to it.
    open_file(path).map_err(failed)?;
    let file = Real(OpenOptions::new().read(true).write(true).open(path).map_err(failed)?);
    match file.lock() {
        Ok(true) => Ok(Arc::new(file)),
        Ok(false) => Err(RepairError::Busy { path: path.to_owned() }),
        Err(source) => Err(failed(source)),
    }
}

/// A repair under way.
struct Mend<'a> {
    subject: Subject,
    census: Census,
    pool: ThreadPool,
    progress: &'a dyn Progress,
    /// Pages written.
    pages: Vec<u64>,
}

impl Mend<'_> {
    /// Judges every page.
    fn judge(&mut self) -> Result<(), RepairError> {
        let (subject, census, mut sound) = (&self.subject, &mut self.census, 0_u64);
        subject.judge_all(&self.pool, self.progress, |bucket, verdict| {
            sound = sound.saturating_add(u64::from(verdict.held.is_some()));
            census.note(bucket, verdict.held);
        })?;
        if sound == 0 && subject.header.is_err() {
            let expected = subject.id.file_name();
            return Err(RepairError::Foreign { path: subject.path.clone(), expected });
        }
        Ok(())
    }

    /// Gives the file the length that it should have, if the disk has room.
    fn make_room(&mut self, free: Option<u64>) -> Result<(), RepairError> {
        let (expected, got) = (self.subject.id.file_len(), self.subject.len);
        let needed = expected.saturating_sub(got);
        if let Some(free) = free.filter(|free| *free < needed) {
            return Err(RepairError::NoSpace { path: self.subject.path.clone(), needed, free });
        }
        if got != expected {
            self.subject.file.set_len(expected).map_err(|error| self.failed(error))?;
            self.subject.len = expected;
        }
        Ok(())
    }

    /// Rebuilds damaged pages, then those that lack a pair; returns the header to write.
    ///
    /// One pass over the table each, unless what is to be rebuilt exceeds the memory allowed.
    fn rebuild(&mut self) -> Result<Header, RepairError> {
        let (damaged, max) = (self.census.damaged(), self.census.rebuilt_max());
        let (first, others) = damaged.split_at_checked(max).unwrap_or((&damaged, &[]));
        let header = self.rebuild_some(first)?;
        let wrong = self.census.wrong();
        for buckets in others.chunks(max).chain(wrong.chunks(max)) {
            self.rebuild_some(buckets)?;
        }
        self.pages.sort_unstable();
        Ok(header)
    }

    fn rebuild_some(&mut self, buckets: &[u64]) -> Result<Header, RepairError> {
        let counted = self.census.count(&self.subject, buckets, &self.pool, self.progress)?;
        for &bucket in buckets {
            self.rewrite(bucket, &counted.rebuilt)?;
        }
        Ok(counted.header)
    }

    /// Writes the page of `bucket` unless it is what it should be: of two pairs with the same `e`
    /// one may be dropped, and the count does not tell which.
    fn rewrite(&mut self, bucket: u64, rebuilt: &Rebuilt) -> Result<(), RepairError> {
        let (mut page, number) = ([0; PAGE_LEN], bucket.saturating_add(1));
        rebuilt.write(bucket, &mut page);
        if self.read(number).is_ok_and(|held| held == page) {
            return Ok(());
        }
        self.write(number, &page)
    }

    fn write_header(&mut self, header: &Header) -> Result<(), RepairError> {
        let page = header.to_page();
        if *self.subject.page == page {
            return Ok(());
        }
        self.write(0, &page)?;
        self.pages.rotate_right(1);
        self.sync()
    }

    fn write(&mut self, number: u64, page: &Page) -> Result<(), RepairError> {
        let written = self.subject.file.write_at(page, offset_of(number));
        written.map_err(|error| self.failed(error))?;
        self.pages.push(number);
        Ok(())
    }

    fn read(&self, number: u64) -> io::Result<Page> {
        let mut page = [0; PAGE_LEN];
        self.subject.file.read_at(&mut page, offset_of(number)).map(|()| page)
    }

    fn sync(&self) -> Result<(), RepairError> {
        self.subject.file.sync().map_err(|error| self.failed(error))
    }

    /// Reads what was written from the disk and judges it again.
    fn verify(&self, header: &Header) -> Result<(), RepairError> {
        self.subject.file.forget(0, self.subject.len);
        for &page in &self.pages {
            let is_kept = match page.checked_sub(1) {
                Some(bucket) => self.census.is_full(bucket, self.subject.judge(bucket).held),
                None => self.read(0).map_err(|error| self.failed(error))? == header.to_page(),
            };
            if !is_kept {
                let (path, offset) = (self.subject.path.clone(), offset_of(page));
                return Err(RepairError::NotKept { path, page, offset });
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> RepairError {
        let path = self.subject.path.clone();
        match source.kind() {
            // A page that takes the place of none, or of one that the file system shares.
            ErrorKind::StorageFull => {
                RepairError::NoSpace { path, needed: PAGE_LEN as u64, free: 0 }
            }
            _ => RepairError::Io { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{
        NoProgress, Resources,
        space::{VaultId, plot},
        testing::vector_miner,
    };

    /// A repair of a vault that is sound when it is opened.
    fn mend(folder: &Path) -> Mend<'static> {
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let path = plot(&id, &Resources::new(folder), &NoProgress).unwrap();
        let subject = Subject::new(&path, lock(&path).unwrap(), None).unwrap();
        let census = Census::new(&id, 1, u64::MAX).unwrap();
        let pool = pool(1).unwrap();
        Mend { subject, census, pool, progress: &NoProgress, pages: Vec::new() }
    }

    #[test]
    fn a_disk_that_forgets_what_was_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut mend = mend(folder.path());
        mend.judge().unwrap();
        let header = mend.rebuild().unwrap();
        mend.verify(&header).unwrap();
        for page in [0, 5] {
            let kept = mend.read(page).unwrap();
            let mut forgotten = kept;
            forgotten[70] ^= 1;
            mend.write(page, &forgotten).unwrap();
            let found = mend.verify(&header).unwrap_err();
            let offset = page * 4096;
            let text =
                format!("page {page} at offset {offset} does not keep what is written to it");
            assert!(found.to_string().ends_with(&text), "{found}");
            mend.write(page, &kept).unwrap();
            mend.verify(&header).unwrap();
        }
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let folder = tempfile::tempdir().unwrap();
        let mend = mend(folder.path());
        let full = mend.failed(ErrorKind::StorageFull.into());
        assert!(full.to_string().ends_with("4096 more bytes are needed, 0 are free"), "{full}");
        let other = mend.failed(ErrorKind::PermissionDenied.into());
        assert!(matches!(other, RepairError::Io { .. }), "{other}");
    }
}
