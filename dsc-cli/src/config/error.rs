//! What can be wrong with a configuration, and what to do about it.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{Origin, keys};

/// A configuration that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file has a key that does not exist.
    #[error("{origin}: unknown key `{key}`")]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The key.
        key: String,
        /// The key that looks most like it.
        suggestion: Option<String>,
    },
    /// The environment has a variable that looks like a setting and is none.
    #[error("unknown setting `{name}` in the environment")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The variable that looks most like it.
        suggestion: Option<String>,
    },
    /// A value does not fit its key.
    #[error("{origin}: `{key}` is `{got}`, expected {expected}")]
    Invalid {
        /// Where it was written.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value.
        got: String,
        /// What a value looks like.
        expected: String,
    },
    /// Two settings of one source exclude each other.
    #[error("{origin}: `{key}` and `{other}` exclude each other")]
    Conflict {
        /// Where both were written.
        origin: Origin,
        /// One key.
        key: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The file of the folder somebody is in says who pays.
    #[error("{}: `{key}` is not taken from the folder you are in", path.display())]
    LocalWallet {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// A file is not TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConfigError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey { .. } | Self::UnknownVariable { .. } => "unknown-key",
            Self::Invalid { .. } => "invalid-value",
            Self::Conflict { .. } => "conflicting-settings",
            Self::LocalWallet { .. } => "local-wallet",
            Self::Syntax { .. } => "invalid-toml",
            Self::Read { .. } => "config-unreadable",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { suggestion, .. } | Self::UnknownVariable { suggestion, .. } => {
                Some(match suggestion {
                    Some(suggestion) => format!("did you mean `{suggestion}`?"),
                    None => "`dsc config init` prints every key".to_owned(),
                })
            }
            Self::Invalid { key, .. } => {
                let key = keys::find(key)?;
                Some(match key.default {
                    "" => format!("{}; for example {}", key.summary, key.example),
                    default => format!("{}; the default is {default}", key.summary),
                })
            }
            Self::Conflict { .. } => {
                Some("set one of them; `dsc config show --origin` tells what is set where".into())
            }
            Self::LocalWallet { .. } => Some(
                "a file that came with the folder must not decide who pays or what fee: put it into \
                 your own file (`dsc config path`), or pass this one with --config"
                    .into(),
            ),
            Self::Syntax { .. } => Some("`dsc config init` prints a valid file".to_owned()),
            Self::Read { .. } => Some("check the path given with --config".to_owned()),
        }
    }
}
