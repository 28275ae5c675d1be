"""Faults of disks: without power, full, slow, with files that were cut or changed."""

import time

from fleet import check, poll
from cluster import disk
from cluster.chain import PATIENCE_SECONDS
from cluster.faults.case import case, stay, wipe
from cluster.faults.engine import start_engine


@case("power-cut-all", 30, "disks")
def cut_power(chain):
    """the file systems of all nodes lose their power without a flush; the time is from the start"""
    for node in chain.nodes.all:
        node.disk.lose_power()
    for node in chain.nodes.all:
        node.kill()
    for node in chain.nodes.all:
        node.disk.restore_power()
    return start_engine(chain)


@case("power-cut-leader", 20, "disks")
def cut_power_of_leader(chain):
    """the file system of the leading node loses its power without a flush"""
    node = chain.nodes.leader(chain.stream)
    node.disk.lose_power()
    node.kill()
    chain.grow(2)
    node.disk.restore_power()
    node.start()
    node.wait_ready()


@case("disk-full", 20, "disks")
def fill_disk(chain):
    """the disk of the leading node is full; room is made and the node started again"""
    node = chain.nodes.leader(chain.stream)
    node.disk.fill()
    told = node.process.err.stat().st_size
    chain.grow(10)
    text = node.process.err.read_bytes()[told:].decode(errors="replace")
    full = [line for line in text.splitlines() if "no space left" in line]
    check(full, f"the disk of {node.name} is not full: {text[-500:]}")
    chain.remark(f"{node.name}: {full[0].split(' - ')[-1].strip()[:200]}")
    node.kill()
    node.disk.empty()
    node.start()
    node.wait_ready()


@case("slow-disk-follower", 3, "strace")
def slow_follower(chain):
    """each sync of a follower's disk takes 200 ms longer (strace)"""
    slow_disk(chain, leads=False)


@case("slow-disk-leader", 5, "strace")
def slow_leader(chain):
    """each sync of the leading node's disk takes 200 ms longer (strace)"""
    slow_disk(chain, leads=True)


def slow_disk(chain, leads):
    node = chain.nodes.follower(chain.stream)
    if not leads:
        chain.nodes.relieve(node)
    node.stop()
    node.wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
                    "-e", "inject=fsync,fdatasync:delay_enter=200000"]
    try:
        node.start()
        node.wait_ready()
        if leads:
            chain.nodes.make_leader(chain.stream, node)
        chain.grow(2)
        chain.begin()
        chain.grow(10)
        chain.end()
    finally:
        node.kill()
        node.wrapper = []
        node.start()
    node.wait_ready()


@case("truncated-leader", 20, brief=True)
def truncate_leader(chain):
    """a node whose file of blocks was cut comes back as leader: the gap is noticed, not applied"""
    damage(chain, disk.truncate)


@case("flipped-bit", 20)
def flip_leader(chain):
    """a node with one bit turned in its file of blocks comes back as the leader"""
    damage(chain, disk.flip)


def damage(chain, harm):
    """What a server has still to read is damaged where it asks: it has it from elsewhere.

    The server knows no other node, and that one leads. It may hear what it asks for from another
    copy at once; if it does not, it says that something is lost and has another node lead. No block
    is appended before the damaged node leads: from an entry that does not fit what it has a node
    would see that it has to copy the others, and be whole again.
    """
    server, node = chain.of("blockchain")[-1], chain.nodes.follower(chain.stream)
    server.kill()
    told = server.process.err.stat().st_size
    path, start = disk.end_of(node.store, chain.stream)
    chain.grow(4)
    metronomes = chain.of("metronome")
    for role in metronomes:
        role.pause()
    try:
        lead_damaged(chain, node, lambda: harm(path, start))
        chain.detours[server.host.number] = f"{node.host.address}:{node.client}"
        server.launch()
        server.wait_alive()
        stay(2)
    finally:
        chain.detours.clear()
        for role in metronomes:
            role.wake()
    since = time.monotonic()
    goal = chain.height() + 2
    poll(f"{server.name} at height {goal}", PATIENCE_SECONDS,
         lambda: (server.height() or -1) >= goal)
    chain.remark(f"{server.name}: {what_was_noticed(server, told)}")
    server.restart()
    server.wait_ready()
    wipe(chain, node)
    return since


def lead_damaged(chain, node, harm):
    """Harms a node's file and has it lead; it lacks entries that were acknowledged then."""
    # What a metronome had handed in before it was paused may be appended still.
    last = poll("a log that stands still", PATIENCE_SECONDS, lambda: end_at_rest(chain))
    node.stop()
    done = harm()
    node.start()
    node.wait_ready()
    chain.nodes.make_leader(chain.stream, node)
    lost = [number for number in range(1, last + 1)
            if chain.nodes.api().lacks(chain.stream, number)]
    chain.remark(f"{done}; {node.name} leads, and of {last} entries it has not {lost}")
    check(lost, f"{node.name} is damaged and has all that it should have lost")


def end_at_rest(chain):
    """The last entry of the log, if nothing comes after it for a while."""
    ends = []
    for _ in range(2):
        ends.append(chain.nodes.api().stream(chain.stream)["state"]["last_seq"])
        stay(1)
    return ends[0] if ends[0] == ends[1] else None


def what_was_noticed(server, start):
    """What a server has said of the log since then."""
    text = server.process.err.read_bytes()[start:].decode(errors="replace")
    said = [line for line in text.splitlines() if "the shared log: the log has lost" in line]
    return said[0].split(" ", 1)[1].strip()[:240] if said else "had them from another copy at once"
