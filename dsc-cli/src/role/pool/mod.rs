//! The pool over HTTP, with what keeps what it has acknowledged: a journal, or the log that several
//! pools share.

mod feed;
mod intake;
mod journal;
mod keeper;
mod moving;
pub(crate) mod routes;
pub(crate) mod submission;

use std::{path::Path, sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use dsc_lib::{
    address::Address,
    cluster::TransactionLog,
    codec,
    keys::SecretKey,
    mempool::{Counts, Latency, Note, Status, journal::Journal},
    role::pool::{Activity, NextSequence, Outcome, Pool},
    transaction::{Draft, Encoded, Memo, Payment, Payments},
    units::{Amount, Height, Millis},
};
use serde::{Deserialize, Serialize};

use self::{feed::SharedLog, intake::Intake, journal::Holder, keeper::Keeper};
use super::{
    Shared, blocking, genesis,
    query::{Asked, Id, Of},
    refused,
};
use crate::{
    clock::Time,
    crash::{self, Point},
    exit::Failure,
    http::{Check, Json, Limits, Problem, Room, Site, Token},
    metrics::{self, Sort, seconds_of},
    shutdown::Shutdown,
};

/// Heights within which a faucet's payment must get onto the ledger.
const FAUCET_LIFETIME: u64 = 100;
/// Times that a faucet pays again whose sequence somebody else has used.
const FAUCET_RETRIES: usize = 3;
/// When a full pool may be asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A pool with what keeps what it acknowledges.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared<Pool>>,
    keeper: Arc<dyn Keeper>,
    intake: Intake,
    faucet: Option<SecretKey>,
}

impl Server {
    /// Opens the journal in `folder` beside a pool; what it holds is taken in once the pool has
    /// followed the ledger.
    pub(crate) fn open(
        pool: Pool,
        folder: &Path,
        faucet: Option<SecretKey>,
        intake_bytes_max: usize,
        time: &Time,
    ) -> Result<Arc<Self>, Failure> {
        let opened = journal::open(folder);
        let journal = opened.map_err(|error| Failure::file("open", folder, &error))?;
        Self::start(pool, journal, faucet, intake_bytes_max, time)
    }

    /// A pool with a journal that is open.
    pub(crate) fn start(
        pool: Pool,
        journal: Journal,
        faucet: Option<SecretKey>,
        intake_bytes_max: usize,
        time: &Time,
    ) -> Result<Arc<Self>, Failure> {
        let shared = Shared::new(pool);
        let holder = Holder::new(shared.clone(), journal, time.clone());
        Self::with_keeper(shared, Arc::new(holder), faucet, intake_bytes_max)
    }

    /// A pool beside others that share `log`; what it holds is taken in once the pool has followed
    /// the ledger.
    pub(crate) fn join(
        pool: Pool,
        log: Arc<dyn TransactionLog>,
        faucet: Option<SecretKey>,
        intake_bytes_max: usize,
        time: &Time,
    ) -> Result<Arc<Self>, Failure> {
        let shared = Shared::new(pool);
        let keeper = SharedLog::start(log, shared.clone(), time.clone())?;
        Self::with_keeper(shared, keeper, faucet, intake_bytes_max)
    }

    fn with_keeper(
        shared: Arc<Shared<Pool>>,
        keeper: Arc<dyn Keeper>,
        faucet: Option<SecretKey>,
        intake_bytes_max: usize,
    ) -> Result<Arc<Self>, Failure> {
        let chain = shared.lock().replica().state().chain().clone();
        let intake = Intake::start(chain, keeper.clone(), intake_bytes_max)?;
        Ok(Arc::new(Self { shared, keeper, intake, faucet }))
    }

    /// Follows the pool after each of its calls, once it knows the ledger's state: has taken in what
    /// was acknowledged before the start, and what has ended since removed.
    pub(crate) fn follow(&self, pool: &mut Pool) {
        if pool.replica().is_fresh() || !self.keeper.follow(pool) {
            return;
        }
        crash::point(Point::PoolFollowed);
        self.intake.tend();
    }

    fn is_restored(&self) -> bool {
        self.keeper.is_restored()
    }

    /// A pool that has not followed the ledger would judge by balances of long ago, and does not
    /// know yet what was acknowledged before.
    fn check_followed(&self) -> Result<(), Problem> {
        if self.is_restored() {
            return Ok(());
        }
        let problem = Problem::unavailable("not-ready", "the pool has not reached the ledger yet");
        Err(problem.with_retry_after(RETRY_AFTER))
    }

    /// Submits and waits; not for threads that serve connections.
    fn submit(&self, transactions: Vec<Encoded>) -> Result<Vec<Outcome>, Problem> {
        let answered = self.intake.offer(transactions)?;
        answered.blocking_recv().unwrap_or_else(|_| Err(intake::gone()))
    }

    /// Pays, and tries again if somebody else has used the sequence meanwhile: another pool's faucet
    /// pays from the same account, and may have made the same payment to the byte.
    fn pay_from_faucet(&self, to: Address, amount: Amount) -> Result<Outcome, Problem> {
        let Some(key) = &self.faucet else {
            return Err(Problem::not_found("not-found", "this pool has no faucet")
                .with_hint("`dsc dev`, or `dsc pool --faucet` on a development network, has one"));
        };
        self.check_followed()?;
        let mut outcome = self.pay(key, to, amount)?;
        for _ in 0..FAUCET_RETRIES {
            let is_other = match &outcome {
                Outcome::Known { .. } => true,
                Outcome::Rejected { refusal, .. } => refusal.code.starts_with("sequence-"),
                _ => false,
            };
            if !is_other {
                break;
            }
            outcome = self.pay(key, to, amount)?;
        }
        Ok(outcome)
    }

    fn pay(&self, key: &SecretKey, to: Address, amount: Amount) -> Result<Outcome, Problem> {
        let refuse = |error: &dyn std::fmt::Display| Problem::rejected("invalid-payment", error);
        let payments = Payments::new(vec![Payment { to, amount }]).map_err(|e| refuse(&e))?;
        let pool = self.shared.lock();
        let chain = pool.replica().state().chain().hash();
        let NextSequence { sequence, height } = pool.next_sequence(&key.public().address());
        drop(pool);
        let expires = Height(height.0.saturating_add(FAUCET_LIFETIME));
        let draft = Draft { sequence, expires, fee: Amount::ZERO, payments, memo: Memo::default() };
        let mut outcomes = self.submit(vec![draft.sign(&chain, key).into()])?;
        outcomes.pop().ok_or_else(|| Problem::internal("no outcome"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

/// The routes of a pool.
pub(crate) fn site(
    server: &Arc<Server>,
    limits: &Limits,
    shutdown: &Shutdown,
    token: Option<&Token>,
) -> Site {
    let (ready, figures) = (server.clone(), server.clone());
    Site::of(routes::outline().with_state(server), limits, shutdown, token)
        .ready(move || checks(&ready))
        .metrics(move |text| write_figures(&figures, text))
}

fn checks(server: &Server) -> Vec<Check> {
    let pool = server.shared.lock();
    let fault = pool.fault().map(str::to_owned);
    let followed = !pool.replica().is_fresh();
    drop(pool);
    let detail = fault.clone().unwrap_or_else(|| "followed".into());
    let followed = Check { name: "blockchain", ok: followed && fault.is_none(), detail };
    [vec![followed], server.keeper.checks()].concat()
}

fn write_figures(server: &Server, text: &mut String) {
    let pool = server.shared.lock();
    let (counts, latency) = (pool.counts(), pool.latency().clone());
    drop(pool);
    metrics::family(text, "dsc_pool_transactions", Sort::Gauge, "Transactions that are held.");
    let held = [("submitted", counts.submitted), ("unconfirmed", counts.unconfirmed)];
    for (state, count) in held {
        metrics::sample(text, "dsc_pool_transactions", &[("state", state)], count);
    }
    let about = "Transactions since the pool was started: taken in, and ended, by how.";
    metrics::family(text, "dsc_transactions_total", Sort::Counter, about);
    let ends = [
        ("submitted", counts.added),
        ("confirmed", counts.confirmed),
        ("rejected", counts.rejected),
        ("expired", counts.expired),
    ];
    for (state, count) in ends {
        metrics::sample(text, "dsc_transactions_total", &[("state", state)], count);
    }
    write_confirmations(&latency, text);
    server.keeper.write_figures(text);
}

/// The bounds of the classes of `dsc_tx_confirmation_seconds`, in milliseconds; each is one of a
/// [`Latency`].
const CONFIRMATION_BOUNDS: [u64; 17] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 31_500, 63_000, 125_000,
    250_000, 500_000, 1_000_000,
];

fn write_confirmations(latency: &Latency, text: &mut String) {
    let (name, bucket) = ("dsc_tx_confirmation_seconds", "dsc_tx_confirmation_seconds_bucket");
    let about = "From the submission of a transaction to this pool until it was on the ledger.";
    metrics::family(text, name, Sort::Histogram, about);
    for bound in CONFIRMATION_BOUNDS {
        let (end, count) = (seconds_of(bound), latency.count_within(Millis(bound)));
        metrics::sample(text, bucket, &[("le", &end)], count);
    }
    metrics::sample(text, bucket, &[("le", "+Inf")], latency.count());
    metrics::sample(text, &format!("{name}_sum"), &[], seconds_of(latency.sum().0));
    metrics::sample(text, &format!("{name}_count"), &[], latency.count());
}

async fn chain_genesis(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    server.shared.clone().with(|pool| genesis(pool.replica().state().chain())).await
}

async fn status(State(server): State<Arc<Server>>, Id(id): Id) -> Result<Json<Status>, Problem> {
    server.check_followed()?;
    let found = server.shared.clone().with(move |pool| pool.status(&id)).await?;
    let missing = || Problem::not_found("not-found", format_args!("the pool knows no {id}"));
    found.map(Json).ok_or_else(missing)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    height: Height,
}

async fn take(
    State(server): State<Arc<Server>>,
    Asked(wanted): Asked<Wanted>,
    room: Room,
) -> Result<Response, Problem> {
    let take = move || {
        let taken = server.shared.lock().take(wanted.height);
        crash::point(Point::PoolTaken);
        Ok(codec::encode_list(taken.iter().map(|transaction| transaction.bytes())))
    };
    room.binary(take).await
}

async fn next_sequence(
    State(server): State<Arc<Server>>,
    Of(address): Of,
) -> Result<Json<NextSequence>, Problem> {
    server.check_followed()?;
    server.shared.clone().with(move |pool| pool.next_sequence(&address)).await.map(Json)
}

async fn counts(State(server): State<Arc<Server>>) -> Result<Json<Counts>, Problem> {
    server.shared.clone().with(|pool| pool.counts()).await.map(Json)
}

async fn activity(State(server): State<Arc<Server>>) -> Result<Json<Activity>, Problem> {
    server.shared.clone().with(|pool| pool.activity()).await.map(Json)
}

/// All that a pool knows of a transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeldRecord {
    pub(crate) status: Status,
    pub(crate) note: Option<Note>,
    #[serde(with = "hex_or_nothing")]
    pub(crate) transaction: Option<Vec<u8>>,
}

/// Bytes in hexadecimal, if there are any.
mod hex_or_nothing {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[allow(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(hex::encode).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| hex::decode(text).map_err(D::Error::custom)).transpose()
    }
}

async fn record(
    State(server): State<Arc<Server>>,
    Id(id): Id,
) -> Result<Json<HeldRecord>, Problem> {
    server.check_followed()?;
    let look = move |pool: &mut Pool| {
        let status = pool.status(&id)?;
        let transaction = pool.find(&id).map(|held| held.bytes().to_vec());
        Some(HeldRecord { status, note: pool.note(&id).copied(), transaction })
    };
    let found = server.shared.clone().with(look).await?;
    let missing = || Problem::not_found("not-found", format_args!("the pool knows no {id}"));
    found.map(Json).ok_or_else(missing)
}

/// What a faucet is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaucetBody {
    pub(crate) address: Address,
    pub(crate) amount: Amount,
}

async fn faucet(
    State(server): State<Arc<Server>>,
    Json(body): Json<FaucetBody>,
) -> Result<Json<Outcome>, Problem> {
    let outcome = blocking(move || server.pay_from_faucet(body.address, body.amount)).await?;
    match outcome {
        Outcome::Rejected { refusal, .. } => Err(refused(&refusal)
            .with_hint("the faucet pays from an account like any other: ask for less, or later")),
        outcome => Ok(Json(outcome)),
    }
}

#[cfg(test)]
mod tests;
