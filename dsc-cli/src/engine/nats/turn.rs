//! Which node is connected to after one was lost: the next in the list, never the same at once.
//!
//! A node behind a broken switch does not refuse a connection but lets it wait, while all that the
//! role does waits with it.
//!
//! # Invariants
//!
//! 1. Of several nodes the one that was lost is the last to be tried again.

use std::{
    future::{Ready, ready},
    sync::{Mutex, PoisonError},
};

use async_nats::{ReconnectToServer, Server, ServerInfo};

/// Chooses a node each time that a connection is to be made; none for the first one, which may be
/// to any.
pub(super) fn in_turn()
-> impl Fn(Vec<Server>, ServerInfo) -> Ready<Option<ReconnectToServer>> + Send + Sync + 'static {
    let tried = Mutex::new(None);
    move |nodes, _| {
        let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
        *tried = next(*tried, &nodes);
        let chosen = tried.and_then(|place| nodes.get(place));
        ready(chosen.map(|node| ReconnectToServer { addr: node.addr.clone(), delay: None }))
    }
}

/// The place after that of the node tried last, or at first of the one that was connected to.
fn next(tried: Option<usize>, nodes: &[Server]) -> Option<usize> {
    let last = tried.or_else(|| nodes.iter().position(|node| node.did_connect))?;
    last.wrapping_add(1).checked_rem(nodes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(connected: &[usize]) -> Vec<Server> {
        let node = |place: usize| Server {
            addr: format!("nats://n{place}:4222").parse().unwrap(),
            failed_attempts: 0,
            did_connect: connected.contains(&place),
            is_discovered: false,
            last_error: None,
        };
        (0..3).map(node).collect()
    }

    #[test]
    fn the_node_that_was_lost_is_tried_last() {
        let choose = in_turn();
        let mut chosen = |connected: &[usize]| {
            let chosen = choose(nodes(connected), ServerInfo::default()).into_inner();
            chosen.map(|node| node.addr.host().to_owned())
        };
        assert_eq!(chosen(&[]), None, "any will do at first");
        let after = ["n2", "n0", "n1", "n2"].map(|host| Some(host.to_owned()));
        assert_eq!([&[1][..], &[1], &[0, 1], &[0, 1]].map(&mut chosen), after);
    }

    #[test]
    fn nobody_is_chosen_where_there_is_nobody() {
        assert_eq!(next(Some(2), &[]), None);
        assert_eq!(next(Some(usize::MAX), &nodes(&[])), Some(0));
    }
}
