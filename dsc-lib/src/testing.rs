//! What tests, benches and examples share: fixed keys, a small chain, and miners that solve it.
//!
//! Everything here is deterministic and nothing is secret: the keys are in the repository, because
//! making RSA keys takes longer than most tests.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests want a panic"
)]

#[cfg(feature = "ledger")]
pub mod conformance;
pub mod disk;
#[cfg(feature = "ledger")]
pub mod faulty;

use std::{
    sync::{LazyLock, atomic::AtomicBool},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    address::Address,
    codec::List,
    genesis::{Chain, Endowment, EngineGenesis, Genesis, Limits},
    hash::Digest,
    keys::SecretKey,
    proof::{
        Budget, Challenge, Clock, ENGINES, Entry, Fingerprint, Miner, NoProgress, ProofEntry,
        Prover, Resources,
    },
    retarget::TargetLimits,
    transaction::{Draft, Memo, Payment, Payments, Transaction},
    units::{Amount, Height, Millis, Target},
};

/// Declares the keys of people in tests.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$doc])*
        pub static $name: LazyLock<SecretKey> = LazyLock::new(|| {
            let pem = include_str!(concat!("../tests/data/keys/", $file, ".pem"));
            SecretKey::from_pkcs8_pem(pem).unwrap()
        });
    )*};
}

keys! {
    /// Holds coins from the start.
    ALICE = "alice";
    /// Holds coins from the start.
    BOB = "bob";
    /// Holds nothing at the start.
    CAROL = "carol";
    /// Owns the miners.
    MINER = "miner";
    /// Signs blocks.
    METRONOME = "metronome";
    /// Has no part in the chain.
    STRANGER = "stranger";
}

/// Coins that Alice and Bob start with.
pub const ENDOWMENT: Amount = coins(200_000);
/// Tries each miner makes in a round.
pub const ATTEMPTS_MAX: u64 = 4096;

/// An amount of whole coins.
pub const fn coins(coins: u64) -> Amount {
    Amount::from_coins(coins).expect("tests deal in small amounts")
}

/// The genesis of a chain that is easy to mine; rewards halve every four blocks.
pub fn genesis() -> Genesis {
    let mut accounts = [&*ALICE, &*BOB].map(address);
    accounts.sort_unstable();
    let endow = |address: Address| Endowment { address, balance: ENDOWMENT };
    Genesis {
        version: crate::genesis::VERSION,
        network: List::new(b"test-1".to_vec()).unwrap(),
        development: true,
        time: Millis(1_700_000_000_000),
        interval: Millis(1000),
        reward: coins(1024),
        halving: 4,
        limits: Limits { block_transactions: 1000, block_bytes: 1 << 20 },
        engines: List::new(ENGINES.iter().map(|entry| easy(entry)).collect()).unwrap(),
        metronomes: List::new(vec![*METRONOME.public()]).unwrap(),
        accounts: List::new(accounts.map(endow).to_vec()).unwrap(),
    }
}

/// The least of every parameter, and a target that any proof meets.
fn easy(entry: &Entry) -> EngineGenesis {
    EngineGenesis {
        target: Target::MAX,
        limits: TargetLimits { min: Target(1), max: Target::MAX },
        params: List::new(entry.params.iter().map(|param| param.min).collect()).unwrap(),
    }
}

/// The chain of [`genesis`].
pub fn chain() -> Chain {
    genesis().check().unwrap()
}

/// The address of `key`.
pub fn address(key: &SecretKey) -> Address {
    key.public().address()
}

/// A draft of one payment without memo that expires at height 1000.
pub fn draft(sequence: u64, to: Address, amount: Amount, fee: Amount) -> Draft {
    Draft {
        sequence,
        expires: Height(1000),
        fee,
        payments: Payments::new(vec![Payment { to, amount }]).unwrap(),
        memo: Memo::default(),
    }
}

/// A signed payment on [`chain`] of `amount` whole coins, and a fee of one.
pub fn pay(from: &SecretKey, sequence: u64, to: Address, amount: u64) -> Transaction {
    draft(sequence, to, coins(amount), coins(1)).sign(&genesis().hash(), from)
}

/// A clock that stands still and a switch that nobody sets.
#[derive(Debug, Default)]
pub struct Unhurried(AtomicBool);

impl Unhurried {
    /// A budget of [`ATTEMPTS_MAX`] tries.
    pub fn budget(&self) -> Budget<'_> {
        Budget::new(self, &self.0).with_attempts_max(ATTEMPTS_MAX)
    }
}

impl Clock for Unhurried {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// One miner for each engine of a chain, all owned by [`MINER`].
#[derive(Debug)]
pub struct Miners {
    provers: Vec<(Miner, Box<dyn Prover>)>,
    _folder: TempDir,
}

impl Miners {
    /// Makes ready what the miners of `chain` need.
    pub fn new(chain: &Chain) -> Self {
        let folder = TempDir::new().unwrap();
        let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
        let prepare = |entry: &&Entry| {
            let fingerprint = Fingerprint([entry.kind.index(); 16]);
            let miner = Miner { address: address(&MINER), fingerprint };
            let engine = chain.engine(entry.kind).unwrap();
            (miner, engine.prepare(&miner, &resources, &NoProgress).unwrap())
        };
        Self { provers: ENGINES.iter().map(prepare).collect(), _folder: folder }
    }

    /// The proofs that answer `challenge` and meet `targets`, at most one per engine, in order.
    pub fn solve(&mut self, challenge: Digest, targets: &[Target]) -> Vec<ProofEntry> {
        let free = Unhurried::default();
        let provers = self.provers.iter_mut().zip(targets);
        let found = provers.filter_map(|((miner, prover), target)| {
            let attempt = prover.prove(&Challenge(challenge), *target, &free.budget()).unwrap();
            attempt.best.map(|(proof, _)| ProofEntry { miner: *miner, proof })
        });
        found.collect()
    }
}

#[cfg(feature = "ledger")]
mod ledger {
    use std::sync::Arc;

    use super::{METRONOME, Miners};
    use crate::{
        block::Block,
        codec,
        ledger::{CheckedBlock, Proposal, State},
        proof::ProofEntry,
        transaction::{CheckedTransaction, Transaction},
        units::Millis,
    };

    impl Miners {
        /// The proofs for the block that comes after `state`.
        pub fn mine(&mut self, state: &State) -> Vec<ProofEntry> {
            self.solve(state.round().challenge, &state.round().targets)
        }
    }

    /// Checks `transaction` for the chain of `state`.
    pub fn checked(state: &State, transaction: Transaction) -> Arc<CheckedTransaction> {
        Arc::new(state.chain().checker().check(transaction.into()).unwrap())
    }

    /// What a metronome would put into the block after `state`, one interval later.
    pub fn proposal(
        state: &State,
        proofs: Vec<ProofEntry>,
        transactions: Vec<Transaction>,
    ) -> Proposal {
        let Millis(interval) = state.chain().genesis().interval;
        Proposal {
            proofs,
            transactions: transactions.into_iter().map(|t| checked(state, t)).collect(),
            time: state.tip().time.plus(Millis(interval)),
            epoch: state.tip().epoch,
        }
    }

    /// The block after `state`; every transaction must be valid.
    pub fn next_block(
        state: &State,
        proofs: Vec<ProofEntry>,
        transactions: Vec<Transaction>,
    ) -> CheckedBlock {
        let proposal = proposal(state, proofs, transactions);
        let (block, left_out) = state.draft(proposal, &METRONOME).unwrap();
        assert_eq!(left_out, [], "a transaction was left out");
        block
    }

    /// The block as it travels.
    pub fn unchecked(block: &CheckedBlock) -> Block {
        codec::decode(&block.to_bytes()).unwrap()
    }
}

#[cfg(feature = "ledger")]
pub use self::ledger::{checked, next_block, proposal, unchecked};
