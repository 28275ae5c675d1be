//! Crashes after every single operation, and disks that fail.

use super::*;
use crate::{
    disk::{Disk, Memory},
    testing::disk::{Keep, NotingDisk},
};

/// Every block is written to runs at once, so that merges come soon.
const EAGER: OpenOptions = OpenOptions { read_only: false, fresh_bytes_max: 0 };

fn blocks(count: u64) -> Vec<CheckedBlock> {
    let mut state = State::genesis(chain());
    let mut blocks = Vec::new();
    for height in 0..count {
        let transactions = if height % 3 == 0 {
            vec![]
        } else {
            vec![pay(&ALICE, state.account(&address(&ALICE)).sequence, 1)]
        };
        let block = next_block(&state, vec![], transactions);
        state.apply(&block).unwrap();
        blocks.push(block);
    }
    blocks
}

/// The ledger on `disk` has the first of `blocks`, exactly; returns how many.
fn check(ledger: &Ledger, blocks: &[CheckedBlock]) -> usize {
    let count = usize::try_from(ledger.state().round().height.0).unwrap();
    let (here, missing) = blocks.split_at(count);
    assert_eq!(ledger.height().unwrap(), here.last().map(|block| block.header().height));
    if let Some(last) = here.last() {
        assert_eq!(
            (ledger.state().tip().hash, ledger.state().commitment()),
            (last.hash(), last.header().state)
        );
    }
    let mut events = 0;
    for block in here {
        let height = block.header().height;
        assert_eq!(ledger.block_bytes(height).unwrap(), Some(block.to_bytes()));
        assert_eq!(ledger.height_of(&block.hash()).unwrap(), Some(height));
        for transaction in block.transactions() {
            assert_eq!(
                ledger.transaction(&transaction.id()).unwrap().unwrap().place.height,
                height
            );
            events += 1;
        }
    }
    for block in missing {
        assert_eq!(ledger.height_of(&block.hash()).unwrap(), None);
        assert_eq!(ledger.block_bytes(block.header().height).unwrap(), None);
    }
    assert_eq!(ledger.history(&address(&ALICE), None, 1000).unwrap().len(), events);
    assert_eq!(ledger.transaction_count().unwrap(), events as u64);
    count
}

/// Opens what a crash left and goes on from there.
fn go_on(disk: Memory, options: OpenOptions, blocks: &[CheckedBlock], acknowledged: usize) {
    let disk = Arc::new(disk);
    let mut ledger = Ledger::with_disk(disk.clone(), Some(chain()), options, |_, _| {}).unwrap();
    assert_eq!(ledger.recovery().rebuilt, None);
    let count = check(&ledger, blocks);
    assert!(count == acknowledged || count == acknowledged + 1, "{count}, {acknowledged}");
    if let Some(next) = blocks.get(count) {
        ledger.commit(next).unwrap();
        while ledger.maintain().unwrap() == Maintained::More {}
        drop(ledger);
        let ledger = Ledger::with_disk(disk, None, options, |_, _| {}).unwrap();
        assert_eq!(check(&ledger, blocks), count + 1);
    }
}

/// Commits blocks with all upkeep; returns the number of operations after each.
fn commit_all(disk: &NotingDisk, options: OpenOptions, blocks: &[CheckedBlock]) -> Vec<usize> {
    let shared = Arc::new(disk.clone());
    let mut ledger = Ledger::with_disk(shared, Some(chain()), options, |_, _| {}).unwrap();
    let mut acknowledged = vec![disk.operations()];
    for block in blocks {
        ledger.commit(block).unwrap();
        acknowledged.push(disk.operations());
        while ledger.maintain().unwrap() == Maintained::More {}
    }
    acknowledged
}

/// Whatever the moment of the crash, and whatever it keeps of what was not synced, every block that
/// was acknowledged is there, once, and the next one can follow.
#[test]
fn a_crash_after_any_operation_loses_no_acknowledged_block() {
    let blocks = blocks(19);
    let disk = NotingDisk::default();
    let acknowledged = commit_all(&disk, EAGER, &blocks);
    let operations = disk.operations();
    for moment in 0..=operations {
        let count = acknowledged.iter().filter(|done| **done <= moment).count().saturating_sub(1);
        for keep in [Keep::Nothing, Keep::Everything, Keep::Some(moment as u64)] {
            go_on(disk.crash(moment, keep), EAGER, &blocks, count);
        }
    }
}

/// The same where the index is seldom written, so that opening checks blocks of the log.
#[test]
fn a_crash_between_runs_loses_no_acknowledged_block() {
    let (blocks, options) = (blocks(6), OpenOptions::default());
    let disk = NotingDisk::default();
    let acknowledged = commit_all(&disk, options, &blocks);
    for moment in 0..=disk.operations() {
        let count = acknowledged.iter().filter(|done| **done <= moment).count().saturating_sub(1);
        for seed in 0..20 {
            go_on(disk.crash(moment, Keep::Some(seed)), options, &blocks, count);
        }
    }
}

/// A crash while a crash is being mended.
#[test]
fn a_crash_during_recovery_loses_no_acknowledged_block() {
    let (blocks, options) = (blocks(4), OpenOptions::default());
    let disk = NotingDisk::default();
    let acknowledged = commit_all(&disk, options, &blocks);
    let torn = disk.crash(acknowledged[4] - 3, Keep::Everything);
    let again = NotingDisk::of(&torn);
    let before = again.operations();
    let opened = Ledger::with_disk(Arc::new(again.clone()), None, options, |_, _| {}).unwrap();
    assert!(opened.recovery().torn.is_some());
    drop(opened);
    for moment in before..=again.operations() {
        for keep in [Keep::Nothing, Keep::Everything, Keep::Some(moment as u64)] {
            go_on(again.crash(moment, keep), options, &blocks, 3);
        }
    }
}

/// One failure at any operation: no acknowledged block is lost, whoever asks again gets further or
/// is told to open the ledger again, and the state has moved only if the block is on disk.
#[test]
fn a_failing_disk_loses_no_acknowledged_block() {
    let blocks = blocks(10);
    let whole = NotingDisk::default();
    commit_all(&whole, EAGER, &blocks);
    for failing in 0..whole.operations() {
        let disk = NotingDisk::default();
        disk.fail(failing, 1);
        let open = || Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), EAGER, |_, _| {});
        let mut ledger = open().or_else(|_| open()).unwrap();
        let mut height = 0;
        while let Some(block) = blocks.get(height) {
            let before = *ledger.state().tip();
            match ledger.commit(block) {
                Ok(()) => height += 1,
                Err(CommitError::Store(StoreError::Halted { .. })) => {
                    drop(ledger);
                    ledger = open().unwrap();
                    height = usize::try_from(ledger.state().round().height.0).unwrap();
                }
                Err(CommitError::Store(StoreError::Io { .. })) => {
                    assert_eq!(*ledger.state().tip(), before);
                }
                Err(found) => panic!("{found:?}"),
            }
            while matches!(ledger.maintain(), Ok(Maintained::More)) {}
        }
        assert_eq!(check(&ledger, &blocks), blocks.len());
        drop(ledger);
        let ledger = open().unwrap();
        assert_eq!(ledger.recovery().rebuilt, None);
        assert_eq!(check(&ledger, &blocks), blocks.len());
    }
}

/// The log got its name, and its folder could not be synced: the next opening finds the name.
#[test]
fn the_name_of_the_log_is_on_disk_before_a_block_is() {
    let (blocks, disk, options) = (blocks(1), NotingDisk::default(), OpenOptions::default());
    let open = || Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), options, |_, _| {});
    disk.fail(4, 1);
    open().unwrap_err();
    open().unwrap().commit(&blocks[0]).unwrap();
    go_on(disk.crash(disk.operations(), Keep::Nothing), options, &blocks, 1);
}

/// A sync failed, or its process was killed before it returned: the next opening finds the block in
/// the system's memory, and must not show it before it is on disk.
#[test]
fn what_an_opening_shows_is_on_disk() {
    let (blocks, options) = (blocks(3), OpenOptions::default());
    for stop in [2, 3] {
        let disk = NotingDisk::default();
        let open = || Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), options, |_, _| {});
        let mut ledger = open().unwrap();
        ledger.commit(&blocks[0]).unwrap();
        disk.fail(stop, 1);
        let _ = ledger.commit(&blocks[1]);
        drop(ledger);
        let shown = check(&open().unwrap(), &blocks);
        assert_eq!(shown, 2);
        go_on(disk.crash(disk.operations(), Keep::Nothing), options, &blocks, shown);
    }
}

fn runs_on(disk: &NotingDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| is_run(name)).collect()
}

/// Whichever operation fails while the index is written, whoever opens the ledger then finds the
/// index of before or after; and whoever goes on leaves no file that nobody needs.
#[test]
fn a_failing_disk_costs_no_index() {
    let blocks = blocks(10);
    let whole = NotingDisk::default();
    commit_all(&whole, EAGER, &blocks);
    for (failing, killed) in (8..whole.operations()).flat_map(|at| [(at, true), (at, false)]) {
        let disk = NotingDisk::default();
        let open = || Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), EAGER, |_, _| {});
        disk.fail(failing, 1);
        let mut ledger = open().unwrap();
        for block in &blocks {
            let failed = ledger.commit(block).is_err();
            while matches!(ledger.maintain(), Ok(Maintained::More)) {}
            if failed || killed && disk.operations() > failing {
                break;
            }
        }
        disk.mend();
        if !killed {
            let _ = ledger.flush();
            while matches!(ledger.maintain(), Ok(Maintained::More)) {}
        }
        let held = runs_on(&disk);
        drop(ledger);
        let ledger = open().unwrap();
        assert_eq!(ledger.recovery().rebuilt, None, "{failing}");
        check(&ledger, &blocks);
        // Opening removes the one that could not be removed.
        assert!(killed || held.len() <= runs_on(&disk).len() + 1, "{failing}: {held:?}");
    }
}

#[test]
fn a_failed_sync_halts_the_log_and_a_failed_write_does_not() {
    let (blocks, disk, options) = (blocks(2), NotingDisk::default(), OpenOptions::default());
    let open = || Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), options, |_, _| {});
    let mut ledger = open().unwrap();
    disk.fail(0, 1);
    let found = ledger.commit(&blocks[0]).unwrap_err();
    let text = "cannot append to the block log: the disk was told to fail";
    assert_eq!(found.to_string(), text);
    assert_eq!(ledger.state().height(), None);
    ledger.commit(&blocks[0]).unwrap();
    disk.fail(2, 1);
    assert_eq!(ledger.commit(&blocks[1]).unwrap_err().to_string(), text);
    let found = ledger.commit(&blocks[1]).unwrap_err();
    let text = "the log takes no block until the ledger is opened again: the disk was told to fail";
    assert_eq!(found.to_string(), text);
    assert_eq!(ledger.height().unwrap(), Some(Height(0)));
    drop(ledger);
    let ledger = open().unwrap();
    assert!(check(&ledger, &blocks) >= 1);
}

#[test]
fn a_block_is_persisted_once_and_shown_when_the_state_moves() {
    let blocks = blocks(3);
    let mut ledger = Ledger::in_memory(chain());
    let archive = ledger.archive().clone();
    let persisted = archive.persist(&blocks[0]).unwrap();
    assert_eq!(archive.height().unwrap(), None);
    let again = archive.persist(&blocks[0]).unwrap();
    let found = archive.persist(&blocks[2]).unwrap_err();
    assert!(matches!(found, CommitError::Stale(_)), "{found:?}");
    let other = ledger.advance(&blocks[1], persisted).unwrap_err();
    assert_eq!((other.checked, other.tip), (blocks[1].hash(), blocks[0].hash()));
    ledger.advance(&blocks[0], again).unwrap();
    assert_eq!(archive.height().unwrap(), Some(Height(0)));
    ledger.commit(&blocks[1]).unwrap();
    ledger.commit(&blocks[2]).unwrap();
    assert_eq!(check(&ledger, &blocks), 3);
}
