//! What was committed is found again, wherever it is kept.

use super::*;
use crate::testing::{CAROL, MINER, coins};

#[test]
fn a_stale_block_is_not_committed() {
    let (mut ledger, block) = ledger_with_a_block();
    let found = ledger.commit(&block).unwrap_err();
    assert!(matches!(found, CommitError::Stale(StaleBlock { .. })), "{found:?}");
    assert_eq!(ledger.state().height(), Some(Height(0)));
    assert_eq!(ledger.block_bytes(Height(1)).unwrap(), None);
}

#[test]
fn what_was_committed_is_found_again() {
    let (ledger, block) = ledger_with_a_block();
    let height = Height(0);
    assert_eq!(ledger.block_bytes(height).unwrap(), Some(block.to_bytes()));
    assert_eq!(ledger.block(height).unwrap(), Some(unchecked(&block)));
    assert_eq!(ledger.header(height).unwrap().as_ref(), Some(block.header()));
    assert_eq!(ledger.height_of(&block.hash()).unwrap(), Some(height));
    assert_eq!(ledger.height_of(&Digest::ZERO).unwrap(), None);
    assert_eq!(ledger.header(Height(1)).unwrap(), None);
    for (index, transaction) in (0..).zip(block.transactions()) {
        let found = ledger.transaction(&transaction.id()).unwrap().unwrap();
        assert_eq!(found.place, Place { height, index });
        assert_eq!(found.transaction, transaction.transaction());
    }
    assert_eq!(ledger.transaction(&Digest::ZERO).unwrap(), None);
}

#[test]
fn inclusion_can_be_checked_without_the_ledger() {
    let (ledger, block) = ledger_with_a_block();
    for transaction in block.transactions() {
        let found = ledger.inclusion(&transaction.id()).unwrap().unwrap();
        assert_eq!(found.transaction, transaction.bytes());
        let leaf = merkle::leaf(&found.transaction);
        assert_eq!(found.proof.verify(leaf, found.header.transactions_root), Ok(()));
    }
    assert_eq!(ledger.inclusion(&Digest::ZERO).unwrap(), None);
}

#[test]
fn blocks_come_in_batches_of_bounded_size() {
    let mut ledger = Ledger::in_memory(chain());
    for _ in 0..5 {
        ledger.commit(&empty(ledger.state())).unwrap();
    }
    let len = ledger.block_bytes(Height(0)).unwrap().unwrap().len();
    let count = |from, bytes| ledger.blocks(Height(from), bytes).unwrap().len();
    assert_eq!((count(0, 0), count(0, len), count(0, 3 * len), count(0, usize::MAX)), (1, 1, 3, 5));
    assert_eq!((count(4, usize::MAX), count(5, usize::MAX)), (1, 0));
    let fourth = ledger.blocks(Height(3), 0).unwrap();
    assert_eq!(ledger.block_bytes(Height(3)).unwrap().as_ref(), fourth.first());
}

#[test]
fn history_is_newest_first_and_in_pages() {
    let (mut ledger, _) = ledger_with_a_block();
    let block = next_block(ledger.state(), vec![], vec![pay(&ALICE, 2, 30)]);
    ledger.commit(&block).unwrap();
    let place = |height, index| Place { height: Height(height), index };
    let of = |key: &SecretKey, before, max| {
        let events = ledger.history(&address(key), before, max).unwrap();
        events.into_iter().map(|e| (e.place, e.received)).collect::<Vec<_>>()
    };
    let all = [(place(1, 0), coins(30)), (place(0, 1), coins(20)), (place(0, 0), coins(10))];
    assert_eq!(of(&BOB, None, 10), all);
    assert_eq!(of(&BOB, None, 1), all[..1]);
    assert_eq!(of(&BOB, Some(all[0].0), 10), all[1..]);
    assert_eq!(of(&BOB, Some(all[2].0), 10), []);
    assert_eq!(of(&ALICE, None, 10), all.map(|(place, _)| (place, Amount::ZERO)));
    assert_eq!(of(&CAROL, None, 10), []);
    let reward = ledger.history(&address(&MINER), None, 10).unwrap();
    assert_eq!((reward[0].received, &reward[0].transaction), (coins(1026), &None));
    let events = ledger.history(&address(&BOB), None, 1).unwrap();
    assert_eq!(events[0].transaction, Some(pay(&ALICE, 2, 30)));
}
