//! Named steps of the block path at which a test makes this process die.
//!
//! `DSC_CRASH_AT=NAME:K` in the environment of a build with debug assertions kills the process when
//! it comes to step NAME for the K-th time. `dsc crash-points` lists the names, `scripts/crash.py`
//! goes through them.
//!
//! # Invariants
//!
//! 1. A step kills as SIGKILL does: nothing is unwound, flushed or answered.
//! 2. In a release build none of this is there: a step is an empty function.
//! 3. A name that is no step is refused at the start: a test that kills nobody would pass.

#[cfg(debug_assertions)]
pub(crate) use at::arm;
use clap::ValueEnum;
use dsc_lib::role::Call;

/// The variable that names the step to die at.
#[cfg(debug_assertions)]
const VARIABLE: &str = "DSC_CRASH_AT";

/// A step. What its comment says has just been done, and nothing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// Transactions were read from a request
    #[value(name = "pool.received")]
    PoolReceived,
    /// Their signatures were checked
    #[value(name = "pool.checked")]
    PoolChecked,
    /// They are held, and not on disk
    #[value(name = "pool.held")]
    PoolHeld,
    /// They are on disk, and nobody was told
    #[value(name = "pool.journalled")]
    PoolJournalled,
    /// The answer was handed to the connection
    #[value(name = "pool.answered")]
    PoolAnswered,
    /// Transactions for a block were taken, and not sent
    #[value(name = "pool.taken")]
    PoolTaken,
    /// A block of the ledger, or nothing new, was followed
    #[value(name = "pool.followed")]
    PoolFollowed,
    /// The journal was shortened as far as it could be
    #[value(name = "pool.retired")]
    PoolRetired,
    /// A validator's proof was taken, and not answered
    #[value(name = "metronome.proof-taken")]
    MetronomeProofTaken,
    /// A round closed and the next one opened
    #[value(name = "metronome.round-opened")]
    MetronomeRoundOpened,
    /// The pool's transactions came in
    #[value(name = "metronome.transactions-taken")]
    MetronomeTransactionsTaken,
    /// A block was made and signed, and not handed in
    #[value(name = "metronome.submitting")]
    MetronomeSubmitting,
    /// The blockchain server answered, and the metronome has not looked at it
    #[value(name = "metronome.submitted")]
    MetronomeSubmitted,
    /// The metronome has moved on by its block
    #[value(name = "metronome.settled")]
    MetronomeSettled,
    /// A block came in
    #[value(name = "blockchain.received")]
    BlockchainReceived,
    /// A block is on disk, and the ledger's state is the one before it
    #[value(name = "blockchain.stored")]
    BlockchainStored,
    /// A block is part of the state, and nobody was told
    #[value(name = "blockchain.applied")]
    BlockchainApplied,
    /// The index was kept in order after a block
    #[value(name = "blockchain.maintained")]
    BlockchainMaintained,
    /// A round came in
    #[value(name = "validator.proving")]
    ValidatorProving,
    /// What a validator found was not handed in
    #[value(name = "validator.handing-in")]
    ValidatorHandingIn,
    /// What a validator found was handed in
    #[value(name = "validator.handed-in")]
    ValidatorHandedIn,
    /// Nobody was asked yet
    #[value(name = "monitor.asking")]
    MonitorAsking,
    /// The chain told how it stands
    #[value(name = "monitor.told")]
    MonitorTold,
}

/// Dies here if a test has asked for it.
#[cfg(debug_assertions)]
pub(crate) fn point(here: Point) {
    at::pass(here);
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) const fn point(_here: Point) {}

/// The step before a role makes a call.
pub(crate) fn asking(call: &Call) {
    match call {
        Call::Take(_) => point(Point::MetronomeRoundOpened),
        Call::SubmitBlock(_) => point(Point::MetronomeSubmitting),
        Call::HandIn(_) => point(Point::ValidatorHandingIn),
        Call::ChainInfo => point(Point::MonitorAsking),
        _ => {}
    }
}

/// The step after a call has ended, before the role hears of it.
pub(crate) fn answered(call: &Call) {
    match call {
        Call::Take(_) => point(Point::MetronomeTransactionsTaken),
        Call::SubmitBlock(_) => point(Point::MetronomeSubmitted),
        Call::HandIn(_) => point(Point::ValidatorHandedIn),
        Call::ChainInfo => point(Point::MonitorTold),
        _ => {}
    }
}

/// The step after a role has heard how a call ended.
pub(crate) fn settled(call: &Call) {
    if matches!(call, Call::SubmitBlock(_)) {
        point(Point::MetronomeSettled);
    }
}

#[cfg(debug_assertions)]
mod at {
    use std::{
        env,
        sync::{
            OnceLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use clap::ValueEnum;

    use super::{Point, VARIABLE};
    use crate::exit::Failure;

    /// Where to die, and how often to pass there before.
    #[derive(Debug)]
    struct Armed {
        at: Point,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Reads where to die.
    pub(crate) fn arm() -> Result<(), Failure> {
        if let Some(text) = env::var_os(VARIABLE) {
            let armed = parse(&text.to_string_lossy())?;
            ARMED.get_or_init(|| armed);
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Armed, Failure> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let refuse = |why: String| {
            Failure::usage(format!("{VARIABLE}: {why}"))
                .with_hint("`dsc crash-points` lists the names; NAME:K dies at the K-th time")
        };
        let at = Point::from_str(name, false).map_err(|_| refuse(format!("no step `{name}`")))?;
        let left = count.parse().ok().filter(|count| *count > 0);
        let left = left.ok_or_else(|| refuse(format!("`{count}` is no count above zero")))?;
        Ok(Armed { at, left: AtomicU64::new(left) })
    }

    pub(super) fn pass(here: Point) {
        let Some(armed) = ARMED.get().filter(|armed| armed.at == here) else { return };
        if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            die();
        }
    }

    #[cfg(unix)]
    fn die() {
        use rustix::process::{Signal, getpid, kill_process};
        // It returns only if there are no such signals.
        let _ = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }

    #[cfg(not(unix))]
    fn die() {
        std::process::abort();
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_step_is_a_name_and_a_count() {
            for (text, count) in [("pool.held", 1), ("pool.held:3", 3)] {
                let armed = parse(text).unwrap();
                assert_eq!((armed.at, armed.left.into_inner()), (Point::PoolHeld, count));
            }
        }

        #[test]
        fn what_is_no_step_is_refused() {
            for (text, why) in [
                ("pool.hold", "DSC_CRASH_AT: no step `pool.hold`"),
                ("pool.held:0", "DSC_CRASH_AT: `0` is no count above zero"),
                ("pool.held:x", "DSC_CRASH_AT: `x` is no count above zero"),
            ] {
                assert_eq!(parse(text).unwrap_err().message(), why);
            }
        }

        /// Nobody is armed here, so every step is passed.
        #[test]
        fn whoever_was_not_asked_to_die_passes() {
            Point::value_variants().iter().copied().for_each(pass);
        }
    }
}
