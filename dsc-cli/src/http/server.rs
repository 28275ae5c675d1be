//! The accept loop: connections, their number, and their end.

use std::{
    convert::Infallible, future::pending, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use hyper::{Request, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    Limits, Problem,
    roster::{Roster, Seat},
    stall::Stalling,
};
use crate::shutdown::Shutdown;

/// Connections beyond the limit that are told so; still others are closed without a word.
const REFUSALS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

/// The address of a client, among the extensions of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `router` until `shutdown`, then gives open connections a moment to end.
///
/// # Errors
///
/// Those of the operating system when the listener cannot be used at all.
pub async fn serve(
    router: Router,
    listener: std::net::TcpListener,
    limits: &Limits,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut server = Server::new(router, limits.clone(), shutdown.clone());
    let mut requested = pin!(shutdown.requested());
    loop {
        tokio::select! {
            () = &mut requested => break,
            Some(_) = server.connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.start(stream, peer),
                Err(error) => {
                    // Usually too many open files: wait for some to close.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    server.finish(limits.grace_time).await;
    Ok(())
}

struct Server {
    router: Router,
    busy: Router,
    roster: Roster,
    refusals: Arc<Semaphore>,
    limits: Limits,
    shutdown: Shutdown,
    connections: JoinSet<()>,
}

impl Server {
    fn new(router: Router, limits: Limits, shutdown: Shutdown) -> Self {
        let (max, per_address_max) = (limits.connections_max, limits.connections_per_address_max);
        Self {
            router,
            busy: Router::new().fallback(busy),
            roster: Roster::new(max, per_address_max),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            limits,
            shutdown,
            connections: JoinSet::new(),
        }
    }

    /// Serves a new connection if there is room for it.
    fn start(&mut self, stream: TcpStream, peer: SocketAddr) {
        let mut limits = self.limits.clone();
        let address = peer.ip().to_canonical();
        let is_local = stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == address);
        let (router, place) = if let Some(seat) = self.roster.enter(address, is_local) {
            (self.router.clone(), Place::Served(seat))
        } else if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            limits.header_time = limits.header_time.min(Duration::from_secs(1));
            (self.busy.clone(), Place::Refused(permit))
        } else {
            return;
        };
        let shutdown = self.shutdown.clone();
        self.connections.spawn(connection(stream, peer, router, limits, shutdown, place));
    }

    /// Waits for open connections, then cuts those that are left.
    async fn finish(mut self, grace_time: Duration) {
        let all = async { while self.connections.join_next().await.is_some() {} };
        if timeout(grace_time, all).await.is_err() {
            tracing::info!(open = self.connections.len(), "cutting open connections");
            self.connections.shutdown().await;
        }
    }
}

async fn busy() -> Response {
    let problem = Problem::unavailable("too-many-connections", "every connection is in use")
        .with_retry_after(Duration::from_secs(1));
    ([(header::CONNECTION, "close")], problem).into_response()
}

/// What a connection holds for as long as it lasts.
enum Place {
    Served(Arc<Seat>),
    Refused(#[allow(dead_code, reason = "counts as long as it is held")] OwnedSemaphorePermit),
}

impl Place {
    const fn seat(&self) -> Option<&Arc<Seat>> {
        match self {
            Self::Served(seat) => Some(seat),
            Self::Refused(_) => None,
        }
    }

    /// Waits until somebody else needs the place.
    async fn given_away(&self) {
        match self.seat() {
            Some(seat) => seat.cut().await,
            None => pending().await,
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    shutdown: Shutdown,
    place: Place,
) {
    // Answers are written whole; waiting to fill a packet only delays them.
    drop(stream.set_nodelay(true));
    let io = TokioIo::new(Stalling::new(stream, limits.write_time));
    let seat = place.seat();
    let service = service_fn(|request| call(router.clone(), request, peer, seat.cloned()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.given_away() => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection cut");
    }
}

async fn call(
    mut router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    seat: Option<Arc<Seat>>,
) -> Result<Response, Infallible> {
    let (caller, busy) = (seat.as_ref().map(|seat| seat.caller()), seat.map(|seat| seat.begin()));
    if let Err(problem) = check_framing(request.headers()) {
        return Ok(([(header::CONNECTION, "close")], problem).into_response());
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    caller.and_then(|caller| request.extensions_mut().insert(caller));
    let response = router.call(request).await?;
    Ok(response.map(|body| match busy {
        Some(busy) => busy.until_out(body),
        None => body,
    }))
}

/// Refuses a request that somebody on the way may have read in another way: with codings of its
/// body that nobody takes off here, or for two hosts.
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|coding| !is_plain(coding)) || codings.next().is_some() {
        let status = StatusCode::NOT_IMPLEMENTED;
        let detail = "the only transfer coding of bodies is `chunked`, once";
        return Err(Problem::new(status, "unsupported-transfer-coding", detail));
    }
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Problem::malformed("bad-request", "the request names several hosts"));
    }
    Ok(())
}
