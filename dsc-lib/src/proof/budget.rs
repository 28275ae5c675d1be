//! What a search may spend, and how it tells how far it is.
//!
//! # Invariants
//!
//! 1. The library reads no clock of its own: time comes from a [`Clock`].
//! 2. A budget only ever runs out; a spent one stays spent.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A monotonic clock.
pub trait Clock: Sync {
    /// Time since an origin that never changes.
    fn now(&self) -> Duration;
}

/// Where a slow task says how far it is.
pub trait Progress: Sync {
    /// `done` of `total` units of `stage` are finished.
    fn update(&self, stage: &'static str, done: u64, total: u64);

    /// Whether the task should stop; asked about as often as it tells its progress.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Keeps progress to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn update(&self, _stage: &'static str, _done: u64, _total: u64) {}
}

/// What one call of [`Prover::prove`](super::Prover::prove) may spend.
///
/// It ends with the first of deadline, cancellation and attempts, or when nothing is left to try.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    clock: &'a dyn Clock,
    cancel: &'a AtomicBool,
    deadline: Option<Duration>,
    threads: usize,
    attempts_max: u64,
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("cancel", &self.cancel)
            .field("deadline", &self.deadline)
            .field("threads", &self.threads)
            .field("attempts_max", &self.attempts_max)
            .finish_non_exhaustive()
    }
}

impl<'a> Budget<'a> {
    /// A budget that lasts until `cancel` is set.
    pub const fn new(clock: &'a dyn Clock, cancel: &'a AtomicBool) -> Self {
        Self { clock, cancel, deadline: None, threads: usize::MAX, attempts_max: u64::MAX }
    }

    /// Ends it when the clock shows `deadline`.
    #[must_use]
    pub const fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Lets it use at most `threads` of the threads that the prover was prepared with.
    #[must_use]
    pub const fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Ends it after `attempts_max` tries.
    #[must_use]
    pub const fn with_attempts_max(self, attempts_max: u64) -> Self {
        Self { attempts_max, ..self }
    }

    /// Tries allowed.
    pub const fn attempts_max(&self) -> u64 {
        self.attempts_max
    }

    /// Threads to use out of `available`, at least one.
    pub fn threads(&self, available: usize) -> usize {
        self.threads.min(available).max(1)
    }

    /// Whether the deadline has passed or the search is cancelled.
    ///
    /// Reads the clock, which takes as long as a few tags: ask once per thousand tries.
    pub fn is_over(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| self.clock.now() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped(Duration);

    impl Clock for Stopped {
        fn now(&self) -> Duration {
            self.0
        }
    }

    #[test]
    fn a_budget_is_over_at_its_deadline_or_when_cancelled() {
        let (clock, cancel) = (Stopped(Duration::from_secs(5)), AtomicBool::new(false));
        let budget = Budget::new(&clock, &cancel);
        assert!(!budget.is_over());
        assert!(!budget.with_deadline(Duration::from_secs(6)).is_over());
        assert!(budget.with_deadline(Duration::from_secs(5)).is_over());
        cancel.store(true, Ordering::Relaxed);
        assert!(budget.is_over());
        assert!(format!("{budget:?}").contains("deadline: None"));
    }

    #[test]
    fn a_search_has_at_least_one_thread() {
        let (clock, cancel) = (Stopped(Duration::ZERO), AtomicBool::new(false));
        let budget = Budget::new(&clock, &cancel);
        assert_eq!(budget.threads(8), 8);
        assert_eq!(budget.with_threads(3).threads(8), 3);
        assert_eq!(budget.with_threads(0).threads(8), 1);
    }
}
