//! `dsc bench`: measure this machine, and compare and report what was measured.

mod load;
mod proof;
mod results;
mod tables;

use super::Context;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Measure the proof engines beside naive ways and the limits of the hardware
    Proof(proof::Args),
    /// Measure latency and throughput as the paper did: each proof with 1 to 8 clients
    Tables(tables::Args),
    /// Send transactions to a running network and follow them onto the ledger
    Load(load::Args),
    /// Show what changed between two results of one machine
    Compare(results::Compare),
    /// Write results as Markdown, CSV or a chart
    Report(results::Report),
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Proof(args) => proof::run(args, context),
        Verb::Tables(args) => tables::run(args, context),
        Verb::Load(args) => load::run(args, context),
        Verb::Compare(args) => results::compare(args, context),
        Verb::Report(args) => results::report(args, context),
    }
}
