//! Fuzz targets: one function each, called with any bytes.
//!
//! Each demands exactness where the bytes have a canonical form (what decodes encodes to the same
//! bytes), agreement where something is computed in two ways, and that nothing panics.
//! `fuzz/run 60` searches for a minute a target; `seeds/` is made by `examples/make_seeds.rs`.

mod accounts;
mod files;
mod http;
mod keys;
mod ledger;
mod log;
mod numbers;
mod pool;
mod proofs;
mod reference;
mod script;
mod settings;
mod verify;
mod wire;

use std::fmt::Debug;

pub use accounts::accounts;
pub use dsc_lib::codec::encode;
pub use files::{journal, signed, store};
pub use http::http;
pub use keys::{key_file, text};
pub use ledger::{block, export, genesis, snapshot, transaction};
pub use log::log;
pub use numbers::numbers;
pub use pool::mempool;
pub use proofs::{proof, tag, vault};
pub use settings::{configuration, template};
pub use verify::{inclusion, signature, verify};
pub use wire::{json, lists};

/// Demands that `encoded` is what was decoded.
fn assert_exact(encoded: &[u8], data: &[u8]) {
    assert!(encoded == data, "{data:02x?} decodes, but encodes to {encoded:02x?}");
}

/// Demands that `again` is what was written and read back.
fn assert_same<T: PartialEq + Debug, E: Debug>(again: Result<T, E>, first: &T) {
    assert_eq!(again.as_ref().ok(), Some(first), "{:?}", again.as_ref().err());
}
