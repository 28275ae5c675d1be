//! What `send-many` says: the cost of it, and what became of every line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use dsc_lib::{hash::Digest, mempool::Status, units::Amount};
use serde::Serialize;

use super::{super::payments, run::Run};
use crate::{exit::Failure, output::Document};

/// What all would cost.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    state: PathBuf,
    payments: usize,
    transactions: usize,
    /// All payments.
    amount: Amount,
    /// All fees.
    fees: Amount,
    /// Transactions that an earlier run has got on the ledger.
    paid: usize,
    /// What is still to be paid, with fees.
    needed: Amount,
    /// What the payer has.
    balance: Amount,
}

impl Plan {
    pub(super) fn new(run: &Run<'_>, state: &Path) -> Result<Self, Failure> {
        let parts = run.parts.iter().map(|progress| progress.part);
        let sums: Vec<_> =
            parts.clone().map(|part| payments::sum(&part.payments)).collect::<Result<_, _>>()?;
        Ok(Self {
            state: state.to_owned(),
            payments: parts.map(|part| part.lines.len()).sum(),
            transactions: run.parts.len(),
            amount: payments::total(sums)?,
            fees: payments::total(run.parts.iter().map(|_| run.terms.fee))?,
            paid: run.parts.iter().filter(|progress| progress.status.is_some()).count(),
            needed: run.needed()?,
            balance: run.account.balance,
        })
    }
}

impl Document for Plan {
    const SCHEMA: &'static str = "dsc.send-many.plan/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payments, transactions, amount, fees, paid, needed, balance, .. } = self;
        writeln!(f, "payments     {payments} of {amount} coins together")?;
        writeln!(f, "transactions {transactions}, of which {paid} are on the ledger")?;
        writeln!(f, "fees         {fees}")?;
        writeln!(f, "still needed {needed} of the sender's {balance}")
    }
}

/// What became of one line.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LineResult {
    line: usize,
    to: String,
    amount: Amount,
    id: Digest,
    #[serde(flatten)]
    status: Status,
}

/// One transaction of several.
#[derive(Debug, Serialize)]
struct Batch {
    id: Digest,
    payments: usize,
    amount: Amount,
    #[serde(flatten)]
    status: Status,
}

/// What became of all payments.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    state: PathBuf,
    payments: usize,
    amount: Amount,
    transactions: Vec<Batch>,
    /// One for each payment, in the order of the file.
    results: Vec<LineResult>,
}

impl Sent {
    pub(super) fn new(run: &Run<'_>, state: &Path) -> Result<Self, Failure> {
        let (mut transactions, mut results) = (Vec::new(), Vec::new());
        for progress in &run.parts {
            let (Some(kept), Some(status)) = (progress.kept(), &progress.status) else { continue };
            let (id, part) = (kept.id, progress.part);
            let amount = payments::sum(&part.payments)?;
            let status = status.clone();
            let payments = part.lines.iter().zip(&*part.payments);
            results.extend(payments.map(|(line, payment)| LineResult {
                line: *line,
                to: run.remote.text_of(payment.to),
                amount: payment.amount,
                id,
                status: status.clone(),
            }));
            transactions.push(Batch { id, payments: part.lines.len(), amount, status });
        }
        let amount = payments::total(transactions.iter().map(|batch| batch.amount))?;
        let (state, payments) = (state.to_owned(), results.len());
        Ok(Self { state, payments, amount, transactions, results })
    }

    /// The failure of a run in which `refused` of `count` transactions did not get on the ledger.
    pub(super) fn refused(&self, refused: usize, count: usize) -> Result<Failure, Failure> {
        let lines = self.results.iter().filter(|result| reason(&result.status).is_some());
        let lines: Vec<_> = lines.collect();
        let first = lines.first().and_then(|result| Some((result.line, reason(&result.status)?)));
        let first = first.map(|(line, reason)| format!("; line {line}: {reason}"));
        let message = format!(
            "{refused} of {count} transactions did not get on the ledger{}",
            first.unwrap_or_default()
        );
        let faults = serde_json::to_value(lines).map_err(|error| Failure::other("json", error))?;
        Ok(Failure::rejected("payments-rejected", message)
            .with_hint(
                "mend what the reason names and run the same command again: it sends what is not \
                 paid yet, and nobody is paid twice",
            )
            .with_faults(faults))
    }
}

/// Why a transaction did not get on the ledger, if it did not.
fn reason(status: &Status) -> Option<String> {
    match status {
        Status::Rejected { reason, .. } => Some(reason.clone()),
        Status::Expired { height } => Some(format!("it expired at height {height}")),
        _ => None,
    }
}

impl Document for Sent {
    const SCHEMA: &'static str = "dsc.send-many/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for LineResult { line, to, amount, id, status } in &self.results {
            let state = match status {
                Status::Confirmed { height } => format!("confirmed in block {height}"),
                _ => "submitted".to_owned(),
            };
            writeln!(f, "line {line}: {amount} to {to} {state} by {id}")?;
        }
        let (payments, transactions) = (self.payments, self.transactions.len());
        writeln!(f, "{payments} payments of {} coins in {transactions} transactions", self.amount)
    }
}
