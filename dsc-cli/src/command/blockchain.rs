//! `dsc blockchain`: keep the ledger and serve it.

use super::{
    Context,
    role::{ChainArgs, Listen, Start},
};
use crate::{exit::Failure, network, node};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let start = Start::new(context, "blockchain")?;
    let socket = start.socket(&args.listen)?;
    let chain = args.chain.genesis.as_deref().map(network::read_genesis).transpose()?;
    let running = node::blockchain(&start.host, socket, &start.folder(), chain)?;
    start.listening(&running.url)?;
    start.wait();
    running.join();
    start.stopped()
}
