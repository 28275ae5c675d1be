//! How the pool follows the ledger.

use std::collections::{BTreeSet, HashSet};

use super::{
    Mempool,
    error::{End, Rejection},
    queue::Pending,
};
use crate::{
    address::Address,
    commitment::Account,
    ledger::{CheckedBlock, State},
    transaction::TransactionId,
    units::{Amount, Height},
};

impl Mempool {
    /// Follows the ledger: `block` has been applied, which gave `state_after`, or blocks after it
    /// have been as well and will be passed next.
    ///
    /// If blocks between this one and the last are missing (the ledger was restored from a
    /// snapshot), every sender is looked at once; whose sequence was used by then is forgotten, as
    /// nobody here knows by what: one of those blocks may have confirmed it.
    pub fn advance(&mut self, block: &CheckedBlock, state_after: &State) {
        let height = block.header().height;
        self.tip = self.tip.max(Some(height));
        let (mut included, mut senders) = (HashSet::new(), BTreeSet::new());
        for transaction in block.transactions() {
            self.finished.push(transaction.id(), End::Confirmed(height));
            included.insert(transaction.id());
            senders.insert(transaction.sender());
        }
        let is_gap = height > self.next;
        if is_gap {
            senders.extend(self.senders.keys());
        }
        self.next = self.next.max(height.next());
        for address in senders {
            self.settle(address, &state_after.account(&address), &included, is_gap);
        }
        for (address, sequence) in self.index.expiring_until(height) {
            self.expire(address, sequence, height);
        }
        for address in self.index.handed_until(height) {
            self.change(address, |queue| queue.release_lost(height));
        }
        self.advance_deferred(block, state_after);
    }

    /// Follows an account whose sender has transactions in a block, which blocks that nobody has seen
    /// may have come before.
    fn settle(
        &mut self,
        address: Address,
        account: &Account,
        included: &HashSet<TransactionId>,
        is_gap: bool,
    ) {
        let passed = self.change(address, |queue| queue.set_base(account.sequence));
        for pending in passed.into_iter().flatten() {
            self.index.remove(&pending);
            if included.contains(&pending.transaction.id()) {
                self.measure(&pending);
            } else if !is_gap {
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
}
