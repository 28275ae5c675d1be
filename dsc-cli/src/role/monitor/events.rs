//! `GET /v1/events`: what happens, as it happens, and what happened meanwhile.
//!
//! # Invariants
//!
//! 1. Whoever says which event was the last is told each one after it once, in order, or that this is
//!    not possible any more.
//! 2. A stream holds no events of its own: a client that is slow costs nothing, and is told that it
//!    fell behind.
//! 3. The number of streams is bounded; all end with the server.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event as Message, KeepAlive},
    },
};
use dsc_lib::role::monitor::{Event, EventId, History, Monitor, Payload, Row};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::Server;
use crate::{
    http::{
        Problem,
        openapi::{Operation, describe},
    },
    role::query::Asked,
};

/// Time without an event after which a comment is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// When a client that lost its stream should come back.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);
/// When somebody who found no room may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A stream that hears nothing at all for so long ends.
const SILENCE_MAX: Duration = Duration::from_secs(3600);
/// Events taken at once.
const BATCH: usize = 64;

/// Where to go on.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

describe! { asked After as "After": "Where to go on." {
    after: "Id of the event that is known last; a header `Last-Event-ID` counts before it.",
}}

pub(super) fn described() -> Operation {
    Operation::new("events", "What happens, as it happens")
        .about(
            "Server-sent events with ids. `sample`: a look at all roles, as `now` of `/v1/history`. \
             `block`: a new block, as in `blocks` there. `recent`: `{\"transactions\": [..]}`, those that \
             are new or stand in another way, as in `recent` there. With `Last-Event-ID` or `after` what \
             came after that event is sent first, or, if that is not known any more, one `reset`: then \
             load `/v1/history` again. Without either it begins with the newest sample. A comment is sent \
             when nothing happens for long.",
        )
        .query::<After>()
        .text("text/event-stream", "Server-sent events.")
        .fault(503, "too-many-streams", "as many streams as this server has room for are open")
}

/// A reader of the history.
struct Reader {
    server: Server,
    at: EventId,
    taken: VecDeque<Event>,
    greeted: bool,
    _room: OwnedSemaphorePermit,
}

pub(super) async fn events(
    State(server): State<Server>,
    Asked(asked): Asked<After>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Problem> {
    let room = Arc::clone(&server.streams).try_acquire_owned().map_err(|_| {
        Problem::unavailable("too-many-streams", "as many event streams as may be are open")
            .with_retry_after(RETRY_AFTER)
    })?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.map(str::to_owned).or(asked.after);
    let at = match last {
        // Whatever is no id of this history is one that it cannot go on from.
        Some(text) => text.parse().unwrap_or_default(),
        None => server.shared.clone().with(|monitor| before_last(monitor.history())).await?,
    };
    let reader = Reader { server, at, taken: VecDeque::new(), greeted: false, _room: room };
    let messages = stream::unfold(reader, |mut reader| async {
        let message = reader.next().await?;
        Some((Ok(message), reader))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// The place before the newest event, which is a sample.
fn before_last(history: &History) -> EventId {
    let last = history.last();
    EventId { number: last.number.saturating_sub(1), ..last }
}

impl Reader {
    async fn next(&mut self) -> Option<Message> {
        if !self.greeted {
            self.greeted = true;
            return Some(Message::default().retry(COME_BACK_AFTER));
        }
        if self.taken.is_empty() {
            let at = self.at;
            let look = |monitor: &mut Monitor| look(monitor.history(), at);
            match self.server.shared.until(SILENCE_MAX, look).await? {
                Found::Events(events) => self.taken = events.into(),
                Found::Lost(last) => {
                    self.at = last;
                    return Some(Message::default().id(last.to_string()).event("reset").data("{}"));
                }
            }
        }
        let event = self.taken.pop_front()?;
        self.at = event.id;
        message(&event)
    }
}

enum Found {
    Events(Vec<Event>),
    /// What came in between is forgotten; this is the last event now.
    Lost(EventId),
}

fn look(history: &History, at: EventId) -> Option<Found> {
    match history.after(at, BATCH) {
        None => Some(Found::Lost(history.last())),
        Some(events) => (!events.is_empty()).then_some(Found::Events(events)),
    }
}

#[derive(Serialize)]
struct Recent<'a> {
    transactions: &'a [Row],
}

fn message(event: &Event) -> Option<Message> {
    let message = Message::default().id(event.id.to_string());
    match &event.payload {
        Payload::Sample(sample) => message.event("sample").json_data(&**sample),
        Payload::Block(block) => message.event("block").json_data(&**block),
        Payload::Recent(rows) => message.event("recent").json_data(Recent { transactions: rows }),
        _ => return None,
    }
    .ok()
}
