//! `dsc pool`: hold transactions until the ledger has them.

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
    #[arg(long)]
    faucet: bool,
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let start = Start::new(context, "pool")?;
    let socket = start.socket(&args.listen)?;
    let (genesis, shutdown) = (args.chain.genesis.as_deref(), &start.host.shutdown);
    let chain = network::chain_when_up(genesis, &start.transport.blockchain, shutdown)?;
    if args.faucet {
        network::require_development(&chain, "a faucet")?;
    }
    let faucet = args.faucet.then(network::faucet_key);
    let transport = start.transport.clone();
    let running = node::pool(&start.host, socket, &start.folder(), chain, faucet, transport)?;
    start.listening(&running.url)?;
    start.wait();
    running.join();
    start.stopped()
}
