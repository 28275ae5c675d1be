//! A whole state as bytes, which nobody has to trust.
//!
//! # Invariants
//!
//! 1. Accounts are in strictly increasing order of address and none is empty, so one state has one
//!    snapshot.
//! 2. [`State::from_snapshot`] accepts only what the signed tip commits to.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use super::{RestoreError, State};
use crate::{
    address::Address,
    block::{Header, Proofs},
    codec::{List, ListError},
    commitment::Account,
    genesis::Chain,
};

/// Most accounts in a snapshot.
pub const SNAPSHOT_ACCOUNTS_MAX: usize = 1 << 26;

/// The last block, as far as a state needs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotTip {
    /// Its header.
    pub header: Header,
    /// Its proofs, which decide what the next block answers.
    pub proofs: Proofs,
}

/// An account that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotAccount {
    /// Whose account.
    pub address: Address,
    /// What it holds.
    pub account: Account,
}

/// All accounts after one block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Snapshot {
    /// The last block; `None` before the first one.
    pub tip: Option<SnapshotTip>,
    /// All accounts, in increasing order of address.
    pub accounts: List<SnapshotAccount, 0, SNAPSHOT_ACCOUNTS_MAX>,
}

impl Snapshot {
    pub(super) fn new(
        tip: Option<SnapshotTip>,
        accounts: &HashMap<Address, Account>,
    ) -> Result<Self, ListError> {
        let mut sorted: Vec<_> = accounts
            .iter()
            .map(|(&address, &account)| SnapshotAccount { address, account })
            .collect();
        sorted.sort_unstable_by_key(|entry| entry.address);
        Ok(Self { tip, accounts: List::new(sorted)? })
    }

    fn into_map(self) -> Result<HashMap<Address, Account>, RestoreError> {
        let mut last = None;
        for (index, entry) in self.accounts.iter().enumerate() {
            if entry.account.is_empty() || last >= Some(entry.address) {
                return Err(RestoreError::Account { index });
            }
            last = Some(entry.address);
        }
        Ok(self.accounts.iter().map(|entry| (entry.address, entry.account)).collect())
    }
}

impl State {
    /// The state that `snapshot` holds, if a metronome of `chain` has signed for it.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if header, proofs or accounts do not fit together.
    pub fn from_snapshot(chain: Chain, mut snapshot: Snapshot) -> Result<Self, RestoreError> {
        let tip = snapshot.tip.take();
        let accounts = snapshot.into_map()?;
        match tip {
            None => Self::restore_first(chain, &accounts),
            Some(SnapshotTip { header, proofs }) => {
                Self::restore(chain, &header, &proofs, accounts)
            }
        }
    }

    /// The state before the first block, if `accounts` are those of the genesis.
    fn restore_first(
        chain: Chain,
        accounts: &HashMap<Address, Account>,
    ) -> Result<Self, RestoreError> {
        let state = Self::genesis(chain);
        let (got, expected) = (super::sum_of(accounts).digest(), state.commitment());
        if got != expected {
            return Err(RestoreError::State { got, expected });
        }
        Ok(state)
    }
}
