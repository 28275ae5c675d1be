//! The pool, as the program runs it.

use std::sync::Arc;

use dsc_lib::{
    mempool::Limits,
    role::{
        Answer, Call, Lost, Refusal,
        pool::{Outcome, Pool},
    },
    transaction::Encoded,
};

use crate::{event::Asked, world::World};

/// Few enough that a flood fills it.
const SMALL: Limits = Limits {
    transactions_max: 24,
    bytes_max: 1 << 20,
    per_sender_max: 10,
    gap_max: 16,
    expiry_max: 64,
    finished_max: 16,
};

/// The pool, while it is up.
#[derive(Debug, Default)]
pub(crate) struct PoolNode {
    pub(crate) role: Option<Pool>,
}

impl World {
    pub(crate) fn start_pool(&mut self) -> bool {
        let limits = if self.plan.has_small_pool { SMALL } else { Limits::default() };
        self.pool.role = Some(Pool::new(self.chain(), limits));
        true
    }

    pub(crate) fn serve_pool(&mut self, asked: &Asked) {
        let answer = self.answer_pool(&asked.call);
        self.reply(asked, &answer);
    }

    fn answer_pool(&mut self, call: &Call) -> Result<Answer, Lost> {
        let Some(pool) = &mut self.pool.role else { return Err(Lost::new("not there")) };
        Ok(match call {
            Call::Take(height) => {
                let taken = pool.take(*height);
                Answer::Transactions(taken.iter().map(|one| one.encoded().clone()).collect())
            }
            Call::PoolStatus(id) => Answer::PoolStatus(pool.status(id)),
            Call::NextSequence(address) => Answer::NextSequence(pool.next_sequence(address)),
            Call::PoolCounts => Answer::PoolCounts(pool.counts()),
            Call::SubmitTransactions(_) if pool.replica().is_fresh() => {
                return Err(Lost::new("the pool has not reached the ledger yet"));
            }
            Call::SubmitTransactions(all) => {
                Answer::TransactionsSubmitted(all.iter().map(|one| hold(pool, one)).collect())
            }
            other => panic!("{other:?} is not for the pool"),
        })
    }
}

fn hold(pool: &mut Pool, transaction: &Encoded) -> Outcome {
    let chain = pool.replica().state().chain().clone();
    match chain.checker().check(transaction.clone()) {
        Ok(checked) => pool.submit(Arc::new(checked)),
        Err((id, error)) => {
            Outcome::Rejected { id, refusal: Refusal::new(error.code(), error), retry: false }
        }
    }
}
