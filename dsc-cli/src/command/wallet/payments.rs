//! Payments in a file, one a line, and the transactions they are put into.
//!
//! A line is `ADDRESS,AMOUNT`, `ADDRESS,AMOUNT,MEMO` (in quotes if it has a comma) or
//! `{"address":..,"amount":..,"memo":..}`. Empty lines and those that begin with `#` count for
//! nothing.
//!
//! # Invariants
//!
//! 1. A file is read whole before anything is signed; what is wrong is named by its line.
//! 2. Lines stay in their order. A transaction has one memo, so lines with another memo, or a sealed
//!    one for another recipient, go into another transaction.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use dsc_lib::{
    address::{Address, Prefix},
    transaction::{Payment, Payments},
    units::Amount,
};
use serde::Deserialize;

use super::memo::{Keys, MemoArgs, Wording};
use crate::exit::{Exit, Failure};

/// Most payments in one file: more than a block holds.
const LINES_MAX: usize = 1 << 20;
/// Longest line.
const LINE_LEN_MAX: usize = 4096;

/// A line of NDJSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    address: String,
    amount: Amount,
    #[serde(default)]
    memo: Option<String>,
}

/// A line that pays somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) line: usize,
    pub(super) payment: Payment,
    /// Its own memo or the one for all; may be empty.
    pub(super) memo: String,
}

/// What goes into one transaction.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The lines, as many as there are payments.
    pub(super) lines: Vec<usize>,
    pub(super) payments: Payments,
    pub(super) memo: Wording,
}

fn wrong(path: &Path, number: usize, what: impl fmt::Display) -> Failure {
    let message = format!("{} line {number}: {what}", path.display());
    Failure::new(Exit::Usage, "invalid-payments", message)
        .with_hint("nothing was sent; mend the line and run the command again")
}

/// Reads all payments, or says which line is wrong.
pub(super) fn read(path: &Path, prefix: Prefix, memo: &MemoArgs) -> Result<Vec<Entry>, Failure> {
    if path == Path::new("-") {
        return parse(path, io::stdin().lock(), prefix, memo);
    }
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(path, BufReader::new(file), prefix, memo)
}

fn parse(
    path: &Path,
    input: impl BufRead,
    prefix: Prefix,
    memo: &MemoArgs,
) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => wrong(path, number, "it is not a text"),
            _ => Failure::file("read", path, &error),
        })?;
        if entries.len() >= LINES_MAX || line.len() > LINE_LEN_MAX {
            return Err(wrong(path, number, "the file or the line is too long"));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (number == 1 && is_head(line)) {
            continue;
        }
        let read = entry(number, line, prefix, memo);
        entries.push(read.map_err(|what| wrong(path, number, what))?);
    }
    if entries.is_empty() {
        return Err(wrong(path, 1, "there is no payment in the file"));
    }
    if memo.is_sealed() && entries.iter().all(|entry| entry.memo.is_empty()) {
        return Err(wrong(path, 1, "there is no memo to seal in the file, and no --memo"));
    }
    Ok(entries)
}

/// Whether a line is the head of a table.
fn is_head(line: &str) -> bool {
    ["address,amount", "address,amount,memo"].iter().any(|head| line.eq_ignore_ascii_case(head))
}

fn entry(number: usize, line: &str, prefix: Prefix, memo: &MemoArgs) -> Result<Entry, String> {
    let read = if line.starts_with('{') {
        serde_json::from_str(line).map_err(|error| error.to_string())?
    } else {
        columns(line)?
    };
    if read.amount == Amount::ZERO {
        return Err("a payment of nothing".to_owned());
    }
    let to = Address::from_text(&read.address, prefix).map_err(|error| error.to_string())?;
    let text = read.memo.unwrap_or_else(|| memo.text().to_owned());
    memo.check_len(&text)?;
    Ok(Entry { line: number, payment: Payment { to, amount: read.amount }, memo: text })
}

fn columns(line: &str) -> Result<Line, String> {
    let (address, rest) = line.split_once(',').ok_or("expected ADDRESS,AMOUNT")?;
    let (amount, memo) = match rest.split_once(',') {
        Some((amount, memo)) => (amount, Some(unquoted(memo.trim())?)),
        None => (rest, None),
    };
    let amount = amount.trim().parse().map_err(|error| format!("{error}"))?;
    Ok(Line { address: address.trim().to_owned(), amount, memo })
}

/// A field as tables have it: in quotes if it holds a comma, quotes inside doubled (RFC 4180).
fn unquoted(field: &str) -> Result<String, String> {
    let Some(quoted) = field.strip_prefix('"') else {
        let has_comma = field.contains(',');
        let told = || "a memo with a comma goes in quotes".to_owned();
        return if has_comma { Err(told()) } else { Ok(field.to_owned()) };
    };
    let inner = quoted.strip_suffix('"').map(|inner| inner.split("\"\"").collect::<Vec<_>>());
    match inner {
        Some(parts) if parts.iter().all(|part| !part.contains('"')) => Ok(parts.join("\"")),
        _ => Err("the quotes of the memo do not match".to_owned()),
    }
}

/// Puts payments into transactions of at most `max` payments each.
pub(super) fn parts(
    entries: &[Entry],
    max: usize,
    memo: &MemoArgs,
    keys: &Keys<'_>,
) -> Result<Vec<Part>, Failure> {
    let is_sealed = |entry: &Entry| memo.is_sealed() && !entry.memo.is_empty();
    let share =
        |a: &Entry, b: &Entry| a.memo == b.memo && (!is_sealed(a) || a.payment.to == b.payment.to);
    let groups = entries.chunk_by(share).flat_map(|group| group.chunks(max));
    let part = |group: &[Entry]| {
        let first = group.first().ok_or_else(|| Failure::usage("there is nothing to pay"))?;
        let reader = is_sealed(first).then(|| keys.of(&first.payment.to)).transpose().map_err(
            |failure| {
                let message = format!("line {}: {failure}", first.line);
                let hint = failure.hint().unwrap_or_default().to_owned();
                Failure::new(failure.exit(), failure.code().to_owned(), message).with_hint(hint)
            },
        )?;
        let payments = group.iter().map(|entry| entry.payment).collect();
        Ok(Part {
            lines: group.iter().map(|entry| entry.line).collect(),
            payments: Payments::new(payments).map_err(|error| Failure::other("payments", error))?,
            memo: Wording::new(&first.memo, reader.as_ref()),
        })
    };
    groups.map(part).collect()
}

/// What payments come to.
pub(super) fn sum(payments: &[Payment]) -> Result<Amount, Failure> {
    total(payments.iter().map(|payment| payment.amount))
}

/// What amounts come to, if there can be as many coins.
pub(super) fn total(amounts: impl IntoIterator<Item = Amount>) -> Result<Amount, Failure> {
    Amount::checked_sum(amounts).ok_or_else(|| {
        Failure::rejected("amount-overflow", "the payments together exceed all coins there can be")
            .with_hint("nothing was sent; check the amounts")
    })
}

#[cfg(test)]
mod tests;
