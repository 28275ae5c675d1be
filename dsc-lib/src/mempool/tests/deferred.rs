//! What was acknowledged before a restart, on a ledger that is behind what it was.

use std::sync::Arc;

use super::chain::{BALANCE, Plan, address, extend, genesis, plan};
use crate::{
    ledger::State,
    mempool::{Inserted, Limits, Mempool, PoolError, Restored, Status},
    transaction::{CheckedTransaction, TransactionId},
    units::Height,
};

struct Fixture {
    pool: Mempool,
    state: State,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self { pool: Mempool::new(limits), state: genesis() }
    }

    fn restore(&mut self, plan: Plan) -> Restored {
        self.pool.restore(plan.sign(&self.state), &self.state)
    }

    fn insert(&mut self, plan: Plan) -> Result<Inserted, PoolError> {
        self.pool.insert(plan.sign(&self.state), &self.state)
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

    /// Whether it is among what a metronome may have, and not only waits.
    fn is_pending(&self, plan: Plan) -> bool {
        let id = self.id(plan);
        self.pool.pending().iter().any(|one| one.id() == id)
    }

    fn advance(&mut self, plans: &[Plan]) {
        let transactions: Vec<Arc<CheckedTransaction>> =
            plans.iter().map(|plan| plan.sign(&self.state)).collect();
        let block = extend(&mut self.state, transactions);
        self.pool.advance(&block, &self.state);
    }
}

/// Costs more than the sender has until somebody has paid it.
fn unfunded() -> Plan {
    Plan { amount: BALANCE + 1, ..plan(0, 0, 5) }
}

/// Sender 2 pays sender 0.
fn funds() -> Plan {
    Plan { amount: 1000, ..plan(2, 0, 0) }
}

fn waiting(plan: Plan) -> Fixture {
    let mut f = Fixture::new(Limits::default());
    assert_eq!(f.restore(plan), Restored::Waiting);
    f
}

#[test]
fn one_without_funds_waits_until_the_ledger_has_gone_on() {
    let mut f = waiting(unfunded());
    assert_eq!(f.status(unfunded()), Some(Status::Submitted));
    assert_eq!(f.pool.find(&f.id(unfunded())), Some(&unfunded().sign(&f.state)));
    assert_eq!(f.insert(unfunded()), Ok(Inserted::Duplicate(Status::Submitted)));
    assert_eq!(f.pool.next_sequence(&address(0), &f.state), 1, "its sequence is not free");
    let counts = f.pool.counts();
    let bytes = unfunded().sign(&f.state).bytes().len() as u64;
    assert_eq!((counts.submitted, counts.bytes), (1, bytes));
    assert!(!f.is_pending(unfunded()));
    f.advance(&[]);
    assert!(!f.is_pending(unfunded()), "nothing has changed");
    f.advance(&[funds()]);
    assert!(f.is_pending(unfunded()));
    assert_eq!(f.pool.counts().bytes, bytes);
    let taken = f.pool.take(f.state.round().height, usize::MAX, u64::MAX);
    assert_eq!(taken, [unfunded().sign(&f.state)]);
}

/// Every refusal that the ledger or the pool may come to take back.
#[test]
fn what_may_come_to_be_allowed_waits() {
    let small = Limits { gap_max: 1, per_sender_max: 2, expiry_max: 10, ..Limits::default() };
    let mut f = Fixture::new(small);
    let ahead = plan(0, 3, 5);
    let late = Plan { expires: 10, ..plan(1, 0, 5) };
    assert_eq!(f.restore(ahead), Restored::Waiting);
    assert_eq!(f.restore(late), Restored::Waiting);
    let many = [0, 1].map(|sequence| plan(2, sequence, 5));
    assert_eq!(many.map(|one| f.restore(one)), [Restored::Pending; 2]);
    f.pool.limits.gap_max = 2;
    let another = plan(2, 2, 5);
    assert_eq!(f.restore(another), Restored::Waiting, "the sender has two");
    f.advance(&[plan(0, 0, 1), plan(0, 1, 1), many[0]]);
    assert!([ahead, late, another].iter().all(|one| f.is_pending(*one)));
}

#[test]
fn what_no_later_block_can_take_has_ended() {
    let mut f = Fixture::new(Limits::default());
    f.advance(&[plan(0, 0, 5)]);
    f.advance(&[]);
    assert_eq!(f.restore(plan(0, 0, 5)), Restored::Ended, "it is on the ledger");
    assert_eq!(f.restore(plan(0, 0, 6)), Restored::Ended, "its sequence is used");
    assert_eq!(f.restore(Plan { expires: 1, ..plan(1, 0, 5) }), Restored::Ended);
    assert_eq!(f.restore(plan(0, 1, 5)), Restored::Pending);
    assert_eq!(f.restore(plan(0, 1, 5)), Restored::Pending, "it is in two segments");
    assert_eq!(f.restore(plan(0, 1, 4)), Restored::Ended, "another has its place");
    assert_eq!(f.pool.counts().submitted, 1);
}

#[test]
fn one_that_waits_ends_as_one_that_is_pending_does() {
    // In a block after all, which another pool may have given.
    let mut f = waiting(unfunded());
    f.advance(&[funds(), unfunded()]);
    assert_eq!(f.status(unfunded()), Some(Status::Confirmed { height: Height(0) }));
    // Another is in a block.
    let mut f = waiting(unfunded());
    f.advance(&[plan(0, 0, 7)]);
    assert_eq!(f.code(unfunded()), "sequence-used");
    // Too late.
    let short = Plan { expires: 1, ..unfunded() };
    let mut f = waiting(short);
    f.advance(&[]);
    assert_eq!(f.status(short), Some(Status::Submitted));
    f.advance(&[]);
    assert_eq!(f.status(short), Some(Status::Expired { height: Height(1) }));
    // Outbid; one that pays no more does not take the place of what was acknowledged.
    let mut f = waiting(unfunded());
    let by = f.id(unfunded());
    assert_eq!(f.insert(plan(0, 0, 5)), Err(PoolError::SequenceTaken { sequence: 0, by }));
    assert_eq!(f.insert(plan(0, 0, 6)), Ok(Inserted::Added { evicted: vec![] }));
    assert_eq!(f.code(unfunded()), "replaced");
    assert_eq!(f.pool.counts().submitted, 1);
}

/// A block that was not seen here may have it.
#[test]
fn one_whose_sequence_was_used_unseen_is_not_called_rejected() {
    let mut f = waiting(unfunded());
    let unseen = [funds(), unfunded()].map(|plan| plan.sign(&f.state));
    extend(&mut f.state, unseen.to_vec());
    f.advance(&[]);
    assert_eq!(f.status(unfunded()), None);
    assert_eq!(f.pool.counts().submitted, 0);
}

/// The pool was given a lower limit: what it has no room for waits, whichever came first.
#[test]
fn what_a_smaller_pool_has_no_room_for_waits() {
    let mut f = Fixture::new(Limits { transactions_max: 1, ..Limits::default() });
    let [low, high, lowest] = [plan(0, 0, 10), plan(1, 0, 30), plan(2, 0, 5)];
    assert_eq!(f.restore(low), Restored::Pending);
    assert_eq!(f.restore(high), Restored::Pending);
    assert_eq!(f.restore(lowest), Restored::Waiting);
    let all = [low, high, lowest];
    assert!(all.iter().all(|one| f.status(*one) == Some(Status::Submitted)));
    assert!(f.is_pending(high));
    f.advance(&[high]);
    assert!(f.is_pending(low));
    f.advance(&[low]);
    assert!(f.is_pending(lowest));
}

#[test]
fn beyond_twice_what_may_be_pending_who_has_waited_longest_is_evicted() {
    let few = Limits { transactions_max: 1, ..Limits::default() };
    let len = unfunded().sign(&genesis()).bytes().len() as u64;
    let short = Limits { bytes_max: len + len / 4, ..Limits::default() };
    for limits in [few, short] {
        let mut f = Fixture::new(limits);
        let all = [0, 1, 2].map(|sender| Plan { sender, ..unfunded() });
        assert_eq!(all.map(|one| f.restore(one)), [Restored::Waiting; 3]);
        assert_eq!(f.code(all[0]), "evicted");
        assert!(all[1..].iter().all(|one| f.status(*one) == Some(Status::Submitted)));
        assert_eq!((f.pool.counts().submitted, f.pool.counts().bytes), (2, 2 * len));
    }
}
