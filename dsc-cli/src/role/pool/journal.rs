//! What a pool that is alone acknowledges is in a journal of its own.
//!
//! # Invariants
//!
//! 1. What is acknowledged, also as known, is in the journal; nothing is written while the pool is
//!    locked.
//! 2. The single file that a journal was before it had segments becomes the first of them, whenever
//!    the machine stops meanwhile.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dsc_lib::{
    disk::Folder,
    mempool::journal::Journal,
    role::pool::{Outcome, Pool, RestoredCounts},
    transaction::{CheckedTransaction, TransactionId},
};

use super::keeper::{Keeper, Outcomes, Verdict, rejected};
use crate::{
    clock::Time,
    crash::{self, Point},
    http::{Check, Problem},
    role::Shared,
};

/// The pool and its journal.
#[derive(Debug)]
pub(super) struct Holder {
    pool: Arc<Shared<Pool>>,
    journal: Mutex<Journal>,
    time: Time,
    /// Held, and not in the journal yet: an append failed.
    unsynced: Mutex<Vec<Arc<CheckedTransaction>>>,
    restored: AtomicBool,
}

impl Holder {
    pub(super) fn new(pool: Arc<Shared<Pool>>, journal: Journal, time: Time) -> Self {
        let (journal, unsynced) = (Mutex::new(journal), Mutex::default());
        Self { pool, journal, time, unsynced, restored: AtomicBool::new(false) }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<Arc<CheckedTransaction>>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are held and not in the journal.
    #[cfg(test)]
    pub(super) fn unsynced_count(&self) -> usize {
        self.unsynced().len()
    }

    fn hold_all(&self, requests: Vec<Vec<Verdict>>) -> io::Result<Vec<Vec<Outcome>>> {
        let mut unsynced = self.unsynced();
        let mut pool = self.pool.lock();
        pool.tell_time(self.time.now());
        // What is on the ledger by now needs no journal: a disk that stays full does not fill memory.
        unsynced.retain(|transaction| pool.find(&transaction.id()).is_some());
        let outcomes = requests
            .into_iter()
            .map(|one| one.into_iter().map(|v| hold_one(&mut pool, v, &mut unsynced)).collect())
            .collect();
        drop(pool);
        if unsynced.is_empty() {
            return Ok(outcomes);
        }
        crash::point(Point::PoolHeld);
        self.journal().append(&unsynced)?;
        unsynced.clear();
        Ok(outcomes)
    }
}

impl Keeper for Holder {
    fn hold(&self, requests: Vec<Vec<Verdict>>) -> Vec<Outcomes> {
        let count = requests.len();
        match self.hold_all(requests) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(write_problem(&error)); count],
        }
    }

    fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    /// Takes in what the journal holds, once.
    fn follow(&self, pool: &mut Pool) -> bool {
        if self.is_restored() {
            return true;
        }
        match pool.restore(&mut self.journal()) {
            Ok(RestoredCounts { pending, waiting, ended, .. }) => {
                tracing::info!(pending, waiting, ended, "took in the pool's journal");
                self.restored.store(true, Ordering::Release);
                true
            }
            Err(error) => {
                // What is in it was acknowledged: it is tried again until it can be read.
                tracing::error!(%error, "a segment of the pool's journal cannot be read");
                false
            }
        }
    }

    /// The pool is locked for each question only.
    fn retire(&self) {
        let pending_bytes = self.pool.lock().counts().bytes;
        let find = |id: &TransactionId| self.pool.lock().find(id).cloned();
        let retired = self.journal().retire(find, pending_bytes);
        if let Err(error) = retired {
            tracing::error!(%error, "the pool's journal cannot be shortened");
        }
        crash::point(Point::PoolRetired);
    }

    fn checks(&self) -> Vec<Check> {
        let detail = "what it holds is taken in".into();
        vec![Check { name: "journal", ok: self.is_restored(), detail }]
    }
}

fn hold_one(
    pool: &mut Pool,
    verdict: Verdict,
    unsynced: &mut Vec<Arc<CheckedTransaction>>,
) -> Outcome {
    let transaction = match verdict {
        Ok(transaction) => transaction,
        Err(fault) => return rejected(fault),
    };
    let outcome = pool.submit(Arc::clone(&transaction));
    if matches!(outcome, Outcome::Added { .. }) {
        unsynced.push(transaction);
    }
    outcome
}

fn write_problem(error: &io::Error) -> Problem {
    tracing::error!(%error, "the pool's journal cannot be written");
    Problem::unavailable("journal-failed", "the pool cannot put transactions on disk")
        .with_hint("submit the same transactions again later; nothing is done twice")
}

/// Opens the journal in `folder`, which is made if there is none.
pub(super) fn open(folder: &Path) -> io::Result<Journal> {
    adopt_file(folder)?;
    let Some(disk) = Folder::lock(folder, false)? else {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"));
    };
    let journal = Journal::open(Arc::new(crash::disk(disk)))?;
    for torn in journal.torn() {
        tracing::warn!(
            segment = torn.segment,
            bytes = torn.bytes,
            "the pool's journal has bytes that are no transaction, as a crash leaves them"
        );
    }
    Ok(journal)
}

/// Takes over the single file of an earlier version.
fn adopt_file(folder: &Path) -> io::Result<()> {
    let (aside, first) = (folder.with_extension("old"), folder.join("0000000000.segment"));
    if folder.is_file() {
        fs::rename(folder, &aside)?;
    }
    if !aside.is_file() || first.exists() {
        return Ok(());
    }
    drop(Folder::lock(folder, false)?);
    fs::rename(aside, first)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, chain, pay};

    use super::*;

    /// Whether or not it was interrupted after the first step.
    #[test]
    fn the_file_of_an_earlier_version_becomes_a_segment() {
        let folder = tempfile::tempdir().unwrap();
        let one = Arc::new(pay(&ALICE, 0, address(&BOB), 1).check(&chain().hash()).unwrap());
        open(&folder.path().join("new")).unwrap().append(std::slice::from_ref(&one)).unwrap();
        let file = folder.path().join("new/0000000000.segment");
        for (name, journal) in [("whole", "whole"), ("interrupted.old", "interrupted")] {
            fs::copy(&file, folder.path().join(name)).unwrap();
            let journal = open(&folder.path().join(journal)).unwrap();
            assert_eq!(journal.read(0).unwrap(), [one.encoded().clone()]);
        }
    }

    #[test]
    fn one_process_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = open(folder.path()).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "another process has it");
        drop(held);
        assert!(open(folder.path()).is_ok());
    }
}
