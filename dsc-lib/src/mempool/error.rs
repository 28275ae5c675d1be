//! Why a transaction is not taken, and how one that was can end.

use thiserror::Error;

use super::FeeRate;
use crate::{
    transaction::TransactionId,
    units::{Amount, Height},
};

/// A transaction that the pool does not take; the pool is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PoolError {
    /// The ledger has a transaction of this sender with this sequence.
    #[error("sequence {got} has been used, the sender's next is {expected}")]
    SequenceUsed { got: u64, expected: u64 },
    /// Too many transactions are missing before it.
    #[error("sequence is {got}, at most {max} is held at present")]
    TooFarAhead { got: u64, max: u64 },
    /// Another transaction of this sender with this sequence is pending.
    #[error(
        "sequence {sequence} is taken by {by}; only one that is not in a block yet can be \
             replaced, at a fee rate at least 10 % higher"
    )]
    SequenceTaken { sequence: u64, by: TransactionId },
    /// It cannot be in the next block.
    #[error("expired at height {expires}, the next block has height {height}")]
    Expired { expires: Height, height: Height },
    /// It could stay for too long.
    #[error("expires at height {expires}, at most {max} is allowed at present")]
    ExpiresTooLate { expires: Height, max: Height },
    /// The sender cannot pay for it and for what is pending.
    #[error(
        "needs {needed} coins with the sender's other pending transactions, \
             the sender has {balance}"
    )]
    InsufficientFunds { needed: Amount, balance: Amount },
    /// The sender has as many pending as one may have.
    #[error("the sender has {count} pending transactions, no more are allowed")]
    SenderFull { count: usize },
    /// The pool is full of better ones.
    #[error("the pool is full: {}", advice(*fee_rate_min))]
    Full {
        /// The rate that it and its sender's earlier ones have to exceed; none if no rate would do: all others are in blocks to come, or this
        /// one waits for an earlier one and no other does.
        fee_rate_min: Option<FeeRate>,
    },
}

fn advice(fee_rate_min: Option<FeeRate>) -> String {
    fee_rate_min.map_or_else(
        || "try again after the next block".to_owned(),
        |rate| format!("it takes more than {rate}, for the sender's earlier ones too"),
    )
}

impl PoolError {
    /// A name for programs, stable across versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SequenceUsed { .. } => "sequence-used",
            Self::TooFarAhead { .. } => "too-far-ahead",
            Self::SequenceTaken { .. } => "sequence-taken",
            Self::Expired { .. } => "expired",
            Self::ExpiresTooLate { .. } => "expires-too-late",
            Self::InsufficientFunds { .. } => "insufficient-funds",
            Self::SenderFull { .. } => "sender-full",
            Self::Full { .. } => "pool-full",
        }
    }

    /// Whether the same transaction may be taken later, once others have ended.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::TooFarAhead { .. } | Self::SenderFull { .. } | Self::Full { .. })
    }

    /// How a transaction that was held before has ended by this; none if the ledger may yet come to
    /// allow it, which says of coins and heights what was so long ago if it was put back.
    pub(super) fn end(&self) -> Option<End> {
        match *self {
            Self::SequenceUsed { got: sequence, .. } => {
                Some(End::Rejected(Rejection::SequenceUsed { sequence }))
            }
            Self::SequenceTaken { by, .. } => Some(End::Rejected(Rejection::Replaced { by })),
            Self::Expired { expires, .. } => Some(End::Expired(expires)),
            Self::TooFarAhead { .. }
            | Self::ExpiresTooLate { .. }
            | Self::InsufficientFunds { .. }
            | Self::SenderFull { .. }
            | Self::Full { .. } => None,
        }
    }
}

/// Why a transaction that had been taken will not be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Rejection {
    #[error("made room for others: they pay a higher fee rate, or wait for no earlier one")]
    Evicted,
    #[error("replaced by {by}, which pays a higher fee rate")]
    Replaced { by: TransactionId },
    #[error("the ledger has another transaction with sequence {sequence}")]
    SequenceUsed { sequence: u64 },
    #[error("needs {needed} coins with the sender's earlier ones, the sender has {balance}")]
    InsufficientFunds { needed: Amount, balance: Amount },
}

impl Rejection {
    /// Of one whose place `by` has: it was outbid, or had made room for others before.
    pub(super) const fn of_one_replaced(is_outbid: bool, by: TransactionId) -> Self {
        if is_outbid { Self::Replaced { by } } else { Self::Evicted }
    }

    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Replaced { .. } => "replaced",
            Self::SequenceUsed { .. } => "sequence-used",
            Self::InsufficientFunds { .. } => "insufficient-funds",
        }
    }

    /// Whether the same transaction may be submitted again: nothing was wrong with it for good.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Evicted | Self::InsufficientFunds { .. })
    }
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Confirmed(Height),
    Rejected(Rejection),
    Expired(Height),
}

impl End {
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.is_passing())
    }
}
