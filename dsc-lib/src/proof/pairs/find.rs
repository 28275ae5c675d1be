//! Finding the entries of one prefix in a table held in RAM.
//!
//! The table is one array of pairs in increasing `e`. An index says where each prefix begins: a
//! block of 16 bytes for sixteen prefixes holds the first position and, in four bits each, how many
//! entries every prefix has. So a look-up reads one block and the entries, and hashes nothing; 9
//! bytes an entry, of which the ninth is likely to be in a cache.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "positions in RAM, where the table was allocated; `Size` bounds every shift"
)]
#![allow(clippy::inline_always, reason = "small steps that run between vector instructions")]

use rayon::ThreadPool;

use super::{
    super::{BuildError, Progress, pages::Pages},
    Arena, Levels, Placed, Plan, Size, build, top,
};
use crate::prefetch::prefetch;

/// Prefixes in a block of the index.
const BLOCK: usize = 16;
const BLOCK_BITS: u32 = BLOCK.ilog2();
/// Bits of one count.
const COUNT_BITS: u32 = 4;
/// The most entries that one prefix keeps.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Where the entries of sixteen consecutive prefixes stand: the first position, and the counts.
type Block = [u64; 2];

/// A pair table in RAM.
#[derive(Debug)]
pub(in super::super) struct Table {
    /// Pairs as numbers, `x1 | x2 << 32`.
    pairs: Pages,
    index: Pages,
    bits: u32,
}

/// Where the entries of one prefix stand: the first position, and in the low bits how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Range(u64);

/// A table, to look many prefixes up: the steps of a look-up apart, so that those of several can
/// overlap.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct View<'a> {
    pairs: &'a [u64],
    index: &'a [Block],
    bits: u32,
}

impl Range {
    const fn start(self) -> usize {
        (self.0 >> COUNT_BITS) as usize
    }

    pub(in super::super) const fn count(self) -> usize {
        (self.0 & COUNT_MAX) as usize
    }
}

impl<'a> View<'a> {
    /// Fetches what [`View::locate`] reads.
    #[inline(always)]
    pub(in super::super) fn prefetch_index(&self, tag: u64) {
        prefetch(self.index, (top(tag, self.bits) >> BLOCK_BITS) as usize);
    }

    /// Where the pairs stand whose `e` begins with the bits that `tag` begins with.
    #[inline(always)]
    pub(in super::super) fn locate(&self, tag: u64) -> Range {
        let prefix = top(tag, self.bits);
        let block = self.index.get((prefix >> BLOCK_BITS) as usize);
        let [first, counts] = block.copied().unwrap_or_default();
        let at = shift_of(prefix);
        let start = first + sum(counts & !(u64::MAX << at));
        Range(start << COUNT_BITS | counts >> at & COUNT_MAX)
    }

    /// Fetches what [`View::entries`] reads; nothing for no entries.
    #[inline(always)]
    pub(in super::super) fn prefetch_entries(&self, range: Range) {
        // Without a branch, which would be missed often: the first line stays in the cache.
        let at = if range.count() == 0 { 0 } else { range.start() };
        prefetch(self.pairs, at);
        // One in thirty crosses to another line.
        prefetch(self.pairs, at + range.count().saturating_sub(1));
    }

    /// The pairs that stand there.
    #[inline(always)]
    pub(in super::super) fn entries(&self, range: Range) -> &'a [u64] {
        let start = range.start();
        self.pairs.get(start..start + range.count()).unwrap_or_default()
    }

    /// The first two pairs that stand there; if there are fewer, any others instead.
    #[inline(always)]
    pub(in super::super) fn first_two(&self, range: Range) -> [u64; 2] {
        // Only what [`View::prefetch_entries`] fetched, or what the second entry needs as well.
        let first = if range.count() == 0 { 0 } else { range.start() };
        let second = if range.count() < 2 { first } else { first + 1 };
        [first, second].map(|at| self.pairs.get(at).copied().unwrap_or_default())
    }

    /// The pairs whose `e` begins with the bits that `tag` begins with.
    pub(in super::super) fn find(&self, tag: u64) -> &'a [u64] {
        self.entries(self.locate(tag))
    }
}

/// Adds up the counts of a block.
#[inline(always)]
const fn sum(counts: u64) -> u64 {
    const EVEN: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    // Bytes of at most 30, of which the product's top byte is the sum: at most 240.
    let bytes = (counts & EVEN) + (counts >> COUNT_BITS & EVEN);
    bytes.wrapping_mul(0x0101_0101_0101_0101) >> 56
}

/// Where in its block the count of `prefix` stands.
#[inline(always)]
const fn shift_of(prefix: u64) -> u32 {
    (prefix as u32 & (BLOCK as u32 - 1)) * COUNT_BITS
}

impl Table {
    /// Builds the table of `levels`.
    pub(in super::super) fn build(
        levels: &Levels,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let plan = Plan::in_ram(levels.size, pool.current_num_threads());
        let mut pages = plan.allocate()?;
        let arena = Arena::new(&plan, &mut pages, None);
        let found = build(levels, &plan, &arena, pool, progress)?;
        let counts = found.counts();
        let bits = levels.size.bits();
        let pairs = Pages::zeroed_items::<u64>(counts.iter().sum())?;
        let index = Pages::zeroed_items::<Block>(blocks(levels.size))?;
        let mut table = Self { pairs, index, bits };
        let parts = table.parts(&counts).into_iter().map(Some).collect();
        found.store(pool, progress, parts, |_, mut part, mut sorted| {
            while let Some(group) = sorted.next_group() {
                part.fill(group);
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// The most RAM that [`Table::build`] takes, within a few percent.
    pub(in super::super) fn ram_bytes_to_build(size: Size, tasks: usize) -> u64 {
        let plan = Plan::in_ram(size, tasks);
        plan.ram_bytes().saturating_add(ram_bytes(size.values(), blocks(size)))
    }

    /// RAM held.
    pub(in super::super) fn ram_bytes(&self) -> u64 {
        let View { pairs, index, .. } = self.view();
        ram_bytes(pairs.len() as u64, index.len())
    }

    /// The table, to look up in.
    pub(in super::super) fn view(&self) -> View<'_> {
        View { pairs: self.pairs.as_slice(), index: self.index.as_slice(), bits: self.bits }
    }

    /// Cuts the table into the parts that partitions of `counts` entries fill.
    fn parts(&mut self, counts: &[usize]) -> Vec<Part<'_>> {
        let (mut pairs, mut first, bits) = (self.pairs.as_mut_slice(), 0, self.bits);
        let index = self.index.as_mut_slice();
        let blocks = index.len().checked_div(counts.len()).unwrap_or_default();
        let index = index.chunks_mut(blocks.max(1));
        let cut = |(&count, index)| {
            let (head, tail) = std::mem::take(&mut pairs).split_at_mut(count);
            let part = Part { bits, first, used: 0, pairs: head, index };
            (pairs, first) = (tail, first.saturating_add(count as u64));
            part
        };
        counts.iter().zip(index).map(cut).collect()
    }
}

const fn blocks(size: Size) -> usize {
    (size.values() >> BLOCK_BITS) as usize
}

const fn ram_bytes(pairs: u64, blocks: usize) -> u64 {
    let pairs_len = pairs.saturating_mul(size_of::<u64>() as u64);
    pairs_len.saturating_add((blocks as u64).saturating_mul(size_of::<Block>() as u64))
}

/// The part of a [`Table`] that one partition fills.
struct Part<'a> {
    bits: u32,
    first: u64,
    used: usize,
    pairs: &'a mut [u64],
    index: &'a mut [Block],
}

impl Part<'_> {
    /// Stores the next entries of the partition, which come in order.
    ///
    /// A prefix keeps at most 15 entries. One is expected, so more are as unlikely as finding hash
    /// collisions at will; should it happen, walks miss the entries and nothing else breaks.
    fn fill(&mut self, placed: &[Placed]) {
        let blocks = self.index.len();
        for entry in placed {
            let prefix = top(entry.e, self.bits);
            let [first, counts] = &mut self.index[(prefix >> BLOCK_BITS) as usize % blocks];
            if *counts == 0 {
                *first = self.first + self.used as u64;
            }
            let at = shift_of(prefix);
            if *counts >> at & COUNT_MAX < COUNT_MAX {
                *counts += 1 << at;
                self.pairs[self.used] = entry.pair.0;
                self.used += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Pair, *};
    use crate::{
        hash::Context,
        proof::{NoProgress, pool},
    };

    fn levels() -> Levels {
        let contexts = [Context::MemoryTable1, Context::MemoryTable2];
        Levels::new(Size::new(16).unwrap(), contexts, &[b"find"])
    }

    #[test]
    fn every_entry_is_found_by_its_prefix_and_only_there() {
        let pool = pool(2).unwrap();
        let (levels, prefixes) = (levels(), 1_u64 << 16);
        let table = Table::build(&levels, &pool, &NoProgress).unwrap();
        let mut found = 0;
        for prefix in 0..prefixes {
            let pairs = table.view().find(prefix << 48 | 0xffff);
            for &pair in pairs {
                assert_eq!(top(levels.check(Pair(pair)).unwrap(), 16), prefix);
            }
            found += pairs.len();
        }
        assert_eq!(found, table.view().pairs.len());
        assert_eq!(table.ram_bytes(), (found * 8 + (1 << 16)) as u64);
        assert!(Table::ram_bytes_to_build(levels.size, 2) > table.ram_bytes());
    }

    #[test]
    fn an_overfull_prefix_loses_entries_and_harms_no_other() {
        let entry = |prefix: u64, pair| Placed { e: prefix << 48, pair: Pair(pair) };
        let mut placed: Vec<_> = (0..300).map(|pair| entry(8, pair)).collect();
        placed.extend([entry(9, 7_000), entry(17, 8_000)]);
        let pairs = Pages::zeroed_items::<u64>(302).unwrap();
        let index = Pages::zeroed_items::<Block>(4096).unwrap();
        let mut table = Table { pairs, index, bits: 16 };
        for mut part in table.parts(&[302]) {
            part.fill(&placed);
        }
        let table = table.view();
        assert_eq!(table.find(8 << 48).len(), 15);
        assert_eq!(table.find(9 << 48), [7_000]);
        assert_eq!(table.find(17 << 48), [8_000]);
        assert!(table.find(0).is_empty());
    }
}
