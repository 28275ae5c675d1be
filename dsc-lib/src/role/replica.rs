//! A copy of the ledger's state that follows a blockchain server without trusting it.
//!
//! What the server sends is taken by [`Replica::receive`], checked piece by piece as [`Work`] away
//! from the role, and applied by [`Replica::finish`].
//!
//! # Invariants
//!
//! 1. The state moves only by checked blocks or by a snapshot that its signed tip commits to.
//! 2. Whatever the server answers, the state stays one that the chain's rules allow.
//! 3. Blocks of one answer are checked one after the other, each on the state that the one before
//!    led to.
//! 4. Where no server has the blocks that come next, for all began at a snapshot after them, the
//!    state goes on from a snapshot as at the start; it never goes back.

use std::{collections::VecDeque, sync::Arc};

use thiserror::Error;

use super::{
    Answer, Call, NOT_HERE,
    work::{Finished, Job, Outcome, Work},
};
use crate::{
    block::Header,
    codec::{self, DecodeError},
    genesis::Chain,
    ledger::{BlockError, CheckedBlock, RestoreError, Snapshot, StaleBlock, State},
    units::{Height, Millis},
};

/// The state as far as it has been followed.
#[derive(Debug)]
pub struct Replica {
    state: Arc<State>,
    fresh: bool,
    /// Received and not handed out as work yet.
    inbox: VecDeque<Parcel>,
}

/// Something of an answer that is checked at once.
#[derive(Debug)]
enum Parcel {
    Snapshot(Vec<u8>),
    Block(Vec<u8>),
}

/// A parcel and the state to check it on.
#[derive(Debug)]
pub(super) struct Following {
    state: Arc<State>,
    parcel: Parcel,
}

/// What a parcel was found to be.
#[derive(Debug)]
pub(super) enum Followed {
    /// The state at the server's tip.
    State(Box<State>),
    /// The next block.
    Block(Arc<CheckedBlock>),
    /// A block that is applied already, as a doubled answer brings.
    Old,
    /// What no honest server sends.
    Wrong(ReplicaError),
}

/// An answer of the blockchain server that no honest one gives.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The bytes are no block or snapshot.
    #[error("the blockchain server sent what is not canonical: {0}")]
    Decode(#[from] DecodeError),
    /// A block breaks a rule.
    #[error("the blockchain server sent a block that breaks a rule: {0}")]
    Block(#[from] BlockError),
    /// The snapshot is not the state its tip commits to.
    #[error("the blockchain server sent a wrong snapshot: {0}")]
    Snapshot(#[from] RestoreError),
    /// The block does not follow the state.
    #[error(transparent)]
    Stale(#[from] StaleBlock),
    /// The answer is to another question.
    #[error("the blockchain server answered another question")]
    OtherAnswer,
}

impl Replica {
    /// A replica that knows the genesis only.
    pub fn new(chain: Chain) -> Self {
        Self { state: Arc::new(State::genesis(chain)), fresh: true, inbox: VecDeque::new() }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to compute with away from the role. As long as somebody holds it, applying a
    /// block copies every account.
    pub fn shared_state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Whether it has heard nothing from a blockchain server yet.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The call that brings the replica forward: a snapshot at first, then blocks.
    pub fn call(&self, wait: Millis) -> Call {
        if self.fresh {
            return Call::Snapshot;
        }
        Call::Blocks { from: self.next_height(), wait }
    }

    /// The height of the block that comes next.
    pub fn next_height(&self) -> Height {
        self.state.round().height
    }

    /// Takes the answer to [`Replica::call`]; what is in it is checked as [`Replica::work`]. That
    /// nobody has the blocks any more makes the replica one that has heard nothing yet.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::OtherAnswer`].
    pub fn receive(&mut self, answer: Answer) -> Result<(), ReplicaError> {
        self.inbox.clear();
        match answer {
            Answer::Snapshot(bytes) => self.inbox.push_back(Parcel::Snapshot(bytes)),
            Answer::Refused(refusal) if refusal.code == NOT_HERE => self.fresh = true,
            Answer::Blocks(blocks) => self.inbox.extend(blocks.into_iter().map(Parcel::Block)),
            _ => return Err(ReplicaError::OtherAnswer),
        }
        Ok(())
    }

    /// Whether there is nothing left of what was received.
    pub fn is_idle(&self) -> bool {
        self.inbox.is_empty()
    }

    /// What is to be checked next of what was received, if anything is. Its outcome goes to
    /// [`Replica::finish`] before more work is asked for.
    pub fn work(&mut self) -> Option<Work> {
        let parcel = self.inbox.pop_front()?;
        Some(Work(Job::Follow(Box::new(Following { state: self.state.clone(), parcel }))))
    }

    /// Moves the state by what came of [`Replica::work`]; returns the block that was applied, if
    /// it was a block.
    ///
    /// # Errors
    ///
    /// [`ReplicaError`] for anything an honest server does not send; what was received after it is
    /// forgotten.
    pub fn finish(&mut self, done: Finished) -> Result<Option<Arc<CheckedBlock>>, ReplicaError> {
        let moved = match done.0 {
            Outcome::Followed(followed) => self.advance(*followed),
            Outcome::Drafted(_) => Err(ReplicaError::OtherAnswer),
        };
        if moved.is_err() {
            self.inbox.clear();
        }
        moved
    }

    fn advance(&mut self, followed: Followed) -> Result<Option<Arc<CheckedBlock>>, ReplicaError> {
        match followed {
            Followed::Wrong(error) => return Err(error),
            Followed::Old => {}
            Followed::State(state) => self.restore(*state),
            Followed::Block(block) => {
                self.apply(&block)?;
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Takes the answer to [`Replica::call`] and checks it at once; returns the blocks that were
    /// applied.
    ///
    /// # Errors
    ///
    /// [`ReplicaError`] for anything an honest server does not send; blocks before it are applied.
    pub fn absorb(&mut self, answer: Answer) -> Result<Vec<Arc<CheckedBlock>>, ReplicaError> {
        self.receive(answer)?;
        let mut blocks = Vec::new();
        while let Some(work) = self.work() {
            blocks.extend(self.finish(work.run())?);
        }
        Ok(blocks)
    }

    /// Applies a block this role has made and the ledger has accepted.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if the state has moved on meanwhile.
    pub fn apply(&mut self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        Arc::make_mut(&mut self.state).apply(block)
    }

    fn restore(&mut self, state: State) {
        if state.round().height >= self.next_height() {
            self.state = Arc::new(state);
        }
        self.fresh = false;
    }
}

impl Following {
    pub(super) fn run(self) -> Followed {
        let Self { state, parcel } = self;
        let found = match parcel {
            Parcel::Snapshot(bytes) => restored(&state, &bytes),
            Parcel::Block(bytes) => checked(&state, &bytes),
        };
        found.unwrap_or_else(Followed::Wrong)
    }
}

fn restored(state: &State, bytes: &[u8]) -> Result<Followed, ReplicaError> {
    let snapshot: Snapshot = codec::decode(bytes)?;
    let restored = State::from_snapshot(state.chain().clone(), snapshot)?;
    Ok(Followed::State(Box::new(restored)))
}

fn checked(state: &State, bytes: &[u8]) -> Result<Followed, ReplicaError> {
    let (header, _) = codec::decode_first::<Header>(bytes)?;
    if header.height < state.round().height {
        return Ok(Followed::Old);
    }
    state.check_bytes(bytes).map(Followed::Block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::Ledger,
        role::Refusal,
        testing::{ALICE, BOB, address, chain, next_block, pay},
    };

    /// Work that has run holds the state no longer: applying moves the accounts, and copies none.
    #[test]
    fn a_block_is_applied_to_the_accounts_where_they_are() {
        let mut replica = Replica::new(chain());
        let block = next_block(replica.state(), vec![], vec![pay(&ALICE, 0, address(&BOB), 1)]);
        let place = Arc::as_ptr(&replica.state);
        replica.receive(Answer::Blocks(vec![block.to_bytes()])).unwrap();
        let done = replica.work().unwrap().run();
        assert_eq!(Arc::strong_count(&replica.state), 1);
        assert_eq!(replica.finish(done).unwrap().unwrap().hash(), block.hash());
        assert_eq!(Arc::as_ptr(&replica.state), place);
        assert_eq!(replica.next_height(), Height(1));
    }

    #[test]
    fn blocks_of_one_answer_are_checked_one_after_the_other_up_to_a_wrong_one() {
        let mut state = State::genesis(chain());
        let mut blocks = Vec::new();
        for sequence in 0..4 {
            let payment = pay(&ALICE, sequence, address(&BOB), 1);
            let block = next_block(&state, vec![], vec![payment]);
            state.apply(&block).unwrap();
            blocks.push(block.to_bytes());
        }
        let mut replica = Replica::new(chain());
        blocks[2].pop();
        replica.receive(Answer::Blocks(blocks)).unwrap();
        for height in 1..3 {
            let done = replica.work().unwrap().run();
            assert!(replica.finish(done).unwrap().is_some());
            assert_eq!(replica.next_height(), Height(height));
        }
        let done = replica.work().unwrap().run();
        assert!(matches!(replica.finish(done), Err(ReplicaError::Decode(_))));
        assert!(replica.work().is_none(), "what follows a wrong block is forgotten");
    }

    /// All servers that answer began at a snapshot after what it knows.
    #[test]
    fn blocks_that_nobody_has_any_more_are_passed_by_a_snapshot() {
        let mut ledger = Ledger::in_memory(chain());
        let mut snapshot = || {
            let block = next_block(ledger.state(), vec![], vec![]);
            ledger.commit(&block).unwrap();
            Answer::Snapshot(codec::encode(&ledger.snapshot().unwrap()))
        };
        let (early, late) = (snapshot(), snapshot());
        let not_here = || Answer::Refused(Refusal::new(NOT_HERE, "it began at a snapshot"));
        let mut replica = Replica::new(chain());
        let mut absorb = |answer| {
            assert!(replica.absorb(answer).unwrap().is_empty());
            (replica.call(Millis(1)), replica.next_height())
        };
        let blocks_from = |from| (Call::Blocks { from, wait: Millis(1) }, from);
        assert_eq!(absorb(early.clone()), blocks_from(Height(1)));
        assert_eq!(absorb(not_here()), (Call::Snapshot, Height(1)));
        assert_eq!(absorb(late), blocks_from(Height(2)));
        assert_eq!(absorb(not_here()), (Call::Snapshot, Height(2)));
        assert_eq!(absorb(early), blocks_from(Height(2)), "it never goes back");
        let refused = Replica::new(chain()).absorb(Answer::Refused(Refusal::new("other", "no")));
        assert!(matches!(refused, Err(ReplicaError::OtherAnswer)));
    }
}
