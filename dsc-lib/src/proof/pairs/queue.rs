//! Partitions for threads to take, brought to RAM ahead of them.
//!
//! # Invariants
//!
//! 1. At most [`READ_AHEAD`] partitions are read or wait to be taken, which is what the plan of an
//!    arena counts on.
//! 2. Whoever waits is woken when there is something to take or to read, or nothing more to come.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    vec,
};

use super::{
    super::BuildError,
    arena::{Arena, Chunk},
    plan::READ_AHEAD,
};

/// The chunks of one partition.
pub(super) type List<'a> = Vec<Chunk<'a>>;

/// Partitions, by their index.
#[derive(Debug)]
pub(super) struct Queue<'s, 'a> {
    arena: &'s Arena<'a>,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<'a> {
    left: vec::IntoIter<(usize, List<'a>)>,
    ready: VecDeque<(usize, List<'a>)>,
    /// Partitions that are being read.
    reading: usize,
    stopped: bool,
    failed: Option<BuildError>,
}

impl<'s, 'a> Queue<'s, 'a> {
    pub(super) fn new(arena: &'s Arena<'a>, lists: Vec<(usize, List<'a>)>) -> Self {
        let state = State {
            left: lists.into_iter(),
            ready: VecDeque::new(),
            reading: 0,
            stopped: false,
            failed: None,
        };
        Self { arena, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next partition, whose chunks are in RAM; none when all were taken.
    pub(super) fn next(&self) -> Result<Option<(usize, List<'a>)>, BuildError> {
        let mut state = self.lock();
        if !self.arena.spills() {
            return Ok(state.left.next());
        }
        loop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if let Some(next) = state.ready.pop_front() {
                self.changed.notify_all();
                return Ok(Some(next));
            }
            if state.reading == 0 && state.left.len() == 0 {
                return Ok(None);
            }
            state = self.wait(state);
        }
    }

    /// Reads partitions until there are no more or [`Queue::stop`] is called.
    pub(super) fn read_ahead(&self) {
        while let Some((index, list)) = self.next_to_read() {
            let list = list.into_iter().map(|chunk| self.arena.load(chunk));
            let list = list.collect::<Result<_, _>>();
            let mut state = self.lock();
            state.reading = state.reading.saturating_sub(1);
            match list {
                Ok(list) => state.ready.push_back((index, list)),
                Err(error) => state.failed = Some(error),
            }
            self.changed.notify_all();
        }
    }

    /// Ends reading: nobody is going to take what would be read.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn next_to_read(&self) -> Option<(usize, List<'a>)> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.failed.is_some() {
                return None;
            }
            if state.ready.len().saturating_add(state.reading) < READ_AHEAD {
                let next = state.left.next()?;
                state.reading = state.reading.saturating_add(1);
                return Some(next);
            }
            state = self.wait(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State<'a>>) -> MutexGuard<'g, State<'a>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
}
