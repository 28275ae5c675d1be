//! Roles put together: what a role needs to run, whether alone or beside the others.

mod identity;
mod opening;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use dsc_lib::{
    address::Address,
    cluster::{
        Board, Cluster, PutError, Revision, Shelf,
        lease::{self, Applicant},
    },
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
    engine::Engine,
    entropy::OsEntropy,
    exit::Failure,
    http::{Client, Limits, Token},
    lock::{FolderLock, LockError},
    role::{
        self, Shared, Socket,
        blockchain::Member,
        drive,
        metronome::{Several, peers::Peer},
        span, spawn,
        transport::Transport,
        validator::Effort,
    },
    shutdown::Shutdown,
};

/// What every role of a process shares.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) limits: Limits,
    pub(crate) time: Time,
    pub(crate) shutdown: Shutdown,
    pub(crate) token: Option<Token>,
    /// What the servers of the chain share.
    pub(crate) engine: Engine,
    /// Where other servers reach a blockchain server, if not where it listens.
    pub(crate) public_url: Option<String>,
    /// Blocks between two snapshots in a shared store.
    pub(crate) snapshot_blocks: u64,
    /// After how long without a sign of the metronome that leads another one does.
    pub(crate) lease_time: Millis,
    /// Where others are told that a metronome is reached, if not where it listens.
    pub(crate) metronome_url: Option<String>,
    /// What a pool holds, and how many bytes wait to be held.
    pub(crate) mempool: mempool::Limits,
    pub(crate) intake_bytes_max: usize,
}

impl Host {
    /// The host that the configuration describes.
    pub(crate) fn from_config(config: &Config, shutdown: Shutdown) -> Result<Self, Failure> {
        let engine = Engine::from_config(config)?;
        Ok(Self { engine, ..Self::apart(config, shutdown)? })
    }

    /// The host of a role that has no part in what servers share, whatever is set for theirs.
    pub(crate) fn apart(config: &Config, shutdown: Shutdown) -> Result<Self, Failure> {
        let path = config.path("admin.token_file");
        let token = if path.exists() { Some(Token::load(path)?) } else { None };
        let text_of = |key| Some(config.text(key).to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            limits: Limits::from_config(config),
            time: Time::new(),
            shutdown,
            token,
            engine: Engine::Alone,
            public_url: text_of("blockchain.public_url"),
            snapshot_blocks: config.count("engine.snapshot_blocks") as u64,
            lease_time: millis(config.time("engine.lease_time")),
            metronome_url: text_of("metronome.public_url"),
            mempool: mempool_limits(config),
            intake_bytes_max: config.count("pool.intake_bytes_max"),
        })
    }
}

fn millis(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
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
    /// What else is to end before the role has.
    beside: Vec<thread::JoinHandle<()>>,
    /// Held as long as the role runs.
    _lock: Option<FolderLock>,
}

impl<R> Running<R> {
    /// Waits for the server to end.
    pub(crate) fn join(self) {
        for thread in self.beside.into_iter().chain([self.server]) {
            // The thread's panic was reported when it happened.
            drop(thread.join());
        }
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
    let (ledger, cluster) = opening::open(&host.engine, Arc::new(crash::disk(disk)), chain)?;
    tell_recovery(ledger.recovery());
    require_room(&host.limits, ledger.state().chain())?;
    let evidence = evidence(folder, ledger.state().chain())?;
    let member = cluster.map(|cluster| member(host, &socket, folder, cluster)).transpose()?;
    let shared = Shared::new(Blockchain::with_evidence(ledger, evidence));
    let url = socket.url();
    let role = role::blockchain::Server::new(&shared, member);
    let site = role::blockchain::site(&role, &host.limits, &host.shutdown);
    let server = socket.serve(site, &host.limits, &host.shutdown)?;
    let beside = role::blockchain::follow(&role, &host.shutdown)?;
    Ok(Running { shared, url, server, beside, _lock: Some(lock) })
}

/// The part of a blockchain server in a cluster.
fn member(
    host: &Host,
    socket: &Socket,
    folder: &Path,
    cluster: Cluster,
) -> Result<Member, Failure> {
    let identity = identity::of(folder, socket, host.public_url.as_deref())?;
    Ok(Member::new(cluster, identity, host.time.clone(), host.snapshot_blocks))
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

/// Starts a pool: alone with its journal in `folder`, beside others with nothing of its own on disk;
/// what it acknowledged alone before goes to the others.
pub(crate) fn pool(
    host: &Host,
    socket: Socket,
    folder: &Path,
    chain: Chain,
    faucet: Option<SecretKey>,
    transport: Transport,
) -> Result<Running<Pool>, Failure> {
    let (bytes_max, time) = (host.intake_bytes_max, &host.time);
    let path = folder.join(format!("journal-{:016x}", chain.hash().first64()));
    let (lock, pool, moving) = if let Some(cluster) = host.engine.open(&chain)? {
        let pool = Pool::new(chain, host.mempool);
        let pool = role::pool::Server::join(pool, cluster.transactions, faucet, bytes_max, time)?;
        let moving = pool.take_journal(&path, &host.shutdown)?;
        (None, pool, moving)
    } else {
        let lock = own_folder(folder)?;
        let pool = Pool::new(chain, host.mempool);
        (Some(lock), role::pool::Server::open(pool, &path, faucet, bytes_max, time)?, None)
    };
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
    Ok(Running { shared, url, server, beside: Vec::from_iter(moving), _lock: lock })
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
    let cluster = host.engine.open(&chain)?;
    let key = settings.key.public().address();
    let shared = Shared::new(Metronome::new(chain, settings, signed));
    let url = socket.url();
    let (several, beside) = match cluster {
        Some(cluster) => {
            let told = host.metronome_url.as_deref();
            let told = identity::url(&socket, told, "metronome.public_url")?;
            require_leave(&*cluster.board)?;
            let blockchain = transport.blockchain.clone();
            let (several, threads) = join(host, &shared, &cluster, key, told, blockchain)?;
            (Some(several), threads)
        }
        None => (None, Vec::new()),
    };
    let (limits, shutdown) = (&host.limits, &host.shutdown);
    let site = role::metronome::Server::new(&shared, &host.time, several);
    let site = role::metronome::site(site, limits, shutdown, host.token.as_ref());
    let server = socket.serve(site, limits, shutdown)?;
    let (driven, own) = (shared.clone(), host.clone());
    spawn("metronome", move || {
        let mut faults = Faults::of("metronome");
        let after = |role: &mut Metronome| faults.tell(role.fault());
        drive(&driven, &transport, &own.time, &own.shutdown, after);
    })?;
    Ok(Running { shared, url, server, beside, _lock: Some(lock) })
}

/// Refuses a metronome that the engine does not let write the lease: it would find that out when it
/// is to take over.
pub(crate) fn require_leave(board: &dyn Board) -> Result<(), Failure> {
    // No note has this revision, so that nothing is put.
    let put = board.put(Shelf::Control, lease::KEY, b"{}", Some(Revision(1 << 53)));
    match put {
        Err(PutError::Unavailable(why)) if why.to_string().contains("Permissions Violation") => {
            let message = format!("the engine does not let this metronome lead: {why}");
            Err(Failure::configuration("engine-user", message).with_hint(
                "set engine.user to the user of metronomes, and engine.password_file to its password",
            ))
        }
        _ => Ok(()),
    }
}

/// Has a metronome take part as one of several.
fn join(
    host: &Host,
    role: &Arc<Shared<Metronome>>,
    cluster: &Cluster,
    key: Address,
    url: String,
    blockchain: Client,
) -> Result<(Several, Vec<thread::JoinHandle<()>>), Failure> {
    let (role, board) = (role.clone(), cluster.board.clone());
    let (time, shutdown) = (host.time.clone(), host.shutdown.clone());
    let process = u64::from_le_bytes(OsEntropy.bytes());
    let peer = Peer { role, board, blockchain: blockchain.clone(), time, shutdown };
    let (offers, threads) = peer.join(Applicant { key, process, url }, host.lease_time)?;
    Ok((Several { offers, blockchain }, threads))
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
    role::monitor::servers::watch(&transport, &shared, span(interval), &host.shutdown)?;
    let (driven, own) = (shared.clone(), host.clone());
    spawn("monitor", move || {
        drive(&driven, &transport, &own.time, &own.shutdown, |_| {});
    })?;
    Ok(Running { shared, url, server, beside: Vec::new(), _lock: None })
}

#[cfg(test)]
mod turns;

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
