//! Whether the engine keeps what it acknowledges: every node has to sync before it does.
//!
//! With a node's default a power cut of all nodes erases what they acknowledged, so that nothing is
//! stored on such an engine.
//!
//! # Invariants
//!
//! 1. Nothing is begun unless every node that answers is safe, more than half of them answer, and
//!    those that do not take no part, as the node says that leads all: else what is acknowledged may
//!    be on a node of which nobody knows whether it syncs.

use std::{collections::BTreeSet, thread, time::Duration};

use super::{
    super::settings::Settings,
    node::{Node, look},
};
use crate::exit::Failure;

/// How often nodes are looked at before one that does not answer and takes part is refused: one that
/// has just been killed is known to be away after a few seconds, and who leads a while later.
const LOOKS: usize = 6;
const LOOK_PAUSE: Duration = Duration::from_secs(4);

/// Looks at every node, again and again for a while if one does not answer and may run all the same.
pub(crate) fn look_well(settings: &Settings) -> Vec<Node> {
    let (mut nodes, mut before) = (look(settings), BTreeSet::new());
    for _ in 1..LOOKS {
        let silent = unwatched(&nodes);
        let is_known = if silent.is_empty() {
            is_led_by_one_that_is_known(&nodes)
        } else {
            !silent.is_disjoint(&before)
        };
        if is_known || require_sound(&nodes).is_err() {
            break;
        }
        before = silent;
        thread::sleep(LOOK_PAUSE);
        nodes = look(settings);
    }
    nodes
}

/// Whether it can be told which nodes take part: all answer, or one that does leads all.
fn is_led_by_one_that_is_known(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| node.unreachable.is_none()) || nodes.iter().any(|node| node.is_leader)
}

/// The names of nodes that take part, for which none that answers stands.
pub(super) fn unwatched(nodes: &[Node]) -> BTreeSet<String> {
    let taking_part = nodes.iter().flat_map(|node| &node.taking_part);
    let is_known = |name: &&String| nodes.iter().any(|node| node.name == **name);
    taking_part.filter(|name| !is_known(name)).cloned().collect()
}

/// Refuses an engine that may lose what it acknowledged; tells which nodes are missing.
pub(crate) fn require_safe(nodes: &[Node]) -> Result<(), Failure> {
    require_sound(nodes)?;
    require_all_watched(nodes)?;
    for Node { monitor, unreachable, .. } in nodes {
        if let Some(reason) = unreachable {
            tracing::warn!(monitor, reason, "a node of the engine does not answer");
        }
    }
    Ok(())
}

/// Refuses nodes that are unsafe, and too few.
fn require_sound(nodes: &[Node]) -> Result<(), Failure> {
    if let Some(failure) = nodes.iter().find_map(Node::failure) {
        return Err(failure);
    }
    let reasons: Vec<_> = nodes.iter().filter_map(|node| node.unreachable.as_deref()).collect();
    let (all, answering) = (nodes.len(), nodes.len().saturating_sub(reasons.len()));
    if answering.saturating_mul(2) > all {
        return Ok(());
    }
    let reason = reasons.first().copied().unwrap_or_default();
    let message =
        format!("{answering} of {all} nodes of the engine say how they keep things: {reason}");
    Err(Failure::unreachable("engine-unreachable", message)
        .with_hint("start nats-server on more than half of the hosts; check engine.monitors"))
}

/// Refuses an engine with nodes that nobody has looked at: they may acknowledge what they lose.
fn require_all_watched(nodes: &[Node]) -> Result<(), Failure> {
    let (count, got) = (nodes.iter().map(|node| node.count).max().unwrap_or_default(), nodes.len());
    if count > got {
        let message = format!("the engine has {count} nodes, engine.monitors names {got} of them");
        return Err(Failure::configuration("engine-monitors", message).with_hint(
            "name the monitoring address of every node; take one that is gone for good out of the \
             engine with `nats server cluster peer-remove`",
        ));
    }
    let unwatched: Vec<_> = unwatched(nodes).into_iter().collect();
    if !unwatched.is_empty() {
        let names = unwatched.join(", ");
        let message =
            format!("{names} takes part in the engine, and does not say how it keeps things");
        return Err(Failure::configuration("engine-unwatched", message).with_hint(
            "give engine.monitors the address at which each node answers, and let this machine \
             reach it (`http: 0.0.0.0:8222` in its configuration)",
        ));
    }
    if !is_led_by_one_that_is_known(nodes) {
        let message = "a node of the engine does not answer, and none that does can say whether it \
                       takes part";
        return Err(Failure::unreachable("engine-unreachable", message)
            .with_hint("start this again in a while; `dsc engine check` says which nodes answer"));
    }
    Ok(())
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
    use crate::exit::Exit;

    fn hearing(id: &str, others: &[&str]) -> Node {
        let taking_part = others.iter().map(|&name| name.to_owned()).collect();
        Node { taking_part, ..node(id, None) }
    }

    /// One that leads all, of which these others take part.
    fn leader(id: &str, others: &[&str]) -> Node {
        Node { is_leader: true, ..hearing(id, others) }
    }

    #[test]
    fn each_fault_is_a_failure_of_its_own_with_the_line_that_mends_it() {
        let faults = [
            (Fault::Version, "engine-version", "2.15.1"),
            (Fault::JetStreamOff, "engine-jetstream-off", "store_dir"),
            (Fault::NotSynced, "engine-unsafe", "`sync_interval: always`"),
            (Fault::Twice, "engine-node-twice", "engine.monitors"),
        ];
        for (fault, code, hint) in faults {
            let nodes = [node("a", None), node("b", Some(fault)), gone()];
            let failure = require_safe(&nodes).unwrap_err();
            assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, code));
            assert!(failure.hint().unwrap().contains(hint), "{failure}");
            assert!(failure.message().contains("the node b at http://b:8222"), "{failure}");
        }
    }

    #[test]
    fn more_than_half_have_to_answer() {
        assert!(require_safe(&[node("a", None), leader("b", &["a"]), gone()]).is_ok());
        for nodes in [vec![node("a", None), gone(), gone()], vec![node("a", None), gone()]] {
            let failure = require_safe(&nodes).unwrap_err();
            assert_eq!((failure.exit(), failure.code()), (Exit::Unreachable, "engine-unreachable"));
        }
    }

    #[test]
    fn every_node_that_takes_part_has_to_answer() {
        let code =
            |nodes: &[Node]| require_safe(nodes).err().map(|failure| failure.code().to_owned());
        let all = [node("a", None), leader("b", &["a", "c"]), node("c", None)];
        assert_eq!(code(&all), None);
        let hidden = [node("a", None), leader("b", &["a", "c"]), gone()];
        let failure = require_safe(&hidden).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-unwatched"));
        assert!(failure.message().starts_with("c takes part in the engine"), "{failure}");
        let hidden = [hearing("a", &["c"]), node("b", None), gone()];
        assert_eq!(code(&hidden), Some("engine-unwatched".into()), "it leads");
        assert_eq!(
            code(&[node("a", None), node("b", None), gone()]),
            Some("engine-unreachable".into())
        );
        let more =
            [node("a", None), Node { count: 5, ..leader("b", &["a", "c"]) }, node("c", None)];
        let failure = require_safe(&more).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-monitors"));
        assert!(failure.message().contains("has 5 nodes, engine.monitors names 3"), "{failure}");
    }
}
