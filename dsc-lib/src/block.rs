//! Blocks and their headers as they travel.
//!
//! # Invariants
//!
//! 1. Every byte of a block is covered: the header by the metronome's signature, the body by the
//!    two roots in the header.
//! 2. Nothing here has been checked; [`crate::ledger::State::check`] does that.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    codec::{self, List},
    genesis::BLOCK_TRANSACTIONS_MAX,
    hash::{Context, Digest, derive},
    keys::{SecretKey, Signature},
    merkle,
    proof::{ENGINE_COUNT, ProofEntry},
    transaction::Transaction,
    units::{Height, Millis, Target},
};

/// The only version there is.
pub const VERSION: u16 = 1;
const SIGNATURE_BYTES: usize = 256;

/// The name of a block: what its metronome signs.
pub type BlockHash = Digest;
/// At most one proof per engine, in the order of engines.
pub type Proofs = List<ProofEntry, 0, ENGINE_COUNT>;

/// What a metronome signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u16,
    /// Genesis hash.
    pub chain: Digest,
    /// Distance from the first block.
    pub height: Height,
    /// The metronome's lease number; 0 when it is alone.
    pub epoch: u64,
    /// Hash of the block before; of the genesis for the first one.
    pub parent: BlockHash,
    /// Milliseconds since the Unix epoch.
    pub time: Millis,
    /// What the proofs answer.
    pub challenge: Digest,
    /// What the proofs must meet, one per engine.
    pub targets: [Target; ENGINE_COUNT],
    /// Number of transactions.
    pub transactions: u32,
    /// Root of the tree over whole transactions.
    pub transactions_root: Digest,
    /// Root of the tree over proof entries.
    pub proofs_root: Digest,
    /// State commitment after this block.
    pub state: Digest,
    /// Address of the metronome's key.
    pub metronome: Address,
    /// The metronome's signature of the block hash.
    pub signature: Signature,
}

impl Header {
    /// The block hash.
    pub fn hash(&self) -> BlockHash {
        let bytes = codec::encode(self);
        let unsigned = bytes.get(..bytes.len().saturating_sub(SIGNATURE_BYTES)).unwrap_or_default();
        derive(Context::Block, &[unsigned])
    }

    /// Signs as the metronome that holds `key`.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> Self {
        let unsigned = Self { metronome: key.public().address(), ..self };
        let hash = unsigned.hash();
        Self { signature: key.sign(hash.as_bytes()), ..unsigned }
    }
}

/// A block as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Block {
    /// The signed header.
    pub header: Header,
    /// At most one proof per engine, in the order of engines.
    pub proofs: Proofs,
    /// Transactions in the order they are applied.
    pub transactions: List<Transaction, 0, BLOCK_TRANSACTIONS_MAX>,
}

/// Returns the root of the tree over proof entries.
pub fn proofs_root(proofs: &[ProofEntry]) -> Digest {
    let leaves: Vec<_> = proofs.iter().map(|entry| merkle::leaf(&codec::encode(entry))).collect();
    merkle::root(&leaves)
}

/// Returns the challenge of the first block on the chain with this genesis hash.
pub fn first_challenge(chain: &Digest) -> Digest {
    chain_challenge(&Digest::ZERO, Height(0), chain.as_bytes())
}

/// Returns the challenge at `height` from the one before and the entry that won the block before.
///
/// No transaction and no time enters, so it cannot be ground by reordering transactions.
pub fn next_challenge(previous: &Digest, height: Height, winner: Option<&ProofEntry>) -> Digest {
    let entry = winner.map(codec::encode).unwrap_or_default();
    chain_challenge(previous, height, &entry)
}

fn chain_challenge(previous: &Digest, height: Height, entry: &[u8]) -> Digest {
    derive(Context::Challenge, &[previous.as_bytes(), &height.0.to_le_bytes(), entry])
}
