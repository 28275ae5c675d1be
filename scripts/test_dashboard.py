"""The library of the dashboard is, byte for byte, the release that docs/dependencies.md names."""

import hashlib
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "dsc-cli/src/dashboard/assets/uplot"
ROW = re.compile(r"^\|.*\| `(?:dist/)?([^`]+)` \| `([0-9a-f]{64})` \|", re.MULTILINE)


class Vendored(unittest.TestCase):
    def test_every_file_has_the_hash_that_is_documented(self):
        documented = dict(ROW.findall((ROOT / "docs/dependencies.md").read_text()))
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                 for path in FOLDER.iterdir()}
        self.assertEqual(found, documented)


if __name__ == "__main__":
    unittest.main()
