//! Kinds of records, and sorted tables of them in RAM.
//!
//! # Invariants
//!
//! 1. A table is sorted by key, bytewise, and has a key once.
//! 2. Every record of a kind has the same length, so a table is plain bytes.
//!
//! | kind | key | value |
//! |---|---|---|
//! | blocks | height u64 | offset of the record in the log u64, len u32 |
//! | hashes | block hash | height u64 |
//! | transactions | id | height u64, index u32, offset in the block u32 |
//! | history | address, height u64, index u32 | coins received u64, offset in the block u32 |
//! | accounts | address | balance u64, sequence u64; the newest record of an address holds |
//! | wins | kind u8 and miner, or 255 | blocks won u64; the newest record of a winner holds |
//!
//! Integers of records are big-endian, so that bytes are in the order of numbers.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "records are slices of a fixed length, places are below the number of records; \
              every transaction passes here"
)]

use std::collections::HashMap;

use crate::{
    address::Address,
    commitment::Account,
    genesis::Genesis,
    ledger::{CheckedBlock, Place, checked::fixed_bytes, log::Extent},
    proof::{Fingerprint, Miner, ProofEntry, ProofKind},
    units::{Amount, Height},
};

/// The index that stands for a block's reward in an address's history: above every transaction's.
pub(in crate::ledger) const REWARD_INDEX: u32 = u32::MAX;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::ledger) enum Kind {
    Blocks,
    Hashes,
    Transactions,
    History,
    Accounts,
    Wins,
}

/// Number of kinds.
pub(super) const KINDS: usize = 6;

impl Kind {
    pub(in crate::ledger) const ALL: [Self; KINDS] =
        [Self::Blocks, Self::Hashes, Self::Transactions, Self::History, Self::Accounts, Self::Wins];

    /// Lengths of key and value.
    const fn lens(self) -> (usize, usize) {
        match self {
            Self::Blocks => (8, 12),
            Self::Hashes => (32, 8),
            Self::Transactions | Self::Accounts => (32, 16),
            Self::History => (44, 12),
            Self::Wins => (49, 8),
        }
    }

    pub(super) const fn key_len(self) -> usize {
        self.lens().0
    }

    pub(super) const fn record_len(self) -> usize {
        self.lens().0 + self.lens().1
    }

    pub(in crate::ledger) const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Hashes => "block hashes",
            Self::Transactions => "transactions",
            Self::History => "histories",
            Self::Accounts => "accounts",
            Self::Wins => "wins",
        }
    }

    /// The number that stands for it in files.
    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The first eight bytes of a key, in the order of keys.
pub(super) fn prefix(key: &[u8]) -> u64 {
    key.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Records of one kind, sorted.
#[derive(Clone, Debug)]
pub(super) struct Table {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Table {
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.kind.record_len()
    }

    pub(super) fn record(&self, place: usize) -> Option<&[u8]> {
        let len = self.kind.record_len();
        self.bytes.get(place * len..(place + 1) * len)
    }

    pub(super) fn records(&self) -> std::slice::ChunksExact<'_, u8> {
        self.bytes.chunks_exact(self.kind.record_len())
    }

    /// The number of records below `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        lower_bound(&self.bytes, self.kind, key)
    }

    /// The record with this key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&[u8]> {
        self.record(self.lower_bound(key)).filter(|record| record.starts_with(key))
    }

    /// Sorts records; of those with one key the last holds.
    pub(super) fn sort(kind: Kind, records: &[u8]) -> Self {
        let (len, key_len) = (kind.record_len(), kind.key_len());
        let key = |place: u32| &records[place as usize * len..][..key_len];
        let count = u32::try_from(records.len() / len).expect("tables are bounded by blocks");
        let mut order: Vec<_> = (0..count).map(|place| (prefix(key(place)), place)).collect();
        order.sort_unstable();
        // Keys that share a prefix are few or, as for one address, in order already.
        order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
        let mut bytes: Vec<u8> = Vec::with_capacity(records.len());
        for (_, place) in order {
            let record = &records[place as usize * len..][..len];
            let last = bytes.len().saturating_sub(len);
            if bytes.get(last..last + key_len) == Some(&record[..key_len]) {
                bytes.truncate(last);
            }
            bytes.extend_from_slice(record);
        }
        Self { kind, bytes }
    }

    /// Puts tables of one kind together, oldest first.
    pub(super) fn merge<'a>(kind: Kind, tables: impl Iterator<Item = &'a Self>) -> Self {
        let mut records = Vec::new();
        tables.for_each(|table| records.extend_from_slice(&table.bytes));
        Self::sort(kind, &records)
    }
}

/// The number of records of `kind` below `key` in sorted `bytes`.
pub(super) fn lower_bound(bytes: &[u8], kind: Kind, key: &[u8]) -> usize {
    let len = kind.record_len();
    let (mut low, mut high) = (0, bytes.len() / len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if &bytes[middle * len..][..kind.key_len()] < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// All that a block adds to the index.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Tables([Table; KINDS]);

impl Tables {
    /// What `block` adds, whose record is at `extent`, but who has won how many.
    pub(in crate::ledger) fn of(block: &CheckedBlock, extent: Extent) -> Self {
        Self(Kind::ALL.map(|kind| {
            let records = match kind {
                Kind::Blocks => blocks(block, extent),
                Kind::Hashes => hashes(block),
                Kind::Transactions => transactions(block),
                Kind::History => history(block),
                Kind::Accounts => accounts(block),
                Kind::Wins => Vec::new(),
            };
            Table::sort(kind, &records)
        }))
    }

    /// What a state adds that a ledger starts with: all accounts that are not as in the genesis, the
    /// accounts of which need no record.
    pub(in crate::ledger) fn of_base(
        genesis: &Genesis,
        accounts: &HashMap<Address, Account>,
    ) -> Self {
        let mut records = Vec::with_capacity(accounts.len() * Kind::Accounts.record_len());
        let gone = genesis.accounts.iter().filter(|e| !accounts.contains_key(&e.address));
        for endowment in gone {
            push_account(&mut records, &endowment.address, Account::default());
        }
        for (address, account) in accounts {
            push_account(&mut records, address, *account);
        }
        Self(Kind::ALL.map(|kind| match kind {
            Kind::Accounts => Table::sort(kind, &records),
            _ => Table::sort(kind, &[]),
        }))
    }

    /// Adds that its winner, or nobody, has won `won` blocks with it.
    pub(in crate::ledger) fn set_wins(&mut self, winner: Option<&ProofEntry>, won: u64) {
        let mut record = win_key(winner);
        record.extend(won.to_be_bytes());
        self.0[Kind::Wins as usize] = Table { kind: Kind::Wins, bytes: record };
    }

    pub(super) fn of_kind(&self, kind: Kind) -> &Table {
        &self.0[kind as usize]
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.0.iter().map(Table::len_bytes).sum()
    }
}

fn blocks(block: &CheckedBlock, extent: Extent) -> Vec<u8> {
    let height = block.header().height.0.to_be_bytes();
    [&height[..], &extent.offset.to_be_bytes(), &extent.len.to_be_bytes()].concat()
}

pub(super) fn read_extent(record: &[u8]) -> Extent {
    Extent { offset: u64_at(record, 8), len: u32_at(record, 16) }
}

fn hashes(block: &CheckedBlock) -> Vec<u8> {
    [&block.hash().0[..], &block.header().height.0.to_be_bytes()].concat()
}

pub(super) fn read_height(record: &[u8]) -> Height {
    Height(u64_at(record, 32))
}

/// Where a transaction stands, with the offset of its bytes in the block's.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Pointer {
    pub(in crate::ledger) place: Place,
    pub(in crate::ledger) offset: u32,
}

/// An entry of an address's history.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Touch {
    pub(in crate::ledger) at: Pointer,
    pub(in crate::ledger) received: Amount,
}

/// The transactions of a block with their indices and offsets, in order.
fn placed(
    block: &CheckedBlock,
) -> impl Iterator<Item = (u32, u32, &crate::transaction::CheckedTransaction)> {
    let mut next = fixed_bytes(block.proofs());
    (0_u32..).zip(block.transactions()).map(move |(index, transaction)| {
        let offset = u32::try_from(next).expect("a block has less than 4 GiB");
        next = next.saturating_add(transaction.bytes().len() as u64);
        (index, offset, &**transaction)
    })
}

fn transactions(block: &CheckedBlock) -> Vec<u8> {
    let len = Kind::Transactions.record_len();
    let height = block.header().height.0.to_be_bytes();
    let mut records = Vec::with_capacity(block.transactions().len() * len);
    for (index, offset, transaction) in placed(block) {
        records.extend_from_slice(&transaction.id().0);
        records.extend_from_slice(&height);
        records.extend_from_slice(&index.to_be_bytes());
        records.extend_from_slice(&offset.to_be_bytes());
    }
    records
}

pub(super) fn read_pointer(record: &[u8]) -> Pointer {
    let place = Place { height: Height(u64_at(record, 32)), index: u32_at(record, 40) };
    Pointer { place, offset: u32_at(record, 44) }
}

/// One record for each address that a transaction touches, and one for the winner.
fn history(block: &CheckedBlock) -> Vec<u8> {
    let height = block.header().height.0.to_be_bytes();
    let mut records =
        Vec::with_capacity(block.transactions().len() * 2 * Kind::History.record_len());
    let mut push = |address: &Address, index: u32, received: u64, offset: u32| {
        records.extend_from_slice(&address.0);
        records.extend_from_slice(&height);
        records.extend_from_slice(&index.to_be_bytes());
        records.extend_from_slice(&received.to_be_bytes());
        records.extend_from_slice(&offset.to_be_bytes());
    };
    let mut touched: Vec<(Address, u64)> = Vec::new();
    for (index, offset, transaction) in placed(block) {
        touched.clear();
        touched.push((transaction.sender(), 0));
        let payments = transaction.payments();
        touched.extend(payments.map(|payment| (payment.to, payment.amount.units())));
        if touched.len() > 2 || touched[0].0 == touched[1].0 {
            touched.sort_unstable_by_key(|(address, _)| *address);
        }
        for same in touched.chunk_by(|left, right| left.0 == right.0) {
            let received = same.iter().fold(0_u64, |sum, (_, units)| sum.saturating_add(*units));
            push(&same[0].0, index, received, offset);
        }
    }
    if let Some(winner) = block.winner() {
        push(&winner.miner.address, REWARD_INDEX, block.income().units(), 0);
    }
    records
}

pub(super) fn history_key(address: &Address, place: Place) -> [u8; 44] {
    let mut key = [0; 44];
    key[..32].copy_from_slice(&address.0);
    key[32..40].copy_from_slice(&place.height.0.to_be_bytes());
    key[40..].copy_from_slice(&place.index.to_be_bytes());
    key
}

pub(super) fn read_touch(record: &[u8]) -> Touch {
    let place = Place { height: Height(u64_at(record, 32)), index: u32_at(record, 40) };
    let at = Pointer { place, offset: u32_at(record, 52) };
    Touch { at, received: Amount::from_units(u64_at(record, 44)) }
}

fn accounts(block: &CheckedBlock) -> Vec<u8> {
    let mut records = Vec::with_capacity(block.changes().len() * Kind::Accounts.record_len());
    for change in block.changes() {
        push_account(&mut records, &change.address, change.new);
    }
    records
}

fn push_account(records: &mut Vec<u8>, address: &Address, account: Account) {
    records.extend_from_slice(&address.0);
    records.extend_from_slice(&account.balance.units().to_be_bytes());
    records.extend_from_slice(&account.sequence.to_be_bytes());
}

pub(super) fn read_account(record: &[u8]) -> (Address, Account) {
    let mut address = [0; 32];
    address.copy_from_slice(&record[..32]);
    let balance = Amount::from_units(u64_at(record, 32));
    (Address(address), Account { balance, sequence: u64_at(record, 40) })
}

const NO_WINNER: u8 = u8::MAX;

fn win_key(winner: Option<&ProofEntry>) -> Vec<u8> {
    let Some(entry) = winner else { return vec![NO_WINNER; Kind::Wins.key_len()] };
    let Miner { address, fingerprint } = &entry.miner;
    [&[entry.proof.kind.index()][..], &address.0, &fingerprint.0].concat()
}

/// The winner, and how many blocks; `None` for the winner if nobody won.
pub(super) fn read_win(record: &[u8]) -> (Option<(ProofKind, Miner)>, u64) {
    let (mut address, mut fingerprint) = ([0; 32], [0; 16]);
    address.copy_from_slice(&record[1..33]);
    fingerprint.copy_from_slice(&record[33..49]);
    let (address, fingerprint) = (Address(address), Fingerprint(fingerprint));
    let miner = Miner { address, fingerprint };
    let winner = (record[0] != NO_WINNER).then_some((ProofKind::new(record[0]), miner));
    (winner, u64_at(record, 49))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    prefix(&record[at..])
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    record[at..].first_chunk().copied().map_or(0, u32::from_be_bytes)
}
