"""A TCP proxy that does to a connection what networks do: delays, cuts, and swallows answers."""

import heapq
import selectors
import socket
import threading
import time

CHUNK = 1 << 16


class Proxy:
    """Listens on a free port and passes on what comes, after `delay` seconds in each direction.

    `swallow(word)` waits for a client to send `word`, lets it pass, and then throws away every
    answer to that client and cuts it off `patience` seconds later: it was carried out, and nobody
    says so.
    """

    def __init__(self, host, port, listen="127.0.0.1", delay=0.0):
        self.target, self.delay = (host, port), delay
        self.word, self.swallowed, self.patience = None, threading.Event(), 0.3
        self.is_cut, self.ending = False, threading.Event()
        self.listener = socket.create_server((listen, 0))
        self.place = self.listener.getsockname()
        self.pairs, self.lock = set(), threading.Lock()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def accept(self):
        while not self.ending.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            pair = Pair(self, client)
            with self.lock:
                self.pairs = {one for one in self.pairs if one.thread.is_alive()} | {pair}
            pair.thread.start()

    def swallow(self, word):
        self.swallowed.clear()
        self.word = word

    def take_word(self, data):
        """Whether these bytes have what was waited for; only the first who asks is told so."""
        with self.lock:
            if self.word is None or self.word not in data:
                return False
            self.word = None
            return True

    def cut(self):
        """Ends all connections and takes no new ones."""
        self.is_cut = True
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            pair.ending.set()

    def heal(self):
        self.is_cut = False

    def close(self):
        self.ending.set()
        # A listener that is only closed goes on accepting in the other thread.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        self.thread.join()
        for pair in self.pairs:
            pair.thread.join()


class Pair:
    """A client's connection and the one made for it."""

    def __init__(self, proxy, client):
        self.proxy, self.client, self.server = proxy, client, None
        self.ending, self.deaf_since = threading.Event(), None
        # What is under way: when it is due, in which order it came, to whom, and what; nothing is
        # the end.
        self.queue, self.count = [], 0
        # The last bytes a client sent, as a word may come in two parts.
        self.last = b""
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            self.server = socket.create_connection(self.proxy.target, timeout=5)
            with selectors.DefaultSelector() as selector:
                for one in (self.client, self.server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(one, selectors.EVENT_READ)
                while not self.ending.is_set() and not self.is_over():
                    self.pass_on(selector)
        except OSError:
            pass
        finally:
            if self.deaf_since is not None:
                self.proxy.swallowed.set()
            self.client.close()
            if self.server:
                self.server.close()

    def is_over(self):
        since = self.deaf_since
        return since is not None and time.monotonic() > since + self.proxy.patience

    def pass_on(self, selector):
        until_due = self.queue[0][0] - time.monotonic() if self.queue else 0.05
        for key, _ in selector.select(max(0, min(0.05, until_due))):
            if not self.receive(key.fileobj):
                selector.unregister(key.fileobj)
        while self.queue and self.queue[0][0] <= time.monotonic():
            _, _, receiver, data = heapq.heappop(self.queue)
            if not data:
                raise ConnectionResetError("the other side ended it")
            receiver.settimeout(5)
            receiver.sendall(data)

    def receive(self, sender):
        """Takes what one side sent; returns whether there can be more."""
        data = sender.recv(CHUNK)
        if sender is self.client:
            self.listen_for_word(data)
        if sender is self.client or self.deaf_since is None:
            self.count += 1
            due = time.monotonic() + self.proxy.delay
            receiver = self.server if sender is self.client else self.client
            heapq.heappush(self.queue, (due, self.count, receiver, data))
        return bool(data)

    def listen_for_word(self, data):
        if self.deaf_since is None and self.proxy.take_word(self.last + data):
            self.deaf_since = time.monotonic()
        self.last = data[-256:]
