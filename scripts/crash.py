#!/usr/bin/env python3
"""Kills the six roles again and again under load, and demands that nothing is lost or doubled.

    crash.py --dsc PROGRAM [--kills 60] [--seed 1] [--random | --at POINT] [--rate 150]

The roles run as processes of their own, with blocks every 300 ms. Clients pay all the time and
note what the pool acknowledges, a reader notes every block it is shown. In each cycle some roles
are killed (SIGKILL) and started again: at random moments, all at once, while they start, or where
they come to a step that `dsc crash-points` names. Then:

1. The chain goes on: it is two blocks longer within a bound, after every cycle.
2. What was acknowledged is on the chain exactly once, or has expired; all of it is good, so none is
   rejected.
3. A block that a reader saw is the block at its height for ever.
4. The metronome has signed one block of each height, and what its disk has is what the ledger has.
5. verify_chain.py accepts the chain, and comes to the supply and state that the server reports.

2 to 5 are checked every few cycles and at the end, when the pool has run empty. Without --random
or --at every step is gone through once, each role's beside the others', then steps and random
kills take turns. Steps need a program with debug assertions. A cycle armed with a step kills twice:
where the role happens to be, to start it armed, and at the step.
"""

import argparse
import collections
import json
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from audit import Audit
from fleet import Failed, Fleet, answer, check, document, fetch, main, poll
from load import Reader, Sender, Wallet, address
from roles import NAMES, PROOFS, Roles
from signed import Signed

SCRIPTS = Path(__file__).resolve().parent
VARIABLE = "DSC_CRASH_AT"
BLOCK_TIME = "300ms"
SENDERS = 4
BATCH = 10
# Transactions that a wallet signs at once.
PORTION = 500
CYCLES_A_CHECK = 10
# Longest time until a step is come to, until the chain goes on, until the pool is empty: seconds,
# but for a machine that has fifty other things to do.
STEP_SECONDS, GROW_SECONDS, DRAIN_SECONDS = 180, 180, 180
# Longest time between the beginning of a cycle and a random kill, and until the start after it.
DELAY_SECONDS, DOWN_SECONDS = 1.0, 0.7
# How many of those are killed once more while they start, and until when.
EARLY_SHARE, EARLY_SECONDS = 0.3, 0.3
SIGKILLED = -9
# Steps that a role comes to when it starts, and then hardly ever; when it is started again to come
# to one.
AGAIN_SECONDS = 5
ONCE = ("pool.segment-started", "pool.segment-removed")


@dataclass
class Blow:
    """A kill to come: of whom, at which step or after how long, and how long it stays down.

    If there is an `early`, it is killed once more so soon after its start, which may not be over.
    """

    name: str
    step: str = None
    delay: float = 0
    down: float = 0
    early: float = None
    killed_at: float = None
    again: float = AGAIN_SECONDS


class Schedule:
    """Who is killed when: the same for the same seed."""

    def __init__(self, options, steps, names):
        self.options, self.names = options, list(names)
        self.steps, self.random = steps, random.Random(options.seed)
        self.queues, self.passes, self.cycles = {}, 0, 0

    def next(self):
        self.cycles += 1
        if self.options.at:
            return [self.at_step(self.options.at)]
        if self.options.random or (self.passes > 1 and self.cycles % 2):
            return self.at_random()
        return self.at_steps()

    @property
    def is_complete(self):
        """Whether every step has had its turn."""
        return self.options.random or self.options.at or self.passes > 1 or (
            self.passes == 1 and not any(self.queues.values()))

    def at_steps(self):
        """One step of each role, all at once."""
        if not any(self.queues.values()):
            self.passes += 1
            self.queues = collections.defaultdict(list)
            for step in self.random.sample(self.steps, len(self.steps)):
                self.queues[step.split(".")[0]].append(step)
        return [self.at_step(queue.pop()) for queue in self.queues.values() if queue]

    def at_step(self, step):
        role = step.split(".")[0]
        name = f"validator-{self.random.choice(PROOFS)}" if role == "validator" else role
        # The first time at some steps is while a role starts, at these the only one.
        count = 1 if self.passes < 2 or step in ONCE else self.random.choice((1, 2, 3))
        return Blow(name, step=f"{step}:{count}", down=self.down(), early=self.early())

    def at_random(self):
        if self.random.random() < 0.15:
            delay, down, early = self.delay(), self.down(), self.early()
            return [Blow(name, delay=delay, down=down, early=early) for name in self.names]
        count = self.random.choice((1, 1, 2, 3))
        chosen = self.random.sample(self.names, count)
        return [Blow(name, delay=self.delay(), down=self.down(), early=self.early())
                for name in chosen]

    def delay(self):
        return self.random.uniform(0, DELAY_SECONDS)

    def down(self):
        return self.random.choice((0, self.random.uniform(0, DOWN_SECONDS)))

    def early(self):
        is_early = self.passes != 1 and self.random.random() < EARLY_SHARE
        return self.random.uniform(0, EARLY_SECONDS) if is_early else None


class Harness:
    """The roles, those who use them, and what was seen so far."""

    def __init__(self, fleet, options):
        self.fleet, self.kills, self.restarts = fleet, collections.Counter(), 0
        self.roles = Roles(fleet, "crash", BLOCK_TIME, SENDERS, rewarded=address("rewarded"))
        self.roles.make_genesis()
        self.roles.start_all()
        self.audit, self.reader = Audit(), Reader(self.roles.url("blockchain"))
        wallets = [Wallet(fleet, number, PORTION) for number in range(SENDERS)]
        self.senders = [Sender(self.roles.url("pool"), wallet, options.rate / SENDERS, BATCH)
                        for wallet in wallets]
        self.sent, self.acknowledged, self.ended, self.slowest = 0, 0, {}, 0
        self.signed, self.compared = Signed(), 0
        for worker in (self.reader, *self.senders):
            worker.start()

    def cycle(self, blows):
        """Strikes, starts again what was struck, and waits until the chain has gone on."""
        before, start = self.roles.height(), time.monotonic()
        for blow in (blow for blow in blows if blow.step):
            self.kill(blow.name, "before a step")
            self.launch(blow.name, {VARIABLE: blow.step})
        pending = list(blows)
        while pending:
            pending = [blow for blow in pending if not self.is_over(blow, start)]
            time.sleep(0.01)
        for blow in blows:
            self.roles.wait_ready(blow.name)
        self.go_on(before)

    def is_over(self, blow, start):
        """Moves a blow on; returns whether what it struck was started again."""
        now = time.monotonic()
        if blow.killed_at is None:
            if not self.strike(blow, now - start):
                return False
            blow.killed_at = now
        if now < blow.killed_at + blow.down:
            return False
        self.launch(blow.name)
        if blow.early is None:
            return True
        blow.step, blow.delay, blow.killed_at = None, now - start + blow.early, None
        blow.early = None
        return False

    def strike(self, blow, passed):
        if not blow.step:
            if passed >= blow.delay:
                self.kill(blow.name, "at random")
            return passed >= blow.delay
        process = self.roles.processes[blow.name]
        status = process.child.poll()
        if status is None:
            check(passed < STEP_SECONDS, f"{blow.name} did not come to {blow.step}")
            if passed > blow.again and blow.step.split(":")[0] in ONCE:
                # It had nothing to do when it started; by now it has.
                blow.again = passed + AGAIN_SECONDS
                self.kill(blow.name, "before a step")
                self.launch(blow.name, {VARIABLE: blow.step})
            return False
        check(status == SIGKILLED, f"{blow.name} ended with status {status}, not by a signal, "
                                   f"on its way to {blow.step}\n{process.tail()}")
        self.kills[blow.step.split(":")[0]] += 1
        return True

    def kill(self, name, why):
        process = self.roles.processes[name]
        check(process.child.poll() is None, f"{name} ended by itself\n{process.tail()}")
        process.kill()
        self.kills[why] += 1

    def launch(self, name, environment=None):
        self.restarts += 1
        if name == "metronome":
            self.signed.note(self.fleet.folder / "data-metronome" / "metronome" / "signed")
        self.roles.launch(name, environment)

    def go_on(self, before):
        start = time.monotonic()
        goal = max(before, self.roles.height()) + 2
        poll(f"height {goal}", GROW_SECONDS, lambda: self.roles.height() >= goal)
        self.slowest = max(self.slowest, time.monotonic() - start)
        for worker in (self.reader, *self.senders):
            worker.check()
        for name, process in self.roles.processes.items():
            check(process.child.poll() is None, f"{name} ended by itself\n{process.tail()}")
            told = process.err.read_text(errors="replace")
            check("panicked" not in told, f"{name} panicked\n{process.tail()}")

    def check(self):
        """Lets the pool run empty, and compares the chain with what was told of it."""
        for sender in self.senders:
            sender.pause()
        for sender in self.senders:
            sender.wait_idle(DRAIN_SECONDS)
        try:
            poll("an empty pool", DRAIN_SECONDS, self.is_drained)
        except Failed as error:
            raise Failed(f"{error}; {self.missing()}") from None
        self.turn("stop")
        info = poll("a chain that stands still", DRAIN_SECONDS, self.resting)
        self.read_chain()
        self.audit.compare(info)
        poll("the reader", DRAIN_SECONDS, lambda: self.reader.from_height > info["height"])
        self.check_blocks()
        doubled = answer(f"{self.roles.url('blockchain')}/v1/equivocations")
        check(doubled == [], f"the metronome signed two blocks of one height: {doubled}")
        self.compared += self.signed.compare(self.roles.url("blockchain"))
        for sender in self.senders:
            self.check_transactions(sender)

    def proceed(self):
        """Lets everybody go on after a check."""
        self.turn("start")
        for sender in self.senders:
            sender.proceed()

    def read_chain(self):
        self.fleet.run("chain", "export", "chain.dsc", "--force", *self.roles.urls())
        self.audit.take(self.fleet.folder / "chain.dsc")

    def missing(self):
        """What was acknowledged and is neither on the chain nor in the pool."""
        self.read_chain()
        told = [identity for sender in self.senders for identity in sender.acknowledged]
        waiting = [identity for identity in told if identity not in self.audit.heights]
        url = f"{self.roles.url('pool')}/v1/transactions"
        lost = [identity for identity in waiting if fetch(f"{url}/{identity}")[0] == 404]
        return (f"of {len(told)} acknowledged {len(waiting)} wait and {len(lost)} are lost: "
                f"{lost[:3]}")

    def is_drained(self):
        counts = answer(f"{self.roles.url('pool')}/v1/counts")
        return counts["submitted"] + counts["unconfirmed"] == 0

    def resting(self):
        before = self.roles.info()
        time.sleep(0.5)
        after = self.roles.info()
        return after if after["height"] == before["height"] else None

    def turn(self, how):
        status, body = fetch(f"{self.roles.url('metronome')}/v1/{how}", data=b"null")
        check(status == 200, f"the metronome does not {how}: {status} {body[:500]}")

    def check_blocks(self):
        for height, identity in self.reader.blocks.items():
            check(self.audit.blocks[height] == identity,
                  f"block {height} was {identity}, the export has {self.audit.blocks[height]}")

    def check_transactions(self, sender):
        told = len({*sender.acknowledged, *sender.used, *sender.ended})
        check(told == sender.sent, f"{sender.sent} transactions were sent, {told} answered")
        self.sent += told
        for identity in sender.acknowledged:
            if identity not in self.audit.heights:
                self.ended[identity] = self.reason(identity)
        for identity in sender.used:
            check(identity in self.audit.heights,
                  f"{identity} is not on the chain, and its sequence is said to be used")
        self.ended |= sender.ended
        rejected = [told for told in self.ended.values() if "expired" not in told]
        check(not rejected, f"good transactions were rejected: {rejected[:3]}")
        self.acknowledged += len(sender.acknowledged)
        sender.acknowledged, sender.used, sender.ended, sender.sent = [], [], {}, 0

    def reason(self, identity):
        """Why an acknowledged transaction is not on the chain; there has to be one."""
        status, body = fetch(f"{self.roles.url('pool')}/v1/transactions/{identity}")
        told = json.loads(body)
        check(status == 200 and told["state"] in ("rejected", "expired"),
              f"{identity} was acknowledged and is lost: {status} {told}")
        return json.dumps(told)

    def finish(self):
        """Stops everything as it should be stopped; replays and verifies the chain once more."""
        for worker in (self.reader, *self.senders):
            worker.stop()
        for name in reversed(self.roles.ports):
            self.roles.processes[name].stop()
        replayed = self.fleet.ask("chain", "verify", "--offline", "--data-dir", "data-blockchain")
        self.fleet.run("chain", "export", "chain.dsc", "--force", "--offline",
                       "--data-dir", "data-blockchain")
        script = [str(SCRIPTS / "verify_chain.py"), "chain.dsc", "--json"]
        report = document(self.fleet.run(*script, program=sys.executable, seconds=1800))
        check(report["state"] == replayed["state"],
              f"the verifier ends in {report['state']}, a replay in {replayed['state']}")
        return report

    def report(self, schedule, verified):
        kills = sum(self.kills.values())
        resent, again = (sum(getattr(sender, what) for sender in self.senders)
                         for what in ("resent", "again"))
        print(f"{kills} kills in {schedule.cycles} cycles: {json.dumps(self.kills)}")
        print(f"{self.sent} transactions sent, {resent} sent again without an answer, {again} sent "
              f"again on purpose; {self.acknowledged} acknowledgements checked, {len(self.ended)} "
              f"ended otherwise {sorted(set(self.ended.values()))}")
        print(f"{self.compared} blocks on the killed metronome's disk were those of the ledger")
        print(f"{len(self.reader.blocks)} blocks seen by the reader; at most {self.slowest:.1f} s "
              f"until the chain went on")
        print(f"verified: {json.dumps(verified)}")


def steps(fleet, options):
    """The names that the program knows, or that it was asked for."""
    if options.random:
        return []
    known = [point["name"] for point in fleet.ask("crash-points")["points"]]
    # Nobody comes to these alone: scripts/cluster.py does.
    known = [name for name in known if not name.startswith("cluster.")]
    check(not options.at or options.at in known, f"no step {options.at}: {known}")
    return known


def arguments():
    parser = argparse.ArgumentParser(description="Kills the roles again and again under load.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    parser.add_argument("--kills", type=int, default=60, help="at least so many")
    parser.add_argument("--seed", type=int, default=1, help="another one kills otherwise")
    parser.add_argument("--rate", type=float, default=150, help="transactions a second")
    parser.add_argument("--keep", metavar="FOLDER", help="copy everything there if it fails")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--random", action="store_true", help="at random moments alone")
    how.add_argument("--at", metavar="POINT", help="at this step alone")
    return parser.parse_args()


def torment(fleet, options):
    schedule = Schedule(options, steps(fleet, options), NAMES)
    harness = Harness(fleet, options)
    harness.roles.grow(2)
    while sum(harness.kills.values()) < options.kills or not schedule.is_complete:
        harness.cycle(schedule.next())
        if schedule.cycles % CYCLES_A_CHECK == 0:
            harness.check()
            harness.proceed()
            print(f"cycle {schedule.cycles}: {sum(harness.kills.values())} kills, height "
                  f"{harness.audit.chain.tip_height}, {harness.acknowledged} acknowledged",
                  flush=True)
    harness.check()
    verified = harness.finish()
    harness.report(schedule, verified)


def run():
    options = arguments()
    again = " ".join(["python3 scripts/crash.py", *sys.argv[1:]])
    print(f"seed {options.seed}; to see it again: {again}", flush=True)
    with Fleet(options.dsc) as fleet:
        try:
            torment(fleet, options)
        except Failed:
            if options.keep:
                shutil.copytree(fleet.folder, options.keep)
            raise


if __name__ == "__main__":
    main(run)
