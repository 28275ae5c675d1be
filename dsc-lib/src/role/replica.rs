//! A copy of the ledger's state that follows a blockchain server without trusting it.
//!
//! # Invariants
//!
//! 1. The state moves only by checked blocks or by a snapshot that its signed tip commits to.
//! 2. Whatever the server answers, the state stays one that the chain's rules allow.

use thiserror::Error;

use super::{Answer, Call};
use crate::{
    block::Block,
    codec::{self, DecodeError},
    genesis::Chain,
    ledger::{BlockError, CheckedBlock, RestoreError, Snapshot, StaleBlock, State},
    units::{Height, Millis},
};

/// The state as far as it has been followed.
#[derive(Clone, Debug)]
pub struct Replica {
    state: State,
    fresh: bool,
}

/// An answer of the blockchain server that no honest one gives.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The bytes are no block or snapshot.
    #[error("the blockchain server sent what is not canonical: {0}")]
    Decode(#[from] DecodeError),
    /// A block breaks a rule.
    #[error("the blockchain server sent a block that breaks a rule: {0}")]
    Block(#[from] BlockError),
    /// The snapshot is not the state its tip commits to.
    #[error("the blockchain server sent a wrong snapshot: {0}")]
    Snapshot(#[from] RestoreError),
    /// The block does not follow the state.
    #[error(transparent)]
    Stale(#[from] StaleBlock),
    /// The answer is to another question.
    #[error("the blockchain server answered another question")]
    OtherAnswer,
}

impl Replica {
    /// A replica that knows the genesis only.
    pub fn new(chain: Chain) -> Self {
        Self { state: State::genesis(chain), fresh: true }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it has heard nothing from a blockchain server yet.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The call that brings the replica forward: a snapshot at first, then blocks.
    pub fn call(&self, wait: Millis) -> Call {
        if self.fresh {
            return Call::Snapshot;
        }
        Call::Blocks { from: self.next_height(), wait }
    }

    /// The height of the block that comes next.
    pub fn next_height(&self) -> Height {
        self.state.round().height
    }

    /// Takes the answer to [`Replica::call`]; returns the blocks that were applied.
    ///
    /// # Errors
    ///
    /// [`ReplicaError`] for anything an honest server does not send; blocks before it are applied.
    pub fn absorb(&mut self, answer: Answer) -> Result<Vec<CheckedBlock>, ReplicaError> {
        match answer {
            Answer::Snapshot(bytes) => self.restore(&bytes).map(|()| Vec::new()),
            Answer::Blocks(blocks) => {
                blocks.iter().filter_map(|b| self.extend(b).transpose()).collect()
            }
            _ => Err(ReplicaError::OtherAnswer),
        }
    }

    /// Applies a block this role has made and the ledger has accepted.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if the state has moved on meanwhile.
    pub fn apply(&mut self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        self.state.apply(block)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        let snapshot: Snapshot = codec::decode(bytes)?;
        let state = State::from_snapshot(self.state.chain().clone(), snapshot)?;
        if state.round().height >= self.next_height() {
            self.state = state;
        }
        self.fresh = false;
        Ok(())
    }

    /// Applies one block; one that is applied already, as a doubled answer brings, is passed over.
    fn extend(&mut self, bytes: &[u8]) -> Result<Option<CheckedBlock>, ReplicaError> {
        let block: Block = codec::decode(bytes)?;
        if block.header.height < self.next_height() {
            return Ok(None);
        }
        let checked = self.state.check(block)?;
        self.state.apply(&checked)?;
        Ok(Some(checked))
    }
}
