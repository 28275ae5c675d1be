//! Making the next block, by the rules that check it.

use std::sync::Arc;

use super::{
    BlockError, CheckedBlock, Round, State,
    checked::fixed_bytes,
    execute::Execution,
    rules::{check_proofs, next_round},
};
use crate::{
    address::Address,
    block::{self, Header, Proofs},
    hash::Digest,
    keys::{SecretKey, Signature},
    merkle,
    proof::{ENGINE_COUNT, ProofEntry},
    transaction::{CheckedTransaction, TransactionError, TransactionId},
    units::Millis,
};

/// What a metronome puts into a block.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// At most one valid proof per engine, in any order.
    pub proofs: Vec<ProofEntry>,
    /// Candidates in the order to try them.
    pub transactions: Vec<Arc<CheckedTransaction>>,
    /// The clock's time; moved up if it is not after the parent's.
    pub time: Millis,
    /// The metronome's lease number.
    pub epoch: u64,
}

/// A transaction left out of a draft, and why.
pub type LeftOut = (TransactionId, TransactionError);

impl State {
    /// Makes and signs the next block from the proposal's valid parts.
    ///
    /// Transactions that break a rule here are left out and named; those beyond the chain's
    /// limits on size are left out and not named, as they may come later.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if a proof is not valid, though the metronome verified them when they came,
    /// or if genesis does not authorise `key`.
    pub fn draft(
        &self,
        proposal: Proposal,
        key: &SecretKey,
    ) -> Result<(CheckedBlock, Vec<LeftOut>), BlockError> {
        self.check_authorised(key)?;
        self.check_epoch(proposal.epoch)?;
        let proofs = in_order(proposal.proofs)?;
        let proven = check_proofs(&self.chain, &self.round, &proofs)?;
        let mut execution = Execution::new(self);
        let (transactions, left_out) = self.select(&mut execution, proposal.transactions, &proofs);
        let mut header = self.blank_header(proposal.time, proposal.epoch);
        header.transactions = u32::try_from(transactions.len()).unwrap_or(u32::MAX);
        header.transactions_root = root_of(&transactions);
        header.proofs_root = block::proofs_root(&proofs);
        let mut checked = self.settle(execution, header, proofs, transactions, &proven);
        checked.header.state = checked.commitment.digest();
        checked.header = checked.header.sign(key);
        checked.hash = checked.header.hash();
        Ok((checked, left_out))
    }

    /// What the block after the next one answers, if the next one has these proofs, in any order.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if a proof is not valid for the next block.
    pub fn round_after(&self, proofs: Vec<ProofEntry>) -> Result<Round, BlockError> {
        let proofs = in_order(proofs)?;
        let proven = check_proofs(&self.chain, &self.round, &proofs)?;
        Ok(next_round(&self.chain, &self.round, &proofs, &proven))
    }

    fn check_authorised(&self, key: &SecretKey) -> Result<(), BlockError> {
        let got = key.public().address();
        self.chain.metronome(&got).map(|_| ()).ok_or(BlockError::UnknownMetronome { got })
    }

    fn select(
        &self,
        execution: &mut Execution<'_>,
        candidates: Vec<Arc<CheckedTransaction>>,
        proofs: &Proofs,
    ) -> (Vec<Arc<CheckedTransaction>>, Vec<LeftOut>) {
        let limits = self.chain.genesis().limits;
        let mut room = limits.block_bytes.saturating_sub(fixed_bytes(proofs));
        let (mut taken, mut left_out) = (Vec::new(), Vec::new());
        for transaction in candidates {
            let len = transaction.bytes().len() as u64;
            if len > room || taken.len() as u64 >= u64::from(limits.block_transactions) {
                break;
            }
            match execution.apply(&transaction) {
                Ok(()) => {
                    room = room.saturating_sub(len);
                    taken.push(transaction);
                }
                Err(error) => left_out.push((transaction.id(), error)),
            }
        }
        (taken, left_out)
    }

    fn blank_header(&self, time: Millis, epoch: u64) -> Header {
        let Round { height, challenge, targets } = self.round;
        Header {
            version: block::VERSION,
            chain: self.chain.hash(),
            height,
            epoch,
            parent: self.tip.hash,
            time: time.max(self.tip.time.plus(Millis(1))),
            challenge,
            targets,
            transactions: 0,
            transactions_root: Digest::ZERO,
            proofs_root: Digest::ZERO,
            state: Digest::ZERO,
            metronome: Address([0; 32]),
            signature: Signature([0; 256]),
        }
    }
}

fn root_of(transactions: &[Arc<CheckedTransaction>]) -> Digest {
    let leaves: Vec<_> = transactions.iter().map(|transaction| transaction.leaf()).collect();
    merkle::root(&leaves)
}

/// Proofs as they stand in a block.
fn in_order(mut proofs: Vec<ProofEntry>) -> Result<Proofs, BlockError> {
    proofs.sort_by_key(|entry| entry.proof.kind);
    Proofs::new(proofs).map_err(|_| BlockError::ProofOrder { index: ENGINE_COUNT })
}
