#!/usr/bin/env python3
"""Kills `dsc vault plot` again and again and demands the file that an undisturbed plot makes.

    plot_test.py --dsc PROGRAM [--size 20] [--kills 20] [--seed 1]

A plot is killed (SIGKILL) at random moments of its time, started again where it was, with or
without enough memory in turn, until it has been killed as often as asked; whatever it makes
meanwhile and in the end is compared byte for byte. Where this user may mount a file system in a
namespace of its own, a plot on a disk that is too small has to end with exit code 10.

Exit status: 0 if everything was as it should be, 1 if not.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINER = [
    "--address", "dscd1c5598s0p0h9w23q3pyllyq3mtwhfn3n4k4v9280lwmyx7xqkjddqkwj3fr",
    "--fingerprint", "00010203-0405-0607-0809-0a0b0c0d0e0f",
]  # fmt: skip


class Failed(Exception):
    """Something was not as it should be."""


def command(dsc, size, folder, memory=None):
    """Returns the command that plots into `folder`."""
    small = ["--memory", memory] if memory else []
    return [
        dsc, "--json", "--progress", "json", "vault", "plot", "--size", str(size), *MINER,
        "--folder", str(folder), *small,
    ]  # fmt: skip


def digest(folder):
    """Returns the digest of the one vault in `folder`, beside which there must be nothing."""
    names = sorted(path.name for path in folder.iterdir())
    if len(names) != 1 or not names[0].endswith(".vault"):
        raise Failed(f"expected a vault and nothing else, found {names}")
    return hashlib.sha256((folder / names[0]).read_bytes()).hexdigest()


def least_memory(dsc, size, folder):
    """Returns the least memory that a plot takes, which it tells when it has less."""
    run = subprocess.run(command(dsc, size, folder, "1KiB"), capture_output=True, text=True)
    message = json.loads(run.stdout)["error"]["message"]
    if run.returncode != 10:
        raise Failed(f"exit code {run.returncode} for too little memory: {message}")
    return next(word for word in message.split() if word.isdigit())


def kill_at(arguments, seconds):
    """Starts a plot and kills it after so long; returns whether it was still running."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as plot:
        try:
            plot.wait(timeout=seconds)
            return False
        except subprocess.TimeoutExpired:
            plot.kill()
            return True


def finish(arguments):
    """Runs a plot to its end; returns what it told on standard error, by line."""
    run = subprocess.run(arguments, capture_output=True, text=True)
    if run.returncode != 0:
        raise Failed(f"exit code {run.returncode}: {run.stdout}{run.stderr}")
    return [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]


def kill_and_resume(args, folder):
    """Plots once undisturbed, then with kills; compares what comes of it."""
    whole, killed = folder / "whole", folder / "killed"
    start = time.monotonic()
    finish(command(args.dsc, args.size, whole))
    seconds = time.monotonic() - start
    expected = digest(whole)
    memory = least_memory(args.dsc, args.size, killed)
    source, kills, finished, resumed = random.Random(args.seed), 0, 0, 0
    while kills < args.kills:
        arguments = command(args.dsc, args.size, killed, memory if kills % 2 else None)
        if kill_at(arguments, source.uniform(0, 1.2 * seconds)):
            kills += 1
            resumed += any(path.suffix == ".journal" for path in killed.iterdir())
        else:
            finished += compare_and_remove(killed, expected)
    finish(command(args.dsc, args.size, killed))
    compare_and_remove(killed, expected)
    print(f"{kills} kills, a journal after {resumed} of them, {finished + 1} equal vaults")


def compare_and_remove(folder, expected):
    """Demands the expected vault in `folder` and makes room for another."""
    if digest(folder) != expected:
        raise Failed("a plot that was killed and resumed made another file")
    next(folder.iterdir()).unlink()
    return 1


def full_disk(args, folder):
    """Plots where there is too little room, if this user may mount such a place."""
    place = folder / "full"
    place.mkdir()
    mount = "mount -t tmpfs -o size=3m none {place} && exec \"$@\"".format(place=place)
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode != 0:
        print("NOT TESTED: a full disk; no file system may be mounted here")
        return
    run = subprocess.run(
        [*inside, *command(args.dsc, args.size, place)], capture_output=True, text=True
    )
    error = json.loads(run.stdout)["error"]
    if run.returncode != 10 or error["code"] != "disk-full":
        raise Failed(f"exit code {run.returncode} on a full disk: {error}")
    print(f"full disk: exit code 10, {error['message'].rsplit(': ', 1)[-1]}")


def main():
    """Runs both tests in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dsc", required=True)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            (Path(folder) / "killed").mkdir()
            kill_and_resume(args, Path(folder))
            full_disk(args, Path(folder))
        except Failed as failed:
            print(f"FAILED: {failed}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
