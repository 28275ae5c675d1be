use super::*;
use crate::{
    disk::Memory,
    testing::{
        ALICE, BOB, address, chain,
        disk::{Keep, NotingDisk, bytes_of},
        pay,
    },
};

fn transactions(count: u64) -> Vec<Arc<CheckedTransaction>> {
    let checked = |sequence| pay(&ALICE, sequence, address(&BOB), 1).check(&chain().hash());
    (0..count).map(|sequence| Arc::new(checked(sequence).unwrap())).collect()
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Journal {
    Journal::open(Arc::new(disk.clone())).unwrap()
}

fn read(journal: &Journal) -> Vec<Encoded> {
    (0..journal.unread()).flat_map(|index| journal.read(index).unwrap()).collect()
}

fn encoded(transactions: &[Arc<CheckedTransaction>]) -> Vec<Encoded> {
    transactions.iter().map(|transaction| transaction.encoded().clone()).collect()
}

fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) {
    disk.create(name).unwrap().write_at(bytes, 0).unwrap();
}

/// A journal of three transactions in one segment.
fn filled() -> (Memory, Vec<Arc<CheckedTransaction>>) {
    let disk = Memory::default();
    let mut journal = open(&disk);
    assert_eq!(journal.unread(), 0);
    journal.append(&transactions(3)).unwrap();
    (disk, transactions(3))
}

#[test]
fn what_was_appended_is_read_again() {
    let (disk, all) = filled();
    let mut journal = open(&disk);
    assert_eq!(read(&journal), encoded(&all));
    journal.append(&all[1..2]).unwrap();
    let again = [&all[..], &all[1..2]].concat();
    assert_eq!(read(&open(&disk)), encoded(&again));
}

/// An opening after which nothing came leaves nothing behind.
#[test]
fn opening_again_and_again_makes_no_more_segments() {
    let (disk, _) = filled();
    (0..5).for_each(|_| drop(open(&disk)));
    assert_eq!(numbers(&disk).unwrap(), [0, 1]);
}

/// Cut at any byte, the whole records before the cut are read and the next append follows.
#[test]
fn a_torn_record_hides_nothing() {
    let (disk, all) = filled();
    let bytes = bytes_of(&disk, &file_name(0));
    let len = bytes.len() / 3;
    for cut in (0..bytes.len()).step_by(97) {
        let disk = Memory::default();
        put(&disk, &file_name(0), &bytes[..cut]);
        let mut journal = open(&disk);
        assert_eq!(read(&journal), encoded(&all[..cut / len]), "cut at {cut}");
        journal.append(&all[2..]).unwrap();
        let journal = open(&disk);
        assert_eq!(read(&journal).last(), Some(all[2].encoded()), "cut at {cut}");
        assert_eq!(journal.torn().map(|torn| torn.bytes).sum::<u64>(), (cut % len) as u64);
    }
}

#[test]
fn a_flipped_byte_ends_what_is_read_and_the_rest_is_set_aside_before_it_goes() {
    let (disk, all) = filled();
    let mut bytes = bytes_of(&disk, &file_name(0));
    let (middle, third) = (bytes.len() / 2, bytes.len() / 3);
    bytes[middle] ^= 1;
    put(&disk, &file_name(0), &bytes);
    put(&disk, "0000000000.damaged", b"of an earlier crash");
    let mut journal = open(&disk);
    assert_eq!(read(&journal), encoded(&all[..1]));
    let torn = Torn { segment: file_name(0), bytes: (bytes.len() - third) as u64 };
    assert_eq!(journal.torn().collect::<Vec<_>>(), [torn]);
    assert_eq!(bytes_of(&disk, &file_name(0)), bytes, "nothing is cut off");
    journal.retire(|_| None, 0).unwrap();
    assert_eq!(numbers(&disk).unwrap(), [1]);
    assert_eq!(bytes_of(&disk, "0000000000.damaged"), b"of an earlier crash");
    assert_eq!(bytes_of(&disk, "0000000000.damaged.2"), bytes[third..]);
}

/// What is set aside is on disk before the segment goes, whenever a crash comes.
#[test]
fn a_crash_loses_nothing_that_is_to_be_set_aside() {
    let (memory, _) = filled();
    put(&memory, &file_name(0), b"no records");
    let disk = NotingDisk::of(&memory);
    let mut journal = open(&disk);
    let before = disk.operations();
    journal.retire(|_| None, 0).unwrap();
    for operations in before..=disk.operations() {
        for keep in (0..8).map(Keep::Some).chain([Keep::Nothing, Keep::Everything]) {
            let left = disk.crash(operations, keep);
            let names = left.list().unwrap();
            let kept = |name: &String| bytes_of(&left, name) == b"no records";
            assert!(names.iter().any(kept), "{operations} {keep:?}");
        }
    }
}

/// After each failure of writing, syncing or cutting, whatever is acknowledged later is on disk.
#[test]
fn an_append_after_failed_ones_is_on_disk() {
    let all = transactions(4);
    for first in 0..12 {
        for count in 1..8 {
            let disk = NotingDisk::default();
            let mut journal = open(&disk);
            disk.fail(first, count);
            let mut held = Vec::new();
            for one in all.chunks(1) {
                while journal.append(one).is_err() {}
                held.extend(encoded(one));
            }
            let left = disk.crash(disk.operations(), Keep::Nothing);
            let found = read(&open(&left));
            assert!(held.iter().all(|one| found.contains(one)), "{first} {count}");
        }
    }
}

/// A disk that stays full does not fill the folder with segments that nothing is in.
#[test]
fn failing_for_long_makes_no_more_segments() {
    let disk = NotingDisk::default();
    let mut journal = open(&disk);
    let all = transactions(2);
    journal.append(&all[..1]).unwrap();
    for _ in 0..50 {
        disk.fail(3, 1);
        let _ = journal.append(&all[1..]);
    }
    disk.mend();
    journal.append(&all[1..]).unwrap();
    assert!(numbers(&disk).unwrap().len() <= 4, "{:?}", numbers(&disk));
    assert_eq!(read(&open(&disk)).last(), Some(all[1].encoded()));
}

/// A process was killed after writing and before its sync returned: what the next one reads is in
/// the system's memory, and is on disk before anybody hears of it.
#[test]
fn what_is_read_is_on_disk() {
    let all = transactions(3);
    let disk = NotingDisk::default();
    let mut journal = open(&disk);
    journal.append(&all[..1]).unwrap();
    let written = encode(&all[1..]);
    let last = journal.segments.back().unwrap();
    last.file.write_at(&written, last.len).unwrap();
    drop(journal);
    let found = read(&open(&disk));
    assert_eq!(found, encoded(&all));
    let left = disk.crash(disk.operations(), Keep::Nothing);
    assert_eq!(read(&open(&left)), found);
}

/// A journal with a transaction in each segment.
fn split(disk: &Memory, count: u64) -> (Journal, Vec<Arc<CheckedTransaction>>) {
    let mut journal = open(disk);
    journal.segment_bytes = 1;
    let all = transactions(count);
    all.chunks(1).for_each(|one| journal.append(one).unwrap());
    (journal, all)
}

#[test]
fn segments_go_when_all_in_them_has_ended() {
    let disk = Memory::default();
    let (mut journal, all) = split(&disk, 5);
    let pending = |from: usize| {
        let rest = all[from..].to_vec();
        move |id: &TransactionId| rest.iter().find(|t| t.id() == *id).cloned()
    };
    journal.retire(pending(0), 1 << 20).unwrap();
    assert_eq!(numbers(&disk).unwrap(), [0, 1, 2, 3, 4]);
    journal.retire(pending(3), 1 << 20).unwrap();
    assert_eq!(numbers(&disk).unwrap(), [3, 4]);
    journal.retire(pending(5), 1 << 20).unwrap();
    assert_eq!(numbers(&disk).unwrap(), [4], "the last one is written to");
}

#[test]
fn one_that_stays_is_written_anew_when_it_holds_up_too_many() {
    let disk = Memory::default();
    let (mut journal, all) = split(&disk, 40);
    let first = all[0].clone();
    let only_first = |id: &TransactionId| (first.id() == *id).then(|| first.clone());
    journal.retire(only_first, first.bytes().len() as u64).unwrap();
    assert!(numbers(&disk).unwrap().len() < 5);
    drop(journal);
    let left = read(&open(&disk));
    assert!(left.contains(first.encoded()));
}

/// One that was evicted and submitted again is in the journal more than once.
#[test]
fn one_that_came_again_and_again_is_kept_once() {
    let disk = Memory::default();
    let mut journal = open(&disk);
    journal.segment_bytes = 1;
    let (all, one) = (transactions(2), transactions(1));
    journal.append(&all).unwrap();
    (0..20).for_each(|_| journal.append(&one).unwrap());
    let pending = |id: &TransactionId| all.iter().find(|t| t.id() == *id).cloned();
    journal.retire(pending, 2 * one[0].bytes().len() as u64).unwrap();
    assert!(numbers(&disk).unwrap().len() < 5);
    drop(journal);
    let left = read(&open(&disk));
    assert!(all.iter().all(|transaction| left.contains(transaction.encoded())));
}

/// The file was made, and its folder could not be synced.
#[test]
fn a_segment_that_was_started_in_vain_is_started_again() {
    let disk = Memory::default();
    let (mut journal, all) = split(&disk, 2);
    disk.create(&file_name(2)).unwrap();
    journal.append(&all[..1]).unwrap();
    assert_eq!(numbers(&disk).unwrap(), [0, 1, 2]);
}

#[test]
fn other_files_are_none_of_its_business() {
    let disk = Memory::default();
    for name in ["7.segment", "+000000007.segment", "0000000007.damaged", "x.segment"] {
        put(&disk, name, b"something else");
    }
    assert_eq!(open(&disk).unread(), 0);
}
