//! The blocks that this process drafted last, so that the roles that share its chain need not work
//! them out again.
//!
//! # Invariants
//!
//! 1. A block is found by the hash of every byte of its encoding: another block has other bytes.
//! 2. A block that is found was made by the rules by which it would be checked, and its outcome
//!    depends on it and on the state before it alone; for that state its header names the parent.
//! 3. At most `DRAFTS_MAX` blocks are kept; the oldest is forgotten first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::CheckedBlock;

/// The block that is under way, and the one before, which others may still be about to follow.
const DRAFTS_MAX: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Drafts(Mutex<VecDeque<(blake3::Hash, Arc<CheckedBlock>)>>);

impl Drafts {
    /// Keeps a block with this encoding.
    pub(super) fn keep(&self, bytes: &[u8], block: Arc<CheckedBlock>) {
        let name = blake3::hash(bytes);
        let mut drafts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.push_back((name, block));
        let forgotten = if drafts.len() > DRAFTS_MAX { drafts.pop_front() } else { None };
        drop(drafts);
        drop(forgotten);
    }

    /// The block with this encoding.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Arc<CheckedBlock>> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return None;
        }
        let name = blake3::hash(bytes);
        let drafts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.iter().find(|(kept, _)| *kept == name).map(|(_, block)| block.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{BlockError, State},
        role::ReplicaError,
        testing::{ALICE, BOB, METRONOME, address, chain, next_block, pay, unchecked},
        units::Height,
    };

    /// A state, a block that comes after it and its encoding.
    fn drafted() -> (State, Arc<CheckedBlock>, Vec<u8>) {
        let state = State::genesis(chain());
        let block = next_block(&state, vec![], vec![pay(&ALICE, 0, address(&BOB), 1)]);
        let bytes = block.to_bytes();
        (state, Arc::new(block), bytes)
    }

    fn check(state: &State, bytes: &[u8]) -> Result<Arc<CheckedBlock>, ReplicaError> {
        state.check_bytes(bytes)
    }

    #[test]
    fn what_was_drafted_here_is_found_by_all_who_share_the_chain() {
        let (state, block, bytes) = drafted();
        assert!(!Arc::ptr_eq(&check(&state, &bytes).unwrap(), &block));
        state.remember(&bytes, block.clone());
        let other = State::genesis(state.chain().clone());
        assert!(Arc::ptr_eq(&check(&other, &bytes).unwrap(), &block));
        let stranger = State::genesis(chain());
        let worked_out = check(&stranger, &bytes).unwrap();
        assert!(!Arc::ptr_eq(&worked_out, &block));
        assert_eq!(worked_out.changes(), block.changes());
        assert_eq!(worked_out.supply(), block.supply());
    }

    #[test]
    fn no_other_bytes_and_no_other_state_take_it() {
        let (mut state, block, bytes) = drafted();
        state.remember(&bytes, block.clone());
        for at in (0..bytes.len()).step_by(9) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(check(&state, &changed).is_err(), "byte {at}");
        }
        state.apply(&block).unwrap();
        let error = check(&state, &bytes).unwrap_err();
        let expected = BlockError::Height { got: Height(0), expected: Height(1) };
        assert_eq!(error, ReplicaError::Block(expected));
    }

    /// The header and the proofs of what is found are checked again.
    #[test]
    fn a_header_that_is_wrong_is_refused_even_if_it_is_remembered() {
        let (state, block, _) = drafted();
        let mut forged = (*block).clone();
        forged.header.signature.0[9] ^= 1;
        let bytes = forged.to_bytes();
        state.remember(&bytes, Arc::new(forged));
        let error = check(&state, &bytes).unwrap_err();
        assert!(matches!(error, ReplicaError::Block(BlockError::Signature(_))), "{error:?}");
        let mut late = unchecked(&block);
        late.header.parent = crate::hash::Digest::ZERO;
        late.header = late.header.sign(&METRONOME);
        let late = CheckedBlock { header: late.header, ..(*block).clone() };
        let bytes = late.to_bytes();
        state.remember(&bytes, Arc::new(late));
        let error = check(&state, &bytes).unwrap_err();
        assert!(matches!(error, ReplicaError::Block(BlockError::Parent { .. })), "{error:?}");
    }

    /// What follows such a header is no block: whoever read it would say so.
    #[test]
    fn a_header_that_no_metronome_signed_costs_no_body() {
        let (state, block, _) = drafted();
        let mut header = block.header.clone();
        header.signature.0[9] ^= 1;
        let bytes = [crate::codec::encode(&header), vec![255; 64]].concat();
        let error = check(&state, &bytes).unwrap_err();
        assert!(matches!(error, ReplicaError::Block(BlockError::Signature(_))), "{error:?}");
    }

    #[test]
    fn only_the_last_are_kept() {
        let (_, block, _) = drafted();
        let drafts = Drafts::default();
        assert!(drafts.find(b"0").is_none());
        for name in 0..5_u8 {
            drafts.keep(&[name], block.clone());
        }
        let kept: Vec<_> = (0..5_u8).filter(|name| drafts.find(&[*name]).is_some()).collect();
        assert_eq!(kept, [3, 4]);
        assert_eq!(Arc::strong_count(&block), 1 + DRAFTS_MAX);
    }
}
