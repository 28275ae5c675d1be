//! Large things in pieces: each is stored under the hash of the whole, their count and its number,
//! before anything names the whole.
//!
//! # Invariants
//!
//! 1. Pieces are acknowledged before their whole is named, so that a name without its pieces means
//!    that a node has lost them.
//! 2. What is put together has the hash that was named.
//! 3. What is in place of the first piece of a whole that was given up says so, and nothing else
//!    does: see `give_up.rs`.
//! 4. A whole and a count have one way to be split, so that a piece is the same whoever stores it:
//!    servers whose pieces differ in size take nothing away from one another.

use std::time::Duration;

use async_nats::HeaderMap;
use dsc_lib::hash::Digest;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{
    connect::Failed,
    stored::{Parts, Stored},
    stream::Stream,
};

/// Pieces on their way at once.
const WINDOW: usize = 8;
/// A node with a slow disk takes this long for a window of pieces.
const PART_TIME: Duration = Duration::from_secs(10);
/// The same piece again changes nothing.
const TRIES: usize = 3;
/// Most bytes of a whole.
pub(super) const WHOLE_BYTES_MAX: usize = 1 << 30;
/// Most pieces of a whole, so that a name that is wrong cannot ask for all there are: as many as the
/// largest whole has of the smallest pieces that may be set.
const COUNT_MAX: usize = WHOLE_BYTES_MAX >> 16;

/// What is stored in place of the first piece of a whole that nobody can ever have.
const GIVEN_UP: &[u8] = b"dsc: given up";

/// Why a whole cannot be put together.
#[derive(Debug)]
pub(super) enum Lost {
    /// A piece is not there, or is not what it was.
    Damaged(String),
    Failed(Failed),
}

/// Whether there can be a whole of at most `bytes_max` bytes in these pieces.
pub(super) const fn can_be(parts: &Parts, bytes_max: usize) -> bool {
    let Parts { len, count, .. } = *parts;
    len <= bytes_max && count <= COUNT_MAX && count <= len && (count > 0 || len == 0)
}

fn subject(prefix: &str, parts: &Parts, index: usize) -> String {
    format!("{prefix}.{}.{}-{index}", parts.hash, parts.count)
}

/// How `bytes` are split into pieces of at most `chunk_bytes`.
fn split(bytes: &[u8], chunk_bytes: usize) -> std::slice::Chunks<'_, u8> {
    let count = bytes.len().div_ceil(chunk_bytes);
    bytes.chunks(bytes.len().div_ceil(count.max(1)).max(1))
}

/// Stores the pieces of `bytes` under `prefix`.
pub(super) async fn store(
    stream: &Stream,
    prefix: &str,
    bytes: &[u8],
    chunk_bytes: usize,
) -> Result<Parts, Failed> {
    let hash = Digest(*blake3::hash(bytes).as_bytes());
    let pieces = split(bytes, chunk_bytes);
    let parts = Parts { len: bytes.len(), count: pieces.len(), hash };
    let stored = pieces.enumerate();
    let stored =
        stored.map(|(index, piece)| store_one(stream, subject(prefix, &parts, index), piece));
    let mut stored = stream::iter(stored).buffer_unordered(WINDOW);
    while let Some(stored) = stored.next().await {
        stored?;
    }
    Ok(parts)
}

async fn store_one(stream: &Stream, subject: String, piece: &[u8]) -> Result<(), Failed> {
    let mut tries = 0;
    loop {
        tries += 1;
        let stored = stream.store(&subject, HeaderMap::new(), piece.to_vec(), PART_TIME).await;
        match stored {
            Err(Failed::Unknown(_)) if tries < TRIES => {}
            stored => return stored.map(drop),
        }
    }
}

/// Says for good that nobody can have a whole that was named.
pub(super) async fn give_up(stream: &Stream, prefix: &str, parts: &Parts) -> Result<(), Failed> {
    store_one(stream, subject(prefix, parts, 0), GIVEN_UP).await
}

/// Whether that was said.
pub(super) async fn is_given_up(
    stream: &Stream,
    prefix: &str,
    parts: &Parts,
) -> Result<bool, Failed> {
    let first = json!({ "last_by_subj": subject(prefix, parts, 0) });
    Ok(stream.of_leader(&first).await?.is_some_and(|stored| stored.bytes == GIVEN_UP))
}

/// Puts a whole together, from any copy or else from those of the leader.
pub(super) async fn load(stream: &Stream, prefix: &str, parts: &Parts) -> Result<Vec<u8>, Lost> {
    if !can_be(parts, WHOLE_BYTES_MAX) {
        let Parts { len, count, .. } = parts;
        return Err(Lost::Damaged(format!("{len} bytes in {count} pieces are not stored here")));
    }
    let mut lost = Lost::Damaged(String::new());
    for of_leader in [false, true] {
        match gather(stream, prefix, parts, of_leader).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => lost = error,
        }
    }
    Err(lost)
}

async fn gather(
    stream: &Stream,
    prefix: &str,
    parts: &Parts,
    of_leader: bool,
) -> Result<Vec<u8>, Lost> {
    let pieces =
        (0..parts.count).map(|index| load_one(stream, subject(prefix, parts, index), of_leader));
    let mut pieces = stream::iter(pieces).buffered(WINDOW);
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        whole.extend(piece?.bytes);
        if whole.len() > parts.len {
            return Err(Lost::Damaged(format!("more than {} bytes", parts.len)));
        }
    }
    if whole.len() == parts.len && blake3::hash(&whole).as_bytes() == parts.hash.as_bytes() {
        return Ok(whole);
    }
    Err(Lost::Damaged(format!("{} bytes of {} with another hash", whole.len(), parts.len)))
}

async fn load_one(stream: &Stream, subject: String, of_leader: bool) -> Result<Stored, Lost> {
    let found = if of_leader {
        stream.of_leader(&json!({ "last_by_subj": subject })).await
    } else {
        stream.last_of(&subject).await
    };
    let found = found.map_err(Lost::Failed)?;
    found.ok_or_else(|| Lost::Damaged(format!("the piece {subject} is not there")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(len: usize, count: usize) -> Parts {
        Parts { len, count, hash: Digest::ZERO }
    }

    #[test]
    fn only_what_can_have_been_stored_is_asked_for() {
        for (len, count) in [(0, 0), (1, 1), (9, 2), (9, 9), (WHOLE_BYTES_MAX, COUNT_MAX)] {
            assert!(can_be(&parts(len, count), WHOLE_BYTES_MAX), "{len} {count}");
        }
        let wrong =
            [(0, 1), (1, 0), (9, 10), (WHOLE_BYTES_MAX + 1, 9), (WHOLE_BYTES_MAX, COUNT_MAX + 1)];
        for (len, count) in wrong.into_iter().chain([(usize::MAX, usize::MAX)]) {
            assert!(!can_be(&parts(len, count), WHOLE_BYTES_MAX), "{len} {count}");
        }
        assert!(!can_be(&parts(9, 1), 8));
    }

    #[test]
    fn a_count_of_pieces_says_which_they_are() {
        let bytes: Vec<_> = (0..=250).collect();
        let of = |chunk_bytes| split(&bytes, chunk_bytes).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!((of(100), of(90)), (vec![84, 84, 83], vec![84, 84, 83]));
        assert_eq!((of(251), of(1000)), (vec![251], vec![251]));
        assert_eq!(split(&[], 100).len(), 0);
        for chunk_bytes in 1..=300 {
            let pieces = split(&bytes, chunk_bytes);
            assert!(pieces.len() <= bytes.len().div_ceil(chunk_bytes));
            assert!(pieces.clone().all(|piece| piece.len() <= chunk_bytes));
            assert_eq!(pieces.flatten().copied().collect::<Vec<_>>(), bytes);
        }
    }
}
