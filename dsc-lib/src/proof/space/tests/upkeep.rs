//! Checking finds every fault and names it; repairing gives back the file that was plotted.

use std::collections::BTreeSet;

use super::*;
use crate::tag::Tagger;

const LEN: u64 = 528_384;

fn upkeep() -> Upkeep {
    Upkeep { threads: 2, ..Upkeep::default() }
}

fn stated() -> Upkeep {
    Upkeep { id: Some(CASES[0].id()), ..upkeep() }
}

fn full(path: &Path) -> Report {
    check(path, Depth::Full, &upkeep(), &NoProgress).unwrap()
}

fn texts(report: &Report) -> Vec<String> {
    report.faults.iter().map(ToString::to_string).collect()
}

fn sound() -> Vec<u8> {
    fs::read(&PLOTTED.1).unwrap()
}

/// Numbers that look random and are the same in every run.
fn random() -> impl Iterator<Item = u64> {
    let tagger = Tagger::new(&[7; 32]);
    (0..).map(move |index| tagger.tag(index))
}

/// Flips a bit or more of the byte at `at`.
fn flip(path: &Path, at: u64, random: u64) {
    let flips = u8::try_from(random >> 56).unwrap().max(1);
    overwrite(path, at, &[sound()[usize::try_from(at).unwrap()] ^ flips]);
}

/// The pairs of a bucket, dropped ones included.
fn bucket(number: u64) -> Vec<Placed> {
    static TABLE: LazyLock<Vec<Placed>> = LazyLock::new(|| whole_table(&levels(&CASES[0].id()), 1));
    TABLE.iter().copied().filter(|placed| top(placed.e, 7) == number).collect()
}

/// The first bucket of more, or of fewer, pairs than a page holds.
fn a_bucket(overfull: bool) -> u64 {
    (0..128).find(|&number| (bucket(number).len() > ENTRIES_MAX + 1) == overfull).unwrap()
}

/// Writes a page that has the right checksum.
fn forge(path: &Path, number: u64, placed: &[Placed]) {
    let mut page = [0; PAGE_LEN];
    vault::write_bucket(&mut page, number, &CASES[0].id(), placed);
    overwrite(path, (number + 1) * 4096, &page);
}

/// The offset of an entry, as a fault names it.
fn entry_at(bucket: u64, position: u64) -> u64 {
    (bucket + 1) * 4096 + position * 8
}

#[test]
fn a_sound_vault_has_no_faults() {
    let report = full(&PLOTTED.1);
    assert_eq!((report.buckets, report.entries), (128, 65_207 - 1078));
    assert_eq!((report.complete, report.rebuilt), (128, 64));
    assert_eq!((report.damaged, &report.faults[..]), (0, &[][..]));
    assert_eq!(report.header, Some(Vault::read_header(&PLOTTED.1).unwrap()));
    let sample = check(&PLOTTED.1, Depth::Sample, &upkeep(), &NoProgress).unwrap();
    assert_eq!((sample.buckets, sample.complete, sample.rebuilt), (128, 0, 0));
    assert_eq!(sample.faults, []);
}

#[test]
fn of_200_flipped_bytes_each_is_found_and_its_page_named() {
    let (_folder, path) = copy();
    for random in random().take(200) {
        let at = random % LEN;
        flip(&path, at, random);
        let page = at / 4096;
        let report = check(&path, Depth::Full, &stated(), &NoProgress).unwrap();
        let found: Vec<_> = report.faults.iter().map(Fault::page).collect();
        assert_eq!(found, [Some(page)], "byte {at}");
        assert_eq!(report.damaged, 1);
        if page > 0 {
            assert_eq!(report.faults, [Fault::Checksum { page, offset: page * 4096 }]);
            assert_eq!(full(&path), report, "no identity has to be stated");
        }
        overwrite(&path, at, &sound()[usize::try_from(at).unwrap()..][..1]);
    }
    assert_eq!(full(&path).faults, []);
}

#[test]
fn every_flipped_byte_of_the_header_is_found_whoever_asks() {
    let (_folder, path) = copy();
    for at in (0..80).chain([80, 2000, 4091, 4092, 4095]) {
        flip(&path, at, 1 << 56);
        let report = check(&path, Depth::Sample, &stated(), &NoProgress).unwrap();
        assert_eq!(report.faults.iter().map(Fault::page).collect::<Vec<_>>(), [Some(0)], "{at}");
        assert_eq!((report.header, report.damaged), (None, 1));
        // Index, address and fingerprint are in no other place; the rest can do without.
        let alone = check(&path, Depth::Sample, &upkeep(), &NoProgress);
        if (12..64).contains(&at) {
            let CheckError::Vault(VaultError { fault, .. }) = alone.unwrap_err() else { panic!() };
            assert_eq!(fault, Fault::Checksum { page: 0, offset: 0 }, "{at}");
        } else {
            assert_eq!(alone.unwrap(), report, "{at}");
        }
        overwrite(&path, at, &sound()[usize::try_from(at).unwrap()..][..1]);
    }
}

#[test]
fn every_entry_that_breaks_a_rule_is_named_in_the_order_of_pages() {
    let (_folder, path) = copy();
    let mut swapped = bucket(3);
    swapped.swap(5, 6);
    forge(&path, 3, &swapped);
    forge(&path, 4, &[&bucket(4)[..3], &bucket(5)[..2]].concat());
    let mut unmatched = bucket(6);
    for position in [9, 20] {
        unmatched[position].pair = Pair(unmatched[position].pair.0 ^ 1 << 40);
    }
    unmatched[30].pair = Pair(unmatched[30].pair.0.rotate_left(32));
    unmatched[31].pair = Pair(unmatched[31].pair.0 | 1 << 63);
    forge(&path, 6, &unmatched);
    overwrite(&path, 8 * 4096 + 100, b"damage");
    let report = full(&path);
    let found: Vec<_> = report.faults.iter().map(|fault| fault.offset().unwrap()).collect();
    let unmatched = [9, 20, 30, 31].map(|position| entry_at(6, position));
    let others = [entry_at(3, 6), entry_at(4, 3), entry_at(4, 4)];
    assert_eq!(found, [&others[..], &unmatched, &[8 * 4096]].concat());
    let texts = texts(&report);
    assert_eq!(texts[0], "page 4 at offset 16432: the entry is out of order");
    assert_eq!(texts[1], "page 5 at offset 20504: the entry belongs to another bucket");
    assert!(texts[3].ends_with("do not match") && texts[4].ends_with("do not match"), "{texts:?}");
    assert!(texts[5].contains("x1 is not below x2") || texts[5].contains("x1"), "{texts:?}");
    assert!(texts[6].contains("expected 0 to 65535"), "{texts:?}");
    assert_eq!((report.damaged, report.complete), (4, 124));
}

#[test]
fn bytes_that_nobody_uses_have_to_be_zero() {
    let (_folder, path) = copy();
    let number = a_bucket(false);
    let pairs = bucket(number);
    let (mut page, at) = ([0; PAGE_LEN], pairs.len() * 8 + 3);
    vault::write_bucket(&mut page, number, &CASES[0].id(), &pairs);
    page[at] = 1;
    vault::seal(&mut page, number + 1, &CASES[0].id());
    overwrite(&path, (number + 1) * 4096, &page);
    let fault = Fault::content(number + 1, at, "an unused byte is not zero");
    assert_eq!(full(&path).faults, [fault]);
}

#[test]
fn a_page_that_lacks_a_pair_is_found_and_the_pair_named() {
    for overfull in [true, false] {
        let (_folder, path) = copy();
        let number = a_bucket(overfull);
        let mut pairs = bucket(number);
        // The page of an overfull bucket is still full: the lowest that was dropped moves up.
        let Placed { pair, .. } = pairs.remove(17);
        forge(&path, number, &pairs);
        let report = full(&path);
        let rule = format!("the pair of {} and {} is missing", pair.x1(), pair.x2());
        assert_eq!(report.faults, [Fault::content(number + 1, 17 * 8, rule)]);
        assert_eq!((report.damaged, report.complete), (1, 127));
        let sample = check(&path, Depth::Sample, &upkeep(), &NoProgress).unwrap();
        assert_eq!(sample.faults, [], "only a full check makes the pairs anew");
    }
}

#[test]
fn totals_that_are_not_those_of_the_table_are_found() {
    let (_folder, path) = copy();
    let header = Vault::read_header(&path).unwrap();
    overwrite(&path, 0, &Header { pairs: 65_208, dropped: 1079, ..header }.to_page());
    let expected = [
        "page 0 at offset 64: pairs is 65208, expected 65207",
        "page 0 at offset 72: dropped is 1079, expected 1078",
    ];
    let report = full(&path);
    assert_eq!((texts(&report), report.damaged), (expected.map(String::from).to_vec(), 1));
    // Damaged pages do not hide it.
    overwrite(&path, 4096, &[0; 4096]);
    assert_eq!(full(&path).faults.len(), 3);
}

#[test]
fn a_file_of_another_length_is_checked_as_far_as_it_goes() {
    let (_folder, path) = copy();
    let file = File::options().write(true).open(&path).unwrap();
    for (len, damaged) in [(LEN + 1, 0), (LEN - 1, 1), (8192, 127), (4096, 128)] {
        file.set_len(len).unwrap();
        let report = full(&path);
        assert_eq!(report.faults, [Fault::Length { got: len, expected: LEN }]);
        assert_eq!((report.damaged, report.complete), (damaged, 128 - damaged));
        let sample = check(&path, Depth::Sample, &upkeep(), &NoProgress).unwrap();
        assert_eq!((sample.faults, sample.damaged), (report.faults, damaged));
    }
    file.set_len(0).unwrap();
    let found = check(&path, Depth::Full, &upkeep(), &NoProgress).unwrap_err();
    assert!(found.to_string().ends_with("not a vault file"), "{found}");
}

#[test]
fn a_vault_that_is_another_or_unfinished_is_neither_checked_nor_repaired() {
    let (folder, path) = copy();
    let refused = |path: &Path, upkeep: &Upkeep| {
        let CheckError::Vault(checked) =
            check(path, Depth::Sample, upkeep, &NoProgress).unwrap_err()
        else {
            panic!()
        };
        let RepairError::Vault(repaired) = repair(path, upkeep, &NoProgress).unwrap_err() else {
            panic!()
        };
        assert_eq!(checked, repaired);
        checked.fault
    };
    let id = VaultId::new(vector_miner(), 16, 9).unwrap();
    let other = refused(&path, &Upkeep { id: Some(id), ..upkeep() });
    let (got, expected) = (CASES[0].id().file_name(), id.file_name());
    assert_eq!(other, Fault::Identity { got, expected });
    let header = Vault::read_header(&path).unwrap();
    overwrite(&path, 0, &Header { complete: false, ..header }.to_page());
    assert_eq!(refused(&path, &upkeep()), Fault::Incomplete);
    let none = check(&folder.path().join("none"), Depth::Full, &upkeep(), &NoProgress);
    assert!(matches!(none, Err(CheckError::Vault(VaultError { fault: Fault::Io { .. }, .. }))));
    let none = repair(&folder.path().join("none"), &upkeep(), &NoProgress);
    assert!(matches!(none, Err(RepairError::Io { .. })));
}

#[test]
fn a_check_in_too_little_memory_says_what_it_needs() {
    let upkeep = Upkeep { ram_bytes_max: 100_000, ..upkeep() };
    let found = check(&PLOTTED.1, Depth::Full, &upkeep, &NoProgress).unwrap_err();
    let CheckError::Build(BuildError::RamTooSmall { needed, allowed: 100_000 }) = found else {
        panic!("{found}")
    };
    let enough = Upkeep { ram_bytes_max: needed, ..upkeep };
    assert_eq!(check(&PLOTTED.1, Depth::Full, &enough, &NoProgress).unwrap(), full(&PLOTTED.1));
    let tiny = Upkeep { ram_bytes_max: 100, ..enough };
    assert!(check(&PLOTTED.1, Depth::Full, &tiny, &NoProgress).is_err());
}

/// Repairs the file, compares it with what was plotted and returns the pages repaired.
fn repaired(path: &Path, upkeep: &Upkeep) -> Vec<u64> {
    let done = repair(path, upkeep, &NoProgress).unwrap();
    assert!(fs::read(path).unwrap() == sound(), "the file is not as it was plotted");
    assert_eq!(done.header, Vault::read_header(path).unwrap());
    let again = repair(path, upkeep, &NoProgress).unwrap();
    assert_eq!((again.pages, again.len_before), (vec![], LEN));
    done.pages
}

#[test]
fn a_sound_vault_is_left_alone() {
    let (_folder, path) = copy();
    assert!(repaired(&path, &upkeep()).is_empty());
}

#[test]
fn flipped_zeroed_and_swapped_pages_are_repaired() {
    let (_folder, path) = copy();
    let (sound, mut pages) = (sound(), BTreeSet::new());
    for random in random().take(40) {
        let at = 4096 + random % (LEN - 4096);
        flip(&path, at, random);
        pages.insert(at / 4096);
    }
    overwrite(&path, 30 * 4096, &[0; 4 * 4096]);
    overwrite(&path, 50 * 4096, &sound[90 * 4096..91 * 4096]);
    overwrite(&path, 90 * 4096, &sound[50 * 4096..51 * 4096]);
    pages.extend([30, 31, 32, 33, 50, 90]);
    assert_eq!(repaired(&path, &upkeep()), Vec::from_iter(pages));
}

#[test]
fn pages_that_are_wrong_under_a_right_checksum_are_repaired() {
    let (_folder, path) = copy();
    let (full, some) = (a_bucket(true), a_bucket(false));
    for number in [full, some] {
        let mut pairs = bucket(number);
        pairs.remove(17);
        forge(&path, number, &pairs);
    }
    forge(&path, 100, &bucket(101));
    forge(&path, 110, &[]);
    let header = Vault::read_header(&path).unwrap();
    overwrite(&path, 0, &Header { pairs: 1, dropped: 2, ..header }.to_page());
    let pages = BTreeSet::from([0, full + 1, some + 1, 101, 111]);
    assert_eq!(repaired(&path, &upkeep()), Vec::from_iter(pages));
}

#[test]
fn a_file_that_was_cut_or_has_grown_is_repaired() {
    for len in [LEN + 4096, LEN - 1, LEN / 2, 4096] {
        let (_folder, path) = copy();
        File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
        let done = repair(&path, &upkeep(), &NoProgress).unwrap();
        assert_eq!(done.len_before, len);
        let first_cut = len / 4096;
        assert_eq!(done.pages, (first_cut..129).collect::<Vec<_>>(), "{len}");
        assert!(fs::read(&path).unwrap() == sound());
    }
}

#[test]
fn a_damaged_header_is_repaired_if_it_is_known_whose_vault_it_is() {
    let (_folder, path) = copy();
    // Where the identity is not touched, or only `k` is, nobody has to state it.
    for at in [0, 8, 10, 11, 70, 500, 4095] {
        flip(&path, at, 1 << 56);
        overwrite(&path, 7 * 4096, b"damage");
        assert_eq!(repaired(&path, &upkeep()), [0, 7], "{at}");
    }
    overwrite(&path, 0, &[0; 4096]);
    let found = repair(&path, &upkeep(), &NoProgress).unwrap_err();
    assert!(found.to_string().ends_with("not a vault file"), "{found}");
    let other = Upkeep { id: VaultId::new(vector_miner(), 16, 1), ..upkeep() };
    let found = repair(&path, &other, &NoProgress).unwrap_err();
    assert!(matches!(found, RepairError::Foreign { .. }), "{found}");
    let text = format!("no page of it is of the vault {}", other.id.unwrap().file_name());
    assert!(found.to_string().ends_with(&text), "{found}");
    assert_eq!(repaired(&path, &stated()), [0]);
}

#[test]
fn a_vault_of_which_only_the_header_is_left_is_repaired_in_little_memory() {
    let (_folder, path) = copy();
    overwrite(&path, 4096, &vec![0; 528_384 - 4096]);
    let upkeep = Upkeep { ram_bytes_max: 2_000_000, ..upkeep() };
    assert_eq!(repaired(&path, &upkeep), (1..129).collect::<Vec<_>>());
    overwrite(&path, 4096, b"damage");
    let tiny = Upkeep { ram_bytes_max: 100_000, ..upkeep };
    let found = repair(&path, &tiny, &NoProgress).unwrap_err();
    assert!(matches!(found, RepairError::Build(BuildError::RamTooSmall { .. })), "{found}");
    assert_eq!(full(&path).damaged, 1, "nothing was changed");
}

#[test]
fn two_repairs_of_one_file_exclude_each_other() {
    let (_folder, path) = copy();
    let other = File::open(&path).unwrap();
    other.lock().unwrap();
    let found = repair(&path, &upkeep(), &NoProgress).unwrap_err();
    assert!(found.to_string().ends_with("another process has locked it"), "{found}");
    other.unlock().unwrap();
    assert!(repaired(&path, &upkeep()).is_empty());
}
