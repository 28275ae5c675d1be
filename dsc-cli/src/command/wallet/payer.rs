//! Who pays: a key of the wallet, a key file, or a published account of a development network.

use std::path::PathBuf;

use dsc_lib::{address::Address, genesis::Chain, keys::SecretKey};

use super::{KeyName, PassphraseArgs};
use crate::{exit::Failure, key_file, keystore::Keystore, network};

#[derive(Debug, clap::Args)]
pub(super) struct PayerArgs {
    /// Key that pays [default: the only one there is]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key", "dev_account"])]
    from: Option<KeyName>,
    /// File of the key that pays: PKCS#8 PEM
    #[arg(long, value_name = "FILE", conflicts_with = "dev_account")]
    key: Option<PathBuf>,
    /// Published account that pays, from 0; on development networks only
    #[arg(long, value_name = "NUMBER")]
    dev_account: Option<usize>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Who pays, before a passphrase was asked for that may not be needed.
#[derive(Debug)]
pub(super) enum Payer {
    /// A key that is open.
    Open(Box<SecretKey>),
    /// A key of the wallet.
    Kept(KeyName, Address),
}

impl Payer {
    pub(super) fn address(&self) -> Address {
        match self {
            Self::Open(key) => key.public().address(),
            Self::Kept(_, address) => *address,
        }
    }
}

impl PayerArgs {
    /// The key that pays; asks for its passphrase if it has one.
    pub(super) fn key(&self, chain: &Chain, keystore: &Keystore) -> Result<SecretKey, Failure> {
        self.open(self.payer(chain, keystore)?, keystore)
    }

    /// Who pays; asks for the passphrase of a key file that has one, as its address is in it.
    pub(super) fn payer(&self, chain: &Chain, keystore: &Keystore) -> Result<Payer, Failure> {
        if let Some(index) = self.dev_account {
            return Ok(Payer::Open(Box::new(dev_account(index, chain)?)));
        }
        let payer = match &self.key {
            Some(path) => Payer::Open(Box::new(key_file::read(path, &self.passphrase.source()?)?)),
            None => self.kept(keystore)?,
        };
        refuse_published(&payer.address(), chain)?;
        Ok(payer)
    }

    /// The key of `payer`; asks for the passphrase if that was not done.
    pub(super) fn open(&self, payer: Payer, keystore: &Keystore) -> Result<SecretKey, Failure> {
        match payer {
            Payer::Open(key) => Ok(*key),
            Payer::Kept(name, _) => kept(keystore, &name, &self.passphrase),
        }
    }

    fn kept(&self, keystore: &Keystore) -> Result<Payer, Failure> {
        let name = match &self.from {
            Some(name) => name.clone(),
            None => only(keystore)?,
        };
        let address = keystore.public(&name)?.address();
        Ok(Payer::Kept(name, address))
    }
}

/// A key of the wallet; asks for its passphrase.
pub(super) fn kept(
    keystore: &Keystore,
    name: &KeyName,
    passphrase: &PassphraseArgs,
) -> Result<SecretKey, Failure> {
    // A missing key is found out before a passphrase is asked for.
    keystore.public(name)?;
    let passphrase = passphrase.source()?.read(&name.to_string())?;
    Ok(keystore.load(name, &passphrase)?)
}

fn only(keystore: &Keystore) -> Result<KeyName, Failure> {
    let mut names: Vec<_> = keystore.list()?.into_iter().map(|entry| entry.name).collect();
    match (names.pop(), names.len()) {
        (Some(name), 0) => Ok(name),
        (None, _) => Err(Failure::usage("there is no key to pay with")
            .with_hint("`dsc wallet create NAME` makes one; --key and --dev-account use others")),
        (Some(_), more) => {
            let message = format!("which of the {} keys pays?", more.saturating_add(1));
            Err(Failure::usage(message)
                .with_hint("name it with --from NAME; `dsc wallet list` shows them"))
        }
    }
}

/// The key of a published account.
pub(super) fn dev_account(index: usize, chain: &Chain) -> Result<SecretKey, Failure> {
    network::require_development(chain, "--dev-account")?;
    network::account_key(index).ok_or_else(|| {
        let max = network::PUBLISHED_ACCOUNTS.saturating_sub(1);
        Failure::usage(format!("--dev-account is {index}, the published ones are 0 to {max}"))
    })
}

fn refuse_published(address: &Address, chain: &Chain) -> Result<(), Failure> {
    if chain.genesis().development || !network::is_published(address) {
        return Ok(());
    }
    network::require_development(chain, "a published key")
}
