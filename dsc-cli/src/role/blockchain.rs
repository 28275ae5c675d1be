//! The blockchain server over HTTP.

mod audits;
pub(crate) mod routes;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::Bytes, extract::State, response::Response};
use dsc_lib::{
    address::Address,
    block::Header,
    codec,
    genesis::Chain,
    hash::Digest,
    ledger::{Archive, Maintained, Place, StoreError},
    role::blockchain::{self, Blockchain, Inclusion, SUMMARIES_MAX, SubmitError},
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

use self::audits::Audits;
use super::{
    Shared, blocking, genesis,
    query::{Asked, Id, Limit, Of, Which, bounded},
    refused, view,
};
use crate::{
    clock::SystemClock,
    crash::{self, Point},
    http::{Check, Json, Limits, Problem, Room, Site},
    metrics::{self, Sort},
    shutdown::Shutdown,
};

/// How far ahead of this machine's clock a block may be. The rules bound its time from below only:
/// after one at the end of time no other could follow, whoever made it.
const AHEAD_MAX: Millis = Millis(2 * 60 * 60 * 1000);

/// What needs the state goes through the lock, which is held for moments only: blocks are checked
/// and stored beside it, one after the other, and what is on disk is read beside it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared<Blockchain>>,
    /// Whose turn it is to submit a block.
    turn: Arc<Mutex<()>>,
    archive: Archive,
    chain: Chain,
    /// The last snapshot and the tip it is of: everybody who asks gets the same bytes.
    snapshot: Arc<Mutex<Option<(Digest, Bytes)>>>,
    audits: Arc<Audits>,
}

impl Server {
    fn new(shared: &Arc<Shared<Blockchain>>) -> Self {
        let held = shared.lock();
        let (archive, chain) =
            (held.ledger().archive().clone(), held.ledger().state().chain().clone());
        drop(held);
        let (turn, snapshot) = (Arc::default(), Arc::default());
        let audits = Arc::default();
        Self { shared: shared.clone(), turn, archive, chain, snapshot, audits }
    }

    /// Waits until there is a block at the height asked for, or the time for it is over.
    async fn reached(&self, asked: &From) {
        let reached = |chain: &mut Blockchain| {
            (chain.ledger().state().round().height > asked.from).then_some(())
        };
        self.shared.until(bounded(asked.wait), reached).await;
    }

    /// Checks and stores a block. Whoever submits the same block meanwhile waits for this one, and
    /// is told the same.
    fn submit(&self, block: &[u8]) -> Result<blockchain::Accepted, SubmitError> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        crash::point(Point::BlockchainReceived);
        let submission = self.shared.lock().begin(block);
        let mut stored = submission.run()?;
        crash::point(Point::BlockchainStored);
        let accepted = self.shared.lock().finish(&mut stored)?;
        crash::point(Point::BlockchainApplied);
        drop(turn);
        self.shared.changed();
        Ok(accepted)
    }

    fn snapshot(&self) -> Result<Bytes, StoreError> {
        let mut last = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.shared.lock().ledger().shared_state();
        let tip = state.tip().hash;
        if let Some((_, bytes)) = last.as_ref().filter(|(of, _)| *of == tip) {
            return Ok(bytes.clone());
        }
        let snapshot = self.archive.snapshot_of(&state)?;
        drop(state);
        let bytes = Bytes::from(codec::encode(&snapshot));
        *last = Some((tip, bytes.clone()));
        Ok(bytes)
    }
}

/// The routes of a blockchain server.
pub(crate) fn site(shared: &Arc<Shared<Blockchain>>, limits: &Limits, shutdown: &Shutdown) -> Site {
    site_of(&Server::new(shared), limits, shutdown)
}

fn site_of(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let (figures, ready) = (server.shared.clone(), server.shared.clone());
    Site::of(routes::outline().with_state(server), limits, shutdown, None)
        .ready(move || checks(&ready))
        .metrics(move |text| write_figures(&figures, text))
}

/// A ledger is ready whatever its age: it is the metronome that blocks have to come from.
fn checks(server: &Shared<Blockchain>) -> Vec<Check> {
    let held = server.lock();
    let state = held.ledger().state();
    let (height, Millis(time)) = (state.height(), state.tip().time);
    drop(held);
    let age = SystemClock::new().unix().since(Millis(time));
    let detail = super::tip_text(height, age);
    vec![
        Check { name: "ledger", ok: true, detail: "open".into() },
        Check { name: "tip", ok: true, detail },
    ]
}

fn write_figures(server: &Shared<Blockchain>, text: &mut String) {
    let held = server.lock();
    let state = held.ledger().state();
    let height = state.height().map_or_else(|| "-1".into(), |height| height.to_string());
    let Millis(time) = state.tip().time;
    let wins = held.ledger().wins();
    let (by_engine, without) = (wins.by_engine(), wins.none());
    let equivocations = held.evidence().count();
    drop(held);
    metrics::gauge(text, "dsc_chain_height", "Height of the last block; -1 without one.", height);
    let about = "Time of the last block, since the Unix epoch.";
    metrics::gauge(text, "dsc_tip_timestamp_seconds", about, metrics::seconds_of(time));
    let about = "Heights at which a metronome signed two blocks.";
    metrics::gauge(text, "dsc_equivocations", about, equivocations);
    let about = "Blocks on the ledger, by the proof that won them; none without a winner.";
    metrics::family(text, "dsc_blocks_total", Sort::Counter, about);
    for (kind, count) in dsc_lib::proof::ProofKind::all().zip(by_engine) {
        metrics::sample(text, "dsc_blocks_total", &[("proof", kind.name())], count);
    }
    metrics::sample(text, "dsc_blocks_total", &[("proof", "none")], without);
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
    let info = blocking(move || server.shared.lock().info().map_err(|e| broken(&e))).await?;
    Ok(Json(info).into_response())
}

/// Metronomes that signed two blocks of one height, with both headers.
async fn equivocations(
    State(server): State<Server>,
) -> Result<Json<Vec<blockchain::Equivocation>>, Problem> {
    server.shared.with(|chain| chain.evidence().all()).await.map(Json)
}

async fn chain_genesis(State(server): State<Server>) -> Response {
    genesis(&server.chain)
}

async fn snapshot(State(server): State<Server>, room: Room) -> Result<Response, Problem> {
    room.binary(move || server.snapshot().map_err(|e| broken(&e))).await
}

/// What the last audit found.
async fn audit(State(server): State<Server>) -> Json<Option<blockchain::Audit>> {
    Json(server.audits.last(&server.shared, SystemClock::new().unix()))
}

#[derive(Debug, Deserialize)]
struct Below {
    before: Option<Height>,
    limit: Option<Limit>,
}

async fn summaries(
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
struct From {
    from: Height,
    wait: Option<Millis>,
}

/// Blocks from a height on; waits until there is one.
async fn blocks(
    State(server): State<Server>,
    Asked(asked): Asked<From>,
    room: Room,
) -> Result<Response, Problem> {
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
async fn confirmed(
    State(server): State<Server>,
    Asked(asked): Asked<From>,
    room: Room,
) -> Result<Response, Problem> {
    server.reached(&asked).await;
    let read = move || {
        let recent = server.shared.lock().recent(asked.from);
        let list = blockchain::confirmed(&server.archive, &server.chain, recent, asked.from);
        list.map(|list| codec::encode(&list)).map_err(|error| broken(&error))
    };
    room.binary(read).await
}

async fn submit(
    State(server): State<Server>,
    body: Bytes,
) -> Result<Json<blockchain::Accepted>, Problem> {
    let archive = server.archive.clone();
    let work = move || {
        if let Ok((header, _)) = codec::decode_first::<Header>(&body) {
            refuse_ahead(header.time, SystemClock::new().unix())?;
        }
        let submitted = server.submit(&body);
        submitted.map_err(|error| submit_problem(&error))
    };
    let answer = blocking(work).await.map(Json);
    // Nobody waits for this: it goes on beside the answer.
    drop(tokio::task::spawn_blocking(move || maintain(&archive)));
    answer
}

/// Keeps the index of the ledger in order, so that no block has to wait for that.
fn maintain(archive: &Archive) {
    loop {
        match archive.maintain() {
            Ok(Maintained::More) => {}
            Ok(_) => return crash::point(Point::BlockchainMaintained),
            Err(error) => return tracing::error!(%error, "the ledger's index cannot be written"),
        }
    }
}

const CLOCK_HINT: &str = "the clock of the metronome is fast or that of this machine is slow: set \
                          both, then the metronome hands the block in again";

fn refuse_ahead(got: Millis, now: Millis) -> Result<(), Problem> {
    let max = now.plus(AHEAD_MAX);
    if got <= max {
        return Ok(());
    }
    let detail = format_args!("the block's time is {got}, this server takes none above {max}");
    Err(Problem::rejected("block-ahead", detail).with_hint(CLOCK_HINT))
}

fn submit_problem(error: &SubmitError) -> Problem {
    if let SubmitError::Equivocation { seen, is_new: true } = error {
        let (first, second) = (seen.first.hash(), seen.second.hash());
        let (metronome, height) = (seen.first.metronome, seen.first.height);
        tracing::error!(%metronome, %height, %first, %second, "a metronome signed two blocks");
    }
    if let Some(refusal) = error.refusal() {
        return refused(&refusal);
    }
    tracing::error!(%error, "a block could not be stored");
    Problem::unavailable("store-failed", "this server could not store the block")
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
    found.ok_or_else(|| not_found(format_args!("block {which}")))
}

#[derive(Debug, Deserialize)]
struct Part {
    limit: Option<Limit>,
}

async fn block(
    State(server): State<Server>,
    Which(which): Which,
    Asked(part): Asked<Part>,
    room: Room,
) -> Result<Response, Problem> {
    let read = move || {
        let height = height_of(&server.archive, &which)?;
        let block = server.archive.block(height).map_err(|error| broken(&error))?;
        let block = block.ok_or_else(|| not_found(format_args!("block {which}")))?;
        let max = part.limit.map_or(usize::MAX, Limit::count);
        Ok(view::BlockView::new(&server.chain, &block, max))
    };
    room.json(read).await
}

async fn raw_block(
    State(server): State<Server>,
    Which(which): Which,
    room: Room,
) -> Result<Response, Problem> {
    let read = move || {
        let height = height_of(&server.archive, &which)?;
        let bytes = server.archive.block_bytes(height).map_err(|error| broken(&error))?;
        bytes.ok_or_else(|| not_found(format_args!("block {which}")))
    };
    room.binary(read).await
}

async fn transaction(
    State(server): State<Server>,
    Id(id): Id,
) -> Result<Json<view::LocatedView>, Problem> {
    let read = move || {
        let located = server.archive.transaction(&id).map_err(|error| broken(&error))?;
        let located = located.ok_or_else(|| not_found(format_args!("transaction {id}")))?;
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

async fn record(State(server): State<Server>, Id(id): Id) -> Result<Json<Record>, Problem> {
    let read = move || {
        let found = Record::read(&server.archive, &id).map_err(|error| broken(&error))?;
        found.ok_or_else(|| not_found(format_args!("transaction {id}")))
    };
    blocking(read).await.map(Json)
}

async fn inclusion(
    State(server): State<Server>,
    Id(id): Id,
    room: Room,
) -> Result<Response, Problem> {
    let read = move || {
        let found = Inclusion::read(&server.archive, &id).map_err(|error| broken(&error))?;
        found.ok_or_else(|| not_found(format_args!("transaction {id}")))
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

async fn account(
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
struct Page {
    before_height: Option<Height>,
    before_index: Option<u32>,
    limit: Option<Limit>,
}

async fn history(
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

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use dsc_lib::{
        ledger::{Ledger, Proposal},
        role::blockchain::ConfirmedList,
        testing::{METRONOME, genesis},
    };

    use super::*;
    use crate::{http::Client, role::Socket};

    /// A block may take seconds to check and commit. Meanwhile what is on disk can be read, and
    /// those who have to wait do not keep the server's few threads from others.
    #[test]
    fn a_busy_ledger_holds_up_only_what_needs_it() {
        let mut ledger = Ledger::in_memory(genesis().check().unwrap());
        let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
        let (block, _) = ledger.state().draft(proposal, &METRONOME).unwrap();
        ledger.commit(&block).unwrap();
        let shared = Shared::new(Blockchain::new(ledger));
        let (limits, shutdown) = (Limits::default(), Shutdown::new());
        let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let (url, address) = (socket.url(), socket.address);
        let server = socket.serve(site(&shared, &limits, &shutdown), &limits, &shutdown).unwrap();

        let busy = shared.lock();
        let account = format!("accounts/{}", "00".repeat(32));
        let waits = ["info", "blocks?from=1&wait=9000", "snapshot", &account];
        let waiting: Vec<_> = waits
            .iter()
            .cycle()
            .take(12)
            .map(|path| {
                let mut stream = TcpStream::connect(address).unwrap();
                let head = format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
                std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
                stream
            })
            .collect();
        let time = Duration::from_secs(5);
        let client = Client::new(&url, time, time, 1 << 20).unwrap();
        for _ in 0..20 {
            client.get_bytes("/healthz").unwrap();
            assert_eq!(client.get_bytes("/v1/blocks/tip/raw").unwrap(), block.to_bytes());
        }
        drop((busy, waiting));
        shutdown.request();
        server.join().unwrap();
    }

    /// Whoever reads does not wait for those who submit, and two who submit the same block are told
    /// the same.
    #[test]
    fn a_commit_under_way_holds_up_no_reader() {
        let shared = Shared::new(Blockchain::new(Ledger::in_memory(genesis().check().unwrap())));
        let (limits, shutdown) = (Limits::default(), Shutdown::new());
        let server = Server::new(&shared);
        let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
        let state = shared.lock().ledger().shared_state();
        let (block, _) = state.draft(proposal, &METRONOME).unwrap();
        drop(state);
        let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let url = socket.url();
        let site = site_of(&server, &limits, &shutdown);
        let serving = socket.serve(site, &limits, &shutdown).unwrap();
        let time = Duration::from_secs(60);
        let client = Client::new(&url, time, time, 1 << 20).unwrap();

        let turn = server.turn.lock().unwrap();
        let submit = |client: Client, bytes: Vec<u8>| {
            std::thread::spawn(move || client.submit_bytes("/v1/blocks", &bytes).unwrap())
        };
        let submitting: [_; 2] = std::array::from_fn(|_| submit(client.clone(), block.to_bytes()));
        let waiting = client.clone();
        let waiting = std::thread::spawn(move || {
            waiting.get_bytes("/v1/confirmed?from=0&wait=10000").unwrap()
        });
        let account = format!("/v1/accounts/{}", "00".repeat(32));
        for path in ["/v1/info", &account, "/v1/snapshot", "/v1/blocks?from=0", "/metrics"] {
            client.get_bytes(path).unwrap();
        }
        drop(turn);
        let accepted: [blockchain::Accepted; 2] = submitting.map(|thread| thread.join().unwrap());
        assert_eq!((accepted[0].hash, accepted[0]), (block.hash(), accepted[1]));
        let confirmed: ConfirmedList = codec::decode(&waiting.join().unwrap()).unwrap();
        assert_eq!(confirmed.iter().map(|b| b.hash).collect::<Vec<_>>(), [block.hash()]);
        shutdown.request();
        serving.join().unwrap();
    }

    /// A metronome with a wrong clock, or a bad one, could else end the chain for ever.
    #[test]
    fn a_block_far_ahead_of_the_clock_is_refused() {
        let ledger = Ledger::in_memory(genesis().check().unwrap());
        let server = Server::new(&Shared::new(Blockchain::new(ledger)));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let submit_at = |time| {
            let state = server.shared.lock().ledger().state().clone();
            let proposal = Proposal { proofs: vec![], transactions: vec![], time, epoch: 0 };
            let (block, _) = state.draft(proposal, &METRONOME).unwrap();
            runtime.block_on(submit(State(server.clone()), block.to_bytes().into()))
        };
        let now = SystemClock::new().unix();
        let problem = submit_at(Millis(u64::MAX)).unwrap_err();
        assert_eq!((problem.code(), problem.hint()), ("block-ahead", Some(CLOCK_HINT)));
        assert!(submit_at(now.plus(AHEAD_MAX).plus(Millis(60_000))).is_err());
        assert_eq!(submit_at(now.plus(Millis(1))).unwrap().0.height, Height(0));
    }

    /// Whoever asks for the same snapshot gets the same memory.
    #[test]
    fn a_snapshot_is_made_once_for_a_tip() {
        let ledger = Ledger::in_memory(genesis().check().unwrap());
        let fresh = codec::encode(&ledger.snapshot().unwrap());
        let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
        let (block, _) = ledger.state().draft(proposal, &METRONOME).unwrap();
        let server = Server::new(&Shared::new(Blockchain::new(ledger)));
        let first = server.snapshot().unwrap();
        assert_eq!(first.as_ptr(), server.snapshot().unwrap().as_ptr());
        server.shared.lock().submit(&block.to_bytes()).unwrap();
        assert_eq!(first, fresh);
        assert_ne!(first, server.snapshot().unwrap());
    }
}
