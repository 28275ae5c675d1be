//! Transactions that were acknowledged before a restart, and that the ledger does not allow yet.
//!
//! A ledger that was put back from a backup, or a server that lags, says of coins and heights what
//! was so long ago: judged by that, good transactions look as if they had no funds or came too
//! early. They wait until the ledger has gone on.
//!
//! # Invariants
//!
//! 1. Of one sender and sequence at most one waits, and then none is pending that did not outbid it.
//! 2. Count and bytes are bounded; beyond that the one that has waited longest is evicted.
//! 3. After a block at most [`OFFERS_MAX`] are looked at; each has its turn.
//! 4. One that waits ends only as one that is pending does, or is pending again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Limits, Mempool, PoolError,
    error::{End, Rejection},
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

#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// By a number that grows: who waits longest is first.
    order: BTreeMap<u64, Arc<CheckedTransaction>>,
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
        self.order.get(self.ids.get(id)?)
    }

    pub(super) fn at(&self, sender: Address, sequence: u64) -> Option<&Arc<CheckedTransaction>> {
        self.order.get(self.places.get(&(sender, sequence))?)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, transaction: Arc<CheckedTransaction>) {
        self.ids.insert(transaction.id(), self.next);
        self.places.insert(place_of(&transaction), self.next);
        self.bytes = self.bytes.saturating_add(transaction.bytes().len() as u64);
        self.order.insert(self.next, transaction);
        self.next = self.next.saturating_add(1);
    }

    fn pop_first(&mut self) -> Option<Arc<CheckedTransaction>> {
        let number = *self.order.first_key_value()?.0;
        self.remove(number)
    }

    fn remove_at(&mut self, place: Place) -> Option<Arc<CheckedTransaction>> {
        let number = *self.places.get(&place)?;
        self.remove(number)
    }

    fn remove(&mut self, number: u64) -> Option<Arc<CheckedTransaction>> {
        let transaction = self.order.remove(&number)?;
        self.ids.remove(&transaction.id());
        self.places.remove(&place_of(&transaction));
        self.bytes = self.bytes.saturating_sub(transaction.bytes().len() as u64);
        Some(transaction)
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
        if self.known(&id).is_some() {
            return self.find(&id).map_or(Restored::Ended, |_| Restored::Pending);
        }
        match self.take_in(Arc::clone(&transaction), state) {
            Ok(evicted) => {
                for pending in evicted {
                    self.defer(pending.transaction);
                }
                Restored::Pending
            }
            Err(error) if error.end().is_some() => Restored::Ended,
            Err(_) => {
                self.defer(transaction);
                Restored::Waiting
            }
        }
    }

    fn defer(&mut self, transaction: Arc<CheckedTransaction>) {
        self.finished.forget(&transaction.id());
        self.deferred.push(transaction);
        while self.deferred.exceeds(&self.limits) {
            let Some(first) = self.deferred.pop_first() else { break };
            self.finished.push(first.id(), End::Rejected(Rejection::Evicted));
        }
    }

    /// What waits ends where another has its place.
    pub(super) fn replace_deferred(&mut self, place: Place, by: TransactionId) {
        if let Some(replaced) = self.deferred.remove_at(place) {
            let rejection = Rejection::Replaced { by };
            self.finished.push(replaced.id(), End::Rejected(rejection));
        }
    }

    /// Follows a block with what waits: ends what the block has taken the place of, and offers what
    /// has waited longest again.
    pub(super) fn advance_deferred(&mut self, block: &CheckedBlock, state: &State) {
        for place in block.transactions().iter().map(|transaction| place_of(transaction)) {
            if let Some(passed) = self.deferred.remove_at(place) {
                // If it is the one in the block it stays confirmed.
                let rejection = Rejection::SequenceUsed { sequence: place.1 };
                self.finished.push(passed.id(), End::Rejected(rejection));
            }
        }
        for _ in 0..self.deferred.len().min(OFFERS_MAX) {
            let Some(transaction) = self.deferred.pop_first() else { break };
            let offered = self.take_in(Arc::clone(&transaction), state);
            match offered.as_ref().map_err(PoolError::end) {
                Ok(_) => {}
                Err(Some(end)) => self.finished.push(transaction.id(), end),
                Err(None) => self.deferred.push(transaction),
            }
        }
    }
}
