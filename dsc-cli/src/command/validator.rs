//! `dsc validator`: win blocks with one kind of proof.

use std::{fs, io::Write, path::Path};

use dsc_lib::{
    address::Address,
    genesis::Chain,
    proof::{self, Fingerprint, Miner, ProofKind, Resources},
};

use super::{
    Context,
    role::{ChainArgs, Listen, Start},
};
use crate::{
    entropy::OsEntropy,
    exit::Failure,
    lock::FolderLock,
    memory, network,
    node::{self, Mine},
    progress::{Reporter, Style},
    role::{self, validator::Effort},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    chain: ChainArgs,
    #[arg(long, value_name = "ENGINE", value_parser = parse_kind)]
    proof: ProofKind,
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    #[arg(long, value_name = "UUID")]
    fingerprint: Option<Fingerprint>,
    #[arg(long, value_name = "K")]
    size: Option<u8>,
    #[arg(long, value_name = "INDEX", value_delimiter = ',')]
    index: Vec<u32>,
    #[arg(long)]
    threads: usize,
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    attempts: u64,
}

pub(crate) fn parse_kind(text: &str) -> Result<ProofKind, String> {
    proof::find(text).map(|entry| entry.kind).map_err(|error| error.to_string())
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    Address::from_any_text(&args.address)?;
    let start = Start::new(context, "validator")?;
    let socket = start.socket(&args.listen)?;
    let (genesis, shutdown) = (args.chain.genesis.as_deref(), &start.host.shutdown);
    let chain = network::chain_when_up(genesis, &start.transport.metronome, shutdown)?;
    let folder = start.folder().join(args.proof.name());
    fs::create_dir_all(&folder).map_err(|error| Failure::file("make", &folder, &error))?;
    let _lock = FolderLock::acquire(&folder)?;
    let mine = mine(args, &chain, &folder)?;
    let reporter = Reporter::new(Style::from_word(context.config.text("general.progress")));
    let prover = node::prover(&chain, &mine, &reporter)?;
    drop(reporter);
    let server = node::validator(&start.host, &mine, prover, start.transport.clone())?;
    let url = socket.url();
    let site = role::validator::site(&server, &start.host.limits, shutdown);
    let serving = socket.serve(site, &start.host.limits, shutdown)?;
    start.listening(&url)?;
    start.wait();
    drop(serving.join());
    start.stopped()
}

fn mine(args: &Args, chain: &Chain, folder: &Path) -> Result<Mine, Failure> {
    let address = Address::from_text(&args.address, chain.prefix())?;
    let fingerprint = match args.fingerprint {
        Some(fingerprint) => fingerprint,
        None => kept_fingerprint(&folder.join("fingerprint"))?,
    };
    let resources = Resources {
        threads: args.threads,
        size: args.size,
        indices: args.index.clone(),
        ram_bytes_max: memory::allowance(),
        ..Resources::new(folder)
    };
    let threads = if args.threads == 0 { usize::MAX } else { args.threads };
    let effort = Effort { attempts_max: args.attempts, threads };
    Ok(Mine { kind: args.proof, miner: Miner { address, fingerprint }, resources, effort })
}

/// The fingerprint that a file keeps; a new one the first time.
fn kept_fingerprint(path: &Path) -> Result<Fingerprint, Failure> {
    if path.exists() {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        return text.trim().parse().map_err(|error| {
            Failure::corrupt("invalid-fingerprint", format!("{}: {error}", path.display()))
        });
    }
    let fingerprint = Fingerprint(OsEntropy.uuid());
    let written = fs::File::create_new(path).and_then(|mut file| {
        writeln!(file, "{fingerprint}")?;
        file.sync_all()
    });
    written.map_err(|error| Failure::file("write", path, &error))?;
    Ok(fingerprint)
}
