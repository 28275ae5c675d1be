"""What scripts/book.py and scripts/readme_transcript.py make of documents."""

import tempfile
import unittest
from pathlib import Path

import attack_tables
import book
import examples
import readme_transcript
from fleet import Failed


class Links(unittest.TestCase):
    def test_code_holds_no_links(self):
        text = "[a](b.md) `[c](d.md)`\n```sh\n[e](f.md)\n```\n![g](h.svg \"title\")\n[i]: j.md\n"
        self.assertEqual(book.links(text), ["b.md", "h.svg", "j.md"])

    def test_links_to_other_places_are_left_alone(self):
        self.assertFalse(book.is_local("https://example.org/a"))
        self.assertFalse(book.is_local("mailto:a@example.org"))
        self.assertTrue(book.is_local("a.md#b"))

    def test_headings_have_the_ids_that_mdbook_gives(self):
        text = "# 9.3 Retarget\n## `GET /v1/blocks/{which}`\n## Left\n## Left\n```\n# no\n```\n"
        self.assertEqual(
            book.anchors(text), {"93-retarget", "get-v1blockswhich", "left", "left-1"})


class Faults(unittest.TestCase):
    def faults_of(self, text, others=()):
        path = book.DOCS / "page.md"
        texts = {path: text} | {book.ROOT / name: content for name, content in others}
        return [fault.partition(": ")[2] for fault in book.broken_links(path, texts)]

    def test_a_link_has_to_lead_somewhere(self):
        self.assertEqual(self.faults_of("[a](no-such.md)"), ["no-such.md leads nowhere"])
        self.assertEqual(self.faults_of("# A b\n[a](#a-b)"), [])
        self.assertEqual(self.faults_of("# A b\n[a](#a)"), ["#a names no heading"])

    def test_an_anchor_in_another_file_has_to_exist(self):
        others = [("docs/http.md", "## Pool\n")]
        self.assertEqual(self.faults_of("[a](http.md#pool)", others), [])
        self.assertEqual(self.faults_of("[a](http.md#x)", others), ["http.md#x names no heading"])

    def test_a_page_of_the_book_stays_in_the_book(self):
        self.assertEqual(self.faults_of("[a](../README.md)"), ["../README.md leads out of the book"])

    def test_every_page_is_listed_once(self):
        names = ["a.md", "b.md"]
        texts = {book.SUMMARY: "- [A](a.md)\n- [A](a.md)\n"}
        texts |= {book.DOCS / name: "" for name in names}
        self.assertEqual(list(book.summary_faults(texts)), [
            "docs/b.md is not in docs/SUMMARY.md",
            "docs/a.md is in docs/SUMMARY.md more than once"])


class Built(unittest.TestCase):
    def check(self, pages):
        with tempfile.TemporaryDirectory() as name:
            for page, text in pages.items():
                (Path(name) / page).write_text(text)
            book.check_html(Path(name))

    def test_links_between_pages_are_followed_to_their_ids(self):
        other = '<h2 id="there">there</h2>'
        self.check({"a.html": '<a href="b.html#there">b</a>', "b.html": other})
        for target in ("c.html", "b.html#gone", "style.css"):
            with self.assertRaises(Failed):
                self.check({"a.html": f'<a href="{target}">b</a>', "b.html": other})

    def test_an_empty_book_is_an_error(self):
        with self.assertRaises(Failed):
            self.check({})


class Examples(unittest.TestCase):
    def test_every_example_says_what_it_prints(self):
        for name in set(examples.names()) - examples.ELSEWHERE:
            command, printed = examples.transcript(name)[-1]
            self.assertEqual(examples.EXAMPLE.fullmatch(command)[1], name)
            self.assertTrue(printed, name)


class AttackTables(unittest.TestCase):
    def test_a_wide_row_becomes_one_of_each_table(self):
        figures = " | ".join(["1/2/3 4/5/6 7/8/9"] * 5)
        wide = f"| attack |\n|---|\n| flood | 3.0 | 10 | 100.0 % | 1 ms | 2 ms | 0 | {figures} | \n"
        found = attack_tables.rows(wide)
        self.assertIn("| flood | 3.0 | 10 | 100.0 % | 1 ms | 2 ms |", attack_tables.honest(found))
        held = attack_tables.held(found)
        for cell in ("1/2/3", "4/5/6", "7/8/9"):
            self.assertIn("| flood |" + f" {cell} |" * 5, held)


class Transcripts(unittest.TestCase):
    def test_a_command_goes_on_in_the_next_line(self):
        lines = ["$ dsc a \\", "  --b", "printed", "$ true"]
        self.assertEqual(readme_transcript.steps(lines),
                         [("dsc a --b", ["printed"]), ("true", [])])

    def test_dots_stand_for_what_differs(self):
        pattern = readme_transcript.pattern(["height ...", "...", "end"])
        self.assertTrue(pattern.fullmatch("height 7\nend\n"))
        self.assertTrue(pattern.fullmatch("height 7\nmore\nlines\nend\n"))
        self.assertFalse(pattern.fullmatch("height 7\n"))


if __name__ == "__main__":
    unittest.main()
