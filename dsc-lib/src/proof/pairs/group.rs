//! Grouping what fits the cache, and sorting a group.
//!
//! A partition is first dealt out to groups of about 512, each a page of a vault; a group fits the
//! first-level cache, where it is paired up or sorted.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; counts fit 32 bits because a partition does"
)]

use super::{Placed, plan::GROUP_BITS};

/// Items that a group has room for: what is expected and five standard deviations. More go to a
/// list of their own, which is slow and right.
pub(super) const CAPACITY: usize = (1 << GROUP_BITS) + 128;

/// Items by group.
#[derive(Debug)]
pub(super) struct Groups<T> {
    counts: Vec<u32>,
    slots: Vec<T>,
    overflow: Vec<(usize, T)>,
    whole: Vec<T>,
}

impl<T: Copy + Default> Groups<T> {
    /// Makes room for `2^bits` groups.
    pub(super) fn new(bits: u32) -> Self {
        let (overflow, whole) = (Vec::new(), Vec::new());
        Self {
            counts: vec![0; 1 << bits],
            slots: vec![T::default(); CAPACITY << bits],
            overflow,
            whole,
        }
    }

    /// Number of groups.
    pub(super) const fn len(&self) -> usize {
        self.counts.len()
    }

    #[inline]
    pub(super) fn push(&mut self, group: usize, item: T) {
        let count = &mut self.counts[group];
        let used = *count as usize;
        *count += 1;
        if used < CAPACITY {
            self.slots[group * CAPACITY + used] = item;
        } else {
            self.overflow.push((group, item));
        }
    }

    /// The items of one group in the order they came, which are forgotten at the next call.
    pub(super) fn take(&mut self, group: usize) -> &[T] {
        let count = std::mem::take(&mut self.counts[group]) as usize;
        let kept = &self.slots[group * CAPACITY..][..count.min(CAPACITY)];
        if count <= CAPACITY {
            return kept;
        }
        self.whole.clear();
        self.whole.extend(kept);
        self.whole.extend(self.overflow.extract_if(.., |(of, _)| *of == group).map(|(_, t)| t));
        &self.whole
    }
}

/// log2 of the places that sorting deals items out to: about one item in each.
const PLACE_BITS: u32 = GROUP_BITS;
/// log2 of the items that are sorted by key.
const INDEX_BITS: u32 = GROUP_BITS + 1;
const ROOM: usize = 1 << INDEX_BITS;

/// Sorts groups one after another, keeping its buffers.
///
/// What is sorted are keys of 64 bits: the bits of `e` that still differ, with as many of the
/// lowest as that takes replaced by the item's index.
#[derive(Debug)]
pub(super) struct Sorter {
    ends: [u32; 1 << PLACE_BITS],
    keys: [u64; ROOM],
    ordered: [u64; ROOM],
    sorted: Vec<Placed>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self {
            ends: [0; 1 << PLACE_BITS],
            keys: [0; ROOM],
            ordered: [0; ROOM],
            sorted: Vec::with_capacity(ROOM),
        }
    }
}

impl Sorter {
    /// Returns `items` in order; the top `skip_bits` bits of their `e` agree.
    pub(super) fn sort(&mut self, items: &[Placed], skip_bits: u32) -> &[Placed] {
        self.sorted.clear();
        if items.len() > ROOM || !self.sort_keys(items, skip_bits) {
            self.sorted.extend(items);
            self.sorted.sort_unstable();
            return &self.sorted;
        }
        let keys = &self.ordered[..items.len()];
        self.sorted.extend(keys.iter().map(|&key| items[key as usize % ROOM]));
        &self.sorted
    }

    /// Orders the keys of `items`; tells whether that orders the items, which it does unless two
    /// differ only in bits that their keys have not.
    ///
    /// A counting pass over the first bits leaves about one key in a place, so that insertion
    /// hardly moves anything.
    fn sort_keys(&mut self, items: &[Placed], skip_bits: u32) -> bool {
        self.ends.fill(0);
        for ((index, item), key) in (0..).zip(items).zip(&mut self.keys) {
            *key = (item.e << skip_bits) & !(ROOM as u64 - 1) | index;
            self.ends[place(*key)] += 1;
        }
        starts_from_counts(&mut self.ends);
        for &key in &self.keys[..items.len()] {
            let slot = &mut self.ends[place(key)];
            self.ordered[*slot as usize % ROOM] = key;
            *slot += 1;
        }
        let ordered = &mut self.ordered[..items.len()];
        insertion_sort(ordered);
        ordered.windows(2).all(|keys| (keys[0] ^ keys[1]) >> INDEX_BITS != 0)
    }
}

const fn place(key: u64) -> usize {
    (key >> (u64::BITS - PLACE_BITS)) as usize
}

/// Turns counts into the sum of the counts before each.
fn starts_from_counts(counts: &mut [u32]) {
    let mut sum = 0;
    for count in counts {
        sum += std::mem::replace(count, sum);
    }
}

/// Sorts what is nearly sorted.
fn insertion_sort(keys: &mut [u64]) {
    for end in 1..keys.len() {
        let key = keys[end];
        let mut slot = end;
        while slot > 0 && key < keys[slot - 1] {
            keys[slot] = keys[slot - 1];
            slot -= 1;
        }
        keys[slot] = key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Pair, *};

    proptest! {
        #[test]
        fn a_group_comes_out_sorted(
            skip_bits in 0_u32..24,
            items in prop::collection::vec((any::<u64>(), any::<u64>()), 0..ROOM + 100),
            equal_bits in 0_u32..64,
        ) {
            let place = |(e, pair): (u64, u64)| {
                Placed { e: (e >> equal_bits << equal_bits) >> skip_bits, pair: Pair(pair) }
            };
            let items: Vec<_> = items.into_iter().map(place).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            let mut sorter = Sorter::default();
            prop_assert_eq!(sorter.sort(&items, skip_bits), expected.clone());
            prop_assert_eq!(sorter.sort(&items, skip_bits), expected);
        }
    }

    #[test]
    fn equal_tags_are_ordered_by_pair() {
        let place = |pair| Placed { e: 1 << 63, pair: Pair(pair) };
        let items = [place(5 << 32 | 2), place(4 << 32 | 2), place(9 << 32 | 1)];
        let mut sorter = Sorter::default();
        let pairs: Vec<u64> = sorter.sort(&items, 0).iter().map(|placed| placed.pair.0).collect();
        assert_eq!(pairs, [9 << 32 | 1, 4 << 32 | 2, 5 << 32 | 2]);
    }

    #[test]
    fn a_group_that_is_overfull_keeps_everything() {
        let mut groups = Groups::new(1);
        for item in 0..2_000_u64 {
            groups.push((item % 3 == 0).into(), item);
        }
        let expected: Vec<u64> = (0..2_000).filter(|item| item % 3 != 0).collect();
        assert_eq!(groups.take(0), expected);
        assert_eq!(groups.take(1).len(), 667);
        assert!(groups.take(0).is_empty());
        groups.push(0, 7);
        assert_eq!(groups.take(0), [7]);
    }
}
