//! The accept loop: connections, their number, and their end.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
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

use super::{Limits, Problem, stall::Stalling};
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
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    limits: Limits,
    shutdown: Shutdown,
    connections: JoinSet<()>,
}

impl Server {
    fn new(router: Router, limits: Limits, shutdown: Shutdown) -> Self {
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let (busy, connections) = (Router::new().fallback(busy), JoinSet::new());
        Self { router, busy, slots, refusals, limits, shutdown, connections }
    }

    /// Serves a new connection if there is room for it.
    fn start(&mut self, stream: TcpStream, peer: SocketAddr) {
        let mut limits = self.limits.clone();
        let (router, permit) = if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            (self.router.clone(), permit)
        } else if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            limits.header_time = limits.header_time.min(Duration::from_secs(1));
            (self.busy.clone(), permit)
        } else {
            return;
        };
        let shutdown = self.shutdown.clone();
        self.connections.spawn(connection(stream, peer, router, limits, shutdown, permit));
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

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting to fill a packet only delays them.
    drop(stream.set_nodelay(true));
    let io = TokioIo::new(Stalling::new(stream, limits.write_time));
    let service = service_fn(move |request| call(router.clone(), request, peer));
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
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection cut");
    }
}

async fn call(
    mut router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    router.call(request).await
}
