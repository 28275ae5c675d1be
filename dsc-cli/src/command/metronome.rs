//! `dsc metronome`: open rounds and make blocks; or start, stop and look at one that runs.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    genesis::Chain,
    keys::SecretKey,
    role::metronome::{Settings, Status},
};
use serde::Serialize;

use super::{
    Context,
    role::{ChainArgs, Listen, Start},
};
use crate::{
    exit::Failure,
    http::{Client, Token},
    key_file, network, node,
    output::Document,
    passphrase::Source,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make blocks from now on
    Start,
    /// Make no more blocks; one under way is finished
    Stop,
    /// Whether it makes blocks, and which validators it hears from
    Status,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    chain: ChainArgs,
    #[arg(long, value_name = "FILE", conflicts_with = "dev_key")]
    key: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File descriptor to read the key's passphrase from
    #[arg(long, value_name = "NUMBER", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u32>,
    #[arg(long)]
    dev_key: bool,
    #[arg(long, value_name = "NUMBER")]
    epoch: u64,
    #[arg(long)]
    stopped: bool,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        None => serve(&args.run, context),
        Some(Verb::Start) => turn("/v1/start", context),
        Some(Verb::Stop) => turn("/v1/stop", context),
        Some(Verb::Status) => status(context),
    }
}

fn serve(args: &RunArgs, context: &Context<'_>) -> Result<(), Failure> {
    let start = Start::new(context, "metronome")?;
    let socket = start.socket(&args.listen)?;
    let (genesis, shutdown) = (args.chain.genesis.as_deref(), &start.host.shutdown);
    let chain = network::chain_when_up(genesis, &start.transport.blockchain, shutdown)?;
    let settings = Settings {
        key: key(args, &chain)?,
        epoch: args.epoch,
        interval: chain.genesis().interval,
        running: !args.stopped,
    };
    let transport = start.transport.clone();
    let running =
        node::metronome(&start.host, socket, &start.folder(), chain, settings, transport)?;
    start.listening(&running.url)?;
    start.wait();
    running.join();
    start.stopped()
}

fn key(args: &RunArgs, chain: &Chain) -> Result<SecretKey, Failure> {
    let key = match &args.key {
        Some(path) => {
            let source = Source::from_flags(args.passphrase_file.clone(), args.passphrase_fd)?;
            key_file::read(path, &source)?
        }
        None if args.dev_key => {
            network::require_development(chain, "a published key")?;
            network::metronome_key()
        }
        None => {
            return Err(Failure::usage("a metronome needs a key to sign blocks with")
                .with_hint("pass --key FILE, or --dev-key on a development network"));
        }
    };
    let address = key.public().address();
    if chain.metronome(&address).is_none() {
        let address = address.to_text(chain.prefix());
        let message = format!("genesis does not authorise the metronome key of {address}");
        return Err(Failure::configuration("unknown-metronome", message)
            .with_hint("use the key that was named with `dsc genesis --metronome`"));
    }
    Ok(key)
}

fn client(context: &Context<'_>) -> Result<Client, Failure> {
    let client = Client::of_role("metronome", &context.config)?;
    let token = context.config.path("admin.token_file");
    Ok(if token.exists() { client.with_token(Token::load(token)?) } else { client })
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(Status);

impl Document for Shown {
    const SCHEMA: &'static str = "dsc.metronome/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { running, round, interval, validators, fault, .. } = &self.0;
        writeln!(
            f,
            "{}, a block every {interval} ms",
            if *running { "running" } else { "stopped" }
        )?;
        self.standing(f)?;
        if let Some(round) = round {
            writeln!(f, "round {} closes in {} ms", round.height, round.closes_in)?;
        }
        if let Some(fault) = fault {
            writeln!(f, "trouble: {fault}")?;
        }
        for validator in validators {
            let (kind, miner) = (validator.kind.name(), validator.miner.fingerprint);
            writeln!(f, "validator {miner}  {kind:7} {:>10} tries", validator.attempts)?;
        }
        Ok(())
    }
}

impl Shown {
    /// Who leads, where there are several.
    fn standing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { leading, epoch, leader, .. } = &self.0;
        match leader {
            Some(_) if *leading => writeln!(f, "leads with lease {epoch}"),
            Some(url) => writeln!(f, "stands by; {url} leads"),
            None if *leading => Ok(()),
            None => writeln!(f, "stands by; nobody leads"),
        }
    }
}

/// Starts or stops one metronome: which one is not left to who answers first.
fn turn(path: &str, context: &Context<'_>) -> Result<(), Failure> {
    let client = client(context)?;
    if client.count() > 1 {
        let urls = context.config.text("metronome.url");
        return Err(Failure::usage(format!("there are several metronomes: {urls}")).with_hint(
            "say which one with --metronome-url; the others go on when one is stopped",
        ));
    }
    let status = client.post_json(path, &())?;
    context.output.document(&Shown(status))
}

fn status(context: &Context<'_>) -> Result<(), Failure> {
    let status = client(context)?.get_json("/v1/status")?;
    context.output.document(&Shown(status))
}
