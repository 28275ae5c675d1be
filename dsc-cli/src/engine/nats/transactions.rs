//! Transactions on their way to a block: a stream of batches in one order for all pools.
//!
//! # Invariants
//!
//! 1. A full stream refuses what is new; it never forgets what it has.
//! 2. What is removed was asked to be removed; the last batch stays until there is a later one
//!    ([`Kept`]).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dsc_lib::{
    cluster::{AppendError, Entry, Position, ReadError, TransactionLog, Unavailable},
    hash::Digest,
};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{
    blocks::append_error,
    connect::{ANSWER_TIME, Failed},
    kept::Kept,
    stored::{Stored, headers},
    stream::{Names, Stream, code},
};

/// Most removed batches between others whose places are asked for before batches are.
const REMOVED_MAX: u64 = 4096;
/// Removals on their way at once.
const WINDOW: usize = 64;
/// What a message has beside its bytes.
const HEADER_BYTES: usize = 4 << 10;

/// The log of transactions.
#[derive(Debug)]
pub(super) struct Transactions {
    pub(super) log: Arc<Stream>,
    subject: String,
    kept: Kept,
}

impl Transactions {
    pub(super) fn new(log: Arc<Stream>, names: &Names) -> Self {
        Self { log, subject: names.subject("transactions"), kept: Kept::default() }
    }

    async fn put(&self, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        let max = self.log.link.client().max_payload().saturating_sub(HEADER_BYTES);
        if bytes.len() > max {
            return Err(AppendError::TooLarge { got: bytes.len(), max });
        }
        let mut headers = headers(Some(id), None);
        headers.insert("Nats-Msg-Id", id.to_string().as_str());
        let stored = self.log.store(&self.subject, headers, bytes.to_vec(), ANSWER_TIME).await;
        stored.map(Position).map_err(|failed| match &failed {
            Failed::Refused { code: code::STORE_FAILED, description }
                if description.contains("maximum") =>
            {
                AppendError::Full
            }
            failed => append_error(Position::START, failed),
        })
    }

    /// What comes after `after` and was not removed, also where that is kept.
    async fn after(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, Unavailable> {
        let mut after = after;
        loop {
            let mut found = self.some(after, bytes_max).await?;
            let Some(last) = found.last().map(|stored| stored.sequence) else { break };
            found.retain(|stored| !self.kept.has(stored));
            if !found.is_empty() {
                return Ok(found.into_iter().map(entry).collect());
            }
            after = Position(last);
        }
        Ok(Vec::new())
    }

    async fn some(&self, after: Position, bytes_max: usize) -> Result<Vec<Stored>, Unavailable> {
        let state = self.log.state().await?;
        let first = after.next().0.max(state.first_seq);
        if first > state.last_seq {
            return Ok(Vec::new());
        }
        // A copy that is behind may still have what was removed.
        let removed = if (1..=REMOVED_MAX).contains(&state.num_deleted) {
            self.log.removed().await?
        } else {
            BTreeSet::new()
        };
        let mut found = self.log.between(first, state.last_seq, bytes_max).await?;
        let next = found.last().map_or(first, |last| last.sequence.saturating_add(1));
        found.retain(|stored| !removed.contains(&stored.sequence));
        if found.is_empty() && next <= state.last_seq {
            // It may be behind by what was put there lately, too.
            let next = json!({ "seq": next, "next_by_subj": self.subject });
            found.extend(self.log.of_leader(&next).await?);
        }
        Ok(found)
    }

    async fn forget(&self, to: Position, also: &[Position]) -> Result<(), Unavailable> {
        let last = self.log.state().await?.last_seq;
        if last == 0 {
            return Ok(());
        }
        if (to.0 >= last || also.contains(&Position(last)))
            && let Some(stored) = self.log.of_leader(&json!({ "seq": last })).await?
        {
            self.kept.add(&stored);
        }
        if to > Position::START {
            self.log.purge(&json!({ "seq": to.next().0.min(last) })).await?;
        }
        let also = also.iter().map(|at| at.0).filter(|at| *at > to.0 && *at != last);
        let also = also.chain(self.kept.take_before(last)).map(|at| self.log.remove(at));
        let mut removed = stream::iter(also).buffer_unordered(WINDOW);
        while let Some(removed) = removed.next().await {
            removed?;
        }
        Ok(())
    }
}

fn entry(stored: Stored) -> Entry {
    Entry { position: Position(stored.sequence), id: stored.id, bytes: stored.bytes }
}

impl TransactionLog for Transactions {
    fn append(&self, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        self.log.link.wait_for(self.put(id, bytes))
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        Ok(self.log.link.wait_for(self.after(after, bytes_max))?)
    }

    fn wait(&self, after: Position, time: Duration) {
        self.log.link.wait_for(self.log.wait(after.0, time));
    }

    fn remove(&self, to: Position, also: &[Position]) -> Result<(), Unavailable> {
        self.log.link.wait_for(self.forget(to, also))
    }
}
