//! What a pool would refuse, said before it is put into a log that several pools apply.
//!
//! What is in the log stays there until the ledger has ended it, so that what nobody will hold is
//! better kept out. The verdict is not the last word: others may write to the log meanwhile.
//!
//! # Invariants
//!
//! 1. Without others, what passes is taken when it is applied, or waits for room.
//! 2. Nothing is changed by looking.

use std::{collections::HashMap, sync::Arc};

use super::{FeeRate, Mempool, PoolError, Status, feed::Origin};
use crate::{address::Address, ledger::State, transaction::CheckedTransaction, units::Amount};

/// More than anybody has.
const ALL: Amount = Amount::from_units(u64::MAX);

/// What is to be put into the log for one sender, beside what is pending.
#[derive(Debug, Default)]
pub(super) struct Planned {
    places: HashMap<u64, Arc<CheckedTransaction>>,
    /// How many of them take nobody's place.
    count: usize,
    spent: Amount,
    /// What those cost whose places they take.
    spared: Amount,
}

impl Planned {
    pub(super) fn at(&self, sequence: u64) -> Option<&Arc<CheckedTransaction>> {
        self.places.get(&sequence)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// What the sender would have spent who has `spent` on what is pending.
    pub(super) fn beside(&self, spent: Amount) -> Amount {
        let together = spent.checked_add(self.spent).unwrap_or(ALL);
        together.checked_sub(self.spared).unwrap_or_default()
    }

    fn add(&mut self, transaction: &Arc<CheckedTransaction>, spared: Amount, is_new: bool) {
        self.places.insert(transaction.sequence(), Arc::clone(transaction));
        self.count = self.count.saturating_add(usize::from(is_new));
        self.spent = self.spent.checked_add(transaction.spent()).unwrap_or(ALL);
        self.spared = self.spared.checked_add(spared).unwrap_or(ALL);
    }
}

/// What became of a transaction in a [`Sieve`] that refuses nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sifted {
    /// It is to be put into the log.
    New,
    /// It passed before.
    Twice,
    /// The pool knows it, and it has ended or is in the log.
    Duplicate(Status),
}

/// Looks at transactions that are to be put into a log together.
#[derive(Debug)]
pub struct Sieve<'a> {
    mempool: &'a Mempool,
    state: &'a State,
    planned: HashMap<Address, Planned>,
    count: usize,
    bytes: u64,
}

impl Mempool {
    /// Looks at what is to be put into the log; `state` is the one after the last block passed to
    /// [`Mempool::advance`].
    pub fn sieve<'a>(&'a self, state: &'a State) -> Sieve<'a> {
        Sieve { mempool: self, state, planned: HashMap::new(), count: 0, bytes: 0 }
    }
}

impl Sieve<'_> {
    /// Looks at the next one.
    ///
    /// # Errors
    ///
    /// The rule that it breaks, or would beside what has passed before.
    pub fn pass(&mut self, transaction: &Arc<CheckedTransaction>) -> Result<Sifted, PoolError> {
        if let Some(status) = self.mempool.known(&transaction.id()) {
            return Ok(Sifted::Duplicate(status));
        }
        let (sender, sequence) = (transaction.sender(), transaction.sequence());
        let planned = self.planned.entry(sender).or_default();
        let place = planned.at(sequence);
        if place.is_some_and(|one| one.id() == transaction.id()) {
            return Ok(Sifted::Twice);
        }
        let is_planned = place.is_some();
        let (account, next) = (self.state.account(&sender), self.state.round().height);
        let origin = Origin::default();
        let spared = self.mempool.check(transaction, &account, next, origin, planned)?;
        let is_new = !is_planned && !self.mempool.is_taken(transaction);
        if is_new {
            self.mempool.check_room(transaction, self.count, self.bytes)?;
            self.count = self.count.saturating_add(1);
        }
        planned.add(transaction, spared, is_new);
        self.bytes = self.bytes.saturating_add(transaction.bytes().len() as u64);
        Ok(Sifted::New)
    }
}

impl Mempool {
    /// Whether there is room for one more beside `count` others with `bytes`, or the worst one that
    /// is pending would make room.
    fn check_room(
        &self,
        transaction: &CheckedTransaction,
        count: usize,
        bytes: u64,
    ) -> Result<(), PoolError> {
        let (limits, index) = (&self.limits, &self.index);
        let bytes = bytes.saturating_add(transaction.bytes().len() as u64);
        if index.ids.len().saturating_add(count) < limits.transactions_max
            && index.bytes.saturating_add(bytes) <= limits.bytes_max
        {
            return Ok(());
        }
        let rate = FeeRate::of(transaction);
        match index.tails.first() {
            Some(worst) if !worst.ready || rate > worst.rate => Ok(()),
            worst => Err(PoolError::Full { fee_rate_min: worst.map(|worst| worst.rate) }),
        }
    }
}
