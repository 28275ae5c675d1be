//! Finding some pairs of a table in bounded memory, without keeping the others.
//!
//! The match bits are cut into as many slices as the memory allowed asks for. Each slice takes one
//! pass: tag every `x`, keep those of the slice, group them, tag their pairs and keep those asked
//! for. So little memory costs hashes of level 1, never of level 2.
//!
//! # Invariants
//!
//! 1. The result depends on the table and on what is wanted alone, not on threads or memory.
//! 2. `wanted` is asked exactly once about every pair of the table.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; `Size` bounds every shift and index"
)]

use rayon::{ThreadPool, prelude::*};

use super::{
    super::{BuildError, Progress},
    Levels, Pair, Placed, Size,
    stage::Stage,
    top,
};

/// Tags computed at once: inputs and outputs stay in the first-level cache.
const BATCH: usize = 1024;
/// Values hashed between two reports of progress.
const STEP: u64 = 1 << 16;
/// log2 of the match values of a part, at least: a smaller one costs more lists than it saves.
const PART_BITS_MIN: u32 = 13;
/// More lists than this written at once miss the address translation cache.
const PARTS_MAX: u64 = 1 << 11;

/// What [`select`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Selected {
    /// All pairs of the table, wanted or not.
    pub(in super::super) pairs: u64,
    /// Those wanted, in the order of the table.
    pub(in super::super) placed: Vec<Placed>,
}

/// Finds the pairs of the table of `levels` whose `e` is `wanted`.
///
/// The pairs found are not counted against `ram_bytes_max`: who wants them knows how many.
///
/// # Errors
///
/// [`BuildError`] if even the smallest slices take more memory, or if it was told to stop.
pub(in super::super) fn select(
    levels: &Levels,
    ram_bytes_max: u64,
    pool: &ThreadPool,
    progress: &dyn Progress,
    wanted: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Selected, BuildError> {
    let plan = Plan::new(levels.size, pool.current_num_threads(), ram_bytes_max)?;
    let stage = Stage::new(progress, "select", 0, plan.steps());
    pool.install(|| {
        let (mut lists, mut pairs, mut placed) = (Lists::new(&plan), 0, Vec::new());
        for pass in 0..plan.passes {
            lists.fill(levels, &plan, pass, &stage)?;
            let found = lists.match_all(levels, &plan, wanted, &stage)?;
            pairs += found.iter().map(|part| part.pairs).sum::<u64>();
            placed.extend(found.into_iter().flat_map(|part| part.placed));
        }
        placed.par_sort_unstable();
        Ok(Selected { pairs, placed })
    })
}

/// The least RAM that [`select`] can do with on `threads` threads.
pub(in super::super) fn ram_bytes_least(size: Size, threads: usize) -> u64 {
    Plan::with_passes(size, threads, Plan::passes_max(size)).ram_bytes()
}

/// How the match values are cut: slices for passes, parts of a slice for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    size: Size,
    tasks: usize,
    passes: u64,
    /// Match values of a slice; the last slice may have fewer.
    width: u64,
    /// log2 of the match values of a part.
    part_bits: u32,
}

impl Plan {
    /// The plan of fewest passes within `ram_bytes_max`.
    fn new(size: Size, tasks: usize, ram_bytes_max: u64) -> Result<Self, BuildError> {
        BuildError::check_ram(ram_bytes_least(size, tasks), ram_bytes_max)?;
        let passes_max = Self::passes_max(size);
        let plan = |passes| Self::with_passes(size, tasks, passes);
        let fits = |plan: &Self| plan.ram_bytes() <= ram_bytes_max;
        Ok((1..passes_max).map(plan).find(fits).unwrap_or_else(|| plan(passes_max)))
    }

    fn passes_max(size: Size) -> u64 {
        (match_values(size) >> PART_BITS_MIN).min(PARTS_MAX)
    }

    fn with_passes(size: Size, tasks: usize, passes: u64) -> Self {
        let width = match_values(size).div_ceil(passes);
        let part_bits = width.div_ceil(PARTS_MAX).next_power_of_two().ilog2().max(PART_BITS_MIN);
        Self { size, tasks: tasks.max(1), passes, width, part_bits }
    }

    fn parts(&self) -> usize {
        self.width.div_ceil(1 << self.part_bits) as usize
    }

    /// Records to make room for in each list: what is expected and six standard deviations.
    fn capacity(&self) -> usize {
        let expected = (2_usize << self.part_bits) / self.tasks;
        expected + 6 * expected.isqrt() + 16
    }

    /// RAM that selecting takes, but for what is found.
    fn ram_bytes(&self) -> u64 {
        let list_len = self.capacity() * size_of::<u64>() + size_of::<Vec<u64>>();
        // For grouping, a count for each match value and about two values.
        let matcher_len = ((4 * size_of::<u32>()) << self.part_bits) + 4 * BATCH * size_of::<u64>();
        (self.tasks * (self.parts() * list_len + matcher_len)) as u64
    }

    fn records_of_part(&self) -> u64 {
        2 << self.part_bits
    }

    /// Units of progress: values hashed and about as many records matched.
    fn steps(&self) -> u64 {
        self.passes * (self.size.values() + self.parts() as u64 * self.records_of_part())
    }

    /// The values that `task` hashes.
    fn values(&self, task: usize) -> std::ops::Range<u64> {
        let bound = |task: usize| self.size.values() * task as u64 / self.tasks as u64;
        bound(task)..bound(task + 1)
    }
}

fn match_values(size: Size) -> u64 {
    size.values() / 2
}

/// The values of one slice, by task and part: match bits within the slice above, `x` below.
struct Lists(Vec<Vec<Vec<u64>>>);

impl Lists {
    fn new(plan: &Plan) -> Self {
        Self(vec![vec![Vec::new(); plan.parts()]; plan.tasks])
    }

    /// Hashes every value and keeps those of the slice of `pass`.
    fn fill(
        &mut self,
        levels: &Levels,
        plan: &Plan,
        pass: u64,
        stage: &Stage<'_>,
    ) -> Result<(), BuildError> {
        let tasks = self.0.par_iter_mut().enumerate();
        tasks.try_for_each(|(task, parts)| {
            for list in parts.iter_mut() {
                list.clear();
                let bytes = (plan.capacity() * size_of::<u64>()) as u64;
                let reserved = list.try_reserve_exact(plan.capacity());
                reserved.map_err(|_| BuildError::OutOfMemory { bytes })?;
            }
            fill_task(parts, levels, plan, pass, task, stage)
        })
    }

    /// Pairs up the values of every part.
    fn match_all(
        &self,
        levels: &Levels,
        plan: &Plan,
        wanted: &(dyn Fn(u64) -> bool + Sync),
        stage: &Stage<'_>,
    ) -> Result<Vec<Part>, BuildError> {
        let matched = |matcher: &mut Matcher<'_>, index: usize| {
            let lists: Vec<&[u64]> = self.0.iter().map(|parts| &parts[index][..]).collect();
            let part = matcher.match_part(&lists, plan.part_bits);
            stage.advance(plan.records_of_part()).map(|()| part)
        };
        let parts = (0..plan.parts()).into_par_iter();
        parts.map_init(|| Matcher::new(levels, wanted), matched).collect()
    }
}

fn fill_task(
    parts: &mut [Vec<u64>],
    levels: &Levels,
    plan: &Plan,
    pass: u64,
    task: usize,
    stage: &Stage<'_>,
) -> Result<(), BuildError> {
    let (match_bits, first_match) = (plan.size.bits() - 1, pass * plan.width);
    let (mut tags, mut records, values) = ([0; BATCH], [0; BATCH], plan.values(task));
    for step in values.clone().step_by(STEP as usize) {
        let step = step..values.end.min(step + STEP);
        for first in step.clone().step_by(BATCH) {
            let tags = &mut tags[..BATCH.min((step.end - first) as usize)];
            levels.level1.fill_range(first, tags);
            // Without a branch on what the hash gives, which nobody can predict.
            let mut count = 0;
            for (x, &tag) in (first..).zip(&*tags) {
                let matched = top(tag, match_bits).wrapping_sub(first_match);
                records[count] = matched << 32 | x;
                count += usize::from(matched < plan.width);
            }
            for &record in &records[..count] {
                parts[(record >> 32 >> plan.part_bits) as usize].push(record);
            }
        }
        stage.advance(step.end - step.start)?;
    }
    Ok(())
}

/// The pairs of one part.
#[derive(Default)]
struct Part {
    pairs: u64,
    placed: Vec<Placed>,
}

/// Finds the pairs of parts, keeping its buffers.
struct Matcher<'a> {
    levels: &'a Levels,
    wanted: &'a (dyn Fn(u64) -> bool + Sync),
    ends: Vec<u32>,
    values: Vec<u32>,
    pairs: Vec<u64>,
    tags: Vec<u64>,
}

impl<'a> Matcher<'a> {
    fn new(levels: &'a Levels, wanted: &'a (dyn Fn(u64) -> bool + Sync)) -> Self {
        let (ends, values) = (Vec::new(), Vec::new());
        let (pairs, tags) = (Vec::with_capacity(BATCH), vec![0; BATCH]);
        Self { levels, wanted, ends, values, pairs, tags }
    }

    fn match_part(&mut self, lists: &[&[u64]], part_bits: u32) -> Part {
        self.group(lists, part_bits);
        let (mut part, mut start) = (Part::default(), 0);
        for index in 0..self.ends.len() {
            let end = self.ends[index] as usize;
            self.pair_group(start, end, &mut part);
            start = end;
        }
        self.place_pairs(&mut part);
        part
    }

    /// Moves the values of `lists` to `values`, those of one match value together and increasing
    /// as they came, and leaves the end of each group in `ends`.
    fn group(&mut self, lists: &[&[u64]], part_bits: u32) {
        let key = |record: u64| (record >> 32) as usize & ((1 << part_bits) - 1);
        self.ends.clear();
        self.ends.resize(1 << part_bits, 0);
        lists.iter().copied().flatten().for_each(|&record| self.ends[key(record)] += 1);
        let mut sum = 0;
        for end in &mut self.ends {
            sum += std::mem::replace(end, sum);
        }
        self.values.clear();
        self.values.resize(sum as usize, 0);
        for &record in lists.iter().copied().flatten() {
            let slot = &mut self.ends[key(record)];
            self.values[*slot as usize] = record as u32;
            *slot += 1;
        }
    }

    /// Pairs up `values[start..end]`, which all match and increase.
    fn pair_group(&mut self, start: usize, end: usize, part: &mut Part) {
        for second in start + 1..end {
            for first in start..second {
                let (x1, x2) = (self.values[first], self.values[second]);
                self.pairs.push(u64::from(x1) | u64::from(x2) << 32);
                if self.pairs.len() == BATCH {
                    self.place_pairs(part);
                }
            }
        }
    }

    fn place_pairs(&mut self, part: &mut Part) {
        let tags = &mut self.tags[..self.pairs.len()];
        self.levels.level2.fill_slice(&self.pairs, tags);
        part.pairs += self.pairs.len() as u64;
        for (&pair, &e) in self.pairs.iter().zip(&*tags) {
            if (self.wanted)(e) {
                part.placed.push(Placed { e, pair: Pair(pair) });
            }
        }
        self.pairs.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{super::build::naive_table, *};
    use crate::{
        hash::Context,
        proof::{NoProgress, pool},
    };

    fn levels(k: u8) -> Levels {
        let contexts = [Context::SpaceTable1, Context::SpaceTable2];
        Levels::new(Size::new(k).unwrap(), contexts, &[b"select"])
    }

    #[test]
    fn what_is_wanted_is_found_whatever_the_memory_and_threads() {
        let predicates: [&(dyn Fn(u64) -> bool + Sync); 4] =
            [&|_| true, &|_| false, &|e| top(e, 7) == 5, &|e| e.is_multiple_of(1000)];
        for k in [16, 17] {
            let levels = levels(k);
            let table = naive_table(&levels);
            for threads in [1, 2, 3] {
                let (pool, size) = (pool(threads).unwrap(), levels.size);
                for passes in [1, 2, 3, 4] {
                    let ram_bytes_max = Plan::with_passes(size, threads, passes).ram_bytes();
                    for wanted in predicates {
                        let found = select(&levels, ram_bytes_max, &pool, &NoProgress, wanted);
                        let found = found.unwrap();
                        let expected = table.iter().copied().filter(|placed| wanted(placed.e));
                        assert!(expected.eq(found.placed), "k {k}, {threads}, {passes}");
                        assert_eq!(found.pairs, table.len() as u64);
                    }
                }
            }
        }
    }

    #[test]
    fn less_memory_takes_more_passes_until_there_is_too_little() {
        for k in Size::MIN..=Size::MAX {
            let size = Size::new(k).unwrap();
            let all = Plan::new(size, 2, u64::MAX).unwrap();
            assert_eq!((all.passes, all.width), (1, 1 << (k - 1)));
            assert!(all.parts() <= 2048 && all.ram_bytes() >> k < 14, "k {k}");
            let some = Plan::new(size, 2, all.ram_bytes() / 2 + (1 << 18)).unwrap();
            assert!((2..5).contains(&some.passes), "k {k}: {} passes", some.passes);
            assert!(some.width * some.passes >= 1 << (k - 1));
            let error = Plan::new(size, 2, 1 << 16).unwrap_err();
            let BuildError::RamTooSmall { needed, allowed: 65_536 } = error else {
                panic!("{error}")
            };
            assert_eq!(Plan::new(size, 2, needed).map(|plan| plan.ram_bytes() <= needed), Ok(true));
            assert!(needed < 40 << 20, "k {k}: {needed}");
        }
    }

    #[test]
    fn progress_ends_at_its_total_and_a_cancelled_selection_stops() {
        #[derive(Default)]
        struct Watch(AtomicU64, AtomicU64, bool);
        impl Progress for Watch {
            fn update(&self, _stage: &'static str, done: u64, total: u64) {
                self.0.fetch_max(done, Ordering::Relaxed);
                self.1.store(total, Ordering::Relaxed);
            }
            fn is_cancelled(&self) -> bool {
                self.2
            }
        }
        let (pool, watch) = (pool(2).unwrap(), Watch::default());
        select(&levels(16), u64::MAX, &pool, &watch, &|_| false).unwrap();
        let [done, total] = [watch.0, watch.1].map(AtomicU64::into_inner);
        assert!(done == total && total >= 2 << 16, "{done} of {total}");
        let stopped = Watch(AtomicU64::new(0), AtomicU64::new(0), true);
        let found = select(&levels(16), u64::MAX, &pool, &stopped, &|_| false);
        assert_eq!(found, Err(BuildError::Cancelled));
    }
}
