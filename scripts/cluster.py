#!/usr/bin/env python3
"""Breaks a chain on a replicated engine in every way there is, and demands that nothing is lost.

    cluster.py --dsc PROGRAM [--nats-server PROGRAM] [--brief] [--only CASE ...] [--list]

Three real nats-servers and two of each role run as processes of their own, each host in a network
namespace if there can be any; clients pay by way of any pool, and note what was acknowledged. One
fault after another is done to them. After each:

1. All blockchain servers have the same block and the same state at every height, no height had two
   at any time, and the log of the engine has one entry for each.
2. Every transaction that was acknowledged is on the ledger, or has expired; none is there twice.
3. The chain went on within the time that the case states.
4. Every process runs, exactly one metronome leads, and none has signed two blocks of one height.

At the end each ledger is replayed, and verify_chain.py accepts the chain and comes to the same
state. Cases that this machine cannot do are named: `NOT RUN: case: why`.
"""

import argparse
import collections
import json
import shutil
import sys
import time
import traceback
from pathlib import Path

from fleet import Failed, Fleet, check, main
from cluster import disk, netns
from cluster.chain import Chain
from cluster.checks import Checks, first_times, longest_pause
from cluster.faults import CASES, add_steps
from cluster.nodes import VERSION, Nodes, find_server, version_of

HOSTS, SERVED = 3, 2
DISK_MEBIBYTES = 512
# Blocks that the chain makes after a fault before it is checked.
BLOCKS_AFTER = 2
COLUMNS = ("case", "limit s", "gap s", "engine s", "lease s", "blocks", "acknowledged", "lost",
           "doubled")

Row = collections.namedtuple("Row", "case limit gap engine lease blocks acknowledged what remarks")


def points(fleet):
    """The steps that only a cluster comes to, if the program can die at any."""
    known = [point["name"] for point in fleet.ask("crash-points")["points"]]
    return [name for name in known if name.startswith("cluster.")]


class Matrix:
    """The cases to run on one chain, and what came of them."""

    def __init__(self, options, lacks):
        self.options, self.lacks, self.rows, self.left_out = options, lacks, [], {}

    def chosen(self):
        """The cases that were asked for and can be run; notes the others."""
        names = self.options.only or [
            name for name, case in CASES.items() if case.is_brief or not self.options.brief]
        unknown = [name for name in names if name not in CASES]
        check(not unknown, f"no case {unknown}: {list(CASES)}")
        for name in names:
            reasons = [self.lacks[need] for need in CASES[name].needs if self.lacks[need]]
            reason = "; ".join(reasons)
            if reason:
                self.left_out[name] = reason
                print(f"NOT RUN: {name}: {reason}", flush=True)
        return [CASES[name] for name in names if name not in self.left_out]

    def run(self, chain, checks, case):
        """Strikes, waits until the chain has gone on, checks everything, and notes the figures."""
        chain.remarks.clear()
        before = chain.height()
        chain.begin()
        resumable = case.strike(chain)
        chain.grow(BLOCKS_AFTER)
        start, end = chain.window
        end = end or time.monotonic()
        acknowledged = checks.all()
        gap = self.gap(chain, resumable or start, end, resumable is None)
        row = Row(case.name, case.limit, gap, chain.watch.longest(start, end, 1),
                  chain.watch.longest(start, end, 2), chain.height() - before, acknowledged,
                  case.what, list(chain.remarks))
        self.rows.append(row)
        print(line_of(row), flush=True)
        for remark in row.remarks:
            print(f"    {remark}", flush=True)
        allowed = case.limit * self.options.patience
        check(gap <= allowed, f"{case.name}: {gap:.1f} s without a block, {allowed:g} are allowed")

    def gap(self, chain, since, end, is_from_last):
        """Seconds without a block: from the last one before, or from when it could go on."""
        times = list(first_times(chain.followers).values())
        if is_from_last:
            return longest_pause(times, since, end)
        after = [moment for moment in times if moment > since]
        return min(after, default=end) - since


def line_of(row):
    return (f"{row.case:24} {row.limit:>7g} {row.gap:>6.1f} {row.engine:>8.1f} {row.lease:>7.1f} "
            f"{row.blocks:>6} {row.acknowledged:>12} {0:>4} {0:>7}")


def head():
    return (f"{COLUMNS[0]:24} {COLUMNS[1]:>7} {COLUMNS[2]:>6} {COLUMNS[3]:>8} {COLUMNS[4]:>7} "
            f"{COLUMNS[5]:>6} {COLUMNS[6]:>12} {COLUMNS[7]:>4} {COLUMNS[8]:>7}")


def markdown(rows, left_out):
    lines = ["| " + " | ".join((*COLUMNS, "what")) + " |", "|" + "---|" * (len(COLUMNS) + 1)]
    for row in rows:
        lines.append(f"| `{row.case}` | {row.limit:g} | {row.gap:.1f} | {row.engine:.1f} | "
                     f"{row.lease:.1f} | {row.blocks} | {row.acknowledged} | 0 | 0 | {row.what} |")
    lines += [f"| `{name}` | | | | | | | | | not run: {why} |" for name, why in left_out.items()]
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description="Breaks a chain on a replicated engine.")
    parser.add_argument("--dsc", required=True, help="the program dsc, with debug assertions")
    parser.add_argument("--nats-server", help="else DSC_NATS_SERVER, the path, or installed")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone")
    parser.add_argument("--brief", action="store_true", help="the cases of scripts/test")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--seed", type=int, default=1, help="another one kills otherwise")
    parser.add_argument("--rate", type=float, default=60, help="transactions a second")
    parser.add_argument("--patience", type=float, default=1,
                        help="times the stated time that may pass on a busy machine")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there as well")
    parser.add_argument("--keep", metavar="FOLDER", help="copy everything there if it fails")
    return parser.parse_args()


class Disks:
    """A file system of its own for each node, if asked for; `with` takes them away."""

    def __init__(self, fleet, wanted):
        self.fleet, self.wanted, self.all = fleet, wanted, []

    def __enter__(self):
        try:
            for number in range(HOSTS if self.wanted else 0):
                self.all.append(disk.Disk(self.fleet.folder, f"disk-{number}", DISK_MEBIBYTES))
        except BaseException:
            self.__exit__()
            raise
        return self.all

    def __exit__(self, *_):
        for one in self.all:
            one.remove()


class Running:
    """A chain whose processes end before the disks and networks below them do."""

    def __init__(self, chain):
        self.chain = chain

    def __enter__(self):
        return self.chain

    def __exit__(self, *_):
        for worker in self.chain.workers():
            if worker:
                worker.ending.set()
        for node in self.chain.nodes.all:
            node.kill()
        for process in self.chain.fleet.processes:
            process.kill()


def lacks(fleet, options):
    """What this machine cannot do, by need: a reason, or None."""
    return {
        "netns": "asked not to use them" if options.loopback else netns.reason_against(),
        "disks": None if options.brief else disk.reason_against(fleet.folder),
        "strace": None if shutil.which("strace") else "Debian's package strace is missing",
        "steps": None,
    }


def torment(fleet, matrix, cases, program):
    """Runs cases on one chain, until one fails: then nothing is known of that chain any more."""
    with_disks = any("disks" in case.needs for case in cases)
    network = netns.Loopback(HOSTS) if matrix.lacks["netns"] else netns.Network(HOSTS)
    with network, Disks(fleet, with_disks) as disks:
        nodes = Nodes(fleet, program, network.hosts, disks)
        with Running(Chain(fleet, network, nodes, SERVED, matrix.options.seed)) as chain:
            chain.start(matrix.options.rate)
            chain.grow(BLOCKS_AFTER)
            checks = Checks(chain)
            print(head(), flush=True)
            while cases:
                try:
                    matrix.run(chain, checks, cases[0])
                except Failed as error:
                    raise Failed("\n    ".join([str(error), *chain.remarks])) from error
                cases.pop(0)
            print(f"verified: {json.dumps(checks.end())}")
    print(f"{checks.acknowledged} acknowledged, {checks.expired} of them expired, none lost, none "
          f"twice", flush=True)


def keep(folder, place):
    """Copies what there is; a wallet may be signing still, and take its files away."""
    try:
        shutil.copytree(folder, place, symlinks=True, dirs_exist_ok=True)
    except shutil.Error as error:
        print(f"not all was kept: {error}", flush=True)


def run_all(options, program):
    """Runs every case that was chosen, on another chain after one that failed."""
    with Fleet(options.dsc) as fleet:
        add_steps(points(fleet))
        matrix = Matrix(options, lacks(fleet, options))
        chosen = matrix.chosen()
    left, failures = list(chosen), []
    while left:
        with Fleet(options.dsc) as fleet:
            try:
                torment(fleet, matrix, left, program)
            except Exception as error:  # whatever it is, the other cases are to be run
                failed = left.pop(0).name if left else "at the end"
                failures.append(failed)
                print(f"FAILED: {failed}: {error}", flush=True)
                if not isinstance(error, Failed):
                    traceback.print_exc()
                if options.keep:
                    keep(fleet.folder, Path(options.keep) / failed)
    if options.markdown:
        Path(options.markdown).write_text(markdown(matrix.rows, matrix.left_out))
    check(not failures, f"{len(failures)} of {len(chosen)} cases failed: {', '.join(failures)}")
    return len(chosen)


def run():
    options, start = arguments(), time.monotonic()
    if options.list:
        with Fleet(options.dsc) as fleet:
            add_steps(points(fleet))
        for case in CASES.values():
            print(f"{case.name:24} {case.limit:>4g} s  {case.what}")
        return
    program = find_server(options.nats_server)
    version = version_of(program)
    check(version == VERSION, f"{program} is version {version}, the tests are for {VERSION}")
    again = " ".join(["python3 scripts/cluster.py", *sys.argv[1:]])
    print(f"seed {options.seed}; to see it again: {again}", flush=True)
    count = run_all(options, program)
    print(f"Ran {count} tests in {time.monotonic() - start:.3f}s")


if __name__ == "__main__":
    main(run)
