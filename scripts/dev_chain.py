#!/usr/bin/env python3
"""Makes a chain with `dsc dev` and checks it from outside.

    dev_chain.py --dsc PROGRAM [--http-client PROGRAM] [--seconds 20] [--flips 200]

1. `dsc dev --demo` for a while: every proof has won a block, payments were confirmed, no coin was
   made or lost.
2. Started again, it goes on from there, serves a client over HTTP and stops when asked to.
3. The chain is exported; verify_chain.py accepts it, comes to the same state, and rejects it after
   any change of a single byte.
"""

import argparse
import json
import sys
from pathlib import Path

from fleet import READY_SECONDS, Failed, Fleet, check, document, free_ports, main, poll

SCRIPTS = Path(__file__).resolve().parent
PORTS_NEEDED = 4
LEDGER = "data/dev/blockchain/ledger"
RUNS_MAX = 3
PROOFS = ("work", "space", "memory")


def check_summary(summary, confirmed_least):
    check(summary["schema"] == "dsc.dev/1", f"schema is {summary['schema']}")
    check(summary["supply_ok"] is True, "the balances do not add up to the supply")
    confirmed = summary["transactions_confirmed"]
    check(confirmed >= confirmed_least, f"{confirmed} transactions confirmed: {summary}")


def first_run(fleet, base, seconds):
    """Runs until every proof has won a block, which chance may deny for a while."""
    for _ in range(RUNS_MAX):
        summary = fleet.ask("dev", "--demo", "--for", f"{seconds}s", "--data-dir", "data",
                            "--port-base", base, seconds=seconds + 120)
        print(f"first run: {json.dumps(summary)}")
        # A twentieth of what the chain carries: machines that test are busy.
        check_summary(summary, confirmed_least=3 * seconds)
        if all(summary["blocks_by_proof"][proof] > 0 for proof in PROOFS):
            return summary
    raise Failed(f"not every proof has won a block: {summary}")


def second_run(fleet, base, http_client, before):
    network = fleet.folder / "network.json"
    process = fleet.start("dev", "dev", "--json", "--data-dir", "data", "--port-base", base,
                          "--out", network)
    poll("the chain's addresses", READY_SECONDS, network.exists)
    urls = document(network.read_text())["urls"]
    for role, url in urls.items():
        process.wait_ready(url, role)
    if http_client:
        print(fleet.run(urls["blockchain"], urls["pool"],
                        program=str(Path(http_client).resolve())), end="")
    fleet.run("chain", "export", "served.dsc", "--blockchain-url", urls["blockchain"])
    summary = document(process.stop())
    print(f"second run: {json.dumps(summary)}")
    check_summary(summary, confirmed_least=before["transactions_confirmed"])
    check(summary["height"] > before["height"],
          f"height {summary['height']} after {before['height']}: the chain did not go on")
    return summary


def export(fleet):
    """Exports the ledger's file; what the server gave while it ran is the beginning of it."""
    fleet.run("chain", "export", "chain.dsc", "--ledger", LEDGER)
    served, whole = ((fleet.folder / name).read_bytes() for name in ("served.dsc", "chain.dsc"))
    check(whole.startswith(served), "the server exports another chain than its file")


def verify(fleet, summary, flips):
    replayed = fleet.ask("chain", "verify", "--ledger", LEDGER)
    check(replayed["state"] == summary["state"], f"a replay ends otherwise: {replayed}")
    script = [str(SCRIPTS / "verify_chain.py"), "chain.dsc", "--json"]
    report = document(fleet.run(*script, program=sys.executable))
    print(f"verified: {json.dumps(report)}")
    for field in ("height", "state"):
        check(report[field] == summary[field],
              f"{field}: the verifier has {report[field]}, the node {summary[field]}")
    script = [str(SCRIPTS / "flip_test.py"), "chain.dsc", "--flips", str(flips)]
    print(fleet.run(*script, program=sys.executable, seconds=900), end="")


def arguments():
    parser = argparse.ArgumentParser(description="Makes a chain and checks it from outside.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    parser.add_argument("--http-client", help="the program of examples/http_client.rs")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--flips", type=int, default=200)
    return parser.parse_args()


def run():
    options = arguments()
    with Fleet(options.dsc) as fleet:
        base = free_ports(PORTS_NEEDED)
        summary = first_run(fleet, base, options.seconds)
        summary = second_run(fleet, base, options.http_client, summary)
        export(fleet)
        verify(fleet, summary, options.flips)


if __name__ == "__main__":
    main(run)
