//! What an engine is asked by people: who leads, who is behind, and what is on the board.

use std::sync::Arc;

use dsc_lib::{
    cluster::{Note, Unavailable},
    genesis::Chain,
};
use serde::Serialize;

use super::{
    board::Bucket,
    connect::{Failed, Link},
    guard::Guard,
    info::Copies,
    node,
    stream::{Names, Stream, code},
};
use crate::{engine::Settings, exit::Failure};

/// A copy of a stream that another node than the leader has.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CopyStatus {
    pub(crate) node: String,
    /// Whether it could lead at once.
    pub(crate) current: bool,
    pub(crate) offline: bool,
    /// Entries it is behind.
    pub(crate) lag: u64,
}

/// How a stream stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StreamStatus {
    pub(crate) name: String,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The position of the last message.
    pub(crate) last: u64,
    pub(crate) leader: String,
    pub(crate) copies: Vec<CopyStatus>,
}

impl StreamStatus {
    /// How a stream of the engine stands, if there is one.
    async fn of(stream: &Stream) -> Result<Option<Self>, Failed> {
        let info = match stream.info().await {
            Err(Failed::Refused { code: code::NO_STREAM, .. }) => return Ok(None),
            info => info?,
        };
        let Copies { leader, replicas } = info.cluster.unwrap_or_default();
        let copies = replicas.into_iter().map(|copy| CopyStatus {
            node: copy.name,
            current: copy.current,
            offline: copy.offline,
            lag: copy.lag,
        });
        Ok(Some(Self {
            name: stream.name().to_owned(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            last: info.state.last_seq,
            leader,
            copies: copies.collect(),
        }))
    }
}

/// What a chain has on an engine.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) streams: Vec<StreamStatus>,
    /// Who leads, and how far everybody is.
    pub(crate) notes: Vec<Note>,
}

/// Asks the engine what `chain` has there; nothing is made.
pub(crate) fn status(settings: &Settings, chain: &Chain) -> Result<Status, Failure> {
    let link = connect(settings)?;
    let names = Names::of(chain);
    let asked = |name: String| {
        let stream = Stream::named(&link, &name);
        link.wait_for(StreamStatus::of(&stream)).map_err(unavailable)
    };
    let mut streams = Vec::new();
    for name in names.all_streams() {
        streams.extend(asked(name)?);
    }
    let bucket = names.stream("CONTROL");
    let stream = Arc::new(Stream::named(&link, &format!("KV_{bucket}")));
    let notes = if streams.is_empty() {
        Vec::new()
    } else {
        let notes = link.wait_for(Bucket::new(stream, &bucket).list(""));
        notes.map_err(unavailable)?
    };
    Ok(Status { streams, notes })
}

/// The name of the node that is connected to.
pub(crate) fn connected(settings: &Settings) -> Result<String, Failure> {
    Ok(connect(settings)?.client().server_info().server_name)
}

fn connect(settings: &Settings) -> Result<Arc<Link>, Failure> {
    let guard = Arc::new(Guard::new(&node::look(settings)));
    Ok(Arc::new(Link::open(settings, guard)?))
}

pub(super) fn unavailable(error: impl Into<Unavailable>) -> Failure {
    Failure::unreachable("engine-unavailable", error.into())
        .with_hint("`dsc engine check` says which nodes answer; more than half of them have to")
}
