//! A ledger with three rich senders, of which blocks are made at will.

use std::sync::Arc;

use crate::{
    address::Address,
    codec::List,
    genesis::Endowment,
    keys::SecretKey,
    ledger::{CheckedBlock, Proposal, State},
    testing::{self, ALICE, BOB, CAROL, METRONOME},
    transaction::{CheckedTransaction, Draft, Payment},
    units::{Amount, Height, Millis},
};

/// How many senders there are.
pub(super) const SENDERS: usize = 3;
/// Coins of every sender at first, in base units.
pub(super) const BALANCE: u64 = 1_000_000;

fn key(sender: usize) -> &'static SecretKey {
    [&ALICE, &BOB, &CAROL][sender]
}

pub(super) fn address(sender: usize) -> Address {
    testing::address(key(sender))
}

/// The state before the first block.
pub(super) fn genesis() -> State {
    let mut addresses: Vec<_> = (0..SENDERS).map(address).collect();
    addresses.sort_unstable();
    let endow = |address| Endowment { address, balance: units(BALANCE) };
    let accounts = List::new(addresses.into_iter().map(endow).collect()).unwrap();
    let genesis = crate::genesis::Genesis { accounts, ..testing::genesis() };
    State::genesis(genesis.check().unwrap())
}

pub(super) fn units(units: u64) -> Amount {
    Amount::from_units(units)
}

/// A transaction in the making: one payment to the next sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) sender: usize,
    pub(super) sequence: u64,
    pub(super) fee: u64,
    pub(super) amount: u64,
    pub(super) expires: u64,
    pub(super) memo_len: usize,
}

/// A payment of one unit that expires at height 9.
pub(super) fn plan(sender: usize, sequence: u64, fee: u64) -> Plan {
    Plan { sender, sequence, fee, amount: 1, expires: 9, memo_len: 0 }
}

impl Plan {
    pub(super) fn sign(self, state: &State) -> Arc<CheckedTransaction> {
        let Self { sender, sequence, fee, amount, expires, memo_len } = self;
        let payment = Payment { to: address((sender + 1) % SENDERS), amount: units(amount) };
        let draft = Draft {
            sequence,
            expires: Height(expires),
            fee: units(fee),
            payments: List::new(vec![payment]).unwrap(),
            memo: List::new(vec![0; memo_len]).unwrap(),
        };
        let chain = state.chain().hash();
        Arc::new(draft.sign(&chain, key(sender)).check(&chain).unwrap())
    }
}

/// Makes the next block of all of `transactions` and applies it.
pub(super) fn extend(
    state: &mut State,
    transactions: Vec<Arc<CheckedTransaction>>,
) -> CheckedBlock {
    let count = transactions.len();
    let proposal = Proposal { proofs: Vec::new(), transactions, time: Millis(0), epoch: 0 };
    let (block, left_out) = state.draft(proposal, &METRONOME).unwrap();
    assert_eq!((left_out, block.transactions().len()), (vec![], count));
    state.apply(&block).unwrap();
    block
}
