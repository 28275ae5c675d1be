"""Faults of roles: killed, paused, killed at a step, started from nothing."""

import shutil
import time

from fleet import check, poll
from cluster.chain import PATIENCE_SECONDS
from cluster.faults.case import BROKEN_SECONDS, case, stay

STEP_SECONDS = 60
SIGKILLED = -9
CRASH_AT = "DSC_CRASH_AT"
# Who comes to which step.
STEPS = {
    "cluster.appended": "blockchain", "cluster.followed": "blockchain",
    "cluster.noted": "blockchain", "cluster.published": "pool", "cluster.applied": "pool",
    "cluster.removed": "pool", "cluster.lease-taken": "metronome",
    "cluster.lease-renewed": "metronome", "cluster.proof-shared": "metronome",
}
# A metronome that took the lease keeps it: no process comes to this a second time.
ONCE = ("cluster.lease-taken",)


def lose(chain, role, until):
    """Kills a role, and starts it again only when something has become true without it."""
    role.kill()
    poll(f"the chain without {role.name}", PATIENCE_SECONDS, until)
    role.launch()
    role.wait_ready()


def grown(chain, blocks=2):
    goal = chain.height() + blocks
    return lambda: chain.height() >= goal


@case("metronome-killed", 15, brief=True)
def kill_metronome(chain):
    """kill -9 of the metronome that leads; another one takes the lease"""
    lose(chain, chain.leading(), grown(chain))


@case("blockchain-killed", 10)
def kill_blockchain(chain):
    """kill -9 of the blockchain server that the leading metronome uses"""
    lose(chain, chain.used_server(), grown(chain))


@case("pool-killed", 10)
def kill_pool(chain):
    """kill -9 of a pool; wallets go on with another one"""
    pool = chain.random.choice(chain.of("pool"))
    before = len(chain.acknowledged())
    lose(chain, pool, lambda: len(chain.acknowledged()) > before + 20)


@case("validator-killed", 10)
def kill_validators(chain):
    """kill -9 of all validators; blocks go on, won by nobody"""
    for role in chain.of("validator"):
        role.kill()
    poll("blocks without validators", PATIENCE_SECONDS, grown(chain, 3))
    for role in chain.of("validator"):
        role.launch()
        role.wait_ready()


@case("roles-killed-at-random", 20)
def kill_at_random(chain, rounds=8):
    """kill -9 of one to four roles at random moments, eight times"""
    for _ in range(rounds):
        strike_some(chain, chain.random.sample(list(chain.roles.values()),
                                               chain.random.choice((1, 1, 2, 3, 4))))
        chain.grow(2)


@case("some-roles-killed", 20, brief=True)
def kill_some(chain):
    """kill -9 of one to four roles at random moments, twice"""
    kill_at_random(chain, rounds=2)


@case("all-roles-killed", 30)
def kill_all_roles(chain):
    """kill -9 of every role at once; the time is from when the last one was started"""
    return strike_some(chain, chain.roles.values())


def strike_some(chain, roles):
    """Kills roles and starts them again; returns when the last one was started."""
    for role in roles:
        stay(chain.random.uniform(0, 0.2))
        role.kill()
    for role in roles:
        stay(chain.random.uniform(0, 0.2))
        role.launch()
    since = time.monotonic()
    for role in roles:
        role.wait_ready()
    return since


@case("metronome-paused", 15, brief=True)
def pause_metronome(chain):
    """SIGSTOP of the leading metronome for longer than the lease, then SIGCONT"""
    old = chain.leading()
    old.pause()
    try:
        others = [role for role in chain.of("metronome") if role is not old]
        poll("another metronome that leads", PATIENCE_SECONDS,
             lambda: any(role.leads() for role in others))
        chain.grow(2)
    finally:
        old.wake()
    poll(f"{old.name} standing by", PATIENCE_SECONDS, lambda: old.leads() is False)


@case("blockchain-paused", 20)
def pause_blockchain(chain):
    """SIGSTOP of the blockchain server that the leading metronome uses, then SIGCONT"""
    server = chain.used_server()
    server.pause()
    try:
        chain.grow(2)
        stay(BROKEN_SECONDS)
    finally:
        server.wake()


@case("empty-server", 10)
def empty_server(chain):
    """a blockchain server comes back with an empty folder"""
    server = chain.of("blockchain")[-1]
    server.kill()
    shutil.rmtree(chain.fleet.folder / server.data)
    server.launch()
    server.wait_ready()


def kill_at_step(chain, step, count):
    """Kills whoever of a kind comes to a step first."""
    check(step in STEPS, f"nobody knows who comes to {step}: add it to STEPS")
    roles = chain.of(STEPS[step])
    for role in roles:
        role.restart({CRASH_AT: f"{step}:{count}"})
    # What one comes to once the others come to when it is dead.
    enough = len(roles) if step in ONCE else 1
    dead = poll(f"{step}, {count} times at {enough} of {len(roles)}", STEP_SECONDS,
                lambda: some_dead(roles, enough))
    for role in dead:
        status = role.process.child.returncode
        check(status == SIGKILLED, f"{role.name} ended with status {status} on its way to {step}\n"
                                   f"{role.process.tail()}")
    for role in roles:
        role.restart()
    for role in roles:
        role.wait_ready()


def some_dead(roles, enough):
    """Those that do not run, once there are enough of them."""
    dead = [role for role in roles if not role.is_running]
    return dead if len(dead) >= enough else None


def add_steps(points):
    """A case for each step that the program knows and only a cluster comes to."""
    for step in points:
        def strike(chain, step=step):
            for count in (1,) if step in ONCE else (1, 3):
                kill_at_step(chain, step, count)
                chain.grow(1)
        case(step, 30, "steps")(document(strike, f"killed at the step {step}, all of a kind armed"))


def document(function, text):
    function.__doc__ = text
    return function
