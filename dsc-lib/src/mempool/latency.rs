//! How long transactions took from the pool to the ledger: counts in fixed classes.
//!
//! # Invariants
//!
//! 1. Memory is fixed, and counting one costs a search among [`CLASSES`] numbers: no time is kept of
//!    what has ended.
//! 2. Counts only grow, so the difference of two is what came between.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::Millis;

/// Classes of times; the last has what took longer than all others.
const CLASSES: usize = BOUNDS.len() + 1;

/// The longest time of each class in milliseconds: ten in a decade, each about a quarter more than
/// the one before.
const BOUNDS: [u64; 60] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400,
    500, 630, 800, 1_000, 1_250, 1_600, 2_000, 2_500, 3_150, 4_000, 5_000, 6_300, 8_000, 10_000,
    12_500, 16_000, 20_000, 25_000, 31_500, 40_000, 50_000, 63_000, 80_000, 100_000, 125_000,
    160_000, 200_000, 250_000, 315_000, 400_000, 500_000, 630_000, 800_000, 1_000_000, 2_000_000,
    4_000_000,
];

/// Times from the submission of a transaction until the pool saw it on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; CLASSES],
    sum: Millis,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: [0; CLASSES], sum: Millis(0) }
    }
}

/// One class of a [`Latency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyClass {
    /// The longest time in it; the end of time for the last class.
    pub at_most: Millis,
    /// How many there are.
    pub count: u64,
}

impl Latency {
    pub(super) fn add(&mut self, time: Millis) {
        self.put(time, 1);
        self.sum = self.sum.plus(time);
    }

    fn put(&mut self, time: Millis, count: u64) {
        let class = BOUNDS.partition_point(|bound| *bound < time.0);
        if let Some(held) = self.counts.get_mut(class) {
            *held = held.saturating_add(count);
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |all, count| all.saturating_add(*count))
    }

    /// All times together.
    pub fn sum(&self) -> Millis {
        self.sum
    }

    /// How many took at most `time`, which has to be the longest of a class to be exact.
    pub fn count_within(&self, time: Millis) -> u64 {
        let within = self.classes().take_while(|class| class.at_most <= time);
        within.fold(0, |all, class| all.saturating_add(class.count))
    }

    /// The classes, shortest times first.
    pub fn classes(&self) -> impl Iterator<Item = LatencyClass> + '_ {
        let bounds = BOUNDS.iter().copied().chain([u64::MAX]);
        let class = |(at_most, &count)| LatencyClass { at_most: Millis(at_most), count };
        bounds.zip(&self.counts).map(class)
    }

    /// What was counted after `earlier`; all of it if that is no earlier state of the same counts,
    /// as after a restart.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = self.clone();
        for (count, before) in later.counts.iter_mut().zip(&earlier.counts) {
            match count.checked_sub(*before) {
                Some(between) => *count = between,
                None => return self.clone(),
            }
        }
        later.sum = self.sum.since(earlier.sum);
        later
    }

    /// The time that `share` of those counted, from 0 to 1, took at most; nothing if none was.
    /// Within a class times are taken for evenly spread: the error is less than a quarter.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a figure for people, not for a rule"
    )]
    pub fn quantile(&self, share: f64) -> Option<Millis> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut from) = (0_u64, 0_u64);
        let mut found = None;
        for LatencyClass { at_most, count } in self.classes().filter(|class| class.count > 0) {
            let to = if at_most.0 == u64::MAX { from.max(4_000_000) } else { at_most.0 };
            from = class_start(at_most);
            let part = ((wanted - below as f64) / count as f64).clamp(0.0, 1.0);
            found =
                Some(Millis(from.saturating_add((to.saturating_sub(from) as f64 * part) as u64)));
            below = below.saturating_add(count);
            if below as f64 >= wanted {
                break;
            }
        }
        found
    }
}

/// What every time of the class is longer than.
fn class_start(at_most: Millis) -> u64 {
    let below = BOUNDS.iter().rev().find(|bound| **bound < at_most.0);
    below.copied().unwrap_or(0)
}

#[derive(Serialize, Deserialize)]
struct Listed {
    sum: Millis,
    classes: Vec<LatencyClass>,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let classes = self.classes().filter(|class| class.count > 0).collect();
        Listed { sum: self.sum, classes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Listed { sum, classes } = Listed::deserialize(deserializer)?;
        let mut latency = Self { sum, ..Self::default() };
        for class in &classes {
            latency.put(class.at_most, class.count);
        }
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        times.into_iter().for_each(|time| latency.add(Millis(time)));
        latency
    }

    #[test]
    fn quantiles_are_right_within_a_quarter() {
        let latency = of(1..=10_000);
        assert_eq!((latency.count(), latency.sum()), (10_000, Millis(50_005_000)));
        for (share, right) in [(0.5, 5_000), (0.9, 9_000), (0.1, 1_000), (1.0, 10_000)] {
            let Millis(got) = latency.quantile(share).unwrap();
            assert!(got.abs_diff(right) < right / 4, "{got} for {right}");
        }
        assert_eq!(latency.count_within(Millis(1_000)), 1_000);
        assert_eq!(Latency::default().quantile(0.5), None);
        assert_eq!(of([u64::MAX]).quantile(1.0), Some(Millis(4_000_000)));
        assert_eq!(of([0]).count_within(Millis(1)), 1);
    }

    #[test]
    fn what_came_between_two_is_their_difference() {
        let (first, then) = (of([5, 500]), of([5, 500, 70, 70]));
        assert_eq!(then.since(&first), of([70, 70]));
        assert_eq!(first.since(&first), Latency::default());
        assert_eq!(of([9]).since(&first), of([9]), "the counts of a pool that was started again");
    }

    #[test]
    fn it_travels_without_what_is_empty() {
        let latency = of([3, 70, 70, u64::MAX]);
        let text = serde_json::to_string(&latency).unwrap();
        assert_eq!(text.matches("at_most").count(), 3, "{text}");
        assert_eq!(serde_json::from_str::<Latency>(&text).unwrap(), latency);
    }
}
