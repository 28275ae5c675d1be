//! The block that a metronome signed last, on disk before anybody sees it.
//!
//! # Invariants
//!
//! 1. A block is here, synced, before it leaves the metronome: after a crash the same bytes are
//!    handed in again.
//! 2. Heights only grow, so a key signs one block at a height, whatever the ledger answers.
//! 3. What is found at the start is written and synced again before it is used: whoever wrote it may
//!    have been killed before the sync, or the sync may have failed.
//! 4. Two slots are written in turn: a crash while one is written leaves the other.
//!
//! A slot is a file of one record: magic (8 bytes), CRC-32C (u32) of what follows, and the encoded
//! block. There is a pair of slots for each chain and key. What is damaged by other than a crash may
//! be taken for one: then the record is one block older than the truth.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use crate::{
    address::Address,
    block::{BlockHash, Header},
    codec,
    disk::{Disk, Memory},
    genesis::Chain,
    units::Height,
};

const MAGIC: &[u8; 8] = b"DSCSIGN\x01";
/// Bytes before the block: magic and sum.
const HEAD_LEN: usize = 12;
const SLOTS: usize = 2;

/// A block that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// The block it follows.
    pub parent: BlockHash,
    /// Its encoding.
    pub bytes: Arc<Vec<u8>>,
}

/// Why a record cannot be read or a block not be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignedError {
    /// The disk failed.
    #[error("the record of signed blocks: {0}")]
    Disk(#[from] io::Error),
    /// Both slots are damaged, which no crash does.
    #[error("the record of signed blocks is damaged: neither {0} nor {1} can be read")]
    Damaged(String, String),
    /// A block of this height or a higher one was signed before.
    #[error("a block of height {signed} was signed before: none of height {height} is signed")]
    Height {
        /// Height of the block signed last.
        signed: Height,
        /// Height of the block to sign.
        height: Height,
    },
}

/// The record of the block signed last.
pub struct LastSigned {
    disk: Box<dyn Disk>,
    names: [String; SLOTS],
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    last: Option<SignedBlock>,
    /// The slot that is written next.
    slot: usize,
}

impl fmt::Debug for LastSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastSigned").field("last", &self.held().last).finish_non_exhaustive()
    }
}

impl LastSigned {
    /// Opens the record of what `key` signed for `chain`, which is empty on a new disk.
    ///
    /// # Errors
    ///
    /// [`SignedError`] if the disk cannot be read, or nothing on it can be trusted.
    pub fn open(
        disk: impl Disk + 'static,
        chain: &Chain,
        key: &Address,
    ) -> Result<Self, SignedError> {
        let disk = Box::new(disk);
        let names = [0, 1].map(|slot| name_of(chain, key, slot));
        let [first, second] = &names;
        let found = [read(&*disk, first, chain, key)?, read(&*disk, second, chain, key)?];
        if found.iter().all(|slot| *slot == Slot::Damaged) {
            return Err(SignedError::Damaged(first.clone(), second.clone()));
        }
        // A name that is made later might not be on disk when its first block is.
        names.iter().try_for_each(|name| make(&*disk, name))?;
        let held = Held::of(found);
        let found = held.last.as_ref().zip(names.get(other(held.slot)));
        if let Some((block, name)) = found {
            write(&*disk, name, &block.bytes)?;
        }
        disk.sync()?;
        Ok(Self { disk, names, held: Mutex::new(held) })
    }

    /// A record that is gone when it is dropped: for examples and tests.
    ///
    /// # Panics
    ///
    /// Never: memory does not fail.
    pub fn in_memory(chain: &Chain, key: &Address) -> Self {
        Self::open(Memory::default(), chain, key).expect("memory does not fail")
    }

    /// The block signed last.
    pub fn last(&self) -> Option<SignedBlock> {
        self.held().last.clone()
    }

    /// Whether a block of this height may be signed.
    ///
    /// # Errors
    ///
    /// [`SignedError::Height`].
    pub fn allows(&self, height: Height) -> Result<(), SignedError> {
        match self.held().last.as_ref().map(|last| last.height) {
            Some(signed) if signed >= height => Err(SignedError::Height { signed, height }),
            _ => Ok(()),
        }
    }

    /// Keeps a block; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`SignedError`]; the block must not be shown to anybody then.
    pub fn keep(&self, block: SignedBlock) -> Result<(), SignedError> {
        self.allows(block.height)?;
        let mut held = self.held();
        let slot = held.slot;
        let Some(name) = self.names.get(slot) else { return Ok(()) };
        write(&*self.disk, name, &block.bytes)?;
        *held = Held { last: Some(block), slot: other(slot) };
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of([first, second]: [Slot; SLOTS]) -> Self {
        match (first.block(), second.block()) {
            (Some(first), Some(second)) if first.height > second.height => Self::at(first, 0),
            (_, Some(second)) => Self::at(second, 1),
            (Some(first), None) => Self::at(first, 0),
            (None, None) => Self::default(),
        }
    }

    fn at(block: SignedBlock, slot: usize) -> Self {
        Self { last: Some(block), slot: other(slot) }
    }
}

const fn other(slot: usize) -> usize {
    if slot == 0 { 1 } else { 0 }
}

#[derive(Debug, PartialEq)]
enum Slot {
    /// There is none, or an empty one of a crash before anything was written.
    Empty,
    Damaged,
    Holds(SignedBlock),
}

impl Slot {
    fn block(self) -> Option<SignedBlock> {
        match self {
            Self::Holds(block) => Some(block),
            _ => None,
        }
    }
}

fn name_of(chain: &Chain, key: &Address, slot: usize) -> String {
    let (chain, [a, b, c, d, ..]) = (chain.hash().first64(), key.0);
    format!("signed-{chain:016x}-{:08x}-{slot}", u32::from_be_bytes([a, b, c, d]))
}

/// Writes one slot where it is: of a torn one the sum does not fit, and the same bytes cannot tear.
fn write(disk: &dyn Disk, name: &str, block: &[u8]) -> io::Result<()> {
    let file = disk.open(name)?;
    let mut record = Vec::with_capacity(block.len().saturating_add(HEAD_LEN));
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
    record.extend_from_slice(block);
    file.set_len(record.len() as u64)?;
    file.write_at(&record, 0)?;
    file.sync()
}

fn make(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(name).map(drop),
        opened => opened.map(drop),
    }
}

fn read(disk: &dyn Disk, name: &str, chain: &Chain, key: &Address) -> io::Result<Slot> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Slot::Empty),
        opened => opened?,
    };
    let size = file.size()?;
    if size == 0 {
        return Ok(Slot::Empty);
    }
    let longest = chain.genesis().limits.block_bytes.saturating_add(HEAD_LEN as u64);
    let Ok(len) = usize::try_from(size.min(longest)) else { return Ok(Slot::Damaged) };
    let mut record = vec![0; len];
    file.read_at(&mut record, 0)?;
    Ok(parse(&record, chain, key).map_or(Slot::Damaged, Slot::Holds))
}

fn parse(record: &[u8], chain: &Chain, key: &Address) -> Option<SignedBlock> {
    let (sum, block) = record.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc32c::crc32c(block) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (header, _) = codec::decode_first::<Header>(block).ok()?;
    if header.chain != chain.hash() || header.metronome != *key {
        return None;
    }
    let (height, hash, parent) = (header.height, header.hash(), header.parent);
    Some(SignedBlock { height, hash, parent, bytes: Arc::new(block.to_vec()) })
}
