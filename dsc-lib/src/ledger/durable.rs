//! The ledger that survives: a [`State`] and the store it can be restored from.
//!
//! # Invariants
//!
//! 1. A block is on disk before the state moves; if the store fails, the state does not move.
//! 2. An opened ledger holds a state that its tip commits to, under a signature.
//! 3. Reads show the block that was committed last, and wait for no commit.

use std::{ops::Deref, path::Path, sync::Arc};

use super::{
    BlockError, CheckedBlock, CommitError, OpenError, Snapshot, StaleBlock, State, StoreError,
    Wins,
    archive::Archive,
    base,
    index::View,
    store::{self, Opened, Persisted, Recovery, Store},
};
use crate::{
    block::Block,
    disk::{Disk, Folder, Memory},
    genesis::Chain,
    units::Amount,
};

/// The balances on disk at one moment, to be added up while the ledger goes on.
#[derive(Debug)]
pub struct Balances {
    view: Arc<View>,
    chain: Chain,
}

impl Balances {
    /// Reads every balance and adds them up; nothing if the sum is more than an amount can hold.
    ///
    /// It takes time and RAM for every account there is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn sum(&self) -> Result<Option<Amount>, StoreError> {
        let accounts = self.view.accounts(self.chain.genesis())?;
        Ok(Amount::checked_sum(accounts.values().map(|account| account.balance)))
    }
}

/// How to open a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Whether nothing is to be written: neither blocks, nor what a crash or a lost index would
    /// need. Others may read the ledger at the same time.
    pub read_only: bool,
    /// Bytes of the index held in RAM before they are worth writing; a commit waits for them to be
    /// written at four times as many. A transaction has about 160 to 200.
    pub fresh_bytes_max: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { read_only: false, fresh_bytes_max: 8 << 20 }
    }
}

/// The rules, the state and the store.
///
/// What is on disk is read through its [`Archive`].
#[derive(Debug)]
pub struct Ledger {
    state: Arc<State>,
    archive: Archive,
    wins: Wins,
    recovery: Recovery,
}

impl Deref for Ledger {
    type Target = Archive;

    fn deref(&self) -> &Archive {
        &self.archive
    }
}

impl Ledger {
    /// [`Ledger::open_with`] the default options, telling nobody how far it is.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: &Path, chain: Option<Chain>) -> Result<Self, OpenError> {
        Self::open_with(path, chain, OpenOptions::default(), |_, _| {})
    }

    /// Opens the ledger in the folder at `path`, or starts one from `chain`.
    ///
    /// Blocks that the index does not cover are checked again; `progress` is told the bytes of the
    /// log that were read and how many there are. [`Ledger::recovery`] tells what had to be mended.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; without `chain` there must be a ledger, with it the ledger must be its.
    pub fn open_with(
        path: &Path,
        chain: Option<Chain>,
        options: OpenOptions,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, OpenError> {
        let folder = Self::lock(path, chain.is_some(), options.read_only)?;
        Self::with_disk(Arc::new(folder), chain, options, progress)
    }

    /// Locks the folder at `path` for [`Ledger::with_disk`], with whatever is put between the two.
    /// It is made if it is missing, provided that a ledger may be started in it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if there is no ledger, one of an earlier version, or another process has it.
    pub fn lock(path: &Path, may_start: bool, read_only: bool) -> Result<Folder, OpenError> {
        refuse_old(path)?;
        if !path.exists() && (!may_start || read_only) {
            return Err(OpenError::Missing);
        }
        let folder = Folder::lock(path, read_only).map_err(StoreError::io("open the ledger"))?;
        folder.ok_or(OpenError::Locked)
    }

    /// Opens the ledger that `disk` holds, or starts one from `chain`.
    ///
    /// # Errors
    ///
    /// As [`Ledger::open_with`].
    pub fn with_disk(
        disk: Arc<dyn Disk>,
        chain: Option<Chain>,
        options: OpenOptions,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, OpenError> {
        let Opened { store, state, wins, recovery } =
            store::open(disk, chain, options, &mut progress)?;
        let (state, archive) = (Arc::new(state), Archive { store: Arc::new(store) });
        Ok(Self { state, archive, wins, recovery })
    }

    /// Starts a ledger in `disk` that goes on where `snapshot` ends: it has none of the blocks up to
    /// there ([`Archive::base`]), and opens as any other from then on. A snapshot of the state
    /// before the first block starts a ledger that has every block.
    ///
    /// # Errors
    ///
    /// [`OpenError::Snapshot`] if the snapshot is not what a metronome of `chain` has signed for;
    /// [`OpenError::Present`] if there is a ledger; or as [`Ledger::open_with`].
    pub fn start_from(
        disk: Arc<dyn Disk>,
        chain: Chain,
        snapshot: Snapshot,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        if options.read_only {
            return Err(OpenError::Missing);
        }
        base::start_after(&*disk, &chain, snapshot)?;
        Self::with_disk(disk, Some(chain), options, |_, _| {})
    }

    /// Starts a ledger that is gone when it is dropped.
    ///
    /// # Panics
    ///
    /// If memory is exhausted.
    pub fn in_memory(chain: Chain) -> Self {
        let disk = Arc::new(Memory::default());
        let opened = Self::with_disk(disk, Some(chain), OpenOptions::default(), |_, _| {});
        opened.expect("memory does not fail")
    }

    /// What opening it had to mend.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The state after the last block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to check a block on while the ledger answers others. As long as somebody holds
    /// it, [`Ledger::advance`] copies every account.
    pub fn shared_state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Who has won how many blocks, of those that are here.
    pub fn wins(&self) -> &Wins {
        &self.wins
    }

    /// What is on disk.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    pub(super) fn store(&self) -> &Store {
        &self.archive.store
    }

    /// [`State::check`].
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub fn check(&self, block: Block) -> Result<CheckedBlock, BlockError> {
        self.state.check(block)
    }

    /// Puts a block on disk, then moves the state: [`Archive::persist`] and [`Ledger::advance`].
    ///
    /// # Errors
    ///
    /// [`CommitError`]; the state does not move then.
    pub fn commit(&mut self, block: &CheckedBlock) -> Result<(), CommitError> {
        self.state.check_fresh(block)?;
        let persisted = self.archive.persist(block)?;
        Ok(self.advance(block, persisted)?)
    }

    /// Moves the state past a block that is on disk.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if it is not the next one, or not the one that was persisted; the state does
    /// not move then.
    pub fn advance(
        &mut self,
        block: &CheckedBlock,
        persisted: Persisted,
    ) -> Result<(), StaleBlock> {
        let (checked, tip) = (block.hash(), persisted.hash);
        if checked != tip {
            return Err(StaleBlock { checked, tip });
        }
        self.state.check_fresh(block)?;
        Arc::make_mut(&mut self.state).apply(block)?;
        self.wins.count(block.winner());
        self.store().advance(persisted, block, &self.wins);
        Ok(())
    }

    /// The balances on disk after the last block, to be added up without the ledger.
    pub fn balances(&self) -> Balances {
        Balances { view: self.store().index.view(), chain: self.state.chain().clone() }
    }

    /// The whole state in a form that others can check against the signed tip.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.archive.snapshot_of(&self.state)
    }
}

/// What an earlier version kept is not to be mistaken for no ledger at all.
fn refuse_old(path: &Path) -> Result<(), OpenError> {
    let old = [path.join("ledger.redb"), path.with_extension("redb")];
    if let Some(path) = old.into_iter().find(|path| path.is_file()) {
        return Err(OpenError::Old { path });
    }
    if path.is_file() { Err(OpenError::NotAFolder { path: path.to_owned() }) } else { Ok(()) }
}
