//! What can go wrong between a server and what it shares with others.

use thiserror::Error;

use super::{Position, Revision};

/// The engine cannot be asked now: nothing was done that one could tell.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the engine cannot be reached: {reason}")]
pub struct Unavailable {
    /// What is known of it.
    pub reason: String,
}

impl Unavailable {
    /// Unavailable for this reason.
    #[allow(clippy::needless_pass_by_value, reason = "callers have a value to give away")]
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// An entry that was not, or may not have been, appended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The position named is not the last one: others have appended, or the log has lost what it
    /// had. It was not appended.
    #[error("the log does not end at {after}")]
    Conflict {
        /// The position named.
        after: Position,
    },
    /// It may have been appended: read after the position named to settle it.
    #[error("no acknowledgement: {reason}")]
    Unknown {
        /// What is known of it.
        reason: String,
    },
    /// It is larger than the log takes. It was not appended.
    #[error("{got} bytes are more than the log takes: {max}")]
    TooLarge {
        /// Its bytes.
        got: usize,
        /// Most bytes.
        max: usize,
    },
    /// The log is full. It was not appended; others have to end first.
    #[error("the log is full")]
    Full,
    /// The engine cannot be asked. It was not appended.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why entries cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log should have this entry and has not: the node that answers has lost or damaged it.
    #[error("the log has lost what was at {position}: {reason}")]
    Missing {
        /// Where.
        position: Position,
        /// What is known of it.
        reason: String,
    },
    /// The engine cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A note that was not, or may not have been, put.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PutError {
    /// The note has another revision than expected. It was not put.
    #[error("the note has another revision than {expected:?}")]
    Conflict {
        /// The revision expected.
        expected: Revision,
    },
    /// The key or the value is not one that a board takes. It was not put.
    #[error("not a note: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// It may have been put: get it to settle that.
    #[error("no acknowledgement: {reason}")]
    Unknown {
        /// What is known of it.
        reason: String,
    },
    /// The engine cannot be asked. It was not put.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a blob cannot be kept or had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It has more bytes than were asked for.
    #[error("the blob has {got} bytes, {max} were allowed")]
    TooLarge {
        /// Its bytes.
        got: u64,
        /// Most bytes.
        max: u64,
    },
    /// The name is not one that the store takes.
    #[error("not a name of a blob: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// What is kept does not fit its own sum.
    #[error("the blob is damaged: {reason}")]
    Damaged {
        /// What does not fit.
        reason: String,
    },
    /// The engine cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
