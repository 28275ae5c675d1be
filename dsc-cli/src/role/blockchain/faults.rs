//! Why a block is not on the ledger, for whoever handed it in and for the log.

use std::time::Duration;

use dsc_lib::{
    address::Address,
    cluster::{AppendError, Position, ReadError, Unavailable},
    role::blockchain::{FollowFault, SubmitError},
    units::Height,
};
use thiserror::Error;

use super::{note::ReplicaNote, submit::submit_problem};
use crate::http::Problem;

/// When to hand the same block in again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A block that did not get onto the ledger, or an entry of the log that could not be followed.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// The block, or this server's store.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Another metronome leads.
    #[error("the metronome {got} does not lead, {leader} does")]
    NotLeader {
        /// Who signed the block.
        got: Address,
        /// Who leads.
        leader: Address,
    },
    /// The block is of a lease that nobody was given.
    #[error("the block has epoch {got}, the last lease is {granted}")]
    NotGranted {
        /// Its epoch.
        got: u64,
        /// The epoch of the last lease.
        granted: u64,
    },
    /// The block comes after others that are not in the log.
    #[error("the block has height {got}, the next of the shared log is {next}")]
    Behind {
        /// Its height.
        got: Height,
        /// What this server waits for.
        next: Height,
    },
    /// The log ends before what another server has read of it.
    #[error(
        "the log ends at {position}, the server at {} has read it up to {}",
        other.url,
        other.position
    )]
    CutOff {
        /// Where it ends.
        position: Position,
        /// What the other one says.
        other: Box<ReplicaNote>,
    },
    /// The log cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowFault),
    /// The log did not take the block, or not certainly.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The board cannot be asked.
    #[error(transparent)]
    Board(#[from] Unavailable),
    /// No other server has what the log has lost.
    #[error(
        "the log has lost position {position}, and no other server has it: {reason}; `dsc engine \
         give-up --position {position}` lets all go on if nobody can ever have it"
    )]
    Lost {
        /// Where.
        position: Position,
        /// What they said.
        reason: String,
    },
}

impl Fault {
    /// Whether the engine, not the block, is in the way: then it is looked at again before anything
    /// is appended.
    pub(super) const fn is_of_the_engine(&self) -> bool {
        !matches!(
            self,
            Self::Submit(_)
                | Self::NotLeader { .. }
                | Self::NotGranted { .. }
                | Self::Behind { .. }
        )
    }

    /// Whether the node of the engine that answers shows another log than was read.
    pub(super) const fn is_of_the_node(&self) -> bool {
        match self {
            Self::Follow(FollowFault::Read(ReadError::Unavailable(_))) => false,
            Self::Follow(_) | Self::CutOff { .. } => true,
            _ => false,
        }
    }

    /// What whoever handed the block in is told.
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::Submit(error) => submit_problem(error),
            Self::NotLeader { .. } | Self::NotGranted { .. } => {
                Problem::rejected("not-leader", self)
                    .with_hint("the metronome stands by until the lease is its own")
            }
            Self::Append(AppendError::TooLarge { .. }) => {
                Problem::rejected("block-too-large", self)
            }
            Self::Behind { .. } => later("behind", self),
            Self::Append(AppendError::Unknown { .. }) => later("unsettled", self)
                .with_hint("hand the same block in again: it cannot get onto the ledger twice"),
            Self::Append(AppendError::Unavailable(_) | AppendError::Full)
            | Self::Follow(FollowFault::Read(ReadError::Unavailable(_)))
            | Self::Board(_) => later("engine-unavailable", self),
            _ => later("log-damaged", self)
                .with_hint("the log of the server says more; other servers may take the block"),
        }
    }
}

fn later(code: &'static str, fault: &Fault) -> Problem {
    Problem::unavailable(code, fault).with_retry_after(RETRY_AFTER)
}
