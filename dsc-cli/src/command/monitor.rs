//! `dsc monitor`: how the network stands, again and again.

use std::{fmt, time::Duration};

use dsc_lib::{proof::ProofKind, role::monitor::Report, units::Millis};
use serde::Serialize;

use super::{
    Context,
    role::{Listen, Start},
};
use crate::{
    duration,
    exit::Failure,
    node,
    output::{Document, note},
    role,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    listen: Listen,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    interval: Duration,
    /// Report once and end
    #[arg(long)]
    once: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
}

impl Document for Shown<'_> {
    const SCHEMA: &'static str = "dsc.monitor/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { chain, pool, metronome, faults, servers, .. } = self.report;
        if let Some(chain) = chain {
            let height = chain.height.map_or_else(|| "none".into(), |height| height.to_string());
            writeln!(f, "block {height}  {}  state {}", chain.tip, chain.state)?;
            writeln!(f, "{} addresses, {} coins", chain.accounts, chain.supply)?;
            if chain.equivocations > 0 {
                let heights = chain.equivocations;
                writeln!(f, "EQUIVOCATION: a metronome signed two blocks at {heights} heights")?;
            }
        }
        if let Some(pool) = pool {
            writeln!(f, "pool: {} submitted, {} unconfirmed", pool.submitted, pool.unconfirmed)?;
        }
        if let Some(fault) = metronome.as_ref().and_then(|status| status.fault.as_ref()) {
            writeln!(f, "METRONOME: {fault}")?;
        }
        if metronome.as_ref().is_some_and(|status| !status.running) {
            writeln!(f, "metronome: stopped, it makes no blocks")?;
        }
        for validator in metronome.iter().flat_map(|status| &status.validators) {
            let won = self.won(validator.kind, &validator.miner);
            let rate = per_second(validator.attempts, validator.spent);
            let (kind, id) = (validator.kind.name(), validator.miner.fingerprint);
            writeln!(f, "validator {id}  {kind:7} {rate:>12} tries/s  {won} blocks won")?;
        }
        servers.iter().try_for_each(|server| writeln!(f, "{server}"))?;
        faults.iter().try_for_each(|fault| writeln!(f, "no answer: {fault}"))
    }
}

impl Shown<'_> {
    fn won(&self, kind: ProofKind, miner: &dsc_lib::proof::Miner) -> u64 {
        let wins = self.report.chain.as_ref().map(|chain| &chain.wins);
        wins.and_then(|wins| wins.by_miner().get(&(kind, *miner)).copied()).unwrap_or(0)
    }
}

fn per_second(attempts: u64, spent: Millis) -> u64 {
    let scaled = u128::from(attempts) * 1000 / u128::from(spent.0.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let start = Start::new(context, "monitor")?;
    // One report is for whoever reads it here: it needs no port that somebody knows.
    let listen =
        if args.once { Listen { listen: ([127, 0, 0, 1], 0).into() } } else { args.listen.clone() };
    let socket = start.socket(&listen)?;
    let interval = Millis(u64::try_from(args.interval.as_millis()).unwrap_or(u64::MAX));
    let running = node::monitor(&start.host, socket, interval, start.transport.clone())?;
    if !args.once {
        start.listening(&running.url)?;
        note(format_args!("dashboard: {}/", running.url));
    }
    let (mut last, mut nobody) = (None, false);
    // One report is to have everybody in it.
    let servers = if args.once { role::monitor::servers::count(&start.transport) } else { 0 };
    while !start.host.shutdown.is_requested() {
        let is_new = |r: &&Report| Some(r.time) != last && r.servers.len() >= servers;
        let report = running.shared.lock().report().filter(is_new).cloned();
        if let Some(report) = report {
            last = Some(report.time);
            let Report { chain, pool, metronome, .. } = &report;
            nobody = chain.is_none() && pool.is_none() && metronome.is_none();
            if args.once && nobody {
                start.host.shutdown.request();
                break;
            }
            context.output.event(&Shown { report: &report })?;
            if args.once {
                start.host.shutdown.request();
            }
        }
        start.host.shutdown.sleep(Duration::from_millis(50));
    }
    running.join();
    if args.once && nobody {
        return Err(Failure::unreachable("cannot-connect", "no role answers")
            .with_hint("`dsc health` says why; `dsc dev` runs every role"));
    }
    Ok(())
}
