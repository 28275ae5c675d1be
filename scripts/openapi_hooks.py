"""What schemathesis cannot know of the servers' formats; loaded by it for scripts/openapi.py."""

import os

import schemathesis
from hypothesis import strategies as st

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


@schemathesis.hook
def before_call(context, case, _arguments):
    query = case.query or {}
    wait = str(query.get("wait", ""))
    if wait.isdecimal() and int(wait) > WAIT_MS_MAX:
        query["wait"] = WAIT_MS_MAX
