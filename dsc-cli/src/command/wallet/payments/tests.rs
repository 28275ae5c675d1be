//! Both forms of lines, what is wrong with them, and how they are put together.

use clap::Parser;
use dsc_lib::testing::{ALICE, BOB, chain};

use super::*;
use crate::keystore::Keystore;

const TO: Address = Address([7; 32]);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    memo: MemoArgs,
}

fn memo(flags: &[&str]) -> MemoArgs {
    Flags::parse_from([&["test"], flags].concat()).memo
}

fn lines(text: &str, flags: &[&str]) -> Result<Vec<Entry>, Failure> {
    parse(Path::new("file"), text.as_bytes(), Prefix::Development, &memo(flags))
}

fn told(to: Address) -> String {
    to.to_text(Prefix::Development)
}

#[test]
fn both_forms_are_read() {
    let to = told(TO);
    let text = format!(
        "address,amount\n# a remark\n{to}, 1.5\n\n{{\"address\":\"{to}\",\"amount\":\"2\"}}\r\n"
    );
    let entries = lines(&text, &["--memo", "all"]).unwrap();
    let amounts: Vec<_> = entries.iter().map(|e| e.payment.amount.to_string()).collect();
    assert_eq!(amounts, ["1.5", "2"]);
    assert!(entries.iter().all(|entry| entry.payment.to == TO && entry.memo == "all"));
    assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn a_line_may_have_a_memo_of_its_own() {
    let to = told(TO);
    let text = format!(
        "Address,Amount,Memo\n{to},1,lunch\n{to},1,\"a, \"\"b\"\"\"\n{to},1,\n\
         {{\"address\":\"{to}\",\"amount\":\"2\",\"memo\":\"x\\ny\"}}\n{to},1\n"
    );
    let entries = lines(&text, &["--memo", "all"]).unwrap();
    let memos: Vec<_> = entries.iter().map(|entry| entry.memo.as_str()).collect();
    assert_eq!(memos, ["lunch", "a, \"b\"", "", "x\ny", "all"]);
}

#[test]
fn a_wrong_line_is_named() {
    let (to, other) = (told(TO), TO.to_text(Prefix::Main));
    let long = "x".repeat(235);
    let cases = [
        (format!("{to},1\n{to}"), "line 2: expected ADDRESS,AMOUNT"),
        (format!("{to},x"), "line 1: an amount is digits"),
        (format!("{to},0"), "line 1: a payment of nothing"),
        (format!("{other},1"), "line 1: the address starts with \"dsc\", expected \"dscd\""),
        ("{\"address\":1}".to_owned(), "line 1: invalid type"),
        ("# nothing\n".to_owned(), "line 1: there is no payment"),
        (format!("{to},1,a,b"), "line 1: a memo with a comma goes in quotes"),
        (format!("{to},1,\"a"), "line 1: the quotes of the memo do not match"),
        (format!("{to},1,\"a\"b\""), "line 1: the quotes of the memo do not match"),
        (format!("{to},1,{long}"), "line 1: the memo has 235 bytes, a sealed memo has at most 234"),
        (format!("{to},1"), "line 1: there is no memo to seal"),
        (format!("{to},1,{}", "x".repeat(5000)), "line 1: the file or the line is too long"),
    ];
    for (text, expected) in cases {
        let failure = lines(&text, &["--seal"]).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Usage, "invalid-payments"));
        assert!(failure.message().contains(expected), "{failure}");
    }
}

/// The lines of each transaction.
fn grouped(text: &str, max: usize, flags: &[&str]) -> Vec<Vec<usize>> {
    let (memo, chain, folder) = (memo(flags), chain(), tempfile::tempdir().unwrap());
    let keystore = Keystore::new(folder.path());
    for (name, key) in [("alice", &*ALICE), ("bob", &*BOB)] {
        let rng = &mut crate::entropy::OsEntropy;
        keystore.import(&name.parse().unwrap(), key, &"x".into(), rng).unwrap();
    }
    let keys = memo.keys(&chain, keystore, None).unwrap();
    let parts = parts(&lines(text, flags).unwrap(), max, &memo, &keys).unwrap();
    assert!(parts.iter().all(|part| part.payments.len() == part.lines.len()));
    parts.into_iter().map(|part| part.lines).collect()
}

#[test]
fn what_shares_a_memo_shares_a_transaction() {
    let (a, b) = (told(ALICE.public().address()), told(BOB.public().address()));
    let plain = format!("{a},1\n{b},1\n{a},1\n");
    assert_eq!(grouped(&plain, 2, &[]), [vec![1, 2], vec![3]]);
    let memos = format!("{a},1,x\n{b},1,x\n{b},1,y\n{a},1\n{b},1\n");
    assert_eq!(grouped(&memos, 9, &[]), [vec![1, 2], vec![3], vec![4, 5]]);
    // A sealed memo is for one reader.
    assert_eq!(grouped(&memos, 9, &["--seal"]), [vec![1], vec![2], vec![3], vec![4, 5]]);
    let same = format!("{a},1,x\n{a},2,x\n");
    assert_eq!(grouped(&same, 9, &["--seal"]), [vec![1, 2]]);
}

#[test]
fn sums_are_bounded() {
    let most = Payment { to: TO, amount: Amount::from_units(u64::MAX) };
    assert_eq!(sum(&[most]).unwrap(), Amount::from_units(u64::MAX));
    assert_eq!(sum(&[most, most]).unwrap_err().code(), "amount-overflow");
}
