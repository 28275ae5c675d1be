"""Faults of the engine's processes: killed, paused, wiped, started without syncing."""

import shutil
import time

from fleet import check, poll
from cluster.chain import PATIENCE_SECONDS
from cluster.faults.case import BROKEN_SECONDS, case, expect_cut_off, stay, wipe
from cluster.faults.roles import strike_some
from cluster.nodes import Nodes


@case("engine-follower-killed", 3)
def kill_engine_follower(chain):
    """kill -9 of a node that leads nothing"""
    node = chain.nodes.follower(chain.stream)
    chain.nodes.relieve(node)
    chain.begin()
    node.kill()
    stay(BROKEN_SECONDS)
    node.start()
    node.wait_ready()


@case("engine-leader-killed", 20, brief=True)
def kill_engine_leader(chain):
    """kill -9 of the node that leads the block log"""
    node = chain.nodes.leader(chain.stream)
    node.kill()
    chain.grow(2)
    node.start()
    node.wait_ready()


@case("engine-leader-paused", 20)
def pause_engine_leader(chain):
    """SIGSTOP of the node that leads the block log, then SIGCONT"""
    node = chain.nodes.leader(chain.stream)
    node.pause()
    try:
        chain.grow(2)
    finally:
        node.wake()
    node.wait_ready()


@case("engine-all-killed", 25, brief=True)
def kill_engine(chain):
    """kill -9 of all nodes, started again at once; the time is from the start"""
    for node in chain.nodes.all:
        node.kill()
    return start_engine(chain)


def start_engine(chain):
    for node in chain.nodes.all:
        node.start()
    since = time.monotonic()
    chain.nodes.wait_ready()
    return since


@case("engine-quorum-lost", 25)
def lose_quorum(chain):
    """kill -9 of two of three nodes: nothing is acknowledged, reads go on and say they are old"""
    lost = chain.nodes.all[1:]
    for node in lost:
        node.kill()
    expect_cut_off(chain.of("pool"), chain.of("blockchain"))
    for node in lost:
        node.start()
    since = time.monotonic()
    chain.nodes.wait_ready()
    return since


@case("engine-wiped-node", 5)
def wipe_node(chain):
    """a node comes back with an empty store and fills it from the others"""
    wipe(chain, chain.nodes.follower(chain.stream))


@case("engine-wiped", 30)
def wipe_engine(chain):
    """all data of the engine is lost; `dsc engine copy` puts the chain back from a ledger"""
    # What was acknowledged and is not on the ledger yet would be lost with the engine.
    chain.drain()
    for role in chain.of("metronome"):
        role.kill()
    servers = chain.of("blockchain")
    poll("the same height of all servers", PATIENCE_SECONDS,
         lambda: len({role.height() for role in servers}) == 1)
    for role in chain.roles.values():
        if role.is_running:
            role.kill()
    for node in chain.nodes.all:
        node.stop()
        shutil.rmtree(node.store / "jetstream")
    since = start_engine(chain)
    copied = chain.fleet.ask(
        "engine", "copy", "--from", f"{servers[0].data}/blockchain/ledger",
        "--genesis", "genesis.json", *chain.engine_flags(servers[0].host))
    chain.remark(f"copied {copied['added']} blocks")
    for role in chain.roles.values():
        role.launch()
    for role in chain.roles.values():
        role.wait_ready()
    chain.proceed()
    return since


@case("node-down", 30)
def start_without_a_node(chain):
    """a node is down while every role is killed; the time is from when the last one was started"""
    node = chain.nodes.follower(chain.stream)
    node.kill()
    since = strike_some(chain, chain.roles.values())
    chain.grow(2)
    node.start()
    node.wait_ready()
    return since


@case("sync-lost", 20)
def lose_sync(chain):
    """a node is started again without syncing: nothing is written until it syncs again"""
    node = chain.nodes.follower(chain.stream)
    reconfigure(node, '"2m"')
    poll("a chain that stands still", PATIENCE_SECONDS, lambda: stands_still(chain))
    since = time.monotonic()
    reconfigure(node, "always")
    return since


def stands_still(chain):
    before = chain.height()
    stay(BROKEN_SECONDS)
    return chain.height() == before


def reconfigure(node, sync):
    node.stop()
    node.write(sync)
    node.start()
    node.wait_ready()


@case("sync-refused", 5)
def refuse_without_sync(chain):
    """a role refuses an engine that says it does not sync"""
    fleet = chain.fleet
    lax = Nodes(fleet, chain.nodes.program, chain.hosts, sync='"2m"', prefix="lax")
    lax.start()
    try:
        role = chain.of("blockchain")[0]
        started = fleet.start(
            "refused", *[*role.host.prefix, fleet.dsc][1:], "blockchain",
            "--genesis", "genesis.json", "--json", "--listen", f"{role.host.address}:0",
            "--data-dir", "data-refused", "--engine", f"nats://{lax.places()}",
            program=[*role.host.prefix, fleet.dsc][0],
            environment={"DSC_ENGINE__MONITORS": lax.monitors()})
        status = poll("a refusal", PATIENCE_SECONDS, lambda: [started.child.poll()]
                      if started.child.poll() is not None else None)[0]
        check(status > 0 and "sync" in started.tail(),
              f"without sync_always a role ended with status {status}\n{started.tail()}")
    finally:
        for node in lax.all:
            node.kill()
