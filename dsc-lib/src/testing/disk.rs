//! A disk in RAM that notes every operation, fails on request, and can be had as a crash at any
//! moment would leave it.
//!
//! What a crash keeps follows what systems promise and no more: what was synced is there; of what
//! was not, any page of 4 KiB may be there or not, and the write that was under way may be torn at
//! any byte; a file may have any length it had since; names change in order, and may stay behind by
//! any number of changes.
//!
//! What a failure does follows what systems do: half of a write that fails is done; of what a sync
//! that fails was to put on disk any page may be lost, and no later sync brings it back, though it
//! can be read until the system forgets it.

mod dice;
mod image;

pub use self::dice::Dice;
use self::image::Image;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::{Disk, DiskFile, Memory, read_all};

/// What was done to a disk; files go by number, as their names change.
#[derive(Clone, Debug)]
enum Operation {
    /// One that failed, and did nothing.
    Nothing,
    Create {
        file: usize,
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    SyncNames,
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    SetLen {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    /// One that failed; which pages it lost for good is decided by this number.
    SyncFailed {
        file: usize,
        seed: u64,
    },
}

impl Operation {
    /// What is left of it if it fails.
    fn failed(self, seed: u64) -> Self {
        match self {
            Self::Write { file, offset, mut bytes } => {
                bytes.truncate(bytes.len() / 2);
                Self::Write { file, offset, bytes }
            }
            Self::Sync { file } => Self::SyncFailed { file, seed },
            _ => Self::Nothing,
        }
    }
}

/// What a crash keeps of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// A part that this number decides.
    Some(u64),
}

/// How operations fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Failure {
    #[default]
    Error,
    /// Only those that need room.
    Full,
    /// They are never done: the process is dead.
    Death,
}

/// Which of a row of calls fail: `count` after the first `first`.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    first: usize,
    count: usize,
    failure: Failure,
}

impl Window {
    fn has(self, number: usize) -> bool {
        number >= self.first && number - self.first < self.count
    }
}

#[derive(Debug, Default)]
struct Noted {
    operations: Vec<Operation>,
    names: BTreeMap<String, usize>,
    files: usize,
    failing: Window,
    reads: usize,
    failing_reads: Window,
    /// Files of which the system may hold other bytes than the disk.
    doubtful: BTreeSet<usize>,
}

impl Noted {
    /// Notes an operation that needs room or not; says whether it fails.
    fn note(&mut self, operation: Operation, needs_room: bool) -> io::Result<()> {
        let (number, failing) = (self.operations.len(), self.failing);
        let failure = failing.failure;
        if !failing.has(number) || failure == Failure::Full && !needs_room {
            self.operations.push(operation);
            return Ok(());
        }
        if failure == Failure::Death {
            self.operations.push(Operation::Nothing);
            return Err(told());
        }
        if let Operation::Sync { file } = &operation {
            self.doubtful.insert(*file);
        }
        self.operations.push(operation.failed(number as u64));
        Err(if failure == Failure::Full { io::ErrorKind::StorageFull.into() } else { told() })
    }

    /// Whether the process that used the disk is dead.
    fn is_dead(&self) -> bool {
        self.failing.failure == Failure::Death && self.failing.has(self.operations.len())
    }

    /// Counts a read; says whether it fails.
    fn read(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.is_dead() || self.failing_reads.has(self.reads - 1) { Err(told()) } else { Ok(()) }
    }
}

fn told() -> io::Error {
    io::Error::other("the disk was told to fail")
}

/// A disk in RAM that notes what is done to it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct NotingDisk {
    memory: Memory,
    noted: Arc<Mutex<Noted>>,
}

impl NotingDisk {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that has the files of another, all of them synced.
    pub fn of(other: &Memory) -> Self {
        let disk = Self::default();
        for name in other.list().unwrap() {
            let to = disk.create(&name).unwrap();
            to.write_at(&bytes_of(other, &name), 0).unwrap();
            to.sync().unwrap();
        }
        Disk::sync(&disk).unwrap();
        disk
    }

    /// Operations done so far, or tried in vain.
    pub fn operations(&self) -> usize {
        self.noted().operations.len()
    }

    /// Lets `count` operations fail after the next `after`; a write that fails is half done.
    pub fn fail(&self, after: usize, count: usize) {
        self.fail_so(after, count, Failure::Error);
    }

    fn fail_so(&self, after: usize, count: usize, failure: Failure) {
        let first = self.operations() + after;
        self.noted().failing = Window { first, count, failure };
    }

    /// Lets those of `count` operations after the next `after` fail that need room, as on a full
    /// disk.
    pub fn fill(&self, after: usize, count: usize) {
        self.fail_so(after, count, Failure::Full);
    }

    /// Lets nothing be done after the next `after` operations, as if the process were killed there:
    /// what it wrote and did not sync is still to be read after [`NotingDisk::mend`].
    pub fn kill(&self, after: usize) {
        self.fail_so(after, usize::MAX, Failure::Death);
    }

    /// Lets `count` reads fail after the next `after`; opening and listing count as reads.
    pub fn fail_reads(&self, after: usize, count: usize) {
        let mut noted = self.noted();
        noted.failing_reads = Window { first: noted.reads + after, count, ..Window::default() };
    }

    /// Lets nothing fail any more.
    pub fn mend(&self) {
        let mut noted = self.noted();
        (noted.failing, noted.failing_reads) = (Window::default(), Window::default());
    }

    /// The disk as a crash after the first `operations` leaves it.
    pub fn crash(&self, operations: usize, keep: Keep) -> Memory {
        Image::of(&self.noted().operations[..operations]).into_memory(keep)
    }
}

/// The bytes of a file.
pub fn bytes_of(disk: &dyn Disk, name: &str) -> Vec<u8> {
    read_all(&*disk.open(name).unwrap()).unwrap()
}

/// A disk that has these files.
pub fn memory_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Memory {
    let memory = Memory::default();
    for (name, bytes) in files {
        memory.create(name).unwrap().write_at(bytes, 0).unwrap();
    }
    memory
}

impl Disk for NotingDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.noted().read()?;
        let inner = self.memory.open(name)?;
        let number = self.noted().names[name];
        Ok(Arc::new(NotingFile { disk: self.clone(), number, inner }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut noted = self.noted();
        let number = noted.names.get(name).copied().unwrap_or(noted.files);
        if number == noted.files {
            noted.files += 1;
            let created = Operation::Create { file: number, name: name.to_owned() };
            noted.note(created, true)?;
            noted.names.insert(name.to_owned(), number);
        } else {
            noted.note(Operation::SetLen { file: number, len: 0 }, false)?;
        }
        let inner = self.memory.create(name)?;
        Ok(Arc::new(NotingFile { disk: self.clone(), number, inner }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut noted = self.noted();
        noted.note(Operation::Rename { from: from.to_owned(), to: to.to_owned() }, false)?;
        self.memory.rename(from, to)?;
        let number = noted.names.remove(from).unwrap();
        noted.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut noted = self.noted();
        if !noted.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        noted.note(Operation::Remove { name: name.to_owned() }, false)?;
        noted.names.remove(name);
        self.memory.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.noted().read()?;
        self.memory.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.noted().note(Operation::SyncNames, false)
    }
}

#[derive(Debug)]
struct NotingFile {
    disk: NotingDisk,
    number: usize,
    inner: Arc<dyn DiskFile>,
}

impl DiskFile for NotingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.noted().read()?;
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut noted = self.disk.noted();
        let at = usize::try_from(offset).unwrap();
        let write = Operation::Write { file: self.number, offset: at, bytes: bytes.to_vec() };
        let grows = offset + bytes.len() as u64 > self.inner.size()?;
        if noted.is_dead() {
            return noted.note(write, grows);
        }
        let done = noted.note(write, grows);
        let part = if done.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.inner.write_at(part, offset)?;
        done
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let cut = Operation::SetLen { file: self.number, len: usize::try_from(len).unwrap() };
        let grows = len > self.inner.size()?;
        self.disk.noted().note(cut, grows)?;
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.noted().note(Operation::Sync { file: self.number }, false)
    }

    fn forget(&self, _offset: u64, _len: u64) {
        let mut noted = self.disk.noted();
        if noted.doubtful.remove(&self.number) {
            let bytes = Image::of(&noted.operations).whole(self.number);
            self.inner.set_len(bytes.len() as u64).unwrap();
            self.inner.write_at(&bytes, 0).unwrap();
        }
    }
}
