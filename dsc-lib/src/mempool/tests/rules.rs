//! One test for each rule.

use std::sync::Arc;

use super::chain::{BALANCE, Plan, address, extend, genesis, plan, units};
use crate::{
    ledger::State,
    mempool::{FeeRate, Inserted, Limits, Mempool, PoolError, Status},
    transaction::{CheckedTransaction, TransactionId},
    units::Height,
};

/// A pool and the ledger it follows.
struct Fixture {
    pool: Mempool,
    state: State,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self { pool: Mempool::new(limits), state: genesis() }
    }

    fn insert(&mut self, plan: Plan) -> Result<Inserted, PoolError> {
        self.pool.insert(plan.sign(&self.state), &self.state)
    }

    /// Inserts what must be taken without an eviction; returns the id.
    fn add(&mut self, plan: Plan) -> TransactionId {
        assert_eq!(self.insert(plan), Ok(Inserted::Added { evicted: vec![] }));
        self.id(plan)
    }

    fn id(&self, plan: Plan) -> TransactionId {
        plan.sign(&self.state).id()
    }

    fn status(&self, plan: Plan) -> Option<Status> {
        self.pool.status(&self.id(plan))
    }

    fn code(&self, plan: Plan) -> String {
        match self.status(plan) {
            Some(Status::Rejected { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, height: u64) -> Vec<Arc<CheckedTransaction>> {
        self.pool.take(Height(height), usize::MAX, u64::MAX)
    }

    fn take_ids(&mut self, height: u64) -> Vec<TransactionId> {
        ids(&self.take(height))
    }

    fn advance(&mut self, transactions: Vec<Arc<CheckedTransaction>>) {
        let block = extend(&mut self.state, transactions);
        self.pool.advance(&block, &self.state);
    }
}

fn ids(transactions: &[Arc<CheckedTransaction>]) -> Vec<TransactionId> {
    transactions.iter().map(|transaction| transaction.id()).collect()
}

fn fixture() -> Fixture {
    Fixture::new(Limits { gap_max: 4, expiry_max: 10, per_sender_max: 4, ..Limits::default() })
}

/// A pool of three at most, with three senders' transactions at fees 30, 20 and 10.
fn full() -> Fixture {
    let mut f = Fixture::new(Limits { transactions_max: 3, ..Limits::default() });
    for (sender, fee) in [(0, 30), (1, 20), (2, 10)] {
        f.add(plan(sender, 0, fee));
    }
    f
}

#[test]
fn a_transaction_is_submitted_handed_out_and_confirmed() {
    let mut f = fixture();
    let id = f.add(plan(0, 0, 5));
    assert_eq!(f.pool.status(&id), Some(Status::Submitted));
    assert_eq!(f.pool.find(&id).map(|found| found.id()), Some(id));
    let taken = f.take(0);
    assert_eq!(ids(&taken), [id]);
    assert_eq!(f.pool.status(&id), Some(Status::Unconfirmed { height: Height(0) }));
    let bytes = taken[0].bytes().len() as u64;
    let mut counts = f.pool.counts();
    assert_eq!((counts.submitted, counts.unconfirmed, counts.bytes), (0, 1, bytes));
    f.advance(taken);
    assert_eq!(f.pool.status(&id), Some(Status::Confirmed { height: Height(0) }));
    counts = f.pool.counts();
    assert_eq!((counts.unconfirmed, counts.bytes, counts.confirmed), (0, 0, 1));
    assert_eq!((counts.finished, f.pool.pending().len()), (1, 0));
}

#[test]
fn a_known_transaction_changes_nothing_wherever_it_is() {
    let mut f = fixture();
    let known = plan(0, 0, 5);
    f.add(known);
    assert_eq!(f.insert(known), Ok(Inserted::Duplicate(Status::Submitted)));
    let taken = f.take(0);
    let unconfirmed = Status::Unconfirmed { height: Height(0) };
    assert_eq!(f.insert(known), Ok(Inserted::Duplicate(unconfirmed)));
    f.advance(taken);
    let confirmed = Status::Confirmed { height: Height(0) };
    assert_eq!(f.insert(known), Ok(Inserted::Duplicate(confirmed)));
}

#[test]
fn a_used_sequence_is_refused() {
    let mut f = fixture();
    f.advance(vec![plan(0, 0, 5).sign(&f.state)]);
    let error = f.insert(plan(0, 0, 6)).unwrap_err();
    assert_eq!(error, PoolError::SequenceUsed { got: 0, expected: 1 });
    assert_eq!(error.to_string(), "sequence 0 has been used, the sender's next is 1");
    assert_eq!(error.code(), "sequence-used");
}

#[test]
fn a_sequence_too_far_ahead_is_refused() {
    let mut f = fixture();
    f.add(plan(0, 4, 5));
    let error = f.insert(plan(0, 5, 5)).unwrap_err();
    assert_eq!(error, PoolError::TooFarAhead { got: 5, max: 4 });
    assert_eq!(error.to_string(), "sequence is 5, at most 4 is held at present");
    assert_eq!(error.code(), "too-far-ahead");
}

#[test]
fn an_expired_transaction_is_refused() {
    let mut f = fixture();
    f.advance(vec![]);
    let error = f.insert(Plan { expires: 0, ..plan(0, 0, 5) }).unwrap_err();
    assert_eq!(error, PoolError::Expired { expires: Height(0), height: Height(1) });
    assert_eq!(error.to_string(), "expired at height 0, the next block has height 1");
    assert_eq!(error.code(), "expired");
    f.add(Plan { expires: 1, ..plan(0, 0, 5) });
}

#[test]
fn a_transaction_that_expires_too_late_is_refused() {
    let mut f = fixture();
    f.advance(vec![]);
    let error = f.insert(Plan { expires: 11, ..plan(0, 0, 5) }).unwrap_err();
    assert_eq!(error, PoolError::ExpiresTooLate { expires: Height(11), max: Height(10) });
    assert_eq!(error.to_string(), "expires at height 11, at most 10 is allowed at present");
    assert_eq!(error.code(), "expires-too-late");
    f.add(Plan { expires: 10, ..plan(0, 0, 5) });
}

#[test]
fn pending_transactions_cost_no_more_than_the_balance() {
    let mut f = fixture();
    f.add(Plan { amount: BALANCE - 20, ..plan(0, 0, 10) });
    let error = f.insert(Plan { amount: 6, ..plan(0, 1, 5) }).unwrap_err();
    let (needed, balance) = (units(BALANCE + 1), units(BALANCE));
    assert_eq!(error, PoolError::InsufficientFunds { needed, balance });
    let message = "needs 0.01000001 coins with the sender's other pending transactions, \
                   the sender has 0.01";
    assert_eq!(error.to_string(), message);
    assert_eq!(error.code(), "insufficient-funds");
    f.add(Plan { amount: 5, ..plan(0, 1, 5) });
    let most = f.insert(Plan { amount: u64::MAX - 5, ..plan(0, 2, 5) }).unwrap_err();
    assert_eq!(most.code(), "insufficient-funds");
}

#[test]
fn a_sender_has_a_bounded_number_pending() {
    let mut f = fixture();
    for sequence in 0..4 {
        f.add(plan(0, sequence, 5));
    }
    let error = f.insert(plan(0, 4, 500)).unwrap_err();
    assert_eq!(error, PoolError::SenderFull { count: 4 });
    let message = "the sender has 4 pending transactions, no more are allowed";
    assert_eq!(error.to_string(), message);
    assert_eq!(error.code(), "sender-full");
    f.add(plan(0, 3, 50));
}

#[test]
fn a_sequence_is_taken_unless_outbid_by_a_tenth() {
    let mut f = fixture();
    let by = f.add(plan(0, 0, 100));
    let error = f.insert(plan(0, 0, 109)).unwrap_err();
    assert_eq!(error, PoolError::SequenceTaken { sequence: 0, by });
    let message = format!(
        "sequence 0 is taken by {by}; only one that is not in a block yet can be replaced, \
         at a fee rate at least 10 % higher"
    );
    assert_eq!(error.to_string(), message);
    assert_eq!(error.code(), "sequence-taken");
    let better = f.add(plan(0, 0, 110));
    assert_eq!(f.take_ids(0), [better]);
    let reason = format!("replaced by {better}, which pays a higher fee rate");
    let replaced = Status::Rejected { code: "replaced".into(), reason };
    assert_eq!(f.insert(plan(0, 0, 100)), Ok(Inserted::Duplicate(replaced)));
}

#[test]
fn what_is_handed_out_is_not_replaced() {
    let mut f = fixture();
    let by = f.add(plan(0, 0, 5));
    f.take(0);
    let error = f.insert(plan(0, 0, 500)).unwrap_err();
    assert_eq!(error, PoolError::SequenceTaken { sequence: 0, by });
}

#[test]
fn a_replacement_needs_funds_for_itself_only() {
    let mut f = fixture();
    f.add(Plan { amount: BALANCE - 100, ..plan(0, 0, 100) });
    let dear = Plan { amount: BALANCE - 100, ..plan(0, 0, 200) };
    assert_eq!(f.insert(dear).unwrap_err().code(), "insufficient-funds");
    f.add(Plan { amount: BALANCE - 200, ..plan(0, 0, 200) });
}

#[test]
fn a_full_pool_takes_only_what_beats_the_worst() {
    let mut f = full();
    let rate = FeeRate::of(&plan(2, 0, 10).sign(&f.state));
    let before = f.pool.pending();
    let error = f.insert(plan(0, 1, 10)).unwrap_err();
    assert_eq!(error, PoolError::Full { fee_rate_min: Some(rate) });
    let message = "the pool is full: it takes more than 17 base units per 1000 bytes, \
                   for the sender's earlier ones too";
    assert_eq!(error.to_string(), message);
    assert_eq!(error.code(), "pool-full");
    assert_eq!((f.pool.pending(), f.status(plan(0, 1, 10))), (before, None));
    let evicted = vec![f.id(plan(2, 0, 10))];
    assert_eq!(f.insert(plan(0, 1, 11)), Ok(Inserted::Added { evicted }));
    let reason =
        "made room for others: they pay a higher fee rate, or wait for no earlier one".to_owned();
    let rejected = Status::Rejected { code: "evicted".into(), reason };
    assert_eq!(f.status(plan(2, 0, 10)), Some(rejected));
}

#[test]
fn an_evicted_transaction_can_come_again() {
    let mut f = full();
    f.insert(plan(0, 1, 40)).unwrap();
    assert_eq!(f.code(plan(2, 0, 10)), "evicted");
    assert_eq!(f.insert(plan(2, 0, 10)).unwrap_err().code(), "pool-full");
    assert_eq!(f.code(plan(2, 0, 10)), "evicted");
    let taken = f.take(0);
    f.advance(taken);
    f.add(plan(2, 0, 10));
    assert_eq!(f.status(plan(2, 0, 10)), Some(Status::Submitted));
}

#[test]
fn a_dear_transaction_after_a_cheap_one_does_not_save_it() {
    let mut f = Fixture::new(Limits { transactions_max: 3, ..Limits::default() });
    f.add(plan(0, 0, 1));
    f.add(plan(0, 1, 1000));
    f.add(plan(1, 0, 5));
    let evicted = vec![f.id(plan(0, 1, 1000))];
    assert_eq!(f.insert(plan(2, 0, 6)), Ok(Inserted::Added { evicted }));
}

#[test]
fn one_that_waits_is_evicted_first_and_evicts_only_its_like() {
    let mut f = full();
    let error = f.insert(plan(0, 2, 1000)).unwrap_err();
    assert_eq!(error, PoolError::Full { fee_rate_min: None });
    assert_eq!(error.to_string(), "the pool is full: try again after the next block");
    let mut f = Fixture::new(Limits { transactions_max: 2, ..Limits::default() });
    f.add(plan(0, 1, 1000));
    f.add(plan(1, 0, 2));
    let evicted = vec![f.id(plan(0, 1, 1000))];
    assert_eq!(f.insert(plan(2, 0, 1)), Ok(Inserted::Added { evicted }));
}

#[test]
fn what_is_handed_out_is_not_evicted() {
    let mut f = full();
    f.take(0);
    let error = f.insert(plan(0, 1, 500)).unwrap_err();
    assert_eq!(error, PoolError::Full { fee_rate_min: None });
}

#[test]
fn bytes_are_bounded_and_a_failed_insertion_restores_everything() {
    let bytes = plan(0, 0, 0).sign(&genesis()).bytes().len() as u64;
    let mut f = Fixture::new(Limits { bytes_max: 3 * bytes, ..Limits::default() });
    for (sender, fee) in [(0, 30), (1, 20), (2, 10)] {
        f.add(plan(sender, 0, fee));
    }
    let before = f.pool.pending();
    // Room for it would take the two worst; it is better than one of them only.
    let long = Plan { memo_len: 512, ..plan(0, 1, 28) };
    assert_eq!(f.insert(long).unwrap_err().code(), "pool-full");
    assert_eq!((f.pool.pending(), f.pool.counts().bytes), (before, 3 * bytes));
    let evicted = vec![f.id(plan(2, 0, 10)), f.id(plan(1, 0, 20))];
    assert_eq!(f.insert(Plan { fee: 100, ..long }), Ok(Inserted::Added { evicted }));
}

#[test]
fn a_failed_replacement_leaves_the_one_it_was_to_replace() {
    let bytes = plan(0, 0, 0).sign(&genesis()).bytes().len() as u64;
    let mut f = Fixture::new(Limits { bytes_max: 2 * bytes, ..Limits::default() });
    f.add(plan(0, 0, 10));
    f.add(plan(1, 0, 30));
    let longer = Plan { memo_len: 100, ..plan(0, 0, 14) };
    assert_eq!(f.insert(longer).unwrap_err().code(), "pool-full");
    assert_eq!(f.status(plan(0, 0, 10)), Some(Status::Submitted));
    assert_eq!(f.take_ids(0), [f.id(plan(1, 0, 30)), f.id(plan(0, 0, 10))]);
}

#[test]
fn the_best_rate_comes_first_and_a_sender_in_sequence() {
    let mut f = fixture();
    let plans = [plan(0, 1, 50), plan(1, 0, 20), plan(0, 0, 10), plan(2, 0, 20), plan(1, 1, 30)];
    let [second, dear, first, tie, last] = plans.map(|plan| f.add(plan));
    assert_eq!(f.take_ids(0), [dear, last, tie, first, second]);
}

#[test]
fn one_after_a_gap_is_held_until_the_gap_closes() {
    let mut f = fixture();
    let late = f.add(plan(0, 1, 50));
    assert_eq!(f.take_ids(0), []);
    assert_eq!(f.pool.next_sequence(&address(0), &f.state), 0);
    let early = f.add(plan(0, 0, 1));
    assert_eq!(f.pool.next_sequence(&address(0), &f.state), 2);
    assert_eq!(f.take_ids(0), [early, late]);
    assert_eq!(ids(&f.pool.pending_of(&address(0)).cloned().collect::<Vec<_>>()), [early, late]);
    assert_eq!(f.pool.pending_of(&address(1)).count(), 0);
}

#[test]
fn asking_again_gives_the_same_and_counts_are_kept() {
    let mut f = fixture();
    let [first, second] = [plan(0, 0, 5), plan(1, 0, 4)].map(|plan| f.add(plan));
    assert_eq!(ids(&f.pool.take(Height(0), 1, u64::MAX)), [first]);
    assert_eq!(ids(&f.pool.take(Height(0), 1, u64::MAX)), [first]);
    assert_eq!(f.take_ids(0), [first, second]);
    assert_eq!(ids(&f.pool.take(Height(0), 1, u64::MAX)), [first]);
    assert_eq!(f.pool.status(&second), Some(Status::Submitted));
    assert_eq!(f.pool.counts().unconfirmed, 1);
}

#[test]
fn the_next_height_gets_what_follows() {
    let mut f = fixture();
    let [first, second] = [plan(0, 0, 5), plan(0, 1, 5)].map(|plan| f.add(plan));
    assert_eq!(ids(&f.pool.take(Height(0), 1, u64::MAX)), [first]);
    assert_eq!(f.take_ids(1), [second]);
    assert_eq!(f.pool.status(&second), Some(Status::Unconfirmed { height: Height(1) }));
    // Whoever asks for the lower height again has no block of it, so none above it either.
    assert_eq!(f.take_ids(0), [first, second]);
}

#[test]
fn what_does_not_fit_is_passed_over() {
    let mut f = fixture();
    let long = f.add(Plan { memo_len: 500, ..plan(0, 0, 500) });
    let short = f.add(plan(1, 0, 5));
    let bytes = plan(1, 0, 5).sign(&f.state).bytes().len() as u64;
    assert_eq!(ids(&f.pool.take(Height(0), 9, bytes)), [short]);
    assert_eq!(f.take_ids(0), [long, short]);
}

#[test]
fn a_height_on_the_ledger_gets_nothing() {
    let mut f = fixture();
    f.advance(vec![]);
    let id = f.add(plan(0, 0, 5));
    assert_eq!(f.take_ids(0), []);
    assert_eq!(f.take_ids(1), [id]);
}

#[test]
fn what_a_block_left_out_is_submitted_again() {
    let mut f = fixture();
    let [first, second] = [plan(0, 0, 5), plan(0, 1, 5)].map(|plan| f.add(plan));
    f.pool.take(Height(0), 1, u64::MAX);
    f.pool.take(Height(1), 1, u64::MAX);
    f.advance(vec![]);
    // The second was handed out for a block that cannot have it without the first.
    for id in [first, second] {
        assert_eq!(f.pool.status(&id), Some(Status::Submitted));
    }
    assert_eq!(f.take_ids(1), [first, second]);
}

#[test]
fn what_is_handed_out_for_later_stays_so() {
    let mut f = fixture();
    let [first, second] = [plan(0, 0, 5), plan(0, 1, 5)].map(|plan| f.add(plan));
    let taken = f.pool.take(Height(0), 1, u64::MAX);
    f.take(1);
    f.advance(taken);
    assert_eq!(f.pool.status(&first), Some(Status::Confirmed { height: Height(0) }));
    assert_eq!(f.pool.status(&second), Some(Status::Unconfirmed { height: Height(1) }));
}

#[test]
fn an_expired_one_ends_and_those_after_it_wait() {
    let mut f = fixture();
    let first = f.add(Plan { expires: 0, ..plan(0, 0, 5) });
    let second = f.add(plan(0, 1, 5));
    f.take(0);
    assert_eq!(f.take_ids(1), []);
    f.advance(vec![]);
    assert_eq!(f.pool.status(&first), Some(Status::Expired { height: Height(0) }));
    assert_eq!(f.pool.status(&second), Some(Status::Submitted));
    assert_eq!((f.take_ids(1), f.pool.counts().expired), (vec![], 1));
    let again = f.add(plan(0, 0, 7));
    assert_eq!(f.take_ids(1), [again, second]);
}

#[test]
fn one_that_expires_before_a_later_block_is_not_in_it() {
    let mut f = fixture();
    let first = f.add(Plan { expires: 0, ..plan(0, 0, 5) });
    assert_eq!(f.take_ids(1), []);
    assert_eq!(f.take_ids(0), [first]);
}

#[test]
fn the_ledger_takes_a_sequence_for_another_transaction() {
    let mut f = fixture();
    f.add(plan(0, 0, 5));
    let follower = f.add(plan(0, 1, 5));
    f.advance(vec![plan(0, 0, 6).sign(&f.state)]);
    let reason = "the ledger has another transaction with sequence 0".to_owned();
    let rejected = Status::Rejected { code: "sequence-used".into(), reason };
    assert_eq!(f.status(plan(0, 0, 5)), Some(rejected));
    assert_eq!(f.status(plan(0, 0, 6)), Some(Status::Confirmed { height: Height(0) }));
    assert_eq!(f.take_ids(1), [follower]);
}

#[test]
fn what_the_ledger_leaves_unpaid_is_rejected_from_the_end() {
    let mut f = fixture();
    f.add(plan(0, 0, 5));
    let kept = f.add(Plan { amount: 10, ..plan(0, 1, 10) });
    let unpaid = Plan { amount: BALANCE / 2, ..plan(0, 2, 5) };
    f.add(unpaid);
    let dear = Plan { amount: 1, ..plan(0, 0, BALANCE - 30) };
    f.advance(vec![dear.sign(&f.state)]);
    assert_eq!(f.code(unpaid), "insufficient-funds");
    let Some(Status::Rejected { reason, .. }) = f.status(unpaid) else { panic!() };
    let needed = units(BALANCE / 2 + 25);
    let message =
        format!("needs {needed} coins with the sender's earlier ones, the sender has 0.00000029");
    assert_eq!(reason, message);
    assert_eq!(f.take_ids(1), [kept]);
    // Funds can come, so it may come again; it is not a duplicate.
    assert_eq!(f.insert(unpaid).unwrap_err().code(), "insufficient-funds");
}

#[test]
fn what_costs_just_what_is_left_stays() {
    let mut f = fixture();
    f.add(plan(0, 0, 5));
    let rest = Plan { amount: BALANCE - 6 - 5, ..plan(0, 1, 5) };
    let kept = f.add(rest);
    let taken = f.take(0);
    f.advance(taken[..1].to_vec());
    assert_eq!(f.status(rest), Some(Status::Submitted));
    assert_eq!(f.take_ids(1), [kept]);
}

#[test]
fn senders_without_pending_transactions_are_forgotten() {
    let mut f = fixture();
    assert_eq!(f.pool.limits().gap_max, 4);
    f.add(plan(0, 0, 5));
    f.add(Plan { expires: 0, ..plan(1, 0, 1) });
    let taken = f.take(0);
    f.advance(taken[..1].to_vec());
    assert_eq!(f.pool.counts().expired, 1);
    assert!(f.pool.senders.is_empty());
}

#[test]
fn the_ledger_has_the_last_word_about_a_rejected_one() {
    let mut f = fixture();
    let rejected = plan(0, 0, 100);
    f.add(rejected);
    f.add(plan(0, 0, 200));
    assert_eq!(f.code(rejected), "replaced");
    f.advance(vec![rejected.sign(&f.state)]);
    assert_eq!(f.status(rejected), Some(Status::Confirmed { height: Height(0) }));
    assert_eq!(f.code(plan(0, 0, 200)), "sequence-used");
    assert_eq!((f.pool.counts().confirmed, f.pool.counts().rejected), (1, 1));
}

#[test]
fn the_first_to_finish_is_forgotten_first() {
    let mut f = Fixture::new(Limits { finished_max: 2, ..Limits::default() });
    let plans = [plan(0, 0, 3), plan(1, 0, 2), plan(2, 0, 1)];
    let [first, second, third] = plans.map(|plan| f.add(plan));
    let taken = f.take(0);
    f.advance(taken);
    assert_eq!(f.pool.status(&first), None);
    for id in [second, third] {
        assert_eq!(f.pool.status(&id), Some(Status::Confirmed { height: Height(0) }));
    }
    let counts = f.pool.counts();
    assert_eq!((counts.confirmed, counts.rejected, counts.finished), (3, 0, 2));
    assert_eq!(f.insert(plans[0]).unwrap_err().code(), "sequence-used");
}

#[test]
fn blocks_may_be_followed_after_all_of_them_are_applied() {
    let mut f = fixture();
    let plans = [plan(0, 0, 5), plan(0, 1, 5)];
    let ids = plans.map(|plan| f.add(plan));
    let blocks = plans.map(|plan| {
        let transaction = plan.sign(&f.state);
        extend(&mut f.state, vec![transaction])
    });
    for block in &blocks {
        f.pool.advance(block, &f.state);
    }
    let heights = [0, 1].map(|height| Some(Status::Confirmed { height: Height(height) }));
    assert_eq!(ids.map(|id| f.pool.status(&id)), heights);
    assert_eq!((f.pool.counts().confirmed, f.pool.counts().rejected), (2, 0));
}

#[test]
fn missing_blocks_are_made_up_for() {
    let mut f = fixture();
    f.add(plan(0, 0, 5));
    let follower = f.add(plan(0, 1, 5));
    let missed = vec![plan(0, 0, 5).sign(&f.state)];
    extend(&mut f.state, missed);
    f.advance(vec![]);
    let id = plan(0, 0, 5).sign(&f.state).id();
    assert_eq!(f.pool.status(&id), None, "whether it is on the ledger is not known here");
    assert_eq!(f.take_ids(2), [follower]);
}

#[test]
fn a_status_is_json_with_its_state_as_a_field() {
    let text = r#"{"state":"unconfirmed","height":7}"#;
    let status = Status::Unconfirmed { height: Height(7) };
    assert_eq!(serde_json::to_string(&status).unwrap(), text);
    assert_eq!(serde_json::from_str::<Status>(text).unwrap(), status);
}
