//! The pool over HTTP, with the journal of what it has acknowledged.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::Response,
    routing::{get, post},
};
use dsc_lib::{
    address::Address,
    codec,
    keys::SecretKey,
    mempool::{Counts, Status},
    role::{
        Refusal,
        pool::{NextSequence, Outcome, Pool},
    },
    transaction::{CheckedTransaction, Draft, Encoded, Memo, Payment, Payments, TransactionId},
    units::{Amount, Height},
};
use serde::{Deserialize, Serialize};

use super::{
    Shared, binary, blocking, genesis,
    journal::Journal,
    query::{Asked, Id, Of},
    refused,
    transport::Submission,
};
use crate::{
    http::{Check, Json, Limits, Problem, Site, Token},
    shutdown::Shutdown,
};

/// Heights within which a faucet's payment must get onto the ledger.
const FAUCET_LIFETIME: u64 = 100;
/// When a full pool may be asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A pool with its journal.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared<Pool>>,
    journal: Mutex<Journal>,
    /// Held, and not in the journal yet.
    unsynced: Mutex<Vec<Arc<CheckedTransaction>>>,
    /// Read from the journal and not held again yet.
    backlog: Mutex<Vec<Encoded>>,
    faucet: Option<SecretKey>,
}

impl Server {
    /// Opens the journal beside a pool; what it holds is taken in once the pool has followed the
    /// ledger.
    pub(crate) fn open(
        pool: Pool,
        journal: &Path,
        faucet: Option<SecretKey>,
    ) -> io::Result<Arc<Self>> {
        let (journal, backlog) = Journal::open(journal)?;
        Ok(Arc::new(Self {
            shared: Shared::new(pool),
            journal: Mutex::new(journal),
            unsynced: Mutex::default(),
            backlog: Mutex::new(backlog),
            faucet,
        }))
    }

    /// Takes the journal's transactions in, once the pool knows the ledger's state; what the
    /// ledger has meanwhile is refused and so forgotten.
    pub(crate) fn restore(&self, pool: &mut Pool) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.is_empty() || pool.replica().is_fresh() {
            return;
        }
        let chain = pool.replica().state().chain().clone();
        let held = std::mem::take(&mut *backlog);
        let checked: Vec<_> =
            chain.checker().check_all(held).into_iter().filter_map(Result::ok).collect();
        for transaction in checked {
            pool.submit(transaction);
        }
        self.rewrite(pool);
    }

    fn rewrite(&self, pool: &Pool) {
        let pending = pool.pending();
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = journal.rewrite(pending.iter().map(|t| t.bytes())) {
            tracing::error!(%error, "the pool's journal could not be written anew");
        }
    }

    fn submit(&self, transactions: Vec<Encoded>) -> Result<Vec<Outcome>, Problem> {
        let chain = self.shared.lock().replica().state().chain().clone();
        let checked = chain.checker().check_all(transactions);
        self.hold(
            checked.into_iter().map(|result| {
                result.map_err(|(id, error)| (id, Refusal::new(error.code(), error)))
            }),
        )
    }

    /// Holds what was checked, and puts what is held on disk before saying so.
    fn hold(
        &self,
        checked: impl Iterator<Item = Result<Arc<CheckedTransaction>, (TransactionId, Refusal)>>,
    ) -> Result<Vec<Outcome>, Problem> {
        let mut outcomes = Vec::new();
        let mut pool = self.shared.lock();
        for result in checked {
            let outcome = match result {
                Ok(transaction) => self.hold_one(&mut pool, transaction),
                Err((id, refusal)) => Outcome::Rejected { id, refusal, retry: false },
            };
            outcomes.push(outcome);
        }
        let pending_bytes = pool.counts().bytes;
        drop(pool);
        self.sync(pending_bytes)?;
        Ok(outcomes)
    }

    /// What is held is listed as unsynced while the pool is locked: whoever submits it again is
    /// not told that it is known before it is on disk, even if the first to write it failed.
    fn hold_one(&self, pool: &mut Pool, transaction: Arc<CheckedTransaction>) -> Outcome {
        let outcome = pool.submit(transaction.clone());
        if matches!(outcome, Outcome::Added { .. }) {
            self.unsynced().push(transaction);
        }
        outcome
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<Arc<CheckedTransaction>>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self, pending_bytes: u64) -> Result<(), Problem> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = std::mem::take(&mut *self.unsynced());
        if let Err(error) = journal.append(batch.iter().map(|t| t.bytes())) {
            self.unsynced().extend(batch);
            tracing::error!(%error, "the pool's journal cannot be written");
            let problem = "the pool cannot put transactions on disk";
            return Err(Problem::unavailable("journal-failed", problem)
                .with_hint("submit the same transactions again later; nothing is done twice"));
        }
        let due = journal.is_due(pending_bytes);
        drop(journal);
        if due {
            let pool = self.shared.lock();
            self.rewrite(&pool);
        }
        Ok(())
    }

    /// A pool that has not followed the ledger would judge by balances of long ago.
    fn check_followed(&self) -> Result<(), Problem> {
        if self.shared.lock().replica().is_fresh() {
            let problem =
                Problem::unavailable("not-ready", "the pool has not reached the ledger yet");
            return Err(problem.with_retry_after(RETRY_AFTER));
        }
        Ok(())
    }

    fn pay_from_faucet(&self, to: Address, amount: Amount) -> Result<Outcome, Problem> {
        let Some(key) = &self.faucet else {
            return Err(Problem::not_found("not-found", "this pool has no faucet")
                .with_hint("`dsc dev`, or `dsc pool --faucet` on a development network, has one"));
        };
        self.check_followed()?;
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

    fn is_restored(&self) -> bool {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// The routes of a pool.
pub(crate) fn site(
    server: &Arc<Server>,
    limits: &Limits,
    shutdown: &Shutdown,
    token: Option<Token>,
) -> Site {
    let quick = Router::new()
        .route("/v1/genesis", get(chain_genesis))
        .route("/v1/transactions/{id}", get(status))
        .route("/v1/pending", get(take))
        .route("/v1/accounts/{address}", get(next_sequence))
        .route("/v1/counts", get(counts))
        .with_state(server.clone());
    let bulk = Router::new().route("/v1/transactions", post(submit)).with_state(server.clone());
    let admin = Router::new().route("/v1/faucet", post(faucet)).with_state(server.clone());
    let (ready, figures) = (server.clone(), server.clone());
    Site::new("pool", limits.clone(), shutdown.clone())
        .routes(quick)
        .bulk(bulk)
        .admin(admin, token)
        .ready(move || checks(&ready))
        .metrics(move |text| write_figures(&figures, text))
}

fn checks(server: &Server) -> Vec<Check> {
    let pool = server.shared.lock();
    let fault = pool.fault().map(str::to_owned);
    let followed = !pool.replica().is_fresh();
    drop(pool);
    let detail = fault.clone().unwrap_or_else(|| "followed".into());
    let restored = server.is_restored();
    vec![
        Check { name: "blockchain", ok: followed && fault.is_none(), detail },
        Check { name: "journal", ok: restored, detail: "what it holds is taken in".into() },
    ]
}

fn write_figures(server: &Server, text: &mut String) {
    use std::fmt::Write;
    let counts = server.shared.lock().counts();
    let _ = writeln!(text, "# TYPE dsc_pool_transactions gauge");
    let _ = writeln!(text, "dsc_pool_transactions{{state=\"submitted\"}} {}", counts.submitted);
    let _ = writeln!(text, "dsc_pool_transactions{{state=\"unconfirmed\"}} {}", counts.unconfirmed);
    let _ = writeln!(text, "# TYPE dsc_transactions_total counter");
    let ends = [
        ("confirmed", counts.confirmed),
        ("rejected", counts.rejected),
        ("expired", counts.expired),
    ];
    for (state, count) in ends {
        let _ = writeln!(text, "dsc_transactions_total{{state=\"{state}\"}} {count}");
    }
}

async fn chain_genesis(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    server.shared.clone().with(|pool| genesis(pool.replica().state().chain())).await
}

async fn submit(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Vec<Outcome>>, Problem> {
    let transactions: Submission = codec::decode(&body).map_err(|error| {
        Problem::malformed("not-canonical", format_args!("the transactions: {error}"))
            .with_hint("docs/protocol.md describes the encoding; `dsc tx decode` reads it")
    })?;
    let outcomes = blocking(move || {
        server.check_followed()?;
        server.submit(transactions.into_vec())
    })
    .await?;
    let is_full = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { retry: true, .. });
    if outcomes.iter().all(is_full) {
        return Err(Problem::too_many("pool-full", "the pool is full", RETRY_AFTER)
            .with_hint("send the same transactions again later, or offer a higher fee"));
    }
    Ok(Json(outcomes))
}

async fn status(State(server): State<Arc<Server>>, Id(id): Id) -> Result<Json<Status>, Problem> {
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
) -> Result<Response, Problem> {
    let bytes = blocking(move || {
        let taken = server.shared.lock().take(wanted.height);
        Ok(codec::encode_list(taken.iter().map(|transaction| transaction.bytes())))
    });
    bytes.await.map(binary)
}

async fn next_sequence(
    State(server): State<Arc<Server>>,
    Of(address): Of,
) -> Result<Json<NextSequence>, Problem> {
    server.shared.clone().with(move |pool| pool.next_sequence(&address)).await.map(Json)
}

async fn counts(State(server): State<Arc<Server>>) -> Result<Json<Counts>, Problem> {
    server.shared.clone().with(|pool| pool.counts()).await.map(Json)
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
        Outcome::Rejected { refusal, .. } => Err(refused(&refusal)),
        outcome => Ok(Json(outcome)),
    }
}

#[cfg(test)]
mod tests {
    use dsc_lib::{
        mempool,
        testing::{ALICE, BOB, address, genesis},
    };

    use super::*;

    /// The pool holds a transaction before it is on disk. If putting it there fails, whoever
    /// submits it again must not hear that it is known.
    #[test]
    fn a_transaction_is_acknowledged_only_once_it_is_in_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let chain = genesis().check().unwrap();
        let payments = vec![Payment { to: address(&BOB), amount: Amount::from_units(1) }];
        let draft = Draft {
            sequence: 0,
            expires: Height(9),
            fee: Amount::ZERO,
            payments: Payments::new(payments).unwrap(),
            memo: Memo::default(),
        };
        let transaction = Encoded::from(draft.sign(&chain.hash(), &ALICE));
        let server = Server::open(Pool::new(chain, mempool::Limits::default()), &path, None);
        let server = server.unwrap();
        let submit = || server.submit(vec![transaction.clone()]);

        *server.journal.lock().unwrap() = Journal::unwritable(&path).unwrap();
        assert!(submit().is_err());
        assert!(submit().is_err(), "known, but on no disk");
        *server.journal.lock().unwrap() = Journal::open(&path).unwrap().0;
        assert!(matches!(submit().unwrap()[..], [Outcome::Known { .. }]));
        assert_eq!(Journal::open(&path).unwrap().1, [transaction]);
    }
}
