//! Plotting: building a pair table and writing it as a vault.
//!
//! # Invariants
//!
//! 1. A file under its final name is complete: it is written as `NAME.partial`, made durable,
//!    marked complete, made durable again and only then renamed.
//! 2. The file depends on the vault's id alone, not on threads or memory.
//! 3. Two plotters of one file exclude each other by a lock on the partial file.
//! 4. A plot that ended early, whatever the reason, leaves its finished segments and a journal of
//!    them; the next plot of that vault hashes and matches again and writes only the others.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::ThreadPool;
use thiserror::Error;

use super::{
    super::{
        BuildError, Progress, Resources, ThreadsError,
        file::AlignedBytes,
        pages::Pages,
        pairs::{Arena, Plan, Sorted, build, temporary_file},
    },
    journal::{Journal, Segment},
    levels,
    output::{self, Output, WRITERS, pages_mut},
    vault::{Header, PAGE_LEN, VaultId, belongs, offset_of, write_bucket},
};
use crate::disk::{Disk, DiskFile, Folder};

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
    #[error(
        "{}: {needed} bytes more are needed, {temporary} of them for temporary files; {free} are \
         free",
        path.display()
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes that the disk still has to give.
        needed: u64,
        /// Those of them that are free again when the vault is finished.
        temporary: u64,
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
/// A plot of this vault that ended early is taken up again.
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
    let plan = plan(id, pool.current_num_threads(), resources.ram_bytes_max)?;
    let folder = &resources.folder;
    let disk = Folder::shared(folder).map_err(|source| {
        let path = folder.join(partial_name(id));
        PlotError::Io { path, source }
    })?;
    let target = Target { id, disk: &disk, folder, plan, writers: WRITERS };
    target.plot(&pool, progress)
}

/// Plots vault `id` on `disk` as [`plot`] does, writing one segment at a time; what does not fit
/// into memory goes to the folder of `resources`.
///
/// # Errors
///
/// [`PlotError`], as there; the files it names are those of `disk`.
pub fn plot_on(
    disk: &dyn Disk,
    id: &VaultId,
    resources: &Resources,
    progress: &dyn Progress,
) -> Result<(), PlotError> {
    let pool = resources.pool()?;
    let plan = plan(id, pool.current_num_threads(), resources.ram_bytes_max)?;
    let target = Target { id, disk, folder: &resources.folder, plan, writers: 1 };
    target.plot(&pool, progress).map(drop)
}

fn partial_name(id: &VaultId) -> String {
    id.file_name() + ".partial"
}

fn journal_name(id: &VaultId) -> String {
    id.file_name() + ".journal"
}

/// Plans the build and leaves room for what writing takes.
fn plan(id: &VaultId, threads: usize, ram_bytes_max: u64) -> Result<Plan, BuildError> {
    let segment_pages = segment_pages(id, &Plan::in_ram(id.size(), threads));
    let writing = output::ram_bytes(threads, segment_pages);
    let left = ram_bytes_max.saturating_sub(writing);
    Plan::within(id.size(), threads, left).map_err(|error| match error {
        BuildError::RamTooSmall { needed, .. } => {
            let needed = needed.saturating_add(writing);
            BuildError::RamTooSmall { needed, allowed: ram_bytes_max }
        }
        error => error,
    })
}

/// Buckets in a segment.
fn segment_pages(id: &VaultId, plan: &Plan) -> u64 {
    id.buckets().checked_div(plan.partitions() as u64).unwrap_or_default()
}

/// The file to be made.
struct Target<'a> {
    id: &'a VaultId,
    disk: &'a dyn Disk,
    /// Where it is, for people, and where temporary files go.
    folder: &'a Path,
    plan: Plan,
    /// Writes under way at once.
    writers: usize,
}

impl Target<'_> {
    fn plot(self, pool: &ThreadPool, progress: &dyn Progress) -> Result<PathBuf, PlotError> {
        let partial = self.lock()?;
        let (journal, done) = self.journal(&*partial)?;
        let mut plotted = Plotted { target: self, partial, journal, done };
        // What only lacks its name takes no more room.
        let whole = plotted.is_whole();
        let reserved = if whole { Ok(()) } else { plotted.target.reserve(&*plotted.partial) };
        let finished = reserved.and_then(|()| {
            plotted.write_missing(pool, progress)?;
            plotted.finish().map_err(|source| plotted.target.error(source))
        });
        if finished.is_err() && plotted.is_empty() {
            plotted.target.remove();
        }
        finished.map(|()| plotted.target.path())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.id.file_name())
    }

    fn partial(&self) -> PathBuf {
        self.folder.join(partial_name(self.id))
    }

    /// Opens the partial file for this process alone, whatever it holds.
    fn lock(&self) -> Result<Arc<dyn DiskFile>, PlotError> {
        self.check_missing()?;
        let failed = |source| self.error(source);
        let file = self.disk.open_or_create(&partial_name(self.id)).map_err(failed)?;
        let path = self.partial();
        if !file.lock().map_err(failed)? {
            return Err(PlotError::Busy { path });
        }
        // Whoever held the lock before may have finished: then what we opened is the vault.
        self.check_missing()?;
        // Or given up and removed it: then the lock is on a file that nobody else will open.
        if file.is_at(&path).map_err(failed)? { Ok(file) } else { Err(PlotError::Busy { path }) }
    }

    fn check_missing(&self) -> Result<(), PlotError> {
        if !self.disk.has(&self.id.file_name()).map_err(|source| self.error(source))? {
            return Ok(());
        }
        // Left by a plot that was killed after it gave the vault its name.
        let _ = self.disk.remove(&journal_name(self.id));
        Err(PlotError::Exists { path: self.path() })
    }

    /// The journal and what it says is in the partial file, which is nothing if that was cut.
    fn journal(
        &self,
        partial: &dyn DiskFile,
    ) -> Result<(Journal, Vec<Option<Segment>>), PlotError> {
        let bits = self.plan.partitions().ilog2();
        let open = Journal::open(self.disk, &journal_name(self.id), self.id, bits);
        let (mut journal, found) = open.map_err(|source| self.error(source))?;
        let mut done = vec![None; self.plan.partitions()];
        let len = partial.size().map_err(|source| self.error(source))?;
        if len != self.id.file_len() {
            journal.clear().map_err(|source| self.error(source))?;
            return Ok((journal, done));
        }
        for segment in found {
            if let Some(slot) = done.get_mut(segment.index as usize) {
                *slot = self.is_there(partial, segment).then_some(segment);
            }
        }
        Ok((journal, done))
    }

    /// Whether the pages of `segment` are those of this vault: the file may have been copied in
    /// part, or the disk have lost some.
    fn is_there(&self, partial: &dyn DiskFile, segment: Segment) -> bool {
        let pages = segment_pages(self.id, &self.plan);
        let first = u64::from(segment.index).saturating_mul(pages).saturating_add(1);
        let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE_LEN);
        let mut bytes = AlignedBytes::zeroed(len);
        partial.read_at(bytes.as_mut(), offset_of(first)).is_ok()
            && (first..)
                .zip(bytes.as_mut().as_chunks().0)
                .all(|(number, page)| belongs(page, number, self.id))
    }

    /// Makes the file as long as the vault and takes the room for it, if there is enough.
    fn reserve(&self, file: &dyn DiskFile) -> Result<(), PlotError> {
        let free = self.disk.free_bytes();
        if free.is_some_and(|free| free < self.needed(file)) {
            return Err(self.no_space(file, free.unwrap_or_default()));
        }
        file.pass_cache(true);
        file.allocate(self.id.file_len()).map_err(|source| self.error(source))
    }

    /// Bytes that the disk still has to give.
    fn needed(&self, file: &dyn DiskFile) -> u64 {
        let missing = self.id.file_len().saturating_sub(file.allocated_bytes());
        missing.saturating_add(self.plan.disk_bytes())
    }

    fn no_space(&self, file: &dyn DiskFile, free: u64) -> PlotError {
        let (needed, temporary) = (self.needed(file), self.plan.disk_bytes());
        PlotError::NoSpace { path: self.path(), needed, temporary, free }
    }

    fn error(&self, source: io::Error) -> PlotError {
        match (source.kind(), self.disk.open(&partial_name(self.id))) {
            (ErrorKind::StorageFull, Ok(file)) => {
                self.no_space(&*file, self.disk.free_bytes().unwrap_or_default())
            }
            _ => PlotError::Io { path: self.partial(), source },
        }
    }

    /// Removes what nobody can go on with.
    fn remove(&self) {
        // Whatever is wrong with the disk, the first error is the one to tell.
        let _ = self.disk.remove(&journal_name(self.id));
        let _ = self.disk.remove(&partial_name(self.id));
    }
}

/// A vault some of whose segments are written.
struct Plotted<'a> {
    target: Target<'a>,
    partial: Arc<dyn DiskFile>,
    journal: Journal,
    done: Vec<Option<Segment>>,
}

impl Plotted<'_> {
    fn is_whole(&self) -> bool {
        self.done.iter().all(Option::is_some)
    }

    fn is_empty(&self) -> bool {
        self.done.iter().all(Option::is_none)
    }

    /// Builds the table and writes the segments that are not there yet.
    fn write_missing(
        &mut self,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<(), PlotError> {
        if self.is_whole() {
            return Ok(());
        }
        let plan = self.target.plan;
        let temporary = plan.disk_bytes() > 0;
        let temporary = temporary.then(|| temporary_file(self.target.folder)).transpose()?;
        let mut pages = plan.allocate()?;
        let arena = Arena::new(&plan, &mut pages, temporary);
        self.write_from(&arena, pool, progress)
    }

    fn write_from(
        &mut self,
        arena: &Arena<'_>,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<(), PlotError> {
        let (target, plan) = (&self.target, &self.target.plan);
        let id = target.id;
        let levels = levels(id);
        let found = build(&levels, plan, arena, pool, progress);
        let found = found.map_err(|error| target.build_error(error))?;
        let (buckets, threads) = (segment_pages(id, plan), pool.current_num_threads());
        let (file, writers) = (&*self.partial, target.writers);
        let output = Output::new(file, writers, &mut self.journal, threads, id, buckets)?;
        let jobs = self.done.iter_mut().zip(found.counts()).map(|(done, pairs)| {
            let missing = done.is_none();
            missing.then_some((done, u32::try_from(pairs).unwrap_or(u32::MAX)))
        });
        let jobs = jobs.collect();
        let stored = output.run(|| {
            found.store(pool, progress, jobs, |index, (done, pairs), sorted| {
                let mut pages = output.buffer()?;
                let first = buckets.saturating_mul(index as u64);
                let dropped = write_pages(&mut pages, id, first, sorted);
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let segment = Segment { index, pairs, dropped };
                output.give(segment, pages);
                *done = Some(segment);
                Ok(())
            })
        });
        let stored = stored.map_err(|source| target.error(source))?;
        stored.map_err(|error| target.build_error(error))
    }

    /// Makes the pages durable, then the header that says so, then the name.
    fn finish(&self) -> io::Result<()> {
        let sum = |field: fn(&Segment) -> u32| {
            let fields = self.done.iter().flatten().map(|segment| u64::from(field(segment)));
            fields.fold(0, u64::saturating_add)
        };
        let (pairs, dropped) = (sum(|segment| segment.pairs), sum(|segment| segment.dropped));
        let header = Header { id: *self.target.id, complete: false, pairs, dropped };
        // The header is not in memory that direct output accepts.
        self.partial.pass_cache(false);
        self.partial.write_at(&header.to_page(), 0)?;
        self.partial.sync()?;
        self.partial.write_at(&Header { complete: true, ..header }.to_page(), 0)?;
        self.partial.sync()?;
        let (target, id) = (&self.target, self.target.id);
        if !self.partial.is_at(&target.partial())? {
            return Err(ErrorKind::NotFound.into());
        }
        target.disk.rename(&partial_name(id), &id.file_name())?;
        target.disk.sync()?;
        target.disk.remove(&journal_name(id))
    }
}

impl Target<'_> {
    /// A disk that is full of temporary files is full.
    fn build_error(&self, error: BuildError) -> PlotError {
        match error {
            BuildError::TemporaryFull => self.error(ErrorKind::StorageFull.into()),
            error => error.into(),
        }
    }
}

/// Makes the pages of the buckets from `first` on; returns how many pairs were dropped.
fn write_pages(pages: &mut Pages, id: &VaultId, first: u64, mut sorted: Sorted<'_>) -> u32 {
    let mut dropped = 0_u64;
    for (bucket, page) in (first..).zip(pages_mut(pages)) {
        let placed = sorted.next_group().unwrap_or_default();
        dropped = dropped.saturating_add(write_bucket(page, bucket, id, placed));
    }
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::proof::{NoProgress, file::free_bytes, testing::vector_miner};

    fn target<'a>(id: &'a VaultId, folder: &'a Path) -> Target<'a> {
        let needed = match plan(id, 1, 1) {
            Err(BuildError::RamTooSmall { needed, allowed: 1 }) => needed,
            other => panic!("{other:?}"),
        };
        let plan = plan(id, 1, needed).unwrap();
        assert!(plan.disk_bytes() > 0);
        let disk = Box::leak(Box::new(Folder::shared(folder).unwrap()));
        Target { id, disk, folder, plan, writers: WRITERS }
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let folder = tempfile::tempdir().unwrap();
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let target = target(&id, folder.path());
        let file = target.lock().unwrap();
        let full = target.error(ErrorKind::StorageFull.into());
        assert!(matches!(full, PlotError::NoSpace { .. }), "{full}");
        let (text, temporary) = (target.no_space(&*file, 7).to_string(), target.plan.disk_bytes());
        let needed = 528_384 + temporary;
        let expected = format!(
            ": {needed} bytes more are needed, {temporary} of them for temporary files; 7 are free"
        );
        assert!(text.ends_with(&expected), "{text}");
        let other = target.error(ErrorKind::PermissionDenied.into());
        assert!(matches!(other, PlotError::Io { .. }), "{other}");
    }

    /// What a temporary file meets on a full disk, after some of the vault was written.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_disk_full_of_temporary_files_leaves_what_was_plotted() {
        struct Stop;
        impl Progress for Stop {
            fn update(&self, stage: &'static str, done: u64, _total: u64) {
                STOP.fetch_or(
                    stage == "sort" && done >= (2 << 16) + 4 * (1 << 12),
                    Ordering::Relaxed,
                );
            }
            fn is_cancelled(&self) -> bool {
                STOP.load(Ordering::Relaxed)
            }
        }
        static STOP: AtomicBool = AtomicBool::new(false);

        let folder = tempfile::tempdir().unwrap();
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
        plot(&id, &resources, &Stop).unwrap_err();

        let target = target(&id, folder.path());
        let plan = target.plan;
        let partial = target.lock().unwrap();
        let (journal, done) = target.journal(&*partial).unwrap();
        let found = done.iter().flatten().count();
        assert!(found >= 4);
        let mut plotted = Plotted { target, partial, journal, done };
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let mut pages = plan.allocate().unwrap();
        let arena = Arena::new(&plan, &mut pages, Some(full));
        let pool = resources.pool().unwrap();
        let error = plotted.write_from(&arena, &pool, &NoProgress).unwrap_err();
        assert!(matches!(error, PlotError::NoSpace { .. }), "{error}");
        assert_eq!(plotted.done.iter().flatten().count(), found);
        drop(plotted);
        plot(&id, &resources, &NoProgress).unwrap();
    }

    #[test]
    fn free_space_is_known_before_a_plot_begins() {
        let folder = tempfile::tempdir().unwrap();
        assert!(cfg!(not(unix)) || free_bytes(folder.path()).unwrap() > 0);
        assert_eq!(free_bytes(&folder.path().join("none")), None);
    }

    /// Stops a plot of k = 16 when it has sorted so many of its 16 partitions.
    struct StopAt(u64, AtomicBool);
    impl Progress for StopAt {
        fn update(&self, stage: &'static str, done: u64, _total: u64) {
            let sorted = (2 << 16) + self.0 * (1 << 12);
            self.1.fetch_or(stage == "sort" && done >= sorted, Ordering::Relaxed);
        }
        fn is_cancelled(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
    }

    /// What a copy that lost a stretch, or a disk that did, leaves of a plot that ended early.
    #[test]
    fn a_segment_that_is_not_there_any_more_is_written_again() {
        let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
        plot(&id, &resources, &StopAt(4, AtomicBool::new(false))).unwrap_err();
        let target = target(&id, folder.path());
        let partial = target.lock().unwrap();
        let (_, done) = target.journal(&*partial).unwrap();
        let segment = done.iter().flatten().next().unwrap();
        let pages = segment_pages(&id, &target.plan);
        let offset = (u64::from(segment.index) * pages + 1) * 4096;
        partial.write_at(&[0; 4096], offset).unwrap();
        drop(partial);
        let path = plot(&id, &resources, &NoProgress).unwrap();
        let expected = plot(&id, &Resources::new(whole.path()), &NoProgress).unwrap();
        assert!(fs::read(path).unwrap() == fs::read(expected).unwrap());
    }

    /// A partial file may be removed while it is plotted; the next plot then makes another.
    #[test]
    fn a_plot_never_gives_the_name_to_the_file_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let id = VaultId::new(vector_miner(), 16, 0).unwrap();
        let target = target(&id, folder.path());
        let partial = target.lock().unwrap();
        let (journal, done) = target.journal(&*partial).unwrap();
        target.reserve(&*partial).unwrap();
        let mut plotted = Plotted { target, partial, journal, done };
        // As many threads as were planned for.
        let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
        let pool = resources.pool().unwrap();
        plotted.write_missing(&pool, &NoProgress).unwrap();
        fs::remove_file(plotted.target.partial()).unwrap();
        let _other = plotted.target.lock().unwrap();
        plotted.finish().unwrap_err();
        assert!(!plotted.target.path().exists());
    }
}
