//! Finding the entries of one prefix in a table held in RAM.
//!
//! The table is one array of pairs in increasing `e`. An index says where each prefix begins: a
//! block of 16 bytes for eight prefixes holds the first position and how many entries each prefix
//! has. So a look-up reads one block and the entries, and hashes nothing; 10 bytes an entry.
#![allow(
    clippy::cast_possible_truncation,
    reason = "positions in RAM, where the table was allocated"
)]

use rayon::ThreadPool;

use super::{
    super::{BuildError, Progress, pages::Pages},
    Arena, Levels, Placed, Plan, Size, build, top,
};

/// Prefixes in a block of the index.
const BLOCK: usize = 8;
const BLOCK_BITS: u32 = BLOCK.ilog2();

/// Where the entries of eight consecutive prefixes stand.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    first: u64,
    counts: [u8; BLOCK],
}

/// A pair table in RAM.
#[derive(Debug)]
pub(in super::super) struct Table {
    /// Pairs as numbers, `x1 | x2 << 32`.
    pairs: Pages,
    index: Vec<Block>,
    bits: u32,
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
        let mut table = Self { pairs, index: zeroed(blocks(levels.size))?, bits };
        let parts = table.parts(&counts).into_iter().map(Some).collect();
        found.store(pool, progress, parts, |_, mut part, mut sorted| {
            let mut placed = Vec::new();
            while let Some(group) = sorted.next_group() {
                placed.extend(group);
            }
            part.fill(&placed);
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
        ram_bytes(self.pairs().len() as u64, self.index.len())
    }

    fn pairs(&self) -> &[u64] {
        self.pairs.as_slice()
    }

    /// The pairs whose `e` begins with the bits that `tag` begins with.
    pub(in super::super) fn find(&self, tag: u64) -> &[u64] {
        let prefix = top(tag, self.bits);
        let block = self.index.get((prefix >> BLOCK_BITS) as usize).copied().unwrap_or_default();
        let (start, count) = block.range(within_block(prefix));
        self.pairs().get(start..start.saturating_add(count)).unwrap_or_default()
    }

    /// Cuts the table into the parts that partitions of `counts` entries fill.
    fn parts(&mut self, counts: &[usize]) -> Vec<Part<'_>> {
        let blocks = self.index.len().checked_div(counts.len()).unwrap_or_default();
        let (mut pairs, mut first, bits) = (self.pairs.as_mut_slice(), 0_u64, self.bits);
        let index = self.index.chunks_mut(blocks.max(1));
        let cut = |(&count, index)| {
            let (head, tail) = std::mem::take(&mut pairs).split_at_mut(count);
            let part = Part { bits, first, pairs: head, index };
            (pairs, first) = (tail, first.saturating_add(count as u64));
            part
        };
        counts.iter().zip(index).map(cut).collect()
    }
}

fn zeroed<T: Clone + Default>(count: usize) -> Result<Vec<T>, BuildError> {
    let mut items = Vec::new();
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    items.try_reserve_exact(count).map_err(|_| BuildError::OutOfMemory { bytes })?;
    items.resize(count, T::default());
    Ok(items)
}

const fn blocks(size: Size) -> usize {
    (size.values() >> BLOCK_BITS) as usize
}

const fn ram_bytes(pairs: u64, blocks: usize) -> u64 {
    let pairs_len = pairs.saturating_mul(size_of::<u64>() as u64);
    pairs_len.saturating_add((blocks as u64).saturating_mul(size_of::<Block>() as u64))
}

/// Which of its block's prefixes `prefix` is.
const fn within_block(prefix: u64) -> usize {
    prefix as usize & (BLOCK - 1)
}

impl Block {
    /// Where the entries of a prefix stand: the first and how many.
    fn range(&self, prefix: usize) -> (usize, usize) {
        let (before, from) = self.counts.split_at_checked(prefix).unwrap_or_default();
        let skipped: u64 = before.iter().copied().map(u64::from).sum();
        let count = from.first().copied().unwrap_or_default();
        (self.first.saturating_add(skipped) as usize, count.into())
    }
}

/// The part of a [`Table`] that one partition fills.
struct Part<'a> {
    bits: u32,
    first: u64,
    pairs: &'a mut [u64],
    index: &'a mut [Block],
}

impl Part<'_> {
    /// Stores the entries of the partition, which are in order.
    ///
    /// A prefix keeps at most 255 entries. One is expected, so more are as unlikely as finding
    /// hash collisions at will; should it happen, walks miss the entries and nothing else breaks.
    fn fill(&mut self, placed: &[Placed]) {
        let (mut entries, mut slots) = (placed.iter().peekable(), self.pairs.iter_mut());
        let (mut position, block_bits) = (self.first, self.bits.saturating_sub(BLOCK_BITS));
        let first_block = placed.first().map_or(0, |placed| {
            let blocks = self.index.len() as u64;
            top(placed.e, block_bits) & !blocks.saturating_sub(1)
        });
        for (number, block) in (first_block..).zip(self.index.iter_mut()) {
            block.first = position;
            while let Some(entry) = entries.next_if(|entry| top(entry.e, block_bits) == number) {
                let prefix = within_block(top(entry.e, self.bits));
                let Some(count) = block.counts.get_mut(prefix) else { continue };
                let Some(more) = count.checked_add(1) else { continue };
                let Some(slot) = slots.next() else { continue };
                (*count, *slot) = (more, entry.pair.0);
                position = position.saturating_add(1);
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
            let pairs = table.find(prefix << 48 | 0xffff);
            for &pair in pairs {
                assert_eq!(top(levels.check(Pair(pair)).unwrap(), 16), prefix);
            }
            found += pairs.len();
        }
        assert_eq!(found, table.pairs().len());
        assert_eq!(table.ram_bytes(), (found * 8 + (1 << 16) * 2) as u64);
        assert!(Table::ram_bytes_to_build(levels.size, 2) > table.ram_bytes());
    }

    #[test]
    fn a_table_larger_than_memory_is_an_error() {
        let found = zeroed::<u64>(usize::MAX).unwrap_err();
        assert_eq!(found, BuildError::OutOfMemory { bytes: u64::MAX });
    }

    #[test]
    fn an_overfull_prefix_loses_entries_and_harms_no_other() {
        let entry = |prefix: u64, pair| Placed { e: prefix << 48, pair: Pair(pair) };
        let mut placed: Vec<_> = (0..300).map(|pair| entry(8, pair)).collect();
        placed.extend([entry(9, 7_000), entry(17, 8_000)]);
        let pairs = Pages::zeroed_items::<u64>(302).unwrap();
        let mut table = Table { pairs, index: vec![Block::default(); 8192], bits: 16 };
        for mut part in table.parts(&[302]) {
            part.fill(&placed);
        }
        assert_eq!(table.find(8 << 48).len(), 255);
        assert_eq!(table.find(9 << 48), [7_000]);
        assert_eq!(table.find(17 << 48), [8_000]);
        assert!(table.find(0).is_empty());
    }
}
