//! Many payments from one file, up to 256 in one transaction.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use dsc_lib::{
    address::{Address, Prefix},
    hash::Digest,
    mempool::Status,
    role::wallet::Payment as Sending,
    transaction::{PAYMENTS_MAX, Payment, Payments},
    units::Amount,
};
use serde::{Deserialize, Serialize};

use super::{
    Context,
    payer::PayerArgs,
    send::{Terms, outcome},
};
use crate::{
    command::{
        remote::{Remote, Wait, refused},
        role::ChainArgs,
    },
    exit::{Exit, Failure},
    output::{Document, note},
    role::blockchain::AccountView,
};

/// Most payments in one file: more than a block holds.
const LINES_MAX: usize = 1 << 20;
/// Longest line.
const LINE_LEN_MAX: usize = 4096;

#[derive(Debug, clap::Args)]
pub(super) struct SendMany {
    /// Payments, one a line: `ADDRESS,AMOUNT` or `{"address":..,"amount":..}`; - is standard input
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

/// A line of NDJSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    address: String,
    amount: Amount,
}

fn wrong(path: &Path, number: usize, what: impl fmt::Display) -> Failure {
    let message = format!("{} line {number}: {what}", path.display());
    Failure::new(Exit::Usage, "invalid-payments", message)
        .with_hint("nothing was sent; mend the line and run the command again")
}

/// Reads all payments, or says which line is wrong.
pub(super) fn read(path: &Path, prefix: Prefix) -> Result<Vec<Payment>, Failure> {
    if path == Path::new("-") {
        return parse(path, io::stdin().lock(), prefix);
    }
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(path, BufReader::new(file), prefix)
}

fn parse(path: &Path, input: impl BufRead, prefix: Prefix) -> Result<Vec<Payment>, Failure> {
    let mut payments = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => wrong(path, number, "it is not a text"),
            _ => Failure::file("read", path, &error),
        })?;
        if payments.len() >= LINES_MAX || line.len() > LINE_LEN_MAX {
            return Err(wrong(path, number, "the file or the line is too long"));
        }
        let line = line.trim();
        // The head of a table, a remark or nothing.
        let is_head = number == 1 && line.eq_ignore_ascii_case("address,amount");
        if line.is_empty() || line.starts_with('#') || is_head {
            continue;
        }
        payments.push(payment(line, prefix).map_err(|what| wrong(path, number, what))?);
    }
    if payments.is_empty() {
        return Err(wrong(path, 1, "there is no payment in the file"));
    }
    Ok(payments)
}

fn payment(line: &str, prefix: Prefix) -> Result<Payment, String> {
    let Line { address, amount } = if line.starts_with('{') {
        serde_json::from_str(line).map_err(|error| error.to_string())?
    } else {
        let (address, amount) = line.split_once(',').ok_or("expected ADDRESS,AMOUNT")?;
        let amount = amount.trim().parse().map_err(|error| format!("{error}"))?;
        Line { address: address.trim().to_owned(), amount }
    };
    if amount == Amount::ZERO {
        return Err("a payment of nothing".to_owned());
    }
    let to = Address::from_text(&address, prefix).map_err(|error| error.to_string())?;
    Ok(Payment { to, amount })
}

/// One transaction of several.
#[derive(Debug, Serialize)]
struct Part {
    id: Digest,
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
    transactions: Vec<Part>,
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
    let payments = read(&args.file, remote.chain.prefix())?;
    let amount = sum(&payments, Amount::ZERO)?;
    let key = args.payer.key(&remote.chain, &remote.keystore())?;
    let parts: Vec<Payments> = payments
        .chunks(PAYMENTS_MAX)
        .map(|part| Payments::new(part.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::other("payments", error))?;
    check_funds(&remote, key.public().address(), &parts, args.terms.fee)?;
    let mut sendings = Vec::new();
    let submitting = Wait { is_async: true, ..args.wait.clone() };
    for part in &parts {
        let order = args.terms.order(part.clone(), args.wait.confirmations);
        let mut sending = Sending::new(remote.chain.clone(), key.clone(), order);
        // The pool names the next sequence only once it has the transaction before.
        let driven = remote.drive(&mut sending, &submitting);
        driven.map_err(|failure| stopped(&failure, sendings.len(), parts.len()))?;
        let (id, status) = outcome(&sending)?;
        if let Some(failure) = refused(&id, &status) {
            return Err(stopped(&failure, sendings.len(), parts.len()));
        }
        note(format_args!("submitted {id}: {} payments", part.len()));
        sendings.push(sending);
    }
    drop(key);
    settle(&remote, args, &mut sendings)?;
    let transactions = sendings.iter().zip(&parts).map(describe).collect::<Result<_, _>>()?;
    context.output.document(&Sent { payments: payments.len(), amount, transactions })
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

fn describe((sending, part): (&Sending, &Payments)) -> Result<Part, Failure> {
    let (id, status) = outcome(sending)?;
    Ok(Part { id, payments: part.len(), amount: sum(part, Amount::ZERO)?, status })
}

/// A transaction was refused; those before it stand.
fn stopped(failure: &Failure, before: usize, count: usize) -> Failure {
    let message = format!("{failure}; {before} of {count} transactions went through before it");
    let hint =
        "their ids are on standard error; remove their lines from the file before you repeat";
    Failure::new(failure.exit(), failure.code().to_owned(), message).with_hint(hint)
}

fn sum(payments: &[Payment], fees: Amount) -> Result<Amount, Failure> {
    let amounts = payments.iter().map(|payment| payment.amount);
    Amount::checked_sum(amounts.chain([fees])).ok_or_else(too_much)
}

pub(super) fn too_much() -> Failure {
    Failure::rejected("amount-overflow", "the payments together exceed all coins there can be")
}

/// Finds out before the first transaction that the coins do not suffice for the last.
fn check_funds(
    remote: &Remote<'_>,
    payer: Address,
    parts: &[Payments],
    fee: Amount,
) -> Result<(), Failure> {
    let path = format!("/v1/accounts/{payer}");
    let AccountView { balance, .. } = remote.transport.blockchain.get_json(&path)?;
    let sums: Vec<_> = parts.iter().map(|part| sum(part, fee)).collect::<Result<_, _>>()?;
    let needed = Amount::checked_sum(sums);
    if needed.is_some_and(|needed| needed <= balance) {
        return Ok(());
    }
    let needed = needed.map_or_else(|| "too many".to_owned(), |needed| needed.to_string());
    let message = format!("needs {needed} coins with fees, the sender has {balance}");
    Err(Failure::rejected("insufficient-funds", message).with_hint("nothing was sent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Address = Address([7; 32]);

    fn lines(text: &str) -> Result<Vec<Payment>, Failure> {
        parse(Path::new("file"), text.as_bytes(), Prefix::Development)
    }

    #[test]
    fn both_forms_are_read() {
        let to = TO.to_text(Prefix::Development);
        let text = format!(
            "address,amount\n# a remark\n{to}, 1.5\n\n{{\"address\":\"{to}\",\"amount\":\"2\"}}\r\n"
        );
        let payments = lines(&text).unwrap();
        let amounts: Vec<_> = payments.iter().map(|p| p.amount.to_string()).collect();
        assert_eq!(amounts, ["1.5", "2"]);
        assert!(payments.iter().all(|payment| payment.to == TO));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let (to, other) = (TO.to_text(Prefix::Development), TO.to_text(Prefix::Main));
        let cases = [
            (format!("{to},1\n{to}"), "line 2: expected ADDRESS,AMOUNT"),
            (format!("{to},x"), "line 1: an amount is digits"),
            (format!("{to},0"), "line 1: a payment of nothing"),
            (format!("{other},1"), "line 1: the address starts with \"dsc\", expected \"dscd\""),
            ("{\"address\":1}".to_owned(), "line 1: invalid type"),
            ("# nothing\n".to_owned(), "line 1: there is no payment"),
        ];
        for (text, expected) in cases {
            let failure = lines(&text).unwrap_err();
            assert_eq!((failure.exit(), failure.code()), (Exit::Usage, "invalid-payments"));
            assert!(failure.message().contains(expected), "{failure}");
        }
    }
}
