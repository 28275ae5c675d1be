//! A chain with published keys, of which blocks are made at will.

use std::sync::{Arc, LazyLock};

use crate::{
    address::Address,
    codec::List,
    genesis::{Endowment, EngineGenesis, Genesis, Limits},
    keys::SecretKey,
    ledger::{CheckedBlock, Proposal, State},
    proof::{ENGINES, Params},
    retarget::TargetLimits,
    transaction::{CheckedTransaction, Draft, Payment},
    units::{Amount, Height, Millis, Target},
};

/// Coins of every sender at genesis, in base units.
pub(super) const BALANCE: u64 = 1_000_000;

static KEYS: LazyLock<[SecretKey; 3]> = LazyLock::new(|| {
    [
        include_str!("../../../tests/data/keys/sender-0.pem"),
        include_str!("../../../tests/data/keys/sender-1.pem"),
        include_str!("../../../tests/data/keys/sender-2.pem"),
    ]
    .map(|pem| SecretKey::from_pkcs8_pem(pem).unwrap())
});

pub(super) fn address(sender: usize) -> Address {
    KEYS[sender].public().address()
}

/// The state before the first block.
pub(super) fn genesis() -> State {
    let mut accounts: Vec<_> = (0..KEYS.len())
        .map(|sender| Endowment { address: address(sender), balance: units(BALANCE) })
        .collect();
    accounts.sort_by_key(|account| account.address);
    let genesis = Genesis {
        version: 1,
        network: List::new(b"mempool-test".to_vec()).unwrap(),
        development: true,
        time: Millis(1),
        interval: Millis(1000),
        reward: units(1024),
        halving: 1000,
        limits: Limits { block_transactions: 1000, block_bytes: 1 << 20 },
        engines: List::new(ENGINES.iter().map(|entry| engine(&Params::defaults(entry))).collect())
            .unwrap(),
        metronomes: List::new(vec![*KEYS[0].public()]).unwrap(),
        accounts: List::new(accounts).unwrap(),
    };
    State::genesis(genesis.check().unwrap())
}

fn engine(params: &Params) -> EngineGenesis {
    EngineGenesis {
        target: Target::MAX,
        limits: TargetLimits { min: Target(1), max: Target::MAX },
        params: List::new(params.values().to_vec()).unwrap(),
    }
}

pub(super) fn units(units: u64) -> Amount {
    Amount::from_units(units)
}

/// A transaction in the making: one unit for the sender itself, unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) sender: usize,
    pub(super) sequence: u64,
    pub(super) fee: u64,
    pub(super) amount: u64,
    pub(super) expires: u64,
    pub(super) memo_len: usize,
}

pub(super) fn plan(sender: usize, sequence: u64, fee: u64) -> Plan {
    Plan { sender, sequence, fee, amount: 1, expires: 9, memo_len: 0 }
}

impl Plan {
    pub(super) fn sign(self, state: &State) -> Arc<CheckedTransaction> {
        let Self { sender, sequence, fee, amount, expires, memo_len } = self;
        let payment = Payment { to: address(sender), amount: units(amount) };
        let draft = Draft {
            sequence,
            expires: Height(expires),
            fee: units(fee),
            payments: List::new(vec![payment]).unwrap(),
            memo: List::new(vec![0; memo_len]).unwrap(),
        };
        let chain = state.chain().hash();
        Arc::new(draft.sign(&chain, &KEYS[sender]).check(&chain).unwrap())
    }
}

/// Makes the next block of all of `transactions` and applies it.
pub(super) fn extend(
    state: &mut State,
    transactions: Vec<Arc<CheckedTransaction>>,
) -> CheckedBlock {
    let proposal = Proposal { proofs: Vec::new(), transactions, time: Millis(0), epoch: 0 };
    let (block, left_out) = state.draft(proposal, &KEYS[0]).unwrap();
    assert_eq!(left_out, []);
    state.apply(&block).unwrap();
    block
}
