//! `dsc chain`: where a chain stands, whether it keeps every rule, and the chain as one file.

mod import;
pub(super) mod source;

use std::{
    fmt, fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use dsc_lib::{
    block::Block,
    genesis::Chain,
    hash::Digest,
    ledger::{Export, ExportError, Ledger, ReplayError, State, StoreError, Summary},
    proof::{Progress, ProofKind},
    role::blockchain::Info,
    units::{Amount, Height},
};
use serde::Serialize;

use self::source::{RemoteBlocks, Source, SourceArgs};
use super::{Context, role::ChainArgs, watched::Watched};
use crate::{
    command::genesis,
    exit::{Failure, INDEX_HINT},
    http::Client,
    output::Document,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show where a chain stands
    Info,
    /// Write the genesis of the chain to a file
    Genesis(GenesisArgs),
    /// Check every block from the genesis on against every rule
    Verify(Verify),
    /// Write the whole chain to one file
    Export(ExportArgs),
    /// Check the blocks of such a file and put them on a ledger
    Import(import::Import),
}

#[derive(Debug, clap::Args)]
struct GenesisArgs {
    /// File to write; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Verify {
    #[command(flatten)]
    source: SourceArgs,
    /// Exported chain to check
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "offline"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// File to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write over a file that exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Info => info(context),
        Verb::Genesis(args) => write_genesis(args, context),
        Verb::Verify(args) => verify(args, context),
        Verb::Export(args) => export(args, context),
        Verb::Import(args) => import::run(args, context),
    }
}

impl Document for Info {
    const SCHEMA: &'static str = "dsc.chain/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = self.height.map_or_else(|| "none yet".to_owned(), |height| height.to_string());
        writeln!(f, "network       {}", self.network)?;
        writeln!(f, "chain         {}", self.chain)?;
        writeln!(f, "height        {height}")?;
        writeln!(f, "tip           {}", self.tip)?;
        writeln!(f, "state         {}", self.state)?;
        writeln!(f, "coins         {}", self.supply)?;
        writeln!(f, "accounts      {}", self.accounts)?;
        writeln!(f, "transactions  {}", self.transactions)?;
        for (kind, won) in ProofKind::all().zip(self.wins.by_engine()) {
            writeln!(f, "won by {:<6} {won}", kind.name())?;
        }
        writeln!(f, "won by none   {}", self.wins.none())
    }
}

fn info(context: &Context<'_>) -> Result<(), Failure> {
    let client = Client::of_role("blockchain", &context.config)?;
    let info: Info = client.get_json("/v1/info")?;
    context.output.document(&info)
}

/// A file that was written.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    chain: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u64>,
}

impl Document for Written {
    const SCHEMA: &'static str = "dsc.chain.file/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, chain) = (self.file.display(), self.chain);
        match self.blocks {
            Some(blocks) => writeln!(f, "{file} has {blocks} blocks of chain {chain}"),
            None => writeln!(f, "{file} is the genesis of chain {chain}"),
        }
    }
}

fn write_genesis(args: &GenesisArgs, context: &Context<'_>) -> Result<(), Failure> {
    let (_, chain) = source::server(&ChainArgs { genesis: None }, context)?;
    genesis::write(&args.file, chain.genesis())?;
    let (file, chain) = (args.file.clone(), chain.hash());
    context.output.document(&Written { file, chain, blocks: None })
}

/// A chain that keeps every rule.
#[derive(Debug, Serialize)]
struct Verified {
    chain: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Height>,
    blocks: u64,
    transactions: u64,
    accounts: u64,
    coins: Amount,
    tip: Digest,
    state: Digest,
}

impl Verified {
    fn new(chain: Digest, summary: &Summary) -> Self {
        let Summary { base, blocks, transactions, accounts, supply: coins, tip, state } = *summary;
        Self { chain, base, blocks, transactions, accounts, coins, tip, state }
    }
}

impl Document for Verified {
    const SCHEMA: &'static str = "dsc.chain.verified/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, transactions, coins, tip, .. } = self;
        if let Some(base) = self.base {
            writeln!(f, "the ledger begins after block {base}, whose state is what was signed")?;
        }
        writeln!(f, "{blocks} blocks with {transactions} transactions keep every rule")?;
        writeln!(f, "{coins} coins in {} accounts, tip {tip}", self.accounts)
    }
}

/// The rules, applied to one block after another from the genesis on.
struct Replay {
    state: State,
    transactions: u64,
}

impl Replay {
    fn new(chain: Chain) -> Self {
        Self { state: State::genesis(chain), transactions: 0 }
    }

    fn next(&mut self, block: Block) -> Result<(), Failure> {
        let height = self.state.round().height;
        let checked = self.state.check(block).map_err(|error| {
            broken(error.code(), format!("block {height} breaks a rule: {error}"))
        })?;
        self.transactions = self.transactions.saturating_add(checked.transactions().len() as u64);
        self.state.apply(&checked).map_err(|stale| broken("stale-block", stale))
    }

    fn end(&self) -> Result<Verified, Failure> {
        let state = &self.state;
        if !state.supply_holds() {
            return Err(broken("supply-broken", "the balances do not add up to the coins issued"));
        }
        Ok(Verified {
            chain: state.chain().hash(),
            base: None,
            blocks: state.round().height.0,
            transactions: self.transactions,
            accounts: state.accounts().len() as u64,
            coins: state.supply(),
            tip: state.tip().hash,
            state: state.commitment(),
        })
    }
}

/// The failure of a chain that breaks a rule.
fn broken(code: &'static str, message: impl fmt::Display) -> Failure {
    Failure::corrupt(code, message).with_hint("get the chain from another server or a backup")
}

fn verify(args: &Verify, context: &Context<'_>) -> Result<(), Failure> {
    let watched = Watched::new(context)?;
    let verified = match (&args.file, args.source.ledger(context)) {
        (Some(path), _) => verify_file(path, args, &watched)?,
        (None, Some(path)) => verify_ledger(&path, args, &watched)?,
        (None, None) => verify_remote(args, context, &watched)?,
    };
    context.output.document(&verified)
}

fn verify_file(path: &Path, args: &Verify, watched: &Watched) -> Result<Verified, Failure> {
    let source = Source::open(path, &args.chain)?;
    let mut replay = Replay::new(source.chain.clone());
    source.each(|block, done, total| {
        replay.next(block)?;
        watched.update("verify", done, total);
        watched.check("the check")
    })?;
    replay.end()
}

fn verify_ledger(path: &Path, args: &Verify, watched: &Watched) -> Result<Verified, Failure> {
    let ledger = source::open_ledger(path, &args.chain, watched)?;
    let summary = ledger.verify(|done, total| watched.update("verify", done, total));
    let summary = summary.map_err(|error| replay_failure(&error))?;
    Ok(Verified::new(ledger.state().chain().hash(), &summary))
}

fn replay_failure(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Block { error: rule, .. } => broken(rule.code(), error),
        ReplayError::Index { .. }
        | ReplayError::Count { .. }
        | ReplayError::Store(StoreError::Index { .. }) => {
            Failure::corrupt("ledger-index", error).with_hint(INDEX_HINT)
        }
        ReplayError::Store(_) => Failure::corrupt("ledger-corrupt", error)
            .with_hint("restore the folder from a backup, or fetch the chain anew"),
        _ => broken("ledger-inconsistent", error),
    }
}

fn verify_remote(
    args: &Verify,
    context: &Context<'_>,
    watched: &Watched,
) -> Result<Verified, Failure> {
    let (client, chain) = source::server(&args.chain, context)?;
    let blocks = RemoteBlocks::new(&client, &chain)?;
    let (total, tip) = (blocks.total, blocks.tip);
    let mut replay = Replay::new(chain.clone());
    for (done, bytes) in (1..).zip(blocks) {
        replay.next(source::decode(&bytes?)?)?;
        watched.update("verify", done, total);
        watched.check("the check")?;
    }
    let verified = replay.end()?;
    if verified.tip != tip {
        let message = format!("the blocks lead to {}, the server's tip is {tip}", verified.tip);
        return Err(broken("wrong-tip", message));
    }
    Ok(verified)
}

fn export(args: &ExportArgs, context: &Context<'_>) -> Result<(), Failure> {
    let path = &args.file;
    if path.exists() && !args.force {
        return Err(Failure::rejected("file-exists", format!("{} exists", path.display()))
            .with_hint("choose another file, or --force to write over it"));
    }
    let watched = Watched::new(context)?;
    let failed = |error: std::io::Error| Failure::file("write", path, &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    // Whoever reads the file by its name finds the whole chain.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let (chain, blocks) = match args.source.ledger(context) {
        Some(ledger) => export_ledger(&ledger, args, file.as_file_mut(), &watched)?,
        None => export_remote(args, context, file.as_file_mut(), &watched)?,
    };
    file.as_file().sync_all().map_err(failed)?;
    make_readable(file.path()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    context.output.document(&Written { file: path.clone(), chain, blocks: Some(blocks) })
}

/// A temporary file is its owner's alone; a chain is for everybody.
fn make_readable(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let _ = path;
    Ok(())
}

fn export_ledger(
    path: &Path,
    args: &ExportArgs,
    output: &mut impl Write,
    watched: &Watched,
) -> Result<(Digest, u64), Failure> {
    let failed = |error: std::io::Error| Failure::file("write", &args.file, &error);
    let ledger: Ledger = source::open_ledger(path, &args.chain, watched)?;
    if let Some(base) = ledger.base() {
        return Err(Failure::rejected("ledger-has-base", ExportError::Base { base })
            .with_hint("ask a server that has every block: leave --ledger and --offline out"));
    }
    let chain = ledger.state().chain();
    let mut export = Export::new(BufWriter::new(output), chain.genesis()).map_err(failed)?;
    let total = ledger.state().round().height.0;
    for height in 0..total {
        let bytes = ledger.block_bytes(Height(height))?;
        let missing = || Failure::corrupt("ledger-corrupt", format!("there is no block {height}"));
        export.block(&bytes.ok_or_else(missing)?).map_err(failed)?;
        watched.update("export", height.saturating_add(1), total);
        watched.check("the export")?;
    }
    Ok((chain.hash(), export.finish().map_err(failed)?))
}

fn export_remote(
    args: &ExportArgs,
    context: &Context<'_>,
    output: &mut impl Write,
    watched: &Watched,
) -> Result<(Digest, u64), Failure> {
    let failed = |error: std::io::Error| Failure::file("write", &args.file, &error);
    let (client, chain) = source::server(&args.chain, context)?;
    let blocks = RemoteBlocks::new(&client, &chain)?;
    let total = blocks.total;
    let mut export = Export::new(BufWriter::new(output), chain.genesis()).map_err(failed)?;
    for (done, bytes) in (1..).zip(blocks) {
        export.block(&bytes?).map_err(failed)?;
        watched.update("export", done, total);
        watched.check("the export")?;
    }
    Ok((chain.hash(), export.finish().map_err(failed)?))
}
