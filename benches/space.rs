//! Proof of space: plotting a vault and looking challenges up.

use dsc_benches::{engine, run};

fn main() {
    run(&[|criterion| engine(criterion, "space", &[16, 20])]);
}
