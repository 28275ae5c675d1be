//! What the index knows at one moment, to be asked.
//!
//! # Invariants
//!
//! 1. A view stays as it is, whatever is written, merged and removed meanwhile.

use std::{collections::HashMap, sync::Arc};

use super::{
    Fresh, Leveled, Runs,
    manifest::Covered,
    run::Cursor,
    table::{
        Kind, Pointer, Tables, Touch, history_key, read_account, read_extent, read_height,
        read_pointer, read_touch, read_win,
    },
};
use crate::{
    address::Address,
    block::BlockHash,
    commitment::Account,
    genesis::Genesis,
    ledger::{Place, StoreError, Wins, log::Extent},
    transaction::TransactionId,
    units::Height,
};

/// The index at one moment.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct View {
    /// The height of the first block of the log.
    first: Height,
    /// What the runs cover.
    pub(super) base: Option<Covered>,
    pub(super) runs: Arc<Runs>,
    /// Blocks after that, oldest first.
    pub(super) fresh: Vec<Arc<Fresh>>,
    pub(super) fresh_bytes: usize,
}

impl View {
    /// Of a log without a block, the first of which is to have height `first`.
    pub(super) fn empty(first: Height) -> Self {
        let (base, runs) = (None, Arc::default());
        Self { first, base, runs, fresh: Vec::new(), fresh_bytes: 0 }
    }

    /// The last block.
    pub(in crate::ledger) fn tip(&self) -> Option<Covered> {
        self.fresh.last().map(|fresh| fresh.covered).or(self.base)
    }

    /// What the runs cover.
    pub(in crate::ledger) fn base(&self) -> Option<Covered> {
        self.base
    }

    fn runs(&self, kind: Kind) -> &[Leveled] {
        self.runs.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    /// What `read` makes of the newest record with this key.
    fn find<T>(
        &self,
        kind: Kind,
        key: &[u8],
        read: impl Fn(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        for fresh in self.fresh.iter().rev() {
            if let Some(record) = fresh.tables.of_kind(kind).find(key) {
                return Ok(Some(read(record)));
            }
        }
        for leveled in self.runs(kind).iter().rev() {
            if let Some(record) = leveled.run.find(key)? {
                return Ok(Some(read(&record)));
            }
        }
        Ok(None)
    }

    /// Where the record of the block at `height` is.
    pub(in crate::ledger) fn extent(&self, height: Height) -> Result<Option<Extent>, StoreError> {
        if height < self.first || self.tip().is_none_or(|tip| height > tip.height) {
            return Ok(None);
        }
        let extent = self.find(Kind::Blocks, &height.0.to_be_bytes(), read_extent)?;
        let missing = || StoreError::index(format!("it has no block {height}"));
        extent.ok_or_else(missing).map(Some)
    }

    /// The height of the block with this hash.
    pub(in crate::ledger) fn height_of(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<Height>, StoreError> {
        self.find(Kind::Hashes, &hash.0, read_height)
    }

    /// Where the transaction with this id stands.
    pub(in crate::ledger) fn locate(
        &self,
        id: &TransactionId,
    ) -> Result<Option<Pointer>, StoreError> {
        self.find(Kind::Transactions, &id.0, read_pointer)
    }

    /// What touched `address` before `before`, newest first, at most `max`.
    pub(in crate::ledger) fn history(
        &self,
        address: &Address,
        before: Option<Place>,
        max: usize,
    ) -> Result<Vec<Touch>, StoreError> {
        let last = Place { height: Height(u64::MAX), index: u32::MAX };
        let end = history_key(address, before.unwrap_or(last));
        let mut touches = Vec::new();
        let mut take = |record: &[u8]| {
            let more = touches.len() < max && record.starts_with(&address.0);
            if more {
                touches.push(read_touch(record));
            }
            more && touches.len() < max
        };
        for fresh in self.fresh.iter().rev() {
            let table = fresh.tables.of_kind(Kind::History);
            let places = (0..table.lower_bound(&end)).rev();
            places.map_while(|place| table.record(place)).all(&mut take);
        }
        for leveled in self.runs(Kind::History).iter().rev() {
            leveled.run.below(&end, &mut take)?;
        }
        Ok(touches)
    }

    /// Hands out all records of a kind, those of one key oldest first.
    pub(in crate::ledger) fn each(
        &self,
        kind: Kind,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        for leveled in self.runs(kind) {
            let mut cursor = Cursor::new(leveled.run.clone())?;
            while let Some(record) = cursor.record() {
                take(record);
                cursor.advance()?;
            }
        }
        for fresh in &self.fresh {
            fresh.tables.of_kind(kind).records().for_each(&mut take);
        }
        Ok(())
    }

    /// Every account that is not empty: those of the genesis, changed by the blocks.
    pub(in crate::ledger) fn accounts(
        &self,
        genesis: &Genesis,
    ) -> Result<HashMap<Address, Account>, StoreError> {
        let fresh = |balance| Account { balance, sequence: 0 };
        let endowed = genesis.accounts.iter().map(|e| (e.address, fresh(e.balance)));
        let mut accounts: HashMap<_, _> = endowed.collect();
        self.each(Kind::Accounts, |record| {
            let (address, account) = read_account(record);
            accounts.insert(address, account);
        })?;
        accounts.retain(|_, account| !account.is_empty());
        Ok(accounts)
    }

    /// Who has won how many blocks.
    pub(in crate::ledger) fn wins(&self) -> Result<Wins, StoreError> {
        let mut wins = Wins::default();
        self.each(Kind::Wins, |record| {
            let (winner, won) = read_win(record);
            wins.set(winner, won);
        })?;
        Ok(wins)
    }

    /// How many records there are of a kind, and a sum over them that does not depend on their
    /// order.
    pub(in crate::ledger) fn sum(&self, kind: Kind) -> Result<Sum, StoreError> {
        let mut sum = Sum::default();
        self.each(kind, |record| sum.add(record))?;
        Ok(sum)
    }
}

/// How many records, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Sum {
    pub(in crate::ledger) count: u64,
    hashes: u128,
}

impl Sum {
    fn add(&mut self, record: &[u8]) {
        let hash = blake3::hash(record);
        let half = hash.as_bytes().first_chunk().copied().map_or(0, u128::from_le_bytes);
        self.count = self.count.saturating_add(1);
        self.hashes = self.hashes.wrapping_add(half);
    }
}

impl Tables {
    /// Adds the records of a kind to a sum over many blocks.
    pub(in crate::ledger) fn add_to(&self, kind: Kind, sum: &mut Sum) {
        self.of_kind(kind).records().for_each(|record| sum.add(record));
    }
}
