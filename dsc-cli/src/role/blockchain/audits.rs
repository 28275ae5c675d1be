//! Audits of the balances, made when somebody asks and not too often.
//!
//! # Invariants
//!
//! 1. At most one is under way, on a thread of its own, and nobody waits for it.
//! 2. One begins only if the last one's finding is older than [`PAUSE`] and than [`REST`] times what
//!    that took: so audits of however many accounts take a small part of one core.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsc_lib::{
    role::blockchain::{Audit, Blockchain},
    units::Millis,
};

use crate::{clock::SystemClock, role::Shared};

/// Least age of a finding before it is looked again.
const PAUSE: Millis = Millis(5_000);
/// How many times as long as an audit took there is none.
const REST: u64 = 20;

/// The last audit.
#[derive(Debug, Default)]
pub(super) struct Audits(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    found: Option<Audit>,
    /// When the next one may begin.
    next: Millis,
    under_way: bool,
}

impl Audits {
    /// What was found last; begins another one if it is time for that.
    pub(super) fn last(
        self: &Arc<Self>,
        shared: &Arc<Shared<Blockchain>>,
        now: Millis,
    ) -> Option<Audit> {
        let mut last = self.lock();
        let found = last.found;
        if !last.under_way && now >= last.next {
            last.under_way = true;
            drop(last);
            let (audits, shared) = (self.clone(), shared.clone());
            drop(tokio::task::spawn_blocking(move || audits.make(&shared)));
        }
        found
    }

    fn make(&self, shared: &Shared<Blockchain>) {
        let clock = SystemClock::new();
        let auditing = shared.lock().audit();
        let found = auditing.run();
        let took = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let rest = Millis(took.saturating_mul(REST)).max(PAUSE);
        let mut last = self.lock();
        (last.under_way, last.next) = (false, clock.unix().plus(rest));
        match found {
            Ok(audit) => {
                if !audit.holds {
                    tracing::error!(?audit, "the balances do not add up to the coins issued");
                }
                last.found = Some(audit);
            }
            Err(error) => {
                last.found = None;
                tracing::error!(%error, "the balances cannot be read");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
