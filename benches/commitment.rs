//! The state commitment: what a changed account costs, and a whole state.

use std::hint::black_box;

use dsc_benches::{Criterion, Throughput, run, stranger};
use dsc_lib::{
    address::Address,
    commitment::{Account, Commitment},
    units::Amount,
};

const ACCOUNTS: u64 = 1_000;

fn main() {
    run(&[replace, digest, whole]);
}

fn account(balance: u64) -> Account {
    Account { balance: Amount::from_units(balance), sequence: 1 }
}

fn replace(criterion: &mut Criterion) {
    let (mut sum, address) = (Commitment::default(), stranger(1));
    let (old, new) = (account(5), account(6));
    sum.add(&address, &old);
    criterion.bench_function("commitment::replace/accounts=1", |b| {
        b.iter(|| sum.replace(black_box(&address), &old, &new));
    });
}

fn digest(criterion: &mut Criterion) {
    let sum = Commitment::default();
    criterion.bench_function("commitment::digest/lanes=1024", |b| {
        b.iter(|| black_box(&sum).digest());
    });
}

fn whole(criterion: &mut Criterion) {
    let accounts: Vec<(Address, Account)> =
        (0..ACCOUNTS).map(|i| (stranger(i), account(i + 1))).collect();
    let mut group = criterion.benchmark_group("commitment::sum");
    group.throughput(Throughput::Elements(ACCOUNTS));
    group.bench_function(format!("accounts={ACCOUNTS}"), |b| {
        b.iter(|| accounts.iter().map(|(a, b)| (a, b)).collect::<Commitment>());
    });
}
