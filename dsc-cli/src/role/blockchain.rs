//! The blockchain server over HTTP.

mod audits;
mod faults;
mod figures;
mod follower;
mod headers;
mod member;
mod note;
mod reads;
pub(crate) mod routes;
mod shared;
mod sibling;
mod snapshots;
mod submit;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{body::Bytes, middleware::from_fn_with_state};
use dsc_lib::{
    codec,
    genesis::Chain,
    hash::Digest,
    ledger::{Archive, StoreError},
    role::blockchain::Blockchain,
    units::Height,
};

use self::{audits::Audits, shared::Turn};
pub(crate) use self::{
    follower::follow,
    member::{Identity, Member},
    note::ReplicaNote,
    reads::{AccountView, Record},
    snapshots::newest,
};
use super::Shared;
use crate::{
    http::{Limits, Problem, Site},
    shutdown::Shutdown,
};

/// The height of a tip and the snapshot there.
type Pictured = (Option<Height>, Bytes);

/// What needs the state goes through the lock, which is held for moments only: blocks are checked
/// and stored beside it, one after the other, and what is on disk is read beside it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared<Blockchain>>,
    /// Whose turn it is to submit a block.
    turn: Arc<Mutex<Turn>>,
    /// What is shared with the other servers of the chain; nothing alone.
    member: Option<Arc<Member>>,
    archive: Archive,
    chain: Chain,
    /// The last snapshot and the tip it is of: everybody who asks gets the same bytes.
    snapshot: Arc<Mutex<Option<(Digest, Pictured)>>>,
    audits: Arc<Audits>,
}

impl Server {
    pub(crate) fn new(shared: &Arc<Shared<Blockchain>>, member: Option<Member>) -> Self {
        let held = shared.lock();
        let (archive, chain) =
            (held.ledger().archive().clone(), held.ledger().state().chain().clone());
        drop(held);
        let (turn, snapshot) = (Arc::default(), Arc::default());
        let (audits, member) = (Arc::default(), member.map(Arc::new));
        Self { shared: shared.clone(), turn, member, archive, chain, snapshot, audits }
    }

    fn snapshot(&self) -> Result<Pictured, StoreError> {
        let mut last = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.shared.lock().ledger().shared_state();
        let (tip, height) = (state.tip().hash, state.height());
        if let Some((_, pictured)) = last.as_ref().filter(|(of, _)| *of == tip) {
            return Ok(pictured.clone());
        }
        let snapshot = self.archive.snapshot_of(&state)?;
        drop(state);
        let pictured = (height, Bytes::from(codec::encode(&snapshot)));
        *last = Some((tip, pictured.clone()));
        Ok(pictured)
    }
}

/// The routes of a blockchain server.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let (of, ready) = (server.clone(), server.clone());
    let around = (server.clone(), shutdown.clone());
    Site::of(routes::outline().with_state(server), limits, shutdown, None)
        .around(|routes| routes.layer(from_fn_with_state(around, headers::say_height)))
        .ready(move || figures::checks(&ready))
        .metrics(move |text| figures::write_figures(&of, text))
}

/// The fault of this server, not of the client.
fn broken(error: &StoreError) -> Problem {
    tracing::error!(%error, "the store failed");
    Problem::unavailable("store-failed", "this server cannot use its store")
        .with_hint("the log of the server says more")
}

#[cfg(test)]
mod tests;
