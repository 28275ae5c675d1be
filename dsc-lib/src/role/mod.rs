//! The six roles as state machines: request in, reply out.
//!
//! A role has two sides. Served roles answer requests through plain methods. Active roles make
//! calls of their own: [`Active::next`] says what to do now, the caller carries the [`Call`] over
//! whatever transport it has and hands the [`Answer`] back, or says that it was [`Lost`]. What takes
//! long to compute, a role hands out as [`Work`], and answers requests until it is [`Finished`].
//!
//! # Invariants
//!
//! 1. No role reads a clock, draws entropy, opens a socket or waits: all are arguments or answers.
//! 2. A role has at most one call or piece of work under way, so answers need no names.
//! 3. Every call may be repeated: what was done once is not done again.
//! 4. No role trusts another: what comes in an answer is checked before it is used.
//!
//! `tests/simulation.rs` runs all six over a transport that loses, delays, doubles and reorders.

pub mod blockchain;
pub mod metronome;
pub mod monitor;
pub mod pool;
mod replica;
pub mod validator;
pub mod wallet;
mod work;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    replica::{Replica, ReplicaError},
    work::{Finished, Work},
};
use crate::{
    address::Address,
    hash::Digest,
    mempool,
    proof::{Footprint, Miner, Proof, ProofKind},
    transaction::{Encoded, TransactionId},
    units::{Height, Millis},
};

/// What an active role does next.
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// Make this call and hand the answer back.
    Call(Call),
    /// Do this, without the role, and hand back what came of it.
    Work(Work),
    /// Nothing before this time, unless a request comes in.
    Wait(Millis),
    /// Nothing any more.
    Done,
}

/// Two pieces of work are never the same.
impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Call(left), Self::Call(right)) => left == right,
            (Self::Wait(left), Self::Wait(right)) => left == right,
            (Self::Done, Self::Done) => true,
            _ => false,
        }
    }
}

/// A role that makes calls.
pub trait Active {
    /// What to do at time `now`; asked again after every answer, every piece of work and every
    /// wait.
    fn next(&mut self, now: Millis) -> Next;

    /// Takes the answer to the call that [`Active::next`] asked for last.
    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>);

    /// Takes what came of the work that [`Active::next`] asked for last. Roles that hand none out
    /// are given none.
    fn finish(&mut self, _now: Millis, _done: Finished) {}
}

/// A call of one role to another.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Call {
    /// To the blockchain server: all balances and the tip they belong to.
    Snapshot,
    /// To the blockchain server: blocks from a height on; it may wait until there is one.
    Blocks {
        /// The first height wanted.
        from: Height,
        /// How long it may wait for it.
        wait: Millis,
    },
    /// To the blockchain server: the next block, encoded.
    SubmitBlock(Arc<Vec<u8>>),
    /// To the blockchain server: where it stands.
    ChainInfo,
    /// To the blockchain server: the newest blocks below a height at a glance.
    Summaries {
        /// The height.
        before: Height,
        /// Most blocks wanted.
        max: usize,
    },
    /// To the blockchain server: whether the balances add up.
    Audit,
    /// To the blockchain server: a transaction's place and the proof of it.
    Inclusion(Sought),
    /// To the blockchain server: which sequence an address uses next, by the ledger alone.
    Account(Address),
    /// To the pool: transactions to hold until they are in a block.
    SubmitTransactions(Arc<Vec<Encoded>>),
    /// To the pool: transactions for the block at this height.
    Take(Height),
    /// To the pool: how a transaction stands.
    PoolStatus(TransactionId),
    /// To the pool: the sequence an address should use next.
    NextSequence(Address),
    /// To the pool: how much it holds.
    PoolCounts,
    /// To the pool: what there is to see.
    PoolActivity,
    /// To the metronome: another round than this; it may wait until one opens.
    Round {
        /// The height of the round known already.
        after: Option<Height>,
        /// What that round asked.
        challenge: Option<Digest>,
        /// How long it may wait for the next.
        wait: Millis,
    },
    /// To the metronome: what a validator did in a round.
    HandIn(HandIn),
    /// To the metronome: whether it runs, and which validators it hears from.
    MetronomeStatus,
}

/// The reply to a [`Call`] of the same name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// A canonical [`crate::ledger::Snapshot`].
    Snapshot(Vec<u8>),
    /// Encoded blocks in order of height; none if there is none yet.
    Blocks(Vec<Vec<u8>>),
    /// The block is on the ledger, durably.
    BlockAccepted(blockchain::Accepted),
    /// Where the blockchain server stands.
    ChainInfo(Box<blockchain::Info>),
    /// Blocks at a glance, newest first.
    Summaries(Vec<blockchain::Summary>),
    /// What the last audit found; nothing if none has ended yet.
    Audit(Option<blockchain::Audit>),
    /// A transaction's place and the proof of it, if it is on the ledger.
    Inclusion(Option<Box<blockchain::Inclusion>>),
    /// Which sequence an address uses next, and as of when.
    Account(blockchain::AccountAt),
    /// One outcome per transaction.
    TransactionsSubmitted(Vec<pool::Outcome>),
    /// Transactions for a block.
    Transactions(Vec<Encoded>),
    /// How a transaction stands, if the pool knows it.
    PoolStatus(Option<mempool::Status>),
    /// The sequence to use next.
    NextSequence(pool::NextSequence),
    /// How much the pool holds.
    PoolCounts(mempool::Counts),
    /// What there is to see of the pool.
    PoolActivity(Box<pool::Activity>),
    /// The open round, if it is a newer one than was known.
    Round(Option<metronome::OpenRound>),
    /// What became of the proof that was handed in.
    HandedIn(metronome::Receipt),
    /// Whether the metronome runs, and which validators it hears from.
    MetronomeStatus(Box<metronome::Status>),
    /// The other role refused; asking again will not help.
    Refused(Refusal),
}

/// A transaction that is looked for on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sought {
    /// Its id.
    pub id: TransactionId,
    /// It is in no block below this height.
    pub since: Height,
    /// The answer is to be as of this height at least: of several servers some are behind, and what
    /// they do not have may be on the ledger all the same.
    pub as_of: Option<Height>,
}

impl Sought {
    /// Any transaction, as of now.
    pub const fn of(id: TransactionId) -> Self {
        Self { id, since: Height(0), as_of: None }
    }
}

/// The code of the [`Refusal`] of a server that began at a snapshot, and never had what it is asked
/// for.
pub const NOT_HERE: &str = "not-here";

/// Why a role refused a call.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct Refusal {
    /// A name for programs, stable across versions.
    pub code: String,
    /// A sentence for people.
    pub reason: String,
}

impl Refusal {
    /// A refusal for this reason.
    #[allow(clippy::needless_pass_by_value, reason = "callers have a value to give away")]
    pub fn new(code: impl Into<String>, reason: impl ToString) -> Self {
        Self { code: code.into(), reason: reason.to_string() }
    }
}

/// A call without an answer: it may or may not have been carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no answer: {reason}")]
#[non_exhaustive]
pub struct Lost {
    /// What the transport knows of it.
    pub reason: String,
}

impl Lost {
    /// A call lost for this reason.
    #[allow(clippy::needless_pass_by_value, reason = "callers have a value to give away")]
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// What a validator hands in: how it did in a round, and its proof if it found one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandIn {
    /// The round.
    pub height: Height,
    /// Who.
    pub miner: Miner,
    /// With which engine.
    pub kind: ProofKind,
    /// Tries made in this round.
    pub attempts: u64,
    /// Time spent on them.
    pub spent: Millis,
    /// What the prover holds.
    pub footprint: Footprint,
    /// The best proof found, if one met the target.
    #[serde(skip)]
    pub proof: Option<Proof>,
}
