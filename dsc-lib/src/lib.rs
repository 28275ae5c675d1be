//! Proof engines, transactions and ledger of DataSys Coin.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]
// Structs of the protocol are exhaustive on purpose: another field is another protocol version.
#![warn(clippy::exhaustive_enums, clippy::print_stdout)]

pub mod address;
pub mod block;
pub mod codec;
pub mod commitment;
pub mod genesis;
pub mod hash;
pub mod keys;
#[cfg(feature = "ledger")]
pub mod ledger;
#[cfg(feature = "ledger")]
pub mod mempool;
pub mod merkle;
pub mod proof;
pub mod retarget;
#[cfg(feature = "ledger")]
pub mod role;
pub mod tag;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transaction;
pub mod units;
