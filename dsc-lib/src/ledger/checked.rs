//! A block that was found valid, with what it changes.

use std::sync::Arc;

use super::{Change, Round, Tip};
use crate::{
    block::{BlockHash, Header, Proofs},
    codec,
    commitment::Commitment,
    proof::{ENGINE_COUNT, ProofEntry},
    transaction::CheckedTransaction,
    units::Amount,
};

/// A block that keeps every rule at one state, with what it changes there.
#[derive(Clone, Debug)]
pub struct CheckedBlock {
    pub(super) header: Header,
    pub(super) hash: BlockHash,
    pub(super) proofs: Proofs,
    pub(super) transactions: Vec<Arc<CheckedTransaction>>,
    pub(super) winner: Option<usize>,
    pub(super) income: Amount,
    pub(super) changes: Vec<Change>,
    pub(super) commitment: Commitment,
    pub(super) supply: Amount,
    pub(super) next: Round,
}

impl CheckedBlock {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block hash.
    pub fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The proofs, in the order of engines.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// The transactions, in the order they are applied.
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] {
        &self.transactions
    }

    /// The proof that won, if there is any.
    pub fn winner(&self) -> Option<&ProofEntry> {
        self.proofs.get(self.winner?)
    }

    /// Reward and fees: what the winner was credited, if there is one.
    pub fn income(&self) -> Amount {
        self.income
    }

    /// The changed accounts in order of address.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Coins in being after this block.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// What the block after this one answers.
    pub fn next(&self) -> &Round {
        &self.next
    }

    /// What the block after this one extends.
    pub fn tip(&self) -> Tip {
        Tip { hash: self.hash, time: self.header.time, epoch: self.header.epoch }
    }

    /// The canonical encoding of the block.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend(codec::encode(&self.header));
        bytes.extend(codec::encode(&self.proofs));
        bytes.extend((self.transactions.len() as u64).to_le_bytes());
        self.transactions.iter().for_each(|t| bytes.extend_from_slice(t.bytes()));
        bytes
    }

    /// Bytes of the canonical encoding.
    pub(crate) fn encoded_len(&self) -> usize {
        let transactions: usize = self.transactions.iter().map(|t| t.bytes().len()).sum();
        usize::try_from(fixed_bytes(&self.proofs)).unwrap_or(0).saturating_add(transactions)
    }
}

/// Bytes of a block's encoding without its transactions.
pub(super) fn fixed_bytes(proofs: &Proofs) -> u64 {
    const HEADER_BYTES: u64 =
        2 + 32 + 8 + 8 + 32 + 8 + 32 + 8 * ENGINE_COUNT as u64 + 4 + 4 * 32 + 256;
    HEADER_BYTES.saturating_add(codec::encode(proofs).len() as u64).saturating_add(8)
}
