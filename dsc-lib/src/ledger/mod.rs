//! The ledger: which block may come next, and what it changes.
//!
//! # Invariants
//!
//! 1. [`State::apply`] takes only a [`CheckedBlock`], which only [`State::check`] and
//!    [`State::draft`] make, by the same rules.
//! 2. `check` changes nothing and depends on the state and the block alone.
//! 3. The sum of all balances is the genesis coins, plus rewards, less burned fees.
//! 4. The state is trusted by nobody: every header commits to it.
//!
//! Checked by the unit tests (one for each rule), `tests/properties.rs`, `tests/simulation.rs`.

mod archive;
mod base;
mod check;
mod checked;
mod draft;
mod drafts;
mod durable;
mod error;
mod execute;
mod export;
mod index;
mod log;
mod replay;
mod rules;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod wins;

use std::collections::HashMap;

pub(crate) use self::rules::{check_origin, winner_of};
pub use self::{
    archive::{Archive, Event, Inclusion, Located, Place},
    checked::CheckedBlock,
    draft::{LeftOut, Proposal},
    durable::{Balances, Ledger, OpenOptions},
    error::{
        BlockError, CommitError, ImportError, OpenError, ReplayError, RestoreError, StaleBlock,
        StoreError,
    },
    export::{Export, ExportError, Import, Record},
    index::Maintained,
    log::Torn,
    replay::Summary,
    snapshot::{SNAPSHOT_ACCOUNTS_MAX, Snapshot, SnapshotAccount, SnapshotTip},
    store::{Persisted, Recovery},
    wins::Wins,
};
use self::{
    execute::commit,
    rules::{check_proofs, check_proofs_root, next_round},
};
use crate::{
    address::Address,
    block::{self, BlockHash, Header, Proofs},
    commitment::{Account, Commitment},
    genesis::Chain,
    hash::Digest,
    proof::ENGINE_COUNT,
    units::{Amount, Height, Millis, Target},
};

/// How far a block's epoch may be above its parent's: more leases than are ever taken between two
/// blocks, and so few that no block, whoever signs it, takes the later ones away from all others.
pub const EPOCH_STEP_MAX: u64 = 1 << 32;

/// What the next block answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its height.
    pub height: Height,
    /// Its challenge.
    pub challenge: Digest,
    /// Its targets, in the order of engines.
    pub targets: [Target; ENGINE_COUNT],
}

/// The block the next one extends; the genesis if there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Block hash, or genesis hash.
    pub hash: BlockHash,
    /// Its time.
    pub time: Millis,
    /// Its metronome's lease number.
    pub epoch: u64,
}

/// A changed account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose account.
    pub address: Address,
    /// Before the block.
    pub old: Account,
    /// After the block.
    pub new: Account,
}

/// All balances at one height, and what the next block must look like.
#[derive(Clone, Debug)]
pub struct State {
    chain: Chain,
    accounts: HashMap<Address, Account>,
    commitment: Commitment,
    supply: Amount,
    tip: Tip,
    round: Round,
}

impl State {
    /// The state before the first block.
    pub fn genesis(chain: Chain) -> Self {
        let genesis = chain.genesis();
        let fresh = |balance| Account { balance, sequence: 0 };
        let accounts: HashMap<_, _> =
            genesis.accounts.iter().map(|e| (e.address, fresh(e.balance))).collect();
        let supply = chain.endowed();
        let tip = Tip { hash: chain.hash(), time: genesis.time, epoch: 0 };
        let (challenge, targets) = (block::first_challenge(&chain.hash()), chain.first_targets());
        let round = Round { height: Height(0), challenge, targets };
        let commitment = sum_of(&accounts);
        Self { chain, accounts, commitment, supply, tip, round }
    }

    /// The state after a block of which header, proofs and resulting accounts are known.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the header is not signed by a metronome of this chain, its proofs do
    /// not verify, or the accounts are not those it commits to.
    pub fn restore(
        chain: Chain,
        header: &Header,
        proofs: &Proofs,
        accounts: HashMap<Address, Account>,
    ) -> Result<Self, RestoreError> {
        check_origin(&chain, header)?;
        let round =
            Round { height: header.height, challenge: header.challenge, targets: header.targets };
        let proven = check_proofs(&chain, &round, proofs)?;
        check_proofs_root(header, proofs)?;
        let commitment = sum_of(&accounts);
        let (got, expected) = (commitment.digest(), header.state);
        if got != expected {
            return Err(RestoreError::State { got, expected });
        }
        let supply = Amount::checked_sum(accounts.values().map(|account| account.balance));
        let max = chain.supply_max(header.height);
        let supply = supply.filter(|supply| *supply <= max).ok_or(RestoreError::Supply { max })?;
        let tip = Tip { hash: header.hash(), time: header.time, epoch: header.epoch };
        let round = next_round(&chain, &round, proofs, &proven);
        Ok(Self { chain, accounts, commitment, supply, tip, round })
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the next block answers.
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// The block the next one extends.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Height of the last block, if there is one.
    pub fn height(&self) -> Option<Height> {
        self.round.height.0.checked_sub(1).map(Height)
    }

    /// What is known of an address; nothing is an empty account.
    pub fn account(&self, address: &Address) -> Account {
        self.accounts.get(address).copied().unwrap_or_default()
    }

    /// All accounts that are not empty, in no order.
    pub fn accounts(&self) -> &HashMap<Address, Account> {
        &self.accounts
    }

    /// Coins in being: genesis plus rewards less burned fees.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// Whether the balances add up to the supply.
    pub fn supply_holds(&self) -> bool {
        Amount::checked_sum(self.accounts.values().map(|a| a.balance)) == Some(self.supply)
    }

    /// The state commitment.
    pub fn commitment(&self) -> Digest {
        self.commitment.digest()
    }

    fn check_fresh(&self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        let (checked, tip) = (block.header.parent, self.tip.hash);
        if checked == tip { Ok(()) } else { Err(StaleBlock { checked, tip }) }
    }

    /// Moves to the state after `block`.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if the block was checked against another tip; nothing changes then.
    pub fn apply(&mut self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        self.check_fresh(block)?;
        for change in &block.changes {
            if change.new.is_empty() {
                self.accounts.remove(&change.address);
            } else {
                self.accounts.insert(change.address, change.new);
            }
        }
        self.commitment = block.commitment.clone();
        self.supply = block.supply;
        self.tip = block.tip();
        self.round = block.next;
        Ok(())
    }
}

fn sum_of(accounts: &HashMap<Address, Account>) -> Commitment {
    let changes: Vec<_> = accounts
        .iter()
        .map(|(&address, &new)| Change { address, old: Account::default(), new })
        .collect();
    commit(&Commitment::default(), &changes)
}
