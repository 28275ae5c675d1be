//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, builder::PossibleValuesParser};

use crate::{
    command,
    config::{
        Sources,
        keys::{self, LOG_FORMATS, PROGRESS},
    },
};

/// A blockchain of three proofs: work, space and memory.
#[derive(Debug, Parser)]
#[command(name = "dsc", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Answer with exactly one JSON document (a stream: one per line)
    #[arg(long, short = 'j', global = true)]
    pub(crate) json: bool,
    /// Configuration file [default: ./dsc.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of chains, keys and vaults
    #[arg(long, global = true, value_name = "FOLDER", value_parser = setting("general.data_dir"))]
    data_dir: Option<String>,
    /// Where the blockchain is reached
    #[arg(long, global = true, value_name = "URL", value_parser = setting("blockchain.url"))]
    blockchain_url: Option<String>,
    /// Where the pool is reached
    #[arg(long, global = true, value_name = "URL", value_parser = setting("pool.url"))]
    pool_url: Option<String>,
    /// Where the metronome is reached
    #[arg(long, global = true, value_name = "URL", value_parser = setting("metronome.url"))]
    metronome_url: Option<String>,
    /// Form of the logs on standard error
    #[arg(long, global = true, value_name = "FORM", value_parser = PossibleValuesParser::new(LOG_FORMATS))]
    log_format: Option<String>,
    /// Form of progress on standard error
    #[arg(long, global = true, value_name = "FORM", value_parser = PossibleValuesParser::new(PROGRESS))]
    progress: Option<String>,
    /// Log more; repeat for still more (`RUST_LOG` decides if it is set)
    #[arg(long, short = 'v', global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A parser that holds a flag to the rules of its configuration key.
fn setting(
    name: &'static str,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| {
        let key = keys::find(name).expect("flags are wired to keys that exist");
        key.kind.check(text).map(|()| text.to_owned()).map_err(|kind| format!("expected {kind}"))
    }
}

impl Globals {
    /// Where settings come from, these flags first.
    pub(crate) fn sources(&self) -> Sources {
        let flags = [
            ("general.data_dir", "--data-dir", &self.data_dir),
            ("blockchain.url", "--blockchain-url", &self.blockchain_url),
            ("pool.url", "--pool-url", &self.pool_url),
            ("metronome.url", "--metronome-url", &self.metronome_url),
            ("general.log_format", "--log-format", &self.log_format),
            ("general.progress", "--progress", &self.progress),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(key, flag, value)| Some((key, flag, value.clone()?)))
            .collect();
        Sources { flags, ..Sources::of_process(self.config.clone()) }
    }
}

/// What to do. One variant per file of `command/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole chain in one process: funded accounts, validators, every role
    Dev(command::dev::Args),
    /// Keep the ledger and serve it
    Blockchain(command::blockchain::Args),
    /// Hold transactions until the ledger has them
    Pool(command::pool::Args),
    /// Open rounds and make blocks; or start, stop and look at one that runs
    Metronome(command::metronome::Args),
    /// Win blocks with one kind of proof
    Validator(command::validator::Args),
    /// Show how the network stands, again and again
    Monitor(command::monitor::Args),
    /// Keep keys, look at accounts, and pay
    Wallet(command::wallet::Args),
    /// Look at transactions
    Tx(command::tx::Args),
    /// Look at blocks; prove that a transaction is in one
    Block(command::block::Args),
    /// Look at, check, export and import a whole chain
    Chain(command::chain::Args),
    /// Make and check vaults for proof of space
    Vault(command::vault::Args),
    /// Find or check one proof without a network
    Proof(command::proof::Args),
    /// Measure this machine; compare and report results
    Bench(command::bench::Args),
    /// Write the genesis file of a new network
    Genesis(command::genesis::Args),
    /// Probe roles: are they alive, and ready?
    Health(command::health::Args),
    /// Wait until roles are ready, the ledger has a height, or a transaction has ended
    Wait(command::wait::Args),
    /// Show, check or write the configuration
    Config(command::config::Args),
    /// Describe what roles serve over HTTP, for other programs
    Openapi(command::openapi::Args),
    /// Write a completion script for a shell
    Completions(command::completions::Args),
    /// List the steps at which a test can make a role die
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    CrashPoints,
}
