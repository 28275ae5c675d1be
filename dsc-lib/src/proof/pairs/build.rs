//! Building a table in RAM.
//!
//! Three passes, each in parallel and each over partitions that fit the cache:
//!
//! 1. *hash*: tag every `x` and scatter `(match bits, x)` by the top bits of the tag;
//! 2. *match*: group each partition by its match bits, tag every pair, scatter by the top bits
//!    of `e`;
//! 3. *sort*: order each partition and hand it to whoever stores it.
//!
//! Each task scatters to lists of its own, so nothing is locked; lists are kept in the order of
//! tasks, so the values of a group arrive in increasing `x`.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; `Size` bounds every shift and index"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, prelude::*};

use super::{
    super::{BuildError, Progress},
    Levels, Pair, Placed, Size,
    order::{Sorter, group},
    top,
};

/// Tags computed at once: inputs and outputs stay in the first-level cache.
const BATCH: usize = 1024;
/// More lists than this written at once miss the address translation cache.
const LISTS_BITS_MAX: u32 = 11;
/// Progress is told in steps of about this many values.
const STEP: usize = 1 << 16;

/// How a table of one size is cut into partitions and tasks.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Plan {
    size: Size,
    tasks: usize,
    /// log2 of the partitions by match bits.
    level1_bits: u32,
    /// log2 of the partitions by `e`.
    level2_bits: u32,
}

impl Plan {
    pub(in super::super) fn new(size: Size, tasks: usize) -> Self {
        let level1_bits = (size.bits() - 14).min(LISTS_BITS_MAX);
        let level2_bits = (size.bits() - 13).min(LISTS_BITS_MAX);
        Self { size, tasks: tasks.max(1), level1_bits, level2_bits }
    }

    /// RAM that building takes at its peak, within a few percent.
    pub(in super::super) fn ram_bytes(&self) -> u64 {
        let lists_bytes = |bits: u32, item_len: usize| {
            let list_len = self.capacity(bits) * item_len + size_of::<Vec<u64>>();
            ((self.tasks as u64) << bits).saturating_mul(list_len as u64)
        };
        lists_bytes(self.level1_bits, size_of::<u64>())
            + lists_bytes(self.level2_bits, size_of::<Placed>())
    }

    /// Items to make room for in each list: what is expected and six standard deviations.
    fn capacity(&self, bits: u32) -> usize {
        let expected = (self.size.values() >> bits) as usize / self.tasks;
        expected + 6 * expected.isqrt() + 16
    }

    /// The values that `task` hashes.
    fn values(&self, task: usize) -> std::ops::Range<u64> {
        let bound = |task: usize| self.size.values() * task as u64 / self.tasks as u64;
        bound(task)..bound(task + 1)
    }

    /// Bits that still tell values of one level-1 partition apart.
    fn group_bits(&self) -> u32 {
        self.size.bits() - 1 - self.level1_bits
    }
}

/// Counts what all tasks have done of one stage.
struct Stage<'a> {
    progress: &'a dyn Progress,
    name: &'static str,
    done: AtomicU64,
    total: u64,
}

impl<'a> Stage<'a> {
    const fn new(progress: &'a dyn Progress, name: &'static str, total: u64) -> Self {
        Self { progress, name, done: AtomicU64::new(0), total }
    }

    fn advance(&self, count: usize) -> Result<(), BuildError> {
        let done = self.done.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        self.progress.update(self.name, done, self.total);
        if self.progress.is_cancelled() { Err(BuildError::Cancelled) } else { Ok(()) }
    }
}

/// The records of one task, by partition.
struct Lists<T>(Vec<Vec<T>>);

impl<T> Lists<T> {
    fn new(bits: u32, capacity: usize) -> Result<Self, BuildError> {
        let list = |_| {
            let mut list = Vec::new();
            let reserved = list.try_reserve_exact(capacity);
            let bytes = ((capacity * size_of::<T>()) as u64) << bits;
            reserved.map(|()| list).map_err(|_| BuildError::OutOfMemory { bytes })
        };
        (0..1_usize << bits).map(list).collect::<Result<_, _>>().map(Self)
    }

    fn push(&mut self, part: u64, item: T) {
        self.0[part as usize].push(item);
    }
}

/// Turns lists by task and partition into lists by partition and task.
fn by_partition<T>(tasks: Vec<Lists<T>>) -> Vec<Vec<Vec<T>>> {
    let parts = tasks.first().map_or(0, |lists| lists.0.len());
    let mut tasks: Vec<_> = tasks.into_iter().map(|lists| lists.0.into_iter()).collect();
    (0..parts).map(|_| tasks.iter_mut().filter_map(Iterator::next).collect()).collect()
}

/// All pairs of a table, by the top bits of `e`, in no order within a partition.
pub(in super::super) struct Partitions {
    bits: u32,
    parts: Vec<Vec<Vec<Placed>>>,
}

/// Finds all pairs of the table of `levels`.
pub(in super::super) fn build(
    levels: &Levels,
    plan: &Plan,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Partitions, BuildError> {
    pool.install(|| {
        let hashed = hash_all(levels, plan, &Stage::new(progress, "hash", plan.size.values()))?;
        let stage = Stage::new(progress, "match", 1 << plan.level1_bits);
        let parts = match_all(levels, plan, hashed, &stage)?;
        Ok(Partitions { bits: plan.level2_bits, parts })
    })
}

fn hash_all(
    levels: &Levels,
    plan: &Plan,
    stage: &Stage<'_>,
) -> Result<Vec<Vec<Vec<u64>>>, BuildError> {
    let tasks = (0..plan.tasks).into_par_iter().map(|task| hash_some(levels, plan, task, stage));
    Ok(by_partition(tasks.collect::<Result<_, _>>()?))
}

fn hash_some(
    levels: &Levels,
    plan: &Plan,
    task: usize,
    stage: &Stage<'_>,
) -> Result<Lists<u64>, BuildError> {
    let mut lists = Lists::new(plan.level1_bits, plan.capacity(plan.level1_bits))?;
    let match_bits = plan.size.bits() - 1;
    let mut tags = vec![0; BATCH];
    let values = plan.values(task);
    for first in values.clone().step_by(STEP) {
        let step = first..values.end.min(first + STEP as u64);
        for first in step.clone().step_by(BATCH) {
            let tags = &mut tags[..BATCH.min((step.end - first) as usize)];
            levels.level1.fill_range(first, tags);
            for (x, &tag) in (first..).zip(&*tags) {
                let matched = top(tag, match_bits);
                lists.push(matched >> plan.group_bits(), matched << 32 | x);
            }
        }
        stage.advance((step.end - step.start) as usize)?;
    }
    Ok(lists)
}

fn match_all(
    levels: &Levels,
    plan: &Plan,
    hashed: Vec<Vec<Vec<u64>>>,
    stage: &Stage<'_>,
) -> Result<Vec<Vec<Vec<Placed>>>, BuildError> {
    let share = hashed.len().div_ceil(plan.tasks);
    let mut rest = hashed.into_iter();
    let shares: Vec<Vec<_>> =
        (0..plan.tasks).map(|_| rest.by_ref().take(share).collect()).collect();
    let tasks = shares.into_par_iter().map(|share| {
        let mut matcher = Matcher::new(levels, plan)?;
        for lists in share {
            matcher.match_partition(&lists);
            drop(lists);
            stage.advance(1)?;
        }
        Ok(matcher.finish())
    });
    Ok(by_partition(tasks.collect::<Result<_, BuildError>>()?))
}

/// Finds the pairs of level-1 partitions.
struct Matcher<'a> {
    levels: &'a Levels,
    plan: &'a Plan,
    ends: Vec<u32>,
    values: Vec<u32>,
    pairs: Vec<u64>,
    tags: Vec<u64>,
    found: Lists<Placed>,
}

impl<'a> Matcher<'a> {
    fn new(levels: &'a Levels, plan: &'a Plan) -> Result<Self, BuildError> {
        let found = Lists::new(plan.level2_bits, plan.capacity(plan.level2_bits))?;
        let (ends, values, tags) = (Vec::new(), Vec::new(), vec![0; BATCH]);
        Ok(Self { levels, plan, ends, values, pairs: Vec::with_capacity(BATCH), tags, found })
    }

    fn match_partition(&mut self, lists: &[Vec<u64>]) {
        let groups = 1 << self.plan.group_bits();
        let key = |record: u64| (record >> 32) as usize & (groups - 1);
        group(lists, groups, key, |record| record as u32, &mut self.ends, &mut self.values);
        let mut start = 0;
        for index in 0..self.ends.len() {
            let end = self.ends[index] as usize;
            self.pair_group(start, end);
            start = end;
        }
    }

    /// Pairs up `values[start..end]`, which all match and increase.
    fn pair_group(&mut self, start: usize, end: usize) {
        for second in start + 1..end {
            for first in start..second {
                let (x1, x2) = (self.values[first], self.values[second]);
                self.pairs.push(u64::from(x1) | u64::from(x2) << 32);
                if self.pairs.len() == BATCH {
                    self.place_pairs();
                }
            }
        }
    }

    fn place_pairs(&mut self) {
        let tags = &mut self.tags[..self.pairs.len()];
        self.levels.level2.fill_slice(&self.pairs, tags);
        for (&pair, &e) in self.pairs.iter().zip(&*tags) {
            self.found.push(top(e, self.plan.level2_bits), Placed { e, pair: Pair(pair) });
        }
        self.pairs.clear();
    }

    fn finish(mut self) -> Lists<Placed> {
        self.place_pairs();
        self.found
    }
}

impl Partitions {
    /// Number of pairs in each partition.
    pub(in super::super) fn counts(&self) -> Vec<usize> {
        self.parts.iter().map(|lists| lists.iter().map(Vec::len).sum()).collect()
    }

    /// Sorts every partition and gives it, its index and its output to `store`, in parallel.
    pub(in super::super) fn store<O: Send, E: From<BuildError> + Send>(
        self,
        pool: &ThreadPool,
        progress: &dyn Progress,
        outputs: Vec<O>,
        store: impl Fn(usize, O, &[Placed]) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let stage = Stage::new(progress, "sort", self.parts.len() as u64);
        let jobs = self.parts.into_par_iter().zip(outputs).enumerate();
        let sort = |sorter: &mut Sorter, (index, (lists, output)): (usize, (Vec<_>, O))| {
            store(index, output, sorter.sort(&lists, self.bits))?;
            Ok(stage.advance(1)?)
        };
        pool.install(|| jobs.try_for_each_init(Sorter::default, sort))
    }
}

/// The whole table of `levels` in one list.
#[cfg(test)]
pub(in super::super) fn whole_table(levels: &Levels, threads: usize) -> Vec<Placed> {
    planned_table(levels, &Plan::new(levels.size, threads))
}

#[cfg(test)]
fn planned_table(levels: &Levels, plan: &Plan) -> Vec<Placed> {
    use super::super::{NoProgress, pool};

    let pool = pool(plan.tasks).unwrap();
    let found = build(levels, plan, &pool, &NoProgress).unwrap();
    let mut parts = vec![Vec::new(); found.counts().len()];
    let store = |_, part: &mut Vec<Placed>, placed: &[Placed]| {
        part.extend(placed);
        Ok::<_, BuildError>(())
    };
    found.store(&pool, &NoProgress, parts.iter_mut().collect(), store).unwrap();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::Context, proof::pool};

    fn levels(k: u8) -> Levels {
        let contexts = [Context::SpaceTable1, Context::SpaceTable2];
        Levels::new(Size::new(k).unwrap(), contexts, &[b"build"])
    }

    fn naive_table(k: u8) -> Vec<Placed> {
        let levels = levels(k);
        let mut tags: Vec<(u64, u64)> =
            (0..1 << k).map(|x| (top(levels.level1.tag(x), u32::from(k) - 1), x)).collect();
        tags.sort_unstable();
        let mut placed = Vec::new();
        for group in tags.chunk_by(|left, right| left.0 == right.0) {
            for (index, (_, x2)) in group.iter().enumerate() {
                let pairs = group[..index].iter().map(|(_, x1)| Pair(x1 | x2 << 32));
                placed.extend(pairs.map(|pair| Placed { e: levels.level2.tag(pair.0), pair }));
            }
        }
        placed.sort_unstable();
        placed
    }

    #[test]
    fn the_table_is_the_naive_one_for_any_number_of_threads() {
        for k in [16, 17] {
            let expected = naive_table(k);
            for threads in [1, 2, 3] {
                assert_eq!(whole_table(&levels(k), threads), expected, "k {k}, {threads} threads");
            }
        }
    }

    #[test]
    fn the_table_does_not_depend_on_how_it_is_cut() {
        let (levels, size) = (levels(16), Size::new(16).unwrap());
        let expected = whole_table(&levels, 2);
        for (level1_bits, level2_bits) in [(1, 1), (1, 7), (11, 1), (11, 11)] {
            let plan = Plan { size, tasks: 2, level1_bits, level2_bits };
            assert!(planned_table(&levels, &plan) == expected, "{plan:?}");
        }
    }

    #[test]
    fn ram_that_the_system_does_not_have_is_an_error() {
        let found = Lists::<u64>::new(0, usize::MAX >> 3).err();
        let bytes = (usize::MAX >> 3 << 3) as u64;
        assert_eq!(found, Some(BuildError::OutOfMemory { bytes }));
        assert!(found.unwrap().to_string().starts_with("the system has no "));
    }

    #[test]
    fn plans_stay_within_their_bounds_for_every_size() {
        for k in Size::MIN..=Size::MAX {
            let plan = Plan::new(Size::new(k).unwrap(), 3);
            assert_eq!(plan.values(0).start, 0);
            assert_eq!(plan.values(2).end, 1 << k);
            assert!(plan.group_bits() <= 20 && plan.level2_bits <= u32::from(k) - 9);
            let per_entry = plan.ram_bytes() >> k;
            assert!((24..48).contains(&per_entry), "k {k}: {per_entry} bytes an entry");
        }
    }

    #[test]
    fn a_cancelled_build_stops() {
        struct Cancelled;
        impl Progress for Cancelled {
            fn update(&self, _stage: &'static str, _done: u64, _total: u64) {}
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let plan = Plan::new(Size::new(16).unwrap(), 1);
        let found = build(&levels(16), &plan, &pool(1).unwrap(), &Cancelled);
        assert_eq!(found.err(), Some(BuildError::Cancelled));
        assert_eq!(BuildError::Cancelled.to_string(), "cancelled");
    }
}
