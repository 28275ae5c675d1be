//! The figures of `dsc.bench.tables/1`.

use crate::bench::schema::{
    Better::{self, Higher, Lower},
    Column, Figure, Grid, List, Schema, Section, Unit,
};

const KEYS: &[&str] = &["processes", "proof", "clients"];

const fn listed(
    list: &'static str,
    field: &'static str,
    label: &'static str,
    unit: Unit,
    better: Better,
) -> Figure {
    let list = Some(List { field: list, keys: KEYS });
    Figure { field, label, unit, better, baselines: &[], limit: None, list }
}

const fn signing(field: &'static str, label: &'static str, unit: Unit) -> Figure {
    Figure { field, label, unit, better: Higher, baselines: &[], limit: None, list: None }
}

const FIGURES: &[Figure] = &[
    listed("rows", "tx_per_second", "confirmed", Unit::PerSecond, Higher),
    listed("rows", "submit_tx_per_second", "submitted", Unit::PerSecond, Higher),
    listed("rows", "latency_s.min", "latency, least", Unit::Seconds, Lower),
    listed("rows", "latency_s.max", "latency, most", Unit::Seconds, Lower),
    listed("rows", "latency_s.avg", "latency, mean", Unit::Seconds, Lower),
    listed("rows", "latency_s.p50", "latency, p50", Unit::Seconds, Lower),
    listed("rows", "latency_s.p99", "latency, p99", Unit::Seconds, Lower),
    listed("rows", "cpu_s", "processor time", Unit::Seconds, Lower),
    listed("rows", "servers_cpu_us_per_tx", "servers, each", Unit::Microseconds, Lower),
    listed("rows", "blocks", "blocks", Unit::Whole, Lower),
    listed("rows", "rejected", "rejected", Unit::Whole, Lower),
    listed("rows", "peak_mib", "memory, MiB", Unit::Number, Lower),
    listed("single", "tx_per_second", "confirmed, one a request", Unit::PerSecond, Higher),
    listed("send_many", "payments_per_second", "payments, 256 each", Unit::PerSecond, Higher),
    signing("signing.transactions", "signed ahead of time", Unit::Whole),
    signing("signing.seconds", "signing took", Unit::Seconds),
    signing("signing.signed_per_second", "signed a second, all cores", Unit::PerSecond),
    signing("signing.live_bound", "fastest row over that rate", Unit::Times),
    signing("complete", "every row was measured", Unit::Flag),
    signing("supply_ok", "supply as issued in every row", Unit::Flag),
];

const fn column(field: &'static str, label: &'static str, unit: Unit) -> Column {
    Column { field, label, unit }
}

/// The paper's columns in its order, then ours.
const COLUMNS: &[Column] = &[
    column("clients", "clients", Unit::Whole),
    column("latency_s.min", "min, s", Unit::Plain),
    column("latency_s.max", "max, s", Unit::Plain),
    column("latency_s.avg", "avg, s", Unit::Plain),
    column("tx_per_second", "tx/s", Unit::Whole),
    column("latency_s.p50", "p50, s", Unit::Plain),
    column("latency_s.p99", "p99, s", Unit::Plain),
    column("submit_tx_per_second", "submitted/s", Unit::Whole),
    column("load_latency_s.p99", "p99 at load, s", Unit::Plain),
    column("proof_s", "time to proof, s", Unit::Plain),
    column("blocks", "blocks", Unit::Whole),
    column("rejected", "rejected", Unit::Whole),
    column("cpu_s", "CPU, s", Unit::Number),
    column("servers_cpu_us_per_tx", "servers, us each", Unit::Number),
    column("peak_mib", "peak, MiB", Unit::Whole),
    column("paper_tx_per_second", "paper, tx/s (its range)", Unit::Plain),
];

const SINGLE: &[Column] = &[
    column("clients", "clients", Unit::Whole),
    column("tx_per_second", "tx/s", Unit::Whole),
    column("submit_tx_per_second", "submitted/s", Unit::Whole),
    column("load_latency_s.p50", "p50 at load, s", Unit::Plain),
    column("load_latency_s.p99", "p99 at load, s", Unit::Plain),
    column("blocks", "blocks", Unit::Whole),
    column("cpu_s", "CPU, s", Unit::Number),
    column("servers_cpu_us_per_tx", "servers, us each", Unit::Number),
    column("peak_mib", "peak, MiB", Unit::Whole),
];

const MANY: &[Column] = &[
    column("clients", "clients", Unit::Whole),
    column("payments_per_second", "payments/s", Unit::Whole),
    column("tx_per_second", "tx/s", Unit::Whole),
    column("blocks", "blocks", Unit::Whole),
    column("cpu_s", "CPU, s", Unit::Number),
    column("peak_mib", "peak, MiB", Unit::Whole),
];

/// The schema.
pub(crate) static SCHEMA: Schema = Schema {
    name: "dsc.bench.tables/1",
    title: "The paper's tables",
    work: &["transactions", "interval_ms", "validators", "batch", "in_flight"],
    sections: &[Section { field: "", title: "Signing and supply", figures: FIGURES }],
    grids: &[
        Grid { list: "rows", title: "Latency and throughput", columns: COLUMNS },
        Grid { list: "single", title: "One transaction a request", columns: SINGLE },
        Grid { list: "send_many", title: "256 payments under one signature", columns: MANY },
    ],
};
