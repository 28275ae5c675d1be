"""A client of a nats-server, with what the tests ask it: the protocol's text, one connection."""

import json
import secrets
import socket
import time
import urllib.request

REQUEST_SECONDS = 5
# The code of an error that another node may not have.
UNAVAILABLE = 503


class NatsError(Exception):
    """The server refused something, or did not answer."""


class Client:
    """One connection to one node; not for several threads."""

    def __init__(self, host, port, seconds=REQUEST_SECONDS):
        try:
            self.socket = socket.create_connection((host, port), timeout=seconds)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = self.socket.makefile("rb")
            info = self.file.readline()
            if not info.startswith(b"INFO "):
                raise NatsError(f"no server of NATS answers: {info[:100]!r}")
            self.info = json.loads(info[5:])
            options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
            self.inbox, self.subscriptions = f"_INBOX.{secrets.token_hex(8)}", 0
            self.send(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
            self.read_until(b"PONG", time.monotonic() + seconds)
        except OSError as error:
            raise NatsError(f"{host}:{port}: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, subject, payload=b"", reply=""):
        head = f"PUB {subject} {reply}".rstrip() + f" {len(payload)}\r\n"
        self.send(head.encode() + payload + b"\r\n")

    def request(self, subject, payload=b"", seconds=REQUEST_SECONDS):
        """Returns the content of the one answer."""
        self.subscriptions += 1
        inbox = f"{self.inbox}.{self.subscriptions}"
        try:
            self.send(f"SUB {inbox} {self.subscriptions}\r\n"
                      f"UNSUB {self.subscriptions} 1\r\n".encode())
            self.publish(subject, payload, inbox)
            return self.read_until(b"MSG", time.monotonic() + seconds)
        except OSError as error:
            raise NatsError(f"{subject}: {error}") from error

    def read_until(self, wanted, deadline):
        """Reads what comes until it is `wanted`, and returns that one's content."""
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            line = self.file.readline()
            if not line:
                raise NatsError("the node closed the connection")
            word = line.split()[0]
            if word == b"PING":
                self.send(b"PONG\r\n")
            elif word == b"-ERR":
                raise NatsError(line.decode(errors="replace").strip())
            content = self.content(line)
            if word.removeprefix(b"H") == wanted:
                return content

    def content(self, line):
        """What follows a line: of a message its payload, of anything else nothing."""
        words = line.split()
        if words[0] == b"MSG":
            return self.file.read(int(words[-1]) + 2)[:-2]
        if words[0] == b"HMSG":
            headers, total = int(words[-2]), int(words[-1])
            data = self.file.read(total + 2)[:-2]
            if data.split(b"\r\n")[0].split()[1:2] == [b"503"]:
                raise NatsError("nobody answers")
            return data[headers:]
        return b""


class Api:
    """JetStream as any one of several nodes answers for it: the first that does."""

    def __init__(self, places):
        self.places = places

    def ask(self, verb, payload=None, seconds=REQUEST_SECONDS):
        """Returns the document that `$JS.API.<verb>` is answered with."""
        body = json.dumps(payload).encode() if payload is not None else b""
        failures = []
        for host, port in self.places:
            try:
                with Client(host, port, seconds) as client:
                    told = json.loads(client.request(f"$JS.API.{verb}", body, seconds))
            except NatsError as error:
                failures.append(str(error))
                continue
            if "error" not in told:
                return told
            if told["error"].get("code") != UNAVAILABLE:
                raise NatsError(f"{verb}: {told['error']}")
            # A node that is alone says so at once; another one may not be.
            failures.append(str(told["error"]))
        raise NatsError(f"{verb}: {'; '.join(failures)}")

    def create(self, name, subjects, replicas):
        return self.ask(f"STREAM.CREATE.{name}", {
            "name": name, "subjects": subjects, "num_replicas": replicas, "storage": "file",
            "retention": "limits", "discard": "old"})

    def names(self):
        return self.ask("STREAM.NAMES")["streams"] or []

    def stream(self, name):
        return self.ask(f"STREAM.INFO.{name}")

    def leader(self, name):
        """The name of the node that leads a stream, or None while nobody does."""
        return self.stream(name).get("cluster", {}).get("leader")

    def lacks(self, name, sequence):
        """Whether the leader of a stream says that it has no such entry."""
        try:
            return "message" not in self.ask(f"STREAM.MSG.GET.{name}", {"seq": sequence})
        except NatsError:
            return True

    def step_down(self, name, preferred=None):
        """Has another node lead a stream."""
        payload = {"placement": {"preferred": preferred}} if preferred else None
        return self.ask(f"STREAM.LEADER.STEPDOWN.{name}", payload)


def monitor(url, path, seconds=2):
    """Returns the document at a path of a node's monitoring port; raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/{path}", timeout=seconds) as answer:
        return json.load(answer)
