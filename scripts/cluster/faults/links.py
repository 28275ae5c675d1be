"""Faults of networks: hosts and roles that are cut off, slow links, answers that are lost."""

import contextlib

from fleet import check, poll
from cluster.chain import PATIENCE_SECONDS
from cluster.faults.case import case, expect_cut_off, stay
from cluster.proxy import Proxy

# Silence after which any node of the engine tries to lead: 4 to 9 s.
ELECTION_SECONDS = 10


@case("partition-leader", 20, "netns", brief=True)
def cut_leader(chain):
    """the host of the block log's leader is cut off, with a role of each kind on it"""
    cut_host(chain, 0, leads=True)


@case("partition-follower", 20, "netns")
def cut_follower(chain):
    """the host of a follower is cut off, with a role of each kind on it"""
    cut_host(chain, 0, leads=False)


@case("partition-node", 6, "netns")
def cut_node(chain):
    """a host with a node that leads nothing is cut off, and every role is connected to that node"""
    node = chain.nodes.all[-1]
    gather(chain, node)
    with cut_off(chain, node):
        chain.grow(2)
        chain.end()
    chain.grow(2)


def gather(chain, node):
    """Has every role connected to one node: the others are down one after another."""
    all_roles = len([role for role in chain.roles.values() if role.kind != "validator"])
    for other in chain.nodes.all:
        if other is not node:
            other.stop()
            poll(f"all roles at other nodes than {other.name}", PATIENCE_SECONDS, lambda: sum(
                len(one.clients()) for one in chain.nodes.all if one.is_running) == all_roles)
            other.start()
            chain.nodes.wait_current()
    there = len(node.clients())
    check(there == all_roles, f"{there} of {all_roles} roles are connected to {node.name}")


@case("node-rejoins", 20, "netns")
def join_node(chain):
    """a node that was cut off comes back: it tried to lead meanwhile, and those that do give up"""
    with cut_off(chain, chain.nodes.all[-1]):
        stay(ELECTION_SECONDS)
        chain.grow(2)
        chain.begin()
    chain.grow(2)


@contextlib.contextmanager
def cut_off(chain, node):
    """The host of a node that leads nothing is cut off, and healed again."""
    chain.nodes.relieve(node)
    chain.nodes.wait_current()
    chain.grow(2)
    chain.remark(f"{node.name} is cut off with {len(node.clients())} connections, "
                 f"{chain.nodes.leader_name(chain.stream)} leads")
    chain.begin()
    chain.network.cut(node.host, [host for host in chain.hosts if host is not node.host])
    try:
        yield
    finally:
        chain.network.heal()
    chain.nodes.wait_current()


def cut_host(chain, number, leads):
    """The minority acknowledges nothing and says that it is stale; the majority goes on."""
    host, nodes = chain.hosts[number], chain.nodes
    if leads:
        nodes.make_leader(chain.stream, nodes.all[number])
    else:
        nodes.relieve(nodes.all[number])
    chain.begin()
    chain.network.cut(host, [other for other in chain.hosts if other is not host])
    try:
        far = [role for role in chain.of("blockchain") if role.host is not host]
        goal = chain.height() + 2
        poll("the majority's next blocks", PATIENCE_SECONDS,
             lambda: max((role.height() or -1) for role in far) >= goal)
        expect_cut_off(*on_host(chain, host))
    finally:
        chain.network.heal()
    nodes.wait_ready()


def on_host(chain, host):
    """The pools and the blockchain servers of a host."""
    return [[role for role in chain.of(kind) if role.host is host]
            for kind in ("pool", "blockchain")]


@case("roles-cut-off", 20)
def cut_roles(chain):
    """all roles of one host lose the engine (TCP proxy), the engine itself is whole"""
    host = chain.leading().host
    with detour(chain, host) as proxies:
        chain.begin()
        for proxy in proxies:
            proxy.cut()
        chain.grow(2)
        expect_cut_off(*on_host(chain, host))
        for proxy in proxies:
            proxy.heal()
        chain.grow(2)
        chain.end()


class detour:
    """Has the roles of some hosts reach the engine by way of proxies, which it gives; and back."""

    def __init__(self, chain, *hosts):
        self.chain, self.hosts, self.proxies = chain, hosts, []

    def __enter__(self):
        near = self.chain.network.outside
        for host in self.hosts:
            proxies = [Proxy(node.host.address, node.client, near)
                       for node in self.chain.nodes.all]
            self.proxies += proxies
            self.chain.detours[host.number] = ",".join(
                f"{near}:{proxy.place[1]}" for proxy in proxies)
        self.restart()
        return self.proxies

    def __exit__(self, kind, *_):
        self.chain.detours.clear()
        if kind is None:
            self.restart()
        for proxy in self.proxies:
            proxy.close()

    def restart(self):
        roles = [role for role in self.chain.roles.values()
                 if role.host in self.hosts and role.kind != "validator"]
        for role in roles:
            role.restart()
        for role in roles:
            role.wait_ready()
        self.chain.grow(2)


@case("slow-links", 20)
def slow_links(chain):
    """50, then 200 ms of delay in each direction between all roles and the engine (TCP proxy)"""
    with detour(chain, *{role.host for role in chain.roles.values()}) as proxies:
        chain.begin()
        for delay in (0.05, 0.2):
            for proxy in proxies:
                proxy.delay = delay
            chain.grow(10)
        chain.end()


@case("acknowledgement-lost", 20)
def lose_acknowledgement(chain):
    """the answer to an append of a block is swallowed and the connection cut, five times"""
    subject = chain.block_subject()
    with detour(chain, *{role.host for role in chain.of("blockchain")}) as proxies:
        chain.begin()
        for _ in range(5):
            for proxy in proxies:
                proxy.swallow(f"PUB {subject} ".encode())
            poll("a lost acknowledgement", PATIENCE_SECONDS,
                 lambda: any(proxy.swallowed.is_set() for proxy in proxies))
            for proxy in proxies:
                proxy.word = None
            chain.grow(2)
        chain.end()
