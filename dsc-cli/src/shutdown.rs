//! Ending on request: the first Ctrl-C or SIGTERM asks, the second aborts.
//!
//! # Invariants
//!
//! 1. A request is never taken back, and everybody who waits for it wakes.
//! 2. Asynchronous code waits, searches look at a flag, and blocking code sleeps until it.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

use crate::{exit::Exit, output::note};

#[derive(Debug)]
struct Shared {
    flag: AtomicBool,
    interrupted: AtomicBool,
    watch: watch::Sender<bool>,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A request to end, shared by all parts of the process.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<Shared>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// One that only [`Shutdown::request`] triggers.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            flag: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            watch: watch::Sender::new(false),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }))
    }

    /// One that the first signal triggers; the second ends the process at once.
    ///
    /// # Errors
    ///
    /// Those of the operating system when signals cannot be received.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _entered = runtime.enter();
            Signals::new()?
        };
        let watched = shutdown.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                signals.next().await;
                note("stopping; once more aborts");
                watched.0.interrupted.store(true, Ordering::Relaxed);
                watched.request();
                signals.next().await;
                std::process::exit(Exit::Interrupted as i32);
            });
        })?;
        Ok(shutdown)
    }

    /// Asks everybody to end.
    pub fn request(&self) {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.flag.store(true, Ordering::Relaxed);
        drop(guard);
        self.0.watch.send_replace(true);
        self.0.changed.notify_all();
    }

    /// Whether everybody was asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.flag.load(Ordering::Relaxed)
    }

    /// Whether a signal asked, not the program itself.
    pub fn is_interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::Relaxed)
    }

    /// The flag that a search looks at.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// Completes when everybody was asked to end.
    pub async fn requested(&self) {
        let mut watch = self.0.watch.subscribe();
        // The sender lives as long as `self`, so this can only end with the request.
        let _ = watch.wait_for(|requested| *requested).await;
    }

    /// Blocks for `time`, or until everybody was asked to end; returns whether that came.
    pub fn sleep(&self, time: Duration) -> bool {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |(): &mut ()| !self.is_requested();
        drop(self.0.changed.wait_timeout_while(guard, time, waiting));
        self.is_requested()
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_sleepers_and_stays() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.sleep(Duration::ZERO));
        let asking = shutdown.clone();
        let asker = thread::spawn(move || asking.request());
        assert!(shutdown.sleep(Duration::from_secs(60)));
        asker.join().unwrap();
        assert!(shutdown.flag().load(Ordering::Relaxed));
        assert!(!shutdown.is_interrupted());
    }

    #[tokio::test]
    async fn a_request_wakes_those_who_wait_before_and_after() {
        let shutdown = Shutdown::new();
        let waiting = shutdown.clone();
        let waiter = tokio::spawn(async move { waiting.requested().await });
        shutdown.request();
        waiter.await.unwrap();
        shutdown.requested().await;
    }
}
