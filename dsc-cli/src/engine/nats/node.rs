//! One node of the engine: what it says of itself, and what makes it unsafe.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{super::settings::Settings, info::Copy};
use crate::{
    exit::Failure,
    http::{Client, ClientError},
};

/// The first version whose compare-and-append and batches of reads can be relied on.
const VERSION_MIN: (u64, u64) = (2, 12);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What a node says of itself at `/varz`.
#[derive(Clone, Debug, Deserialize)]
struct Varz {
    server_id: String,
    #[serde(default)]
    server_name: String,
    version: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JetStream {
    config: Option<JetStreamConfig>,
    #[serde(default)]
    meta: Option<Meta>,
}

/// All nodes of the engine, as one of them knows them.
#[derive(Clone, Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    leader: String,
    /// How many there are, whether they run or not.
    #[serde(default)]
    cluster_size: usize,
    /// The others. One that does not lead has heard of the leader alone.
    #[serde(default)]
    replicas: Vec<Copy>,
}

#[derive(Clone, Debug, Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
}

/// A node, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    /// Where it was asked.
    pub(crate) monitor: String,
    /// Its name; empty if it does not answer.
    pub(crate) name: String,
    /// Which process it is; empty if it does not answer.
    pub(crate) id: String,
    pub(crate) version: String,
    /// Why it cannot be used, if it answers.
    pub(crate) fault: Option<Fault>,
    /// Why it was not found.
    pub(crate) unreachable: Option<String>,
    /// How many nodes there are by what it knows.
    #[serde(skip)]
    pub(super) count: usize,
    /// The names of those that take part by what it knows: all, if it leads, else who leads.
    #[serde(skip)]
    pub(super) taking_part: BTreeSet<String>,
    #[serde(skip)]
    pub(super) is_leader: bool,
}

/// What makes a node unsafe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// It is older than what was tried.
    Version,
    /// It stores nothing.
    JetStreamOff,
    /// It acknowledges before it has synced.
    NotSynced,
    /// It is another address of a node that was looked at already.
    Twice,
}

impl Fault {
    const fn code(self) -> &'static str {
        match self {
            Self::Version => "engine-version",
            Self::JetStreamOff => "engine-jetstream-off",
            Self::NotSynced => "engine-unsafe",
            Self::Twice => "engine-node-twice",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Version => "is older than version 2.12",
            Self::JetStreamOff => "has JetStream off",
            Self::NotSynced => "acknowledges what it has not synced: a power cut would erase it",
            Self::Twice => "is a node that another address names as well",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Version => "install nats-server 2.15.1 or later there",
            Self::JetStreamOff => {
                "put `jetstream { store_dir: \"/var/lib/nats\", sync_interval: always }` into its \
                 configuration, and start it again"
            }
            Self::NotSynced => {
                "put `sync_interval: always` into the block `jetstream` of its configuration, and \
                 start it again"
            }
            Self::Twice => "give engine.monitors one address of each node",
        }
    }
}

impl Node {
    /// Why it cannot be used, with what to do about it.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let fault = self.fault?;
        let message = format!("the node {} at {} {}", self.name, self.monitor, fault.what());
        Some(Failure::configuration(fault.code(), message).with_hint(fault.hint()))
    }
}

/// Looks at every node.
pub(crate) fn look(settings: &Settings) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for monitor in &settings.monitors {
        let mut node = look_at(monitor, settings.connect_time);
        let is_known = |other: &Node| !node.id.is_empty() && other.id == node.id;
        if nodes.iter().any(is_known) {
            node.fault = node.fault.or(Some(Fault::Twice));
        }
        nodes.push(node);
    }
    nodes
}

fn look_at(monitor: &str, time: Duration) -> Node {
    let found = Client::new(monitor, time, time.saturating_mul(2), ANSWER_BYTES_MAX)
        .and_then(|client| client.get_json::<Varz>("/varz"));
    read(monitor, found)
}

fn read(monitor: &str, found: Result<Varz, ClientError>) -> Node {
    let empty = Node {
        monitor: monitor.to_owned(),
        name: String::new(),
        id: String::new(),
        version: String::new(),
        fault: None,
        unreachable: None,
        count: 0,
        taking_part: BTreeSet::new(),
        is_leader: false,
    };
    match found {
        Err(error) => Node { unreachable: Some(error.to_string()), ..empty },
        Ok(varz) => {
            let fault = fault(&varz);
            let Varz { server_id, server_name, version, jetstream } = varz;
            let Meta { leader, cluster_size, replicas } = jetstream.meta.unwrap_or_default();
            let near = replicas.into_iter().filter(Copy::is_near).map(|copy| copy.name);
            Node {
                fault,
                count: cluster_size,
                taking_part: near.collect(),
                is_leader: leader == server_name,
                name: server_name,
                id: server_id,
                version,
                ..empty
            }
        }
    }
}

fn fault(varz: &Varz) -> Option<Fault> {
    let Some(config) = &varz.jetstream.config else { return Some(Fault::JetStreamOff) };
    if !is_new_enough(&varz.version) {
        return Some(Fault::Version);
    }
    (!config.sync_always).then_some(Fault::NotSynced)
}

/// Whether a node of this version can be used.
pub(crate) fn is_new_enough(text: &str) -> bool {
    version(text).is_some_and(|version| version >= VERSION_MIN)
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.');
    let mut number = || parts.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use serde_json::json;

    use super::*;

    pub(in super::super) fn node(id: &str, fault: Option<Fault>) -> Node {
        Node {
            monitor: format!("http://{id}:8222"),
            name: id.into(),
            id: id.into(),
            version: "2.15.1".into(),
            fault,
            unreachable: None,
            count: 3,
            taking_part: BTreeSet::new(),
            is_leader: false,
        }
    }

    pub(in super::super) fn gone() -> Node {
        Node { id: String::new(), unreachable: Some("refused".into()), ..node("gone", None) }
    }

    #[test]
    fn what_a_node_says_of_itself_is_judged() {
        let judge = |text: &str| fault(&serde_json::from_str(text).unwrap());
        let of = |version: &str, rest: &str| {
            judge(&format!(r#"{{"server_id":"a","version":"{version}","jetstream":{{{rest}}}}}"#))
        };
        let safe = r#""config":{"sync_always":true}"#;
        assert_eq!(of("2.15.1", safe), None);
        assert_eq!(of("2.12.0-RC.1", safe), None);
        assert_eq!(of("3.0.0", safe), None);
        for old in ["2.11.9", "1.99.0", "new", ""] {
            assert_eq!(of(old, safe), Some(Fault::Version), "{old}");
        }
        assert_eq!(of("2.15.1", ""), Some(Fault::JetStreamOff));
        assert_eq!(judge(r#"{"server_id":"a","version":"2.15.1"}"#), Some(Fault::JetStreamOff));
        let late = r#""config":{"sync_interval":120000000000}"#;
        assert_eq!(of("2.15.1", late), Some(Fault::NotSynced));
    }

    #[test]
    fn a_node_says_of_whom_it_has_heard() {
        let of = |leader: &str| {
            let copy = |name: &str, current: bool, active: u64| json!({ "name": name, "current": current, "active": active });
            let away = json!({ "name": "e", "current": true, "active": 1, "offline": true });
            let others = [
                copy("b", true, 0),
                copy("c", false, 5_000_000_000),
                // Nothing was ever heard of it.
                copy("d", false, 0),
                away,
                copy("f", false, 1),
            ];
            let meta = json!({ "leader": leader, "cluster_size": 6, "replicas": others });
            let varz = json!({
                "server_id": "x", "server_name": "a", "version": "2.15.1",
                "jetstream": { "config": { "sync_always": true }, "meta": meta },
            });
            read("http://a:1", Ok(serde_json::from_value(varz).unwrap()))
        };
        let node = of("a");
        assert_eq!(node.taking_part, ["b", "f"].map(str::to_owned).into());
        assert_eq!((node.count, node.is_leader, of("b").is_leader), (6, true, false));
    }

    /// Whatever answers at the address of a monitor: it takes no longer and is no more than it may.
    #[test]
    fn a_monitor_that_says_garbage_too_much_or_nothing_does_not_answer() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: ";
        let huge = format!("{text}9999999999\r\n\r\n{}", "[".repeat(2 << 20));
        let answers =
            ["garbage".into(), format!("{text}2\r\n\r\n{{}}"), format!("{text}0\r\n\r\n"), huge];
        for answer in answers.map(Some).into_iter().chain([None]) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let served = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                match answer {
                    // It may hang up before it has all.
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => drop(stream.read_to_end(&mut Vec::new())),
                }
            });
            let node = look_at(&url, Duration::from_millis(500));
            assert!(node.unreachable.is_some() && node.id.is_empty(), "{node:?}");
            served.join().unwrap();
        }
    }
}
