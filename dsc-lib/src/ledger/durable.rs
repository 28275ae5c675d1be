//! The ledger that survives: a [`State`] and the store it can be restored from.
//!
//! # Invariants
//!
//! 1. A block is on disk before the state moves; if the store fails, the state does not move.
//! 2. An opened ledger holds a state that its tip commits to, under a signature.
//! 3. Reads show the block that was committed last, and wait for no commit.

use std::{collections::HashMap, ops::Deref, path::Path, sync::Arc};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::{
    BlockError, CheckedBlock, CommitError, OpenError, Snapshot, SnapshotTip, StaleBlock, State,
    StoreError, Wins,
    store::{self, Meta, Persisted, REWARD_INDEX, Store},
};
use crate::{
    address::Address,
    block::{Block, BlockHash, Header, Proofs},
    codec,
    commitment::Account,
    genesis::{Chain, GENESIS_BYTES_MAX, Genesis},
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

/// How to open a ledger's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Whether to read the whole file and check the checksum of every page. Without, opening is
    /// quick, but the database may panic on a file that something else has written to.
    pub check_pages: bool,
    /// Bytes of the file held in RAM.
    pub cache_bytes: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { check_pages: true, cache_bytes: 256 << 20 }
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
    /// [`Ledger::open_with`] the default options.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: &Path, chain: Option<Chain>) -> Result<Self, OpenError> {
        Self::open_with(path, chain, OpenOptions::default())
    }

    /// Opens the ledger in the file at `path`, or starts one from `chain`.
    ///
    /// Whatever the options, the accounts are checked against the tip and the tip's signature.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; without `chain` there must be a ledger, with it the ledger must be its.
    pub fn open_with(
        path: &Path,
        chain: Option<Chain>,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        if chain.is_none() && !path.exists() {
            return Err(OpenError::Missing);
        }
        Self::from_store(Store::file(path, options)?, chain)
    }

    /// Opens the ledger that `backend` holds, or starts one from `chain`.
    ///
    /// # Errors
    ///
    /// As [`Ledger::open`].
    pub fn with_backend(
        backend: impl StorageBackend,
        chain: Option<Chain>,
    ) -> Result<Self, OpenError> {
        Self::from_store(Store::with_backend(backend)?, chain)
    }

    /// Starts a ledger that is gone when it is dropped.
    ///
    /// # Panics
    ///
    /// If memory is exhausted.
    pub fn in_memory(chain: Chain) -> Self {
        Self::with_backend(InMemoryBackend::new(), Some(chain)).expect("memory does not fail")
    }

    fn from_store(store: Store, chain: Option<Chain>) -> Result<Self, OpenError> {
        let Some(meta) = store.meta()? else {
            let state = State::genesis(chain.ok_or(OpenError::Missing)?);
            store.start(&state)?;
            let archive = Archive { store: Arc::new(store) };
            return Ok(Self { state: Arc::new(state), archive, wins: Wins::default() });
        };
        let chain = match_chain(&meta, chain)?;
        let state = restore(&store, &meta, chain)?;
        let (got, expected) = (state.supply(), meta.supply);
        if got != expected {
            return Err(OpenError::Supply { got, expected });
        }
        let wins = store.wins()?;
        Ok(Self { state: Arc::new(state), archive: Archive { store: Arc::new(store) }, wins })
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

    /// Puts a block on disk, then moves the state.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; the state does not move then.
    pub fn commit(&mut self, block: &CheckedBlock) -> Result<(), CommitError> {
        self.state.check_fresh(block)?;
        let persisted = self.archive.persist(block)?;
        Ok(self.advance(block, persisted)?)
    }

    /// Moves the state by a block that is on disk.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if it is not the next one, or not the one that was persisted; the state does
    /// not move then.
    #[allow(clippy::needless_pass_by_value, reason = "it is of no use any more")]
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
        self.wins.count(block.winner());
        Arc::make_mut(&mut self.state).apply(block)
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

impl Archive {
    /// Puts a block on disk, durably; readers see it before [`Ledger::advance`] moves the state.
    ///
    /// # Errors
    ///
    /// [`CommitError`] if the block does not follow the last one on disk, or the store fails.
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
        let tip = state.height().map(|height| tip_of(&self.store, height)).transpose()?;
        let snapshot = Snapshot::new(tip, state.accounts());
        snapshot.map_err(|error| StoreError::corrupt(error.to_string()))
    }

    /// Height of the last block, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn height(&self) -> Result<Option<Height>, StoreError> {
        Ok(self.store.tip()?.map(|(height, _)| height))
    }

    /// Transactions on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn transaction_count(&self) -> Result<u64, StoreError> {
        self.store.transaction_count()
    }

    /// The bytes of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn block_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.block(height)
    }

    /// The block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        let decoded = self.store.with_block(height, codec::decode)?.transpose();
        decoded.map_err(|error| damaged(height, &error))
    }

    /// The header of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn header(&self, height: Height) -> Result<Option<Header>, StoreError> {
        let read = |bytes: &[u8]| codec::decode_first(bytes).map(|(header, _)| header);
        let decoded = self.store.with_block(height, read)?.transpose();
        decoded.map_err(|error| damaged(height, &error))
    }

    /// The height of the block with this hash.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn height_of(&self, hash: &BlockHash) -> Result<Option<Height>, StoreError> {
        self.store.height_of(hash)
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
        let Some(at) = self.store.locate(id)? else { return Ok(None) };
        Ok(Some(Located { place: at.place, transaction: self.read_transaction(&at)? }))
    }

    /// Reads a transaction from where an index says it is.
    fn read_transaction(&self, at: &store::Pointer) -> Result<Transaction, StoreError> {
        let read = |bytes: &[u8]| {
            let rest = bytes.get(usize::try_from(at.offset).ok()?..)?;
            codec::decode_first(rest).ok().map(|(transaction, _)| transaction)
        };
        let found = self.store.with_block(at.place.height, read)?.flatten();
        let Place { height, index } = at.place;
        let missing = || StoreError::corrupt(format!("block {height} has no transaction {index}"));
        found.ok_or_else(missing)
    }

    /// All that shows that the transaction with this id is on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    pub fn inclusion(&self, id: &TransactionId) -> Result<Option<Inclusion>, StoreError> {
        let Some(at) = self.store.locate(id)? else { return Ok(None) };
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
        let touches = self.store.history(address, before, max)?;
        touches.into_iter().map(|touch| self.event(&touch)).collect()
    }

    fn event(&self, touch: &store::Touch) -> Result<Event, StoreError> {
        let store::Touch { at, received } = *touch;
        let transaction = match at.place.index {
            REWARD_INDEX => None,
            _ => Some(self.read_transaction(&at)?),
        };
        Ok(Event { place: at.place, received, transaction })
    }
}

fn damaged(height: Height, error: &codec::DecodeError) -> StoreError {
    StoreError::corrupt(format!("block {height}: {error}"))
}

/// The chain on record, which must be the one wanted.
fn match_chain(meta: &Meta, wanted: Option<Chain>) -> Result<Chain, OpenError> {
    let genesis: Genesis = codec::decode_bounded(&meta.genesis, GENESIS_BYTES_MAX)
        .map_err(|error| StoreError::corrupt(format!("meta genesis: {error}")))?;
    let got = genesis.hash();
    match wanted {
        None => Ok(genesis.check()?),
        Some(chain) if chain.hash() == got => Ok(chain),
        Some(chain) => Err(OpenError::OtherChain { got, expected: chain.hash() }),
    }
}

fn restore(store: &Store, meta: &Meta, chain: Chain) -> Result<State, OpenError> {
    let accounts = store.accounts()?;
    let Some((height, hash)) = meta.tip else { return Ok(State::restore_first(chain, &accounts)?) };
    let SnapshotTip { header, proofs } = tip_of(store, height)?;
    if (header.height, header.hash()) != (height, hash) {
        let what = format!("block {height} has hash {}, the tip is {hash}", header.hash());
        return Err(StoreError::corrupt(what).into());
    }
    Ok(State::restore(chain, &header, &proofs, accounts)?)
}

/// Header and proofs of the block at `height`, which must be there.
fn tip_of(store: &Store, height: Height) -> Result<SnapshotTip, StoreError> {
    let read = |bytes: &[u8]| -> Result<SnapshotTip, codec::DecodeError> {
        let (header, rest) = codec::decode_first::<Header>(bytes)?;
        let (proofs, _) = codec::decode_first::<Proofs>(rest)?;
        Ok(SnapshotTip { header, proofs })
    };
    let missing = || StoreError::corrupt(format!("block {height}, the tip, is missing"));
    let found = store.with_block(height, read)?.ok_or_else(missing)?;
    found.map_err(|error| damaged(height, &error))
}

impl State {
    /// The state before the first block, if `accounts` are those of the genesis.
    pub(super) fn restore_first(
        chain: Chain,
        accounts: &HashMap<Address, Account>,
    ) -> Result<Self, super::RestoreError> {
        let state = Self::genesis(chain);
        let (got, expected) = (super::sum_of(accounts).digest(), state.commitment());
        if got != expected {
            return Err(super::RestoreError::State { got, expected });
        }
        Ok(state)
    }
}
