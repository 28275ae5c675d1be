//! Exploring walks: a block of starts at a time, step by step.
//!
//! All walks of a block take a step together, so their look-ups do not wait for each other and
//! memory latency overlaps; so do the tags of the next states. One entry is expected for a prefix,
//! so a block stays about as wide as it began.

use std::{
    cmp::Reverse,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Budget, Keys, Table};
use crate::units::Quality;

/// Starts explored together: enough to hide memory latency, few enough that a step takes tens of
/// microseconds.
const BLOCK: u64 = 256;

/// A finished walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) quality: Quality,
    pub(super) start: u64,
    pub(super) pairs: Vec<u64>,
}

/// What exploring some consecutive starts came to.
#[derive(Clone, Debug)]
struct Outcome {
    first: u64,
    lookups: u64,
    /// The best finished walk; of equal ones the lowest start's, then the first in the table.
    best: Option<Walk>,
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.lookups = self.lookups.saturating_add(other.lookups);
        self.best = better(self.best.take(), other.best);
    }
}

/// What walking needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walker<'a> {
    pub(super) table: &'a Table,
    pub(super) keys: &'a Keys,
    pub(super) steps: usize,
    pub(super) budget: &'a Budget<'a>,
}

/// The end of an unfinished walk.
#[derive(Clone, Copy, Debug)]
struct Head {
    state: u64,
    /// Which start of the block it came from.
    origin: usize,
}

/// How a walk came to a head: from which head of the step before, by which pair.
#[derive(Clone, Copy, Debug)]
struct Link {
    parent: usize,
    pair: u64,
}

impl Walker<'_> {
    /// Explores `count` starts from `first` with all their branches.
    ///
    /// When the budget is over it stops, with the look-ups made so far and no walk.
    fn explore(&self, first: u64, count: u64) -> Outcome {
        let mut lookups = vec![0_u64; usize::try_from(count).unwrap_or_default()];
        let finished = self.advance(first, &mut lookups);
        let best = finished.and_then(|(heads, trail)| best_walk(first, &heads, &trail));
        let lookups = lookups.into_iter().fold(0, u64::saturating_add);
        Outcome { first, lookups, best }
    }

    /// Explores the first starts of a block, as many as `lookups_max` look-ups suffice for.
    ///
    /// How many that is shows only when the block was explored, so this does it again.
    fn explore_within(&self, first: u64, lookups_max: u64) -> Outcome {
        let mut lookups = vec![0_u64; usize::try_from(BLOCK).unwrap_or_default()];
        self.advance(first, &mut lookups);
        let mut left = lookups_max;
        let mut fits = |lookups: &u64| left.checked_sub(*lookups).map(|rest| left = rest).is_some();
        let count = lookups.iter().take_while(|lookups| fits(lookups)).count();
        self.explore(first, count as u64)
    }

    /// Takes all walks to their ends, counting look-ups by start.
    ///
    /// Returns the heads of finished walks and every step's links, or `None` if none finished.
    fn advance(&self, first: u64, lookups: &mut [u64]) -> Option<(Vec<Head>, Vec<Vec<Link>>)> {
        let mut heads = self.heads(first, lookups.len());
        let mut trail = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            if heads.is_empty() || self.budget.is_over() {
                return None;
            }
            for head in &heads {
                if let Some(made) = lookups.get_mut(head.origin) {
                    *made = made.saturating_add(1);
                }
            }
            let links;
            (heads, links) = self.step(&heads);
            trail.push(links);
        }
        Some((heads, trail))
    }

    fn heads(&self, first: u64, count: usize) -> Vec<Head> {
        let mut states = vec![0; count];
        self.keys.start.fill_range(first, &mut states);
        states.into_iter().enumerate().map(|(origin, state)| Head { state, origin }).collect()
    }

    /// Takes every walk one step along every branch.
    fn step(&self, heads: &[Head]) -> (Vec<Head>, Vec<Link>) {
        // Two loops: the reads of the first do not depend on each other, so they overlap.
        let found: Vec<&[u64]> = heads.iter().map(|head| self.table.find(head.state)).collect();
        let (mut links, mut inputs, mut origins) = (Vec::new(), Vec::new(), Vec::new());
        for (parent, (head, pairs)) in heads.iter().zip(found).enumerate() {
            for &pair in pairs {
                links.push(Link { parent, pair });
                inputs.push(head.state ^ pair);
                origins.push(head.origin);
            }
        }
        let mut states = vec![0; inputs.len()];
        self.keys.step.fill_slice(&inputs, &mut states);
        let heads = states.into_iter().zip(origins);
        (heads.map(|(state, origin)| Head { state, origin }).collect(), links)
    }
}

/// Follows the best of the finished walks back to its start.
fn best_walk(first: u64, heads: &[Head], trail: &[Vec<Link>]) -> Option<Walk> {
    let (mut position, head) = heads.iter().enumerate().min_by_key(|(_, head)| head.state)?;
    let mut pairs = Vec::with_capacity(trail.len());
    for links in trail.iter().rev() {
        let link = links.get(position)?;
        pairs.push(link.pair);
        position = link.parent;
    }
    pairs.reverse();
    let start = first.checked_add(head.origin as u64)?;
    Some(Walk { quality: Quality(head.state), start, pairs })
}

/// One search, shared by its threads: each takes the next block of starts until all is over.
#[derive(Debug)]
pub(super) struct Search<'a> {
    walker: Walker<'a>,
    next: AtomicU64,
    lookups: AtomicU64,
    found: Mutex<Vec<Outcome>>,
}

impl<'a> Search<'a> {
    pub(super) const fn new(walker: Walker<'a>) -> Self {
        let (next, lookups) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { walker, next, lookups, found: Mutex::new(Vec::new()) }
    }

    pub(super) fn run(&self) {
        while let Some(first) = self.claim() {
            let outcome = self.walker.explore(first, BLOCK);
            self.lookups.fetch_add(outcome.lookups, Ordering::Relaxed);
            self.record(outcome);
        }
    }

    /// Keeps what a cap may have to cut off apart, and else only the sum.
    fn record(&self, outcome: Outcome) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let uncapped = self.walker.budget.attempts_max() == u64::MAX;
        match found.last_mut().filter(|_| uncapped) {
            Some(sum) => sum.merge(outcome),
            None => found.push(outcome),
        }
    }

    /// Takes the first start of the next block, unless the budget is over.
    fn claim(&self) -> Option<u64> {
        let budget = self.walker.budget;
        if budget.is_over() || self.lookups.load(Ordering::Relaxed) >= budget.attempts_max() {
            return None;
        }
        let take = |next: u64| next.checked_add(BLOCK);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
    }

    /// The best walk and the look-ups of as many starts, from zero, as the cap on attempts admits.
    pub(super) fn finish(self) -> (Option<Walk>, u64) {
        let mut outcomes = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_unstable_by_key(|outcome| outcome.first);
        let mut sum = Outcome { first: 0, lookups: 0, best: None };
        for outcome in outcomes {
            let left = self.walker.budget.attempts_max().saturating_sub(sum.lookups);
            if outcome.lookups > left {
                sum.merge(self.walker.explore_within(outcome.first, left));
                break;
            }
            sum.merge(outcome);
        }
        (sum.best, sum.lookups)
    }
}

/// The better walk; of equal ones the first.
fn better(left: Option<Walk>, right: Option<Walk>) -> Option<Walk> {
    left.into_iter().chain(right).max_by_key(|walk| Reverse((walk.quality, walk.start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{
        NoProgress,
        memory::ProofOfMemory,
        pairs::Size,
        pool,
        testing::{Unhurried, vector_challenge, vector_miner},
    };

    fn table(engine: &ProofOfMemory) -> Table {
        let pool = pool(2).unwrap();
        Table::build(&engine.levels(&vector_miner()), &pool, &NoProgress).unwrap()
    }

    #[test]
    fn the_published_starts_take_the_published_look_ups() {
        let engine = ProofOfMemory { size: Size::new(16).unwrap(), steps: 32 };
        let (table, free) = (table(&engine), Unhurried::default());
        let entries = (0..1 << 16).flat_map(|prefix: u64| table.find(prefix << 48));
        let bytes: Vec<u8> = entries.flat_map(|pair| pair.to_le_bytes()).collect();
        let expected = "fb955be7b40d0bbeb84f284ae430a24500d6162b97ee469f3b17d832c9ec62a4";
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), expected);
        let keys = Keys::new(&vector_challenge(), &vector_miner(), engine.size);
        let budget = free.budget();
        let walker = Walker { table: &table, keys: &keys, steps: 32, budget: &budget };
        let mut lookups = vec![0; 2000];
        let (heads, _) = walker.advance(0, &mut lookups).unwrap();
        assert_eq!(heads.len(), 1993);
        assert_eq!(lookups.iter().sum::<u64>(), 59_908);
        let best = walker.explore(0, 2000).best.unwrap();
        assert_eq!((best.start, best.quality), (637, Quality(10_311_429_036_009_837)));

        // The same starts, found by a search that is capped to their look-ups.
        let capped = free.budget().with_attempts_max(59_908);
        let search = Search::new(Walker { budget: &capped, ..walker });
        search.run();
        assert_eq!(search.finish(), (Some(best), 59_908));
    }

    #[test]
    fn the_better_walk_is_the_one_of_lower_quality_then_of_the_lower_start() {
        let walk = |quality, start| Some(Walk { quality: Quality(quality), start, pairs: vec![] });
        assert_eq!(better(walk(2, 1), walk(1, 9)), walk(1, 9));
        assert_eq!(better(walk(1, 3), walk(1, 2)), walk(1, 2));
        assert_eq!(better(None, walk(1, 2)), walk(1, 2));
    }
}
