//! What a pool acknowledged while it was alone goes into the log that it shares with others now.
//!
//! # Invariants
//!
//! 1. The journal is set aside only once everything in it is in the log or has ended: a pool that
//!    ends before that begins again.

use std::{fs, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use dsc_lib::{mempool::journal::Journal, role::pool::Outcome, transaction::Encoded};

use super::{RETRY_AFTER, Server, journal};
use crate::{exit::Failure, role::spawn, shutdown::Shutdown};

/// Time between two looks whether the pool has followed the ledger and the log.
const LOOK: Duration = Duration::from_millis(100);
/// Transactions that are put into the log at once.
const PART: usize = 1024;

impl Server {
    /// Puts the journal in `folder` into the log, in a thread of its own, if there is one.
    pub(crate) fn take_journal(
        self: &Arc<Self>,
        folder: &Path,
        shutdown: &Shutdown,
    ) -> Result<Option<JoinHandle<()>>, Failure> {
        if !folder.exists() {
            return Ok(None);
        }
        let journal = journal::open(folder);
        let journal = journal.map_err(|error| Failure::file("open", folder, &error))?;
        let (server, folder, shutdown) = (self.clone(), folder.to_owned(), shutdown.clone());
        let moved = move || {
            if server.put_journal(&journal, &shutdown).is_some() {
                drop(journal);
                set_aside(&folder);
            }
        };
        spawn("pool-journal", moved).map(Some)
    }

    /// Nothing if it was asked to end first.
    fn put_journal(&self, journal: &Journal, shutdown: &Shutdown) -> Option<()> {
        let pause = |time| if shutdown.sleep(time) { None } else { Some(()) };
        while !self.is_restored() {
            pause(LOOK)?;
        }
        for index in 0..journal.unread() {
            let segment = loop {
                match journal.read(index) {
                    Ok(segment) => break segment,
                    Err(error) => {
                        tracing::error!(%error, "a segment of the pool's journal cannot be read");
                        pause(RETRY_AFTER)?;
                    }
                }
            };
            for part in segment.chunks(PART) {
                let mut left = self.put(part.to_vec());
                while !left.is_empty() {
                    pause(RETRY_AFTER)?;
                    left = self.put(left);
                }
            }
        }
        Some(())
    }

    /// Those for which it is too early.
    fn put(&self, part: Vec<Encoded>) -> Vec<Encoded> {
        let outcomes = match self.submit(part.clone()) {
            Ok(outcomes) => outcomes,
            Err(problem) => {
                tracing::warn!("what was acknowledged here alone is not in the log yet: {problem}");
                return part;
            }
        };
        let is_early = |outcome: &Outcome| matches!(outcome, Outcome::Rejected { retry: true, .. });
        let both = part.into_iter().zip(outcomes);
        both.filter(|(_, outcome)| is_early(outcome)).map(|(one, _)| one).collect()
    }
}

/// So that the pool does not find it again; whoever goes back to one pool may look what was in it.
fn set_aside(folder: &Path) {
    let free = (1_u32..).map(|number| folder.with_extension(format!("moved-{number}")));
    let Some(aside) = free.into_iter().find(|path| !path.exists()) else { return };
    if let Err(error) = fs::rename(folder, &aside) {
        tracing::warn!(%error, "the pool's journal cannot be set aside");
    } else {
        tracing::info!(aside = %aside.display(), "the pool's journal is in the shared log");
    }
}
