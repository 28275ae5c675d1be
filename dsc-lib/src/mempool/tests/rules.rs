//! One test for each rule.

use std::sync::Arc;

use super::chain::{BALANCE, Plan, address, extend, genesis, plan, units};
use crate::{
    ledger::State,
    mempool::{Counts, FeeRate, Inserted, Limits, Mempool, PoolError, Status},
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

    fn code(&self, plan: Plan) -> &'static str {
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

#[test]
fn a_transaction_is_submitted_handed_out_and_confirmed() {
    let mut f = fixture();
    let id = f.add(plan(0, 0, 5));
    assert_eq!(f.pool.status(&id), Some(Status::Submitted));
    let taken = f.take(0);
    assert_eq!(ids(&taken), [id]);
    assert_eq!(f.pool.status(&id), Some(Status::Unconfirmed { height: Height(0) }));
    f.advance(taken);
    assert_eq!(f.pool.status(&id), Some(Status::Confirmed { height: Height(0) }));
    let counts = Counts {
        submitted: 0,
        unconfirmed: 0,
        bytes: 0,
        confirmed: 1,
        rejected: 0,
        expired: 0,
        ended: 1,
    };
    assert_eq!(f.pool.counts(), counts);
}
