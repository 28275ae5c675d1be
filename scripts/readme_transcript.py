#!/usr/bin/env python3
"""Runs the transcripts of a Markdown file and compares what they print.

    readme_transcript.py --dsc PROGRAM README.md

Every ```console block is run in order, in one temporary folder that holds a file `passphrase`. A
line `$ COMMAND` is run by a shell and must succeed; the lines after it are what it prints on
standard output, where `...` stands for anything within a line and, alone on a line, for any lines.
A command that ends in `\\` goes on in the next line. `NAME=$(COMMAND)` sets a variable for those that
follow. A command that ends in ` &` goes on in the background and is ready before the next one starts.

The ports 7700 to 7709, which `dsc` uses by default, may be taken here, so free ones are put in their
place, in commands and in what is expected.
"""

import argparse
import re
import shlex
import string
import subprocess
from pathlib import Path

from fleet import Failed, Fleet, check, free_ports, main

COMMAND_SECONDS = 180
PORTS = {"monitor": 0, "blockchain": 1, "pool": 2, "metronome": 3, "validator": 4}
PORTS_COUNT = 10
PORT = re.compile(r"(?<=:)770([0-9])\b")
ASSIGNMENT = re.compile(r"([a-z_]+)=(\$\(.*\))")


def blocks(text):
    """Yields the lines of each ```console block."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield block.splitlines()


def steps(lines):
    """Splits a block into pairs of a command and the lines it prints."""
    found = []
    for line in lines:
        if found and found[-1][0].endswith("\\"):
            found[-1] = (found[-1][0][:-1] + line.lstrip("> "), [])
        elif line.startswith("$ "):
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
        self.base = free_ports(PORTS_COUNT)
        programs = fleet.folder / "programs"
        programs.mkdir()
        self.dsc = programs / "dsc"
        self.wrap(self.dsc)
        urls = {f"DSC_{role.upper()}__URL": self.url(role)
                for role in ("blockchain", "pool", "metronome")}
        listen = {f"DSC_{role.upper()}__LISTEN": f"127.0.0.1:{self.base + offset}"
                  for role, offset in PORTS.items()}
        path = f"{programs}:{fleet.environment['PATH']}"
        self.environment = fleet.environment | urls | listen | {"PATH": path}
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

    def moved(self, text):
        """The same text with the ports that are used here."""
        return PORT.sub(lambda found: str(self.base + int(found[1])), text)

    def run(self, command, expected):
        command, expected = self.moved(command), [self.moved(line) for line in expected]
        assignment = ASSIGNMENT.fullmatch(command)
        if command.endswith(" &"):
            self.start(command.removesuffix(" &"))
        elif assignment:
            name, value = assignment.groups()
            self.environment[name] = self.output(f"printf %s \"{value}\"")
        else:
            printed = self.output(command)
            check(pattern(expected).fullmatch(printed),
                  "`{}` printed\n{}\nwhere the transcript has\n{}".format(
                      command, printed, "\n".join(expected)))
        print(f"ok: {command}")

    def output(self, command):
        done = subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=self.fleet.folder, env=self.environment, timeout=COMMAND_SECONDS, check=False)
        check(done.returncode == 0,
              f"`{command}` ended with status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, command):
        arguments = shlex.split(string.Template(command).substitute(self.environment))
        check(arguments[0] == "dsc", f"only dsc runs in the background here: {command}")
        process = self.fleet.start(
            f"background-{len(self.fleet.processes)}", *arguments[1:], program=str(self.dsc),
            environment=self.environment)
        for url in self.listening(arguments):
            process.wait_ready(url)

    def listening(self, arguments):
        """Where what was started answers once it is ready."""
        if "--listen" in arguments:
            return [f"http://{arguments[arguments.index('--listen') + 1]}"]
        if arguments[1] == "dev":
            return [self.url(role) for role in PORTS if role != "validator"]
        return [self.url(arguments[1])]


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
