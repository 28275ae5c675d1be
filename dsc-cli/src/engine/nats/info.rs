//! How a stream stands, as its leader tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;

/// Silence of a copy after which it may take another node to be the leader.
pub(super) const FOLLOWER_SILENCE: Duration = Duration::from_secs(4);

/// How a stream stands, as its leader tells it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Info {
    #[serde(default)]
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) cluster: Option<Copies>,
    #[serde(default)]
    pub(super) config: Value,
}

/// What a stream holds.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct State {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(super) first_seq: u64,
    pub(crate) last_seq: u64,
    /// How many were removed between others.
    #[serde(default)]
    pub(super) num_deleted: u64,
    /// Their places, if they were asked for.
    #[serde(default)]
    pub(super) deleted: BTreeSet<u64>,
    /// How many there are of each subject that was asked for.
    #[serde(default)]
    pub(super) subjects: BTreeMap<String, u64>,
}

/// Who has copies.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Copies {
    #[serde(default)]
    pub(crate) leader: String,
    #[serde(default)]
    pub(crate) replicas: Vec<Copy>,
}

/// A copy beside the leader's.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Copy {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
    /// Nanoseconds since the leader heard of it.
    #[serde(default)]
    active: u64,
    /// Entries it is behind.
    #[serde(default)]
    pub(crate) lag: u64,
}

impl Copy {
    /// Whether it was heard of of late. Of one that never was since then, no time is told.
    pub(super) fn is_near(&self) -> bool {
        let was_heard = self.current || self.active > 0;
        was_heard && !self.offline && Duration::from_nanos(self.active) < FOLLOWER_SILENCE
    }
}

impl Info {
    pub(super) fn parse(answer: &Value) -> Self {
        Self::deserialize(answer).unwrap_or_default()
    }

    /// Whether the leader has heard from most copies, so that no other leads for all it can know.
    pub(super) fn is_led(&self) -> bool {
        let Some(copies) = &self.cluster else { return true };
        let near = copies.replicas.iter().filter(|copy| copy.is_near()).count().saturating_add(1);
        let all = copies.replicas.len().saturating_add(1);
        near.saturating_mul(2) > all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leader_that_hears_from_too_few_is_not_believed() {
        let info = |silence: &[u64]| {
            let replicas: Vec<_> = silence
                .iter()
                .map(|seconds| json!({ "name": "n", "active": seconds * 1_000_000_000 + 1 }))
                .collect();
            Info::parse(&json!({ "cluster": { "leader": "a", "replicas": replicas } }))
        };
        assert!(info(&[0, 0]).is_led() && info(&[0, 20]).is_led() && info(&[]).is_led());
        assert!(!info(&[5, 20]).is_led() && !info(&[20]).is_led() && !info(&[0, 9, 9, 9]).is_led());
        assert!(Info::default().is_led());
        let never = |current: bool| {
            let copy = json!({ "name": "n", "current": current, "active": 0 });
            Info::parse(&json!({ "cluster": { "leader": "a", "replicas": [copy, copy] } }))
        };
        assert!(never(true).is_led() && !never(false).is_led(), "it has led for no time at all");
    }
}
