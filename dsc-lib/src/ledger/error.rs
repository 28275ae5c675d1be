//! What is wrong with a block, a snapshot or a store: one variant per rule.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::export::Record;
use crate::{
    address::Address,
    block::{self, BlockHash},
    codec::DecodeError,
    commitment::Account,
    genesis::GenesisError,
    hash::Digest,
    keys::SignatureError,
    proof::{ENGINE_COUNT, ProofKind, VerifyError},
    transaction::{TransactionError, TransactionId},
    units::{Amount, Height, Millis, Quality, Target},
};

/// A block that breaks a rule: the fault of its metronome.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "got and expected say what each message says")]
pub enum BlockError {
    /// A version this program does not know.
    #[error("block version is {got}, expected {}", block::VERSION)]
    Version { got: u16 },
    /// A block of another network.
    #[error("the block is of chain {got}, this is chain {expected}")]
    Chain { got: Digest, expected: Digest },
    /// It does not come next.
    #[error("the block has height {got}, the next is {expected}")]
    Height { got: Height, expected: Height },
    /// It extends another block than the tip.
    #[error("the block extends {got}, the tip is {expected}")]
    Parent { got: BlockHash, expected: BlockHash },
    /// Genesis does not authorise the key.
    #[error("genesis authorises no metronome key {got}")]
    UnknownMetronome { got: Address },
    /// The signature is not the metronome's.
    #[error("the metronome's signature: {0}")]
    Signature(#[from] SignatureError),
    /// Not after its parent.
    #[error("the block's time is {got} ms, its parent's is {parent} ms")]
    Time { got: Millis, parent: Millis },
    /// A lease older than its parent's.
    #[error("the block's epoch is {got}, its parent's is {parent}")]
    Epoch { got: u64, parent: u64 },
    /// A lease that is further above its parent's than any can be.
    #[error("the block's epoch is {got}, after its parent's at most {max} is allowed")]
    EpochAhead { got: u64, max: u64 },
    /// Another challenge than the rules give.
    #[error("the block's challenge is {got}, expected {expected}")]
    Challenge { got: Digest, expected: Digest },
    /// Other targets than the rules give.
    #[error("the block's targets are {got:?}, expected {expected:?}")]
    Targets { got: [Target; ENGINE_COUNT], expected: [Target; ENGINE_COUNT] },
    /// Two proofs of one engine, or engines out of order.
    #[error("proof {index} is out of the order of engines")]
    ProofOrder { index: usize },
    /// A proof of an engine this chain does not have.
    #[error("proof {index} is of kind {kind}, which this chain does not have")]
    ProofKind { index: usize, kind: ProofKind },
    /// A proof that does not verify.
    #[error("the proof of {kind}: {error}")]
    Proof { kind: ProofKind, error: VerifyError },
    /// A proof that misses its target.
    #[error("the proof of {kind} has quality {quality}, the target is {target}")]
    TargetMissed { kind: ProofKind, quality: Quality, target: Target },
    /// The header names other proofs.
    #[error("the proofs have root {got}, the header says {expected}")]
    ProofsRoot { got: Digest, expected: Digest },
    /// The header counts other transactions.
    #[error("the block has {got} transactions, its header says {expected}")]
    TransactionCount { got: usize, expected: u32 },
    /// More transactions than the chain allows.
    #[error("the block has {got} transactions, at most {max} are allowed")]
    TooManyTransactions { got: usize, max: u32 },
    /// More bytes than the chain allows.
    #[error("the block has {got} bytes, at most {max} are allowed")]
    TooLarge { got: u64, max: u64 },
    /// A transaction that breaks a rule.
    #[error("transaction {index} ({id}): {error}")]
    Transaction { index: usize, id: TransactionId, error: TransactionError },
    /// The header names other transactions.
    #[error("the transactions have root {got}, the header says {expected}")]
    TransactionsRoot { got: Digest, expected: Digest },
    /// The header commits to another state.
    #[error("the state after the block is {got}, the header says {expected}")]
    State { got: Digest, expected: Digest },
}

impl BlockError {
    /// A name for programs, stable across versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "block-version",
            Self::Chain { .. } => "wrong-chain",
            Self::Height { .. } => "wrong-height",
            Self::Parent { .. } => "wrong-parent",
            Self::UnknownMetronome { .. } => "unknown-metronome",
            Self::Signature(_) => "bad-block-signature",
            Self::Time { .. } => "wrong-time",
            Self::Epoch { .. } => "old-epoch",
            Self::EpochAhead { .. } => "epoch-ahead",
            Self::Challenge { .. } => "wrong-challenge",
            Self::Targets { .. } => "wrong-targets",
            Self::ProofOrder { .. } => "proof-order",
            Self::ProofKind { .. } => "unknown-proof-kind",
            Self::Proof { .. } => "bad-proof",
            Self::TargetMissed { .. } => "target-missed",
            Self::ProofsRoot { .. } => "wrong-proofs-root",
            Self::TransactionCount { .. } => "wrong-transaction-count",
            Self::TooManyTransactions { .. } => "too-many-transactions",
            Self::TooLarge { .. } => "block-too-large",
            Self::Transaction { .. } => "bad-transaction",
            Self::TransactionsRoot { .. } => "wrong-transactions-root",
            Self::State { .. } => "wrong-state",
        }
    }
}

/// A snapshot that is not the state its tip commits to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "got and expected say what each message says")]
pub enum RestoreError {
    /// The tip itself breaks a rule that can be checked without its parent.
    #[error("the tip: {0}")]
    Tip(#[from] BlockError),
    /// The accounts are not those the tip commits to.
    #[error("the accounts have state {got}, the tip says {expected}")]
    State { got: Digest, expected: Digest },
    /// More coins than the rules can have made.
    #[error("the balances exceed the {max} coins there can be at most at this height")]
    Supply { max: Amount },
    /// Accounts of a snapshot out of order, listed twice or empty.
    #[error("account {index} is out of order, listed twice or empty")]
    Account { index: usize },
}

/// A checked block that was checked against another tip than the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the block was checked against {checked}, the tip is {tip}")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message says it")]
pub struct StaleBlock {
    pub checked: BlockHash,
    pub tip: BlockHash,
}

/// The store failed, or holds what this program never wrote.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk failed, or is full.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something is missing or is not what was written.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// Which part, and what is wrong with it.
        what: String,
    },
    /// Something of the index is missing or is not what was written: it can be made anew.
    #[error("the index is damaged: {what}")]
    Index {
        /// Which part, and what is wrong with it.
        what: String,
    },
    /// Syncing the log failed once, so nobody knows what of it is on disk.
    #[error("the log takes no block until the ledger is opened again: {after}")]
    Halted {
        /// What the system said then.
        after: String,
    },
    /// It was opened for reading.
    #[error("the ledger was opened for reading")]
    ReadOnly,
}

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn index(what: impl Into<String>) -> Self {
        Self::Index { what: what.into() }
    }

    /// Says what failed when the system fails.
    pub(super) fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// A ledger that cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the ledger is in use by another process")]
    Locked,
    /// There is no ledger, and no genesis to start one from.
    #[error("there is no ledger here, and no genesis to start one from")]
    Missing,
    /// There is a ledger, where one was to be started.
    #[error("there is a ledger here already")]
    Present,
    /// The snapshot that a ledger was to be started from is none of this chain.
    #[error("the snapshot: {0}")]
    Snapshot(#[from] RestoreError),
    /// Written by a program with another format.
    #[error("the ledger has format {got}, this program reads {expected}")]
    Format {
        /// The ledger's.
        got: u16,
        /// This program's.
        expected: u16,
    },
    /// The ledger of another chain.
    #[error("the ledger is of chain {got}, expected {expected}")]
    OtherChain {
        /// The ledger's genesis hash.
        got: Digest,
        /// The genesis hash wanted.
        expected: Digest,
    },
    /// The genesis in the ledger is none that this program accepts.
    #[error("the ledger's genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// A block of the log breaks a rule.
    #[error("block {height} of the ledger: {error}")]
    Block {
        /// Its height.
        height: Height,
        /// The rule.
        error: Box<BlockError>,
    },
    /// What an earlier version kept in one file.
    #[error("{} is a ledger of an earlier version, which this program does not read", path.display())]
    Old {
        /// The file.
        path: PathBuf,
    },
    /// It is named as if it were a file.
    #[error("{} is a file, a ledger is a folder", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A checked block that did not get onto the ledger.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It was checked against another tip.
    #[error(transparent)]
    Stale(#[from] StaleBlock),
    /// The store failed: the state is as before. After a failed sync ([`StoreError::Halted`] from
    /// then on) the block may or may not be on disk; opening the ledger again tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stored chain that does not replay to the stored state.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "got and expected say what each message says")]
pub enum ReplayError {
    /// A block breaks a rule.
    #[error("block {height}: {error}")]
    Block { height: Height, error: Box<BlockError> },
    /// An index leads elsewhere.
    #[error("the index of {index} is not that of the chain")]
    Index { index: &'static str },
    /// An index has more or fewer entries than the chain asks for.
    #[error("the index of {index} has {got} entries, expected {expected}")]
    Count { index: &'static str, got: u64, expected: u64 },
    /// The replay ends at another block than the tip on record.
    #[error("the chain ends at {got}, the tip on record is {expected}")]
    Tip { got: BlockHash, expected: BlockHash },
    /// An account is not what the replay comes to.
    #[error("account {address} is stored as {got:?}, the replay comes to {expected:?}")]
    Account { address: Address, got: Account, expected: Account },
    /// The blocks won are not those of the chain.
    #[error("the counts of blocks won are not those that the replay comes to")]
    Wins,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file that is not an exported chain.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "got and max say what each message says")]
pub enum ImportError {
    /// The file could not be read.
    #[error("reading the chain: {0}")]
    Io(#[from] io::Error),
    /// It does not start like an exported chain.
    #[error("not an exported chain: it does not start with DSCCHAIN")]
    Magic,
    /// Written in another format.
    #[error("the exported chain has format {got}, this program reads {expected}")]
    Format { got: u16, expected: u16 },
    /// A length no such record has.
    #[error("{record} is said to have {got} bytes, at most {max} are allowed")]
    TooLong { record: Record, got: u64, max: u64 },
    /// The file ends within a record.
    #[error("the file ends within {record}")]
    Truncated { record: Record },
    /// A record that does not decode.
    #[error("{record}: {error}")]
    Decode { record: Record, error: DecodeError },
}
