//! What each role does when others are silent, wrong or lying.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::Arc;

use dsc_lib::{
    codec,
    genesis::Chain,
    hash::Digest,
    ledger::Ledger,
    mempool::{Limits, Status},
    proof::{Attempt, Footprint},
    role::{
        Active, Answer, Call, Lost, Next, Refusal, Replica, ReplicaError, Sought,
        blockchain::Blockchain,
        metronome::{OpenRound, Receipt},
        monitor::Monitor,
        pool::{NextSequence, Outcome, Pool},
        validator::{Step, Validator},
        wallet::{End, Order, Payment},
    },
    testing::{self, ALICE, BOB, METRONOME, STRANGER, address, coins, next_block, pay},
    transaction::{self, Memo, Payments},
    units::{Amount, Height, Millis},
};

mod desk;
mod leaders;
mod metronome;

use self::desk::Desk;

const START: Millis = Millis(1_700_000_100_000);

fn lost() -> Result<Answer, Lost> {
    Err(Lost::new("the wire was cut"))
}

/// Does what a role has to compute.
fn work(role: &mut impl Active, now: Millis) {
    let Next::Work(work) = role.next(now) else { panic!("nothing to compute") };
    role.finish(now, work.run());
}

fn refusal(code: &str) -> Refusal {
    Refusal::new(code, "no")
}

fn order(amount: Amount) -> Order {
    Order {
        payments: Payments::new(vec![transaction::Payment { to: address(&BOB), amount }]).unwrap(),
        fee: Amount::ZERO,
        memo: Memo::default(),
        lifetime: 5,
        confirmations: 1,
    }
}

/// A payment that has got as far as being signed with sequence 0.
fn signed(chain: &Chain) -> Payment {
    let mut payment = Payment::new(chain.clone(), ALICE.clone(), order(coins(1)));
    assert_eq!(payment.next(START), Next::Call(Call::NextSequence(address(&ALICE))));
    let next = NextSequence { sequence: 0, height: Height(0) };
    payment.answer(START, Ok(Answer::NextSequence(next)));
    payment
}

fn submitted(payment: &mut Payment, now: Millis) -> Arc<Vec<transaction::Encoded>> {
    match payment.next(now) {
        Next::Call(Call::SubmitTransactions(transactions)) => transactions,
        other => panic!("{other:?}"),
    }
}

fn added(payment: &Payment) -> Answer {
    Answer::TransactionsSubmitted(vec![Outcome::Added { id: payment.id().unwrap() }])
}

#[test]
fn a_wallet_submits_the_same_bytes_until_it_knows_the_end() {
    let chain = testing::chain();
    let mut payment = signed(&chain);
    let first = submitted(&mut payment, START);
    payment.answer(START, lost());
    assert!(matches!(payment.next(START), Next::Wait(_)));
    let later = START.plus(Millis(1000));
    assert_eq!(submitted(&mut payment, later), first);
    let known = added(&payment);
    payment.answer(later, Ok(known));
    assert!(payment.is_submitted());

    // The pool has lost it: the ledger is asked, and then the same bytes are submitted again.
    let later = later.plus(Millis(1000));
    assert!(matches!(payment.next(later), Next::Call(Call::PoolStatus(_))));
    payment.answer(later, Ok(Answer::PoolStatus(None)));
    assert!(matches!(payment.next(later), Next::Call(Call::Inclusion(_))));
    payment.answer(later, Ok(Answer::Inclusion(None)));
    assert_eq!(payment.next(later), Next::Call(Call::ChainInfo));
    let blockchain = Blockchain::new(Ledger::in_memory(chain));
    payment.answer(later, Ok(Answer::ChainInfo(Box::new(blockchain.info().unwrap()))));
    assert_eq!(submitted(&mut payment, later.plus(Millis(1000))), first);
}

#[test]
fn a_payment_refused_by_the_pool_but_on_the_ledger_is_confirmed() {
    let chain = testing::chain();
    let mut payment = signed(&chain);
    let transaction = submitted(&mut payment, START)[0].decode();
    let mut blockchain = Blockchain::new(Ledger::in_memory(chain));
    let block = next_block(blockchain.ledger().state(), vec![], vec![transaction]);
    blockchain.submit(&block.to_bytes()).unwrap();
    let id = payment.id().unwrap();
    let rejected = Outcome::Rejected { id, refusal: refusal("sequence-used"), retry: false };
    payment.answer(START, Ok(Answer::TransactionsSubmitted(vec![rejected])));
    assert_eq!(payment.next(START), Next::Call(Call::Inclusion(Sought::of(id))));
    let inclusion = blockchain.inclusion(&id).unwrap().map(Box::new);
    payment.answer(START, Ok(Answer::Inclusion(inclusion)));
    assert_eq!(payment.end(), Some(&End::Confirmed { height: Height(0) }));
    assert_eq!(payment.next(START), Next::Done);
}

#[test]
fn a_wallet_believes_no_inclusion_it_has_not_checked() {
    let chain = testing::chain();
    let mut payment = signed(&chain);
    let transaction = submitted(&mut payment, START)[0].decode();
    let id = payment.id().unwrap();
    let known = added(&payment);
    payment.answer(START, Ok(known));
    let later = START.plus(Millis(1000));
    payment.next(later);
    payment.answer(later, Ok(Answer::PoolStatus(Some(Status::Confirmed { height: Height(0) }))));

    let mut blockchain = Blockchain::new(Ledger::in_memory(chain));
    let block = next_block(blockchain.ledger().state(), vec![], vec![transaction]);
    blockchain.submit(&block.to_bytes()).unwrap();
    let honest = blockchain.inclusion(&id).unwrap().unwrap();
    let mut unsigned = honest.clone();
    unsigned.header.time = Millis(1);
    let mut stranger = honest.clone();
    stranger.header = stranger.header.sign(&STRANGER);
    let mut displaced = honest;
    displaced.proof.index = 1;
    let mut now = later;
    for (forged, why) in [(unsigned, "signature"), (stranger, "no metronome"), (displaced, "leaf")]
    {
        let asked = Next::Call(Call::Inclusion(Sought::of(id)));
        assert_eq!(payment.next(now), asked, "{why}");
        payment.answer(now, Ok(Answer::Inclusion(Some(Box::new(forged)))));
        assert_eq!(payment.end(), None, "{why}");
        let fault = payment.fault().unwrap();
        assert!(fault.contains(why), "{fault} says nothing of {why}");
        now = now.plus(Millis(1000));
    }
}

#[test]
fn a_payment_expires_only_when_the_ledger_has_passed_it_and_was_asked_after() {
    let chain = testing::chain();
    let mut payment = signed(&chain);
    submitted(&mut payment, START);
    let known = added(&payment);
    payment.answer(START, Ok(known));
    let later = START.plus(Millis(1000));
    payment.next(later);
    payment.answer(later, Ok(Answer::PoolStatus(Some(Status::Expired { height: Height(5) }))));
    payment.next(later);
    payment.answer(later, Ok(Answer::Inclusion(None)));
    assert_eq!(payment.next(later), Next::Call(Call::ChainInfo));
    let mut info = Blockchain::new(Ledger::in_memory(chain)).info().unwrap();
    info.height = Some(Height(5));
    payment.answer(later, Ok(Answer::ChainInfo(Box::new(info))));
    assert_eq!(payment.end(), None, "the block of height 5 may hold it");
    // Another server may not have come there.
    assert_eq!(as_of(&mut payment, later), Some(Height(5)));
    payment.answer(later, Ok(Answer::Inclusion(None)));
    assert_eq!(payment.end(), Some(&End::Expired { height: Height(5) }));
}

/// As of which height it asks the ledger for its transaction.
fn as_of(payment: &mut Payment, now: Millis) -> Option<Height> {
    match payment.next(now) {
        Next::Call(Call::Inclusion(sought)) => sought.as_of,
        other => panic!("{other:?}"),
    }
}

/// The pool follows a server that is further along than the one that the wallet asks: the block that
/// used the sequence may hold this very transaction.
#[test]
fn a_sequence_that_a_pool_calls_used_is_looked_up_as_of_the_block_that_used_it() {
    let chain = testing::chain();
    let mut payment = signed(&chain);
    let refuse = |payment: &mut Payment, now: Millis| {
        submitted(payment, now);
        let (id, refusal) = (payment.id().unwrap(), refusal("sequence-used"));
        let rejected = Outcome::Rejected { id, refusal, retry: false };
        payment.answer(now, Ok(Answer::TransactionsSubmitted(vec![rejected])));
        assert_eq!(as_of(payment, now), None);
        payment.answer(now, Ok(Answer::Inclusion(None)));
        assert_eq!(payment.end(), None);
        assert_eq!(payment.next(now), Next::Call(Call::Account(address(&ALICE))));
    };
    let account = |sequence| {
        let text = format!(r#"{{"sequence":{sequence},"height":3}}"#);
        Ok(Answer::Account(serde_json::from_str(&text).unwrap()))
    };
    refuse(&mut payment, START);
    // This server has not come there: the same is tried again.
    payment.answer(START, account(0));
    assert_eq!(payment.next(START), Next::Call(Call::ChainInfo));
    let info = Blockchain::new(Ledger::in_memory(chain)).info().unwrap();
    payment.answer(START, Ok(Answer::ChainInfo(Box::new(info))));
    let later = START.plus(Millis(1000));
    refuse(&mut payment, later);
    payment.answer(later, account(1));
    assert_eq!(as_of(&mut payment, later), Some(Height(3)));
    payment.answer(later, Ok(Answer::Inclusion(None)));
    assert_eq!(payment.end(), Some(&End::Rejected(refusal("sequence-used"))));
}

fn round(desk: &Desk) -> Answer {
    Answer::Round(desk.metronome.round(desk.now))
}

#[test]
fn a_validator_answers_a_round_once_and_repeats_a_lost_hand_in() {
    let mut desk = Desk::new();
    let entry = desk.proofs().remove(0);
    let mut validator = Validator::new(entry.miner, entry.proof.kind);
    let asked = validator.next(desk.now);
    assert!(matches!(asked, Step::Call(Call::Round { after: None, .. })));
    validator.answer(desk.now, Ok(round(&desk)));
    let Step::Prove(job) = validator.next(desk.now) else { panic!("no job") };
    assert_eq!(job.height, Height(0));
    let best = Some((entry.proof, dsc_lib::units::Quality(0)));
    let attempt = Attempt { best, attempts: 3 };
    validator.proved(Millis(5), attempt, Footprint::default());
    let Step::Call(first @ Call::HandIn(_)) = validator.next(desk.now) else {
        panic!("no hand-in")
    };
    validator.answer(desk.now, lost());
    let later = desk.now.plus(Millis(300));
    assert_eq!(validator.next(later), Step::Call(first));
    validator.answer(later, Ok(Answer::HandedIn(Receipt::Best)));
    assert_eq!((validator.tally().proofs, validator.tally().best), (1, 1));
    assert!(matches!(
        validator.next(later),
        Step::Call(Call::Round { after: Some(Height(0)), .. })
    ));
    validator.answer(later, Ok(round(&desk)));
    assert!(matches!(validator.next(later), Step::Wait(_)), "the same round again");
}

#[test]
fn a_validator_answers_another_challenge_at_the_same_height() {
    let mut desk = Desk::new();
    let entry = desk.proofs().remove(0);
    let mut validator = Validator::new(entry.miner, entry.proof.kind);
    let Answer::Round(Some(right)) = round(&desk) else { panic!("no round") };
    let dropped = OpenRound { challenge: Digest([7; 32]), ..right };
    validator.next(desk.now);
    validator.answer(desk.now, Ok(Answer::Round(Some(dropped))));
    assert!(matches!(validator.next(desk.now), Step::Prove(_)));
    validator.proved(Millis(5), Attempt::default(), Footprint::default());
    validator.next(desk.now);
    validator.answer(desk.now, Ok(Answer::HandedIn(Receipt::Noted)));
    let Step::Call(Call::Round { after, challenge, .. }) = validator.next(desk.now) else {
        panic!("no call")
    };
    let other = desk.metronome.round_other_than(desk.now, after, challenge);
    validator.answer(desk.now, Ok(Answer::Round(other)));
    let Step::Prove(job) = validator.next(desk.now) else { panic!("it waits for ever") };
    assert_eq!(job.challenge.0, desk.metronome.round(desk.now).unwrap().challenge);
}

#[test]
fn a_validator_gives_a_hand_in_up_when_the_round_is_over() {
    let mut desk = Desk::new();
    let entry = desk.proofs().remove(0);
    let mut validator = Validator::new(entry.miner, entry.proof.kind);
    validator.next(desk.now);
    validator.answer(desk.now, Ok(round(&desk)));
    validator.next(desk.now);
    validator.proved(Millis(5), Attempt::default(), Footprint::default());
    let over = desk.now.plus(Millis(60_000));
    assert!(matches!(validator.next(over), Step::Call(Call::HandIn(_))));
    validator.answer(over, lost());
    let later = over.plus(Millis(1000));
    assert!(matches!(validator.next(later), Step::Call(Call::Round { .. })));
    validator.answer(later, Ok(Answer::Refused(refusal("round-closed"))));
    assert_eq!(validator.fault(), Some("no"));
}

#[test]
fn a_replica_takes_nothing_that_breaks_a_rule() {
    let chain = testing::chain();
    let mut blockchain = Blockchain::new(Ledger::in_memory(chain.clone()));
    let block = next_block(blockchain.ledger().state(), vec![], vec![]);
    blockchain.submit(&block.to_bytes()).unwrap();
    let snapshot = blockchain.snapshot().unwrap();

    let mut replica = Replica::new(chain);
    let mut torn = snapshot.clone();
    torn.truncate(20);
    let error = replica.absorb(Answer::Snapshot(torn)).unwrap_err();
    assert!(matches!(error, ReplicaError::Decode(_)), "{error}");
    let mut richer = snapshot.clone();
    let last = richer.len() - 16;
    richer[last] ^= 1;
    let error = replica.absorb(Answer::Snapshot(richer)).unwrap_err();
    assert!(matches!(error, ReplicaError::Snapshot(_)), "{error}");
    let error = replica.absorb(Answer::PoolStatus(None)).unwrap_err();
    assert_eq!(error, ReplicaError::OtherAnswer);
    assert_eq!(replica.next_height(), Height(0));

    replica.absorb(Answer::Snapshot(snapshot)).unwrap();
    assert_eq!(replica.next_height(), Height(1));
    let old = Answer::Blocks(vec![block.to_bytes()]);
    assert!(replica.absorb(old).unwrap().is_empty(), "a doubled answer changes nothing");
    let gap = next_block(blockchain.ledger().state(), vec![], vec![]);
    let mut forged: dsc_lib::block::Block = codec::decode(&gap.to_bytes()).unwrap();
    forged.header.state = Digest::ZERO;
    forged.header = forged.header.sign(&METRONOME);
    let error = replica.absorb(Answer::Blocks(vec![codec::encode(&forged)])).unwrap_err();
    assert!(matches!(error, ReplicaError::Block(_)), "{error}");
    assert_eq!(replica.next_height(), Height(1));
}

#[test]
fn a_pool_names_what_its_blockchain_server_does_wrong_and_goes_on() {
    let mut pool = Pool::new(testing::chain(), Limits::default());
    assert_eq!(pool.next(START), Next::Call(Call::Snapshot));
    pool.answer(START, Ok(Answer::Snapshot(vec![1, 2, 3])));
    work(&mut pool, START);
    assert!(pool.fault().unwrap().contains("not canonical"));
    let later = START.plus(Millis(1000));
    assert_eq!(pool.next(later), Next::Call(Call::Snapshot));
    let blockchain = Blockchain::new(Ledger::in_memory(testing::chain()));
    pool.answer(later, Ok(Answer::Snapshot(blockchain.snapshot().unwrap())));
    work(&mut pool, later);
    assert_eq!(pool.fault(), None);
    assert!(matches!(pool.next(later), Next::Call(Call::Blocks { from: Height(0), .. })));
}

#[test]
fn a_monitor_shows_who_is_silent_and_no_old_figures_for_them() {
    let mut monitor = Monitor::new(Millis(1000));
    let blockchain = Blockchain::new(Ledger::in_memory(testing::chain()));
    let info = Answer::ChainInfo(Box::new(blockchain.info().unwrap()));
    let answers = [Ok(info), Ok(Answer::Audit(None)), lost(), Ok(Answer::PoolStatus(None))];
    for answer in answers {
        assert!(matches!(monitor.next(START), Next::Call(_)));
        monitor.answer(START, answer);
    }
    let report = monitor.report().unwrap();
    assert!(report.chain.is_some() && report.pool.is_none() && report.metronome.is_none());
    assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
    assert!(matches!(monitor.next(START), Next::Wait(_)));
}

/// A ledger that was started anew opens lower rounds than a validator has answered.
#[test]
fn a_validator_answers_the_rounds_of_a_ledger_that_starts_anew() {
    let mut desk = Desk::new();
    let entry = desk.proofs().remove(0);
    let mut validator = Validator::new(entry.miner, entry.proof.kind);
    let Answer::Round(Some(mut high)) = round(&desk) else { panic!("no round") };
    high.height = Height(900);
    validator.next(desk.now);
    validator.answer(desk.now, Ok(Answer::Round(Some(high))));
    assert!(matches!(validator.next(desk.now), Step::Prove(_)));
    validator.give_up(desk.now, "a disk failed");
    let later = desk.now.plus(Millis(1000));
    let Step::Call(Call::Round { after, challenge, .. }) = validator.next(later) else {
        panic!("no call")
    };
    let lower = desk.metronome.round_other_than(later, after, challenge);
    validator.answer(later, Ok(Answer::Round(lower)));
    let Step::Prove(job) = validator.next(later) else { panic!("it waits for ever") };
    assert_eq!(job.height, Height(0));
}

#[test]
fn a_pool_hands_nothing_out_for_heights_that_no_metronome_can_be_at() {
    let mut pool = Pool::new(testing::chain(), Limits::default());
    let blockchain = Blockchain::new(Ledger::in_memory(testing::chain()));
    pool.next(START);
    pool.answer(START, Ok(Answer::Snapshot(blockchain.snapshot().unwrap())));
    work(&mut pool, START);
    let chain = testing::chain().hash();
    pool.submit(Arc::new(pay(&ALICE, 0, address(&BOB), 1).check(&chain).unwrap()));
    assert!(pool.take(Height(3)).is_empty() && pool.take(Height(u64::MAX)).is_empty());
    assert_eq!(pool.counts().unconfirmed, 0);
    assert_eq!(pool.take(Height(0)).len(), 1);
}
