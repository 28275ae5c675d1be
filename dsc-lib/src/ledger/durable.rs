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
    index::{Maintained, REWARD_INDEX, Touch, View},
    store::{self, Opened, Persisted, Recovery, Store},
};
use crate::{
    address::Address,
    block::{Block, BlockHash, Header},
    codec,
    disk::{Disk, Folder, Memory},
    genesis::Chain,
    merkle::{self, InclusionProof},
    transaction::{Transaction, TransactionId},
    units::{Amount, Height},
};

/// A place in the order of all transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The block's height.
    pub height: Height,
    /// The place in the block, from 0.
    pub index: u32,
}

/// A transaction on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where it stands.
    pub place: Place,
    /// The transaction.
    pub transaction: Transaction,
}

/// Something that touched an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands; a reward stands after all transactions of its block.
    pub place: Place,
    /// Coins received; nothing for the sender of a transaction that pays others only.
    pub received: Amount,
    /// The transaction, or `None` for reward and fees of a block.
    pub transaction: Option<Transaction>,
}

/// All that shows that a transaction is on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The header of the block it is in.
    pub header: Header,
    /// The path from the transaction's leaf to the header's root.
    pub proof: InclusionProof,
    /// The transaction's canonical bytes.
    pub transaction: Vec<u8>,
}

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

/// The blocks on disk, and where things are in them.
///
/// A clone reads while the ledger it is from checks and commits: whoever keeps that behind a lock
/// needs it for no question that an archive answers, however long the answer takes.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<Store>,
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

    /// Who has won how many blocks.
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

impl Archive {
    /// Puts a block on disk, after the last one that was, and returns when it is there.
    ///
    /// The ledger does not have it before [`Ledger::advance`]. This needs the ledger itself for
    /// nothing, so that others can ask it meanwhile. The same block again gives the same.
    ///
    /// # Errors
    ///
    /// [`CommitError`] if another block was persisted last than the parent, or the store fails.
    pub fn persist(&self, block: &CheckedBlock) -> Result<Persisted, CommitError> {
        self.store.persist(block)
    }

    /// `state`, one this archive's ledger was or is in, in a form that others can check against its
    /// signed tip.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn snapshot_of(&self, state: &State) -> Result<Snapshot, StoreError> {
        let tip = state.height().map(|height| self.store.tip_of(height)).transpose()?;
        let snapshot = Snapshot::new(tip, state.accounts());
        snapshot.map_err(|error| StoreError::corrupt(error.to_string()))
    }

    /// Does a part of what keeps look-ups quick and memory bounded: writes what is in RAM of the
    /// index, or merges what was written.
    ///
    /// A part takes some ten milliseconds. Who calls this after every block, until nothing is left
    /// to do, finds that no commit has to wait for it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails, or is found damaged; no block is lost by that.
    pub fn maintain(&self) -> Result<Maintained, StoreError> {
        if self.store.is_read_only() {
            return Ok(Maintained::Done);
        }
        self.store.log.forget_old();
        self.store.index.maintain()
    }

    /// Writes all of the index that is in RAM, so that opening the ledger again checks no block.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; no block is lost by that.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.store.is_read_only() { Ok(()) } else { self.store.index.flush_all() }
    }

    /// Height of the last block, if there is one.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn height(&self) -> Result<Option<Height>, StoreError> {
        Ok(self.store.index.view().tip().map(|tip| tip.height))
    }

    /// Transactions on the ledger.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn transaction_count(&self) -> Result<u64, StoreError> {
        Ok(self.store.index.view().tip().map_or(0, |tip| tip.transactions))
    }

    /// The bytes of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn block_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.block(&self.store.index.view(), height)
    }

    /// The block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        let decoded = self.block_bytes(height)?.map(|bytes| codec::decode(&bytes)).transpose();
        decoded.map_err(|error| store::damaged(height, &error))
    }

    /// The header of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn header(&self, height: Height) -> Result<Option<Header>, StoreError> {
        self.store.header(height)
    }

    /// The height of the block with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn height_of(&self, hash: &BlockHash) -> Result<Option<Height>, StoreError> {
        self.store.index.view().height_of(hash)
    }

    /// The bytes of the blocks from `from` upwards, as many as have `bytes_max` bytes together;
    /// at least one if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn blocks(&self, from: Height, bytes_max: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.blocks(from, bytes_max)
    }

    /// The transaction with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn transaction(&self, id: &TransactionId) -> Result<Option<Located>, StoreError> {
        let view = self.store.index.view();
        let Some(at) = view.locate(id)? else { return Ok(None) };
        let transaction = self.store.transaction(&view, &at)?.decode();
        Ok(Some(Located { place: at.place, transaction }))
    }

    /// All that shows that the transaction with this id is on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn inclusion(&self, id: &TransactionId) -> Result<Option<Inclusion>, StoreError> {
        let Some(at) = self.store.index.view().locate(id)? else { return Ok(None) };
        let Place { height, index } = at.place;
        let missing = || StoreError::corrupt(format!("block {height} has no transaction {index}"));
        let block = self.block(height)?.ok_or_else(missing)?;
        let encoded = block.transactions.into_vec();
        let leaves = merkle::leaves(&encoded, |transaction| transaction.bytes());
        let index = usize::try_from(index).map_err(|_| missing())?;
        let proof = InclusionProof::new(&leaves, index).ok_or_else(missing)?;
        let transaction = encoded.get(index).ok_or_else(missing)?.bytes().to_vec();
        Ok(Some(Inclusion { header: block.header, proof, transaction }))
    }

    /// What touched `address` before the place `before`, newest first, at most `max` events.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn history(
        &self,
        address: &Address,
        before: Option<Place>,
        max: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let view = self.store.index.view();
        let touches = view.history(address, before, max)?;
        touches.into_iter().map(|touch| self.event(&view, &touch)).collect()
    }

    fn event(&self, view: &View, touch: &Touch) -> Result<Event, StoreError> {
        let Touch { at, received } = *touch;
        let transaction = match at.place.index {
            REWARD_INDEX => None,
            _ => Some(self.store.transaction(view, &at)?.decode()),
        };
        Ok(Event { place: at.place, received, transaction })
    }
}
