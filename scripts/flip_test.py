#!/usr/bin/env python3
"""Changes single bytes of a valid exported chain and demands that every change is noticed.

    flip_test.py CHAIN_FILE [--flips 200] [--seed 1] [--json]

The chain is verified once; at each block that has bytes to change, a copy of the state there is
carried on with the changed bytes until a rule breaks, so a flip costs about one block.

Exit status: 0 if every flip was rejected, 1 if one was accepted or the chain itself is invalid,
2 usage or unreadable file.
"""

import argparse
import json
import random
import signal
import sys
from collections import Counter

import verify_chain
from verify_chain import RULES, Invalid


def choose(length, count, seed):
    """Returns `count` (position, mask) pairs in increasing order; a mask is never zero."""
    source, length = random.Random(seed), max(length, 1)
    return sorted((source.randrange(length), source.randrange(1, 256)) for _ in range(count))


def broken_rule(data, flip, start):
    """Returns the rule that one changed byte breaks, or None; `start` carries on from there."""
    position, mask = flip
    data[position] ^= mask
    try:
        start(data)
    except Invalid as error:
        return error.rule
    finally:
        data[position] ^= mask
    return None


def flip_all(data, flips):
    """Verifies a chain and yields (flip, broken rule or None) for each of increasing `flips`."""
    chain, offset = verify_chain.open_chain(data)
    waiting = list(reversed(flips))
    while waiting and waiting[-1][0] < offset:
        flip = waiting.pop()
        yield flip, broken_rule(data, flip, verify_chain.verify)
    while offset < len(data):
        block, end = verify_chain.next_block(chain, data, offset)
        while waiting and waiting[-1][0] < end:
            flip, at = waiting.pop(), offset
            yield flip, broken_rule(
                data, flip, lambda changed: verify_chain.apply_rest(chain.fork(), changed, at))
        chain.apply(block)
        offset = end
    chain.check_end()


def run(options, data):
    rules, accepted = Counter(), []
    for flip, rule in flip_all(data, choose(len(data), options.flips, options.seed)):
        if rule is None:
            accepted.append(flip)
        else:
            rules[rule] += 1
    summary(options, rules, accepted)
    return 1 if accepted else 0


def summary(options, rules, accepted):
    count = sum(rules.values())
    if options.json:
        print(json.dumps({
            "schema": "dsc.flips/1", "flips": options.flips, "seed": options.seed,
            "rejected": count, "rules": dict(rules),
            "accepted": [{"position": position, "mask": mask} for position, mask in accepted],
        }))
        return
    print(f"{count} of {options.flips} changed bytes rejected (seed {options.seed})")
    for rule, times in sorted(rules.items()):
        print(f"  {rule:4} {times:5}  {RULES[rule]}")
    for position, mask in accepted:
        print(f"accepted: byte {position} changed by {mask:#04x}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Flips bytes of a chain; all must be noticed.")
    parser.add_argument("chain", metavar="CHAIN_FILE")
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", "-j", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    try:
        data = bytearray(verify_chain.load(options.chain)[:])
    except OSError as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2
    try:
        return run(options, data)
    except Invalid as error:
        print(f"the chain itself is invalid: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
