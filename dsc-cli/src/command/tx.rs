//! `dsc tx`: how a transaction stands, what it says, and what bytes say.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    address::Prefix,
    hash::Digest,
    mempool::Status,
    transaction::Transaction,
    units::{Amount, Height},
};
use serde::Serialize;

use super::{
    Context, input,
    remote::{located, standing, transaction_id},
    wallet::memo::shown,
};
use crate::{
    exit::Failure,
    network,
    output::Document,
    role::{
        transport::Transport,
        view::{LocatedView, PaymentView, TransactionView, memo_text},
    },
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Tell how a transaction stands: submitted, unconfirmed, confirmed, rejected or expired
    Status(Id),
    /// Show a transaction on the ledger
    Show(Id),
    /// Show what the bytes of a transaction say; needs no network
    Decode(Decode),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Id {
    /// The transaction's id
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
struct Decode {
    /// The transaction: hexadecimal, @FILE, or - for standard input
    #[arg(value_name = "HEX|@FILE|-")]
    transaction: String,
    /// Genesis file of its chain: gives its id, and its signature is checked
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Status(args) => status(args, context),
        Verb::Show(args) => show(args, context),
        Verb::Decode(args) => decode(args, context),
    }
}

/// How a transaction stands, and what it says if that is known.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionDocument {
    pub(crate) id: Digest,
    #[serde(flatten)]
    pub(crate) status: Status,
    /// Its place in the block, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction: Option<TransactionView>,
}

impl Document for TransactionDocument {
    const SCHEMA: &'static str = "dsc.tx/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "id       {}", self.id)?;
        writeln!(f, "state    {}", sentence(&self.status))?;
        let Some(transaction) = &self.transaction else { return Ok(()) };
        writeln!(f, "from     {}", transaction.sender)?;
        write_terms(f, transaction)
    }
}

fn write_terms(f: &mut fmt::Formatter<'_>, transaction: &TransactionView) -> fmt::Result {
    for PaymentView { to, amount } in &transaction.payments {
        writeln!(f, "to       {to} {amount}")?;
    }
    writeln!(f, "fee      {}", transaction.fee)?;
    writeln!(f, "sequence {}, expires after height {}", transaction.sequence, transaction.expires)?;
    if transaction.memo.is_empty() {
        return Ok(());
    }
    writeln!(f, "memo     {}", shown(&transaction.memo))
}

/// A state in a few words.
fn sentence(status: &Status) -> String {
    match status {
        Status::Submitted => "submitted".to_owned(),
        Status::Unconfirmed { height } => format!("unconfirmed, handed out for block {height}"),
        Status::Confirmed { height } => format!("confirmed in block {height}"),
        Status::Rejected { code, reason } => format!("rejected ({code}): {reason}"),
        Status::Expired { height } => format!("expired at height {height}"),
        _ => "unknown to this program".to_owned(),
    }
}

fn unknown(id: &Digest) -> Failure {
    Failure::not_found("unknown-transaction", format!("neither pool nor ledger knows {id}"))
        .with_hint("check the id; a pool forgets what ended long ago without getting on the ledger")
}

/// Tells how a transaction stands.
pub(crate) fn status(args: &Id, context: &Context<'_>) -> Result<(), Failure> {
    let id = transaction_id(&args.id)?;
    let transport = Transport::from_config(&context.config)?;
    let found = standing(&transport, &id)?.ok_or_else(|| unknown(&id))?;
    let index = found.located.as_ref().map(|located| located.index);
    let transaction = found.located.map(|located| located.transaction);
    context.output.document(&TransactionDocument { id, status: found.status, index, transaction })
}

fn show(args: &Id, context: &Context<'_>) -> Result<(), Failure> {
    let id = transaction_id(&args.id)?;
    let transport = Transport::from_config(&context.config)?;
    let found = located(&transport.blockchain, &id)?.ok_or_else(|| {
        Failure::not_found("unknown-transaction", format!("the ledger has no transaction {id}"))
            .with_hint(format!("`dsc tx status {id}` says whether the pool has it"))
    })?;
    let LocatedView { height, index, transaction } = found;
    let (status, index) = (Status::Confirmed { height }, Some(index));
    let transaction = Some(transaction);
    context.output.document(&TransactionDocument { id, status, index, transaction })
}

/// What the bytes of a transaction say.
#[derive(Debug, Serialize)]
struct Decoded {
    /// Known with the chain only.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Digest>,
    /// Whether it keeps every rule that needs no ledger; known with the chain only.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    /// The rule it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    version: u16,
    sender: String,
    sequence: u64,
    expires: Height,
    fee: Amount,
    payments: Vec<PaymentView>,
    memo: String,
    signature: String,
}

impl Document for Decoded {
    const SCHEMA: &'static str = "dsc.tx.decoded/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            writeln!(f, "id       {id}")?;
            writeln!(f, "valid    {}", self.fault.as_deref().unwrap_or("yes"))?;
        }
        writeln!(f, "from     {}", self.sender)?;
        write_terms(
            f,
            &TransactionView {
                id: self.id.unwrap_or_default(),
                sender: self.sender.clone(),
                sequence: self.sequence,
                expires: self.expires,
                fee: self.fee,
                payments: self.payments.clone(),
                memo: self.memo.clone(),
            },
        )
    }
}

fn decode(args: &Decode, context: &Context<'_>) -> Result<(), Failure> {
    let transaction = input::transaction(&args.transaction)?;
    let chain = args.genesis.as_deref().map(network::read_genesis).transpose()?;
    let prefix = chain.as_ref().map_or(Prefix::Development, dsc_lib::genesis::Chain::prefix);
    let checked = chain.as_ref().map(|chain| transaction.clone().check(&chain.hash()).err());
    let fault = checked.flatten().map(|error| error.to_string());
    let id = chain.as_ref().map(|chain| transaction.id(&chain.hash()));
    let valid = chain.map(|_| fault.is_none());
    context.output.document(&decoded(&transaction, prefix, id, valid, fault))
}

fn decoded(
    transaction: &Transaction,
    prefix: Prefix,
    id: Option<Digest>,
    valid: Option<bool>,
    fault: Option<String>,
) -> Decoded {
    let payment = |payment: &dsc_lib::transaction::Payment| PaymentView {
        to: payment.to.to_text(prefix),
        amount: payment.amount,
    };
    Decoded {
        id,
        valid,
        fault,
        version: transaction.version,
        sender: transaction.sender.address().to_text(prefix),
        sequence: transaction.sequence,
        expires: transaction.expires,
        fee: transaction.fee,
        payments: transaction.payments.iter().map(payment).collect(),
        memo: memo_text(&transaction.memo),
        signature: hex::encode(transaction.signature.0),
    }
}
