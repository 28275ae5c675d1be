//! `dsc block`: blocks, and proofs that a transaction is in one.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use dsc_lib::{
    genesis::Chain,
    hash::Digest,
    role::blockchain::Inclusion,
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

use super::{
    Context,
    remote::{Remote, inclusion, transaction_id},
    role::ChainArgs,
};
use crate::{
    exit::{Exit, Failure},
    http::Client,
    network,
    output::Document,
    role::{
        transport::found,
        view::{BlockView, TransactionView},
    },
};

/// Longest file of an inclusion proof that is read; the largest transaction makes 25 KB of it.
const FILE_LEN_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show a block
    Show(Show),
    /// Get the proof that a transaction is on the ledger, and check it
    Proof(Proof),
    /// Check such a proof against a genesis file; needs no network
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Height, block hash, or `tip`
    #[arg(value_name = "HEIGHT|HASH|tip")]
    which: String,
}

#[derive(Debug, clap::Args)]
struct Proof {
    /// The transaction's id
    #[arg(value_name = "ID")]
    id: String,
    /// File to write the proof to [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// File that `dsc block proof` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Genesis file of the chain; `dsc chain genesis` writes it
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Id that the transaction must have [default: the one in the file]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Show(args) => show(args, context),
        Verb::Proof(args) => proof(args, context),
        Verb::Verify(args) => verify(args, context),
    }
}

impl Document for BlockView {
    const SCHEMA: &'static str = "dsc.block/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block        {}", self.height)?;
        writeln!(f, "hash         {}", self.hash)?;
        writeln!(f, "parent       {}", self.parent)?;
        writeln!(f, "time         {} ms since the Unix epoch", self.time)?;
        writeln!(f, "metronome    {}", self.metronome)?;
        if self.epoch > 0 {
            writeln!(f, "lease        {}", self.epoch)?;
        }
        writeln!(f, "challenge    {}", self.challenge)?;
        writeln!(f, "state        {}", self.state)?;
        for entry in &self.proofs {
            writeln!(f, "proof        {} by {} {}", entry.proof, entry.miner, entry.fingerprint)?;
        }
        writeln!(f, "transactions {}", self.transactions.len())?;
        for transaction in &self.transactions {
            let (id, count) = (transaction.id, transaction.payments.len());
            writeln!(f, "  {id} from {} ({count} payments)", transaction.sender)?;
        }
        Ok(())
    }
}

fn show(args: &Show, context: &Context<'_>) -> Result<(), Failure> {
    let which = args.which.as_str();
    let is_height = which.parse::<u64>().is_ok();
    if which != "tip" && !is_height && which.parse::<Digest>().is_err() {
        let message = format!("`{which}` is neither a height, nor a block hash, nor `tip`");
        return Err(Failure::new(Exit::Usage, "invalid-block", message)
            .with_hint("a block hash has 64 hexadecimal digits"));
    }
    let client = Client::of_role("blockchain", &context.config)?;
    let found: Option<BlockView> = found(client.get_json(&format!("/v1/blocks/{which}")))?;
    let block = found.ok_or_else(|| {
        Failure::not_found("unknown-block", format!("the ledger has no block {which}"))
            .with_hint("`dsc chain info` shows how many there are")
    })?;
    context.output.document(&block)
}

/// All that shows that a transaction is on the ledger of a chain.
#[derive(Debug, Serialize, Deserialize)]
struct InclusionDocument {
    /// The transaction's id.
    id: Digest,
    /// Genesis hash.
    chain: Digest,
    inclusion: Inclusion,
}

#[derive(Serialize)]
struct Filed<'a> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a InclusionDocument,
}

impl InclusionDocument {
    fn to_json(&self) -> String {
        let filed = Filed { schema: Self::SCHEMA, body: self };
        serde_json::to_string_pretty(&filed).expect("every field has a JSON form") + "\n"
    }
}

impl Document for InclusionDocument {
    const SCHEMA: &'static str = "dsc.inclusion/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

fn proof(args: &Proof, context: &Context<'_>) -> Result<(), Failure> {
    let id = transaction_id(&args.id)?;
    let remote = Remote::of_blockchain(&args.chain, context)?;
    let found = inclusion(&remote.transport.blockchain, &id)?.ok_or_else(|| {
        Failure::not_found("unknown-transaction", format!("the ledger has no transaction {id}"))
            .with_hint(format!("`dsc tx status {id}` says whether the pool has it"))
    })?;
    let document = InclusionDocument { id, chain: remote.chain.hash(), inclusion: found };
    let checked = Verified::check(&remote.chain, &document, id)?;
    let Some(path) = &args.out else { return context.output.document(&document) };
    fs::write(path, document.to_json()).map_err(|error| Failure::file("write", path, &error))?;
    context.output.document(&checked)
}

/// A proof that holds.
#[derive(Debug, Serialize)]
struct Verified {
    id: Digest,
    chain: Digest,
    height: Height,
    index: u64,
    block: Digest,
    time: Millis,
    transaction: TransactionView,
}

impl Verified {
    fn check(chain: &Chain, document: &InclusionDocument, id: Digest) -> Result<Self, Failure> {
        let InclusionDocument { inclusion, .. } = document;
        if document.chain != chain.hash() {
            let message = format!(
                "the proof is of chain {}, the genesis of {}",
                document.chain,
                chain.hash()
            );
            return Err(Failure::rejected("wrong-chain", message)
                .with_hint("use the genesis file of the chain the proof is of"));
        }
        let fault = |fault: &dyn fmt::Display| {
            Failure::rejected("inclusion-invalid", format!("the proof does not hold: {fault}"))
                .with_hint("do not rely on this payment; get the proof from another server")
        };
        inclusion.verify(chain, &id).map_err(|error| fault(&error))?;
        let transaction =
            dsc_lib::codec::decode(&inclusion.transaction).map_err(|error| fault(&error))?;
        Ok(Self {
            id,
            chain: document.chain,
            height: inclusion.header.height,
            index: inclusion.proof.index,
            block: inclusion.header.hash(),
            time: inclusion.header.time,
            transaction: TransactionView::new(chain, &transaction),
        })
    }
}

impl Document for Verified {
    const SCHEMA: &'static str = "dsc.inclusion.verified/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, height, index, block, .. } = self;
        writeln!(f, "transaction {id} is number {index} of block {height} ({block})")
    }
}

fn read(path: &Path) -> Result<InclusionDocument, Failure> {
    let failure = |error| Failure::file("read", path, &error);
    let len = fs::metadata(path).map_err(failure)?.len();
    let wrong = |what: String| {
        Failure::corrupt("not-an-inclusion", format!("{}: {what}", path.display()))
            .with_hint("`dsc block proof ID --out FILE` writes such a file")
    };
    if len > FILE_LEN_MAX {
        return Err(wrong(format!("{len} bytes, at most {FILE_LEN_MAX} are read")));
    }
    let text = fs::read(path).map_err(failure)?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

fn verify(args: &Verify, context: &Context<'_>) -> Result<(), Failure> {
    let wanted = args.id.as_deref().map(transaction_id).transpose()?;
    let chain = network::read_genesis(&args.genesis)?;
    let document = read(&args.file)?;
    let id = wanted.unwrap_or(document.id);
    context.output.document(&Verified::check(&chain, &document, id)?)
}
