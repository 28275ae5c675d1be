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
    transaction::Encoded,
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
    pub transactions: List<Encoded, 0, BLOCK_TRANSACTIONS_MAX>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proof::{Fingerprint, Miner, Proof, ProofKind},
        testing::{METRONOME, STRANGER, address},
    };

    fn header() -> Header {
        Header {
            version: VERSION,
            chain: Digest([1; 32]),
            height: Height(2),
            epoch: 3,
            parent: Digest([4; 32]),
            time: Millis(5),
            challenge: Digest([6; 32]),
            targets: [Target(7); ENGINE_COUNT],
            transactions: 8,
            transactions_root: Digest([9; 32]),
            proofs_root: Digest([10; 32]),
            state: Digest([11; 32]),
            metronome: Address([12; 32]),
            signature: Signature([13; 256]),
        }
    }

    fn entry(kind: ProofKind) -> ProofEntry {
        let miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
        let shape = kind.entry().unwrap().shape;
        let count_len = if shape.item_len == 0 { 0 } else { 8 };
        ProofEntry { miner, proof: Proof { kind, bytes: vec![0; shape.fixed_len + count_len] } }
    }

    #[test]
    fn a_header_has_the_length_and_order_of_the_protocol() {
        let bytes = codec::encode(&header());
        assert_eq!(bytes.len(), 534);
        let at = |offset: usize| bytes[offset];
        let offsets = [0, 2, 34, 42, 50, 82, 90, 122, 146, 150, 182, 214, 246, 278];
        assert_eq!(offsets.map(at), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn the_hash_covers_all_but_the_signature() {
        let bytes = codec::encode(&header());
        let expected = header().hash();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            let changed: Header = codec::decode(&bytes).unwrap();
            assert_eq!(changed.hash() == expected, place >= 278, "byte {place}");
        }
    }

    #[test]
    fn a_metronome_signs_the_hash_and_names_its_key() {
        let signed = header().sign(&METRONOME);
        assert_eq!(signed.metronome, address(&METRONOME));
        let verify = |key: &SecretKey, header: &Header| {
            key.public().verify(header.hash().as_bytes(), &header.signature)
        };
        assert_eq!(verify(&METRONOME, &signed), Ok(()));
        assert!(verify(&STRANGER, &signed).is_err());
        let later = Header { time: Millis(6), ..signed };
        assert!(verify(&METRONOME, &later).is_err());
    }

    #[test]
    fn a_challenge_depends_on_its_place_and_the_winner() {
        let first = first_challenge(&Digest([1; 32]));
        let winner = entry(ProofKind::new(0));
        let other = ProofEntry {
            miner: Miner { address: Address([3; 32]), ..winner.miner },
            ..winner.clone()
        };
        let mut challenges = vec![
            first,
            first_challenge(&Digest([2; 32])),
            next_challenge(&first, Height(1), None),
            next_challenge(&first, Height(2), None),
            next_challenge(&first, Height(1), Some(&winner)),
            next_challenge(&first, Height(1), Some(&other)),
        ];
        challenges.sort_unstable();
        challenges.dedup();
        assert_eq!(challenges.len(), 6);
    }

    #[test]
    fn the_proofs_root_is_the_tree_over_entries() {
        assert_eq!(proofs_root(&[]), Digest::ZERO);
        let entries: Vec<_> = ProofKind::all().map(entry).collect();
        let leaf = |entry: &ProofEntry| merkle::leaf(&codec::encode(entry));
        assert_eq!(proofs_root(&entries[..1]), leaf(&entries[0]));
        let leaves: Vec<_> = entries.iter().map(leaf).collect();
        assert_eq!(proofs_root(&entries), merkle::root(&leaves));
    }

    #[test]
    fn a_block_of_too_many_proofs_does_not_decode() {
        let proofs = Proofs::new(ProofKind::all().map(entry).collect()).unwrap();
        let block = Block { header: header(), proofs, transactions: List::default() };
        let mut bytes = codec::encode(&block);
        assert_eq!(codec::decode(&bytes), Ok(block));
        bytes[534] = 4;
        let found = codec::decode::<Block>(&bytes).unwrap_err();
        assert_eq!(found.to_string(), "4 elements, expected 0 to 3");
    }
}
