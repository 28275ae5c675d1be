#!/usr/bin/env python3
"""What a chain on a replicated engine carries, beside one without: the figures of docs/scale.md.

    cluster_figures.py --dsc PROGRAM [--nats-server PROGRAM] [--rounds N] [--transactions N]

One row each: every role once and no engine; then three real nats-servers that sync each write, with
one, two and three of each role. All of it and the load share this machine. Each round makes a new
chain for every row, one after the other, and measures twice: as much as is taken (closed loop,
clients dealt out to all pools), and how long one payment takes at low load. What is printed are
medians of the rounds, and ratios to the first row, whose runs lie between those of the others.
"""

import argparse
import json
import statistics
from pathlib import Path

from fleet import Fleet, check, main
from cluster import netns
from cluster.chain import SENDERS, Chain
from cluster.nodes import Nodes, find_server

HOSTS = 3
# Without an engine, then so many of each role on one.
ROWS = (0, 1, 2, 3)
LATENCY_CLIENTS = 2
FIGURES = ("tx_per_second", "submit_tx_per_second", "p50_s", "p99_s", "low_p50_s", "low_p99_s",
           "servers_cpu_us", "engine_cpu_us")
HEAD = ("", "confirmed/s", "accepted/s", "p50 s", "p99 s", "low p50 s", "low p99 s",
        "roles us", "engine us", "of alone")


def name_of(served):
    return f"engine, {served} of each" if served else "no engine"


class Bench:
    """Measures one chain."""

    def __init__(self, chain, options):
        self.chain, self.options = chain, options

    def load(self, *flags):
        """One run of `dsc bench load` on every pool of the chain."""
        chain = self.chain
        return chain.fleet.ask(
            "bench", "load", "--genesis", "genesis.json", *flags,
            "--pool-url", ",".join(role.url for role in chain.of("pool")),
            "--blockchain-url", ",".join(role.url for role in chain.of("blockchain")))["load"]

    def measure(self):
        nodes = self.chain.nodes.all if self.chain.nodes else []
        roles = [role.process.child.pid for role in self.chain.roles.values()]
        before = [cpu_seconds(node.pid()) for node in nodes]
        full = self.load(
            "--clients", SENDERS, "--transactions", self.options.transactions,
            "--batch", self.options.batch, *[part for pid in roles for part in ("--pid", pid)])
        after = [cpu_seconds(node.pid()) for node in nodes]
        check(full["confirmed"] == self.options.transactions, f"not all is confirmed: {full}")
        low = self.load("--clients", LATENCY_CLIENTS, "--wait",
                        "--time", f"{self.options.low_seconds}s")
        return {
            "tx_per_second": full["tx_per_second"],
            "submit_tx_per_second": full["submit_tx_per_second"],
            "p50_s": full["latency_s"]["p50"], "p99_s": full["latency_s"]["p99"],
            "low_p50_s": low["latency_s"]["p50"], "low_p99_s": low["latency_s"]["p99"],
            "servers_cpu_us": full["servers"]["cpu_us_per_tx"],
            "engine_cpu_us": 1e6 * (sum(after) - sum(before)) / full["confirmed"],
        }


def cpu_seconds(pid):
    """Processor time of a process so far."""
    tasks = [(task / "schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(task.split()[0]) for task in tasks) / 1e9


def run_row(served, options, program):
    """A new chain with so many of each role, measured, and stopped again."""
    with Fleet(options.dsc) as fleet, netns.Loopback(HOSTS) as network:
        nodes = Nodes(fleet, program, network.hosts) if served else None
        chain = Chain(fleet, network, nodes, max(served, 1), seed=1)
        chain.start_servers()
        chain.grow(2)
        return Bench(chain, options).measure()


def report(measured):
    """Prints the medians, and writes how far the rounds lie apart."""
    base = statistics.median(run["tx_per_second"] for run in measured[ROWS[0]])
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    for served, runs in measured.items():
        middle = {field: statistics.median(run[field] for run in runs) for field in FIGURES}
        rates = sorted(run["tx_per_second"] for run in runs)
        print(f"| {name_of(served)} | {middle['tx_per_second']:,.0f} ({rates[0]:,.0f} to "
              f"{rates[-1]:,.0f}) | {middle['submit_tx_per_second']:,.0f} | "
              f"{middle['p50_s']:.2f} | {middle['p99_s']:.2f} | {middle['low_p50_s']:.3f} | "
              f"{middle['low_p99_s']:.3f} | {middle['servers_cpu_us']:.1f} | "
              f"{middle['engine_cpu_us']:.1f} | {middle['tx_per_second'] / base:.2f} |")


def run():
    parser = argparse.ArgumentParser(description="Measures a chain on a replicated engine.")
    parser.add_argument("--dsc", required=True, help="the program dsc, a release build")
    parser.add_argument("--nats-server", help="else DSC_NATS_SERVER, the path, or installed")
    parser.add_argument("--rounds", type=int, default=3, help="chains for each row")
    parser.add_argument("--transactions", type=int, default=64_000, help="in the closed loop")
    parser.add_argument("--batch", type=int, default=500, help="transactions in a request")
    parser.add_argument("--low-seconds", type=int, default=20, help="length of the low load")
    options = parser.parse_args()
    program = find_server(options.nats_server)
    measured = {served: [] for served in ROWS}
    for number in range(options.rounds):
        for served in ROWS:
            found = run_row(served, options, program)
            print(json.dumps({"round": number, "row": name_of(served), **found}), flush=True)
            measured[served].append(found)
    report(measured)


if __name__ == "__main__":
    main(run)
