//! The six roles over HTTP: each is a state machine of `dsc_lib::role` behind a lock, with routes
//! for what it is asked and one thread for what it asks.
//!
//! # Invariants
//!
//! 1. Roles run the same whether alone in a process or together in `dsc dev`.
//! 2. No lock is held while a call is under way, a block is checked, drafted or stored, or a
//!    signature is checked.

pub(crate) mod blockchain;
mod describe;
pub(crate) mod metronome;
pub(crate) mod monitor;
pub(crate) mod openapi;
pub(crate) mod pool;
pub(crate) mod query;
pub(crate) mod transport;
pub(crate) mod validator;
pub(crate) mod view;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::Duration,
};

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use dsc_lib::{
    codec,
    genesis::Chain,
    role::{Active, Next, Refusal},
    units::{Height, Millis},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use self::transport::Transport;
use crate::{
    clock::Time,
    crash, duration,
    exit::Failure,
    http::{Limits, Problem, Site, bind, serve},
    shutdown::Shutdown,
};

/// Longest sleep of a driver before it looks again whether a request has changed what to do.
const NAP: Duration = Duration::from_millis(100);
/// How long a thread for work that blocks is kept for more of it: a burst leaves no threads behind.
const IDLE_THREAD_TIME: Duration = Duration::from_secs(1);
/// Pause before a role that is busy is looked at again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A state machine that requests and a driver share.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    role: Mutex<R>,
    changes: watch::Sender<u64>,
}

impl<R> Shared<R> {
    pub(crate) fn new(role: R) -> Arc<Self> {
        Arc::new(Self { role: Mutex::new(role), changes: watch::Sender::new(0) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, R> {
        // A handler that panicked was answered 500; every change of a role is made at once.
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The role, unless somebody else has it.
    fn try_lock(&self) -> Option<MutexGuard<'_, R>> {
        match self.role.try_lock() {
            Ok(role) => Some(role),
            Err(TryLockError::Poisoned(role)) => Some(role.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What `work`, which is quick, makes of the role. The few threads that serve connections do
    /// not wait for the lock: if somebody has it, another thread does.
    pub(crate) async fn with<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&mut R) -> T + Send + 'static,
    ) -> Result<T, Problem>
    where
        R: Send + 'static,
    {
        if let Some(mut role) = self.try_lock() {
            return Ok(work(&mut role));
        }
        blocking(move || Ok(work(&mut self.lock()))).await
    }

    /// Wakes those who wait in [`Shared::until`].
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until `look` finds something, at most for `wait`.
    pub(crate) async fn until<T>(
        &self,
        wait: Duration,
        look: impl Fn(&mut R) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.mark_unchanged();
                match self.try_lock().map(|mut role| look(&mut role)) {
                    Some(Some(found)) => return Some(found),
                    Some(None) => changes.changed().await.ok()?,
                    None => sleep(BUSY_PAUSE).await,
                }
            }
        };
        timeout(wait, found).await.ok().flatten()
    }
}

/// Makes a role's calls and does its work until it is done or everybody was asked to end.
pub(crate) fn drive<R: Active>(
    role: &Shared<R>,
    transport: &Transport,
    time: &Time,
    shutdown: &Shutdown,
    mut after: impl FnMut(&mut R),
) {
    while !shutdown.is_requested() {
        let next = role.lock().next(time.now());
        match next {
            Next::Call(call) => {
                // Asking what to do next may have opened a round.
                role.changed();
                crash::asking(&call);
                let answer = transport.call(&call);
                crash::answered(&call);
                let mut held = role.lock();
                held.answer(time.now(), answer);
                after(&mut held);
                drop(held);
                crash::settled(&call);
                role.changed();
            }
            Next::Work(work) => {
                let done = work.run();
                let mut held = role.lock();
                held.finish(time.now(), done);
                after(&mut held);
                drop(held);
                role.changed();
            }
            Next::Wait(until) => {
                shutdown.sleep(span(until.since(time.now())).min(NAP));
            }
            _ => return,
        }
    }
}

pub(crate) const fn span(millis: Millis) -> Duration {
    Duration::from_millis(millis.0)
}

/// The last block and its age, for people.
pub(crate) fn tip_text(height: Option<Height>, age: Millis) -> String {
    let age = duration::display(span(age));
    height.map_or_else(|| "no block yet".into(), |height| format!("block {height}, {age} old"))
}

/// Runs work that may block outside the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Problem::internal("the work on this request failed")))
}

/// Bytes in the canonical encoding.
pub(crate) fn binary(bytes: impl Into<Bytes>) -> Response {
    let bytes: Bytes = bytes.into();
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

/// The genesis, for roles that are told only where the others are.
pub(crate) fn genesis(chain: &Chain) -> Response {
    binary(codec::encode(chain.genesis()))
}

/// The problem that tells another role of a refusal.
pub(crate) fn refused(refusal: &Refusal) -> Problem {
    Problem::rejected(refusal.code.clone(), &refusal.reason)
}

/// A listener and the role it is for.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Socket {
    /// Takes a port, before anything else is done: a taken one is found out first.
    pub(crate) fn bind(role: &'static str, listen: SocketAddr) -> Result<Self, Failure> {
        Self::bind_with(role, "--listen", listen)
    }

    /// As [`Socket::bind`], where another flag chooses the port.
    pub(crate) fn bind_with(
        role: &'static str,
        flag: &'static str,
        listen: SocketAddr,
    ) -> Result<Self, Failure> {
        let listener = bind(role, flag, listen)?;
        let address = listener.local_addr().map_err(|error| Failure::other("listen", error))?;
        Ok(Self { listener, address })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves a site on a thread of its own until everybody was asked to end.
    pub(crate) fn serve(
        self,
        site: Site,
        limits: &Limits,
        shutdown: &Shutdown,
    ) -> Result<thread::JoinHandle<()>, Failure> {
        let (limits, shutdown, router) = (limits.clone(), shutdown.clone(), site.into_router());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_keep_alive(IDLE_THREAD_TIME)
            .enable_all()
            .build()
            .map_err(|error| Failure::other("runtime", error))?;
        let run = move || {
            let served = runtime.block_on(serve(router, self.listener, &limits, &shutdown));
            if let Err(error) = served {
                tracing::error!(%error, "the server ended");
                shutdown.request();
            }
            // Work that still blocks does not hold the end up: every commit is atomic.
            runtime.shutdown_background();
        };
        spawn("server", run)
    }
}

/// Starts a named thread.
pub(crate) fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, Failure> {
    let spawned = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map_err(|error| Failure::other("thread", error))
}
