//! One test for each rule, in the files below; what they share is here.

mod crash;
mod disk;
mod files;
mod index;
mod messages;
mod outcome;
mod reads;
mod rules;

use std::sync::Arc;

use super::*;
use crate::{
    block::Block,
    codec,
    genesis::Genesis,
    keys::SecretKey,
    merkle,
    proof::{Challenge, ProofEntry},
    retarget::retarget,
    testing::{ALICE, BOB, METRONOME, Miners, address, chain, genesis, next_block, unchecked},
    transaction::{Transaction, TransactionError, TransactionId},
    units::Quality,
};

/// The chain of [`genesis`] after `change`.
fn chain_with(change: impl FnOnce(&mut Genesis)) -> Chain {
    let mut genesis = genesis();
    change(&mut genesis);
    genesis.check().unwrap()
}

/// A block without proofs and transactions after `state`.
fn empty(state: &State) -> CheckedBlock {
    next_block(state, vec![], vec![])
}

/// A ledger in memory with one block: two payments of Alice's and proofs of every engine.
fn ledger_with_a_block() -> (Ledger, CheckedBlock) {
    let mut ledger = Ledger::in_memory(chain());
    let proofs = Miners::new(&chain()).mine(ledger.state());
    let transactions = vec![pay(&ALICE, 0, 10), pay(&ALICE, 1, 20)];
    let block = next_block(ledger.state(), proofs, transactions);
    ledger.commit(&block).unwrap();
    (ledger, block)
}

/// A payment of Alice's or another's to Bob.
fn pay(from: &SecretKey, sequence: u64, coins: u64) -> Transaction {
    crate::testing::pay(from, sequence, address(&BOB), coins)
}

/// Whether a file of a ledger is a run of its index.
fn is_run(name: &str) -> bool {
    name.split('.').next_back() == Some("run")
}
