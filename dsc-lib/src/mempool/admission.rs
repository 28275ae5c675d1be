//! Which transactions are taken, and which make room for them.

use std::sync::Arc;

use super::{
    Inserted, Mempool, PoolError, Status,
    deferred::place_of,
    error::{End, Rejection},
    feed::Origin,
    index::Sender,
    queue::Pending,
    rate::FeeRate,
    sieve::Planned,
};
use crate::{
    commitment::Account,
    ledger::State,
    transaction::{CheckedTransaction, TransactionId},
    units::{Amount, Height},
};

impl Mempool {
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
        let evicted = self.take_in(transaction, state, Origin::default())?;
        self.count_added(1);
        let evicted = evicted.iter().map(|pending| pending.transaction.id()).collect();
        Ok(Inserted::Added { evicted })
    }

    /// Takes one that is not pending; returns what made room for it.
    pub(super) fn take_in(
        &mut self,
        transaction: Arc<CheckedTransaction>,
        state: &State,
        origin: Origin,
    ) -> Result<Vec<Pending>, PoolError> {
        self.tip = self.tip.max(state.height());
        let (id, place) = (transaction.id(), place_of(&transaction));
        let rate = FeeRate::of(&transaction);
        let account = state.account(&transaction.sender());
        let next = state.round().height;
        self.check(&transaction, &account, next, origin, &Planned::default())?;
        let evicted = self.add(transaction, account.sequence, origin)?;
        self.finished.forget(&id);
        self.replace_deferred(place, rate, id);
        Ok(evicted)
    }

    /// What makes a transaction a duplicate.
    pub(super) fn known(&self, id: &TransactionId) -> Option<Status> {
        let passing = self.finished.find(id).is_some_and(End::is_passing);
        if passing { None } else { self.status(id) }
    }

    /// Checks one that came by `origin` beside what is pending and `planned`; returns what it spares
    /// the sender in whose place it would be.
    pub(super) fn check(
        &self,
        transaction: &CheckedTransaction,
        account: &Account,
        next: Height,
        origin: Origin,
        planned: &Planned,
    ) -> Result<Amount, PoolError> {
        let sequence = transaction.sequence();
        let sender = self.senders.get(&transaction.sender());
        let base = sender.map_or(0, |sender| sender.queue.base()).max(account.sequence);
        self.check_sequence(sequence, base)?;
        self.check_expiry(transaction.expires(), next)?;
        let pending = sender.and_then(|s| s.queue.get(sequence));
        if let Some(rival) = planned.at(sequence) {
            check_rival(transaction, rival, false)?;
        } else {
            if let Some(rival) = pending.filter(|rival| rival.keeps_place_from(origin)) {
                check_rival(transaction, &rival.transaction, rival.handed.is_some())?;
            }
            if let Some(rival) = self.deferred.rival(transaction, origin) {
                check_rival(transaction, rival, false)?;
            }
        }
        let rival = planned.at(sequence).or_else(|| pending.map(|pending| &pending.transaction));
        let count = sender.map_or(0, |sender| sender.queue.count()).saturating_add(planned.count());
        if rival.is_none() && count >= self.limits.per_sender_max {
            return Err(PoolError::SenderFull { count });
        }
        let spared = rival.map_or(Amount::ZERO, |rival| rival.spent());
        let spent = sender.map_or(Amount::ZERO, |sender| sender.queue.spent());
        let beside = planned.beside(spent).checked_sub(spared).unwrap_or_default();
        check_funds(transaction, beside, account.balance)?;
        Ok(spared)
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
        origin: Origin,
    ) -> Result<Vec<Pending>, PoolError> {
        let (id, address) = (transaction.id(), transaction.sender());
        let (rate, arrival) = (FeeRate::of(&transaction), self.arrivals);
        self.arrivals = self.arrivals.saturating_add(1);
        self.senders.entry(address).or_insert_with(|| Sender::new(base));
        let (since, note) = (self.now, self.notes.make(&transaction, self.now));
        let newcomer = Pending { transaction, rate, arrival, since, note, origin, handed: None };
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
            self.reject(&replaced, Rejection::of_one_replaced(rate.outbids(replaced.rate), id));
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
