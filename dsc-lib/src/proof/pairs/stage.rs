//! Telling how far one pass over a table is, and stopping it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{BuildError, Progress};

/// Counts what all threads have done of one pass.
pub(super) struct Stage<'a> {
    progress: &'a dyn Progress,
    name: &'static str,
    done: AtomicU64,
    total: u64,
}

impl<'a> Stage<'a> {
    /// Goes on from `done` of `total`, which count over all passes of the task.
    pub(super) fn new(
        progress: &'a dyn Progress,
        name: &'static str,
        done: u64,
        total: u64,
    ) -> Self {
        Self { progress, name, done: AtomicU64::new(done), total }
    }

    /// Counts more as done; an error if the task was told to stop.
    pub(super) fn advance(&self, count: u64) -> Result<(), BuildError> {
        let done = self.done.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        self.progress.update(self.name, done, self.total);
        if self.progress.is_cancelled() { Err(BuildError::Cancelled) } else { Ok(()) }
    }
}
