//! Two metronomes with a key each at one ledger, driven by hand, and a blockchain server that takes
//! blocks of the one that leads only.

use std::sync::Arc;

use dsc_lib::{
    address::Address,
    block::{Block, Header},
    codec::{self, List},
    disk::Memory,
    genesis::{Chain, Genesis},
    keys::SecretKey,
    ledger::Ledger,
    proof::{Footprint, ProofEntry},
    role::{
        Active, Answer, Call, HandIn, Lost, Next, Refusal,
        blockchain::Blockchain,
        metronome::{LastSigned, Metronome, OpenRound, Receipt, Settings},
    },
    testing::{self, CAROL, METRONOME, Miners},
    units::{Height, Millis},
};

use crate::START;

pub(crate) const NEVER: Millis = Millis(u64::MAX);
pub(crate) const INTERVAL: Millis = Millis(1000);

/// The chain of the tests with a second metronome.
pub(crate) fn genesis() -> Genesis {
    let mut genesis = testing::genesis();
    genesis.metronomes = List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap();
    genesis
}

/// A metronome, and what outlives it.
pub(crate) struct Seat {
    pub(crate) metronome: Metronome,
    pub(crate) key: SecretKey,
    disk: Memory,
}

impl Seat {
    pub(crate) fn new(chain: &Chain, key: &SecretKey) -> Self {
        let disk = Memory::default();
        let metronome = metronome(chain, key, disk.clone());
        Self { metronome, key: key.clone(), disk }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.public().address()
    }

    /// It is killed, and starts again from what is on its disk.
    pub(crate) fn restart(&mut self, chain: &Chain) {
        self.metronome = metronome(chain, &self.key, self.disk.clone());
    }
}

/// One that stands by.
fn metronome(chain: &Chain, key: &SecretKey, disk: Memory) -> Metronome {
    let signed = LastSigned::open(disk, chain, &key.public().address()).unwrap();
    let settings = Settings { key: key.clone(), epoch: 0, interval: INTERVAL, running: true };
    let mut metronome = Metronome::new(chain.clone(), settings, signed);
    metronome.stand_by();
    metronome
}

/// What one step of a metronome was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Called(Call),
    Worked,
    Waited,
}

/// Where an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    Nowhere,
    /// The call came to nobody.
    Before,
    /// It was carried out, and nobody heard of that.
    After,
}

pub(crate) struct Pair {
    pub(crate) chain: Chain,
    pub(crate) seats: [Seat; 2],
    pub(crate) blockchain: Blockchain,
    pub(crate) miners: Miners,
    /// Who leads, as blockchain servers know it.
    pub(crate) leader: Option<Address>,
    pub(crate) now: Millis,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let chain = genesis().check().unwrap();
        Self {
            seats: [Seat::new(&chain, &METRONOME), Seat::new(&chain, &CAROL)],
            blockchain: Blockchain::new(Ledger::in_memory(chain.clone())),
            miners: Miners::new(&chain),
            leader: None,
            now: START,
            chain,
        }
    }

    pub(crate) fn metronome(&mut self, seat: usize) -> &mut Metronome {
        &mut self.seats[seat].metronome
    }

    /// The seat has the lease from now on, and has heard of it.
    pub(crate) fn lead(&mut self, seat: usize, epoch: u64) {
        self.leader = Some(self.seats[seat].address());
        self.metronome(seat).lead(epoch, NEVER);
    }

    pub(crate) fn next(&mut self, seat: usize) -> Next {
        let now = self.now;
        self.metronome(seat).next(now)
    }

    pub(crate) fn answer(&mut self, seat: usize, answer: Result<Answer, Lost>) {
        let now = self.now;
        self.metronome(seat).answer(now, answer);
    }

    /// Does the next thing that a metronome wants, without losing anything.
    pub(crate) fn step(&mut self, seat: usize) -> Step {
        self.step_with(seat, Cut::Nowhere)
    }

    pub(crate) fn step_with(&mut self, seat: usize, cut: Cut) -> Step {
        let call = match self.next(seat) {
            Next::Call(call) => call,
            Next::Work(work) => {
                let now = self.now;
                self.metronome(seat).finish(now, work.run());
                return Step::Worked;
            }
            _ => return Step::Waited,
        };
        let answer = match cut {
            Cut::Nowhere => Ok(self.serve(&call)),
            Cut::Before => Err(Lost::new("refused")),
            Cut::After => {
                self.serve(&call);
                Err(Lost::new("timed out"))
            }
        };
        self.answer(seat, answer);
        Step::Called(call)
    }

    pub(crate) fn serve(&mut self, call: &Call) -> Answer {
        match call {
            Call::Snapshot => Answer::Snapshot(self.blockchain.snapshot().unwrap()),
            Call::Blocks { from, .. } => Answer::Blocks(self.blockchain.blocks(*from).unwrap()),
            Call::Take(_) => Answer::Transactions(vec![]),
            Call::SubmitBlock(bytes) => self.submit(bytes),
            other => panic!("nobody answers {other:?}"),
        }
    }

    /// As a blockchain server of several: what is on the ledger is accepted again, and a block of
    /// one that does not lead is refused.
    fn submit(&mut self, bytes: &[u8]) -> Answer {
        let (header, _) = codec::decode_first::<Header>(bytes).unwrap();
        let is_known = self.blockchain.archive().height_of(&header.hash()).unwrap().is_some();
        if !is_known && self.leader.is_some_and(|leader| leader != header.metronome) {
            return Answer::Refused(Refusal::new("not-leader", "another metronome leads"));
        }
        match self.blockchain.submit(bytes) {
            Ok(accepted) => Answer::BlockAccepted(accepted),
            Err(error) => Answer::Refused(error.refusal().unwrap()),
        }
    }

    /// Lets a metronome do all that it can do now: one that stands by until it asks for the next
    /// block and there is none.
    pub(crate) fn settle(&mut self, seat: usize) {
        for _ in 0..100 {
            let before = self.height();
            let step = self.step(seat);
            let is_at_rest = match step {
                Step::Waited => true,
                Step::Called(Call::Blocks { from, wait }) => {
                    wait > Millis(0) && Some(from) > before
                }
                _ => false,
            };
            if is_at_rest {
                return;
            }
        }
        panic!("it comes to no rest");
    }

    /// Time goes on by a bit more than a pause after a failure.
    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Millis(millis));
    }

    /// Lets time go on until a block is made by this metronome, which leads.
    pub(crate) fn make_block(&mut self, seat: usize) {
        let before = self.height();
        for _ in 0..20 {
            self.pass(300);
            self.settle(seat);
            if self.height() > before {
                return;
            }
        }
        panic!("no block after {before:?}: {:?}", self.seats[seat].metronome.fault());
    }

    pub(crate) fn height(&self) -> Option<Height> {
        self.blockchain.info().unwrap().height
    }

    pub(crate) fn block(&self, height: u64) -> Block {
        let bytes = self.blockchain.ledger().block_bytes(Height(height)).unwrap().unwrap();
        codec::decode(&bytes).unwrap()
    }

    pub(crate) fn round(&mut self, seat: usize) -> Option<OpenRound> {
        let now = self.now;
        self.metronome(seat).round(now)
    }

    /// The proofs that answer the open round of a metronome, one per engine.
    pub(crate) fn proofs(&mut self, seat: usize) -> (Height, Vec<ProofEntry>) {
        let OpenRound { height, challenge, targets, .. } = self.round(seat).unwrap();
        (height, self.miners.solve(challenge, &targets))
    }

    pub(crate) fn hand_in(
        &mut self,
        seat: usize,
        height: Height,
        entry: &ProofEntry,
    ) -> Result<Receipt, Refusal> {
        let now = self.now;
        self.metronome(seat).hand_in(
            now,
            &HandIn {
                height,
                miner: entry.miner,
                kind: entry.proof.kind,
                attempts: 1,
                spent: Millis(1),
                footprint: Footprint::default(),
                proof: Some(entry.proof.clone()),
            },
        )
    }

    /// Lets a metronome that leads go on until it has signed its next block, and returns that.
    pub(crate) fn sign(&mut self, seat: usize) -> Arc<Vec<u8>> {
        let before = self.metronome(seat).signed().last();
        self.now = self.now.plus(INTERVAL);
        while self.metronome(seat).signed().last() == before {
            assert_ne!(self.step(seat), Step::Waited);
        }
        self.metronome(seat).signed().last().unwrap().bytes
    }
}
