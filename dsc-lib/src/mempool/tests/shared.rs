//! Pools that apply one log.

use std::sync::Arc;

use proptest::prelude::*;

use super::chain::{BALANCE, Plan, address, extend, genesis, plan};
use crate::{
    cluster::Position,
    ledger::State,
    mempool::{Entered, Inserted, Limits, Mempool, PoolError, Sifted, Status, feed::Origin},
    transaction::CheckedTransaction,
};

struct Fixture {
    pool: Mempool,
    state: State,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self { pool: Mempool::new(limits), state: genesis() }
    }

    fn enter(&mut self, position: u64, seen: u64, plan: Plan) -> Entered {
        let origin = Origin::new(Position(position), Position(seen));
        self.pool.enter(plan.sign(&self.state), &self.state, origin)
    }

    /// What becomes of these, put into the log together.
    fn put(&mut self, position: u64, plans: &[Plan]) -> Vec<Result<Sifted, PoolError>> {
        let all: Vec<_> = plans.iter().map(|plan| plan.sign(&self.state)).collect();
        let mut sieve = self.pool.sieve(&self.state);
        let sifted: Vec<_> = all.iter().map(|one| sieve.pass(one)).collect();
        let seen = Position(position - 1);
        for (one, sifted) in all.into_iter().zip(&sifted) {
            if *sifted == Ok(Sifted::New) {
                let entered =
                    self.pool.enter(one, &self.state, Origin::new(Position(position), seen));
                assert_eq!(entered, Entered::Held);
            }
        }
        sifted
    }

    fn status(&self, plan: Plan) -> Option<Status> {
        self.pool.status(&plan.sign(&self.state).id())
    }

    /// Its state, or why it was rejected.
    fn code(&self, plan: Plan) -> String {
        match self.status(plan).unwrap() {
            Status::Rejected { code, .. } => code,
            other => other.name().to_owned(),
        }
    }

    fn take(&mut self) -> Vec<Arc<CheckedTransaction>> {
        self.pool.take(self.state.round().height, usize::MAX, u64::MAX)
    }
}

const ALL: Limits = Limits {
    transactions_max: usize::MAX,
    bytes_max: u64::MAX,
    per_sender_max: 3,
    gap_max: 2,
    expiry_max: 10,
    finished_max: 100,
};

/// Two pools wrote one of a sequence each before they had seen the other's.
#[test]
fn of_two_with_one_sequence_the_first_in_the_log_has_the_place() {
    let mut f = Fixture::new(Limits::default());
    assert_eq!(f.enter(1, 0, plan(0, 0, 10)), Entered::Held);
    let by = plan(0, 0, 10).sign(&f.state).id();
    let taken = PoolError::SequenceTaken { sequence: 0, by };
    assert_eq!(f.enter(2, 0, plan(0, 0, 10 - 1)), Entered::Refused(taken));
    assert_eq!(f.enter(3, 0, plan(0, 0, 20)), Entered::Held, "it pays more");
    assert!(
        matches!(f.status(plan(0, 0, 10)), Some(Status::Rejected { code, .. }) if code == "replaced")
    );
    assert_eq!(f.take(), [plan(0, 0, 20).sign(&f.state)]);
}

/// The first had made room for others at the pool that wrote the second: every pool that applies
/// the log later comes to the same, and the first may come again.
#[test]
fn one_that_was_written_after_another_had_gone_takes_its_place() {
    let mut f = Fixture::new(Limits::default());
    let (gone, held) = (plan(0, 0, 10), plan(0, 0, 1));
    assert_eq!(f.enter(1, 0, gone), Entered::Held);
    assert_eq!(f.enter(2, 1, held), Entered::Held);
    assert!(matches!(f.status(gone), Some(Status::Rejected { code, .. }) if code == "evicted"));
    assert_eq!(f.take(), [held.sign(&f.state)]);
    assert_eq!(f.enter(3, 2, gone), Entered::Held, "it waits whether the block comes");
    assert_eq!(f.take(), [held.sign(&f.state)], "it was handed out for that");
    // The same of one that waits.
    let mut f = Fixture::new(Limits::default());
    let dear = Plan { amount: BALANCE + 1, ..gone };
    assert_eq!(f.enter(1, 0, dear), Entered::Held);
    assert_eq!(f.enter(2, 1, held), Entered::Held);
    assert!(matches!(f.status(dear), Some(Status::Rejected { code, .. }) if code == "evicted"));
    assert_eq!(f.pool.counts().submitted, 1);
}

/// Another pool has taken what this one, whose ledger is behind, would refuse.
#[test]
fn what_another_pool_may_have_acknowledged_waits() {
    let mut f = Fixture::new(ALL);
    let unfunded = Plan { amount: BALANCE + 1, ..plan(0, 0, 5) };
    let all = [unfunded, plan(1, 9, 5), Plan { expires: 500, ..plan(2, 0, 5) }];
    for (position, one) in (1..).zip(all) {
        assert_eq!(f.enter(position, 0, one), Entered::Held);
        assert_eq!(f.status(one), Some(Status::Submitted));
        assert_eq!(f.enter(position + 10, 0, one), Entered::Duplicate(Status::Submitted));
    }
    assert_eq!(f.take(), []);
    let funds = Plan { amount: 1000, ..plan(2, 0, 0) }.sign(&f.state);
    let block = extend(&mut f.state, vec![funds]);
    f.pool.advance(&block, &f.state);
    assert_eq!(f.take(), [unfunded.sign(&f.state)]);
}

/// Of two that wait for one place one does, and one that cannot be taken yet pushes nobody out who
/// is pending.
#[test]
fn one_waits_for_a_place_that_nobody_has() {
    let mut f = Fixture::new(ALL);
    let dear = |fee| Plan { amount: BALANCE + 1, ..plan(0, 0, fee) };
    assert_eq!(f.enter(1, 0, dear(10)), Entered::Held);
    assert_eq!(f.enter(2, 0, dear(20)), Entered::Held);
    assert!(
        matches!(f.status(dear(10)), Some(Status::Rejected { code, .. }) if code == "replaced")
    );
    assert_eq!(f.pool.counts().submitted, 1);
    let mut f = Fixture::new(ALL);
    assert_eq!(f.enter(1, 0, plan(0, 0, 10)), Entered::Held);
    assert_eq!(f.enter(2, 0, dear(20)), Entered::Held);
    let by = dear(20).sign(&f.state).id();
    let taken = PoolError::SequenceTaken { sequence: 0, by };
    assert_eq!(f.enter(3, 0, plan(0, 0, 15)), Entered::Refused(taken), "one that waits pays more");
    assert_eq!(f.take(), [plan(0, 0, 10).sign(&f.state)]);
}

/// One pool has given the first to a metronome when the second comes, which another has in its place
/// and may have acknowledged: whichever gets onto the ledger, both say so of both, and both hold the
/// second if none does.
#[test]
fn one_that_outbids_what_is_in_a_block_to_come_waits_and_its_end_is_told() {
    let (first, second) = (plan(0, 0, 10), plan(0, 0, 20));
    for in_block in [None, Some(first), Some(second)] {
        let mut pools = [0, 1].map(|_| Fixture::new(Limits::default()));
        for (f, is_giver) in pools.iter_mut().zip([true, false]) {
            assert_eq!(f.enter(1, 0, first), Entered::Held);
            if is_giver {
                assert_eq!(f.take(), [first.sign(&f.state)]);
            }
            assert_eq!(f.enter(2, 0, second), Entered::Held);
            assert_eq!(f.status(second), Some(Status::Submitted));
            let code = f.code(first);
            assert_eq!(code, if is_giver { "unconfirmed" } else { "replaced" });
            let transactions = in_block.iter().map(|plan| plan.sign(&f.state)).collect();
            let block = extend(&mut f.state, transactions);
            f.pool.advance(&block, &f.state);
            let (first, second) = (f.code(first), f.code(second));
            let expected = match in_block {
                None => ("replaced", "submitted"),
                Some(plan) if plan.fee == 10 => ("confirmed", "sequence-used"),
                // At the pool that gave the other one its sequence is what ended it.
                Some(_) if is_giver => ("sequence-used", "confirmed"),
                Some(_) => ("replaced", "confirmed"),
            };
            assert_eq!((first.as_str(), second.as_str()), expected, "{is_giver} {in_block:?}");
            assert_eq!(f.take().len(), usize::from(in_block.is_none()));
        }
    }
}

#[test]
fn a_sieve_lets_each_through_once_and_knows_what_is_held() {
    let mut f = Fixture::new(ALL);
    let [first, second] = [plan(0, 0, 5), plan(0, 1, 5)];
    assert_eq!(f.put(1, &[first, first]), [Ok(Sifted::New), Ok(Sifted::Twice)]);
    let duplicate = Ok(Sifted::Duplicate(Status::Submitted));
    assert_eq!(f.put(2, &[first, second]), [duplicate, Ok(Sifted::New)]);
}

#[test]
fn a_full_pool_puts_nothing_into_the_log_that_nobody_makes_room_for() {
    let mut f = Fixture::new(Limits { transactions_max: 2, ..Limits::default() });
    assert_eq!(f.put(1, &[plan(0, 0, 50), plan(1, 0, 50)]), [Ok(Sifted::New), Ok(Sifted::New)]);
    let full = f.put(2, &[plan(2, 0, 5)]).remove(0).unwrap_err();
    assert!(matches!(full, PoolError::Full { fee_rate_min: Some(_) }), "{full}");
    assert_eq!(f.put(3, &[plan(2, 0, 90)]), [Ok(Sifted::New)]);
    assert_eq!(f.put(4, &[plan(2, 0, 120)]), [Ok(Sifted::New)], "it takes the place of its own");
    let bytes = plan(0, 0, 5).sign(&f.state).bytes().len() as u64;
    let mut f = Fixture::new(Limits { bytes_max: 2 * bytes, ..Limits::default() });
    let [low, lower] = [plan(0, 0, 50), plan(1, 0, 40)];
    assert_eq!(f.put(1, &[low, lower]), [Ok(Sifted::New), Ok(Sifted::New)]);
    assert!(matches!(f.put(2, &[plan(2, 0, 40)])[..], [Err(PoolError::Full { .. })]));
}

fn plans() -> impl Strategy<Value = Vec<Vec<Plan>>> {
    let amount = prop_oneof![Just(1), Just(BALANCE / 3), Just(BALANCE)];
    let plan = (0_usize..2, 0_u64..5, 0_u64..4, amount, 0_u64..12).prop_map(
        |(sender, sequence, fee, amount, expires)| Plan {
            amount,
            expires,
            ..plan(sender, sequence, 100 + 8 * fee)
        },
    );
    prop::collection::vec(prop::collection::vec(plan, 1..5), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Without others a pool with a log takes and refuses what one with a journal does, and for the
    /// same reasons, however the submissions are put together.
    #[test]
    fn alone_with_a_log_is_as_alone_with_a_journal(rounds in plans()) {
        let (mut journal, mut log) = (Fixture::new(ALL), Fixture::new(ALL));
        for (position, round) in (1..).zip(&rounds) {
            let sifted = log.put(position, round);
            for (plan, sifted) in round.iter().zip(sifted) {
                let state = &journal.state;
                let inserted = journal.pool.insert(plan.sign(state), state);
                match (inserted, sifted) {
                    (Ok(inserted), Ok(sifted)) => {
                        let is_added = matches!(inserted, Inserted::Added { .. });
                        prop_assert_eq!(is_added, sifted == Sifted::New);
                    }
                    (Err(one), Err(other)) => prop_assert_eq!(one.code(), other.code()),
                    (one, other) => prop_assert!(false, "{one:?} {other:?} {plan:?}"),
                }
            }
            prop_assert_eq!(journal.take(), log.take());
            journal.pool.advance(&extend(&mut journal.state, vec![]), &journal.state);
            log.pool.advance(&extend(&mut log.state, vec![]), &log.state);
        }
        for sender in 0..2 {
            let next = |f: &Fixture| f.pool.next_sequence(&address(sender), &f.state);
            prop_assert_eq!(next(&journal), next(&log));
        }
        prop_assert_eq!(journal.pool.counts().submitted, log.pool.counts().submitted);
    }
}
