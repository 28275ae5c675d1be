//! What a run of `send-many` has signed, so that the next run goes on with it.
//!
//! ```text
//! {"schema":"dsc.send-many.state/1","chain":"64 digits","network":..,"payer":..,"payments":"64 digits"}
//! {"part":0,"id":"64 digits","bytes":"the canonical encoding in hexadecimal"}
//! {"signed":1}
//! ```
//!
//! Lines of parts count from the line `signed` on that follows them, which says how many there are
//! since the one before. The last line of a part has the word.
//!
//! # Invariants
//!
//! 1. What [`Journal::add`] was given is on the disk when it returns, and what it had not finished
//!    counts for nothing: no transaction is sent that a later run does not know.
//! 2. A journal is for one chain, one payer and one list of payments.
//! 3. One process at a time has it.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use dsc_lib::{
    codec,
    hash::Digest,
    transaction::{Encoded, TRANSACTION_BYTES_MAX, Transaction, TransactionId},
};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

const SCHEMA: &str = "dsc.send-many.state/1";
/// Longest journal that is read: some times what the longest list of payments takes.
const BYTES_MAX: u64 = 1 << 30;

/// Whose payments a journal is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) schema: String,
    pub(super) chain: Digest,
    pub(super) network: String,
    /// Address of the payer.
    pub(super) payer: String,
    /// Digest of the payments.
    pub(super) payments: Digest,
}

impl Head {
    pub(super) fn new(chain: Digest, network: String, payer: String, payments: Digest) -> Self {
        Self { schema: SCHEMA.to_owned(), chain, network, payer, payments }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Part { part: usize, id: TransactionId, bytes: String },
    Signed { signed: usize },
}

/// A transaction of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: TransactionId,
    pub(super) encoded: Encoded,
    pub(super) transaction: Transaction,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// The last transaction of each part that has one.
    pub(super) kept: BTreeMap<usize, Kept>,
}

impl Journal {
    /// Opens the journal at `path`, and begins it if there is none.
    pub(super) fn open(path: &Path, head: &Head) -> Result<Self, Failure> {
        let fault = |error| Failure::file("open", path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(fault)?;
        lock(&file, path)?;
        let text = text_of(&mut file, path)?;
        let found = parse(&text, &head.chain).map_err(|what| damaged(path, &what))?;
        let line = line_of(head)?;
        match &found.head {
            Some(found) => check_head(path, found, head)?,
            // The beginning of a head is a journal that was hardly begun; anything else is a file
            // that somebody named by mistake.
            None if line.as_bytes().starts_with(&text) => {}
            None => return Err(damaged(path, "it does not begin as a state file")),
        }
        let mut journal = Self { path: path.to_owned(), file, kept: found.kept };
        // What was not finished is cut off, so that nothing is ever appended to half a line.
        journal.cut(found.len).map_err(fault)?;
        let kept = text.get(..found.len).unwrap_or_default();
        if kept.last().is_some_and(|last| *last != b'\n') {
            journal.append(b"\n")?;
        }
        if found.head.is_none() {
            journal.append(line.as_bytes())?;
            sync_folder(path);
        }
        Ok(journal)
    }

    /// What was signed last for a part, and the journal that says so.
    pub(super) fn of(&self, part: usize) -> Option<(&Self, &Kept)> {
        Some((self, self.kept.get(&part)?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps transactions of parts, in place of those that were kept for them.
    pub(super) fn add(
        &mut self,
        chain: &Digest,
        signed: Vec<(usize, Transaction)>,
    ) -> Result<(), Failure> {
        let mut text = String::new();
        let mut kept = Vec::new();
        for (part, transaction) in signed {
            let encoded = Encoded::from(&transaction);
            let id = encoded.id(chain);
            text.push_str(&line_of(&Line::Part { part, id, bytes: hex::encode(encoded.bytes()) })?);
            kept.push((part, Kept { id, encoded, transaction }));
        }
        self.append(text.as_bytes())?;
        self.append(line_of(&Line::Signed { signed: kept.len() })?.as_bytes())?;
        self.kept.extend(kept);
        Ok(())
    }

    fn cut(&mut self, len: usize) -> std::io::Result<()> {
        self.file.set_len(len as u64)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        written.map_err(|error| Failure::file("write to", &self.path, &error))
    }
}

fn line_of(line: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(line).map_err(|error| Failure::other("json", error))?;
    Ok(text + "\n")
}

fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let message =
                format!("another process sends these payments: it has {}", path.display());
            Err(Failure::other("payments-in-use", message).with_hint("wait until it has ended"))
        }
        Err(TryLockError::Error(error)) => Err(Failure::file("lock", path, &error)),
    }
}

fn text_of(file: &mut File, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = BufReader::new(file).take(BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::file("read", path, &error))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(damaged(path, "it is too long"));
    }
    Ok(text)
}

/// The name of a new file is as durable as its content where folders can be synced.
fn sync_folder(path: &Path) {
    let folder =
        path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    drop(File::open(folder).and_then(|folder| folder.sync_all()));
}

pub(super) fn damaged(path: &Path, what: &str) -> Failure {
    let message = format!("{} is damaged: {what}", path.display());
    Failure::corrupt("payments-state-corrupt", message).with_hint(
        "nothing was sent; `dsc wallet history` shows what was paid: move the file away only if \
         nothing was",
    )
}

fn check_head(path: &Path, found: &Head, head: &Head) -> Result<(), Failure> {
    if found == head {
        return Ok(());
    }
    let what = match (found.chain == head.chain, found.payer == head.payer) {
        (false, _) => format!("is for the chain {} ({})", found.network, found.chain),
        (_, false) => format!("is for payments from {}", found.payer),
        _ => "is for other payments than the file now has".to_owned(),
    };
    let message = format!("{} {what}", path.display());
    Err(Failure::rejected("other-payments", message).with_hint(
        "nothing was sent; to go on, give the same file, payer and memo options as before; to pay \
         this list from its beginning, move the state file away or name another with --state",
    ))
}

#[derive(Debug, Default)]
struct Found {
    head: Option<Head>,
    kept: BTreeMap<usize, Kept>,
    /// Bytes that count.
    len: usize,
}

/// Reads what counts of a journal.
fn parse(text: &[u8], chain: &Digest) -> Result<Found, String> {
    let mut found = Found::default();
    let mut pending = Vec::new();
    let mut at = 0_usize;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        at = at.saturating_add(line.len());
        // A mark that can be read counts without its line end: what it stands for may have been sent.
        if line.last() != Some(&b'\n') && !is_mark(line) {
            break;
        }
        if found.head.is_none() {
            let head: Head = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            if head.schema != SCHEMA {
                return Err(format!("its schema is {}, expected {SCHEMA}", head.schema));
            }
            (found.head, found.len) = (Some(head), at);
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(Line::Part { part, id, bytes }) => pending.push((part, id, bytes)),
            Ok(Line::Signed { signed }) if signed == pending.len() => {
                for (part, id, bytes) in pending.drain(..) {
                    found.kept.insert(part, kept(id, &bytes, chain)?);
                }
                found.len = at;
            }
            // Lines that were not finished may be anything; none of them was sent.
            _ => return unfinished(found, text.get(at..).unwrap_or_default()),
        }
    }
    Ok(found)
}

/// Whether a line says that those before it count.
fn is_mark(line: &[u8]) -> bool {
    matches!(serde_json::from_slice(line), Ok(Line::Signed { .. }))
}

/// A damaged line is the end of a journal, unless it says after it that something counts.
fn unfinished(found: Found, rest: &[u8]) -> Result<Found, String> {
    if rest.split(|byte| *byte == b'\n').any(is_mark) {
        return Err("a line of a transaction that was sent cannot be read".to_owned());
    }
    Ok(found)
}

fn kept(id: TransactionId, bytes: &str, chain: &Digest) -> Result<Kept, String> {
    let bytes = hex::decode(bytes).map_err(|error| error.to_string())?;
    let encoded: Encoded = codec::decode_bounded(&bytes, TRANSACTION_BYTES_MAX)
        .map_err(|error| format!("not a transaction: {error}"))?;
    let got = encoded.id(chain);
    if got != id {
        return Err(format!("the transaction {id} is {got}"));
    }
    let transaction = encoded.decode();
    Ok(Kept { id, encoded, transaction })
}

#[cfg(test)]
mod tests;
