//! Writing the segments of a vault while others are still being sorted.
//!
//! Segments go to a few writers, because a disk with nothing queued is slow; every now and then one
//! of them makes durable what was written and notes it in the journal.
//!
//! # Invariants
//!
//! 1. The journal names a segment only after its pages were made durable.
//! 2. Whoever waits for a buffer is woken when one is free or writing has failed.
//! 3. Once the system could not make something durable, nothing more is noted: it tells that once,
//!    of whatever was written until then.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{
    super::{BuildError, OnDrop, pages::Pages},
    journal::{Journal, Segment},
    vault::{PAGE_LEN, VaultId, offset_of},
};
use crate::disk::DiskFile;

/// Most writes under way at once.
pub(super) const WRITERS: usize = 3;
/// Most bytes between two checkpoints.
const CHECKPOINT_BYTES_MAX: u64 = 128 << 20;
/// Checkpoints of a whole vault, if they are not further apart.
const CHECKPOINTS: u64 = 32;

/// Pages on their way to the file.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: &'a dyn DiskFile,
    writers: usize,
    segment_pages: u64,
    checkpoint_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
    journal: Mutex<&'a mut Journal>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Pages>,
    full: VecDeque<(Segment, Pages)>,
    written: Vec<Segment>,
    closed: bool,
    failed: Option<io::Error>,
    /// Whether what was written may be lost.
    lost: bool,
}

/// Buffers that `threads` sorting threads and the writers need.
const fn buffers(threads: usize) -> usize {
    threads.saturating_add(WRITERS.saturating_mul(2))
}

/// RAM that writing segments of `segment_pages` pages takes.
pub(super) const fn ram_bytes(threads: usize, segment_pages: u64) -> u64 {
    offset_of(segment_pages).saturating_mul(buffers(threads) as u64)
}

impl<'a> Output<'a> {
    pub(super) fn new(
        file: &'a dyn DiskFile,
        writers: usize,
        journal: &'a mut Journal,
        threads: usize,
        id: &VaultId,
        segment_pages: u64,
    ) -> Result<Self, BuildError> {
        let len = usize::try_from(offset_of(segment_pages)).unwrap_or(usize::MAX);
        let free = (0..buffers(threads)).map(|_| Pages::zeroed(len)).collect::<Result<_, _>>()?;
        let part = id.file_len().checked_div(CHECKPOINTS).unwrap_or_default();
        Ok(Self {
            file,
            writers,
            segment_pages,
            checkpoint_bytes: part.min(CHECKPOINT_BYTES_MAX),
            state: Mutex::new(State { free, ..State::default() }),
            changed: Condvar::new(),
            journal: Mutex::new(journal),
        })
    }

    /// Runs `work` with the writers; returns its result after everything it gave is durable.
    pub(super) fn run<R>(&self, work: impl FnOnce() -> R) -> io::Result<R> {
        let result = thread::scope(|scope| {
            // Dropped whatever becomes of the work: the scope waits for the writers.
            let _close = OnDrop(|| {
                self.lock().closed = true;
                self.changed.notify_all();
            });
            for _ in 0..self.writers {
                scope.spawn(|| self.write());
            }
            work()
        });
        let checkpoint = self.checkpoint();
        let failed = self.lock().failed.take();
        failed.map_or(checkpoint, Err).map(|()| result)
    }

    /// A buffer for the pages of a segment, sooner or later.
    pub(super) fn buffer(&self) -> Result<Pages, BuildError> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                // What failed is told by `run`.
                return Err(BuildError::Cancelled);
            }
            match state.free.pop() {
                Some(pages) => return Ok(pages),
                None => state = self.wait(state),
            }
        }
    }

    /// Gives the pages of `segment` to the writers.
    pub(super) fn give(&self, segment: Segment, pages: Pages) {
        self.lock().full.push_back((segment, pages));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        while let Some((segment, pages)) = self.next() {
            // After a failure nothing more is written: a full disk stays full.
            let failed = self.lock().failed.is_some();
            let written = if failed {
                Err(ErrorKind::Other.into())
            } else {
                self.write_segment(segment, &pages)
            };
            let mut state = self.lock();
            state.free.push(pages);
            let due = match written {
                Ok(()) => {
                    state.written.push(segment);
                    let bytes = offset_of(self.segment_pages);
                    bytes.saturating_mul(state.written.len() as u64) >= self.checkpoint_bytes
                }
                Err(error) => {
                    state.failed.get_or_insert(error);
                    false
                }
            };
            drop(state);
            self.changed.notify_all();
            if due && let Err(error) = self.checkpoint() {
                self.lock().failed.get_or_insert(error);
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<(Segment, Pages)> {
        let mut state = self.lock();
        loop {
            if let Some(full) = state.full.pop_front() {
                return Some(full);
            }
            if state.closed {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn write_segment(&self, segment: Segment, pages: &Pages) -> io::Result<()> {
        let first = u64::from(segment.index).saturating_mul(self.segment_pages);
        let offset = offset_of(first.saturating_add(1));
        let bytes = pages.as_slice();
        match self.file.write_at(bytes, offset) {
            // Some file systems promise direct output and refuse the first write.
            Err(error)
                if error.kind() == ErrorKind::InvalidInput && self.file.pass_cache(false) =>
            {
                self.file.write_at(bytes, offset)
            }
            written => written,
        }
    }

    /// Makes durable what was written and notes it.
    fn checkpoint(&self) -> io::Result<()> {
        // Held for the whole time: the journal's order is that of the checkpoints.
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let written = std::mem::take(&mut state.written);
        if written.is_empty() || state.lost {
            return Ok(());
        }
        drop(state);
        self.file.sync().inspect_err(|_| self.lock().lost = true)?;
        journal.append(&written)
    }
}

/// Bytes of a segment's pages, one page at a time.
pub(super) fn pages_mut(pages: &mut Pages) -> &mut [[u8; PAGE_LEN]] {
    pages.as_mut_slice::<u8>().as_chunks_mut().0
}

#[cfg(test)]
mod tests {
    use std::{panic, panic::AssertUnwindSafe, sync::mpsc, time::Duration};

    use super::*;
    use crate::{
        disk::{Disk, Memory},
        proof::testing::vector_miner,
    };

    const SEGMENT: Segment = Segment { index: 3, pairs: 4096, dropped: 0 };

    fn with_output<R>(test: impl FnOnce(&Output<'_>) -> R) -> (R, Vec<Segment>) {
        let (disk, id) = (Memory::default(), VaultId::new(vector_miner(), 16, 0));
        let id = id.unwrap();
        let (mut journal, _) = Journal::open(&disk, "journal", &id, 4).unwrap();
        let file = disk.create("file").unwrap();
        let result = test(&Output::new(&*file, WRITERS, &mut journal, 1, &id, 8).unwrap());
        (result, Journal::open(&disk, "journal", &id, 4).unwrap().1)
    }

    /// The system tells of a lost write once: what another thread wrote may be lost with it.
    #[test]
    fn after_a_failed_sync_nothing_is_noted() {
        let ((), noted) = with_output(|output| {
            let mut state = output.lock();
            (state.failed, state.lost) = (Some(ErrorKind::Other.into()), true);
            state.written.push(SEGMENT);
            drop(state);
            output.run(|| ()).unwrap_err();
        });
        assert_eq!(noted, []);
    }

    #[test]
    fn work_that_panics_does_not_leave_the_writers_waiting() {
        let (told, ended) = mpsc::channel();
        thread::spawn(move || {
            let work = || with_output(|output| output.run(|| panic!("on purpose"))).0;
            told.send(panic::catch_unwind(AssertUnwindSafe(work)).is_err()).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
