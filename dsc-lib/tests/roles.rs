//! What each role does when others are silent, wrong or lying.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::Arc;

use dsc_lib::{
    codec,
    genesis::Chain,
    ledger::Ledger,
    mempool::{Limits, Status},
    proof::{Attempt, ENGINES, Fingerprint, Footprint, Miner, Proof, ProofEntry},
    role::{
        Active, Answer, Call, HandIn, Lost, Next, Refusal, Replica, ReplicaError,
        blockchain::Blockchain,
        metronome::{Metronome, Receipt, Settings},
        monitor::Monitor,
        pool::{NextSequence, Outcome, Pool},
        validator::{Step, Validator},
        wallet::{End, Order, Payment},
    },
    testing::{self, ALICE, BOB, METRONOME, Miners, STRANGER, address, coins, next_block, pay},
    transaction::{self, Memo, Payments},
    units::{Amount, Height, Millis},
};

const START: Millis = Millis(1_700_000_100_000);

fn lost() -> Result<Answer, Lost> {
    Err(Lost::new("the wire was cut"))
}

fn refusal(code: &str) -> Refusal {
    Refusal::new(code, "no")
}

/// A metronome at a ledger of its own, driven by hand.
struct Desk {
    metronome: Metronome,
    blockchain: Blockchain,
    miners: Miners,
    now: Millis,
}

impl Desk {
    fn new() -> Self {
        let chain = testing::chain();
        let settings =
            Settings { key: METRONOME.clone(), epoch: 0, interval: Millis(1000), running: true };
        let mut desk = Self {
            metronome: Metronome::new(chain.clone(), settings),
            blockchain: Blockchain::new(Ledger::in_memory(chain.clone())),
            miners: Miners::new(&chain),
            now: START,
        };
        desk.follow();
        desk
    }

    /// Answers snapshot and blocks until a round is open.
    fn follow(&mut self) {
        while let Next::Call(call) = self.metronome.next(self.now) {
            let answer = match call {
                Call::Snapshot => Answer::Snapshot(self.blockchain.snapshot().unwrap()),
                Call::Blocks { from, .. } => Answer::Blocks(self.blockchain.blocks(from).unwrap()),
                other => panic!("not following: {other:?}"),
            };
            self.metronome.answer(self.now, Ok(answer));
        }
    }

    /// The proofs that answer the open round, one per engine.
    fn proofs(&mut self) -> Vec<ProofEntry> {
        let round = self.metronome.round(self.now).unwrap();
        self.miners.solve(round.challenge, &round.targets)
    }

    fn hand_in(&mut self, height: Height, entry: &ProofEntry) -> Result<Receipt, Refusal> {
        let hand_in = HandIn {
            height,
            miner: entry.miner,
            kind: entry.proof.kind,
            attempts: 1,
            spent: Millis(1),
            footprint: Footprint::default(),
            proof: Some(entry.proof.clone()),
        };
        self.metronome.hand_in(self.now, &hand_in)
    }

    /// Lets the round close and returns the call for the pool.
    fn tick(&mut self) -> Call {
        self.now = self.now.plus(Millis(1000));
        self.call()
    }

    fn call(&mut self) -> Call {
        match self.metronome.next(self.now) {
            Next::Call(call) => call,
            other => panic!("no call but {other:?}"),
        }
    }

    fn block(&mut self) -> Arc<Vec<u8>> {
        match self.call() {
            Call::SubmitBlock(bytes) => bytes,
            other => panic!("no block but {other:?}"),
        }
    }
}

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
    let left_out: Vec<_> = desk.metronome.left_out().iter().map(|(id, _)| *id).collect();
    assert_eq!(left_out, [early_id]);
    let block = desk.block();
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
    let block: dsc_lib::block::Block = codec::decode(&second).unwrap();
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
    desk.now = desk.now.plus(Millis(1000));
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
    assert_eq!(payment.next(START), Next::Call(Call::Inclusion(id)));
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
        assert_eq!(payment.next(now), Next::Call(Call::Inclusion(id)), "{why}");
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
    payment.next(later);
    payment.answer(later, Ok(Answer::Inclusion(None)));
    assert_eq!(payment.end(), Some(&End::Expired { height: Height(5) }));
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
    forged.header.state = dsc_lib::hash::Digest::ZERO;
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
    assert!(pool.fault().unwrap().contains("not canonical"));
    let later = START.plus(Millis(1000));
    assert_eq!(pool.next(later), Next::Call(Call::Snapshot));
    let blockchain = Blockchain::new(Ledger::in_memory(testing::chain()));
    pool.answer(later, Ok(Answer::Snapshot(blockchain.snapshot().unwrap())));
    assert_eq!(pool.fault(), None);
    assert!(matches!(pool.next(later), Next::Call(Call::Blocks { from: Height(0), .. })));
}

#[test]
fn a_monitor_shows_who_is_silent_and_no_old_figures_for_them() {
    let mut monitor = Monitor::new(Millis(1000));
    let blockchain = Blockchain::new(Ledger::in_memory(testing::chain()));
    let info = Answer::ChainInfo(Box::new(blockchain.info().unwrap()));
    let answers = [Ok(info), lost(), Ok(Answer::PoolStatus(None))];
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
    let Step::Call(Call::Round { after, .. }) = validator.next(later) else { panic!("no call") };
    let lower = desk.metronome.round_other_than(later, after);
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
    let chain = testing::chain().hash();
    pool.submit(Arc::new(pay(&ALICE, 0, address(&BOB), 1).check(&chain).unwrap()));
    assert!(pool.take(Height(3)).is_empty() && pool.take(Height(u64::MAX)).is_empty());
    assert_eq!(pool.counts().unconfirmed, 0);
    assert_eq!(pool.take(Height(0)).len(), 1);
}
