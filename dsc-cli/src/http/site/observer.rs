//! What every role says of itself: probes, figures, and problems where something went wrong inside.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Bytes, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use serde::Serialize;

use super::{Check, Figures, Ready};
use crate::{
    http::{
        Json, Problem,
        openapi::{Document, Operation, Routes, describe},
        problem::MEDIA_TYPE,
    },
    metrics::{self, Requests, Sort},
};

const DETAIL_BYTES_MAX: usize = 1 << 10;
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// What a site knows of itself, and counts.
pub(in crate::http) struct Observer {
    pub(super) role: &'static str,
    pub(super) ready: Ready,
    pub(super) figures: Figures,
    pub(super) description: Bytes,
    pub(super) requests: Requests,
}

/// Times requests, and turns whatever goes wrong inside into a problem.
pub(super) async fn observe(
    State(observer): State<Arc<Observer>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    // A path that nobody serves is the client's choice: all of them count together.
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = if let Ok(response) = answered {
        normalised(response).await
    } else {
        tracing::error!(%route, "a handler panicked");
        Problem::internal("the handler of this request failed").into_response()
    };
    observer.requests.observe(route, response.status().as_u16(), started.elapsed());
    response
}

/// Rewrites an error that a library answered as text.
async fn normalised(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes() == MEDIA_TYPE.as_bytes());
    if !is_error || is_problem {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = to_bytes(body, DETAIL_BYTES_MAX).await.unwrap_or_default();
    let detail = String::from_utf8_lossy(&text).into_owned();
    let mut problem = Problem::from_status(status, detail).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER, header::CONNECTION] {
        copy(&head.headers, problem.headers_mut(), &name);
    }
    problem
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, name: &header::HeaderName) {
    if let Some(value) = from.get(name) {
        to.insert(name, HeaderValue::clone(value));
    }
}

/// What every role serves beside its own routes.
pub(in crate::http) fn probes() -> Routes<Arc<Observer>> {
    let alive = Operation::new("alive", "Whether the process answers").json::<Alive>("It does.");
    let ready = Operation::new("ready", "Whether the role can do its work")
        .about("For load balancers and scripts that wait: what the role depends on, one by one.")
        .json::<Readiness>("Every check holds.")
        .fault(503, "not-ready", "a check does not hold; `detail` names it");
    let metrics = Operation::new("metrics", "Figures for Prometheus")
        .text(METRICS_TYPE, "The text format of Prometheus, version 0.0.4.");
    let openapi = Operation::new("openapi", "This description").json::<Document>("OpenAPI 3.1.");
    Routes::new()
        .probe("/healthz", healthz, alive)
        .probe("/readyz", readyz, ready)
        .probe("/metrics", figures, metrics)
        .get("/openapi.json", description, openapi)
}

pub(super) async fn unknown_path(request: Request) -> Problem {
    Problem::not_found("unknown-path", format_args!("there is no {}", request.uri().path()))
}

#[derive(Serialize)]
struct Alive {
    schema: &'static str,
    status: &'static str,
    role: &'static str,
    version: &'static str,
}

describe! { answered Alive as "Alive": "A process that answers." {
    schema: "`dsc.alive/1`.",
    status: "`alive`.",
    role: "The role it runs.",
    version: "The version of the program.",
}}

describe! { answered Check as "Check": "One condition of readiness." {
    name: "What is checked, such as `blockchain`.",
    ok: "Whether it holds.",
    detail: "What was found, for people.",
}}

describe! { answered Readiness as "Readiness": "A role that can do its work." {
    schema: "`dsc.ready/1`.",
    ready: "`true`.",
    checks: "Every condition.",
}}

async fn description(State(observer): State<Arc<Observer>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], observer.description.clone()).into_response()
}

async fn healthz(State(observer): State<Arc<Observer>>) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Json(Alive { schema: "dsc.alive/1", status: "alive", role: observer.role, version })
        .into_response()
}

/// Asks a role, which may be busy, without holding up a thread that serves connections.
async fn aside<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.map_err(|_| Problem::internal("the handler of this request failed"))
}

#[derive(Serialize)]
struct Readiness {
    schema: &'static str,
    ready: bool,
    checks: Vec<Check>,
}

async fn readyz(State(observer): State<Arc<Observer>>) -> Response {
    let role = observer.role;
    let checks = match aside(move || (observer.ready)()).await {
        Ok(checks) => checks,
        Err(problem) => return problem.into_response(),
    };
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("{}: {}", check.name, check.detail))
        .collect();
    if failed.is_empty() {
        return Json(Readiness { schema: "dsc.ready/1", ready: true, checks }).into_response();
    }
    let detail = format!("the {role} is not ready: {}", failed.join("; "));
    Problem::unavailable("not-ready", detail)
        .with_retry_after(Duration::from_secs(1))
        .into_response()
}

async fn figures(State(observer): State<Arc<Observer>>) -> Response {
    let text = match aside(move || observer.exposition()).await {
        Ok(text) => text,
        Err(problem) => return problem.into_response(),
    };
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()
}

impl Observer {
    /// The figures in the text format of Prometheus.
    fn exposition(&self) -> String {
        let mut text = String::new();
        let info = [("role", self.role), ("version", env!("CARGO_PKG_VERSION"))];
        metrics::family(&mut text, "dsc_build_info", Sort::Gauge, "The program that runs.");
        metrics::sample(&mut text, "dsc_build_info", &info, 1);
        let about = "Whether a condition of readiness holds, as /readyz tells.";
        metrics::family(&mut text, "dsc_ready", Sort::Gauge, about);
        for Check { name, ok, .. } in (self.ready)() {
            let labels = [("role", self.role), ("check", name)];
            metrics::sample(&mut text, "dsc_ready", &labels, u8::from(ok));
        }
        self.requests.write(&mut text, self.role);
        (self.figures)(&mut text);
        text
    }
}
