//! `dsc dev --cluster`: the roles as processes of their own on a replicated engine, and what happens
//! when some of them are killed.
//!
//! # Invariants
//!
//! 1. Every process started here is killed when this one ends in order, the roles before the engine;
//!    and asked to end by the kernel, where it does that, when this one is killed.
//! 2. Nothing of a cluster that another process runs is touched.
//! 3. A failure is a real one: the process is killed as by SIGKILL, and started again on its folder.

mod child;
mod engine;
mod failover;
mod ports;
mod roles;

use std::{fmt, fs, path::Path};

use dsc_lib::{
    hash::Digest,
    keys::SecretKey,
    role::{Answer, Call, blockchain::Info},
    units::Height,
};
use serde::Serialize;

use self::{engine::Nodes, failover::Failover, ports::Ports, roles::Roles};
use super::{Args, Context, Demo, Description, account_keys, chain};
use crate::{
    exit::Failure,
    lock::FolderLock,
    network,
    output::{Document, note},
    role::transport::Transport,
    shutdown::Shutdown,
};

/// Runs the cluster until it is asked to end, shows a failover, and sums up.
pub(super) fn run(args: &Args, context: &Context<'_>, count: u8) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
    let program = engine::program(args.nats_server.as_deref())?;
    let folder = context.config.path("general.data_dir").join("dev-cluster");
    let mut cluster = Cluster::start(args, context, &folder, count, &program, &shutdown)?;
    cluster.announce(args)?;
    let demo = args.demo.then(|| cluster.pay(args.seed, &shutdown)).transpose()?;
    let clock = crate::clock::SystemClock::new();
    let failovers = cluster.show_failover(&shutdown)?;
    match args.time {
        Some(time) => drop(shutdown.sleep(time.saturating_sub(clock.elapsed()))),
        None => while !shutdown.sleep(std::time::Duration::from_secs(3600)) {},
    }
    shutdown.request();
    if let Some(demo) = demo {
        demo.join();
    }
    let summary = Summary { heights: cluster.tips(), failovers };
    cluster.stop();
    context.output.document(&summary)
}

/// Every process of one chain.
struct Cluster {
    // The roles end before the engine does: fields are dropped in this order.
    roles: Roles,
    nodes: Nodes,
    transport: Transport,
    accounts: Vec<SecretKey>,
    chain: dsc_lib::genesis::Chain,
    _lock: FolderLock,
}

/// Has the folder for this process alone, without what was in it if that is asked for.
fn own(folder: &Path, reset: bool) -> Result<FolderLock, Failure> {
    let lock = FolderLock::acquire(folder)?;
    if !reset {
        return Ok(lock);
    }
    // The lock goes with the folder.
    fs::remove_dir_all(folder).map_err(|error| Failure::file("remove", folder, &error))?;
    drop(lock);
    Ok(FolderLock::acquire(folder)?)
}

impl Cluster {
    fn start(
        args: &Args,
        context: &Context<'_>,
        folder: &Path,
        count: u8,
        program: &Path,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let ports = Ports::choose(args.port_base, count)?;
        let lock = own(folder, args.reset)?;
        let folder = &folder.canonicalize().map_err(|e| Failure::file("find", folder, &e))?;
        let chain = chain(args, folder, &network::metronome_keys())?;
        let accounts = account_keys(&chain)?;
        let nodes = Nodes::start(program, folder, &ports.nodes, shutdown)?;
        let roles = Roles::start(folder, &ports, &nodes, context, shutdown)?;
        let transport = roles.transport(context)?;
        Ok(Self { roles, nodes, transport, accounts, chain, _lock: lock })
    }

    /// Tells where everything is: people on standard error, programs in the file of `--out`.
    fn announce(&self, args: &Args) -> Result<(), Failure> {
        note(format_args!("dashboard  {}/", self.roles.monitor_url()));
        note("");
        for (name, url) in self.roles.urls() {
            note(format_args!("{name:14} {url}"));
        }
        for node in self.nodes.names() {
            note(node);
        }
        let urls = self.roles.addresses();
        note("");
        note("commands take every server of a role, and go on to the next when one is gone:");
        let of = |role| format!("--{role}-url {}", urls[role]);
        note(["blockchain", "pool", "metronome"].map(of).join(" "));
        note("");
        Description::new(&self.chain, &urls, &self.accounts).tell(args)
    }

    fn pay(&self, seed: u64, shutdown: &Shutdown) -> Result<Demo, Failure> {
        let (chain, accounts) = (self.chain.clone(), self.accounts.clone());
        Demo::start(seed, chain, accounts, self.transport.clone(), shutdown.clone())
    }

    fn show_failover(&mut self, shutdown: &Shutdown) -> Result<Vec<Failover>, Failure> {
        failover::show(&mut self.roles, &mut self.nodes, &self.transport, shutdown)
    }

    /// Where each blockchain server stands.
    fn tips(&self) -> Vec<Tip> {
        let infos = self.roles.blockchains().map(|client| {
            let asked = Transport { blockchain: client, ..self.transport.clone() };
            asked.call(&Call::ChainInfo)
        });
        infos.filter_map(|answer| Tip::of(answer.ok()?)).collect()
    }

    fn stop(self) {
        let Self { roles, nodes, .. } = self;
        roles.stop();
        drop(nodes);
    }
}

/// Where a blockchain server stands.
#[derive(Debug, Serialize)]
struct Tip {
    height: Option<Height>,
    state: Digest,
    transactions: u64,
}

impl Tip {
    fn of(answer: Answer) -> Option<Self> {
        let Answer::ChainInfo(info) = answer else { return None };
        let Info { height, state, transactions, .. } = *info;
        Some(Self { height, state, transactions })
    }
}

/// What the servers hold in the end, and how long each failure was felt.
#[derive(Debug, Serialize)]
struct Summary {
    heights: Vec<Tip>,
    failovers: Vec<Failover>,
}

impl Document for Summary {
    const SCHEMA: &'static str = "dsc.dev.cluster/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Tip { height, state, transactions } in &self.heights {
            let height = height.map_or_else(|| "none".into(), |height| height.to_string());
            writeln!(f, "height {height}, {transactions} transactions, state {state}")?;
        }
        self.failovers.iter().try_for_each(|failover| writeln!(f, "{failover}"))
    }
}
