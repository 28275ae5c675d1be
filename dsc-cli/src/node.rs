//! Roles put together: what a role needs to run, whether alone or beside the others.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use dsc_lib::{
    disk::Folder,
    genesis::Chain,
    keys::SecretKey,
    ledger::{Ledger, OpenError, Recovery},
    mempool,
    proof::{Miner, Progress, ProofKind, Prover, Resources},
    role::{
        blockchain::{Blockchain, Evidence, EvidenceError},
        metronome::{LastSigned, Metronome, Settings, SignedError},
        monitor::Monitor,
        pool::Pool,
        validator::Validator,
    },
    units::Millis,
};

use crate::{
    clock::Time,
    config::Config,
    crash, dashboard,
    exit::Failure,
    http::{Limits, Token},
    lock::{FolderLock, LockError},
    role::{self, Shared, Socket, drive, spawn, transport::Transport, validator::Effort},
    shutdown::Shutdown,
};

/// What every role of a process shares.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) limits: Limits,
    pub(crate) time: Time,
    pub(crate) shutdown: Shutdown,
    pub(crate) token: Option<Token>,
    /// What a pool holds, and how many bytes wait to be held.
    pub(crate) mempool: mempool::Limits,
    pub(crate) intake_bytes_max: usize,
}

impl Host {
    /// The host that the configuration describes.
    pub(crate) fn from_config(config: &Config, shutdown: Shutdown) -> Result<Self, Failure> {
        let path = config.path("admin.token_file");
        let token = if path.exists() { Some(Token::load(path)?) } else { None };
        Ok(Self {
            limits: Limits::from_config(config),
            time: Time::new(),
            shutdown,
            token,
            mempool: mempool_limits(config),
            intake_bytes_max: config.count("pool.intake_bytes_max"),
        })
    }
}

fn mempool_limits(config: &Config) -> mempool::Limits {
    mempool::Limits {
        transactions_max: config.count("pool.transactions_max"),
        bytes_max: config.count("pool.bytes_max") as u64,
        per_sender_max: config.count("pool.per_sender_max"),
        finished_max: config.count("pool.finished_max"),
        ..mempool::Limits::default()
    }
}

/// A running role: its state machine, and the thread of its server.
#[derive(Debug)]
pub(crate) struct Running<R> {
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) url: String,
    server: thread::JoinHandle<()>,
    /// Held as long as the role runs.
    _lock: Option<FolderLock>,
}

impl<R> Running<R> {
    /// Waits for the server to end.
    pub(crate) fn join(self) {
        // The thread's panic was reported when it happened.
        drop(self.server.join());
    }
}

/// Logs what goes wrong with the roles asked: once when it begins, and once when it is mended.
struct Faults {
    role: &'static str,
    last: Option<String>,
}

impl Faults {
    const fn of(role: &'static str) -> Self {
        Self { role, last: None }
    }

    fn tell(&mut self, fault: Option<&str>) {
        if fault == self.last.as_deref() {
            return;
        }
        if let Some(fault) = fault {
            tracing::warn!(role = self.role, "{fault}");
        } else {
            tracing::info!(role = self.role, "mended");
        }
        self.last = fault.map(str::to_owned);
    }
}

/// Makes a folder and locks it for this process.
fn own_folder(folder: &Path) -> Result<FolderLock, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
    Ok(FolderLock::acquire(folder)?)
}

/// Refuses bounds that keep a block of the chain out: its metronome would hand it in for ever.
fn require_room(limits: &Limits, chain: &Chain) -> Result<(), Failure> {
    let (got, needed) = (limits.bulk_bytes_max as u64, chain.genesis().limits.block_bytes);
    if got >= needed {
        return Ok(());
    }
    let message = format!("http.bulk_bytes_max is {got}, a block may have {needed} bytes");
    let hint = format!("set http.bulk_bytes_max to {needed} or more");
    Err(Failure::configuration("bulk-too-small", message).with_hint(hint))
}

/// Starts a blockchain server on the ledger in `folder`, which is made from `chain` if it is new.
pub(crate) fn blockchain(
    host: &Host,
    socket: Socket,
    folder: &Path,
    chain: Option<Chain>,
) -> Result<Running<Blockchain>, Failure> {
    if chain.is_none() && !folder.exists() {
        // Nothing is left behind where nothing was begun.
        return Err(OpenError::Missing.into());
    }
    let lock = own_folder(folder)?;
    let disk = Ledger::lock(&folder.join("ledger"), chain.is_some(), false)?;
    let (disk, options) = (Arc::new(crash::disk(disk)), crash::ledger_options());
    let ledger = Ledger::with_disk(disk, chain, options, opening_progress())?;
    tell_recovery(ledger.recovery());
    require_room(&host.limits, ledger.state().chain())?;
    let evidence = evidence(folder, ledger.state().chain())?;
    let shared = Shared::new(Blockchain::with_evidence(ledger, evidence));
    let url = socket.url();
    let site = role::blockchain::site(&shared, &host.limits, &host.shutdown);
    let server = socket.serve(site, &host.limits, &host.shutdown)?;
    Ok(Running { shared, url, server, _lock: Some(lock) })
}

/// Opens the evidence against metronomes that signed two blocks of one height.
fn evidence(folder: &Path, chain: &Chain) -> Result<Evidence, Failure> {
    let path = folder.join("evidence");
    Evidence::open(disk(&path)?, chain).map_err(|error| match &error {
        EvidenceError::Disk(source) => Failure::file("read", &path, source),
        _ => Failure::corrupt("evidence-corrupt", &error)
            .with_hint(format_args!("the ledger does not need it: move {} away", path.display())),
    })
}

/// A folder of a role for this process alone, made if it is missing.
fn disk(path: &Path) -> Result<Folder, Failure> {
    let locked = Folder::lock(path, false).map_err(|e| Failure::file("lock", path, &e))?;
    Ok(locked.ok_or_else(|| LockError::Held { folder: path.to_owned(), pid: None })?)
}

/// Logs each tenth of a long opening.
fn opening_progress() -> impl FnMut(u64, u64) {
    let mut last = 0;
    move |done, total| {
        let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        if tenth > last && total >= LONG_BYTES {
            tracing::info!(done, total, "checking blocks that the ledger's index does not cover");
        }
        last = tenth;
    }
}

/// Bytes of a log that take some time to check.
const LONG_BYTES: u64 = 256 << 20;

/// Logs what a crash or a lost index made necessary.
fn tell_recovery(recovery: &Recovery) {
    if let Some(torn) = &recovery.torn {
        let (height, bytes) = (torn.height, torn.bytes);
        let kept = torn.kept.as_deref().unwrap_or_default();
        tracing::warn!(%height, bytes, kept, "cut off a block that was never wholly on disk");
    }
    if let Some(why) = &recovery.rebuilt {
        tracing::warn!(why, blocks = recovery.replayed, "made the ledger's index anew");
    }
}

/// Starts a pool whose journal is in `folder`.
pub(crate) fn pool(
    host: &Host,
    socket: Socket,
    folder: &Path,
    chain: Chain,
    faucet: Option<SecretKey>,
    transport: Transport,
) -> Result<Running<Pool>, Failure> {
    let lock = own_folder(folder)?;
    let path = folder.join(format!("journal-{:016x}", chain.hash().first64()));
    let pool = Pool::new(chain, host.mempool);
    let pool = role::pool::Server::open(pool, &path, faucet, host.intake_bytes_max, &host.time)?;
    let url = socket.url();
    let site = role::pool::site(&pool, &host.limits, &host.shutdown, host.token.as_ref());
    let server = socket.serve(site, &host.limits, &host.shutdown)?;
    let (shared, own) = (pool.shared.clone(), host.clone());
    spawn("pool", move || {
        let mut faults = Faults::of("pool");
        let after = |role: &mut Pool| {
            pool.follow(role);
            faults.tell(role.fault());
        };
        drive(&pool.shared, &transport, &own.time, &own.shutdown, after);
    })?;
    Ok(Running { shared, url, server, _lock: Some(lock) })
}

/// Opens the record of the block that a metronome signed last.
fn signed_blocks(folder: &Path, chain: &Chain, key: &SecretKey) -> Result<LastSigned, Failure> {
    let path = folder.join("signed");
    let disk = crash::disk(disk(&path)?);
    LastSigned::open(disk, chain, &key.public().address()).map_err(|error| match &error {
        SignedError::Disk(source) => Failure::file("read", &path, source),
        _ => Failure::corrupt("signed-corrupt", &error).with_hint(format_args!(
            "if the ledger has every block this metronome signed, move {} away",
            path.display()
        )),
    })
}

/// Starts a metronome, which keeps in `folder` what it signed last.
pub(crate) fn metronome(
    host: &Host,
    socket: Socket,
    folder: &Path,
    chain: Chain,
    settings: Settings,
    transport: Transport,
) -> Result<Running<Metronome>, Failure> {
    let lock = own_folder(folder)?;
    let signed = signed_blocks(folder, &chain, &settings.key)?;
    let shared = Shared::new(Metronome::new(chain, settings, signed));
    let url = socket.url();
    let (limits, shutdown) = (&host.limits, &host.shutdown);
    let site = role::metronome::site(&shared, &host.time, limits, shutdown, host.token.as_ref());
    let server = socket.serve(site, limits, shutdown)?;
    let (driven, own) = (shared.clone(), host.clone());
    spawn("metronome", move || {
        let mut faults = Faults::of("metronome");
        let after = |role: &mut Metronome| faults.tell(role.fault());
        drive(&driven, &transport, &own.time, &own.shutdown, after);
    })?;
    Ok(Running { shared, url, server, _lock: Some(lock) })
}

/// What a validator works with.
#[derive(Clone, Debug)]
pub(crate) struct Mine {
    pub(crate) kind: ProofKind,
    pub(crate) miner: Miner,
    pub(crate) resources: Resources,
    pub(crate) effort: Effort,
}

/// Makes ready what a validator proves with: slow the first time.
pub(crate) fn prover(
    chain: &Chain,
    mine: &Mine,
    progress: &dyn Progress,
) -> Result<Box<dyn Prover>, Failure> {
    let folder: &PathBuf = &mine.resources.folder;
    fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
    let engine = chain.engine(mine.kind).ok_or_else(|| {
        Failure::not_found("unknown-engine", format!("this chain has no engine {}", mine.kind))
    })?;
    Ok(engine.prepare(&mine.miner, &mine.resources, progress)?)
}

/// Starts a validator with a prover made ready; it serves its health if it has a socket.
pub(crate) fn validator(
    host: &Host,
    mine: &Mine,
    mut prover: Box<dyn Prover>,
    transport: Transport,
) -> Result<role::validator::Server, Failure> {
    let server = role::validator::Server::new(Validator::new(mine.miner, mine.kind));
    let (driven, own, effort) = (server.clone(), host.clone(), mine.effort);
    spawn("validator", move || {
        let (time, shutdown) = (&own.time, &own.shutdown);
        role::validator::drive(&driven, prover.as_mut(), effort, &transport, time, shutdown);
    })?;
    Ok(server)
}

/// How long a monitor waits for a role: one that hangs is to be shown as such soon.
const MONITOR_PATIENCE: Duration = Duration::from_secs(5);

/// Starts a monitor that asks everybody once in `interval`.
pub(crate) fn monitor(
    host: &Host,
    socket: Socket,
    interval: Millis,
    transport: Transport,
) -> Result<Running<Monitor>, Failure> {
    let shared = Shared::new(Monitor::new(interval));
    let url = socket.url();
    let transport = transport.within(MONITOR_PATIENCE);
    let asked = role::monitor::Server::new(shared.clone(), transport.clone(), &host.limits);
    let site = role::monitor::site(&asked, &host.limits, &host.shutdown);
    let site = site.routes(dashboard::routes());
    let server = socket.serve(site, &host.limits, &host.shutdown)?;
    let (driven, own) = (shared.clone(), host.clone());
    spawn("monitor", move || {
        drive(&driven, &transport, &own.time, &own.shutdown, |_| {});
    })?;
    Ok(Running { shared, url, server, _lock: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Sources, exit::Exit};

    #[test]
    fn the_configuration_has_the_defaults_of_the_mempool() {
        let config = Config::load(&Sources::default()).unwrap();
        assert_eq!(mempool_limits(&config), mempool::Limits::default());
    }

    #[test]
    fn a_blockchain_server_without_a_chain_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::from_config(&Config::load(&Sources::default()).unwrap(), Shutdown::new());
        let socket = Socket::bind("blockchain", ([127, 0, 0, 1], 0).into()).unwrap();
        let own = folder.path().join("blockchain");
        let failure = blockchain(&host.unwrap(), socket, &own, None).unwrap_err();
        assert!(failure.hint().unwrap().contains("--genesis"), "{failure}");
        assert!(!own.exists());
    }

    #[test]
    fn bounds_that_keep_a_block_out_are_refused() {
        let mut genesis = dsc_lib::testing::genesis();
        let limits = Limits::default();
        genesis.limits.block_bytes = limits.bulk_bytes_max as u64;
        assert!(require_room(&limits, &genesis.clone().check().unwrap()).is_ok());
        genesis.limits.block_bytes += 1;
        let failure = require_room(&limits, &genesis.check().unwrap()).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "bulk-too-small"));
    }
}
