//! Proof of memory: sorting a table in RAM and walking through it.

use dsc_benches::{engine, run};

fn main() {
    run(&[|criterion| engine(criterion, "memory", &[16, 20])]);
}
