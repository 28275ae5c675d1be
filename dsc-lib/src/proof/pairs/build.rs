//! Building a table: hash, match, sort.
//!
//! Three passes, each in parallel and each over partitions that fit the cache:
//!
//! 1. *hash*: tag every `x` and deal `(match bits, x)` out by the top bits of the tag;
//! 2. *match*: pair up what matches within each partition, tag every pair and deal it out by the
//!    top bits of `e`;
//! 3. *sort*: tag the pairs of each partition again, which is cheaper than having kept their tags,
//!    and hand them over in order.
//!
//! The lists in between are in the chunks of an [`Arena`]; a list's order means nothing, so threads
//! take values and partitions as they come.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "hot loops over our own records; `Size` bounds every shift and index"
)]

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rayon::ThreadPool;

use super::{
    super::{BuildError, Progress},
    Levels, Pair, Placed, Plan,
    arena::Arena,
    group::{Groups, Sorter},
    join::{Joiner, KEY_BITS},
    plan::GROUP_BITS,
    queue::{List, Queue},
    scatter::Scatter,
    stage::Stage,
    top,
};

/// Tags computed at once: inputs and outputs stay in the first-level cache.
const BATCH: usize = 1024;
/// Values that a thread takes at a time; progress is told as often.
const STEP: u64 = 1 << 16;

/// The passes over all values.
const PASSES: u64 = 3;

/// Pass `number` from 0, counted in values of the whole build.
fn pass<'p>(progress: &'p dyn Progress, plan: &Plan, number: u64, name: &'static str) -> Stage<'p> {
    let values = plan.size.values();
    Stage::new(progress, name, number * values, PASSES * values)
}

/// Turns lists by thread and partition into lists by partition.
fn by_partition(threads: Vec<Vec<List<'_>>>) -> Vec<List<'_>> {
    let mut threads = threads.into_iter();
    let mut lists = threads.next().unwrap_or_default();
    for thread in threads {
        for (list, more) in lists.iter_mut().zip(thread) {
            list.extend(more);
        }
    }
    lists
}

/// All pairs of a table, by the top bits of `e`, in no order within a partition.
#[derive(Debug)]
pub(in super::super) struct Partitions<'s, 'a> {
    levels: &'s Levels,
    plan: &'s Plan,
    arena: &'s Arena<'a>,
    lists: Vec<List<'a>>,
}

/// Finds all pairs of the table of `levels`.
pub(in super::super) fn build<'s, 'a>(
    levels: &'s Levels,
    plan: &'s Plan,
    arena: &'s Arena<'a>,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Partitions<'s, 'a>, BuildError> {
    let hashed = hash(levels, plan, arena, pool, progress)?;
    let lists = pair_up(levels, plan, arena, pool, progress, hashed)?;
    Ok(Partitions { levels, plan, arena, lists })
}

fn hash<'a>(
    levels: &Levels,
    plan: &Plan,
    arena: &Arena<'a>,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Vec<List<'a>>, BuildError> {
    // The second level begins to be filled while most of the first is still there.
    arena.begin(plan.tails(), plan.tails() + plan.reading());
    let (values, next) = (plan.size.values(), AtomicU64::new(0));
    let stage = pass(progress, plan, 0, "hash");
    let hash_some = || {
        let (mut lists, mut tags) = (Scatter::new(arena, plan.partitions()), vec![0; BATCH]);
        loop {
            let first = next.fetch_add(STEP, Ordering::Relaxed);
            if first >= values {
                return lists.finish();
            }
            let step = first..values.min(first + STEP);
            hash_step(levels, plan, step.clone(), &mut tags, &mut lists);
            lists.check()?;
            stage.advance(step.end - step.start)?;
        }
    };
    Ok(by_partition(arena.run(pool, None, hash_some)?))
}

fn hash_step(
    levels: &Levels,
    plan: &Plan,
    step: std::ops::Range<u64>,
    tags: &mut [u64],
    lists: &mut Scatter<'_, '_>,
) {
    let match_bits = plan.size.bits() - 1;
    for first in step.clone().step_by(BATCH) {
        let tags = &mut tags[..BATCH.min((step.end - first) as usize)];
        levels.level1.fill_range(first, tags);
        for (x, &tag) in (first..).zip(&*tags) {
            lists.push(top(tag, plan.partition_bits) as usize, top(tag, match_bits) << 32 | x);
        }
    }
}

fn pair_up<'a>(
    levels: &Levels,
    plan: &Plan,
    arena: &Arena<'a>,
    pool: &ThreadPool,
    progress: &dyn Progress,
    hashed: Vec<List<'a>>,
) -> Result<Vec<List<'a>>, BuildError> {
    arena.begin(plan.tails(), plan.reading());
    let stage = pass(progress, plan, 1, "match");
    let queue = Queue::new(arena, hashed.into_iter().enumerate().collect());
    let pair_some = || {
        let mut matcher = Matcher::new(levels, plan, arena);
        while let Some((_, list)) = queue.next()? {
            matcher.match_partition(&list);
            arena.give(list);
            matcher.found.check()?;
            stage.advance(plan.partition_values())?;
        }
        matcher.finish()
    };
    Ok(by_partition(arena.run(pool, Some(&queue), pair_some)?))
}

/// Finds the pairs of level-1 partitions.
struct Matcher<'s, 'a> {
    levels: &'s Levels,
    partition_bits: u32,
    groups: Groups<u64>,
    joiner: Joiner,
    pairs: Vec<u64>,
    tags: Vec<u64>,
    found: Scatter<'s, 'a>,
}

impl<'s, 'a> Matcher<'s, 'a> {
    fn new(levels: &'s Levels, plan: &'s Plan, arena: &'s Arena<'a>) -> Self {
        Self {
            levels,
            partition_bits: plan.partition_bits,
            groups: Groups::new(plan.group_bits()),
            joiner: Joiner::default(),
            pairs: Vec::with_capacity(2 * BATCH),
            tags: vec![0; BATCH],
            found: Scatter::new(arena, plan.partitions()),
        }
    }

    fn match_partition(&mut self, list: &List<'_>) {
        let groups = self.groups.len();
        for chunk in list {
            for &record in chunk.words() {
                self.groups.push((record >> (32 + KEY_BITS)) as usize % groups, record);
            }
        }
        for group in 0..groups {
            self.joiner.join(self.groups.take(group), &mut self.pairs);
            if self.pairs.len() >= BATCH {
                self.place();
            }
        }
    }

    /// Tags pairs and deals them out by `e`.
    fn place(&mut self) {
        for pairs in self.pairs.chunks(BATCH) {
            let tags = &mut self.tags[..pairs.len()];
            self.levels.level2.fill_slice(pairs, tags);
            for (&pair, &e) in pairs.iter().zip(&*tags) {
                self.found.push(top(e, self.partition_bits) as usize, pair);
            }
        }
        self.pairs.clear();
    }

    fn finish(mut self) -> Result<Vec<List<'a>>, BuildError> {
        self.place();
        self.found.finish()
    }
}

/// The entries of one partition, a group at a time, in order.
#[derive(Debug)]
pub(in super::super) struct Sorted<'w> {
    workshop: &'w mut Workshop,
    next: usize,
    skip_bits: u32,
}

impl Sorted<'_> {
    /// The entries of the next group: those that the next page of a vault is for.
    pub(in super::super) fn next_group(&mut self) -> Option<&[Placed]> {
        let group = self.next;
        self.next += 1;
        let Workshop { groups, sorter, .. } = &mut *self.workshop;
        (group < groups.len()).then(|| sorter.sort(groups.take(group), self.skip_bits))
    }
}

impl Drop for Sorted<'_> {
    /// Forgets the groups that nobody asked for.
    fn drop(&mut self) {
        while self.next < self.workshop.groups.len() {
            self.workshop.groups.take(self.next);
            self.next += 1;
        }
    }
}

/// What a thread sorts with.
#[derive(Debug)]
struct Workshop {
    groups: Groups<Placed>,
    sorter: Sorter,
    tags: Vec<u64>,
}

impl Workshop {
    fn new(plan: &Plan) -> Self {
        let groups = Groups::new(plan.group_bits());
        Self { groups, sorter: Sorter::default(), tags: vec![0; BATCH] }
    }

    /// Tags the pairs of a partition and groups them.
    fn fill(&mut self, levels: &Levels, list: &List<'_>) {
        let group_bits = levels.size.bits() - GROUP_BITS;
        let groups = self.groups.len();
        for pairs in list.iter().flat_map(|chunk| chunk.words().chunks(BATCH)) {
            let tags = &mut self.tags[..pairs.len()];
            levels.level2.fill_slice(pairs, tags);
            for (&pair, &e) in pairs.iter().zip(&*tags) {
                let group = top(e, group_bits) as usize % groups;
                self.groups.push(group, Placed { e, pair: Pair(pair) });
            }
        }
    }
}

impl<'a> Partitions<'_, 'a> {
    /// Number of pairs in each partition.
    pub(in super::super) fn counts(&self) -> Vec<usize> {
        let chunk_len = self.arena.chunk_len();
        let count = |list: &List<'_>| list.iter().map(|chunk| chunk.len(chunk_len)).sum();
        self.lists.iter().map(count).collect()
    }

    /// Sorts the partitions for which there is an output and gives both to `store`, in parallel.
    pub(in super::super) fn store<O: Send>(
        self,
        pool: &ThreadPool,
        progress: &dyn Progress,
        outputs: Vec<Option<O>>,
        store: impl Fn(usize, O, Sorted<'_>) -> Result<(), BuildError> + Sync,
    ) -> Result<(), BuildError> {
        let (levels, plan, arena) = (self.levels, self.plan, self.arena);
        let stage = pass(progress, plan, 2, "sort");
        let outputs: Vec<_> = outputs.into_iter().map(Mutex::new).collect();
        let wanted = |(index, list): (usize, List<'a>)| {
            if lock(&outputs[index]).is_some() {
                return Some((index, list));
            }
            arena.give(list);
            None
        };
        let lists: Vec<_> = self.lists.into_iter().enumerate().filter_map(wanted).collect();
        stage.advance((outputs.len() - lists.len()) as u64 * plan.partition_values())?;
        let queue = Queue::new(arena, lists);
        arena.run(pool, Some(&queue), || {
            let mut workshop = Workshop::new(plan);
            while let Some((index, list)) = queue.next()? {
                workshop.fill(levels, &list);
                arena.give(list);
                let skip_bits = plan.size.bits() - GROUP_BITS;
                let sorted = Sorted { workshop: &mut workshop, next: 0, skip_bits };
                if let Some(output) = lock(&outputs[index]).take() {
                    store(index, output, sorted)?;
                }
                stage.advance(plan.partition_values())?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The whole table of `levels` in one list.
#[cfg(test)]
pub(in super::super) fn whole_table(levels: &Levels, threads: usize) -> Vec<Placed> {
    planned_table(levels, &Plan::in_ram(levels.size, threads))
}

#[cfg(test)]
fn planned_table(levels: &Levels, plan: &Plan) -> Vec<Placed> {
    use super::super::{NoProgress, pool};

    let pool = pool(plan.threads).unwrap();
    let mut pages = plan.allocate().unwrap();
    let file = plan.spills.then(|| tempfile::tempfile().unwrap());
    let arena = Arena::new(plan, &mut pages, file);
    let found = build(levels, plan, &arena, &pool, &NoProgress).unwrap();
    let mut parts = vec![Vec::new(); plan.partitions()];
    let store = |_, part: &mut Vec<Placed>, mut sorted: Sorted<'_>| {
        while let Some(group) = sorted.next_group() {
            part.extend(group);
        }
        Ok(())
    };
    found.store(&pool, &NoProgress, parts.iter_mut().map(Some).collect(), store).unwrap();
    parts.concat()
}

/// The whole table of `levels`, made by sorting.
#[cfg(test)]
pub(super) fn naive_table(levels: &Levels) -> Vec<Placed> {
    let tag = |x| (top(levels.level1.tag(x), levels.size.bits() - 1), x);
    let mut tags: Vec<(u64, u64)> = (0..levels.size.values()).map(tag).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hash::Context,
        proof::{pairs::Size, pool},
    };

    fn levels(k: u8) -> Levels {
        let contexts = [Context::SpaceTable1, Context::SpaceTable2];
        Levels::new(Size::new(k).unwrap(), contexts, &[b"build"])
    }

    #[test]
    fn the_table_is_the_naive_one_for_any_number_of_threads() {
        for k in [16, 17] {
            let expected = naive_table(&levels(k));
            for threads in [1, 2, 3] {
                assert_eq!(whole_table(&levels(k), threads), expected, "k {k}, {threads} threads");
            }
        }
    }

    #[test]
    fn the_table_does_not_depend_on_memory() {
        for k in [16, 18] {
            let expected = naive_table(&levels(k));
            for threads in [1, 3] {
                let size = Size::new(k).unwrap();
                let Err(BuildError::RamTooSmall { needed, .. }) = Plan::within(size, threads, 0)
                else {
                    panic!("a plan of nothing")
                };
                let plan = Plan::within(size, threads, needed).unwrap();
                assert!(planned_table(&levels(k), &plan) == expected, "{plan:?}");
            }
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
        let (levels, plan) = (levels(16), Plan::in_ram(Size::new(16).unwrap(), 1));
        let mut pages = plan.allocate().unwrap();
        let arena = Arena::new(&plan, &mut pages, None);
        let found = build(&levels, &plan, &arena, &pool(1).unwrap(), &Cancelled);
        assert_eq!(found.err(), Some(BuildError::Cancelled));
        assert_eq!(BuildError::Cancelled.to_string(), "cancelled");
    }
}
