//! Proof engines, transactions and ledger of DataSys Coin.
//!
//! The crate has no socket, no clock and no entropy of its own: all three are arguments, so every
//! part of it runs in a test as it runs in a network.
//!
//! * [`proof`]: three engines (work, space, memory) behind one trait, over the bulk hash of [`tag`].
//! * [`disk`]: the few file operations that all of it needs.
//! * [`keys`], [`address`], [`codec`], [`transaction`], [`block`], [`merkle`], [`retarget`],
//!   [`commitment`], [`genesis`]: the formats and rules of the chain, one concept each.
#![cfg_attr(
    feature = "ledger",
    doc = "* [`ledger`], [`mempool`], [`role`]: which block may come next, what waits for one, and"
)]
#![cfg_attr(feature = "ledger", doc = "  the six roles as state machines.")]
#![cfg_attr(feature = "seal", doc = "* [`seal`]: memos that only their recipient can read.")]
//!
//! # Example
//!
//! A payment, signed and checked as everybody checks it:
//!
//! ```
//! use dsc_lib::{
//!     hash::Digest,
//!     keys::SecretKey,
//!     transaction::{Draft, Memo, Payment, Payments},
//!     units::{Amount, Height},
//! };
//!
//! let key = SecretKey::from_pkcs8_pem(include_str!("../tests/data/keys/alice.pem"))?;
//! let to = SecretKey::from_pkcs8_pem(include_str!("../tests/data/keys/bob.pem"))?;
//! let payment = Payment { to: to.public().address(), amount: "12.5".parse()? };
//! let draft = Draft {
//!     sequence: 0,
//!     expires: Height(100),
//!     fee: Amount::ZERO,
//!     payments: Payments::new(vec![payment])?,
//!     memo: Memo::default(),
//! };
//! let genesis_hash = Digest([7; 32]);
//! let transaction = draft.sign(&genesis_hash, &key);
//! assert_eq!(transaction.check(&genesis_hash)?.spent(), "12.5".parse()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! `aws-lc` (default): signatures by aws-lc-rs, else by the pure-Rust crate `rsa`. `ledger` (default): the
//! durable ledger, mempool and roles. `seal` (default): sealed memos. `testing`: fixed keys and small chains for tests and benches.
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
pub mod disk;
pub mod genesis;
pub mod hash;
pub mod keys;
#[cfg(feature = "ledger")]
pub mod ledger;
#[cfg(feature = "ledger")]
pub mod mempool;
pub mod merkle;
mod prefetch;
pub mod proof;
pub mod retarget;
#[cfg(feature = "ledger")]
pub mod role;
#[cfg(feature = "seal")]
pub mod seal;
pub mod tag;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transaction;
pub mod units;

/// The example in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
