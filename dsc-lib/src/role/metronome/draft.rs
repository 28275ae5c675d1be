//! Making a block: checked, drafted, signed and kept, away from the role.

use std::sync::Arc;

use thiserror::Error;

use super::signed::{LastSigned, SignedBlock, SignedError};
use crate::{
    genesis::Chain,
    keys::SecretKey,
    ledger::{BlockError, CheckedBlock, LeftOut, Proposal, State},
    proof::ProofEntry,
    transaction::{CheckedTransaction, Encoded},
    units::Millis,
};

/// All that a block is made from.
#[derive(Debug)]
pub(in crate::role) struct Drafting {
    pub(super) state: Arc<State>,
    pub(super) key: Arc<SecretKey>,
    pub(super) signed: Arc<LastSigned>,
    pub(super) transactions: Vec<Encoded>,
    pub(super) proofs: Vec<ProofEntry>,
    pub(super) time: Millis,
    pub(super) epoch: u64,
}

/// A block that may leave the metronome.
#[derive(Debug)]
pub(in crate::role) struct Draft {
    pub(super) block: Arc<CheckedBlock>,
    pub(super) kept: SignedBlock,
    pub(super) left_out: Vec<LeftOut>,
}

/// Why there is no block.
#[derive(Debug, Error)]
pub(in crate::role) enum DraftError {
    #[error("no block can be made: {0}")]
    Block(#[from] BlockError),
    #[error(transparent)]
    Signed(#[from] SignedError),
}

impl Drafting {
    pub(in crate::role) fn run(self) -> Result<Draft, DraftError> {
        let Self { state, key, signed, transactions, proofs, time, epoch } = self;
        signed.allows(state.round().height)?;
        let transactions = check_all(state.chain(), transactions);
        let proposal = Proposal { proofs, transactions, time, epoch };
        let (block, left_out) = state.draft(proposal, &key)?;
        let bytes = Arc::new(block.to_bytes());
        let (height, parent) = (block.header().height, block.header().parent);
        let kept = SignedBlock { height, hash: block.hash(), parent, bytes };
        signed.keep(kept.clone())?;
        let block = Arc::new(block);
        state.remember(&kept.bytes, block.clone());
        Ok(Draft { block, kept, left_out })
    }
}

/// Checks the pool's transactions in parallel; those that break a rule are dropped.
fn check_all(chain: &Chain, transactions: Vec<Encoded>) -> Vec<Arc<CheckedTransaction>> {
    chain.checker().check_all(transactions).into_iter().filter_map(Result::ok).collect()
}
