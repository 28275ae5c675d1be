//! The only source of chance: everything that may go one way or another is drawn here.

use std::ops::RangeInclusive;

use dsc_lib::units::Millis;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Numbers from a seed.
#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in the range, both ends included.
    pub(crate) fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.number() % (range.end() - range.start() + 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap()
    }

    pub(crate) fn millis(&mut self, range: &RangeInclusive<u64>) -> Millis {
        Millis(self.within(range))
    }

    pub(crate) fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.number() % 1000 < in_a_thousand
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.chance(500)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
