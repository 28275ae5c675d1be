#!/usr/bin/env python3
"""Splits the rows that the attacks write into tables that fit a page.

    attack_tables.py target/attacks.md

Prints how honest clients fared, for docs/attacks.md, and after a line `---` what the processes
held, for docs/attacks-figures.md.
"""

import sys
from pathlib import Path

ROLES = ("blockchain", "pool", "metronome", "monitor", "validator")
HONEST = ("attack", "seconds", "requests", "within 100 ms", "99 of 100 within", "longest")
FIGURES = ("Memory, MiB", "Open files", "Threads")


def rows(text):
    """The cells of each row, without the head."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def table(head, body):
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def honest(found):
    return table(HONEST, [row[:len(HONEST)] for row in found])


def held(found):
    """One table for each figure: before, at most and after the attack, for each role."""
    parts = []
    for index, title in enumerate(FIGURES):
        body = [[row[0], *(cell.split()[index] for cell in row[-len(ROLES):])] for row in found]
        parts.append(f"## {title}\n\n{table(('attack', *ROLES), body)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    FOUND = rows(Path(sys.argv[1]).read_text())
    print(f"{honest(FOUND)}\n---\n{held(FOUND)}")
