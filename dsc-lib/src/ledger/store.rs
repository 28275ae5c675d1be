//! The ledger on disk: one database file, one durable commit per block.
//!
//! # Invariants
//!
//! 1. Block, indices, accounts and metadata of one height are committed together or not at all.
//! 2. A commit is on disk when it returns: two phases, then a sync.
//! 3. Whatever the tables hold, reading gives a value or a [`StoreError`], never a panic.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format`, `genesis`, `tip`, `supply` | u16, bytes, height and hash, u64 |
//! | `blocks` | height | bytes |
//! | `hashes` | block hash | height |
//! | `transactions` | transaction id | height, index, offset in the block's bytes |
//! | `accounts` | address | balance, sequence |
//! | `history` | address, height, index (big-endian) | coins received, offset |
//! | `wins` | kind and miner of a winner, or nothing | blocks |
//!
//! Checked by `ledger/tests.rs`.

use std::{collections::HashMap, path::Path};

use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition, WriteTransaction,
};

use super::{
    CheckedBlock, CommitError, OpenError, OpenOptions, Place, StaleBlock, State, StoreError, Wins,
    fixed_bytes,
};
use crate::{
    address::Address,
    block::BlockHash,
    codec,
    commitment::Account,
    hash::Digest,
    proof::{Miner, ProofEntry, ProofKind},
    transaction::TransactionId,
    units::{Amount, Height},
};

/// Layout of the tables.
pub(super) const FORMAT: u16 = 1;
/// The index that stands for a block's reward in an address's history: above every transaction's.
pub(super) const REWARD_INDEX: u32 = u32::MAX;
const HISTORY_KEY_LEN: usize = 32 + 8 + 4;

type HistoryKey = [u8; HISTORY_KEY_LEN];

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
pub(super) const HASHES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("hashes");
pub(super) const TRANSACTIONS: TableDefinition<'_, &[u8; 32], (u64, u32, u32)> =
    TableDefinition::new("transactions");
pub(super) const ACCOUNTS: TableDefinition<'_, &[u8; 32], (u64, u64)> =
    TableDefinition::new("accounts");
pub(super) const HISTORY: TableDefinition<'_, &HistoryKey, (u64, u32)> =
    TableDefinition::new("history");
pub(super) const WINS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("wins");

pub(super) const KEY_FORMAT: &str = "format";
pub(super) const KEY_GENESIS: &str = "genesis";
pub(super) const KEY_TIP: &str = "tip";
pub(super) const KEY_SUPPLY: &str = "supply";

/// What the metadata says.
#[derive(Debug)]
pub(super) struct Meta {
    /// Canonical genesis.
    pub(super) genesis: Vec<u8>,
    /// Height and hash of the last block.
    pub(super) tip: Option<(Height, BlockHash)>,
    /// Coins in being.
    pub(super) supply: Amount,
}

/// Where a transaction stands, with the offset of its bytes in the block's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer {
    pub(super) place: Place,
    pub(super) offset: u32,
}

/// An entry of an address's history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub(super) at: Pointer,
    pub(super) received: Amount,
}

/// A block that is on disk.
#[derive(Debug)]
#[must_use = "the ledger has not moved yet"]
pub struct Persisted {
    pub(super) hash: BlockHash,
}

/// The database.
#[derive(Debug)]
pub(super) struct Store {
    db: Database,
}

impl Store {
    /// Opens the file at `path` or makes it.
    pub(super) fn file(path: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        Ok(Self { db: builder(options).create(path)? })
    }

    /// Opens what `backend` holds.
    pub(super) fn with_backend(backend: impl StorageBackend) -> Result<Self, OpenError> {
        Ok(Self { db: builder(OpenOptions::default()).create_with_backend(backend)? })
    }

    #[cfg(test)]
    pub(super) fn database(&self) -> &Database {
        &self.db
    }

    /// The metadata, or `None` if nothing was ever committed.
    pub(super) fn meta(&self) -> Result<Option<Meta>, OpenError> {
        let Some(format) = self.meta_field(KEY_FORMAT)? else { return Ok(None) };
        let got = u16::from_le_bytes(array(KEY_FORMAT, &format)?);
        if got != FORMAT {
            return Err(OpenError::Format { got, expected: FORMAT });
        }
        let missing = |key| StoreError::corrupt(format!("meta {key} is missing"));
        let genesis = self.meta_field(KEY_GENESIS)?.ok_or_else(|| missing(KEY_GENESIS))?;
        let supply = self.meta_field(KEY_SUPPLY)?.ok_or_else(|| missing(KEY_SUPPLY))?;
        let supply = Amount::from_units(u64::from_le_bytes(array(KEY_SUPPLY, &supply)?));
        Ok(Some(Meta { genesis, tip: self.tip()?, supply }))
    }

    /// Height and hash of the last block.
    pub(super) fn tip(&self) -> Result<Option<(Height, BlockHash)>, StoreError> {
        self.meta_field(KEY_TIP)?.map(|tip| read_tip(&tip)).transpose()
    }

    fn meta_field(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(table) = self.table(META)? else { return Ok(None) };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Opens a table for reading; there is none before the first commit.
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, StoreError> {
        match self.db.begin_read()?.open_table(definition) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the state before the first block.
    pub(super) fn start(&self, state: &State) -> Result<(), StoreError> {
        let txn = self.begin()?;
        {
            let mut meta = txn.open_table(META)?;
            meta.insert(KEY_FORMAT, &FORMAT.to_le_bytes()[..])?;
            meta.insert(KEY_GENESIS, codec::encode(state.chain().genesis()).as_slice())?;
            meta.insert(KEY_SUPPLY, &state.supply().units().to_le_bytes()[..])?;
            let mut accounts = txn.open_table(ACCOUNTS)?;
            for (address, account) in state.accounts() {
                accounts.insert(&address.0, (account.balance.units(), account.sequence))?;
            }
            txn.open_table(BLOCKS)?;
            txn.open_table(HASHES)?;
            txn.open_table(TRANSACTIONS)?;
            txn.open_table(HISTORY)?;
            txn.open_table(WINS)?;
        }
        Ok(txn.commit()?)
    }

    /// Writes a block and all it changes, if it is not there yet.
    pub(super) fn persist(&self, block: &CheckedBlock) -> Result<Persisted, CommitError> {
        let (txn, hash) = (self.begin()?, block.hash());
        if read_tip_of(&txn)?.is_none_or(|(_, tip)| tip != hash) {
            check_follows(&txn, block)?;
            write(txn, block)?;
        }
        Ok(Persisted { hash })
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut txn = self.db.begin_write()?;
        // Opening after a crash takes the last commit as it is; this implies two phases.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    /// Every account.
    pub(super) fn accounts(&self) -> Result<HashMap<Address, Account>, StoreError> {
        let Some(table) = self.table(ACCOUNTS)? else { return Ok(HashMap::new()) };
        let count = usize::try_from(table.len()?).unwrap_or(0);
        let mut accounts = HashMap::with_capacity(count);
        for entry in table.range::<&[u8; 32]>(..)? {
            let (address, account) = entry?;
            let (balance, sequence) = account.value();
            let account = Account { balance: Amount::from_units(balance), sequence };
            accounts.insert(Address(*address.value()), account);
        }
        Ok(accounts)
    }

    /// Who has won how many blocks.
    pub(super) fn wins(&self) -> Result<Wins, StoreError> {
        let mut wins = Wins::default();
        let Some(table) = self.table(WINS)? else { return Ok(wins) };
        for entry in table.range::<&[u8]>(..)? {
            let (key, won) = entry?;
            wins.set(read_winner(key.value())?, won.value());
        }
        Ok(wins)
    }

    /// The bytes of the block at `height`.
    pub(super) fn block(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_block(height, <[u8]>::to_vec)
    }

    /// What `read` makes of the bytes of the block at `height`.
    pub(super) fn with_block<T>(
        &self,
        height: Height,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let Some(table) = self.table(BLOCKS)? else { return Ok(None) };
        Ok(table.get(height.0)?.map(|bytes| read(bytes.value())))
    }

    /// Blocks from `from` upwards until `bytes_max` would be exceeded; at least one if there is one.
    pub(super) fn blocks(
        &self,
        from: Height,
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(table) = self.table(BLOCKS)? else { return Ok(Vec::new()) };
        let (mut blocks, mut room) = (Vec::new(), bytes_max);
        for entry in table.range(from.0..)? {
            let bytes = entry?.1.value().to_vec();
            if bytes.len() > room && !blocks.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes.len());
            blocks.push(bytes);
        }
        Ok(blocks)
    }

    /// The height of the block with this hash.
    pub(super) fn height_of(&self, hash: &BlockHash) -> Result<Option<Height>, StoreError> {
        let Some(table) = self.table(HASHES)? else { return Ok(None) };
        Ok(table.get(&hash.0)?.map(|height| Height(height.value())))
    }

    /// Where the transaction with this id stands.
    pub(super) fn locate(&self, id: &TransactionId) -> Result<Option<Pointer>, StoreError> {
        let Some(table) = self.table(TRANSACTIONS)? else { return Ok(None) };
        Ok(table.get(&id.0)?.map(|entry| {
            let (height, index, offset) = entry.value();
            Pointer { place: Place { height: Height(height), index }, offset }
        }))
    }

    /// What touched `address` before `before`, newest first, at most `max`.
    pub(super) fn history(
        &self,
        address: &Address,
        before: Option<Place>,
        max: usize,
    ) -> Result<Vec<Touch>, StoreError> {
        let Some(table) = self.table(HISTORY)? else { return Ok(Vec::new()) };
        let first = history_key(address, Place { height: Height(0), index: 0 });
        let last = Place { height: Height(u64::MAX), index: u32::MAX };
        let end = history_key(address, before.unwrap_or(last));
        let mut touches = Vec::new();
        for entry in table.range::<&HistoryKey>(&first..&end)?.rev().take(max) {
            let (key, value) = entry?;
            let (received, offset) = value.value();
            let at = Pointer { place: place_of(key.value()), offset };
            touches.push(Touch { at, received: Amount::from_units(received) });
        }
        Ok(touches)
    }

    /// Entries in the index of transactions.
    pub(super) fn transaction_count(&self) -> Result<u64, StoreError> {
        Ok(self.table(TRANSACTIONS)?.map_or(Ok(0), |table| table.len())?)
    }

    /// Entries in the tables that are indices: hashes, transactions.
    pub(super) fn counts(&self) -> Result<[(&'static str, u64); 3], StoreError> {
        let blocks = self.table(BLOCKS)?.map_or(Ok(0), |table| table.len())?;
        let hashes = self.table(HASHES)?.map_or(Ok(0), |table| table.len())?;
        let transactions = self.table(TRANSACTIONS)?.map_or(Ok(0), |table| table.len())?;
        Ok([("blocks", blocks), ("hashes", hashes), ("transactions", transactions)])
    }
}

fn builder(options: OpenOptions) -> redb::Builder {
    let OpenOptions { check_pages, cache_bytes } = options;
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(check_pages);
    builder
}

fn array<const LEN: usize>(key: &str, bytes: &[u8]) -> Result<[u8; LEN], StoreError> {
    let wrong = |_| StoreError::corrupt(format!("meta {key} has {} bytes", bytes.len()));
    bytes.try_into().map_err(wrong)
}

fn read_tip(bytes: &[u8]) -> Result<(Height, BlockHash), StoreError> {
    let wrong = |error| StoreError::corrupt(format!("meta {KEY_TIP}: {error}"));
    codec::decode::<(Height, Digest)>(bytes).map_err(wrong)
}

fn winner_key(winner: Option<&ProofEntry>) -> Vec<u8> {
    winner.map(|entry| codec::encode(&(entry.proof.kind, entry.miner))).unwrap_or_default()
}

fn read_winner(key: &[u8]) -> Result<Option<(ProofKind, Miner)>, StoreError> {
    if key.is_empty() {
        return Ok(None);
    }
    codec::decode(key).map(Some).map_err(|error| StoreError::corrupt(format!("wins: {error}")))
}

fn history_key(address: &Address, place: Place) -> HistoryKey {
    let mut key = [0; HISTORY_KEY_LEN];
    let parts = [&address.0[..], &place.height.0.to_be_bytes(), &place.index.to_be_bytes()];
    key.copy_from_slice(&parts.concat());
    key
}

fn place_of(key: &HistoryKey) -> Place {
    let (mut height, mut index) = ([0; 8], [0; 4]);
    let (_, place) = key.split_at(32);
    let (high, low) = place.split_at(8);
    height.copy_from_slice(high);
    index.copy_from_slice(low);
    Place { height: Height(u64::from_be_bytes(height)), index: u32::from_be_bytes(index) }
}

/// Two blocks of one parent may be checked at once; only the first gets onto the disk.
fn check_follows(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), CommitError> {
    let tip = read_tip_of(txn)?;
    let (checked, header) = (block.header().parent, block.header());
    match tip {
        Some((_, tip)) if tip != checked => Err(StaleBlock { checked, tip }.into()),
        None if header.height != Height(0) => Err(StaleBlock { checked, tip: header.chain }.into()),
        _ => Ok(()),
    }
}

fn read_tip_of(txn: &WriteTransaction) -> Result<Option<(Height, BlockHash)>, StoreError> {
    let meta = txn.open_table(META)?;
    meta.get(KEY_TIP)?.map(|tip| read_tip(tip.value())).transpose()
}

fn write(txn: WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    write_block(&txn, block)?;
    write_transactions(&txn, block)?;
    write_history(&txn, block)?;
    write_accounts(&txn, block)?;
    count_win(&txn, block)?;
    Ok(txn.commit()?)
}

fn count_win(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    let (mut wins, key) = (txn.open_table(WINS)?, winner_key(block.winner()));
    let won = wins.get(key.as_slice())?.map_or(0, |won| won.value()).saturating_add(1);
    wins.insert(key.as_slice(), won)?;
    Ok(())
}

fn write_block(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    let (height, hash) = (block.header().height, block.hash());
    txn.open_table(BLOCKS)?.insert(height.0, block.to_bytes().as_slice())?;
    txn.open_table(HASHES)?.insert(&hash.0, height.0)?;
    let mut meta = txn.open_table(META)?;
    meta.insert(KEY_TIP, codec::encode(&(height, hash)).as_slice())?;
    meta.insert(KEY_SUPPLY, &block.supply().units().to_le_bytes()[..])?;
    Ok(())
}

/// The transactions of a block with their places, in order.
fn placed(block: &CheckedBlock) -> impl Iterator<Item = (u32, u32, &super::CheckedTransaction)> {
    let mut next = fixed_bytes(block.proofs());
    (0_u32..).zip(block.transactions()).map(move |(index, transaction)| {
        let offset = u32::try_from(next).expect("a block has less than 4 GiB");
        next = next.saturating_add(transaction.bytes().len() as u64);
        (index, offset, &**transaction)
    })
}

/// Writes in order of key: neighbours in the tree are then touched once.
fn write_transactions(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    let height = block.header().height.0;
    let mut entries: Vec<_> =
        placed(block).map(|(index, offset, t)| (t.id(), index, offset)).collect();
    entries.sort_unstable();
    let mut table = txn.open_table(TRANSACTIONS)?;
    for (id, index, offset) in entries {
        table.insert(&id.0, (height, index, offset))?;
    }
    Ok(())
}

fn write_history(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    let mut entries = HashMap::new();
    for (index, offset, transaction) in placed(block) {
        let mut touch = |address, received: Amount| {
            let (sum, _) = entries.entry((address, index)).or_insert((0_u64, offset));
            *sum = sum.saturating_add(received.units());
        };
        touch(transaction.sender(), Amount::ZERO);
        transaction.payments().for_each(|payment| touch(payment.to, payment.amount));
    }
    if let Some(winner) = block.winner() {
        entries.insert((winner.miner.address, REWARD_INDEX), (block.income().units(), 0));
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_unstable();
    let mut table = txn.open_table(HISTORY)?;
    let height = block.header().height;
    for ((address, index), value) in entries {
        table.insert(&history_key(&address, Place { height, index }), value)?;
    }
    Ok(())
}

fn write_accounts(txn: &WriteTransaction, block: &CheckedBlock) -> Result<(), StoreError> {
    let mut table = txn.open_table(ACCOUNTS)?;
    for change in block.changes() {
        if change.new.is_empty() {
            table.remove(&change.address.0)?;
        } else {
            table.insert(&change.address.0, (change.new.balance.units(), change.new.sequence))?;
        }
    }
    Ok(())
}
