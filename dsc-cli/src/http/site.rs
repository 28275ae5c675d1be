//! The routes of a role, with everything that every route needs around them.
//!
//! # Invariants
//!
//! 1. A handler starts when the whole body is there, so a slow client costs a buffer and no work;
//!    on streaming routes it reads on itself, within the same bounds of size and time.
//! 2. Bodies in memory are bounded over all connections, not only each.
//! 3. A handler that panics answers 500 and harms nobody else.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, StreamExt};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Json, Limits, Problem, Token, admin,
    inflow::{Allowance, linger, too_large},
    openapi::{Group, Operation, Outline, Routes, describe},
    problem::MEDIA_TYPE,
    room::Answers,
};
use crate::{
    metrics::{self, Requests, Sort},
    shutdown::Shutdown,
};

const DETAIL_BYTES_MAX: usize = 1 << 10;
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// One condition of readiness.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is checked, such as `blockchain`.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found, for people.
    pub detail: String,
}

type Ready = Arc<dyn Fn() -> Vec<Check> + Send + Sync>;
type Figures = Arc<dyn Fn(&mut String) + Send + Sync>;

/// The routes of one role.
pub struct Site {
    role: &'static str,
    limits: Limits,
    shutdown: Shutdown,
    memory: Arc<Semaphore>,
    answers: Arc<Answers>,
    ready: Ready,
    figures: Figures,
    description: Bytes,
    router: Router,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Site {
    /// A site of `role` with health and metrics only, always ready.
    pub fn new(role: &'static str, limits: Limits, shutdown: Shutdown) -> Self {
        let memory_kib = limits.memory_bytes_max().div_ceil(1024).min(Semaphore::MAX_PERMITS);
        Self {
            role,
            answers: Answers::new(&limits),
            limits,
            shutdown,
            memory: Arc::new(Semaphore::new(memory_kib)),
            ready: Arc::new(Vec::new),
            figures: Arc::new(|_| {}),
            description: Bytes::new(),
            router: Router::new(),
        }
    }

    /// A site of the routes of a role; `token` opens the administrative ones from elsewhere.
    pub fn of(
        outline: Outline,
        limits: &Limits,
        shutdown: &Shutdown,
        token: Option<&Token>,
    ) -> Self {
        let mut site = Self::new(outline.role(), limits.clone(), shutdown.clone());
        site.description = Bytes::from(outline.description().to_string());
        for (group, routes) in outline.into_groups() {
            site = match group {
                Group::Quick => site.routes(routes),
                Group::Bulk => site.bulk(routes),
                Group::Streaming => site.streaming(routes),
                Group::Waiting => site.waiting(routes),
                Group::Admin => site.admin(routes, token.cloned()),
            };
        }
        site
    }

    /// Adds routes with small bodies and quick answers.
    #[must_use]
    pub fn routes(self, routes: Router) -> Self {
        let bytes_max = self.limits.body_bytes_max;
        self.bounded(routes, bytes_max)
    }

    /// Adds routes whose bodies hold many transactions or a block.
    #[must_use]
    pub fn bulk(self, routes: Router) -> Self {
        let bytes_max = self.limits.bulk_bytes_max;
        self.bounded(routes, bytes_max)
    }

    /// Adds routes that read bulk bodies while they come in, by [`Inflow`](super::Inflow).
    #[must_use]
    pub fn streaming(mut self, routes: Router) -> Self {
        let Limits { bulk_bytes_max: bytes_max, body_time, .. } = self.limits;
        let allowance = Allowance { bytes_max, body_time };
        self.router = self.router.merge(routes.layer(from_fn_with_state(allowance, flow)));
        self
    }

    /// Adds routes that wait for something to happen, or answer a stream; both end at shutdown.
    #[must_use]
    pub fn waiting(mut self, routes: Router) -> Self {
        let bytes_max = self.limits.body_bytes_max;
        let bounds = self.bounds(bytes_max, self.limits.wait_time);
        self.router = self.router.merge(routes.layer(from_fn_with_state(bounds, wait)));
        self
    }

    /// Adds administrative verbs: for this machine, or with `token`.
    #[must_use]
    pub fn admin(self, routes: Router, token: Option<Token>) -> Self {
        self.routes(routes.layer(from_fn_with_state(token, admin::guard)))
    }

    /// Sets the conditions of readiness; `check` is called often; it may wait for a lock.
    #[must_use]
    pub fn ready(mut self, check: impl Fn() -> Vec<Check> + Send + Sync + 'static) -> Self {
        self.ready = Arc::new(check);
        self
    }

    /// Adds figures to `/metrics`; `write` appends lines; it may wait for a lock.
    #[must_use]
    pub fn metrics(mut self, write: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        self.figures = Arc::new(write);
        self
    }

    /// The finished router, for [`serve`](super::serve).
    pub fn into_router(self) -> Router {
        let observer = Arc::new(Observer {
            role: self.role,
            ready: Arc::clone(&self.ready),
            figures: Arc::clone(&self.figures),
            description: self.description.clone(),
            requests: Requests::default(),
        });
        let probes = probes().with_state(Arc::clone(&observer)).into_router();
        let answers = Extension(Arc::clone(&self.answers));
        self.routes(probes)
            .router
            .layer(answers)
            .fallback(unknown_path)
            .layer(from_fn_with_state(observer, observe))
    }

    fn bounded(mut self, routes: Router, bytes_max: usize) -> Self {
        let bounds = self.bounds(bytes_max, self.limits.request_time);
        // Bodies are bounded before a handler sees them; the framework's own bound is for others.
        let routes = routes.layer(DefaultBodyLimit::disable());
        self.router = self.router.merge(routes.layer(from_fn_with_state(bounds, work)));
        self
    }

    fn bounds(&self, bytes_max: usize, work_time: Duration) -> Bounds {
        Bounds {
            bytes_max,
            body_time: self.limits.body_time,
            work_time,
            memory: Arc::clone(&self.memory),
            shutdown: self.shutdown.clone(),
        }
    }
}

#[derive(Clone)]
struct Bounds {
    bytes_max: usize,
    body_time: Duration,
    work_time: Duration,
    memory: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// Runs a handler that should answer soon.
async fn work(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let (request, _memory) = match bounds.receive(request).await {
        Ok(received) => received,
        Err(problem) => return closing(problem),
    };
    let late = || Problem::timed_out("the work took too long").into_response();
    timeout(bounds.work_time, next.run(request)).await.unwrap_or_else(|_| late())
}

/// Runs a handler that reads the body itself.
async fn flow(State(allowance): State<Allowance>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(allowance);
    next.run(request).await
}

/// Runs a handler that may wait, until the server ends.
async fn wait(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let (request, _memory) = match bounds.receive(request).await {
        Ok(received) => received,
        Err(problem) => return closing(problem),
    };
    let shutdown = bounds.shutdown.clone();
    tokio::select! {
        answered = timeout(bounds.work_time, next.run(request)) => match answered {
            Ok(response) => until_shutdown(response, shutdown),
            Err(_) => Problem::timed_out("nothing happened in time").into_response(),
        },
        () = bounds.shutdown.requested() => {
            closing(Problem::unavailable("shutting-down", "the role is shutting down"))
        }
    }
}

/// Ends a streamed answer when the server ends; one of known length is left alone.
fn until_shutdown(response: Response, shutdown: Shutdown) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        let requested = async move { shutdown.requested().await };
        Body::from_stream(body.into_data_stream().take_until(Box::pin(requested)))
    })
}

/// Answers a problem that leaves a part of the request unread.
fn closing(problem: Problem) -> Response {
    ([(header::CONNECTION, "close")], problem).into_response()
}

impl Bounds {
    /// Receives the whole body within its bounds of size, time and memory.
    async fn receive(
        &self,
        request: Request,
    ) -> Result<(Request, Option<OwnedSemaphorePermit>), Problem> {
        let (head, body) = request.into_parts();
        let expects = head.headers.contains_key(header::EXPECT);
        if expects && body.size_hint().lower() > self.bytes_max as u64 {
            // The client asks before it sends: it need not send.
            return Err(self.too_large());
        }
        let received = timeout(self.body_time, self.collect(body)).await;
        let (bytes, memory) = received.map_err(|_| {
            let detail = format!("the body did not arrive within {:?}", self.body_time);
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timed-out", detail)
        })??;
        Ok((Request::from_parts(head, Body::from(bytes)), memory))
    }

    async fn collect(
        &self,
        mut body: Body,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        let (mut bytes, mut memory) = (Vec::new(), None);
        let expected = body.size_hint().exact().and_then(|len| usize::try_from(len).ok());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::malformed("bad-request", error))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > self.bytes_max.saturating_sub(bytes.len()) {
                drop(bytes);
                linger(body).await;
                return Err(self.too_large());
            }
            if bytes.is_empty() {
                // In one place from the start: a body that grows would be there twice. Memory that
                // no byte has come for yet is not in use; if there is none, the body grows after all.
                drop(bytes.try_reserve_exact(expected.unwrap_or_default().min(self.bytes_max)));
            }
            bytes.extend_from_slice(&data);
            if let Err(problem) = self.reserve(bytes.len(), &mut memory) {
                drop((bytes, memory));
                linger(body).await;
                return Err(problem);
            }
        }
        Ok((bytes.into(), memory))
    }

    /// Counts `len` bytes of one body against those of all connections.
    fn reserve(
        &self,
        len: usize,
        memory: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(), Problem> {
        let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = len.div_ceil(1024).saturating_sub(held);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.memory).try_acquire_many_owned(missing).map_err(|_| {
            Problem::unavailable("overloaded", "too many large requests at once")
                .with_retry_after(Duration::from_secs(1))
        })?;
        match memory {
            Some(permit) => permit.merge(more),
            None => *memory = Some(more),
        }
        Ok(())
    }

    fn too_large(&self) -> Problem {
        too_large(self.bytes_max)
    }
}

/// What a site knows of itself, and counts.
pub(super) struct Observer {
    role: &'static str,
    ready: Ready,
    figures: Figures,
    description: Bytes,
    requests: Requests,
}

/// Times requests, and turns whatever goes wrong inside into a problem.
async fn observe(State(observer): State<Arc<Observer>>, request: Request, next: Next) -> Response {
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
pub(super) fn probes() -> Routes<Arc<Observer>> {
    let alive = Operation::new("alive", "Whether the process answers").json::<Alive>("It does.");
    let ready = Operation::new("ready", "Whether the role can do its work")
        .about("For load balancers and scripts that wait: what the role depends on, one by one.")
        .json::<Readiness>("Every check holds.")
        .fault(503, "not-ready", "a check does not hold; `detail` names it");
    let metrics = Operation::new("metrics", "Figures for Prometheus")
        .text(METRICS_TYPE, "The text format of Prometheus, version 0.0.4.");
    let openapi = Operation::new("openapi", "This description")
        .json::<super::openapi::Document>("OpenAPI 3.1.");
    Routes::new()
        .probe("/healthz", healthz, alive)
        .probe("/readyz", readyz, ready)
        .probe("/metrics", figures, metrics)
        .get("/openapi.json", description, openapi)
}

async fn unknown_path(request: Request) -> Problem {
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
