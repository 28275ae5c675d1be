//! The manifest: which runs are the index, and up to which block of the log.
//!
//! # Invariants
//!
//! 1. It is replaced at once, after the runs it names are on disk.
//!
//! The file is magic `DSCRUNS1`, the canonical encoding of [`Manifest`], and a CRC-32C of both.

use bincode::{Decode, Encode};

use super::{run::Name, table::Kind};
use crate::{
    block::BlockHash,
    codec::{self, List},
    disk::Disk,
    hash::Digest,
    ledger::StoreError,
    units::Height,
};

pub(super) const MANIFEST: &str = "index.manifest";
pub(super) const MANIFEST_NEW: &str = "index.new";
const MAGIC: [u8; 8] = *b"DSCRUNS1";
const RUNS_MAX: usize = 1 << 16;
const MANIFEST_BYTES_MAX: u64 = 1 << 21;

/// The last block that an index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(in crate::ledger) struct Covered {
    pub(in crate::ledger) height: Height,
    pub(in crate::ledger) hash: BlockHash,
    /// Where its record ends in the log.
    pub(in crate::ledger) end: u64,
    /// Transactions up to and with it.
    pub(in crate::ledger) transactions: u64,
}

/// A run of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Listed {
    kind: u8,
    /// How often its records were merged.
    pub(super) level: u8,
    id: u64,
    count: u64,
}

impl Listed {
    pub(super) fn new(name: Name, level: u8) -> Self {
        Self { kind: name.kind.code(), level, id: name.id, count: name.count }
    }

    pub(super) fn name(&self) -> Option<Name> {
        Some(Name { kind: Kind::from_code(self.kind)?, id: self.id, count: self.count })
    }
}

/// What the index is made of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Manifest {
    /// Genesis hash of the log's chain.
    pub(super) chain: Digest,
    pub(super) covered: Covered,
    /// Above the ids of all runs.
    pub(super) next: u64,
    /// Whether a page was found that does not check: the index has to be made anew.
    pub(super) damaged: bool,
    /// Oldest first.
    pub(super) runs: List<Listed, 0, RUNS_MAX>,
}

fn failed() -> impl Fn(std::io::Error) -> StoreError {
    StoreError::io("write the manifest of the index")
}

/// Lets what was written take the place of the manifest there is. If that fails, either may be the
/// one on disk.
pub(super) fn install(disk: &dyn Disk) -> Result<(), StoreError> {
    disk.rename(MANIFEST_NEW, MANIFEST).and_then(|()| disk.sync()).map_err(failed())
}

impl Manifest {
    /// Writes it beside the one there is, to be [`install`]ed.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(codec::encode(self));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let write = || {
            // The names of the runs are on disk before a manifest needs them.
            disk.sync()?;
            let file = disk.create(MANIFEST_NEW)?;
            file.write_at(&bytes, 0)?;
            file.sync()
        };
        write().map_err(failed())
    }

    /// Reads the manifest, if there is one.
    pub(super) fn read(disk: &dyn Disk) -> Result<Option<Self>, StoreError> {
        let failed = StoreError::io("read the manifest of the index");
        let damaged = |what: &str| StoreError::index(format!("{MANIFEST}: {what}"));
        let file = match disk.open(MANIFEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(&failed)?,
        };
        let size = file.size().map_err(&failed)?;
        if size > MANIFEST_BYTES_MAX {
            return Err(damaged("it is too long"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_at(&mut bytes, 0).map_err(&failed)?;
        let (fields, sum) = bytes.split_at(bytes.len().saturating_sub(4));
        let body = fields.strip_prefix(&MAGIC).ok_or_else(|| damaged("it is none"))?;
        if sum != crc32c::crc32c(fields).to_le_bytes() {
            return Err(damaged("its checksum is wrong"));
        }
        codec::decode(body).map(Some).map_err(|error| damaged(&error.to_string()))
    }
}
