//! Floods of the pool: by one sender, by many without coins, of gaps, and of signatures to check.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use dsc_lib::{
    keys::SecretKey,
    mempool::Counts,
    testing::{CAROL, METRONOME, STRANGER, address},
    transaction::Transaction,
    units::Amount,
};

use crate::{
    attack::attack,
    honest::FEE,
    network::{ACCOUNTS, Network, PER_SENDER_MAX, POOL_MAX, client},
    transactions::count,
};

fn held(network: &Network) -> u64 {
    let counts: Counts = client(&network.pool).get_json("/v1/counts").unwrap();
    counts.submitted + counts.unconfirmed
}

#[test]
fn one_sender_holds_no_more_than_his_share() {
    attack("a flood of one sender", |network| {
        let key = &ACCOUNTS[6];
        let (pay, first, to) = (network.payer(key), network.sequence(key), address(key));
        // Without the first, so that no block empties the pool meanwhile.
        let sequences = first + 1..first + 1 + PER_SENDER_MAX + 500;
        let flood: Vec<_> = sequences.map(|sequence| pay(sequence, to, 1, 0).1).collect();
        let verdicts = network.submit(&flood);
        // Once more, and what is held already is in the way.
        let in_the_way = count(&verdicts, "known") + count(&verdicts, "sequence-taken");
        let held_of_him = count(&verdicts, "added") + in_the_way;
        assert_eq!(held_of_him as u64, PER_SENDER_MAX, "{:?}", verdicts.last());
        assert_eq!(count(&verdicts, "sender-full"), 500);
        assert!(held(network) <= POOL_MAX);
        assert_eq!(network.sequence(key), first, "none of them can be in a block");
    });
}

#[test]
fn senders_without_coins_are_refused() {
    attack("floods of senders without coins", |network| {
        let strangers: [&'static SecretKey; 3] = [&CAROL, &METRONOME, &STRANGER];
        for key in strangers {
            let (pay, to) = (network.payer(key), address(&ACCOUNTS[1]));
            let flood: Vec<_> = (0..200).map(|number| pay(number, to, 1 << 60, FEE).1).collect();
            let verdicts = network.submit(&flood);
            assert_eq!(count(&verdicts, "insufficient-funds"), 200, "{verdicts:?}");
            assert_eq!(network.account(&address(key)).1, 0);
        }
    });
}

#[test]
fn replacement_after_replacement_costs_a_higher_fee_each_time() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    attack("500 replacements of one payment", |network| {
        let (key, run) = (&ACCOUNTS[5], RUNS.fetch_add(1, Ordering::Relaxed));
        // Far ahead: no block takes it.
        let sequence = network.sequence(key) + 60_000 + run;
        let (pay, to, before) = (network.payer(key), address(key), held(network));
        let cheap: Vec<_> = (0..500).map(|more| pay(sequence, to, 1, 1000 + more).1).collect();
        let verdicts = network.submit(&cheap);
        // Every replacement has to offer a tenth more.
        assert!(count(&verdicts, "added") <= 6, "{verdicts:?}");
        assert!(count(&verdicts, "sequence-taken") >= 494);
        assert!(held(network) <= before + 50, "what is replaced is gone");
    });
}

#[test]
fn sequences_far_ahead_are_refused() {
    attack("sequences far ahead", |network| {
        let key = &ACCOUNTS[4];
        let (pay, to, next) = (network.payer(key), address(key), network.sequence(key));
        let far = [next + (1 << 17) + 1, next + (1 << 40), u64::MAX - 1, u64::MAX, next];
        let (ids, far): (Vec<_>, Vec<_>) =
            far.iter().map(|sequence| pay(*sequence, to, 1, FEE)).unzip();
        let verdicts = network.submit(&far);
        assert_eq!(count(&verdicts, "too-far-ahead"), 4, "{verdicts:?}");
        assert_eq!(verdicts.last().unwrap(), "added");
        network.await_confirmed(ids.last().unwrap());
        assert!(network.account(&to).0 > Amount::ZERO);
    });
}

/// Signatures that are wrong cost the pool as much as those that are right.
#[test]
fn wrong_signatures_without_number_leave_room_for_others() {
    attack("64 clients with 1,000 wrong signatures each", |network| {
        let key = &ACCOUNTS[6];
        let (_, good) = network.payer(key)(network.sequence(key), address(key), 1, 0);
        let send = |client: u64| {
            let bad = |number| {
                let sequence = good.sequence + 1 + client * 1000 + number;
                Transaction { sequence, ..good.clone() }
            };
            network.submit(&(0..1000).map(bad).collect::<Vec<_>>())
        };
        let send = &send;
        let verdicts: Vec<String> = thread::scope(|scope| {
            let sending: Vec<_> = (0..64).map(|client| scope.spawn(move || send(client))).collect();
            sending.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        let known = count(&verdicts, "bad-signature") + count(&verdicts, "pool-busy");
        assert_eq!(known, verdicts.len());
    });
}
