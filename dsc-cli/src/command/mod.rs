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
#[cfg(feature = "cluster")]
pub(crate) mod engine;
pub(crate) mod genesis;
pub(crate) mod health;
mod input;
pub(crate) mod man;
pub(crate) mod metronome;
pub(crate) mod monitor;
pub(crate) mod openapi;
pub(crate) mod pool;
mod prepared;
pub(crate) mod proof;
mod remote;
mod role;
#[cfg(all(feature = "cluster", target_os = "linux"))]
pub(crate) mod tie;
#[cfg(feature = "top")]
pub(crate) mod top;
pub(crate) mod tx;
pub(crate) mod validator;
pub(crate) mod vault;
pub(crate) mod wait;
pub(crate) mod wallet;
mod watched;

use crate::{
    cli::{Command, Line},
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
    /// Starts logging.
    fn open(config: Config, output: &'a Output) -> Result<Self, Failure> {
        #[cfg(debug_assertions)]
        crate::crash::arm()?;
        let is_json = config.text("general.log_format") == "json";
        let filter = std::env::var("RUST_LOG").ok();
        logging::start(is_json, config.count("general.verbose"), filter.as_deref())?;
        Ok(Self { output, config })
    }
}

/// Runs one command.
pub(crate) fn run(line: Line, output: &Output) -> Result<(), Failure> {
    let Line { command, sources, config } = line;
    let open = || Context::open(config?, output);
    match command {
        // These work whatever the configuration says.
        Command::Completions(args) => completions::run(&args, output),
        Command::Man(args) => man::run(&args, output),
        Command::Openapi(args) => openapi::run(&args, output),
        Command::Config(args) => config::run(&args, &sources, output),
        #[cfg(debug_assertions)]
        Command::CrashPoints => crash_points::run(output),
        #[cfg(all(feature = "cluster", target_os = "linux"))]
        Command::Tie(args) => tie::run(&args),
        Command::Dev(args) => dev::run(&args, &open()?),
        Command::Blockchain(args) => blockchain::run(&args, &open()?),
        Command::Pool(args) => pool::run(&args, &open()?),
        Command::Metronome(args) => metronome::run(&args, &open()?),
        Command::Validator(args) => validator::run(&args, &open()?),
        Command::Monitor(args) => monitor::run(&args, &open()?),
        Command::Wallet(args) => wallet::run(&args, &open()?),
        Command::Tx(args) => tx::run(&args, &open()?),
        Command::Block(args) => block::run(&args, &open()?),
        Command::Chain(args) => chain::run(&args, &open()?),
        Command::Vault(args) => vault::run(&args, &open()?),
        Command::Proof(args) => proof::run(&args, &open()?),
        Command::Bench(args) => bench::run(&args, &open()?),
        #[cfg(feature = "cluster")]
        Command::Engine(args) => engine::run(&args, &open()?),
        Command::Genesis(args) => genesis::run(&args, &open()?),
        Command::Health(args) => health::run(&args, &open()?),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(&args, &open()?),
        Command::Wait(args) => wait::run(&args, &open()?),
    }
}
