//! Signatures, keys and the scrypt of a key file.

use std::hint::black_box;

use dsc_benches::{Criterion, digest, run, transaction};
use dsc_lib::{
    keys::SecretKey,
    testing::{self, ALICE},
};

fn main() {
    run(&[sign, verify, check, read]);
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
