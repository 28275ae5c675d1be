//! Where a test has asked this process to die.

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::ValueEnum;
use dsc_lib::ledger::OpenOptions;

use super::Point;
use crate::exit::Failure;

/// The variable that names the step to die at.
const VARIABLE: &str = "DSC_CRASH_AT";
/// Bytes of the index in RAM when a test waits for it to be written: some hundred transactions.
const INDEX_BYTES: usize = 16 << 10;
/// Steps that come when the index is written.
const OF_INDEX: &[Point] = &[
    Point::BlockchainRunWritten,
    Point::BlockchainRunSynced,
    Point::BlockchainManifestWritten,
    Point::BlockchainManifestRenamed,
    Point::BlockchainRunRemoved,
];

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

/// Has the index written soon if the step to die at is one of that.
pub(super) fn hurry(options: OpenOptions) -> OpenOptions {
    let is_of_index = ARMED.get().is_some_and(|armed| OF_INDEX.contains(&armed.at));
    let fresh_bytes_max = if is_of_index { INDEX_BYTES } else { options.fresh_bytes_max };
    OpenOptions { fresh_bytes_max, ..options }
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
