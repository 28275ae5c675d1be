//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use thiserror::Error;

use crate::{
    command,
    config::{Config, ConfigError, Sources},
};

pub(crate) mod wiring;

const ABOUT_SETTINGS: &str = "\
A flag marked [key: SECTION.NAME] is a setting: it may stand in a file, as NAME under [SECTION], or in \
the environment, as DSC_SECTION__NAME. `dsc config init` prints every key.";

/// Commands that work whatever the settings are: they help to mend them, or need none.
const APART: [&str; 6] = ["completions", "config", "crash-points", "man", "openapi", "tie"];

/// A blockchain of three proofs: work, space and memory.
#[derive(Debug, Parser)]
#[command(name = "dsc", version, propagate_version = true, after_help = ABOUT_SETTINGS)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes, beside those that the table of keys adds.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Answer with exactly one JSON document (a stream: one per line)
    #[arg(long, short = 'j', global = true)]
    pub(crate) json: bool,
    /// Configuration file [default: ./dsc.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Log more; repeat for still more (`RUST_LOG` decides if it is set)
    #[arg(long, short = 'v', global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A command line, read together with the settings from elsewhere.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) command: Command,
    /// Where settings come from, the flags of this line first.
    pub(crate) sources: Sources,
    /// The settings; an error is left to commands that work all the same, to help mend it.
    pub(crate) config: Result<Config, ConfigError>,
}

/// A command line that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum LineError {
    /// The flags are wrong, or ask for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Line {
    /// Reads the arguments of a process, program name first, with its environment and files.
    pub(crate) fn read(args: &[OsString]) -> Result<Self, LineError> {
        let draft = wiring::lenient().try_get_matches_from(args)?;
        let file = Globals::from_arg_matches(&draft)?.config;
        Self::from_sources(args, &draft, Sources::of_process(file))
    }

    fn from_sources(
        args: &[OsString],
        draft: &ArgMatches,
        sources: Sources,
    ) -> Result<Self, LineError> {
        let mut root = wiring::command();
        root.build();
        let (path, given) = wiring::innermost(draft);
        let sources = Sources { flags: wiring::flags(&root, &path, given), ..sources };
        let config = Config::load(&sources);
        if path.first().is_some_and(|name| APART.contains(&name.as_str())) {
            let Cli { command, .. } = Cli::from_arg_matches(draft)?;
            return Ok(Self { command, sources, config });
        }
        let config = config?;
        let values = wiring::values(&root, &path, given, &config)?;
        let matches = wiring::with_values(&path, &values).try_get_matches_from(args)?;
        let Cli { command, .. } = Cli::from_arg_matches(&matches)?;
        Ok(Self { command, sources, config: Ok(config) })
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
    /// Show how the network stands, at a terminal
    #[cfg(feature = "top")]
    Top(command::top::Args),
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
    /// Check the engine that servers of a cluster share, and put a chain into it
    #[cfg(feature = "cluster")]
    Engine(command::engine::Args),
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
    /// Print the manual page of a command, or write those of all
    Man(command::man::Args),
    /// List the steps at which a test can make a role die
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    CrashPoints,
    /// Become a program that ends with the process that starts it
    #[cfg(all(feature = "cluster", target_os = "linux"))]
    #[command(hide = true)]
    Tie(command::tie::Args),
}
