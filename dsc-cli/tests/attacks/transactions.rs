//! Transactions: replayed, reordered, spent twice, of another chain, and of sums that overflow.

use std::{
    slice,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use dsc_cli::http::ClientError;
use dsc_lib::{
    address::Address,
    hash::Digest,
    keys::Signature,
    testing::{STRANGER, address, draft},
    transaction::{Draft, Memo, Payment, Payments, Transaction, TransactionId},
    units::{Amount, Height},
};

use crate::{
    attack::attack,
    honest::FEE,
    network::{self, ACCOUNTS, Network, await_that, client, listed},
};

/// Clients that race.
const CLIENTS: usize = 64;

/// Submits each list from a client of its own, all at the same moment.
pub(crate) fn race(network: &Network, lists: &[Vec<Transaction>]) -> Vec<String> {
    let start = Barrier::new(lists.len());
    let race = |list: &Vec<Transaction>| {
        start.wait();
        network.submit(list)
    };
    let race = &race;
    thread::scope(|scope| {
        let racing: Vec<_> = lists.iter().map(|list| scope.spawn(move || race(list))).collect();
        racing.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// What becomes of one payment.
fn one(network: &Network, transaction: &Transaction) -> String {
    network.submit(slice::from_ref(transaction)).remove(0)
}

pub(crate) fn count(verdicts: &[String], wanted: &str) -> usize {
    verdicts.iter().filter(|verdict| *verdict == wanted).count()
}

/// Addresses that nobody has the key of, others in each run of an attack.
fn payees(count: usize) -> Vec<Address> {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let address = |number: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&run.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        Address(bytes)
    };
    (0..count).map(address).collect()
}

#[test]
fn of_64_payments_of_one_sequence_one_is_confirmed() {
    attack("double spends raced from 64 clients", |network| {
        let (key, payees) = (&ACCOUNTS[2], payees(CLIENTS));
        let pay = network.payer(key);
        let (sequence, (before, _)) = (network.sequence(key), network.account(&address(key)));
        let signed: Vec<_> = payees.iter().map(|payee| pay(sequence, *payee, 1000, FEE)).collect();
        let lists: Vec<_> = signed.iter().map(|(_, one)| vec![one.clone()]).collect();
        let verdicts = race(network, &lists);
        let winner = verdicts.iter().position(|verdict| verdict == "added").unwrap();
        // Once the first is on the ledger, its sequence is used.
        let late = count(&verdicts, "sequence-taken") + count(&verdicts, "sequence-used");
        assert_eq!((count(&verdicts, "added"), late), (1, CLIENTS - 1), "{verdicts:?}");
        network.await_confirmed(&signed[winner].0);
        for (index, payee) in payees.iter().enumerate() {
            let expected = if index == winner { 1000 } else { 0 };
            assert_eq!(network.account(payee).0.units(), expected, "payee {index}");
        }
        let (after, next) = network.account(&address(key));
        assert_eq!((after.units(), next), (before.units() - 1000 - FEE, sequence + 1));
    });
}

#[test]
fn of_64_submissions_of_the_same_bytes_one_is_new() {
    attack("one payment submitted by 64 clients", |network| {
        let (key, payee) = (&ACCOUNTS[2], payees(1)[0]);
        let (id, payment) = network.payer(key)(network.sequence(key), payee, 1000, FEE);
        let verdicts = race(network, &vec![vec![payment]; CLIENTS]);
        let both = (count(&verdicts, "added"), count(&verdicts, "known"));
        assert_eq!(both, (1, CLIENTS - 1), "{verdicts:?}");
        network.await_confirmed(&id);
        assert_eq!(network.account(&payee).0.units(), 1000);
    });
}

#[test]
fn of_replacements_that_race_one_is_confirmed() {
    attack("replacements raced from 64 clients", |network| {
        let (key, payees) = (&ACCOUNTS[2], payees(CLIENTS));
        let pay = network.payer(key);
        let sequence = network.sequence(key);
        let fee = |index: usize| FEE + FEE * index as u64;
        let numbered = payees.iter().enumerate();
        let signed: Vec<_> =
            numbered.map(|(index, to)| pay(sequence, *to, 1000, fee(index))).collect();
        let lists: Vec<_> = signed.iter().map(|(_, one)| vec![one.clone()]).collect();
        assert!(count(&race(network, &lists), "added") >= 1);
        let confirmed = |(id, _): &&(TransactionId, Transaction)| network.is_confirmed(id);
        await_that("one of them on the ledger", || signed.iter().find(confirmed).map(|_| ()));
        let (_, next) = network.account(&address(key));
        let received = payees.iter().filter(|payee| network.account(payee).0 > Amount::ZERO);
        assert_eq!((received.count(), next), (1, sequence + 1));
    });
}

#[test]
fn two_payments_of_more_than_there_is_are_not_both_taken() {
    attack("more spent than there is, over two sequences", |network| {
        let key = &ACCOUNTS[3];
        let (pay, sequence) = (network.payer(key), network.sequence(key));
        let (balance, _) = network.account(&address(key));
        // To itself, so that there is as much the next time.
        let most = balance.units() / 5 * 3;
        let [(first, one_half), (second, other_half)] =
            [0, 1].map(|more| pay(sequence + more, address(key), most, FEE));
        let verdicts = race(network, &[vec![one_half], vec![other_half]]);
        let both = (count(&verdicts, "added"), count(&verdicts, "insufficient-funds"));
        assert_eq!(both, (1, 1), "{verdicts:?}");
        if verdicts[0] == "added" {
            return network.await_confirmed(&first);
        }
        // The second waits for one before it that leaves enough.
        let (_, cheap) = pay(sequence, address(key), 1, FEE);
        assert_eq!(one(network, &cheap), "added");
        network.await_confirmed(&second);
    });
}

#[test]
fn sums_that_overflow_are_refused() {
    let most = Amount::from_units(u64::MAX);
    let draft_of = |amounts: &[Amount], fee: Amount| {
        let to = address(&STRANGER);
        let payments = amounts.iter().map(|amount| Payment { to, amount: *amount }).collect();
        let payments = Payments::new(payments).unwrap();
        Draft { payments, fee, ..draft(0, to, most, fee) }
    };
    attack("amounts and fees that overflow", |network| {
        let one_unit = Amount::from_units(1);
        let cases = [
            (draft_of(&[most], one_unit), "amount-overflow"),
            (draft_of(&[one_unit], most), "amount-overflow"),
            (draft_of(&[most, one_unit], Amount::ZERO), "amount-overflow"),
            (draft_of(&[Amount::from_units(1 << 63); 2], Amount::ZERO), "amount-overflow"),
            (draft_of(&[most; 256], most), "amount-overflow"),
            (draft_of(&[most], Amount::ZERO), "insufficient-funds"),
            (draft_of(&[Amount::ZERO], one_unit), "empty-payment"),
            (draft_of(&[one_unit, Amount::ZERO], one_unit), "empty-payment"),
        ];
        let supply = network.info().supply;
        for (draft, expected) in cases {
            let key = &ACCOUNTS[3];
            let draft = Draft { sequence: network.sequence(key), ..draft };
            let expires = Height(network.height().0 + 100);
            let signed = Draft { expires, ..draft }.sign(&network.hash(), key);
            assert_eq!(one(network, &signed), expected);
        }
        assert!(network.state().supply_holds());
        assert!(network.info().supply >= supply);
    });
}

#[test]
fn payments_of_another_chain_or_another_signer_are_refused() {
    attack("payments of another chain, signer or content", |network| {
        let key = &ACCOUNTS[3];
        let (id, good) = network.payer(key)(network.sequence(key), payees(1)[0], 1000, FEE);
        let elsewhere = Draft {
            expires: good.expires,
            ..draft(good.sequence, payees(1)[0], Amount::from_units(1000), good.fee)
        };
        let mut bad = vec![
            elsewhere.clone().sign(&dsc_lib::testing::genesis().hash(), key),
            elsewhere.sign(&Digest::ZERO, key),
            Transaction { sender: *ACCOUNTS[4].public(), ..good.clone() },
            Transaction { signature: Signature([0; 256]), ..good.clone() },
            Transaction { signature: Signature([0xff; 256]), ..good.clone() },
            Transaction { fee: Amount::ZERO, ..good.clone() },
            Transaction { sequence: good.sequence + 1, ..good.clone() },
            Transaction { expires: Height(good.expires.0 + 1), ..good.clone() },
            Transaction { memo: Memo::new(vec![0]).unwrap(), ..good.clone() },
        ];
        let mut redirected = good.clone();
        redirected.payments =
            Payments::new(vec![Payment { to: address(&ACCOUNTS[4]), amount: good.fee }]).unwrap();
        bad.push(redirected);
        for transaction in &bad {
            assert_eq!(one(network, transaction), "bad-signature");
        }
        let version = Transaction { version: 2, ..good.clone() };
        assert_eq!(one(network, &version), "transaction-version");
        assert_eq!(one(network, &good), "added", "what was left alone is good");
        network.await_confirmed(&id);
    });
}

#[test]
fn flipped_bits_never_make_another_payment() {
    attack("a payment with each bit flipped", |network| {
        let key = &ACCOUNTS[3];
        let (id, good) = network.payer(key)(network.sequence(key), payees(1)[0], 1000, FEE);
        let bytes = listed(slice::from_ref(&good));
        for bit in (0..bytes.len() * 8).step_by(37) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sent = client(&network.pool).post_bytes("/v1/transactions", &bytes);
            let is_refused = match &sent {
                Ok(answer) => String::from_utf8_lossy(answer).contains("rejected"),
                Err(ClientError::Problem(problem)) => problem.status < 500,
                Err(_) => false,
            };
            assert!(is_refused, "bit {bit}: {sent:?}");
        }
        assert_eq!(one(network, &good), "added");
        network.await_confirmed(&id);
    });
}

#[test]
fn a_payment_is_made_once_however_often_it_is_replayed() {
    let replayed = Mutex::new(None);
    attack("replays after confirmation", |network| {
        let (key, payee) = (&ACCOUNTS[4], payees(1)[0]);
        let (id, payment) = network.payer(key)(network.sequence(key), payee, 1000, FEE);
        assert_eq!(one(network, &payment), "added");
        assert_eq!(one(network, &payment), "known");
        network.await_confirmed(&id);
        let verdicts = race(network, &vec![vec![payment.clone()]; CLIENTS]);
        assert_eq!(count(&verdicts, "known"), CLIENTS, "{verdicts:?}");
        *replayed.lock().unwrap() = Some((payee, payment));
    });
    network::shared().as_mut().unwrap().restart_pool();
    attack("replays after a restart of the pool", |network| {
        let (payee, payment) = replayed.lock().unwrap().clone().unwrap();
        // A pool that has forgotten it asks the ledger's account.
        let verdicts = race(network, &vec![vec![payment]; CLIENTS]);
        let refused = count(&verdicts, "sequence-used") + count(&verdicts, "known");
        assert_eq!(refused, CLIENTS, "{verdicts:?}");
        let next = network.height().0 + 2;
        await_that("two blocks", || (network.height().0 >= next).then_some(()));
        assert_eq!(network.account(&payee).0.units(), 1000);
    });
}

#[test]
fn an_expired_payment_is_refused_for_ever() {
    attack("expired payments", |network| {
        let (key, payee) = (&ACCOUNTS[4], payees(1)[0]);
        let draft = draft(network.sequence(key), payee, Amount::from_units(1000), Amount::ZERO);
        let expires = Height(network.height().0.saturating_sub(1));
        let late = Draft { expires, ..draft.clone() }.sign(&network.hash(), key);
        assert_eq!(one(network, &late), "expired");
        let never = Draft { expires: Height(u64::MAX), ..draft }.sign(&network.hash(), key);
        assert_eq!(one(network, &never), "expires-too-late");
        assert_eq!(network.account(&payee).0, Amount::ZERO);
    });
}

#[test]
fn payments_in_reverse_order_are_confirmed_in_theirs() {
    attack("payments in reverse and random order", |network| {
        let (key, payee) = (&ACCOUNTS[4], payees(1)[0]);
        let (pay, first) = (network.payer(key), network.sequence(key));
        let mut signed: Vec<_> =
            (0..32).map(|number| pay(first + number, payee, 1000, FEE)).collect();
        let last = signed[31].0;
        // Every fifth, so that each of the 32 comes once, far from its neighbours.
        let order: Vec<_> = (0..32).map(|place| signed[(31 + place * 5) % 32].1.clone()).collect();
        signed.clear();
        let lists: Vec<_> = order.into_iter().map(|one| vec![one]).collect();
        let verdicts = race(network, &lists);
        assert_eq!(count(&verdicts, "added"), 32, "{verdicts:?}");
        network.await_confirmed(&last);
        assert_eq!(network.account(&payee).0.units(), 32_000);
        assert_eq!(network.account(&address(key)).1, first + 32);
    });
}
