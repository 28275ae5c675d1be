//! From submitted bytes to transactions that are held and kept.
//!
//! Requests put what they have read into a bounded queue. One thread takes whatever waits there and
//! checks it, a second one has what was good held and kept, and answers: so many small requests
//! share one round of signature checks and one sync, and the next round is checked while the last
//! one is written.
//!
//! # Invariants
//!
//! 1. What waits to be checked, held or written is bounded in bytes; beyond that clients wait or are
//!    told to come back.
//! 2. Signatures are checked before the pool is locked, and nothing is written while it is.
//! 3. Nothing is acknowledged, not even as known, before its [`Keeper`] has it.
//! 4. Answers to one request, and transactions of one sender within it, keep their order.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use dsc_lib::{genesis::Chain, transaction::Encoded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::keeper::{Keeper, Outcomes, Verdict};
use crate::{
    crash::{self, Point},
    exit::Failure,
    http::Problem,
    role::spawn,
};

/// Transactions checked in one round: long enough to share a sync, short enough to answer soon.
const ROUND_MAX: usize = 4096;
/// When a busy pool may be asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What becomes of a batch: an outcome for each transaction, in order.
pub(super) type Answered = oneshot::Receiver<Outcomes>;

/// Who waits for what becomes of a batch, and the room it takes until then.
struct Ticket {
    answer: oneshot::Sender<Outcomes>,
    room: OwnedSemaphorePermit,
}

impl Ticket {
    fn answer(self, outcomes: Outcomes) {
        // A client that has gone away hears nothing; its transactions are held.
        drop(self.answer.send(outcomes));
        drop(self.room);
    }
}

/// Transactions of one request.
struct Batch {
    transactions: Vec<Encoded>,
    ticket: Ticket,
}

/// A batch that was checked.
struct Judged {
    verdicts: Vec<Verdict>,
    ticket: Ticket,
}

/// The entrance of a pool.
#[derive(Debug)]
pub(super) struct Intake {
    queue: mpsc::UnboundedSender<Batch>,
    room: Arc<Semaphore>,
}

impl Intake {
    /// Starts the two threads; they end when the intake is dropped.
    pub(super) fn start(
        chain: Chain,
        keeper: Arc<dyn Keeper>,
        bytes_max: usize,
    ) -> Result<Self, Failure> {
        let (queue, submitted) = mpsc::unbounded_channel();
        let (judged, rounds) = sync_channel(1);
        spawn("pool-check", move || check(&chain, submitted, &judged))?;
        spawn("pool-hold", move || hold(&*keeper, &rounds))?;
        Ok(Self { queue, room: Arc::new(Semaphore::new(kib(bytes_max) as usize)) })
    }

    /// Takes a batch, unless too much waits already.
    pub(super) fn offer(&self, transactions: Vec<Encoded>) -> Result<Answered, Problem> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight(&transactions));
        let room = room.map_err(|_| {
            Problem::too_many("pool-busy", "the pool has more to check than it may", RETRY_AFTER)
                .with_hint("send the same transactions again later; nothing is done twice")
        })?;
        self.put(transactions, room)
    }

    /// Takes all the room there is.
    #[cfg(test)]
    pub(super) fn fill(&self) -> OwnedSemaphorePermit {
        let all = u32::try_from(self.room.available_permits()).unwrap();
        Arc::clone(&self.room).try_acquire_many_owned(all).unwrap()
    }

    /// Takes a batch once there is room for it.
    pub(super) async fn put_when_free(
        &self,
        transactions: Vec<Encoded>,
    ) -> Result<Answered, Problem> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight(&transactions)).await;
        self.put(transactions, room.map_err(|_| gone())?)
    }

    /// Lets what has ended be removed after what was handed in so far.
    pub(super) fn tend(&self) {
        // An empty batch goes the way of all others; nobody waits for what becomes of it.
        drop(self.offer(Vec::new()));
    }

    fn put(
        &self,
        transactions: Vec<Encoded>,
        room: OwnedSemaphorePermit,
    ) -> Result<Answered, Problem> {
        let (answer, answered) = oneshot::channel();
        let batch = Batch { transactions, ticket: Ticket { answer, room } };
        self.queue.send(batch).map_err(|_| gone())?;
        Ok(answered)
    }
}

/// The problem of a pool whose threads have ended.
pub(super) fn gone() -> Problem {
    Problem::internal("the pool takes no transactions any more")
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// The room that transactions take in the queue.
fn weight(transactions: &[Encoded]) -> u32 {
    kib(transactions.iter().map(|transaction| transaction.bytes().len()).sum())
}

/// Checks round after round of what was submitted.
fn check(
    chain: &Chain,
    mut submitted: mpsc::UnboundedReceiver<Batch>,
    to: &SyncSender<Vec<Judged>>,
) {
    while let Some(first) = submitted.blocking_recv() {
        let round = judge(chain, gather(first, &mut submitted));
        if !is_tending(&round) {
            crash::point(Point::PoolChecked);
        }
        if to.send(round).is_err() {
            return;
        }
    }
}

/// Whether nobody submitted anything: the round is there for what has ended alone.
fn is_tending(round: &[Judged]) -> bool {
    round.iter().all(|judged| judged.verdicts.is_empty())
}

/// The batches that wait, until there are enough for a round.
fn gather(first: Batch, submitted: &mut mpsc::UnboundedReceiver<Batch>) -> Vec<Batch> {
    let mut count = first.transactions.len();
    let mut round = vec![first];
    while count < ROUND_MAX
        && let Ok(batch) = submitted.try_recv()
    {
        count += batch.transactions.len();
        round.push(batch);
    }
    round
}

/// Checks the transactions of all batches together.
fn judge(chain: &Chain, round: Vec<Batch>) -> Vec<Judged> {
    let (mut all, mut parts) = (Vec::new(), Vec::new());
    for Batch { transactions, ticket } in round {
        parts.push((transactions.len(), ticket));
        all.extend(transactions);
    }
    let mut verdicts = chain.checker().check_all(all).into_iter();
    let judged = parts.into_iter().map(|(count, ticket)| {
        let verdicts = verdicts.by_ref().take(count).collect();
        Judged { verdicts, ticket }
    });
    judged.collect()
}

/// Holds round after round of what was checked.
fn hold(keeper: &dyn Keeper, rounds: &Receiver<Vec<Judged>>) {
    for round in rounds {
        let is_tending = is_tending(&round);
        let round = round.into_iter().map(|Judged { verdicts, ticket }| (verdicts, ticket));
        let (verdicts, tickets): (Vec<_>, Vec<_>) = round.unzip();
        let outcomes = keeper.hold(verdicts);
        tickets.into_iter().zip(outcomes).for_each(|(ticket, outcomes)| ticket.answer(outcomes));
        if !is_tending {
            crash::point(Point::PoolAnswered);
        }
        keeper.retire();
    }
}
