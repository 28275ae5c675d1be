"""What must hold after every fault, whatever it was."""

from audit import Audit
from fleet import Failed, check, poll
from cluster.chain import PATIENCE_SECONDS
from cluster.nats import NatsError

# How much longer than the moment a fault is over all that was acknowledged may need to get onto
# the ledger, on a machine that has fifty other things to do.
SETTLE_SECONDS = 90


class Record:
    """The chain as all servers have shown it: one block a height, one height a transaction."""

    def __init__(self):
        self.blocks, self.heights, self.compared = {}, {}, {}

    def take(self, server, blocks):
        """Compares what a server has shown since the last time with what others have."""
        start = self.compared.get(server, 0)
        for height in range(start, max(blocks, default=-1) + 1):
            check(height in blocks, f"{server} never showed block {height}")
            self.take_block(server, height, *blocks[height])
        self.compared[server] = max(start, max(blocks, default=-1) + 1)

    def take_block(self, server, height, identity, ids):
        known = self.blocks.setdefault(height, (identity, ids))
        check(known == (identity, ids),
              f"block {height} is {identity} at {server}, and {known[0]} elsewhere")
        for one in ids:
            first = self.heights.setdefault(one, height)
            check(first == height, f"transaction {one} is in blocks {first} and {height}")
        check(len(set(ids)) == len(ids), f"block {height} has a transaction twice")

    def absent(self, identities):
        return [identity for identity in identities if identity not in self.heights]


class Checks:
    """Holds a chain to what it promises; what was checked once is not checked again."""

    def __init__(self, chain):
        self.chain, self.record = chain, Record()
        self.told = {sender: 0 for sender in chain.senders}
        self.acknowledged, self.expired = 0, 0

    def all(self):
        """Everything that holds of a chain that runs; returns how many acknowledgements held."""
        identities = self.new_acknowledgements()
        self.processes()
        self.servers_agree()
        self.nothing_lost(identities)
        self.one_entry_a_height()
        self.one_leads()
        for worker in self.chain.workers():
            worker.check()
        return len(identities)

    def new_acknowledgements(self):
        found = []
        for sender, start in self.told.items():
            new = sender.acknowledged[start:]
            self.told[sender] = start + len(new)
            found += new
        self.acknowledged += len(found)
        return found

    def processes(self):
        """Every process runs, and none panicked."""
        for role in self.chain.roles.values():
            check(role.is_running, f"{role.name} ended by itself\n{role.process.tail()}")
            told = role.process.err.read_text(errors="replace")
            check("panicked" not in told, f"{role.name} panicked\n{role.process.tail()}")
        for role in self.chain.of("blockchain"):
            doubled = poll(f"equivocations of {role.name}", PATIENCE_SECONDS,
                           lambda: [role.document("/v1/equivocations")])[0]
            check(not doubled, f"a metronome signed two blocks of one height: {doubled}")

    def servers_agree(self):
        """Every server gets as far as the furthest was, and has the same blocks and states."""
        goal = self.chain.height()
        for follower in self.chain.followers:
            poll(f"{follower.role.name} at height {goal}", SETTLE_SECONDS,
                 lambda: follower.next > goal or follower.check())
        self.take_blocks()
        poll("the same height of all servers", SETTLE_SECONDS,
             lambda: same_state(self.chain.of("blockchain")))

    def take_blocks(self):
        for follower in self.chain.followers:
            self.record.take(follower.role.name, dict(follower.blocks))

    def nothing_lost(self, identities):
        """Each that was acknowledged is on the ledger, or has expired as it said it would."""
        def absent():
            self.take_blocks()
            return self.record.absent(identities)
        try:
            poll("all that was acknowledged", SETTLE_SECONDS, lambda: not absent())
        except Failed:
            left = absent()
            lost = {identity: self.fate(identity) for identity in left[:1_000]}
            lost = {one: fate for one, fate in lost.items() if fate != ["expired"]}
            check(not lost, f"of {len(identities)} acknowledged {len(left)} are not on the ledger "
                            f"after {SETTLE_SECONDS} s: {dict(list(lost.items())[:3])}")
            self.expired += len(left)
        for sender in self.chain.senders:
            used = self.record.absent(sender.used)
            check(not used, f"sequences are said to be used, and are not on the ledger: {used[:3]}")
            bad = [told for told in sender.ended.values() if "expired" not in told]
            check(not bad, f"good transactions were rejected: {bad[:3]}")

    def fate(self, identity):
        """What the pools say of a transaction."""
        told = [role.document(f"/v1/transactions/{identity}") for role in self.chain.of("pool")]
        return sorted({one["state"] if one else "unknown" for one in told})

    def one_entry_a_height(self):
        """The log of blocks has as many entries as the chain has blocks."""
        def look():
            low = self.chain.height()
            try:
                state = self.chain.nodes.api().stream(self.chain.stream)["state"]
            except NatsError:
                return None
            return low, state["last_seq"], self.chain.height()
        low, entries, high = poll("the log of blocks", PATIENCE_SECONDS, look)
        # One may have been appended that no server has applied yet.
        check(low + 1 <= entries <= high + 2,
              f"the log has {entries} entries, the chain was at heights {low} to {high}")

    def one_leads(self):
        def look():
            told = [role.leads() for role in self.chain.of("metronome")]
            return None not in told and sum(told) == 1
        poll("exactly one metronome that leads", PATIENCE_SECONDS, look)

    def end(self):
        """Stops every role as it should be stopped, and checks each ledger from its first block."""
        chain, fleet = self.chain, self.chain.fleet
        self.all()
        chain.stop_workers()
        self.new_acknowledgements()
        for role in reversed(chain.roles.values()):
            role.process.stop()
        exports = [self.export(role) for role in chain.of("blockchain")]
        shortest = min(len(export) for _, export in exports)
        check(all(export[:shortest] == exports[0][1][:shortest] for _, export in exports),
              "the ledgers' exports differ")
        audit = Audit()
        audit.take(fleet.folder / "chain.dsc")
        for height, (identity, _) in self.record.blocks.items():
            check(height < len(audit.blocks) and audit.blocks[height] == identity,
                  f"block {height} was shown as {identity}, the export has another")
        verified = exports[0][0]
        check(audit.chain.state.hex() == verified["state"],
              f"the verifier ends in {audit.chain.state.hex()}, a replay in {verified['state']}")
        return verified

    def export(self, role):
        """Replays a server's ledger and writes it to a file."""
        fleet, place = self.chain.fleet, ("--offline", "--data-dir", role.data)
        verified = fleet.ask("chain", "verify", *place)
        name = "chain.dsc" if role is self.chain.of("blockchain")[0] else f"{role.name}.dsc"
        fleet.run("chain", "export", name, "--force", *place)
        return verified, (fleet.folder / name).read_bytes()


def same_state(servers):
    """Whether all servers are at one height; then their states are one."""
    infos = [server.document("/v1/info") for server in servers]
    if None in infos or len({info["height"] for info in infos}) > 1:
        return False
    for field in ("tip", "state", "supply", "accounts", "transactions"):
        values = {str(info[field]) for info in infos}
        check(len(values) == 1, f"{field} at height {infos[0]['height']}: {values}")
    return True


def longest_pause(times, since, until):
    """The longest time without a new block: from the last one before `since`, up to `until`."""
    seen = sorted(times)
    before = [moment for moment in seen if moment <= since][-1:]
    within = [moment for moment in seen if since < moment <= until]
    marks = [*(before or [since]), *within, *([] if within else [until])]
    return max((later - earlier for earlier, later in zip(marks, marks[1:])), default=0.0)


def first_times(followers):
    """When each height was seen first, anywhere."""
    first = {}
    for follower in followers:
        for height, moment in list(follower.times.items()):
            first[height] = min(moment, first.get(height, moment))
    return first
