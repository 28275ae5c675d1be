//! One row: a network, latency at low load, everything at once, and a look at the ledger.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    time::Duration,
};

use dsc_lib::transaction::{PAYMENTS_MAX, TransactionId};
use serde::Serialize;

use super::{
    Bench, PAPER,
    audit::audit,
    network::{Layout, Network, Processes},
};
use crate::{
    bench::{
        load::{self, Outcome, Pace, Plan, Spread, Workload},
        stats::float,
        usage::{Meter, Usage},
    },
    exit::Failure,
};

/// Payments in a transaction of the rows that measure them.
pub(super) const MANY: usize = PAYMENTS_MAX;
/// Requests of all clients under way at once where each holds one transaction.
const SINGLE_IN_FLIGHT: usize = 64;
/// Longest wait for anything to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured of one network.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    processes: Processes,
    proof: &'static str,
    clients: usize,
    transactions: u64,
    confirmed: u64,
    tx_per_second: f64,
    /// Until the pool has answered the last of them.
    submit_tx_per_second: f64,
    payments_per_second: f64,
    /// From sending to confirmed, one transaction after the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_s: Option<Spread>,
    /// How many transactions that is of.
    latencies: usize,
    /// From sending to confirmed while everything was sent at once.
    load_latency_s: Option<Spread>,
    /// Blocks from the first transaction of the throughput to the last.
    blocks: u64,
    /// Blocks that a proof won, of all of the row's.
    won: u64,
    /// Of servers and clients.
    cpu_s: f64,
    /// Of servers and clients, each at its most.
    peak_mib: f64,
    servers_cpu_us_per_tx: f64,
    servers_peak_mib: f64,
    load_cpu_us_per_tx: f64,
    rejected: BTreeMap<String, u64>,
    /// Answers that the pool is full.
    busy: u64,
    /// Mean time that a validator spent on a round.
    proof_s: Option<f64>,
    seconds: f64,
    batch: usize,
    in_flight: usize,
    paper_tx_per_second: &'static str,
}

impl Row {
    pub(super) fn tx_per_second(&self) -> f64 {
        self.tx_per_second
    }
}

/// How a row is sent.
#[derive(Clone, Copy)]
struct Shape {
    clients: usize,
    transactions: usize,
    payments: u64,
    batch: usize,
    in_flight: usize,
    latency: bool,
}

/// A row of the tables.
pub(super) fn full(
    bench: &Bench<'_>,
    layout: Layout<'_>,
    workload: &Workload,
    clients: usize,
) -> Result<Row, Failure> {
    let options = bench.options;
    let (batch, in_flight, transactions) = (options.batch, options.in_flight, options.transactions);
    let shape = Shape { clients, transactions, payments: 1, batch, in_flight, latency: true };
    measure(bench, layout, workload, shape)
}

/// One transaction a request.
pub(super) fn single(
    bench: &Bench<'_>,
    layout: Layout<'_>,
    workload: &Workload,
    clients: usize,
) -> Result<Row, Failure> {
    let (transactions, in_flight) =
        (bench.options.transactions, SINGLE_IN_FLIGHT.div_ceil(clients));
    let shape = Shape { clients, transactions, payments: 1, batch: 1, in_flight, latency: false };
    measure(bench, layout, workload, shape)
}

/// As many payments under one signature as there may be.
pub(super) fn send_many(
    bench: &Bench<'_>,
    layout: Layout<'_>,
    workload: &Workload,
    clients: usize,
) -> Result<Row, Failure> {
    let (transactions, in_flight) = (bench.options.many_transactions(), bench.options.in_flight);
    let (payments, batch) = (MANY as u64, bench.options.batch.div_ceil(MANY).max(16));
    let shape = Shape { clients, transactions, payments, batch, in_flight, latency: false };
    measure(bench, layout, workload, shape)
}

fn measure(
    bench: &Bench<'_>,
    layout: Layout<'_>,
    workload: &Workload,
    shape: Shape,
) -> Result<Row, Failure> {
    let made = tempfile::Builder::new().prefix("row-").tempdir_in(bench.folder);
    let folder = made.map_err(|error| Failure::file("make a folder in", bench.folder, &error))?;
    let network = Network::start(layout, folder.path(), bench.shutdown)?;
    let site = Site { bench, network: &network, workload };
    let latency = if shape.latency { Some(site.latency(shape.clients)?) } else { None };
    let sent = |client: usize| latency.as_ref().map_or(0, |outcome| outcome.sent_by[client]);
    let ranges = ranges(workload, shape, sent);
    let (load, [servers, own]) = site.throughput(ranges, shape)?;
    let proof_s = network.proof_seconds();
    let ledger = network.kill();
    let confirmed = [latency.as_ref(), Some(&load)].into_iter().flatten();
    let confirmed: HashSet<TransactionId> =
        confirmed.flat_map(|outcome| outcome.seen.iter().map(|&i| workload.ids()[i])).collect();
    let won = audit(&ledger, &bench.chain, &confirmed)?.won;
    require_all(&load)?;
    Ok(Row::new(layout, shape, latency, load, [servers, own], won, proof_s))
}

/// Each client's part: one sender, from the first that it has not sent yet.
fn ranges(workload: &Workload, shape: Shape, sent: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let part = |client: usize| {
        let (clients, transactions) = (shape.clients, shape.transactions);
        let count = transactions / clients + usize::from(client < transactions % clients);
        let start = workload.lanes()[client].start + sent(client);
        start..start + count
    };
    (0..shape.clients).map(part).collect()
}

/// Every transaction has to be taken and confirmed.
fn require_all(load: &Outcome) -> Result<(), Failure> {
    let Outcome { sent, confirmed, rejected, .. } = load;
    if confirmed == sent && load.doubled == 0 {
        return Ok(());
    }
    let message = format!(
        "{confirmed} of {sent} transactions of a row are confirmed, rejected: {rejected:?}"
    );
    Err(Failure::outcome_unknown("not-confirmed", message)
        .with_hint("a row counts only if all of its transactions are confirmed"))
}

/// A network under load.
struct Site<'a> {
    bench: &'a Bench<'a>,
    network: &'a Network,
    workload: &'a Workload,
}

impl Site<'_> {
    /// Each client sends one transaction, waits for it, pauses, and so on.
    fn latency(&self, clients: usize) -> Result<Outcome, Failure> {
        let options = self.bench.options;
        let part = |lane: &Range<usize>| lane.start..lane.start + options.latency_count();
        let lanes = self.workload.lanes().iter().take(clients);
        let pause = Duration::from_millis(options.interval_ms);
        let plan = Plan {
            clients: lanes.map(part).collect(),
            batch: 1,
            in_flight: 1,
            pace: Pace::Wait { pause },
            time: Some(Duration::from_millis(options.latency_ms)),
            ..self.plan()
        };
        let outcome = load::run(&plan, self.bench.progress, self.bench.shutdown)?;
        require_all(&outcome)?;
        Ok(outcome)
    }

    /// Everything without waiting; with what the servers and this process took.
    fn throughput(
        &self,
        clients: Vec<Range<usize>>,
        shape: Shape,
    ) -> Result<(Outcome, [Usage; 2]), Failure> {
        let Shape { batch, in_flight, .. } = shape;
        let plan = Plan { clients, batch, in_flight, ..self.plan() };
        let meters = [self.network.processes(), vec![std::process::id()]];
        let meters = meters.map(|processes| Meter::start(&processes));
        let outcome = load::run(&plan, self.bench.progress, self.bench.shutdown)?;
        Ok((outcome, meters.map(|meter| meter.stop())))
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            pools: vec![&self.network.pool],
            blockchain: &self.network.blockchain,
            workload: self.workload,
            clients: Vec::new(),
            batch: 1,
            in_flight: 1,
            pace: Pace::Closed,
            time: None,
            patience: PATIENCE,
        }
    }
}

impl Row {
    fn new(
        layout: Layout<'_>,
        shape: Shape,
        latency: Option<Outcome>,
        load: Outcome,
        [servers, own]: [Usage; 2],
        won: u64,
        proof_s: Option<f64>,
    ) -> Self {
        let latencies = latency.map(|outcome| outcome.latencies).unwrap_or_default();
        let (seconds, submit_s) = (load.time.as_secs_f64(), load.submit_time.as_secs_f64());
        let rate = |count: u64, seconds: f64| float(count) / seconds.max(1e-9);
        let each = |usage: Usage| 1e6 * usage.cpu_s() / float(load.confirmed.max(1));
        Self {
            processes: layout.processes,
            proof: layout.proof.name(),
            clients: shape.clients,
            transactions: load.sent,
            confirmed: load.confirmed,
            tx_per_second: rate(load.confirmed, seconds),
            submit_tx_per_second: rate(load.accepted, submit_s),
            payments_per_second: rate(load.confirmed * shape.payments, seconds),
            latencies: latencies.len(),
            latency_s: Spread::of(latencies),
            blocks: load.blocks,
            won,
            cpu_s: servers.cpu_s() + own.cpu_s(),
            peak_mib: servers.peak_mib + own.peak_mib,
            servers_cpu_us_per_tx: each(servers),
            servers_peak_mib: servers.peak_mib,
            load_cpu_us_per_tx: each(own),
            load_latency_s: Spread::of(load.latencies),
            rejected: load.rejected,
            busy: load.busy,
            proof_s,
            seconds,
            batch: shape.batch,
            in_flight: shape.in_flight,
            paper_tx_per_second: PAPER,
        }
    }
}
