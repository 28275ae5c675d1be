//! The clocks of the machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dsc_lib::{proof::Clock, units::Millis};

/// A monotonic clock that starts at zero when it is made, and the time of day.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemClock {
    /// A clock that shows zero now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Time since the clock was made; never goes back.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Time since the Unix epoch; may jump when the machine's time is set.
    #[allow(clippy::unused_self, reason = "callers hold a clock")]
    pub fn unix(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.elapsed()
    }
}

/// The time of day that never goes back: the Unix time when it was made, and what has passed since.
#[derive(Clone, Debug)]
pub struct Time {
    clock: SystemClock,
    started: Millis,
}

impl Default for Time {
    fn default() -> Self {
        Self::new()
    }
}

impl Time {
    /// Starts from the machine's time of day.
    pub fn new() -> Self {
        let clock = SystemClock::new();
        Self { clock, started: clock.unix() }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> Millis {
        let passed = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started.plus(Millis(passed))
    }
}

impl Clock for Time {
    fn now(&self) -> Duration {
        self.clock.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back_and_knows_the_year() {
        let clock = SystemClock::new();
        let before = clock.elapsed();
        assert!(clock.elapsed() >= before);
        let year_2020 = Millis(1_577_836_800_000);
        assert!(clock.unix() > year_2020);
    }
}
