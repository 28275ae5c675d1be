//! `POST /v1/transactions`: a list of transactions, read while it comes in.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use dsc_lib::{
    codec::DecodeError,
    genesis::BLOCK_TRANSACTIONS_MAX,
    role::pool::Outcome,
    transaction::{Encoded, TransactionReader},
};
use serde::{Deserialize, Serialize};

use super::{
    RETRY_AFTER, Server,
    intake::{self, Answered},
};
use crate::{
    crash::{self, Point},
    http::{Inflow, Json, Problem},
    role::query::Asked,
};

/// Most transactions in one submission that is answered in brief.
const COUNT_MAX: u64 = BLOCK_TRANSACTIONS_MAX as u64;
/// Most transactions in one whose answer names each.
const NAMED_MAX: u64 = 1 << 14;
/// Most transactions that a brief answer names.
const REJECTED_MAX: usize = 1000;
/// Parts of a submission whose outcomes are waited for at once.
const WAITING_MAX: usize = 8;

/// How a submission is to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Name only what was rejected, and count the others.
    pub(super) brief: Option<bool>,
}

/// The short answer to a submission.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Brief {
    /// How many are held now.
    pub(crate) added: u64,
    /// How many were known already.
    pub(crate) known: u64,
    /// How many are not held.
    pub(crate) refused: u64,
    /// The first thousand of those, by their place in the submission.
    pub(crate) rejected: Vec<Rejected>,
}

/// A transaction that is not held.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) index: u64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// What has become of a submission so far.
#[derive(Debug, Default)]
struct Tally {
    brief: Brief,
    /// Every outcome, if each is wanted.
    named: Option<Vec<Outcome>>,
    /// How many were refused for want of room alone.
    full: u64,
}

impl Tally {
    fn count(&self) -> u64 {
        let Brief { added, known, refused, .. } = self.brief;
        added.saturating_add(known).saturating_add(refused)
    }

    fn add(&mut self, outcome: Outcome) {
        let index = self.count();
        match outcome {
            Outcome::Added { .. } => self.brief.added += 1,
            Outcome::Known { .. } => self.brief.known += 1,
            _ => self.brief.refused += 1,
        }
        self.full += u64::from(matches!(outcome, Outcome::Rejected { retry: true, .. }));
        if let Some(named) = &mut self.named {
            named.push(outcome);
        } else if matches!(outcome, Outcome::Rejected { .. })
            && self.brief.rejected.len() < REJECTED_MAX
        {
            self.brief.rejected.push(Rejected { index, outcome });
        }
    }

    fn answer(self) -> Result<Response, Problem> {
        if self.full == self.count() {
            return Err(Problem::too_many("pool-full", "the pool is full", RETRY_AFTER)
                .with_hint("send the same transactions again later, or offer a higher fee"));
        }
        Ok(match self.named {
            Some(named) => Json(named).into_response(),
            None => Json(self.brief).into_response(),
        })
    }
}

/// Takes a list of transactions.
pub(super) async fn submit(
    State(server): State<Arc<Server>>,
    Asked(wanted): Asked<Wanted>,
    mut inflow: Inflow,
) -> Response {
    match receive(&server, &wanted, &mut inflow).await.and_then(Tally::answer) {
        Ok(response) => response,
        Err(problem) => {
            inflow.drain().await;
            problem.into_response()
        }
    }
}

/// Reads the list, hands its parts to the pool as they come, and waits for what becomes of them.
async fn receive(server: &Server, wanted: &Wanted, inflow: &mut Inflow) -> Result<Tally, Problem> {
    server.check_followed()?;
    let is_brief = wanted.brief.unwrap_or_default();
    let count_max = if is_brief { COUNT_MAX } else { NAMED_MAX };
    let mut tally = Tally { named: (!is_brief).then(Vec::new), ..Tally::default() };
    let (mut reader, mut waiting) = (TransactionReader::new(count_max), VecDeque::new());
    let (mut read, mut is_first) = (Ok(()), true);
    while let Some(bytes) = inflow.next().await? {
        let mut transactions = Vec::new();
        read = reader.push(&bytes, &mut transactions);
        if !transactions.is_empty() {
            waiting.push_back(hand_in(server, transactions, is_first).await?);
            is_first = false;
        }
        settle(&mut waiting, WAITING_MAX, &mut tally).await?;
        if read.is_err() {
            break;
        }
    }
    settle(&mut waiting, 0, &mut tally).await?;
    read.and_then(|()| reader.finish()).map_err(|error| malformed(&error, tally.count()))?;
    if tally.count() == 0 {
        let reason = format!("0 elements, expected 1 to {count_max}");
        return Err(malformed(&DecodeError::Malformed { reason }, 0));
    }
    Ok(tally)
}

/// Waits for the outcomes of the first parts until `left` are waited for.
async fn settle(
    waiting: &mut VecDeque<Answered>,
    left: usize,
    tally: &mut Tally,
) -> Result<(), Problem> {
    while waiting.len() > left
        && let Some(part) = waiting.pop_front()
    {
        let outcomes = part.await.unwrap_or_else(|_| Err(intake::gone()))?;
        for outcome in outcomes {
            tally.add(outcome);
        }
    }
    Ok(())
}

/// A submission that has not begun can be told to come back; one that has waits for its turn.
async fn hand_in(
    server: &Server,
    transactions: Vec<Encoded>,
    is_first: bool,
) -> Result<Answered, Problem> {
    crash::point(Point::PoolReceived);
    if is_first {
        return server.intake.offer(transactions);
    }
    server.intake.put_when_free(transactions).await
}

fn malformed(error: &DecodeError, taken: u64) -> Problem {
    let before = if taken == 0 { String::new() } else { format!(", {taken} before it were read") };
    Problem::malformed("not-canonical", format_args!("the transactions: {error}{before}"))
        .with_hint("docs/protocol.md describes the encoding; `dsc tx decode` reads it")
}
