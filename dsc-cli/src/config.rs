//! Configuration: where each value comes from, and what it is.
//!
//! # Invariants
//!
//! 1. A flag beats `DSC_SECTION__KEY`, which beats `--config` or `./dsc.toml`, which beats the user
//!    file, which beats the default.
//! 2. A key nobody knows is an error with a suggestion, wherever it was written.
//! 3. Every value has been checked against the kind of its key ([`keys::KEYS`]).

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::duration;

mod error;
pub mod keys;
mod kind;
mod template;
pub use error::ConfigError;
use keys::{KEYS, Key, Kind};
pub use template::template;

/// Name of the file looked for in the current folder.
pub const FILE_NAME: &str = "dsc.toml";

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In the file of the user.
    UserFile(PathBuf),
    /// In `./dsc.toml` or the file of `--config`.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
    /// In a flag.
    Flag(&'static str),
}

impl Origin {
    /// Rises with what beats what.
    pub(crate) const fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::UserFile(_) => 1,
            Self::File(_) => 2,
            Self::Variable(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::UserFile(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// The value, as text.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

impl Setting {
    /// Whether somebody set it to something; a switch that is off is not.
    pub(crate) fn is_set(&self) -> bool {
        let is_off = self.value.is_empty() || self.value == "false";
        self.origin != Origin::Default && !is_off
    }
}

/// The places where settings are looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Keys set by flags: key, name of the flag, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// The file of `--config`, which has to exist.
    pub file: Option<PathBuf>,
    /// The file used without `--config`, if it exists.
    pub local_file: Option<PathBuf>,
    /// The file of the user, if it exists.
    pub user_file: Option<PathBuf>,
}

impl Sources {
    /// Those of this process; `file` is the value of `--config`.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        // A name that is not Unicode is not one of ours; such a value fails the check of its key.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        let local_file = Some(PathBuf::from(FILE_NAME));
        Self { flags: Vec::new(), variables, file, local_file, user_file: user_file() }
    }

    /// The files that would be read, weakest first, and whether each exists.
    pub fn files(&self) -> Vec<(Origin, bool)> {
        let project = self.file.as_ref().or(self.local_file.as_ref());
        let user = self.user_file.iter().map(|path| Origin::UserFile(path.clone()));
        let project = project.map(|path| Origin::File(path.clone()));
        let exists = |origin: &Origin| match origin {
            Origin::UserFile(path) | Origin::File(path) => path.is_file(),
            _ => false,
        };
        user.chain(project).map(|origin| (origin.clone(), exists(&origin))).collect()
    }
}

fn user_file() -> Option<PathBuf> {
    let folder =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(base.join("dsc").join(FILE_NAME))
}

/// All settings, each with a value.
#[derive(Clone, Debug)]
pub struct Config {
    settings: BTreeMap<&'static str, Setting>,
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first thing that is wrong, weakest source first.
    ///
    /// # Panics
    ///
    /// If a flag is wired to a key that is not in [`KEYS`].
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut config = Self { settings: BTreeMap::new() };
        for key in KEYS {
            config.set(key, key.default.to_owned(), Origin::Default)?;
        }
        if let Some(path) = sources.user_file.as_ref().filter(|path| path.is_file()) {
            config.read_file(path, &Origin::UserFile(path.clone()))?;
        }
        let local_file = sources.local_file.as_ref().filter(|path| path.is_file());
        if let Some(path) = sources.file.as_ref().or(local_file) {
            config.read_file(path, &Origin::File(path.clone()))?;
        }
        if sources.file.is_none() {
            config.refuse_local_wallet()?;
        }
        for (name, value) in &sources.variables {
            config.read_variable(name, value)?;
        }
        for (key, flag, value) in &sources.flags {
            let key = keys::find(key).expect("flags are wired to keys that exist");
            // A command judges its own flags, and says more of what is wrong with one.
            if key.check(value).is_ok() {
                config.set(key, value.clone(), Origin::Flag(flag))?;
            }
        }
        config.follow_data_dir();
        Ok(config)
    }

    /// Who pays, and how much of a fee, is not left to whatever folder somebody happens to be in.
    fn refuse_local_wallet(&self) -> Result<(), ConfigError> {
        let own = self.settings.values().filter(|setting| setting.key.starts_with("wallet."));
        for Setting { key, origin, .. } in own {
            if let Origin::File(path) = origin {
                return Err(ConfigError::LocalWallet { path: path.clone(), key });
            }
        }
        Ok(())
    }

    /// Reads one file over the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load_file(path: &Path) -> Result<Self, ConfigError> {
        Self::load(&Sources { file: Some(path.to_owned()), ..Sources::default() })
    }

    /// All settings, in the order of [`KEYS`].
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        KEYS.iter().map(|key| self.setting(key.name))
    }

    /// The setting of `key`.
    ///
    /// # Panics
    ///
    /// If `key` is not in [`KEYS`]; keys are constants of this crate.
    pub fn setting(&self, key: &str) -> &Setting {
        self.settings.get(key).expect("the key is in the table of keys")
    }

    /// The value of `key` as text.
    ///
    /// # Panics
    ///
    /// As [`Config::setting`].
    pub fn text(&self, key: &str) -> &str {
        &self.setting(key).value
    }

    /// The value of `key` as a path.
    ///
    /// # Panics
    ///
    /// As [`Config::setting`].
    pub fn path(&self, key: &str) -> &Path {
        Path::new(self.text(key))
    }

    /// The value of `key`, which is a time.
    ///
    /// # Panics
    ///
    /// As [`Config::setting`].
    pub fn time(&self, key: &str) -> Duration {
        duration::parse(self.text(key)).expect("the value was checked to be a time")
    }

    /// The value of `key`, which is a count.
    ///
    /// # Panics
    ///
    /// As [`Config::setting`].
    pub fn count(&self, key: &str) -> usize {
        self.text(key).parse().expect("the value was checked to be a count")
    }

    fn set(&mut self, key: &'static Key, value: String, origin: Origin) -> Result<(), ConfigError> {
        if let Err(expected) = key.check(&value) {
            let got = key.kind.shown(&value);
            return Err(ConfigError::Invalid { origin, key: key.name, got, expected });
        }
        self.settings.insert(key.name, Setting { key: key.name, value, origin });
        Ok(())
    }

    /// The token lies in the data folder unless it was put elsewhere.
    fn follow_data_dir(&mut self) {
        let path = self.path("general.data_dir").join("admin-token");
        if let Some(setting) = self.settings.get_mut("admin.token_file")
            && setting.origin == Origin::Default
        {
            setting.value = path.to_string_lossy().into_owned();
        }
    }

    fn read_file(&mut self, path: &Path, origin: &Origin) -> Result<(), ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        for (name, value) in entries(path, &text, origin)? {
            let key = keys::find(&name).ok_or_else(|| unknown_key(origin, &name))?;
            let text = value.text_of(key).map_err(|got| invalid(origin, key, got))?;
            // A path is meant relative to the file that names it.
            let is_place = matches!(key.kind, Kind::Path) && !text.is_empty();
            let text =
                if is_place { folder.join(text).to_string_lossy().into_owned() } else { text };
            self.set(key, text, origin.clone())?;
        }
        Ok(())
    }

    fn read_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(rest) = name.strip_prefix("DSC_") else { return Ok(()) };
        if let Some(key) = rest.split_once("__").and_then(|(section, key)| {
            keys::find(&format!("{}.{}", section.to_lowercase(), key.to_lowercase()))
        }) {
            return self.set(key, value.to_owned(), Origin::Variable(name.to_owned()));
        }
        let like = rest.to_lowercase().replace("__", ".");
        let suggestion = nearest(&like, KEYS.iter().map(|key| key.name.to_owned()));
        let suggestion = suggestion.map(|key| variable(&key));
        // One underscore for two is a slip worth an error; other programs may use other names.
        if rest.contains("__") || suggestion.is_some() {
            return Err(ConfigError::UnknownVariable { name: name.to_owned(), suggestion });
        }
        Ok(())
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("DSC_{}", key.replace('.', "__").to_uppercase())
}

/// A value as a file writes it.
struct Written(toml::Value);

impl Written {
    /// The text of a value that is written as `key` wants it, or what was written instead.
    fn text_of(self, key: &Key) -> Result<String, String> {
        let is_bare = key.kind.is_bare();
        match self.0 {
            // Nothing at all is written as an empty string, whatever the kind.
            toml::Value::String(text) if !is_bare || text.is_empty() => Ok(text),
            toml::Value::Integer(number) if is_bare => Ok(number.to_string()),
            toml::Value::Boolean(value) if is_bare => Ok(value.to_string()),
            toml::Value::Array(items) if key.kind.is_list() => {
                Ok(items.into_iter().map(item).collect::<Vec<_>>().join(","))
            }
            other => Err(other.to_string()),
        }
    }
}

fn item(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Name and value of an entry.
type Entry = (String, Written);

fn entries(path: &Path, text: &str, origin: &Origin) -> Result<Vec<Entry>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        ConfigError::Syntax { path: path.to_owned(), message: error.to_string() }
    })?;
    let mut entries = Vec::new();
    for (section, content) in table {
        let toml::Value::Table(content) = content else {
            return Err(unknown_key(origin, &section));
        };
        if content.is_empty() && !KEYS.iter().any(|key| key.section() == section) {
            return Err(unknown_key(origin, &section));
        }
        let named = |(key, value)| (format!("{section}.{key}"), Written(value));
        entries.extend(content.into_iter().map(named));
    }
    Ok(entries)
}

fn invalid(origin: &Origin, key: &'static Key, got: String) -> ConfigError {
    let quoted = if key.kind.is_bare() { "without quotes" } else { "in quotes" };
    let expected = match key.kind.check("") {
        Err(expected) => format!("{expected}, {quoted}"),
        Ok(()) => quoted.to_owned(),
    };
    ConfigError::Invalid { origin: origin.clone(), key: key.name, got, expected }
}

fn unknown_key(origin: &Origin, key: &str) -> ConfigError {
    let names = KEYS.iter().map(|key| key.name.to_owned());
    let sections = KEYS.iter().map(|key| key.section().to_owned());
    let suggestion = if key.contains('.') {
        nearest(key, names)
    } else {
        in_some_section(key)
            .or_else(|| nearest(key, sections).map(|section| format!("[{section}]")))
    };
    ConfigError::UnknownKey { origin: origin.clone(), key: key.to_owned(), suggestion }
}

/// A key written outside of its section.
fn in_some_section(key: &str) -> Option<String> {
    let name = KEYS.iter().find(|known| known.name.split('.').nth(1) == Some(key))?.name;
    Some(name.to_owned())
}

/// The candidate most like `name`, if one is like it at all.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let likeness = |candidate: String| (strsim::jaro_winkler(name, &candidate), candidate);
    candidates
        .map(likeness)
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
