//! The text of every message that holds a value, and the codes for programs.

use std::collections::BTreeSet;

use super::*;
use crate::{
    keys::SignatureError,
    proof::{ProofKind, VerifyError},
};

const ONE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

fn all() -> Vec<(BlockError, String)> {
    [of_headers(), of_bodies()].concat()
}

fn of_headers() -> Vec<(BlockError, String)> {
    let (got, expected) = (Digest([1; 32]), Digest([2; 32]));
    let (one, two) = ([Target(1); ENGINE_COUNT], [Target(2); ENGINE_COUNT]);
    let signature = SignatureError::Mismatch;
    vec![
        (BlockError::Version { got: 9 }, "block version is 9, expected 1".into()),
        (
            BlockError::Chain { got, expected },
            format!("the block is of chain {ONE}, this is chain {TWO}"),
        ),
        (
            BlockError::Height { got: Height(5), expected: Height(4) },
            "the block has height 5, the next is 4".into(),
        ),
        (
            BlockError::Parent { got, expected },
            format!("the block extends {ONE}, the tip is {TWO}"),
        ),
        (
            BlockError::UnknownMetronome { got: Address([1; 32]) },
            format!("genesis authorises no metronome key {ONE}"),
        ),
        (BlockError::Signature(signature), format!("the metronome's signature: {signature}")),
        (
            BlockError::Time { got: Millis(1), parent: Millis(2) },
            "the block's time is 1 ms, its parent's is 2 ms".into(),
        ),
        (
            BlockError::Epoch { got: 1, parent: 2 },
            "the block's epoch is 1, its parent's is 2".into(),
        ),
        (
            BlockError::EpochAhead { got: 3, max: 2 },
            "the block's epoch is 3, after its parent's at most 2 is allowed".into(),
        ),
        (
            BlockError::Challenge { got, expected },
            format!("the block's challenge is {ONE}, expected {TWO}"),
        ),
        (
            BlockError::Targets { got: one, expected: two },
            format!("the block's targets are {one:?}, expected {two:?}"),
        ),
    ]
}

fn of_bodies() -> Vec<(BlockError, String)> {
    let (got, expected) = (Digest([1; 32]), Digest([2; 32]));
    let (kind, id) = (ProofKind::new(0), got);
    let tx = TransactionError::Overflow;
    let verify = VerifyError::NoMatch { x1: 1, x2: 2 };
    vec![
        (BlockError::ProofOrder { index: 1 }, "proof 1 is out of the order of engines".into()),
        (
            BlockError::ProofKind { index: 0, kind: ProofKind::new(9) },
            "proof 0 is of kind 9, which this chain does not have".into(),
        ),
        (
            BlockError::Proof { kind, error: verify },
            format!("the proof of {kind}: 1 and 2 do not match"),
        ),
        (
            BlockError::TargetMissed { kind, quality: Quality(3), target: Target(2) },
            format!("the proof of {kind} has quality 3, the target is 2"),
        ),
        (
            BlockError::ProofsRoot { got, expected },
            format!("the proofs have root {ONE}, the header says {TWO}"),
        ),
        (
            BlockError::TransactionCount { got: 2, expected: 3 },
            "the block has 2 transactions, its header says 3".into(),
        ),
        (
            BlockError::TooManyTransactions { got: 2, max: 1 },
            "the block has 2 transactions, at most 1 are allowed".into(),
        ),
        (
            BlockError::TooLarge { got: 2, max: 1 },
            "the block has 2 bytes, at most 1 are allowed".into(),
        ),
        (
            BlockError::Transaction { index: 7, id, error: tx.clone() },
            format!("transaction 7 ({ONE}): {tx}"),
        ),
        (
            BlockError::TransactionsRoot { got, expected },
            format!("the transactions have root {ONE}, the header says {TWO}"),
        ),
        (
            BlockError::State { got, expected },
            format!("the state after the block is {ONE}, the header says {TWO}"),
        ),
    ]
}

#[test]
fn block_errors_say_what_was_got_and_what_is_allowed() {
    for (error, text) in all() {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn codes_tell_all_block_errors_apart() {
    let codes: BTreeSet<_> = all().iter().map(|(error, _)| error.code()).collect();
    assert_eq!(codes.len(), all().len());
    let plain = |code: &&str| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    assert!(codes.iter().all(plain));
}

#[test]
fn errors_of_snapshots_and_stores_have_their_values() {
    let (got, expected) = (Digest([1; 32]), Digest([2; 32]));
    let (low, high) = (Amount::from_units(1), Amount::from_units(2));
    let (account, other) = (Account::default(), Account { balance: low, sequence: 7 });
    let tip = BlockError::Version { got: 9 };
    let cases: Vec<(Box<dyn std::error::Error>, String)> = vec![
        (
            Box::new(RestoreError::State { got, expected }),
            format!("the accounts have state {ONE}, the tip says {TWO}"),
        ),
        (Box::new(RestoreError::Tip(tip)), "the tip: block version is 9, expected 1".into()),
        (
            Box::new(RestoreError::Supply { max: high }),
            "the balances exceed the 0.00000002 coins there can be at most at this height".into(),
        ),
        (
            Box::new(RestoreError::Account { index: 3 }),
            "account 3 is out of order, listed twice or empty".into(),
        ),
        (
            Box::new(OpenError::Format { got: 2, expected: 1 }),
            "the ledger has format 2, this program reads 1".into(),
        ),
        (
            Box::new(OpenError::OtherChain { got, expected }),
            format!("the ledger is of chain {ONE}, expected {TWO}"),
        ),
        (
            Box::new(OpenError::Block {
                height: Height(3),
                error: Box::new(BlockError::Version { got: 9 }),
            }),
            "block 3 of the ledger: block version is 9, expected 1".into(),
        ),
        (
            Box::new(ReplayError::Index { index: "accounts" }),
            "the index of accounts is not that of the chain".into(),
        ),
        (
            Box::new(ReplayError::Count { index: "accounts", got: 1, expected: 2 }),
            "the index of accounts has 1 entries, expected 2".into(),
        ),
        (
            Box::new(ReplayError::Tip { got, expected }),
            format!("the chain ends at {ONE}, the tip on record is {TWO}"),
        ),
        (
            Box::new(ReplayError::Account {
                address: Address([1; 32]),
                got: account,
                expected: other,
            }),
            format!("account {ONE} is stored as {account:?}, the replay comes to {other:?}"),
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
