//! Medians, percentiles and ratios of a few measurements.

/// Measurements of one thing, in the order in which they were made; at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Takes `values`, or nothing if there are none.
    pub(crate) fn new(values: Vec<f64>) -> Option<Self> {
        (!values.is_empty()).then_some(Self(values))
    }

    /// Takes the only measurement.
    pub(crate) fn from_one(value: f64) -> Self {
        Self(vec![value])
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    /// The sum over the count.
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / float_of(self.0.len())
    }

    /// The least that at least `percent` of all are not above (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let [found] = self.percentiles([percent]);
        found
    }

    /// As [`Samples::percentile`], several at once.
    pub(crate) fn percentiles<const N: usize>(&self, percents: [usize; N]) -> [f64; N] {
        let sorted = self.sorted();
        percents.map(|percent| sorted[rank(sorted.len(), percent)])
    }

    /// The least and the greatest.
    pub(crate) fn range(&self) -> [f64; 2] {
        let sorted = self.sorted();
        [sorted[0], sorted[sorted.len() - 1]]
    }

    /// Each measurement changed by `change`.
    pub(crate) fn map(&self, change: impl FnMut(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }

    /// Each measurement over that of `other` in the same round.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect())
    }

    /// The median of the rounds' ratios.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        self.over(other).median()
    }
}

/// The place of a percentile among `count` in order.
fn rank(count: usize, percent: usize) -> usize {
    (count * percent.min(100)).div_ceil(100).max(1) - 1
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss, reason = "figures are good to a few digits")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A count of items in memory as a figure.
pub(crate) fn float_of(count: usize) -> f64 {
    float(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples::new(values.to_vec()).unwrap()
    }

    #[track_caller]
    fn same(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got}, expected {expected}");
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Samples::new(Vec::new()), None);
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        same(samples(&[7.0]).median(), 7.0);
        same(samples(&[9.0, 1.0, 5.0]).median(), 5.0);
        same(samples(&[9.0, 1.0, 5.0, 6.0]).median(), 5.5);
    }

    #[test]
    fn a_percentile_is_a_measurement_of_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let hundred = samples(&hundred);
        for (percent, expected) in [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)] {
            same(hundred.percentile(percent), expected);
        }
        same(samples(&[3.0, 1.0]).percentile(99), 3.0);
        same(samples(&[3.0]).percentile(50), 3.0);
        assert_eq!(hundred.range().map(f64::to_bits), [1.0_f64, 100.0].map(f64::to_bits));
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians() {
        let (one, other) = (samples(&[10.0, 30.0, 80.0]), samples(&[10.0, 10.0, 40.0]));
        same(one.ratio(&other), 2.0);
        same(one.median() / other.median(), 3.0);
        same(one.map(|value| value * 2.0).median(), 60.0);
    }
}
