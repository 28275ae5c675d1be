//! Finding the pairs of a group.
//!
//! Values of equal key form a chain, each naming the one before it. Chains are followed all
//! together, a step of every chain in each round: which of them end is not to be predicted, and so
//! is no branch.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; indices are below ROOM, which fits 16 bits"
)]

use super::plan::GROUP_BITS;

/// log2 of the match keys in a group, two values each.
pub(super) const KEY_BITS: u32 = GROUP_BITS - 1;
const KEYS: usize = 1 << KEY_BITS;
/// Records that are joined at once: one less than this, so that zero can be nobody.
const ROOM: usize = 1 << (GROUP_BITS + 1);

/// Two records of one key, by index plus one; the second is zero at the end of a chain.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    record: u16,
    before: u16,
}

/// Joins groups one after another, keeping its buffers.
#[derive(Debug)]
pub(super) struct Joiner {
    /// By key, one more than the index of the last record that has it.
    heads: [u16; KEYS],
    /// By index plus one, the one before of the same key.
    previous: [u16; ROOM],
    values: [u32; ROOM],
    steps: [Step; ROOM],
}

impl Default for Joiner {
    fn default() -> Self {
        Self {
            heads: [0; KEYS],
            previous: [0; ROOM],
            values: [0; ROOM],
            steps: [Step::default(); ROOM],
        }
    }
}

impl Joiner {
    /// Appends the pairs of `records` to `pairs`.
    ///
    /// A record's low half is its value; the lowest bits of its high half are its key.
    pub(super) fn join(&mut self, records: &[u64], pairs: &mut Vec<u64>) {
        if records.len() < ROOM {
            self.join_in_rounds(records, pairs);
        } else {
            join_slowly(records, pairs);
        }
    }

    fn join_in_rounds(&mut self, records: &[u64], pairs: &mut Vec<u64>) {
        let mut count = self.link(records);
        while count > 0 {
            let start = pairs.len();
            pairs.resize(start + count, 0);
            count = self.follow(count, &mut pairs[start..]);
        }
    }

    /// Links records to chains; returns how many have one before them.
    fn link(&mut self, records: &[u64]) -> usize {
        self.heads.fill(0);
        let mut count = 0;
        for (index, &record) in (1_u16..).zip(records) {
            let head = &mut self.heads[(record >> 32) as usize % KEYS];
            let before = std::mem::replace(head, index);
            self.previous[usize::from(index) % ROOM] = before;
            self.values[usize::from(index) % ROOM] = record as u32;
            self.steps[count % ROOM] = Step { record: index, before };
            count += usize::from(before != 0);
        }
        count
    }

    /// Writes the pairs of the first `count` steps and goes one further; returns how many could.
    fn follow(&mut self, count: usize, pairs: &mut [u64]) -> usize {
        let mut left = 0;
        for (index, pair) in (0..count).zip(pairs) {
            let Step { record, before } = self.steps[index % ROOM];
            let (record_at, before_at) = (usize::from(record) % ROOM, usize::from(before) % ROOM);
            *pair = ordered(self.values[record_at], self.values[before_at]);
            let before = self.previous[before_at];
            self.steps[left % ROOM] = Step { record, before };
            left += usize::from(before != 0);
        }
        left
    }
}

/// The pair of two values.
fn ordered(left: u32, right: u32) -> u64 {
    u64::from(left.min(right)) | u64::from(left.max(right)) << 32
}

/// Joins as many records as there are, which is as unlikely as it is slow.
fn join_slowly(records: &[u64], pairs: &mut Vec<u64>) {
    let key = |record: u64| (record >> 32) as usize % KEYS;
    for (index, &right) in records.iter().enumerate() {
        let left = records[..index].iter().filter(|&&left| key(left) == key(right));
        pairs.extend(left.map(|&left| ordered(left as u32, right as u32)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounds_find_the_pairs_that_every_pair_tried_finds(
            keys in prop::collection::vec(0_u64..300, 0..ROOM - 1),
        ) {
            let records: Vec<u64> =
                (0..).zip(keys).map(|(value, key): (u64, _)| key << 32 | value ^ 0x55).collect();
            let (mut joiner, mut expected) = (Joiner::default(), Vec::new());
            join_slowly(&records, &mut expected);
            expected.sort_unstable();
            for _ in 0..2 {
                let mut found = Vec::new();
                joiner.join(&records, &mut found);
                found.sort_unstable();
                prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn a_group_of_any_length_is_joined() {
        for count in [ROOM - 1, ROOM, ROOM + 1] {
            let records: Vec<u64> =
                (0..count as u64).map(|value| (value % 256) << 32 | value).collect();
            let mut pairs = Vec::new();
            Joiner::default().join(&records, &mut pairs);
            let expected: usize = (0..count).map(|value| value / 256).sum();
            assert_eq!(pairs.len(), expected);
            assert!(pairs.iter().all(|pair| pair & 0xffff_ffff < pair >> 32));
        }
    }
}
