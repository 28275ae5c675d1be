//! A body that its handler reads while it comes in.
//!
//! # Invariants
//!
//! 1. The whole body is bounded in size, and in the time the client takes to send it; while the
//!    handler does not read, that time does not run.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::StatusCode,
};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::Problem;

/// How long a client that is refused is listened to, so that it hears why.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What a streamed body may take; among the extensions of requests on such routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) bytes_max: usize,
    pub(super) body_time: Duration,
}

/// The body of a request, piece by piece.
#[derive(Debug)]
pub struct Inflow {
    body: Body,
    allowance: Allowance,
    bytes_left: usize,
    time_left: Duration,
}

impl Inflow {
    fn new(body: Body, allowance: Allowance) -> Self {
        let Allowance { bytes_max, body_time } = allowance;
        Self { body, allowance, bytes_left: bytes_max, time_left: body_time }
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    ///
    /// [`Problem`] if the body is too large, comes too slowly or breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let started = now();
            let frame = timeout(self.time_left, self.body.frame()).await;
            self.time_left = self.time_left.saturating_sub(started.elapsed());
            let Some(frame) = frame.map_err(|_| self.too_slow())? else { return Ok(None) };
            let frame = frame.map_err(|error| Problem::malformed("bad-request", error))?;
            let Ok(data) = frame.into_data() else { continue };
            let left = self.bytes_left.checked_sub(data.len());
            self.bytes_left = left.ok_or_else(|| too_large(self.allowance.bytes_max))?;
            return Ok(Some(data));
        }
    }

    /// Discards the rest, for a client that is refused.
    pub async fn drain(self) {
        linger(self.body).await;
    }

    fn too_slow(&self) -> Problem {
        let detail = format!("the body did not arrive within {:?}", self.allowance.body_time);
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timed-out", detail)
    }
}

/// Discards what a client still sends for a moment: a closed socket would lose the answer.
pub(super) async fn linger(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    drop(timeout(LINGER_TIME, rest).await);
}

#[allow(clippy::disallowed_methods, reason = "how long a client takes is measured, not judged by")]
fn now() -> Instant {
    Instant::now()
}

/// The problem of a body with more than `bytes_max` bytes.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body is larger than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
        .with_hint("send smaller batches")
}

impl<S: Send + Sync> FromRequest<S> for Inflow {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let allowance = request.extensions().get::<Allowance>().copied();
        let allowance = allowance.ok_or_else(|| Problem::internal("no bounds for this body"))?;
        Ok(Self::new(request.into_body(), allowance))
    }
}
