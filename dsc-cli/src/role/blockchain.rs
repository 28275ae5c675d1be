//! The blockchain server over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use dsc_lib::{
    address::Address,
    codec::{self, List},
    hash::Digest,
    ledger::{Place, StoreError},
    role::blockchain::{Blockchain, SubmitError},
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared, binary, blocking, genesis,
    query::{Asked, Id, Of, bounded},
    refused,
    transport::BlockList,
    view,
};
use crate::http::{Check, Json, Limits, Problem, Site};
use crate::shutdown::Shutdown;

/// Most entries of a history in one answer.
const HISTORY_MAX: usize = 1000;

type Server = Arc<Shared<Blockchain>>;

/// The routes of a blockchain server.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let quick = Router::new()
        .route("/v1/info", get(info))
        .route("/v1/genesis", get(chain_genesis))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/blocks/{which}", get(block))
        .route("/v1/blocks/{which}/raw", get(raw_block))
        .route("/v1/transactions/{id}", get(transaction))
        .route("/v1/transactions/{id}/proof", get(inclusion))
        .route("/v1/accounts/{address}", get(account))
        .route("/v1/accounts/{address}/transactions", get(history))
        .with_state(server.clone());
    let bulk = Router::new().route("/v1/blocks", axum::routing::post(submit));
    let waiting = Router::new().route("/v1/blocks", get(blocks));
    let figures = server.clone();
    Site::new("blockchain", limits.clone(), shutdown.clone())
        .routes(quick)
        .bulk(bulk.with_state(server.clone()))
        .waiting(waiting.with_state(server.clone()))
        .ready(|| vec![Check { name: "ledger", ok: true, detail: "open".into() }])
        .metrics(move |text| write_figures(&figures, text))
}

fn write_figures(server: &Server, text: &mut String) {
    use std::fmt::Write;
    let held = server.lock();
    let state = held.ledger().state();
    let height = state.height().map_or_else(|| "-1".into(), |height| height.to_string());
    let seconds = state.tip().time.0 / 1000;
    let _ = writeln!(text, "# TYPE dsc_chain_height gauge\ndsc_chain_height {height}");
    let _ = writeln!(
        text,
        "# TYPE dsc_tip_timestamp_seconds gauge\ndsc_tip_timestamp_seconds {seconds}"
    );
    let _ = writeln!(text, "# TYPE dsc_blocks_total counter");
    let wins = held.ledger().wins();
    for (kind, count) in dsc_lib::proof::ProofKind::all().zip(wins.by_engine()) {
        let _ = writeln!(text, "dsc_blocks_total{{proof=\"{}\"}} {count}", kind.name());
    }
    let _ = writeln!(text, "dsc_blocks_total{{proof=\"none\"}} {}", wins.none());
}

/// The fault of this server, not of the client.
fn broken(error: &StoreError) -> Problem {
    tracing::error!(%error, "the store failed");
    Problem::unavailable("store-failed", "this server cannot use its store")
        .with_hint("the log of the server says more")
}

fn not_found(what: impl std::fmt::Display) -> Problem {
    Problem::not_found("not-found", format_args!("there is no {what} on the ledger"))
}

async fn info(State(server): State<Server>) -> Result<Response, Problem> {
    use axum::response::IntoResponse;
    let info = blocking(move || server.lock().info().map_err(|e| broken(&e))).await?;
    Ok(Json(info).into_response())
}

async fn chain_genesis(State(server): State<Server>) -> Response {
    genesis(server.lock().ledger().state().chain())
}

async fn snapshot(State(server): State<Server>) -> Result<Response, Problem> {
    let bytes = blocking(move || server.lock().snapshot().map_err(|e| broken(&e))).await?;
    Ok(binary(bytes))
}

#[derive(Debug, Deserialize)]
struct From {
    from: Height,
    wait: Option<Millis>,
}

/// Blocks from a height on; waits until there is one.
async fn blocks(
    State(server): State<Server>,
    Asked(asked): Asked<From>,
) -> Result<Response, Problem> {
    let reached =
        |chain: &mut Blockchain| (chain.ledger().state().round().height > asked.from).then_some(());
    server.until(bounded(asked.wait), reached).await;
    let read = move || server.lock().blocks(asked.from).map_err(|e| broken(&e));
    let listed: Result<Vec<_>, _> = blocking(read).await?.into_iter().map(List::new).collect();
    let list = listed.and_then(BlockList::new).map_err(Problem::internal)?;
    Ok(binary(codec::encode(&list)))
}

async fn submit(
    State(server): State<Server>,
    body: Bytes,
) -> Result<Json<dsc_lib::role::blockchain::Accepted>, Problem> {
    let work = move || {
        let submitted = server.lock().submit(&body);
        server.changed();
        submitted.map_err(|error| submit_problem(&error))
    };
    blocking(work).await.map(Json)
}

fn submit_problem(error: &SubmitError) -> Problem {
    if let Some(refusal) = error.refusal() {
        return refused(&refusal);
    }
    tracing::error!(%error, "a block could not be stored");
    Problem::unavailable("store-failed", "this server could not store the block")
}

/// The height that `which` names: a number, a hash or `tip`.
fn height_of(chain: &Blockchain, which: &str) -> Result<Height, Problem> {
    let ledger = chain.ledger();
    if which == "tip" {
        return ledger.state().height().ok_or_else(|| not_found("block"));
    }
    if let Ok(height) = which.parse() {
        return Ok(Height(height));
    }
    let hash: Digest = which.parse().map_err(|_| {
        let detail = format!("`{which}` is neither a height, nor a block hash, nor `tip`");
        Problem::malformed("invalid-block", detail)
    })?;
    let found = ledger.height_of(&hash).map_err(|error| broken(&error))?;
    found.ok_or_else(|| not_found(format_args!("block {which}")))
}

async fn block(
    State(server): State<Server>,
    Path(which): Path<String>,
) -> Result<Json<view::BlockView>, Problem> {
    let read = move || {
        let held = server.lock();
        let height = height_of(&held, &which)?;
        let block = held.ledger().block(height).map_err(|error| broken(&error))?;
        let block = block.ok_or_else(|| not_found(format_args!("block {which}")))?;
        Ok(view::BlockView::new(held.ledger().state().chain(), &block))
    };
    blocking(read).await.map(Json)
}

async fn raw_block(
    State(server): State<Server>,
    Path(which): Path<String>,
) -> Result<Response, Problem> {
    let read = move || {
        let held = server.lock();
        let height = height_of(&held, &which)?;
        let bytes = held.ledger().block_bytes(height).map_err(|error| broken(&error))?;
        bytes.ok_or_else(|| not_found(format_args!("block {which}")))
    };
    blocking(read).await.map(binary)
}

async fn transaction(
    State(server): State<Server>,
    Id(id): Id,
) -> Result<Json<view::LocatedView>, Problem> {
    let read = move || {
        let held = server.lock();
        let located = held.transaction(&id).map_err(|error| broken(&error))?;
        let located = located.ok_or_else(|| not_found(format_args!("transaction {id}")))?;
        Ok(view::LocatedView::new(held.ledger().state().chain(), &located))
    };
    blocking(read).await.map(Json)
}

async fn inclusion(
    State(server): State<Server>,
    Id(id): Id,
) -> Result<Json<dsc_lib::role::blockchain::Inclusion>, Problem> {
    let read = move || {
        let found = server.lock().inclusion(&id).map_err(|error| broken(&error))?;
        found.ok_or_else(|| not_found(format_args!("transaction {id}")))
    };
    blocking(read).await.map(Json)
}

/// What the ledger knows of an address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountView {
    pub(crate) address: Address,
    pub(crate) balance: dsc_lib::units::Amount,
    pub(crate) sequence: u64,
    pub(crate) height: Option<Height>,
}

async fn account(State(server): State<Server>, Of(address): Of) -> Json<AccountView> {
    let held = server.lock();
    let account = held.account(&address);
    let height = held.ledger().state().height();
    Json(AccountView { address, balance: account.balance, sequence: account.sequence, height })
}

#[derive(Debug, Deserialize)]
struct Page {
    before_height: Option<Height>,
    before_index: Option<u32>,
    limit: Option<usize>,
}

async fn history(
    State(server): State<Server>,
    Of(address): Of,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<view::EventView>>, Problem> {
    let before = page
        .before_height
        .map(|height| Place { height, index: page.before_index.unwrap_or_default() });
    let limit = page.limit.unwrap_or(50).min(HISTORY_MAX);
    let read = move || {
        let held = server.lock();
        let events = held.ledger().history(&address, before, limit);
        let events = events.map_err(|error| broken(&error))?;
        let chain = held.ledger().state().chain();
        Ok(events.iter().map(|event| view::EventView::new(chain, event)).collect())
    };
    blocking(read).await.map(Json)
}
