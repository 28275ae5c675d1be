//! How a command ends: the exit codes, and the one place that maps errors to them.
//!
//! # Invariants
//!
//! 1. An exit code has one meaning (table in [`Exit`]), the same for every command.
//! 2. A `code` is stable: programs match on it, people read `message` and `hint`.

mod causes;

pub(crate) use self::causes::INDEX_HINT;
use std::{borrow::Cow, fmt, io, path::Path, process::ExitCode};

/// What to do about a file that the system refuses.
const FILE_HINT: &str = "check the path and who may use it";

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It failed for a reason without a code of its own.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// It was refused, and the reason is given.
    Rejected = 4,
    /// It may or may not have happened: the wait for the outcome ended first.
    OutcomeUnknown = 5,
    /// The role cannot be reached, or does not take requests now.
    Unreachable = 6,
    /// The passphrase does not open the key.
    WrongPassphrase = 7,
    /// Stored data is damaged.
    Corrupt = 8,
    /// The configuration is wrong.
    Configuration = 9,
    /// There is not enough disk or memory.
    NoSpace = 10,
    /// Ctrl-C or a request to terminate ended it early.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    code: Cow<'static, str>,
    message: String,
    hint: Option<String>,
    faults: Option<serde_json::Value>,
}

impl Failure {
    /// A failure with exit code `exit` and a stable `code` in `kebab-case`.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { exit, code: code.into(), message, hint: None, faults: None }
    }

    /// A failure of the command line.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", message).with_hint("`--help` lists what is accepted")
    }

    /// Something asked for that does not exist.
    pub fn not_found(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::NotFound, code, message)
    }

    /// A request that breaks a rule.
    pub fn rejected(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Rejected, code, message)
    }

    /// A wait that ended before the outcome was known.
    pub fn outcome_unknown(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::OutcomeUnknown, code, message)
    }

    /// A role that does not answer.
    pub fn unreachable(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Unreachable, code, message)
    }

    /// A passphrase that does not open a key.
    pub fn wrong_passphrase(message: impl fmt::Display) -> Self {
        Self::new(Exit::WrongPassphrase, "wrong-passphrase", message)
    }

    /// Stored data that does not decode or breaks a rule.
    pub fn corrupt(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Corrupt, code, message)
    }

    /// A configuration that cannot be used.
    pub fn configuration(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Configuration, code, message)
    }

    /// A disk or a memory that is too small.
    pub fn no_space(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::NoSpace, code, message)
    }

    /// A task that Ctrl-C ended early.
    pub fn interrupted(message: impl fmt::Display) -> Self {
        Self::new(Exit::Interrupted, "interrupted", message)
    }

    /// Anything else.
    pub fn other(code: &'static str, message: impl fmt::Display) -> Self {
        Self::new(Exit::Other, code, message)
    }

    /// The reader of standard output has gone: the command stops, and nobody is told.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::Done, "reader-gone", "the reader of standard output has gone")
    }

    /// A file that cannot be used: `doing` completes "cannot ... PATH".
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let (exit, code, hint) = match error.kind() {
            io::ErrorKind::NotFound => {
                (Exit::NotFound, "file-not-found", "check the path; it counts from this folder")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Exit::NoSpace, "disk-full", "free some space, or choose another folder")
            }
            io::ErrorKind::OutOfMemory => {
                (Exit::NoSpace, "out-of-memory", "end other programs, or use a larger machine")
            }
            _ => (Exit::Other, "file", FILE_HINT),
        };
        Self::new(exit, code, format_args!("cannot {doing} {}: {error}", path.display()))
            .with_hint(hint)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds each single thing that is wrong, for programs: an array.
    #[must_use]
    pub fn with_faults(mut self, faults: serde_json::Value) -> Self {
        self.faults = Some(faults);
        self
    }

    /// The exit code of the process.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What went wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Each single thing that is wrong, if programs can be told.
    pub const fn faults(&self) -> Option<&serde_json::Value> {
        self.faults.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Other, 1),
            (Exit::Usage, 2),
            (Exit::NotFound, 3),
            (Exit::Rejected, 4),
            (Exit::OutcomeUnknown, 5),
            (Exit::Unreachable, 6),
            (Exit::WrongPassphrase, 7),
            (Exit::Corrupt, 8),
            (Exit::Configuration, 9),
            (Exit::NoSpace, 10),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit as u8, code);
        }
    }

    #[test]
    fn a_file_error_is_mapped_by_its_kind() {
        let path = Path::new("a/b");
        let of = |kind: io::ErrorKind| Failure::file("read", path, &kind.into());
        assert_eq!(of(io::ErrorKind::NotFound).exit(), Exit::NotFound);
        assert_eq!(of(io::ErrorKind::StorageFull).exit(), Exit::NoSpace);
        assert_eq!(of(io::ErrorKind::OutOfMemory).exit(), Exit::NoSpace);
        assert_eq!(of(io::ErrorKind::PermissionDenied).exit(), Exit::Other);
        assert_eq!(
            of(io::ErrorKind::PermissionDenied).to_string(),
            "cannot read a/b: permission denied"
        );
    }
}
