//! Proofs of work, space and memory behind one trait, and the transactions, blocks, ledger and roles
//! of DataSys Coin.
//!
//! The crate has no socket, no clock, no entropy and no async runtime of its own: whoever embeds it
//! hands them in, so every part of it runs in a test as it runs in a network.
//!
//! # A first proof
//!
//! An engine is prepared once for a miner, proves against a challenge within a budget, and verifies
//! in microseconds:
//!
//! ```
//! # use std::{sync::atomic::AtomicBool, time::{Duration, Instant}};
//! use dsc_lib::{address::Address, hash::Digest, units::Target};
//! use dsc_lib::proof::{self, Budget, Challenge, Clock, Fingerprint, Miner, NoProgress, Resources};
//!
//! struct Stopwatch(Instant);
//! impl Clock for Stopwatch {
//!     fn now(&self) -> Duration { self.0.elapsed() }
//! }
//!
//! let engine = proof::find("work")?.build_default();
//! let miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
//! let mut prover = engine.prepare(&miner, &Resources::new("."), &NoProgress)?;
//!
//! let (challenge, target) = (Challenge(Digest([3; 32])), Target::for_tries(1_000));
//! let (clock, cancel) = (Stopwatch(Instant::now()), AtomicBool::new(false));
//! let budget = Budget::new(&clock, &cancel).with_attempts_max(100_000);
//! let (proof, quality) = prover.prove(&challenge, target, &budget)?.best.expect("100 are expected");
//! assert_eq!(proof::verify_target(&*engine, &challenge, &miner, &proof, target)?, quality);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Engines
//!
//! [`proof::ENGINES`] lists them; nothing else names one, so loop over it. Each is an
//! [`Entry`](proof::Entry) of data (name, parameters with their bounds, layout of a proof) and a
//! [`ProofEngine`](proof::ProofEngine). The trait has two halves: the engine, which prepares and
//! verifies and is shared, and the [`Prover`](proof::Prover), a resource bound to one miner.
//!
//! | engine | a try is | prepared | a proof is |
//! |---|---|---|---|
//! | `work` | a hash | threads | 8 bytes |
//! | `space` | an entry of the bucket that the challenge names | a vault on disk, plotted or opened | 13 bytes |
//! | `memory` | a look-up in a table | the table in RAM | 16 bytes and 8 for each step |
//!
//! An engine of your own implements the same two traits; `examples/custom_engine.rs` is one in a
//! hundred lines, and `tests/conformance` has the contract that it must keep.
//!
//! # A transaction
//!
//! Signed by its sender for one chain, and checked as everybody checks it:
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
#![cfg_attr(feature = "ledger", doc = include_str!("ledger/example.md"))]
//!
//! # Modules
//!
//! * [`proof`]: the engines, over the bulk hash of [`tag`].
//! * [`keys`], [`address`], [`codec`], [`transaction`], [`block`], [`merkle`], [`retarget`],
//!   [`commitment`], [`genesis`], [`hash`]: the formats and rules of the chain, one concept each.
#![cfg_attr(
    feature = "ledger",
    doc = "* [`ledger`], [`mempool`], [`role`]: which block may come next, what waits for one, and"
)]
#![cfg_attr(feature = "ledger", doc = "  the six roles as state machines.")]
#![cfg_attr(
    feature = "ledger",
    doc = "* [`cluster`]: what several servers of one chain share, behind four traits."
)]
#![cfg_attr(feature = "seal", doc = "* [`seal`]: memos that only their recipient can read.")]
//! * [`disk`]: the few file operations that all of it needs, behind a trait.
//!
//! # Features
//!
//! | feature | default | gives | brings |
//! |---|---|---|---|
//! | `aws-lc` | yes | RSA by aws-lc-rs: signing in a fifth, checking one signature in a tenth of the time | C and assembly, and so a C compiler |
//! | `ledger` | yes | the ledger, the mempool and the roles | no dependency |
//! | `seal` | yes | memos that only their recipient can read: `dsc_lib::seal` | `chacha20poly1305` |
//! | `testing` | no | fixed keys, small chains, failing disks, what every engine has to do: `dsc_lib::testing` | published keys: never for production |
//!
//! Without default features RSA is in pure Rust and no C is needed: the hash compiles its assembly
//! if there is a compiler and does without otherwise.
//!
//! # Units
//!
//! | type | unit | in JSON | bounds |
//! |---|---|---|---|
//! | [`Amount`](units::Amount) | 10^-8 coin | decimal coins in a string, `"12.5"` | checked sums only; what a genesis allows fits `u64` |
//! | [`Height`](units::Height) | blocks from the first, which is 0 | number | |
//! | [`Millis`](units::Millis) | ms, since the Unix epoch or as a span | number | saturating |
//! | [`Quality`](units::Quality) | none; lower is better | decimal string | uniform over `u64` for one try |
//! | [`Target`](units::Target) | none; lower is harder | decimal string | met if quality <= target; 2^64 / (target + 1) tries on average |
//! | `..._bytes`, `len` | bytes | number | |
//! | `count`, `..._max` | items, of the thing before it | number | maxima are included |
//! | `index` | from 0 | number | |
//! | times of [`Clock`](proof::Clock) and budgets | [`Duration`](std::time::Duration) | | since an origin of the clock's |
//!
//! # Errors, panics, limits
//!
//! * An error of a sender ([`VerifyError`](proof::VerifyError),
//!   [`TransactionError`](transaction::TransactionError)) is another type than one of this machine
//!   ([`ProveError`](proof::ProveError), [`PrepareError`](proof::PrepareError)). There is one variant
//!   for each rule, with what was got and what is allowed; texts are for people and may change.
//! * Nothing panics on what comes from outside: bytes, proofs, blocks, files. Lints refuse indexing,
//!   unchecked arithmetic and `unwrap`, and every decoder and verifier has a fuzz target. What may
//!   panic on a mistake of the caller says so under *Panics*.
//! * Every list has a bound, checked before anything is allocated; lengths that lie cost nothing.
//! * `unsafe` is used for vector code and the memory map only, with a reason each.
//!
//! # Versions
//!
//! The crate follows semantic versioning: 0.1.x to 0.1.y is compatible. Enums that may grow are
//! `#[non_exhaustive]`; structs of the protocol are exhaustive, because another field is another
//! protocol. The protocol has a version of its own, in the genesis and in every hash: another one is
//! another chain. The minimum Rust is 1.90 (`rust-version`); raising it is a new minor version.
//! docs/semver.md says the same of files, HTTP and the command.
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
#![deny(missing_docs)]

pub mod address;
pub mod block;
#[cfg(feature = "ledger")]
pub mod cluster;
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

/// The examples in the README of the repository and of the crate are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
