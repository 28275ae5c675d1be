//! Clients that submit what was signed: as fast as they are answered, at a fixed rate, or one
//! transaction after the other.
//!
//! # Invariants
//!
//! 1. A pool that says it is full is asked again after the time it names, with the same bytes.
//! 2. At a fixed rate a transaction counts from the moment it was to be sent, also if the client
//!    was still busy then: waiting for a slow server is not left out of the latencies.
//! 3. A lost answer is settled by sending again, which changes nothing if all went well.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use serde::Deserialize;
use tokio::{sync::watch, time::sleep};

use super::{
    Pace,
    http::{Answer, Connection},
    workload::Workload,
};
use crate::{
    clock::SystemClock,
    http::{ClientError, RemoteProblem},
};

/// Only what was refused is named in the answer.
const PATH: &str = "/v1/transactions?brief=true";
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
    /// When to send it, if that is fixed.
    pub(super) due: Option<Duration>,
}

/// What the clients of a run did, together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// When each transaction was sent, or was to be.
    pub(super) sent: Vec<Option<Duration>>,
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

impl Tally {
    pub(super) fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Floor<'a> {
    pub(super) workload: &'a Workload,
    pub(super) url: &'a str,
    pub(super) clock: &'a SystemClock,
    pub(super) pace: Pace,
    /// No batch is begun after this.
    pub(super) until: Option<Duration>,
    pub(super) tally: RefCell<Tally>,
    /// Whether each transaction is on the ledger, as it becomes known.
    pub(super) confirmed: watch::Receiver<Vec<bool>>,
    /// Nobody waits for more to be confirmed.
    pub(super) is_over: Cell<bool>,
}

/// How a submission fared.
#[derive(Deserialize)]
struct Told<'a> {
    added: u64,
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

impl Floor<'_> {
    /// Sends one batch after the other that `next` gives, over one connection.
    pub(super) async fn client(
        &self,
        mut next: impl FnMut() -> Option<Batch>,
        mut pause: impl FnMut() -> Duration,
    ) -> Result<(), ClientError> {
        let mut connection = Connection::to(self.url);
        while !self.is_over.get() && self.until.is_none_or(|until| self.clock.elapsed() < until) {
            let Some(batch) = next() else { break };
            if let Some(wait) = batch.due.and_then(|due| due.checked_sub(self.clock.elapsed())) {
                sleep(wait).await;
            }
            let last = batch.transactions.last().copied();
            let refused = self.tally.borrow().rejections();
            self.deliver(&mut connection, batch).await?;
            let taken = self.tally.borrow().rejections() == refused;
            if matches!(self.pace, Pace::Wait { .. }) && taken {
                self.until_confirmed(last).await;
                sleep(pause()).await;
            }
        }
        Ok(())
    }

    /// Sends a batch until every transaction of it is taken or refused for good.
    async fn deliver(
        &self,
        connection: &mut Connection,
        mut batch: Batch,
    ) -> Result<(), ClientError> {
        let at = batch.due.unwrap_or_else(|| self.clock.elapsed());
        for &index in &batch.transactions {
            self.tally.borrow_mut().sent[index] = Some(at);
        }
        loop {
            let answer = self.post(connection, &batch).await?;
            let pause = answer.retry_after.unwrap_or(RETRY_PAUSE);
            let Some(left) = self.judge(&answer, &batch)? else {
                sleep(pause).await;
                continue;
            };
            if left.is_empty() {
                return Ok(());
            }
            batch.body = self.workload.body(&left);
            batch.transactions = left;
            sleep(pause).await;
        }
    }

    async fn post(
        &self,
        connection: &mut Connection,
        batch: &Batch,
    ) -> Result<Answer, ClientError> {
        let mut lost = 0;
        loop {
            let start = self.clock.elapsed();
            let answered = connection.post(PATH, batch.body.clone()).await;
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

    /// Counts what an answer says; returns what to send again, or nothing if all of it.
    fn judge(&self, answer: &Answer, batch: &Batch) -> Result<Option<Vec<usize>>, ClientError> {
        let mut tally = self.tally.borrow_mut();
        if matches!(answer.status.as_u16(), 429 | 503) {
            tally.busy += 1;
            return Ok(None);
        }
        let malformed =
            |reason: String| ClientError::Malformed { url: self.url.to_owned(), reason };
        if !answer.status.is_success() {
            return Err(problem(answer).unwrap_or_else(|| {
                malformed(format!("status {} without a problem", answer.status))
            }));
        }
        let told: Told<'_> =
            serde_json::from_slice(&answer.body).map_err(|error| malformed(error.to_string()))?;
        tally.accepted += told.added + told.known;
        let mut again = Vec::new();
        for Refused { index, retry, code } in told.rejected {
            match (batch.transactions.get(index), retry) {
                (Some(&index), true) => again.push(index),
                (Some(_), false) => *tally.rejected.entry(code.into_owned()).or_default() += 1,
                (None, _) => return Err(malformed(format!("no transaction {index} was sent"))),
            }
        }
        tally.busy += u64::from(!again.is_empty());
        Ok(Some(again))
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

fn problem(answer: &Answer) -> Option<ClientError> {
    let ProblemFields { code, detail, hint } = serde_json::from_slice(&answer.body).ok()?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after);
    Some(ClientError::Problem(RemoteProblem { status, code, detail, hint, retry_after }))
}
