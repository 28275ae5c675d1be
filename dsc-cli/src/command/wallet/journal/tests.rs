//! A journal that was cut anywhere, damaged, shared, or given for other payments.

use std::fs;

use dsc_lib::testing::{ALICE, BOB, address, genesis, pay};

use super::*;
use crate::exit::Exit;

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    chain: Digest,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pay.csv.sent");
    Fixture { _folder: folder, path, chain: genesis().hash() }
}

fn head(payments: u8) -> Head {
    Head::new(genesis().hash(), "test".into(), "alice".into(), Digest([payments; 32]))
}

fn signed(sequence: u64) -> Transaction {
    pay(&ALICE, sequence, address(&BOB), 1)
}

/// Sequences of what is kept, by part.
fn sequences(journal: &Journal) -> Vec<(usize, u64)> {
    journal.kept.iter().map(|(part, kept)| (*part, kept.transaction.sequence)).collect()
}

#[test]
fn what_was_added_is_found_again_and_the_last_has_the_word() {
    let Fixture { path, chain, _folder } = fixture();
    let mut journal = Journal::open(&path, &head(1)).unwrap();
    assert!(journal.kept.is_empty());
    journal.add(&chain, vec![(0, signed(0)), (1, signed(1))]).unwrap();
    journal.add(&chain, vec![(1, signed(5))]).unwrap();
    let expected = [(0, 0), (1, 5)];
    assert_eq!(sequences(&journal), expected);
    drop(journal);
    assert_eq!(sequences(&Journal::open(&path, &head(1)).unwrap()), expected);
}

/// Wherever a crash cuts it, all of one addition counts or nothing, and the next run can add more.
#[test]
fn a_cut_journal_has_whole_additions() {
    let Fixture { path, chain, _folder } = fixture();
    let mut journal = Journal::open(&path, &head(1)).unwrap();
    let begun = fs::read(&path).unwrap().len();
    journal.add(&chain, vec![(0, signed(0))]).unwrap();
    let first = fs::read(&path).unwrap().len();
    journal.add(&chain, vec![(0, signed(7)), (1, signed(1))]).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let cuts = (0..whole.len()).step_by(37).chain([begun, first - 1, first, whole.len() - 1]);
    for cut in cuts {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut journal = Journal::open(&path, &head(1)).unwrap();
        // Of a line end alone nobody knows whether what is before it was sent: it counts.
        let expected: &[_] = match cut {
            _ if cut < first - 1 => &[],
            _ if cut < whole.len() - 1 => &[(0, 0)],
            _ => &[(0, 7), (1, 1)],
        };
        assert_eq!(sequences(&journal), expected, "cut at {cut}");
        journal.add(&chain, vec![(2, signed(9))]).unwrap();
        drop(journal);
        let again = Journal::open(&path, &head(1)).unwrap();
        assert_eq!(sequences(&again), [expected, &[(2, 9)]].concat(), "cut at {cut}");
    }
}

#[test]
fn an_unfinished_end_may_be_anything_but_what_counted_may_not() {
    let Fixture { path, chain, _folder } = fixture();
    let mut journal = Journal::open(&path, &head(1)).unwrap();
    journal.add(&chain, vec![(0, signed(0))]).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"\0\0\0\n\0\0"].concat()).unwrap();
    assert_eq!(sequences(&Journal::open(&path, &head(1)).unwrap()), [(0, 0)]);
    // Only the line end is missing: what was signed may have been sent.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(sequences(&Journal::open(&path, &head(1)).unwrap()), [(0, 0)]);
    fs::write(&path, &whole).unwrap();
    let text = String::from_utf8(whole).unwrap();
    let id = signed(0).id(&chain).to_string();
    let cases = [
        (text.replace("\"part\"", "\"port\""), "a line of a transaction that was sent cannot"),
        (text.replace(&id, &"0".repeat(64)), "the transaction 0000"),
        (text.replace("\"bytes\":\"01", "\"bytes\":\"zz"), "Invalid character"),
        (text.replace("state/1", "state/9"), "its schema is dsc.send-many.state/9"),
        (format!("pay\n{text}"), "expected value"),
        ("somebody's notes".to_owned(), "it does not begin as a state file"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let failure = Journal::open(&path, &head(1)).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Corrupt, "payments-state-corrupt"));
        assert!(failure.message().contains(expected), "{failure}");
    }
}

#[test]
fn it_is_for_one_list_one_payer_one_chain_and_one_process() {
    let Fixture { path, .. } = &fixture();
    let journal = Journal::open(path, &head(1)).unwrap();
    let failure = Journal::open(path, &head(1)).unwrap_err();
    assert_eq!(failure.code(), "payments-in-use");
    drop(journal);
    let others = [
        (head(2), "is for other payments than the file now has"),
        (Head { payer: "bob".into(), ..head(1) }, "is for payments from alice"),
        (Head { chain: Digest([1; 32]), ..head(1) }, "is for the chain test ("),
    ];
    for (other, expected) in others {
        let failure = Journal::open(path, &other).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Rejected, "other-payments"));
        assert!(failure.message().contains(expected), "{failure}");
    }
    assert!(Journal::open(path, &head(1)).is_ok());
}
