#!/usr/bin/env python3
"""Holds running roles to the descriptions that they serve, by generated requests (schemathesis).

    openapi.py --dsc PROGRAM [--examples N] [--seed N] [--role ROLE ...]

Each role that serves HTTP runs as a process, as in six_roles.py. Schemathesis reads its
`/openapi.json` and makes requests within and outside of it: examples, the edges of every schema, N
random ones for each operation (20 unless told otherwise), and sequences of operations. Every check
that schemathesis has is on; scripts/schemathesis.toml says what is expected beyond the schemas.
The stream of events never ends and is checked here instead.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet import Failed, Fleet, check, main
from six_roles import Network, make_wallet

SCRIPTS = Path(__file__).parent.resolve()
ROLES = {"blockchain": "blockchain", "pool": "pool", "metronome": "metronome",
         "validator": "validator-work", "monitor": "monitor"}
STREAM = "/v1/events"
# An id in an answer does not mean that a transaction is held; openapi_hooks.py checks those that are.
WITHOUT = "ensure_resource_availability"
SECONDS_MAX = 6 * 3600


def write_samples(network, bob):
    """Bodies that the servers know: a block and lists of transactions, one in hexadecimal a line."""
    folder = network.fleet.folder
    network.ask("wallet", "faucet", "alice", "100")
    (folder / "payments.csv").write_text("".join(f"{bob},0.{n:08}\n" for n in range(1, 5)))
    network.ask("wallet", "sign", "--file", "payments.csv", "--out", "signed.ndjson",
                "--from", "alice", "--passphrase-file", "passphrase", "--per-transaction", 1)
    lines = (folder / "signed.ndjson").read_text().splitlines()[1:]
    signed = [bytes.fromhex(json.loads(line)["bytes"]) for line in lines]
    listed = lambda items: len(items).to_bytes(8, "little") + b"".join(items)
    with urllib.request.urlopen(f"{network.url('blockchain')}/v1/blocks/tip/raw") as answer:
        block = answer.read()
    bodies = [block, listed([]), listed(signed[:1]), listed(signed[1:]), listed(signed[:1] * 2)]
    path = folder / "samples"
    path.write_text("".join(f"{body.hex()}\n" for body in bodies))
    return path


def test_role(network, role, options, samples):
    """Runs schemathesis against one role; returns its summary."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", SCRIPTS / "schemathesis.toml",
        "run", f"{network.url(ROLES[role])}/openapi.json", "--checks", "all",
        "--exclude-checks", WITHOUT,
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", options.examples,
        "--seed", options.seed, "--exclude-path", STREAM, "--continue-on-failure",
        "--request-timeout", 15, "--suppress-health-check", "all", "--no-color",
    ]
    environment = network.fleet.environment | {
        "SCHEMATHESIS_HOOKS": "openapi_hooks", "PYTHONPATH": str(SCRIPTS),
        "DSC_OPENAPI_SAMPLES": str(samples),
    }
    done = subprocess.run(
        [str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        cwd=network.fleet.folder, env=environment, timeout=SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise Failed(f"the {role} is not as it describes itself (status {done.returncode})\n"
                     f"{done.stdout}{done.stderr}")
    return done.stdout


def check_stream(network):
    """A newcomer to the stream sees a sample; who names an event it comes after sees the next one."""
    first = read_event(network, "")
    check(first["event"] == "sample", f"the first event is {first['event']}")
    check(json.loads(first["data"])["height"] is not None, "the sample has no height")
    then = read_event(network, f"?after={first['id']}")
    epoch, _, number = first["id"].partition("-")
    check(then["id"] == f"{epoch}-{int(number) + 1}", f"after {first['id']} comes {then['id']}")


def read_event(network, query):
    """The first event of a stream that has data."""
    url = network.url("monitor") + STREAM + query
    with urllib.request.urlopen(url, timeout=15) as answer:
        check(answer.headers["content-type"] == "text/event-stream", "events are of another type")
        event = {}
        while "data" not in event:
            event = {}
            while line := answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(":")
                event[name] = value.strip()
    return event


def count(output):
    """The generated test cases that a summary of schemathesis tells of."""
    found = re.search(r"([\d,]+) generated", output)
    return int(found.group(1).replace(",", "")) if found else 0


def run():
    parser = argparse.ArgumentParser(description="Holds running roles to their descriptions.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    parser.add_argument("--examples", type=int, default=20, help="random requests per operation")
    parser.add_argument("--seed", type=int, default=5, help="seed of what is drawn")
    parser.add_argument("--role", action="append", choices=ROLES, help="only this role")
    parser.add_argument("--verbose", action="store_true", help="show the output of schemathesis")
    options = parser.parse_args()
    with Fleet(options.dsc) as fleet:
        network = Network(fleet, "openapi", "1s", accounts=2)
        network.make_genesis()
        network.rewarded, bob = make_wallet(network)
        for name in ROLES.values():
            network.start(name)
        samples = write_samples(network, bob)
        roles = options.role or list(ROLES)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            outputs = pool.map(lambda role: test_role(network, role, options, samples), roles)
            for role, output in zip(roles, outputs):
                if options.verbose:
                    print(output)
                print(f"{role}: {count(output):,} requests, all as described")
        check_stream(network)
        for name in ROLES.values():
            check(network.processes[name].is_ready(network.url(name)), f"{name} is not ready")


if __name__ == "__main__":
    main(run)
