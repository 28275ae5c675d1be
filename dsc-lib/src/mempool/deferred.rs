//! Transactions that were acknowledged, before a restart or by another pool, and that the ledger does
//! not allow yet.
//!
//! A ledger that was put back from a backup, or a server that lags, says of coins and heights what
//! was so long ago: judged by that, good transactions look as if they had no funds or came too
//! early. They wait until the ledger has gone on.
//!
//! # Invariants
//!
//! 1. Of one sender and sequence at most one waits. If another is pending in its place, that one has
//!    been handed out for a block, or this one has not the funds yet: else it would give way.
//! 2. Count and bytes are bounded; beyond that the one that has waited longest is evicted.
//! 3. After a block at most [`OFFERS_MAX`] are looked at; each has its turn.
//! 4. One that waits ends only as one that is pending does, or is pending again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    FeeRate, Limits, Mempool, PoolError, Status,
    error::{End, Rejection},
    feed::Origin,
    queue::Pending,
};
use crate::{
    address::Address,
    ledger::{CheckedBlock, State},
    transaction::{CheckedTransaction, TransactionId},
};

/// Most that are offered to the pool again after one block.
const OFFERS_MAX: usize = 4096;
/// How many times as much as may be pending may wait: a journal keeps about twice as much.
const TIMES_PENDING: u64 = 2;

/// What no two transactions of a ledger share: the sender and the sequence.
pub(super) type Place = (Address, u64);

/// What became of a transaction that was acknowledged before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restored {
    /// It is pending.
    Pending,
    /// The ledger does not allow it at present; it waits, and counts as submitted.
    Waiting,
    /// No later block can take it.
    Ended,
}

/// What became of a transaction of the log that several pools apply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entered {
    /// It is pending, or waits until the ledger allows it.
    Held,
    /// It was known already, and nothing has changed.
    Duplicate(Status),
    /// No later block can take it, or another one has its place for as long as it lasts.
    Refused(PoolError),
}

/// One that waits, and where in a log it stands.
#[derive(Clone, Debug)]
struct Waiting {
    transaction: Arc<CheckedTransaction>,
    origin: Origin,
}

#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// By a number that grows: who waits longest is first.
    order: BTreeMap<u64, Waiting>,
    ids: HashMap<TransactionId, u64>,
    places: HashMap<Place, u64>,
    next: u64,
    bytes: u64,
}

pub(super) fn place_of(transaction: &CheckedTransaction) -> Place {
    (transaction.sender(), transaction.sequence())
}

impl Deferred {
    pub(super) fn find(&self, id: &TransactionId) -> Option<&Arc<CheckedTransaction>> {
        self.order.get(self.ids.get(id)?).map(|waiting| &waiting.transaction)
    }

    pub(super) fn at(&self, sender: Address, sequence: u64) -> Option<&Arc<CheckedTransaction>> {
        self.waiting((sender, sequence)).map(|waiting| &waiting.transaction)
    }

    fn has(&self, place: Place) -> bool {
        self.places.contains_key(&place)
    }

    fn waiting(&self, place: Place) -> Option<&Waiting> {
        self.order.get(self.places.get(&place)?)
    }

    /// The one that `transaction`, which came by `origin`, has to outbid.
    pub(super) fn rival(
        &self,
        transaction: &CheckedTransaction,
        origin: Origin,
    ) -> Option<&Arc<CheckedTransaction>> {
        let waiting = self.waiting(place_of(transaction))?;
        (!origin.has_seen(waiting.origin)).then_some(&waiting.transaction)
    }

    /// All of them, who waits longest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<CheckedTransaction>> {
        self.order.values().map(|waiting| &waiting.transaction)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, waiting: Waiting) {
        let transaction = &waiting.transaction;
        self.ids.insert(transaction.id(), self.next);
        self.places.insert(place_of(transaction), self.next);
        self.bytes = self.bytes.saturating_add(transaction.bytes().len() as u64);
        self.order.insert(self.next, waiting);
        self.next = self.next.saturating_add(1);
    }

    fn pop_first(&mut self) -> Option<Waiting> {
        let number = *self.order.first_key_value()?.0;
        self.remove(number)
    }

    fn remove_at(&mut self, place: Place) -> Option<Waiting> {
        let number = *self.places.get(&place)?;
        self.remove(number)
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.order.remove(&number)?;
        let transaction = &waiting.transaction;
        self.ids.remove(&transaction.id());
        self.places.remove(&place_of(transaction));
        self.bytes = self.bytes.saturating_sub(transaction.bytes().len() as u64);
        Some(waiting)
    }

    fn exceeds(&self, limits: &Limits) -> bool {
        let count_max = (limits.transactions_max as u64).saturating_mul(TIMES_PENDING);
        let bytes_max = limits.bytes_max.saturating_mul(TIMES_PENDING);
        self.len() as u64 > count_max || self.bytes > bytes_max
    }
}

impl Mempool {
    /// Takes a transaction that was acknowledged before a restart. It is dropped only if no later
    /// block can take it; what the rules refuse for now waits, as does what makes room for it.
    ///
    /// Of several with one sender and sequence only the one acknowledged last is to be given.
    pub fn restore(&mut self, transaction: Arc<CheckedTransaction>, state: &State) -> Restored {
        let id = transaction.id();
        match self.enter(transaction, state, Origin::default()) {
            Entered::Duplicate(_) => self.find(&id).map_or(Restored::Ended, |_| Restored::Pending),
            Entered::Refused(_) => Restored::Ended,
            Entered::Held if self.index.ids.contains_key(&id) => Restored::Pending,
            Entered::Held => Restored::Waiting,
        }
    }

    /// Takes a transaction of the log that several pools apply, which any of them may have
    /// acknowledged: as [`Mempool::restore`], but of several with one sender and sequence the first
    /// in the log has the place, unless a later one outbids it, or whoever wrote the later one had
    /// seen the first one go. If the first one has been handed out here, and may be in a block soon,
    /// the later one waits: another pool may have acknowledged it, and has it in the place.
    pub fn enter(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        state: &State,
        origin: Origin,
    ) -> Entered {
        if let Some(status) = self.known(&transaction.id()) {
            return Entered::Duplicate(status);
        }
        match self.take_in(Arc::clone(&transaction), state, origin) {
            Ok(evicted) => {
                for Pending { transaction, origin, .. } in evicted {
                    // One that it would have given way to keeps the place.
                    if !self.deferred.has(place_of(&transaction)) {
                        self.defer(Waiting { transaction, origin });
                    }
                }
                Entered::Held
            }
            Err(error) if self.may_wait(&transaction, origin, &error) => {
                self.defer(Waiting { transaction, origin });
                Entered::Held
            }
            Err(error) => Entered::Refused(error),
        }
    }

    /// Whether one that is refused now by this may have its place later: no other keeps it from it.
    fn may_wait(
        &self,
        transaction: &CheckedTransaction,
        origin: Origin,
        error: &PoolError,
    ) -> bool {
        if !matches!(error, PoolError::SequenceTaken { .. }) && error.end().is_some() {
            return false;
        }
        let rate = FeeRate::of(transaction);
        let gives_way = |rival: &CheckedTransaction, its: Origin| {
            origin.has_seen(its) || rate.outbids(FeeRate::of(rival))
        };
        let sender = self.senders.get(&transaction.sender());
        let pending = sender.and_then(|sender| sender.queue.get(transaction.sequence()));
        let waiting = self.deferred.waiting(place_of(transaction));
        pending.is_none_or(|rival| gives_way(&rival.transaction, rival.origin))
            && waiting.is_none_or(|rival| gives_way(&rival.transaction, rival.origin))
    }

    /// Whether one with its sender and sequence is pending.
    pub(super) fn is_taken(&self, transaction: &CheckedTransaction) -> bool {
        let sender = self.senders.get(&transaction.sender());
        sender.is_some_and(|sender| sender.queue.get(transaction.sequence()).is_some())
    }

    /// What becomes of one that was offered again in vain.
    fn keep_waiting(&mut self, waiting: Waiting, error: &PoolError) {
        match error.end() {
            Some(end) if !self.may_wait(&waiting.transaction, waiting.origin, error) => {
                self.finished.push(waiting.transaction.id(), end);
            }
            _ => self.deferred.push(waiting),
        }
    }

    fn defer(&mut self, waiting: Waiting) {
        let (id, place) = (waiting.transaction.id(), place_of(&waiting.transaction));
        self.finished.forget(&id);
        self.replace_deferred(place, FeeRate::of(&waiting.transaction), id);
        self.deferred.push(waiting);
        while self.deferred.exceeds(&self.limits) {
            let Some(first) = self.deferred.pop_first() else { break };
            self.finished.push(first.transaction.id(), End::Rejected(Rejection::Evicted));
        }
    }

    /// What waits ends where another has its place.
    pub(super) fn replace_deferred(&mut self, place: Place, rate: FeeRate, by: TransactionId) {
        if let Some(Waiting { transaction, .. }) = self.deferred.remove_at(place) {
            let is_outbid = rate.outbids(FeeRate::of(&transaction));
            let rejection = Rejection::of_one_replaced(is_outbid, by);
            self.finished.push(transaction.id(), End::Rejected(rejection));
        }
    }

    /// Follows a block with what waits: ends what the block has taken the place of, and offers what
    /// has waited longest again.
    pub(super) fn advance_deferred(&mut self, block: &CheckedBlock, state: &State) {
        for place in block.transactions().iter().map(|transaction| place_of(transaction)) {
            if let Some(passed) = self.deferred.remove_at(place) {
                // If it is the one in the block it stays confirmed.
                let rejection = Rejection::SequenceUsed { sequence: place.1 };
                self.finished.push(passed.transaction.id(), End::Rejected(rejection));
            }
        }
        for _ in 0..self.deferred.len().min(OFFERS_MAX) {
            let Some(waiting) = self.deferred.pop_first() else { break };
            let (transaction, origin) = (Arc::clone(&waiting.transaction), waiting.origin);
            match self.take_in(transaction, state, origin) {
                // Used by a block that was not seen here, which may have this one.
                Ok(_) | Err(PoolError::SequenceUsed { .. }) => {}
                Err(error) => self.keep_waiting(waiting, &error),
            }
        }
    }
}
