use proptest::prelude::*;

use super::*;
use crate::testing::{ALICE, BOB, address, chain, pay};

const TAG: Tag = Tag([7; 16]);

fn transactions(count: u64) -> Vec<Arc<CheckedTransaction>> {
    let checked = |sequence| pay(&ALICE, sequence, address(&BOB), 1).check(&chain().hash());
    (0..count).map(|sequence| Arc::new(checked(sequence).unwrap())).collect()
}

/// Something like a transaction of this many bytes, which nobody looks into.
fn sized(bytes: usize) -> Arc<CheckedTransaction> {
    let mut transaction = pay(&ALICE, 0, address(&BOB), 1);
    let len = transaction.encoded_len() - transaction.memo.len();
    transaction.memo = List::new(vec![0; bytes - len]).unwrap();
    let chain = chain().hash();
    Arc::new(CheckedTransaction::assume(transaction.into(), address(&ALICE), &chain))
}

#[test]
fn a_batch_is_read_as_it_was_written() {
    let all = transactions(3);
    let bytes = encode(TAG, Position(9), &all);
    assert_eq!(Tag::of(&bytes), Some(TAG));
    let batch = Batch::decode(&bytes).unwrap();
    let encoded: Vec<_> = all.iter().map(|transaction| transaction.encoded().clone()).collect();
    assert_eq!(batch, Batch { tag: TAG, seen: Position(9), transactions: encoded });
    assert_ne!(id_of(&bytes), id_of(&encode(TAG, Position(8), &all)));
}

#[test]
fn what_is_no_batch_says_why() {
    let good = encode(TAG, Position(9), &transactions(1));
    let text = |bytes: &[u8]| Batch::decode(bytes).unwrap_err().to_string();
    assert_eq!(text(&[]), "0 bytes end before the value does");
    assert_eq!(text(&[&[2, 0], &good[2..]].concat()), "version 2 of a batch, expected 1");
    assert_eq!(text(&[&good[..], &[0]].concat()), "1 bytes follow the value");
    assert_eq!(text(&encode(TAG, Position(9), &[])), "0 elements, expected 1 to 512");
    let long = vec![0; BATCH_BYTES_MAX + 1];
    assert_eq!(text(&long), "262145 bytes are more than the 262144 allowed");
    assert_eq!(Tag::of(&good[..17]), None);
}

#[test]
fn batches_are_as_large_as_may_be_and_no_larger() {
    assert_eq!(pack(&[]), []);
    let len = sized(1000).bytes().len();
    let fit = (BATCH_BYTES_MAX - HEAD_BYTES) / len;
    let all = vec![sized(1000); fit];
    let ends = |packed: Vec<Range<usize>>| packed.iter().map(|one| one.end).collect::<Vec<_>>();
    assert_eq!(ends(pack(&all)), [fit]);
    let more = vec![sized(1000); 2 * fit + 1];
    assert_eq!(pack(&more), [0..fit, fit..2 * fit, 2 * fit..2 * fit + 1]);
    assert!(encode(TAG, Position(0), &all).len() <= BATCH_BYTES_MAX);
}

/// The most transactions that fit are no more than a list of them may have.
#[test]
fn a_batch_of_the_smallest_is_read() {
    let smallest = sized(pay(&ALICE, 0, address(&BOB), 1).encoded_len());
    let all = vec![smallest; 512];
    let first = pack(&all)[0].clone();
    assert!(first.len() < COUNT_MAX);
    let bytes = encode(TAG, Position(0), &all[first.clone()]);
    assert_eq!(Batch::decode(&bytes).unwrap().transactions.len(), first.len());
}

proptest! {
    /// No byte changed leaves a batch that says the same.
    #[test]
    fn changed_bytes_are_another_batch_or_none(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let good = encode(TAG, Position(9), &transactions(2));
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert_ne!(Batch::decode(&bytes), Batch::decode(&good));
    }
}

#[test]
fn nobody_has_seen_what_comes_later() {
    let origin = |position, seen| Origin::new(Position(position), Position(seen));
    assert!(origin(5, 3).has_seen(origin(3, 0)));
    assert!(!origin(5, 3).has_seen(origin(4, 0)));
    assert!(!origin(5, 99).has_seen(origin(5, 0)));
    assert!(!origin(5, 3).has_seen(Origin::default()), "what is in no log came otherwise");
    assert!(!Origin::default().has_seen(Origin::default()));
}

fn claim(sender: u8, sequence: u64, expires: u64) -> Claim {
    Claim { sender: Address([sender; 32]), sequence, expires: Height(expires), mark: sequence }
}

/// A feed of one claim in each batch, by sender 0 in sequence.
fn feed_of(count: u64) -> Feed {
    let mut feed = Feed::default();
    for at in 1..=count {
        feed.apply(Position(at), TAG, 0, vec![claim(0, at - 1, 100)]);
    }
    feed
}

fn positions(all: impl IntoIterator<Item = u64>) -> Vec<Position> {
    all.into_iter().map(Position).collect()
}

#[test]
fn what_is_no_batch_is_passed_over_counted_and_removed() {
    let mut feed = feed_of(1);
    feed.skip(Position(2), b"garbage");
    feed.skip(Position(3), &[]);
    assert_eq!((feed.position(), feed.skipped()), (Position(3), 2));
    let removal = feed.ended(Height(0), |_| 0).unwrap();
    assert_eq!(removal, Removal { to: Position(0), also: positions([2, 3]) });
    feed.removed(&removal);
    assert_eq!(feed.ended(Height(0), |_| 0), None);
}

#[test]
fn a_batch_has_ended_when_each_in_it_is_used_up_or_expired() {
    let mut feed = Feed::default();
    feed.apply(Position(4), TAG, 0, vec![claim(0, 5, 9), claim(1, 2, 20)]);
    let mut is_ended = |next, first, second| {
        let of = |address: &Address| if address.0[0] == 0 { first } else { second };
        feed.ended(Height(next), of).is_some()
    };
    assert!(!is_ended(9, 5, 2), "it may be in the next block");
    assert!(!is_ended(9, 6, 2));
    assert!(!is_ended(20, 6, 2));
    assert!(is_ended(10, 5, 3));
}

/// Each search costs no more than its bound, and all are found in the end.
#[test]
fn one_that_stays_holds_up_no_other() {
    let count = 3 * ALSO_MAX as u64;
    let mut feed = feed_of(count);
    let spent = |_: &Address| count;
    feed.live.first_entry().unwrap().get_mut().claims = vec![claim(0, u64::MAX, 100)];
    let mut gone = Vec::new();
    while let Some(removal) = feed.ended(Height(0), spent) {
        assert!(removal.also.len() <= ALSO_MAX);
        assert_eq!(removal.to, Position::START);
        gone.extend(removal.also.clone());
        feed.removed(&removal);
    }
    assert_eq!(gone, positions(2..=count));
}

/// What was named and could not be removed is named again.
#[test]
fn a_removal_that_failed_is_tried_again() {
    let mut feed = feed_of(5);
    let first = feed.ended(Height(0), |_| 3);
    assert_eq!(first, Some(Removal { to: Position(3), also: vec![] }));
    assert_eq!(feed.ended(Height(0), |_| 3), first);
}

#[test]
fn another_log_in_the_place_of_this_one_is_noticed() {
    let mut feed = feed_of(3);
    let bytes = |tag| encode(tag, Position(0), &transactions(1));
    assert_eq!(feed.compare(Position(2), &bytes(TAG)), First::Applied);
    assert_eq!(feed.compare(Position(2), &bytes(Tag([8; 16]))), First::Foreign);
    assert_eq!(feed.compare(Position(4), &bytes(TAG)), First::Later);
    let removal = feed.ended(Height(0), |_| 1).unwrap();
    feed.removed(&removal);
    assert_eq!(feed.compare(Position(1), &bytes(TAG)), First::Foreign);
    feed.skip(Position(4), b"garbage");
    feed.restart();
    assert_eq!((feed.position(), feed.skipped()), (Position::START, 1));
    assert_eq!(feed.ended(Height(1000), |_| 1000), None);
}

#[test]
fn a_log_is_crowded_by_what_is_not_held() {
    let mut feed = Feed::default();
    feed.apply(Position(1), TAG, CROWD_BYTES, vec![claim(0, 0, 9)]);
    assert!(!feed.is_crowded(0));
    feed.skip(Position(2), b"four");
    assert!(feed.is_crowded(0) && feed.is_crowded(3));
    assert!(!feed.is_crowded(4));
    feed.removed(&Removal { to: Position::START, also: positions([2]) });
    assert!(!feed.is_crowded(0));
    feed.removed(&Removal { to: Position(1), also: vec![] });
    assert_eq!(feed.bytes, 0);
}

/// What is held of it is put there again first.
#[test]
fn of_a_sparse_batch_what_is_held_is_moved_and_then_it_has_ended() {
    let batch = |sender| (0..32).map(|at| claim(sender, at, 9)).collect::<Vec<_>>();
    let mut feed = Feed::default();
    for (at, tag) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        feed.apply(Position(at), Tag([tag; 16]), 0, batch(u8::try_from(at).unwrap()));
    }
    feed.skip(Position(5), b"garbage");
    // Of own ones a half, of those of others one in sixteen.
    let held = [0, 16, 17, 2, 3];
    let is_held = |claim: &Claim| claim.sequence < held[usize::from(claim.sender.0[0])];
    let is_own = |tag: Tag| tag == Tag([1; 16]);
    let sparse = feed.sparse(is_own, is_held);
    assert_eq!(sparse.positions, positions([1, 3]));
    assert_eq!(sparse.claims, [&batch(1)[..16], &batch(3)[..2]].concat());
    feed.moved(&sparse.positions);
    let removal = feed.ended(Height(0), |_| 0).unwrap();
    assert_eq!(removal, Removal { to: Position(1), also: positions([3, 5]) });
    feed.removed(&removal);
    assert_eq!(feed.sparse(is_own, is_held), Sparse::default());
}

/// Each search for sparse ones costs no more than its bound, and all have their turn.
#[test]
fn sparse_ones_are_found_wherever_they_are() {
    let count = 2 * SPARSE_LOOKS_MAX as u64 + 1;
    let mut feed = Feed::default();
    for at in 1..=count {
        feed.apply(Position(at), TAG, 0, vec![claim(0, 0, 9), claim(0, at, 9)]);
    }
    let last = |claim: &Claim| claim.sequence == count;
    let mut found = || feed.sparse(|_| true, last).positions;
    let nothing = Vec::<Position>::new();
    assert_eq!([found(), found(), found()], [nothing.clone(), nothing, positions([count])]);
    assert_eq!([found(), found(), found()].concat(), positions([count]), "it begins again");
}

proptest! {
    /// Whatever the ledger does, exactly the batches are removed in the end all of which has ended,
    /// and never one before.
    #[test]
    fn exactly_what_has_ended_is_removed(
        batches in prop::collection::vec(
            prop::collection::vec((0_u8..3, 0_u64..6, 0_u64..12), 0..4), 0..20),
        steps in prop::collection::vec((0_u8..3, 0_u64..12), 1..12),
    ) {
        let mut feed = Feed::default();
        let mut left = BTreeMap::new();
        for (at, claims) in (1..).zip(&batches) {
            let claims: Vec<_> = claims.iter().map(|(s, n, e)| claim(*s, *n, *e)).collect();
            feed.apply(Position(at), TAG, 0, claims.clone());
            left.insert(Position(at), claims);
        }
        let (mut sequences, mut next) = ([0_u64; 3], 0);
        for (sender, height) in steps {
            sequences[usize::from(sender)] += 1;
            next = next.max(height);
            let of = |address: &Address| sequences[usize::from(address.0[0])];
            while let Some(removal) = feed.ended(Height(next), of) {
                let is_gone = |at: &Position| *at <= removal.to || removal.also.contains(at);
                let over = |one: &Claim| one.expires.0 < next || one.sequence < of(&one.sender);
                let gone = left.iter().filter(|(at, _)| is_gone(at));
                prop_assert!(gone.flat_map(|(_, claims)| claims).all(over));
                left.retain(|at, _| !is_gone(at));
                feed.removed(&removal);
            }
            let over = |one: &Claim| one.expires.0 < next || one.sequence < of(&one.sender);
            prop_assert!(left.values().all(|claims| !claims.iter().all(over)));
        }
    }
}
