//! The pages of docs/reference that say what the program says: commands, routes, configuration,
//! exit codes and metrics.
//!
//! # Invariants
//!
//! 1. A page is made from what the program itself uses, so it cannot say anything else.
//! 2. What is committed is what is made; the test below compares, and writes if it is told to.

#![allow(clippy::format_push_string, reason = "pages are small, and read better this way")]

mod commands;
mod metrics;
mod routes;
mod settings;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What writes the pages.
const COMMAND: &str = "DSC_WRITE_REFERENCE=1 cargo test -p dsc-cli --lib reference";

/// A page: its name below docs/reference, and what it says.
struct Page {
    name: String,
    text: String,
}

impl Page {
    /// A page with a title, and a line for whoever opens it to change it.
    fn new(name: impl Into<String>, title: &str, body: &str) -> Self {
        let note = format!("<!-- Made by the program, not by hand: {COMMAND} -->");
        Self { name: name.into(), text: format!("# {title}\n\n{note}\n\n{}\n", body.trim()) }
    }
}

/// A folder whose pages are all made, and the line of SUMMARY.md that they stand below.
struct Chapter {
    folder: &'static str,
    pages: Vec<Page>,
}

fn chapters() -> [Chapter; 2] {
    [
        Chapter { folder: "commands", pages: commands::pages() },
        Chapter { folder: "http", pages: routes::pages() },
    ]
}

fn pages() -> Vec<Page> {
    let single = [commands::index(), settings::page(), settings::exits(), metrics::page()];
    chapters().into_iter().flat_map(|chapter| chapter.pages).chain(single).collect()
}

/// The summary with one line for each page of each chapter, below the line of the chapter.
fn summary(committed: &str) -> String {
    chapters().iter().fold(committed.to_owned(), |text, chapter| listed(&text, chapter))
}

fn listed(summary: &str, chapter: &Chapter) -> String {
    let parent = format!("(reference/{}.md)", chapter.folder);
    let child = format!("(reference/{}/", chapter.folder);
    let mut lines = Vec::new();
    for line in summary.lines().filter(|line| !line.contains(&child)) {
        lines.push(line.to_owned());
        if line.contains(&parent) {
            let indent = " ".repeat(line.len() - line.trim_start().len() + 2);
            lines.extend(chapter.pages.iter().map(|page| entry(&indent, page)));
        }
    }
    lines.join("\n") + "\n"
}

fn entry(indent: &str, page: &Page) -> String {
    let title = page.text.lines().next().unwrap_or_default().trim_start_matches("# ");
    format!("{indent}- [{title}](reference/{})", page.name)
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Writes a file, or takes away one that is made no more.
fn write(path: &Path, text: Option<&str>) {
    match text {
        Some(text) => {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        None => fs::remove_file(path).unwrap(),
    }
}

/// Every file that has to be there, or to go, with what it has to say.
fn wanted() -> Vec<(PathBuf, Option<String>)> {
    let folder = docs().join("reference");
    let made: Vec<(PathBuf, Option<String>)> =
        pages().into_iter().map(|page| (folder.join(page.name), Some(page.text))).collect();
    let is_made = |path: &PathBuf| made.iter().any(|(own, _)| own == path);
    let there = chapters().into_iter().flat_map(|chapter| {
        fs::read_dir(folder.join(chapter.folder)).into_iter().flatten().flatten()
    });
    let stale: Vec<PathBuf> =
        there.map(|entry| entry.path()).filter(|path| !is_made(path)).collect();
    let list = docs().join("SUMMARY.md");
    let text = summary(&fs::read_to_string(&list).unwrap());
    made.into_iter()
        .chain(stale.into_iter().map(|path| (path, None)))
        .chain([(list, Some(text))])
        .collect()
}

#[test]
fn the_committed_reference_is_what_the_program_says() {
    for (path, text) in wanted() {
        if std::env::var_os("DSC_WRITE_REFERENCE").is_some() {
            write(&path, text.as_deref());
        }
        assert!(
            fs::read_to_string(&path).ok() == text,
            "{} is not what the program says; if that is meant, run `{COMMAND}` and commit it",
            path.display()
        );
    }
}

#[test]
fn a_summary_lists_the_pages_of_a_chapter_once_and_drops_what_is_gone() {
    let page = Page::new("http/pool.md", "Pool", "text");
    let chapter = Chapter { folder: "http", pages: vec![page] };
    let before = "- [HTTP](reference/http.md)\n  - [Old](reference/http/old.md)\n- [End](end.md)\n";
    let after =
        "- [HTTP](reference/http.md)\n  - [Pool](reference/http/pool.md)\n- [End](end.md)\n";
    assert_eq!(listed(before, &chapter), after);
    assert_eq!(listed(after, &chapter), after);
}
