//! Proof of work: the search for a nonce.

use dsc_benches::{engine, run};

fn main() {
    run(&[|criterion| engine(criterion, "work", &[])]);
}
