//! Which ports the processes of a cluster have.

use std::net::Ipv4Addr;

use crate::{exit::Failure, role::Socket};

/// Servers of each kind.
pub(super) const SERVERS: u16 = 2;

/// Ports of one node of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePorts {
    pub(super) client: u16,
    pub(super) cluster: u16,
    pub(super) monitor: u16,
}

/// All ports.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) monitor: u16,
    pub(super) blockchains: Vec<u16>,
    pub(super) pools: Vec<u16>,
    pub(super) metronomes: Vec<u16>,
    pub(super) nodes: Vec<NodePorts>,
}

impl Ports {
    /// From `base` on: 0 monitor, 1 blockchain, 2 pool, 3 metronome, ten more for the second ones, and
    /// 20, 30 and 40 for the engine. 0 takes free ones. All of them are free now: whoever has one
    /// would answer in the place of what is started here.
    pub(super) fn choose(base: u16, nodes: u8) -> Result<Self, Failure> {
        // Held until all are chosen, so that none comes twice.
        let mut held = Vec::new();
        Self::plan(nodes, |process, offset| {
            let port = if base == 0 { Some(0) } else { base.checked_add(offset) };
            let at = (Ipv4Addr::LOCALHOST, port.ok_or_else(no_room)?);
            let socket = Socket::bind_with(process, "--port-base", at.into())?;
            let port = socket.address.port();
            held.push(socket);
            Ok(port)
        })
    }

    /// What `port` gives each process, which it is told with the offset of its port.
    fn plan(
        nodes: u8,
        mut port: impl FnMut(&'static str, u16) -> Result<u16, Failure>,
    ) -> Result<Self, Failure> {
        let mut pair = |role: &'static str, first: u16| -> Result<Vec<u16>, Failure> {
            (0..SERVERS).map(|n| port(role, first + 10 * n)).collect()
        };
        let blockchains = pair("blockchain", 1)?;
        let pools = pair("pool", 2)?;
        let metronomes = pair("metronome", 3)?;
        let monitor = port("monitor", 0)?;
        let mut node = |n: u16| {
            let mut port = |first: u16| port("node of the engine", first + n);
            Ok(NodePorts { client: port(20)?, cluster: port(30)?, monitor: port(40)? })
        };
        let nodes = (0..u16::from(nodes)).map(&mut node).collect::<Result<_, Failure>>()?;
        Ok(Self { monitor, blockchains, pools, metronomes, nodes })
    }
}

fn no_room() -> Failure {
    Failure::usage("--port-base leaves no room for the ports of a cluster")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::TcpListener};

    use super::*;

    fn all(ports: &Ports) -> Vec<u16> {
        let Ports { monitor, blockchains, pools, metronomes, nodes } = ports;
        let of_nodes = nodes.iter().flat_map(|n| [n.client, n.cluster, n.monitor]);
        let roles = [blockchains, pools, metronomes].into_iter().flatten().copied();
        std::iter::once(*monitor).chain(roles).chain(of_nodes).collect()
    }

    #[test]
    fn no_port_comes_twice() {
        let from_a_base = Ports::plan(5, |_, offset| Ok(7700 + offset));
        for ports in [Ports::choose(0, 5), from_a_base] {
            let ports = all(&ports.unwrap());
            assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        }
    }

    #[test]
    fn a_port_that_is_taken_or_beyond_the_last_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        // The first that is looked for is that of a blockchain server.
        let failure = Ports::choose(port - 1, 3).unwrap_err();
        assert!(failure.message().contains(&format!("port {port} is taken")), "{failure}");
        assert!(failure.hint().unwrap().contains("--port-base"), "{failure}");
        assert_eq!(Ports::choose(u16::MAX, 3).unwrap_err().code(), "usage");
    }
}
