//! The routes of a role, with everything that every route needs around them.
//!
//! # Invariants
//!
//! 1. A handler starts when the whole body is there, so a slow client costs a buffer and no work;
//!    on streaming routes it reads on itself, within the same bounds of size and time.
//! 2. Bodies in memory are bounded over all connections, not only each.
//! 3. A handler that panics answers 500 and harms nobody else.

mod bounds;
mod observer;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Extension, Router, body::Bytes, extract::DefaultBodyLimit, middleware::from_fn_with_state,
};
use serde::Serialize;
use tokio::sync::Semaphore;

pub(super) use self::observer::probes;
use self::{
    bounds::{Bounds, flow, wait, work},
    observer::{Observer, observe, unknown_path},
};
use super::{
    Limits, Token, admin,
    inflow::Allowance,
    openapi::{Group, Outline},
    room::Answers,
};
use crate::{metrics::Requests, shutdown::Shutdown};

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

    /// Puts something around the routes added so far, and not around probes.
    #[must_use]
    pub fn around(mut self, put: impl FnOnce(Router) -> Router) -> Self {
        self.router = put(self.router);
        self
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
