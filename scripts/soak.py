#!/usr/bin/env python3
"""Runs the six roles under steady load and judges what they hold: nothing may grow without need.

    soak.py --dsc PROGRAM [--minutes 60] [--rate 400] [--csv FILE] [--block-time 1s]
    soak.py --judge FILE

In the first half of the payments every other one is to a new address, in the second half all are
to a few addresses that exist. So the ledger's state grows in the first half, as it has to (a role
that follows the chain holds every account), and must not in the second, in which memory may follow
only what is bounded or stated here:

* the blockchain server: up to 8 MiB of records that are not in the index yet, the fences of the
  index, 0.1 byte a transaction, and its open files: at most eight runs of six kinds for each level
  of the index (docs/storage.md);
* the pool: what it remembers of ended transactions, until there are `pool.finished_max` of them;
* blockchain server, pool and metronome: the transactions that were found good, of which two lots of
  131,072 are remembered (about 150 bytes each), so that memory rises for that many transactions
  and falls when the older lot goes: what counts is the least memory during each lot;
* all: what the allocator keeps, which goes up and down.

Every ten seconds memory, open files, threads, connections and the data folder of each role go to
a CSV file. A line is fitted through the least of each lot of the second half, or, if that has less
than three lots, through its last two thirds.
"""

import argparse
import csv
import os
import sys
import time
from pathlib import Path

from fleet import Failed, Fleet, answer, check, main
from load import Reader, Sender, Wallet, address
from roles import NAMES, Roles

SENDERS = 4
# A wallet signs what it sends in this time at once.
PORTION_SECONDS = 20
# The share of the rate that has to get onto the chain for a verdict to mean anything.
LOAD_SHARE = 0.25
# Bytes a transaction that memory may grow by in the second half, and what noise may add: the share
# of what is held that the allocator may keep more of at one time than at another.
BYTES_A_TRANSACTION, NOISE_BYTES, NOISE_SHARE = 2, 8 << 20, 0.1
# Transactions after which a role forgets the older half of those it found good.
LOT = 1 << 17
# What differs between two looks: a file being merged, a connection being made again, a thread that
# the runtime starts for a request and keeps for ten seconds. And one more level of an index.
SPARE = {"files": 12, "threads": 12, "connections": 12}
LEVEL_FILES = 6 * 8
FIELDS = ("seconds", "role", "phase", "rss", "files", "threads", "connections", "disk",
          "height", "accounts", "transactions", "pending", "finished")


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def files_of(pid):
    """What each open descriptor leads to; one may be closed while this looks."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(entry.path))
        except FileNotFoundError:
            pass
    return found


def tcp_sockets():
    """The inodes of all TCP sockets that are no listeners."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != "0A":
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def bytes_in(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass
    return total


class Soak:
    """The roles, the load on them and the samples so far."""

    def __init__(self, fleet, options):
        self.fleet, self.options, self.samples = fleet, options, []
        self.roles = Roles(fleet, "soak", options.block_time, SENDERS, rewarded=address("rewarded"))
        self.roles.make_genesis()
        self.roles.start_all()
        self.reader = Reader(self.roles.url("blockchain"))
        portion = max(1, round(options.rate / SENDERS * PORTION_SECONDS))
        self.wallets = [Wallet(fleet, number, portion) for number in range(SENDERS)]
        batch = max(1, round(options.rate / SENDERS / 5))
        self.senders = [Sender(self.roles.url("pool"), wallet, options.rate / SENDERS, batch)
                        for wallet in self.wallets]

    def run(self):
        """Samples until the time is over."""
        for wallet in self.wallets:
            wallet.coming.result()
        for worker in (self.reader, *self.senders):
            worker.start()
        start, half = time.monotonic(), self.options.minutes * 30
        with open(self.options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            for number in range(int(2 * half / self.options.interval) + 1):
                time.sleep(max(0, start + number * self.options.interval - time.monotonic()))
                seconds = time.monotonic() - start
                if seconds >= half:
                    for wallet in self.wallets:
                        wallet.new_share = 0
                rows = self.sample(round(seconds), 1 if seconds < half else 2)
                writer.writerows(rows)
                file.flush()
                self.samples += rows
                for worker in (self.reader, *self.senders):
                    worker.check()
                for sender in self.senders:
                    # A million of them would fill this program's memory.
                    sender.acknowledged.clear()
        for worker in (self.reader, *self.senders):
            worker.stop()

    def sample(self, seconds, phase):
        info, counts = self.roles.info(), answer(f"{self.roles.url('pool')}/v1/counts")
        common = {
            "seconds": seconds, "phase": phase, "height": info["height"],
            "accounts": info["accounts"], "transactions": info["transactions"],
            "pending": counts["submitted"] + counts["unconfirmed"], "finished": counts["finished"],
        }
        sockets = tcp_sockets()
        return [{**common, **self.look(name, sockets)} for name in NAMES]

    def look(self, name, sockets):
        process = self.roles.processes[name]
        check(process.child.poll() is None, f"{name} ended by itself\n{process.tail()}")
        status, files = status_of(process.child.pid), files_of(process.child.pid)
        return {
            "role": name, "rss": 1024 * int(status["VmRSS"].split()[0]),
            "files": len(files), "threads": int(status["Threads"]),
            "connections": sum(file in sockets for file in files),
            "disk": bytes_in(self.fleet.folder / f"data-{name}"),
        }


def slope(points):
    """Least squares: how much y grows by for one x."""
    count = len(points)
    mean_x, mean_y = (sum(values) / count for values in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


class Verdict:
    """What the samples of one role say."""

    def __init__(self, name, samples):
        self.name, self.faults = name, []
        own = [sample for sample in samples if sample["role"] == name]
        self.first, self.second = ([s for s in own if s["phase"] == phase] for phase in (1, 2))
        self.judged = self.second[len(self.second) // 3:]
        self.judge_memory()
        self.judge_counts()
        self.judge_disk()

    def across(self, samples, field):
        return samples[-1][field] - samples[0][field]

    def least(self):
        """The least memory of each lot in the second half; of the lot it begins in, nothing."""
        lots = {}
        for sample in self.second:
            lots.setdefault(sample["transactions"] // LOT, []).append(sample)
        whole = list(lots.values())[1:]
        return [min(lot, key=lambda sample: sample["rss"]) for lot in whole]

    def judge_memory(self):
        least = self.least()
        fitted = least if len(least) > 2 else self.judged
        points = [(sample["transactions"], sample["rss"]) for sample in fitted]
        transactions = self.across(fitted, "transactions")
        self.growth = slope(points) * transactions
        held = max(rss for _, rss in points)
        self.allowed = BYTES_A_TRANSACTION * transactions + NOISE_BYTES + NOISE_SHARE * held
        if self.growth > self.allowed:
            self.faults.append(f"memory grew by {mib(self.growth)} MiB in the second half, allowed "
                               f"are {mib(self.allowed)}")
        accounts = max(1, self.across(self.first, "accounts"))
        self.an_account = self.across(self.first, "rss") / accounts

    def judge_counts(self):
        for field, spare in SPARE.items():
            if (self.name, field) == ("blockchain", "files"):
                spare += LEVEL_FILES
            before = max(sample[field] for sample in self.first)
            after = max(sample[field] for sample in self.judged)
            if after > before + spare:
                self.faults.append(f"{field}: {after} at most, {before} in the first half")

    def judge_disk(self):
        transactions = max(1, self.across(self.judged, "transactions"))
        self.disk_a_transaction = self.across(self.judged, "disk") / transactions
        if self.name == "blockchain":
            return
        before = max(sample["disk"] for sample in self.first)
        after = max(sample["disk"] for sample in self.judged)
        if after > 1.5 * before + (48 << 20):
            self.faults.append(f"the data folder has {mib(after)} MiB, {mib(before)} in the first "
                               "half")

    def row(self):
        every = self.first + self.second
        values = lambda field: [sample[field] for sample in every]
        span = lambda field: f"{min(values(field))}-{max(values(field))}"
        return (f"{self.name:17} {mib(every[0]['rss']):>6} {mib(self.first[-1]['rss']):>6} "
                f"{mib(every[-1]['rss']):>6} {mib(self.growth):>7} {mib(self.allowed):>7} "
                f"{self.an_account:>7.0f} {span('files'):>8} {span('threads'):>8} "
                f"{span('connections'):>8} {mib(every[-1]['disk']):>7} "
                f"{self.disk_a_transaction:>7.1f}")


def mib(size):
    return f"{size / (1 << 20):.1f}"


def report(samples):
    last = samples[-1]
    print(f"{last['transactions']} transactions on the chain after {last['seconds']} s, "
          f"{last['accounts']} accounts, height {last['height']}, the pool remembers "
          f"{last['finished']}")
    print("role               MiB at  MiB at  MiB at  growth allowed  bytes/            threads  "
          "connect- data MiB bytes/")
    print("                    start    half     end of 2nd  of 2nd account    files           "
          "  ions            tx")
    verdicts = [Verdict(name, samples) for name in NAMES]
    for verdict in verdicts:
        print(verdict.row())
    faults = [f"{verdict.name}: {fault}" for verdict in verdicts for fault in verdict.faults]
    if faults:
        raise Failed("\n".join(faults))
    print("nothing grows that need not")


def arguments():
    parser = argparse.ArgumentParser(description="Judges what the roles hold under steady load.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dsc", help="the program dsc, a release build")
    what.add_argument("--judge", metavar="FILE", help="judge the samples of an earlier run")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=400, help="transactions a second")
    parser.add_argument("--block-time", default="1s")
    parser.add_argument("--interval", type=float, default=10, help="seconds between two looks")
    parser.add_argument("--csv", default="soak.csv", help="file for the samples")
    return parser.parse_args()


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{field: value if field == "role" else int(value) for field, value in row.items()}
            for row in rows]


def run():
    options = arguments()
    if options.judge:
        report(read(options.judge))
        return
    if not Path("/proc/self/fd").exists():
        print("NOT TESTED: there is no /proc here")
        return
    with Fleet(options.dsc) as fleet:
        soak = Soak(fleet, options)
        soak.run()
    report(soak.samples)
    reached, wanted = soak.samples[-1]["transactions"], options.rate * options.minutes * 60
    check(reached >= LOAD_SHARE * wanted, f"{reached} transactions are too little load to judge by")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main(run)
