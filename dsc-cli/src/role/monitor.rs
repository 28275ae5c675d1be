//! The monitor over HTTP: what the roles said last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use dsc_lib::role::monitor::{Monitor, Report};
use futures_util::{Stream, stream};

use super::Shared;
use crate::{
    http::{
        Check, Json, Limits, Problem, Site,
        openapi::{Group, Operation, Outline, Routes},
    },
    shutdown::Shutdown,
};

type Server = Arc<Shared<Monitor>>;

/// The routes of a monitor.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let ready = server.clone();
    Site::of(outline().with_state(server), limits, shutdown, None).ready(move || checks(&ready))
}

/// Every route, and what each is for.
pub(crate) fn outline() -> Outline<Server> {
    let report_ = Operation::new("report", "What the roles said last")
        .json::<Report>("How the network stands.")
        .fault(503, "not-ready", "the roles were not asked yet");
    let events_ = Operation::new("events", "Every report as it is made")
        .about(
            "A stream that ends when this server does. The id of an event is the time of its report, \
             the data the report as `/v1/report` answers it; a comment is sent when nothing happens \
             for long.",
        )
        .text("text/event-stream", "Server-sent events.");
    Outline::new("monitor", ABOUT)
        .add(Group::Quick, Routes::new().get("/v1/report", report, report_))
        .add(Group::Waiting, Routes::new().get("/v1/events", events, events_))
}

const ABOUT: &str = "Asks every role how it stands. Port 7700 unless told otherwise.";

fn checks(server: &Shared<Monitor>) -> Vec<Check> {
    let faults = server.lock().report().map(|report| report.faults.clone());
    let faults = faults.unwrap_or_else(|| vec!["nobody was asked yet".into()]);
    vec![Check { name: "roles", ok: faults.is_empty(), detail: faults.join("; ") }]
}

async fn report(State(server): State<Server>) -> Result<Json<Report>, Problem> {
    let report = server.lock().report().cloned();
    let missing = || Problem::unavailable("not-ready", "the roles were not asked yet");
    report.map(Json).ok_or_else(missing)
}

/// Every report as it is made; the id of an event is its time.
async fn events(
    State(server): State<Server>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let reports = stream::unfold((server, None), |(server, last)| async move {
        let newer = |monitor: &mut Monitor| {
            monitor.report().filter(|report| Some(report.time) != last).cloned()
        };
        let report = server.until(Duration::from_secs(3600), newer).await?;
        let event = Event::default().id(report.time.to_string()).json_data(&report).ok()?;
        Some((Ok(event), (server, Some(report.time))))
    });
    Sse::new(reports).keep_alive(KeepAlive::default())
}
