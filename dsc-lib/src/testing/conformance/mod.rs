//! What every engine behind [`crate::cluster`] has to do, as named checks.
//!
//! An engine is handed in as a [`Subject`], a new one for each check. [`run`] does them all;
//! [`checks`] lists them for a runner that has something of its own to do between them.

mod blobs;
mod blocks;
mod board;
mod transactions;

use std::{
    error::Error,
    fmt,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use crate::cluster::Cluster;

/// An engine under test, with nothing in it at first.
pub trait Subject: Sync {
    /// A handle on it, beside those that were given before, as another server has one.
    fn handle(&self) -> Cluster;

    /// A handle on it after it was closed and opened again. Nobody uses those that were given
    /// before.
    fn reopened(&self) -> Cluster;

    /// Bytes of batches that its transaction log takes at most; a check fills it, so let it be a few
    /// MiB.
    fn transactions_bytes(&self) -> u64;
}

/// Makes engines with nothing in them.
pub type Factory<'a> = dyn Fn() -> Box<dyn Subject> + 'a;

/// What came of a check; an error says what was expected.
type Outcome = Result<(), Box<dyn Error>>;

/// Something that every engine has to do.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    name: &'static str,
    run: fn(&dyn Subject) -> Outcome,
}

/// A check that an engine did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the check.
    pub check: &'static str,
    /// What was expected and what was got.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.reason)
    }
}

impl Check {
    /// What it is called, such as `blocks::takes_an_entry_after_the_last_alone`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Checks an engine with nothing in it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the engine does something else than it should.
    pub fn run(&self, subject: &dyn Subject) -> Result<(), Failure> {
        let failure =
            |error: Box<dyn Error>| Failure { check: self.name, reason: error.to_string() };
        (self.run)(subject).map_err(failure)
    }
}

/// Every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [blocks::CHECKS, transactions::CHECKS, board::CHECKS, blobs::CHECKS].into_iter().flatten()
}

/// Runs every check on an engine of its own.
///
/// # Panics
///
/// If there are checks that an engine does not pass; it names them.
pub fn run(factory: &Factory<'_>) {
    let failed: Vec<_> = checks().filter_map(|check| check.run(&*factory()).err()).collect();
    let texts: Vec<_> = failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), checks().count(), texts.join("\n"));
}

/// Lists the checks of a part by the names of their functions.
macro_rules! list {
    ($part:literal: $($check:ident),* $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$(super::Check {
            name: concat!($part, "::", stringify!($check)),
            run: $check,
        }),*];
    };
}

/// Ends a check that expected `wanted`.
macro_rules! same {
    ($got:expr, $wanted:expr, $($about:tt)+) => {
        match (&$got, &$wanted) {
            (got, wanted) if got != wanted => {
                let about = format!($($about)+);
                return Err(format!("{about}: got {got:?}, expected {wanted:?}").into());
            }
            _ => {}
        }
    };
}

/// Ends a check that expected something of this shape.
macro_rules! shape {
    ($got:expr, $wanted:pat, $($about:tt)+) => {
        match &$got {
            $wanted => {}
            got => {
                let (about, wanted) = (format!($($about)+), stringify!($wanted));
                return Err(format!("{about}: got {got:?}, expected {wanted}").into());
            }
        }
    };
}

use {list, same, shape};

/// Longer than anybody should have to wait for what has happened.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than that.
const LONG: Duration = Duration::from_secs(60);

/// Whether somebody who waits goes on once something happens.
fn wakes(wait: impl FnOnce() + Send + 'static, happen: impl FnOnce() -> Outcome) -> Outcome {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be listening any more, if the check has failed.
        let _ = tell.send(());
        wait();
        let _ = tell.send(());
    });
    told.recv()?;
    happen()?;
    told.recv_timeout(PATIENCE).map_err(|_| "whoever waits is not woken".into())
}

/// Rounds in which several try the same at once.
const ROUNDS: u64 = 12;
/// Those who try.
const RIVALS: usize = 3;

/// Lets each rival try once in each of some rounds, all at the same time; of what they got, round
/// by round.
fn compete<T: Send>(
    subject: &dyn Subject,
    attempt: impl Fn(&Cluster, u64, usize) -> T + Sync,
) -> Vec<Vec<T>> {
    let (start, attempt) = (Barrier::new(RIVALS), &attempt);
    let rounds = thread::scope(|scope| {
        let rival = |number| {
            let (start, cluster) = (&start, subject.handle());
            let each = move |round| {
                start.wait();
                let got = attempt(&cluster, round, number);
                // Nobody begins the next round before all have ended this one.
                start.wait();
                got
            };
            scope.spawn(move || (0..ROUNDS).map(each).collect::<Vec<T>>())
        };
        let rivals: Vec<_> = (0..RIVALS).map(rival).collect();
        rivals.into_iter().map(|rival| rival.join().unwrap().into_iter()).collect::<Vec<_>>()
    });
    let mut rounds = rounds;
    (0..ROUNDS).map(|_| rounds.iter_mut().filter_map(Iterator::next).collect()).collect()
}

/// Bytes that are told from others by `seed`.
fn bytes_of(seed: u64, len: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut bytes = vec![0; len];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}
