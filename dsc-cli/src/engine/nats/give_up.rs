//! An entry of the log of blocks whose pieces nobody has, given up so that all servers go on after it.
//!
//! Pieces are there before the log names them, so that this is for what a damaged engine has lost
//! before any server read it, or what somebody put there who may write blocks.
//!
//! # Invariants
//!
//! 1. Only what cannot be put together is given up, while every node that may have a piece is there,
//!    and unless the operator insists only if no server has read it.
//! 2. What is given up is so for all and for good: it stands in the engine in place of the first piece,
//!    so that no server ever takes for a block what another one has passed over.

use std::sync::Arc;

use dsc_lib::{cluster::Position, genesis::Chain};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    board::Bucket,
    connect::Link,
    guard::Guard,
    parts::{self, Lost},
    safety,
    status::unavailable,
    stored::{Parts, Stored},
    stream::{Names, Stream},
};
use crate::{engine::Settings, exit::Failure};

/// What the keys of the notes of blockchain servers begin with.
const SERVERS: &str = "replica.";

/// What was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct GivenUp {
    pub(crate) position: u64,
    pub(crate) pieces: usize,
    pub(crate) bytes: usize,
}

/// What matters here of what a blockchain server says of itself.
#[derive(Deserialize)]
struct Server {
    url: String,
    position: u64,
}

/// The chain's log of blocks, its pieces, and what servers say of themselves.
#[derive(Debug)]
struct Opened {
    link: Arc<Link>,
    log: Stream,
    pieces: Stream,
    control: Bucket,
    prefix: String,
}

/// Gives up the entry at `position`; `even_if_read` although a server has read it.
pub(crate) fn give_up(
    settings: &Settings,
    chain: &Chain,
    position: Position,
    even_if_read: bool,
) -> Result<GivenUp, Failure> {
    let nodes = safety::look_well(settings);
    safety::require_safe(&nodes)?;
    let link = Arc::new(Link::open(settings, Arc::new(Guard::new(&nodes)))?);
    let names = Names::of(chain);
    let bucket = names.stream("CONTROL");
    let control = Arc::new(Stream::named(&link, &format!("KV_{bucket}")));
    let opened = Opened {
        log: Stream::named(&link, &names.stream("BLOCKS")),
        pieces: Stream::named(&link, &names.stream("CHUNKS")),
        control: Bucket::new(control, &bucket),
        prefix: names.subject("chunks"),
        link,
    };
    opened.link.wait_for(opened.give_up(position, even_if_read))
}

impl Opened {
    async fn give_up(&self, position: Position, even_if_read: bool) -> Result<GivenUp, Failure> {
        for stream in [&self.log, &self.pieces] {
            require_all_copies(stream).await?;
        }
        let stored = self.log.of_leader(&json!({ "seq": position.0 })).await;
        let parts = named_by(stored.map_err(unavailable)?, position)?;
        self.require_lost(position, &parts).await?;
        if !even_if_read {
            self.require_unread(position).await?;
        }
        parts::give_up(&self.pieces, &self.prefix, &parts).await.map_err(unavailable)?;
        Ok(GivenUp { position: position.0, pieces: parts.count, bytes: parts.len })
    }

    /// Refuses what can be put together, or was given up already.
    async fn require_lost(&self, position: Position, parts: &Parts) -> Result<(), Failure> {
        match parts::load(&self.pieces, &self.prefix, parts).await {
            Ok(_) => Err(whole(position)),
            Err(Lost::Failed(failed)) => Err(unavailable(failed)),
            Err(Lost::Damaged(_)) => Ok(()),
        }
    }

    /// Refuses what a server has read: the others can have it from there.
    async fn require_unread(&self, position: Position) -> Result<(), Failure> {
        let notes = self.control.list(SERVERS).await.map_err(unavailable)?;
        let servers = notes.iter().filter_map(|note| serde_json::from_slice(&note.value).ok());
        let mut servers = servers.filter(|server: &Server| server.position >= position.0);
        let Some(Server { url, .. }) = servers.next() else { return Ok(()) };
        let message = format!("the server at {url} has read position {position}");
        Err(Failure::rejected("entry-read", message).with_hint(
            "let the others reach it, and they have it from there; if it is gone for good, say \
             --even-if-read: what it alone has is lost then",
        ))
    }
}

/// A node that is away may have what the others have not.
async fn require_all_copies(stream: &Stream) -> Result<(), Failure> {
    let copies = stream.info().await.map_err(unavailable)?.cluster.unwrap_or_default();
    let away = copies.replicas.iter().find(|copy| !copy.current || !copy.is_near());
    let Some(copy) = away else { return Ok(()) };
    let message = format!("the node {} has not all of {}", copy.name, stream.name());
    Err(Failure::unreachable("engine-node-away", message)
        .with_hint("start it and wait until `dsc engine status` calls it current, or wipe it"))
}

/// Where the entry says that it is.
fn named_by(stored: Option<Stored>, position: Position) -> Result<Parts, Failure> {
    let stored = stored.ok_or_else(|| {
        let message = format!("the log has no entry at position {position}");
        Failure::not_found("no-entry", message).with_hint(
            "what the log itself has lost comes from other servers; if no server has it, clear the \
             engine and put the furthest ledger there with `dsc engine copy`",
        )
    })?;
    stored.parts.ok_or_else(|| whole(position))
}

fn whole(position: Position) -> Failure {
    let message = format!("nothing is missing of the entry at position {position}");
    Failure::rejected("entry-whole", message)
        .with_hint("the log of a blockchain server says at which position it waits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_pieces_can_have_lost_them() {
        let at = Position(7);
        let stored = |parts| Stored {
            sequence: 7,
            subject: String::new(),
            id: dsc_lib::hash::Digest::ZERO,
            parts,
            bytes: Vec::new(),
        };
        let parts = Parts { len: 9, count: 1, hash: dsc_lib::hash::Digest::ZERO };
        assert_eq!(named_by(Some(stored(Some(parts))), at).unwrap(), parts);
        assert_eq!(named_by(Some(stored(None)), at).unwrap_err().code(), "entry-whole");
        let failure = named_by(None, at).unwrap_err();
        assert_eq!(failure.code(), "no-entry");
        assert!(failure.message().contains("no entry at position 7"), "{failure}");
    }
}
