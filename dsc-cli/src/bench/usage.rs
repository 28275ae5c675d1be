//! What processes take: processor time and memory, where the system tells.
//!
//! # Invariants
//!
//! 1. Times are of one stretch; peaks as well where the system lets marks be set back.
//! 2. A process that has ended tells nothing: ask before it is ended.

use std::fs;

use serde::Serialize;

use super::stats::float;

/// Ticks of a second in `/proc/PID/stat`, on every architecture that this program runs on.
const TICKS: f64 = 100.0;

/// What some processes took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Seconds of processor time in the processes themselves.
    pub(crate) user_s: f64,
    /// Seconds of processor time in the system for them.
    pub(crate) system_s: f64,
    /// The most memory that each held, added up.
    pub(crate) peak_mib: f64,
}

impl Usage {
    pub(crate) fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    fn read(process: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
        let [user, system] = read("stat").and_then(|stat| ticks(&stat)).unwrap_or_default();
        let peak = read("status").and_then(|status| super::peak::high_water(&status));
        let peak_mib = float(peak.unwrap_or_default()) / float(1 << 20);
        Self { user_s: float(user) / TICKS, system_s: float(system) / TICKS, peak_mib }
    }

    /// The sum of two, for processes that run at once.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            user_s: self.user_s + other.user_s,
            system_s: self.system_s + other.system_s,
            peak_mib: self.peak_mib + other.peak_mib,
        }
    }
}

/// Ticks in the process and in the system for it.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    // The name of the program is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let field = |index: usize| fields.split_whitespace().nth(index)?.parse().ok();
    Some([field(11)?, field(12)?])
}

/// Processes under watch.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Vec<(u32, Usage)>,
}

impl Meter {
    /// Watches `processes` from now on.
    pub(crate) fn start(processes: &[u32]) -> Self {
        let start = |&process: &u32| {
            // One that may not be touched keeps its mark.
            drop(fs::write(format!("/proc/{process}/clear_refs"), "5"));
            (process, Usage::read(process))
        };
        Self { start: processes.iter().map(start).collect() }
    }

    /// What they have taken since, together.
    pub(crate) fn stop(&self) -> Usage {
        let since = |(process, start): &(u32, Usage)| {
            let end = Usage::read(*process);
            Usage {
                user_s: (end.user_s - start.user_s).max(0.0),
                system_s: (end.system_s - start.system_s).max(0.0),
                peak_mib: end.peak_mib,
            }
        };
        self.start.iter().map(since).fold(Usage::default(), Usage::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_past_any_name() {
        let stat = "7 (a) b) R 1 1 1 0 -1 0 0 0 0 0 120 34 0 0 20 0 1\n";
        assert_eq!(ticks(stat), Some([120, 34]));
        assert_eq!(ticks("7 (a) R 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_watched_and_one_that_is_not_there_takes_nothing() {
        let here = Meter::start(&[std::process::id()]);
        let held = vec![1_u8; 32 << 20];
        let usage = here.stop();
        assert!(usage.peak_mib > 30.0 && usage.cpu_s() >= 0.0, "{usage:?} {}", held.len());
        assert_eq!(Meter::start(&[u32::MAX]).stop(), Usage::default());
    }
}
