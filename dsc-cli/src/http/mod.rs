//! HTTP between the roles: a server that a stranger cannot hold up, and a client.
//!
//! # Invariants
//!
//! 1. Every request is bounded: head, body, work and answer each have a time, body and answer a
//!    size, and connections a number, in all and from one address.
//! 2. Every error is problem+json (RFC 9457) with a stable `code`, whoever found it.
//! 3. After a request to end, no server lives longer than three seconds, open streams included.
//!
//! `tests.rs` beside this file checks them over real sockets.

mod admin;
mod client;
mod inflow;
mod json;
mod limits;
mod listen;
pub mod openapi;
mod problem;
mod room;
mod roster;
mod server;
mod site;
mod stall;

pub use admin::{Token, TokenError};
pub use client::{Client, ClientError, RemoteProblem};
pub use inflow::Inflow;
pub use json::{Json, answer, object_of};
pub use limits::Limits;
pub use listen::{BindError, bind};
pub use problem::Problem;
pub use room::Room;
pub use server::{Peer, serve};
pub use site::{Check, Site};

#[cfg(test)]
mod tests;
