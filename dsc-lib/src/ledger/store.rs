//! The ledger on disk: the block log and its index, opened together.
//!
//! # Invariants
//!
//! 1. What the index says is taken only if it is about this log, and if its accounts are those that
//!    the last block it covers commits to. Every later block is checked as if it came anew.
//! 2. An index that does not fit is made anew from the log; the log is never made from the index.
//! 3. A store opened for reading writes nothing into its folder.

use std::sync::Arc;

use super::{
    CheckedBlock, CommitError, OpenError, OpenOptions, Place, SnapshotTip, State, StoreError, Wins,
    base,
    index::{Covered, Fresh, Index, Pointer, Tables, View},
    log::{AppendError, BLOCKS, Extent, Log, Torn, Unread},
};
use crate::{
    block::{Block, BlockHash, Header, Proofs},
    codec,
    disk::{Disk, Folder},
    genesis::Chain,
    transaction::{Encoded, TRANSACTION_BYTES_MAX},
    units::Height,
};

/// What opening a ledger had to mend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// What a crash left at the end of the log.
    pub torn: Option<Torn>,
    /// Why the index was made anew from the log, if it was.
    pub rebuilt: Option<String>,
    /// Blocks that were checked again because the index did not cover them.
    pub replayed: u64,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) log: Log,
    pub(super) index: Index,
    read_only: bool,
    /// The last block that the log does not have, if it does not begin with the first one.
    base: Option<SnapshotTip>,
    /// Held against others as long as the store is.
    disk: Arc<dyn Disk>,
    /// The folder in which the index of a ledger opened for reading puts what it adds.
    _scratch: Option<tempfile::TempDir>,
}

/// A block that is on disk, but not yet part of the ledger's state.
#[derive(Debug)]
#[must_use = "the ledger has not moved yet"]
pub struct Persisted {
    pub(super) hash: BlockHash,
    covered: Height,
    end: u64,
    tables: Tables,
}

/// A store with the state that it holds.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) wins: Wins,
    pub(super) recovery: Recovery,
}

/// Opens the store in `disk`, or starts one.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    chain: Option<Chain>,
    options: OpenOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Opened, OpenError> {
    base::start(&*disk, chain.as_ref(), options.read_only)?;
    let log = Unread::open(&*disk, chain)?;
    let scratch = Scratch::new(&disk, options.read_only)?;
    let mut replay = Replay::new(&*disk, &log, &scratch.disk, options)?;
    replay.run(&log, progress)?;
    let Replay { index, state, wins, end, last, recovery } = replay;
    if !options.read_only {
        index.tidy(&*disk)?;
    }
    let next = (state.round().height, state.tip().hash);
    let base = log.base().cloned();
    let (log, torn) = log.finish(&*disk, options.read_only, end, next, last)?;
    let recovery = Recovery { torn, ..recovery };
    let (read_only, scratch) = (options.read_only, scratch.folder);
    let store = Store { log, index, read_only, base, disk, _scratch: scratch };
    Ok(Opened { store, state, wins, recovery })
}

/// Where an index is written.
struct Scratch {
    disk: Arc<dyn Disk>,
    folder: Option<tempfile::TempDir>,
}

impl Scratch {
    fn new(home: &Arc<dyn Disk>, read_only: bool) -> Result<Self, StoreError> {
        if !read_only {
            return Ok(Self { disk: home.clone(), folder: None });
        }
        let failed = StoreError::io("make a temporary folder");
        let folder = tempfile::tempdir().map_err(&failed)?;
        let locked = Folder::lock(folder.path(), false).map_err(&failed)?;
        let disk = locked.ok_or_else(|| failed(std::io::ErrorKind::ResourceBusy.into()))?;
        Ok(Self { disk: Arc::new(disk), folder: Some(folder) })
    }
}

/// A log being read from where its index ends.
struct Replay {
    index: Index,
    state: State,
    wins: Wins,
    end: u64,
    last: Option<Extent>,
    recovery: Recovery,
}

impl Replay {
    fn new(
        disk: &dyn Disk,
        log: &Unread,
        scratch: &Arc<dyn Disk>,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        let (chain, bytes_max) = (log.chain(), options.fresh_bytes_max);
        let first = base::first_height(log.base());
        let opened = Index::open(disk, scratch.clone(), chain.hash(), first, bytes_max);
        let restored = match opened {
            Ok(Some(index)) => restore(log, index),
            Ok(None) => Err(Unfit::Missing),
            Err(error) => Err(Unfit::Index(error.to_string())),
        };
        let rebuilt = match restored {
            Ok(replay) => return Ok(replay),
            Err(Unfit::Log(error)) => return Err(error.into()),
            Err(Unfit::Index(why)) => Some(why),
            Err(Unfit::Missing) => None,
        };
        let index = Index::empty(scratch.clone(), chain.hash(), first, bytes_max);
        if !options.read_only {
            index.tidy(disk)?;
        }
        let recovery = Recovery { rebuilt, ..Recovery::default() };
        let (state, wins) = (base::first_state(disk, chain, log.base())?, Wins::default());
        if let Some(height) = state.height() {
            index.push(base::indexed(&state, height, log.start()));
        }
        Ok(Self { index, state, wins, end: log.start(), last: None, recovery })
    }

    /// Checks the blocks that the index does not cover.
    fn run(&mut self, log: &Unread, progress: &mut dyn FnMut(u64, u64)) -> Result<(), OpenError> {
        let covered = self.state.height();
        loop {
            let height = self.state.round().height;
            let Some((extent, bytes)) = log.next(self.end, height, covered)? else { break };
            self.take(height, extent, &bytes)?;
            progress(self.end, log.size());
        }
        Ok(())
    }

    fn take(&mut self, height: Height, extent: Extent, bytes: &[u8]) -> Result<(), OpenError> {
        let decoded: Result<Block, _> = codec::decode(bytes);
        let block = decoded.map_err(|error| damaged(height, &error))?;
        let checked = self.state.check(block);
        let checked = checked.map_err(|e| OpenError::Block { height, error: Box::new(e) })?;
        self.index.make_room()?;
        let persisted = Persisted::new(&checked, extent);
        self.wins.count(checked.winner());
        push(&self.index, persisted, &checked, &self.wins);
        let applied = self.state.apply(&checked);
        applied.map_err(|stale| StoreError::corrupt(stale.to_string()))?;
        (self.end, self.last) = (extent.end(), Some(extent));
        self.recovery.replayed = self.recovery.replayed.saturating_add(1);
        Ok(())
    }
}

/// Why an index is not used.
enum Unfit {
    /// There is none: nothing was written yet, or it is lost.
    Missing,
    /// It does not fit the log.
    Index(String),
    /// The log has less than it must have, or its disk fails.
    Log(StoreError),
}

/// The state at the last block that the index covers.
fn restore(log: &Unread, index: Index) -> Result<Replay, Unfit> {
    let unfit = |error: StoreError| Unfit::Index(error.to_string());
    let view = index.view();
    let Some(Covered { height, hash, end, .. }) = view.base() else {
        return Err(Unfit::Index("it covers nothing".into()));
    };
    if end > log.size() {
        let size = log.size();
        let what = format!("{BLOCKS} has {size} bytes, the index covers {end}");
        return Err(Unfit::Log(StoreError::corrupt(what)));
    }
    let base = log.base().filter(|base| base.header.height == height);
    let (tip, last) = match base {
        Some(base) => (base.clone(), None),
        None => last_covered(log, &view, height).map(|(tip, extent)| (tip, Some(extent)))?,
    };
    let ends = last.map_or_else(|| log.start(), Extent::end);
    if (tip.header.height, tip.header.hash(), ends) != (height, hash, end) {
        return Err(Unfit::Index(format!("its last block, {hash}, is not in the log")));
    }
    let accounts = view.accounts(log.chain().genesis()).map_err(unfit)?;
    let state = State::restore(log.chain().clone(), &tip.header, &tip.proofs, accounts);
    let state = state.map_err(|error| Unfit::Index(error.to_string()))?;
    let wins = view.wins().map_err(unfit)?;
    Ok(Replay { index, state, wins, end, last, recovery: Recovery::default() })
}

/// The last block that an index covers, and where it is.
fn last_covered(log: &Unread, view: &View, height: Height) -> Result<(SnapshotTip, Extent), Unfit> {
    let extent = view.extent(height).map_err(|error| Unfit::Index(error.to_string()))?;
    let missing = || Unfit::Index("it does not cover its last block".into());
    let extent = extent.ok_or_else(missing)?;
    let bytes = log.read(extent, height).map_err(Unfit::Log)?;
    Ok((read_tip(height, &bytes).map_err(Unfit::Log)?, extent))
}

/// Header and proofs of an encoded block.
fn read_tip(height: Height, bytes: &[u8]) -> Result<SnapshotTip, StoreError> {
    let read = || -> Result<SnapshotTip, codec::DecodeError> {
        let (header, rest) = codec::decode_first::<Header>(bytes)?;
        let (proofs, _) = codec::decode_first::<Proofs>(rest)?;
        Ok(SnapshotTip { header, proofs })
    };
    read().map_err(|error| damaged(height, &error))
}

pub(super) fn damaged(height: Height, error: &codec::DecodeError) -> StoreError {
    StoreError::corrupt(format!("block {height}: {error}"))
}

impl Persisted {
    pub(super) fn new(block: &CheckedBlock, extent: Extent) -> Self {
        let (height, hash) = (block.header().height, block.hash());
        Self { hash, covered: height, end: extent.end(), tables: Tables::of(block, extent) }
    }
}

/// Adds a block that is on disk to the index; `wins` counts its winner's with it.
fn push(index: &Index, persisted: Persisted, block: &CheckedBlock, wins: &Wins) {
    let Persisted { hash, covered: height, end, mut tables } = persisted;
    tables.set_wins(block.winner(), wins.of(block.winner()));
    let before = index.view().tip().map_or(0, |tip| tip.transactions);
    let transactions = before.saturating_add(block.transactions().len() as u64);
    index.push(Fresh { covered: Covered { height, hash, end, transactions }, tables });
}

impl Store {
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The last block that the log does not have, if it does not begin with the first one.
    pub(super) fn base(&self) -> Option<&SnapshotTip> {
        self.base.as_ref()
    }

    /// The state before the first block of the log.
    pub(super) fn first_state(&self, chain: &Chain) -> Result<State, StoreError> {
        base::first_state(&*self.disk, chain, self.base())
    }

    fn base_at(&self, height: Height) -> Option<&SnapshotTip> {
        self.base().filter(|base| base.header.height == height)
    }

    /// Puts a block on disk after the last one that was.
    pub(super) fn persist(&self, block: &CheckedBlock) -> Result<Persisted, CommitError> {
        if self.read_only {
            return Err(StoreError::ReadOnly.into());
        }
        self.index.make_room()?;
        match self.log.append(block) {
            Ok(extent) => Ok(Persisted::new(block, extent)),
            Err(AppendError::Stale(stale)) => Err(stale.into()),
            Err(AppendError::Store(error)) => Err(error.into()),
        }
    }

    /// Shows a block to readers.
    pub(super) fn advance(&self, persisted: Persisted, block: &CheckedBlock, wins: &Wins) {
        push(&self.index, persisted, block, wins);
    }

    /// The height of the block with this hash.
    pub(super) fn height_of(&self, hash: &BlockHash) -> Result<Option<Height>, StoreError> {
        let base = self.base().map(|base| &base.header).filter(|header| header.hash() == *hash);
        match base {
            Some(header) => Ok(Some(header.height)),
            None => self.index.view().height_of(hash),
        }
    }

    /// The bytes of the block at `height`.
    pub(super) fn block(&self, view: &View, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(extent) = view.extent(height)? else { return Ok(None) };
        self.log.read(extent, height).map(Some)
    }

    /// Header and proofs of the block at `height`, which must be there.
    pub(super) fn tip_of(&self, height: Height) -> Result<SnapshotTip, StoreError> {
        if let Some(base) = self.base_at(height) {
            return Ok(base.clone());
        }
        let missing = || StoreError::corrupt(format!("block {height}, the tip, is missing"));
        let bytes = self.block(&self.index.view(), height)?.ok_or_else(missing)?;
        read_tip(height, &bytes)
    }

    /// Header of the block at `height`.
    pub(super) fn header(&self, height: Height) -> Result<Option<Header>, StoreError> {
        const HEADER_BYTES: u32 = 1024;
        if let Some(base) = self.base_at(height) {
            return Ok(Some(base.header.clone()));
        }
        let Some(extent) = self.index.view().extent(height)? else { return Ok(None) };
        let bytes = self.log.read_part(extent, height, 0, HEADER_BYTES)?;
        let decoded = codec::decode_first(&bytes).map(|(header, _)| header);
        decoded.map(Some).map_err(|error| damaged(height, &error))
    }

    /// Blocks from `from` upwards until `bytes_max` would be exceeded; at least one if there is one.
    pub(super) fn blocks(
        &self,
        from: Height,
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let view = self.index.view();
        let (mut blocks, mut room, mut height) = (Vec::new(), bytes_max, from);
        while let Some(extent) = view.extent(height)? {
            let len = extent.len as usize;
            if len > room && !blocks.is_empty() {
                break;
            }
            room = room.saturating_sub(len);
            blocks.push(self.log.read(extent, height)?);
            height = height.next();
        }
        Ok(blocks)
    }

    /// Reads a transaction from where an index says it is.
    pub(super) fn transaction(&self, view: &View, at: &Pointer) -> Result<Encoded, StoreError> {
        let Place { height, index } = at.place;
        let missing = || StoreError::corrupt(format!("block {height} has no transaction {index}"));
        let extent = view.extent(height)?.ok_or_else(missing)?;
        let len = u32::try_from(TRANSACTION_BYTES_MAX).unwrap_or(u32::MAX);
        let bytes = self.log.read_part(extent, height, at.offset, len)?;
        codec::decode_first(&bytes).map(|(transaction, _)| transaction).map_err(|_| missing())
    }
}
