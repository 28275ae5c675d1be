//! A metronome driven by hand.

use std::sync::Arc;

use dsc_lib::{
    disk::{Disk, Memory},
    ledger::Ledger,
    proof::{Footprint, ProofEntry},
    role::{
        Active, Answer, Call, HandIn, Next, Refusal,
        blockchain::Blockchain,
        metronome::{LastSigned, Metronome, Receipt, Settings},
    },
    testing::{self, METRONOME, Miners},
    transaction::Encoded,
    units::{Height, Millis},
};

use crate::START;

/// A metronome that has not followed the ledger yet.
pub(crate) fn metronome(disk: impl Disk + 'static) -> Metronome {
    let (chain, key) = (testing::chain(), METRONOME.clone());
    let signed = LastSigned::open(disk, &chain, &key.public().address()).unwrap();
    Metronome::new(chain, Settings { key, epoch: 0, interval: Millis(1000), running: true }, signed)
}

/// A metronome at a ledger of its own, driven by hand.
pub(crate) struct Desk {
    pub(crate) metronome: Metronome,
    pub(crate) blockchain: Blockchain,
    pub(crate) miners: Miners,
    pub(crate) now: Millis,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::on(Memory::default())
    }

    /// One whose metronome keeps what it signs on this disk.
    pub(crate) fn on(stored: impl Disk + 'static) -> Self {
        let chain = testing::chain();
        let mut desk = Self {
            metronome: metronome(stored),
            blockchain: Blockchain::new(Ledger::in_memory(chain.clone())),
            miners: Miners::new(&chain),
            now: START,
        };
        desk.follow();
        desk
    }

    /// The metronome is gone, and another one starts from what is on this disk.
    pub(crate) fn restart(&mut self, disk: impl Disk + 'static) {
        self.metronome = metronome(disk);
        self.now = self.now.plus(Millis(1000));
        self.follow();
    }

    /// Answers snapshot and blocks until something else is asked, or a round is open.
    pub(crate) fn follow(&mut self) {
        loop {
            let answer = match self.metronome.next(self.now) {
                Next::Call(Call::Snapshot) => Answer::Snapshot(self.blockchain.snapshot().unwrap()),
                Next::Call(Call::Blocks { from, .. }) => {
                    Answer::Blocks(self.blockchain.blocks(from).unwrap())
                }
                Next::Work(work) => {
                    self.metronome.finish(self.now, work.run());
                    continue;
                }
                _ => return,
            };
            self.metronome.answer(self.now, Ok(answer));
        }
    }

    /// The proofs that answer the open round, one per engine.
    pub(crate) fn proofs(&mut self) -> Vec<ProofEntry> {
        let round = self.metronome.round(self.now).unwrap();
        self.miners.solve(round.challenge, &round.targets)
    }

    pub(crate) fn hand_in(
        &mut self,
        height: Height,
        entry: &ProofEntry,
    ) -> Result<Receipt, Refusal> {
        let hand_in = HandIn {
            height,
            miner: entry.miner,
            kind: entry.proof.kind,
            attempts: 1,
            spent: Millis(1),
            footprint: Footprint::default(),
            proof: Some(entry.proof.clone()),
        };
        self.metronome.hand_in(self.now, &hand_in)
    }

    /// Lets the round close and returns the call for the pool.
    pub(crate) fn tick(&mut self) -> Call {
        self.now = self.now.plus(Millis(1000));
        self.call()
    }

    /// The next call; what is to be computed before it is computed.
    pub(crate) fn call(&mut self) -> Call {
        loop {
            match self.metronome.next(self.now) {
                Next::Call(call) => return call,
                Next::Work(work) => self.metronome.finish(self.now, work.run()),
                other => panic!("no call but {other:?}"),
            }
        }
    }

    /// Hands in a proof of every engine for the open round.
    pub(crate) fn prove(&mut self) {
        let height = self.metronome.round(self.now).unwrap().height;
        for entry in self.proofs() {
            assert_eq!(self.hand_in(height, &entry), Ok(Receipt::Best));
        }
    }

    /// Lets the round close and returns its block, of which the ledger does not know yet.
    pub(crate) fn tick_block(&mut self, transactions: Vec<Encoded>) -> Arc<Vec<u8>> {
        assert!(matches!(self.tick(), Call::Take(_)));
        self.metronome.answer(self.now, Ok(Answer::Transactions(transactions)));
        self.block()
    }

    /// Hands the block in, and the ledger's answer back.
    pub(crate) fn settle(&mut self, block: &[u8]) {
        let answer = match self.blockchain.submit(block) {
            Ok(accepted) => Answer::BlockAccepted(accepted),
            Err(error) => Answer::Refused(error.refusal().unwrap()),
        };
        self.metronome.answer(self.now, Ok(answer));
    }

    pub(crate) fn block(&mut self) -> Arc<Vec<u8>> {
        match self.call() {
            Call::SubmitBlock(bytes) => bytes,
            other => panic!("no block but {other:?}"),
        }
    }
}
