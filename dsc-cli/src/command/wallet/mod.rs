//! `dsc wallet`: keys, balances and payments.
//!
//! # Invariants
//!
//! 1. A passphrase is never an argument, and is asked for only once all else is known to be right.
//! 2. A key that is published is used on development networks only.
//! 3. A payment counts as confirmed only after its inclusion proof was checked here.

mod accounts;
mod batch;
mod delivery;
mod journal;
mod keys;
pub(crate) mod memo;
mod payer;
mod payments;
mod read;
mod send;
mod sign;
mod submit;
mod watch;

use std::path::PathBuf;

use super::{Context, tx};
use crate::{
    exit::Failure,
    keystore::KeyName,
    passphrase::{PassphraseError, Source},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key and keep it, encrypted
    Create(keys::Create),
    /// List the keys and their addresses
    List(keys::List),
    /// Show a key's address and its public half
    #[command(alias = "key")]
    Show(keys::Show),
    /// Delete a key
    Remove(keys::Remove),
    /// Keep a key from a PKCS#8 PEM file
    Import(keys::Import),
    /// Write a key to standard output, still encrypted
    Export(keys::Export),
    /// Encrypt a key under another passphrase
    Passwd(keys::Passwd),
    /// Show what an account has
    Balance(accounts::Balance),
    /// List what touched an account, newest first
    #[command(alias = "transactions")]
    History(accounts::History),
    /// Show what touches accounts, as it happens
    Watch(watch::Watch),
    /// Show the memo of a transaction; open it if it is sealed
    Read(read::Read),
    /// Have the faucet of a development network pay an account
    Faucet(accounts::Faucet),
    /// Pay somebody and wait for confirmation
    Send(send::Send),
    /// Pay everybody in a file; repeated, it goes on where it stopped and pays nobody twice
    SendMany(batch::SendMany),
    /// Sign a payment, or those in a file, without sending anything
    Sign(sign::Sign),
    /// Send a signed transaction or a prepared file; sending one again changes nothing
    Submit(submit::Submit),
    /// Tell how a transaction stands
    Transaction(tx::Id),
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => keys::create(args, context),
        Verb::List(args) => keys::list(args, context),
        Verb::Show(args) => keys::show(args, context),
        Verb::Remove(args) => keys::remove(args, context),
        Verb::Import(args) => keys::import(args, context),
        Verb::Export(args) => keys::export(args, context),
        Verb::Passwd(args) => keys::passwd(args, context),
        Verb::Balance(args) => accounts::balance(args, context),
        Verb::History(args) => accounts::history(args, context),
        Verb::Watch(args) => watch::watch(args, context),
        Verb::Read(args) => read::read(args, context),
        Verb::Faucet(args) => accounts::faucet(args, context),
        Verb::Send(args) => send::send(args, context),
        Verb::SendMany(args) => batch::send_many(args, context),
        Verb::Sign(args) => sign::sign(args, context),
        Verb::Submit(args) => submit::submit(args, context),
        Verb::Transaction(args) => tx::status(args, context),
    }
}

/// Where the passphrase of a key comes from.
#[derive(Clone, Debug, clap::Args)]
struct PassphraseArgs {
    /// File whose first line is the passphrase [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_fd")]
    passphrase_file: Option<PathBuf>,
    /// Open descriptor whose first line is the passphrase
    #[arg(long, value_name = "NUMBER")]
    passphrase_fd: Option<u32>,
}

impl PassphraseArgs {
    fn source(&self) -> Result<Source, PassphraseError> {
        Source::from_flags(self.passphrase_file.clone(), self.passphrase_fd)
    }
}

/// Where a key's next passphrase comes from.
#[derive(Clone, Debug, clap::Args)]
struct NewPassphraseArgs {
    /// File whose first line is the new passphrase [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_fd")]
    new_passphrase_file: Option<PathBuf>,
    /// Open descriptor whose first line is the new passphrase
    #[arg(long, value_name = "NUMBER")]
    new_passphrase_fd: Option<u32>,
}

impl NewPassphraseArgs {
    fn source(&self) -> Result<Source, PassphraseError> {
        Source::from_flags(self.new_passphrase_file.clone(), self.new_passphrase_fd)
    }

    fn is_given(&self) -> bool {
        self.new_passphrase_file.is_some() || self.new_passphrase_fd.is_some()
    }
}
