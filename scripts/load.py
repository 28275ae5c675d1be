"""Load on a chain of published accounts by a client that remembers every answer it was given.

A wallet has the program sign some hundreds of payments at a time, a sender hands them to the pool
and notes what was acknowledged, a reader follows the blocks and notes what each one confirmed. All
of them put up with servers that are killed: they ask again until they are told to stop.
"""

import hashlib
import http.client
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from fleet import Failed, check
from verify_chain import bech32m

PREFIX = "dscd"
# Above every height that a test reaches, below what a pool takes from the first block on.
EXPIRES = 60_000
REQUEST_SECONDS = 30
RETRY_SECONDS = 0.1
# Addresses that are paid again and again.
REGULARS = 50


def address(*what):
    """An address that nobody has the key of."""
    return bech32m(PREFIX, hashlib.sha256(repr(what).encode()).digest())


class Connection:
    """A connection to one server, made again when it is lost."""

    def __init__(self, url, seconds=REQUEST_SECONDS):
        self.place, self.held, self.seconds = url.removeprefix("http://"), None, seconds

    def ask(self, method, path, body=None):
        """Returns status and body, or raises OSError; nobody knows then what was done."""
        try:
            self.held = self.held or http.client.HTTPConnection(self.place, timeout=self.seconds)
            kind = {"Content-Type": "application/octet-stream"} if body else {}
            self.held.request(method, path, body=body, headers=kind)
            answer = self.held.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError) as error:
            self.held = None
            raise OSError(str(error)) from error


class Wallet:
    """A published account and what it has signed.

    Of its payments the share `new_share` goes to new addresses.
    """

    def __init__(self, fleet, number, portion, new_share=0.5):
        self.fleet, self.number, self.portion = fleet, number, portion
        self.new_share, self.random = new_share, random.Random(number)
        self.signed, self.sequence = [], 0
        # The portion after the one that is being sent is signed meanwhile.
        self.signer = ThreadPoolExecutor(1)
        self.coming = self.signer.submit(self.sign)

    def take(self, count):
        """Returns the next transactions, each with its id."""
        while len(self.signed) < count:
            self.signed += self.coming.result()
            self.coming = self.signer.submit(self.sign)
        taken, self.signed = self.signed[:count], self.signed[count:]
        return taken

    def close(self):
        """Waits for the signing under way."""
        self.signer.shutdown()

    def recipient(self, place):
        if self.random.random() < self.new_share:
            return address("new", self.number, place)
        return address("regular", self.random.randrange(REGULARS))

    def sign(self):
        name, out = f"payments-{self.number}.csv", f"signed-{self.number}-{self.sequence}.ndjson"
        places = range(self.sequence, self.sequence + self.portion)
        lines = [f"{self.recipient(place)},0.00000001\n" for place in places]
        (self.fleet.folder / name).write_text("".join(lines))
        self.fleet.run("wallet", "sign", "--file", name, "--out", out, "--per-transaction", 1,
                       "--dev-account", self.number, "--sequence", self.sequence,
                       "--expires", EXPIRES, "--genesis", "genesis.json")
        self.sequence += self.portion
        with (self.fleet.folder / out).open() as file:
            documents = [json.loads(line) for line in file][1:]
        (self.fleet.folder / out).unlink()
        return [(document["id"], bytes.fromhex(document["bytes"])) for document in documents]


class Worker(threading.Thread):
    """A thread whose failure the one who started it hears of."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ending, self.failure = threading.Event(), None

    def run(self):
        try:
            while not self.ending.is_set():
                self.work()
        except Exception as error:  # whatever it is, the test has failed
            self.failure = error

    def check(self):
        if self.failure:
            raise Failed(f"{type(self).__name__}: {self.failure!r}") from self.failure

    def stop(self):
        self.ending.set()
        self.join()
        self.check()


class Sender(Worker):
    """Hands a wallet's transactions to the pool, in order, `rate` a second.

    What could not be sent in time is not made up for: the load stays even.
    """

    def __init__(self, url, wallet, rate, batch):
        super().__init__()
        self.connection, self.wallet = Connection(url), wallet
        self.rate, self.batch = rate, batch
        self.random = random.Random(wallet.number)
        self.going = threading.Event()
        self.going.set()
        self.idle = threading.Event()
        # Ids that the pool said it holds, ids that it said are on the ledger or were.
        self.acknowledged, self.used = [], []
        self.ended = {}
        self.sent = self.resent = self.again = 0
        self.due = time.monotonic()

    def work(self):
        if not self.going.is_set():
            self.idle.set()
            self.going.wait(RETRY_SECONDS)
            self.due = time.monotonic()
            return
        self.idle.clear()
        transactions = self.wallet.take(self.batch)
        self.sent += len(transactions)
        self.deliver(transactions)
        if self.random.random() < 0.1:
            # What was acknowledged is sent again: it must not be done again.
            self.again += len(transactions)
            self.deliver(transactions)
        self.due = max(self.due + self.batch / self.rate, time.monotonic())
        self.ending.wait(self.due - time.monotonic())

    def deliver(self, transactions):
        """Sends these until each was answered, whatever happens to the pool."""
        while transactions and not self.ending.is_set():
            left = self.try_to_deliver(transactions)
            if left:
                self.resent += len(left)
                self.ending.wait(RETRY_SECONDS)
            transactions = left

    def try_to_deliver(self, transactions):
        body = len(transactions).to_bytes(8, "little") + b"".join(data for _, data in transactions)
        try:
            status, answer = self.connection.ask("POST", "/v1/transactions", body)
        except OSError:
            return transactions
        if status in (429, 503):
            return transactions
        check(status == 200, f"the pool answered {status}: {answer[:500]}")
        outcomes = json.loads(answer)
        check(len(outcomes) == len(transactions), "the pool answered another number of outcomes")
        # One that may be taken later comes before those that follow it.
        return [one for one, outcome in zip(transactions, outcomes) if not self.note(outcome)]

    def note(self, outcome):
        """Notes what became of a transaction; returns whether that is settled."""
        identity, kind = outcome["id"], outcome["outcome"]
        state = outcome.get("status", {}).get("state")
        if kind == "added" or state in ("submitted", "unconfirmed", "confirmed"):
            self.acknowledged.append(identity)
        elif kind == "known":
            self.ended[identity] = json.dumps(outcome["status"])
        elif outcome["code"] == "sequence-used":
            self.used.append(identity)
        else:
            check(outcome["retry"], f"a good transaction was refused: {outcome}")
            return False
        return True

    def stop(self):
        super().stop()
        self.wallet.close()

    def pause(self):
        self.going.clear()
        self.idle.clear()

    def wait_idle(self, seconds):
        check(self.idle.wait(seconds), f"the pool took no transactions for {seconds} s")
        self.check()

    def proceed(self):
        self.going.set()


class Reader(Worker):
    """Follows the chain and notes each block; what was there once must stay there."""

    def __init__(self, url):
        super().__init__()
        self.connection, self.blocks, self.transactions = Connection(url), {}, 0
        self.from_height = 0

    def work(self):
        path = f"/v1/confirmed?from={self.from_height}&wait=1000"
        try:
            status, body = self.connection.ask("GET", path)
        except OSError:
            # A server that was killed may have forgotten: its last blocks are read again.
            self.from_height = max(0, self.from_height - 3)
            self.ending.wait(RETRY_SECONDS)
            return
        if status == 503:
            self.ending.wait(RETRY_SECONDS)
            return
        check(status == 200, f"the blockchain server answered {status}: {body[:500]}")
        for height, identity, count in read_confirmed(body):
            known = self.blocks.setdefault(height, identity)
            check(known == identity, f"block {height} was {known}, now it is {identity}")
            if height >= self.from_height:
                self.from_height = height + 1
                self.transactions += count


def read_confirmed(body):
    """Returns height, hash and number of transactions of each block in an answer."""
    blocks, at = [], 8
    for _ in range(int.from_bytes(body[:8], "little")):
        height = int.from_bytes(body[at:at + 8], "little")
        identity = body[at + 16:at + 48].hex()
        count = int.from_bytes(body[at + 48:at + 56], "little")
        at += 56 + 32 * count
        blocks.append((height, identity, count))
    check(at == len(body), "the list of what was confirmed has another length than it says")
    return blocks
