//! The one order of blocks: a stream from which nothing is ever removed, appended to only at the
//! place that the appender names.
//!
//! # Invariants
//!
//! 1. The position of an entry is its sequence in the stream, and the engine itself compares what
//!    the appender expects with where the stream ends: there is no message id by which it could
//!    answer of another entry instead.
//! 2. An entry too large for one message is stored in pieces before it is named in the log.
//! 3. What names pieces that no block can have, or that were given up, is an entry without bytes, to
//!    all alike: no block.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dsc_lib::{
    cluster::{AppendError, BlockLog, Entry, Position, ReadError, Unavailable},
    genesis::BLOCK_BYTES_MAX,
    hash::Digest,
};
use serde_json::json;

use super::{
    connect::{ANSWER_TIME, Failed},
    parts::{self, Lost},
    stored::{Parts, Stored, headers},
    stream::{Names, Stream, code},
};

/// Time between two changes of leader that this process asks for.
const STEP_DOWN_PAUSE: Duration = Duration::from_secs(5);
/// Most bytes of an entry: those of the largest block that a chain may have.
#[allow(clippy::cast_possible_truncation, reason = "it is far below what fits")]
const ENTRY_BYTES_MAX: usize = BLOCK_BYTES_MAX as usize;

/// The log of blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) log: Arc<Stream>,
    pub(super) chunks: Arc<Stream>,
    subject: String,
    prefix: String,
    chunk_bytes: usize,
    distrusted: Mutex<Option<Instant>>,
}

impl Blocks {
    pub(super) fn new(
        log: Arc<Stream>,
        chunks: Arc<Stream>,
        names: &Names,
        chunk_bytes: usize,
    ) -> Self {
        let (subject, prefix) = (names.subject("blocks"), names.subject("chunks"));
        Self { log, chunks, subject, prefix, chunk_bytes, distrusted: Mutex::default() }
    }

    async fn put(
        &self,
        after: Position,
        id: &Digest,
        bytes: &[u8],
    ) -> Result<Position, AppendError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLarge { got: bytes.len(), max: ENTRY_BYTES_MAX });
        }
        let (parts, payload) = if bytes.len() > self.chunk_bytes {
            let stored = parts::store(&self.chunks, &self.prefix, bytes, self.chunk_bytes).await;
            // Without a name in the log, pieces are nothing.
            let parts = stored.map_err(|failed| append_error(after, &self.not_named(&failed)))?;
            (Some(parts), Vec::new())
        } else {
            (None, bytes.to_vec())
        };
        let mut headers = headers(Some(id), parts.as_ref());
        headers.insert("Nats-Expected-Last-Sequence", after.0.to_string().as_str());
        let stored = self.log.store(&self.subject, headers, payload, ANSWER_TIME).await;
        stored.map(Position).map_err(|failed| append_error(after, &failed))
    }

    fn not_named(&self, failed: &Failed) -> Failed {
        Failed::NotSent(format!("a piece was not stored in {}: {failed}", self.chunks.name()))
    }

    async fn some(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let last = Position(self.log.state().await?.last_seq);
        if after > last {
            let reason = format!("it ends at {last}");
            return Err(ReadError::Missing { position: after, reason });
        }
        if after == last {
            return Ok(Vec::new());
        }
        let mut entries: Vec<Entry> = Vec::new();
        for stored in self.stored(after, last, bytes_max).await? {
            match self.whole(stored).await {
                Ok(entry) => entries.push(entry),
                // What was read before it is good; the next call tells.
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// What is stored after `after`, without a gap, at least the first: from any copy, or else from
    /// the leader's.
    async fn stored(
        &self,
        after: Position,
        last: Position,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, ReadError> {
        let first = after.next();
        let found = self.log.between(first.0, last.0, bytes_max).await;
        let found = found.unwrap_or_default().into_iter().zip(first.0..);
        let found = found.take_while(|(stored, sequence)| stored.sequence == *sequence);
        let found: Vec<_> = found.map(|(stored, _)| stored).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let found = self.log.of_leader(&json!({ "seq": first.0 })).await;
        let found = found.map_err(Unavailable::from)?;
        found.map(|stored| vec![stored]).ok_or_else(|| {
            let reason = format!("it ends at {last}, and the node that leads has not this one");
            ReadError::Missing { position: first, reason }
        })
    }

    /// An entry with all its bytes.
    async fn whole(&self, stored: Stored) -> Result<Entry, ReadError> {
        let position = Position(stored.sequence);
        let bytes = match &stored.parts {
            None => stored.bytes,
            Some(parts) if !parts::can_be(parts, ENTRY_BYTES_MAX) => Vec::new(),
            Some(parts) => self.assembled(parts).await.map_err(|lost| match lost {
                Lost::Damaged(reason) => ReadError::Missing { position, reason },
                Lost::Failed(failed) => ReadError::Unavailable(failed.into()),
            })?,
        };
        Ok(Entry { position, id: stored.id, bytes })
    }

    /// What was stored in pieces; nothing if it was given up.
    async fn assembled(&self, parts: &Parts) -> Result<Vec<u8>, Lost> {
        match parts::load(&self.chunks, &self.prefix, parts).await {
            Err(Lost::Damaged(reason)) => {
                let is_given_up = parts::is_given_up(&self.chunks, &self.prefix, parts).await;
                let given_up = is_given_up.map_err(Lost::Failed)?.then(Vec::new);
                given_up.ok_or(Lost::Damaged(reason))
            }
            loaded => loaded,
        }
    }

    /// Whether this process has not asked for another leader of late.
    fn may_distrust(&self) -> bool {
        let mut distrusted = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = distrusted.is_none_or(|at| at.elapsed() >= STEP_DOWN_PAUSE);
        if is_due {
            *distrusted = Some(Instant::now());
        }
        is_due
    }
}

/// What a failure says of an entry that was to be put after `after`.
pub(super) fn append_error(after: Position, failed: &Failed) -> AppendError {
    match failed {
        Failed::NotSent(reason) => Unavailable::new(reason).into(),
        Failed::Refused { code, .. } if code::LAST_SEQUENCE.contains(code) => {
            AppendError::Conflict { after }
        }
        Failed::Refused { code, .. } if code::NOT_BEGUN.contains(code) => {
            Unavailable::new(failed).into()
        }
        Failed::Unknown(_) | Failed::Refused { .. } => {
            AppendError::Unknown { reason: failed.to_string() }
        }
    }
}

impl BlockLog for Blocks {
    fn append(&self, after: Position, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        self.log.link.wait_for(self.put(after, id, bytes))
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        self.log.link.wait_for(self.some(after, bytes_max))
    }

    fn wait(&self, after: Position, time: Duration) {
        self.log.link.wait_for(self.log.wait(after.0, time));
    }

    fn distrust(&self) {
        if !self.may_distrust() {
            return;
        }
        for stream in [&self.log, &self.chunks] {
            if let Err(error) = self.log.link.wait_for(stream.step_down()) {
                let name = stream.name();
                tracing::warn!(name, %error, "no other node was made to lead");
            }
        }
    }
}
