//! Files of transactions that were signed to be sent later, perhaps by another machine.
//!
//! The first line says what the file is and for which chain; each other line is one transaction:
//!
//! ```text
//! {"schema":"dsc.prepared/1","chain":"64 digits","network":"dsc-dev"}
//! {"id":"64 digits","bytes":"the canonical encoding in hexadecimal"}
//! ```
//!
//! # Invariants
//!
//! 1. A file is written whole or not at all, and never over another.
//! 2. What is read has the id that its line names, on the chain of whoever reads.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use dsc_lib::{
    codec,
    genesis::Chain,
    hash::Digest,
    transaction::{Encoded, TRANSACTION_BYTES_MAX, TransactionId},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

const SCHEMA: &str = "dsc.prepared/1";
/// Longest line: the largest transaction, its id and the words around them.
const LINE_LEN_MAX: usize = 2 * TRANSACTION_BYTES_MAX + 256;
/// Most transactions of one file.
const COUNT_MAX: usize = 4 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    schema: String,
    chain: Digest,
    network: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: TransactionId,
    bytes: String,
}

/// A transaction of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Its line, from 1.
    pub(crate) line: usize,
    pub(crate) id: TransactionId,
    pub(crate) encoded: Encoded,
}

/// Whether the file at `path` begins as a prepared one does.
pub(crate) fn is_prepared(path: &Path) -> bool {
    use std::io::Read;
    let mut first = [0];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"{"
}

/// Writes a new file.
pub(crate) fn write(path: &Path, chain: &Chain, signed: &[Encoded]) -> Result<(), Failure> {
    let fault = |error| Failure::file("write", path, &error);
    let folder =
        path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    let mut file = BufWriter::new(&temporary);
    let head = Head { schema: SCHEMA.to_owned(), chain: chain.hash(), network: chain.network() };
    let json = |error| Failure::other("json", error);
    writeln!(file, "{}", serde_json::to_string(&head).map_err(json)?).map_err(fault)?;
    for encoded in signed {
        let line = Line { id: encoded.id(&chain.hash()), bytes: hex::encode(encoded.bytes()) };
        writeln!(file, "{}", serde_json::to_string(&line).map_err(json)?).map_err(fault)?;
    }
    file.flush().and_then(|()| temporary.as_file().sync_all()).map_err(fault)?;
    drop(file);
    temporary.persist_noclobber(path).map(drop).map_err(|error| {
        let exists = error.error.kind() == std::io::ErrorKind::AlreadyExists;
        if exists { file_exists(path) } else { fault(error.error) }
    })
}

/// Fails if there is a file at `path`: better before a long task than after.
pub(crate) fn check_new(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() { Err(file_exists(path)) } else { Ok(()) }
}

/// The failure of whoever would write over the file at `path`.
pub(crate) fn file_exists(path: &Path) -> Failure {
    Failure::rejected("file-exists", format!("{} exists", path.display()))
        .with_hint("choose another file, or remove this one")
}

/// Reads all of a file that was prepared for `chain`; signatures are not checked.
pub(crate) fn read(path: &Path, chain: &Chain) -> Result<Vec<Prepared>, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(path, BufReader::new(file), chain)
}

fn parse(path: &Path, mut input: impl BufRead, chain: &Chain) -> Result<Vec<Prepared>, Failure> {
    let mut lines = Vec::new();
    while let Some(line) = next_line(path, &mut input, lines.len() + 1)? {
        lines.push(line);
    }
    let Some((head, lines)) = lines.split_first() else {
        return Err(wrong(path, 1, "the file is empty"));
    };
    check_head(path, head, chain)?;
    let signed = lines.par_iter().enumerate().filter(|(_, line)| !line.is_empty());
    let signed = signed.map(|(index, line)| {
        let number = index + 2;
        let found = transaction(line, &chain.hash());
        let (id, encoded) = found.map_err(|what| wrong(path, number, what))?;
        Ok(Prepared { line: number, id, encoded })
    });
    let signed: Vec<_> = signed.collect::<Result<_, Failure>>()?;
    if signed.is_empty() { Err(wrong(path, 1, "no transaction follows")) } else { Ok(signed) }
}

fn next_line(
    path: &Path,
    input: &mut impl BufRead,
    number: usize,
) -> Result<Option<String>, Failure> {
    use std::io::Read;
    let mut line = String::new();
    let read = input.by_ref().take(LINE_LEN_MAX as u64).read_line(&mut line);
    let read = read.map_err(|error| Failure::file("read", path, &error))?;
    if number > COUNT_MAX || (read == LINE_LEN_MAX && !line.ends_with('\n')) {
        return Err(wrong(path, number, "the file or the line is too long"));
    }
    line.truncate(line.trim_end().len());
    Ok((read > 0).then_some(line))
}

fn check_head(path: &Path, head: &str, chain: &Chain) -> Result<(), Failure> {
    let head: Result<Head, _> = serde_json::from_str(head);
    let Ok(head) = head else { return Err(wrong(path, 1, "it does not name a chain")) };
    if head.schema != SCHEMA {
        return Err(wrong(path, 1, format_args!("the schema is {}", head.schema)));
    }
    if head.chain == chain.hash() {
        return Ok(());
    }
    let (theirs, ours) = (head.chain, chain.hash());
    let message = format!(
        "{} is for {} ({theirs}), this is {} ({ours})",
        path.display(),
        head.network,
        chain.network()
    );
    Err(Failure::rejected("wrong-chain", message)
        .with_hint("nothing was sent; check --genesis and the --*-url flags"))
}

fn transaction(line: &str, chain: &Digest) -> Result<(TransactionId, Encoded), String> {
    let Line { id, bytes } = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let bytes = hex::decode(bytes).map_err(|error| error.to_string())?;
    let encoded: Encoded = codec::decode_bounded(&bytes, TRANSACTION_BYTES_MAX)
        .map_err(|error| format!("not a transaction: {error}"))?;
    let got = encoded.id(chain);
    if got == id { Ok((id, encoded)) } else { Err(format!("its id is {got}, the line says {id}")) }
}

fn wrong(path: &Path, number: usize, what: impl std::fmt::Display) -> Failure {
    let message = format!("{} line {number}: {what}", path.display());
    Failure::new(Exit::Corrupt, "prepared-malformed", message)
        .with_hint("nothing was sent; `dsc wallet sign --out FILE` writes such files")
}

#[cfg(test)]
mod tests {
    use dsc_lib::{
        testing::{ALICE, BOB, address, genesis},
        transaction::{Draft, Memo, Payment, Payments},
        units::{Amount, Height},
    };

    use super::*;

    fn signed(chain: &Chain, count: u64) -> Vec<Encoded> {
        let payments = vec![Payment { to: address(&BOB), amount: Amount::from_units(1) }];
        let draft = |sequence| Draft {
            sequence,
            expires: Height(9),
            fee: Amount::ZERO,
            payments: Payments::new(payments.clone()).unwrap(),
            memo: Memo::default(),
        };
        (0..count).map(|sequence| draft(sequence).sign(&chain.hash(), &ALICE).into()).collect()
    }

    #[test]
    fn what_was_written_is_read_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed");
        let chain = genesis().check().unwrap();
        let signed = signed(&chain, 3);
        write(&path, &chain, &signed).unwrap();
        assert!(is_prepared(&path));
        let read = read(&path, &chain).unwrap();
        let lines: Vec<_> = read.iter().map(|prepared| prepared.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert!(read.iter().zip(&signed).all(|(prepared, signed)| prepared.encoded == *signed));
        assert_eq!(write(&path, &chain, &signed).unwrap_err().code(), "file-exists");
    }

    #[test]
    fn a_file_of_another_chain_or_with_a_wrong_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signed");
        let chain = genesis().check().unwrap();
        write(&path, &chain, &signed(&chain, 2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let said = |text: &str| {
            let failure = parse(Path::new("file"), text.as_bytes(), &chain).unwrap_err();
            (failure.code().to_owned(), failure.message().to_owned())
        };
        let other = dsc_lib::genesis::Genesis { halving: 7, ..genesis() }.check().unwrap();
        assert_eq!(read(&path, &other).unwrap_err().code(), "wrong-chain");
        let lines: Vec<_> = text.lines().collect();
        let swapped = lines[1].replace(&lines[1][7..71], &lines[2][7..71]);
        let cases = [
            (String::new(), "line 1: the file is empty"),
            (lines[0].to_owned(), "line 1: no transaction follows"),
            ("{}".to_owned(), "line 1: it does not name a chain"),
            (text.replace("prepared/1", "prepared/9"), "line 1: the schema is dsc.prepared/9"),
            (format!("{}\n{swapped}\n", lines[0]), "line 2: its id is "),
            (format!("{}\n{{\"id\":1}}\n", lines[0]), "line 2: invalid type"),
            (format!("{}\n{}\n", lines[0], &lines[1][..90]), "line 2: EOF while parsing"),
            (text.replace("bytes\":\"", "bytes\":\"x"), "line 2: "),
        ];
        for (text, expected) in cases {
            let (code, message) = said(&text);
            assert_eq!(code, "prepared-malformed");
            assert!(message.contains(expected), "{message}");
        }
    }
}
