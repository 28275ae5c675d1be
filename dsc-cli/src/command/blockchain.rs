//! `dsc blockchain`: keep the ledger and serve it.

use std::fmt;

use dsc_lib::{genesis::Chain, hash::Digest, role::blockchain::Blockchain, units::Height};
use serde::Serialize;

use super::{
    Context,
    role::{ChainArgs, Listen, Start},
};
use crate::{exit::Failure, network, node, output::Document};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    chain: ChainArgs,
}

/// A block that is durably on the ledger.
#[derive(Debug, PartialEq, Serialize)]
struct Committed {
    role: &'static str,
    event: &'static str,
    height: Height,
    hash: Digest,
}

impl Committed {
    fn of(blockchain: &Blockchain) -> Option<Self> {
        let state = blockchain.ledger().state();
        let (height, hash) = (state.height()?, state.tip().hash);
        Some(Self { role: "blockchain", event: "block", height, hash })
    }
}

impl Document for Committed {
    const SCHEMA: &'static str = "dsc.event/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block {} {}", self.height, self.hash)
    }
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let start = Start::new(context, "blockchain")?;
    let socket = start.socket(&args.listen)?;
    let chain = chain(args, &start)?;
    let running = node::blockchain(&start.host, socket, &start.folder(), chain)?;
    start.listening(&running.url)?;
    start.watch(|| Committed::of(&running.shared.lock()))?;
    running.join();
    start.stopped()
}

/// The chain to start a ledger of: that of the file, else, for a new server that shares an engine,
/// that of the others. A ledger that is there knows its own.
fn chain(args: &Args, start: &Start<'_>) -> Result<Option<Chain>, Failure> {
    if let Some(path) = &args.chain.genesis {
        return network::read_genesis(path).map(Some);
    }
    if start.host.engine.is_alone() || start.folder().join("ledger").exists() {
        return Ok(None);
    }
    let Start { transport, host, .. } = start;
    network::chain_when_up(None, &transport.blockchain, &host.shutdown).map(Some)
}
