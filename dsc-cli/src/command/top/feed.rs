//! What the monitor says: its history once, then its stream of events.
//!
//! # Invariants
//!
//! 1. After a break the stream goes on behind the last event that was seen; if the monitor no longer
//!    has that, its whole history is asked for again.

use std::{
    io::{self, BufRead},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use serde::Deserialize;

use super::model::{Block, History, Sample, Transaction};
use crate::http::{Client, ClientError};

/// Pause before a monitor that has gone is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of a history: an hour of samples, and some.
const HISTORY_BYTES_MAX: u64 = 16 << 20;
/// Longest line of the stream.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Something to show.
#[derive(Debug)]
pub(super) enum News {
    History(Box<History>),
    Sample(Box<Sample>),
    Block(Block),
    Recent(Vec<Transaction>),
    /// The monitor does not answer.
    Lost(String),
    /// It does again.
    Back,
}

#[derive(Deserialize)]
struct Rows {
    transactions: Vec<Transaction>,
}

/// All that the monitor knows.
pub(super) fn history(client: &Client) -> Result<History, ClientError> {
    let bytes = client.get_within("/v1/history", HISTORY_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Malformed {
        url: client.base().to_owned(),
        reason: error.to_string(),
    })
}

/// Tells what comes after the event `id`, from a thread that ends with its listener.
pub(super) fn follow(client: Client, id: String) -> io::Result<Receiver<News>> {
    let (tell, news) = sync_channel(64);
    let follower = Follower { client, id, tell };
    thread::Builder::new().name("top".into()).spawn(move || follower.run())?;
    Ok(news)
}

struct Follower {
    client: Client,
    /// The last event that was seen.
    id: String,
    tell: SyncSender<News>,
}

/// Nobody listens any more.
struct Gone;

impl Follower {
    fn run(mut self) {
        loop {
            let fault = match self.stream() {
                Ok(Ok(())) => "the monitor ended its stream".to_owned(),
                Ok(Err(error)) => error,
                Err(Gone) => return,
            };
            if self.tell.send(News::Lost(fault)).is_err() {
                return;
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    fn stream(&mut self) -> Result<Result<(), String>, Gone> {
        let path = format!("/v1/events?after={}", self.id);
        let mut input = match self.client.open(&path) {
            Ok(input) => io::BufReader::new(input),
            Err(error) => return Ok(Err(error.to_string())),
        };
        self.tell(News::Back)?;
        loop {
            match read_event(&mut input) {
                Ok(Some(event)) if event.kind == "reset" => match self.reload() {
                    Ok(news) => self.tell(news)?,
                    Err(error) => return Ok(Err(error)),
                },
                Ok(Some(event)) => self.hear(event)?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    /// All anew, where the monitor does not know any more what came after the last event.
    fn reload(&mut self) -> Result<News, String> {
        let history = history(&self.client).map_err(|error| error.to_string())?;
        self.id.clone_from(&history.id);
        Ok(News::History(Box::new(history)))
    }

    fn hear(&mut self, event: Event) -> Result<(), Gone> {
        let news = match event.kind.as_str() {
            "sample" => parsed(&event).map(|sample| News::Sample(Box::new(sample))),
            "block" => parsed(&event).map(News::Block),
            "recent" => parsed(&event).map(|Rows { transactions }| News::Recent(transactions)),
            _ => None,
        };
        if !event.id.is_empty() {
            self.id = event.id;
        }
        news.map_or(Ok(()), |news| self.tell(news))
    }

    fn tell(&self, news: News) -> Result<(), Gone> {
        self.tell.send(news).map_err(|_| Gone)
    }
}

fn parsed<T: for<'a> Deserialize<'a>>(event: &Event) -> Option<T> {
    serde_json::from_str(&event.data).ok()
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    id: String,
    data: String,
}

/// The next event of a stream; comments and fields of no interest are skipped.
fn read_event(input: &mut impl BufRead) -> io::Result<Option<Event>> {
    let mut event = Event::default();
    loop {
        let mut line = String::new();
        if io::Read::take(&mut *input, LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let is_whole = line.ends_with('\n') || (line.len() as u64) < LINE_BYTES_MAX;
        if !is_whole || event.data.len() as u64 > LINE_BYTES_MAX {
            return Err(io::Error::other("an event is longer than any of a monitor"));
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            if !event.data.is_empty() {
                return Ok(Some(event));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.kind),
            "id" => value.clone_into(&mut event.id),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => event.data.extend(["\n", value]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let mut text = ": heart\nretry: 1000\n\nevent: block\nid: 7-1\ndata: {\ndata:}\n\n\
                        event: x\r\ndata: y\r\n\r\ndata: cut"
            .as_bytes();
        let event = |kind: &str, id: &str, data: &str| {
            Some(Event { kind: kind.into(), id: id.into(), data: data.into() })
        };
        assert_eq!(read_event(&mut text).unwrap(), event("block", "7-1", "{\n}"));
        assert_eq!(read_event(&mut text).unwrap(), event("x", "", "y"));
        assert_eq!(read_event(&mut text).unwrap(), None);
    }

    #[test]
    fn an_event_has_a_bound_in_one_line_and_in_many() {
        let endless = "x".repeat(5 << 20);
        assert!(read_event(&mut format!("data: {endless}\n\n").as_bytes()).is_err());
        let lines = format!("data: {}\n", "x".repeat(1 << 20)).repeat(6);
        assert!(read_event(&mut lines.as_bytes()).is_err());
    }

    /// Of a monitor whose ledger has not answered yet.
    #[test]
    fn a_history_may_not_know_its_network() {
        let history: History = serde_json::from_str("{\"network\":null,\"id\":\"1-0\"}").unwrap();
        assert_eq!((history.network, history.id), (None, "1-0".to_owned()));
    }
}
