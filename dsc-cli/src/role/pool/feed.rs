//! What a pool of several acknowledges is in the log that they share, and each applies that log.
//!
//! A round of checked transactions is put into the log in batches; one thread applies the log in
//! order to the pool, the batches of this pool and of others alike, and tells those who wait; another
//! one keeps the log small (`room`).
//!
//! # Invariants
//!
//! 1. The pool holds nothing that is not in the log, or was until the ledger had ended it: so what is
//!    acknowledged, also as known, is there for every pool.
//! 2. Whoever submitted is told what became of a transaction when its batch was applied here.
//! 3. A batch without an acknowledgement is appended again with the same bytes; what stays unknown is
//!    called so.
//! 4. Nothing is applied before the pool has followed the ledger.
//! 5. What others put into the log is checked as if it were submitted here.
//! 6. No lock is held while the log is asked, or signatures are checked. The pool is locked before
//!    what is awaited.

mod room;

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use dsc_lib::{
    cluster::{AppendError, Entry, Position, TransactionLog, Unavailable},
    genesis::Chain,
    mempool::{
        Sifted, Status,
        feed::{self, Batch, First, Origin, Tag},
    },
    role::pool::{Outcome, Pool},
    transaction::CheckedTransaction,
};

use super::{
    RETRY_AFTER,
    keeper::{Keeper, Outcomes, Verdict, rejected},
};
use crate::{
    clock::Time,
    crash::{self, Point},
    entropy::OsEntropy,
    exit::Failure,
    http::{Check, Problem},
    metrics,
    role::{Shared, spawn},
    shutdown::Shutdown,
};

/// Most bytes of the log that are read at once.
const READ_BYTES_MAX: usize = 4 << 20;
/// Longest wait for something new in the log.
const FOLLOW_TIME: Duration = Duration::from_secs(1);
/// Pause before a pool that has not followed the ledger is looked at again.
const FRESH_PAUSE: Duration = Duration::from_millis(20);
/// Pause before an engine that cannot be reached is asked again.
const FAULT_PAUSE: Duration = Duration::from_millis(250);
/// Batches that are appended at the same time.
const FLIGHT_MAX: usize = 8;
/// Times that a batch is appended whose acknowledgement does not come.
const APPENDS_MAX: usize = 4;
/// How long its effect is waited for before each of them.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);
/// How long a batch that was appended may take until it is applied.
const APPLY_TIME: Duration = Duration::from_secs(10);

/// A batch of this pool that somebody waits for.
#[derive(Debug)]
struct Awaited {
    bytes: Arc<[u8]>,
    transactions: Arc<[Arc<CheckedTransaction>]>,
    seen: Position,
    outcomes: Option<Vec<Outcome>>,
}

/// A batch as it was read.
struct Checked {
    tag: Tag,
    seen: Position,
    /// Those whose signatures are good.
    transactions: Arc<[Arc<CheckedTransaction>]>,
    is_own: bool,
}

/// Where the outcome of a transaction comes from.
enum Slot {
    /// It is known.
    Done(Outcome),
    /// It is put into the log, as this one of the round.
    Put(usize),
    /// It is the same as this one.
    Again(usize),
}

/// A round of requests on the way into the log.
struct Round {
    slots: Vec<Vec<Slot>>,
    put: Vec<Arc<CheckedTransaction>>,
    seen: Position,
}

/// The pool and the log it shares.
#[derive(Debug)]
pub(super) struct SharedLog {
    log: Arc<dyn TransactionLog>,
    pool: Arc<Shared<Pool>>,
    chain: Chain,
    time: Time,
    /// What begins the tags of this process.
    writer: [u8; 8],
    count: AtomicU64,
    awaited: Mutex<HashMap<Tag, Awaited>>,
    settled: Condvar,
    restored: AtomicBool,
    fault: Mutex<Option<String>>,
    over: Shutdown,
}

impl SharedLog {
    /// Starts the threads that apply the log and remove what has ended.
    pub(super) fn start(
        log: Arc<dyn TransactionLog>,
        pool: Arc<Shared<Pool>>,
        time: Time,
    ) -> Result<Arc<Self>, Failure> {
        let chain = pool.lock().replica().state().chain().clone();
        let shared = Arc::new(Self {
            log,
            pool,
            chain,
            time,
            writer: OsEntropy.bytes(),
            count: AtomicU64::new(0),
            awaited: Mutex::default(),
            settled: Condvar::new(),
            restored: AtomicBool::new(false),
            fault: Mutex::default(),
            over: Shutdown::new(),
        });
        let (applying, removing) = (shared.clone(), shared.clone());
        spawn("pool-apply", move || applying.apply_all())?;
        spawn("pool-remove", move || removing.remove_all())?;
        Ok(shared)
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<Tag, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the engine fares; logged once when it changes.
    fn tell(&self, fault: Option<String>) {
        let mut known = self.fault();
        match &fault {
            Some(fault) if known.is_none() => {
                tracing::warn!("the log of transactions: {fault}");
            }
            None if known.is_some() => tracing::info!("the log of transactions is read again"),
            _ => {}
        }
        *known = fault;
    }

    fn position(&self) -> Position {
        self.pool.lock().feed().position()
    }
}

/// Into the log.
impl SharedLog {
    fn sift(&self, requests: Vec<Vec<Verdict>>) -> Round {
        let mut pool = self.pool.lock();
        pool.tell_time(self.time.now());
        let mut sieve = pool.sieve();
        let (mut put, mut places) = (Vec::new(), HashMap::new());
        let mut sift = |verdict: Verdict| {
            let transaction = match verdict {
                Ok(transaction) => transaction,
                Err(fault) => return Slot::Done(rejected(fault)),
            };
            let id = transaction.id();
            match sieve.pass(&transaction) {
                Ok(Sifted::New) => {
                    places.insert(id, put.len());
                    put.push(transaction);
                    Slot::Put(put.len() - 1)
                }
                Ok(Sifted::Duplicate(status)) => Slot::Done(Outcome::Known { id, status }),
                Ok(_) => Slot::Again(places[&id]),
                Err(error) => Slot::Done(Outcome::refused(id, &error)),
            }
        };
        let slots = requests.into_iter().map(|one| one.into_iter().map(&mut sift).collect());
        let slots = slots.collect();
        Round { slots, put, seen: pool.feed().position() }
    }

    /// Puts all into the log, several batches at once; what became of each, in order.
    fn put_all(&self, round: &Round) -> Vec<Result<Outcome, Problem>> {
        let batches = feed::pack(&round.put);
        let put = |range: &Range<usize>| {
            let part: Arc<[_]> = round.put[range.clone()].into();
            match self.put(part, round.seen) {
                Ok(outcomes) => outcomes.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(problem) => vec![Err(problem); range.len()],
            }
        };
        side_by_side(&batches, FLIGHT_MAX, put).into_iter().flatten().collect()
    }

    /// Puts one batch into the log and waits until it is applied here.
    fn put(&self, transactions: Arc<[Arc<CheckedTransaction>]>, seen: Position) -> Outcomes {
        let tag = self.tag();
        let bytes: Arc<[u8]> = feed::encode(tag, seen, &transactions).into();
        let awaited = Awaited { bytes: bytes.clone(), transactions, seen, outcomes: None };
        self.awaited().insert(tag, awaited);
        let outcomes = self.append(tag, &bytes);
        self.awaited().remove(&tag);
        outcomes
    }

    fn tag(&self) -> Tag {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&self.writer);
        tag[8..].copy_from_slice(&count.to_le_bytes());
        Tag(tag)
    }

    fn append(&self, tag: Tag, bytes: &[u8]) -> Outcomes {
        let id = feed::id_of(bytes);
        let mut is_unknown = false;
        for _ in 0..APPENDS_MAX {
            match self.log.append(&id, bytes) {
                Ok(position) => {
                    crash::point(Point::ClusterPublished);
                    return self.applied(tag, position);
                }
                Err(AppendError::Unknown { reason }) => {
                    tracing::warn!(reason, "no acknowledgement of transactions, appending again");
                    is_unknown = true;
                }
                Err(error) if !is_unknown => return Err(refusal(&error)),
                Err(_) => {}
            }
            if let Some(outcomes) = self.wait(tag, UNKNOWN_PAUSE) {
                return Ok(outcomes);
            }
        }
        Err(unsettled())
    }

    /// What became of a batch that is in the log at `position`.
    fn applied(&self, tag: Tag, position: Position) -> Outcomes {
        let pool = self.pool.lock();
        let is_passed = position <= pool.feed().position();
        let is_open = self.awaited().get(&tag).is_some_and(|one| one.outcomes.is_none());
        drop(pool);
        if is_passed && is_open {
            // It was passed without it: others have removed it, or this is another log.
            match self.first() {
                Ok(First::Foreign) => self.restart(),
                _ => return Err(unsettled()),
            }
        }
        self.wait(tag, APPLY_TIME).ok_or_else(unsettled)
    }

    fn wait(&self, tag: Tag, time: Duration) -> Option<Vec<Outcome>> {
        let is_open = |awaited: &mut HashMap<Tag, Awaited>| {
            awaited.get(&tag).is_some_and(|one| one.outcomes.is_none())
        };
        let waited = self.settled.wait_timeout_while(self.awaited(), time, is_open);
        let (mut awaited, _) = waited.unwrap_or_else(PoisonError::into_inner);
        awaited.get_mut(&tag)?.outcomes.take()
    }
}

/// Out of the log.
impl SharedLog {
    fn apply_all(&self) {
        while !self.over.is_requested() {
            if self.pool.lock().replica().is_fresh() {
                self.over.sleep(FRESH_PAUSE);
                continue;
            }
            let after = self.position();
            match self.log.read(after, READ_BYTES_MAX) {
                Ok(entries) => {
                    self.tell(None);
                    self.apply_read(after, entries);
                }
                Err(error) => {
                    self.tell(Some(error.to_string()));
                    self.over.sleep(FAULT_PAUSE);
                }
            }
        }
    }

    fn apply_read(&self, after: Position, entries: Vec<Entry>) {
        if entries.is_empty() {
            if !self.restored.swap(true, Ordering::AcqRel) {
                let held = self.pool.lock().counts().submitted;
                tracing::info!(held, position = %after, "took in the log of transactions");
            }
            self.log.wait(after, FOLLOW_TIME);
        }
        for entry in entries {
            self.apply(&entry);
        }
    }

    fn apply(&self, entry: &Entry) {
        let Some(Checked { tag, seen, transactions, is_own }) = self.checked(entry) else {
            tracing::error!(position = %entry.position, "what is in the log is no batch");
            self.pool.lock().skip(entry.position, &entry.bytes);
            return;
        };
        let origin = Origin::new(entry.position, seen);
        let mut pool = self.pool.lock();
        pool.tell_time(self.time.now());
        let sized = (tag, entry.bytes.len() as u64);
        let outcomes = pool.apply(origin, sized, &transactions, is_own);
        crash::point(Point::ClusterApplied);
        if is_own && let Some(awaited) = self.awaited().get_mut(&tag) {
            // If it is in the log twice, what became of it first counts.
            awaited.outcomes.get_or_insert(outcomes);
            self.settled.notify_all();
        }
    }

    /// The good transactions of an entry: those of this pool were checked when they came.
    fn checked(&self, entry: &Entry) -> Option<Checked> {
        let tag = Tag::of(&entry.bytes)?;
        if let Some(own) = self.awaited().get(&tag).filter(|own| *own.bytes == *entry.bytes) {
            let transactions = own.transactions.clone();
            return Some(Checked { tag, seen: own.seen, transactions, is_own: true });
        }
        let batch = Batch::decode(&entry.bytes).ok()?;
        let verdicts = self.chain.checker().check_all(batch.transactions);
        let transactions = verdicts.into_iter().flatten().collect();
        Some(Checked { tag, seen: batch.seen, transactions, is_own: false })
    }
}

impl Keeper for SharedLog {
    fn hold(&self, requests: Vec<Vec<Verdict>>) -> Vec<Outcomes> {
        let round = self.sift(requests);
        let settled = self.put_all(&round);
        let outcome = |slot| match slot {
            Slot::Done(outcome) => Ok(outcome),
            Slot::Put(index) => settled[index].clone(),
            Slot::Again(index) => settled[index].clone().map(again),
        };
        let slots = round.slots.into_iter();
        slots.map(|slots| slots.into_iter().map(outcome).collect()).collect()
    }

    fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    fn follow(&self, _pool: &mut Pool) -> bool {
        self.is_restored()
    }

    fn checks(&self) -> Vec<Check> {
        let fault = self.fault().clone();
        let position = self.position();
        let ok = fault.is_none();
        let detail = fault.unwrap_or_else(|| format!("the log is applied up to {position}"));
        vec![
            Check { name: "engine", ok, detail },
            Check {
                name: "restored",
                ok: self.is_restored(),
                detail: "what the log holds is taken in".into(),
            },
        ]
    }

    fn write_figures(&self, text: &mut String) {
        let pool = self.pool.lock();
        let (position, skipped) = (pool.feed().position(), pool.feed().skipped());
        drop(pool);
        let about = "The last batch that was applied of the log that the pools share.";
        metrics::gauge(text, "dsc_pool_log_position", about, position);
        let about = "Entries of that log that are no batch.";
        metrics::counter(text, "dsc_pool_log_skipped_total", about, &[], skipped);
    }

    fn end(&self) {
        self.over.request();
    }
}

/// What is said of a transaction that came twice in one round.
fn again(first: Outcome) -> Outcome {
    match first {
        Outcome::Added { id } => Outcome::Known { id, status: Status::Submitted },
        other => other,
    }
}

/// Does `work` for all of `items`, at most `max` at once; what it gives is in their order.
fn side_by_side<I: Sync, T: Send + Sync>(
    items: &[I],
    max: usize,
    work: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    if let [] | [_] = items {
        return items.iter().map(work).collect();
    }
    let (next, done) = (AtomicUsize::new(0), items.iter().map(|_| OnceLock::new()));
    let done: Vec<_> = done.collect();
    let run = || {
        while let Some((item, done)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).zip(done.get(index))
        } {
            done.get_or_init(|| work(item));
        }
    };
    thread::scope(|scope| (0..items.len().min(max)).for_each(|_| drop(scope.spawn(run))));
    done.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// The problem of a batch that was not appended.
fn refusal(error: &AppendError) -> Problem {
    let hint = "send the same transactions again later; nothing is done twice";
    match error {
        AppendError::Full => {
            Problem::too_many("pool-full", "the log of transactions is full", RETRY_AFTER)
                .with_hint(hint)
        }
        AppendError::Unavailable(Unavailable { .. }) => {
            Problem::unavailable("engine-unavailable", error)
                .with_retry_after(RETRY_AFTER)
                .with_hint(hint)
        }
        other => Problem::internal(format_args!("the log of transactions: {other}")),
    }
}

/// The problem of a batch that may be in the log.
fn unsettled() -> Problem {
    let detail = "nobody knows yet whether the transactions are held";
    Problem::unavailable("unsettled", detail)
        .with_retry_after(RETRY_AFTER)
        .with_hint("send the same transactions again; nothing is done twice")
}

#[cfg(test)]
mod tests;
