//! What a blockchain server answers: the ledger's blocks, transactions and accounts.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use dsc_lib::{
    address::Address,
    codec,
    hash::Digest,
    ledger::{Archive, Place, StoreError},
    role::{
        NOT_HERE,
        blockchain::{self, Blockchain, Inclusion, SUMMARIES_MAX},
    },
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        blocking, genesis,
        query::{Asked, Id, Limit, Of, Which, bounded},
        view,
    },
    Member, Server, broken,
};
use crate::{
    clock::SystemClock,
    http::{Json, Problem, Room},
};

fn not_found(what: impl std::fmt::Display) -> Problem {
    Problem::not_found("not-found", format_args!("there is no {what} on the ledger"))
}

pub(super) async fn info(State(server): State<Server>) -> Result<Response, Problem> {
    let info = move || {
        let info = server.shared.lock().info().map_err(|error| broken(&error))?;
        let member = server.member.as_deref();
        let final_height = member.and_then(Member::final_height);
        let stale_since = member.and_then(Member::stale_since);
        Ok(blockchain::Info { final_height, stale_since, ..info })
    };
    Ok(Json(blocking(info).await?).into_response())
}

/// Metronomes that signed two blocks of one height, with both headers.
pub(super) async fn equivocations(
    State(server): State<Server>,
) -> Result<Json<Vec<blockchain::Equivocation>>, Problem> {
    server.shared.with(|chain| chain.evidence().all()).await.map(Json)
}

pub(super) async fn chain_genesis(State(server): State<Server>) -> Response {
    genesis(&server.chain)
}

pub(super) async fn snapshot(
    State(server): State<Server>,
    room: Room,
) -> Result<Response, Problem> {
    room.binary(move || server.snapshot().map(|(_, bytes)| bytes).map_err(|e| broken(&e))).await
}

/// What the last audit found.
pub(super) async fn audit(State(server): State<Server>) -> Json<Option<blockchain::Audit>> {
    Json(server.audits.last(&server.shared, SystemClock::new().unix()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Below {
    pub(super) before: Option<Height>,
    pub(super) limit: Option<Limit>,
}

pub(super) async fn summaries(
    State(server): State<Server>,
    Asked(asked): Asked<Below>,
    room: Room,
) -> Result<Response, Problem> {
    let before = asked.before.unwrap_or(Height(u64::MAX));
    let max = asked.limit.map_or(50, Limit::count).min(SUMMARIES_MAX);
    let recent = move |chain: &mut Blockchain| chain.recent_summaries(before, max);
    let recent = server.shared.clone().with(recent).await?;
    let read = move || {
        let Server { archive, chain, .. } = &server;
        let found = blockchain::summaries(archive, chain, &recent, before, max);
        found.map_err(|error| broken(&error))
    };
    room.json(read).await
}

#[derive(Debug, Deserialize)]
pub(super) struct From {
    pub(super) from: Height,
    pub(super) wait: Option<Millis>,
}

impl Server {
    /// Waits until there is a block at the height asked for, or the time for it is over.
    async fn reached(&self, asked: &From) {
        let reached = |chain: &mut Blockchain| {
            (chain.ledger().state().round().height > asked.from).then_some(())
        };
        self.shared.until(bounded(asked.wait), reached).await;
    }
}

/// Refuses to wait for what this server does not have and never will.
fn require_here(archive: &Archive, from: Height) -> Result<(), Problem> {
    let Some(base) = archive.base().filter(|base| from <= *base) else { return Ok(()) };
    let detail = format_args!("this server began at a snapshot: it has no block up to {base}");
    Err(Problem::not_found(NOT_HERE, detail).with_hint(ELSEWHERE))
}

/// What there is not on the ledger, as far as this server can know: before `since` it is not.
fn absent(archive: &Archive, what: impl std::fmt::Display, since: Height) -> Problem {
    let Some(base) = archive.base().filter(|base| since <= *base) else { return not_found(what) };
    let detail =
        format_args!("this server began at a snapshot: above block {base} there is no {what}");
    Problem::not_found(NOT_HERE, detail).with_hint(ELSEWHERE)
}

fn no_transaction(archive: &Archive, id: &Digest, since: Height) -> Problem {
    absent(archive, format_args!("transaction {id}"), since)
}

const ELSEWHERE: &str = "ask another server of the chain";

/// Blocks from a height on; waits until there is one.
pub(super) async fn blocks(
    State(server): State<Server>,
    Asked(asked): Asked<From>,
    room: Room,
) -> Result<Response, Problem> {
    require_here(&server.archive, asked.from)?;
    server.reached(&asked).await;
    let read = move || {
        let blocks = blockchain::blocks(&server.archive, asked.from).map_err(|e| broken(&e))?;
        Ok(block_list(&blocks))
    };
    room.binary(read).await
}

/// The encoding of a [`BlockList`](super::transport::BlockList), made of whole blocks.
fn block_list(blocks: &[Vec<u8>]) -> Vec<u8> {
    let len: usize = blocks.iter().map(|block| 8 + block.len()).sum();
    let mut bytes = Vec::with_capacity(8 + len);
    bytes.extend((blocks.len() as u64).to_le_bytes());
    for block in blocks {
        bytes.extend((block.len() as u64).to_le_bytes());
        bytes.extend_from_slice(block);
    }
    bytes
}

/// The ids of what was confirmed from a height on; waits until something is.
pub(super) async fn confirmed(
    State(server): State<Server>,
    Asked(asked): Asked<From>,
    room: Room,
) -> Result<Response, Problem> {
    require_here(&server.archive, asked.from)?;
    server.reached(&asked).await;
    let read = move || {
        let recent = server.shared.lock().recent(asked.from);
        let list = blockchain::confirmed(&server.archive, &server.chain, recent, asked.from);
        list.map(|list| codec::encode(&list)).map_err(|error| broken(&error))
    };
    room.binary(read).await
}

/// The height that `which` names: a number, a hash or `tip`.
fn height_of(archive: &Archive, which: &str) -> Result<Height, Problem> {
    if which == "tip" {
        let height = archive.height().map_err(|error| broken(&error))?;
        return height.ok_or_else(|| not_found("block"));
    }
    // 64 digits are a hash, even if all of them are decimal.
    let Ok(hash) = which.parse::<Digest>() else {
        let is_number = which.bytes().all(|byte| byte.is_ascii_digit());
        let height = is_number.then(|| which.parse().ok()).flatten();
        return height.map(Height).ok_or_else(|| {
            let detail = format!("`{which}` is neither a height, nor a block hash, nor `tip`");
            Problem::malformed("invalid-block", detail)
        });
    };
    let found = archive.height_of(&hash).map_err(|error| broken(&error))?;
    found.ok_or_else(|| absent(archive, format_args!("block {which}"), Height(0)))
}

/// The height that `which` names, unless this server never had the blocks up to there.
fn height_here(archive: &Archive, which: &str) -> Result<Height, Problem> {
    let height = height_of(archive, which)?;
    require_here(archive, height).map(|()| height)
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    pub(super) limit: Option<Limit>,
}

pub(super) async fn block(
    State(server): State<Server>,
    Which(which): Which,
    Asked(part): Asked<Part>,
    room: Room,
) -> Result<Response, Problem> {
    let read = move || {
        let height = height_here(&server.archive, &which)?;
        let block = server.archive.block(height).map_err(|error| broken(&error))?;
        let block = block.ok_or_else(|| not_found(format_args!("block {which}")))?;
        let max = part.limit.map_or(usize::MAX, Limit::count);
        Ok(view::BlockView::new(&server.chain, &block, max))
    };
    room.json(read).await
}

pub(super) async fn raw_block(
    State(server): State<Server>,
    Which(which): Which,
    room: Room,
) -> Result<Response, Problem> {
    let read = move || {
        let height = height_here(&server.archive, &which)?;
        let bytes = server.archive.block_bytes(height).map_err(|error| broken(&error))?;
        bytes.ok_or_else(|| not_found(format_args!("block {which}")))
    };
    room.binary(read).await
}

pub(super) async fn transaction(
    State(server): State<Server>,
    Id(id): Id,
) -> Result<Json<view::LocatedView>, Problem> {
    let read = move || {
        let located = server.archive.transaction(&id).map_err(|error| broken(&error))?;
        let located = located.ok_or_else(|| no_transaction(&server.archive, &id, Height(0)))?;
        Ok(view::LocatedView::new(&server.chain, &located))
    };
    blocking(read).await.map(Json)
}

/// A transaction on the ledger with its place and time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) height: Height,
    pub(crate) index: u32,
    pub(crate) block_hash: Digest,
    pub(crate) block_time: Millis,
    pub(crate) tip: Height,
    #[serde(with = "hex::serde")]
    pub(crate) transaction: Vec<u8>,
}

impl Record {
    fn read(archive: &Archive, id: &Digest) -> Result<Option<Self>, StoreError> {
        let Some(located) = archive.transaction(id)? else { return Ok(None) };
        let Place { height, index } = located.place;
        let Some(header) = archive.header(height)? else { return Ok(None) };
        let (block_hash, block_time) = (header.hash(), header.time);
        let tip = archive.height()?.unwrap_or(height);
        let transaction = codec::encode(&located.transaction);
        Ok(Some(Self { height, index, block_hash, block_time, tip, transaction }))
    }
}

pub(super) async fn record(
    State(server): State<Server>,
    Id(id): Id,
) -> Result<Json<Record>, Problem> {
    let read = move || {
        let found = Record::read(&server.archive, &id).map_err(|error| broken(&error))?;
        found.ok_or_else(|| no_transaction(&server.archive, &id, Height(0)))
    };
    blocking(read).await.map(Json)
}

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    pub(super) since: Option<Height>,
}

pub(super) async fn inclusion(
    State(server): State<Server>,
    Id(id): Id,
    Asked(asked): Asked<Since>,
    room: Room,
) -> Result<Response, Problem> {
    let since = asked.since.unwrap_or_default();
    let read = move || {
        let found = Inclusion::read(&server.archive, &id).map_err(|error| broken(&error))?;
        found.ok_or_else(|| no_transaction(&server.archive, &id, since))
    };
    room.json(read).await
}

/// What the ledger knows of an address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountView {
    pub(crate) address: Address,
    pub(crate) balance: dsc_lib::units::Amount,
    pub(crate) sequence: u64,
    pub(crate) height: Option<Height>,
}

pub(super) async fn account(
    State(server): State<Server>,
    Of(address): Of,
) -> Result<Json<AccountView>, Problem> {
    let read = move |chain: &mut Blockchain| {
        let account = chain.account(&address);
        let height = chain.ledger().state().height();
        AccountView { address, balance: account.balance, sequence: account.sequence, height }
    };
    server.shared.with(read).await.map(Json)
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) before_height: Option<Height>,
    pub(super) before_index: Option<u32>,
    pub(super) limit: Option<Limit>,
}

pub(super) async fn history(
    State(server): State<Server>,
    Of(address): Of,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<view::EventView>>, Problem> {
    let before = page
        .before_height
        .map(|height| Place { height, index: page.before_index.unwrap_or_default() });
    let limit = page.limit.map_or(50, Limit::count);
    let read = move || {
        let events = server.archive.history(&address, before, limit);
        let events = events.map_err(|error| broken(&error))?;
        Ok(events.iter().map(|event| view::EventView::new(&server.chain, event)).collect())
    };
    blocking(read).await.map(Json)
}
