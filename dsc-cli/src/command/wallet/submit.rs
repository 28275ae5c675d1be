//! Sending what was signed before: one transaction, or a prepared file.
//!
//! # Invariants
//!
//! 1. Nothing of a file is sent unless every line of it is a transaction of this chain with a right
//!    signature.
//! 2. Sending again changes nothing: an interrupted command is resumed by repeating it.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use dsc_lib::{
    codec::{self, List},
    genesis::{BLOCK_TRANSACTIONS_MAX, Chain},
    hash::Digest,
    mempool::Status,
    proof::Progress,
    role::{pool::Outcome, wallet::Payment as Sending},
    transaction::{Encoded, Transaction},
    units::Height,
};
use serde::Serialize;

use super::{Context, send::follow};
use crate::{
    clock::SystemClock,
    command::{
        input,
        prepared::{self, Prepared},
        remote::{Remote, Wait, refused},
        role::ChainArgs,
        watched::Watched,
    },
    duration,
    exit::{Exit, Failure},
    http::ClientError,
    output::Document,
};

/// Pause before a full pool is asked again that does not say when.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Pause before the height is asked for again.
const DEPTH_PAUSE: Duration = Duration::from_millis(100);

type Body = List<Encoded, 1, BLOCK_TRANSACTIONS_MAX>;

#[derive(Debug, clap::Args)]
pub(super) struct Submit {
    /// The signed transaction: hexadecimal, @FILE, - for standard input; or a prepared file
    #[arg(value_name = "HEX|@FILE|FILE|-")]
    transaction: String,
    /// Transactions of a prepared file in one request
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u16).range(1..=10_000)
    )]
    batch: u16,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Sends what was signed before.
pub(super) fn submit(args: &Submit, context: &Context<'_>) -> Result<(), Failure> {
    let path = PathBuf::from(args.transaction.strip_prefix('@').unwrap_or(&args.transaction));
    if prepared::is_prepared(&path) {
        return many(args, &path, context);
    }
    let transaction: Transaction = input::transaction(&named(&args.transaction)?)?;
    let remote = Remote::of_pool(&args.chain, context)?;
    // A wrong signature is told before anything is sent; the pool would say the same.
    if let Err(error) = transaction.clone().check(&remote.chain.hash()) {
        let id = transaction.id(&remote.chain.hash());
        let (code, reason) = (error.code().to_owned(), error.to_string());
        return Err(refused(&id, &Status::Rejected { code, reason })
            .unwrap_or_else(|| Failure::rejected("invalid-transaction", error)));
    }
    let confirmations = args.wait.confirmations;
    let mut sending = Sending::resume(remote.chain.clone(), transaction, confirmations);
    follow(&remote, &mut sending, &args.wait, context)
}

/// What is no hexadecimal number names a file, with or without the `@`.
fn named(text: &str) -> Result<Cow<'_, str>, Failure> {
    let is_digits = text.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digits || text == "-" || text.starts_with('@') {
        return Ok(Cow::Borrowed(text));
    }
    let path = Path::new(text);
    fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    Ok(Cow::Owned(format!("@{text}")))
}

/// What became of one line.
#[derive(Debug, Serialize)]
struct LineResult {
    line: usize,
    id: Digest,
    #[serde(flatten)]
    status: Status,
}

/// What became of a prepared file.
#[derive(Debug, Default, Serialize)]
struct Report {
    file: PathBuf,
    transactions: usize,
    submitted: usize,
    confirmed: usize,
    rejected: usize,
    /// One for each transaction, in the order of the file.
    results: Vec<LineResult>,
}

impl Document for Report {
    const SCHEMA: &'static str = "dsc.submitted/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for LineResult { line, id, status } in &self.results {
            match status {
                Status::Rejected { reason, .. } => {
                    writeln!(f, "line {line}: {id} rejected: {reason}")?;
                }
                Status::Expired { height } => {
                    writeln!(f, "line {line}: {id} expired at height {height}")?;
                }
                _ => {}
            }
        }
        let Self { transactions, submitted, confirmed, rejected, .. } = self;
        writeln!(
            f,
            "{transactions} transactions: {confirmed} confirmed, {submitted} submitted, \
             {rejected} rejected"
        )
    }
}

impl Report {
    fn new(file: &Path, prepared: &[Prepared], statuses: Vec<Status>) -> Self {
        let results = prepared.iter().zip(statuses).map(|(prepared, status)| LineResult {
            line: prepared.line,
            id: prepared.id,
            status,
        });
        let mut all = Self { results: results.collect(), file: file.to_owned(), ..Self::default() };
        all.transactions = all.results.len();
        for LineResult { status, .. } in &all.results {
            match status {
                Status::Confirmed { .. } => all.confirmed += 1,
                Status::Submitted | Status::Unconfirmed { .. } => all.submitted += 1,
                _ => all.rejected += 1,
            }
        }
        all
    }
}

/// Sends a whole file.
fn many(args: &Submit, path: &Path, context: &Context<'_>) -> Result<(), Failure> {
    let remote = Remote::of_pool(&args.chain, context)?;
    let prepared = prepared::read(path, &remote.chain)?;
    check_signatures(path, &remote.chain, &prepared)?;
    let file = File { remote: &remote, prepared: &prepared, watched: Watched::new(context)? };
    let from = remote.next_height()?;
    let mut statuses = file.send(usize::from(args.batch))?;
    if !args.wait.is_async {
        file.wait(from, &mut statuses, &args.wait)?;
    }
    let submitted = Report::new(path, &prepared, statuses);
    let rejected = submitted.rejected;
    if rejected == 0 {
        return context.output.document(&submitted);
    }
    let mut message =
        format!("{rejected} of {} transactions were rejected", submitted.transactions);
    if submitted.submitted > 0 && !args.wait.is_async {
        let (open, after) = (submitted.submitted, duration::display(args.wait.timeout));
        message = format!("{message}, {open} are not confirmed after {after}");
    }
    let faults: Vec<_> = submitted.results.iter().filter(|result| is_refused(result)).collect();
    let faults = serde_json::to_value(faults).map_err(|error| Failure::other("json", error))?;
    Err(Failure::rejected("transactions-rejected", first_of(&submitted, &message))
        .with_hint("sign the rejected payments anew: a sender's later lines may wait for them")
        .with_faults(faults))
}

fn is_refused(result: &LineResult) -> bool {
    is_ended(&result.status)
}

fn first_of(submitted: &Report, message: &str) -> String {
    let first = submitted.results.iter().find(|result| is_refused(result));
    match first {
        Some(LineResult { line, status: Status::Rejected { reason, .. }, .. }) => {
            format!("{message}; line {line}: {reason}")
        }
        _ => message.to_owned(),
    }
}

fn check_signatures(path: &Path, chain: &Chain, prepared: &[Prepared]) -> Result<(), Failure> {
    let encoded = prepared.iter().map(|prepared| prepared.encoded.clone()).collect();
    let checked = chain.checker().check_all(encoded);
    for (verdict, prepared) in checked.into_iter().zip(prepared) {
        if let Err((_, error)) = verdict {
            let message = format!("{} line {}: {error}", path.display(), prepared.line);
            return Err(Failure::new(Exit::Rejected, error.code(), message)
                .with_hint("nothing was sent; sign the payments anew"));
        }
    }
    Ok(())
}

/// A prepared file on its way.
struct File<'a> {
    remote: &'a Remote<'a>,
    prepared: &'a [Prepared],
    watched: Watched,
}

impl File<'_> {
    fn send(&self, batch: usize) -> Result<Vec<Status>, Failure> {
        let total = self.prepared.len() as u64;
        let mut statuses = Vec::new();
        for part in self.prepared.chunks(batch) {
            self.watched.update("submit", statuses.len() as u64, total);
            statuses.extend(self.deliver(part)?);
        }
        self.watched.update("submit", total, total);
        Ok(statuses)
    }

    /// Sends one batch, again and again while the pool is full.
    fn deliver(&self, part: &[Prepared]) -> Result<Vec<Status>, Failure> {
        let encoded = part.iter().map(|prepared| prepared.encoded.clone()).collect();
        let body = Body::new(encoded).map_err(|error| Failure::other("batch", error))?;
        let body = codec::encode(&body);
        loop {
            self.watched.check("submitting")?;
            let pool = &self.remote.transport.pool;
            let answered: Result<Vec<Outcome>, _> = pool.submit_bytes("/v1/transactions", &body);
            let pause = match answered {
                Ok(outcomes) if !outcomes.iter().any(is_full) => {
                    return Ok(outcomes.into_iter().map(status_of).collect());
                }
                // Those that were taken are known the next time.
                Ok(_) => FULL_PAUSE,
                Err(ClientError::Problem(problem)) if matches!(problem.status, 429 | 503) => {
                    problem.retry_after.unwrap_or(FULL_PAUSE)
                }
                Err(error) => return Err(error.into()),
            };
            self.watched.shutdown.sleep(pause);
        }
    }

    /// Waits until every transaction that the pool took is on the ledger or has ended otherwise.
    fn wait(&self, from: Height, statuses: &mut [Status], wait: &Wait) -> Result<(), Failure> {
        let open = statuses.iter().enumerate().filter(|(_, status)| is_open(status));
        let mut open: HashMap<Digest, usize> =
            open.map(|(index, _)| (self.prepared[index].id, index)).collect();
        let (clock, mut next, total) = (SystemClock::new(), from, open.len() as u64);
        while !open.is_empty() {
            self.watched.update("confirm", total - open.len() as u64, total);
            self.watched.check("waiting for confirmations")?;
            if clock.elapsed() > wait.timeout {
                self.settle(&mut open, statuses)?;
                // A rejection tells more: a sender's later lines wait for one that never comes.
                let is_known = statuses.iter().any(is_ended);
                return if is_known { Ok(()) } else { self.late(open.len(), wait) };
            }
            let blocks = self.remote.confirmed(next, wait.timeout)?;
            for block in &blocks {
                next = Height(block.height.0.saturating_add(1));
                for id in &block.ids {
                    if let Some(index) = open.remove(id) {
                        statuses[index] = Status::Confirmed { height: block.height };
                    }
                }
            }
        }
        self.watched.update("confirm", total, total);
        self.wait_deeper(statuses, &clock, wait)
    }

    /// Waits until the last block with one of them is as deep as was asked for.
    fn wait_deeper(
        &self,
        statuses: &[Status],
        clock: &SystemClock,
        wait: &Wait,
    ) -> Result<(), Failure> {
        let heights = statuses.iter().filter_map(|status| match status {
            Status::Confirmed { height } => Some(height.0),
            _ => None,
        });
        let Some(last) = heights.max() else { return Ok(()) };
        while self.remote.next_height()?.0 < last.saturating_add(wait.confirmations) {
            self.watched.check("waiting for confirmations")?;
            if clock.elapsed() > wait.timeout {
                let count = statuses.iter().filter(|status| !is_ended(status)).count();
                return self.late(count, wait);
            }
            self.watched.shutdown.sleep(DEPTH_PAUSE);
        }
        Ok(())
    }

    /// Asks the pool about each that is left: it may have ended without a block.
    fn settle(
        &self,
        open: &mut HashMap<Digest, usize>,
        statuses: &mut [Status],
    ) -> Result<(), Failure> {
        for (id, index) in open.clone() {
            if let Some(standing) = self.remote.standing(&id)?
                && !is_open(&standing.status)
            {
                statuses[index] = standing.status;
                open.remove(&id);
            }
        }
        Ok(())
    }

    fn late(&self, open: usize, wait: &Wait) -> Result<(), Failure> {
        if open == 0 {
            return Ok(());
        }
        let (after, total) = (duration::display(wait.timeout), self.prepared.len());
        let message = format!("{open} of {total} transactions are not confirmed after {after}");
        Err(Failure::outcome_unknown("not-confirmed", message)
            .with_hint("run the same command again: it goes on, and nothing is paid twice"))
    }
}

const fn is_open(status: &Status) -> bool {
    matches!(status, Status::Submitted | Status::Unconfirmed { .. })
}

const fn is_ended(status: &Status) -> bool {
    matches!(status, Status::Rejected { .. } | Status::Expired { .. })
}

const fn is_full(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { retry: true, .. })
}

fn status_of(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Known { status, .. } => status,
        Outcome::Rejected { refusal, .. } => {
            Status::Rejected { code: refusal.code, reason: refusal.reason }
        }
        _ => Status::Submitted,
    }
}
