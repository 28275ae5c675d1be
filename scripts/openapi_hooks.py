"""What schemathesis cannot know of the servers' formats; loaded by it for scripts/openapi.py."""

import os

import schemathesis
from hypothesis import strategies as st

from fleet import fetch
from verify_chain import bech32m

# A long poll waits as long as it is told; here it answers soon, whatever number is drawn.
WAIT_MS_MAX = 20


def samples():
    """Bodies in the canonical encoding that the servers know, and such that they do not."""
    with open(os.environ["DSC_OPENAPI_SAMPLES"], encoding="ascii") as lines:
        return [bytes.fromhex(line) for line in lines]


def cut(body):
    return st.integers(0, len(body)).map(lambda length: body[:length])


def flipped(body):
    bit = st.integers(0, 8 * len(body) - 1)
    return bit.map(lambda at: bytes(byte ^ (1 << at % 8 if place == at // 8 else 0)
                                    for place, byte in enumerate(body)))


known = st.sampled_from(samples())
addresses = st.builds(bech32m, st.sampled_from(["dsc", "dscd"]), st.binary(min_size=32, max_size=32))
schemathesis.openapi.format("dsc-address", addresses)
schemathesis.openapi.media_type(
    "application/octet-stream",
    st.one_of(known, known.flatmap(cut), known.flatmap(flipped), st.binary(max_size=1024)))


@schemathesis.check
def what_is_acknowledged_is_known(_context, response, case):
    """The pool knows the transactions that it says it holds."""
    if case.operation.label != "POST /v1/transactions" or response.status_code != 200:
        return
    outcomes = response.json()
    # A brief answer names only what was rejected.
    for outcome in outcomes if isinstance(outcomes, list) else []:
        if outcome["outcome"] != "rejected":
            url = response.request.url.split("?")[0]
            status, _ = fetch(f"{url}/{outcome['id']}")
            assert status == 200, f"{outcome['id']} is held and not known"


@schemathesis.hook
def before_call(context, case, _arguments):
    query = case.query or {}
    wait = str(query.get("wait", ""))
    if wait.isdecimal() and int(wait) > WAIT_MS_MAX:
        query["wait"] = WAIT_MS_MAX
    headers = case.headers or {}
    least = str(headers.get("x-min-height", ""))
    if least.isdecimal() and int(least) > 0:
        headers["x-min-height"] = "0"
