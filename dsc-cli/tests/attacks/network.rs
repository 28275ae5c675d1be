//! The chain that all attacks share: six roles, each a process, with short waits.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dsc_cli::http::{Client, ClientError};
use dsc_lib::{
    address::{Address, Prefix},
    codec::{self, List},
    genesis::{Chain, Endowment, Genesis, Limits},
    hash::Digest,
    keys::SecretKey,
    ledger::{Snapshot, State},
    role::{
        blockchain::Info,
        metronome::{OpenRound, Status},
        pool::{NextSequence, Outcome},
    },
    testing::{BOB, CAROL, METRONOME, STRANGER, address, coins, draft},
    transaction::{Draft, Encoded, Transaction, TransactionId},
    units::{Amount, Height, Millis, Target},
};
use serde_json::Value;

use crate::{figures::Figures, process::Process};

/// Time between blocks.
const INTERVAL: Millis = Millis(250);
/// Longest wait for what has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Transactions that the pool holds, at most and of one sender.
pub(crate) const POOL_MAX: u64 = 6000;
pub(crate) const PER_SENDER_MAX: u64 = 2000;
/// Connections that a role serves, and those of them from one address of another machine.
pub(crate) const CONNECTIONS_MAX: usize = 256;

/// Waits that tests do not have to sit through.
const VARIABLES: &[(&str, &str)] = &[
    ("DSC_HTTP__HEADER_TIME", "1s"),
    ("DSC_HTTP__BODY_TIME", "2s"),
    ("DSC_HTTP__WRITE_TIME", "1s"),
    ("DSC_POOL__TRANSACTIONS_MAX", "6000"),
    ("DSC_POOL__PER_SENDER_MAX", "2000"),
    ("RUST_LOG", "warn"),
];

/// The published key of development account `index`.
macro_rules! account {
    ($index:literal) => {
        SecretKey::from_pkcs8_pem(include_str!(concat!("../../dev-keys/account-0", $index, ".pem")))
            .unwrap()
    };
}

/// Accounts with coins, one for each who pays.
pub(crate) static ACCOUNTS: LazyLock<[SecretKey; 8]> = LazyLock::new(|| {
    [
        account!("0"),
        account!("1"),
        account!("2"),
        account!("3"),
        account!("4"),
        account!("5"),
        account!("6"),
        account!("7"),
    ]
});

/// Coins that every account starts with.
pub(crate) const BALANCE: Amount = coins(200_000);

/// The genesis of the chain: two metronomes are authorised, the second of them ours.
pub(crate) fn genesis() -> Genesis {
    let keys = ACCOUNTS.iter().chain([&*BOB]);
    let mut accounts: Vec<_> =
        keys.map(|key| Endowment { address: address(key), balance: BALANCE }).collect();
    accounts.sort_unstable_by_key(|account| account.address);
    let simple = dsc_lib::testing::genesis();
    let mut engines = simple.engines.to_vec();
    // Otherwise every number is a proof of work, whoever made it.
    engines[0].target = Target::for_tries(1000);
    Genesis {
        interval: INTERVAL,
        halving: 1 << 20,
        limits: Limits { block_transactions: 1 << 16, block_bytes: 32 << 20 },
        metronomes: List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap(),
        engines: List::new(engines).unwrap(),
        accounts: List::new(accounts).unwrap(),
        ..simple
    }
}

/// The running roles.
pub(crate) struct Network {
    pub(crate) chain: Chain,
    pub(crate) folder: PathBuf,
    pub(crate) blockchain: Process,
    pub(crate) pool: Process,
    pub(crate) metronome: Process,
    pub(crate) monitor: Process,
    pub(crate) validator: Process,
    _folder: tempfile::TempDir,
}

/// Held by the test whose turn it is.
static NETWORK: Mutex<Option<Network>> = Mutex::new(None);

/// The network, for one test at a time; the first who asks starts it.
pub(crate) fn shared() -> MutexGuard<'static, Option<Network>> {
    let mut network = alone();
    if network.is_none() {
        *network = Some(Network::start());
    }
    network
}

/// The turn of a test that has processes of its own.
pub(crate) fn alone() -> MutexGuard<'static, Option<Network>> {
    NETWORK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let genesis = genesis();
        fs::write(folder.join("genesis.json"), serde_json::to_vec(&genesis).unwrap()).unwrap();
        write_key(&folder.join("metronome.pem"), &METRONOME);
        let mut starter = Starter { folder: folder.clone(), variables: Vec::new() };
        let blockchain = starter.start("blockchain", &["--genesis", "genesis.json"]);
        let pool = starter.start("pool", &["--genesis", "genesis.json"]);
        let key = ["--genesis", "genesis.json", "--key", "metronome.pem"];
        let metronome = starter.start("metronome", &key);
        let monitor = starter.start("monitor", &["--interval", "200ms"]);
        let rewarded = address(&STRANGER).to_text(Prefix::Development);
        let work = ["--genesis", "genesis.json", "--proof", "work", "--address", &rewarded];
        let effort = ["--attempts", "2000", "--threads", "1"];
        let validator = starter.start("validator", &[&work[..], &effort].concat());
        let network = Self {
            chain: genesis.check().unwrap(),
            folder,
            blockchain,
            pool,
            metronome,
            monitor,
            validator,
            _folder: temporary,
        };
        network.await_ready();
        network
    }

    /// Every role makes blocks or knows of them.
    fn await_ready(&self) {
        await_that("a block", || self.info().height);
        for process in self.processes() {
            await_that(process.name, || client(process).get_bytes("/readyz").ok());
        }
    }

    pub(crate) fn processes(&self) -> [&Process; 5] {
        [&self.blockchain, &self.pool, &self.metronome, &self.monitor, &self.validator]
    }

    /// Waits until every role has answered a newcomer this many times: attacks are held so long.
    pub(crate) fn answers_newcomers(&self, times: usize) {
        for process in (0..times).flat_map(|_| self.processes()) {
            await_that("an answer to a newcomer", || client(process).get_bytes("/healthz").ok());
        }
    }

    pub(crate) fn figures(&self) -> [Figures; 5] {
        self.processes().map(Process::figures)
    }

    pub(crate) fn info(&self) -> Info {
        client(&self.blockchain).get_json("/v1/info").unwrap()
    }

    pub(crate) fn height(&self) -> Height {
        self.info().height.unwrap()
    }

    pub(crate) fn round(&self) -> OpenRound {
        let round = || -> Option<OpenRound> {
            client(&self.metronome).get_json("/v1/round?wait=1000").unwrap()
        };
        await_that("a round", round)
    }

    /// The state at the tip.
    pub(crate) fn state(&self) -> State {
        let bytes = client(&self.blockchain).get_bytes("/v1/snapshot").unwrap();
        let snapshot: Snapshot = codec::decode(&bytes).unwrap();
        State::from_snapshot(self.chain.clone(), snapshot).unwrap()
    }

    /// What the ledger says of an account.
    pub(crate) fn account(&self, of: &Address) -> (Amount, u64) {
        let account: Value =
            client(&self.blockchain).get_json(&format!("/v1/accounts/{of}")).unwrap();
        let balance = account["balance"].as_str().unwrap().parse().unwrap();
        (balance, account["sequence"].as_u64().unwrap())
    }

    /// The sequence that the pool expects next of `key`.
    pub(crate) fn sequence(&self, key: &SecretKey) -> u64 {
        let path = format!("/v1/accounts/{}", address(key));
        let next: NextSequence = client(&self.pool).get_json(&path).unwrap();
        next.sequence
    }

    /// Signs payments of an amount and a fee in units.
    pub(crate) fn payer(
        &self,
        from: &'static SecretKey,
    ) -> impl Fn(u64, Address, u64, u64) -> (TransactionId, Transaction) + Send + Sync + 'static
    {
        let (chain, expires) = (self.chain.hash(), Height(self.height().0 + 5000));
        move |sequence, to, amount, fee| {
            let (amount, fee) = (Amount::from_units(amount), Amount::from_units(fee));
            let draft = Draft { expires, ..draft(sequence, to, amount, fee) };
            let transaction = draft.sign(&chain, from);
            (transaction.id(&chain), transaction)
        }
    }

    /// What the pool makes of these transactions: one code each, or one for all of them.
    pub(crate) fn submit(&self, transactions: &[Transaction]) -> Vec<String> {
        verdicts(client(&self.pool).submit_bytes("/v1/transactions", &listed(transactions)))
    }

    /// Makes the metronome make blocks again, or none.
    pub(crate) fn turn(&self, verb: &str) {
        let status: Status = client(&self.metronome).post_json(verb, &()).unwrap();
        assert_eq!(status.running, verb == "/v1/start");
    }

    pub(crate) fn is_confirmed(&self, id: &TransactionId) -> bool {
        client(&self.blockchain).get_bytes(&format!("/v1/transactions/{id}")).is_ok()
    }

    pub(crate) fn await_confirmed(&self, id: &TransactionId) {
        await_that("a confirmation", || self.is_confirmed(id).then_some(()));
    }

    pub(crate) fn id(&self, transaction: &Transaction) -> TransactionId {
        transaction.id(&self.chain.hash())
    }

    pub(crate) fn hash(&self) -> Digest {
        self.chain.hash()
    }

    /// Kills a role and starts it again at the same address.
    pub(crate) fn restart_pool(&mut self) {
        let address = self.pool.address().to_owned();
        self.pool.kill();
        let starter = Starter::of(self);
        self.pool = starter.at("pool", &address, &["--genesis", "genesis.json"]);
        await_that("the pool", || client(&self.pool).get_bytes("/readyz").ok());
    }
}

/// What became of each transaction, or why none was looked at.
fn verdicts(sent: Result<Vec<Outcome>, ClientError>) -> Vec<String> {
    let verdict = |outcome: Outcome| match outcome {
        Outcome::Added { .. } => "added".to_owned(),
        Outcome::Known { .. } => "known".to_owned(),
        Outcome::Rejected { refusal, .. } => refusal.code,
        other => panic!("{other:?}"),
    };
    match sent {
        Ok(outcomes) => outcomes.into_iter().map(verdict).collect(),
        Err(ClientError::Problem(problem)) if problem.status < 500 => vec![problem.code],
        Err(error) => panic!("{error}"),
    }
}

/// Writes a key for its owner alone.
pub(crate) fn write_key(path: &Path, key: &SecretKey) {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(key.to_pkcs8_pem().as_bytes()).unwrap();
}

/// A list of transactions as it is submitted.
pub(crate) fn listed(transactions: &[Transaction]) -> Vec<u8> {
    let encoded: Vec<_> = transactions.iter().map(Encoded::from).collect();
    codec::encode_list(encoded.iter().map(Encoded::bytes))
}

/// A client of a role; each has connections of its own.
pub(crate) fn client(process: &Process) -> Client {
    Client::new(&process.url, PATIENCE, PATIENCE, 1 << 28).unwrap()
}

/// What `attempt` finds, asked until it finds something.
pub(crate) fn await_that<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts roles that know of those started before.
struct Starter {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl Starter {
    /// One that knows all roles of a network.
    fn of(network: &Network) -> Self {
        let mut starter = Self { folder: network.folder.clone(), variables: Vec::new() };
        network.processes().into_iter().for_each(|process| starter.learn(process));
        starter
    }

    fn learn(&mut self, process: &Process) {
        if matches!(process.name, "blockchain" | "pool" | "metronome") {
            let name = format!("DSC_{}__URL", process.name.to_uppercase());
            self.variables.push((name, process.url.clone()));
        }
    }

    fn start(&mut self, name: &'static str, extra: &[&str]) -> Process {
        let process = self.at(name, "127.0.0.1:0", extra);
        self.learn(&process);
        process
    }

    fn at(&self, name: &'static str, listen: &str, extra: &[&str]) -> Process {
        let folder = format!("data-{name}");
        let fixed = [name, "--json", "--listen", listen, "--data-dir", &folder];
        let args: Vec<_> = fixed.iter().chain(extra).map(|arg| (*arg).to_owned()).collect();
        let constant = VARIABLES.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let variables: Vec<_> = self.variables.iter().cloned().chain(constant).collect();
        Process::role(name, &self.folder, &args, &variables)
    }
}
