//! A disk whose steps are steps at which a test can make this process die.
//!
//! # Invariants
//!
//! 1. It does what the disk in it does, in the same order.
//! 2. A step comes after what it names; that a block was checked is known when it is about to be
//!    written, that it is written, which takes several writes, when it is about to be synced.

use std::{io, sync::Arc};

use dsc_lib::disk::{Disk, DiskFile};

use super::{Point, point};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Step {
    Created,
    Resized,
    Writing,
    Written,
    Syncing,
    Synced,
    Renamed,
    Removed,
}

/// What a file is for, by its name.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Log,
    LogNote,
    Run,
    Manifest,
    Segment,
    Signed,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        match (name, extension) {
            ("blocks.log", _) => Self::Log,
            ("blocks.synced", _) => Self::LogNote,
            ("index.new", _) => Self::Manifest,
            (_, Some("run")) => Self::Run,
            (_, Some("segment")) => Self::Segment,
            _ if name.starts_with("signed-") => Self::Signed,
            _ => Self::Other,
        }
    }

    fn pass(self, step: Step) {
        if let Some(here) = self.point(step) {
            point(here);
        }
    }

    fn point(self, step: Step) -> Option<Point> {
        Some(match (self, step) {
            (Self::Log, Step::Writing) => Point::BlockchainChecked,
            (Self::Log, Step::Written) => Point::BlockchainLogBegun,
            (Self::Log, Step::Syncing) => Point::BlockchainLogWritten,
            (Self::Log, Step::Synced) => Point::BlockchainLogSynced,
            (Self::LogNote, Step::Written) => Point::BlockchainLogNoted,
            (Self::Run, Step::Written) => Point::BlockchainRunWritten,
            (Self::Run, Step::Synced) => Point::BlockchainRunSynced,
            (Self::Run, Step::Removed) => Point::BlockchainRunRemoved,
            (Self::Manifest, Step::Synced) => Point::BlockchainManifestWritten,
            (Self::Manifest, Step::Renamed) => Point::BlockchainManifestRenamed,
            (Self::Segment, Step::Created) => Point::PoolSegmentStarted,
            (Self::Segment, Step::Written) => Point::PoolJournalWritten,
            (Self::Segment, Step::Synced) => Point::PoolJournalSynced,
            (Self::Segment, Step::Removed) => Point::PoolSegmentRemoved,
            (Self::Signed, Step::Resized) => Point::MetronomeSignedCut,
            (Self::Signed, Step::Written) => Point::MetronomeSignedWritten,
            (Self::Signed, Step::Synced) => Point::MetronomeSignedSynced,
            _ => return None,
        })
    }
}

/// A disk with steps.
#[derive(Debug)]
pub(crate) struct Watched<D>(pub(super) D);

impl<D: Disk> Disk for Watched<D> {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(WatchedFile { file: self.0.open(name)?, kind: Kind::of(name) }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (file, kind) = (self.0.create(name)?, Kind::of(name));
        kind.pass(Step::Created);
        Ok(Arc::new(WatchedFile { file, kind }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)?;
        Kind::of(from).pass(Step::Renamed);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)?;
        Kind::of(name).pass(Step::Removed);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DiskFile>,
    kind: Kind,
}

impl DiskFile for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.kind.pass(Step::Writing);
        self.file.write_at(bytes, offset)?;
        self.kind.pass(Step::Written);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.kind.pass(Step::Resized);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.kind.pass(Step::Syncing);
        self.file.sync()?;
        self.kind.pass(Step::Synced);
        Ok(())
    }

    fn forget(&self, offset: u64, len: u64) {
        self.file.forget(offset, len);
    }
}
