//! `POST /v1/transactions`: a list of transactions, read while it comes in.

use std::sync::Arc;

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
    http::{Inflow, Json, Problem},
    role::query::Asked,
};

/// Most transactions in one submission.
pub(super) const COUNT_MAX: u64 = BLOCK_TRANSACTIONS_MAX as u64;

/// How a submission is to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Name only what was rejected, and count the others.
    #[serde(default)]
    brief: bool,
}

/// The short answer to a submission.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Brief {
    /// How many are held now.
    pub(crate) added: u64,
    /// How many were known already.
    pub(crate) known: u64,
    /// Those that are not held, by their place in the submission.
    pub(crate) rejected: Vec<Rejected>,
}

/// A transaction that is not held.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) index: u64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// Takes a list of transactions.
pub(super) async fn submit(
    State(server): State<Arc<Server>>,
    Asked(wanted): Asked<Wanted>,
    mut inflow: Inflow,
) -> Response {
    match receive(&server, &mut inflow).await.and_then(|outcomes| answer(outcomes, &wanted)) {
        Ok(response) => response,
        Err(problem) => {
            inflow.drain().await;
            problem.into_response()
        }
    }
}

fn answer(outcomes: Vec<Outcome>, wanted: &Wanted) -> Result<Response, Problem> {
    let is_full = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { retry: true, .. });
    if outcomes.iter().all(is_full) {
        return Err(Problem::too_many("pool-full", "the pool is full", RETRY_AFTER)
            .with_hint("send the same transactions again later, or offer a higher fee"));
    }
    Ok(if wanted.brief {
        Json(brief(outcomes)).into_response()
    } else {
        Json(outcomes).into_response()
    })
}

fn brief(outcomes: Vec<Outcome>) -> Brief {
    let mut brief = Brief::default();
    for (index, outcome) in (0..).zip(outcomes) {
        match outcome {
            Outcome::Added { .. } => brief.added += 1,
            Outcome::Known { .. } => brief.known += 1,
            outcome => brief.rejected.push(Rejected { index, outcome }),
        }
    }
    brief
}

/// Reads the list, hands its parts to the pool as they come, and waits for what becomes of them.
async fn receive(server: &Server, inflow: &mut Inflow) -> Result<Vec<Outcome>, Problem> {
    server.check_followed()?;
    let (mut reader, mut parts) = (TransactionReader::new(COUNT_MAX), Vec::new());
    let mut read = Ok(());
    while let Some(bytes) = inflow.next().await? {
        let mut transactions = Vec::new();
        read = reader.push(&bytes, &mut transactions);
        if !transactions.is_empty() {
            parts.push(hand_in(server, transactions, parts.is_empty()).await?);
        }
        if read.is_err() {
            break;
        }
    }
    let read = read.and_then(|()| reader.finish());
    let outcomes = collect(parts).await?;
    read.map_err(|error| malformed(&error, outcomes.len()))?;
    if outcomes.is_empty() {
        let reason = format!("0 elements, expected 1 to {COUNT_MAX}");
        return Err(malformed(&DecodeError::Malformed { reason }, 0));
    }
    Ok(outcomes)
}

/// A submission that has not begun can be told to come back; one that has waits for its turn.
async fn hand_in(
    server: &Server,
    transactions: Vec<Encoded>,
    is_first: bool,
) -> Result<Answered, Problem> {
    if is_first {
        return server.intake.offer(transactions);
    }
    server.intake.put_when_free(transactions).await
}

async fn collect(parts: Vec<Answered>) -> Result<Vec<Outcome>, Problem> {
    let mut outcomes = Vec::new();
    for part in parts {
        outcomes.extend(part.await.unwrap_or_else(|_| Err(intake::gone()))?);
    }
    Ok(outcomes)
}

fn malformed(error: &DecodeError, taken: usize) -> Problem {
    let before = if taken == 0 { String::new() } else { format!(", {taken} before it were read") };
    Problem::malformed("not-canonical", format_args!("the transactions: {error}{before}"))
        .with_hint("docs/protocol.md describes the encoding; `dsc tx decode` reads it")
}
