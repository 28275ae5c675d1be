//! Rounds, blocks, and rounds that open before the block of the last one is final.

use dsc_lib::{
    block::Block,
    codec,
    disk::{Disk, Memory},
    proof::{ENGINES, Fingerprint, Footprint, Miner, Proof, ProofEntry},
    role::{
        Active, Answer, Call, HandIn, Next,
        blockchain::Accepted,
        metronome::{LastSigned, Receipt, SignedError},
    },
    testing::{
        self, ALICE, BOB, METRONOME, address, coins,
        disk::{Keep, NotingDisk},
        next_block, pay,
    },
    transaction,
    units::{Height, Millis},
};

use crate::{
    START,
    desk::{Desk, metronome},
    lost, refusal,
};

#[test]
fn a_round_opens_only_after_the_ledger_was_followed() {
    let mut metronome = metronome(Memory::default());
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

/// Whatever the ledger answers, or somebody in its place: a second block of this height would be
/// an equivocation.
#[test]
fn a_refused_block_is_handed_in_again_and_no_other_is_signed() {
    let mut desk = Desk::new();
    desk.prove();
    let block = desk.tick_block(vec![]);
    for code in ["wrong-state", "not-canonical", "wrong-height"] {
        desk.metronome.answer(desk.now, Ok(Answer::Refused(refusal(code))));
        assert!(desk.metronome.status(desk.now).fault.unwrap().contains("refused block 0"));
        desk.now = desk.now.plus(Millis(1000));
        desk.follow();
        assert_eq!(desk.block(), block);
    }
    desk.settle(&block);
    desk.follow();
    assert_eq!(desk.metronome.replica().next_height(), Height(1));
    assert_eq!(desk.metronome.fault(), None);
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
    assert_eq!(refused.code, "equivocation", "another process has the same key");
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
    desk.follow();
    let again = desk.block();
    desk.settle(&again);
    desk.follow();
    assert_eq!(desk.metronome.round(desk.now).unwrap().challenge, ahead.challenge);
    let second = desk.tick_block(vec![]);
    assert_eq!(proofs_of(&second).len(), ENGINES.len());
}

#[test]
fn a_draft_that_is_lost_before_it_is_signed_is_made_anew() {
    let mut desk = Desk::new();
    desk.tick();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(lost) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    drop(lost);
    desk.follow();
    assert_eq!(desk.call(), Call::Take(Height(0)));
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let block = desk.block();
    desk.settle(&block);
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(0)));
}

#[test]
fn a_draft_that_is_lost_after_it_was_signed_is_handed_in() {
    let mut desk = Desk::new();
    desk.tick();
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(late) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    drop(late.run());
    desk.follow();
    let block = desk.block();
    desk.settle(&block);
    assert_eq!(desk.blockchain.info().unwrap().height, Some(Height(0)));
}

/// Killed at any operation of its disk, whatever of what was not synced that keeps: a block that
/// left the metronome is the one that the next start hands in.
#[test]
fn after_a_crash_the_same_block_is_handed_in() {
    let stored = NotingDisk::default();
    let mut desk = Desk::on(stored.clone());
    let first = desk.tick_block(vec![]);
    desk.settle(&first);
    let before = stored.operations();
    let payment = pay(&ALICE, 0, address(&BOB), 1);
    let second = desk.tick_block(vec![(&payment).into()]);
    let after = stored.operations();
    let mut again = 0;
    for crash in before..=after {
        for keep in [Keep::Nothing, Keep::Everything, Keep::Some(1), Keep::Some(2), Keep::Some(3)] {
            let mut late = Desk::on(Memory::default());
            late.blockchain.submit(&first).unwrap();
            late.restart(stored.crash(crash, keep));
            let signed = late.metronome.signed().last().unwrap();
            if signed.height == Height(1) {
                assert_eq!(late.block(), second);
                again += 1;
            } else {
                assert!(crash < after, "a block that has left is kept");
                assert_eq!(late.metronome.round(late.now).unwrap().height, Height(1));
            }
        }
    }
    assert!(again >= 5, "{again}");
}

/// Killed between write and sync, started again, and then the power is cut: what the second start
/// found and handed in was in the system's memory only, until it was synced.
#[test]
fn what_a_start_found_is_on_disk_before_it_is_used() {
    let stored = NotingDisk::default();
    let mut desk = Desk::on(stored.clone());
    desk.tick();
    let (set_len, write) = (1, 1);
    stored.fail(set_len + write, usize::MAX);
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(work) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    drop(work.run());
    stored.mend();
    desk.restart(stored.clone());
    let block = desk.block();
    desk.restart(stored.crash(stored.operations(), Keep::Nothing));
    assert_eq!(desk.block(), block);
}

#[test]
fn a_block_that_cannot_be_kept_does_not_leave() {
    let stored = NotingDisk::default();
    let mut desk = Desk::on(stored.clone());
    desk.prove();
    desk.tick();
    stored.fail(0, usize::MAX);
    desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
    let Next::Work(work) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
    desk.metronome.finish(desk.now, work.run());
    assert!(desk.metronome.fault().unwrap().contains("record of signed blocks"));
    assert_eq!(desk.metronome.signed().last(), None);
    stored.mend();
    desk.now = desk.now.plus(Millis(1000));
    desk.follow();
    let block = desk.tick_block(vec![]);
    assert_eq!(proofs_of(&block).len(), ENGINES.len(), "what was handed in counts");
    desk.settle(&block);
    assert_eq!(desk.metronome.fault(), None);
}

#[test]
fn below_what_it_signed_a_metronome_signs_nothing() {
    let stored = Memory::default();
    let mut desk = Desk::on(stored.clone());
    for _ in 0..2 {
        let block = desk.tick_block(vec![]);
        desk.settle(&block);
    }
    let mut old = Desk::on(stored);
    assert_eq!(old.metronome.round(old.now), None);
    let fault = old.metronome.fault().unwrap();
    assert!(fault.contains("block 1 was signed here and does not follow the ledger"), "{fault}");
    for height in [0, 1] {
        let block = desk.blockchain.ledger().block_bytes(Height(height)).unwrap().unwrap();
        old.blockchain.submit(&block).unwrap();
    }
    old.now = old.now.plus(Millis(1000));
    old.follow();
    assert_eq!(old.metronome.round(old.now).unwrap().height, Height(2));
}

/// A slot's name is on disk before its first block is, however often writing that failed.
#[test]
fn a_block_that_was_kept_at_the_second_try_outlives_a_crash() {
    for failing in 0..3 {
        let stored = NotingDisk::default();
        let mut desk = Desk::on(stored.clone());
        desk.tick();
        stored.fail(failing, 1);
        desk.metronome.answer(desk.now, Ok(Answer::Transactions(vec![])));
        let Next::Work(work) = desk.metronome.next(desk.now) else { panic!("nothing to draft") };
        desk.metronome.finish(desk.now, work.run());
        desk.now = desk.now.plus(Millis(1000));
        desk.follow();
        let block = desk.tick_block(vec![]);
        desk.restart(stored.crash(stored.operations(), Keep::Nothing));
        assert_eq!(desk.block(), block);
    }
}

/// Whoever answers in the ledger's place may say that it has a block which it never got.
#[test]
fn a_block_that_was_accepted_and_is_not_served_is_handed_in_again_after_a_pause() {
    let stored = NotingDisk::default();
    let mut desk = Desk::on(stored.clone());
    let block = desk.tick_block(vec![]);
    desk.restart(stored.crash(stored.operations(), Keep::Nothing));
    let (height, hash) = (Height(0), codec::decode::<Block>(&block).unwrap().header.hash());
    for _ in 0..2 {
        assert_eq!(desk.block(), block);
        desk.metronome.answer(desk.now, Ok(Answer::BlockAccepted(Accepted { height, hash })));
        desk.follow();
        let fault = desk.metronome.fault().unwrap();
        assert_eq!(fault, "the ledger accepted block 0 and does not have it");
        assert!(matches!(desk.metronome.next(desk.now), Next::Wait(_)), "not at once");
        desk.now = desk.now.plus(Millis(1000));
        desk.follow();
    }
    desk.settle(&block);
    desk.follow();
    assert_eq!(desk.metronome.replica().next_height(), Height(1));
    desk.tick();
    assert_eq!(desk.metronome.fault(), None);
}

/// A backup of the ledger was put back, and another metronome went on from there.
#[test]
fn a_block_that_follows_another_ledger_is_not_handed_in() {
    let stored = Memory::default();
    let mut desk = Desk::on(stored.clone());
    for _ in 0..2 {
        let block = desk.tick_block(vec![]);
        desk.settle(&block);
    }
    let mut other = Desk::on(Memory::default());
    let payment = pay(&ALICE, 0, address(&BOB), 1);
    let theirs = next_block(other.blockchain.ledger().state(), vec![], vec![payment]);
    other.blockchain.submit(&theirs.to_bytes()).unwrap();
    other.restart(stored);
    let fault = other.metronome.fault().unwrap();
    assert!(fault.contains("block 1 was signed here and does not follow the ledger"), "{fault}");
    let theirs = next_block(other.blockchain.ledger().state(), vec![], vec![]);
    other.blockchain.submit(&theirs.to_bytes()).unwrap();
    other.now = other.now.plus(Millis(1000));
    other.follow();
    assert_eq!(other.metronome.round(other.now).unwrap().height, Height(2), "the height is taken");
}

#[test]
fn a_record_that_no_crash_leaves_is_refused() {
    let (chain, key) = (testing::chain(), METRONOME.public().address());
    let stored = Memory::default();
    let mut desk = Desk::on(stored.clone());
    for _ in 0..2 {
        let block = desk.tick_block(vec![]);
        desk.settle(&block);
    }
    let names = stored.list().unwrap();
    assert_eq!(names.len(), 2);
    let flip = |name: &str| {
        let (file, mut byte) = (stored.open(name).unwrap(), [0]);
        file.read_at(&mut byte, 40).unwrap();
        file.write_at(&[!byte[0]], 40).unwrap();
    };
    flip(&names[1]);
    let last = LastSigned::open(stored.clone(), &chain, &key).unwrap().last().unwrap();
    assert_eq!(last.height, Height(0), "as after a crash while block 1 was written");
    flip(&names[0]);
    let refused = LastSigned::open(stored, &chain, &key).unwrap_err();
    assert!(matches!(refused, SignedError::Damaged(..)), "{refused}");
}
