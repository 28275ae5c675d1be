//! Who does not keep to the rules, and must get nowhere with it.

use dsc_lib::{
    block::Block,
    codec::{self, List},
    genesis::Chain,
    hash::Digest,
    keys::{SecretKey, Signature},
    ledger::{Proposal, State},
    proof::{ENGINES, Fingerprint, Footprint, Miner, Proof, ProofEntry},
    role::{Answer, Call, HandIn, Lost},
    testing::{self, ALICE, STRANGER, address},
    units::{Height, Millis, Target},
};
use rand_core::Rng;

use crate::world::World;

/// A validator without a resource: it sends noise, old proofs and other miners' proofs as its own.
#[derive(Debug, Default)]
pub(crate) struct Forger {
    seen: Vec<ProofEntry>,
}

impl Forger {
    fn miner() -> Miner {
        Miner { address: address(&STRANGER), fingerprint: Fingerprint([0xff; 16]) }
    }

    pub(crate) fn forge(&mut self, world: &mut World) -> Option<Call> {
        let round = world.metronome.round(world.now)?;
        self.watch(world);
        let entry = &ENGINES[usize::try_from(world.below(&(0..ENGINES.len() as u64))).unwrap()];
        let proof = self.stolen(world).unwrap_or_else(|| {
            let mut bytes = vec![0; entry.shape.len_max()];
            world.random.fill_bytes(&mut bytes);
            let len = usize::try_from(world.below(&(0..bytes.len() as u64 + 1))).unwrap();
            bytes.truncate(len);
            Proof { kind: entry.kind, bytes }
        });
        // A bare hash meets an easy target by luck, and that is mining, not forging.
        if proof.kind.name() == "work" && proof.bytes.len() == 8 {
            return None;
        }
        Some(Call::HandIn(HandIn {
            height: round.height,
            miner: Self::miner(),
            kind: proof.kind,
            attempts: u64::MAX,
            spent: Millis(1),
            footprint: Footprint::default(),
            proof: Some(proof),
        }))
    }

    /// Collects the proofs of the last block: public, and worthless to anyone but their owner.
    fn watch(&mut self, world: &World) {
        let ledger = world.blockchain.ledger();
        let Some(height) = ledger.state().height() else { return };
        let block = ledger.block(height).unwrap().unwrap();
        self.seen = block.proofs.into_vec();
    }

    fn stolen(&self, world: &mut World) -> Option<Proof> {
        if self.seen.is_empty() || world.chance(500) {
            return None;
        }
        let index = usize::try_from(world.below(&(0..self.seen.len() as u64))).unwrap();
        Some(self.seen[index].proof.clone())
    }

    /// Whether the answer says that a forgery was refused.
    pub(crate) fn refused(&self, answer: Result<Answer, Lost>) -> bool {
        match answer {
            Ok(Answer::Refused(_)) => true,
            Ok(answer) => panic!("a forged proof was accepted: {answer:?}; seen {:?}", self.seen),
            Err(_) => false,
        }
    }
}

/// A metronome whose key genesis authorises and who breaks one rule after another; now and then
/// it makes a valid block without proofs or transactions, which it may.
#[derive(Debug)]
pub(crate) struct CheatingMetronome {
    chain: Chain,
    key: SecretKey,
    turn: usize,
    honest: bool,
}

type Cheat = fn(&mut Block, &State);

/// One for each rule that a signed header or its body can break.
const CHEATS: &[Cheat] = &[
    |block, _| block.header.version = 2,
    |block, _| block.header.chain = Digest::ZERO,
    |block, _| block.header.height = Height(block.header.height.0 + 1),
    |block, _| block.header.height = Height(block.header.height.0.wrapping_sub(1)),
    |block, _| block.header.parent = Digest::ZERO,
    |block, state| block.header.time = state.tip().time,
    |block, _| block.header.challenge = Digest([7; 32]),
    |block, _| block.header.targets[0] = Target::MAX,
    |block, _| block.header.state = Digest::ZERO,
    |block, _| block.header.transactions += 1,
    |block, _| block.header.transactions_root = Digest([1; 32]),
    |block, _| block.header.proofs_root = Digest([1; 32]),
    |block, state| invent_proof(block, state),
    |block, state| forge_payment(block, state),
];

/// A proof of nothing that pays the metronome itself.
fn invent_proof(block: &mut Block, _state: &State) {
    let miner = Miner { address: address(&STRANGER), fingerprint: Fingerprint([1; 16]) };
    let kind = ENGINES[1].kind;
    let proof = Proof { kind, bytes: vec![0; ENGINES[1].shape.fixed_len] };
    block.proofs = List::new(vec![ProofEntry { miner, proof }]).unwrap();
    block.header.proofs_root = dsc_lib::block::proofs_root(&block.proofs);
}

/// A payment from Alice that she has not signed.
fn forge_payment(block: &mut Block, state: &State) {
    let sequence = state.account(&address(&ALICE)).sequence;
    let mut transaction = testing::pay(&STRANGER, sequence, address(&STRANGER), 1);
    transaction.sender = *ALICE.public();
    let leaf = dsc_lib::merkle::leaf(&codec::encode(&transaction));
    block.header.transactions = 1;
    block.header.transactions_root = dsc_lib::merkle::root(&[leaf]);
    block.transactions = List::new(vec![transaction.into()]).unwrap();
}

impl CheatingMetronome {
    pub(crate) fn new(chain: Chain, key: SecretKey) -> Self {
        Self { chain, key, turn: 0, honest: false }
    }

    pub(crate) fn take(&mut self) -> Self {
        let Self { chain, key, turn, honest } = self;
        Self { chain: chain.clone(), key: key.clone(), turn: *turn, honest: *honest }
    }

    pub(crate) fn cheat(&mut self, world: &mut World) -> Option<Call> {
        if world.chance(300) {
            return None;
        }
        let state = world.blockchain.ledger().state();
        let proposal = Proposal { proofs: vec![], transactions: vec![], time: world.now, epoch: 0 };
        let (draft, _) = state.draft(proposal, &self.key).unwrap();
        let mut block: Block = codec::decode(&draft.to_bytes()).unwrap();
        self.turn += 1;
        let turn = self.turn % (CHEATS.len() + 2);
        self.honest = turn == CHEATS.len() && self.turn.is_multiple_of(3);
        if let Some(cheat) = CHEATS.get(turn) {
            cheat(&mut block, state);
            block.header = block.header.sign(&self.key);
        } else if turn > CHEATS.len() {
            // Rightly made, and signed by a key that genesis does not know.
            block.header = block.header.sign(&STRANGER);
        } else if !self.honest {
            block.header.signature = Signature([1; 256]);
        }
        Some(Call::SubmitBlock(codec::encode(&block).into()))
    }

    /// Whether a cheat was refused, and whether a valid block took the round.
    pub(crate) fn settled(&self, answer: Result<Answer, Lost>) -> (bool, bool) {
        match answer {
            Ok(Answer::Refused(_)) => (!self.honest, false),
            Ok(Answer::BlockAccepted(_)) if self.honest => (false, true),
            Ok(answer) => panic!("a cheat was accepted: {answer:?}, turn {}", self.turn),
            Err(_) => (false, false),
        }
    }
}
