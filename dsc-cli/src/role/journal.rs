//! What the pool has acknowledged and the ledger does not have yet, on disk.
//!
//! # Invariants
//!
//! 1. A transaction is in the file and synced before the pool acknowledges it.
//! 2. A torn last record, as a crash leaves, is cut off; what was acknowledged is before it. What
//!    is cut off is set aside, in case it was not a crash that broke it.
//! 3. Every chain has a journal of its own beside the others.
//!
//! A record is `u32` length, `u32` CRC-32C of the bytes, and the bytes of one transaction, all
//! little-endian. The file is written anew at every start, so that it holds what is still pending.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use dsc_lib::{
    codec,
    transaction::{Encoded, TRANSACTION_BYTES_MAX},
};

/// The file grows to this many bytes at least before it is written anew.
const COMPACT_BYTES: u64 = 64 << 20;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole, synced records.
    len: u64,
    /// Whether something else may follow them: an append failed.
    torn: bool,
}

impl Journal {
    /// Opens the journal and reads what it holds.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Encoded>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (held, len) = records(&bytes);
        let lost = (bytes.len() as u64).saturating_sub(len);
        if lost > 0 {
            let aside = path.with_extension("damaged");
            tracing::warn!(bytes = lost, to = %aside.display(), "set the torn end of the journal aside");
            let cut = usize::try_from(len).ok().and_then(|len| bytes.get(len..));
            fs::write(&aside, cut.unwrap_or_default())?;
            file.set_len(len)?;
        }
        io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        sync_folder(path)?;
        Ok((Self { path: path.to_owned(), file, len, torn: false }, held))
    }

    /// Adds encoded transactions; they are on disk when this returns.
    pub(crate) fn append<'a>(
        &mut self,
        transactions: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let bytes: Vec<u8> = transactions.flat_map(record).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        if self.torn {
            // Half a record in the middle would hide what follows it: go back to the last end.
            self.file.set_len(self.len)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.len))?;
        }
        self.torn = true;
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data())?;
        self.torn = false;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Whether most of the file is about transactions that have ended; `pending_bytes` have not.
    pub(crate) fn is_due(&self, pending_bytes: u64) -> bool {
        self.len > COMPACT_BYTES.max(pending_bytes.saturating_mul(4))
    }

    /// Writes the file anew with these encoded transactions only.
    pub(crate) fn rewrite<'a>(
        &mut self,
        transactions: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let bytes: Vec<u8> = transactions.flat_map(record).collect();
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        // From here on the old file has no name: nothing may be added to it, whatever fails.
        (self.file, self.len, self.torn) = (file, bytes.len() as u64, false);
        sync_folder(&self.path)
    }

    /// A journal that cannot be written, as on a full disk.
    #[cfg(test)]
    pub(crate) fn unwritable(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)?, len: 0, torn: false })
    }
}

/// Puts the name of the file at `path` on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn record(transaction: &[u8]) -> Vec<u8> {
    let len = u32::try_from(transaction.len()).unwrap_or(u32::MAX);
    let crc = crc32c::crc32c(transaction);
    [&len.to_le_bytes()[..], &crc.to_le_bytes(), transaction].concat()
}

/// The whole records at the front of `bytes`, and how many bytes they take.
fn records(bytes: &[u8]) -> (Vec<Encoded>, u64) {
    let (mut held, mut rest) = (Vec::new(), bytes);
    while let Some((transaction, after)) = next_record(rest) {
        held.push(transaction);
        rest = after;
    }
    (held, bytes.len().saturating_sub(rest.len()) as u64)
}

fn next_record(bytes: &[u8]) -> Option<(Encoded, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let body = rest.get(..len).filter(|_| len <= TRANSACTION_BYTES_MAX)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((codec::decode(body).ok()?, rest.get(len..)?))
}

#[cfg(test)]
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, pay};

    use super::*;

    fn transactions() -> Vec<Encoded> {
        (0..3).map(|sequence| pay(&ALICE, sequence, address(&BOB), 1).into()).collect()
    }

    fn filled(path: &Path) -> Vec<Encoded> {
        let (mut journal, held) = Journal::open(path).unwrap();
        assert!(held.is_empty());
        let encoded: Vec<_> = transactions().iter().map(codec::encode).collect();
        journal.append(encoded.iter().map(Vec::as_slice)).unwrap();
        transactions()
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let all = filled(&path);
        let (mut journal, held) = Journal::open(&path).unwrap();
        assert_eq!(held, all);
        journal.rewrite(std::iter::once(codec::encode(&all[1]).as_slice())).unwrap();
        journal.append(std::iter::once(codec::encode(&all[2]).as_slice())).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, all[1..]);
    }

    /// Cut at any byte, the whole records before the cut are read and the next append follows.
    #[test]
    fn a_torn_record_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let all = filled(&path);
        let bytes = fs::read(&path).unwrap();
        let len = bytes.len() / 3;
        for cut in (0..bytes.len()).step_by(97) {
            fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, held) = Journal::open(&path).unwrap();
            assert_eq!(held, all[..cut / len], "cut at {cut}");
            journal.append(std::iter::once(codec::encode(&all[2]).as_slice())).unwrap();
            assert_eq!(Journal::open(&path).unwrap().1.last(), Some(&all[2]), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_byte_ends_what_is_read_and_the_rest_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let all = filled(&path);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, all[..1]);
        let aside = fs::read(path.with_extension("damaged")).unwrap();
        assert_eq!(aside, bytes[bytes.len() / 3..]);
    }
}
