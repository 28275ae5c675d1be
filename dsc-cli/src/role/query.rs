//! Parts of a request's path and query that several roles take.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use dsc_lib::{address::Address, hash::Digest, units::Millis};
use serde::{Deserialize, de::DeserializeOwned};

use serde_json::{Value, json};

use crate::http::{
    Problem,
    openapi::{Describe, Schemas, describe},
};

/// Longest wait that a client may ask for.
const WAIT_MAX: Millis = Millis(10_000);

/// A query, or the problem that names what is wrong with it.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| Self(asked))
            .map_err(|error| Problem::malformed("invalid-query", error.body_text()))
    }
}

/// A transaction id or block hash in the path.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) Digest);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = text_of(parts, state).await?;
        text.parse().map(Self).map_err(|error| Problem::malformed("invalid-id", error))
    }
}

/// An address in the path, in Bech32m or hexadecimal.
#[derive(Debug)]
pub(crate) struct Of(pub(crate) Address);

impl<S: Send + Sync> FromRequestParts<S> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = text_of(parts, state).await?;
        let read = text.parse().or_else(|_| Address::from_any_text(&text).map(|(_, a)| a));
        read.map(Self).map_err(|error| Problem::malformed("invalid-address", error))
    }
}

async fn text_of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(text)| text)
        .map_err(|error| Problem::malformed("invalid-path", error.body_text()))
}

/// What names a block in the path.
#[derive(Debug)]
pub(crate) struct Which(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        text_of(parts, state).await.map(Self)
    }
}

/// Most entries in one answer.
pub(crate) const LIMIT_MAX: u64 = 1000;

/// How many entries are wanted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub(crate) struct Limit(u64);

impl Limit {
    pub(crate) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<u64> for Limit {
    type Error = String;

    fn try_from(got: u64) -> Result<Self, String> {
        let is_allowed = (1..=LIMIT_MAX).contains(&got);
        is_allowed
            .then_some(Self(got))
            .ok_or_else(|| format!("got {got}, expected 1 to {LIMIT_MAX}"))
    }
}

impl Describe for Limit {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "examples": [10] })
    }
}

/// How long a request may wait.
pub(crate) fn bounded(wait: Option<Millis>) -> std::time::Duration {
    super::span(wait.unwrap_or_default().min(WAIT_MAX))
}

/// The round that is known already.
#[derive(Debug, Deserialize)]
pub(crate) struct Round {
    pub(crate) after: Option<dsc_lib::units::Height>,
    pub(crate) challenge: Option<Digest>,
    pub(crate) wait: Option<Millis>,
}

describe! { asked Round as "Round": "The round that is known already." {
    after: "Its height.",
    challenge: "What it asked: with it, a round of the same height that asks something else counts.",
    wait: "How long to wait for another one; more than 10,000 counts as 10,000, nothing as 0.",
}}
