//! Large things under names: the name tells where the pieces are.
//!
//! # Invariants
//!
//! 1. Pieces belong to one name, so that removing it removes nothing of others.
//! 2. Nothing larger than asked for is fetched.

use std::sync::Arc;

use dsc_lib::cluster::{BlobError, Blobs, check_key};
use serde_json::json;

use super::{
    connect::{ANSWER_TIME, Failed},
    parts::{self, Lost, WHOLE_BYTES_MAX},
    stored::headers,
    stream::{Names, Stream},
};

/// The store of blobs.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) stream: Arc<Stream>,
    /// What subjects of names begin with, with a point at its end.
    names: String,
    /// What subjects of pieces begin with, with a point at its end.
    pieces: String,
    chunk_bytes: usize,
}

impl Store {
    pub(super) fn new(stream: Arc<Stream>, names: &Names, chunk_bytes: usize) -> Self {
        let (pieces, names) = (names.subject("blobs.parts."), names.subject("blobs.names."));
        Self { stream, names, pieces, chunk_bytes }
    }

    fn name(&self, name: &str) -> Result<String, BlobError> {
        check_key(name)?;
        Ok(format!("{}{name}", self.names))
    }

    /// What the subjects of the pieces of `name` begin with.
    fn pieces(&self, name: &str) -> String {
        format!("{}{}", self.pieces, blake3::hash(name.as_bytes()).to_hex())
    }

    async fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), BlobError> {
        let subject = self.name(name)?;
        let (got, max) = (bytes.len() as u64, WHOLE_BYTES_MAX as u64);
        if got > max {
            return Err(BlobError::TooLarge { got, max });
        }
        let before = self.stream.of_leader(&json!({ "last_by_subj": subject })).await;
        let before = before.map_err(unavailable)?.and_then(|stored| stored.parts);
        let prefix = self.pieces(name);
        let parts = parts::store(&self.stream, &prefix, bytes, self.chunk_bytes).await;
        let parts = parts.map_err(unavailable)?;
        let headers = headers(None, Some(&parts));
        let named = self.stream.store(&subject, headers, Vec::new(), ANSWER_TIME).await;
        named.map_err(unavailable)?;
        match before {
            Some(old) if old.hash != parts.hash => {
                let filter = format!("{prefix}.{}.>", old.hash);
                self.stream.purge(&json!({ "filter": filter })).await.map_err(unavailable)
            }
            _ => Ok(()),
        }
    }

    async fn fetch(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let subject = self.name(name)?;
        let found = self.stream.of_leader(&json!({ "last_by_subj": subject })).await;
        let Some(found) = found.map_err(unavailable)? else { return Ok(None) };
        let Some(parts) = found.parts else {
            return Err(BlobError::Damaged { reason: "its name does not say where it is".into() });
        };
        let (got, max) = (parts.len as u64, bytes_max as u64);
        if got > max {
            return Err(BlobError::TooLarge { got, max });
        }
        let loaded = parts::load(&self.stream, &self.pieces(name), &parts).await;
        loaded.map(Some).map_err(|lost| match lost {
            Lost::Damaged(reason) => BlobError::Damaged { reason },
            Lost::Failed(failed) => unavailable(failed),
        })
    }

    async fn names(&self) -> Result<Vec<String>, BlobError> {
        let found = self.stream.subjects(&format!("{}>", self.names)).await.map_err(unavailable)?;
        let name = |subject: &String| subject.strip_prefix(&self.names).map(str::to_owned);
        Ok(found.iter().filter_map(name).collect())
    }

    async fn forget(&self, name: &str) -> Result<(), BlobError> {
        let subject = self.name(name)?;
        for filter in [subject, format!("{}.>", self.pieces(name))] {
            self.stream.purge(&json!({ "filter": filter })).await.map_err(unavailable)?;
        }
        Ok(())
    }
}

fn unavailable(failed: Failed) -> BlobError {
    BlobError::Unavailable(failed.into())
}

impl Blobs for Store {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), BlobError> {
        self.stream.link.wait_for(self.keep(name, bytes))
    }

    fn get(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, BlobError> {
        self.stream.link.wait_for(self.fetch(name, bytes_max))
    }

    fn list(&self) -> Result<Vec<String>, BlobError> {
        self.stream.link.wait_for(self.names())
    }

    fn remove(&self, name: &str) -> Result<(), BlobError> {
        self.stream.link.wait_for(self.forget(name))
    }
}
