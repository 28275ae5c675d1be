#!/usr/bin/env python3
"""Runs the transcripts of a Markdown file and compares what they print.

    readme_transcript.py --dsc PROGRAM README.md

Every ```console block is run in order, in one temporary folder that holds a file `passphrase`. A
line `$ COMMAND` is run by a shell and must succeed; the lines after it are what it prints on
standard output, where `...` stands for anything within a line and, alone on a line, for any lines.
A command that ends in ` &` goes on in the background and is ready before the next one starts.

The ports that `dsc` uses by default may be taken here, so free ones are put in their place.
"""

import argparse
import re
import subprocess
from pathlib import Path

from fleet import Failed, Fleet, check, free_ports, main

COMMAND_SECONDS = 180
PORTS = {"monitor": 0, "blockchain": 1, "pool": 2, "metronome": 3}


def blocks(text):
    """Yields the lines of each ```console block."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield block.splitlines()


def steps(lines):
    """Splits a block into pairs of a command and the lines it prints."""
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        else:
            raise Failed(f"output before the first command: {line}")
    return found


def pattern(lines):
    """The regular expression of what is expected."""
    parts = []
    for line in lines:
        if line == "...":
            parts.append(r"(?:.*\n)*")
        else:
            parts.append(r"[^\n]*".join(re.escape(part) for part in line.split("...")) + r"\n")
    return re.compile("".join(parts))


class Shell:
    """Runs the commands of a transcript."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.base = free_ports(len(PORTS))
        programs = fleet.folder / "programs"
        programs.mkdir()
        self.dsc = programs / "dsc"
        self.wrap(self.dsc)
        urls = {f"DSC_{role.upper()}__URL": self.url(role) for role in PORTS if role != "monitor"}
        path = f"{programs}:{fleet.environment['PATH']}"
        self.environment = fleet.environment | urls | {"PATH": path}
        (fleet.folder / "passphrase").write_text("correct horse battery staple\n")

    def url(self, role):
        return f"http://127.0.0.1:{self.base + PORTS[role]}"

    def wrap(self, path):
        """Puts a `dsc` in the way that gives `dsc dev` free ports."""
        path.write_text(
            "#!/bin/sh\n"
            f'program="{self.fleet.dsc}"\n'
            'if [ "$1" = dev ]; then\n'
            f'    shift; exec "$program" dev --port-base {self.base} "$@"\n'
            "fi\n"
            'exec "$program" "$@"\n')
        path.chmod(0o755)

    def run(self, command, expected):
        if command.endswith(" &"):
            self.start(command.removesuffix(" &"))
            return
        done = subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=self.fleet.folder, env=self.environment, timeout=COMMAND_SECONDS, check=False)
        check(done.returncode == 0,
              f"`{command}` ended with status {done.returncode}\n{done.stdout}{done.stderr}")
        check(pattern(expected).fullmatch(done.stdout),
              "`{}` printed\n{}\nwhere the transcript has\n{}".format(
                  command, done.stdout, "\n".join(expected)))
        print(f"ok: {command}")

    def start(self, command):
        program, *arguments = command.split()
        check(program == "dsc", f"only dsc runs in the background here: {command}")
        process = self.fleet.start("background", *arguments, program=str(self.dsc))
        for role in PORTS:
            process.wait_ready(self.url(role), role)
        print(f"ok: {command} &")


def run():
    parser = argparse.ArgumentParser(description="Runs the transcripts of a Markdown file.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    transcripts = list(blocks(options.file.read_text()))
    check(transcripts, f"{options.file} has no ```console block")
    with Fleet(options.dsc) as fleet:
        shell = Shell(fleet)
        for lines in transcripts:
            for command, expected in steps(lines):
                shell.run(command, expected)


if __name__ == "__main__":
    main(run)
