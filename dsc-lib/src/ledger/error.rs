//! What is wrong with a block: one variant per rule.

use thiserror::Error;

use crate::{
    address::Address,
    block::{self, BlockHash},
    hash::Digest,
    keys::SignatureError,
    proof::{ENGINE_COUNT, ProofKind, VerifyError},
    transaction::{TransactionError, TransactionId},
    units::{Height, Millis, Quality, Target},
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
    /// The balances exceed what an amount can hold.
    #[error("the balances exceed the largest amount")]
    Supply,
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
