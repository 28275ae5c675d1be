//! The servers without sockets: a request in, its answer out, for tests and fuzzing.
//!
//! # Invariants
//!
//! 1. Nothing waits: the clock of the servers leaps to whatever they wait for.
//! 2. What a request changes stays in the memory of the [`Sites`].
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests want a panic"
)]

mod conform;
#[cfg(test)]
pub(crate) use self::conform::check_value;

use std::sync::Arc;

use axum::{Router, body::Body, http, response::Response};
use dsc_lib::{
    codec,
    disk::Memory,
    ledger::Ledger,
    mempool::{self, journal::Journal},
    role::{
        Active, Answer, Call, Lost, Next,
        blockchain::Blockchain,
        metronome::{LastSigned, Metronome, Settings},
        monitor::Monitor,
        pool::Pool,
    },
    testing::{ALICE, BOB, METRONOME, address, genesis, next_block, pay},
    transaction::Transaction,
    units::Millis,
};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower_service::Service;

use crate::{
    clock::Time,
    http::{Limits, Peer},
    role::{self, Shared, transport::Transport},
    shutdown::Shutdown,
};

/// Frames of an answer that are read; a stream never ends.
const FRAMES_MAX: usize = 4;

/// An answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; of a stream its beginning.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// Blockchain server, pool, metronome and monitor of a small chain with one block.
#[derive(Debug)]
pub struct Sites {
    runtime: Runtime,
    served: Vec<(Router, Value)>,
}

impl Sites {
    /// The servers, at the index that [`Sites::answer`] takes.
    pub const ROLES: [&str; 4] = ["blockchain", "pool", "metronome", "monitor"];

    /// Starts them; what roles would ask each other is answered once.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (limits, shutdown, time) = (Limits::default(), Shutdown::new(), Time::default());
        let chain = genesis().check().unwrap();
        let ledger = Ledger::in_memory(chain.clone());
        let blockchain = Shared::new(Blockchain::new(ledger));
        add_block(&blockchain);
        let mut pool = Pool::new(chain.clone(), mempool::Limits::default());
        feed(&mut pool, &blockchain);
        let journal = Journal::open(Arc::new(Memory::default())).unwrap();
        let pool =
            role::pool::Server::start(pool, journal, Some(ALICE.clone()), 1 << 20, &time).unwrap();
        pool.follow(&mut pool.shared.lock());
        let (key, interval) = (METRONOME.clone(), Millis(500));
        let settings = Settings { key, epoch: 0, interval, running: true };
        let signed = LastSigned::in_memory(&chain, &METRONOME.public().address());
        let metronome = Shared::new(Metronome::new(chain, settings, signed));
        feed(&mut *metronome.lock(), &blockchain);
        let monitor = Shared::new(Monitor::new(Millis(1000)));
        feed(&mut *monitor.lock(), &blockchain);
        let nobody = Transport::nobody();
        let monitor = role::monitor::Server::new(monitor, nobody, &limits);
        let sites = [
            role::blockchain::site(
                &role::blockchain::Server::new(&blockchain, None),
                &limits,
                &shutdown,
            ),
            role::pool::site(&pool, &limits, &shutdown, None),
            role::metronome::site(
                role::metronome::Server::new(&metronome, &time, None),
                &limits,
                &shutdown,
                None,
            ),
            role::monitor::site(&monitor, &limits, &shutdown),
        ];
        let sites = sites.into_iter().zip(Self::ROLES).map(|(site, name)| {
            let (_, describe) =
                role::openapi::ROLES.iter().find(|(role, _)| *role == name).unwrap();
            (site.into_router(), describe())
        });
        Self { runtime, served: sites.collect() }
    }

    /// Answers a request to the server at `role` of [`Sites::ROLES`], from this machine.
    ///
    /// `target` is the path with its query. Without a `host` among the headers there is one of this
    /// machine. Nothing is returned for what HTTP cannot carry.
    pub fn answer(
        &self,
        role: usize,
        method: &[u8],
        target: &[u8],
        headers: &[(&[u8], &[u8])],
        body: &[u8],
    ) -> Option<Reply> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(target)
            .extension(Peer(([127, 0, 0, 1], 1).into()));
        let is_host = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b"host");
        if !headers.iter().any(is_host) {
            request = request.header("host", "127.0.0.1");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).ok()?;
        let mut router = self.served[role].0.clone();
        Some(self.runtime.block_on(async move {
            let Ok(response) = router.call(request).await;
            read(response).await
        }))
    }

    /// Holds an answer to the description of its server: status, headers, and body.
    ///
    /// # Errors
    ///
    /// What does not conform; every 500 does not.
    pub fn check(
        &self,
        role: usize,
        method: &[u8],
        target: &[u8],
        reply: &Reply,
    ) -> Result<(), String> {
        conform::check(&self.served[role].1, method, target, reply)
    }
}

impl Default for Sites {
    fn default() -> Self {
        Self::new()
    }
}

async fn read(response: Response) -> Reply {
    let (head, mut body) = response.into_parts();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut reply =
        Reply { status: head.status.as_u16(), headers: headers.collect(), body: Vec::new() };
    for _ in 0..FRAMES_MAX {
        let Some(Ok(frame)) = body.frame().await else { break };
        reply.body.extend(frame.into_data().unwrap_or_default());
    }
    reply
}

/// The one transaction on the ledger: Alice pays Bob.
fn paid() -> Transaction {
    pay(&ALICE, 0, address(&BOB), 1)
}

/// Adds a block with one transaction.
fn add_block(blockchain: &Shared<Blockchain>) {
    let mut held = blockchain.lock();
    let block = next_block(held.ledger().state(), vec![], vec![paid()]);
    held.submit(&block.to_bytes()).unwrap();
}

/// Answers what a role asks of the blockchain server, until it waits for something new.
fn feed<R: Active>(role: &mut R, blockchain: &Arc<Shared<Blockchain>>) {
    for _ in 0..8 {
        match role.next(Millis(2)) {
            Next::Call(Call::Snapshot) => {
                let snapshot = blockchain.lock().ledger().snapshot().unwrap();
                role.answer(Millis(2), Ok(Answer::Snapshot(codec::encode(&snapshot))));
            }
            Next::Call(Call::Blocks { .. }) => role.answer(Millis(2), Ok(Answer::Blocks(vec![]))),
            Next::Call(Call::ChainInfo) => {
                let info = blockchain.lock().info().unwrap();
                role.answer(Millis(2), Ok(Answer::ChainInfo(Box::new(info))));
            }
            Next::Call(Call::Summaries { before, max }) => {
                let recent = blockchain.lock().recent_summaries(before, max);
                let answer = recent.iter().map(|summary| **summary).collect();
                role.answer(Millis(2), Ok(Answer::Summaries(answer)));
            }
            Next::Call(_) => role.answer(Millis(2), Err(Lost::new("nobody is there"))),
            Next::Work(work) => role.finish(Millis(2), work.run()),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests;
