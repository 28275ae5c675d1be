//! The pool: holds transactions until the ledger has them.
//!
//! # Invariants
//!
//! 1. A transaction is checked, signature included, before it is held.
//! 2. The pool learns of confirmations from the ledger, never from the metronome, so nothing is
//!    dropped because a message was lost.
//! 3. Of what its journal holds, or the log that several pools apply, nothing is dropped unless no
//!    later block can take it, however old the ledger is that the pool was shown at its start.
//! 4. Pools that apply one log hold the same, but for what the ledger has ended meanwhile.

use std::{collections::HashMap, io, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Active, Answer, Finished, Lost, Next, Refusal, Replica};
use crate::{
    address::Address,
    cluster::Position,
    genesis::Chain,
    mempool::{
        Counts, Entered, Inserted, Latency, Limits, Mempool, Note, PoolError, Restored, Sieve,
        Status,
        feed::{Claim, Feed, Origin, Removal, Tag},
        journal::Journal,
    },
    transaction::{CheckedTransaction, Transaction, TransactionId},
    units::{Height, Millis},
};

/// How long a question for new blocks may stay open.
const FOLLOW_WAIT: Millis = Millis(5_000);
/// Pause between questions for new blocks when nothing came.
const FOLLOW_PAUSE: Millis = Millis(50);
/// Pause after a lost or unusable answer.
const RETRY_PAUSE: Millis = Millis(500);
/// Blocks a metronome may be ahead of what this pool has followed.
const TAKE_AHEAD: u64 = 2;
/// Most bytes of transactions in one answer to a metronome.
const TAKE_BYTES_MAX: u64 = 64 << 20;

/// What became of one submitted transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It is held now.
    Added {
        /// Its id.
        id: TransactionId,
    },
    /// It was known already; nothing changed.
    Known {
        /// Its id.
        id: TransactionId,
        /// How it stands.
        status: Status,
    },
    /// It is not held.
    Rejected {
        /// Its id.
        id: TransactionId,
        /// Why.
        #[serde(flatten)]
        refusal: Refusal,
        /// Whether the same transaction may be taken later, once others have ended.
        retry: bool,
    },
}

impl Outcome {
    /// The outcome of a transaction that the pool refuses.
    pub fn refused(id: TransactionId, error: &PoolError) -> Self {
        let (refusal, retry) = (Refusal::new(error.code(), error), error.may_pass());
        Self::Rejected { id, refusal, retry }
    }

    /// The id of the transaction, if the pool holds it after all.
    pub fn held_id(&self) -> Option<TransactionId> {
        match self {
            Self::Added { id }
            | Self::Known { id, status: Status::Submitted | Status::Unconfirmed { .. } } => {
                Some(*id)
            }
            _ => None,
        }
    }
}

/// What became of the records of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoredCounts {
    /// Pending.
    pub pending: u64,
    /// Refused by the ledger as it is now; they wait until it has gone on.
    pub waiting: u64,
    /// On the ledger, expired or otherwise over.
    pub ended: u64,
}

impl RestoredCounts {
    fn add(&mut self, restored: Restored) {
        let count = match restored {
            Restored::Pending => &mut self.pending,
            Restored::Waiting => &mut self.waiting,
            Restored::Ended => &mut self.ended,
        };
        *count = count.saturating_add(1);
    }
}

/// The sequence an address should use next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextSequence {
    /// The account's, plus the transactions held without a gap.
    pub sequence: u64,
    /// The height of the next block, from which a sender counts the expiry.
    pub height: Height,
}

/// What a pool tells those who look on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// How much is held.
    pub counts: Counts,
    /// How long transactions took until the ledger had them.
    pub latency: Latency,
    /// The last block that was followed.
    pub height: Option<Height>,
    /// What went wrong with the blockchain server last, if it is not mended.
    pub fault: Option<String>,
    /// Some of the transactions that came lately, newest first.
    pub recent: Vec<RecentTransaction>,
}

/// A transaction that came lately, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentTransaction {
    /// What was noted of it.
    pub note: Note,
    /// How it stands; nothing if the pool does not remember it.
    pub status: Option<Status>,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    replica: Replica,
    mempool: Mempool,
    feed: Feed,
    wake_at: Millis,
    fault: Option<String>,
}

impl Pool {
    /// An empty pool for a chain.
    pub fn new(chain: Chain, limits: Limits) -> Self {
        let (replica, mempool) = (Replica::new(chain), Mempool::new(limits));
        Self { replica, mempool, feed: Feed::default(), wake_at: Millis(0), fault: None }
    }

    /// The replica of the ledger's state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What went wrong with the blockchain server last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Says what time it is, for figures alone.
    pub fn tell_time(&mut self, now: Millis) {
        self.mempool.tell_time(now);
    }

    /// Holds a checked transaction.
    pub fn submit(&mut self, transaction: Arc<CheckedTransaction>) -> Outcome {
        let id = transaction.id();
        match self.mempool.insert(transaction, self.replica.state()) {
            Ok(Inserted::Duplicate(status)) => Outcome::Known { id, status },
            Ok(_) => Outcome::Added { id },
            Err(error) => Outcome::refused(id, &error),
        }
    }

    /// Looks at what is to be put into the log that several pools apply.
    pub fn sieve(&self) -> Sieve<'_> {
        self.mempool.sieve(self.replica.state())
    }

    /// How far the log is applied.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Applies a batch of the log, of so many bytes; the pool must have followed the ledger. `is_own`
    /// says that they were submitted here, for figures alone.
    pub fn apply(
        &mut self,
        origin: Origin,
        (tag, bytes): (Tag, u64),
        transactions: &[Arc<CheckedTransaction>],
        is_own: bool,
    ) -> Vec<Outcome> {
        let outcomes: Vec<_> = transactions.iter().map(|one| self.enter(one, origin)).collect();
        if is_own {
            let is_added = |outcome: &&Outcome| matches!(outcome, Outcome::Added { .. });
            self.mempool.count_added(outcomes.iter().filter(is_added).count() as u64);
        }
        let claims = transactions.iter().map(|transaction| Claim::of(transaction)).collect();
        self.feed.apply(origin.position, tag, bytes, claims);
        outcomes
    }

    fn enter(&mut self, transaction: &Arc<CheckedTransaction>, origin: Origin) -> Outcome {
        let id = transaction.id();
        match self.mempool.enter(Arc::clone(transaction), self.replica.state(), origin) {
            Entered::Held => Outcome::Added { id },
            Entered::Duplicate(status) => Outcome::Known { id, status },
            Entered::Refused(error) => Outcome::refused(id, &error),
        }
    }

    /// Passes over what is in the log at `position` and is no batch.
    pub fn skip(&mut self, position: Position, bytes: &[u8]) {
        self.feed.skip(position, bytes);
    }

    /// Batches of the log that the ledger has ended, if there are any; of a crowded log also those of
    /// which nothing is held any more, for all were replaced or had to make room.
    pub fn ended(&mut self) -> Option<Removal> {
        let (state, mempool) = (self.replica.state(), &self.mempool);
        let next = state.round().height;
        let is_crowded = self.feed.is_crowded(mempool.counts().bytes);
        self.feed.ended_by(|claim| {
            claim.expires < next
                || claim.sequence < state.account(&claim.sender).sequence
                || (is_crowded && mempool.find_claimed(claim).is_none())
        })
    }

    /// Of a crowded log: some batches of which little is held, and what that is, to be put into the log
    /// again. `is_own` tells those that this process wrote.
    pub fn sparse(
        &mut self,
        is_own: impl Fn(Tag) -> bool,
    ) -> Option<(Vec<Position>, Vec<Arc<CheckedTransaction>>)> {
        let mempool = &self.mempool;
        if !self.feed.is_crowded(mempool.counts().bytes) {
            return None;
        }
        let sparse = self.feed.sparse(is_own, |claim| mempool.find_claimed(claim).is_some());
        let held = sparse.claims.iter().filter_map(|claim| mempool.find_claimed(claim).cloned());
        Some((sparse.positions, held.collect())).filter(|(positions, _)| !positions.is_empty())
    }

    /// Notes that what is held of these batches is in the log once more.
    pub fn moved(&mut self, positions: &[Position]) {
        self.feed.moved(positions);
    }

    /// Notes that these are removed from the log.
    pub fn removed(&mut self, removal: &Removal) {
        self.feed.removed(removal);
    }

    /// Forgets the log, in whose place another one has begun; returns what is held, which that one
    /// may not have.
    pub fn restart_feed(&mut self) -> Vec<Arc<CheckedTransaction>> {
        self.feed.restart();
        self.mempool.held()
    }

    /// Takes in what a journal holds, which was acknowledged before. What no later block can take has
    /// ended and is forgotten; what the ledger refuses for now, as one does that was put back, stays in
    /// the journal and waits until the ledger has gone on. The pool must have followed the ledger.
    ///
    /// Of several with one sender and sequence the last counts: whatever was before it had given
    /// way, and would now keep its place from it.
    ///
    /// # Errors
    ///
    /// What the disk says; then it is to be tried again.
    pub fn restore(&mut self, journal: &mut Journal) -> io::Result<RestoredCounts> {
        let chain = self.replica.state().chain().clone();
        let mut last = HashMap::new();
        for index in 0..journal.unread() {
            for encoded in journal.read(index)? {
                last.insert(place_of(&encoded.decode()), encoded.id(&chain.hash()));
            }
        }
        let mut counts = RestoredCounts::default();
        for index in 0..journal.unread() {
            let checked = chain.checker().check_all(journal.read(index)?).into_iter().flatten();
            let is_last = |one: &Arc<CheckedTransaction>| {
                last.get(&(one.sender(), one.sequence())) == Some(&one.id())
            };
            let ids = checked.filter(is_last).filter_map(|one| {
                let id = one.id();
                let restored = self.mempool.restore(one, self.replica.state());
                counts.add(restored);
                (restored != Restored::Ended).then_some(id)
            });
            journal.adopt(index, ids.collect::<Vec<_>>().into_iter());
        }
        Ok(counts)
    }

    /// Transactions for the block at `height`, best first. Asking again gives them again.
    ///
    /// Anybody may ask, so a height that no metronome can be at gets nothing: what is handed out
    /// is neither evicted nor replaced until its block is there.
    pub fn take(&mut self, height: Height) -> Vec<Arc<CheckedTransaction>> {
        let next = self.replica.next_height().0;
        if !(next..=next.saturating_add(TAKE_AHEAD)).contains(&height.0) {
            return Vec::new();
        }
        let limits = self.replica.state().chain().genesis().limits;
        let count = usize::try_from(limits.block_transactions).unwrap_or(usize::MAX);
        self.mempool.take(height, count, limits.block_bytes.min(TAKE_BYTES_MAX))
    }

    /// A transaction that is held.
    pub fn find(&self, id: &TransactionId) -> Option<&Arc<CheckedTransaction>> {
        self.mempool.find(id)
    }

    /// How a transaction stands, if it is known.
    pub fn status(&self, id: &TransactionId) -> Option<Status> {
        self.mempool.status(id)
    }

    /// The sequence an address should use next.
    pub fn next_sequence(&self, address: &Address) -> NextSequence {
        let state = self.replica.state();
        let sequence = self.mempool.next_sequence(address, state);
        NextSequence { sequence, height: state.round().height }
    }

    /// How much is held.
    pub fn counts(&self) -> Counts {
        self.mempool.counts()
    }

    /// How long transactions took until the ledger had them.
    pub fn latency(&self) -> &Latency {
        self.mempool.latency()
    }

    /// What was noted of a transaction, if it came lately and was not one of too many.
    pub fn note(&self, id: &TransactionId) -> Option<&Note> {
        self.mempool.notes().find(|note| note.id == *id)
    }

    /// What there is to see.
    pub fn activity(&self) -> Activity {
        let recent = self
            .mempool
            .notes()
            .map(|note| RecentTransaction { note: *note, status: self.mempool.status(&note.id) });
        Activity {
            counts: self.counts(),
            latency: self.latency().clone(),
            height: self.replica.state().height(),
            fault: self.fault.clone(),
            recent: recent.collect(),
        }
    }

    fn fail(&mut self, now: Millis, fault: String) {
        self.fault = Some(fault);
        self.wake_at = now.plus(RETRY_PAUSE);
    }
}

/// What no two transactions of a ledger share.
fn place_of(transaction: &Transaction) -> (Address, u64) {
    (transaction.sender.address(), transaction.sequence)
}

impl Active for Pool {
    fn next(&mut self, now: Millis) -> Next {
        if now < self.wake_at {
            return Next::Wait(self.wake_at);
        }
        match self.replica.work() {
            Some(work) => Next::Work(work),
            None => Next::Call(self.replica.call(FOLLOW_WAIT)),
        }
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        let received = match answer {
            Ok(answer) => self.replica.receive(answer).map_err(|error| error.to_string()),
            Err(lost) => Err(lost.to_string()),
        };
        match received {
            Ok(()) if self.replica.is_idle() => {
                self.fault = None;
                self.wake_at = now.plus(FOLLOW_PAUSE);
            }
            Ok(()) => self.wake_at = now,
            Err(fault) => self.fail(now, fault),
        }
    }

    fn finish(&mut self, now: Millis, done: Finished) {
        match self.replica.finish(done) {
            Ok(block) => {
                self.fault = None;
                self.mempool.tell_time(now);
                if let Some(block) = block {
                    self.mempool.advance(&block, self.replica.state());
                }
            }
            Err(error) => self.fail(now, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Disk, Memory},
        ledger::{CheckedBlock, State},
        testing::{ALICE, BOB, CAROL, address, chain, checked, coins, draft, next_block},
    };

    /// What a disk holds of a journal to which these were appended.
    fn journal_of(acknowledged: &[Arc<CheckedTransaction>]) -> Arc<Memory> {
        let disk = Arc::new(Memory::default());
        Journal::open(disk.clone()).unwrap().append(acknowledged).unwrap();
        disk
    }

    fn follow(pool: &mut Pool, block: &CheckedBlock) {
        pool.answer(Millis(0), Ok(Answer::Blocks(vec![block.to_bytes()])));
        while let Some(work) = pool.replica.work() {
            pool.finish(Millis(0), work.run());
        }
        assert_eq!(pool.fault(), None);
    }

    /// The first was evicted before the second came; nothing says so in the journal.
    #[test]
    fn of_two_with_one_sequence_the_one_acknowledged_last_is_taken_in() {
        let mut pool = Pool::new(chain(), Limits::default());
        let state = pool.replica().state();
        let pay = |fee| draft(0, address(&BOB), coins(1), coins(fee)).sign(&chain().hash(), &ALICE);
        let [evicted, held] = [2, 1].map(|fee| checked(state, pay(fee)));
        let disk = journal_of(&[evicted.clone(), held.clone()]);
        pool.restore(&mut Journal::open(disk).unwrap()).unwrap();
        assert_eq!(pool.status(&evicted.id()), None);
        assert_eq!(pool.status(&held.id()), Some(Status::Submitted));
    }

    /// Carol was paid in a block that the ledger has lost, or a lagging server does not show, when
    /// the pool starts again with a payment of hers that it had acknowledged.
    #[test]
    fn a_payment_acknowledged_before_the_ledger_was_put_back_is_held_until_it_is_forward_again() {
        let mut state = State::genesis(chain());
        let sign = |key, sequence, to, amount| {
            draft(sequence, to, coins(amount), coins(0)).sign(&chain().hash(), key)
        };
        let funds = next_block(&state, vec![], vec![sign(&ALICE, 0, address(&CAROL), 9)]);
        state.apply(&funds).unwrap();
        let payment = checked(&state, sign(&CAROL, 0, address(&BOB), 5));
        let disk = journal_of(std::slice::from_ref(&payment));
        // Any number of starts on the old ledger change nothing.
        for _ in 0..2 {
            let mut pool = Pool::new(chain(), Limits::default());
            let mut journal = Journal::open(disk.clone()).unwrap();
            let counts = pool.restore(&mut journal).unwrap();
            assert_eq!(counts, RestoredCounts { waiting: 1, ..RestoredCounts::default() });
            let find = |id: &TransactionId| pool.find(id).cloned();
            journal.retire(find, pool.counts().bytes).unwrap();
            assert!(disk.list().unwrap().contains(&"0000000000.segment".to_owned()));
            assert_eq!(pool.status(&payment.id()), Some(Status::Submitted));
            assert_eq!(pool.take(Height(0)), []);
            follow(&mut pool, &funds);
            assert_eq!(pool.take(Height(1)), std::slice::from_ref(&payment));
        }
        let mut pool = Pool::new(chain(), Limits::default());
        follow(&mut pool, &funds);
        let block = next_block(&state, vec![], vec![payment.encoded().decode()]);
        follow(&mut pool, &block);
        let mut journal = Journal::open(disk.clone()).unwrap();
        assert_eq!(pool.restore(&mut journal).unwrap().ended, 1);
        journal.retire(|id| pool.find(id).cloned(), pool.counts().bytes).unwrap();
        assert!(!disk.list().unwrap().contains(&"0000000000.segment".to_owned()));
    }

    /// A journal may lie in the folder of another chain's pool.
    #[test]
    fn a_transaction_of_another_chain_is_not_held() {
        let mut pool = Pool::new(chain(), Limits::default());
        let other = crate::hash::Digest([7; 32]);
        let foreign = draft(0, address(&BOB), coins(1), coins(1)).sign(&other, &ALICE);
        let disk = journal_of(&[Arc::new(foreign.check(&other).unwrap())]);
        let counts = pool.restore(&mut Journal::open(disk).unwrap()).unwrap();
        assert_eq!((counts, pool.counts().submitted), (RestoredCounts::default(), 0));
    }
}
