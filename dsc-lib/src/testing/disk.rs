//! A disk in RAM that notes every operation, fails on request, and can be had as a crash at any
//! moment would leave it.
//!
//! What a crash keeps follows what systems promise and no more: what was synced is there; of what
//! was not, any page of 4 KiB may be there or not; a file may have any length it had since; names
//! change in order, and may stay behind by any number of changes.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::disk::{Disk, DiskFile, Memory};

const PAGE: usize = 4096;
/// No operation has this number.
const NEVER: u64 = u64::MAX;

/// What was done to a disk; files go by number, as their names change.
#[derive(Clone, Debug)]
enum Operation {
    Create { file: usize, name: String },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncNames,
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    SetLen { file: usize, len: usize },
    Sync { file: usize },
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

#[derive(Debug, Default)]
struct Noted {
    operations: Vec<Operation>,
    names: BTreeMap<String, usize>,
    files: usize,
}

/// A disk in RAM that notes what is done to it. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct NotingDisk {
    memory: Memory,
    noted: Arc<Mutex<Noted>>,
    /// The numbers of the first and the last operation that fails.
    failing: Arc<[AtomicU64; 2]>,
    /// Whether nothing can be read.
    unreadable: Arc<AtomicBool>,
}

impl Default for NotingDisk {
    fn default() -> Self {
        let failing = Arc::new([AtomicU64::new(NEVER), AtomicU64::new(NEVER)]);
        let (memory, unreadable) = (Memory::default(), Arc::default());
        Self { memory, noted: Arc::default(), failing, unreadable }
    }
}

impl NotingDisk {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that has the files of another, all of them synced.
    pub fn of(other: &Memory) -> Self {
        let disk = Self::default();
        for name in other.list().unwrap() {
            let from = other.open(&name).unwrap();
            let mut bytes = vec![0; usize::try_from(from.size().unwrap()).unwrap()];
            from.read_at(&mut bytes, 0).unwrap();
            let to = disk.create(&name).unwrap();
            to.write_at(&bytes, 0).unwrap();
            to.sync().unwrap();
        }
        Disk::sync(&disk).unwrap();
        disk
    }

    /// Operations done so far.
    pub fn operations(&self) -> usize {
        self.noted().operations.len()
    }

    /// Lets `count` operations fail after the next `after`; a write that fails is half done.
    pub fn fail(&self, after: usize, count: usize) {
        let first = (self.operations() + after) as u64;
        self.failing[0].store(first, Ordering::SeqCst);
        self.failing[1].store(first.saturating_add(count as u64 - 1), Ordering::SeqCst);
    }

    /// Lets every read fail.
    pub fn fail_reads(&self) {
        self.unreadable.store(true, Ordering::SeqCst);
    }

    /// Lets nothing fail any more.
    pub fn mend(&self) {
        self.unreadable.store(false, Ordering::SeqCst);
        self.failing.iter().for_each(|place| place.store(NEVER, Ordering::SeqCst));
    }

    /// Notes an operation; says whether it fails.
    fn note(&self, noted: &mut Noted, operation: Operation) -> io::Result<()> {
        let number = noted.operations.len() as u64;
        noted.operations.push(operation);
        let [first, last] = [0, 1].map(|place| self.failing[place].load(Ordering::SeqCst));
        if number >= first && number <= last && first != NEVER {
            return Err(io::Error::other("the disk was told to fail"));
        }
        Ok(())
    }

    /// The disk as a crash after the first `operations` leaves it.
    pub fn crash(&self, operations: usize, keep: Keep) -> Memory {
        let mut image = Image::default();
        self.noted().operations.iter().take(operations).for_each(|op| image.apply(op));
        image.into_memory(keep)
    }
}

impl Disk for NotingDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
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
            self.note(&mut noted, created)?;
            noted.names.insert(name.to_owned(), number);
        } else {
            self.note(&mut noted, Operation::SetLen { file: number, len: 0 })?;
        }
        let inner = self.memory.create(name)?;
        Ok(Arc::new(NotingFile { disk: self.clone(), number, inner }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut noted = self.noted();
        let renamed = Operation::Rename { from: from.to_owned(), to: to.to_owned() };
        self.note(&mut noted, renamed)?;
        self.memory.rename(from, to)?;
        let number = noted.names.remove(from).unwrap();
        noted.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut noted = self.noted();
        self.note(&mut noted, Operation::Remove { name: name.to_owned() })?;
        noted.names.remove(name);
        self.memory.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.memory.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.note(&mut self.noted(), Operation::SyncNames)
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
        if self.disk.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk was told to fail"));
        }
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut noted = self.disk.noted();
        let at = usize::try_from(offset).unwrap();
        let write = Operation::Write { file: self.number, offset: at, bytes: bytes.to_vec() };
        let done = self.disk.note(&mut noted, write);
        let part = if done.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.inner.write_at(part, offset)?;
        done
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let cut = Operation::SetLen { file: self.number, len: usize::try_from(len).unwrap() };
        self.disk.note(&mut self.disk.noted(), cut)?;
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.note(&mut self.disk.noted(), Operation::Sync { file: self.number })
    }
}

/// A file's bytes on disk, and what was done since.
#[derive(Debug, Default)]
struct FileImage {
    synced: Vec<u8>,
    since: Vec<Operation>,
}

#[derive(Debug, Default)]
struct Image {
    files: BTreeMap<usize, FileImage>,
    names: BTreeMap<String, usize>,
    since: Vec<Operation>,
}

impl Image {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { file, .. } => {
                self.files.insert(*file, FileImage::default());
                self.since.push(operation.clone());
            }
            Operation::Rename { .. } | Operation::Remove { .. } => {
                self.since.push(operation.clone());
            }
            Operation::SyncNames => {
                let names = &mut self.names;
                self.since.drain(..).for_each(|change| rename(names, &change));
            }
            Operation::Write { file, .. } | Operation::SetLen { file, .. } => {
                self.files.get_mut(file).unwrap().since.push(operation.clone());
            }
            Operation::Sync { file } => {
                let image = self.files.get_mut(file).unwrap();
                let since = std::mem::take(&mut image.since);
                for change in &since {
                    write(&mut image.synced, change, |_| true);
                }
            }
        }
    }

    fn into_memory(mut self, keep: Keep) -> Memory {
        let mut dice = Dice(if let Keep::Some(seed) = keep { seed } else { 0 });
        let mut some = |count: usize| match keep {
            Keep::Nothing => 0,
            Keep::Everything => count,
            Keep::Some(_) => dice.below(count + 1),
        };
        let kept = some(self.since.len());
        self.since.truncate(kept);
        self.since.iter().for_each(|change| rename(&mut self.names, change));
        let memory = Memory::default();
        for (name, number) in &self.names {
            let FileImage { synced, since } = &self.files[number];
            let (mut bytes, kept) = (synced.clone(), some(since.len()));
            since[..kept].iter().for_each(|change| write(&mut bytes, change, |_| true));
            if let (Keep::Some(_), Some(torn)) = (keep, since.get(kept)) {
                write(&mut bytes, torn, |_| some(1) == 1);
            }
            memory.create(name).unwrap().write_at(&bytes, 0).unwrap();
        }
        memory
    }
}

fn rename(names: &mut BTreeMap<String, usize>, change: &Operation) {
    match change {
        Operation::Create { file, name } => drop(names.insert(name.clone(), *file)),
        Operation::Rename { from, to } => {
            let number = names.remove(from).unwrap();
            names.insert(to.clone(), number);
        }
        Operation::Remove { name } => drop(names.remove(name)),
        other => unreachable!("{other:?}"),
    }
}

/// Changes a file's bytes; of a write those pages that `keep` wants.
fn write(file: &mut Vec<u8>, change: &Operation, mut keep: impl FnMut(usize) -> bool) {
    match change {
        Operation::Write { offset, bytes, .. } => {
            file.resize(file.len().max(offset + bytes.len()), 0);
            for (number, page) in bytes.chunks(PAGE).enumerate() {
                if keep(number) {
                    file[offset + number * PAGE..][..page.len()].copy_from_slice(page);
                }
            }
        }
        Operation::SetLen { len, .. } => file.resize(*len, 0),
        other => unreachable!("{other:?}"),
    }
}

/// Numbers that look random, the same from the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }
}
