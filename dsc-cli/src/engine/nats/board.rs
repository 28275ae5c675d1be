//! Short notes that everybody sees: two buckets of keys and values.
//!
//! # Invariants
//!
//! 1. The revision of a note is its sequence in the bucket's stream; the engine compares it.
//! 2. No more is held than notes may have, however much is there.

use std::{sync::Arc, time::Duration};

use dsc_lib::cluster::{
    Board, NOTE_BYTES_MAX, Note, PutError, Revision, Shelf, Unavailable, check_key, check_note,
};
use serde_json::json;

use super::{
    connect::{ANSWER_TIME, Failed, Link},
    stored::{Stored, headers},
    stream::{Stream, code},
};

/// Most notes of a list, or a few more: whoever fills a shelf fills nobody's memory. Those that were put
/// there last are left out, as they may be anyhow.
const LISTED_MAX: usize = 8192;

/// The board.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) control: Bucket,
    pub(super) proofs: Bucket,
}

/// One shelf.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) stream: Arc<Stream>,
    /// What subjects begin with, with a point at its end.
    prefix: String,
}

impl Bucket {
    /// The bucket in the stream `KV_<name>`.
    pub(super) fn new(stream: Arc<Stream>, name: &str) -> Self {
        Self { stream, prefix: format!("$KV.{name}.") }
    }

    fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn note(&self, stored: Stored) -> Note {
        let key = stored.subject.strip_prefix(&self.prefix).unwrap_or_default().to_owned();
        // What is larger than a note was put there by something else, and says nothing.
        let value = Some(stored.bytes).filter(|bytes| bytes.len() <= NOTE_BYTES_MAX);
        Note { key, revision: Revision(stored.sequence), value: value.unwrap_or_default() }
    }

    async fn get(&self, key: &str) -> Result<Option<Note>, Unavailable> {
        if check_key(key).is_err() {
            return Ok(None);
        }
        let found = self.stream.of_leader(&json!({ "last_by_subj": self.subject(key) })).await?;
        Ok(found.map(|stored| self.note(stored)))
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision, PutError> {
        check_note(key, value)?;
        let mut headers = headers(None, None);
        if let Some(Revision(revision)) = expected {
            let name = "Nats-Expected-Last-Subject-Sequence";
            headers.insert(name, revision.to_string().as_str());
        }
        let put = self.stream.store(&self.subject(key), headers, value.to_vec(), ANSWER_TIME).await;
        put.map(Revision).map_err(|failed| put_error(expected.unwrap_or_default(), &failed))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Note>, Unavailable> {
        // A whole part of a name can be asked for; anything else is sorted out here.
        let part = prefix.rsplit_once('.').map_or(String::new(), |(part, _)| format!("{part}."));
        let filter = format!("{}>", self.subject(&part));
        let mut notes = Vec::new();
        let mut next = 1_u64;
        loop {
            let batch = self.stream.batch(next, Some(&filter), u64::MAX, usize::MAX).await?;
            let last = batch.found.last().map(|stored| stored.sequence.saturating_add(1));
            notes.extend(batch.found.into_iter().map(|stored| self.note(stored)));
            match last {
                Some(last) if !batch.is_last && notes.len() < LISTED_MAX => next = last,
                _ => break,
            }
        }
        notes.retain(|note| note.key.starts_with(prefix));
        // A note that changed while it was listed is found twice, the later one later.
        notes.sort_by(|a, b| a.key.cmp(&b.key).then(b.revision.cmp(&a.revision)));
        notes.dedup_by(|later, first| later.key == first.key);
        Ok(notes)
    }
}

fn put_error(expected: Revision, failed: &Failed) -> PutError {
    match failed {
        Failed::NotSent(reason) => Unavailable::new(reason).into(),
        Failed::Refused { code, .. } if code::LAST_SEQUENCE.contains(code) => {
            PutError::Conflict { expected }
        }
        Failed::Refused { code, .. } if code::NOT_BEGUN.contains(code) => {
            Unavailable::new(failed).into()
        }
        Failed::Unknown(_) | Failed::Refused { .. } => {
            PutError::Unknown { reason: failed.to_string() }
        }
    }
}

impl Notes {
    fn bucket(&self, on: Shelf) -> &Bucket {
        match on {
            Shelf::Proofs => &self.proofs,
            _ => &self.control,
        }
    }

    fn link(&self) -> &Link {
        &self.control.stream.link
    }
}

impl Board for Notes {
    fn get(&self, on: Shelf, key: &str) -> Result<Option<Note>, Unavailable> {
        self.link().wait_for(self.bucket(on).get(key))
    }

    fn put(
        &self,
        on: Shelf,
        key: &str,
        value: &[u8],
        expected: Option<Revision>,
    ) -> Result<Revision, PutError> {
        self.link().wait_for(self.bucket(on).put(key, value, expected))
    }

    fn list(&self, on: Shelf, prefix: &str) -> Result<Vec<Note>, Unavailable> {
        self.link().wait_for(self.bucket(on).list(prefix))
    }

    fn wait(&self, on: Shelf, after: Revision, time: Duration) -> Revision {
        let stream = &self.bucket(on).stream;
        self.link().wait_for(stream.wait(after.0, time));
        Revision(stream.news.seen())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_engine_refused_is_known_not_to_be_put() {
        let expected = Revision(7);
        let of = |failed| put_error(expected, &failed);
        let refused = |code| Failed::Refused { code, description: "why".into() };
        for code in code::LAST_SEQUENCE {
            assert_eq!(of(refused(code)), PutError::Conflict { expected });
        }
        for code in code::NOT_BEGUN {
            assert!(matches!(of(refused(code)), PutError::Unavailable(_)), "{code}");
        }
        // A node without room may have given it to the others before it found that out.
        for code in [10_008, 10_023, 10_047, code::STORE_FAILED] {
            assert!(matches!(of(refused(code)), PutError::Unknown { .. }), "{code}");
        }
        assert!(matches!(of(Failed::Unknown("x".into())), PutError::Unknown { .. }));
        assert!(matches!(of(Failed::NotSent("x".into())), PutError::Unavailable(_)));
    }
}
