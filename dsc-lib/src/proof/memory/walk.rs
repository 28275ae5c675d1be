//! Exploring walks: a block of starts at a time, step by step.
//!
//! All walks of a block take a step together. A look-up takes two reads, of the index and of the
//! entries, and a tag; each is started well before it is needed and between the instructions that
//! compute the tags of others, so memory latency overlaps with more of itself and with hashing. One
//! entry is expected for a prefix, so a block stays about as wide as it began.
//!
//! Blocks remember where their walks began and nothing else: the one walk that is the best of a
//! whole search is walked again from its start.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "hot loops over our own buffers, whose lengths are kept beside them"
)]
#![allow(clippy::inline_always, reason = "small steps that run between vector instructions")]

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Budget, Keys};
use crate::{
    proof::pairs::{Range, View},
    tag::Aside,
    units::Quality,
};

/// Starts explored together: enough that filling and draining the pipeline costs little, few enough
/// that a step takes some tens of microseconds.
const BLOCK_MAX: u64 = 1024;
/// Starts explored together under a small cap on look-ups, whose last block is explored twice.
const BLOCK_MIN: u64 = 64;
/// States whose tags are computed at once: two vectors of any kind.
const BATCH: usize = 32;
/// Turns between fetching from memory and reading: of the index, and then of the entries.
const LEAD: usize = 32;
/// The most turns taken while one batch is computed: a rest may take a whole vector.
const TURNS_MAX: usize = BATCH + 16;
/// The most entries that follow one state.
const BRANCHES_MAX: usize = 16;

/// A finished walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) quality: Quality,
    pub(super) start: u64,
    pub(super) pairs: Vec<u64>,
}

/// Which finished walk is the best: the lower quality, then the lower start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Best {
    quality: u64,
    start: u64,
}

/// What exploring some consecutive starts came to.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    first: u64,
    lookups: u64,
    best: Option<Best>,
}

/// The heads of all unfinished walks of a block after as many steps, in the order of starts.
#[derive(Debug, Default)]
struct Heads {
    states: Vec<u64>,
    /// Which start of the block each came from.
    origins: Vec<u32>,
    /// How many there are; the rest of the buffers is room.
    count: usize,
}

impl Heads {
    /// Makes room for `count` heads and the branches of one more.
    #[inline(always)]
    fn reserve(&mut self, count: usize) {
        if self.states.len().min(self.origins.len()) < count + BRANCHES_MAX {
            self.grow((count + BRANCHES_MAX).next_power_of_two());
        }
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        self.states.resize(room, 0);
        self.origins.resize(room, 0);
    }

    /// The best of finished walks, whose block began with start `first`.
    fn best(&self, first: u64) -> Option<Best> {
        let heads = self.states.iter().zip(&self.origins).take(self.count);
        let walks = heads.map(|(&quality, &origin)| (quality, first + u64::from(origin)));
        walks.min().map(|(quality, start)| Best { quality, start })
    }
}

/// The buffers of one thread.
#[derive(Debug, Default)]
struct Room {
    now: Heads,
    next: Heads,
    /// Where the entries of each head of `now` stand.
    ranges: Vec<Range>,
}

/// One step of a block, but for the tags: in each turn the index is fetched for one head, the
/// entries are for an earlier one, and what follows from a still earlier one is noted.
struct Stepper<'a> {
    view: View<'a>,
    states: &'a [u64],
    origins: &'a [u32],
    ranges: &'a mut [Range],
    turns: usize,
    /// The heads that follow, their states still to be replaced by their tags.
    next: &'a mut Heads,
}

impl Stepper<'_> {
    fn is_done(&self) -> bool {
        self.turns >= self.states.len() + LEAD
    }

    /// Takes a turn outside of a batch.
    fn turn_alone(&mut self) {
        self.next.reserve(self.next.count);
        self.turn();
    }

    /// Notes what follows from one head.
    #[inline(always)]
    fn branch(&mut self, head: usize) {
        let (Some(&state), Some(&origin)) = (self.states.get(head), self.origins.get(head)) else {
            return;
        };
        let range = self.ranges.get(head).copied().unwrap_or_default();
        let at = self.next.count;
        let room = at..at + BRANCHES_MAX;
        let (Some(states), Some(origins)) =
            (self.next.states.get_mut(room.clone()), self.next.origins.get_mut(room))
        else {
            return;
        };
        // None, one or two entries follow nine times in ten: written without a branch.
        let [one, two] = self.view.first_two(range);
        (states[0], states[1]) = (state ^ one, state ^ two);
        (origins[0], origins[1]) = (origin, origin);
        if range.count() > 2 {
            let rest = self.view.entries(range).iter().zip(states).zip(origins).skip(2);
            for ((&pair, input), from) in rest {
                (*input, *from) = (state ^ pair, origin);
            }
        }
        self.next.count = at + range.count();
    }
}

impl Aside for Stepper<'_> {
    #[inline(always)]
    fn turn(&mut self) {
        let turn = self.turns;
        if let Some(&state) = self.states.get(turn + LEAD) {
            self.view.prefetch_index(state);
        }
        if let (Some(&state), Some(range)) = (self.states.get(turn), self.ranges.get_mut(turn)) {
            *range = self.view.locate(state);
            self.view.prefetch_entries(*range);
        }
        self.branch(turn.wrapping_sub(LEAD));
        self.turns = turn + 1;
    }
}

/// What walking needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walker<'a> {
    pub(super) view: View<'a>,
    pub(super) keys: &'a Keys,
    pub(super) steps: usize,
    pub(super) budget: &'a Budget<'a>,
}

impl Walker<'_> {
    /// Explores `count` starts from `first` with all their branches; `count` is at most 2^32.
    ///
    /// When the budget is over it stops, with the look-ups made so far and no walk.
    fn explore(&self, first: u64, count: u64, room: &mut Room) -> Outcome {
        let mut outcome = Outcome { first, lookups: 0, best: None };
        let walked = self.walk(first, count, room, |heads| outcome.lookups += heads.len() as u64);
        outcome.best = walked.then(|| room.now.best(first)).flatten();
        outcome
    }

    /// Explores the first starts of a block, as many as `lookups_max` look-ups suffice for.
    ///
    /// How many that is shows only when the block was explored, so this does it again.
    fn explore_within(&self, first: u64, count: u64, lookups_max: u64) -> Outcome {
        let (mut lookups, mut room) = (vec![0; count as usize], Room::default());
        self.walk(first, count, &mut room, |heads| {
            for &origin in heads {
                lookups[origin as usize] += 1;
            }
        });
        let mut left = lookups_max;
        let mut fits = |made: &u64| left.checked_sub(*made).map(|rest| left = rest).is_some();
        let count = lookups.iter().take_while(|made| fits(made)).count();
        self.explore(first, count as u64, &mut room)
    }

    /// Takes all walks to their ends, showing the origins of all heads to `see` before each step.
    ///
    /// Tells whether they got there before the budget was over.
    fn walk(&self, first: u64, count: u64, room: &mut Room, mut see: impl FnMut(&[u32])) -> bool {
        self.begin(first, count, &mut room.now);
        for _ in 0..self.steps {
            if self.budget.is_over() {
                return false;
            }
            see(&room.now.origins[..room.now.count]);
            self.step(room);
            std::mem::swap(&mut room.now, &mut room.next);
        }
        true
    }

    fn begin(&self, first: u64, count: u64, heads: &mut Heads) {
        heads.count = count as usize;
        heads.reserve(heads.count);
        self.keys.start.fill_range(first, &mut heads.states[..heads.count]);
        for (index, origin) in (0..).zip(&mut heads.origins) {
            *origin = index;
        }
    }

    /// Takes every walk of `room.now` one step along every branch.
    fn step(&self, Room { now, next, ranges }: &mut Room) {
        let (states, origins) = (&now.states[..now.count], &now.origins[..now.count]);
        for &state in states.iter().take(LEAD) {
            self.view.prefetch_index(state);
        }
        ranges.resize(now.count.max(ranges.len()), Range::default());
        next.count = 0;
        let mut stepper = Stepper { view: self.view, states, origins, ranges, turns: 0, next };
        let mut tagged = 0;
        loop {
            while stepper.next.count < tagged + BATCH && !stepper.is_done() {
                stepper.turn_alone();
            }
            let batch = BATCH.min(stepper.next.count - tagged);
            if batch == 0 {
                break;
            }
            self.tag(tagged, batch, &mut stepper);
            tagged += batch;
        }
    }

    /// Replaces inputs by their tags, and steps on.
    fn tag(&self, first: usize, count: usize, stepper: &mut Stepper<'_>) {
        let (mut inputs, mut tags) = ([0; BATCH], [0; BATCH]);
        let (inputs, tags) = (&mut inputs[..count], &mut tags[..count]);
        inputs.copy_from_slice(&stepper.next.states[first..first + count]);
        stepper.next.reserve(stepper.next.count + TURNS_MAX * BRANCHES_MAX);
        self.keys.step.fill_slice_aside(inputs, tags, stepper);
        stepper.next.states[first..first + count].copy_from_slice(tags);
    }

    /// Walks the best walk again; of several from its start with its quality, the first.
    fn retrace(&self, best: Best) -> Option<Walk> {
        let mut states = vec![self.keys.start.tag(best.start)];
        let mut trail = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let found = states.iter().map(|&state| self.view.find(state));
            let links = found
                .enumerate()
                .flat_map(|(from, pairs)| pairs.iter().map(move |&pair| (from, pair)));
            let links: Vec<(usize, u64)> = links.collect();
            states =
                links.iter().map(|&(from, pair)| self.keys.step.tag(states[from] ^ pair)).collect();
            trail.push(links);
        }
        let mut position = states.iter().position(|&state| state == best.quality)?;
        let mut pairs = Vec::with_capacity(trail.len());
        for links in trail.iter().rev() {
            let (from, pair) = links[position];
            pairs.push(pair);
            position = from;
        }
        pairs.reverse();
        Some(Walk { quality: Quality(best.quality), start: best.start, pairs })
    }
}

/// What all explored starts before `next` came to; other blocks wait for those before them.
#[derive(Debug, Default)]
struct Tally {
    lookups: u64,
    best: Option<Best>,
    next: u64,
    /// At most the blocks that were explored while another thread was at one.
    waiting: BTreeMap<u64, Outcome>,
    /// The block that the cap on look-ups cuts off was reached.
    is_full: bool,
}

impl Tally {
    /// Adds what fits of a block, then of those that waited for it.
    fn add(&mut self, outcome: Outcome, block: u64, lookups_max: u64) {
        self.waiting.insert(outcome.first, outcome);
        while !self.is_full
            && let Some(outcome) = self.waiting.remove(&self.next)
        {
            self.is_full = outcome.lookups > lookups_max - self.lookups;
            if !self.is_full {
                self.merge(outcome);
                self.next = self.next.saturating_add(block);
            }
        }
        if self.is_full {
            self.waiting.clear();
        }
    }

    fn merge(&mut self, outcome: Outcome) {
        self.lookups = self.lookups.saturating_add(outcome.lookups);
        self.best = self.best.into_iter().chain(outcome.best).min();
    }
}

/// One search, shared by its threads: each takes the next block of starts until all is over.
#[derive(Debug)]
pub(super) struct Search<'a> {
    walker: Walker<'a>,
    /// Starts in a block.
    block: u64,
    next: AtomicU64,
    lookups: AtomicU64,
    tally: Mutex<Tally>,
}

impl<'a> Search<'a> {
    pub(super) fn new(walker: Walker<'a>) -> Self {
        let starts = walker.budget.attempts_max() / (walker.steps as u64).max(1);
        let block = (starts / 16).clamp(BLOCK_MIN, BLOCK_MAX);
        let (next, lookups) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { walker, block, next, lookups, tally: Mutex::default() }
    }

    pub(super) fn run(&self) {
        let mut room = Room::default();
        while let Some(first) = self.claim() {
            let outcome = self.walker.explore(first, self.block, &mut room);
            self.lookups.fetch_add(outcome.lookups, Ordering::Relaxed);
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(outcome, self.block, self.walker.budget.attempts_max());
        }
    }

    /// Takes the first start of the next block, unless the budget is over.
    fn claim(&self) -> Option<u64> {
        let budget = self.walker.budget;
        if budget.is_over() || self.lookups.load(Ordering::Relaxed) >= budget.attempts_max() {
            return None;
        }
        let take = |next: u64| next.checked_add(self.block);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
    }

    /// The best walk and the look-ups of as many starts, from zero, as the cap on attempts admits.
    pub(super) fn finish(self) -> (Option<Walk>, u64) {
        let mut tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        if tally.is_full {
            let left = self.walker.budget.attempts_max() - tally.lookups;
            tally.merge(self.walker.explore_within(tally.next, self.block, left));
        }
        (tally.best.and_then(|best| self.walker.retrace(best)), tally.lookups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{
        NoProgress,
        memory::ProofOfMemory,
        pairs::{Size, Table},
        pool,
        testing::{Unhurried, vector_challenge, vector_miner},
    };

    fn table(engine: &ProofOfMemory) -> Table {
        let pool = pool(2).unwrap();
        Table::build(&engine.levels(&vector_miner()), &pool, &NoProgress).unwrap()
    }

    /// Runs `test` with a walker over the table of the published vector.
    fn with_walker(steps: usize, attempts_max: u64, test: impl FnOnce(Walker<'_>)) {
        let engine = ProofOfMemory { size: Size::new(16).unwrap(), steps };
        let (table, free) = (table(&engine), Unhurried::default());
        let keys = Keys::new(&vector_challenge(), &vector_miner(), engine.size);
        let budget = free.budget().with_attempts_max(attempts_max);
        test(Walker { view: table.view(), keys: &keys, steps, budget: &budget });
    }

    #[test]
    fn the_published_starts_take_the_published_look_ups() {
        with_walker(32, 59_908, |walker| {
            let entries = (0..1 << 16).flat_map(|prefix: u64| walker.view.find(prefix << 48));
            let bytes: Vec<u8> = entries.flat_map(|pair| pair.to_le_bytes()).collect();
            let expected = "fb955be7b40d0bbeb84f284ae430a24500d6162b97ee469f3b17d832c9ec62a4";
            assert_eq!(blake3::hash(&bytes).to_hex().as_str(), expected);

            let mut room = Room::default();
            let outcome = walker.explore(0, 2000, &mut room);
            assert_eq!((room.now.count, outcome.lookups), (1993, 59_908));
            let best = walker.retrace(outcome.best.unwrap()).unwrap();
            assert_eq!((best.start, best.quality), (637, Quality(10_311_429_036_009_837)));

            // The same starts, found by a search that is capped to their look-ups.
            let search = Search::new(walker);
            search.run();
            assert_eq!(search.finish(), (Some(best), 59_908));
        });
    }

    /// One walk after another, with single look-ups and tags, in the order of the table.
    fn naive(walker: &Walker<'_>, start: u64, lookups: &mut u64) -> Vec<u64> {
        let mut states = vec![walker.keys.start.tag(start)];
        for _ in 0..walker.steps {
            *lookups += states.len() as u64;
            let next = |&state: &u64| walker.view.find(state).iter().map(move |pair| state ^ pair);
            states = states.iter().flat_map(next).collect();
            for state in &mut states {
                *state = walker.keys.step.tag(*state);
            }
        }
        states
    }

    #[test]
    fn walks_in_flight_are_the_walks_taken_one_by_one() {
        for (steps, first, count) in [(1, 0, 1), (3, 5, 17), (8, 1 << 40, 333), (70, 9, 40)] {
            with_walker(steps, u64::MAX, |walker| {
                let (mut lookups, mut room) = (0, Room::default());
                let ends = (first..first + count).map(|start| naive(&walker, start, &mut lookups));
                let ends: Vec<u64> = ends.flatten().collect();
                assert_eq!(walker.explore(first, count, &mut room).lookups, lookups);
                assert_eq!(room.now.states[..room.now.count], ends);
            });
        }
    }

    #[test]
    fn a_cap_admits_the_starts_whose_look_ups_it_covers() {
        let mut made = Vec::new();
        with_walker(4, u64::MAX, |walker| {
            made.extend((0..400).map(|start| {
                let mut lookups = 0;
                let ends = naive(&walker, start, &mut lookups);
                (lookups, ends.into_iter().min().map(|quality| Best { quality, start }))
            }));
        });
        for cap in [0_u64, 1, 5, 400, 999] {
            let mut left = cap;
            let fits = |(lookups, _): &&(u64, _)| {
                left.checked_sub(*lookups).map(|rest| left = rest).is_some()
            };
            let fitting: Vec<_> = made.iter().take_while(fits).collect();
            let lookups: u64 = fitting.iter().map(|(lookups, _)| lookups).sum();
            let best = fitting.iter().filter_map(|(_, best)| *best).min();
            with_walker(4, cap, |walker| {
                let search = Search::new(walker);
                search.run();
                let (found, attempts) = search.finish();
                let found = found.map(|walk| Best { quality: walk.quality.0, start: walk.start });
                assert_eq!((found, attempts), (best, lookups), "cap {cap}");
            });
        }
    }

    #[test]
    fn blocks_are_added_in_order_whichever_ends_first() {
        let outcome = |first, lookups, quality| Outcome {
            first,
            lookups,
            best: Some(Best { quality, start: first }),
        };
        let mut tally = Tally::default();
        tally.add(outcome(20, 5, 1), 10, 14);
        tally.add(outcome(10, 5, 3), 10, 14);
        assert_eq!((tally.lookups, tally.waiting.len()), (0, 2));
        tally.add(outcome(0, 5, 3), 10, 14);
        assert_eq!((tally.lookups, tally.next, tally.is_full), (10, 20, true));
        assert_eq!(tally.best, Some(Best { quality: 3, start: 0 }));
        tally.add(outcome(30, 1, 0), 10, 14);
        assert!(tally.waiting.is_empty());
    }
}
