//! The figures of `dsc.bench.load/1`.

use serde::Serialize;
use serde_json::Value;

use super::Outcome;
use crate::bench::{
    record::Body,
    schema::{
        Better::{self, Higher, Lower},
        Figure, Schema, Section, Unit,
    },
    stats::{Samples, float},
    usage::Usage,
};

const fn figure(field: &'static str, label: &'static str, unit: Unit, better: Better) -> Figure {
    Figure { field, label, unit, better, baselines: &[], limit: None, list: None }
}

const LOAD: &[Figure] = &[
    figure("transactions", "transactions sent", Unit::Whole, Higher),
    figure("accepted", "transactions accepted", Unit::Whole, Higher),
    figure("confirmed", "transactions confirmed", Unit::Whole, Higher),
    figure("rejected", "transactions rejected", Unit::Whole, Lower),
    figure("known", "on the ledger before", Unit::Whole, Lower),
    figure("busy", "answers that the pool is full", Unit::Whole, Lower),
    figure("tx_per_second", "confirmed", Unit::PerSecond, Higher),
    figure("payments_per_second", "payments confirmed", Unit::PerSecond, Higher),
    figure("submit_tx_per_second", "accepted by the pool", Unit::PerSecond, Higher),
    figure("signed_per_second", "signed ahead of time", Unit::PerSecond, Higher),
    figure("latency_s.min", "sent to confirmed, least", Unit::Seconds, Lower),
    figure("latency_s.avg", "sent to confirmed, mean", Unit::Seconds, Lower),
    figure("latency_s.p50", "sent to confirmed, p50", Unit::Seconds, Lower),
    figure("latency_s.p99", "sent to confirmed, p99", Unit::Seconds, Lower),
    figure("latency_s.max", "sent to confirmed, most", Unit::Seconds, Lower),
    figure("answer_s.p50", "answer of the pool, p50", Unit::Seconds, Lower),
    figure("answer_s.p99", "answer of the pool, p99", Unit::Seconds, Lower),
    figure("load.cpu_us_per_tx", "processor time of the load, each", Unit::Microseconds, Lower),
    figure("servers.cpu_us_per_tx", "processor time of servers, each", Unit::Microseconds, Lower),
    figure("servers.peak_mib", "memory held by servers at most, MiB", Unit::Number, Lower),
];

/// The schema.
pub(crate) static SCHEMA: Schema = Schema {
    name: "dsc.bench.load/1",
    title: "Load on a network",
    work: &[
        "clients",
        "transactions",
        "batch",
        "in_flight",
        "rate",
        "wait",
        "payments",
        "recipients",
    ],
    sections: &[Section { field: "load", title: "Load", figures: LOAD }],
    grids: &[],
};

/// Least, mean, greatest and percentiles, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) avg: f64,
    pub(crate) max: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Spread {
    /// That of `seconds`, if there are any.
    pub(crate) fn of(seconds: Vec<f64>) -> Option<Self> {
        let samples = Samples::new(seconds)?;
        let [min, max] = samples.range();
        let [p50, p99] = samples.percentiles([50, 99]);
        Some(Self { min, avg: samples.mean(), max, p50, p99 })
    }
}

/// Processor time and memory of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    #[serde(flatten)]
    usage: Usage,
    cpu_s: f64,
    cpu_us_per_tx: f64,
}

impl Cost {
    pub(crate) fn new(usage: Usage, transactions: u64) -> Self {
        let cpu_s = usage.cpu_s();
        Self { usage, cpu_s, cpu_us_per_tx: 1e6 * cpu_s / float(transactions.max(1)) }
    }
}

/// What was signed ahead of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) transactions: u64,
    pub(crate) seconds: f64,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    transactions: u64,
    accepted: u64,
    confirmed: u64,
    /// Those that were on the ledger before.
    known: u64,
    /// By code.
    rejected: std::collections::BTreeMap<String, u64>,
    /// Transactions of others on the ledger meanwhile.
    foreign: u64,
    requests: u64,
    /// Answers that said the pool is full.
    busy: u64,
    blocks: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_per_second: Option<f64>,
    submit_s: f64,
    seconds: f64,
    submit_tx_per_second: f64,
    tx_per_second: f64,
    payments_per_second: f64,
    latency_s: Option<Spread>,
    answer_s: Option<Spread>,
    #[serde(rename = "load")]
    own: Cost,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Cost>,
}

impl Load {
    pub(crate) fn new(
        outcome: Outcome,
        payments: u64,
        signed: Option<Signed>,
        (own, servers): (Usage, Option<Usage>),
    ) -> Self {
        let rate = |count: u64, seconds: f64| float(count) / seconds.max(1e-9);
        let Outcome { sent, accepted, confirmed, foreign, requests, busy, blocks, .. } = outcome;
        let submit_s = outcome.submit_time.as_secs_f64();
        let seconds = outcome.time.as_secs_f64();
        Self {
            transactions: sent,
            accepted,
            confirmed,
            known: outcome.known,
            rejected: outcome.rejected,
            foreign,
            requests,
            busy,
            blocks,
            sign_s: signed.map(|signed| signed.seconds),
            signed_per_second: signed.map(|signed| rate(signed.transactions, signed.seconds)),
            submit_s,
            seconds,
            submit_tx_per_second: rate(accepted, submit_s),
            tx_per_second: rate(confirmed, seconds),
            payments_per_second: rate(confirmed * payments, seconds),
            latency_s: Spread::of(outcome.latencies),
            answer_s: Spread::of(outcome.answers),
            own: Cost::new(own, confirmed),
            servers: servers.map(|usage| Cost::new(usage, confirmed)),
        }
    }
}

/// A result of `dsc bench load`.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) options: Value,
    pub(crate) load: Load,
}

impl Body for Figures {
    const SCHEMA: &'static Schema = &SCHEMA;
}
