//! Bytes that people hand to commands: hexadecimal, `@FILE`, or `-` for standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use dsc_lib::{
    address::Address,
    codec,
    transaction::{TRANSACTION_BYTES_MAX, Transaction},
};

use crate::{
    exit::{Exit, Failure},
    keystore::NAME_LEN_MAX,
};

/// Reads a transaction.
pub(crate) fn transaction(text: &str) -> Result<Transaction, Failure> {
    let bytes = bytes(text, TRANSACTION_BYTES_MAX)?;
    codec::decode_bounded(&bytes, TRANSACTION_BYTES_MAX).map_err(|error| {
        Failure::corrupt("not-canonical", format!("not a transaction: {error}"))
            .with_hint("docs/protocol.md describes the encoding; `dsc wallet sign` writes it")
    })
}

/// Reads bytes that are written as `text` says; a file may hold them raw or in hexadecimal.
pub(crate) fn bytes(text: &str, len_max: usize) -> Result<Vec<u8>, Failure> {
    let read = match (text, text.strip_prefix('@')) {
        ("-", _) => from(&mut io::stdin().lock(), Path::new("standard input"), len_max)?,
        (_, Some(path)) => {
            let path = PathBuf::from(path);
            let mut file =
                File::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
            from(&mut file, &path, len_max)?
        }
        _ => {
            return hex::decode(text.trim()).map_err(|error| {
                Failure::new(Exit::Usage, "invalid-hex", format!("not hexadecimal: {error}"))
                    .with_hint("give hexadecimal digits, @FILE, or - for standard input")
            });
        }
    };
    let digits = std::str::from_utf8(&read).ok().and_then(|text| hex::decode(text.trim()).ok());
    Ok(digits.unwrap_or(read))
}

fn from(input: &mut dyn Read, path: &Path, len_max: usize) -> Result<Vec<u8>, Failure> {
    // Twice as many digits, and a line end.
    let limit = (len_max as u64).saturating_mul(2).saturating_add(2);
    let mut bytes = Vec::new();
    let read = input.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file("read", path, &error))?;
    if bytes.len() as u64 > limit {
        let message = format!("{} has more than the {len_max} bytes allowed", path.display());
        return Err(Failure::corrupt("too-long", message)
            .with_hint("it is something else than what was asked for: check the path"));
    }
    Ok(bytes)
}

/// Finds a mistyped address before anybody is asked anything.
pub(crate) fn check_address(text: &str) -> Result<(), Failure> {
    if text.len() > NAME_LEN_MAX {
        Address::from_any_text(text)?;
    }
    Ok(())
}
