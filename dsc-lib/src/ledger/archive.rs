//! The blocks on disk, and where things are in them.

use std::sync::Arc;

use super::{
    CheckedBlock, CommitError, Snapshot, State, StoreError,
    index::{Maintained, REWARD_INDEX, Touch, View},
    store::{self, Persisted, Store},
};
use crate::{
    address::Address,
    block::{Block, BlockHash, Header},
    codec,
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

/// The blocks on disk, and where things are in them.
///
/// A clone reads while the ledger it is from checks and commits: whoever keeps that behind a lock
/// needs it for no question that an archive answers, however long the answer takes.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) store: Arc<Store>,
}

impl Archive {
    /// Puts a block on disk, after the last one that was, and returns when it is there.
    ///
    /// The ledger does not have it before [`Ledger::advance`]. This needs the ledger itself for
    /// nothing, so that others can ask it meanwhile. The same block again gives the same.
    ///
    /// [`Ledger::advance`]: super::Ledger::advance
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

    /// The last block that is not here, if the ledger was started from a snapshot
    /// ([`Ledger::start_from`]): neither it nor any before it can be had, nor what is in them. Of
    /// this one there is the header alone.
    ///
    /// [`Ledger::start_from`]: super::Ledger::start_from
    pub fn base(&self) -> Option<Height> {
        self.store.base().map(|base| base.header.height)
    }

    /// Height of the last block, if there is one.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn height(&self) -> Result<Option<Height>, StoreError> {
        Ok(self.store.index.view().tip().map(|tip| tip.height))
    }

    /// Transactions on the ledger, those in blocks that are not here among them.
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
