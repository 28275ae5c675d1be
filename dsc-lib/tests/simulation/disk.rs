//! A disk that is full or fails for a while, and that a crash leaves as crashes leave disks.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dsc_lib::{
    disk::{Disk, DiskFile},
    testing::disk::{Dice, Keep, NotingDisk},
};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ailment {
    /// No file can grow.
    Full,
    /// One operation in so many fails, reads among them.
    Failing(usize),
    /// What was written is not synced.
    Unsynced,
    /// Everything takes long.
    Slow,
}

impl Ailment {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "disk full",
            Self::Failing(_) => "disk failing",
            Self::Unsynced => "disk not syncing",
            Self::Slow => "disk slow",
        }
    }
}

#[derive(Debug)]
struct Health {
    ailment: Option<Ailment>,
    dice: Dice,
    failures: u64,
    /// Changes until the process is killed, which makes no more of them then.
    left: Option<usize>,
}

impl Health {
    fn is_dead(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether the next operation fails.
    fn fails(&mut self, is_sync: bool) -> bool {
        if self.is_dead() {
            return true;
        }
        let fails = match self.ailment {
            Some(Ailment::Failing(one_in)) => self.dice.below(one_in) == 0,
            Some(Ailment::Unsynced) => is_sync,
            _ => false,
        };
        self.failures += u64::from(fails);
        fails
    }
}

/// A disk of one machine. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SickDisk {
    inner: NotingDisk,
    health: Arc<Mutex<Health>>,
}

impl SickDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let health = Health { ailment: None, dice: Dice(seed), failures: 0, left: None };
        Self { inner: NotingDisk::default(), health: Arc::new(Mutex::new(health)) }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ail(&self, ailment: Option<Ailment>) {
        self.health().ailment = ailment;
    }

    pub(crate) fn ailment(&self) -> Option<Ailment> {
        self.health().ailment
    }

    /// Operations that failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.health().failures
    }

    /// Operations done so far.
    pub(crate) fn operations(&self) -> usize {
        self.inner.operations()
    }

    /// Lets the process be killed after so many more changes.
    pub(crate) fn kill_after(&self, changes: usize) {
        self.health().left = Some(changes);
    }

    /// Whether the process is to be considered killed by now.
    pub(crate) fn is_dead(&self) -> bool {
        self.health().is_dead()
    }

    /// After the end of a process the system still has all that it wrote, synced or not.
    pub(crate) fn end_process(&self) {
        self.health().left = None;
    }

    /// The end of power after the first `operations`. The disk is no healthier than before.
    pub(crate) fn end_power(&mut self, operations: usize, keep: Keep) {
        self.end_process();
        self.inner = NotingDisk::of(&self.inner.crash(operations, keep));
    }

    /// Whether the disk can be read, or synced.
    fn try_to(&self, is_sync: bool) -> io::Result<()> {
        if self.health().fails(is_sync) {
            return Err(io::Error::other("the disk fails"));
        }
        Ok(())
    }

    /// Whether the disk can be changed.
    fn try_change(&self, is_sync: bool) -> io::Result<()> {
        self.try_to(is_sync)?;
        let mut health = self.health();
        health.left = health.left.map(|left| left - 1);
        Ok(())
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SickFile { disk: self.clone(), inner })
    }
}

/// What the judge sees, who looks at the disk however ill it is.
pub(crate) fn healthy<T>(disk: &SickDisk, look: impl FnOnce() -> T) -> T {
    let (ailment, left) = {
        let mut health = disk.health();
        (health.ailment.take(), health.left.take())
    };
    let seen = look();
    let mut health = disk.health();
    (health.ailment, health.left) = (ailment, left);
    seen
}

impl Disk for SickDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.try_to(false)?;
        Ok(self.file(self.inner.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.try_change(false)?;
        Ok(self.file(self.inner.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.try_change(false)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.try_change(false)?;
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.try_to(false)?;
        self.inner.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.try_change(true)?;
        Disk::sync(&self.inner)
    }
}

#[derive(Debug)]
struct SickFile {
    disk: SickDisk,
    inner: Arc<dyn DiskFile>,
}

impl SickFile {
    /// How many bytes of a write that ends at `end` there is room for.
    fn room(&self, offset: u64, len: usize) -> io::Result<usize> {
        let mut health = self.disk.health();
        let grows = offset + len as u64 > self.inner.size()?;
        if health.ailment != Some(Ailment::Full) || !grows {
            return Ok(len);
        }
        health.failures += 1;
        Ok(health.dice.below(len.max(1)))
    }
}

impl DiskFile for SickFile {
    fn size(&self) -> io::Result<u64> {
        self.disk.try_to(false)?;
        self.inner.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.try_to(false)?;
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.disk.try_change(false);
        let part = if self.disk.is_dead() && failed.is_err() {
            0
        } else if failed.is_err() {
            bytes.len() / 2
        } else {
            self.room(offset, bytes.len())?
        };
        if part > 0 {
            self.inner.write_at(&bytes[..part], offset)?;
        }
        failed?;
        if part == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.try_change(false)?;
        self.inner.set_len(len)
    }

    /// A sync that fails leaves what was written where it was: not on the disk.
    fn sync(&self) -> io::Result<()> {
        self.disk.try_change(true)?;
        self.inner.sync()
    }
}
