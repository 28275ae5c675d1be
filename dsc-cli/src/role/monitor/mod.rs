//! The monitor over HTTP: what the roles said, an hour of it, and the ledger for people to look at.
//!
//! # Invariants
//!
//! 1. A page needs no other server than this one, and no other origin.
//! 2. Whatever is asked here costs the roles a bounded number of requests at a time.

mod describe;
mod events;
mod explorer;
mod pages;
pub(crate) mod servers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{extract::State, response::Response};
use dsc_lib::{
    address::Prefix,
    hash::Digest,
    role::monitor::{BlockRow, Figures, Monitor, Report, Row, Sample},
};
use serde::{Serialize, Serializer};
use tokio::sync::Semaphore;

use self::explorer::Explorer;
use super::{Shared, transport::Transport};
use crate::{
    http::{
        Check, Json, Limits, Problem, Room, Site,
        openapi::{Group, Operation, Outline, Routes, describe},
    },
    shutdown::Shutdown,
};

/// A monitor, and whom it asks for more.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared<Monitor>>,
    explorer: Arc<Explorer>,
    /// Event streams that there may still be.
    streams: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(shared: Arc<Shared<Monitor>>, roles: Transport, limits: &Limits) -> Self {
        // Streams last: they leave half of the connections to those who ask.
        let streams = Arc::new(Semaphore::new(limits.connections_max.div_ceil(2)));
        Self { shared, explorer: Arc::new(Explorer::new(roles)), streams }
    }
}

/// The routes of a monitor.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let (ready, figures) = (server.shared.clone(), server.shared.clone());
    Site::of(outline().with_state(server), limits, shutdown, None)
        .ready(move || checks(&ready))
        .metrics(move |text| servers::write_figures(&figures, text))
}

const ABOUT: &str = "Asks every role how it stands, remembers an hour of it, and serves the dashboard \
    and explorer: all that the page needs. Port 7700 unless told otherwise. Addresses are text here.";

/// Every route, and what each is for.
pub(crate) fn outline() -> Outline<Server> {
    let report_ = Operation::new("report", "What the roles said last")
        .json::<Report>("How the network stands.")
        .fault(503, "not-ready", "the roles were not asked yet");
    let history_ = Operation::new("history", "The last hour")
        .json::<HistoryPage>("Samples, and the last blocks and transactions.");
    let quick =
        Routes::new().get("/v1/report", report, report_).get("/v1/history", history, history_);
    Outline::new("monitor", ABOUT)
        .add(Group::Quick, explorer::add(quick))
        .add(Group::Waiting, Routes::new().get("/v1/events", events::events, events::described()))
}

fn checks(server: &Shared<Monitor>) -> Vec<Check> {
    let faults = server.lock().report().map(|report| report.faults.clone());
    let faults = faults.unwrap_or_else(|| vec!["nobody was asked yet".into()]);
    vec![Check { name: "roles", ok: faults.is_empty(), detail: faults.join("; ") }]
}

async fn report(State(server): State<Server>) -> Result<Json<Report>, Problem> {
    let report = server.shared.with(|monitor| monitor.report().cloned()).await?;
    let missing = || Problem::unavailable("not-ready", "the roles were not asked yet");
    report.map(Json).ok_or_else(missing)
}

/// Something that many answers share.
#[derive(Debug)]
struct Held<T>(Arc<T>);

impl<T: Serialize> Serialize for Held<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn held<'a, T: 'a>(all: impl Iterator<Item = &'a Arc<T>>) -> Vec<Held<T>> {
    all.map(|one| Held(Arc::clone(one))).collect()
}

/// The last hour.
#[derive(Debug, Serialize)]
struct HistoryPage {
    schema: &'static str,
    network: Option<String>,
    chain: Option<Digest>,
    development: Option<bool>,
    id: String,
    samples: Vec<Held<Figures>>,
    now: Option<Held<Sample>>,
    blocks: Vec<Held<BlockRow>>,
    recent: Vec<Row>,
}

describe! { answered HistoryPage as "History": "The last hour." {
    schema: "`dsc.monitor.history/1`.",
    network: "Name of the network; null until the blockchain server has answered.",
    chain: "Hash of the genesis; null until the blockchain server has answered.",
    development: "Whether it is a development network; null until the blockchain server has answered.",
    id: "Id of the last event that is in this; `/v1/events?after=ID` goes on from it.",
    samples: "Figures of each look, oldest first: at most 3,600.",
    now: "The newest look, with the validators; null before the first.",
    blocks: "Blocks, newest first: at most 60.",
    recent: "Some of the transactions that came lately, newest first: at most 50.",
}}

impl HistoryPage {
    fn new(monitor: &Monitor) -> Self {
        let history = monitor.history();
        Self {
            schema: "dsc.monitor.history/1",
            network: history.network().map(str::to_owned),
            chain: history.chain(),
            development: history.prefix().map(|prefix| prefix == Prefix::Development),
            id: history.last().to_string(),
            samples: held(history.samples()),
            now: history.now().map(|now| Held(Arc::clone(now))),
            blocks: held(history.blocks()),
            recent: history.recent().to_vec(),
        }
    }
}

async fn history(State(server): State<Server>, room: Room) -> Result<Response, Problem> {
    let page = server.shared.with(|monitor| HistoryPage::new(monitor)).await?;
    room.json(move || Ok(page)).await
}
