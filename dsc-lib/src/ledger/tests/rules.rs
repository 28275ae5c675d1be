//! Every rule of a block, broken one at a time in a block that is otherwise valid.

use super::*;
use crate::{
    block::proofs_root,
    codec::List,
    keys::SignatureError,
    proof::{Proof, ProofKind},
    retarget::TargetLimits,
    testing::{STRANGER, coins, draft, proposal},
    transaction::{Draft, Encoded, Payment, Payments},
};

/// A state after one block of epoch 1, and the valid block that follows.
fn second_block() -> (State, Block) {
    let mut state = State::genesis(chain());
    let first = Proposal { epoch: 1, ..proposal(&state, vec![], vec![]) };
    let (first, _) = state.draft(first, &METRONOME).unwrap();
    state.apply(&first).unwrap();
    let block = next_block(&state, vec![], vec![pay(&ALICE, 0, 1), pay(&BOB, 0, 1)]);
    let block = unchecked(&block);
    assert!(state.check(block.clone()).is_ok());
    (state, block)
}

/// What is wrong with the block after `change` to it and signing it again.
fn broken(change: impl FnOnce(&mut Block)) -> BlockError {
    let (state, mut block) = second_block();
    change(&mut block);
    block.header = block.header.sign(&METRONOME);
    state.check(block).unwrap_err()
}

#[test]
fn a_header_of_another_version_chain_or_place_is_refused() {
    let found = broken(|block| block.header.version = 2);
    assert_eq!(found, BlockError::Version { got: 2 });
    let found = broken(|block| block.header.chain = Digest::ZERO);
    assert_eq!(found, BlockError::Chain { got: Digest::ZERO, expected: chain().hash() });
    let found = broken(|block| block.header.height = Height(2));
    assert_eq!(found, BlockError::Height { got: Height(2), expected: Height(1) });
    let expected = second_block().0.tip().hash;
    let found = broken(|block| block.header.parent = Digest::ZERO);
    assert_eq!(found, BlockError::Parent { got: Digest::ZERO, expected });
}

#[test]
fn a_header_not_after_its_parent_is_refused() {
    let parent = second_block().0.tip().time;
    let found = broken(|block| block.header.time = parent);
    assert_eq!(found, BlockError::Time { got: parent, parent });
    let found = broken(|block| block.header.epoch = 0);
    assert_eq!(found, BlockError::Epoch { got: 0, parent: 1 });
}

/// Else one block of any metronome could leave no later lease to the others.
#[test]
fn an_epoch_too_far_above_the_parents_is_refused() {
    let (state, block) = second_block();
    let max = 1 + EPOCH_STEP_MAX;
    for (got, refused) in [(max, false), (max + 1, true), (u64::MAX, true)] {
        let mut block = block.clone();
        block.header.epoch = got;
        block.header = block.header.sign(&METRONOME);
        let expected = refused.then_some(BlockError::EpochAhead { got, max });
        assert_eq!(state.check(block).err(), expected, "{got}");
        let proposal = Proposal { epoch: got, ..proposal(&state, vec![], vec![]) };
        assert_eq!(state.draft(proposal, &METRONOME).err(), expected, "{got}");
    }
    let first = State::genesis(chain());
    let far = Proposal { epoch: max, ..proposal(&first, vec![], vec![]) };
    let found = first.draft(far, &METRONOME).unwrap_err();
    assert_eq!(found, BlockError::EpochAhead { got: max, max: EPOCH_STEP_MAX });
}

#[test]
fn the_first_block_must_be_after_the_genesis() {
    let state = State::genesis(chain());
    let mut block = unchecked(&empty(&state));
    block.header.time = chain().genesis().time;
    block.header = block.header.sign(&METRONOME);
    assert!(matches!(state.check(block), Err(BlockError::Time { .. })));
}

#[test]
fn another_challenge_or_target_is_refused() {
    let round = *second_block().0.round();
    let found = broken(|block| block.header.challenge = Digest::ZERO);
    assert_eq!(found, BlockError::Challenge { got: Digest::ZERO, expected: round.challenge });
    let got = [Target(7); ENGINE_COUNT];
    let found = broken(|block| block.header.targets = got);
    assert_eq!(found, BlockError::Targets { got, expected: round.targets });
}

#[test]
fn only_an_authorised_metronome_signs() {
    let (state, block) = second_block();
    let signed = Block { header: block.header.clone().sign(&STRANGER), ..block.clone() };
    let got = address(&STRANGER);
    assert_eq!(state.check(signed).unwrap_err(), BlockError::UnknownMetronome { got });
    let found = state.draft(proposal(&state, vec![], vec![]), &STRANGER).unwrap_err();
    assert_eq!(found, BlockError::UnknownMetronome { got });
    let mut forged = block;
    forged.header.time = forged.header.time.plus(Millis(1));
    let found = state.check(forged).unwrap_err();
    assert_eq!(found, BlockError::Signature(SignatureError::Mismatch));
}

/// A state, and what its miners answer.
fn proven() -> (State, Vec<ProofEntry>) {
    let state = State::genesis(chain());
    let proofs = Miners::new(&chain()).mine(&state);
    assert_eq!(proofs.len(), ENGINE_COUNT);
    (state, proofs)
}

/// What is wrong with a block that carries `proofs`.
fn wrong_proofs(state: &State, proofs: Vec<ProofEntry>) -> BlockError {
    let mut block = unchecked(&empty(state));
    block.header.proofs_root = proofs_root(&proofs);
    block.proofs = Proofs::new(proofs).unwrap();
    block.header = block.header.sign(&METRONOME);
    state.check(block).unwrap_err()
}

#[test]
fn two_proofs_of_one_engine_are_refused() {
    let (state, proofs) = proven();
    let twice = [&proofs[..1], &proofs[..1]].concat();
    let found = state.draft(proposal(&state, twice, vec![]), &METRONOME).unwrap_err();
    assert!(matches!(found, BlockError::ProofOrder { .. }), "{found:?}");
}

#[test]
fn proofs_out_of_order_are_refused() {
    let (state, mut proofs) = proven();
    proofs.reverse();
    assert_eq!(wrong_proofs(&state, proofs), BlockError::ProofOrder { index: 1 });
}

#[test]
fn more_proofs_than_engines_are_refused() {
    let (state, mut proofs) = proven();
    proofs.extend(proofs.first().cloned());
    let found = state.draft(proposal(&state, proofs, vec![]), &METRONOME).unwrap_err();
    assert_eq!(found, BlockError::ProofOrder { index: ENGINE_COUNT });
}

#[test]
fn a_proof_of_an_unknown_engine_is_refused() {
    let (state, proofs) = proven();
    let kind = ProofKind::new(9);
    let unknown = ProofEntry { proof: Proof { kind, bytes: vec![] }, ..proofs[0].clone() };
    let found = wrong_proofs(&state, vec![unknown]);
    assert_eq!(found, BlockError::ProofKind { index: 0, kind });
}

#[test]
fn a_proof_that_does_not_verify_is_refused() {
    let (state, proofs) = proven();
    for entry in proofs {
        let kind = entry.proof.kind;
        let proof = Proof { kind, bytes: vec![] };
        let found = wrong_proofs(&state, vec![ProofEntry { proof, ..entry }]);
        let expected = matches!(found, BlockError::Proof { kind: got, .. } if got == kind);
        assert!(expected, "{found:?}");
    }
}

#[test]
fn a_proof_that_misses_its_target_is_refused() {
    let hard = chain_with(|genesis| {
        let mut engines = genesis.engines.to_vec();
        for engine in &mut engines {
            engine.target = Target(1);
            engine.limits = TargetLimits { min: Target(1), max: Target(1) };
        }
        genesis.engines = List::new(engines).unwrap();
    });
    let state = State::genesis(hard.clone());
    let challenge = state.round().challenge;
    let proofs = Miners::new(&hard).solve(challenge, &[Target::MAX; ENGINE_COUNT]);
    for entry in proofs {
        let engine = hard.engine(entry.proof.kind).unwrap();
        let quality = engine.verify(&Challenge(challenge), &entry.miner, &entry.proof).unwrap();
        let expected =
            BlockError::TargetMissed { kind: entry.proof.kind, quality, target: Target(1) };
        assert_eq!(wrong_proofs(&state, vec![entry]), expected);
    }
}

#[test]
fn other_proofs_than_the_header_names_are_refused() {
    let got = proofs_root(&[]);
    let found = broken(|block| block.header.proofs_root = Digest([1; 32]));
    assert_eq!(found, BlockError::ProofsRoot { got, expected: Digest([1; 32]) });
}

#[test]
fn other_transactions_than_the_header_names_are_refused() {
    let found = broken(|block| block.header.transactions = 3);
    assert_eq!(found, BlockError::TransactionCount { got: 2, expected: 3 });
    let found = broken(|block| block.header.transactions_root = Digest::ZERO);
    let expected = matches!(found, BlockError::TransactionsRoot { expected: Digest::ZERO, .. });
    assert!(expected, "{found:?}");
}

#[test]
fn more_transactions_than_the_chain_allows_are_refused() {
    let open = State::genesis(chain());
    let narrow = chain_with(|genesis| genesis.limits.block_transactions = 1);
    let block = unchecked(&next_block(&open, vec![], vec![pay(&ALICE, 0, 1), pay(&ALICE, 1, 1)]));
    let state = State::genesis(narrow);
    let mut header = unchecked(&empty(&state)).header;
    header.transactions = 2;
    let header = header.sign(&METRONOME);
    let found = state.check(Block { header, ..block }).unwrap_err();
    assert_eq!(found, BlockError::TooManyTransactions { got: 2, max: 1 });
}

/// The most payments a transaction can have.
fn large(sequence: u64, chain: &Digest) -> Transaction {
    let payment = Payment { to: address(&BOB), amount: coins(1) };
    let payments = Payments::new(vec![payment; 256]).unwrap();
    let draft = Draft { payments, ..draft(sequence, address(&BOB), coins(1), coins(1)) };
    draft.sign(chain, &ALICE)
}

#[test]
fn more_bytes_than_the_chain_allows_are_refused_and_never_drafted() {
    let narrow = chain_with(|genesis| genesis.limits.block_bytes = 1 << 16);
    let state = State::genesis(narrow.clone());
    let transactions: Vec<_> = (0..7).map(|sequence| large(sequence, &narrow.hash())).collect();
    let candidates = proposal(&state, vec![], transactions.clone());
    let (block, left_out) = state.draft(candidates, &METRONOME).unwrap();
    let bytes = block.to_bytes();
    assert_eq!((block.transactions().len(), left_out.len()), (6, 0));
    assert!(bytes.len() <= 1 << 16);

    let mut oversized = unchecked(&block);
    oversized.header.transactions = 7;
    let encoded = transactions.iter().map(Encoded::from).collect();
    oversized.transactions = List::new(encoded).unwrap();
    oversized.header = oversized.header.sign(&METRONOME);
    let got = codec::encode(&oversized).len() as u64;
    let found = state.check(oversized).unwrap_err();
    assert_eq!(found, BlockError::TooLarge { got, max: 1 << 16 });
}

#[test]
fn a_block_of_exactly_the_allowed_size_is_accepted() {
    let open = State::genesis(chain());
    let transactions = (0..7).map(|sequence| large(sequence, &chain().hash())).collect();
    let size = next_block(&open, vec![], transactions).to_bytes().len() as u64;
    for (limit, count) in [(size, 7), (size - 1, 6)] {
        let chain = chain_with(|genesis| genesis.limits.block_bytes = limit);
        let state = State::genesis(chain.clone());
        let transactions = (0..7).map(|sequence| large(sequence, &chain.hash())).collect();
        let proposal = proposal(&state, vec![], transactions);
        let (block, _) = state.draft(proposal, &METRONOME).unwrap();
        assert_eq!(block.transactions().len(), count);
        assert!(state.check(unchecked(&block)).is_ok());
    }
}

/// What is wrong with the transaction at `index` of a block of `transactions`.
fn wrong_transaction(index: usize, transactions: &[Transaction]) -> TransactionError {
    let (state, mut block) = second_block();
    block.header.transactions = u32::try_from(transactions.len()).unwrap();
    let encoded: Vec<_> = transactions.iter().map(codec::encode).collect();
    block.header.transactions_root = merkle::root(&merkle::leaves(&encoded, Vec::as_slice));
    let id = transactions[index].id(&chain().hash());
    let transactions = transactions.iter().map(Encoded::from).collect();
    block.transactions = List::new(transactions).unwrap();
    block.header = block.header.sign(&METRONOME);
    match state.check(block).unwrap_err() {
        BlockError::Transaction { index: got, id: named, error } => {
            assert_eq!((got, named), (index, id));
            error
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transaction_that_breaks_a_rule_is_named() {
    let mut forged = pay(&ALICE, 1, 1);
    forged.fee = coins(2);
    let found = wrong_transaction(1, &[pay(&ALICE, 0, 1), forged]);
    assert_eq!(found, TransactionError::Signature(SignatureError::Mismatch));
    let found = wrong_transaction(1, &[pay(&ALICE, 0, 1), pay(&ALICE, 2, 1)]);
    assert_eq!(found, TransactionError::Sequence { got: 2, expected: 1 });
    let found = wrong_transaction(1, &[pay(&ALICE, 0, 1), pay(&ALICE, 0, 1)]);
    assert_eq!(found, TransactionError::Sequence { got: 0, expected: 1 });
    let found = wrong_transaction(0, &[pay(&ALICE, 0, 200_000)]);
    let (needed, balance) = (coins(200_001), coins(200_000));
    assert_eq!(found, TransactionError::InsufficientFunds { needed, balance });
    let late = draft(0, address(&BOB), coins(1), coins(1));
    let late = Draft { expires: Height(0), ..late }.sign(&chain().hash(), &ALICE);
    let found = wrong_transaction(0, &[late]);
    assert_eq!(found, TransactionError::Expired { expires: Height(0), height: Height(1) });
}

/// Whoever puts another body under a header does not make anybody check its signatures.
#[test]
fn the_tree_is_checked_before_any_transaction() {
    let found = broken(|block| {
        let mut forged = block.transactions.first().unwrap().decode();
        forged.fee = coins(9);
        block.transactions = List::new(vec![Encoded::from(&forged); 2]).unwrap();
    });
    assert!(matches!(found, BlockError::TransactionsRoot { .. }), "{found:?}");
}

#[test]
fn a_transaction_of_another_chain_is_refused() {
    let foreign = draft(0, address(&BOB), coins(1), coins(1)).sign(&Digest::ZERO, &ALICE);
    let found = wrong_transaction(0, &[foreign]);
    assert_eq!(found, TransactionError::Signature(SignatureError::Mismatch));
}

#[test]
fn a_transaction_may_come_at_its_last_height() {
    let (state, _) = second_block();
    let last = draft(0, address(&BOB), coins(1), coins(1));
    let last = Draft { expires: Height(1), ..last }.sign(&chain().hash(), &ALICE);
    assert_eq!(next_block(&state, vec![], vec![last]).transactions().len(), 1);
}

#[test]
fn another_state_than_the_header_commits_to_is_refused() {
    let got = second_block().1.header.state;
    let found = broken(|block| block.header.state = Digest::ZERO);
    assert_eq!(found, BlockError::State { got, expected: Digest::ZERO });
}

#[test]
fn a_block_checked_against_another_tip_is_stale() {
    let mut state = State::genesis(chain());
    let block = empty(&state);
    state.apply(&block).unwrap();
    let before = state.clone();
    let found = state.apply(&block).unwrap_err();
    assert_eq!(found, StaleBlock { checked: chain().hash(), tip: block.hash() });
    assert_eq!((state.tip(), state.round()), (before.tip(), before.round()));
    let text =
        format!("the block was checked against {}, the tip is {}", chain().hash(), block.hash());
    assert_eq!(found.to_string(), text);
}

/// Nothing on the way in may be changed without being noticed.
#[test]
fn every_byte_of_a_block_is_covered() {
    let mut state = State::genesis(chain());
    let proofs = Miners::new(&chain()).mine(&state);
    let bytes = next_block(&state, proofs, vec![pay(&ALICE, 0, 1)]).to_bytes();
    for place in (0..bytes.len()).step_by(7) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1 << (place % 8);
        let refused = match codec::decode::<Block>(&bytes) {
            Ok(block) => state.check(block).is_err(),
            Err(_) => true,
        };
        assert!(refused, "byte {place}");
    }
    let block = state.check(codec::decode(&bytes).unwrap()).unwrap();
    state.apply(&block).unwrap();
}
