//! An engine that loses acknowledgements, cannot be reached, or has lost entries, as it is told to.
//!
//! It stands between one server and an engine. Two of them over one engine are two servers of which
//! each has faults of its own.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::disk::Dice;
use crate::{
    cluster::{
        AppendError, BlobError, Blobs, BlockLog, Board, Cluster, Entry, Note, Position, PutError,
        ReadError, Revision, Shelf, TransactionLog, Unavailable,
    },
    hash::Digest,
};

/// How many calls fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of a hundred writes those whose acknowledgement is lost. A third of them is not done, a third
    /// is done, and a third is done later, before some other call.
    pub unknown: usize,
    /// Of a hundred calls those that find nobody. What cannot be in doubt by its type may be done.
    pub unavailable: usize,
}

/// A wrapper over an engine. It does what the engine does until it is told to do otherwise.
pub struct Faulty {
    inner: Cluster,
    faults: Mutex<Faults>,
}

/// A write on its way.
type Late = Box<dyn FnOnce() + Send>;

struct Faults {
    dice: Dice,
    rates: Rates,
    is_down: bool,
    /// Entries of the block log that whoever answers has not.
    lost: BTreeSet<Position>,
    /// The last entry of the block log that whoever answers has.
    last: Option<Position>,
    others_are_whole: bool,
    distrusted: u32,
    late: Vec<Late>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    /// Not done, and nobody is told.
    Lost,
    /// Done, and nobody is told.
    Hidden,
    /// Done later, and nobody is told.
    Late,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Faulty {
    /// Without a fault so far; what goes wrong later is decided by `seed`.
    pub fn new(inner: Cluster, seed: u64) -> Arc<Self> {
        let faults = Faults {
            dice: Dice(seed),
            rates: Rates::default(),
            is_down: false,
            lost: BTreeSet::new(),
            last: None,
            others_are_whole: false,
            distrusted: 0,
            late: Vec::new(),
        };
        Arc::new(Self { inner, faults: Mutex::new(faults) })
    }

    /// What a server is given.
    pub fn cluster(self: &Arc<Self>) -> Cluster {
        Cluster {
            blocks: self.clone(),
            transactions: self.clone(),
            board: self.clone(),
            blobs: self.clone(),
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so many calls fail from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.faults().rates = rates;
    }

    /// Lets every call find nobody, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.faults().is_down = is_down;
    }

    /// Drops an entry of the block log: whoever reads it is told that it is missing.
    pub fn lose(&self, position: Position) {
        self.faults().lost.insert(position);
    }

    /// Cuts the block log off after `last`: whoever reads what was there is told that it is missing.
    pub fn truncate(&self, last: Position) {
        self.faults().last = Some(last);
    }

    /// Says whether all entries are back once another node is asked for.
    pub fn set_others_whole(&self, whole: bool) {
        self.faults().others_are_whole = whole;
    }

    /// How often another node was asked for.
    pub fn distrusted(&self) -> u32 {
        self.faults().distrusted
    }

    /// Ends all faults. What was on its way arrives.
    pub fn mend(&self) {
        let late = {
            let mut faults = self.faults();
            (faults.rates, faults.is_down) = (Rates::default(), false);
            faults.find_all();
            std::mem::take(&mut faults.late)
        };
        for write in late {
            write();
        }
    }

    /// What becomes of a write. Something that was on its way may arrive before it.
    fn fate(&self) -> Fate {
        let (late, fate) = {
            let mut faults = self.faults();
            (faults.arrive(), faults.fate())
        };
        if let Some(write) = late {
            write();
        }
        fate
    }

    /// Whether a call that changes nothing is answered.
    fn ask(&self) -> Result<(), Unavailable> {
        if self.fate() == Fate::Refused { Err(refused()) } else { Ok(()) }
    }

    /// Does a write that may be in doubt.
    fn write<T, E: From<Unavailable>>(
        &self,
        unknown: impl FnOnce(String) -> E,
        work: impl FnOnce(&Cluster) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        match self.fate() {
            Fate::Done => return work(&self.inner),
            Fate::Refused => return Err(refused().into()),
            Fate::Lost => {}
            Fate::Hidden => drop(work(&self.inner)),
            Fate::Late => {
                let inner = self.inner.clone();
                self.faults().late.push(Box::new(move || drop(work(&inner))));
            }
        }
        Err(unknown("told to lose it".to_owned()))
    }

    /// Does a write of which it cannot be said that it is in doubt.
    fn write_or_not<T, E: From<Unavailable>>(
        &self,
        work: impl FnOnce(&Cluster) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.write(|reason| Unavailable { reason }.into(), work)
    }
}

fn refused() -> Unavailable {
    Unavailable::new("told to be")
}

impl Faults {
    fn fate(&mut self) -> Fate {
        let roll = self.dice.below(100);
        let Rates { unknown, unavailable } = self.rates;
        if self.is_down || roll < unavailable {
            Fate::Refused
        } else if roll < unavailable + unknown {
            [Fate::Lost, Fate::Hidden, Fate::Late][self.dice.below(3)]
        } else {
            Fate::Done
        }
    }

    /// Something that was on its way, if it arrives now.
    fn arrive(&mut self) -> Option<Late> {
        if self.late.is_empty() || self.dice.below(2) == 0 {
            return None;
        }
        let index = self.dice.below(self.late.len());
        Some(self.late.swap_remove(index))
    }

    fn find_all(&mut self) {
        self.lost.clear();
        self.last = None;
    }

    fn has(&self, position: Position) -> bool {
        self.last.is_none_or(|last| position <= last) && !self.lost.contains(&position)
    }

    /// Of the entries after `after` those before the first one that is lost.
    fn left(&self, after: Position, mut entries: Vec<Entry>) -> Result<Vec<Entry>, ReadError> {
        let reason = || "told to lose it".to_owned();
        if self.last.is_some_and(|last| after > last) {
            return Err(ReadError::Missing { position: after, reason: reason() });
        }
        let kept = entries.iter().take_while(|entry| self.has(entry.position)).count();
        match entries.first() {
            Some(first) if kept == 0 => {
                Err(ReadError::Missing { position: first.position, reason: reason() })
            }
            _ => {
                entries.truncate(kept);
                Ok(entries)
            }
        }
    }
}

impl BlockLog for Faulty {
    fn append(&self, after: Position, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        let (id, bytes) = (*id, bytes.to_vec());
        let unknown = |reason| AppendError::Unknown { reason };
        self.write(unknown, move |inner| inner.blocks.append(after, &id, &bytes))
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        self.ask()?;
        let entries = self.inner.blocks.read(after, bytes_max)?;
        self.faults().left(after, entries)
    }

    fn wait(&self, after: Position, time: Duration) {
        if self.ask().is_ok() {
            self.inner.blocks.wait(after, time);
        }
    }

    fn distrust(&self) {
        let mut faults = self.faults();
        faults.distrusted += 1;
        if faults.others_are_whole {
            faults.find_all();
        }
        drop(faults);
        self.inner.blocks.distrust();
    }
}

impl TransactionLog for Faulty {
    fn append(&self, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        let (id, bytes) = (*id, bytes.to_vec());
        let unknown = |reason| AppendError::Unknown { reason };
        self.write(unknown, move |inner| inner.transactions.append(&id, &bytes))
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        self.ask()?;
        self.inner.transactions.read(after, bytes_max)
    }

    fn wait(&self, after: Position, time: Duration) {
        if self.ask().is_ok() {
            self.inner.transactions.wait(after, time);
        }
    }

    fn remove(&self, to: Position, also: &[Position]) -> Result<(), Unavailable> {
        let also = also.to_vec();
        self.write_or_not(move |inner| inner.transactions.remove(to, &also))
    }
}

impl Board for Faulty {
    fn get(&self, on: Shelf, key: &str) -> Result<Option<Note>, Unavailable> {
        self.ask()?;
        self.inner.board.get(on, key)
    }

    fn put(
        &self,
        on: Shelf,
        key: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision, PutError> {
        let (key, value) = (key.to_owned(), value.to_vec());
        let unknown = |reason| PutError::Unknown { reason };
        self.write(unknown, move |inner| inner.board.put(on, &key, &value, expected))
    }

    fn list(&self, on: Shelf, prefix: &str) -> Result<Vec<Note>, Unavailable> {
        self.ask()?;
        self.inner.board.list(on, prefix)
    }

    fn wait(&self, on: Shelf, after: Revision, time: Duration) -> Revision {
        if self.ask().is_ok() { self.inner.board.wait(on, after, time) } else { after }
    }
}

impl Blobs for Faulty {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BlobError> {
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        self.write_or_not(move |inner| inner.blobs.put(&name, &bytes))
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BlobError> {
        self.ask()?;
        self.inner.blobs.get(name, bytes_max)
    }

    fn list(&self) -> Result<Vec<String>, BlobError> {
        self.ask()?;
        self.inner.blobs.list()
    }

    fn remove(&self, name: &str) -> Result<(), BlobError> {
        let name = name.to_owned();
        self.write_or_not(move |inner| inner.blobs.remove(&name))
    }
}
