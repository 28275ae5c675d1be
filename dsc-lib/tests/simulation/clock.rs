//! The clock that one machine has: off by some time, and too fast or too slow.
//!
//! As in the program, a clock never goes back while a role runs; it is set when a role starts, to
//! whatever the machine believes then.

use dsc_lib::units::Millis;

use crate::random::Random;

/// How much a clock may be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skew {
    /// Most that it is ahead or behind when it is set.
    pub(crate) offset_ms: u64,
    /// Most that it gains or loses in a second.
    pub(crate) drift_ppm: u64,
}

/// What one machine takes for the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    set_at: Millis,
    shows: Millis,
    drift_ppm: i64,
}

impl Clock {
    /// A clock that is right.
    pub(crate) fn right(now: Millis) -> Self {
        Self { set_at: now, shows: now, drift_ppm: 0 }
    }

    /// A clock that is set now, as wrong as `skew` allows.
    pub(crate) fn set(now: Millis, skew: Skew, random: &mut Random) -> Self {
        let (offset, drift) = (skew.offset_ms, skew.drift_ppm);
        let shows = (now.0 - offset) + random.within(&(0..=2 * offset));
        let drift_ppm = random.within(&(0..=2 * drift)).cast_signed() - drift.cast_signed();
        Self { set_at: now, shows: Millis(shows), drift_ppm }
    }

    /// What it shows at the time `now`.
    pub(crate) fn at(&self, now: Millis) -> Millis {
        let passed = now.since(self.set_at).0.cast_signed();
        let shown = passed + passed * self.drift_ppm / 1_000_000;
        self.shows.plus(Millis(shown.cast_unsigned()))
    }

    /// The time until it shows `until`, at least a moment.
    pub(crate) fn pause(&self, now: Millis, until: Millis) -> Millis {
        let shown = until.since(self.at(now)).0.cast_signed();
        let pause = shown * 1_000_000 / (1_000_000 + self.drift_ppm);
        Millis(pause.cast_unsigned() + 1)
    }
}
