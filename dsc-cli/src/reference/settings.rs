//! The keys of the configuration, and the exit codes.

use super::{
    Page,
    text::{code, plain, sentence, table},
};
use crate::config::{keys, variable};

/// Every key, by section.
pub(super) fn page() -> Page {
    let mut body = String::from(
        "Generated from the table of keys that reading, checking and printing follow. A flag beats \
         `DSC_SECTION__KEY`, which beats the file of `--config` or `./dsc.toml`, which beats the \
         user's file (`dsc config path` shows where), which beats the default. `dsc config init` \
         writes all of it with comments, `dsc config show --origin` says where each value came \
         from, `dsc config check` reads it all. A key that nobody knows is an error (exit 9). \
         Flags that belong to one call have no key. A path in a file counts from the folder of that file.\n\n",
    );
    for section in sections() {
        let own = keys::KEYS.iter().filter(|key| section_of(key) == section);
        let rows: Vec<_> = own.map(row).collect();
        body += &format!("## \\[{section}\\]\n\n");
        body += &table(["key", "variable", "default", "meaning"], &rows);
    }
    Page::new("configuration.md", "Configuration", &body)
}

fn section_of(key: &keys::Key) -> &'static str {
    key.name.split_once('.').map_or(key.name, |(section, _)| section)
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = keys::KEYS.iter().map(section_of).collect();
    sections.dedup();
    sections
}

fn row(key: &keys::Key) -> [String; 4] {
    let (_, short) = key.name.split_once('.').unwrap_or(("", key.name));
    let mut meaning = sentence(key.summary);
    // Every kind refuses an empty value by saying what it takes.
    if let Err(expected) = key.kind.check("") {
        meaning += &format!(" Takes {}.", plain(&expected));
    }
    let global = Some(key.global).filter(|flag| !flag.is_empty());
    let flags: Vec<_> = key.places.iter().copied().chain(global).map(code).collect();
    if !flags.is_empty() {
        meaning += &format!(" Flag: {}.", flags.join(", "));
    }
    let default = if key.default.is_empty() { "none".to_owned() } else { code(key.default) };
    [code(short), code(&variable(key.name)), default, meaning]
}

/// The exit codes, from the comments of [`crate::exit::Exit`].
pub(super) fn exits() -> Page {
    let source = include_str!("../exit.rs");
    let variants = source.split("pub enum Exit {").nth(1).unwrap().split("\n}").next().unwrap();
    let mut rows = Vec::new();
    let mut meaning = String::new();
    for line in variants.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning += text;
        } else if let Some((_, number)) = line.trim_end_matches(',').split_once(" = ") {
            rows.push([code(number), sentence(&std::mem::take(&mut meaning))]);
        }
    }
    let body = format!(
        "The same for every command. With `--json` a failure is \
         `{{\"schema\":\"dsc.error/1\",\"error\":{{\"code\",\"message\",\"hint\"}}}}` on standard output; \
         programs match on `code`, which is stable, not on the text.\n\n{}",
        table(["code", "meaning"], &rows)
    );
    Page::new("exit-codes.md", "Exit codes", &body)
}
