//! The genesis of a chain, and the parameters every rule is checked against.
//!
//! # Invariants
//!
//! 1. A [`Chain`] comes only from [`Genesis::check`]; its parameters are in range.
//! 2. All coins a chain can ever have fit an [`Amount`], so no sum of balances overflows.
//! 3. The genesis hash names the chain: it is in every header and every transaction id.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, OnceLock},
};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    address::{Address, Prefix},
    codec::{self, List},
    hash::{Context, Digest, derive},
    keys::PublicKey,
    proof::{self, ENGINE_COUNT, ENGINES, Entry, ParamError, ProofEngine, ProofKind},
    retarget::TargetLimits,
    transaction::Checker,
    units::{Amount, Height, Millis, Target},
};

/// The only version there is.
pub const VERSION: u16 = 1;
/// Most transactions any chain may allow in a block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 1 << 17;
/// Most bytes any chain may allow in a block.
pub const BLOCK_BYTES_MAX: u64 = 1 << 28;
/// Bytes of the largest genesis.
pub const GENESIS_BYTES_MAX: usize = 8 << 20;
/// Most bytes in a network's name.
pub const NETWORK_BYTES_MAX: usize = 32;
pub(crate) const METRONOMES_MAX: usize = 16;
const ACCOUNTS_MAX: usize = 100_000;
const PARAMS_MAX: usize = 8;

/// Everything the participants of a chain agree on before its first block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// [`VERSION`].
    pub version: u16,
    /// Name of the network: lower-case letters, digits and hyphens.
    #[serde(with = "network_text")]
    pub network: NetworkName,
    /// Whether addresses have the prefix of development networks.
    pub development: bool,
    /// A time before the first block's, in milliseconds since the Unix epoch.
    pub time: Millis,
    /// Planned time between blocks.
    pub interval: Millis,
    /// New coins in a block at first.
    pub reward: Amount,
    /// Heights after which the reward halves.
    pub halving: u64,
    /// Sizes of a block.
    pub limits: Limits,
    /// One entry per engine, in their order.
    pub engines: List<EngineGenesis, ENGINE_COUNT, ENGINE_COUNT>,
    /// Keys that may sign blocks.
    pub metronomes: List<PublicKey, 1, METRONOMES_MAX>,
    /// Initial balances, in increasing order of address.
    pub accounts: List<Endowment, 0, ACCOUNTS_MAX>,
}

/// The name of a network, as written in its genesis.
pub type NetworkName = List<u8, 1, NETWORK_BYTES_MAX>;

/// The largest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most transactions.
    pub block_transactions: u32,
    /// Most bytes in its encoding.
    pub block_bytes: u64,
}

/// One engine's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineGenesis {
    /// Target of the first block.
    pub target: Target,
    /// The targets a block may have.
    pub limits: TargetLimits,
    /// Values of the engine's declared parameters, in their order.
    pub params: List<u64, 0, PARAMS_MAX>,
}

/// An initial balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endowment {
    /// Who holds it.
    pub address: Address,
    /// How much; more than nothing.
    pub balance: Amount,
}

/// A genesis that no chain can start from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// A version this program does not know.
    #[error("genesis version is {got}, expected {VERSION}")]
    Version {
        /// The version given.
        got: u16,
    },
    /// A character other than `a-z`, `0-9` and `-` in the network's name.
    #[error("the network name holds byte {byte:#04x}; use a-z, 0-9 and -")]
    Network {
        /// The first such byte.
        byte: u8,
    },
    /// A field is outside its range.
    #[error("{field} is {got}, expected {min} to {max}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// The value given.
        got: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// An engine's initial target is outside its limits, or the limits are.
    #[error("target of {engine} is {target}, its limits are {min} to {max}")]
    Target {
        /// The engine.
        engine: &'static str,
        /// Its initial target.
        target: Target,
        /// The hardest it may have.
        min: Target,
        /// The easiest it may have.
        max: Target,
    },
    /// A parameter of an engine is missing, unknown or out of range.
    #[error("engine {engine}: {error}")]
    Param {
        /// The engine.
        engine: &'static str,
        /// What is wrong.
        error: ParamError,
    },
    /// A metronome key listed twice.
    #[error("metronome key {index} is listed twice")]
    MetronomeTwice {
        /// The second place, from 0.
        index: usize,
    },
    /// Accounts out of order, listed twice or without coins.
    #[error("account {index} is out of order, listed twice or empty")]
    Account {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Initial balances and all rewards together exceed what an amount can hold.
    #[error("initial balances and all rewards exceed {} coins", Amount::from_units(u64::MAX))]
    Supply,
}

/// A network's name in JSON: a string.
mod network_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::NetworkName;

    pub(super) fn serialize<S: Serializer>(name: &NetworkName, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&String::from_utf8_lossy(name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NetworkName, D::Error> {
        NetworkName::new(String::deserialize(d)?.into_bytes()).map_err(de::Error::custom)
    }
}

impl Genesis {
    /// The genesis hash, which names the chain.
    pub fn hash(&self) -> Digest {
        derive(Context::Genesis, &[&codec::encode(self)])
    }

    /// Checks every rule and builds the engines.
    ///
    /// # Errors
    ///
    /// The first rule broken.
    pub fn check(self) -> Result<Chain, GenesisError> {
        self.check_header()?;
        self.check_accounts()?;
        let metronomes = self.check_metronomes()?;
        let engines = ENGINES.iter().zip(&self.engines);
        let engines =
            engines.map(|(entry, genesis)| build(entry, genesis)).collect::<Result<_, _>>()?;
        let hash = self.hash();
        let checker = Checker::new(hash);
        let kept = OnceLock::new();
        Ok(Chain(Arc::new(Parts { hash, metronomes, engines, checker, kept, genesis: self })))
    }

    fn check_header(&self) -> Result<(), GenesisError> {
        if self.version != VERSION {
            return Err(GenesisError::Version { got: self.version });
        }
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if let Some(byte) = self.network.iter().find(|byte| !allowed(byte)) {
            return Err(GenesisError::Network { byte: *byte });
        }
        in_range("interval", self.interval.0, 1, u64::from(u32::MAX))?;
        in_range("halving", self.halving, 1, u64::MAX)?;
        let transactions = u64::from(self.limits.block_transactions);
        in_range("block_transactions", transactions, 1, BLOCK_TRANSACTIONS_MAX as u64)?;
        in_range("block_bytes", self.limits.block_bytes, 1 << 16, BLOCK_BYTES_MAX)
    }

    fn check_accounts(&self) -> Result<(), GenesisError> {
        let mut last = None;
        for (index, account) in self.accounts.iter().enumerate() {
            if account.balance == Amount::ZERO || last >= Some(account.address) {
                return Err(GenesisError::Account { index });
            }
            last = Some(account.address);
        }
        let endowed = Amount::checked_sum(self.accounts.iter().map(|account| account.balance));
        // The geometric sum of all halvings stays below twice the first one.
        let rewards = self.reward.units().checked_mul(2).and_then(|r| r.checked_mul(self.halving));
        let all = rewards.map(Amount::from_units).and_then(|rewards| endowed?.checked_add(rewards));
        all.map(|_| ()).ok_or(GenesisError::Supply)
    }

    fn check_metronomes(&self) -> Result<BTreeMap<Address, PublicKey>, GenesisError> {
        let mut keys = BTreeMap::new();
        for (index, key) in self.metronomes.iter().enumerate() {
            if keys.insert(key.address(), *key).is_some() {
                return Err(GenesisError::MetronomeTwice { index });
            }
        }
        Ok(keys)
    }
}

fn in_range(field: &'static str, got: u64, min: u64, max: u64) -> Result<(), GenesisError> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(GenesisError::OutOfRange { field, got, min, max })
}

fn build(entry: &Entry, genesis: &EngineGenesis) -> Result<Box<dyn ProofEngine>, GenesisError> {
    let (target, TargetLimits { min, max }) = (genesis.target, genesis.limits);
    if min < Target(1) || target < min || target > max {
        return Err(GenesisError::Target { engine: entry.name, target, min, max });
    }
    let params = proof::Params::new(entry, &genesis.params)
        .map_err(|error| GenesisError::Param { engine: entry.name, error })?;
    Ok((entry.build)(&params))
}

/// A checked genesis with its engines: what every rule of a chain is checked against.
///
/// Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Chain(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    hash: Digest,
    genesis: Genesis,
    metronomes: BTreeMap<Address, PublicKey>,
    engines: Vec<Box<dyn ProofEngine>>,
    checker: Checker,
    kept: OnceLock<Box<dyn Kept>>,
}

/// What the ledger keeps with a chain.
trait Kept: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Kept for T {}

impl Chain {
    /// The genesis hash.
    pub fn hash(&self) -> Digest {
        self.0.hash
    }

    /// The genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// The network's name.
    pub fn network(&self) -> String {
        String::from_utf8_lossy(&self.0.genesis.network).into_owned()
    }

    /// The prefix of addresses in text.
    pub fn prefix(&self) -> Prefix {
        if self.0.genesis.development { Prefix::Development } else { Prefix::Main }
    }

    /// The engine of a kind, with this chain's parameters.
    pub fn engine(&self, kind: ProofKind) -> Option<&dyn ProofEngine> {
        self.0.engines.get(usize::from(kind.index())).map(AsRef::as_ref)
    }

    /// The key a block with this metronome key id must be signed by, if genesis authorises it.
    pub fn metronome(&self, id: &Address) -> Option<&PublicKey> {
        self.0.metronomes.get(id)
    }

    /// Checks transactions for this chain, no signature twice.
    pub fn checker(&self) -> &Checker {
        &self.0.checker
    }

    /// What a layer above keeps for all who share this chain; made when it is asked for first.
    ///
    /// # Panics
    ///
    /// If two types are asked for: there is one such layer.
    #[cfg_attr(not(feature = "ledger"), allow(dead_code, reason = "for the ledger"))]
    pub(crate) fn kept<T: Any + Debug + Default + Send + Sync>(&self) -> &T {
        let kept: &dyn Any = self.0.kept.get_or_init(|| Box::new(T::default())).as_ref();
        kept.downcast_ref().expect("one layer keeps something")
    }

    /// The targets of the first block.
    pub fn first_targets(&self) -> [Target; ENGINE_COUNT] {
        let mut targets = [Target::MAX; ENGINE_COUNT];
        for (target, engine) in targets.iter_mut().zip(&self.0.genesis.engines) {
            *target = engine.target;
        }
        targets
    }

    /// The targets an engine may have, in the order of engines.
    pub fn target_limits(&self) -> impl Iterator<Item = TargetLimits> {
        self.0.genesis.engines.iter().map(|engine| engine.limits)
    }

    /// The coins there are after the block at `height` if every block had a winner and no fee was
    /// burned.
    pub fn supply_max(&self, height: Height) -> Amount {
        let halving = self.0.genesis.halving;
        let (mut units, mut left) = (self.endowed().units(), height.0.saturating_add(1));
        let mut reward = self.0.genesis.reward.units();
        while left > 0 && reward > 0 {
            let blocks = left.min(halving);
            units = units.saturating_add(reward.saturating_mul(blocks));
            (left, reward) = (left.saturating_sub(blocks), reward >> 1);
        }
        Amount::from_units(units)
    }

    /// The initial balances together.
    ///
    /// # Panics
    ///
    /// Never: a checked genesis bounds the sum of all coins.
    pub fn endowed(&self) -> Amount {
        let balances = self.0.genesis.accounts.iter().map(|account| account.balance);
        Amount::checked_sum(balances).expect("a checked genesis bounds the sum of all coins")
    }

    /// New coins for the winner of the block at `height`.
    pub fn reward(&self, height: Height) -> Amount {
        let halvings = height.0.checked_div(self.0.genesis.halving).unwrap_or(0);
        let units = self.0.genesis.reward.units();
        Amount::from_units(
            u32::try_from(halvings).ok().and_then(|h| units.checked_shr(h)).unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, METRONOME, STRANGER, coins, genesis};

    /// What is wrong with the genesis of the tests after `change`.
    fn refused(change: impl FnOnce(&mut Genesis)) -> GenesisError {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.check().unwrap_err()
    }

    fn said(change: impl FnOnce(&mut Genesis)) -> String {
        refused(change).to_string()
    }

    #[test]
    fn a_chain_gives_its_parameters_back() {
        let chain = genesis().check().unwrap();
        assert_eq!((chain.hash(), chain.genesis()), (genesis().hash(), &genesis()));
        assert_eq!((chain.network().as_str(), chain.prefix()), ("test-1", Prefix::Development));
        let main = Genesis { development: false, ..genesis() }.check().unwrap();
        assert_eq!(main.prefix(), Prefix::Main);
        assert_ne!(main.hash(), chain.hash());
        let metronome = METRONOME.public();
        assert_eq!(chain.metronome(&metronome.address()), Some(metronome));
        assert_eq!(chain.metronome(&STRANGER.public().address()), None);
        for kind in ProofKind::all() {
            assert_eq!(chain.engine(kind).unwrap().kind(), kind);
        }
        assert!(chain.engine(ProofKind::new(9)).is_none());
        assert_eq!(chain.first_targets(), [Target::MAX; ENGINE_COUNT]);
        assert_eq!(chain.endowed(), coins(400_000));
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(refused(|genesis| genesis.version = 2), GenesisError::Version { got: 2 });
        assert_eq!(said(|genesis| genesis.version = 2), "genesis version is 2, expected 1");
    }

    #[test]
    fn a_network_name_has_few_characters() {
        for byte in [b'A', b'_', b' ', 0, 0xff] {
            let name = NetworkName::new(vec![b'a', byte]).unwrap();
            let found = refused(|genesis| genesis.network = name);
            assert_eq!(found, GenesisError::Network { byte });
        }
        let found = said(|genesis| genesis.network = NetworkName::new(vec![0]).unwrap());
        assert_eq!(found, "the network name holds byte 0x00; use a-z, 0-9 and -");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let found = said(|genesis| genesis.interval = Millis(0));
        assert_eq!(found, "interval is 0, expected 1 to 4294967295");
        let found = said(|genesis| genesis.interval = Millis(1 << 32));
        assert_eq!(found, "interval is 4294967296, expected 1 to 4294967295");
        let found = said(|genesis| genesis.halving = 0);
        assert_eq!(found, format!("halving is 0, expected 1 to {}", u64::MAX));
        let found = said(|genesis| genesis.limits.block_transactions = 0);
        assert_eq!(found, "block_transactions is 0, expected 1 to 131072");
        let found = said(|genesis| genesis.limits.block_transactions = 131_073);
        assert_eq!(found, "block_transactions is 131073, expected 1 to 131072");
        let found = said(|genesis| genesis.limits.block_bytes = (1 << 16) - 1);
        assert_eq!(found, "block_bytes is 65535, expected 65536 to 268435456");
        let found = said(|genesis| genesis.limits.block_bytes = (1 << 28) + 1);
        assert_eq!(found, "block_bytes is 268435457, expected 65536 to 268435456");
    }

    #[test]
    fn accounts_are_in_order_and_not_empty() {
        let endow = |byte, units| Endowment {
            address: Address([byte; 32]),
            balance: Amount::from_units(units),
        };
        let cases = [
            (vec![endow(1, 1), endow(2, 0)], 1),
            (vec![endow(1, 1), endow(1, 1)], 1),
            (vec![endow(1, 1), endow(3, 1), endow(2, 1)], 2),
        ];
        for (accounts, index) in cases {
            let found = refused(|genesis| genesis.accounts = List::new(accounts).unwrap());
            assert_eq!(found, GenesisError::Account { index });
        }
        let text = "account 3 is out of order, listed twice or empty";
        assert_eq!(GenesisError::Account { index: 3 }.to_string(), text);
    }

    #[test]
    fn all_coins_there_can_be_must_fit() {
        let text = "initial balances and all rewards exceed 184467440737.09551615 coins";
        assert_eq!(said(|genesis| genesis.halving = u64::MAX), text);
        assert_eq!(
            refused(|genesis| genesis.reward = Amount::from_units(1 << 63)),
            GenesisError::Supply
        );
        let rich = Endowment { address: Address([0; 32]), balance: Amount::from_units(u64::MAX) };
        let found = refused(|genesis| {
            genesis.accounts =
                List::new(vec![rich, Endowment { address: Address([1; 32]), ..rich }]).unwrap();
        });
        assert_eq!(found, GenesisError::Supply);
        let just = Genesis {
            accounts: List::new(vec![rich]).unwrap(),
            reward: Amount::ZERO,
            halving: u64::MAX,
            ..genesis()
        };
        assert_eq!(just.check().unwrap().supply_max(Height(u64::MAX)), rich.balance);
    }

    #[test]
    fn a_metronome_key_is_listed_once() {
        let keys = vec![*METRONOME.public(), *ALICE.public(), *METRONOME.public()];
        let found = refused(|genesis| genesis.metronomes = List::new(keys).unwrap());
        assert_eq!(found, GenesisError::MetronomeTwice { index: 2 });
        assert_eq!(found.to_string(), "metronome key 2 is listed twice");
    }

    fn engine(genesis: &mut Genesis, index: usize, change: impl FnOnce(&mut EngineGenesis)) {
        let mut engines = genesis.engines.to_vec();
        change(&mut engines[index]);
        genesis.engines = List::new(engines).unwrap();
    }

    #[test]
    fn targets_are_within_their_limits() {
        let limits = |min, max| TargetLimits { min: Target(min), max: Target(max) };
        for (index, entry) in ENGINES.iter().enumerate() {
            for (target, limits) in [(1, limits(1, 9)), (9, limits(1, 9)), (5, limits(5, 5))] {
                let mut genesis = genesis();
                engine(&mut genesis, index, |engine| {
                    (engine.target, engine.limits) = (Target(target), limits);
                });
                assert!(genesis.check().is_ok(), "{target}");
            }
            for (target, limits) in
                [(0, limits(0, 9)), (1, limits(2, 9)), (9, limits(1, 8)), (5, limits(6, 4))]
            {
                let found = refused(|genesis| {
                    engine(genesis, index, |engine| {
                        (engine.target, engine.limits) = (Target(target), limits);
                    });
                });
                let text = format!(
                    "target of {} is {target}, its limits are {} to {}",
                    entry.name, limits.min, limits.max
                );
                assert!(matches!(found, GenesisError::Target { .. }));
                assert_eq!(found.to_string(), text);
            }
        }
    }

    #[test]
    fn parameters_are_those_the_engine_declares() {
        for (index, entry) in ENGINES.iter().enumerate() {
            let more = vec![1; entry.params.len() + 1];
            let found = refused(|genesis| {
                engine(genesis, index, |engine| engine.params = List::new(more).unwrap());
            });
            assert!(matches!(found, GenesisError::Param { error: ParamError::Count { .. }, .. }));
            let start = format!("engine {}: engine {} has", entry.name, entry.name);
            assert!(found.to_string().starts_with(&start), "{found}");
            let Some(first) = entry.params.first() else { continue };
            let mut values: Vec<_> = entry.params.iter().map(|param| param.min).collect();
            values[0] = first.max + 1;
            let found = refused(|genesis| {
                engine(genesis, index, |engine| engine.params = List::new(values).unwrap());
            });
            let out =
                matches!(found, GenesisError::Param { error: ParamError::OutOfRange { .. }, .. });
            assert!(out, "{found:?}");
        }
    }

    #[test]
    fn rewards_halve_until_nothing_is_left() {
        let chain = genesis().check().unwrap();
        let reward = |height| chain.reward(Height(height));
        assert_eq!([reward(0), reward(3), reward(4)], [coins(1024), coins(1024), coins(512)]);
        assert_eq!(reward(4 * 36), Amount::from_units(coins(1024).units() >> 36));
        assert_eq!([reward(4 * 37), reward(4 * 64), reward(u64::MAX)], [Amount::ZERO; 3]);
    }

    #[test]
    fn the_most_coins_there_can_be_add_up() {
        let chain = genesis().check().unwrap();
        let mut sum = chain.endowed();
        for height in (0..200).map(Height) {
            sum = sum.checked_add(chain.reward(height)).unwrap();
            assert_eq!(chain.supply_max(height), sum);
        }
        assert_eq!(chain.supply_max(Height(u64::MAX)), sum);
    }

    #[test]
    fn json_and_encoding_read_back() {
        let genesis = genesis();
        let json = serde_json::to_string(&genesis).unwrap();
        assert!(json.contains("\"network\":\"test-1\""), "{json}");
        assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap(), genesis);
        assert_eq!(codec::decode(&codec::encode(&genesis)), Ok(genesis));
        let unknown = json.replacen('{', "{\"colour\":1,", 1);
        assert!(serde_json::from_str::<Genesis>(&unknown).is_err());
        let nameless = json.replace("test-1", "");
        assert!(serde_json::from_str::<Genesis>(&nameless).is_err());
    }

    #[test]
    fn the_largest_genesis_is_within_its_bound() {
        let account = |index: u32| {
            let mut address = [0; 32];
            address[..4].copy_from_slice(&index.to_be_bytes());
            Endowment { address: Address(address), balance: Amount::from_units(1) }
        };
        let accounts = (0..100_000).map(account).collect();
        let full = Genesis { accounts: List::new(accounts).unwrap(), ..genesis() };
        let bytes = codec::encode(&full);
        assert!(bytes.len() + METRONOMES_MAX * 256 + ENGINE_COUNT * 64 < GENESIS_BYTES_MAX);
        assert!(full.check().is_ok());
    }
}
