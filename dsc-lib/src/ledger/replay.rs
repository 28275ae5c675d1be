//! Checking a stored chain from its genesis on, as if every block came anew.

use super::{
    CheckedBlock, Ledger, ReplayError, State, StoreError, Wins,
    store::{Pointer, Store},
};
use crate::{block::BlockHash, commitment::Account, hash::Digest, units::Amount};

/// What a replay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Blocks replayed.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Accounts that are not empty.
    pub accounts: u64,
    /// Coins in being.
    pub supply: Amount,
    /// Hash of the last block, or of the genesis.
    pub tip: BlockHash,
    /// The state commitment.
    pub state: Digest,
}

impl Ledger {
    /// Replays every block from the genesis on, and compares indices and accounts with the
    /// outcome. `progress` is told the heights done and their total.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] naming the height and what is wrong there.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Summary, ReplayError> {
        let mut state = State::genesis(self.state().chain().clone());
        let total = self.state().round().height.0;
        let (mut transactions, mut wins) = (0_u64, Wins::default());
        while let Some(block) = self.block(state.round().height)? {
            let height = state.round().height;
            let checked = state.check(block);
            let checked = checked.map_err(|e| ReplayError::Block { height, error: Box::new(e) })?;
            check_indices(self.store(), &checked)?;
            wins.count(checked.winner());
            transactions = transactions.saturating_add(checked.transactions().len() as u64);
            state.apply(&checked).map_err(|stale| StoreError::corrupt(stale.to_string()))?;
            progress(state.round().height.0, total);
        }
        check_outcome(self, &state, transactions)?;
        if self.store().wins()? != wins {
            return Err(ReplayError::Wins);
        }
        Ok(summary(&state, transactions))
    }
}

fn summary(state: &State, transactions: u64) -> Summary {
    Summary {
        blocks: state.round().height.0,
        transactions,
        accounts: state.accounts().len() as u64,
        supply: state.supply(),
        tip: state.tip().hash,
        state: state.commitment(),
    }
}

fn check_indices(store: &Store, block: &CheckedBlock) -> Result<(), ReplayError> {
    let height = block.header().height;
    match store.height_of(&block.hash())? {
        Some(got) if got == height => {}
        got => return Err(ReplayError::HashIndex { height, got }),
    }
    for (index, transaction) in (0_u32..).zip(block.transactions()) {
        let id = transaction.id();
        let got = store.locate(&id)?.map(|Pointer { place, .. }| place);
        if got.is_none_or(|place| (place.height, place.index) != (height, index)) {
            return Err(ReplayError::TransactionIndex { height, id, got });
        }
    }
    Ok(())
}

fn check_outcome(ledger: &Ledger, state: &State, transactions: u64) -> Result<(), ReplayError> {
    let blocks = state.round().height.0;
    let expected = [blocks, blocks, transactions];
    for ((index, got), expected) in ledger.store().counts()?.into_iter().zip(expected) {
        if got != expected {
            return Err(ReplayError::Count { index, got, expected });
        }
    }
    let (got, expected) = (state.tip().hash, ledger.state().tip().hash);
    if got != expected {
        return Err(ReplayError::Tip { got, expected });
    }
    check_accounts(ledger, state)
}

fn check_accounts(ledger: &Ledger, state: &State) -> Result<(), ReplayError> {
    let stored = ledger.store().accounts()?;
    for &address in stored.keys().chain(state.accounts().keys()) {
        let got = stored.get(&address).copied().unwrap_or_default();
        let expected: Account = state.account(&address);
        if got != expected {
            return Err(ReplayError::Account { address, got, expected });
        }
    }
    Ok(())
}
