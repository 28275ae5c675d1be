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
//! [`Mempool::restore`].
//!
//! Checked by the unit tests, among them a comparison with a simple model.

mod deferred;
mod error;
mod finished;
mod index;
pub mod journal;
mod latency;
mod notes;
mod queue;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use self::{
    deferred::Restored,
    error::PoolError,
    latency::{Latency, LatencyClass},
    notes::{NOTES_MAX, NOTES_PER_SECOND, Note},
    rate::FeeRate,
};
use self::{
    deferred::{Deferred, place_of},
    error::{End, Rejection},
    finished::Finished,
    index::{Head, Index, Sender},
    notes::Notes,
    queue::{Pending, Queue},
};
use crate::{
    address::Address,
    commitment::Account,
    ledger::{CheckedBlock, State},
    transaction::{CheckedTransaction, TransactionId},
    units::{Amount, Height, Millis},
};

/// Senders passed over in one [`Mempool::take`] because their next one does not fit.
const MISFITS_MAX: usize = 64;

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

/// What became of a transaction that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// It is in the pool.
    Added {
        /// Those that ended to make room for it, the worst first.
        evicted: Vec<TransactionId>,
    },
    /// It was known already, and nothing has changed.
    Duplicate(Status),
}

/// Where a transaction is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// In the pool.
    Submitted,
    /// Handed out for a block that is not on the ledger yet.
    Unconfirmed {
        /// The block's height.
        height: Height,
    },
    /// On the ledger.
    Confirmed {
        /// Its block's height.
        height: Height,
    },
    /// Given up.
    Rejected {
        /// Why, for programs: `evicted`, `replaced`, `sequence-used` or `insufficient-funds`.
        code: String,
        /// Why, for people.
        reason: String,
    },
    /// Too late for any block.
    Expired {
        /// Height of the block it missed last.
        height: Height,
    },
}

impl Status {
    /// The name of the state, as JSON has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
        }
    }

    /// Height of the block it is in, was handed out for, or missed last.
    pub const fn height(&self) -> Option<Height> {
        match self {
            Self::Unconfirmed { height }
            | Self::Confirmed { height }
            | Self::Expired { height } => Some(*height),
            Self::Submitted | Self::Rejected { .. } => None,
        }
    }
}

impl From<&End> for Status {
    fn from(end: &End) -> Self {
        match end {
            End::Confirmed(height) => Self::Confirmed { height: *height },
            End::Expired(height) => Self::Expired { height: *height },
            End::Rejected(rejection) => {
                Self::Rejected { code: rejection.code().into(), reason: rejection.to_string() }
            }
        }
    }
}

/// Figures of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions waiting.
    pub submitted: u64,
    /// Transactions handed out for a block that is not on the ledger yet.
    pub unconfirmed: u64,
    /// Bytes of both together.
    pub bytes: u64,
    /// Transactions confirmed since the start, also those that came to the ledger otherwise.
    pub confirmed: u64,
    /// Rejections since the start, less those that the ledger confirmed after all; of one evicted
    /// and submitted again both ends count.
    pub rejected: u64,
    /// Transactions expired since the start.
    pub expired: u64,
    /// Finished transactions remembered.
    pub finished: u64,
    /// Transactions taken in since the start, without those of a journal.
    #[serde(default)]
    pub added: u64,
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

    /// Takes a transaction; `state` is the one after the last block passed to
    /// [`Mempool::advance`].
    ///
    /// A transaction that is known is not looked at again, whatever has become of it; but one
    /// that was evicted, or had no funds, is new.
    ///
    /// # Errors
    ///
    /// The first rule broken; the pool is then as it was.
    pub fn insert(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        state: &State,
    ) -> Result<Inserted, PoolError> {
        let id = transaction.id();
        if let Some(status) = self.known(&id) {
            return Ok(Inserted::Duplicate(status));
        }
        let evicted = self.take_in(transaction, state)?;
        self.added = self.added.saturating_add(1);
        let evicted = evicted.iter().map(|pending| pending.transaction.id()).collect();
        Ok(Inserted::Added { evicted })
    }

    /// Takes one that is not pending; returns what made room for it.
    fn take_in(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        state: &State,
    ) -> Result<Vec<Pending>, PoolError> {
        self.tip = self.tip.max(state.height());
        let (id, place) = (transaction.id(), place_of(&transaction));
        let account = state.account(&transaction.sender());
        self.check(&transaction, &account, state.round().height)?;
        let evicted = self.add(transaction, account.sequence)?;
        self.finished.forget(&id);
        self.replace_deferred(place, id);
        Ok(evicted)
    }

    /// What makes a transaction a duplicate.
    fn known(&self, id: &TransactionId) -> Option<Status> {
        let passing = self.finished.find(id).is_some_and(End::is_passing);
        if passing { None } else { self.status(id) }
    }

    fn check(
        &self,
        transaction: &CheckedTransaction,
        account: &Account,
        next: Height,
    ) -> Result<(), PoolError> {
        let sender = self.senders.get(&transaction.sender());
        let base = sender.map_or(0, |sender| sender.queue.base()).max(account.sequence);
        self.check_sequence(transaction.sequence(), base)?;
        self.check_expiry(transaction.expires(), next)?;
        let rival = sender.and_then(|s| s.queue.get(transaction.sequence()));
        let is_handed = rival.is_some_and(|rival| rival.handed.is_some());
        let waiting = self.deferred.at(transaction.sender(), transaction.sequence());
        if let Some(rival) = rival.map(|rival| &rival.transaction).or(waiting) {
            check_rival(transaction, rival, is_handed)?;
        }
        let count = sender.map_or(0, |sender| sender.queue.count());
        if rival.is_none() && count >= self.limits.per_sender_max {
            return Err(PoolError::SenderFull { count });
        }
        let spent = sender.map_or(Amount::ZERO, |sender| sender.queue.spent());
        let spared = rival.map_or(Amount::ZERO, |rival| rival.transaction.spent());
        check_funds(transaction, spent.checked_sub(spared).unwrap_or_default(), account.balance)
    }

    fn check_sequence(&self, got: u64, expected: u64) -> Result<(), PoolError> {
        if got < expected {
            return Err(PoolError::SequenceUsed { got, expected });
        }
        let max = expected.saturating_add(self.limits.gap_max);
        if got > max {
            return Err(PoolError::TooFarAhead { got, max });
        }
        Ok(())
    }

    fn check_expiry(&self, expires: Height, height: Height) -> Result<(), PoolError> {
        if expires < height {
            return Err(PoolError::Expired { expires, height });
        }
        let max = Height(height.0.saturating_add(self.limits.expiry_max).saturating_sub(1));
        if expires > max {
            return Err(PoolError::ExpiresTooLate { expires, max });
        }
        Ok(())
    }

    /// Adds a checked transaction and makes room for it, or changes nothing.
    fn add(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        base: u64,
    ) -> Result<Vec<Pending>, PoolError> {
        let (id, address) = (transaction.id(), transaction.sender());
        let (rate, arrival) = (FeeRate::of(&transaction), self.arrivals);
        self.arrivals = self.arrivals.saturating_add(1);
        self.senders.entry(address).or_insert_with(|| Sender::new(base));
        let (since, note) = (self.now, self.notes.make(&transaction, self.now));
        let newcomer = Pending { transaction, rate, arrival, since, note, handed: None };
        let replaced = self.attach(&newcomer);
        let mut evicted = self.shrink();
        // Without the newcomer the limits are kept, so it is the last one if it is among them.
        let newcomer = evicted.pop_if(|last| last.transaction.id() == id);
        let error = newcomer.map(|newcomer| self.full(&newcomer));
        if let Some(error) = error {
            for pending in evicted.iter().chain(&replaced) {
                self.attach(pending);
            }
            self.drop_if_empty(address);
            self.notes.withdraw(note);
            return Err(error);
        }
        if let Some(replaced) = replaced {
            self.reject(&replaced, Rejection::Replaced { by: id });
        }
        for pending in &evicted {
            self.reject(pending, Rejection::Evicted);
            self.drop_if_empty(pending.transaction.sender());
        }
        Ok(evicted)
    }

    /// Takes out the worst until the limits are kept; the ends are still to be recorded.
    fn shrink(&mut self) -> Vec<Pending> {
        let mut evicted = Vec::new();
        while self.index.ids.len() > self.limits.transactions_max
            || self.index.bytes > self.limits.bytes_max
        {
            let Some(address) = self.index.tails.first().map(|tail| tail.sender) else { break };
            evicted.extend(self.remove_last(address));
        }
        evicted
    }

    /// Why the newcomer, which has just been taken out again as the worst, is not taken.
    fn full(&self, newcomer: &Pending) -> PoolError {
        let sender = self.senders.get(&newcomer.transaction.sender());
        let held = sender.is_some_and(|sender| sender.queue.holds(newcomer.sequence()));
        let worst = self.index.tails.first().filter(|worst| !(held && worst.ready));
        PoolError::Full { fee_rate_min: worst.map(|worst| worst.rate) }
    }

    /// Hands out transactions for the block at `height`: the best fee rates first, in the order
    /// of arrival among equals, and each sender's in sequence from its account's.
    ///
    /// Asked again for the same height, it hands out the same ones (or better ones that have come
    /// since): the answer may have been lost, or another metronome may ask. What is handed out
    /// for an earlier height is not given again; it is taken for included. A height that is on
    /// the ledger already gets nothing.
    pub fn take(
        &mut self,
        height: Height,
        count_max: usize,
        bytes_max: u64,
    ) -> Vec<Arc<CheckedTransaction>> {
        if self.tip >= Some(height) {
            return Vec::new();
        }
        for address in self.index.handed_from(height) {
            self.change(address, |queue| queue.release_from(height));
        }
        let mut room = Room { height, bytes: bytes_max, misfits: Vec::new(), late: Vec::new() };
        let mut taken = Vec::new();
        while taken.len() < count_max && room.misfits.len() < MISFITS_MAX {
            let Some(best) = self.index.ready.pop_first() else { break };
            taken.extend(self.hand(best, &mut room));
        }
        self.index.ready.extend(room.misfits.into_iter().chain(room.late));
        taken
    }

    /// Hands out a head that has been taken off the index, or puts it aside.
    fn hand(&mut self, head: Head, room: &mut Room) -> Option<Arc<CheckedTransaction>> {
        let queue = &mut self.senders.get_mut(&head.sender)?.queue;
        let next = queue.head()?;
        if next.transaction.expires() < room.height {
            room.late.push(head);
            return None;
        }
        let Some(bytes) = room.bytes.checked_sub(next.len()) else {
            room.misfits.push(head);
            return None;
        };
        room.bytes = bytes;
        if let Some(note) = self.notes.of(next.note) {
            note.unconfirmed = Some(self.now);
        }
        self.index.hand(room.height, head.sender);
        self.change(head.sender, |queue| queue.hand(room.height))?
    }

    /// Follows the ledger: `block` has been applied, which gave `state_after`, or blocks after it
    /// have been as well and will be passed next.
    ///
    /// If blocks between this one and the last are missing (the ledger was restored from a
    /// snapshot), every sender is looked at once; what only they confirmed counts as rejected.
    pub fn advance(&mut self, block: &CheckedBlock, state_after: &State) {
        let height = block.header().height;
        self.tip = self.tip.max(Some(height));
        let (mut included, mut senders) = (HashSet::new(), BTreeSet::new());
        for transaction in block.transactions() {
            self.finished.push(transaction.id(), End::Confirmed(height));
            included.insert(transaction.id());
            senders.insert(transaction.sender());
        }
        if height > self.next {
            senders.extend(self.senders.keys());
        }
        self.next = self.next.max(height.next());
        for address in senders {
            self.settle(address, &state_after.account(&address), &included);
        }
        for (address, sequence) in self.index.expiring_until(height) {
            self.expire(address, sequence, height);
        }
        for address in self.index.handed_until(height) {
            self.change(address, |queue| queue.release_lost(height));
        }
        self.advance_deferred(block, state_after);
    }

    /// Follows an account whose sender has transactions in a block.
    fn settle(&mut self, address: Address, account: &Account, included: &HashSet<TransactionId>) {
        let passed = self.change(address, |queue| queue.set_base(account.sequence));
        for pending in passed.into_iter().flatten() {
            self.index.remove(&pending);
            if included.contains(&pending.transaction.id()) {
                self.measure(&pending);
            } else {
                let sequence = pending.sequence();
                self.reject(&pending, Rejection::SequenceUsed { sequence });
            }
        }
        self.drop_unfunded(address, account.balance);
        self.drop_if_empty(address);
    }

    /// Counts how long one took that the ledger has now.
    fn measure(&mut self, pending: &Pending) {
        self.latency.add(self.now.since(pending.since));
        if let Some(note) = self.notes.of(pending.note) {
            note.confirmed = Some(self.now);
        }
    }

    /// Rejects a sender's last ones until the others are paid for.
    ///
    /// The balance falls behind only if another transaction took the place of a pending one.
    fn drop_unfunded(&mut self, address: Address, balance: Amount) {
        let spent = |pool: &Self| pool.senders.get(&address).map(|sender| sender.queue.spent());
        while let Some(needed) = spent(self).filter(|spent| *spent > balance) {
            let Some(last) = self.remove_last(address) else { break };
            self.reject(&last, Rejection::InsufficientFunds { needed, balance });
        }
    }

    fn expire(&mut self, address: Address, sequence: u64, height: Height) {
        let removed = self.change(address, |queue| queue.remove(sequence)).flatten();
        if let Some(pending) = removed {
            self.index.remove(&pending);
            self.finished.push(pending.transaction.id(), End::Expired(height));
        }
        self.drop_if_empty(address);
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

/// What one call of [`Mempool::take`] has left, and the heads it put aside.
#[derive(Debug)]
struct Room {
    height: Height,
    bytes: u64,
    misfits: Vec<Head>,
    late: Vec<Head>,
}

/// Whether the transaction may take the place of the pending one with its sequence.
fn check_rival(
    transaction: &CheckedTransaction,
    rival: &CheckedTransaction,
    is_handed: bool,
) -> Result<(), PoolError> {
    if !is_handed && FeeRate::of(transaction).outbids(FeeRate::of(rival)) {
        return Ok(());
    }
    let (sequence, by) = (rival.sequence(), rival.id());
    Err(PoolError::SequenceTaken { sequence, by })
}

/// Whether the sender can pay for the transaction besides `spent`.
fn check_funds(
    transaction: &CheckedTransaction,
    spent: Amount,
    balance: Amount,
) -> Result<(), PoolError> {
    match spent.checked_add(transaction.spent()) {
        Some(needed) if needed <= balance => Ok(()),
        needed => {
            let needed = needed.unwrap_or(Amount::from_units(u64::MAX));
            Err(PoolError::InsufficientFunds { needed, balance })
        }
    }
}
