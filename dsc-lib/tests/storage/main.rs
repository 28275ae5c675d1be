//! The ledger, the pool's journal and the vault on disks that crash, fail and are full: seeded cases.
//!
//! In each case something is done to a disk that fails when the seed says so, the process is killed
//! or the machine stops, what the disk then holds is opened, and so on, a few times. Then, and after
//! each opening, nothing is missing that was acknowledged, nothing torn is taken for good, what is
//! there equals a simple model, and it goes on from there.
//!
//! `DSC_STORAGE_CASES` is the number of cases of each test, `DSC_STORAGE_SEED` the first seed
//! (`scripts/storage` sets both). A case depends on its seed alone.

mod based;
mod journal;
mod ledger;
mod vault;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use dsc_lib::testing::disk::{Dice, Keep, NotingDisk};

/// Runs as many cases as the environment asks for, or `default` of them.
fn for_each_seed(test: &str, default: u64, case: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let count = number("DSC_STORAGE_CASES").unwrap_or(default);
    let first = number("DSC_STORAGE_SEED").unwrap_or(0);
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(seed))) {
            eprintln!("seed {seed} fails; replay it with: scripts/storage 1 {seed} {test}");
            resume_unwind(panic);
        }
    }
    println!("{test}: {count} cases from seed {first}");
}

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Writes,
    Reads,
    /// The process is killed: it neither writes nor reads any more.
    Death,
}

impl Fault {
    /// Whether it keeps files from being read.
    fn hinders_reading(self) -> bool {
        matches!(self, Self::Reads | Self::Death)
    }
}

impl Fault {
    /// Lets `disk` fail, once or from then on, at one of the next `within` operations, or not.
    fn inject(disk: &NotingDisk, dice: &mut Dice, within: usize) -> Self {
        disk.mend();
        let within = [4, within][dice.below(2)];
        let after = dice.below(within);
        let count = [1, 2, usize::MAX][dice.below(3)];
        match dice.below(10) {
            0 | 1 => Self::None,
            2..5 => {
                disk.fail(after, count);
                Self::Writes
            }
            5 | 6 => {
                disk.fill(after, count);
                Self::Writes
            }
            7 | 8 => {
                disk.kill(after);
                Self::Death
            }
            _ => {
                disk.fail_reads(after, count);
                Self::Reads
            }
        }
    }
}

/// What was promised, and after how many operations of the disk.
#[derive(Clone, Debug)]
struct Promises<T> {
    since: usize,
    told: Vec<(usize, T)>,
}

impl<T: Clone> Promises<T> {
    fn new(disk: &NotingDisk, first: T) -> Self {
        let since = disk.operations();
        Self { since, told: vec![(since, first)] }
    }

    fn add(&mut self, disk: &NotingDisk, promise: T) {
        self.told.push((disk.operations(), promise));
    }

    fn last(&self) -> &T {
        &self.told.last().expect("there is a first").1
    }

    /// Stops the machine now, and loses all that was not synced.
    fn cut_off(&self, disk: &NotingDisk) -> (NotingDisk, Self) {
        let left = NotingDisk::of(&disk.crash(disk.operations(), Keep::Nothing));
        let promises = Self::new(&left, self.last().clone());
        (left, promises)
    }

    /// Stops the machine at some moment since the last time: what is left, and what holds then.
    fn crash(&self, disk: &NotingDisk, dice: &mut Dice) -> (NotingDisk, Self) {
        let all = disk.operations();
        let moment = match dice.below(3) {
            0 => all,
            _ => self.since + dice.below(all - self.since + 1),
        };
        let keep = match dice.below(6) {
            0 => Keep::Nothing,
            1 => Keep::Everything,
            _ => Keep::Some(dice.roll()),
        };
        let held = self.told.iter().rev().find(|(at, _)| *at <= moment);
        let held = held.expect("the first holds from the start").1.clone();
        let left = NotingDisk::of(&disk.crash(moment, keep));
        let promises = Self::new(&left, held);
        (left, promises)
    }
}
