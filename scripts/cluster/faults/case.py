"""What a case is, and what cases of several kinds do."""

import shutil
import time
from dataclasses import dataclass, field

from fleet import check, poll

# How long something stays broken, where that is not what ends the case.
BROKEN_SECONDS = 8
# A node that leads notices only after ten that it is alone.
STALE_SECONDS = 20
CASES = {}


@dataclass
class Case:
    """A fault. The chain goes on within `limit` seconds.

    `strike` does it and undoes it; it returns when the chain could go on again, if that was not
    from the start.
    """

    name: str
    limit: float
    strike: callable
    needs: tuple = ()
    is_brief: bool = False
    what: str = field(default="")


def case(name, limit, *needs, brief=False):
    """Notes a function as a case; the first line of its description says what is done."""
    def note(strike):
        CASES[name] = Case(name, limit, strike, needs, brief, strike.__doc__.split("\n")[0])
        return strike
    return note


def stay(seconds):
    """Lets something be as it is for a while."""
    time.sleep(seconds)


def expect_cut_off(pools, servers):
    """These pools acknowledge nothing, and these servers soon say that they may be behind."""
    before = {role.name: role.height() for role in servers}
    for role in servers:
        poll(f"{role.name} saying that it is stale", STALE_SECONDS, lambda: is_stale(role))
    held = [role.document("/v1/counts") for role in pools]
    stay(2)
    later = [role.document("/v1/counts") for role in pools]
    for role, one, other in zip(pools, held, later):
        check(one and other and other["added"] <= one["added"],
              f"{role.name} takes transactions without an engine: {one}, {other}")
    for role in servers:
        check(role.height() <= before[role.name] + 1, f"{role.name} got blocks without an engine")


def is_stale(role):
    """Whether a server answers, and says since when it has heard nothing."""
    status, headers, _ = role.ask("/v1/info")
    check(status == 200, f"{role.name} without an engine answers {status}")
    return "x-stale-since" in {name.lower() for name in headers}


def wipe(chain, node):
    node.stop()
    shutil.rmtree(node.store / "jetstream")
    node.start()
    node.wait_ready()
