//! The ledger and the pool for people to look at: questions passed on, a few at a time.
//!
//! # Invariants
//!
//! 1. At most [`TURNS`] questions are under way; others wait for a moment, then are told to come back.
//! 2. Nothing of a request gets into the path of another but what was read as a height, a digest or
//!    an address.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use dsc_lib::{
    address::{Address, Prefix},
    hash::Digest,
    role::{blockchain::Summary, monitor::BlockRow, pool::NextSequence},
    units::Height,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Server,
    pages::{AccountPage, BlockPage, FoundPage, TransactionPage},
};
use crate::{
    http::{
        ClientError, Problem, Room,
        openapi::{Operation, Routes, describe},
    },
    role::{
        blockchain::{AccountView, Record},
        describe::BlockName,
        openapi::of_address,
        pool::HeldRecord,
        query::{Asked, Id, Limit, Of, Which},
        transport::{Transport, found},
        view::EventView,
    },
};

/// Questions under way at once.
const TURNS: usize = 6;
/// How long one waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(2);
/// How long a role is waited for.
const ROLE_TIME: Duration = Duration::from_secs(5);
/// When somebody whose turn did not come may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Transactions of a block that are listed.
const LISTED_MAX: usize = 1000;

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Explorer {
    roles: Transport,
    turns: Arc<Semaphore>,
}

impl Explorer {
    pub(super) fn new(roles: Transport) -> Self {
        let roles = roles.within(ROLE_TIME);
        Self { roles, turns: Arc::new(Semaphore::new(TURNS)) }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = timeout(TURN_TIME, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            Problem::unavailable("overloaded", "too much is asked of the roles at once")
                .with_retry_after(RETRY_AFTER)
        })
    }
}

/// The roles and the network to ask about.
struct Asking {
    roles: Transport,
    prefix: Prefix,
    _turn: OwnedSemaphorePermit,
}

/// Answers what `ask` finds out.
async fn answer<T: Serialize + Send + 'static>(
    server: &Server,
    room: &Room,
    ask: impl FnOnce(&Asking) -> Result<T, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let prefix = server.shared.clone().with(|monitor| monitor.history().prefix()).await?;
    let prefix = prefix.ok_or_else(|| {
        Problem::unavailable("not-ready", "the blockchain server has not answered yet")
            .with_retry_after(RETRY_AFTER)
    })?;
    let turn = server.explorer.turn().await?;
    let asking = Asking { roles: server.explorer.roles.clone(), prefix, _turn: turn };
    room.json(move || ask(&asking)).await
}

/// The problem of a role that does not give what it should.
fn down(role: &str, error: &ClientError) -> Problem {
    Problem::unavailable("role-down", format_args!("{role}: {error}"))
        .with_hint("`dsc health` says which roles are ready")
        .with_retry_after(RETRY_AFTER)
}

fn nothing(what: impl std::fmt::Display) -> Problem {
    Problem::not_found("not-found", format_args!("there is no {what}"))
}

impl Asking {
    /// Gets something of the blockchain server, if it is there.
    fn ledger<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Problem> {
        found(self.roles.blockchain.get_json(path)).map_err(|error| down("blockchain", &error))
    }

    fn pool<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Problem> {
        found(self.roles.pool.get_json(path)).map_err(|error| down("pool", &error))
    }

    fn rows(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockRow>, Problem> {
        let before = before.map(|height| format!("before={height}&")).unwrap_or_default();
        let path = format!("/v1/summaries?{before}limit={limit}");
        let summaries: Vec<Summary> = self.ledger(&path)?.unwrap_or_default();
        Ok(summaries.iter().map(|summary| BlockRow::new(summary, self.prefix)).collect())
    }

    fn block(&self, which: &BlockWanted) -> Result<Option<BlockPage>, Problem> {
        let path = format!("/v1/blocks/{}?limit={LISTED_MAX}", which.0);
        let Some(block): Option<crate::role::view::BlockView> = self.ledger(&path)? else {
            return Ok(None);
        };
        let row = self.rows(Some(block.height.next()), 1)?.into_iter().next();
        let row = row.ok_or_else(|| nothing(format_args!("summary of block {}", block.height)))?;
        Ok(Some(BlockPage::new(block, row)))
    }

    /// What ledger and pool say of a transaction; each may be missing, or not answer.
    fn transaction(&self, id: Digest) -> Result<Option<TransactionPage>, Problem> {
        let path = format!("/v1/transactions/{id}/record");
        let (record, held) = (self.ledger::<Record>(&path), self.pool::<HeldRecord>(&path));
        let known = |record: Option<&Record>, held: Option<&HeldRecord>| {
            TransactionPage::new(id, record, held, self.prefix)
        };
        match (record, held) {
            (Ok(record), Ok(held)) => Ok(known(record.as_ref(), held.as_ref())),
            (Ok(Some(record)), Err(_)) => Ok(known(Some(&record), None)),
            (Err(_), Ok(Some(held))) => Ok(known(None, Some(&held))),
            (Err(problem), _) | (_, Err(problem)) => Err(problem),
        }
    }

    fn account(&self, address: &Address) -> Result<AccountPage, Problem> {
        let path = format!("/v1/accounts/{address}");
        let account: Option<AccountView> = self.ledger(&path)?;
        let account = account.ok_or_else(|| nothing(format_args!("account {address}")))?;
        let AccountView { balance, sequence, height, .. } = account;
        let next: Option<NextSequence> = self.pool(&path).unwrap_or_default();
        let pending = next.map(|next| next.sequence.saturating_sub(sequence));
        let address = address.to_text(self.prefix);
        Ok(AccountPage { address, balance, sequence, height, pending })
    }

    fn history(&self, address: &Address, page: &Page) -> Result<Vec<EventView>, Problem> {
        let part = |name: &str, value: Option<u64>| {
            value.map(|value| format!("&{name}={value}")).unwrap_or_default()
        };
        let limit = page.limit.map_or(50, Limit::count);
        let height = part("before_height", page.before_height.map(|height| height.0));
        let index = part("before_index", page.before_index.map(u64::from));
        let path = format!("/v1/accounts/{address}/transactions?limit={limit}{height}{index}");
        Ok(self.ledger(&path)?.unwrap_or_default())
    }

    /// What a text names: a height, a block, a transaction or an address.
    fn search(&self, text: &str) -> Result<FoundPage, Problem> {
        if let Some(page) = self.search_block(text)? {
            return Ok(page);
        }
        if let Ok(id) = text.parse::<Digest>()
            && self.transaction(id)?.is_some()
        {
            return Ok(FoundPage { kind: "transaction", path: format!("/transaction/{id}") });
        }
        match Address::from_any_text(text) {
            Ok((prefix, address)) if prefix == self.prefix => {
                let path = format!("/address/{}", address.to_text(prefix));
                Ok(FoundPage { kind: "account", path })
            }
            Ok((prefix, _)) => Err(nothing(format_args!(
                "such address here: it is for networks of prefix `{prefix}`, this one has `{}`",
                self.prefix
            ))),
            Err(_) => Err(unknown(text)),
        }
    }

    fn search_block(&self, text: &str) -> Result<Option<FoundPage>, Problem> {
        let Ok(which) = text.parse::<BlockWanted>() else { return Ok(None) };
        // One transaction of it is enough.
        let path = format!("/v1/blocks/{}?limit=1", which.0);
        let found: Option<crate::role::view::BlockView> = self.ledger(&path)?;
        let page = |height| FoundPage { kind: "block", path: format!("/block/{height}") };
        Ok(found.map(|block| page(block.height)))
    }
}

fn unknown(text: &str) -> Problem {
    let shown: String = text.chars().take(80).collect();
    let tried = if text.parse::<Digest>().is_ok() {
        "it is no block hash and no transaction that ledger or pool know"
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        "the ledger has no block of that height"
    } else {
        "it is no height, no hash or id of 64 hexadecimal digits, and no address"
    };
    Problem::not_found("not-found", format_args!("nothing is found for `{shown}`: {tried}"))
}

/// A block that somebody asks for: a height, a hash, or `tip`.
struct BlockWanted(String);

impl std::str::FromStr for BlockWanted {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let is_number =
            text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok();
        if is_number || text == "tip" || text.parse::<Digest>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let detail = format!("`{text}` is neither a height, nor a block hash, nor `tip`");
        Err(Problem::malformed("invalid-block", detail))
    }
}

/// Adds the routes of the explorer.
pub(super) fn add(routes: Routes<Server>) -> Routes<Server> {
    let address = "/v1/accounts/{address}";
    routes
        .get(
            "/v1/blocks",
            blocks,
            asking("blocks", "Blocks at a glance").query::<Below>().json::<Vec<BlockRow>>(
                "Newest first; pass the last one's height for the next page.",
            ),
        )
        .get("/v1/blocks/{which}", block, block_())
        .get("/v1/transactions/{id}", transaction, transaction_())
        .get(
            address,
            account,
            told(of_address("account", "What an address holds"))
                .json::<AccountPage>("What it holds."),
        )
        .get(
            "/v1/accounts/{address}/transactions",
            history,
            told(of_address("activity", "What touched an address"))
                .query::<Page>()
                .json::<Vec<EventView>>(
                    "Newest first; pass the last one's place for the next page.",
                ),
        )
        .get("/v1/search", search, search_())
}

fn asking(id: &'static str, summary: &'static str) -> Operation {
    told(Operation::new(id, summary))
}

fn told(operation: Operation) -> Operation {
    operation.fault(503, "not-ready", "the blockchain server has not answered yet").fault(
        503,
        "role-down",
        "a role that knows does not answer",
    )
}

fn block_() -> Operation {
    asking("block", "A block")
        .path::<BlockName>("which", "A height, a block hash, or `tip` for the last block.")
        .json::<BlockPage>("The block, with its first 1,000 transactions.")
        .fault(400, "invalid-block", "the path names no block")
        .fault(400, "invalid-path", "the path is not UTF-8")
        .fault(404, "not-found", "there is no such block on the ledger")
}

fn transaction_() -> Operation {
    asking("transaction", "A transaction and its life so far")
        .path::<Digest>("id", "Id of the transaction.")
        .json::<TransactionPage>("Wherever it is on its way.")
        .fault(400, "invalid-id", "the id is not 64 hexadecimal digits")
        .fault(400, "invalid-path", "the path is not UTF-8")
        .fault(404, "not-found", "neither ledger nor pool knows such a transaction")
}

fn search_() -> Operation {
    asking("search", "What a text names")
        .about(
            "A height or `tip`, a block hash, the id of a transaction, or an address in Bech32m.",
        )
        .query::<Wanted>()
        .json::<FoundPage>("The page of it.")
        .fault(404, "not-found", "it names nothing; `detail` says what was tried")
}

#[derive(Debug, Deserialize)]
struct Below {
    before: Option<Height>,
    limit: Option<Limit>,
}

describe! { asked Below as "Below": "Which blocks." {
    before: "Only those below this height; nothing: from the tip on.",
    limit: "Most blocks wanted: 50 if not given, 100 at most.",
}}

async fn blocks(
    State(server): State<Server>,
    Asked(asked): Asked<Below>,
    room: Room,
) -> Result<Response, Problem> {
    let limit = asked.limit.map_or(50, Limit::count);
    answer(&server, &room, move |asking| asking.rows(asked.before, limit)).await
}

async fn block(
    State(server): State<Server>,
    Which(which): Which,
    room: Room,
) -> Result<Response, Problem> {
    let wanted: BlockWanted = which.parse()?;
    let ask = move |asking: &Asking| {
        asking.block(&wanted)?.ok_or_else(|| nothing(format_args!("block {which} on the ledger")))
    };
    answer(&server, &room, ask).await
}

async fn transaction(
    State(server): State<Server>,
    Id(id): Id,
    room: Room,
) -> Result<Response, Problem> {
    let ask = move |asking: &Asking| {
        let missing = || nothing(format_args!("transaction {id} on the ledger or in the pool"));
        asking.transaction(id)?.ok_or_else(missing)
    };
    answer(&server, &room, ask).await
}

async fn account(
    State(server): State<Server>,
    Of(address): Of,
    room: Room,
) -> Result<Response, Problem> {
    answer(&server, &room, move |asking| asking.account(&address)).await
}

#[derive(Debug, Deserialize)]
struct Page {
    before_height: Option<Height>,
    before_index: Option<u32>,
    limit: Option<Limit>,
}

describe! { asked Page as "Page": "A page of a history." {
    before_height: "Only what is before this place: its height.",
    before_index: "Only what is before this place: its index; nothing counts as 0.",
    limit: "Most entries wanted: 50 if not given.",
}}

async fn history(
    State(server): State<Server>,
    Of(address): Of,
    Asked(page): Asked<Page>,
    room: Room,
) -> Result<Response, Problem> {
    answer(&server, &room, move |asking| asking.history(&address, &page)).await
}

#[derive(Debug, Deserialize)]
struct Wanted {
    q: String,
}

describe! { asked Wanted as "Wanted": "What is looked for." {
    q: "The text.",
}}

async fn search(
    State(server): State<Server>,
    Asked(wanted): Asked<Wanted>,
    room: Room,
) -> Result<Response, Problem> {
    answer(&server, &room, move |asking| asking.search(wanted.q.trim())).await
}
