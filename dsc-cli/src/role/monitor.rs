//! The monitor over HTTP: what the roles said last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use dsc_lib::role::monitor::{Monitor, Report};
use futures_util::{Stream, stream};

use super::Shared;
use crate::{
    http::{Check, Json, Limits, Problem, Site},
    shutdown::Shutdown,
};

type Server = Arc<Shared<Monitor>>;

/// The routes of a monitor.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let quick = Router::new().route("/v1/report", get(report)).with_state(server.clone());
    let waiting = Router::new().route("/v1/events", get(events)).with_state(server.clone());
    let ready = server.clone();
    Site::new("monitor", limits.clone(), shutdown.clone())
        .routes(quick)
        .waiting(waiting)
        .ready(move || checks(&ready))
}

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
