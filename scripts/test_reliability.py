"""Every promise of docs/reliability.md names a test or a script that exists."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
# Names of Rust tests have several words; fewer are fields and answers.
TEST = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`")
SCRIPT = re.compile(r"`(scripts/[a-z_]+(?:\.py)?)")
TABLE_WITH_TESTS = re.compile(r"^\|.*\| test \|$")


def rust_tests():
    """The names of all functions that are tests."""
    files = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()
    function = re.compile(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn ([a-z0-9_]+)\(")
    within_proptest = re.compile(r"^\s*fn ([a-z0-9_]+)\(.* in ", re.MULTILINE)
    names = set()
    for name in files:
        text = (ROOT / name).read_text()
        names.update(function.findall(text), within_proptest.findall(text))
    return names


def promises(text):
    """The last cells of the tables whose last column names tests."""
    inside = False
    for line in text.splitlines():
        if TABLE_WITH_TESTS.match(line):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            yield line, line.rstrip("| ").rpartition("|")[2]


class Reliability(unittest.TestCase):
    def setUp(self):
        self.text = DOCUMENT.read_text()

    def test_every_named_test_exists(self):
        missing = set(TEST.findall(self.text)) - rust_tests()
        self.assertEqual(missing, set())

    def test_every_named_script_exists(self):
        for name in set(SCRIPT.findall(self.text)):
            self.assertTrue((ROOT / name).is_file(), name)

    def test_every_promise_names_a_test(self):
        rows = list(promises(self.text))
        self.assertGreater(len(rows), 30)
        for line, cell in rows:
            self.assertTrue(TEST.search(cell) or SCRIPT.search(cell), line)


if __name__ == "__main__":
    unittest.main()
