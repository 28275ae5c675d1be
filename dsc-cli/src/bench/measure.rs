//! Rounds of contenders, rates over a stretch of time, and threads that run at once.

use std::{sync::Barrier, thread, time::Duration};

use dsc_lib::proof::{Clock, Progress};

use super::stats::{Samples, float};
use crate::{clock::SystemClock, exit::Failure};

/// One of several things that are measured in turn; returns one measurement.
pub(crate) type Contender<'a> = Box<dyn FnMut() -> Result<f64, Failure> + 'a>;

/// How often and how long, and who is told.
#[derive(Clone, Copy)]
pub(crate) struct Pace<'a> {
    pub(crate) rounds: u32,
    /// Length of one measurement of a rate.
    pub(crate) time: Duration,
    pub(crate) clock: &'a SystemClock,
    pub(crate) progress: &'a dyn Progress,
}

impl Pace<'_> {
    /// Fails if the run was asked to stop.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.progress.is_cancelled() {
            return Err(Failure::interrupted("the benchmark was interrupted"));
        }
        Ok(())
    }

    /// Measures all contenders in turn, round after round; samples are in their order.
    pub(crate) fn interleave(
        &self,
        stage: &'static str,
        mut contenders: Vec<Contender<'_>>,
    ) -> Result<Vec<Samples>, Failure> {
        let mut found: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
        let total = u64::from(self.rounds) * contenders.len() as u64;
        let mut done = 0;
        self.progress.update(stage, done, total);
        for _ in 0..self.rounds {
            for (contender, found) in contenders.iter_mut().zip(&mut found) {
                self.check()?;
                found.push(contender()?);
                done += 1;
                self.progress.update(stage, done, total);
            }
        }
        let none = || Failure::other("no-measurement", "nothing was measured");
        found.into_iter().map(|found| Samples::new(found).ok_or_else(none)).collect()
    }

    /// Items per second of `batch`, which returns how many it did, over this pace's time.
    pub(crate) fn rate(&self, mut batch: impl FnMut() -> u64) -> f64 {
        let (start, mut items) = (self.clock.now(), 0_u64);
        loop {
            items += batch();
            let passed = self.clock.now().saturating_sub(start);
            if passed >= self.time {
                return float(items) / passed.as_secs_f64();
            }
        }
    }

    /// The sum of the rates of `threads` threads, which start together; each makes its own batch.
    pub(crate) fn rate_on<B: FnMut() -> u64>(
        &self,
        threads: usize,
        make: impl Fn(usize) -> B + Sync,
    ) -> f64 {
        let start = Barrier::new(threads);
        let run = |thread| {
            let batch = make(thread);
            start.wait();
            self.rate(batch)
        };
        let run = &run;
        thread::scope(|scope| {
            let others: Vec<_> =
                (1..threads).map(|thread| scope.spawn(move || run(thread))).collect();
            let first = run(0);
            let others = others.into_iter().map(|other| other.join().expect("a batch panicked"));
            first + others.sum::<f64>()
        })
    }

    /// Seconds that `work` takes, and what it returns.
    pub(crate) fn seconds<T>(&self, work: impl FnOnce() -> T) -> (f64, T) {
        let start = self.clock.now();
        let made = work();
        (self.clock.now().saturating_sub(start).as_secs_f64(), made)
    }
}

/// 1, 2, 4 and so on up to `most`, which is always among them.
pub(crate) fn thread_steps(most: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1_usize), |threads| threads.checked_mul(2));
    doubled.take_while(|&threads| threads < most).chain([most]).collect()
}

/// The numbers that a benchmark draws: cheap, well mixed, the same in every run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number (Weyl sequence with the finalizer of `SplitMix64`).
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes` with numbers.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// The next number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}

/// Tells progress to nobody, and passes on the wish to stop.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Progress);

impl Progress for Quiet<'_> {
    fn update(&self, _stage: &'static str, _done: u64, _total: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        cell::RefCell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use dsc_lib::proof::NoProgress;

    use super::*;

    pub(crate) fn pace<'a>(clock: &'a SystemClock, progress: &'a dyn Progress) -> Pace<'a> {
        Pace { rounds: 2, time: Duration::from_micros(100), clock, progress }
    }

    #[test]
    fn contenders_run_in_turn() {
        let (clock, order) = (SystemClock::new(), RefCell::new(String::new()));
        let contender = |name: char, value: f64| -> Contender<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(value)
            })
        };
        let contenders = vec![contender('a', 1.0), contender('b', 2.0)];
        let found = pace(&clock, &NoProgress).interleave("test", contenders).unwrap();
        assert_eq!(*order.borrow(), "abab");
        assert!((found[1].ratio(&found[0]) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_run_that_was_asked_to_stop_measures_nothing_more() {
        struct Stop;
        impl Progress for Stop {
            fn update(&self, _stage: &'static str, _done: u64, _total: u64) {}
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        let clock = SystemClock::new();
        let never: Contender<'_> = Box::new(|| panic!("it was called"));
        let failure = pace(&clock, &Quiet(&Stop)).interleave("test", vec![never]).unwrap_err();
        assert_eq!(failure.code(), "interrupted");
    }

    #[test]
    fn every_thread_makes_its_own_batch() {
        let (clock, made) = (SystemClock::new(), AtomicUsize::new(0));
        let rate = pace(&clock, &NoProgress).rate_on(3, |thread| {
            made.fetch_add(1 << (8 * thread), Ordering::Relaxed);
            || 5
        });
        assert_eq!(made.into_inner(), 0x01_01_01);
        assert!(rate > 0.0 && rate.is_finite());
    }

    #[test]
    fn threads_are_doubled_up_to_the_most() {
        assert_eq!(thread_steps(1), [1]);
        assert_eq!(thread_steps(2), [1, 2]);
        assert_eq!(thread_steps(6), [1, 2, 4, 6]);
        assert_eq!(thread_steps(8), [1, 2, 4, 8]);
    }

    #[test]
    fn draws_repeat_and_stay_in_range() {
        let (mut one, mut other) = (Draw::new(7), Draw::new(7));
        for _ in 0..1000 {
            let drawn = one.below(10);
            assert!(drawn < 10 && drawn == other.below(10));
        }
        assert_ne!(Draw::new(1).next(), Draw::new(2).next());
    }
}
