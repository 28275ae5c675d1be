//! Every setting: the one table that files, environment, flags, help and the template follow.
//!
//! # Invariants
//!
//! 1. Every flag is a place of one key here, or stands in [`PER_CALL`] with a reason.
//! 2. No key holds a secret: keys and passphrases are named by the file they are in.
//!
//! `cli/wiring.rs` gives each flag its default and its note in help, and walks the tree of commands
//! in a test of the first invariant.

pub(crate) use super::kind::EMBEDDED;
pub use super::kind::Kind;

/// One key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// The value when nobody sets one; empty if there is none.
    pub default: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// What may be set, where nothing is by default.
    pub example: &'static str,
    /// Flags that set it: `COMMAND --flag` is that of a command and of all below it.
    pub places: &'static [&'static str],
    /// The flag of every command that sets it, such as `--data-dir`; empty if there is none.
    pub global: &'static str,
}

impl Key {
    /// Whether it may be left without a value, which is written as an empty string.
    pub const fn is_optional(&self) -> bool {
        self.default.is_empty()
    }

    /// Checks a value; the error says what is expected.
    ///
    /// # Errors
    ///
    /// What a value looks like, if `text` is not one.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if text.is_empty() && self.is_optional() { Ok(()) } else { self.kind.check(text) }
    }

    /// The part of the name before the point.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }

    const fn at(self, places: &'static [&'static str]) -> Self {
        Self { places, ..self }
    }

    const fn everywhere(self, global: &'static str) -> Self {
        Self { global, ..self }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, summary: &'static str) -> Key {
    Key { name, kind, default, summary, example: default, places: &[], global: "" }
}

/// A key that is not set by default.
const fn unset(name: &'static str, kind: Kind, example: &'static str, about: &'static str) -> Key {
    Key { example, ..key(name, kind, "", about) }
}

const COUNT: Kind = Kind::Count { min: 1, max: 1 << 20 };
const MANY: Kind = Kind::Count { min: 1, max: 1 << 26 };
/// A queue has to take the largest piece of a body that comes at once.
const QUEUE: Kind = Kind::Count { min: 1 << 20, max: 1 << 30 };
const BYTES: Kind = Kind::Count { min: 1 << 10, max: 1 << 30 };
const THREADS: Kind = Kind::Count { min: 0, max: 1024 };
const ANY: Kind = Kind::Count { min: 0, max: u64::MAX };
const SOME: Kind = Kind::Count { min: 1, max: u64::MAX };
/// As many as a stream can have.
const REPLICAS: Kind = Kind::Count { min: 1, max: 5 };
/// A node takes 64 MiB at once at most, and one MiB unless it is told otherwise.
const CHUNK: Kind = Kind::Count { min: 64 << 10, max: 32 << 20 };
const POOL: Kind = Kind::Count { min: 1 << 20, max: 1 << 40 };
/// log2 of the entries of a vault.
const VAULT: Kind = Kind::Count { min: 16, max: 32 };
const PORT: Kind = Kind::Count { min: 0, max: u16::MAX as u64 };

/// The forms of `--log-format`.
pub const LOG_FORMATS: [&str; 2] = ["text", "json"];
/// The forms of `--progress`.
pub const PROGRESS: [&str; 5] = ["auto", "bar", "plain", "json", "none"];
const PROOFS: [&str; 3] = ["work", "space", "memory"];
const PREFIXES: [&str; 2] = ["dscd", "dsc"];

/// All keys, by section.
pub const KEYS: &[Key] = &[
    key("general.data_dir", Kind::Path, "dsc-data", "Folder of chains, keys and vaults")
        .everywhere("--data-dir"),
    key("general.log_format", Kind::Choice(&LOG_FORMATS), "text", "Form of the logs")
        .everywhere("--log-format"),
    key("general.progress", Kind::Choice(&PROGRESS), "auto", "Form of progress")
        .everywhere("--progress"),
    key(
        "general.verbose",
        Kind::Count { min: 0, max: 255 },
        "0",
        "Logs: 0 warnings, 1 news too, 2 details, 3 everything; RUST_LOG decides if it is set",
    )
    .at(&["--verbose"]),
    unset("general.genesis", Kind::Path, "genesis.json", "Genesis file, else the network is asked")
        .at(&["--genesis"]),
    key("blockchain.url", Kind::Urls, "http://127.0.0.1:7701", "Where the blockchain is reached")
        .everywhere("--blockchain-url"),
    key("blockchain.listen", Kind::Listen, "127.0.0.1:7701", "Where the blockchain listens")
        .at(&["blockchain --listen"]),
    unset(
        "blockchain.public_url",
        Kind::Url,
        "http://10.0.0.1:7701",
        "Where other blockchain servers reach this one, else where it listens",
    ),
    key("pool.url", Kind::Urls, "http://127.0.0.1:7702", "Where the pool is reached")
        .everywhere("--pool-url"),
    key("pool.listen", Kind::Listen, "127.0.0.1:7702", "Where the pool listens")
        .at(&["pool --listen"]),
    key(
        "pool.faucet",
        Kind::Switch,
        "false",
        "Give coins of the published faucet account away (development networks only)",
    )
    .at(&["pool --faucet"]),
    key("pool.transactions_max", MANY, "262144", "Most transactions held"),
    key("pool.bytes_max", BYTES, "268435456", "Most bytes in transactions held"),
    key("pool.per_sender_max", MANY, "131072", "Most transactions held of one sender"),
    key("pool.finished_max", MANY, "262144", "Ended transactions remembered"),
    key("pool.intake_bytes_max", QUEUE, "33554432", "Most bytes waiting to be checked and held"),
    key("metronome.url", Kind::Urls, "http://127.0.0.1:7703", "Where the metronome is reached")
        .everywhere("--metronome-url"),
    key("metronome.listen", Kind::Listen, "127.0.0.1:7703", "Where the metronome listens")
        .at(&["metronome --listen"]),
    unset(
        "metronome.public_url",
        Kind::Url,
        "http://10.0.0.1:7703",
        "Where others are told that this metronome is reached, else where it listens",
    ),
    unset(
        "metronome.key",
        Kind::Path,
        "metronome.pem",
        "File of the key that signs blocks: PKCS#8 PEM, encrypted or not",
    )
    .at(&["metronome --key"]),
    unset(
        "metronome.passphrase_file",
        Kind::Path,
        "metronome.passphrase",
        "File whose first line is the key's passphrase, else it is asked for",
    )
    .at(&["metronome --passphrase-file"]),
    key(
        "metronome.dev_key",
        Kind::Switch,
        "false",
        "Sign with the published key of development networks",
    )
    .at(&["metronome --dev-key"]),
    key("metronome.epoch", ANY, "0", "Number of the lease this metronome holds")
        .at(&["metronome --epoch"]),
    key(
        "metronome.stopped",
        Kind::Switch,
        "false",
        "Wait for `metronome start` before making blocks",
    )
    .at(&["metronome --stopped"]),
    key("validator.listen", Kind::Listen, "127.0.0.1:7704", "Where a validator listens")
        .at(&["validator --listen"]),
    unset("validator.proof", Kind::Choice(&PROOFS), "work", "The proof to win blocks with")
        .at(&["validator --proof"]),
    unset(
        "validator.address",
        Kind::Address,
        "dsc1tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfdq9aqwyf",
        "Address that receives rewards and fees",
    )
    .at(&["validator --address"]),
    unset(
        "validator.fingerprint",
        Kind::Fingerprint,
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "UUID of the validator, else one is made and kept in its folder",
    )
    .at(&["validator --fingerprint"]),
    unset(
        "validator.size",
        VAULT,
        "24",
        "log2 of the entries of a vault to plot, else the least the chain accepts",
    )
    .at(&["validator --size"]),
    key("validator.index", Kind::Numbers, "0", "Vaults to hold, by index")
        .at(&["validator --index"]),
    key("validator.threads", THREADS, "0", "Threads to prove with; 0 is one per core")
        .at(&["validator --threads"]),
    unset("validator.attempts", SOME, "1000000", "Tries in a round at most, else unlimited")
        .at(&["validator --attempts"]),
    key("monitor.listen", Kind::Listen, "127.0.0.1:7700", "Where the monitor listens")
        .at(&["monitor --listen"]),
    key("monitor.url", Kind::Url, "http://127.0.0.1:7700", "Where the monitor is reached")
        .at(&["top --url"]),
    key("monitor.interval", Kind::Time, "1s", "Time between two looks of the monitor")
        .at(&["monitor --interval"]),
    key("dev.port_base", PORT, "7700", "First of four ports; 0 takes free ones")
        .at(&["dev --port-base"]),
    key("dev.demo", Kind::Switch, "false", "Make a steady stream of payments").at(&["dev --demo"]),
    unset("dev.for", Kind::Time, "10m", "End after this time").at(&["dev --for"]),
    key("dev.seed", ANY, "0", "Seed of validators' names and of the demonstration's payments")
        .at(&["dev --seed"]),
    unset("dev.block_time", Kind::Time, "1s", "Time between blocks of a new chain, else 1s")
        .at(&["dev --block-time"]),
    unset("dev.validators", Kind::Validators, "work=1,space=1,memory=1", "Validators by proof")
        .at(&["dev --validators"]),
    unset("dev.accounts", Kind::Count { min: 0, max: 1 << 10 }, "10", "Funded accounts, else 10")
        .at(&["dev --accounts"]),
    unset("dev.balance", Kind::Coins, "200000", "Coins of each account, else 200000")
        .at(&["dev --balance"]),
    unset("dev.attempts", SOME, "1000", "Tries of a validator in a round at most, else few")
        .at(&["dev --attempts"]),
    unset("wallet.from", Kind::KeyName, "savings", "Key that pays, else the only one there is")
        .at(&["wallet --from"]),
    unset("wallet.key", Kind::Path, "payer.pem", "File of a key that pays: PKCS#8 PEM")
        .at(&["wallet --key"]),
    unset(
        "wallet.dev_account",
        Kind::Count { min: 0, max: 1 << 10 },
        "0",
        "Published account that pays; on development networks only",
    )
    .at(&["wallet --dev-account"]),
    unset(
        "wallet.passphrase_file",
        Kind::Path,
        "wallet.passphrase",
        "File whose first line is the passphrase, else it is asked for",
    )
    .at(&["wallet --passphrase-file"]),
    key("wallet.prefix", Kind::Choice(&PREFIXES), "dscd", "Start of addresses that are written")
        .at(&["wallet --prefix"]),
    key("wallet.fee", Kind::Coins, "0", "Coins for the winner of the block").at(&["wallet --fee"]),
    key(
        "wallet.lifetime",
        SOME,
        "1000",
        "Heights from now within which a payment may be confirmed",
    )
    .at(&["wallet --lifetime"]),
    key("wallet.async", Kind::Switch, "false", "Do not wait for confirmation")
        .at(&["wallet --async"]),
    key("wallet.confirmations", SOME, "1", "Blocks to wait for").at(&["wallet --confirmations"]),
    key("wallet.timeout", Kind::Time, "60s", "Longest wait for confirmation")
        .at(&["wallet --timeout"]),
    unset("vault.folder", Kind::Path, "vaults", "Folder of vaults, else where a validator looks")
        .at(&["vault --folder"]),
    key("vault.threads", THREADS, "0", "Threads to plot and check with; 0 is one per core")
        .at(&["vault --threads"]),
    unset("vault.memory", Kind::Size, "1GiB", "Most RAM to take, else what suits the machine")
        .at(&["vault --memory"]),
    unset("bench.folder", Kind::Path, "/tmp", "Where temporary ledgers and vaults are made")
        .at(&["bench --folder"]),
    key("client.connect_time", Kind::Time, "2s", "Longest wait for a connection"),
    key("client.request_time", Kind::Time, "30s", "Longest wait for an answer"),
    key("http.connections_max", COUNT, "256", "Connections open at once"),
    key("http.connections_per_address_max", COUNT, "64", "Those of one address of another machine"),
    key("http.body_bytes_max", BYTES, "1048576", "Largest request"),
    key("http.bulk_bytes_max", BYTES, "67108864", "Largest batch of transactions or block"),
    key("http.header_time", Kind::Time, "10s", "Longest wait for the head of a request"),
    key("http.body_time", Kind::Time, "10s", "Longest wait for the body of a request"),
    key("http.request_time", Kind::Time, "20s", "Longest work on a request"),
    key("http.wait_time", Kind::Time, "60s", "Longest wait of a long poll"),
    key("http.write_time", Kind::Time, "20s", "Longest wait for a client that reads nothing"),
    key("engine.url", Kind::Engine, EMBEDDED, "What the servers of the chain share")
        .everywhere("--engine"),
    unset(
        "engine.monitors",
        Kind::Urls,
        "http://10.0.0.1:8222,http://10.0.0.2:8222,http://10.0.0.3:8222",
        "Monitoring addresses of all nodes of the engine: they say whether it is safe",
    ),
    unset("engine.user", Kind::User, "blockchain", "User of the engine's account"),
    unset(
        "engine.password_file",
        Kind::Path,
        "engine.password",
        "File whose first line is that user's password; only its owner may read it",
    ),
    unset(
        "engine.credentials_file",
        Kind::Path,
        "engine.creds",
        "Credentials file of NATS, in place of a user; only its owner may read it",
    ),
    unset("engine.ca_file", Kind::Path, "engine-ca.pem", "Who vouches for the nodes; asks for TLS"),
    key("engine.replicas", REPLICAS, "3", "Nodes that keep a copy of what is shared"),
    key("engine.lease_time", Kind::Time, "5s", "Silence of a leader after which another leads"),
    key("engine.chunk_bytes", CHUNK, "524288", "Largest piece; larger things are stored in pieces"),
    key("engine.pool_bytes_max", POOL, "1073741824", "Most bytes of transactions that wait"),
    key("engine.snapshot_blocks", SOME, "1000", "Blocks between two snapshots of the state"),
    key("admin.token_file", Kind::Path, "dsc-data/admin-token", "Token for remote administration"),
];

/// Flags of one call that no file sets, and why. A command alone stands for all its flags.
pub const PER_CALL: &[(&str, &str)] = &[
    ("--json", "the form of the answer belongs to whoever reads it"),
    ("--config", "it names the file"),
    ("config", "its flags choose what is printed"),
    ("wait", "it waits for what it is told to"),
    ("top --plain", "it says what this call is for"),
    ("top --once", "it says what this call is for"),
    ("man", "its flags choose what is written"),
    ("health", "it probes what it is told to"),
    ("tx", "it looks at what it is told to"),
    ("block", "it looks at what it is told to"),
    ("chain", "it works on the files it is told to"),
    #[cfg(feature = "cluster")]
    ("engine", "its flags say what this call is for"),
    ("proof", "it answers the question it is asked"),
    ("genesis", "the rules of a network are decided once and on purpose"),
    ("bench", "what was measured has to be on the command line of the result"),
    ("metronome --passphrase-fd", "a descriptor is one of this process"),
    ("monitor --once", "it says what this call is for"),
    ("dev --reset", "a setting must not throw a chain away"),
    ("dev --cluster", "it says what this call is for"),
    ("dev --nats-server", "it names a program of this machine"),
    ("dev --out", "the file belongs to whoever calls"),
    ("vault --size", "it names the vault"),
    ("vault --address", "it names the vault"),
    ("vault --fingerprint", "it names the vault"),
    ("vault --index", "it names the vault"),
    ("vault --full", "it says what this call is for"),
    ("wallet --passphrase-fd", "a descriptor is one of this process"),
    ("wallet --new-passphrase-fd", "a descriptor is one of this process"),
    ("wallet --new-passphrase-file", "a passphrase is changed once"),
    ("wallet read --key", "it names who was paid, not who pays"),
    ("wallet read --dev-account", "it names who was paid, not who pays"),
    ("wallet read --as", "it names who was paid, not who pays"),
    ("wallet --seal", "it is a part of this payment"),
    ("wallet --seal-to", "it is a part of this payment"),
    ("wallet --dry-run", "it says what this call is for"),
    ("wallet --state", "it belongs to this call's file"),
    ("wallet --since", "it says which part of the answer is wanted"),
    ("wallet --count", "it says how much of the answer is wanted"),
    ("wallet --pem", "it says what this call is for"),
    ("wallet --yes", "it confirms this call"),
    ("wallet --at-least", "it says which state of the ledger is wanted"),
    ("wallet --limit", "it says how much of the answer is wanted"),
    ("wallet --before", "it says which part of the answer is wanted"),
    ("wallet --memo", "it is a part of this payment"),
    ("wallet --file", "it names this call's payments"),
    ("wallet --out", "it names this call's result"),
    ("wallet --sequence", "it is a part of this payment"),
    ("wallet --expires", "it is a part of this payment"),
    ("wallet --batch", "it belongs to this call's file"),
    ("wallet --per-transaction", "it belongs to this call's file"),
];

/// Finds a key by name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that a flag of a command sets, and the flag; `flag` is its long name without hyphens.
pub fn at(command: &str, flag: &str) -> Option<(&'static Key, &'static str)> {
    let places = KEYS.iter().flat_map(|key| key.places.iter().map(move |place| (key, *place)));
    let fitting = places.filter(|(_, place)| is_at(place, command, flag));
    // The place that says most decides, that of an exception too.
    let (key, place) = fitting.max_by_key(|(_, place)| place.len())?;
    let mut exceptions = PER_CALL.iter().filter(|(other, _)| is_at(other, command, flag));
    if exceptions.any(|(other, _)| other.contains("--") && other.len() > place.len()) {
        return None;
    }
    place.find("--").and_then(|start| place.get(start..)).map(|flag| (key, flag))
}

/// Whether `place` is that of `--flag` in `command` or in one above it.
pub(crate) fn is_at(place: &str, command: &str, flag: &str) -> bool {
    let (of, name) = place.split_once("--").unwrap_or((place, ""));
    let of = of.trim_end();
    let below = command.strip_prefix(of);
    let is_of = of.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    is_of && (name.is_empty() || name == flag)
}

/// Why no key has the flag of a command, if there is a reason.
#[cfg(test)]
pub(crate) fn per_call(command: &str, flag: &str) -> Option<&'static str> {
    let mut reasons = PER_CALL.iter().filter(|(place, _)| is_at(place, command, flag));
    reasons.next().map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_examples_are_valid_and_names_are_unique() {
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
            assert_eq!(key.kind.check(key.example), Ok(()), "{}", key.name);
            assert!(KEYS[index + 1..].iter().all(|other| other.name != key.name), "{}", key.name);
            assert_eq!(key.name.split('.').count(), 2, "{}", key.name);
            assert!(key.summary.len() <= 100 && !key.summary.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn no_key_holds_a_secret() {
        for key in KEYS {
            let is_named = ["pass", "secret", "token", "pem", "_key", ".key"]
                .iter()
                .any(|word| key.name.contains(word));
            // `dev_key` only says that a published one is used.
            let is_safe = matches!(key.kind, Kind::Path | Kind::Switch);
            assert!(!is_named || is_safe, "{}", key.name);
        }
    }

    #[test]
    fn a_flag_is_found_by_its_command_and_those_above() {
        let name = |command, flag| at(command, flag).map(|(key, _)| key.name);
        assert_eq!(name("pool", "listen"), Some("pool.listen"));
        assert_eq!(name("wallet send", "fee"), Some("wallet.fee"));
        assert_eq!(name("wallets", "fee"), None);
        assert_eq!(
            (name("wallet send", "key"), name("wallet read", "key")),
            (Some("wallet.key"), None)
        );
        assert_eq!(name("anything", "genesis"), Some("general.genesis"));
        assert_eq!(at("pool", "listen").map(|(_, flag)| flag), Some("--listen"));
        let mut names: Vec<_> = PER_CALL.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "an exception is listed once");
        assert!(per_call("bench tables", "anything").is_some());
        assert!(per_call("dev", "reset").is_some() && per_call("dev", "seed").is_none());
    }
}
