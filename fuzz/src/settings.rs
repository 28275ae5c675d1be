//! `dsc.toml`.

use std::{fmt::Write as _, fs};

pub use dsc_cli::config::template;
use dsc_cli::config::{Config, ConfigError, keys};
use tempfile::NamedTempFile;

use crate::assert_same;

/// What is read is written in full and read again as the same, once paths have been made relative
/// to the file's folder; a faulty file is told so with a message.
pub fn configuration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match load(text) {
        Ok(config) => {
            let rewrite =
                |values: &Values| load(&written(values)).map(|config| self::values(&config));
            let values = rewrite(&values(&config)).expect("what was read is written");
            assert_same(rewrite(&values), &values);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("room for a few bytes");
    Config::load_file(file.path())
}

type Values = Vec<(&'static str, String)>;

fn values(config: &Config) -> Values {
    keys::KEYS.iter().map(|key| (key.name, config.text(key.name).to_owned())).collect()
}

fn written(values: &Values) -> String {
    let mut text = String::new();
    for (name, value) in values {
        // A number that nobody set is an empty string.
        let is_bare = !value.is_empty() && keys::find(name).expect("a known key").kind.is_bare();
        // A JSON string is a TOML string but for one character that JSON leaves as it is.
        let quoted = serde_json::Value::from(value.as_str()).to_string().replace('\x7f', "\\u007f");
        writeln!(text, "{name} = {}", if is_bare { value } else { &quoted }).expect("memory");
    }
    text
}
