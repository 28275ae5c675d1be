//! `dsc blockchain`: keep the ledger and serve it.

use std::fmt;

use dsc_lib::{hash::Digest, role::blockchain::Blockchain, units::Height};
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
    let chain = args.chain.genesis.as_deref().map(network::read_genesis).transpose()?;
    let running = node::blockchain(&start.host, socket, &start.folder(), chain)?;
    start.listening(&running.url)?;
    start.watch(|| Committed::of(&running.shared.lock()))?;
    running.join();
    start.stopped()
}
