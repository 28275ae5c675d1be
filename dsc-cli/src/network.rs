//! Which chain a command is for, and what belongs to development networks only.

use std::{fs, path::Path, time::Duration};

use dsc_lib::{
    address::Address,
    codec,
    genesis::{Chain, GENESIS_BYTES_MAX, Genesis},
    keys::SecretKey,
};

use crate::{
    exit::{Exit, Failure},
    http::{Client, ClientError},
    output::note,
    shutdown::Shutdown,
};

/// How long a role waits for the one that knows the genesis.
const GENESIS_WAIT: Duration = Duration::from_secs(30);
const GENESIS_PAUSE: Duration = Duration::from_millis(200);

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../dev-keys/", $name, ".pem"))
    };
}

/// Published keys of accounts on development networks.
const ACCOUNTS: [&str; 10] = [
    pem!("account-00"),
    pem!("account-01"),
    pem!("account-02"),
    pem!("account-03"),
    pem!("account-04"),
    pem!("account-05"),
    pem!("account-06"),
    pem!("account-07"),
    pem!("account-08"),
    pem!("account-09"),
];

/// Number of published accounts.
pub(crate) const PUBLISHED_ACCOUNTS: usize = ACCOUNTS.len();

fn published(pem: &str) -> SecretKey {
    SecretKey::from_pkcs8_pem(pem).expect("a test reads every published key")
}

/// The published key of account `index`, if there is one.
pub(crate) fn account_key(index: usize) -> Option<SecretKey> {
    ACCOUNTS.get(index).map(|pem| published(pem))
}

/// The published key of development metronomes.
pub(crate) fn metronome_key() -> SecretKey {
    published(pem!("metronome"))
}

/// The published keys of development metronomes, where there are several.
pub(crate) fn metronome_keys() -> Vec<SecretKey> {
    vec![metronome_key(), published(pem!("metronome-2"))]
}

/// The published key of development faucets.
pub(crate) fn faucet_key() -> SecretKey {
    published(pem!("faucet"))
}

/// Reads a genesis file.
pub(crate) fn read_genesis(path: &Path) -> Result<Chain, Failure> {
    let text = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let genesis: Genesis = serde_json::from_slice(&text).map_err(|error| {
        let message = format!("{} is not a genesis: {error}", path.display());
        Failure::configuration("invalid-genesis", message).with_hint(
            "`dsc chain genesis FILE` writes that of a running chain, `dsc genesis` a new one",
        )
    })?;
    check(genesis)
}

/// Checks a genesis, and that nobody's coins hang on a key that everybody has.
pub(crate) fn check(genesis: Genesis) -> Result<Chain, Failure> {
    let chain = genesis.check().map_err(|error| {
        Failure::configuration("invalid-genesis", format!("the genesis: {error}"))
    })?;
    refuse_published_keys(&chain)?;
    Ok(chain)
}

/// Whether everybody has the key of this address.
pub(crate) fn is_published(address: &Address) -> bool {
    published_addresses().any(|published| published == *address)
}

fn published_addresses() -> impl Iterator<Item = Address> {
    let keys = (0..ACCOUNTS.len()).filter_map(account_key);
    keys.chain(metronome_keys()).chain([faucet_key()]).map(|key| key.public().address())
}

fn refuse_published_keys(chain: &Chain) -> Result<(), Failure> {
    if chain.genesis().development {
        return Ok(());
    }
    let used = |address| {
        let endowed = chain.genesis().accounts.iter().any(|account| account.address == address);
        endowed || chain.metronome(&address).is_some()
    };
    if published_addresses().any(used) {
        let message = "the genesis uses a published development key, and is not for development";
        return Err(Failure::configuration("published-key", message)
            .with_hint("make keys of your own with `dsc wallet create`, or set development"));
    }
    Ok(())
}

/// Refuses what only development networks have.
pub(crate) fn require_development(chain: &Chain, what: &str) -> Result<(), Failure> {
    if chain.genesis().development {
        return Ok(());
    }
    let message = format!("{what} is for development networks, {} is none", chain.network());
    Err(Failure::configuration("published-key", message)
        .with_hint("use a key of your own: `dsc wallet create` makes one"))
}

/// Asks a role for the genesis; `path` has the last word if it is given.
pub(crate) fn chain(path: Option<&Path>, role: &Client) -> Result<Chain, Failure> {
    match path {
        Some(path) => read_genesis(path),
        None => Ok(fetch(role)?),
    }
}

/// As [`chain`], for a role that may start before the others: whoever has a genesis does not wait,
/// and is told if `role` is there and keeps another chain.
pub(crate) fn chain_when_up(
    path: Option<&Path>,
    role: &Client,
    shutdown: &Shutdown,
) -> Result<Chain, Failure> {
    if let Some(path) = path {
        return same_as(read_genesis(path)?, path, role);
    }
    let tries = GENESIS_WAIT.as_millis() / GENESIS_PAUSE.as_millis();
    for turn in 0..tries {
        match chain(path, role) {
            Err(failure) if failure.exit() == Exit::Unreachable => {
                if turn == 0 {
                    let hint = failure.hint().unwrap_or_default();
                    note(format_args!("waiting for the chain: {}; {hint}", failure.message()));
                }
            }
            settled => return settled,
        }
        if shutdown.sleep(GENESIS_PAUSE) {
            return Err(Failure::interrupted("ended before the chain was known"));
        }
    }
    chain(path, role)
}

/// The chain of a file, unless `role` answers that it keeps another one.
fn same_as(chain: Chain, path: &Path, role: &Client) -> Result<Chain, Failure> {
    let other = fetch(role).ok().filter(|other| other.hash() != chain.hash());
    let Some(other) = other else { return Ok(chain) };
    let (network, url) = (other.network(), role.base());
    let message = format!(
        "{} is the genesis of {} ({}), but {network} ({}) runs at {url}",
        path.display(),
        chain.network(),
        chain.hash(),
        other.hash(),
    );
    Err(Failure::configuration("wrong-chain", message).with_hint(
        "leave --genesis out to join the chain that runs there, or give the address of another \
         network's roles",
    ))
}

fn fetch(role: &Client) -> Result<Chain, Failure> {
    let bytes = role.get_bytes("/v1/genesis")?;
    let genesis = codec::decode_bounded(&bytes, GENESIS_BYTES_MAX);
    let genesis: Genesis = genesis.map_err(|error| {
        let (url, reason) = (role.base().to_owned(), format!("the genesis: {error}"));
        ClientError::Malformed { url, reason }
    })?;
    check(genesis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_key_is_one() {
        assert!((0..PUBLISHED_ACCOUNTS).all(|index| account_key(index).is_some()));
        assert!(account_key(PUBLISHED_ACCOUNTS).is_none());
        assert_ne!(metronome_key().public(), faucet_key().public());
        assert!(metronome_keys().iter().all(|key| is_published(&key.public().address())));
    }

    #[test]
    fn published_keys_are_refused_elsewhere() {
        let mut genesis = dsc_lib::testing::genesis();
        genesis.metronomes = codec::List::new(vec![*metronome_key().public()]).unwrap();
        assert!(check(genesis.clone()).is_ok());
        genesis.development = false;
        let failure = check(genesis).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "published-key"));
    }
}
