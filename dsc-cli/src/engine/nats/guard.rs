//! Whether something may be stored now: what is known of the nodes while they are used.
//!
//! # Invariants
//!
//! 1. Nothing is stored from when a node is found unsafe, or while the node that is connected to
//!    is none of those that were looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    super::settings::Settings,
    node::{Node, look},
    safety::unwatched,
};

/// Time between two looks.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// Time for the node that is connected to next to be known.
const LEAVE_PAUSE: Duration = Duration::from_millis(500);

/// What is known of the nodes while they are used.
#[derive(Debug)]
pub(crate) struct Guard {
    known: Mutex<Known>,
    again: Notify,
}

#[derive(Debug)]
struct Known {
    /// Names of the nodes that were found safe, by their ids.
    safe: BTreeMap<String, String>,
    fault: Option<String>,
    /// Names of the nodes that took part and did not answer, when they were looked at last.
    unwatched: BTreeSet<String>,
}

impl Guard {
    /// What was found at the start.
    pub(crate) fn new(nodes: &[Node]) -> Self {
        let known = Known { safe: BTreeMap::new(), fault: None, unwatched: BTreeSet::new() };
        let guard = Self { known: Mutex::new(known), again: Notify::new() };
        guard.learn(nodes);
        guard
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may be stored through the node `connected`; the error says why not.
    pub(super) fn check(&self, connected: &str) -> Result<(), String> {
        let known = self.known();
        if let Some(fault) = &known.fault {
            return Err(fault.clone());
        }
        drop(known);
        if self.is_safe(connected) {
            return Ok(());
        }
        self.look_again();
        Err("the node that is connected to is none of those at engine.monitors".into())
    }

    /// Asks for a look before the next is due.
    pub(super) fn look_again(&self) {
        self.again.notify_one();
    }

    fn learn(&self, nodes: &[Node]) {
        let fault = nodes.iter().find_map(Node::failure).map(|failure| failure.to_string());
        let mut known = self.known();
        if known.fault != fault {
            if let Some(fault) = &fault {
                tracing::error!("nothing is stored on the engine any more: {fault}");
            } else {
                tracing::info!("every node of the engine that answers is safe again");
            }
        }
        known.fault = fault;
        let unwatched = unwatched(nodes);
        for name in unwatched.difference(&known.unwatched) {
            // It was safe when this process began, and only a start of that node could change it.
            tracing::error!(
                name,
                "a node takes part in the engine and does not say how it keeps things"
            );
        }
        known.unwatched = unwatched;
        // One that does not answer now may be connected to all the same.
        let safe = nodes.iter().filter(|node| node.unreachable.is_none() && node.fault.is_none());
        known.safe.extend(safe.map(|node| (node.id.clone(), node.name.clone())));
    }

    fn is_safe(&self, connected: &str) -> bool {
        self.known().safe.contains_key(connected)
    }

    /// Looks at the nodes again and again, and leaves one that cannot be looked at.
    pub(super) async fn watch(self: Arc<Self>, settings: Settings, client: async_nats::Client) {
        loop {
            // Either way it is time to look.
            drop(tokio::time::timeout(LOOK_TIME, self.again.notified()).await);
            let settings = settings.clone();
            let Ok(nodes) = tokio::task::spawn_blocking(move || look(&settings)).await else {
                continue;
            };
            self.learn(&nodes);
            let connected = client.server_info();
            if !self.is_safe(&connected.server_id) {
                let name = connected.server_name;
                tracing::warn!(name, "leaving a node that nobody at engine.monitors speaks for");
                // Whoever is connected to next is looked at when it is.
                drop(client.force_reconnect().await);
                tokio::time::sleep(LEAVE_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::node::{
            Fault,
            tests::{gone, node},
        },
        *,
    };

    #[test]
    fn nothing_is_stored_where_a_node_is_unsafe_or_was_not_looked_at() {
        let guard = Guard::new(&[node("a", None), gone()]);
        assert_eq!(guard.check("a"), Ok(()));
        assert!(guard.check("b").unwrap_err().contains("none of those"));
        guard.learn(&[node("a", None), node("b", Some(Fault::NotSynced))]);
        assert!(guard.check("a").unwrap_err().contains("a power cut would erase it"));
        guard.learn(&[node("a", None), node("b", None)]);
        assert_eq!((guard.check("a"), guard.check("b")), (Ok(()), Ok(())));
    }
}
