//! The one file of an engine in one process: every change, in order.
//!
//! | bytes of a record | |
//! |---|---|
//! | 8 | where in the file it starts |
//! | 8 | bytes of its body |
//! | 4 | CRC-32C of the body |
//! | 4 | CRC-32C of the 20 bytes before |
//! | | body: the change in canonical encoding, then the bytes that belong to it |
//!
//! # Invariants
//!
//! 1. A change is on disk when [`Records::append`] has returned. At most the last record is not.
//! 2. A record that could not be written is gone for good before anything else is read or written;
//!    until then it is in doubt, and so is every answer.
//! 3. What stands behind the last whole record at a start is the torn end of one that nobody was
//!    told of, and is left out. A damaged record with others behind it is an error.

use std::{io, sync::Arc};

use super::held::Change;
use crate::{
    codec,
    disk::{Disk, DiskFile, read_all},
};

const FILE: &str = "engine.log";
const NEW: &str = "engine.new";
const HEAD_BYTES: usize = 24;

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Failed {
    /// It was not, and never will be.
    Not(String),
    /// It may be there after the next start.
    InDoubt(String),
}

#[derive(Debug)]
pub(super) struct Records {
    file: Arc<dyn DiskFile>,
    /// Where the last record that is on disk ends.
    len: u64,
    in_doubt: bool,
}

impl Records {
    /// Reads what is there, if anything is.
    pub(super) fn read(disk: &dyn Disk, mut each: impl FnMut(Change, Vec<u8>)) -> io::Result<()> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let bytes = read_all(&*file)?;
        let mut rest = &bytes[..];
        while let Some((body, after)) = first_record(&bytes, rest) {
            let (change, bytes) = codec::decode_first(body).map_err(damaged)?;
            each(change, bytes.to_vec());
            rest = after;
        }
        let torn = bytes.len().saturating_sub(rest.len());
        if (1..rest.len()).any(|skipped| head(&bytes, rest.get(skipped..)).is_some()) {
            let text = format!("the engine's file is damaged at byte {torn}: records follow");
            return Err(damaged(text));
        }
        Ok(())
    }

    /// Writes these changes in place of what is there.
    pub(super) fn write<'a>(
        disk: &dyn Disk,
        changes: impl Iterator<Item = (Change, &'a [u8])>,
    ) -> io::Result<Self> {
        let mut records = Self { file: disk.create(NEW)?, len: 0, in_doubt: false };
        for (change, bytes) in changes {
            let record = record(records.len, &change, bytes);
            records.file.write_at(&record, records.len)?;
            records.len = records.len.saturating_add(record.len() as u64);
        }
        records.file.sync()?;
        disk.rename(NEW, FILE)?;
        disk.sync()?;
        Ok(records)
    }

    pub(super) fn append(&mut self, change: &Change, bytes: &[u8]) -> Result<(), Failed> {
        let record = record(self.len, change, bytes);
        let written = self.file.write_at(&record, self.len).and_then(|()| self.file.sync());
        let Err(error) = written else {
            self.len = self.len.saturating_add(record.len() as u64);
            return Ok(());
        };
        self.in_doubt = true;
        match self.mend() {
            Ok(()) => Err(Failed::Not(error.to_string())),
            Err(_) => Err(Failed::InDoubt(error.to_string())),
        }
    }

    /// Takes away what a write that failed may have left.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.in_doubt {
            self.file.set_len(self.len)?;
            self.file.sync()?;
            self.in_doubt = false;
        }
        Ok(())
    }
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn record(offset: u64, change: &Change, bytes: &[u8]) -> Vec<u8> {
    let change = codec::encode(change);
    let len = change.len().saturating_add(bytes.len());
    let body_crc = crc32c::crc32c_append(crc32c::crc32c(&change), bytes);
    let mut record = Vec::with_capacity(HEAD_BYTES.saturating_add(len));
    record.extend(offset.to_le_bytes());
    record.extend((len as u64).to_le_bytes());
    record.extend(body_crc.to_le_bytes());
    record.extend(crc32c::crc32c(&record).to_le_bytes());
    record.extend(change);
    record.extend_from_slice(bytes);
    record
}

/// The body of the record at the front of `rest`, which is the end of `all`, and what follows it.
fn first_record<'a>(all: &[u8], rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (len, crc) = head(all, Some(rest))?;
    let (body, after) = rest.get(HEAD_BYTES..)?.split_at_checked(len)?;
    (crc32c::crc32c(body) == crc).then_some((body, after))
}

/// The length and the sum of the body of the record whose head is at the front of `rest`.
fn head(all: &[u8], rest: Option<&[u8]>) -> Option<(usize, u32)> {
    let rest = rest?;
    let (offset, after) = rest.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*offset) != all.len().checked_sub(rest.len())? as u64 {
        return None;
    }
    let (len, after) = after.split_first_chunk::<8>()?;
    let (body_crc, after) = after.split_first_chunk::<4>()?;
    let (crc, _) = after.split_first_chunk::<4>()?;
    let is_whole =
        crc32c::crc32c(rest.get(..HEAD_BYTES.checked_sub(4)?)?) == u32::from_le_bytes(*crc);
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    is_whole.then_some((len, u32::from_le_bytes(*body_crc)))
}
