//! The mempool: transactions on their way to the ledger, bounded in number and bytes.
//!
//! # Invariants
//!
//! 1. Nothing depends on a clock, on entropy or on the order of a hash map: the same calls give
//!    the same answers. On the time that the caller tells only [`Latency`] and [`Note`]s depend.
//! 2. Count and bytes never exceed the [`Limits`], nor does what is remembered of the ended.
//! 3. A sender's transactions are handed out in sequence from the account's, without a gap, and
//!    all that are pending together cost no more than the balance at the tip: the next block
//!    takes whatever [`Mempool::take`] gives for it.
//! 4. Every transaction taken ends: confirmed, rejected or expired. What is in a block on the
//!    ledger is confirmed, whatever the pool thought of it.
//! 5. No call looks at every transaction: each costs a logarithm for each transaction it adds,
//!    hands out or ends.
//!
//! When the pool is full the worst transaction makes room. A transaction is worth the lowest fee
//! rate among itself and its sender's earlier ones, as nobody can have it without them. So the
//! worst is always some sender's last one, its eviction leaves no gap, and eviction is the
//! opposite of the order of [`Mempool::take`]. One that waits for a missing earlier one goes
//! before all that do not: it may never pay. One that was handed out is not evicted and not
//! replaced, as it may well be confirmed.
//!
//! What was acknowledged before a restart and is refused after it may wait beside what is pending: see
//! [`Mempool::restore`]. Where several pools apply one log, each asks [`Mempool::sieve`] what may be
//! put there and takes what comes of it with [`Mempool::enter`].
//!
//! Checked by the unit tests, among them a comparison with a simple model.

mod admission;
mod deferred;
mod error;
pub mod feed;
mod finished;
mod index;
pub mod journal;
mod latency;
mod notes;
mod queue;
mod rate;
mod selection;
mod settlement;
mod sieve;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use self::{
    deferred::Deferred,
    error::{End, Rejection},
    feed::Claim,
    finished::Finished,
    index::{Index, Sender},
    notes::Notes,
    queue::{Pending, Queue},
};
pub use self::{
    deferred::{Entered, Restored},
    error::PoolError,
    latency::{Latency, LatencyClass},
    notes::{NOTES_MAX, NOTES_PER_SECOND, Note},
    rate::FeeRate,
    sieve::{Sieve, Sifted},
    status::{Counts, Inserted, Status},
};
use crate::{
    address::Address,
    ledger::State,
    transaction::{CheckedTransaction, TransactionId},
    units::{Height, Millis},
};

/// How much a pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most transactions.
    pub transactions_max: usize,
    /// Most bytes in their encodings together.
    pub bytes_max: u64,
    /// Most transactions of one sender.
    pub per_sender_max: usize,
    /// How far ahead of its account's sequence a transaction's may be.
    pub gap_max: u64,
    /// How many heights ahead of the tip a transaction may expire.
    pub expiry_max: u64,
    /// How many ended transactions are remembered; those that ended first are forgotten.
    pub finished_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions_max: 1 << 18,
            bytes_max: 1 << 28,
            per_sender_max: 1 << 17,
            gap_max: 1 << 17,
            expiry_max: 1 << 16,
            finished_max: 1 << 18,
        }
    }
}

/// Transactions that are to be confirmed.
#[derive(Debug)]
pub struct Mempool {
    limits: Limits,
    senders: HashMap<Address, Sender>,
    index: Index,
    finished: Finished,
    deferred: Deferred,
    tip: Option<Height>,
    /// The height the next block to follow should have.
    next: Height,
    arrivals: u64,
    added: u64,
    now: Millis,
    latency: Latency,
    notes: Notes,
}

impl Mempool {
    /// An empty pool.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            senders: HashMap::new(),
            index: Index::default(),
            finished: Finished::new(limits.finished_max),
            deferred: Deferred::default(),
            tip: None,
            next: Height(0),
            arrivals: 0,
            added: 0,
            now: Millis(0),
            latency: Latency::default(),
            notes: Notes::default(),
        }
    }

    /// Says what time it is, for figures alone; whoever never does has none of them.
    pub fn tell_time(&mut self, now: Millis) {
        self.now = now;
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds one; returns the one whose place it takes.
    fn attach(&mut self, pending: &Pending) -> Option<Pending> {
        let address = pending.transaction.sender();
        let replaced = self.change(address, |queue| queue.insert(pending.clone())).flatten();
        if let Some(replaced) = &replaced {
            self.index.remove(replaced);
        }
        self.index.add(pending);
        replaced
    }

    fn remove_last(&mut self, address: Address) -> Option<Pending> {
        let last = self.change(address, Queue::remove_last).flatten()?;
        self.index.remove(&last);
        Some(last)
    }

    fn reject(&mut self, pending: &Pending, rejection: Rejection) {
        self.finished.push(pending.transaction.id(), End::Rejected(rejection));
    }

    /// Changes a sender's queue and lists it anew.
    fn change<T>(&mut self, address: Address, change: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        let sender = self.senders.get_mut(&address)?;
        let result = change(&mut sender.queue);
        self.index.relist(address, sender);
        Some(result)
    }

    fn drop_if_empty(&mut self, address: Address) {
        if self.senders.get(&address).is_some_and(|sender| sender.queue.count() == 0) {
            self.senders.remove(&address);
        }
    }

    /// Where a transaction is, if it is pending or has ended and is still remembered.
    pub fn status(&self, id: &TransactionId) -> Option<Status> {
        let Some((address, sequence)) = self.index.ids.get(id) else {
            if self.deferred.find(id).is_some() {
                return Some(Status::Submitted);
            }
            return self.finished.find(id).map(Status::from);
        };
        let pending = self.senders.get(address)?.queue.get(*sequence)?;
        let unconfirmed = |height| Status::Unconfirmed { height };
        Some(pending.handed.map_or(Status::Submitted, unconfirmed))
    }

    /// A transaction that is pending, or waits to be again.
    pub fn find(&self, id: &TransactionId) -> Option<&Arc<CheckedTransaction>> {
        let Some((address, sequence)) = self.index.ids.get(id) else {
            return self.deferred.find(id);
        };
        Some(&self.senders.get(address)?.queue.get(*sequence)?.transaction)
    }

    /// The transaction that stands for a claim on a log, if it is pending or waits to be.
    pub(crate) fn find_claimed(&self, claim: &Claim) -> Option<&Arc<CheckedTransaction>> {
        let sender = self.senders.get(&claim.sender);
        let pending = sender.and_then(|sender| sender.queue.get(claim.sequence));
        let pending = pending.map(|pending| &pending.transaction);
        let mut held = pending.into_iter().chain(self.deferred.at(claim.sender, claim.sequence));
        held.find(|one| one.id().first64() == claim.mark)
    }

    /// The sequence the sender's next transaction should have: the first that is neither on the
    /// ledger nor pending.
    pub fn next_sequence(&self, address: &Address, state: &State) -> u64 {
        let end = self.senders.get(address).map_or(0, |sender| sender.queue.end());
        let mut next = end.max(state.account(address).sequence);
        while self.deferred.at(*address, next).is_some() {
            next = next.saturating_add(1);
        }
        next
    }

    /// The pending transactions of a sender in sequence.
    pub fn pending_of(&self, address: &Address) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        let sender = self.senders.get(address).into_iter();
        sender.flat_map(|sender| sender.queue.iter()).map(|pending| &pending.transaction)
    }

    /// All pending transactions in the order of arrival; looks at each.
    pub fn pending(&self) -> Vec<Arc<CheckedTransaction>> {
        let mut pending: Vec<_> = self.senders.values().flat_map(|s| s.queue.iter()).collect();
        pending.sort_unstable_by_key(|pending| pending.arrival);
        pending.into_iter().map(|pending| Arc::clone(&pending.transaction)).collect()
    }

    /// All that are pending, and then all that wait to be; looks at each.
    pub fn held(&self) -> Vec<Arc<CheckedTransaction>> {
        let mut held = self.pending();
        held.extend(self.deferred.iter().cloned());
        held
    }

    /// Counts transactions that were taken in where that was not an [`Mempool::insert`].
    pub(crate) fn count_added(&mut self, count: u64) {
        self.added = self.added.saturating_add(count);
    }

    /// Figures.
    pub fn counts(&self) -> Counts {
        let (Index { ids, bytes, handed_count, .. }, totals) = (&self.index, &self.finished.totals);
        let held = (ids.len() as u64).saturating_add(self.deferred.len() as u64);
        Counts {
            submitted: held.saturating_sub(*handed_count),
            unconfirmed: *handed_count,
            bytes: bytes.saturating_add(self.deferred.bytes()),
            confirmed: totals.confirmed,
            rejected: totals.rejected,
            expired: totals.expired,
            finished: self.finished.len() as u64,
            added: self.added,
        }
    }

    /// How long transactions took until the ledger had them; those of a journal count from when they
    /// were taken in again.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// Some of the transactions that came lately, newest first.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }
}
