#!/usr/bin/env python3
"""Checks the documents of the repository, and the book made of docs/ once it is built.

    book.py                       links, anchors, and the summary of the book
    book.py --html target/book    the same for the pages that mdbook made
    book.py --dsc PROGRAM         runs the transcripts of the book, some at a time

1. Every relative link of a committed Markdown file leads to a file, and to a heading of it.
2. Every page below docs/ is in docs/SUMMARY.md once, and what the summary names is there.
3. A page of the book links to nothing outside docs/: mdbook would leave such a link broken.
4. In the pages that were built every link, image and script leads to a file, and to an id in it.
5. Every ```console block of the book does what it shows (scripts/readme_transcript.py).
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fleet import check, main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SUMMARY = DOCS / "SUMMARY.md"
# Transcripts wait most of the time.
AT_ONCE = 3
TRANSCRIPT_SECONDS = 300

FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*?$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(`+)(?:(?!\1).)+\1", re.DOTALL)
LINK = re.compile(r"\]\(<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)?)>?(?:\s+\"[^\"]*\")?\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def markdown_files():
    """Every Markdown file that is committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def without_code(text):
    """The text without blocks and spans of code, which hold no links."""
    return CODE.sub("", FENCE.sub("", text))


def links(text):
    """The targets of all links and images."""
    prose = without_code(text)
    return LINK.findall(prose) + REFERENCE.findall(prose)


def is_local(target):
    parts = urlsplit(target)
    return not parts.scheme and not parts.netloc


def slug(heading):
    """The id of a heading, as GitHub and mdbook make it."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    kept = [c for c in shown.lower() if c.isalnum() or c in " -_"]
    return "".join(kept).strip().replace(" ", "-")


def anchors(text):
    """The ids of a page's headings; one that comes again gets a number."""
    seen, found = {}, set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        name = slug(heading)
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return found


def broken_links(path, texts):
    """Yields what is wrong with the links of one file."""
    for target in filter(is_local, links(texts[path])):
        name, _, anchor = target.partition("#")
        there = (path.parent / unquote(name)).resolve() if name else path
        if there not in texts and not there.exists():
            yield f"{path.relative_to(ROOT)}: {target} leads nowhere"
        elif anchor and there in texts and anchor not in anchors(texts[there]):
            yield f"{path.relative_to(ROOT)}: {target} names no heading"
        elif DOCS in path.parents and DOCS not in there.parents:
            yield f"{path.relative_to(ROOT)}: {target} leads out of the book"


def summary_faults(texts):
    """Yields what is wrong with the list of pages."""
    listed = [(DOCS / target).resolve() for target in links(texts[SUMMARY])]
    pages = {path for path in texts if DOCS in path.parents and path != SUMMARY}
    for page in sorted(pages - set(listed)):
        yield f"{page.relative_to(ROOT)} is not in docs/SUMMARY.md"
    for page in sorted({page for page in listed if listed.count(page) > 1}):
        yield f"{page.relative_to(ROOT)} is in docs/SUMMARY.md more than once"


def check_markdown():
    texts = {path: path.read_text() for path in markdown_files()}
    faults = [fault for path in texts for fault in broken_links(path, texts)]
    faults += summary_faults(texts)
    check(not faults, "\n".join(faults))
    print(f"{len(texts)} documents: every link leads somewhere")


class Page(HTMLParser):
    """The ids of a page, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(filter(None, [attributes.get("id"), attributes.get("name")]))
        target = attributes.get("href") or attributes.get("src")
        if target and is_local(target) and tag in ("a", "img", "script", "link"):
            self.targets.append(target)


def check_html(folder):
    pages = {path.resolve(): Page(path.read_text()) for path in folder.rglob("*.html")}
    check(pages, f"there are no pages in {folder}")
    faults, count = [], 0
    for path, page in pages.items():
        # These two have links that count from elsewhere: any depth, or the frame around them.
        if path.name in ("404.html", "toc.html"):
            continue
        for target in page.targets:
            count += 1
            name, _, anchor = target.partition("#")
            there = (path.parent / unquote(name)).resolve() if name else path
            there = there / "index.html" if there.is_dir() else there
            is_anchor_missing = anchor and there in pages and anchor not in pages[there].ids
            if not there.is_file() or is_anchor_missing:
                faults.append(f"{path.relative_to(folder.resolve())}: {target}")
    check(not faults, "broken in the book:\n" + "\n".join(sorted(set(faults))))
    print(f"{len(pages)} pages of the book, {count} links: every one leads somewhere")


def transcripts():
    """The pages of the book that show commands with their output."""
    pages = [path for path in markdown_files() if DOCS in path.parents]
    return [path for path in pages if re.search(r"^```console$", path.read_text(), re.MULTILINE)]


def run_transcript(dsc, path):
    command = [sys.executable, str(ROOT / "scripts/readme_transcript.py"), "--dsc", dsc, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          timeout=TRANSCRIPT_SECONDS)
    name = path.relative_to(ROOT)
    if done.returncode != 0:
        return f"{name}:\n{done.stdout}{done.stderr}"
    print(f"{name}: {done.stdout.count('ok: ')} commands do what the page shows", flush=True)
    return None


def check_transcripts(dsc):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        faults = list(filter(None, pool.map(lambda path: run_transcript(dsc, path), transcripts())))
    check(not faults, "\n".join(faults))


def run():
    parser = argparse.ArgumentParser(description="Checks the documents and the book.")
    parser.add_argument("--html", type=Path, help="the folder of the built book")
    parser.add_argument("--dsc", help="the program dsc; runs the transcripts")
    options = parser.parse_args()
    if options.html:
        check_html(options.html)
    elif options.dsc:
        check_transcripts(options.dsc)
    else:
        check_markdown()


if __name__ == "__main__":
    main(run)
