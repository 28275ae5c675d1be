//! How large a request may be, and how long it may take.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    http::{
        Problem,
        inflow::{Allowance, linger, too_large},
    },
    shutdown::Shutdown,
};

/// The bounds of some routes.
#[derive(Clone)]
pub(super) struct Bounds {
    pub(super) bytes_max: usize,
    pub(super) body_time: Duration,
    pub(super) work_time: Duration,
    pub(super) memory: Arc<Semaphore>,
    pub(super) shutdown: Shutdown,
}

/// Runs a handler that should answer soon.
pub(super) async fn work(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let (request, _memory) = match bounds.receive(request).await {
        Ok(received) => received,
        Err(problem) => return closing(problem),
    };
    let late = || Problem::timed_out("the work took too long").into_response();
    timeout(bounds.work_time, next.run(request)).await.unwrap_or_else(|_| late())
}

/// Runs a handler that reads the body itself.
pub(super) async fn flow(
    State(allowance): State<Allowance>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(allowance);
    next.run(request).await
}

/// Runs a handler that may wait, until the server ends.
pub(super) async fn wait(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
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
