//! What the benches share.
//!
//! Benches are named `module::operation/key=value`. Their inputs come from fixed keys and numbers,
//! so two runs measure the same work. `cargo bench --package dsc-benches --bench tag` runs a file;
//! `cargo test --benches` runs each bench once, as a test.

mod engine;
mod side;

use std::time::Duration;

pub use criterion::{BatchSize, Bencher, Criterion, Throughput};
use dsc_lib::{
    address::Address,
    hash::{Context, Digest, derive},
    keys::SecretKey,
    testing::{ALICE, BOB},
    transaction::{Draft, Memo, Payment, Payments, Transaction},
    units::{Amount, Height},
};
pub use engine::{MINER, engine};
pub use side::{Contender, median, rounds, side_by_side};

const WARM_UP: Duration = Duration::from_secs(1);
const MEASUREMENT: Duration = Duration::from_secs(3);

/// Runs `benches` as the command line says.
pub fn run(benches: &[fn(&mut Criterion)]) {
    let timed = Criterion::default().warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
    let mut criterion = timed.configure_from_args();
    for bench in benches {
        bench(&mut criterion);
    }
    criterion.final_summary();
}

/// The digest numbered `number`.
pub fn digest(number: u64) -> Digest {
    derive(Context::Genesis, &[&number.to_le_bytes()])
}

/// The address numbered `number`; nobody has its key.
pub fn stranger(number: u64) -> Address {
    Address(digest(number).0)
}

/// The transaction number `sequence` of `from` on the chain with this genesis hash, with `payments`
/// payments to addresses that no other pays.
///
/// # Panics
///
/// If `payments` is zero or more than a transaction holds.
pub fn transaction(chain: &Digest, from: &SecretKey, sequence: u64, payments: u64) -> Transaction {
    let pay = |index| Payment {
        to: stranger(sequence * 1_000 + index),
        amount: Amount::from_units(index + 1),
    };
    let payments = Payments::new((0..payments).map(pay).collect()).expect("few enough payments");
    let (expires, fee) = (Height(1_000), Amount::from_units(1));
    Draft { sequence, expires, fee, payments, memo: Memo::default() }.sign(chain, from)
}

/// `count` transactions of one payment, from Alice and Bob in turn.
pub fn transactions(chain: &Digest, count: u64) -> Vec<Transaction> {
    let payer = |index| if index % 2 == 0 { &*ALICE } else { &*BOB };
    let of = |index| transaction(chain, payer(index), index / 2, 1);
    (0..count).map(of).collect()
}
