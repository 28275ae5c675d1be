//! An entry that no server can ever read, given up: the way on where all of them wait for it.

use std::fmt;

use dsc_lib::cluster::Position;

use super::super::{Context, role::ChainArgs};
use crate::{
    engine::{
        Settings,
        nats::give_up::{self, GivenUp},
    },
    exit::Failure,
    http::Client,
    network,
    output::Document,
};

#[derive(Debug, clap::Args)]
pub(super) struct GiveUp {
    /// Where the entry is in the log of blocks: blockchain servers say at which position they wait
    #[arg(long, value_name = "NUMBER")]
    position: u64,
    /// Give it up although a server has read it, which is gone for good
    #[arg(long)]
    even_if_read: bool,
    #[command(flatten)]
    chain: ChainArgs,
}

impl Document for GivenUp {
    const SCHEMA: &'static str = "dsc.engine.give-up/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, pieces, bytes } = self;
        writeln!(f, "gave up position {position}: {bytes} bytes in {pieces} pieces; it is no block")
    }
}

pub(super) fn run(
    args: &GiveUp,
    settings: &Settings,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let client = Client::of_role("blockchain", &context.config)?;
    let chain = network::chain(args.chain.genesis.as_deref(), &client)?;
    let position = Position(args.position);
    let given_up = give_up::give_up(settings, &chain, position, args.even_if_read)?;
    context.output.document(&given_up)
}
