//! The file that `dsc config init` prints.

use std::fmt::Write;

use super::{
    keys::{KEYS, Key},
    variable,
};

const HEAD: &str = "\
# Configuration of dsc. Every line shows a default: remove the # to change it; \"\" is not set.
# A flag beats the environment, which beats --config or ./dsc.toml, which beats the file of the
# user (`dsc config path`). A path is relative to this file. Passphrases are never written here.
";

/// A file with every key at its default, commented out.
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            // Writing to a string does not fail.
            let _ = writeln!(text, "\n[{section}]");
        }
        entry(key, &mut text);
    }
    text
}

fn entry(key: &Key, text: &mut String) {
    let name = key.name.rsplit('.').next().unwrap_or(key.name);
    let _ = writeln!(text, "# {}", key.summary);
    let _ = writeln!(text, "#   {}", note(key));
    let quote = if key.kind.is_bare() && !key.is_optional() { "" } else { "\"" };
    let _ = writeln!(text, "# {name} = {quote}{}{quote}", key.default);
}

/// Where else it is set, and what may be.
fn note(key: &Key) -> String {
    let mut note = variable(key.name);
    let flag = key.places.first().copied().unwrap_or(key.global);
    if !flag.is_empty() {
        let _ = write!(note, ", {flag}");
    }
    if key.is_optional() {
        let quote = if key.kind.is_bare() { "" } else { "\"" };
        let _ = write!(note, "; for example {quote}{}{quote}", key.example);
    }
    note
}
