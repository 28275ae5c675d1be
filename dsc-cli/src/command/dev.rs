//! `dsc dev`: a whole chain in one process, with the same roles over the same HTTP.

#[cfg(feature = "cluster")]
mod cluster;
mod demo;
mod summary;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dsc_lib::{
    address::Address,
    genesis::{Chain, Endowment},
    hash::{Context as Purpose, derive},
    keys::SecretKey,
    proof::{ENGINES, Entry, Fingerprint, Miner, ProofKind, Resources},
    role::{blockchain::Blockchain, metronome::Settings},
    units::{Amount, Millis},
};
use serde::Serialize;

use self::{demo::Demo, summary::Summary};
use super::{
    Context,
    genesis::{self, FAUCET_BALANCE, Plan},
    validator::parse_kind,
};
use crate::{
    duration,
    exit::Failure,
    http::Client,
    network,
    node::{self, Host, Mine},
    output::note,
    progress::{Reporter, Style},
    role::{Shared, Socket, transport::Transport, validator::Effort},
    shutdown::Shutdown,
};

/// The time between two looks of the monitor.
const MONITOR_INTERVAL: Millis = Millis(1_000);
const NETWORK: &str = "dsc-dev";
/// Most validators of one engine: each has a prover and a thread.
const VALIDATORS_MAX: u32 = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Make a steady stream of payments between the accounts
    #[arg(long)]
    demo: bool,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    time: Option<Duration>,
    /// Throw the chain away and start a new one
    #[arg(long)]
    reset: bool,
    /// Seed of validators' names and of the demonstration's payments
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Time between blocks [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    block_time: Option<Duration>,
    /// Validators by proof [default: work=1,space=1,memory=1]
    #[arg(long, value_name = "PROOF=COUNT,..", value_delimiter = ',', value_parser = parse_count)]
    validators: Vec<(ProofKind, u32)>,
    /// First of four ports (monitor, blockchain, pool, metronome); 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 7700)]
    port_base: u16,
    /// Funded accounts [default: 10]
    #[arg(long, value_name = "COUNT")]
    accounts: Option<usize>,
    /// Coins of each account [default: 200000]
    #[arg(long, value_name = "COINS")]
    balance: Option<Amount>,
    /// Tries of a validator in a round at most [default: few, so that an idle chain stays quiet]
    #[arg(long, value_name = "COUNT")]
    attempts: Option<u64>,
    /// Run two processes of each role on so many nodes of a replicated engine, and show a failover
    #[arg(
        long,
        value_name = "NODES",
        value_parser = clap::value_parser!(u8).range(3..=5),
        conflicts_with_all = ["validators", "attempts"]
    )]
    cluster: Option<u8>,
    /// The program nats-server [default: the first on the path]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    nats_server: Option<PathBuf>,
    /// File to write addresses and accounts to, as JSON, once everything runs
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn parse_count(text: &str) -> Result<(ProofKind, u32), String> {
    let (proof, count) = text.split_once('=').ok_or("expected PROOF=COUNT, such as work=1")?;
    let wrong = || format!("`{count}` is not a number of validators, 0 to {VALIDATORS_MAX}");
    let count: u32 = count.parse().map_err(|_| wrong())?;
    if count > VALIDATORS_MAX {
        return Err(wrong());
    }
    Ok((parse_kind(proof)?, count))
}

/// Runs the chain until it is asked to end, and sums up.
pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match args.cluster {
        Some(count) => run_cluster(args, context, count),
        None => run_alone(args, context),
    }
}

#[cfg(feature = "cluster")]
fn run_cluster(args: &Args, context: &Context<'_>, count: u8) -> Result<(), Failure> {
    cluster::run(args, context, count)
}

#[cfg(not(feature = "cluster"))]
fn run_cluster(_args: &Args, _context: &Context<'_>, _count: u8) -> Result<(), Failure> {
    Err(crate::engine::not_built("this program was built without the engine of a cluster"))
}

fn run_alone(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
    let folder = context.config.path("general.data_dir").join("dev");
    let network = Network::start(args, context, &folder, shutdown.clone())?;
    network.announce(args)?;
    let demo = args.demo.then(|| network.pay(args.seed)).transpose()?;
    match args.time {
        Some(time) => drop(shutdown.sleep(time)),
        None => while !shutdown.sleep(Duration::from_secs(3600)) {},
    }
    shutdown.request();
    if let Some(demo) = demo {
        demo.join();
    }
    let summary = network.stop()?;
    context.output.document(&summary)
}

/// All roles of one chain.
struct Network {
    host: Host,
    chain: Chain,
    transport: Transport,
    accounts: Vec<SecretKey>,
    urls: BTreeMap<&'static str, String>,
    blockchain: node::Running<Blockchain>,
    others: Vec<Box<dyn FnOnce()>>,
    pool: Arc<Shared<dsc_lib::role::pool::Pool>>,
}

impl Network {
    fn start(
        args: &Args,
        context: &Context<'_>,
        folder: &Path,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        if args.reset && folder.exists() {
            clear(folder)?;
        }
        fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
        let [monitor, blockchain, pool, metronome] = sockets(args.port_base)?;
        let chain = chain(args, folder, &[network::metronome_key()])?;
        let accounts = account_keys(&chain)?;
        // Development needs no token: everybody here is on this machine.
        let host = Host { token: None, ..Host::from_config(&context.config, shutdown)? };
        let urls = BTreeMap::from([
            ("blockchain", blockchain.url()),
            ("metronome", metronome.url()),
            ("monitor", monitor.url()),
            ("pool", pool.url()),
        ]);
        let transport = transport(&urls, context)?;

        let known = Some(chain.clone());
        let ledger = node::blockchain(&host, blockchain, &folder.join("blockchain"), known)?;
        let faucet = Some(network::faucet_key());
        let pool_folder = folder.join("pool");
        let pool = node::pool(&host, pool, &pool_folder, chain.clone(), faucet, transport.clone())?;
        let settings = Settings {
            key: network::metronome_key(),
            epoch: 0,
            interval: chain.genesis().interval,
            running: true,
        };
        let provers = provers(args, context, &chain, folder)?;
        let own = folder.join("metronome");
        let metronome =
            node::metronome(&host, metronome, &own, chain.clone(), settings, transport.clone())?;
        for (mine, prover) in provers {
            node::validator(&host, &mine, prover, transport.clone())?;
        }
        let monitor = node::monitor(&host, monitor, MONITOR_INTERVAL, transport.clone())?;
        let shared = pool.shared.clone();
        let others: Vec<Box<dyn FnOnce()>> = vec![
            Box::new(move || monitor.join()),
            Box::new(move || metronome.join()),
            Box::new(move || pool.join()),
        ];
        let pool = shared;
        Ok(Self { host, chain, transport, accounts, urls, blockchain: ledger, others, pool })
    }

    /// Starts a stream of payments.
    fn pay(&self, seed: u64) -> Result<Demo, Failure> {
        let (chain, accounts) = (self.chain.clone(), self.accounts.clone());
        let (transport, shutdown) = (self.transport.clone(), self.host.shutdown.clone());
        Demo::start(seed, chain, accounts, transport, shutdown)
    }

    /// Tells where everything is: people on standard error, programs in the file of `--out`.
    fn announce(&self, args: &Args) -> Result<(), Failure> {
        // The page first: it shows all the rest.
        note(format_args!("dashboard  {}/", self.urls["monitor"]));
        note("");
        for (role, url) in self.urls.iter().filter(|(role, _)| **role != "monitor") {
            note(format_args!("{role:10} {url}"));
        }
        Description::new(&self.chain, &self.urls, &self.accounts).tell(args)
    }

    /// Ends every role and sums up what the ledger holds.
    fn stop(self) -> Result<Summary, Failure> {
        let Self { blockchain, others, pool, host, .. } = self;
        host.shutdown.request();
        for join in others {
            join();
        }
        let pending = {
            let counts = pool.lock().counts();
            counts.submitted.saturating_add(counts.unconfirmed)
        };
        let shared = blockchain.shared.clone();
        blockchain.join();
        let held = shared.lock();
        Summary::new(held.ledger(), pending)
    }
}

#[derive(Serialize)]
struct Description<'a> {
    schema: &'static str,
    chain: String,
    urls: &'a BTreeMap<&'static str, String>,
    accounts: Vec<String>,
}

impl<'a> Description<'a> {
    fn new(chain: &Chain, urls: &'a BTreeMap<&'static str, String>, keys: &[SecretKey]) -> Self {
        let address = |key: &SecretKey| key.public().address().to_text(chain.prefix());
        Self {
            schema: "dsc.dev.network/1",
            chain: chain.hash().to_string(),
            urls,
            accounts: keys.iter().map(address).collect(),
        }
    }

    /// Tells people of the accounts, and programs of everything in the file of `--out`.
    fn tell(&self, args: &Args) -> Result<(), Failure> {
        for (index, address) in self.accounts.iter().enumerate() {
            note(format_args!("account {index:2} {address}"));
        }
        let Some(path) = &args.out else { return Ok(()) };
        let text =
            serde_json::to_string_pretty(self).map_err(|error| Failure::other("json", error))?;
        fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
    }
}

/// Throws the chain away, unless another process runs it.
fn clear(folder: &Path) -> Result<(), Failure> {
    let blockchain = folder.join("blockchain");
    if blockchain.exists() {
        drop(crate::lock::FolderLock::acquire(&blockchain)?);
    }
    fs::remove_dir_all(folder).map_err(|error| Failure::file("remove", folder, &error))
}

fn sockets(base: u16) -> Result<[Socket; 4], Failure> {
    let bind = |role: &'static str, offset: u16| {
        let port = if base == 0 { Some(0) } else { base.checked_add(offset) };
        let port =
            port.ok_or_else(|| Failure::usage("--port-base leaves no room for four ports"))?;
        Socket::bind_with(role, "--port-base", ([127, 0, 0, 1], port).into())
    };
    Ok([bind("monitor", 0)?, bind("blockchain", 1)?, bind("pool", 2)?, bind("metronome", 3)?])
}

fn transport(
    urls: &BTreeMap<&'static str, String>,
    context: &Context<'_>,
) -> Result<Transport, Failure> {
    let client =
        |role| Client::from_config(&urls[role], &context.config).map(|client| client.named(role));
    Ok(Transport {
        blockchain: client("blockchain")?,
        pool: client("pool")?,
        metronome: client("metronome")?,
    })
}

/// The chain in `folder`, or a new one as the flags ask, with these metronomes.
fn chain(args: &Args, folder: &Path, metronomes: &[SecretKey]) -> Result<Chain, Failure> {
    let path = folder.join("genesis.json");
    if path.exists() {
        let chain = network::read_genesis(&path)?;
        return same_as_asked(args, chain);
    }
    let block_time = args.block_time.unwrap_or(Duration::from_secs(1));
    let plan = Plan {
        network: NETWORK.to_owned(),
        development: true,
        block_time,
        metronomes: metronomes.iter().map(|key| *key.public()).collect(),
        accounts: endowments(args)?,
        engines: ENGINES.iter().map(|entry| trial(entry)).collect::<Result<_, _>>()?,
    };
    let chain = network::check(plan.genesis()?)?;
    genesis::write(&path, chain.genesis())?;
    Ok(chain)
}

fn trial(entry: &Entry) -> Result<dsc_lib::genesis::EngineGenesis, Failure> {
    genesis::engine_genesis(entry.trial.params.to_vec(), entry.trial.draws)
}

/// A chain keeps what it was started with; flags that ask for something else are refused.
fn same_as_asked(args: &Args, chain: Chain) -> Result<Chain, Failure> {
    let genesis = chain.genesis();
    let interval = Duration::from_millis(genesis.interval.0);
    let funded: Vec<_> = funded(&chain).collect();
    let differs = [
        ("--block-time", args.block_time.is_some_and(|time| time != interval)),
        ("--accounts", args.accounts.is_some_and(|count| count != funded.len())),
        ("--balance", args.balance.is_some_and(|coins| funded.iter().any(|e| e.balance != coins))),
    ];
    let Some((flag, _)) = differs.into_iter().find(|(_, differs)| *differs) else {
        return Ok(chain);
    };
    Err(Failure::usage(format!("{flag} differs from what this chain was started with"))
        .with_hint("leave the flag out, or start a new chain with --reset"))
}

fn funded(chain: &Chain) -> impl Iterator<Item = &Endowment> {
    let faucet = network::faucet_key().public().address();
    chain.genesis().accounts.iter().filter(move |account| account.address != faucet)
}

fn endowments(args: &Args) -> Result<Vec<Endowment>, Failure> {
    let balance = args.balance.or_else(|| Amount::from_coins(200_000)).unwrap_or_default();
    let mut accounts = genesis::published(args.accounts.unwrap_or(10), balance)?;
    let address = network::faucet_key().public().address();
    accounts.push(Endowment { address, balance: FAUCET_BALANCE });
    Ok(accounts)
}

/// The published keys that this chain's genesis funds.
fn account_keys(chain: &Chain) -> Result<Vec<SecretKey>, Failure> {
    let count = funded(chain).count();
    let keys: Option<Vec<_>> = (0..count).map(network::account_key).collect();
    keys.ok_or_else(|| Failure::corrupt("invalid-genesis", "the chain has accounts without a key"))
}

type Ready = (Mine, Box<dyn dsc_lib::proof::Prover>);

/// Makes every validator's prover ready.
fn provers(
    args: &Args,
    context: &Context<'_>,
    chain: &Chain,
    folder: &Path,
) -> Result<Vec<Ready>, Failure> {
    let reporter = Reporter::new(Style::from_word(context.config.text("general.progress")));
    let one_each = || ENGINES.iter().map(|entry| (entry.kind, 1)).collect();
    let wanted: Vec<(ProofKind, u32)> =
        if args.validators.is_empty() { one_each() } else { args.validators.clone() };
    let mines = wanted.iter().flat_map(|&(kind, count)| (0..count).map(move |index| (kind, index)));
    mines
        .map(|(kind, index)| {
            let mine = mine(args, kind, index, folder);
            let prover = node::prover(chain, &mine, &reporter)?;
            Ok((mine, prover))
        })
        .collect()
}

fn mine(args: &Args, kind: ProofKind, index: u32, folder: &Path) -> Mine {
    let name = [kind.name().as_bytes(), &args.seed.to_le_bytes(), &index.to_le_bytes()].concat();
    let digest = derive(Purpose::Genesis, &[&name]);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&digest.as_bytes()[..16]);
    let threads = 1;
    let resources = Resources { threads, ..Resources::new(folder.join("validators")) };
    let suggested = kind.entry().map_or(u64::MAX, |entry| entry.trial.attempts_max);
    let attempts_max = args.attempts.unwrap_or(suggested);
    let miner = Miner { address: rewarded(kind), fingerprint: Fingerprint(fingerprint) };
    Mine { kind, miner, resources, effort: Effort { attempts_max, threads } }
}

/// Validators of an engine are paid to one published account, so that rewards can be spent.
fn rewarded(kind: ProofKind) -> Address {
    let key = network::account_key(usize::from(kind.index())).unwrap_or_else(network::faucet_key);
    key.public().address()
}
