//! The state commitment: a homomorphic lattice hash (LtHash) of all accounts.
//!
//! Every account with a balance or a sequence adds 1024 lanes of 16 bits; the commitment to the
//! whole state is the lane-wise sum, so a changed account costs one subtraction and one addition
//! whatever the number of accounts.
//!
//! # Invariants
//!
//! 1. The sum depends on the set of accounts alone, not on the order or history of changes.
//! 2. An empty account adds nothing.
//!
//! Source: Bellare and Micciancio, "A new paradigm for collision-free hashing", 1997; Lewi, Kim,
//! Maykov and Weis, "Securing update propagation with homomorphic hashing", 2019.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    hash::{Context, Digest, derive, derive_extended},
    units::Amount,
};

const LANES: usize = 1024;
const BYTES: usize = 2 * LANES;

/// What the ledger knows of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Account {
    /// Coins held.
    pub balance: Amount,
    /// Transactions sent, and so the sequence the next one must have.
    pub sequence: u64,
}

impl Account {
    /// Whether the account is as if it had never been used.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The sum over a set of accounts.
#[derive(Clone, PartialEq, Eq)]
pub struct Commitment(Box<[u16; LANES]>);

impl Default for Commitment {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl std::fmt::Debug for Commitment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Commitment").field(&self.digest()).finish()
    }
}

impl Commitment {
    /// Adds an account to the set.
    pub fn add(&mut self, address: &Address, account: &Account) {
        if let Some(bytes) = contribution(address, account) {
            self.fold(&bytes, u16::wrapping_add);
        }
    }

    /// Takes an account out of the set.
    pub fn remove(&mut self, address: &Address, account: &Account) {
        if let Some(bytes) = contribution(address, account) {
            self.fold(&bytes, u16::wrapping_sub);
        }
    }

    /// Replaces an account, either side of which may be empty.
    pub fn replace(&mut self, address: &Address, old: &Account, new: &Account) {
        self.remove(address, old);
        self.add(address, new);
    }

    /// Adds every account of another set.
    pub fn merge(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0.iter())
            .for_each(|(lane, add)| *lane = lane.wrapping_add(*add));
    }

    /// The 32 bytes that stand in a block header.
    pub fn digest(&self) -> Digest {
        let mut bytes = [0; BYTES];
        for (pair, lane) in bytes.chunks_exact_mut(2).zip(self.0.iter()) {
            pair.copy_from_slice(&lane.to_le_bytes());
        }
        derive(Context::State, &[&bytes])
    }

    /// One loop for each `combine`, over whole lanes, so that the compiler makes vectors of it.
    fn fold(&mut self, bytes: &[u8; BYTES], combine: impl Fn(u16, u16) -> u16) {
        let (pairs, _) = bytes.as_chunks::<2>();
        for (lane, pair) in self.0.iter_mut().zip(pairs) {
            *lane = combine(*lane, u16::from_le_bytes(*pair));
        }
    }
}

/// The lanes of an account, if it is not empty.
fn contribution(address: &Address, account: &Account) -> Option<[u8; BYTES]> {
    if account.is_empty() {
        return None;
    }
    let (balance, sequence) =
        (account.balance.units().to_le_bytes(), account.sequence.to_le_bytes());
    let mut bytes = [0; BYTES];
    derive_extended(Context::Account, &[&address.0, &balance, &sequence], &mut bytes);
    Some(bytes)
}

impl<'a> FromIterator<(&'a Address, &'a Account)> for Commitment {
    fn from_iter<I: IntoIterator<Item = (&'a Address, &'a Account)>>(accounts: I) -> Self {
        let mut sum = Self::default();
        for (address, account) in accounts {
            sum.add(address, account);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(balance: u64, sequence: u64) -> Account {
        Account { balance: Amount::from_units(balance), sequence }
    }

    #[test]
    fn empty_accounts_add_nothing() {
        let mut sum = Commitment::default();
        sum.add(&Address([1; 32]), &Account::default());
        assert_eq!(sum, Commitment::default());
    }

    proptest! {
        #[test]
        fn updates_in_any_order_equal_the_set(
            changes in prop::collection::vec((0_u8..8, 0_u64..4, 0_u64..4), 0..40)
        ) {
            let mut accounts = std::collections::BTreeMap::new();
            let mut sum = Commitment::default();
            for (name, balance, sequence) in changes {
                let (address, new) = (Address([name; 32]), account(balance, sequence));
                let old = accounts.insert(address, new).unwrap_or_default();
                sum.replace(&address, &old, &new);
            }
            let (left, right): (Vec<_>, Vec<_>) =
                accounts.iter().rev().partition(|(address, _)| address.0[0] < 4);
            let mut whole: Commitment = left.into_iter().collect();
            whole.merge(&right.into_iter().collect());
            prop_assert_eq!(whole.digest(), sum.digest());
        }
    }
}
