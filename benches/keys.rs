//! Signatures, keys and the scrypt of a key file.

use std::hint::black_box;

use dsc_benches::{Contender, Criterion, digest, run, side_by_side, transaction};
use dsc_lib::{
    hash::Digest,
    keys::{Claim, SecretKey, Signature, verify_each, verify_lanes},
    testing::{self, ALICE, BOB, CAROL, MINER},
};

fn main() {
    run(&[sign, verify, check, read, beside_one_by_one]);
}

fn sign(criterion: &mut Criterion) {
    let message = digest(1);
    criterion.bench_function("keys::sign/bits=2048", |b| {
        b.iter(|| ALICE.sign(black_box(message.as_bytes())));
    });
}

fn verify(criterion: &mut Criterion) {
    let message = digest(1);
    let signature = ALICE.sign(message.as_bytes());
    criterion.bench_function("keys::verify/bits=2048", |b| {
        b.iter(|| ALICE.public().verify(black_box(message.as_bytes()), &signature));
    });
}

/// A whole transaction: rules, id and signature.
fn check(criterion: &mut Criterion) {
    let chain = testing::genesis().hash();
    for payments in [1, 256] {
        let transaction = transaction(&chain, &ALICE, 0, payments);
        let name = format!("transaction::check/payments={payments}");
        criterion.bench_function(&name, |b| {
            b.iter(|| transaction.clone().check(&chain).expect("it is valid"));
        });
    }
}

fn read(criterion: &mut Criterion) {
    let pem = ALICE.to_pkcs8_pem();
    criterion.bench_function("keys::from_pkcs8_pem/bits=2048", |b| {
        b.iter(|| SecretKey::from_pkcs8_pem(black_box(&pem)).expect("our own key"));
    });
}

/// Claims checked by one contender in a round, and by each of two threads.
const CLAIMS: usize = 2_000;
/// Claims handed to one call where there are plenty.
const BATCH: usize = 1_000;
/// Dependent steps of four cycles in a round.
const STEPS: u64 = 1 << 21;

/// Checking many signatures, beside checking each by itself.
///
/// `chain` tells the clock of the core: 4 times its rate over another's is the cycles for a signature.
fn beside_one_by_one(_: &mut Criterion) {
    let keys = [&*ALICE, &*BOB, &*CAROL, &*MINER];
    let sign = |(number, key): (u64, &&'static SecretKey)| -> Signed<'static> {
        let message = digest(number);
        (*key, message, key.sign(message.as_bytes()))
    };
    let signed: Vec<_> = (0..CLAIMS as u64).zip(keys.iter().cycle()).map(sign).collect();
    let claims: Vec<_> = signed.iter().map(claim).collect();
    let claims = claims.as_slice();
    let mut contenders: Vec<Contender<'_>> = vec![
        ("one by one".into(), Box::new(|| one_by_one(claims))),
        ("one by one, 2 threads".into(), Box::new(|| on_two_threads(|| one_by_one(claims)))),
        ("chain".into(), Box::new(chain)),
    ];
    for count in [1, 2, 4, 8, 64, BATCH] {
        let each = move || in_batches(claims, count);
        contenders.push((format!("verify_each of {count}"), Box::new(each)));
    }
    let each = || on_two_threads(|| in_batches(claims, BATCH));
    contenders.push((format!("of {BATCH}, 2 threads"), Box::new(each)));
    println!("verify_lanes: {}", verify_lanes());
    side_by_side("keys::beside_one_by_one", contenders);
}

/// Who signed, what, and the signature.
type Signed<'a> = (&'a SecretKey, Digest, Signature);

fn claim<'a>((key, message, signature): &'a Signed<'a>) -> Claim<'a> {
    Claim { key: key.public(), message: message.as_bytes(), signature }
}

fn one_by_one(claims: &[Claim<'_>]) -> u64 {
    let good = claims.iter().filter(|claim| claim.verify().is_ok()).count();
    assert_eq!(good, claims.len(), "all are honest");
    good as u64
}

fn in_batches(claims: &[Claim<'_>], count: usize) -> u64 {
    let good = |claims| verify_each(claims).iter().filter(|verdict| verdict.is_ok()).count();
    let good: usize = claims.chunks(count).map(good).sum();
    assert_eq!(good, claims.len(), "all are honest");
    good as u64
}

fn on_two_threads(work: impl Fn() -> u64 + Sync) -> u64 {
    std::thread::scope(|scope| {
        let other = scope.spawn(&work);
        work() + other.join().expect("it does not panic")
    })
}

/// A multiplication takes three cycles, and `|` one.
fn chain() -> u64 {
    let mut value = black_box(3_u64);
    for _ in 0..STEPS {
        value = value.wrapping_mul(value | 1);
    }
    black_box(value);
    STEPS
}
