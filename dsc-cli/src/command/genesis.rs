//! `dsc genesis`: write the genesis file of a new network.

use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use dsc_lib::{
    address::{Address, Prefix},
    codec::List,
    genesis::{Endowment, EngineGenesis, Genesis, Limits, VERSION},
    hash::Digest,
    keys::PublicKey,
    proof::{ENGINES, Entry, Params},
    retarget::TargetLimits,
    units::{Amount, Millis, Target},
};
use serde::Serialize;

use super::Context;
use crate::{clock::Time, duration, exit::Failure, network, output::Document};

/// Heights after which the reward halves: about four years of six-second blocks.
const HALVING: u64 = 21_000_000;
const REWARD_COINS: u64 = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    out: PathBuf,
    /// Name of the network: a-z, 0-9 and hyphens
    #[arg(long, value_name = "NAME", default_value = "dsc-dev")]
    network: String,
    /// A network for development: addresses start with `dscd`, published keys are allowed
    #[arg(long)]
    development: bool,
    /// Time between blocks
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = duration::parse)]
    block_time: Duration,
    /// Public key of a metronome, PEM; may be repeated
    #[arg(long, value_name = "FILE")]
    metronome: Vec<PathBuf>,
    /// Initial balance; may be repeated
    #[arg(long, value_name = "ADDRESS=COINS", value_parser = parse_endowment)]
    account: Vec<(String, Amount)>,
    /// Fund this many published development accounts
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "development")]
    accounts: usize,
    /// Coins of each of them
    #[arg(long, value_name = "COINS", default_value = "200000")]
    balance: Amount,
    /// Parameter of an engine; may be repeated
    #[arg(long, value_name = "PROOF.NAME=VALUE", value_parser = parse_param)]
    param: Vec<(String, String, u64)>,
    /// Tries that the first targets expect of all validators of an engine together
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 20)]
    tries: u64,
}

fn parse_endowment(text: &str) -> Result<(String, Amount), String> {
    let (address, coins) = text.split_once('=').ok_or("expected ADDRESS=COINS")?;
    Ok((address.to_owned(), coins.parse().map_err(|error| format!("{error}"))?))
}

fn parse_param(text: &str) -> Result<(String, String, u64), String> {
    let expected = "expected PROOF.NAME=VALUE, such as space.k=20";
    let (name, value) = text.split_once('=').ok_or(expected)?;
    let (engine, param) = name.split_once('.').ok_or(expected)?;
    let value = value.parse().map_err(|_| expected)?;
    Ok((engine.to_owned(), param.to_owned(), value))
}

#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    chain: Digest,
    network: &'a str,
}

impl Document for Written<'_> {
    const SCHEMA: &'static str = "dsc.genesis/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} is the genesis of {} ({})", self.file.display(), self.network, self.chain)
    }
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let engines = ENGINES.iter().map(|entry| engine(entry, args)).collect::<Result<_, _>>()?;
    let plan = Plan {
        network: args.network.clone(),
        development: args.development,
        block_time: args.block_time,
        metronomes: metronomes(args)?,
        accounts: accounts(args)?,
        engines,
    };
    let chain = network::check(plan.genesis()?)?;
    write(&args.out, chain.genesis())?;
    let written = Written { file: &args.out, chain: chain.hash(), network: &args.network };
    context.output.document(&written)
}

/// What makes one network another than the next.
pub(crate) struct Plan {
    pub(crate) network: String,
    pub(crate) development: bool,
    pub(crate) block_time: Duration,
    pub(crate) metronomes: Vec<PublicKey>,
    pub(crate) accounts: Vec<Endowment>,
    pub(crate) engines: Vec<EngineGenesis>,
}

impl Plan {
    pub(crate) fn genesis(mut self) -> Result<Genesis, Failure> {
        if self.block_time.is_zero() {
            return Err(Failure::usage("--block-time is zero").with_hint("1s is a good start"));
        }
        self.accounts.sort_unstable_by_key(|account| account.address);
        let interval = u64::try_from(self.block_time.as_millis()).unwrap_or(u64::MAX);
        let reward = Amount::from_coins(REWARD_COINS).unwrap_or_default();
        let wrong =
            |what: &str, error: &dyn fmt::Display| Failure::usage(format!("{what}: {error}"));
        Ok(Genesis {
            version: VERSION,
            network: List::new(self.network.into_bytes()).map_err(|e| wrong("--network", &e))?,
            development: self.development,
            time: Time::new().now(),
            interval: Millis(interval),
            reward,
            halving: HALVING,
            limits: Limits { block_transactions: 1 << 16, block_bytes: 32 << 20 },
            engines: List::new(self.engines).map_err(|e| wrong("engines", &e))?,
            metronomes: List::new(self.metronomes).map_err(|e| wrong("--metronome", &e))?,
            accounts: List::new(self.accounts).map_err(|e| wrong("--account", &e))?,
        })
    }
}

/// An engine with these parameter values, and a first target that expects `tries`.
pub(crate) fn engine_genesis(values: Vec<u64>, tries: u64) -> Result<EngineGenesis, Failure> {
    let params = List::new(values).map_err(|error| Failure::usage(format!("--param: {error}")))?;
    // In equilibrium the target is 2.3 times the mean of the best quality.
    let target = Target(Target::for_tries(tries).0.saturating_mul(23) / 10);
    let limits = TargetLimits { min: Target(1), max: Target::MAX };
    Ok(EngineGenesis { target: Target(target.0.max(1)), limits, params })
}

fn engine(entry: &Entry, args: &Args) -> Result<EngineGenesis, Failure> {
    let value = |param: &dsc_lib::proof::Param| {
        let named =
            |(engine, name, _): &&(String, String, u64)| engine == entry.name && name == param.name;
        args.param.iter().find(named).map_or(param.default, |(_, _, value)| *value)
    };
    let values: Vec<u64> = entry.params.iter().map(value).collect();
    let known = |(engine, name, _): &(String, String, u64)| {
        let found = ENGINES.iter().find(|entry| entry.name == engine);
        found.is_some_and(|entry| entry.params.iter().any(|param| param.name == name))
    };
    if let Some((engine, name, _)) = args.param.iter().find(|param| !known(param)) {
        return Err(Failure::usage(format!("no engine has a parameter {engine}.{name}")));
    }
    Params::new(entry, &values)
        .map_err(|error| Failure::usage(format!("--param {}: {error}", entry.name)))?;
    engine_genesis(values, args.tries)
}

fn metronomes(args: &Args) -> Result<Vec<PublicKey>, Failure> {
    if args.metronome.is_empty() {
        if args.development {
            return Ok(vec![*network::metronome_key().public()]);
        }
        return Err(Failure::usage("a network needs the public key of a metronome").with_hint(
            "pass --metronome FILE; `dsc wallet create` makes keys, \
                `dsc wallet show NAME --pem` writes the public one",
        ));
    }
    args.metronome.iter().map(|path| public_key(path)).collect()
}

fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    PublicKey::from_spki_pem(&text)
        .map_err(|error| Failure::corrupt("invalid-key", format!("{}: {error}", path.display())))
}

fn accounts(args: &Args) -> Result<Vec<Endowment>, Failure> {
    let prefix = if args.development { Prefix::Development } else { Prefix::Main };
    let named = args.account.iter().map(|(text, balance)| {
        Ok(Endowment { address: Address::from_text(text, prefix)?, balance: *balance })
    });
    let mut accounts: Vec<_> = named.collect::<Result<_, Failure>>()?;
    accounts.extend(published(args.accounts, args.balance)?);
    if args.development {
        let address = network::faucet_key().public().address();
        accounts.push(Endowment { address, balance: FAUCET_BALANCE });
    }
    Ok(accounts)
}

/// What the faucet of a development network starts with.
pub(crate) const FAUCET_BALANCE: Amount = Amount::from_units(10_000_000 * 100_000_000);

/// `count` published accounts with the same balance.
pub(crate) fn published(count: usize, balance: Amount) -> Result<Vec<Endowment>, Failure> {
    let max = network::PUBLISHED_ACCOUNTS;
    if count > max {
        return Err(Failure::usage(format!("there are {max} published accounts, not {count}")));
    }
    let keys = (0..count).filter_map(network::account_key);
    Ok(keys.map(|key| Endowment { address: key.public().address(), balance }).collect())
}

/// Writes a genesis file that does not exist yet.
pub(crate) fn write(path: &Path, genesis: &Genesis) -> Result<(), Failure> {
    let failure = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::rejected("file-exists", format!("{} exists", path.display()))
                .with_hint("a genesis never changes: choose another file or remove this one")
        }
        _ => Failure::file("write", path, error),
    };
    let text = serde_json::to_string_pretty(genesis).map_err(|e| Failure::other("json", e))?;
    let mut file = fs::File::create_new(path).map_err(|error| failure(&error))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(|error| failure(&error))
}
