//! An attack with everything around it: honest clients beside it, and a look at what it left.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    figures::Figures,
    honest::{Honest, Notes},
    network::{self, Network, await_that, client},
    process::Process,
    table::{self, Course},
};

/// How often the processes are looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Files that a role may have open afterwards on top of those before: connections of other roles
/// that are used again, and files of a ledger that has grown.
const FILES_MORE: u64 = 12;
/// Threads likewise: those that wait for work are kept for a second.
const THREADS_MORE: u64 = 16;
/// What the memory of a role may grow by while it is attacked with what is small: freed memory is
/// kept for a while.
const RSS_MORE_BYTES_MAX: u64 = 100 << 20;
/// What a role may hold at most, whatever it is attacked with: four bodies of the largest size in
/// each of the four arenas of the allocator, which keep what was freed for ten seconds, two such
/// answers, and as much again for all else.
const RSS_BYTES_MAX: u64 = (4 * 4 + 2 + 2) * (64 << 20);

/// Runs an attack, again and again if `DSC_ATTACK_SECONDS` says how long.
pub(crate) fn attack(name: &str, work: impl FnMut(&Network)) {
    attack_with(name, RSS_MORE_BYTES_MAX, work);
}

/// As [`attack`], with large requests or for large answers: the roles may fill the room for them.
pub(crate) fn attack_with_much(name: &str, work: impl FnMut(&Network)) {
    attack_with(name, RSS_BYTES_MAX, work);
}

fn attack_with(name: &str, more_bytes_max: u64, mut work: impl FnMut(&Network)) {
    let turn = network::shared();
    let network = turn.as_ref().unwrap();
    let before = network.figures();
    let (honest, watch) = (Honest::start(network), Watch::start(network));
    let started = Instant::now();
    let worked = catch_unwind(AssertUnwindSafe(|| repeat(|| work(network))));
    let took = started.elapsed();
    let (notes, most) = (honest.stop(), watch.stop());
    if let Err(panic) = worked {
        resume_unwind(panic);
    }
    let after = await_calm(network, &before);
    table::add(name, took, &notes, &Course { before, most, after });
    check_honest(network, &notes);
    check_roles(network);
    for ((process, before), most) in network.processes().iter().zip(before).zip(most) {
        let (got, max) = (most.rss_bytes, RSS_BYTES_MAX.min(before.rss_bytes + more_bytes_max));
        assert!(got <= max, "the {} held {got} of {max} bytes", process.name);
    }
}

fn repeat(mut work: impl FnMut()) {
    let seconds = env::var("DSC_ATTACK_SECONDS").ok().map(|text| text.parse().unwrap());
    let (started, time) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
    work();
    while started.elapsed() < time {
        work();
    }
}

/// Waits until files and threads are those from before.
fn await_calm(network: &Network, before: &[Figures; 5]) -> [Figures; 5] {
    let calm = |(now, before): (&Figures, &Figures)| {
        now.files <= before.files + FILES_MORE && now.threads <= before.threads + THREADS_MORE
    };
    await_that("files and threads to be closed", || {
        let after = network.figures();
        after.iter().zip(before).all(calm).then_some(after)
    })
}

/// Honest clients were answered rightly, and what they paid is on the ledger.
fn check_honest(network: &Network, notes: &Notes) {
    let mut faults = notes.faults.clone();
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "honest clients: {} faults: {faults:?}", notes.faults.len());
    assert!(!notes.times.is_empty(), "honest clients asked nothing");
    notes.paid.iter().for_each(|id| network.await_confirmed(id));
}

/// No handler failed.
fn check_roles(network: &Network) {
    for process in network.processes() {
        let figures = client(process).get_bytes("/metrics").unwrap();
        let figures = String::from_utf8(figures).unwrap();
        let failed: Vec<_> = figures.lines().filter(|l| l.contains("code=\"500\"")).collect();
        assert!(failed.is_empty(), "{} failed: {failed:?}", process.name);
        assert!(!process.log().contains("panicked"), "{}: {}", process.name, process.log());
    }
}

/// Looks at the processes again and again.
struct Watch {
    is_over: Arc<AtomicBool>,
    watching: JoinHandle<[Figures; 5]>,
}

impl Watch {
    fn start(network: &Network) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (pids, ending) = (network.processes().map(Process::pid), is_over.clone());
        let watching = thread::spawn(move || {
            let mut most = [Figures::default(); 5];
            while !ending.load(Ordering::Relaxed) {
                for (most, pid) in most.iter_mut().zip(&pids) {
                    // A role that is being started again is looked at the next time.
                    *most = most.max(Figures::of(*pid).unwrap_or_default());
                }
                thread::sleep(LOOK_PAUSE);
            }
            most
        });
        Self { is_over, watching }
    }

    fn stop(self) -> [Figures; 5] {
        self.is_over.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}
