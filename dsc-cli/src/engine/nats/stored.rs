//! A message of a stream, as its writer gave it headers and as a node gives it back.

use async_nats::{HeaderMap, Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dsc_lib::hash::Digest;
use serde::Deserialize;
use serde_json::Value;

/// What the writer calls an entry.
const ID: &str = "Dsc-Id";
/// Where an entry is that is stored in pieces: bytes, pieces and hash.
const PARTS: &str = "Dsc-Parts";
const SEQUENCE: &str = "Nats-Sequence";

/// Where something is that is stored in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) len: usize,
    pub(super) count: usize,
    pub(super) hash: Digest,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (len, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { len, count, hash: words.next()?.parse().ok()? })
    }
}

/// Something in a stream.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) id: Digest,
    pub(super) parts: Option<Parts>,
    pub(super) bytes: Vec<u8>,
}

impl Stored {
    fn new(
        sequence: u64,
        subject: &str,
        header: impl Fn(&str) -> Option<String>,
        bytes: Vec<u8>,
    ) -> Self {
        let id = header(ID).and_then(|text| text.parse().ok()).unwrap_or_default();
        let parts = header(PARTS).and_then(|text| Parts::parse(&text));
        Self { sequence, subject: subject.to_owned(), id, parts, bytes }
    }

    /// Bytes of the whole.
    pub(super) fn len(&self) -> usize {
        self.parts.map_or(self.bytes.len(), |parts| parts.len)
    }

    /// One that a node sent as it is.
    pub(super) fn from_message(message: Message) -> Option<Self> {
        let headers = message.headers.unwrap_or_default();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let sequence = header(SEQUENCE)?.parse().ok()?;
        let subject = header("Nats-Subject").unwrap_or_default();
        Some(Self::new(sequence, &subject, header, Vec::from(message.payload)))
    }

    /// One that the leader described.
    pub(super) fn from_answer(answer: &Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Described {
            subject: String,
            seq: u64,
            #[serde(default)]
            hdrs: String,
            #[serde(default)]
            data: String,
        }
        let described = Described::deserialize(answer.get("message")?).ok()?;
        let Described { subject, seq, hdrs, data } = described;
        let headers = String::from_utf8(STANDARD.decode(hdrs).ok()?).ok()?;
        let header = |name: &str| {
            let mut lines = headers.split("\r\n").filter_map(|line| line.split_once(':'));
            lines.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
        };
        Some(Self::new(seq, &subject, header, STANDARD.decode(data).ok()?))
    }
}

/// Some of what a copy has.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) found: Vec<Stored>,
    /// Whether the copy has nothing after it.
    pub(super) is_last: bool,
}

/// Headers of what is put into a stream.
pub(super) fn headers(id: Option<&Digest>, parts: Option<&Parts>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert(ID, id.to_string().as_str());
    }
    if let Some(Parts { len, count, hash }) = parts {
        headers.insert(PARTS, format!("{len} {count} {hash}").as_str());
    }
    headers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_leader_describes_is_read() {
        let id = "07".repeat(32);
        let headers = format!("NATS/1.0\r\nDsc-Id: {id}\r\nDsc-Parts: 9 2 {id}\r\n\r\n");
        let message = json!({
            "subject": "x", "seq": 7, "hdrs": STANDARD.encode(headers), "data": "AQI=",
        });
        let stored = Stored::from_answer(&json!({ "message": message })).unwrap();
        assert_eq!((stored.sequence, stored.subject.as_str()), (7, "x"));
        assert_eq!((stored.id, stored.bytes), (Digest([7; 32]), vec![1, 2]));
        assert_eq!(stored.parts, Some(Parts { len: 9, count: 2, hash: Digest([7; 32]) }));
        assert!(Stored::from_answer(&json!({})).is_none());
    }
}
