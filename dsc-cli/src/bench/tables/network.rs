//! A network of its own for each row: the server roles in one process or each in its own, on free
//! ports of this machine, with a new ledger.
//!
//! # Invariants
//!
//! 1. Servers run the program that measures, and end with the row, however that ends.
//! 2. They are killed, not asked to stop: what is read back afterwards is what was on disk.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use dsc_lib::{
    genesis::Chain,
    proof::{ENGINES, ProofKind},
    role::metronome::Status,
};
use serde::Serialize;
use serde_json::{Deserializer, Value};

use super::super::stats::{Samples, float};
use crate::{
    clock::SystemClock,
    exit::Failure,
    http::{Client, ClientError},
    network,
    shutdown::Shutdown,
};

/// Longest wait for a server to say that it serves.
const START_TIME: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const GENESIS: &str = "genesis.json";

/// How the server roles are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Processes {
    /// All server roles in one process
    One,
    /// One process for each role, with this one six
    Six,
}

/// What a network is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    pub(super) chain: &'a Chain,
    pub(super) processes: Processes,
    /// The only proof that has validators.
    pub(super) proof: ProofKind,
    pub(super) validators: u32,
}

/// A running network.
#[derive(Debug)]
pub(super) struct Network {
    servers: Vec<Server>,
    pub(super) pool: String,
    pub(super) blockchain: String,
    metronome: String,
    ledger: PathBuf,
}

/// A process of this program.
#[derive(Debug)]
struct Server {
    child: Child,
    name: String,
    output: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `dsc NAME ARGS` in `folder`, out of reach of configuration files and variables.
    fn start(folder: &Path, name: &str, args: &[&str]) -> Result<Self, Failure> {
        let own = folder.join(name.replace(' ', "-"));
        let made = fs::create_dir_all(&own);
        made.map_err(|error| Failure::file("make", &own, &error))?;
        let (output, log) = (own.join("output"), own.join("log"));
        let file = |path: &Path| {
            fs::File::create(path).map_err(|error| Failure::file("write", path, &error))
        };
        let program = std::env::current_exe().map_err(|error| Failure::other("program", error))?;
        let mut command = Command::new(program);
        command.args(name.split(' ').next()).args(args).args(["--json", "--progress", "none"]);
        command.arg("--data-dir").arg(own.join("data")).current_dir(&own);
        command.stdin(Stdio::null()).stdout(file(&output)?).stderr(file(&log)?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DSC_") {
                command.env_remove(name);
            }
        }
        let child = command.spawn();
        let child = child.map_err(|error| Failure::other("server", format!("{name}: {error}")))?;
        Ok(Self { child, name: name.to_owned(), output, log })
    }

    /// The first document that it writes.
    fn first(&mut self, shutdown: &Shutdown) -> Result<Value, Failure> {
        let clock = SystemClock::new();
        while clock.elapsed() < START_TIME {
            let text = fs::read_to_string(&self.output).unwrap_or_default();
            if let Some(Ok(value)) = Deserializer::from_str(&text).into_iter().next() {
                return Ok(value);
            }
            if shutdown.is_requested() {
                return Err(Failure::interrupted("the benchmark was interrupted"));
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Err(self.fault("ended before it served"));
            }
            thread::sleep(LOOK_PAUSE);
        }
        Err(self.fault("did not serve in time"))
    }

    fn fault(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let output = fs::read_to_string(&self.output).unwrap_or_default();
        let last = log.lines().chain(output.lines()).last().unwrap_or("it said nothing");
        Failure::other("server-failed", format!("`dsc {}` {what}: {last}", self.name))
            .with_hint("run it by itself to see more: it needs disk, memory and free ports")
    }

    /// Starts a role and learns where it serves.
    fn role(
        folder: &Path,
        name: &str,
        args: &[&str],
        shutdown: &Shutdown,
    ) -> Result<(Self, String), Failure> {
        let args = [&["--listen", "127.0.0.1:0"], args].concat();
        let mut server = Self::start(folder, name, &args)?;
        let event = server.first(shutdown)?;
        let url = event["url"].as_str().map(str::to_owned);
        let url = url.ok_or_else(|| server.fault("did not say where it serves"))?;
        Ok((server, url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Network {
    /// Starts a network in the empty `folder` and waits until it takes transactions.
    pub(super) fn start(
        layout: Layout<'_>,
        folder: &Path,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let network = match layout.processes {
            Processes::One => Self::one(layout, folder, shutdown)?,
            Processes::Six => Self::six(layout, folder, shutdown)?,
        };
        network.wait_ready(shutdown)?;
        Ok(network)
    }

    fn one(layout: Layout<'_>, folder: &Path, shutdown: &Shutdown) -> Result<Self, Failure> {
        let data = folder.join("dev/data/dev");
        fs::create_dir_all(&data).map_err(|error| Failure::file("make", &data, &error))?;
        write_genesis(&data.join(GENESIS), layout.chain)?;
        let count = |kind: ProofKind| if kind == layout.proof { layout.validators } else { 0 };
        let validators =
            ENGINES.iter().map(|entry| format!("{}={}", entry.name, count(entry.kind)));
        let validators = validators.collect::<Vec<_>>().join(",");
        let args = ["--port-base", "0", "--out", "/dev/stdout", "--validators", &validators];
        let mut server = Server::start(folder, "dev", &args)?;
        let description = server.first(shutdown)?;
        let urls: BTreeMap<String, String> =
            serde_json::from_value(description["urls"].clone()).unwrap_or_default();
        let url = |role: &str| {
            let url = urls.get(role).cloned();
            url.ok_or_else(|| server.fault("did not say where it serves"))
        };
        let (pool, blockchain, metronome) = (url("pool")?, url("blockchain")?, url("metronome")?);
        let ledger = data.join("blockchain");
        Ok(Self { servers: vec![server], pool, blockchain, metronome, ledger })
    }

    fn six(layout: Layout<'_>, folder: &Path, shutdown: &Shutdown) -> Result<Self, Failure> {
        let genesis = folder.join(GENESIS);
        write_genesis(&genesis, layout.chain)?;
        let genesis = genesis.to_string_lossy();
        let role = |name: &str, args: &[&str]| {
            Server::role(folder, name, &[&["--genesis", &genesis], args].concat(), shutdown)
        };
        let (server, blockchain) = role("blockchain", &[])?;
        let mut servers = vec![server];
        let (server, pool) = role("pool", &["--blockchain-url", &blockchain])?;
        servers.push(server);
        let urls = ["--blockchain-url", &blockchain, "--pool-url", &pool];
        let (server, metronome) = role("metronome", &[&urls[..], &["--dev-key"]].concat())?;
        servers.push(server);
        for index in 0..layout.validators {
            servers.push(validator(layout, index, &metronome, role)?);
        }
        let urls = [&urls[..], &["--metronome-url", &metronome]].concat();
        // It says what it sees, not where it serves.
        let args = [&["--listen", "127.0.0.1:0"], &urls[..]].concat();
        let mut server = Server::start(folder, "monitor", &args)?;
        server.first(shutdown)?;
        servers.push(server);
        let ledger = folder.join("blockchain/data/blockchain");
        Ok(Self { servers, pool, blockchain, metronome, ledger })
    }

    /// The processes of the servers.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.child.id()).collect()
    }

    fn wait_ready(&self, shutdown: &Shutdown) -> Result<(), Failure> {
        let pool = client(&self.pool)?;
        let clock = SystemClock::new();
        loop {
            let Err(error) = pool.get_bytes("/readyz") else { return Ok(()) };
            if shutdown.is_requested() {
                return Err(Failure::interrupted("the benchmark was interrupted"));
            }
            if clock.elapsed() > START_TIME {
                return Err(error.into());
            }
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// The mean time that validators spent on their last proof.
    pub(super) fn proof_seconds(&self) -> Option<f64> {
        let status: Status = client(&self.metronome).ok()?.get_json("/v1/status").ok()?;
        let spent = status.validators.iter().map(|validator| float(validator.spent.0) / 1e3);
        let spent = Samples::new(spent.collect())?;
        Some(spent.mean())
    }

    /// Kills every server and gives the folder of the ledger.
    pub(super) fn kill(self) -> PathBuf {
        drop(self.servers);
        self.ledger
    }
}

fn validator(
    layout: Layout<'_>,
    index: u32,
    metronome: &str,
    role: impl Fn(&str, &[&str]) -> Result<(Server, String), Failure>,
) -> Result<Server, Failure> {
    let address = network::metronome_key().public().address().to_text(layout.chain.prefix());
    let attempts = layout.proof.entry().map_or(u64::MAX, |entry| entry.trial.attempts_max);
    let (attempts, proof) = (attempts.to_string(), layout.proof.name());
    let words = ["--proof", proof, "--address", &address, "--metronome-url", metronome];
    let effort = ["--threads", "1", "--attempts", &attempts];
    let name = format!("validator {index}");
    let (server, _) = role(&name, &[&words[..], &effort].concat())?;
    Ok(server)
}

fn client(url: &str) -> Result<Client, ClientError> {
    let time = Duration::from_secs(10);
    Client::new(url, time, time, 1 << 20)
}

fn write_genesis(path: &Path, chain: &Chain) -> Result<(), Failure> {
    let text = serde_json::to_vec(chain.genesis());
    let text = text.map_err(|error| Failure::other("json", error))?;
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}
