//! Checking a stored chain from its genesis on, as if every block came anew.

use super::{
    Ledger, ReplayError, State, StoreError, Wins,
    index::{Kind, Sum, Tables, View},
    log::Extent,
    store,
};
use crate::{
    block::BlockHash,
    codec,
    commitment::Account,
    hash::Digest,
    units::{Amount, Height},
};

/// What a replay came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The last block that the ledger does not have, if it was started from a snapshot.
    pub base: Option<Height>,
    /// Blocks replayed: those after the base.
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
    /// Replays every block from the genesis on, or from the snapshot that the ledger was started
    /// from, which has to be what its tip commits to; and compares indices and accounts with the
    /// outcome. `progress` is told the heights done and their total.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] naming the height or the index and what is wrong there.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Summary, ReplayError> {
        let mut replay = Replay::new(self.store().first_state(self.state().chain())?);
        let total = self.state().round().height;
        let mut offset = self.store().log.start();
        while replay.state.round().height < total {
            let (extent, bytes) = self.store().log.record(offset, replay.state.round().height)?;
            replay.take(extent, &bytes)?;
            offset = extent.end();
            progress(replay.state.round().height.0, total.0);
        }
        check_outcome(self, &replay)?;
        Ok(summary(&replay, self.base()))
    }
}

/// A replay under way.
struct Replay {
    state: State,
    transactions: u64,
    wins: Wins,
    sums: Vec<(Kind, Sum)>,
}

/// What no later record replaces.
const SUMMED: [Kind; 4] = [Kind::Blocks, Kind::Hashes, Kind::Transactions, Kind::History];

impl Replay {
    fn new(state: State) -> Self {
        let sums = SUMMED.map(|kind| (kind, Sum::default())).to_vec();
        Self { state, transactions: 0, wins: Wins::default(), sums }
    }

    fn take(&mut self, extent: Extent, bytes: &[u8]) -> Result<(), ReplayError> {
        let height = self.state.round().height;
        let block = codec::decode(bytes).map_err(|error| store::damaged(height, &error))?;
        let checked = self.state.check(block);
        let checked = checked.map_err(|e| ReplayError::Block { height, error: Box::new(e) })?;
        let tables = Tables::of(&checked, extent);
        self.sums.iter_mut().for_each(|(kind, sum)| tables.add_to(*kind, sum));
        self.wins.count(checked.winner());
        self.transactions = self.transactions.saturating_add(checked.transactions().len() as u64);
        self.state.apply(&checked).map_err(|stale| StoreError::corrupt(stale.to_string()))?;
        Ok(())
    }
}

fn summary(replay: &Replay, base: Option<Height>) -> Summary {
    let (state, first) = (&replay.state, base.map_or(0, |base| base.next().0));
    Summary {
        base,
        blocks: state.round().height.0.saturating_sub(first),
        transactions: replay.transactions,
        accounts: state.accounts().len() as u64,
        supply: state.supply(),
        tip: state.tip().hash,
        state: state.commitment(),
    }
}

fn check_outcome(ledger: &Ledger, replay: &Replay) -> Result<(), ReplayError> {
    let view = ledger.store().index.view();
    for (kind, expected) in &replay.sums {
        let (got, index) = (view.sum(*kind)?, kind.name());
        if got.count != expected.count {
            let (got, expected) = (got.count, expected.count);
            return Err(ReplayError::Count { index, got, expected });
        }
        if got != *expected {
            return Err(ReplayError::Index { index });
        }
    }
    let (got, expected) = (replay.state.tip().hash, ledger.state().tip().hash);
    if got != expected {
        return Err(ReplayError::Tip { got, expected });
    }
    if view.wins()? != replay.wins {
        return Err(ReplayError::Wins);
    }
    check_accounts(&view, &replay.state)
}

fn check_accounts(view: &View, state: &State) -> Result<(), ReplayError> {
    let stored = view.accounts(state.chain().genesis())?;
    for &address in stored.keys().chain(state.accounts().keys()) {
        let got = stored.get(&address).copied().unwrap_or_default();
        let expected: Account = state.account(&address);
        if got != expected {
            return Err(ReplayError::Account { address, got, expected });
        }
    }
    Ok(())
}
