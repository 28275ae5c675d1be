"""A chain of which there are several roles of a kind, on hosts of a test, and those who use it."""

import http.client
import json
import random
import signal
import threading
import time

from fleet import check, free_ports, poll
from load import Connection, Sender, Wallet, Worker, address
from signed import Signed
from cluster.nats import NatsError

KINDS = ("blockchain", "pool", "metronome", "validator")
BLOCK_TIME = "500ms"
SENDERS, PORTION, BATCH = 4, 250, 5
PASSPHRASE = "a passphrase for keys of a test"
# A client gives a server that says nothing up after so long, and asks another one.
REQUEST_SECONDS, RETRY_SECONDS, WATCH_SECONDS = 5, 0.1, 0.1
# Of several that are asked the same, one may be paused.
GLANCE_SECONDS = 1
# Share of payments after which a sender goes to another pool without need.
WANDER_SHARE = 0.2
# Nothing that a test waits for takes longer on a busy machine.
PATIENCE_SECONDS = 90


class Role:
    """One process of the chain, on a host."""

    def __init__(self, chain, kind, host, port):
        self.chain, self.kind, self.host, self.port = chain, kind, host, port
        self.name = f"{kind}-{host.number + 1}"
        self.process, self.url = None, f"http://{host.address}:{port}"
        self.data = f"data-{self.name}"

    def command(self):
        own = {
            "blockchain": [],
            "pool": [],
            "metronome": ["--key", f"{self.name}.pem", "--passphrase-file", "passphrase"],
            "validator": ["--proof", "work", "--address", address("rewarded", self.name),
                          "--threads", 1, "--attempts", 4_000],
        }[self.kind]
        engine = [] if self.kind == "validator" else self.chain.engine_flags(self.host)
        return [self.kind, "--genesis", "genesis.json", *own, "--json",
                "--listen", f"{self.host.address}:{self.port}", "--data-dir", self.data,
                *engine, *self.chain.url_flags(self.host)]

    def launch(self, environment=None):
        """Starts it and does not wait for it."""
        program = [*self.host.prefix, self.chain.fleet.dsc]
        self.process = self.chain.fleet.start(
            self.name, *program[1:], *self.command(), program=program[0], environment=environment)

    def wait_ready(self):
        self.process.wait_ready(self.url)

    def wait_alive(self):
        """Waits until it answers, ready or not."""
        def look():
            check(self.is_running, f"{self.name} ended\n{self.process.tail()}")
            try:
                return self.ask("/healthz")[0] == 200
            except OSError:
                return False
        poll(f"{self.name} alive", PATIENCE_SECONDS, look)

    @property
    def is_running(self):
        return self.process is not None and self.process.child.poll() is None

    def kill(self):
        check(self.is_running, f"{self.name} ended by itself\n{self.process.tail()}")
        self.process.kill()
        if self.kind == "metronome":
            self.chain.signed[self.name].note(
                self.chain.fleet.folder / self.data / "metronome" / "signed")

    def restart(self, environment=None):
        """Kills it if it runs, and starts it again."""
        if self.is_running:
            self.kill()
        self.launch(environment)

    def pause(self):
        self.process.child.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.child.send_signal(signal.SIGCONT)

    def ask(self, path, seconds=REQUEST_SECONDS):
        """Status, headers and content of an answer; raises OSError."""
        connection = http.client.HTTPConnection(self.host.address, self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def document(self, path, seconds=REQUEST_SECONDS):
        """The JSON at a path, or None if there is none now."""
        try:
            status, _, body = self.ask(path, seconds)
        except OSError:
            return None
        return json.loads(body) if status == 200 else None

    def height(self):
        """The height it has applied, -1 before the first block, None if it does not say."""
        info = self.document("/v1/info", GLANCE_SECONDS)
        if info is None:
            return None
        return -1 if info["height"] is None else info["height"]

    def leads(self):
        """Whether it is a metronome that says it leads, or None if it says nothing."""
        told = self.document("/v1/status", GLANCE_SECONDS)
        return None if told is None else told["leading"]


class Chain:
    """Nodes, roles and load. A host has one role of each kind; the last hosts only a node."""

    def __init__(self, fleet, network, nodes, served, seed):
        self.fleet, self.network, self.nodes = fleet, network, nodes
        self.hosts, self.random = network.hosts, random.Random(seed)
        ports = free_ports(len(KINDS) * served)
        self.roles, self.remarks, self.window = {}, [], None
        for host in self.hosts[:served]:
            for kind in KINDS:
                role = Role(self, kind, host, ports + len(self.roles))
                self.roles[role.name] = role
        # What roles are told instead of the nodes' own addresses, by host number.
        self.detours, self.stream = {}, None
        self.signed = {role.name: Signed() for role in self.of("metronome")}
        self.followers, self.senders, self.watch = [], [], None

    def of(self, kind):
        return [role for role in self.roles.values() if role.kind == kind]

    def engine_flags(self, host):
        """None if each role keeps what it has on a disk of its own."""
        if self.nodes is None:
            return []
        return ["--engine", f"nats://{self.detours.get(host.number) or self.nodes.places()}"]

    def url_flags(self, host):
        """Where the servers are: the one on the same host first."""
        flags = []
        for kind in KINDS[:3]:
            near_first = sorted(self.of(kind), key=lambda role: role.host is not host)
            flags += [f"--{kind}-url", ",".join(role.url for role in near_first)]
        return flags

    def make_genesis(self):
        (self.fleet.folder / "passphrase").write_text(f"{PASSPHRASE}\n")
        keys = []
        for role in self.of("metronome"):
            self.fleet.ask("wallet", "create", role.name, "--passphrase-file", "passphrase",
                           "--data-dir", "data-keys")
            self.fleet.run("wallet", "export", role.name, "--out", f"{role.name}.pem",
                           "--data-dir", "data-keys")
            public = self.fleet.run("wallet", "show", role.name, "--pem", "--data-dir", "data-keys")
            (self.fleet.folder / f"{role.name}.pub").write_text(public)
            keys += ["--metronome", f"{role.name}.pub"]
        self.fleet.ask("genesis", "--development", "--network", "cluster",
                       "--accounts", SENDERS, "--block-time", BLOCK_TIME, *keys,
                       "--tries", 4096, "--out", "genesis.json")

    def start_servers(self):
        self.make_genesis()
        if self.nodes:
            self.fleet.environment |= {"DSC_ENGINE__MONITORS": self.nodes.monitors()}
            self.nodes.start()
        for kind in KINDS:
            for role in self.of(kind):
                role.launch()
            for role in self.of(kind):
                role.wait_ready()

    def start(self, rate):
        self.start_servers()
        self.stream = poll("the log of blocks", PATIENCE_SECONDS, self.find_stream)
        self.watch = Watch(self)
        self.followers = [Follower(role) for role in self.of("blockchain")]
        wallets = [Wallet(self.fleet, number, PORTION) for number in range(SENDERS)]
        pools = [role.url for role in self.of("pool")]
        self.senders = [Payer(pools, wallet, rate / SENDERS) for wallet in wallets]
        for worker in self.workers():
            worker.start()

    def workers(self):
        return [self.watch, *self.followers, *self.senders]

    def find_stream(self):
        names = [name for name in self.nodes.api().names() if name.endswith("_BLOCKS")]
        return names[0] if names else None

    def height(self):
        """The height of the server that is furthest; at least one has to answer."""
        def look():
            known = [role.height() for role in self.of("blockchain")]
            return [height for height in known if height is not None]
        return max(poll("a height", PATIENCE_SECONDS, look))

    def grow(self, blocks, seconds=PATIENCE_SECONDS):
        goal = self.height() + blocks
        poll(f"height {goal}", seconds, lambda: self.height() >= goal)

    def leading(self, seconds=PATIENCE_SECONDS):
        """The metronome that leads."""
        return poll("a metronome that leads", seconds, self.leading_now)

    def leading_now(self):
        for role in self.of("metronome"):
            if role.is_running and role.leads():
                return role
        return None

    def used_server(self):
        """The blockchain server on the host of the metronome that leads, which it asks first."""
        host = self.leading().host
        return next(role for role in self.of("blockchain") if role.host is host)

    def block_subject(self):
        """Where blocks are published."""
        (subject,) = self.nodes.api().stream(self.stream)["config"]["subjects"]
        return subject

    def begin(self):
        """Notes that a fault begins now: what was prepared for it is not measured."""
        self.window = (time.monotonic(), None)

    def end(self):
        """Notes that it is over and the chain has gone on: what is put back is not measured."""
        self.window = (self.window[0], time.monotonic())

    def remark(self, sentence):
        """Notes what the report says of the case under way."""
        self.remarks.append(sentence)

    def acknowledged(self):
        """Every id that some pool has acknowledged so far."""
        return [identity for sender in self.senders for identity in list(sender.acknowledged)]

    def wait_whole(self):
        """Waits until every process runs and says that it is ready."""
        for node in self.nodes.all:
            node.wait_ready()
        for role in self.roles.values():
            role.wait_ready()

    def drain(self):
        """Stops the load, and waits until nothing waits for a block any more."""
        for sender in self.senders:
            sender.pause()
        for sender in self.senders:
            sender.wait_idle(PATIENCE_SECONDS)
        def look():
            counts = [role.document("/v1/counts") for role in self.of("pool")]
            return None not in counts and not any(
                count["submitted"] + count["unconfirmed"] for count in counts)
        poll("empty pools", PATIENCE_SECONDS, look)

    def proceed(self):
        """Lets the load go on."""
        for sender in self.senders:
            sender.proceed()

    def stop_workers(self):
        for worker in self.workers():
            worker.stop()


class Anywhere:
    """Connections to servers any of which will do: the next one when one does not answer well."""

    def __init__(self, urls):
        self.held, self.at = [Connection(url, REQUEST_SECONDS) for url in urls], 0

    def ask(self, method, path, body=None):
        try:
            status, answer = self.held[self.at].ask(method, path, body)
        except OSError:
            self.wander()
            raise
        if status == 503:
            self.wander()
        return status, answer

    def wander(self):
        self.at = (self.at + 1) % len(self.held)


class Payer(Sender):
    """Pays by way of any pool, and goes from one to another now and then."""

    def __init__(self, urls, wallet, rate):
        super().__init__(urls[wallet.number % len(urls)], wallet, rate, BATCH)
        self.connection = Anywhere(urls)
        self.connection.at = wallet.number % len(urls)

    def deliver(self, transactions):
        if self.random.random() < WANDER_SHARE:
            self.connection.wander()
        super().deliver(transactions)


class Follower(Worker):
    """Notes each block that one blockchain server shows, when, and what it confirmed."""

    def __init__(self, role):
        super().__init__()
        self.role, self.connection = role, Connection(role.url, REQUEST_SECONDS)
        # Of each height: hash, ids, and when it was seen first.
        self.blocks, self.times, self.next = {}, {}, 0

    def work(self):
        try:
            status, body = self.connection.ask("GET", f"/v1/confirmed?from={self.next}&wait=1000")
        except OSError:
            # A server that was killed may have forgotten: its last blocks are read again.
            self.next = max(0, self.next - 3)
            self.ending.wait(RETRY_SECONDS)
            return
        if status == 503:
            self.ending.wait(RETRY_SECONDS)
            return
        check(status == 200, f"{self.role.name} answered {status}: {body[:500]}")
        now = time.monotonic()
        for height, identity, ids in read_confirmed(body):
            known = self.blocks.setdefault(height, (identity, ids))
            check(known == (identity, ids),
                  f"{self.role.name}: block {height} was {known[0]}, now it is {identity}")
            self.times.setdefault(height, now)
            self.next = max(self.next, height + 1)


def read_confirmed(body):
    """Height, hash and ids of each block in an answer of `/v1/confirmed`."""
    blocks, at = [], 8
    for _ in range(int.from_bytes(body[:8], "little")):
        height = int.from_bytes(body[at:at + 8], "little")
        identity = body[at + 16:at + 48].hex()
        count = int.from_bytes(body[at + 48:at + 56], "little")
        at += 56
        ids = tuple(body[place:place + 32].hex() for place in range(at, at + 32 * count, 32))
        at += 32 * count
        blocks.append((height, identity, ids))
    check(at == len(body), "the list of what was confirmed has another length than it says")
    return blocks


class Watch(Worker):
    """Notes all the time whether the engine has a leader and whether a metronome leads."""

    def __init__(self, chain):
        super().__init__()
        self.chain, self.lock = chain, threading.Lock()
        self.samples = []

    def work(self):
        sample = (time.monotonic(), self.has_engine(), self.has_lease())
        with self.lock:
            self.samples.append(sample)
        self.ending.wait(WATCH_SECONDS)

    def has_engine(self):
        try:
            info = self.chain.nodes.api().ask(f"STREAM.INFO.{self.chain.stream}", seconds=0.3)
        except NatsError:
            return False
        return bool(info.get("cluster", {}).get("leader"))

    def has_lease(self):
        return self.chain.leading_now() is not None

    def longest(self, since, until, field):
        """The longest time between without what a field of the samples tells."""
        with self.lock:
            samples = [sample for sample in self.samples if since <= sample[0] <= until]
        longest, absent_from = 0.0, None
        for sample in samples:
            if sample[field]:
                absent_from = None
            else:
                absent_from = absent_from or sample[0]
                longest = max(longest, sample[0] - absent_from + WATCH_SECONDS)
        return longest
