#!/usr/bin/env python3
"""Runs the six roles as processes of their own and pays from one wallet to another.

    six_roles.py --dsc PROGRAM

1. A genesis; blockchain, pool, metronome, monitor and a validator for each proof, on free ports.
2. The wallet makes two keys, the faucet funds one, it pays the other, the payment confirms.
3. The proof that it is on the ledger verifies without any role; a changed one does not.
4. Each process is stopped and started again, one after the other, the others running on: the
   chain goes on, and nothing that was confirmed is lost.
5. A stopped metronome makes no blocks, a started one does.
6. A role that is not there is told from those that are; a validator's folder takes one validator;
   a payment that is no longer waited for, and those of many that went out before they were cut off,
   are named and get onto the ledger.
7. At the end the ledger replays.
"""

import argparse
import json
import re
import time
from decimal import Decimal
from pathlib import Path

from fleet import Fleet, answer, check, document, main, poll
from roles import PATIENCE_SECONDS, Roles

PASSPHRASE = "correct horse battery staple"
BLOCK_SECONDS = 1
# Transactions of 256 payments each that are sent at once.
PARTS = 20


class Network(Roles):
    """The six roles, and the wallet of somebody who uses them."""

    def stop(self, name):
        """Stops one process, whose output is one document a line: reports, or what happened."""
        documents = [document(line) for line in self.processes[name].stop().splitlines()]
        if name == "monitor":
            check(any("chain" in report for report in documents), "the monitor saw no chain")
            return
        events = [event["event"] for event in documents]
        check(events[0] == "listening" and events[-1] == "stopped", f"{name}: {events}")

    def restart(self, name):
        before = self.info()
        self.stop(name)
        self.start(name)
        self.grow(2)
        after = self.info()
        check(after["transactions"] >= before["transactions"],
              f"transactions were lost when {name} was restarted")
        print(f"restarted {name} at height {before['height']}, now {after['height']}")

    def ask(self, *arguments, **options):
        """Runs a command of the wallet's owner, who knows where the servers are."""
        return self.fleet.ask(*arguments, "--data-dir", "data-wallet", *self.urls(), **options)

    def info(self):
        return self.ask("chain", "info")

    def balance(self, name):
        return self.ask("wallet", "balance", name)["balance"]


def make_wallet(network):
    """Two keys under one passphrase; returns their addresses."""
    (network.fleet.folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    make = lambda name: network.ask("wallet", "create", name, "--passphrase-file", "passphrase")
    return [make(name)["address"] for name in ("alice", "bob")]


def pay(network, bob):
    funded = network.ask("wallet", "faucet", "alice", "100")
    print(f"funded: {json.dumps(funded)}")
    sent = network.ask("wallet", "send", bob, "12.5", "--from", "alice",
                       "--passphrase-file", "passphrase")
    print(f"paid: {json.dumps(sent)}")
    check(network.balance("bob") == "12.5", f"Bob has {network.balance('bob')} coins, not 12.5")
    return sent["id"]


def prove(network, identity):
    """The inclusion proof verifies without a server, and not after a change."""
    network.ask("block", "proof", identity, "--out", "proof.json")
    offline = ("block", "verify", "proof.json", "--genesis", "genesis.json")
    network.fleet.ask(*offline)
    path = network.fleet.folder / "proof.json"
    proof = json.loads(path.read_text())
    proof["inclusion"]["header"]["time"] += 1
    path.write_text(json.dumps(proof))
    network.fleet.ask(*offline, status=4)
    print("the inclusion proof verifies offline, a changed one does not")


def stop_and_start_metronome(network):
    network.ask("metronome", "stop")
    time.sleep(2 * BLOCK_SECONDS)
    height = network.height()
    time.sleep(3 * BLOCK_SECONDS)
    check(network.height() == height, "a stopped metronome made a block")
    network.ask("metronome", "start")
    network.grow(2)
    print(f"the metronome stopped at height {height} and went on")


def probe(network):
    """Without its pool, the other two servers are said to be ready."""
    network.stop("pool")
    told = network.fleet.outcome("health", *network.urls(), status=6)
    ready = [line.split()[0] for line in told.stderr.splitlines() if " ready" in line]
    check(ready == ["blockchain", "metronome"], f"ready without the pool: {told.stderr}")
    check(network.url("pool") in told.stderr, f"the pool is not named: {told.stderr}")
    network.start("pool")
    print(f"without the pool: {told.stderr.strip()}")


def refuse_second_validator(network):
    name = "validator-work"
    arguments = network.command(name)
    arguments[arguments.index("--listen") + 1] = "127.0.0.1:0"
    refused = document(network.fleet.run(*arguments, status=1))["error"]
    check(refused["code"] == "data-folder-in-use", f"a second validator: {refused}")
    print(f"a second validator: {refused['message']}")


def cut_off(network, bob):
    """Kills the pool while many are paid: the same command again pays the rest, and nothing twice."""
    payments = "".join(f"{bob},0.001\n" for _ in range(256 * PARTS))
    (network.fleet.folder / "many.csv").write_text(payments)
    command = ["wallet", "send-many", "many.csv", "--from", "alice", "--passphrase-file",
               "passphrase"]
    coins = lambda: Decimal(network.ask("wallet", "balance", bob)["balance"])
    before, kept = coins(), network.fleet.folder / "many.csv.sent"
    paying = network.fleet.start(
        "send-many", *command, "--timeout", "2s", "--json", "--data-dir", "data-wallet",
        *network.urls())
    poll("the first of many", PATIENCE_SECONDS,
         lambda: kept.exists() and '"signed"' in kept.read_text())
    network.processes["pool"].kill()
    status = paying.child.wait(PATIENCE_SECONDS)
    network.start("pool")
    network.ask(*command)
    paid = coins() - before
    check(paid == Decimal("0.256") * PARTS, f"{paid} coins were paid in all")
    print(f"send-many was cut off with status {status}; again, it paid the rest")


def interrupt(network, bob):
    """Ctrl-C while a payment is waited for names it; it is confirmed all the same."""
    network.ask("metronome", "stop")
    paying = network.fleet.start(
        "send", "wallet", "send", bob, "0.001", "--from", "alice", "--passphrase-file",
        "passphrase", "--json", "--data-dir", "data-wallet", *network.urls())
    pending = lambda: answer(f"{network.url('pool')}/v1/counts")["submitted"] == 1
    poll("a payment in the pool", PATIENCE_SECONDS, pending)
    told = document(paying.stop())["error"]
    check(paying.child.returncode == 130 and told["code"] == "interrupted",
          f"status {paying.child.returncode} after Ctrl-C: {told}")
    (identity,) = re.findall("[0-9a-f]{64}", told["message"])
    network.ask("metronome", "start")
    poll("the payment that was no longer waited for", PATIENCE_SECONDS,
         lambda: network.ask("tx", "status", identity)["state"] == "confirmed")
    print(f"interrupted: {told['message']}")


def run():
    parser = argparse.ArgumentParser(description="Runs the six roles as processes.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    with Fleet(parser.parse_args().dsc) as fleet:
        network = Network(fleet, "six-roles", f"{BLOCK_SECONDS}s", accounts=2)
        network.make_genesis()
        network.rewarded, bob = make_wallet(network)
        network.start_all()
        identity = pay(network, bob)
        prove(network, identity)
        probe(network)
        refuse_second_validator(network)
        for name in network.ports:
            network.restart(name)
        check(network.balance("bob") == "12.5", "the payment was lost")
        check(network.ask("tx", "status", identity)["state"] == "confirmed",
              "the payment is not confirmed any more")
        stop_and_start_metronome(network)
        interrupt(network, bob)
        cut_off(network, bob)
        for name in reversed(network.ports):
            network.stop(name)
        replayed = fleet.ask("chain", "verify", "--offline", "--data-dir", "data-blockchain")
        print(f"replayed: {json.dumps(replayed)}")


if __name__ == "__main__":
    main(run)
