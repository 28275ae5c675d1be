//! Sorting what fits the cache: a counting pass over the top bits, then insertion.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; counts fit 32 bits because a partition does"
)]

use super::Placed;

/// Moves the items of `lists` to `sorted`, grouped by `key`, which is below `groups`.
///
/// The order within a group is the order of the lists. Leaves the end of each group in `ends`.
pub(super) fn group<T: Copy, V: Copy + Default>(
    lists: &[Vec<T>],
    groups: usize,
    key: impl Fn(T) -> usize,
    value: impl Fn(T) -> V,
    ends: &mut Vec<u32>,
    sorted: &mut Vec<V>,
) {
    ends.clear();
    ends.resize(groups, 0);
    lists.iter().flatten().for_each(|&item| ends[key(item)] += 1);
    let count = starts_from_counts(ends);
    sorted.clear();
    sorted.resize(count as usize, V::default());
    for &item in lists.iter().flatten() {
        let slot = &mut ends[key(item)];
        sorted[*slot as usize] = value(item);
        *slot += 1;
    }
}

/// Turns counts into the sum of the counts before each; returns the sum of all.
fn starts_from_counts(counts: &mut [u32]) -> u32 {
    let mut sum = 0;
    for count in counts {
        let start = sum;
        sum += *count;
        *count = start;
    }
    sum
}

/// Sorts partitions one after another, keeping its buffers.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    ends: Vec<u32>,
    sorted: Vec<Placed>,
}

impl Sorter {
    /// Returns the entries of `lists` in order; the top `skip_bits` bits of their `e` agree.
    pub(super) fn sort(&mut self, lists: &[Vec<Placed>], skip_bits: u32) -> &[Placed] {
        let count: usize = lists.iter().map(Vec::len).sum();
        // About one entry in a group, so that insertion hardly moves anything.
        let bits = count.max(2).ilog2();
        let key = |placed: Placed| ((placed.e << skip_bits) >> (64 - bits)) as usize;
        group(lists, 1 << bits, key, |placed| placed, &mut self.ends, &mut self.sorted);
        insertion_sort(&mut self.sorted);
        &self.sorted
    }
}

/// Sorts what is nearly sorted.
fn insertion_sort(items: &mut [Placed]) {
    for end in 1..items.len() {
        let item = items[end];
        let mut slot = end;
        while slot > 0 && item < items[slot - 1] {
            items[slot] = items[slot - 1];
            slot -= 1;
        }
        items[slot] = item;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Pair, *};

    proptest! {
        #[test]
        fn a_partition_comes_out_sorted(
            skip_bits in 0_u32..8,
            items in prop::collection::vec((any::<u64>(), any::<u64>()), 0..500),
        ) {
            let place = |(e, pair)| Placed { e: e >> skip_bits, pair: Pair(pair) };
            let lists: Vec<Vec<Placed>> =
                items.chunks(100).map(|items| items.iter().copied().map(place).collect()).collect();
            let mut expected: Vec<Placed> = lists.concat();
            expected.sort_unstable();
            let mut sorter = Sorter::default();
            prop_assert_eq!(sorter.sort(&lists, skip_bits), expected);
        }
    }

    #[test]
    fn equal_tags_are_ordered_by_pair() {
        let place = |pair| Placed { e: 1 << 63, pair: Pair(pair) };
        let lists = [vec![place(5 << 32 | 2), place(4 << 32 | 2)], vec![place(9 << 32 | 1)]];
        let pairs: Vec<u64> =
            Sorter::default().sort(&lists, 0).iter().map(|placed| placed.pair.0).collect();
        assert_eq!(pairs, [9 << 32 | 1, 4 << 32 | 2, 5 << 32 | 2]);
    }
}
