//! Rounds, blocks, and rounds that open before the block of the last one is final.

use dsc_lib::{
    block::Block,
    codec,
    proof::{ENGINES, Fingerprint, Footprint, Miner, Proof, ProofEntry},
    role::{
        Active, Answer, Call, HandIn, Next,
        metronome::{Metronome, Receipt, Settings},
    },
    testing::{self, ALICE, BOB, METRONOME, address, coins, next_block, pay},
    transaction,
    units::{Height, Millis},
};

use crate::{START, desk::Desk, lost, refusal};

#[test]
fn a_round_opens_only_after_the_ledger_was_followed() {
    let chain = testing::chain();
    let settings =
        Settings { key: METRONOME.clone(), epoch: 0, interval: Millis(1000), running: true };
    let mut metronome = Metronome::new(chain, settings);
    assert_eq!(metronome.round(START), None);
    assert_eq!(metronome.next(START), Next::Call(Call::Snapshot));
    metronome.answer(START, lost());
    assert_eq!(metronome.round(START), None);
    let status = metronome.status(START);
    assert_eq!(status.fault.as_deref(), Some("no answer: the wire was cut"));
    assert!(matches!(metronome.next(START), Next::Wait(_)));
}

#[test]
fn only_the_best_valid_proof_of_the_open_round_is_kept() {
    let mut desk = Desk::new();
    let proofs = desk.proofs();
    let (height, entry) = (Height(0), &proofs[0]);
    assert_eq!(desk.hand_in(Height(1), entry).unwrap_err().code, "round-closed");
    assert_eq!(desk.hand_in(height, entry), Ok(Receipt::Best));
    assert_eq!(desk.hand_in(height, entry), Ok(Receipt::Best), "the same again is a no-op");
    let miner = Miner { fingerprint: Fingerprint([9; 16]), ..entry.miner };
    let worse = Proof { kind: entry.proof.kind, bytes: vec![0; 8] };
    let outbid = desk.hand_in(height, &ProofEntry { miner, proof: worse });
    assert_eq!(outbid, Ok(Receipt::Outbid));
    let torn = Proof { kind: entry.proof.kind, bytes: vec![0; 7] };
    let torn = desk.hand_in(height, &ProofEntry { miner, proof: torn });
    assert_eq!(torn.unwrap_err().code, "bad-proof");
    let report = HandIn {
        height,
        miner,
        kind: entry.proof.kind,
        attempts: 5,
        spent: Millis(1),
        footprint: Footprint::default(),
        proof: None,
    };
    assert_eq!(desk.metronome.hand_in(desk.now, &report), Ok(Receipt::Noted));
    assert_eq!(desk.metronome.status(desk.now).validators.len(), 2);
    let other = HandIn { kind: ENGINES[1].kind, proof: Some(entry.proof.clone()), ..report };
    assert_eq!(desk.metronome.hand_in(desk.now, &other).unwrap_err().code, "wrong-kind");
}

#[test]
fn a_lost_answer_brings_the_same_block_again() {
    let mut desk = Desk::new();
    for entry in desk.proofs() {
        assert_eq!(desk.hand_in(Height(0), &entry), Ok(Receipt::Best));
    }
    assert_eq!(desk.tick(), Call::Take(Height(0)));
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let first = desk.block();
    desk.blockchain.submit(&first).unwrap();
    desk.metronome.answer(desk.now, lost());
    desk.now = desk.now.plus(Millis(1000));
    let second = desk.block();
    assert_eq!(first, second);
    let accepted = desk.blockchain.submit(&second).unwrap();
    desk.metronome.answer(desk.now, Ok(Answer::BlockAccepted(accepted)));
    assert_eq!(desk.metronome.round(desk.now).unwrap().height, Height(1));
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(0)));
}

#[test]
fn a_silent_pool_leaves_the_block_without_transactions() {
    let mut desk = Desk::new();
    desk.tick();
    desk.metronome.answer(desk.now, lost());
    let block = desk.block();
    assert_eq!(desk.blockchain.submit(&block).unwrap().height, Height(0));
}

#[test]
fn bad_transactions_of_the_pool_are_left_out_and_named() {
    let mut desk = Desk::new();
    desk.tick();
    let good = pay(&ALICE, 0, address(&BOB), 1);
    let forged = transaction::Transaction { fee: coins(2), ..pay(&BOB, 0, address(&ALICE), 1) };
    let early = pay(&BOB, 7, address(&ALICE), 1);
    let early_id = early.id(&testing::chain().hash());
    let taken = [forged, early, good.clone()].iter().map(transaction::Encoded::from).collect();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(taken)));
    let block = desk.block();
    let left_out: Vec<_> = desk.metronome.left_out().iter().map(|(id, _)| *id).collect();
    assert_eq!(left_out, [early_id]);
    desk.blockchain.submit(&block).unwrap();
    let id = good.id(&testing::chain().hash());
    assert!(desk.blockchain.transaction(&id).unwrap().is_some());
}

#[test]
fn a_refused_block_is_made_anew_from_the_same_proofs() {
    let mut desk = Desk::new();
    for entry in desk.proofs() {
        desk.hand_in(Height(0), &entry).unwrap();
    }
    desk.tick();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let first = desk.block();
    desk.metronome.answer(desk.now, Ok(Answer::Refused(refusal("wrong-state"))));
    assert!(desk.metronome.status(desk.now).fault.unwrap().contains("refused"));
    desk.now = desk.now.plus(Millis(1000));
    let mut calls = 0;
    let second = loop {
        match desk.call() {
            Call::Blocks { .. } => desk.metronome.answer(desk.now, Ok(Answer::Blocks(vec![]))),
            Call::Take(_) => desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![]))),
            Call::SubmitBlock(bytes) => break bytes,
            other => panic!("{other:?}"),
        }
        calls += 1;
        assert!(calls < 10, "it asks for ever");
    };
    assert_ne!(first, second, "a later time");
    let block: Block = codec::decode(&second).unwrap();
    assert_eq!(block.proofs.len(), ENGINES.len());
    desk.blockchain.submit(&second).unwrap();
}

#[test]
fn a_block_of_another_metronome_is_taken_over() {
    let mut desk = Desk::new();
    desk.tick();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let ours = desk.block();
    let state = desk.blockchain.ledger().state();
    let theirs = next_block(state, vec![], vec![pay(&ALICE, 0, address(&BOB), 1)]);
    desk.blockchain.submit(&theirs.to_bytes()).unwrap();
    let refused = desk.blockchain.submit(&ours).unwrap_err().refusal().unwrap();
    assert_eq!(refused.code, "wrong-height");
    desk.metronome.answer(desk.now, Ok(Answer::Refused(refused)));
    desk.now = desk.now.plus(Millis(300));
    desk.follow();
    assert_eq!(desk.metronome.round(desk.now).unwrap().height, Height(1));
}

#[test]
fn a_stopped_metronome_opens_no_round_and_makes_no_block() {
    let mut desk = Desk::new();
    desk.metronome.stop();
    assert_eq!(desk.metronome.round(desk.now), None);
    desk.now = desk.now.plus(Millis(10_000));
    assert!(matches!(desk.metronome.next(desk.now), Next::Wait(_)));
    desk.metronome.start();
    let round = desk.metronome.round(desk.now).unwrap();
    assert!(round.closes_in > Millis(0), "a whole round is left");
}

/// Proofs of the block that is handed in next.
fn proofs_of(bytes: &[u8]) -> Vec<ProofEntry> {
    codec::decode::<Block>(bytes).unwrap().proofs.into_vec()
}

#[test]
fn the_next_round_opens_at_the_tick_and_its_proofs_count() {
    let mut desk = Desk::new();
    desk.prove();
    let closed = desk.proofs().remove(0);
    assert_eq!(desk.tick(), Call::Take(Height(0)));
    let ahead = desk.metronome.round(desk.now).unwrap();
    assert_eq!((ahead.height, ahead.closes_in), (Height(1), Millis(1000)));
    assert_eq!(desk.hand_in(Height(0), &closed).unwrap_err().code, "round-closed");
    desk.prove();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(work) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    assert_eq!(desk.metronome.round(desk.now).as_ref(), Some(&ahead), "while it is drafted");
    desk.metronome.finish(desk.now, work.run());
    let block = desk.block();
    assert_eq!(desk.metronome.round(desk.now).as_ref(), Some(&ahead), "while it is handed in");
    desk.settle(&block);
    let round = *desk.blockchain.ledger().state().round();
    assert_eq!((round.height, round.challenge), (ahead.height, ahead.challenge));
    assert_eq!(desk.metronome.round(desk.now), Some(ahead), "it stays the same when it is final");
    let second = desk.tick_block(vec![]);
    assert_eq!(proofs_of(&second).len(), ENGINES.len());
    desk.settle(&second);
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(1)));
}

#[test]
fn a_tick_waits_for_the_block_before_it() {
    let mut desk = Desk::new();
    let block = desk.tick_block(vec![]);
    for _ in 0..3 {
        desk.metronome.answer(desk.now, lost());
        desk.now = desk.now.plus(Millis(1000));
        assert_eq!(desk.call(), Call::SubmitBlock(block.clone()));
        assert_eq!(desk.metronome.round(desk.now).unwrap().height, Height(1));
    }
    desk.prove();
    desk.settle(&block);
    assert_eq!(desk.call(), Call::Take(Height(1)), "the tick is past");
    assert_eq!(desk.metronome.round(desk.now).unwrap().height, Height(2));
}

#[test]
fn a_round_ahead_is_dropped_if_the_ledger_has_another_block() {
    let mut desk = Desk::new();
    desk.prove();
    let ours = desk.tick_block(vec![]);
    let ahead = desk.metronome.round(desk.now).unwrap();
    desk.prove();
    let theirs = next_block(desk.blockchain.ledger().state(), vec![], vec![]);
    desk.blockchain.submit(&theirs.to_bytes()).unwrap();
    desk.settle(&ours);
    assert_eq!(desk.metronome.round(desk.now), None, "nothing is known of the next block");
    desk.now = desk.now.plus(Millis(1000));
    desk.follow();
    let (known, asked) = (Some(ahead.height), Some(ahead.challenge));
    let right = desk.metronome.round_other_than(desk.now, known, asked).unwrap();
    assert_eq!(right.height, ahead.height);
    assert_eq!(right.challenge, desk.blockchain.ledger().state().round().challenge);
    assert_eq!(desk.metronome.round_other_than(desk.now, known, None), None);
    assert_eq!(
        desk.metronome.round_other_than(desk.now, known, Some(right.challenge)),
        None,
        "known now"
    );
    let next = desk.tick_block(vec![]);
    assert!(proofs_of(&next).is_empty(), "proofs of the dropped round answer another challenge");
    desk.settle(&next);
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(1)));
}

#[test]
fn a_round_ahead_that_opens_again_keeps_its_proofs() {
    let mut desk = Desk::new();
    desk.prove();
    desk.tick_block(vec![]);
    let ahead = desk.metronome.round(desk.now).unwrap();
    desk.prove();
    desk.metronome.answer(desk.now, Ok(Answer::Refused(refusal("block-ahead"))));
    assert_eq!(desk.metronome.round(desk.now), None);
    desk.now = desk.now.plus(Millis(300));
    assert!(matches!(desk.call(), Call::Blocks { .. }));
    desk.metronome.answer(desk.now, Ok(Answer::Blocks(vec![])));
    assert_eq!(desk.metronome.round(desk.now).unwrap().height, Height(0));
    assert_eq!(desk.call(), Call::Take(Height(0)));
    assert_eq!(desk.metronome.round(desk.now).unwrap().challenge, ahead.challenge);
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let again = desk.block();
    desk.settle(&again);
    let second = desk.tick_block(vec![]);
    assert_eq!(proofs_of(&second).len(), ENGINES.len());
}

#[test]
fn a_draft_that_is_lost_is_made_anew() {
    let mut desk = Desk::new();
    desk.tick();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(late) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    assert_eq!(desk.call(), Call::Take(Height(0)));
    desk.metronome.finish(desk.now, late.run());
    assert_eq!(desk.call(), Call::Take(Height(0)), "it is not waited for any more");
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let block = desk.block();
    desk.settle(&block);
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(0)));
}
