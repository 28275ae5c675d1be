//! Transactions applied one after another over a state that stays as it is.

use std::collections::HashMap;

use super::{Change, State};
use crate::{
    address::Address,
    commitment::{Account, Commitment},
    transaction::{CheckedTransaction, TransactionError},
    units::{Amount, Height},
};

/// The accounts a block has changed so far, and the fees it has collected.
#[derive(Debug)]
pub(super) struct Execution<'a> {
    state: &'a State,
    height: Height,
    changed: HashMap<Address, Account>,
    fees: Amount,
}

impl<'a> Execution<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self { state, height: state.round.height, changed: HashMap::new(), fees: Amount::ZERO }
    }

    pub(super) fn fees(&self) -> Amount {
        self.fees
    }

    fn account(&self, address: &Address) -> Account {
        self.changed.get(address).copied().unwrap_or_else(|| self.state.account(address))
    }

    /// Applies a transaction, or changes nothing if it breaks a rule here.
    pub(super) fn apply(&mut self, checked: &CheckedTransaction) -> Result<(), TransactionError> {
        let sender = self.account(&checked.sender());
        let sender = charge(sender, checked, self.height)?;
        self.changed.insert(checked.sender(), sender);
        for payment in checked.payments() {
            self.credit(payment.to, payment.amount);
        }
        self.fees = sum(self.fees, checked.fee());
        Ok(())
    }

    /// Adds coins that were taken from another account or are new.
    pub(super) fn credit(&mut self, address: Address, amount: Amount) {
        let account = self.account(&address);
        let balance = sum(account.balance, amount);
        self.changed.insert(address, Account { balance, ..account });
    }

    /// The changes in order of address.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let state = self.state;
        let change = |(address, new)| Change { address, old: state.account(&address), new };
        let mut changes: Vec<_> = self.changed.into_iter().map(change).collect();
        changes.sort_unstable_by_key(|change| change.address);
        changes
    }
}

/// The sender's account after `checked`, at `height`.
fn charge(
    account: Account,
    checked: &CheckedTransaction,
    height: Height,
) -> Result<Account, TransactionError> {
    let (got, expected) = (checked.sequence(), account.sequence);
    if got != expected {
        return Err(TransactionError::Sequence { got, expected });
    }
    let expires = checked.expires();
    if expires < height {
        return Err(TransactionError::Expired { expires, height });
    }
    let (needed, balance) = (checked.spent(), account.balance);
    let left = balance.checked_sub(needed);
    let balance = left.ok_or(TransactionError::InsufficientFunds { needed, balance })?;
    Ok(Account { balance, sequence: account.sequence.saturating_add(1) })
}

fn sum(left: Amount, right: Amount) -> Amount {
    left.checked_add(right).expect("genesis bounds the sum of all coins")
}

/// Moves a commitment from the old to the new state of the changed accounts.
pub(super) fn commit(commitment: &Commitment, changes: &[Change]) -> Commitment {
    use rayon::prelude::*;
    let fold = |mut sum: Commitment, change: &Change| {
        sum.replace(&change.address, &change.old, &change.new);
        sum
    };
    let merge = |mut left: Commitment, right: Commitment| {
        left.merge(&right);
        left
    };
    let delta = changes.par_iter().with_min_len(64).fold(Commitment::default, fold);
    merge(delta.reduce(Commitment::default, merge), commitment.clone())
}
