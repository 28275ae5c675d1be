//! A metronome whose key genesis authorises, and that breaks one rule after another.
//!
//! Now and then it makes a valid block, which it may, or two of one height, of which one may count.

use std::sync::Arc;

use dsc_lib::{
    block::{self, Block, Header},
    codec::{self, List},
    hash::Digest,
    keys::{SecretKey, Signature},
    ledger::{Proposal, State},
    merkle,
    proof::{ENGINES, Fingerprint, Miner, Proof, ProofEntry},
    role::{Answer, Call, Lost},
    testing::{self, ALICE, CAROL, STRANGER, address},
    transaction::{Encoded, PAYMENTS_MAX, Payment, Payments},
    units::{Amount, Height, Millis, Target},
};

use super::Expected;
use crate::{
    event::Caller,
    world::{World, genesis},
};

const PAUSE: Millis = Millis(700);

/// What it did last, and what it holds back.
#[derive(Debug, Default)]
pub(crate) struct Cheat {
    act: &'static str,
    expected: Expected,
    /// Another block of the height of the one before, to be handed in next.
    second: Option<Arc<Vec<u8>>>,
    /// A valid block that it has shown nobody.
    withheld: Option<Arc<Vec<u8>>>,
}

type Breach = fn(&mut Block, &State);

/// One for each rule that a signed header or its body can break.
const BREACHES: &[Breach] = &[
    |block, _| block.header.version = 2,
    |block, _| block.header.chain = Digest::ZERO,
    |block, _| block.header.height = Height(block.header.height.0 + 1),
    |block, _| block.header.height = Height(block.header.height.0.wrapping_sub(1)),
    |block, _| block.header.parent = Digest::ZERO,
    |block, state| block.header.time = state.tip().time,
    |block, _| block.header.time = Millis(u64::MAX),
    |block, state| block.header.epoch = state.tip().epoch.saturating_sub(1),
    |block, _| block.header.challenge = Digest([7; 32]),
    |block, _| block.header.targets[0] = Target::MAX,
    |block, _| block.header.state = Digest::ZERO,
    |block, _| block.header.transactions += 1,
    |block, _| block.header.transactions_root = Digest([1; 32]),
    |block, _| block.header.proofs_root = Digest([1; 32]),
    |block, _| invent_proof(block),
    |block, state| forge_payment(block, state),
    |block, state| too_many(block, state),
    |block, state| too_large(block, state),
];

/// A proof of nothing that pays the metronome itself.
fn invent_proof(block: &mut Block) {
    let miner = Miner { address: address(&STRANGER), fingerprint: Fingerprint([1; 16]) };
    let kind = ENGINES[1].kind;
    let proof = Proof { kind, bytes: vec![0; ENGINES[1].shape.fixed_len] };
    block.proofs = List::new(vec![ProofEntry { miner, proof }]).unwrap();
    block.header.proofs_root = block::proofs_root(&block.proofs);
}

/// A payment from Alice that she has not signed.
fn forge_payment(block: &mut Block, state: &State) {
    let sequence = state.account(&address(&ALICE)).sequence;
    let mut transaction = testing::pay(&STRANGER, sequence, address(&STRANGER), 1);
    transaction.sender = *ALICE.public();
    put(block, vec![transaction.into()]);
}

/// More transactions than a block may have.
fn too_many(block: &mut Block, state: &State) {
    let max = state.chain().genesis().limits.block_transactions;
    let one = Encoded::from(&testing::pay(&CAROL, 0, address(&CAROL), 1));
    put(block, vec![one; max as usize + 1]);
}

/// More bytes than a block may have.
fn too_large(block: &mut Block, state: &State) {
    let payment = Payment { to: address(&CAROL), amount: Amount::from_units(1) };
    let mut transaction = testing::pay(&CAROL, 0, address(&CAROL), 1);
    transaction.payments = Payments::new(vec![payment; PAYMENTS_MAX]).unwrap();
    let max = state.chain().genesis().limits.block_transactions;
    put(block, vec![Encoded::from(&transaction); max as usize]);
}

fn put(block: &mut Block, transactions: Vec<Encoded>) {
    let leaves: Vec<_> = transactions.iter().map(|one| merkle::leaf(one.bytes())).collect();
    block.header.transactions = u32::try_from(leaves.len()).unwrap();
    block.header.transactions_root = merkle::root(&leaves);
    block.transactions = List::new(transactions).unwrap();
}

/// A block without proofs or transactions that comes after `state`.
pub(super) fn draft(state: &State, time: Millis) -> Block {
    let epoch = state.tip().epoch;
    let proposal = Proposal { proofs: vec![], transactions: vec![], time, epoch };
    let (draft, _) = state.draft(proposal, &CAROL).unwrap();
    codec::decode(&draft.to_bytes()).unwrap()
}

pub(super) fn signed(mut block: Block, key: &SecretKey) -> Arc<Vec<u8>> {
    block.header = block.header.sign(key);
    Arc::new(codec::encode(&block))
}

/// The first block of a chain that differs from this one in its name only.
pub(super) fn of_other_chain(time: Millis) -> Arc<Vec<u8>> {
    let mut genesis = genesis();
    genesis.network = List::new(b"test-2".to_vec()).unwrap();
    let block = draft(&State::genesis(genesis.check().unwrap()), time);
    Arc::new(codec::encode(&block))
}

impl World {
    pub(crate) fn wake_cheat(&mut self) {
        let done = if let Some(second) = self.cheat.second.take() {
            Some(("cheat: second block", Expected::Anything, second))
        } else if self.random.chance(self.plan.acts.cheat) {
            self.make_block()
        } else {
            None
        };
        let Some((act, expected, bytes)) = done else {
            let until = self.now.plus(PAUSE);
            return self.wake_at(Caller::Cheat, until);
        };
        (self.cheat.act, self.cheat.expected) = (act, expected);
        self.counts.add(act);
        self.call(Caller::Cheat, &Call::SubmitBlock(bytes));
    }

    fn make_block(&mut self) -> Option<(&'static str, Expected, Arc<Vec<u8>>)> {
        let kind = self.random.below(12);
        let now = self.now;
        let state = self.blockchain.ledger()?.state();
        let mut block = draft(state, now);
        Some(match kind {
            0 => {
                let later = Header { time: Millis(now.0 + 1), ..block.header.clone() };
                let second = signed(Block { header: later, ..block.clone() }, &CAROL);
                self.cheat.second = Some(second);
                ("cheat: valid block", Expected::Anything, signed(block, &CAROL))
            }
            1 => {
                let kept = self.cheat.withheld.replace(signed(block, &CAROL));
                ("cheat: withheld block", Expected::Anything, kept?)
            }
            2 => {
                let height = Height(self.random.number().checked_rem(block.header.height.0)?);
                let old = self.blockchain.ledger()?.block_bytes(height).ok()??;
                ("cheat: old block", Expected::Anything, Arc::new(old))
            }
            3 => ("cheat: block of another chain", Expected::Refusal, of_other_chain(now)),
            // Rightly made, and signed by a key that genesis does not know.
            4 => ("cheat: unknown key", Expected::Refusal, signed(block, &STRANGER)),
            5 => {
                // The hash does not cover the signature: another time makes it another block.
                block.header.time = block.header.time.plus(Millis(7));
                block.header.signature = Signature([1; 256]);
                ("cheat: wrong signature", Expected::Refusal, Arc::new(codec::encode(&block)))
            }
            _ => {
                let breach = BREACHES[self.random.below(BREACHES.len())];
                let before = block.clone();
                let state = self.blockchain.ledger()?.state();
                breach(&mut block, state);
                if block == before {
                    return None;
                }
                ("cheat: broken rule", Expected::Refusal, signed(block, &CAROL))
            }
        })
    }

    pub(crate) fn cheated(&mut self, answer: &Result<Answer, Lost>) {
        let Cheat { act, expected, .. } = self.cheat;
        if expected.is_met(act, answer) {
            self.counts.add("cheat refused");
        }
        if let (Ok(Answer::BlockAccepted(_)), true) = (answer, act != "cheat: old block") {
            self.counts.add("round taken by a cheat");
        }
    }
}
