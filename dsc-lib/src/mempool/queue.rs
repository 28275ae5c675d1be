//! The pending transactions of one sender.
//!
//! # Invariants
//!
//! 1. `base <= frontier <= end`; every sequence from `base` to before `end` is pending, `end` is
//!    not, and those after it are held until the gap closes.
//! 2. Exactly those before `frontier` are handed out, for heights that never fall.
//! 3. `spent` and `rates` are the sum and the fee rates of all that are pending.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{FeeRate, feed::Origin, notes::Number};
use crate::{
    transaction::CheckedTransaction,
    units::{Amount, Height, Millis},
};

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) transaction: Arc<CheckedTransaction>,
    pub(super) rate: FeeRate,
    /// Grows with every transaction taken.
    pub(super) arrival: u64,
    /// When it came.
    pub(super) since: Millis,
    /// The note of it, if there is one.
    pub(super) note: Option<Number>,
    /// Where in a log it stands.
    pub(super) origin: Origin,
    /// The height of the block it was handed out for.
    pub(super) handed: Option<Height>,
}

impl Pending {
    pub(super) fn sequence(&self) -> u64 {
        self.transaction.sequence()
    }

    pub(super) fn len(&self) -> u64 {
        self.transaction.bytes().len() as u64
    }

    /// Whether one of its sequence that came by `origin` has to outbid it. One that was handed out
    /// keeps its place in any case.
    pub(super) fn keeps_place_from(&self, origin: Origin) -> bool {
        self.handed.is_some() || !origin.has_seen(self.origin)
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    base: u64,
    frontier: u64,
    end: u64,
    spent: Amount,
    pending: BTreeMap<u64, Pending>,
    rates: BTreeSet<(FeeRate, u64)>,
}

impl Queue {
    /// Of a sender whose next sequence on the ledger is `base`.
    pub(super) fn new(base: u64) -> Self {
        let (pending, rates) = (BTreeMap::new(), BTreeSet::new());
        Self { base, frontier: base, end: base, spent: Amount::ZERO, pending, rates }
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The first sequence that is missing.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Payments and fees of all that are pending.
    pub(super) fn spent(&self) -> Amount {
        self.spent
    }

    pub(super) fn count(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn handed_count(&self) -> u64 {
        self.frontier.saturating_sub(self.base)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Pending> {
        self.pending.get(&sequence)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    /// The next to hand out.
    pub(super) fn head(&self) -> Option<&Pending> {
        self.pending.get(&self.frontier)
    }

    /// The last one, unless it is handed out.
    pub(super) fn tail(&self) -> Option<&Pending> {
        let (&sequence, tail) = self.pending.last_key_value()?;
        (sequence >= self.frontier).then_some(tail)
    }

    /// Whether one with this sequence waits for an earlier one that is missing.
    pub(super) fn holds(&self, sequence: u64) -> bool {
        sequence > self.end
    }

    /// The lowest fee rate of all that are pending, which is the rate at which the last one can be
    /// had: nobody gets it without the others.
    pub(super) fn rate_min(&self) -> Option<FeeRate> {
        self.rates.first().map(|(rate, _)| *rate)
    }

    /// Adds one that is not handed out; returns the one it replaces, which must not be either.
    pub(super) fn insert(&mut self, pending: Pending) -> Option<Pending> {
        let sequence = pending.sequence();
        let replaced = self.pending.remove(&sequence);
        if let Some(old) = &replaced {
            self.uncount(old);
        }
        self.spent = self.spent.checked_add(pending.transaction.spent()).expect(FUNDED);
        self.rates.insert((pending.rate, sequence));
        self.pending.insert(sequence, pending);
        self.extend();
        replaced
    }

    /// Takes one out; those after it, if it leaves a gap, are no longer handed out.
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Pending> {
        let removed = self.pending.remove(&sequence)?;
        self.uncount(&removed);
        if (self.base..self.end).contains(&sequence) {
            self.release(sequence.saturating_add(1));
            self.frontier = self.frontier.min(sequence);
            self.end = sequence;
        }
        Some(removed)
    }

    pub(super) fn remove_last(&mut self) -> Option<Pending> {
        let (&sequence, _) = self.pending.last_key_value()?;
        self.remove(sequence)
    }

    /// Hands out the head for the block at `height`.
    pub(super) fn hand(&mut self, height: Height) -> Option<Arc<CheckedTransaction>> {
        let head = self.pending.get_mut(&self.frontier)?;
        head.handed = Some(height);
        self.frontier = self.frontier.saturating_add(1);
        Some(Arc::clone(&head.transaction))
    }

    /// Takes back what was handed out for `height` or later.
    pub(super) fn release_from(&mut self, height: Height) {
        let handed = self.pending.range(self.base..self.frontier).rev();
        let last_kept = handed.map(|(s, p)| (*s, p.handed)).find(|(_, at)| *at < Some(height));
        self.release(last_kept.map_or(self.base, |(sequence, _)| sequence.saturating_add(1)));
    }

    /// Takes back everything handed out, if any of it was for `height` or earlier.
    ///
    /// What was handed out for later cannot be confirmed without it.
    pub(super) fn release_lost(&mut self, height: Height) {
        let first = self.pending.get(&self.base).and_then(|first| first.handed);
        if first.is_some_and(|handed| handed <= height) {
            self.release(self.base);
        }
    }

    /// Moves to the account's next sequence; returns those before it.
    pub(super) fn set_base(&mut self, base: u64) -> Vec<Pending> {
        let base = base.max(self.base);
        let mut passed = Vec::new();
        while let Some(first) = self.pending.first_entry().filter(|first| *first.key() < base) {
            passed.push(first.remove());
        }
        for pending in &passed {
            self.uncount(pending);
        }
        self.base = base;
        self.frontier = self.frontier.max(base);
        self.end = self.end.max(base);
        self.extend();
        passed
    }

    fn release(&mut self, first: u64) {
        if first < self.frontier {
            self.pending.range_mut(first..self.frontier).for_each(|(_, p)| p.handed = None);
            self.frontier = first;
        }
    }

    fn extend(&mut self) {
        while self.pending.contains_key(&self.end) {
            self.end = self.end.saturating_add(1);
        }
    }

    fn uncount(&mut self, pending: &Pending) {
        self.spent = self.spent.checked_sub(pending.transaction.spent()).expect(COUNTED);
        self.rates.remove(&(pending.rate, pending.sequence()));
    }
}

const FUNDED: &str = "the pool takes no more than a balance";
const COUNTED: &str = "what is pending was added";
