//! What several servers of one chain share when one machine is outgrown: a log of blocks, a log of
//! transactions, a board of short notes and a store of blobs.
//!
//! The roles stay what they are alone. A replicated engine behind these four traits carries bytes
//! from one to the other, and promises an order; it is believed in nothing else, for every role
//! checks what it reads. [`Embedded`] keeps them in one process, on any [`Disk`](crate::disk::Disk);
//! `dsc-cli` has the one on NATS `JetStream`; a further one is one more
//! implementation, held to the same by the same suite.
//!
//! # Invariants
//!
//! 1. What an engine acknowledged stays: every later read shows it, at the same position.
//! 2. The block log takes an entry only after the position that the appender names, so that of two
//!    appenders one is told [`AppendError::Conflict`]. The appender names what it has applied, never
//!    a position that it asked for.
//! 3. A write without an acknowledgement is [`AppendError::Unknown`]: it may have happened, and is
//!    settled by reading; [`settle`] has the rule.
//! 4. A gap is an error ([`ReadError::Missing`]), never an empty answer.
//!
//! Calls block the thread; none may be made where a future is polled.

mod embedded;
mod error;
mod key;
pub mod lease;
pub mod settle;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{
    embedded::{Bounds, Embedded},
    error::{AppendError, BlobError, PutError, ReadError, Unavailable},
    key::{KeyError, check_key, check_note},
};
use crate::hash::Digest;

/// Most bytes of a key of the [`Board`] or of a name of the [`Blobs`].
pub const KEY_BYTES_MAX: usize = 128;
/// Most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 64 << 10;
/// Most notes on [`Shelf::Proofs`]: one more, and the oldest one is gone. A time would do as well, but a
/// shelf that empties itself is none that every engine finds again after a power cut.
pub const PROOFS_MAX: usize = 4096;

/// A place in a log: how many entries there are up to it. The first entry is at position 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first entry.
    pub const START: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// What its writer called it: a block hash, or the hash of a batch. Nobody has checked it.
    pub id: Digest,
    /// Its content, as it was appended.
    pub bytes: Vec<u8>,
}

/// The one order of blocks. Entries are never removed.
pub trait BlockLog: fmt::Debug + Send + Sync {
    /// Puts an entry after the one at position `after`, durably, and returns its position.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; after [`AppendError::Unknown`] the entry may be there.
    fn append(&self, after: Position, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError>;

    /// The entries after `after`, without a gap and as many as have `bytes_max` bytes together, at
    /// least one if there is one; none if `after` is the last position.
    ///
    /// What it says of the last position is as of now, not of a while ago: an entry that was
    /// acknowledged before the call is seen.
    ///
    /// # Errors
    ///
    /// [`ReadError::Missing`] if an entry that was acknowledged is not there, or if the log ends
    /// before `after`.
    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError>;

    /// Waits until there may be an entry after `after`, at most for `time`: a hint.
    fn wait(&self, after: Position, time: Duration);

    /// Asks another node to answer from now on, where there are several: what is missing or damaged
    /// at one may be whole at the next. Does nothing otherwise.
    fn distrust(&self) {}
}

/// Transactions on their way to a block, in batches, in one order for all pools.
pub trait TransactionLog: fmt::Debug + Send + Sync {
    /// Puts a batch at the end, durably, and returns its position. The same `id` again within two
    /// minutes may give the position of the first one.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`] if the log has no room; [`AppendError::Unknown`] if it may be there.
    fn append(&self, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError>;

    /// The batches after `after` that were not removed, in order, as many as have `bytes_max` bytes
    /// together, at least one if there is one.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unavailable`]; batches that are gone were removed.
    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError>;

    /// Waits until there may be a batch after `after`, at most for `time`: a hint.
    fn wait(&self, after: Position, time: Duration);

    /// Removes everything up to `to`, that included, and what is at `also`. What is gone already is
    /// no error.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]; then it may be removed or not.
    fn remove(&self, to: Position, also: &[Position]) -> Result<(), Unavailable>;
}

/// Which notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Shelf {
    /// Who leads, and who has what; kept for good.
    Control,
    /// Proofs that were handed in: the latest [`PROOFS_MAX`], or a few less.
    Proofs,
}

impl Shelf {
    /// Every shelf.
    pub const ALL: [Self; 2] = [Self::Control, Self::Proofs];
}

/// How many changes a shelf had when a note was put there: larger is later. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first change; of a note: there is none.
    pub const NONE: Self = Self(0);
}

/// A note on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its name, at most [`KEY_BYTES_MAX`]; see [`check_key`].
    pub key: String,
    /// When it was put there.
    pub revision: Revision,
    /// What it says, at most [`NOTE_BYTES_MAX`].
    pub value: Vec<u8>,
}

/// Short notes that everybody sees, each replaced as a whole.
pub trait Board: fmt::Debug + Send + Sync {
    /// The note with this key, as of now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn get(&self, on: Shelf, key: &str) -> Result<Option<Note>, Unavailable>;

    /// Puts a note, durably. With `expected` only if its revision is that one
    /// ([`Revision::NONE`]: only if there is none).
    ///
    /// # Errors
    ///
    /// [`PutError`]; after [`PutError::Unknown`] it may be there.
    fn put(
        &self,
        on: Shelf,
        key: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision, PutError>;

    /// The notes whose key begins with `prefix`, in order of key. What was put lately may be missing.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn list(&self, on: Shelf, prefix: &str) -> Result<Vec<Note>, Unavailable>;

    /// Waits until a note of the shelf may have changed since `after`, at most for `time`, and
    /// returns a revision to wait from next: a hint.
    fn wait(&self, on: Shelf, after: Revision, time: Duration) -> Revision;
}

/// Large things under names, such as snapshots of the state. Nobody has to trust them.
pub trait Blobs: fmt::Debug + Send + Sync {
    /// Keeps `bytes` under `name`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BlobError>;

    /// What is kept under `name`, if it has at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BlobError>;

    /// All names, in order.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    fn list(&self) -> Result<Vec<String>, BlobError>;

    /// Forgets what is kept under `name`; nothing there is no error.
    ///
    /// # Errors
    ///
    /// [`BlobError`].
    fn remove(&self, name: &str) -> Result<(), BlobError>;
}

/// All that the servers of one chain share.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The order of blocks.
    pub blocks: Arc<dyn BlockLog>,
    /// The order of transactions that wait.
    pub transactions: Arc<dyn TransactionLog>,
    /// Who leads, who has what, and proofs.
    pub board: Arc<dyn Board>,
    /// Snapshots.
    pub blobs: Arc<dyn Blobs>,
}
