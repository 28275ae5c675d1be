"""Starts programs for a test and stops them again, whatever happens in between.

Used by the end-to-end scripts: everything runs in a temporary folder that is removed, on ports that
were free a moment before, without the caller's configuration.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

STOP_SECONDS = 10
READY_SECONDS = 120
COMMAND_SECONDS = 300
# Below the ports that Linux gives to outgoing connections.
PORTS = range(20_000, 32_000)


class Failed(Exception):
    """A check that did not hold, in a sentence."""


def check(holds, sentence):
    if not holds:
        raise Failed(sentence)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count):
    """Returns the first of `count` consecutive ports that are free now."""
    for _ in range(1_000):
        base = random.choice(PORTS[:-count])
        if all(is_free(base + offset) for offset in range(count)):
            return base
    raise Failed(f"no {count} free ports in a row")


def fetch(url, data=None):
    """Returns status and body of a GET, or of a POST if there is `data`."""
    request = urllib.request.Request(url, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=15) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def answer(url):
    """Returns the JSON that a GET is answered with; on a busy machine that may take a while."""
    status, body = poll(f"an answer from {url}", READY_SECONDS, lambda: try_to_fetch(url))
    check(status == 200, f"{url}: status {status}, {body[:500]}")
    return json.loads(body)


def try_to_fetch(url):
    try:
        return fetch(url)
    except OSError:
        return None


def poll(what, seconds, attempt):
    """Returns the first true value of `attempt`, which is asked until `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = attempt()
        if found:
            return found
        time.sleep(0.1)
    raise Failed(f"{what}: not within {seconds} s")


class Process:
    """A running program with its output in files."""

    def __init__(self, name, arguments, folder, environment):
        self.name = name
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                env=environment, start_new_session=True)

    def wait_ready(self, url, what=None):
        poll(f"{what or self.name} ready at {url}", READY_SECONDS, lambda: self.is_ready(url))

    def is_ready(self, url):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.child.returncode}\n{self.tail()}")
        try:
            return fetch(f"{url}/readyz")[0] == 200
        except OSError:
            return False

    def stop(self, kind=signal.SIGINT):
        """Asks it to stop, demands that it does so in time and well, and returns its output."""
        self.child.send_signal(kind)
        try:
            status = self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not stop within {STOP_SECONDS} s") from None
        check(status in (0, 130), f"{self.name} stopped with status {status}\n{self.tail()}")
        return self.out.read_text()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def tail(self):
        text = self.err.read_text(errors="replace") + self.out.read_text(errors="replace")
        return "\n".join(line[:500] for line in text.splitlines()[-20:])


class Fleet:
    """A temporary folder, and every program started in it; `with` cleans both up."""

    def __init__(self, dsc):
        self.dsc = str(Path(dsc).resolve())
        if not Path(self.dsc).is_file():
            sys.exit(f"there is no program {dsc}; `cargo build --bin dsc` makes target/debug/dsc")
        self.processes = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.temporary = tempfile.TemporaryDirectory(prefix="dsc-test-")
        self.folder = Path(self.temporary.name)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DSC_")}
        self.environment = kept | {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
        self.temporary.cleanup()

    def start(self, name, *arguments, program=None, environment=None):
        """Starts `dsc`, or another program, in the background; `environment` adds to its own."""
        command = [program or self.dsc, *map(str, arguments)]
        process = Process(name, command, self.folder, self.environment | (environment or {}))
        self.processes.append(process)
        return process

    def run(self, *arguments, status=0, program=None, seconds=COMMAND_SECONDS):
        """Runs `dsc`, or another program, to its end and returns what it printed."""
        return self.outcome(*arguments, status=status, program=program, seconds=seconds).stdout

    def outcome(self, *arguments, status=0, program=None, seconds=COMMAND_SECONDS):
        """Runs a program as `run` does and returns all that is known of it."""
        command = [program or self.dsc, *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.folder,
            env=self.environment, timeout=seconds, check=False)
        shown = " ".join([Path(command[0]).name, *command[1:]])
        check(done.returncode == status,
              f"`{shown}` ended with status {done.returncode}, expected {status}\n"
              f"{done.stdout}{done.stderr}")
        return done

    def ask(self, *arguments, status=0, seconds=COMMAND_SECONDS):
        """Runs `dsc ... --json` and returns its one document."""
        return document(self.run(*arguments, "--json", status=status, seconds=seconds))


def document(text):
    """Reads the one JSON document that a command with `--json` prints."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Failed(f"not one JSON document ({error}): {text[:2000]}") from None


def main(body):
    """Runs `body` and turns a broken expectation into a message and exit status 1."""
    try:
        body()
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
