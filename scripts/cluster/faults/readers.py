"""Nothing is broken: whoever asks a server that is behind, and a server that begins late."""

import shutil
import time

from fleet import check, free_ports, poll
from cluster.chain import PATIENCE_SECONDS, Role
from cluster.checks import same_state
from cluster.faults.case import case

# What a wallet ends with if no server is as far as it asks.
UNREACHABLE = 6
# Further above the tip than anybody waits for.
FAR = 100_000
SNAPSHOT_BLOCKS = 5


@case("server-behind", 10, brief=True)
def ask_server_behind(chain):
    """a wallet asks a server that is behind for the height in which its payment is"""
    ahead, behind = chain.of("blockchain")
    behind.kill()
    before = chain.height()
    sender, height = newest_payment(chain, ahead, before)
    behind.launch()
    behind.wait_alive()
    told, seen = balance(chain, ahead, sender, height), balance(chain, behind, sender, height)
    check(seen["height"] >= height and seen["sequence"] > 0, f"asked for {height}: {seen}")
    if seen["height"] == told["height"]:
        check(seen == told, f"at one height one server says {told}, the other {seen}")
    coming = chain.height() + 3
    seen = balance(chain, behind, sender, coming)
    check(seen["height"] >= coming, f"asked for height {coming}, which was to come: {seen}")
    refused = chain.fleet.outcome(*asking(behind, sender, coming + FAR), status=UNREACHABLE)
    check("has not come to height" in refused.stderr, f"asked too much: {refused.stderr}")
    behind.wait_ready()


def newest_payment(chain, server, after):
    """Who sent what was acknowledged and is in a block above a height, and that height."""
    def look():
        for identity in reversed(chain.acknowledged()):
            found = server.document(f"/v1/transactions/{identity}")
            if found and found["height"] > after:
                return found["sender"], found["height"]
        return None
    return poll("a payment in a block", PATIENCE_SECONDS, look)


def balance(chain, server, account, height):
    """What a wallet is told of an account by this server alone."""
    return chain.fleet.ask(*asking(server, account, height))


def asking(server, account, height):
    return ["wallet", "balance", account, "--at-least", height, "--genesis", "genesis.json",
            "--blockchain-url", server.url]


@case("server-from-snapshot", 5)
def start_from_snapshot(chain):
    """a server with an empty folder begins at a snapshot of the shared store, and has one state"""
    guest = Role(chain, "blockchain", chain.hosts[-1], free_ports(1))
    store = chain.stream.replace("_BLOCKS", "_BLOBS")
    guest.launch({"DSC_ENGINE__SNAPSHOT_BLOCKS": str(SNAPSHOT_BLOCKS)})
    try:
        guest.wait_ready()
        poll("a snapshot in the store", PATIENCE_SECONDS,
             lambda: chain.nodes.api().stream(store)["state"]["messages"])
        guest.kill()
        shutil.rmtree(chain.fleet.folder / guest.data)
        since = time.monotonic()
        guest.launch()
        guest.wait_ready()
        chain.remark(f"{guest.name} was ready after {time.monotonic() - since:.1f} s")
        status, _, body = guest.ask("/v1/blocks?from=0")
        check(status == 404 and b"not-here" in body,
              f"{guest.name} began with the first block: {status} {body[:200]}")
        poll("the same height of all servers", PATIENCE_SECONDS,
             lambda: same_state([*chain.of("blockchain"), guest]))
    finally:
        guest.process.kill()
        # Other cases begin with the first block.
        chain.nodes.api().ask(f"STREAM.PURGE.{store}")
