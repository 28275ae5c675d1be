//! `dsc bench load`: transactions on a running network, at full speed or at a fixed rate.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use dsc_lib::{
    genesis::Chain,
    keys::{PublicKey, SecretKey},
    role::pool::NextSequence,
    transaction::{PAYMENTS_MAX, TransactionId},
    units::{Amount, Height},
};
use rayon::prelude::*;
use serde_json::json;

use super::super::{
    Context,
    prepared::{self, Prepared},
    role::ChainArgs,
    watched::Watched,
};
use crate::{
    bench::{
        load::{self, Figures, Load, Outcome, Pace, Plan, Sender, Signed, Terms, Workload},
        machine::Machine,
        noise::Ticks,
        record::{self, Measured},
        usage::Meter,
    },
    clock::SystemClock,
    duration,
    exit::Failure,
    http::ClientError,
    network,
    output::note,
    role::{span, transport::Transport},
};

/// Heights within which a transaction must get onto the ledger; what the pool allows is more.
const LIFETIME: u64 = 50_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Clients; each pays from a published account of its own, on development networks only.
    /// Where there are several pools they are dealt out to them in turn
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=10)
    )]
    clients: u16,
    /// Transactions, all clients together
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=4_000_000)
    )]
    transactions: u32,
    /// Transactions in one request [default: 1000; with --rate what is due in 50 ms]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: Option<u32>,
    /// Requests of one client that are under way at once
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    in_flight: u16,
    /// Transactions a second, whatever the answers [default: as fast as they are answered]
    #[arg(long, value_name = "COUNT", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Send one transaction, wait until it is confirmed, pause at random for up to a block's time,
    /// and so on: latency at low load
    #[arg(long, conflicts_with = "rate")]
    wait: bool,
    /// Send no more after this time
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    time: Option<Duration>,
    /// Payments in each transaction
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    payments: u16,
    /// Recipients, in turn [default: another new address for every payment]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    recipients: Option<u64>,
    /// Send what `dsc wallet sign --out` prepared instead, each sender's by one client
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["transactions", "payments", "recipients", "fee", "seed"]
    )]
    file: Option<PathBuf>,
    /// Coins that each transaction gives the winner of its block
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    fee: Amount,
    /// Another seed pays other recipients
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Longest wait for anything to be confirmed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    /// Process of a server on this machine whose time and memory count; may be repeated
    #[arg(long = "pid", value_name = "NUMBER")]
    pids: Vec<u32>,
    /// Append the result to a file, one line of JSON each
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if rate.is_finite() && rate >= 0.001 { Ok(rate) } else { Err("expected 0.001 or more".into()) }
}

impl Args {
    fn options(&self, pools: usize) -> serde_json::Value {
        let [batch, in_flight] = self.width();
        json!({
            "clients": self.clients, "pools": pools, "batch": batch,
            "transactions": self.file.is_none().then_some(self.transactions),
            "in_flight": in_flight, "rate": self.rate, "wait": self.wait, "payments": self.payments,
            "recipients": self.recipients, "fee": self.fee,
            "time_ms": self.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    fn terms(&self, height: Height) -> Terms {
        Terms {
            expires: Height(height.0.saturating_add(LIFETIME)),
            fee: self.fee,
            payments: usize::from(self.payments).min(PAYMENTS_MAX),
            recipients: self.recipients,
            seed: self.seed,
        }
    }

    /// Transactions that can be sent: --time may end before all of them.
    fn count_max(&self, interval: Duration) -> usize {
        let all = self.transactions as usize;
        let Some(time) = self.time.filter(|_| self.wait) else { return all };
        // At least a tenth of an interval passes for each.
        let each = (10 * time.as_millis() / interval.as_millis().max(1)).max(2);
        usize::try_from(each).map_or(all, |each| all.min(each * usize::from(self.clients)))
    }

    fn pace(&self, interval: Duration) -> Pace {
        if self.wait {
            return Pace::Wait { pause: interval };
        }
        self.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second })
    }

    /// Transactions in a request, and requests of a client at once.
    fn width(&self) -> [usize; 2] {
        if self.wait {
            return [1, 1];
        }
        // What is due in 50 ms; a batch is large enough at 20,000 a second.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1000")]
        let of_rate = |rate: f64| (rate / 20.0).clamp(1.0, 1000.0) as usize;
        let batch = self.batch.map(|batch| batch as usize);
        let batch = batch.unwrap_or_else(|| self.rate.map_or(1000, of_rate));
        [batch, usize::from(self.in_flight)]
    }
}

pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let started = clock.unix();
    args.out.as_deref().map_or(Ok(()), record::check_appendable)?;
    let transport = Transport::from_config(&context.config)?;
    let chain = network::chain(args.chain.genesis.as_deref(), &transport.pool)?;
    if record::PROFILE == "debug" {
        note("this is a debug build: measure with `cargo build --release`");
    }
    let watched = Watched::new(context)?;
    let (workload, signed) = workload(args, &chain, &transport, &watched)?;
    let machine = Machine::here(&std::env::temp_dir());
    let [batch, in_flight] = args.width();
    let plan = Plan {
        pools: transport.pool.urls().collect(),
        blockchain: transport.blockchain.base(),
        workload: &workload,
        clients: workload.lanes().to_vec(),
        batch,
        in_flight,
        pace: args.pace(span(chain.genesis().interval)),
        time: args.time,
        patience: args.timeout,
    };
    let (own, servers) = (Meter::start(&[std::process::id()]), Meter::start(&args.pids));
    let ticks = Ticks::now(&args.pids);
    let outcome = load::run(&plan, &watched, &watched.shutdown)?;
    let usage = (own.stop(), (!args.pids.is_empty()).then(|| servers.stop()));
    let noise = ticks.and_then(|ticks| ticks.until_now(&args.pids));
    check(&outcome)?;
    if outcome.known > 0 {
        note(format_args!("{} transactions were on the ledger before", outcome.known));
    }
    let load = Load::new(outcome, u64::from(args.payments), signed, usage);
    let figures = Figures { options: args.options(transport.pool.count()), load };
    let measured = Measured::new(started, machine, noise, figures);
    if let Some(path) = &args.out {
        record::append(path, &measured)?;
    }
    context.output.document(&measured)
}

/// What is sent, and what signing took if that was now.
fn workload(
    args: &Args,
    chain: &Chain,
    transport: &Transport,
    watched: &Watched,
) -> Result<(Workload, Option<Signed>), Failure> {
    if let Some(path) = &args.file {
        let lanes = lanes(prepared::read(path, chain)?, usize::from(args.clients));
        return Ok((Workload::from_lanes(lanes), None));
    }
    network::require_development(chain, "`dsc bench load` with published accounts")?;
    let (senders, height) = senders(args, chain, transport)?;
    let clock = SystemClock::new();
    let workload = Workload::sign(&chain.hash(), &senders, args.terms(height), watched)?;
    let (transactions, seconds) = (workload.ids().len() as u64, clock.elapsed().as_secs_f64());
    Ok((workload, Some(Signed { transactions, seconds })))
}

/// One client's transactions, each with its id.
type Lane = Vec<(Vec<u8>, TransactionId)>;

/// Deals senders out to clients; a sender's transactions stay in the order of the file.
fn lanes(prepared: Vec<Prepared>, clients: usize) -> Vec<Lane> {
    let senders: Vec<_> = prepared.par_iter().map(|one| one.encoded.decode().sender).collect();
    let mut known: HashMap<PublicKey, usize> = HashMap::new();
    let mut lanes: Vec<Lane> = vec![Lane::new(); clients];
    for (sender, Prepared { id, encoded, .. }) in senders.into_iter().zip(prepared) {
        let next = known.len() % clients;
        let client = *known.entry(sender).or_insert(next);
        lanes[client].push((encoded.bytes().to_vec(), id));
    }
    lanes.retain(|lane| !lane.is_empty());
    lanes
}

/// The published accounts that pay, each with the sequence that the pool names, and the height.
fn senders(
    args: &Args,
    chain: &Chain,
    transport: &Transport,
) -> Result<(Vec<Sender>, Height), ClientError> {
    let clients = usize::from(args.clients);
    let transactions = args.count_max(span(chain.genesis().interval));
    let mut found = Vec::new();
    let mut last = Height(0);
    for (index, key) in (0..clients).filter_map(network::account_key).enumerate() {
        let NextSequence { sequence, height } = next(&key, transport)?;
        // What does not divide evenly goes to the first.
        let count = transactions / clients + usize::from(index < transactions % clients);
        found.push(Sender { key, sequence, count });
        last = last.max(height);
    }
    Ok((found, last))
}

fn next(key: &SecretKey, transport: &Transport) -> Result<NextSequence, ClientError> {
    transport.pool.get_json(&format!("/v1/accounts/{}", key.public().address()))
}

/// What the pool took has to be on the ledger, once each.
fn check(outcome: &Outcome) -> Result<(), Failure> {
    let Outcome { sent, accepted, confirmed, doubled, rejected, busy, known, .. } = outcome;
    if *doubled > 0 {
        let message = format!("{doubled} transactions are on the ledger more than once");
        return Err(Failure::corrupt("confirmed-twice", message)
            .with_hint("`dsc chain verify` checks every block"));
    }
    let refused: u64 = rejected.values().sum();
    let told = format!(
        "{sent} transactions were sent, {accepted} accepted, {confirmed} confirmed, {refused} \
         rejected; {busy} answers said that the pool is full"
    );
    if refused > 0 {
        let faults = serde_json::to_value(rejected).unwrap_or_default();
        let codes: Vec<_> = rejected.iter().map(|(code, n)| format!("{code} {n}")).collect();
        let message = format!("{told}; {}", codes.join(", "));
        return Err(Failure::rejected("transactions-rejected", message)
            .with_hint("`sequence-used`: another program pays from the same account, or did")
            .with_faults(json!([faults])));
    }
    if confirmed >= accepted && accepted + known >= *sent {
        return Ok(());
    }
    Err(Failure::outcome_unknown("not-confirmed", told)
        .with_hint("`dsc health` shows which role is missing; --timeout waits longer"))
}
