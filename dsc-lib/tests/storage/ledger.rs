//! The ledger: log and index.

use std::sync::{Arc, LazyLock};

use dsc_lib::{
    ledger::{
        CheckedBlock, CommitError, Ledger, Maintained, OpenError, OpenOptions, Snapshot, State,
        StoreError,
    },
    testing::{
        ALICE, BOB, Miners, address, chain,
        disk::{Dice, NotingDisk},
        next_block, pay,
    },
    units::Height,
};

use super::{Fault, Promises, for_each_seed};

/// The chain that all cases share: some blocks are empty, some have a winner.
static BLOCKS: LazyLock<Vec<CheckedBlock>> = LazyLock::new(|| {
    let (mut state, mut miners, mut blocks) =
        (State::genesis(chain()), Miners::new(&chain()), Vec::new());
    for height in 0..30_u64 {
        let proofs = if height % 5 == 1 { miners.mine(&state) } else { vec![] };
        let sequence = |key| state.account(&address(key)).sequence;
        let payments = match height % 4 {
            0 => vec![],
            1 => vec![pay(&ALICE, sequence(&ALICE), address(&BOB), 2)],
            _ => vec![
                pay(&ALICE, sequence(&ALICE), address(&BOB), 1),
                pay(&BOB, sequence(&BOB), address(&ALICE), 1),
                pay(&ALICE, sequence(&ALICE) + 1, address(&BOB), height),
            ],
        };
        let block = next_block(&state, proofs, payments);
        state.apply(&block).unwrap();
        blocks.push(block);
    }
    blocks
});

/// The state after each number of blocks.
static SNAPSHOTS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let mut ledger = Ledger::in_memory(chain());
    let mut snapshots = vec![ledger.snapshot().unwrap()];
    for block in BLOCKS.iter() {
        ledger.commit(block).unwrap();
        snapshots.push(ledger.snapshot().unwrap());
    }
    snapshots
});

fn count_of(ledger: &Ledger) -> usize {
    usize::try_from(ledger.state().round().height.0).unwrap()
}

/// The number of blocks that the ledger was started after.
fn base_of(ledger: &Ledger) -> usize {
    ledger.base().map_or(0, |base| usize::try_from(base.next().0).unwrap())
}

/// Asks the ledger all about one block, which it has or has not. Of the one that it was started
/// after it has the header.
fn ask(ledger: &Ledger, block: &CheckedBlock, is_there: bool) -> Result<(), StoreError> {
    let height = block.header().height;
    assert_eq!(ledger.block_bytes(height)?, is_there.then(|| block.to_bytes()));
    let is_known = is_there || ledger.base() == Some(height);
    assert_eq!(ledger.header(height)?.as_ref(), is_known.then(|| block.header()));
    assert_eq!(ledger.height_of(&block.hash())?, is_known.then_some(height));
    for (index, transaction) in (0..).zip(block.transactions()) {
        let found = ledger.transaction(&transaction.id())?;
        let place = found.map(|located| (located.place.height, located.place.index));
        assert_eq!(place, is_there.then_some((height, index)));
    }
    Ok(())
}

/// What the ledger holds is the first of the blocks, but those before it was started, exactly.
fn check(ledger: &Ledger) {
    let count = count_of(ledger);
    let (begun, missing) = BLOCKS.split_at(count);
    let (before, here) = begun.split_at(base_of(ledger));
    let last = begun.last();
    assert_eq!(ledger.height().unwrap(), last.map(|block| block.header().height));
    for (blocks, is_there) in [(before, false), (here, true), (missing, false)] {
        for block in blocks {
            ask(ledger, block, is_there).unwrap();
        }
    }
    let transactions = |blocks: &[CheckedBlock]| -> usize {
        blocks.iter().map(|block| block.transactions().len()).sum()
    };
    assert_eq!(ledger.transaction_count().unwrap(), transactions(begun) as u64);
    // Every payment is Alice's or goes to her, and she wins no block.
    let events = ledger.history(&address(&ALICE), None, 1000).unwrap();
    assert_eq!(events.len(), transactions(here));
    let encoded: Vec<_> = here.iter().map(CheckedBlock::to_bytes).collect();
    let first = Height(base_of(ledger) as u64);
    assert_eq!(ledger.blocks(first, usize::MAX).unwrap(), encoded);
    if let Some(last) = last {
        let tip = (ledger.state().tip().hash, ledger.state().commitment());
        assert_eq!(tip, (last.hash(), last.header().state));
    }
    assert!(ledger.state().supply_holds());
}

/// A case under way.
struct Case {
    dice: Dice,
    options: OpenOptions,
    disk: NotingDisk,
    /// Blocks that there were when the ledger was started from a snapshot.
    base: usize,
    /// Blocks that somebody was told of.
    promises: Promises<usize>,
    fault: Fault,
}

impl Case {
    fn new(seed: u64, base: usize) -> Self {
        let (mut dice, disk) = (Dice(seed), NotingDisk::default());
        let fresh_bytes_max = [0, 700, 5000, 8 << 20][dice.below(4)];
        let options = OpenOptions { read_only: false, fresh_bytes_max };
        let promises = Promises::new(&disk, base);
        Self { dice, options, disk, base, promises, fault: Fault::None }
    }

    fn open(&mut self) -> Result<Ledger, OpenError> {
        let opened = self.start_or_open();
        match &opened {
            Ok(ledger) => self.judge(ledger),
            // An error of the disk is not taken for damage.
            Err(OpenError::Store(StoreError::Io { .. })) if self.fault != Fault::None => {}
            Err(found) => panic!("{found:?}"),
        }
        opened
    }

    fn start_or_open(&self) -> Result<Ledger, OpenError> {
        let disk = Arc::new(self.disk.clone());
        if self.base > 0 {
            let snapshot = SNAPSHOTS[self.base].clone();
            match Ledger::start_from(disk.clone(), chain(), snapshot, self.options) {
                Err(OpenError::Present) => {}
                started => return started,
            }
        }
        Ledger::with_disk(disk, Some(chain()), self.options, |_, _| {})
    }

    /// Whatever an opening shows is promised, as if it had been committed just now.
    fn judge(&mut self, ledger: &Ledger) {
        let (count, promised) = (count_of(ledger), *self.promises.last());
        assert!(count >= promised, "{count} blocks of {promised}");
        assert!(count <= BLOCKS.len());
        assert_eq!(base_of(ledger), self.base);
        if !self.fault.hinders_reading() {
            assert_eq!(ledger.recovery().rebuilt, None);
            check(ledger);
        }
        self.promises.add(&self.disk, count);
    }

    fn open_somehow(&mut self) -> Ledger {
        if let Ok(ledger) = self.open() {
            return ledger;
        }
        self.disk.mend();
        self.fault = Fault::None;
        self.open().unwrap()
    }

    /// One process, from opening to its end.
    fn live(&mut self) {
        self.fault = Fault::inject(&self.disk, &mut self.dice, 40);
        let mut ledger = self.open_somehow();
        for _ in 0..self.dice.below(16) {
            match self.dice.below(10) {
                0..6 => self.commit(&mut ledger),
                6 | 7 => drop(unless_io(ledger.maintain())),
                8 => drop(unless_io(ledger.flush())),
                _ => self.read(&ledger),
            }
        }
    }

    fn commit(&mut self, ledger: &mut Ledger) {
        let Some(block) = BLOCKS.get(count_of(ledger)) else { return };
        let before = *ledger.state().tip();
        match ledger.commit(block) {
            Ok(()) => self.promises.add(&self.disk, count_of(ledger)),
            Err(CommitError::Store(StoreError::Halted { .. })) => {
                *ledger = Ledger::in_memory(chain());
                *ledger = self.open_somehow();
            }
            Err(CommitError::Store(StoreError::Io { .. })) => {
                assert_eq!(*ledger.state().tip(), before);
            }
            Err(found) => panic!("{found:?}"),
        }
    }

    fn read(&mut self, ledger: &Ledger) {
        let number = self.dice.below(BLOCKS.len());
        let is_there = (self.base..count_of(ledger)).contains(&number);
        unless_io(ask(ledger, &BLOCKS[number], is_there));
    }

    /// Commits what is left on a disk that works, and compares everything.
    fn finish(mut self) {
        self.disk.mend();
        self.fault = Fault::None;
        drop(self.open().unwrap());
        (self.disk, self.promises) = self.promises.cut_off(&self.disk);
        let mut ledger = self.open().unwrap();
        let here = BLOCKS.len() - self.base;
        for block in &BLOCKS[count_of(&ledger)..] {
            ledger.commit(block).unwrap();
            if self.dice.below(2) == 0 {
                while ledger.maintain().unwrap() == Maintained::More {}
            }
        }
        check(&ledger);
        let summary = ledger.verify(|_, _| {}).unwrap();
        assert_eq!((summary.base, summary.blocks), (ledger.base(), here as u64));
        drop(ledger);
        (self.disk, self.promises) = self.promises.cut_off(&self.disk);
        let ledger = self.open().unwrap();
        assert_eq!(ledger.height().unwrap(), Some(Height(BLOCKS.len() as u64 - 1)));
    }
}

/// What was asked for, unless the disk has failed; no disk that fails is taken for a damaged one.
fn unless_io<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(StoreError::Io { .. }) => None,
        Err(found) => panic!("{found:?}"),
    }
}

fn run(mut case: Case) {
    for _ in 0..=case.dice.below(4) {
        case.live();
        // Else the process was killed, and the system still holds what it wrote.
        if case.dice.below(3) > 0 {
            let (disk, promises) = case.promises.crash(&case.disk, &mut case.dice);
            (case.disk, case.promises) = (disk, promises);
        }
    }
    case.finish();
}

#[test]
fn no_acknowledged_block_is_lost() {
    for_each_seed("ledger", 60, |seed| run(Case::new(seed, 0)));
}

#[test]
fn no_acknowledged_block_is_lost_after_a_snapshot() {
    for_each_seed("based", 60, |seed| run(Case::new(seed, 1 + Dice(!seed).below(BLOCKS.len()))));
}
