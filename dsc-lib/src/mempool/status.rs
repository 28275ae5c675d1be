//! What becomes of transactions, as the pool tells it.

use serde::{Deserialize, Serialize};

use super::error::End;
use crate::{transaction::TransactionId, units::Height};

/// What became of a transaction that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// It is in the pool.
    Added {
        /// Those that ended to make room for it, the worst first.
        evicted: Vec<TransactionId>,
    },
    /// It was known already, and nothing has changed.
    Duplicate(Status),
}

/// Where a transaction is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// In the pool.
    Submitted,
    /// Handed out for a block that is not on the ledger yet.
    Unconfirmed {
        /// The block's height.
        height: Height,
    },
    /// On the ledger.
    Confirmed {
        /// Its block's height.
        height: Height,
    },
    /// Given up.
    Rejected {
        /// Why, for programs: `evicted`, `replaced`, `sequence-used` or `insufficient-funds`.
        code: String,
        /// Why, for people.
        reason: String,
    },
    /// Too late for any block.
    Expired {
        /// Height of the block it missed last.
        height: Height,
    },
}

impl Status {
    /// The name of the state, as JSON has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
        }
    }

    /// Height of the block it is in, was handed out for, or missed last.
    pub const fn height(&self) -> Option<Height> {
        match self {
            Self::Unconfirmed { height }
            | Self::Confirmed { height }
            | Self::Expired { height } => Some(*height),
            Self::Submitted | Self::Rejected { .. } => None,
        }
    }
}

impl From<&End> for Status {
    fn from(end: &End) -> Self {
        match end {
            End::Confirmed(height) => Self::Confirmed { height: *height },
            End::Expired(height) => Self::Expired { height: *height },
            End::Rejected(rejection) => {
                Self::Rejected { code: rejection.code().into(), reason: rejection.to_string() }
            }
        }
    }
}

/// Figures of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Transactions waiting.
    pub submitted: u64,
    /// Transactions handed out for a block that is not on the ledger yet.
    pub unconfirmed: u64,
    /// Bytes of both together.
    pub bytes: u64,
    /// Transactions confirmed since the start, also those that came to the ledger otherwise.
    pub confirmed: u64,
    /// Rejections since the start, less those that the ledger confirmed after all; of one evicted
    /// and submitted again both ends count.
    pub rejected: u64,
    /// Transactions expired since the start.
    pub expired: u64,
    /// Finished transactions remembered.
    pub finished: u64,
    /// Transactions taken in since the start, without those of a journal.
    #[serde(default)]
    pub added: u64,
}
