//! Sending what was signed before: one transaction, or a prepared file.
//!
//! # Invariants
//!
//! 1. Nothing of a file is sent unless every line of it is a transaction of this chain with a right
//!    signature.
//! 2. Sending again changes nothing: an interrupted command is resumed by repeating it.

use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
};

use dsc_lib::{
    genesis::Chain, hash::Digest, mempool::Status, role::wallet::Payment as Sending,
    transaction::Transaction,
};
use serde::Serialize;

use super::{
    Context,
    delivery::{Delivery, is_ended},
    send::follow,
};
use crate::{
    command::{
        input,
        prepared::{self, Prepared},
        remote::{Remote, Wait, refused},
        role::ChainArgs,
    },
    duration,
    exit::{Exit, Failure},
    output::Document,
};

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
    let watched = remote.watched();
    let delivery = Delivery { remote: &remote, prepared: &prepared, watched: &watched };
    let from = remote.next_height()?;
    let mut statuses = delivery.send(usize::from(args.batch))?;
    if !args.wait.is_async {
        delivery.wait(from, &mut statuses, &args.wait)?;
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
