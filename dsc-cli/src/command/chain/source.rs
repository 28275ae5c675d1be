//! Where the blocks of a chain come from: a server, a ledger's folder, or an exported chain.
//!
//! # Invariants
//!
//! 1. At most one answer of a server, or one block of a file, is in memory.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    vec,
};

use dsc_lib::{
    block::{Block, Header},
    codec::{self, List},
    genesis::Chain,
    hash::Digest,
    ledger::{Import, ImportError, Ledger, OpenError, OpenOptions},
    proof::Progress,
    role::blockchain::Info,
    units::Height,
};

use super::{super::role::ChainArgs, Context};
use crate::{
    exit::Failure,
    http::{Client, ClientError},
    network,
    role::transport::BlockList,
};

/// Flags that name a ledger on this machine; without them a server is asked.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// Read the ledger in the data folder; no server may be using it
    #[arg(long, conflicts_with = "ledger")]
    offline: bool,
    /// Read the ledger in this folder; no server may be using it
    #[arg(long, value_name = "FOLDER")]
    ledger: Option<PathBuf>,
}

impl SourceArgs {
    /// The ledger's folder, if one is meant.
    pub(super) fn ledger(&self, context: &Context<'_>) -> Option<PathBuf> {
        self.ledger.clone().or_else(|| self.offline.then(|| default_ledger(context)))
    }
}

/// The folder in which the blockchain role keeps its ledger.
pub(super) fn default_ledger(context: &Context<'_>) -> PathBuf {
    context.config.path("general.data_dir").join("blockchain").join("ledger")
}

/// Opens a ledger that exists, for reading; it has to be of the chain that is asked for.
pub(in crate::command) fn open_ledger(
    path: &Path,
    asked: &ChainArgs,
    progress: &dyn Progress,
) -> Result<Ledger, Failure> {
    let chain = asked.genesis.as_deref().map(network::read_genesis).transpose()?;
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let tell = |done, total| progress.update("open", done, total);
    Ledger::open_with(path, chain, options, tell).map_err(|error| match error {
        OpenError::Missing => {
            let message = format!("there is no ledger at {}", path.display());
            Failure::not_found("ledger-not-found", message)
                .with_hint("name it with --ledger FOLDER, or leave --offline out to ask a server")
        }
        error => error.into(),
    })
}

/// The blockchain server, and its chain.
pub(super) fn server(asked: &ChainArgs, context: &Context<'_>) -> Result<(Client, Chain), Failure> {
    let client = Client::of_role("blockchain", &context.config)?;
    let chain = network::chain(asked.genesis.as_deref(), &client)?;
    Ok((client, chain))
}

/// Reads a block.
pub(super) fn decode(bytes: &[u8]) -> Result<Block, Failure> {
    codec::decode(bytes).map_err(|error| {
        super::broken("not-canonical", format!("a block is not canonical: {error}"))
    })
}

/// The encoded blocks of a server, from the first to what was its tip at the start.
pub(super) struct RemoteBlocks<'a> {
    client: &'a Client,
    chain: &'a Chain,
    next: Height,
    /// Blocks there are.
    pub(super) total: u64,
    /// Hash of the last one.
    pub(super) tip: Digest,
    batch: vec::IntoIter<List<u8, 0, { 1 << 28 }>>,
}

impl<'a> RemoteBlocks<'a> {
    pub(super) fn new(client: &'a Client, chain: &'a Chain) -> Result<Self, Failure> {
        let info: Info = client.get_json("/v1/info")?;
        if info.chain != chain.hash() {
            let message = format!("the server is of chain {}, not {}", info.chain, chain.hash());
            return Err(Failure::configuration("wrong-chain", message)
                .with_hint("check --genesis and --blockchain-url"));
        }
        let total = info.height.map_or(0, |height| height.0.saturating_add(1));
        let (next, tip) = (Height(0), info.tip);
        Ok(Self { client, chain, next, total, tip, batch: Vec::new().into_iter() })
    }

    fn block(&mut self) -> Result<Vec<u8>, Failure> {
        if self.batch.len() == 0 {
            self.batch = self.fetch()?.into_vec().into_iter();
        }
        let Some(bytes) = self.batch.next() else {
            return Err(self.malformed(format!("it has no block {}", self.next)));
        };
        let (header, _): (Header, _) =
            codec::decode_first(&bytes).map_err(|error| self.malformed(error.to_string()))?;
        if header.height != self.next || header.chain != self.chain.hash() {
            return Err(self.malformed(format!("it gave another block than {}", self.next)));
        }
        self.next = self.next.next();
        Ok(bytes.into_vec())
    }

    fn fetch(&self) -> Result<BlockList, Failure> {
        let bytes = self.client.get_bytes(&format!("/v1/blocks?from={}", self.next))?;
        codec::decode(&bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn malformed(&self, reason: String) -> Failure {
        ClientError::Malformed { url: self.client.base().to_owned(), reason }.into()
    }
}

impl Iterator for RemoteBlocks<'_> {
    type Item = Result<Vec<u8>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.next.0 < self.total).then(|| self.block())
    }
}

/// Counts the bytes read.
struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        self.count.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// An exported chain.
pub(super) struct Source {
    pub(super) chain: Chain,
    path: PathBuf,
    import: Import<Counted<BufReader<File>>>,
    read: Arc<AtomicU64>,
    len: u64,
}

impl Source {
    /// Opens an exported chain, which has to be the one that is asked for.
    pub(super) fn open(path: &Path, asked: &ChainArgs) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::file("read", path, &error);
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let read = Arc::<AtomicU64>::default();
        let counted = Counted { input: BufReader::new(file), count: read.clone() };
        let import = Import::new(counted).map_err(|error| import_failure(path, error))?;
        let chain = network::check(import.genesis().clone())?;
        let wanted = asked.genesis.as_deref().map(network::read_genesis).transpose()?;
        if let Some(wanted) = wanted
            && wanted.hash() != chain.hash()
        {
            let message = format!("the file is of chain {}, not {}", chain.hash(), wanted.hash());
            return Err(Failure::configuration("wrong-chain", message)
                .with_hint("use the file or the genesis of the other chain"));
        }
        Ok(Self { chain, path: path.to_owned(), import, read, len })
    }

    /// Hands out every block, with the bytes read so far and the bytes of the file.
    pub(super) fn each(
        self,
        mut take: impl FnMut(Block, u64, u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for block in self.import {
            let block = block.map_err(|error| import_failure(&self.path, error))?;
            take(block, self.read.load(Ordering::Relaxed), self.len)?;
        }
        Ok(())
    }
}

fn import_failure(path: &Path, error: ImportError) -> Failure {
    match error {
        ImportError::Io(error) => Failure::file("read", path, &error),
        error => Failure::corrupt("export-corrupt", format!("{}: {error}", path.display()))
            .with_hint("export the chain again: `dsc chain export FILE`"),
    }
}
