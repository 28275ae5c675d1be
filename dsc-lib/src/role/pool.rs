//! The pool: holds transactions until the ledger has them.
//!
//! # Invariants
//!
//! 1. A transaction is checked, signature included, before it is held.
//! 2. The pool learns of confirmations from the ledger, never from the metronome, so nothing is
//!    dropped because a message was lost.

use std::{collections::HashMap, io, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Active, Answer, Finished, Lost, Next, Refusal, Replica};
use crate::{
    address::Address,
    genesis::Chain,
    mempool::{Counts, Inserted, Limits, Mempool, Status, journal::Journal},
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

/// The sequence an address should use next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextSequence {
    /// The account's, plus the transactions held without a gap.
    pub sequence: u64,
    /// The height of the next block, from which a sender counts the expiry.
    pub height: Height,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    replica: Replica,
    mempool: Mempool,
    wake_at: Millis,
    fault: Option<String>,
}

impl Pool {
    /// An empty pool for a chain.
    pub fn new(chain: Chain, limits: Limits) -> Self {
        let (replica, mempool) = (Replica::new(chain), Mempool::new(limits));
        Self { replica, mempool, wake_at: Millis(0), fault: None }
    }

    /// The replica of the ledger's state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What went wrong with the blockchain server last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Holds a checked transaction.
    pub fn submit(&mut self, transaction: Arc<CheckedTransaction>) -> Outcome {
        let id = transaction.id();
        match self.mempool.insert(transaction, self.replica.state()) {
            Ok(Inserted::Duplicate(status)) => Outcome::Known { id, status },
            Ok(_) => Outcome::Added { id },
            Err(error) => {
                let retry = error.may_pass();
                Outcome::Rejected { id, refusal: Refusal::new(error.code(), &error), retry }
            }
        }
    }

    /// Takes in what a journal holds, which was acknowledged before; what the ledger has meanwhile
    /// is refused and so forgotten. The pool must have followed the ledger.
    ///
    /// Of several with one sender and sequence the last counts: whatever was before it had given
    /// way, and would now keep its place from it.
    ///
    /// # Errors
    ///
    /// What the disk says; then it is to be tried again.
    pub fn restore(&mut self, journal: &mut Journal) -> io::Result<()> {
        let chain = self.replica.state().chain().clone();
        let mut last = HashMap::new();
        for index in 0..journal.unread() {
            for encoded in journal.read(index)? {
                last.insert(place_of(&encoded.decode()), encoded.id(&chain.hash()));
            }
        }
        for index in 0..journal.unread() {
            let checked = chain.checker().check_all(journal.read(index)?).into_iter().flatten();
            let counts = |one: &Arc<CheckedTransaction>| {
                last.get(&(one.sender(), one.sequence())) == Some(&one.id())
            };
            let held = checked.filter(counts).filter_map(|one| self.submit(one).held_id());
            let held: Vec<_> = held.collect();
            journal.adopt(index, held.into_iter());
        }
        Ok(())
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
        disk::Memory,
        testing::{ALICE, BOB, address, chain, checked, coins, draft},
    };

    /// The first was evicted before the second came; nothing says so in the journal.
    #[test]
    fn of_two_with_one_sequence_the_one_acknowledged_last_is_taken_in() {
        let mut pool = Pool::new(chain(), Limits::default());
        let state = pool.replica().state();
        let pay = |fee| draft(0, address(&BOB), coins(1), coins(fee)).sign(&chain().hash(), &ALICE);
        let [evicted, held] = [2, 1].map(|fee| checked(state, pay(fee)));
        let disk = Arc::new(Memory::default());
        let mut journal = Journal::open(disk.clone()).unwrap();
        journal.append(&[evicted.clone(), held.clone()]).unwrap();
        drop(journal);
        pool.restore(&mut Journal::open(disk).unwrap()).unwrap();
        assert_eq!(pool.status(&evicted.id()), None);
        assert_eq!(pool.status(&held.id()), Some(Status::Submitted));
    }
}
