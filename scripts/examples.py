#!/usr/bin/env python3
"""Runs every example and compares what it prints with what its first lines say.

    examples.py --programs target/debug/examples --dsc target/debug/dsc

The transcript is in the documentation of each example: a line `$ cargo run ... --example NAME -- ARGS`
and what it prints, with `...` for what differs each time. An example that talks to roles has a line
`$ cargo run ... --bin dsc -- ARGS &` before, and free ports in the place of the usual ones.
"""

import argparse
import re
import subprocess
from pathlib import Path

from fleet import Failed, Fleet, check, main
from readme_transcript import Shell, pattern, steps

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
EXAMPLE_SECONDS = 120
# scripts/test runs it and compares the plots that it draws.
ELSEWHERE = {"attacks"}
EXAMPLE = re.compile(r"cargo run --release --package dsc-examples --example (\w+)(?: -- (.*))?")
DSC = re.compile(r"cargo run --release --bin dsc -- (.*)")


def names():
    """The examples that the package declares."""
    text = (EXAMPLES / "Cargo.toml").read_text()
    return re.findall(r'^\[\[example\]\]\nname = "(\w+)"', text, re.MULTILINE)


def transcript(name):
    """Commands and what they print, as the documentation of an example has them."""
    lines = (EXAMPLES / f"{name}.rs").read_text().splitlines()
    text = "\n".join(line[3:].removeprefix(" ") for line in lines if line.startswith("//!"))
    blocks = re.findall(r"^```text\n(\$ .*?)^```$", text + "\n", re.DOTALL | re.MULTILINE)
    check(len(blocks) == 1, f"examples/{name}.rs has {len(blocks)} transcripts, expected one")
    return steps(blocks[0].splitlines())


def run_example(programs, name, shell):
    found = transcript(name)
    check(found[-1][0].startswith("cargo run") and f"--example {name}" in found[-1][0],
          f"the transcript of {name} does not end with running it")
    for command, expected in found:
        role = DSC.fullmatch(command.removesuffix(" &"))
        if role:
            shell.start(f"dsc {role[1]}")
            continue
        example = EXAMPLE.fullmatch(command)
        check(example and example[1] == name, f"not a command of {name}: {command}")
        arguments = shell.moved(example[2] or "").split()
        done = subprocess.run([programs / name, *arguments], capture_output=True, text=True,
                              cwd=shell.fleet.folder, timeout=EXAMPLE_SECONDS, check=False)
        check(done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stderr}")
        check(pattern(expected).fullmatch(done.stdout),
              "{} printed\n{}\nwhere it says\n{}".format(name, done.stdout, "\n".join(expected)))
    print(f"ok: {name}")


def run():
    parser = argparse.ArgumentParser(description="Runs every example.")
    parser.add_argument("--programs", required=True, type=Path, help="folder of the examples")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    options = parser.parse_args()
    files = {path.stem for path in EXAMPLES.glob("*.rs")}
    check(files == set(names()), f"examples/Cargo.toml and the files differ: {files ^ set(names())}")
    for name in sorted(files - ELSEWHERE):
        with Fleet(options.dsc) as fleet:
            try:
                run_example(options.programs.resolve(), name, Shell(fleet))
            except OSError as error:
                raise Failed(f"{name}: {error}") from None


if __name__ == "__main__":
    main(run)
