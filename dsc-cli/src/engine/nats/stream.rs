//! One stream of the engine: what is put at its end, and read from it.
//!
//! # Invariants
//!
//! 1. A stream of another chain, or one that may forget what this one must not, is not used.
//! 2. What [`Stream::state`] says comes from a leader that has heard from most copies of late.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_nats::HeaderMap;
use dsc_lib::{cluster::Unavailable, genesis::Chain, hash::Digest};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    connect::{ANSWER_TIME, Failed, Link},
    fit::{GENESIS, check},
    info::{Copy, Info, State},
    news::News,
    stored::{Batch, Stored},
};
use crate::exit::Failure;

/// Numbers of the engine's errors.
pub(super) mod code {
    /// The stream does not end where expected, or the note has another revision.
    pub(in super::super) const LAST_SEQUENCE: [u64; 2] = [10_071, 10_164];
    pub(in super::super) const STORE_FAILED: u64 = 10_077;
    pub(in super::super) const NO_STREAM: u64 = 10_059;
    pub(super) const NO_MESSAGE: [u64; 3] = [10_037, 10_043, 10_057];
    pub(super) const NAME_IN_USE: u64 = 10_058;
    /// Nothing was begun: another stream is meant. That a node has no room is none of these: one that
    /// leads finds it out as well when the others have stored what it gave them.
    pub(in super::super) const NOT_BEGUN: [u64; 1] = [10_060];
}

/// Names of a chain's things on an engine.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) genesis: Digest,
    /// The first 16 digits of the hash of the genesis.
    pub(super) short: String,
}

impl Names {
    pub(super) fn of(chain: &Chain) -> Self {
        Self::from(chain.hash())
    }

    /// Every stream there is.
    pub(super) fn all_streams(&self) -> impl Iterator<Item = String> {
        let own = ["BLOCKS", "CHUNKS", "TRANSACTIONS", "BLOBS"].map(|name| self.stream(name));
        let buckets = ["CONTROL", "PROOFS"].map(|name| format!("KV_{}", self.stream(name)));
        own.into_iter().chain(buckets)
    }

    /// `DSC_<c>_BLOCKS` and the like.
    pub(super) fn stream(&self, name: &str) -> String {
        format!("DSC_{}_{name}", self.short)
    }

    /// `dsc.<c>.blocks` and the like.
    pub(super) fn subject(&self, name: &str) -> String {
        format!("dsc.{}.{name}", self.short)
    }
}

impl From<Digest> for Names {
    fn from(genesis: Digest) -> Self {
        let short = genesis.to_string().chars().take(16).collect();
        Self { genesis, short }
    }
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) link: Arc<Link>,
    name: String,
    pub(super) news: News,
}

impl Stream {
    /// Uses the stream `config` describes, and makes it if there is none.
    pub(super) fn open(link: &Arc<Link>, names: &Names, config: Value) -> Result<Self, Failure> {
        let mut stream = Self::named(link, config["name"].as_str().unwrap_or_default());
        let mut wanted = config;
        wanted["metadata"] = json!({ GENESIS: names.genesis });
        let info = link.wait_for(stream.require(&wanted))?;
        check(&stream.name, &wanted, &info.config)?;
        stream.news = News::from(info.state.last_seq);
        Ok(stream)
    }

    /// The stream of that name, if there is one.
    pub(super) fn named(link: &Arc<Link>, name: &str) -> Self {
        Self { link: link.clone(), name: name.to_owned(), news: News::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes the stream unless it is there; a cluster that has just begun needs some time to.
    async fn require(&self, wanted: &Value) -> Result<Info, Failure> {
        let mut tries = 0_u32;
        loop {
            let failed = match self.info().await {
                Ok(info) => return Ok(info),
                Err(Failed::Refused { code: code::NO_STREAM, .. }) => {
                    let subject = format!("$JS.API.STREAM.CREATE.{}", self.name);
                    match self.link.ask(&subject, wanted).await {
                        Ok(answer) => return Ok(Info::parse(&answer)),
                        Err(Failed::Refused { code: code::NAME_IN_USE, .. }) => continue,
                        Err(failed) => failed,
                    }
                }
                Err(failed) => failed,
            };
            tries = tries.saturating_add(1);
            if tries >= MAKE_TRIES {
                return Err(not_made(&self.name, &failed));
            }
            tokio::time::sleep(MAKE_PAUSE).await;
        }
    }

    /// What the leader knows.
    pub(super) async fn info(&self) -> Result<Info, Failed> {
        self.info_with(&Value::Null).await
    }

    async fn info_with(&self, question: &Value) -> Result<Info, Failed> {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.name);
        Ok(Info::parse(&self.link.ask(&subject, question).await?))
    }

    /// What the stream holds, as of now.
    pub(super) async fn state(&self) -> Result<State, Unavailable> {
        let seen = self.news.seen();
        let info = self.info().await?;
        if !info.is_led() {
            return Err(Unavailable::new("the node that led does not hear from most others"));
        }
        self.news.correct(seen, info.state.last_seq);
        Ok(info.state)
    }

    /// Places between others whose messages were removed.
    pub(super) async fn removed(&self) -> Result<BTreeSet<u64>, Failed> {
        Ok(self.info_with(&json!({ "deleted_details": true })).await?.state.deleted)
    }

    /// The subjects in the stream below `filter`.
    pub(super) async fn subjects(&self, filter: &str) -> Result<Vec<String>, Failed> {
        let info = self.info_with(&json!({ "subjects_filter": filter })).await?;
        Ok(info.state.subjects.into_keys().collect())
    }

    /// Puts something into the stream, and returns its place.
    pub(super) async fn store(
        &self,
        subject: &str,
        mut headers: HeaderMap,
        bytes: Vec<u8>,
        time: Duration,
    ) -> Result<u64, Failed> {
        headers.insert("Nats-Expected-Stream", self.name.as_str());
        let answer = self.link.store(subject, headers, bytes, time).await?;
        let place = answer.get("seq").and_then(Value::as_u64);
        let place = place.ok_or_else(|| Failed::Unknown("an answer without a place".into()))?;
        self.news.tell(place);
        Ok(place)
    }

    /// What the leader has at `question`: `{"seq": 1}` or `{"last_by_subj": "x"}`.
    pub(super) async fn of_leader(&self, question: &Value) -> Result<Option<Stored>, Failed> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.name);
        match self.link.ask(&subject, question).await {
            Ok(answer) => Stored::from_answer(&answer)
                .map(Some)
                .ok_or_else(|| Failed::Unknown("a message that makes no sense".into())),
            Err(Failed::Refused { code, .. }) if code::NO_MESSAGE.contains(&code) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// What any copy has last under `subject`.
    pub(super) async fn last_of(&self, subject: &str) -> Result<Option<Stored>, Failed> {
        let asked = format!("$JS.API.DIRECT.GET.{}.{subject}", self.name);
        let mut answers = self.link.question(&asked, &Value::Null).await?;
        let answer = tokio::time::timeout(ANSWER_TIME, answers.next()).await.ok().flatten();
        let answer =
            answer.ok_or_else(|| Failed::Unknown(format!("no answer within {ANSWER_TIME:?}")))?;
        Ok(if answer.status.is_some() { None } else { Stored::from_message(answer) })
    }

    /// What any copy has from `first` to `last`, in order, as much as has `bytes_max` bytes, at least
    /// one; less if it has less by now, or has lost something.
    pub(super) async fn between(
        &self,
        first: u64,
        last: u64,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, Failed> {
        let mut found: Vec<Stored> = Vec::new();
        let (mut next, mut bytes) = (first, 0_usize);
        while next <= last && (bytes < bytes_max || found.is_empty()) {
            let count = last.saturating_sub(next).saturating_add(1);
            let room = bytes_max.saturating_sub(bytes);
            let batch = self.batch(next, None, count, room).await?;
            for stored in batch.found {
                next = stored.sequence.saturating_add(1);
                bytes = bytes.saturating_add(stored.len());
                if bytes > bytes_max && !found.is_empty() {
                    return Ok(found);
                }
                found.push(stored);
            }
            if batch.is_last {
                break;
            }
        }
        Ok(found)
    }

    /// What any copy has from `first` on, at once.
    pub(super) async fn batch(
        &self,
        first: u64,
        filter: Option<&str>,
        count: u64,
        bytes_max: usize,
    ) -> Result<Batch, Failed> {
        let count = count.min(BATCH);
        // The engine counts headers as well.
        let headers = usize::try_from(count).unwrap_or_default().saturating_mul(STORED_HEADERS);
        let bytes_max = bytes_max.min(BATCH_BYTES).saturating_add(headers);
        let mut question = json!({ "seq": first, "batch": count, "max_bytes": bytes_max });
        if let Some(filter) = filter {
            question["next_by_subj"] = filter.into();
        }
        let subject = format!("$JS.API.DIRECT.GET.{}", self.name);
        let mut answers = self.link.question(&subject, &question).await?;
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        // It may end with one that has more than was left.
        let most = bytes_max.saturating_add(self.link.client().max_payload());
        loop {
            if found.len() as u64 > count || bytes > most {
                return Err(Failed::Unknown("the node gives more than it was asked for".into()));
            }
            let next = tokio::time::timeout(ANSWER_TIME, answers.next()).await;
            let Ok(Some(message)) = next else {
                return Err(Failed::Unknown(format!("no answer within {ANSWER_TIME:?}")));
            };
            let is_last = || {
                let pending = message.headers.as_ref()?.get("Nats-Num-Pending")?;
                Some(pending.as_str() == "0")
            };
            match message.status.map(|status| status.as_u16()) {
                None => {
                    bytes = bytes.saturating_add(message.length);
                    found.extend(Stored::from_message(message));
                }
                // The end of the batch, or nothing there.
                Some(204) => return Ok(Batch { is_last: is_last().unwrap_or(true), found }),
                Some(404) => return Ok(Batch { is_last: true, found }),
                Some(503) => return Err(Failed::NotSent("no node has the stream".into())),
                Some(status) => {
                    let description = message.description.unwrap_or_default();
                    return Err(Failed::Refused { code: status.into(), description });
                }
            }
        }
    }

    /// Removes what is before `sequence`, or all below the subject `filter`.
    pub(super) async fn purge(&self, question: &Value) -> Result<(), Failed> {
        let subject = format!("$JS.API.STREAM.PURGE.{}", self.name);
        self.link.ask(&subject, question).await.map(drop)
    }

    /// Removes one; it may be gone already.
    pub(super) async fn remove(&self, sequence: u64) -> Result<(), Failed> {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", self.name);
        match self.link.ask(&subject, &json!({ "seq": sequence, "no_erase": true })).await {
            Err(Failed::Refused { code, .. }) if code::NO_MESSAGE.contains(&code) => Ok(()),
            answered => answered.map(drop),
        }
    }

    /// Asks another node to lead, one that has everything if there is one.
    pub(super) async fn step_down(&self) -> Result<(), Failed> {
        let copies = self.info().await?.cluster.unwrap_or_default();
        let is_fit = |copy: &&Copy| copy.current && !copy.offline && copy.lag == 0;
        let question = match copies.replicas.iter().find(is_fit) {
            Some(copy) => json!({ "placement": { "preferred": copy.name } }),
            None => Value::Null,
        };
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{}", self.name);
        self.link.ask(&subject, &question).await.map(drop)
    }

    /// Waits until there may be something after `after`, at most for `time`.
    pub(super) async fn wait(&self, after: u64, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while self
            .news
            .wait(after, end.min(tokio::time::Instant::now() + POLL_TIME))
            .await
            .is_none()
        {
            if tokio::time::Instant::now() >= end {
                return;
            }
            // A hint may be lost; if nobody answers, the next look is as good as this one.
            if let Ok(info) = self.info().await {
                self.news.tell(info.state.last_seq);
            }
        }
    }
}

/// Most messages, and most of their bytes, that are asked for at once.
const BATCH: u64 = 1024;
const BATCH_BYTES: usize = 8 << 20;
/// Most bytes that a node counts beside those of a message.
const STORED_HEADERS: usize = 512;
/// Longest time for which a hint that was lost is missed.
const POLL_TIME: Duration = Duration::from_millis(500);
const MAKE_TRIES: u32 = 30;
const MAKE_PAUSE: Duration = Duration::from_millis(500);

fn not_made(name: &str, failed: &Failed) -> Failure {
    let message = format!("the engine has no stream {name} and makes none: {failed}");
    Failure::unreachable("engine-stream", message).with_hint(
        "as many nodes as engine.replicas have to run when a chain begins; `dsc engine check` says \
         which do; the user needs leave to make the streams of this chain then (accounts.conf)",
    )
}
