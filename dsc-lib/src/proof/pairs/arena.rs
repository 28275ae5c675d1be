//! The RAM of a build, given out in chunks; what does not fit goes to a temporary file.
//!
//! Chunks are lent to whoever fills them and come back when they were read. When few are left and
//! there is a file, a full chunk is written to it and lent again. The file has no name, so nothing
//! is left of it however the program ends.
//!
//! # Invariants
//!
//! 1. A chunk has one owner at a time: it is an exclusive slice that moves.
//! 2. Whoever waits for a chunk is woken when one is free or the build has failed.
//! 3. A full chunk is kept only if enough are free for everything that is promised one, so that
//!    nobody waits for a chunk that nobody will free.
//! 4. The file is read only after the [`Arena::run`] that wrote it, which waits for the writers.

use std::{
    fs::File,
    io, mem,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use rayon::ThreadPool;

use super::{
    super::{
        BuildError, OnDrop, direct,
        file::{read_exact_at, write_all_parts_at},
        pages::Pages,
    },
    Plan,
    line::{LINE, Line, words},
    plan::READ_AHEAD,
    queue::Queue,
};

/// Writes under way at once; a disk is slower when it has nothing queued.
const WRITERS: usize = 3;
/// Chunks written in one go.
const WRITE_CHUNKS: usize = 16;

/// A part of a list.
#[derive(Debug)]
pub(super) enum Chunk<'a> {
    /// The first `used` words of `lines`.
    Ram { lines: &'a mut [Line], used: usize },
    /// As many words as a chunk has, at this place of the file.
    Disk { slot: u64 },
}

impl Chunk<'_> {
    /// Words that it holds, of at most `chunk_len`.
    pub(super) const fn len(&self, chunk_len: usize) -> usize {
        match self {
            Self::Ram { used, .. } => *used,
            Self::Disk { .. } => chunk_len,
        }
    }

    /// The words of a chunk that is in RAM.
    pub(super) fn words(&self) -> &[u64] {
        match self {
            Self::Ram { lines, used } => words(lines).get(..*used).unwrap_or_default(),
            Self::Disk { .. } => &[],
        }
    }
}

/// Where chunks come from.
#[derive(Debug)]
pub(in super::super) struct Arena<'a> {
    /// Words in a chunk.
    chunk_len: usize,
    state: Mutex<State<'a>>,
    changed: Condvar,
    file: Option<File>,
}

#[derive(Debug, Default)]
struct State<'a> {
    free: Vec<&'a mut [Line]>,
    /// Chunks to be written, in the order of their slots.
    full: Vec<(u64, &'a mut [Line])>,
    /// Slots of the file that were given out.
    slots: u64,
    /// Free chunks that are not for keeping full ones in RAM, nor for lists to begin with.
    reserve: u64,
    /// Lists that have not begun: each is going to take a chunk and give none for it.
    lists: u64,
    closed: bool,
    failed: Option<BuildError>,
}

impl<'a> Arena<'a> {
    /// Cuts up `pages`, which are what [`Plan::allocate`] gave; a plan that spills does so to
    /// `file`.
    pub(in super::super) fn new(plan: &Plan, pages: &'a mut Pages, file: Option<File>) -> Self {
        let chunk_len = plan.chunk_len();
        let free = pages.as_mut_slice().chunks_exact_mut(chunk_len / LINE).rev().collect();
        let state = State { free, ..State::default() };
        Self { chunk_len, state: Mutex::new(state), changed: Condvar::new(), file }
    }

    pub(super) const fn chunk_len(&self) -> usize {
        self.chunk_len
    }

    pub(super) const fn spills(&self) -> bool {
        self.file.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State<'a>>) -> MutexGuard<'g, State<'a>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a stage in which so many lists are filled and so many chunks are needed besides.
    pub(super) fn begin(&self, lists: u64, reserve: u64) {
        let mut state = self.lock();
        (state.lists, state.reserve) = (lists, reserve);
    }

    /// The first chunk of a list.
    pub(super) fn take_first(&self) -> Result<&'a mut [Line], BuildError> {
        let lines = self.take()?;
        let mut state = self.lock();
        state.lists = state.lists.saturating_sub(1);
        Ok(lines)
    }

    /// A free chunk, sooner or later.
    pub(super) fn take(&self) -> Result<&'a mut [Line], BuildError> {
        let mut state = self.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if let Some(lines) = state.free.pop() {
                return Ok(lines);
            }
            if !self.spills() {
                let bytes = (self.chunk_len as u64).saturating_mul(8);
                return Err(BuildError::OutOfMemory { bytes });
            }
            state = self.wait(state);
        }
    }

    /// Keeps a full chunk in RAM or sends it to the file.
    pub(super) fn retire(&self, lines: &'a mut [Line]) -> Chunk<'a> {
        let mut state = self.lock();
        let promised = state.reserve.saturating_add(state.lists);
        if !self.spills() || state.free.len() as u64 > promised {
            return Chunk::Ram { used: self.chunk_len, lines };
        }
        let slot = state.slots;
        state.slots = slot.saturating_add(1);
        state.full.push((slot, lines));
        self.changed.notify_all();
        Chunk::Disk { slot }
    }

    /// Takes back the chunks of a list that was read.
    pub(super) fn give(&self, chunks: Vec<Chunk<'a>>) {
        let lines = chunks.into_iter().filter_map(|chunk| match chunk {
            Chunk::Ram { lines, .. } => Some(lines),
            Chunk::Disk { .. } => None,
        });
        self.lock().free.extend(lines);
        if self.spills() {
            self.changed.notify_all();
        }
    }

    /// Brings a chunk to RAM.
    pub(super) fn load(&self, chunk: Chunk<'a>) -> Result<Chunk<'a>, BuildError> {
        let (Chunk::Disk { slot }, Some(file)) = (&chunk, &self.file) else { return Ok(chunk) };
        let (lines, offset) = (self.take()?, self.offset(*slot));
        let read = read_exact_at(file, bytemuck::cast_slice_mut(lines), offset);
        read.map_err(|error| self.fail(temporary_error(&error)))?;
        Ok(Chunk::Ram { used: self.chunk_len, lines })
    }

    fn offset(&self, slot: u64) -> u64 {
        slot.saturating_mul((self.chunk_len as u64).saturating_mul(8))
    }

    /// Lets everybody know that the build is over.
    pub(super) fn fail(&self, error: BuildError) -> BuildError {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| error.clone());
        self.changed.notify_all();
        error
    }

    /// Runs `work` on every thread of `pool`, with the file being written meanwhile, and read for
    /// `queue`.
    pub(super) fn run<R: Send>(
        &self,
        pool: &ThreadPool,
        queue: Option<&Queue<'_, 'a>>,
        work: impl Fn() -> Result<R, BuildError> + Sync,
    ) -> Result<Vec<R>, BuildError> {
        let work = || work().map_err(|error| self.fail(error));
        let Some(file) = &self.file else {
            return pool.broadcast(|_| work()).into_iter().collect();
        };
        self.lock().closed = false;
        let work = || {
            // A thread that panics keeps its chunks, which others may wait for.
            let panicked = OnDrop(|| {
                self.fail(BuildError::Cancelled);
            });
            let result = work();
            mem::forget(panicked);
            result
        };
        let results = thread::scope(|scope| {
            // Dropped whatever becomes of the work: the scope waits for writers and readers.
            let _close = OnDrop(|| {
                if let Some(queue) = queue {
                    queue.stop();
                }
                self.lock().closed = true;
                self.changed.notify_all();
            });
            for _ in 0..WRITERS {
                scope.spawn(|| self.write(file));
            }
            for queue in queue.into_iter().flat_map(|queue| [queue; READ_AHEAD]) {
                scope.spawn(|| queue.read_ahead());
            }
            pool.broadcast(|_| work())
        });
        // Writing may have failed after the last of the work was done.
        let failed = self.lock().failed.clone();
        failed.map_or_else(|| results.into_iter().collect(), Err)
    }

    /// Writes full chunks until the arena is closed and none is left.
    fn write(&self, file: &File) {
        while let Some(batch) = self.next_batch() {
            // Slots are given out in order, so a batch is one stretch of the file.
            let first = batch.first().map_or(0, |(slot, _)| *slot);
            let parts: Vec<&[u8]> =
                batch.iter().map(|(_, lines)| bytemuck::cast_slice(lines)).collect();
            let written = write_parts(file, &parts, self.offset(first));
            let mut state = self.lock();
            if let Err(error) = written {
                state.failed.get_or_insert_with(|| temporary_error(&error));
            }
            state.free.extend(batch.into_iter().map(|(_, lines)| lines));
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next_batch(&self) -> Option<Vec<(u64, &'a mut [Line])>> {
        let mut state = self.lock();
        loop {
            if !state.full.is_empty() {
                let count = state.full.len().min(WRITE_CHUNKS);
                return Some(state.full.drain(..count).collect());
            }
            if state.closed || state.failed.is_some() {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// Writes past the cache, or through it where that is refused.
fn write_parts(file: &File, parts: &[&[u8]], offset: u64) -> io::Result<()> {
    match write_all_parts_at(file, parts, offset) {
        // Some file systems promise direct output and refuse the first write.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput && direct::disable(file) => {
            write_all_parts_at(file, parts, offset)
        }
        written => written,
    }
}

/// Makes a file without a name in `folder`.
///
/// # Errors
///
/// [`BuildError`] if the system refuses.
pub(in super::super) fn temporary_file(folder: &Path) -> Result<File, BuildError> {
    let file = tempfile::tempfile_in(folder).map_err(|error| temporary_error(&error))?;
    direct::enable(&file);
    Ok(file)
}

fn temporary_error(error: &io::Error) -> BuildError {
    match error.kind() {
        io::ErrorKind::StorageFull => BuildError::TemporaryFull,
        _ => BuildError::Temporary { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::pairs::Size;

    fn spilling() -> Plan {
        let size = Size::new(16).unwrap();
        let Err(BuildError::RamTooSmall { needed, .. }) = Plan::within(size, 2, 0) else {
            panic!("a plan of nothing")
        };
        Plan::within(size, 2, needed).unwrap()
    }

    /// A thread that filled lists before another began its own once took the chunks of those.
    #[test]
    fn lists_that_have_not_begun_are_not_left_without_a_chunk() {
        let plan = spilling();
        let mut pages = plan.allocate().unwrap();
        let arena = Arena::new(&plan, &mut pages, Some(tempfile::tempfile().unwrap()));
        let chunks = arena.lock().free.len() as u64;
        arena.begin(4, chunks - 6);
        let kept = |chunk: &Chunk<'_>| matches!(chunk, Chunk::Ram { .. });
        // One is taken and three lists are promised theirs: two are left to keep full ones in.
        let first = arena.retire(arena.take_first().unwrap());
        let second = arena.retire(arena.take().unwrap());
        assert!(kept(&first) && kept(&second));
        let third = arena.retire(arena.take().unwrap());
        assert!(matches!(third, Chunk::Disk { slot: 0 }));
        assert_eq!(third.len(plan.chunk_len()), plan.chunk_len());
        assert!(third.words().is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_cannot_be_written_ends_the_build() {
        let plan = spilling();
        let mut pages = plan.allocate().unwrap();
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let arena = Arena::new(&plan, &mut pages, Some(full));
        arena.begin(0, u64::MAX);
        let pool = crate::proof::pool(1).unwrap();
        let found = arena.run(&pool, None, || {
            let chunk = arena.retire(arena.take()?);
            assert!(matches!(chunk, Chunk::Disk { .. }));
            Ok(())
        });
        assert_eq!(found.err(), Some(BuildError::TemporaryFull));
        assert_eq!(arena.take().err(), Some(BuildError::TemporaryFull));
        assert_eq!(BuildError::TemporaryFull.to_string(), "no room is left for temporary files");
        let other = temporary_error(&io::ErrorKind::PermissionDenied.into());
        assert_eq!(other.to_string(), "a temporary file failed: permission denied");
    }

    /// A file system that promises direct output may refuse the first write.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_refuses_direct_output_is_written_through_the_cache() {
        let plan = spilling();
        // Not aligned to what direct output asks for, which is one way to be refused.
        let mut lines = vec![[0; 4]; plan.chunk_len() / LINE + 64];
        let skew = (0..64).find(|&at| lines[at..].as_ptr().addr() % 4096 != 0).unwrap();
        let file = temporary_file(&std::env::temp_dir()).unwrap();
        let mut pages = Pages::zeroed(0).unwrap();
        let arena = Arena::new(&plan, &mut pages, None);
        let arena = Arena { file: Some(file), ..arena };
        arena.lock().free = vec![&mut lines[skew..][..plan.chunk_len() / LINE]];
        arena.begin(0, u64::MAX);
        let pool = crate::proof::pool(1).unwrap();
        let found = arena.run(&pool, None, || Ok(arena.retire(arena.take()?)));
        let chunk = found.unwrap().pop().unwrap();
        assert!(matches!(arena.load(chunk).unwrap(), Chunk::Ram { .. }));
    }

    #[test]
    fn work_that_panics_ends_the_build() {
        use std::{panic, panic::AssertUnwindSafe, sync::mpsc, time::Duration};
        let (told, ended) = mpsc::channel();
        thread::spawn(move || {
            let plan = spilling();
            let mut pages = plan.allocate().unwrap();
            let arena = Arena::new(&plan, &mut pages, Some(tempfile::tempfile().unwrap()));
            let pool = crate::proof::pool(2).unwrap();
            let work = || arena.run(&pool, None, || -> Result<(), _> { panic!("on purpose") });
            told.send(panic::catch_unwind(AssertUnwindSafe(work)).is_err()).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
