"""The tools of cluster.py do what they say, and its checks find what they are for."""

import argparse
import contextlib
import importlib.util
import io
import json
import socket
import tempfile
import threading
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from fleet import Failed
from cluster import checks, disk
from cluster.chain import read_confirmed
from cluster.checks import Record, longest_pause, same_state
from cluster.faults.roles import some_dead
from cluster.nats import Api, Client, NatsError
from cluster.proxy import Proxy


class Script(threading.Thread):
    """A server for one connection: reads up to each request, and sends what is said to it."""

    def __init__(self, *turns):
        super().__init__(daemon=True)
        self.turns, self.listener = turns, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        connection, _ = self.listener.accept()
        with connection, self.listener:
            for wanted, told in self.turns:
                got = b""
                while wanted not in got:
                    data = connection.recv(4096)
                    if not data:
                        return
                    got += data
                connection.sendall(told(got) if callable(told) else told)


def inbox_of(request):
    """Where the answer to the request in these bytes goes."""
    return next(line.split()[2] for line in request.split(b"\r\n") if line.startswith(b"PUB "))


def message(request, payload):
    return b"MSG %s 1 %d\r\n%s\r\n" % (inbox_of(request), len(payload), payload)


HELLO = (b"", b'INFO {"server_name": "n1"}\r\n'), (b"PING\r\n", b"PONG\r\n")


class Nats(unittest.TestCase):
    def serve(self, *turns):
        return Script(*HELLO, *turns).port

    def test_an_answer_is_the_payload_whatever_comes_before_it(self):
        port = self.serve((b"hello\r\n", lambda got: b"PING\r\n+OK\r\n" + message(got, b"a\r\nb")))
        with Client("127.0.0.1", port) as client:
            self.assertEqual(client.request("some.subject", b"hello"), b"a\r\nb")

    def test_headers_are_passed_over(self):
        port = self.serve((b"PUB", lambda got: b"HMSG %s 1 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
                                               % inbox_of(got)))
        with Client("127.0.0.1", port) as client:
            self.assertEqual(client.request("some.subject"), b"ok")

    def test_nobody_answering_is_an_error(self):
        port = self.serve((b"PUB", lambda got: b"HMSG %s 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
                                               % inbox_of(got)))
        with Client("127.0.0.1", port) as client:
            self.assertRaises(NatsError, client.request, "some.subject")

    def test_silence_is_an_error(self):
        with Client("127.0.0.1", self.serve((b"never", b""))) as client:
            self.assertRaises(NatsError, client.request, "some.subject", seconds=0.05)

    def test_the_next_node_is_asked_if_one_is_gone(self):
        told = json.dumps({"cluster": {"leader": "n2"}}).encode()
        with socket.create_server(("127.0.0.1", 0)) as gone:
            dead = gone.getsockname()[1]
        live = self.serve((b"PUB", lambda got: message(got, told)))
        api = Api([("127.0.0.1", dead), ("127.0.0.1", live)])
        self.assertEqual(api.leader("BLOCKS"), "n2")

    def test_the_next_node_is_asked_if_one_is_alone(self):
        alone = json.dumps({"error": {"code": 503}}).encode()
        told = json.dumps({"cluster": {"leader": "n2"}}).encode()
        ports = [self.serve((b"PUB", lambda got, told=one: message(got, told)))
                 for one in (alone, told)]
        self.assertEqual(Api([("127.0.0.1", port) for port in ports]).leader("BLOCKS"), "n2")

    def test_an_error_of_the_api_is_one_here(self):
        told = json.dumps({"error": {"code": 404}}).encode()
        api = Api([("127.0.0.1", self.serve((b"PUB", lambda got: message(got, told))))])
        self.assertRaises(NatsError, api.leader, "BLOCKS")


class Proxies(unittest.TestCase):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)

    def through(self, **options):
        """Both ends of a connection through a proxy, and the proxy."""
        proxy = Proxy("127.0.0.1", self.server.getsockname()[1], **options)
        self.addCleanup(proxy.close)
        client = socket.create_connection(proxy.place, timeout=5)
        end, _ = self.server.accept()
        end.settimeout(5)
        self.addCleanup(client.close)
        self.addCleanup(end.close)
        return client, end, proxy

    def test_bytes_pass_late_in_order_and_to_the_last(self):
        client, end, _ = self.through(delay=0.1)
        start = time.monotonic()
        for number in range(10):
            client.sendall(bytes([number]))
        client.shutdown(socket.SHUT_WR)
        got = b""
        while data := end.recv(100):
            got += data
        self.assertEqual(got, bytes(range(10)))
        self.assertGreaterEqual(time.monotonic() - start, 0.1)

    def test_a_swallowed_answer_never_comes_and_the_request_does(self):
        client, end, proxy = self.through()
        proxy.swallow(b"PUB blocks ")
        client.sendall(b"PUB bl")
        client.sendall(b"ocks 5\r\n")
        got = b""
        while len(got) < 14:
            got += end.recv(100)
        end.sendall(b"+OK\r\n")
        self.assertEqual(client.recv(100), b"")
        self.assertTrue(proxy.swallowed.wait(5))

    def test_a_word_is_swallowed_once(self):
        client, end, proxy = self.through()
        proxy.swallow(b"never said")
        client.sendall(b"something else")
        end.recv(100)
        end.sendall(b"answer")
        self.assertEqual(client.recv(100), b"answer")

    def test_a_cut_ends_what_is_and_what_comes(self):
        client, _, proxy = self.through()
        proxy.cut()
        self.assertEqual(client.recv(100), b"")
        with socket.create_connection(proxy.place, timeout=5) as late:
            self.assertEqual(late.recv(100), b"")


class Damage(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.messages = Path(self.folder.name) / "jetstream" / "$G" / "streams" / "B" / "msgs"
        self.messages.mkdir(parents=True)
        for name in ("2.blk", "10.blk"):
            (self.messages / name).write_bytes(bytes(1000))

    def test_the_newest_file_is_the_one_with_the_largest_number(self):
        path, size = disk.end_of(Path(self.folder.name), "B")
        self.assertEqual((path.name, size), ("10.blk", 1000))

    def test_a_cut_file_keeps_what_was_before_the_place(self):
        path = self.messages / "2.blk"
        disk.truncate(path, 500)
        self.assertTrue(500 <= path.stat().st_size < 564)
        self.assertRaises(Failed, disk.truncate, path, 500)

    def test_one_bit_after_the_place_is_turned(self):
        path = self.messages / "2.blk"
        disk.flip(path, 500)
        turned = [place for place, byte in enumerate(path.read_bytes()) if byte]
        self.assertEqual(len(turned), 1)
        self.assertGreaterEqual(turned[0], 500)


class Checks(unittest.TestCase):
    def setUp(self):
        self.record = Record()
        self.record.take("one", {0: ("a", ("x", "y")), 1: ("b", ())})

    def test_the_same_blocks_elsewhere_are_fine(self):
        self.record.take("two", {0: ("a", ("x", "y"))})
        self.record.take("two", {0: ("a", ("x", "y")), 1: ("b", ()), 2: ("c", ("z",))})
        self.assertEqual(self.record.absent(["x", "z", "w"]), ["w"])

    def test_another_block_of_a_height_is_found(self):
        with self.assertRaisesRegex(Failed, "block 1 is d at two, and b elsewhere"):
            self.record.take("two", {0: ("a", ("x", "y")), 1: ("d", ())})

    def test_a_missing_block_is_found(self):
        with self.assertRaisesRegex(Failed, "two never showed block 0"):
            self.record.take("two", {1: ("b", ())})

    def test_a_transaction_in_two_blocks_is_found(self):
        with self.assertRaisesRegex(Failed, "transaction x is in blocks 0 and 2"):
            self.record.take("one", {0: ("a", ("x", "y")), 1: ("b", ()), 2: ("c", ("x",))})

    def test_a_transaction_twice_in_a_block_is_found(self):
        with self.assertRaisesRegex(Failed, "block 2 has a transaction twice"):
            self.record.take("one", {0: ("a", ("x", "y")), 1: ("b", ()), 2: ("c", ("z", "z"))})

    def test_a_pause_begins_at_the_last_block_before_the_fault(self):
        self.assertEqual(longest_pause([1.0, 2.0, 9.0, 9.5], 3.0, 10.0), 7.0)

    def test_a_chain_that_never_goes_on_pauses_up_to_the_end(self):
        self.assertEqual(longest_pause([1.0, 2.0], 3.0, 10.0), 8.0)

    def test_what_was_confirmed_is_read_whole(self):
        body = ((1).to_bytes(8, "little") + (7).to_bytes(8, "little") + bytes(8) + b"\x11" * 32
                + (1).to_bytes(8, "little") + b"\x22" * 32)
        self.assertEqual(read_confirmed(body), [(7, "11" * 32, ("22" * 32,))])
        self.assertRaises(Failed, read_confirmed, body + b"\x00")


def role(name="one", **answers):
    """A role that answers with these documents, by the end of the path, and runs."""
    return SimpleNamespace(
        name=name, is_running=True, leads=lambda: answers.get("leads"),
        document=lambda path: answers.get(path.split("/")[2]),
        process=SimpleNamespace(tail=lambda: "", err=SimpleNamespace(
            read_text=lambda errors: answers.get("said", ""))))


def info(height, **other):
    same = {"tip": "t", "state": "s", "supply": "1", "accounts": 2, "transactions": 3}
    return {"height": height, **same, **other}


def chain_of(entries=5, height=4, senders=(), **roles):
    """A chain whose log has so many entries, of these roles by kind."""
    api = SimpleNamespace(stream=lambda _: {"state": {"last_seq": entries}})
    return SimpleNamespace(
        senders=senders, followers=[], height=lambda: height, stream="S",
        nodes=SimpleNamespace(api=lambda: api), of=lambda kind: roles.get(kind, []),
        roles={one.name: one for kind in roles.values() for one in kind})


class Promises(unittest.TestCase):
    """Whatever is promised after a fault, there is a chain that breaks it, and that is noticed."""

    def setUp(self):
        for name in ("PATIENCE_SECONDS", "SETTLE_SECONDS"):
            patch = mock.patch.object(checks, name, 0.2)
            patch.start()
            self.addCleanup(patch.stop)

    def test_servers_of_one_height_have_one_state(self):
        one, two = role(info=info(7)), role(info=info(7))
        self.assertTrue(same_state([one, two]))
        self.assertFalse(same_state([one, role(info=info(8, state="x"))]))
        for field in ("tip", "state", "supply", "accounts", "transactions"):
            with self.assertRaisesRegex(Failed, f"{field} at height 7"):
                same_state([one, role(info=info(7, **{field: "another"}))])

    def test_no_role_ends_or_panics_or_saw_two_blocks_of_a_height(self):
        well = role(equivocations=[])
        checks.Checks(chain_of(blockchain=[role("two", equivocations=[]), well])).processes()
        ended = role(equivocations=[])
        ended.is_running = False
        for bad, why in ((ended, "ended by itself"), (role(said="x panicked at"), "panicked"),
                         (role(equivocations=[{"height": 3}]), "two blocks of one height")):
            with self.assertRaisesRegex(Failed, why):
                checks.Checks(chain_of(blockchain=[bad])).processes()

    def test_the_log_has_one_entry_for_each_block(self):
        for entries in (5, 6):
            checks.Checks(chain_of(entries)).one_entry_a_height()
        for entries in (4, 7):
            with self.assertRaisesRegex(Failed, f"the log has {entries} entries"):
                checks.Checks(chain_of(entries)).one_entry_a_height()

    def test_one_metronome_leads(self):
        for leading in ((True, False), (False, True)):
            checks.Checks(chain_of(metronome=[role(leads=one) for one in leading])).one_leads()
        for leading in ((True, True), (False, False), (True, None)):
            chain = chain_of(metronome=[role(leads=one) for one in leading])
            self.assertRaises(Failed, checks.Checks(chain).one_leads)

    def lose(self, ended=None, used=(), state="unknown"):
        """Holds a chain to `x` and `y`, of which only `x` is on the ledger."""
        sender = mock.Mock(acknowledged=["x", "y"], used=used, ended=ended or {})
        chain = chain_of(senders=[sender], pool=[role(transactions={"state": state})])
        held = checks.Checks(chain)
        held.record.take("one", {0: ("a", ("x",))})
        held.nothing_lost(["x", "y"])
        return held

    def test_what_was_acknowledged_is_on_the_ledger_unless_it_has_expired(self):
        with self.assertRaisesRegex(Failed, "of 2 acknowledged 1 are not on the ledger"):
            self.lose()
        self.assertEqual(self.lose(state="expired").expired, 1)

    def test_what_is_said_to_be_used_or_bad_is_looked_at(self):
        with self.assertRaisesRegex(Failed, "said to be used, and are not on the ledger"):
            self.lose(used=["z"], state="expired")
        with self.assertRaisesRegex(Failed, "good transactions were rejected"):
            self.lose(ended={"z": "rejected"}, state="expired")

    def test_as_many_have_to_die_as_come_to_a_step(self):
        alive, dead = role(), SimpleNamespace(is_running=False)
        self.assertEqual(some_dead([alive, dead], 1), [dead])
        self.assertIsNone(some_dead([alive, dead], 2))

    def test_a_chain_that_goes_on_too_late_has_failed(self):
        place = Path(__file__).with_name("cluster.py")
        spec = importlib.util.spec_from_file_location("cluster_script", place)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        follower = SimpleNamespace(times={0: 1.0, 1: 2.0, 2: 9.0, 3: 9.5})
        watch = SimpleNamespace(longest=lambda *_: 0.0)
        chain = chain_of()
        chain.followers, chain.watch, chain.remarks = [follower], watch, []
        chain.window = (3.0, 9.6)
        chain.begin = chain.grow = lambda *_: None
        held = SimpleNamespace(all=lambda: 0)
        matrix = script.Matrix(argparse.Namespace(patience=1), {})
        # 7 s from the last block before it, 1 s from when the chain could go on.
        for limit, resumable, ok in ((7, None, True), (6.9, None, False), (1, 8.0, True),
                                     (0.9, 8.0, False)):
            case = SimpleNamespace(name="c", limit=limit, what="", strike=lambda _: resumable)
            with contextlib.redirect_stdout(io.StringIO()):
                if ok:
                    matrix.run(chain, held, case)
                else:
                    with self.assertRaisesRegex(Failed, "s without a block"):
                        matrix.run(chain, held, case)


if __name__ == "__main__":
    unittest.main()
