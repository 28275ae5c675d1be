//! Attacks over the wire, each a test against running processes of the real binary.
//!
//! Six roles run as processes on one chain that all tests share. Every attack runs beside honest
//! clients of each role, alone on the machine as far as these tests go, and afterwards:
//!
//! 1. The honest clients were answered rightly, every time, and what they paid is on the ledger.
//! 2. No handler failed or panicked.
//! 3. The processes' memory stayed below what their limits allow, and files and threads are those
//!    from before.
//!
//! How long honest clients waited is printed, not judged: see `scripts/attack`, which runs each
//! attack for longer and writes the table of docs/attacks.md.
#![cfg(target_os = "linux")]

mod attack;
mod blocks;
mod figures;
mod floods;
mod honest;
mod http;
mod network;
mod process;
mod proofs;
mod raw;
mod servers;
mod table;
mod transactions;
