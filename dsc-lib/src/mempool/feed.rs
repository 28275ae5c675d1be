//! Batches of transactions in a log that several pools apply in one order.
//!
//! A batch is, little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 2 | version, 1 |
//! | 16 | tag, which no other batch has |
//! | 8 | position up to which its writer had applied the log |
//! | 8 | count of transactions, at least 1 |
//! | | the transactions in the canonical encoding |
//!
//! # Invariants
//!
//! 1. Bytes that are no batch are so for every pool, and hold nothing up.
//! 2. A batch is removed only when the ledger has ended each transaction in it: its sequence is used,
//!    or it has expired. Of a log that is crowded with what nobody holds any more, those that were
//!    replaced or had to make room count as ended too.
//! 3. What one look for ended or sparse batches costs is bounded; each has its turn.
//! 4. What is held is in the log: a batch with little of it is removed only after that was put there
//!    again.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::{
    address::Address,
    cluster::Position,
    codec::{self, DecodeError, List},
    hash::Digest,
    transaction::{CheckedTransaction, Encoded},
    units::Height,
};

/// Most bytes of a batch.
pub const BATCH_BYTES_MAX: usize = 256 << 10;
/// More transactions than fit into a batch, as each has more bytes than this divides by.
const COUNT_MAX: usize = BATCH_BYTES_MAX / 512;
const VERSION: u16 = 1;
const TAG_AT: usize = 2;
const TAG_BYTES: usize = 16;
/// Bytes before the transactions.
const HEAD_BYTES: usize = TAG_AT + TAG_BYTES + 8 + 8;
/// Batches that one search for those that have ended looks at.
const LOOKS_MAX: usize = 4096;
/// Batches amid others that are removed at once.
const ALSO_MAX: usize = 256;
/// Batches that one search for sparse ones looks at, transaction by transaction.
const SPARSE_LOOKS_MAX: usize = 256;
/// Most transactions that are put into the log again at once.
const MOVED_MAX: usize = 4096;
/// A batch is sparse of which no more than one in so many is held, if this process wrote it; and if
/// another did, which may put the same into the log again at the same time.
const SPARSE_OWN: usize = 2;
const SPARSE_OTHER: usize = 16;
/// What a log may have beside what is held before it is crowded, and beside a quarter of that.
const CROWD_BYTES: u64 = 64 << 20;

/// What tells a batch from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "it is its bytes")]
pub struct Tag(pub [u8; TAG_BYTES]);

impl Tag {
    /// The tag of the batch that `bytes` may be.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.get(TAG_AT..)?.first_chunk().map(|tag| Self(*tag))
    }
}

/// A batch as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// What it is called.
    pub tag: Tag,
    /// Up to where its writer had applied the log.
    pub seen: Position,
    /// What is in it; of each only the structure has been checked.
    pub transactions: Vec<Encoded>,
}

impl Batch {
    /// Reads a batch.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if `bytes` are no batch.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(DecodeError::TooLong { len: bytes.len(), max: BATCH_BYTES_MAX });
        }
        let ((version, tag, seen), rest) = codec::decode_first::<(u16, _, _)>(bytes)?;
        if version != VERSION {
            let reason = format!("version {version} of a batch, expected {VERSION}");
            return Err(DecodeError::Malformed { reason });
        }
        let transactions = codec::decode::<List<Encoded, 1, COUNT_MAX>>(rest)?.into_vec();
        Ok(Self { tag: Tag(tag), seen: Position(seen), transactions })
    }
}

/// The batch of these, which [`pack`] has found to fit.
pub fn encode(tag: Tag, seen: Position, transactions: &[Arc<CheckedTransaction>]) -> Vec<u8> {
    let list = codec::encode_list(transactions.iter().map(|transaction| transaction.bytes()));
    [&codec::encode(&(VERSION, tag.0, seen.0)), &list[..]].concat()
}

/// What a log calls a batch.
pub fn id_of(batch: &[u8]) -> Digest {
    Digest(*blake3::hash(batch).as_bytes())
}

/// Which of these, in order, go into one batch after the other.
pub fn pack(transactions: &[Arc<CheckedTransaction>]) -> Vec<Range<usize>> {
    let (mut packed, mut begin, mut bytes) = (Vec::new(), 0, HEAD_BYTES);
    for (index, transaction) in transactions.iter().enumerate() {
        let len = transaction.bytes().len();
        if index > begin && bytes.saturating_add(len) > BATCH_BYTES_MAX {
            packed.push(begin..index);
            (begin, bytes) = (index, HEAD_BYTES);
        }
        bytes = bytes.saturating_add(len);
    }
    if begin < transactions.len() {
        packed.push(begin..transactions.len());
    }
    packed
}

/// Where in a log a transaction stands; by default it stands in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The position of its batch.
    pub position: Position,
    /// Up to where the writer of its batch had applied the log.
    pub seen: Position,
}

impl Origin {
    /// In the batch at `position`, whose writer says that it had applied the log up to `seen`.
    pub fn new(position: Position, seen: Position) -> Self {
        // Nobody has seen what comes later.
        let before = Position(position.0.saturating_sub(1));
        Self { position, seen: seen.min(before) }
    }

    /// Whether the writer of this one had applied the other one before: if that one had its place
    /// still, this one outbids it.
    pub(super) fn has_seen(self, other: Self) -> bool {
        other.position > Position::START && other.position <= self.seen
    }
}

/// What a transaction waits for, as far as the ledger can end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "three fields of a transaction")]
pub struct Claim {
    /// Whose sequence it uses.
    pub sender: Address,
    /// Which sequence.
    pub sequence: u64,
    /// The last height at which it may be included.
    pub expires: Height,
    /// The first bytes of its id: enough to tell it from another in its place.
    pub mark: u64,
}

impl Claim {
    /// What `transaction` waits for.
    pub fn of(transaction: &CheckedTransaction) -> Self {
        let (sender, sequence) = (transaction.sender(), transaction.sequence());
        let mark = transaction.id().first64();
        Self { sender, sequence, expires: transaction.expires(), mark }
    }
}

/// A batch that was applied and is in the log still.
#[derive(Debug)]
struct Live {
    tag: Option<Tag>,
    /// Of those that have not ended, and of some that have.
    claims: Vec<Claim>,
    /// How many transactions it has.
    count: usize,
    bytes: u64,
}

impl Live {
    fn has_ended(&mut self, has_ended: &impl Fn(&Claim) -> bool) -> bool {
        while self.claims.pop_if(|claim| has_ended(claim)).is_some() {}
        self.claims.is_empty()
    }
}

/// What may be removed from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// Everything up to here.
    pub to: Position,
    /// These besides.
    pub also: Vec<Position>,
}

/// Batches of which little is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sparse {
    /// Where they are.
    pub positions: Vec<Position>,
    /// What is held of them.
    pub claims: Vec<Claim>,
}

/// What the first entry of a log tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "it was applied, or not, and then it should have been or not"
)]
pub enum First {
    /// It was applied.
    Applied,
    /// It is to be applied: all before it is gone.
    Later,
    /// What was applied had something else there, or was removed: another log has begun.
    Foreign,
}

/// How far a pool has applied the log, and what it knows to be in it.
#[derive(Debug, Default)]
pub struct Feed {
    position: Position,
    skipped: u64,
    live: BTreeMap<Position, Live>,
    /// Where the next search begins.
    cursor: Position,
    /// Where the next search for sparse ones begins.
    sparse_cursor: Position,
    /// Bytes of all that are in the log still.
    bytes: u64,
}

impl Feed {
    /// The last batch that was applied.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How many entries of the log were no batches.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Notes that the batch at `position`, of so many bytes, was applied, with what in it the ledger
    /// has to end.
    pub fn apply(&mut self, position: Position, tag: Tag, bytes: u64, claims: Vec<Claim>) {
        self.note(position, Live { tag: Some(tag), count: claims.len(), claims, bytes });
    }

    /// Notes that what is at `position` is no batch.
    pub fn skip(&mut self, position: Position, bytes: &[u8]) {
        self.skipped = self.skipped.saturating_add(1);
        let (tag, bytes) = (Tag::of(bytes), bytes.len() as u64);
        self.note(position, Live { tag, claims: Vec::new(), count: 0, bytes });
    }

    fn note(&mut self, position: Position, live: Live) {
        self.position = self.position.max(position);
        self.bytes = self.bytes.saturating_add(live.bytes);
        let before = self.live.insert(position, live);
        self.forget(before);
    }

    fn forget(&mut self, gone: impl IntoIterator<Item = Live>) {
        for live in gone {
            self.bytes = self.bytes.saturating_sub(live.bytes);
        }
    }

    /// Whether the log has much more in it than `held` bytes of transactions.
    pub fn is_crowded(&self, held: u64) -> bool {
        self.bytes > held.saturating_add(held / 4).saturating_add(CROWD_BYTES)
    }

    /// Compares what a log has at `position`, its first entry, with what was applied.
    pub fn compare(&self, position: Position, bytes: &[u8]) -> First {
        let known = self.live.get(&position).filter(|live| live.tag == Tag::of(bytes));
        match known {
            Some(_) => First::Applied,
            None if position > self.position => First::Later,
            None => First::Foreign,
        }
    }

    /// Forgets the log: another one has begun in its place.
    pub fn restart(&mut self) {
        *self = Self { skipped: self.skipped, ..Self::default() };
    }

    /// Batches that the ledger has ended, if there are any: `next` is the height of the next block,
    /// `sequence_of` the next sequence of an account. They are named again until
    /// [`Feed::removed`] is told of them.
    pub fn ended(
        &mut self,
        next: Height,
        sequence_of: impl Fn(&Address) -> u64,
    ) -> Option<Removal> {
        self.ended_by(|claim| claim.expires < next || claim.sequence < sequence_of(&claim.sender))
    }

    /// As [`Feed::ended`], by what ends a claim.
    pub fn ended_by(&mut self, over: impl Fn(&Claim) -> bool) -> Option<Removal> {
        let mut to = Position::START;
        for (position, live) in self.live.iter_mut().take(LOOKS_MAX) {
            if !live.has_ended(&over) {
                break;
            }
            to = *position;
        }
        let also = self.ended_after(to.max(self.cursor), &over);
        (to > Position::START || !also.is_empty()).then_some(Removal { to, also })
    }

    /// Some of those after `after` that have ended; the next call looks on from there.
    fn ended_after(&mut self, after: Position, over: &impl Fn(&Claim) -> bool) -> Vec<Position> {
        let (mut also, mut looks) = (Vec::new(), 0..LOOKS_MAX);
        self.cursor = Position::START;
        for (position, live) in self.live.range_mut(after.next()..) {
            if also.len() >= ALSO_MAX || looks.next().is_none() {
                return also;
            }
            if live.has_ended(over) {
                also.push(*position);
            }
            self.cursor = *position;
        }
        self.cursor = Position::START;
        also
    }

    /// Notes that these are removed.
    pub fn removed(&mut self, removal: &Removal) {
        let left = self.live.split_off(&removal.to.next());
        let gone = std::mem::replace(&mut self.live, left);
        self.forget(gone.into_values());
        for position in &removal.also {
            let gone = self.live.remove(position);
            self.forget(gone);
        }
    }

    /// Some batches of which little is held, and what that is; the next call looks on. `is_own` tells
    /// those that this process wrote.
    pub fn sparse(
        &mut self,
        is_own: impl Fn(Tag) -> bool,
        is_held: impl Fn(&Claim) -> bool,
    ) -> Sparse {
        let mut sparse = Sparse::default();
        let from = std::mem::take(&mut self.sparse_cursor);
        for (position, live) in self.live.range(from.next()..).take(SPARSE_LOOKS_MAX) {
            self.sparse_cursor = *position;
            let held: Vec<_> = live.claims.iter().filter(|claim| is_held(claim)).copied().collect();
            let parts = if live.tag.is_some_and(&is_own) { SPARSE_OWN } else { SPARSE_OTHER };
            if !held.is_empty() && held.len().saturating_mul(parts) <= live.count {
                sparse.claims.extend(held);
                sparse.positions.push(*position);
            }
            if sparse.claims.len() >= MOVED_MAX {
                return sparse;
            }
        }
        if self.live.range(self.sparse_cursor.next()..).next().is_none() {
            self.sparse_cursor = Position::START;
        }
        sparse
    }

    /// Notes that what is held of these is in the log elsewhere too.
    pub fn moved(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(live) = self.live.get_mut(position) {
                live.claims.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests;
