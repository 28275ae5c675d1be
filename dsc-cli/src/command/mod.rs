//! The commands: one file each, thin over the library.

pub(crate) mod bench;
pub(crate) mod block;
pub(crate) mod blockchain;
pub(crate) mod chain;
pub(crate) mod completions;
pub(crate) mod config;
#[cfg(debug_assertions)]
pub(crate) mod crash_points;
pub(crate) mod dev;
pub(crate) mod genesis;
pub(crate) mod health;
mod input;
pub(crate) mod metronome;
pub(crate) mod monitor;
pub(crate) mod openapi;
pub(crate) mod pool;
mod prepared;
pub(crate) mod proof;
mod remote;
mod role;
pub(crate) mod tx;
pub(crate) mod validator;
pub(crate) mod vault;
pub(crate) mod wait;
pub(crate) mod wallet;
mod watched;

use crate::{
    cli::{Cli, Command, Globals},
    config::Config,
    exit::Failure,
    logging,
    output::Output,
};

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) output: &'a Output,
    pub(crate) config: Config,
}

impl<'a> Context<'a> {
    /// Reads the configuration and starts logging.
    fn open(globals: &Globals, output: &'a Output) -> Result<Self, Failure> {
        let config = Config::load(&globals.sources())?;
        #[cfg(debug_assertions)]
        crate::crash::arm()?;
        let is_json = config.text("general.log_format") == "json";
        let filter = std::env::var("RUST_LOG").ok();
        logging::start(is_json, globals.verbose, filter.as_deref())?;
        Ok(Self { output, config })
    }
}

/// Runs one command.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    let globals = &cli.globals;
    match cli.command {
        // These three work whatever the configuration says, to help mend it.
        Command::Completions(args) => completions::run(&args, output),
        Command::Openapi(args) => openapi::run(&args, output),
        Command::Config(args) => config::run(&args, globals, output),
        #[cfg(debug_assertions)]
        Command::CrashPoints => crash_points::run(output),
        Command::Dev(args) => dev::run(&args, &Context::open(globals, output)?),
        Command::Blockchain(args) => blockchain::run(&args, &Context::open(globals, output)?),
        Command::Pool(args) => pool::run(&args, &Context::open(globals, output)?),
        Command::Metronome(args) => metronome::run(&args, &Context::open(globals, output)?),
        Command::Validator(args) => validator::run(&args, &Context::open(globals, output)?),
        Command::Monitor(args) => monitor::run(&args, &Context::open(globals, output)?),
        Command::Wallet(args) => wallet::run(&args, &Context::open(globals, output)?),
        Command::Tx(args) => tx::run(&args, &Context::open(globals, output)?),
        Command::Block(args) => block::run(&args, &Context::open(globals, output)?),
        Command::Chain(args) => chain::run(&args, &Context::open(globals, output)?),
        Command::Vault(args) => vault::run(&args, &Context::open(globals, output)?),
        Command::Proof(args) => proof::run(&args, &Context::open(globals, output)?),
        Command::Bench(args) => bench::run(&args, &Context::open(globals, output)?),
        Command::Genesis(args) => genesis::run(&args, &Context::open(globals, output)?),
        Command::Health(args) => health::run(&args, &Context::open(globals, output)?),
        Command::Wait(args) => wait::run(&args, &Context::open(globals, output)?),
    }
}
