//! Plotting: building a pair table and writing it as a vault.
//!
//! # Invariants
//!
//! 1. A file under its final name is complete: it is written as `NAME.partial`, made durable,
//!    marked complete, made durable again and only then renamed.
//! 2. The file depends on the vault's id alone, not on threads or memory.
//! 3. Two plotters of one file exclude each other by a lock on the partial file.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::ThreadPool;
use thiserror::Error;

use super::{
    super::{
        BuildError, Progress, Resources, ThreadsError,
        pairs::{Partitions, Placed, Plan, build, top},
    },
    file::{free_bytes, sync_folder, write_all_at},
    levels,
    vault::{Header, PAGE_LEN, VaultId, offset_of, write_bucket},
};

/// A vault could not be plotted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The table could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The threads asked for could not be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// There is a file of that name.
    #[error("{}: there is such a file already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process is plotting the same vault.
    #[error("{}: another process is plotting it", path.display())]
    Busy {
        /// The partial file.
        path: PathBuf,
    },
    /// The disk has not enough room.
    #[error("{}: the vault takes {needed} bytes, {free} are free", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes of the vault.
        needed: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// The system refused to write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Plots vault `id` in the folder of `resources` and returns where it is.
///
/// # Errors
///
/// [`PlotError`]; nothing is left behind under the vault's name.
pub fn plot(
    id: &VaultId,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<PathBuf, PlotError> {
    let pool = resources.pool()?;
    let plan = Plan::new(id.size(), pool.current_num_threads());
    BuildError::check_ram(plan.ram_bytes(), resources.ram_bytes_max)?;
    let target = Target { id, folder: &resources.folder };
    let partial = target.lock()?;
    let reserved = target.reserve(&partial);
    let written = reserved.and_then(|()| target.write(&partial, &plan, &pool, progress));
    if written.is_err() {
        // Whatever is wrong with the disk, the first error is the one to tell.
        let _ = fs::remove_file(target.partial());
    }
    written.map(|()| target.path())
}

/// The file to be made.
struct Target<'a> {
    id: &'a VaultId,
    folder: &'a Path,
}

impl Target<'_> {
    fn path(&self) -> PathBuf {
        self.folder.join(self.id.file_name())
    }

    fn partial(&self) -> PathBuf {
        self.folder.join(self.id.file_name() + ".partial")
    }

    /// Opens the partial file for this process alone, whatever it holds.
    fn lock(&self) -> Result<File, PlotError> {
        self.check_missing()?;
        fs::create_dir_all(self.folder).map_err(|source| self.error(source))?;
        let (path, mut options) = (self.partial(), OpenOptions::new());
        let open = options.write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|source| self.error(source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PlotError::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(self.error(source)),
        }
        // Whoever held the lock before may have finished: then what we opened is the vault.
        self.check_missing()?;
        Ok(file)
    }

    fn check_missing(&self) -> Result<(), PlotError> {
        let path = self.path();
        if path.exists() { Err(PlotError::Exists { path }) } else { Ok(()) }
    }

    /// Empties the file and makes it as long as the vault, if there is room.
    fn reserve(&self, file: &File) -> Result<(), PlotError> {
        file.set_len(0).map_err(|source| self.error(source))?;
        self.check_space()?;
        file.set_len(self.id.file_len()).map_err(|source| self.error(source))
    }

    fn check_space(&self) -> Result<(), PlotError> {
        match free_bytes(self.folder) {
            Some(free) if free < self.id.file_len() => Err(self.no_space(free)),
            _ => Ok(()),
        }
    }

    fn no_space(&self, free: u64) -> PlotError {
        PlotError::NoSpace { path: self.path(), needed: self.id.file_len(), free }
    }

    fn error(&self, source: io::Error) -> PlotError {
        match source.kind() {
            ErrorKind::StorageFull => self.no_space(free_bytes(self.folder).unwrap_or_default()),
            _ => PlotError::Io { path: self.partial(), source },
        }
    }

    fn write(
        &self,
        file: &File,
        plan: &Plan,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<(), PlotError> {
        let found = build(&levels(self.id), plan, pool, progress)?;
        let pairs = found.counts().into_iter().fold(0, |sum: u64, n| sum.saturating_add(n as u64));
        let dropped = self.write_buckets(file, found, pool, progress)?;
        let header = Header { id: *self.id, complete: false, pairs, dropped };
        self.finish(file, header).map_err(|source| self.error(source))
    }

    /// Writes every bucket; returns how many pairs were dropped.
    fn write_buckets(
        &self,
        file: &File,
        found: Partitions,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<u64, PlotError> {
        let partitions = found.counts().len();
        let buckets = self.id.buckets().checked_div(partitions as u64).unwrap_or_default();
        let dropped = AtomicU64::new(0);
        found.store(pool, progress, vec![(); partitions], |index, (), placed| {
            let first = buckets.saturating_mul(index as u64);
            let (bytes, more) = self.pages(first, buckets, placed);
            dropped.fetch_add(more, Ordering::Relaxed);
            let offset = offset_of(first.saturating_add(1));
            write_all_at(file, &bytes, offset).map_err(|source| self.error(source))
        })?;
        Ok(dropped.into_inner())
    }

    /// Makes the pages of `count` buckets from `first` on; returns how many pairs were dropped.
    fn pages(&self, first: u64, count: u64, placed: &[Placed]) -> (Vec<u8>, u64) {
        let count = usize::try_from(count).unwrap_or_default();
        let mut bytes = vec![0; count.saturating_mul(PAGE_LEN)];
        let (mut rest, mut dropped, bits) = (placed, 0_u64, self.id.bucket_bits());
        for (bucket, page) in (first..).zip(bytes.as_chunks_mut().0) {
            let end = rest.partition_point(|placed| top(placed.e, bits) <= bucket);
            let (entries, others) = rest.split_at_checked(end).unwrap_or_default();
            dropped = dropped.saturating_add(write_bucket(page, bucket, self.id, entries));
            rest = others;
        }
        (bytes, dropped)
    }

    /// Makes the pages durable, then the header that says so, then the name.
    fn finish(&self, file: &File, header: Header) -> io::Result<()> {
        write_all_at(file, &header.to_page(), 0)?;
        file.sync_all()?;
        write_all_at(file, &Header { complete: true, ..header }.to_page(), 0)?;
        file.sync_all()?;
        fs::rename(self.partial(), self.path())?;
        sync_folder(self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::testing::vector_miner;

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let folder = tempfile::tempdir().unwrap();
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let target = Target { id: &id, folder: folder.path() };
        let full = target.error(ErrorKind::StorageFull.into());
        assert!(matches!(full, PlotError::NoSpace { needed: 528_384, .. }), "{full}");
        let text = target.no_space(7).to_string();
        assert!(text.ends_with(": the vault takes 528384 bytes, 7 are free"), "{text}");
        let other = target.error(ErrorKind::PermissionDenied.into());
        assert!(matches!(other, PlotError::Io { .. }), "{other}");
    }

    #[test]
    fn free_space_is_known_before_a_plot_begins() {
        let folder = tempfile::tempdir().unwrap();
        assert!(cfg!(not(unix)) || free_bytes(folder.path()).unwrap() > 0);
        assert_eq!(free_bytes(&folder.path().join("none")), None);
    }
}
