//! The memory of transactions that have ended.
//!
//! # Invariants
//!
//! 1. At most `max` are remembered; the one that ended first is forgotten first.
//! 2. The ledger has the last word: an end is replaced only by a confirmation.

use std::collections::{BTreeMap, HashMap};

use super::error::End;
use crate::transaction::TransactionId;

#[derive(Debug)]
pub(super) struct Finished {
    max: usize,
    ends: HashMap<TransactionId, (u64, End)>,
    /// By the number in `ends`, which grows.
    order: BTreeMap<u64, TransactionId>,
    next: u64,
    pub(super) totals: Totals,
}

/// How many ended in each way.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) confirmed: u64,
    pub(super) rejected: u64,
    pub(super) expired: u64,
}

impl Finished {
    pub(super) fn new(max: usize) -> Self {
        let (ends, order, totals) = (HashMap::new(), BTreeMap::new(), Totals::default());
        Self { max, ends, order, next: 0, totals }
    }

    pub(super) fn find(&self, id: &TransactionId) -> Option<&End> {
        self.ends.get(id).map(|(_, end)| end)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, id: TransactionId, end: End) {
        if matches!(self.find(&id), Some(End::Confirmed(_))) {
            return;
        }
        if let Some(old) = self.forget(&id) {
            let total = self.totals.of(&old);
            *total = total.saturating_sub(1);
        }
        let total = self.totals.of(&end);
        *total = total.saturating_add(1);
        self.order.insert(self.next, id);
        self.ends.insert(id, (self.next, end));
        self.next = self.next.saturating_add(1);
        if self.ends.len() > self.max {
            self.forget_first();
        }
    }

    pub(super) fn forget(&mut self, id: &TransactionId) -> Option<End> {
        let (number, end) = self.ends.remove(id)?;
        self.order.remove(&number);
        Some(end)
    }

    fn forget_first(&mut self) {
        if let Some((_, id)) = self.order.pop_first() {
            self.ends.remove(&id);
        }
    }
}

impl Totals {
    fn of(&mut self, end: &End) -> &mut u64 {
        match end {
            End::Confirmed(_) => &mut self.confirmed,
            End::Rejected(_) => &mut self.rejected,
            End::Expired(_) => &mut self.expired,
        }
    }
}
