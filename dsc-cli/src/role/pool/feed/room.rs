//! What keeps the log of transactions small: what has ended is removed, and what is held of batches
//! that are nearly empty is put together.
//!
//! # Invariants
//!
//! 1. Nothing is removed from a log that is not the one that was applied.
//! 2. What is held here is in the log, whatever is removed.

use std::time::Duration;

use dsc_lib::{
    cluster::{Entry, Position, ReadError, Unavailable},
    mempool::feed::{self, First},
};

use super::{super::keeper::Keeper, SharedLog};
use crate::crash::{self, Point};

/// How often what has ended is removed.
const REMOVE_TIME: Duration = Duration::from_secs(1);

impl SharedLog {
    /// The engine has lost the log and begun another one: that is read from its beginning, and what
    /// is held here is put into it, in case it was acknowledged.
    pub(super) fn restart(&self) {
        let held = self.pool.lock().restart_feed();
        tracing::error!(held = held.len(), "the log of transactions was lost and has begun anew");
        for range in feed::pack(&held) {
            let batch = feed::encode(self.tag(), Position::START, &held[range]);
            if let Err(error) = self.log.append(&feed::id_of(&batch), &batch) {
                tracing::error!(%error, "what is held is not in the new log of transactions");
            }
        }
    }

    pub(super) fn remove_all(&self) {
        let mut was_foreign = false;
        while !self.over.sleep(REMOVE_TIME) {
            if !self.is_restored() {
                continue;
            }
            match self.condense().and_then(|()| self.remove()) {
                // What was removed a moment ago may be shown once more.
                Ok(First::Foreign) if was_foreign => self.restart(),
                Ok(first) => was_foreign = first == First::Foreign,
                Err(error) => {
                    tracing::warn!(%error, "what has ended is in the log of transactions still");
                }
            }
        }
    }

    /// What the first entry of the log tells.
    pub(super) fn first(&self) -> Result<First, ReadError> {
        let first = self.log.read(Position::START, 1)?.into_iter().next();
        let compare = |entry: Entry| self.pool.lock().feed().compare(entry.position, &entry.bytes);
        Ok(first.map_or(First::Later, compare))
    }

    /// Removes from the log what has ended, if it is the log that was applied.
    pub(super) fn remove(&self) -> Result<First, ReadError> {
        let first = self.first()?;
        let ended = || self.pool.lock().ended();
        if first == First::Applied
            && let Some(removal) = ended()
        {
            self.log.remove(removal.to, &removal.also)?;
            crash::point(Point::ClusterRemoved);
            self.pool.lock().removed(&removal);
        }
        Ok(first)
    }

    /// Of a crowded log puts what is held of sparse batches into it again, so that they can be removed.
    pub(super) fn condense(&self) -> Result<(), ReadError> {
        let mut pool = self.pool.lock();
        let sparse = pool.sparse(|tag| tag.0.starts_with(&self.writer));
        // All of it has its place, whatever came before this.
        let seen = pool.feed().position();
        drop(pool);
        let Some((positions, held)) = sparse else { return Ok(()) };
        if self.first()? != First::Applied {
            return Ok(());
        }
        for range in feed::pack(&held) {
            let batch = feed::encode(self.tag(), seen, &held[range]);
            self.log.append(&feed::id_of(&batch), &batch).map_err(Unavailable::new)?;
        }
        tracing::info!(batches = positions.len(), held = held.len(), "made the log smaller");
        self.pool.lock().moved(&positions);
        Ok(())
    }
}
