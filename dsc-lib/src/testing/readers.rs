//! Any bytes in the place of a file of ours, read by what reads the real one: for fuzz targets.
//!
//! # Invariants
//!
//! 1. Whatever the bytes, nothing here panics: what is not as it was written is an error.
//! 2. What is accepted is, as far as the file's own checks go, what was written.
//!
//! Checksums keep a fuzzer from what is behind them: with `sealed` they are put right first.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use super::{
    ALICE, BOB, address, chain,
    disk::{bytes_of, memory_of},
    next_block, pay,
};
use crate::{
    disk::{Disk, Memory},
    ledger::{Ledger, Maintained, OpenError, OpenOptions, State, StoreError},
    mempool::journal::Journal,
    proof::{
        NoProgress,
        space::{Depth, Report, Upkeep, Vault, VaultError, VaultId, check_on, seal_pages},
    },
    transaction::Encoded,
};

/// A file's name and bytes.
type File = (String, Vec<u8>);

/// The files of a ledger of five blocks, each in runs of its own.
static LEDGER: LazyLock<Vec<File>> = LazyLock::new(|| {
    let (disk, mut state) = (Memory::default(), State::genesis(chain()));
    let options = OpenOptions { read_only: false, fresh_bytes_max: 0 };
    let shared = Arc::new(disk.clone());
    let mut ledger = Ledger::with_disk(shared, Some(chain()), options, |_, _| {}).unwrap();
    for sequence in 0..5 {
        let payments = vec![pay(&ALICE, sequence, address(&BOB), 1)];
        let block = next_block(&state, vec![], payments);
        state.apply(&block).unwrap();
        ledger.commit(&block).unwrap();
        while ledger.maintain().unwrap() == Maintained::More {}
    }
    let file = |name: String| (name.clone(), bytes_of(&disk, &name));
    disk.list().unwrap().into_iter().map(file).collect()
});

fn open(files: &[File]) -> Result<Ledger, OpenError> {
    let disk = memory_of(files.iter().map(|(name, bytes)| (&name[..], &bytes[..])));
    Ledger::with_disk(Arc::new(disk), None, OpenOptions::default(), |_, _| {})
}

/// Reads all that a ledger has.
fn read_all(ledger: &Ledger) -> Result<(), StoreError> {
    let mut from = crate::units::Height(0);
    while let Some(block) = ledger.block(from)? {
        ledger.header(from)?;
        ledger.height_of(&block.header.hash())?;
        for transaction in block.transactions.into_vec() {
            ledger.transaction(&transaction.decode().id(&chain().hash()))?;
        }
        from = from.next();
    }
    ledger.history(&address(&ALICE), None, 1000).map(drop)
}

/// Opens a ledger that has these bytes for a log and no index, and reads it.
///
/// # Errors
///
/// What opening finds wrong.
pub fn ledger_log(bytes: &[u8]) -> Result<Ledger, OpenError> {
    let ledger = open(&[("blocks.log".into(), bytes.to_vec())])?;
    read_all(&ledger)?;
    Ok(ledger)
}

/// Opens a ledger with these bytes after `whole` (at most 5) of its records, and nothing that tells
/// how many were synced.
///
/// # Errors
///
/// What opening finds wrong.
pub fn ledger_tail(whole: usize, bytes: &[u8]) -> Result<Ledger, OpenError> {
    let sound = open(&LEDGER).unwrap();
    let len =
        |at: usize| sound.block_bytes(crate::units::Height(at as u64)).unwrap().unwrap().len();
    let records: usize = (whole.min(5)..5).map(|at| 20 + len(at)).sum();
    let log = &LEDGER.iter().find(|(name, _)| name == "blocks.log").unwrap().1;
    ledger_log(&[&log[..log.len() - records], bytes].concat())
}

/// Opens a ledger of five blocks that has these bytes for its manifest, and reads it.
///
/// # Errors
///
/// What opening finds wrong; an index that does not fit is made anew.
pub fn index_manifest(bytes: &[u8], sealed: bool) -> Result<Ledger, OpenError> {
    let mut bytes = bytes.to_vec();
    if sealed {
        bytes.splice(0..0, *b"DSCRUNS1");
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    }
    let mut files = LEDGER.clone();
    files.iter_mut().find(|(name, _)| name == "index.manifest").unwrap().1 = bytes;
    let ledger = open(&files)?;
    // Records of another length or order than they should have are errors, or answers.
    let _ = read_all(&ledger);
    Ok(ledger)
}

/// Opens a ledger of five blocks one of whose runs (the `number`th, counted round) has these bytes
/// in place of those from `offset` on, and reads it.
///
/// # Errors
///
/// What opening finds wrong; an index that does not fit is made anew.
pub fn index_run(number: usize, offset: usize, bytes: &[u8]) -> Result<Ledger, OpenError> {
    let mut files = LEDGER.clone();
    let mut runs: Vec<_> = files.iter_mut().filter(|(name, _)| name.ends_with("run")).collect();
    let count = runs.len();
    let run = &mut runs[number % count].1;
    let start = offset.min(run.len());
    let end = start.saturating_add(bytes.len()).min(run.len());
    run.splice(start..end, bytes.iter().copied());
    let ledger = open(&files)?;
    let _ = read_all(&ledger);
    Ok(ledger)
}

/// Opens a journal whose only segment has these bytes, and reads it; then again, after an append.
///
/// # Errors
///
/// Memory does not fail.
pub fn pool_journal(bytes: &[u8]) -> io::Result<Vec<Encoded>> {
    let disk = Arc::new(memory_of([("0000000000.segment", bytes)]));
    let mut journal = Journal::open(disk.clone())?;
    let all = |journal: &Journal| -> io::Result<Vec<Encoded>> {
        let parts = (0..journal.unread()).map(|index| journal.read(index));
        Ok(parts.collect::<io::Result<Vec<_>>>()?.concat())
    };
    let mut found = all(&journal)?;
    let one = Arc::new(pay(&ALICE, 0, address(&BOB), 1).check(&chain().hash()).unwrap());
    journal.append(std::slice::from_ref(&one))?;
    drop(journal);
    found.push(one.encoded().clone());
    assert_eq!(all(&Journal::open(disk)?)?, found, "what was there, and what was appended");
    Ok(found)
}

/// Opens a vault of these bytes and looks every bucket up.
///
/// # Errors
///
/// What is wrong with the vault.
pub fn vault(bytes: &[u8], sealed: bool) -> Result<usize, VaultError> {
    let vault = Vault::open_on(&vault_of(bytes, sealed), "vault")?;
    let buckets = vault.header().id.buckets();
    (0..buckets).map(|bucket| vault.entries(bucket).map(|entries| entries.len())).sum()
}

/// Checks some pages of a vault of these bytes, whose it is being stated or found out.
///
/// # Errors
///
/// Whatever keeps it from being checked, as text.
pub fn vault_check(bytes: &[u8], sealed: bool, id: Option<VaultId>) -> Result<Report, String> {
    let (disk, upkeep) = (vault_of(bytes, sealed), Upkeep { threads: 1, id, ..Upkeep::default() });
    let report = check_on(&disk, "vault", Depth::Sample, &upkeep, &NoProgress);
    report.map_err(|error| error.to_string())
}

fn vault_of(bytes: &[u8], sealed: bool) -> Memory {
    let mut bytes = bytes.to_vec();
    if sealed {
        seal_pages(&mut bytes);
    }
    memory_of([("vault", &bytes[..])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::disk::Dice;

    fn noise(dice: &mut Dice, max: usize) -> Vec<u8> {
        (0..dice.below(max)).map(|_| dice.roll().to_le_bytes()[0]).collect()
    }

    #[test]
    fn what_was_written_is_accepted_and_noise_is_an_error() {
        let file = |wanted: &str| &LEDGER.iter().find(|(name, _)| name == wanted).unwrap().1;
        assert_eq!(ledger_log(file("blocks.log")).unwrap().recovery().replayed, 5);
        assert_eq!(ledger_tail(3, &[]).unwrap().recovery().replayed, 3);
        let manifest = file("index.manifest");
        assert_eq!(index_manifest(manifest, false).unwrap().recovery().replayed, 0);
        let body = &manifest[8..manifest.len() - 4];
        assert_eq!(index_manifest(body, true).unwrap().recovery().replayed, 0);
        assert_eq!(index_run(0, 0, &[]).unwrap().recovery().rebuilt, None);
        let mut dice = Dice(1);
        for _ in 0..200 {
            let noise = noise(&mut dice, 3000);
            assert!(ledger_log(&noise).is_err());
            let _ = ledger_tail(dice.below(6), &noise);
            assert!(index_manifest(&noise, dice.below(2) == 0).is_ok());
            assert!(index_run(dice.below(100), dice.below(40_000), &noise).is_ok());
            assert_eq!(pool_journal(&noise).unwrap().len(), 1);
            assert!(vault(&noise, dice.below(2) == 0).is_err());
            assert!(vault_check(&noise, dice.below(2) == 0, None).is_err());
        }
    }
}
