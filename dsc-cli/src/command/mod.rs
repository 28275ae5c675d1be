//! The commands: one file each, thin over the library.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod health;

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
        // These two work whatever the configuration says, to help mend it.
        Command::Completions(args) => completions::run(&args, output),
        Command::Config(args) => config::run(&args, globals, output),
        Command::Health(args) => health::run(&args, &Context::open(globals, output)?),
    }
}
