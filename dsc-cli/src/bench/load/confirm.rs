//! Learning which transactions are on the ledger, and when.
//!
//! # Invariants
//!
//! 1. A transaction counts once the blockchain server names its block, which is durable by then.
//! 2. Its time is when the answer was read, so waiting for this program counts as well.

use std::{collections::HashMap, time::Duration};

use dsc_lib::{
    codec,
    role::blockchain::{ConfirmedList, Info},
    transaction::TransactionId,
    units::Height,
};

use super::http::{Answer, Connection};
use crate::{clock::SystemClock, http::ClientError};

/// Longest wait in one question.
const WAIT_MS: u64 = 200;

/// Where and when a transaction was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) height: Height,
    /// On the clock of the run.
    pub(super) at: Duration,
}

/// The ledger as it grows.
#[derive(Debug)]
pub(super) struct Confirmations {
    url: String,
    connection: Connection,
    next: Height,
    known: HashMap<TransactionId, usize>,
    pub(super) seen: Vec<Option<Seen>>,
    pub(super) confirmed: usize,
    /// Sightings beyond the first of a transaction: there must be none.
    pub(super) doubled: u64,
    pub(super) blocks: u64,
    /// Transactions of others.
    pub(super) foreign: u64,
}

impl Confirmations {
    /// Looks for `ids` in the blocks after the present tip.
    pub(super) async fn after_tip(
        url: &str,
        ids: impl Iterator<Item = TransactionId>,
    ) -> Result<Self, ClientError> {
        let mut connection = Connection::to(url);
        let Answer { body, .. } = connection.get("/v1/info").await?;
        let info: Info = serde_json::from_slice(&body).map_err(|e| malformed(url, &e))?;
        let next = Height(info.height.map_or(0, |height| height.0 + 1));
        let known: HashMap<_, _> = ids.enumerate().map(|(index, id)| (id, index)).collect();
        let seen = vec![None; known.len()];
        let url = url.to_owned();
        let (confirmed, doubled, blocks, foreign) = (0, 0, 0, 0);
        Ok(Self { url, connection, next, known, seen, confirmed, doubled, blocks, foreign })
    }

    /// Waits for new blocks, for a moment; returns whether one brought something that was awaited.
    pub(super) async fn look(&mut self, clock: &SystemClock) -> Result<bool, ClientError> {
        let path = format!("/v1/confirmed?from={}&wait={WAIT_MS}", self.next);
        let Answer { body, .. } = self.connection.get(&path).await?;
        let at = clock.elapsed();
        let before = self.confirmed;
        let blocks: ConfirmedList =
            codec::decode(&body).map_err(|error| malformed(&self.url, &error))?;
        for block in &blocks {
            self.note(block.height, at, &block.ids);
        }
        Ok(self.confirmed > before)
    }

    fn note(&mut self, height: Height, at: Duration, ids: &[TransactionId]) {
        self.next = Height(height.0 + 1);
        self.blocks += 1;
        for id in ids {
            let Some(&index) = self.known.get(id) else {
                self.foreign += 1;
                continue;
            };
            if self.seen[index].replace(Seen { height, at }).is_some() {
                self.doubled += 1;
            } else {
                self.confirmed += 1;
            }
        }
    }
}

fn malformed(url: &str, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Malformed { url: url.to_owned(), reason: error.to_string() }
}
