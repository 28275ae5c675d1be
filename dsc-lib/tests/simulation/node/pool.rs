//! The pool, as the program runs it: what it holds is on disk before it says so.
//!
//! Whatever waits is held in one round and written at once; `dsc-cli/src/role/pool` does the same
//! with threads.

use std::{io, mem, sync::Arc};

use dsc_lib::{
    mempool::journal::Journal,
    role::{
        Answer, Call, Lost, Refusal,
        pool::{Outcome, Pool},
    },
    transaction::{CheckedTransaction, Encoded},
};

use crate::{
    event::{Asked, Caller, Event, Node},
    world::World,
};

/// The pool, while it is up.
#[derive(Debug, Default)]
pub(crate) struct PoolNode {
    pub(crate) role: Option<Pool>,
    journal: Option<Journal>,
    /// Whether what the journal held has been taken in.
    is_restored: bool,
    /// Held, and not in the journal yet: an append failed.
    unsynced: Vec<Arc<CheckedTransaction>>,
    /// Submissions that wait until the round before is on disk.
    turns: Vec<Asked>,
    round: Option<Round>,
}

/// Submissions on their way to the disk.
#[derive(Debug)]
struct Round {
    ticket: u64,
    answers: Vec<(Asked, Vec<Outcome>)>,
    written: io::Result<()>,
}

impl World {
    pub(crate) fn start_pool(&mut self) -> bool {
        let disk = self.machine(Node::Pool).disk.clone().unwrap();
        let Ok(journal) = Journal::open(Arc::new(disk)) else {
            self.counts.add("journal not opened");
            return false;
        };
        if journal.torn().next().is_some() {
            self.counts.add("torn journal");
        }
        let role = Some(Pool::new(self.chain(), self.plan.pool));
        self.pool = PoolNode { role, journal: Some(journal), ..PoolNode::default() };
        true
    }

    pub(crate) fn serve_pool(&mut self, asked: Asked) {
        if let (Caller::Payment(_), Call::SubmitTransactions(all)) = (asked.caller, &asked.call) {
            self.thief.overheard = all.first().cloned();
        }
        if self.pool_lies(&asked) {
            return;
        }
        if matches!(asked.call, Call::SubmitTransactions(_)) && self.pool.is_restored {
            self.pool.turns.push(asked);
            return self.next_round();
        }
        let answer = self.answer_pool(&asked.call);
        self.reply(&asked, &answer);
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
            Call::PoolActivity => Answer::PoolActivity(Box::new(pool.activity())),
            // One that has not followed the ledger would judge by balances of long ago.
            Call::SubmitTransactions(_) => return Err(Lost::new("the pool is not ready")),
            other => panic!("{other:?} is not for the pool"),
        })
    }

    /// Holds all that waits, and hands it to the disk.
    fn next_round(&mut self) {
        let PoolNode { role, journal, unsynced, turns, round, .. } = &mut self.pool;
        let (Some(pool), Some(journal), None) = (role, journal, round) else { return };
        // What has ended by now needs no journal.
        unsynced.retain(|transaction| pool.find(&transaction.id()).is_some());
        let mut answers = Vec::new();
        for asked in mem::take(turns) {
            let Call::SubmitTransactions(all) = &asked.call else { continue };
            let outcomes = all.iter().map(|one| hold(pool, one, unsynced)).collect();
            answers.push((asked, outcomes));
        }
        self.machines.get_mut(&Node::Pool).unwrap().begin_write();
        let written = journal.append(unsynced);
        if written.is_ok() {
            unsynced.clear();
        }
        if self.strike(Node::Pool) {
            return;
        }
        let ticket = self.queue.ticket();
        self.pool.round = Some(Round { ticket, answers, written });
        let time = self.disk_time(Node::Pool);
        self.schedule(time, Event::Stored(Node::Pool, ticket));
    }

    /// The disk has what was held: only now those who sent it hear of that.
    pub(crate) fn stored_round(&mut self, ticket: u64) {
        let Some(round) = self.pool.round.take_if(|round| round.ticket == ticket) else { return };
        self.machine(Node::Pool).end_write();
        if round.written.is_err() {
            self.counts.add("submission not stored");
        }
        for (asked, outcomes) in round.answers {
            let answer = match &round.written {
                Ok(()) => {
                    self.acknowledge(&outcomes);
                    Ok(Answer::TransactionsSubmitted(outcomes))
                }
                Err(error) => Err(Lost::new(error)),
            };
            self.reply(&asked, &answer);
        }
        if !self.retire() && !self.pool.turns.is_empty() {
            self.next_round();
        }
    }

    fn acknowledge(&mut self, outcomes: &[Outcome]) {
        let Some(pool) = &self.pool.role else { return };
        for id in outcomes.iter().filter_map(Outcome::held_id) {
            if let Some(transaction) = pool.find(&id) {
                self.judge.pool_acknowledged(transaction);
            }
        }
    }

    /// Removes from the journal what has ended; says whether the machine crashed over it.
    fn retire(&mut self) -> bool {
        let PoolNode { role: Some(pool), journal: Some(journal), .. } = &mut self.pool else {
            return true;
        };
        // If it cannot be shortened it is tried again later.
        let _ = journal.retire(|id| pool.find(id).cloned(), pool.counts().bytes);
        self.strike(Node::Pool)
    }

    /// After each step of the pool: takes in what the journal holds, once the pool knows the
    /// ledger's state; from then on removes from the journal what has ended.
    pub(crate) fn follow_pool(&mut self) {
        let fresh = self.pool.role.as_ref().is_none_or(|pool| pool.replica().is_fresh());
        if fresh || self.pool.round.is_some() {
            return;
        }
        if self.pool.is_restored {
            return self.next_round();
        }
        let PoolNode { role: Some(pool), journal: Some(journal), .. } = &mut self.pool else {
            return;
        };
        for index in 0..journal.unread() {
            let held = journal.read(index).unwrap_or_default();
            let ids: Vec<_> = held.iter().map(|one| one.id(&self.genesis.hash())).collect();
            self.trace.note(self.now, format_args!("segment {index} holds {ids:?}"));
        }
        if pool.restore(journal).is_err() {
            return self.counts.add("journal not read");
        }
        let max = self.plan.pool.transactions_max;
        self.judge.pool_restored(pool, max, &mut self.counts);
        self.pool.is_restored = true;
        self.counts.add("journal taken in");
    }
}

fn hold(
    pool: &mut Pool,
    transaction: &Encoded,
    unsynced: &mut Vec<Arc<CheckedTransaction>>,
) -> Outcome {
    let chain = pool.replica().state().chain().clone();
    match chain.checker().check(transaction.clone()) {
        Ok(checked) => {
            let checked = Arc::new(checked);
            let outcome = pool.submit(checked.clone());
            if matches!(outcome, Outcome::Added { .. }) {
                unsynced.push(checked);
            }
            outcome
        }
        Err((id, error)) => {
            Outcome::Rejected { id, refusal: Refusal::new(error.code(), error), retry: false }
        }
    }
}
