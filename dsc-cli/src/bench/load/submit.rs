//! Clients that submit what was signed: as fast as they are answered, at a fixed rate, or one
//! transaction after the other.
//!
//! # Invariants
//!
//! 1. A pool that says it is full is asked again after the time it names, with the same bytes.
//! 2. At a fixed rate a transaction counts from the moment it was to be sent, also if the client
//!    was still busy then: waiting for a slow server is not left out of the latencies.
//! 3. A lost answer is settled by sending again, which changes nothing if all went well.
//! 4. While the pool refuses some of a client's transactions for want of room, the client sends
//!    nothing else: what follows would push out, or be pushed out by, what comes before it.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    time::Duration,
};

use dsc_lib::{mempool::Status, role::pool::Outcome};
use serde::Deserialize;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, watch},
    time::sleep,
};

use super::{
    Pace,
    confirm::Seen,
    http::{Answer, Connection},
    workload::Workload,
};
use crate::{
    clock::SystemClock,
    http::{ClientError, RemoteProblem},
};

/// Only what was refused is named in the answer.
const PATH: &str = "/v1/transactions?brief=true";
/// Every transaction is.
const FULL_PATH: &str = "/v1/transactions";
/// Pause before a full pool is asked again that does not say when.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Times that one batch is sent again after its answer was lost.
const LOST_MAX: u32 = 5;

/// A submission made ready.
#[derive(Debug)]
pub(super) struct Batch {
    /// Transactions, by index.
    pub(super) transactions: Vec<usize>,
    pub(super) body: hyper::body::Bytes,
    /// When each was to be sent, if that is fixed; they are sent once the last is due.
    pub(super) due: Vec<Duration>,
}

/// What the workers of one client share.
#[derive(Debug)]
pub(super) struct Client<'a> {
    /// The pool that it sends to.
    url: &'a str,
    batches: RefCell<std::vec::IntoIter<Batch>>,
    /// All of its transactions, in sequence.
    range: Range<usize>,
    batch: usize,
    /// Held by each request that is under way, and alone by one that is sent again.
    turn: RwLock<()>,
    /// The pool had no room for some: from then on one request after the other.
    in_order: Cell<bool>,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        url: &'a str,
        batches: Vec<Batch>,
        range: Range<usize>,
        batch: usize,
    ) -> Self {
        let batches = RefCell::new(batches.into_iter());
        Self { url, batches, range, batch, turn: RwLock::new(()), in_order: Cell::new(false) }
    }
}

/// What the clients of a run did, together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When each transaction was sent, or was to be.
    pub(super) sent: Vec<Option<Duration>>,
    /// How each stands with the pool.
    pub(super) fates: Vec<Fate>,
    /// How many are [`Fate::Taken`].
    pub(super) accepted: u64,
    pub(super) requests: u64,
    /// Answers that said the pool is full, for all or some.
    pub(super) busy: u64,
    /// Refusals by code.
    pub(super) rejected: BTreeMap<String, u64>,
    /// Time from each request to its answer.
    pub(super) answers: Vec<Duration>,
    pub(super) last_answer: Duration,
}

/// How a transaction stands with the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Open,
    Taken,
    /// The pool says that it was on the ledger when it was sent.
    Before,
    Rejected,
}

impl Tally {
    pub(super) fn new(count: usize) -> Self {
        Self { sent: vec![None; count], fates: vec![Fate::Open; count], ..Self::default() }
    }

    fn settle(&mut self, index: usize, fate: Fate) {
        let before = std::mem::replace(&mut self.fates[index], fate);
        self.accepted += u64::from(fate == Fate::Taken);
        self.accepted -= u64::from(before == Fate::Taken);
    }

    /// Those that were on the ledger before, as far as nobody saw them get there.
    pub(super) fn known(&self, seen: &[Option<Seen>]) -> u64 {
        let both = self.fates.iter().zip(seen);
        both.filter(|(fate, seen)| **fate == Fate::Before && seen.is_none()).count() as u64
    }

    /// Whether everything that was taken was seen.
    pub(super) fn has_all(&self, seen: &[Option<Seen>]) -> bool {
        let mut both = self.fates.iter().zip(seen);
        both.all(|(fate, seen)| *fate != Fate::Taken || seen.is_some())
    }

    pub(super) fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Floor<'a> {
    pub(super) workload: &'a Workload,
    pub(super) clock: &'a SystemClock,
    pub(super) pace: Pace,
    /// No batch is begun after this.
    pub(super) until: Option<Duration>,
    pub(super) tally: RefCell<Tally>,
    /// Whether each transaction is on the ledger, as it becomes known.
    pub(super) confirmed: watch::Receiver<Vec<bool>>,
    /// Nobody waits for more to be confirmed.
    pub(super) is_over: Cell<bool>,
    /// Batches that were begun and are not settled.
    pub(super) under_way: Cell<usize>,
}

/// How a submission fared.
#[derive(Deserialize)]
struct Told<'a> {
    known: u64,
    #[serde(borrow)]
    rejected: Vec<Refused<'a>>,
}

/// A transaction that was not taken, by its place in the submission.
#[derive(Deserialize)]
struct Refused<'a> {
    index: usize,
    retry: bool,
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// What an answer comes to.
enum Judged {
    /// The pool looked at none of it.
    Busy,
    /// What to send again, and how many the pool knew.
    Left { left: Vec<usize>, known: u64 },
}

/// The right to send for a client.
#[allow(dead_code, reason = "held, not read")]
enum Turn<'c> {
    Shared(RwLockReadGuard<'c, ()>),
    Alone(RwLockWriteGuard<'c, ()>),
}

impl Floor<'_> {
    /// Sends one batch after the other of `client`, over one connection.
    pub(super) async fn work(
        &self,
        client: &Client<'_>,
        mut pause: impl FnMut() -> Duration,
    ) -> Result<(), ClientError> {
        let mut connection = Connection::to(client.url);
        while self.goes_on() {
            let shared = self.turn(client).await;
            let next = client.batches.borrow_mut().next();
            let Some(batch) = next else { break };
            let due = batch.due.last();
            if let Some(wait) = due.and_then(|due| due.checked_sub(self.clock.elapsed())) {
                sleep(wait).await;
            }
            if !self.goes_on() {
                break;
            }
            let last = batch.transactions.last().copied();
            let refused = self.tally.borrow().rejections();
            self.under_way.set(self.under_way.get() + 1);
            self.deliver(&mut connection, client, shared, batch).await?;
            self.under_way.set(self.under_way.get() - 1);
            let taken = self.tally.borrow().rejections() == refused;
            if matches!(self.pace, Pace::Wait { .. }) && taken {
                self.until_confirmed(last).await;
                sleep(pause()).await;
            }
        }
        Ok(())
    }

    fn goes_on(&self) -> bool {
        !self.is_over.get() && self.until.is_none_or(|until| self.clock.elapsed() < until)
    }

    /// Waits until the client may send what comes next.
    async fn turn<'c>(&self, client: &'c Client<'_>) -> Turn<'c> {
        if !client.in_order.get() {
            let shared = client.turn.read().await;
            // It may have had to wait for somebody who found the pool full.
            if !client.in_order.get() {
                return Turn::Shared(shared);
            }
        }
        Turn::Alone(client.turn.write().await)
    }

    /// Sends a batch until every transaction of it is taken or refused for good.
    async fn deliver<'c>(
        &self,
        connection: &mut Connection,
        client: &'c Client<'_>,
        mut turn: Turn<'c>,
        mut batch: Batch,
    ) -> Result<(), ClientError> {
        let now = self.clock.elapsed();
        for (place, &index) in batch.transactions.iter().enumerate() {
            let at = batch.due.get(place).copied().unwrap_or(now);
            self.tally.borrow_mut().sent[index] = Some(at);
        }
        let mut is_first = true;
        loop {
            let answer = self.post(connection, PATH, &batch).await?;
            let pause = answer.retry_after.unwrap_or(RETRY_PAUSE);
            let left = match self.judge(client.url, &answer, &batch)? {
                Judged::Busy => None,
                Judged::Left { left, known } => {
                    if known > 0 && is_first {
                        self.find_known(connection, &batch).await?;
                    }
                    if left.is_empty() {
                        return Ok(());
                    }
                    Some(left)
                }
            };
            if matches!(turn, Turn::Shared(_)) {
                drop(turn);
                turn = Turn::Alone(client.turn.write().await);
            }
            // Whoever is alone first: others wait with what has to come before this.
            if left.is_some() && !client.in_order.replace(true) {
                self.again_in_order(connection, client).await?;
            }
            is_first &= left.is_none();
            if let Some(left) = left {
                batch = self.batch_of(left);
            }
            sleep(pause).await;
            if self.is_over.get() {
                return Ok(());
            }
        }
    }

    fn batch_of(&self, transactions: Vec<usize>) -> Batch {
        let body = self.workload.body(&transactions);
        Batch { transactions, body, due: Vec::new() }
    }

    /// Sends all that is not on the ledger once more, alone and in sequence: of requests that were
    /// under way at once a later one may have filled the pool, or been pushed out of it.
    async fn again_in_order(
        &self,
        connection: &mut Connection,
        client: &Client<'_>,
    ) -> Result<(), ClientError> {
        let open: Vec<usize> = {
            let (tally, confirmed) = (self.tally.borrow(), self.confirmed.borrow());
            let is_open = |index: &usize| {
                let ended = matches!(tally.fates[*index], Fate::Rejected | Fate::Before);
                tally.sent[*index].is_some() && !ended && !confirmed[*index]
            };
            client.range.clone().filter(is_open).collect()
        };
        for part in open.chunks(client.batch) {
            let mut batch = self.batch_of(part.to_vec());
            while !self.is_over.get() {
                let answer = self.post(connection, PATH, &batch).await?;
                match self.judge(client.url, &answer, &batch)? {
                    Judged::Left { left, .. } if left.is_empty() => break,
                    Judged::Left { left, .. } => batch = self.batch_of(left),
                    Judged::Busy => {}
                }
                sleep(answer.retry_after.unwrap_or(RETRY_PAUSE)).await;
            }
        }
        Ok(())
    }

    /// Asks which of a batch that the pool knew were on the ledger before: nobody will see them
    /// get there.
    async fn find_known(
        &self,
        connection: &mut Connection,
        batch: &Batch,
    ) -> Result<(), ClientError> {
        let answer = self.post(connection, FULL_PATH, batch).await?;
        // Whoever is too busy to say is not asked again: what was taken is awaited then.
        let outcomes: Vec<Outcome> = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut tally = self.tally.borrow_mut();
        for (&index, outcome) in batch.transactions.iter().zip(outcomes) {
            if matches!(outcome, Outcome::Known { status: Status::Confirmed { .. }, .. }) {
                tally.settle(index, Fate::Before);
            }
        }
        Ok(())
    }

    async fn post(
        &self,
        connection: &mut Connection,
        path: &str,
        batch: &Batch,
    ) -> Result<Answer, ClientError> {
        let mut lost = 0;
        loop {
            let start = self.clock.elapsed();
            let answered = connection.post(path, batch.body.clone()).await;
            match answered {
                Ok(answer) => {
                    let now = self.clock.elapsed();
                    let mut tally = self.tally.borrow_mut();
                    tally.requests += 1;
                    tally.answers.push(now.saturating_sub(start));
                    tally.last_answer = tally.last_answer.max(now);
                    return Ok(answer);
                }
                Err(ClientError::Lost { .. }) if lost < LOST_MAX => lost += 1,
                Err(error) => return Err(error),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Counts what an answer says.
    fn judge(&self, url: &str, answer: &Answer, batch: &Batch) -> Result<Judged, ClientError> {
        let mut tally = self.tally.borrow_mut();
        if matches!(answer.status.as_u16(), 429 | 503) {
            tally.busy += 1;
            if problem_code(answer).is_some_and(|code| code == "pool-full") {
                // It has looked at all, and has room for none.
                return Ok(Judged::Left { left: batch.transactions.clone(), known: 0 });
            }
            return Ok(Judged::Busy);
        }
        let malformed = |reason: String| ClientError::Malformed { url: url.to_owned(), reason };
        if !answer.status.is_success() {
            return Err(problem(answer).unwrap_or_else(|| {
                malformed(format!("status {} without a problem", answer.status))
            }));
        }
        let told: Told<'_> =
            serde_json::from_slice(&answer.body).map_err(|error| malformed(error.to_string()))?;
        let mut left = Vec::new();
        let mut fates = vec![Fate::Taken; batch.transactions.len()];
        for Refused { index, retry, code } in told.rejected {
            let Some(fate) = fates.get_mut(index) else {
                return Err(malformed(format!("no transaction {index} was sent")));
            };
            *fate = if retry { Fate::Open } else { Fate::Rejected };
            if retry {
                left.push(batch.transactions[index]);
            } else {
                *tally.rejected.entry(code.into_owned()).or_default() += 1;
            }
        }
        for (&index, fate) in batch.transactions.iter().zip(fates) {
            tally.settle(index, fate);
        }
        tally.busy += u64::from(!left.is_empty());
        Ok(Judged::Left { left, known: told.known })
    }

    async fn until_confirmed(&self, index: Option<usize>) {
        let Some(index) = index else { return };
        let mut confirmed = self.confirmed.clone();
        // The sender goes when the run ends early; nobody waits then.
        drop(confirmed.wait_for(|confirmed| confirmed[index]).await);
    }
}

#[derive(Deserialize)]
struct ProblemFields {
    code: String,
    detail: String,
    hint: Option<String>,
}

fn problem_code(answer: &Answer) -> Option<String> {
    let fields: ProblemFields = serde_json::from_slice(&answer.body).ok()?;
    Some(fields.code)
}

fn problem(answer: &Answer) -> Option<ClientError> {
    let ProblemFields { code, detail, hint } = serde_json::from_slice(&answer.body).ok()?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after);
    Some(ClientError::Problem(RemoteProblem { status, code, detail, hint, retry_after }))
}
