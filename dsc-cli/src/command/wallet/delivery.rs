//! Handing signed transactions to the pool, and waiting for their ends.
//!
//! # Invariants
//!
//! 1. What is sent was signed before; sending it again changes nothing.
//! 2. A full pool is asked again; a transaction counts as refused only if the ledger lacks it.

use std::{collections::HashMap, time::Duration};

use dsc_lib::{
    codec::{self, List},
    genesis::BLOCK_TRANSACTIONS_MAX,
    hash::Digest,
    mempool::Status,
    proof::Progress,
    role::pool::Outcome,
    transaction::Encoded,
    units::Height,
};

use crate::{
    clock::SystemClock,
    command::{
        prepared::Prepared,
        remote::{Remote, Wait, located},
        watched::Watched,
    },
    duration,
    exit::Failure,
    http::ClientError,
};

/// Bytes of transactions in one request: half of what a pool takes.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Pause before a full pool is asked again that does not say when.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Pause before the height is asked for again.
const DEPTH_PAUSE: Duration = Duration::from_millis(100);

type Body = List<Encoded, 1, BLOCK_TRANSACTIONS_MAX>;

/// Signed transactions on their way.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) prepared: &'a [Prepared],
    pub(super) watched: &'a Watched,
}

impl Delivery<'_> {
    /// Hands all to the pool, at most `batch` in one request.
    pub(super) fn send(&self, batch: usize) -> Result<Vec<Status>, Failure> {
        let total = self.prepared.len() as u64;
        let mut statuses = Vec::new();
        for part in batches(self.prepared, batch) {
            self.watched.update("submit", statuses.len() as u64, total);
            statuses.extend(self.deliver(part)?);
        }
        self.watched.update("submit", total, total);
        self.recall(&mut statuses)?;
        Ok(statuses)
    }

    /// A pool forgets what it has handed over, and then calls its sequence used: the ledger knows.
    fn recall(&self, statuses: &mut [Status]) -> Result<(), Failure> {
        for (status, prepared) in statuses.iter_mut().zip(self.prepared) {
            if is_ended(status)
                && let Some(found) = located(&self.remote.transport.blockchain, &prepared.id)?
            {
                *status = Status::Confirmed { height: found.height };
            }
        }
        Ok(())
    }

    /// Sends one batch, again and again while the pool is full.
    fn deliver(&self, part: &[Prepared]) -> Result<Vec<Status>, Failure> {
        let encoded = part.iter().map(|prepared| prepared.encoded.clone()).collect();
        let body = Body::new(encoded).map_err(|error| Failure::other("batch", error))?;
        let body = codec::encode(&body);
        loop {
            self.watched.check("submitting")?;
            let pool = &self.remote.transport.pool;
            let answered: Result<Vec<Outcome>, _> = pool.submit_bytes("/v1/transactions", &body);
            let pause = match answered {
                Ok(outcomes) if !outcomes.iter().any(is_full) => {
                    return Ok(outcomes.into_iter().map(status_of).collect());
                }
                // Those that were taken are known the next time.
                Ok(_) => FULL_PAUSE,
                Err(ClientError::Problem(problem)) if matches!(problem.status, 429 | 503) => {
                    problem.retry_after.unwrap_or(FULL_PAUSE)
                }
                Err(error) => return Err(error.into()),
            };
            self.watched.shutdown.sleep(pause);
        }
    }

    /// Waits until every transaction that the pool took is on the ledger or has ended otherwise.
    pub(super) fn wait(
        &self,
        from: Height,
        statuses: &mut [Status],
        wait: &Wait,
    ) -> Result<(), Failure> {
        let open = statuses.iter().enumerate().filter(|(_, status)| is_open(status));
        let mut open: HashMap<Digest, usize> =
            open.map(|(index, _)| (self.prepared[index].id, index)).collect();
        let (clock, mut next, total) = (SystemClock::new(), from, open.len() as u64);
        while !open.is_empty() {
            self.watched.update("confirm", total - open.len() as u64, total);
            self.watched.check("waiting for confirmations")?;
            if clock.elapsed() > wait.timeout {
                self.settle(&mut open, statuses)?;
                // A rejection tells more: a sender's later lines wait for one that never comes.
                let is_known = statuses.iter().any(is_ended);
                return if is_known { Ok(()) } else { self.late(open.len(), wait) };
            }
            let blocks = self.remote.confirmed(next, wait.timeout)?;
            for block in &blocks {
                next = Height(block.height.0.saturating_add(1));
                for id in &block.ids {
                    if let Some(index) = open.remove(id) {
                        statuses[index] = Status::Confirmed { height: block.height };
                    }
                }
            }
        }
        self.watched.update("confirm", total, total);
        self.wait_deeper(statuses, &clock, wait)
    }

    /// Waits until the last block with one of them is as deep as was asked for.
    fn wait_deeper(
        &self,
        statuses: &[Status],
        clock: &SystemClock,
        wait: &Wait,
    ) -> Result<(), Failure> {
        let heights = statuses.iter().filter_map(|status| match status {
            Status::Confirmed { height } => Some(height.0),
            _ => None,
        });
        let Some(last) = heights.max() else { return Ok(()) };
        while self.remote.next_height()?.0 < last.saturating_add(wait.confirmations) {
            self.watched.check("waiting for confirmations")?;
            if clock.elapsed() > wait.timeout {
                let count = statuses.iter().filter(|status| !is_ended(status)).count();
                return self.late(count, wait);
            }
            self.watched.shutdown.sleep(DEPTH_PAUSE);
        }
        Ok(())
    }

    /// Asks the pool about each that is left: it may have ended without a block.
    fn settle(
        &self,
        open: &mut HashMap<Digest, usize>,
        statuses: &mut [Status],
    ) -> Result<(), Failure> {
        for (id, index) in open.clone() {
            if let Some(standing) = self.remote.standing(&id)?
                && !is_open(&standing.status)
            {
                statuses[index] = standing.status;
                open.remove(&id);
            }
        }
        Ok(())
    }

    fn late(&self, open: usize, wait: &Wait) -> Result<(), Failure> {
        if open == 0 {
            return Ok(());
        }
        let (after, total) = (duration::display(wait.timeout), self.prepared.len());
        let message = format!("{open} of {total} transactions are not confirmed after {after}");
        Err(Failure::outcome_unknown("not-confirmed", message)
            .with_hint("run the same command again: it goes on, and nothing is paid twice"))
    }
}

/// Transactions of one request: at most `count`, and not too many bytes.
fn batches(mut left: &[Prepared], count: usize) -> impl Iterator<Item = &[Prepared]> {
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = left.iter().take(count).take_while(|prepared| {
            bytes = bytes.saturating_add(prepared.encoded.bytes().len());
            bytes <= REQUEST_BYTES_MAX
        });
        // One alone always fits.
        let len = fits.count().max(1).min(left.len());
        let (batch, rest) = left.split_at(len);
        left = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

pub(super) const fn is_open(status: &Status) -> bool {
    matches!(status, Status::Submitted | Status::Unconfirmed { .. })
}

pub(super) const fn is_ended(status: &Status) -> bool {
    matches!(status, Status::Rejected { .. } | Status::Expired { .. })
}

const fn is_full(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { retry: true, .. })
}

fn status_of(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Known { status, .. } => status,
        Outcome::Rejected { refusal, .. } => {
            Status::Rejected { code: refusal.code, reason: refusal.reason }
        }
        _ => Status::Submitted,
    }
}

#[cfg(test)]
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, genesis, pay};

    use super::*;

    #[test]
    fn requests_are_bounded_by_count_and_by_bytes() {
        let encoded = Encoded::from(pay(&ALICE, 0, address(&BOB), 1));
        let id = encoded.id(&genesis().hash());
        let count = REQUEST_BYTES_MAX / encoded.bytes().len() + 5;
        let all = vec![Prepared { line: 1, id, encoded }; count];
        let lens = |max: usize| batches(&all, max).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(lens(usize::MAX), [count - 5, 5]);
        assert_eq!(lens(count / 2 + 1), [count / 2 + 1, count - count / 2 - 1]);
        assert_eq!(batches(&[], 7).count(), 0);
    }
}
