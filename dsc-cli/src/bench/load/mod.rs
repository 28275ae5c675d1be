//! Load on a running network: clients that submit signed transactions, and a look-out that notices
//! each of them on the ledger.
//!
//! # Invariants
//!
//! 1. What is sent was signed and encoded before the clock starts.
//! 2. Everything runs on one thread, so that the load takes at most one core from the servers.
//! 3. Times are of one clock: when a transaction was sent, or was to be, and when an answer of the
//!    blockchain server that names it was read.

mod confirm;
mod http;
mod schema;
mod submit;
mod workload;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    time::Duration,
};

use dsc_lib::proof::Progress;
use futures_util::future::{try_join, try_join_all};
use tokio::sync::watch;

use self::{
    confirm::Confirmations,
    submit::{Batch, Client, Fate, Floor, Tally},
};
pub(crate) use self::{
    schema::{Figures, Load, SCHEMA, Signed, Spread},
    workload::{Sender, Terms, Workload},
};
use super::{measure::Draw, stats::float};
use crate::{clock::SystemClock, exit::Failure, http::ClientError, shutdown::Shutdown};

/// When a client sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As soon as the answer before is there (closed loop).
    Closed,
    /// So many transactions a second, all clients together, whatever the answers (open loop).
    Open { per_second: f64 },
    /// Once the one before is on the ledger, and after a random pause of up to a block interval.
    Wait { pause: Duration },
}

/// What to send where.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Clients are dealt out to them in turn.
    pub(crate) pools: Vec<&'a str>,
    pub(crate) blockchain: &'a str,
    pub(crate) workload: &'a Workload,
    /// For each client, the transactions that it sends, in order.
    pub(crate) clients: Vec<Range<usize>>,
    /// Transactions in one request.
    pub(crate) batch: usize,
    /// Requests of one client that are under way at once.
    pub(crate) in_flight: usize,
    pub(crate) pace: Pace,
    /// No request is begun after this.
    pub(crate) time: Option<Duration>,
    /// Longest wait without an answer or a confirmation.
    pub(crate) patience: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Transactions that were sent.
    pub(crate) sent: u64,
    /// How many each client sent.
    pub(crate) sent_by: Vec<usize>,
    /// Those that were seen on the ledger, by index.
    pub(crate) seen: Vec<usize>,
    pub(crate) accepted: u64,
    /// Those that were on the ledger before the run.
    pub(crate) known: u64,
    pub(crate) confirmed: u64,
    /// Times that a transaction was seen on the ledger again.
    pub(crate) doubled: u64,
    /// Transactions of others on the ledger meanwhile.
    pub(crate) foreign: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) requests: u64,
    pub(crate) busy: u64,
    pub(crate) blocks: u64,
    /// From the first request to the last answer.
    pub(crate) submit_time: Duration,
    /// From the first request until the last transaction was seen on the ledger.
    pub(crate) time: Duration,
    /// Seconds from sending to being seen on the ledger.
    pub(crate) latencies: Vec<f64>,
    /// Seconds from each request to its answer.
    pub(crate) answers: Vec<f64>,
}

/// Sends everything and waits until the ledger has it.
pub(crate) fn run(
    plan: &Plan<'_>,
    progress: &dyn Progress,
    shutdown: &Shutdown,
) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::other("runtime", error))?;
    runtime.block_on(async {
        tokio::select! {
            outcome = load(plan, progress) => Ok(outcome?),
            () = shutdown.requested() => Err(Failure::interrupted("the load was interrupted")),
        }
    })
}

async fn load(plan: &Plan<'_>, progress: &dyn Progress) -> Result<Outcome, ClientError> {
    let ids = plan.workload.ids().iter().copied();
    let mut confirmations = Confirmations::after_tip(plan.blockchain, ids).await?;
    let count = plan.workload.ids().len();
    let queues = plan.queues();
    let (tell, confirmed) = watch::channel(vec![false; count]);
    let clock = SystemClock::new();
    let floor = Floor {
        workload: plan.workload,
        clock: &clock,
        pace: plan.pace,
        until: plan.time,
        tally: RefCell::new(Tally::new(count)),
        confirmed,
        is_over: Cell::new(false),
        under_way: Cell::new(0),
    };
    let (finished, is_finished) = watch::channel(false);
    let clients = async {
        let workers = queues.iter().enumerate().flat_map(|(client, queue)| {
            let worker = |worker: usize| worker_of(&floor, queue, client * plan.in_flight + worker);
            (0..plan.in_flight).map(worker).collect::<Vec<_>>()
        });
        try_join_all(workers).await?;
        finished.send_replace(true);
        Ok(())
    };
    let ledger = follow(plan, &mut confirmations, &floor, tell, &is_finished, progress);
    try_join(clients, ledger).await?;
    Ok(Outcome::new(plan, floor.tally.into_inner(), &confirmations))
}

async fn worker_of(floor: &Floor<'_>, client: &Client<'_>, seed: usize) -> Result<(), ClientError> {
    let mut draw = Draw::new(seed as u64);
    let longest = match floor.pace {
        Pace::Wait { pause } => pause,
        _ => Duration::ZERO,
    };
    let pause = || longest.mul_f64(float(draw.next() >> 11) / float(1 << 53));
    floor.work(client, pause).await
}

/// Follows the ledger until it has all that the pool took, or nothing comes for too long.
async fn follow(
    plan: &Plan<'_>,
    confirmations: &mut Confirmations,
    floor: &Floor<'_>,
    tell: watch::Sender<Vec<bool>>,
    is_finished: &watch::Receiver<bool>,
    progress: &dyn Progress,
) -> Result<(), ClientError> {
    let total = plan.count() as u64;
    let (mut last, mut settled) = (floor.clock.elapsed(), 0);
    progress.update("load", 0, total);
    loop {
        // Before the look, so that nothing can come between.
        let finished = *is_finished.borrow();
        if confirmations.look(floor.clock).await? {
            last = floor.clock.elapsed();
            tell.send_modify(|confirmed| {
                for (flag, seen) in confirmed.iter_mut().zip(&confirmations.seen) {
                    *flag = seen.is_some();
                }
            });
            progress.update("load", confirmations.confirmed as u64, total);
        }
        let tally = floor.tally.borrow();
        let now_settled = tally.accepted + tally.rejections();
        let missing = tally.accepted > confirmations.confirmed as u64;
        let idle = !missing && floor.under_way.get() == 0;
        if now_settled > settled || idle {
            (last, settled) = (floor.clock.elapsed(), now_settled);
        }
        let all = !missing || tally.has_all(&confirmations.seen);
        let waited = floor.clock.elapsed().saturating_sub(last);
        if (finished && all) || waited > plan.patience {
            floor.is_over.set(true);
            return Ok(());
        }
    }
}

impl Plan<'_> {
    fn count(&self) -> usize {
        self.clients.iter().map(ExactSizeIterator::len).sum()
    }

    /// Each client's submissions, in order.
    fn queues(&self) -> Vec<Client<'_>> {
        let clients = self.clients.len();
        let queue = |(client, range): (usize, &Range<usize>)| {
            let transactions: Vec<usize> = range.clone().collect();
            let batches = transactions.chunks(self.batch.max(1)).enumerate();
            let batches = batches.map(|(turn, transactions)| Batch {
                transactions: transactions.to_vec(),
                body: self.workload.body(transactions),
                due: self.due(turn * clients + client, transactions.len()),
            });
            let pool = self.pools[client % self.pools.len()];
            Client::new(pool, batches.collect(), range.clone(), self.batch.max(1))
        };
        self.clients.iter().enumerate().map(queue).collect()
    }

    /// When each of the `count` transactions is to be sent of the batch in this place among those
    /// of all clients.
    fn due(&self, place: usize, count: usize) -> Vec<Duration> {
        let Pace::Open { per_second } = self.pace else { return Vec::new() };
        let first = place * self.batch;
        let at = |index: usize| Duration::from_secs_f64(float(index as u64) / per_second);
        (first..first + count).map(at).collect()
    }
}

impl Outcome {
    fn new(plan: &Plan<'_>, tally: Tally, confirmations: &Confirmations) -> Self {
        let sent_by = |range: &Range<usize>| {
            let sent = range.clone().filter(|&index| tally.sent[index].is_some());
            sent.count()
        };
        let seen = confirmations.seen.iter().enumerate();
        let times = || tally.sent.iter().zip(&confirmations.seen);
        let latencies = times().filter_map(|(sent, seen)| {
            let passed = (*seen)?.at.saturating_sub((*sent)?);
            Some(passed.as_secs_f64())
        });
        let known = tally.known(&confirmations.seen);
        let taken_before = tally.fates.iter().filter(|fate| **fate == Fate::Before).count() as u64;
        let start = tally.sent.iter().flatten().min().copied().unwrap_or_default();
        let end = confirmations.seen.iter().flatten().map(|seen| seen.at).max();
        Self {
            sent: tally.sent.iter().flatten().count() as u64,
            sent_by: plan.clients.iter().map(sent_by).collect(),
            seen: seen.filter_map(|(index, seen)| seen.map(|_| index)).collect(),
            accepted: tally.accepted + taken_before - known,
            known,
            confirmed: confirmations.confirmed as u64,
            doubled: confirmations.doubled,
            foreign: confirmations.foreign,
            requests: tally.requests,
            busy: tally.busy,
            blocks: confirmations.blocks,
            submit_time: tally.last_answer.saturating_sub(start),
            time: end.unwrap_or_default().saturating_sub(start),
            latencies: latencies.collect(),
            answers: tally.answers.iter().map(Duration::as_secs_f64).collect(),
            rejected: tally.rejected,
        }
    }
}
