//! Several metronomes: one makes blocks, the others follow, and go on when they are told to lead.

mod pair;
mod race;

use dsc_lib::{
    proof::ENGINES,
    role::{Active, Answer, Call, metronome::Receipt},
    units::{Height, Millis},
};

use self::pair::{Cut, INTERVAL, NEVER, Pair, Step};
use crate::{START as NOW, refusal};

/// A pair whose first metronome leads and has made a block, which the second has followed.
fn begun() -> Pair {
    let mut pair = Pair::new();
    pair.lead(0, 1);
    pair.settle(0);
    pair.make_block(0);
    pair.settle(1);
    pair
}

/// Steps of the first metronome from an open round until its block is settled.
fn steps_of_a_block() -> usize {
    let mut pair = begun();
    pair.now = pair.now.plus(INTERVAL);
    let before = pair.height();
    let mut steps = 0;
    while pair.height() == before {
        assert_ne!(pair.step(0), Step::Waited);
        steps += 1;
    }
    steps
}

#[test]
fn one_that_stands_by_follows_and_takes_proofs_and_makes_no_block() {
    let mut pair = begun();
    for _ in 0..3 {
        let (height, entries) = pair.proofs(1);
        assert_eq!(pair.hand_in(1, height, &entries[0]), Ok(Receipt::Best));
        pair.make_block(0);
        pair.settle(1);
        let (mine, other) = (pair.round(1).unwrap(), pair.round(0).unwrap());
        assert_eq!((mine.height, mine.challenge), (other.height, other.challenge));
        assert!(mine.closes_in > Millis(0) && mine.closes_in < INTERVAL, "{}", mine.closes_in);
        let status = pair.seats[1].metronome.status(pair.now);
        assert!(status.running && !status.leading && status.fault.is_none(), "{status:?}");
    }
    assert_eq!(pair.seats[1].metronome.signed().last(), None);
}

#[test]
fn one_that_stands_by_waits_for_the_next_block_only_when_its_round_is_open() {
    let mut pair = begun();
    let Step::Called(Call::Blocks { wait, .. }) = pair.step(1) else {
        panic!("it does not follow")
    };
    assert!(wait > Millis(0));
    pair.make_block(0);
    let known = pair.round(1).unwrap().height;
    while !matches!(pair.step(1), Step::Called(Call::Blocks { wait: Millis(0), .. })) {}
    assert!(pair.round(1).unwrap().height > known);
}

/// Killed after any step on the way to a block: the other one goes on with the proofs that it was
/// handed, and no height is made twice.
#[test]
fn when_the_leader_dies_the_other_one_goes_on_with_the_proofs_handed_to_it() {
    for steps in 0..=steps_of_a_block() {
        for cut in [Cut::Nowhere, Cut::Before, Cut::After] {
            let mut pair = begun();
            let (height, entries) = pair.proofs(1);
            for entry in &entries {
                assert_eq!(pair.hand_in(1, height, entry), Ok(Receipt::Best));
            }
            pair.now = pair.now.plus(INTERVAL);
            for step in 0..steps {
                let is_last = step + 1 == steps;
                pair.step_with(0, if is_last { cut } else { Cut::Nowhere });
            }
            let is_made = pair.height() == Some(height);
            pair.pass(5000);
            pair.lead(1, 2);
            pair.make_block(1);
            let block = pair.block(height.0);
            if is_made {
                assert_eq!(block.header.epoch, 1);
            } else {
                assert_eq!((block.header.epoch, block.proofs.len()), (2, ENGINES.len()), "{steps}");
            }
            // The first comes back from its disk, follows, and may lead again.
            let chain = pair.chain.clone();
            pair.seats[0].restart(&chain);
            pair.make_block(1);
            pair.settle(0);
            assert_eq!(pair.seats[0].metronome.fault(), None);
            assert_eq!(pair.seats[0].metronome.candidacy(NOW, NEVER), Some(2), "{steps} {cut:?}");
            pair.metronome(1).stand_by();
            pair.lead(0, 3);
            pair.make_block(0);
            pair.make_block(0);
            let last = pair.height().unwrap();
            assert_eq!(pair.block(last.0).header.epoch, 3);
        }
    }
}

/// The leader stood still at any step on the way to a block. Another one has led since and made the
/// block of that height, or is about to: the old one is refused, follows, and signs no other block.
#[test]
fn a_leader_that_stood_still_is_refused_and_follows() {
    for steps in 0..=steps_of_a_block() {
        for made in 0..3 {
            for knows in [false, true] {
                let mut pair = begun();
                pair.now = pair.now.plus(INTERVAL);
                for _ in 0..steps {
                    pair.step(0);
                }
                pair.pass(20_000);
                pair.lead(1, 2);
                (0..made).for_each(|_| pair.make_block(1));
                if knows {
                    pair.metronome(0).stand_by();
                }
                for _ in 0..4 {
                    pair.settle(0);
                    pair.pass(300);
                }
                let status = pair.seats[0].metronome.status(pair.now);
                // Unless it has signed a block, it has not heard of the other before the next tick.
                let signed = pair.seats[0].metronome.signed().last().unwrap().height;
                assert!(signed <= Height(pair.height().unwrap().0 + 1));
                assert!(!status.leading, "{steps} {made} {knows}: {status:?}");
                pair.make_block(1);
                pair.settle(0);
                let next = Height(pair.height().unwrap().0 + 1);
                assert_eq!(pair.round(0).unwrap().height, next);
                assert_eq!(pair.seats[0].metronome.candidacy(NOW, NEVER), Some(2));
                pair.metronome(1).stand_by();
                pair.lead(0, 3);
                pair.make_block(0);
                assert_eq!(pair.block(next.0).header.epoch, 3);
            }
        }
    }
}

/// Its own block of the height is kept, and the lease is lost and won again before anybody else made
/// one: it is handed in as it is, and none is signed beside it.
#[test]
fn a_kept_block_that_was_refused_is_handed_in_when_it_leads_again() {
    let mut pair = begun();
    let kept = pair.sign(0);
    pair.lead(1, 2);
    assert_eq!(pair.step(0), Step::Called(Call::SubmitBlock(kept.clone())));
    let fault = pair.seats[0].metronome.fault().unwrap();
    assert!(fault.contains("another metronome leads"), "{fault}");
    for _ in 0..5 {
        pair.pass(300);
        assert!(
            matches!(pair.step(0), Step::Called(Call::Blocks { .. })),
            "it waits until it leads"
        );
    }
    pair.metronome(1).stand_by();
    pair.lead(0, 3);
    pair.settle(0);
    let height = pair.height().unwrap();
    assert_eq!(pair.blockchain.ledger().block_bytes(height).unwrap().unwrap(), *kept);
    pair.make_block(0);
}

#[test]
fn a_lease_that_was_not_renewed_ends_by_itself() {
    let mut pair = begun();
    let until = pair.now.plus(Millis(500));
    pair.metronome(0).lead(1, until);
    pair.now = pair.now.plus(INTERVAL);
    let before = pair.height();
    pair.settle(0);
    assert!(!pair.seats[0].metronome.status(pair.now).leading);
    assert_eq!(
        (pair.height(), pair.seats[0].metronome.signed().last().unwrap().height.0),
        (before, 0)
    );
    pair.metronome(0).lead(1, NEVER);
    pair.make_block(0);
}

/// A round whose transactions were asked for when the lease ended is open again, with its proofs.
#[test]
fn a_round_that_was_closed_without_a_block_opens_again() {
    let mut pair = begun();
    let (height, entries) = pair.proofs(0);
    assert_eq!(pair.hand_in(0, height, &entries[0]), Ok(Receipt::Best));
    pair.now = pair.now.plus(INTERVAL);
    assert!(matches!(pair.step(0), Step::Called(Call::Take(_))));
    pair.metronome(0).stand_by();
    pair.settle(0);
    let open = pair.round(0).unwrap();
    assert_eq!((open.height, open.closes_in), (height, Millis(0)));
    pair.metronome(0).lead(2, NEVER);
    pair.make_block(0);
    assert_eq!(pair.block(height.0).proofs.len(), 1);
}

#[test]
fn one_that_is_stopped_is_no_candidate_and_its_round_is_open_for_the_others() {
    let mut pair = begun();
    assert_eq!(pair.seats[1].metronome.candidacy(NOW, NEVER), Some(1));
    pair.metronome(1).stop();
    assert_eq!(pair.seats[1].metronome.candidacy(NOW, NEVER), None);
    assert!(pair.round(1).is_some());
    pair.metronome(0).stop();
    assert!(pair.round(0).is_none(), "as long as it leads");
    pair.metronome(0).stand_by();
    pair.settle(0);
    assert!(pair.round(0).is_some());
}

#[test]
fn one_that_has_followed_nothing_is_no_candidate() {
    let mut pair = Pair::new();
    assert_eq!(pair.seats[0].metronome.candidacy(NOW, NEVER), None);
    pair.settle(0);
    assert_eq!(pair.seats[0].metronome.candidacy(NOW, NEVER), Some(0));
}

/// The ledger was put back: whoever signed what it misses leaves it to the others, and says so.
#[test]
fn one_that_signed_what_the_ledger_misses_is_no_candidate_and_goes_on_when_the_height_is_passed() {
    let mut pair = begun();
    let mut other = Pair::new();
    std::mem::swap(&mut pair.seats[0], &mut other.seats[0]);
    let chain = other.chain.clone();
    // It has block 0 here, which is not on the other ledger.
    other.seats[0].restart(&chain);
    other.lead(1, 7);
    other.settle(1);
    other.settle(0);
    assert_eq!(
        other.seats[0].metronome.candidacy(NOW, NEVER),
        Some(1),
        "its block, which has epoch 1, follows the genesis"
    );
    other.make_block(1);
    other.settle(0);
    assert_eq!(other.seats[0].metronome.candidacy(NOW, NEVER), Some(7));

    let mut pair = begun();
    pair.make_block(0);
    let mut other = Pair::new();
    std::mem::swap(&mut pair.seats[0], &mut other.seats[0]);
    other.seats[0].restart(&chain);
    other.lead(1, 7);
    other.settle(0);
    assert_eq!(other.seats[0].metronome.candidacy(NOW, NEVER), None);
    let fault = other.seats[0].metronome.fault().unwrap();
    assert!(fault.contains("block 1 was signed here and does not follow"), "{fault}");
    assert!(other.round(0).is_some(), "proofs are taken all the same");
    other.settle(1);
    other.make_block(1);
    other.make_block(1);
    other.settle(0);
    assert_eq!(other.seats[0].metronome.candidacy(NOW, NEVER), Some(7));
    assert_eq!(other.seats[0].metronome.fault(), None);
}

/// The only metronome of a chain does not wait for another one that is not there.
#[test]
fn the_only_one_leads_whatever_it_is_told() {
    let mut desk = crate::desk::Desk::new();
    assert!(desk.metronome.status(desk.now).leading);
    let block = desk.tick_block(vec![]);
    desk.metronome.answer(desk.now, Ok(Answer::Refused(refusal("not-leader"))));
    assert!(desk.metronome.status(desk.now).leading);
    desk.now = desk.now.plus(Millis(300));
    desk.follow();
    assert_eq!(desk.block(), block);
}
