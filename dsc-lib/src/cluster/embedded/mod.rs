//! The four traits in one process: for several roles of one process, and for tests.
//!
//! # Invariants
//!
//! 1. On a disk, what was acknowledged is there after any crash. What the disk failed to take was
//!    not done ([`Unavailable`]), or, if even that cannot be made sure of, is in doubt
//!    ([`AppendError::Unknown`]); then every call fails until it is made sure of.
//!
//! Checked by `tests/cluster`.

mod held;
mod records;

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{
    held::{Change, Held, key, number, position_bytes},
    records::{Failed, Records},
};
use super::{
    AppendError, BlobError, Blobs, BlockLog, Board, Cluster, Entry, Note, PROOFS_MAX, Position,
    PutError, ReadError, Revision, Shelf, TransactionLog, Unavailable, check_key, check_note,
};
use crate::{disk::Disk, hash::Digest};

/// How much an engine in one process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of a block or a batch.
    pub entry_bytes: usize,
    /// Most bytes of all batches that were not removed.
    pub transactions_bytes: u64,
    /// Most notes on [`Shelf::Proofs`]: one more, and the oldest one is gone.
    pub proofs: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entry_bytes: 64 << 20, transactions_bytes: 1 << 30, proofs: PROOFS_MAX }
    }
}

/// An engine in this process. All that it holds is in RAM; with a disk it is there again after a
/// restart.
#[derive(Debug, Default)]
pub struct Embedded {
    bounds: Bounds,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: Held,
    /// None: it is gone when it is dropped.
    records: Option<Records>,
}

impl Embedded {
    /// An engine that is gone when it is dropped.
    pub fn in_memory() -> Arc<Self> {
        Arc::default()
    }

    /// The same with other bounds.
    pub fn in_memory_with(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, ..Self::default() })
    }

    /// An engine on a disk, which nobody else may use: each change is on it before the call that
    /// made it returns. What was removed or replaced takes room until it is opened again; that
    /// writes all it holds anew.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if its file is damaged, or what the disk says.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Arc<Self>> {
        Self::open_with(disk, Bounds::default())
    }

    /// The same with other bounds.
    ///
    /// # Errors
    ///
    /// As [`Embedded::open`].
    #[allow(clippy::needless_pass_by_value, reason = "the disk is given away")]
    pub fn open_with(disk: Arc<dyn Disk>, bounds: Bounds) -> io::Result<Arc<Self>> {
        let mut held = Held::default();
        Records::read(&*disk, |change, bytes| held.apply(change, bytes, &bounds))?;
        let records = Some(Records::write(&*disk, held.changes())?);
        let state = Mutex::new(State { held, records });
        Ok(Arc::new(Self { bounds, state, changed: Condvar::new() }))
    }

    /// What the servers that are given it share.
    pub fn cluster(self: &Arc<Self>) -> Cluster {
        Cluster {
            blocks: self.clone(),
            transactions: self.clone(),
            board: self.clone(),
            blobs: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, if nothing is in doubt.
    fn state(&self) -> Result<MutexGuard<'_, State>, Unavailable> {
        let mut state = self.lock();
        state.records.as_mut().map_or(Ok(()), Records::mend).map_err(Unavailable::new)?;
        Ok(state)
    }

    /// Makes a change that was checked, durably, and wakes those who wait.
    fn change(&self, state: &mut State, change: Change, bytes: &[u8]) -> Result<(), Failed> {
        if let Some(records) = &mut state.records {
            records.append(&change, bytes)?;
        }
        state.held.apply(change, bytes.to_vec(), &self.bounds);
        self.changed.notify_all();
        Ok(())
    }

    fn wait_while(&self, time: Duration, nothing: impl Fn(&Held) -> bool) {
        let nothing = |state: &mut State| nothing(&state.held);
        drop(self.changed.wait_timeout_while(self.lock(), time, nothing));
    }

    fn check_entry(&self, bytes: &[u8]) -> Result<(), AppendError> {
        let (got, max) = (bytes.len(), self.bounds.entry_bytes);
        if got > max { Err(AppendError::TooLarge { got, max }) } else { Ok(()) }
    }
}

/// As many as have `bytes_max` bytes together, at least one.
fn fitting(entries: impl Iterator<Item = Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0_usize;
    let mut taken: Vec<Entry> = Vec::new();
    for entry in entries {
        bytes = bytes.saturating_add(entry.bytes.len());
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}

impl BlockLog for Embedded {
    fn append(&self, after: Position, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        self.check_entry(bytes)?;
        let mut state = self.state()?;
        if state.held.last_block() != after {
            return Err(AppendError::Conflict { after });
        }
        self.change(&mut state, Change::Block { id: *id }, bytes)?;
        Ok(after.next())
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let state = self.state()?;
        let last = state.held.last_block();
        if after > last {
            let reason = format!("it ends at {last}");
            return Err(ReadError::Missing { position: after, reason });
        }
        Ok(fitting(state.held.blocks_after(after), bytes_max))
    }

    fn wait(&self, after: Position, time: Duration) {
        self.wait_while(time, |held| held.last_block() <= after);
    }
}

impl TransactionLog for Embedded {
    fn append(&self, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        self.check_entry(bytes)?;
        let mut state = self.state()?;
        if let Some(position) = state.held.batch_of(id) {
            return Ok(position);
        }
        let bytes_then = state.held.batches_bytes.saturating_add(bytes.len() as u64);
        if bytes_then > self.bounds.transactions_bytes {
            return Err(AppendError::Full);
        }
        let position = state.held.last_batch.next();
        self.change(&mut state, Change::Batch { position: position.0, id: *id }, bytes)?;
        Ok(position)
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        Ok(fitting(self.state()?.held.batches_after(after), bytes_max))
    }

    fn wait(&self, after: Position, time: Duration) {
        self.wait_while(time, |held| held.last_batch <= after);
    }

    fn remove(&self, to: Position, also: &[Position]) -> Result<(), Unavailable> {
        let mut state = self.state()?;
        let change = Change::Removed { to: to.0 };
        Ok(self.change(&mut state, change, &position_bytes(also))?)
    }
}

impl Board for Embedded {
    fn get(&self, on: Shelf, key: &str) -> Result<Option<Note>, Unavailable> {
        Ok(self.state()?.held.note(on, key))
    }

    fn put(
        &self,
        on: Shelf,
        name: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision, PutError> {
        check_note(name, value)?;
        let mut state = self.state()?;
        let known = state.held.note(on, name).map_or(Revision::NONE, |note| note.revision);
        if let Some(expected) = expected.filter(|expected| *expected != known) {
            return Err(PutError::Conflict { expected });
        }
        let revision = state.held.revision(on).0.saturating_add(1);
        let change = Change::Note { on: number(on), revision, key: key(name) };
        self.change(&mut state, change, value)?;
        Ok(Revision(revision))
    }

    fn list(&self, on: Shelf, prefix: &str) -> Result<Vec<Note>, Unavailable> {
        Ok(self.state()?.held.notes_from(on, prefix))
    }

    fn wait(&self, on: Shelf, after: Revision, time: Duration) -> Revision {
        self.wait_while(time, |held| held.revision(on) <= after);
        self.lock().held.revision(on)
    }
}

impl Blobs for Embedded {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BlobError> {
        check_key(name)?;
        let mut state = self.state()?;
        Ok(self.change(&mut state, Change::Blob { name: key(name) }, bytes)?)
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BlobError> {
        check_key(name)?;
        let state = self.state()?;
        let Some(bytes) = state.held.blobs.get(name) else { return Ok(None) };
        let (got, max) = (bytes.len() as u64, bytes_max as u64);
        if got > max { Err(BlobError::TooLarge { got, max }) } else { Ok(Some(bytes.clone())) }
    }

    fn list(&self) -> Result<Vec<String>, BlobError> {
        Ok(self.state()?.held.blobs.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> Result<(), BlobError> {
        check_key(name)?;
        let mut state = self.state()?;
        Ok(self.change(&mut state, Change::BlobRemoved { name: key(name) }, &[])?)
    }
}

impl From<Failed> for AppendError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Not(reason) => Self::Unavailable(Unavailable { reason }),
            Failed::InDoubt(reason) => Self::Unknown { reason },
        }
    }
}

impl From<Failed> for PutError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Not(reason) => Self::Unavailable(Unavailable { reason }),
            Failed::InDoubt(reason) => Self::Unknown { reason },
        }
    }
}

impl From<Failed> for Unavailable {
    fn from(failed: Failed) -> Self {
        let (Failed::Not(reason) | Failed::InDoubt(reason)) = failed;
        Self { reason }
    }
}

impl From<Failed> for BlobError {
    fn from(failed: Failed) -> Self {
        Unavailable::from(failed).into()
    }
}
