//! Many payments from one file, up to 256 in one transaction.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    address::Address, hash::Digest, mempool::Status, role::wallet::Payment as Sending,
    transaction::PAYMENTS_MAX, units::Amount,
};
use serde::Serialize;

use super::{
    Context,
    payer::PayerArgs,
    payments::{self, Part, total},
    send::{Terms, outcome},
};
use crate::{
    command::{
        remote::{Remote, Wait, refused},
        role::ChainArgs,
    },
    exit::Failure,
    output::{Document, note},
    role::blockchain::AccountView,
};

#[derive(Debug, clap::Args)]
pub(super) struct SendMany {
    /// Payments, one a line: `ADDRESS,AMOUNT[,MEMO]` or `{"address":..,"amount":..}`; - is standard
    /// input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    payer: PayerArgs,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    chain: ChainArgs,
}

/// One transaction of several.
#[derive(Debug, Serialize)]
struct Batch {
    id: Digest,
    /// Which lines of the file it pays.
    lines: Vec<usize>,
    payments: usize,
    amount: Amount,
    #[serde(flatten)]
    status: Status,
}

/// What became of all payments.
#[derive(Debug, Serialize)]
struct Sent {
    payments: usize,
    amount: Amount,
    transactions: Vec<Batch>,
}

impl Document for Sent {
    const SCHEMA: &'static str = "dsc.send-many/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.transactions {
            let state = match part.status {
                Status::Confirmed { height } => format!("confirmed in block {height}"),
                _ => "submitted".to_owned(),
            };
            writeln!(f, "{} {} payments, {} {state}", part.id, part.payments, part.amount)?;
        }
        writeln!(f, "{} payments of {} coins together", self.payments, self.amount)
    }
}

/// Pays everybody in a file.
pub(super) fn send_many(args: &SendMany, context: &Context<'_>) -> Result<(), Failure> {
    let remote = Remote::of_pool(&args.chain, context)?;
    let memo = &args.terms.memo;
    let entries = payments::read(&args.file, remote.chain.prefix(), memo)?;
    let amount = total(entries.iter().map(|entry| entry.payment.amount))?;
    let keys = memo.keys(&remote.chain, remote.keystore(), Some(&remote))?;
    let parts = payments::parts(&entries, PAYMENTS_MAX, memo, &keys)?;
    let key = args.payer.key(&remote.chain, &remote.keystore())?;
    check_funds(&remote, key.public().address(), &parts, args.terms.fee)?;
    let mut sendings = Vec::new();
    let submitting = Wait { is_async: true, ..args.wait.clone() };
    for part in &parts {
        let memo = part.memo.memo(&remote.chain.hash(), &key.public().address())?;
        let order = args.terms.order(part.payments.clone(), memo, args.wait.confirmations);
        let mut sending = Sending::new(remote.chain.clone(), key.clone(), order);
        // The pool names the next sequence only once it has the transaction before.
        let driven = remote.drive(&mut sending, &submitting);
        driven.map_err(|failure| stopped(&failure, sendings.len(), parts.len()))?;
        let (id, status) = outcome(&sending)?;
        if let Some(failure) = refused(&id, &status) {
            return Err(stopped(&failure, sendings.len(), parts.len()));
        }
        note(format_args!("submitted {id}: {} payments", part.payments.len()));
        sendings.push(sending);
    }
    drop(key);
    settle(&remote, args, &mut sendings)?;
    let transactions = sendings.iter().zip(&parts).map(describe).collect::<Result<_, _>>()?;
    context.output.document(&Sent { payments: entries.len(), amount, transactions })
}

fn settle(remote: &Remote<'_>, args: &SendMany, sendings: &mut [Sending]) -> Result<(), Failure> {
    if args.wait.is_async {
        return Ok(());
    }
    let count = sendings.len();
    for (done, sending) in sendings.iter_mut().enumerate() {
        let driven = remote.drive(sending, &args.wait);
        driven.map_err(|failure| stopped(&failure, done, count))?;
        let (id, status) = outcome(sending)?;
        if let Some(failure) = refused(&id, &status) {
            return Err(stopped(&failure, done, count));
        }
    }
    Ok(())
}

fn describe((sending, part): (&Sending, &Part)) -> Result<Batch, Failure> {
    let (id, status) = outcome(sending)?;
    Ok(Batch {
        id,
        lines: part.lines.clone(),
        payments: part.payments.len(),
        amount: payments::sum(&part.payments)?,
        status,
    })
}

/// A transaction was refused; those before it stand.
fn stopped(failure: &Failure, before: usize, count: usize) -> Failure {
    let message = format!("{failure}; {before} of {count} transactions went through before it");
    let hint =
        "their ids are on standard error; remove their lines from the file before you repeat";
    Failure::new(failure.exit(), failure.code().to_owned(), message).with_hint(hint)
}

/// Finds out before the first transaction that the coins do not suffice for the last.
fn check_funds(
    remote: &Remote<'_>,
    payer: Address,
    parts: &[Part],
    fee: Amount,
) -> Result<(), Failure> {
    let path = format!("/v1/accounts/{payer}");
    let AccountView { balance, .. } = remote.transport.blockchain.get_json(&path)?;
    let sums: Vec<_> =
        parts.iter().map(|part| payments::sum(&part.payments)).collect::<Result<_, _>>()?;
    let needed = Amount::checked_sum(sums.into_iter().chain(parts.iter().map(|_| fee)));
    if needed.is_some_and(|needed| needed <= balance) {
        return Ok(());
    }
    let needed = needed.map_or_else(|| "too many".to_owned(), |needed| needed.to_string());
    let message = format!("needs {needed} coins with fees, the sender has {balance}");
    Err(Failure::rejected("insufficient-funds", message).with_hint("nothing was sent"))
}
