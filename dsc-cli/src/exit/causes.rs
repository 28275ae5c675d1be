//! How each kind of error ends a command.

use std::io;

use dsc_lib::{
    address::AddressError,
    ledger::{OpenError, StoreError},
    proof::{
        BuildError, PrepareError,
        space::{Fault, PlotError, VaultError},
    },
};

use super::{Exit, FILE_HINT, Failure};
use crate::{
    config::ConfigError,
    http::{BindError, ClientError, TokenError},
    keystore::KeystoreError,
    lock::LockError,
    logging::LoggingError,
    passphrase::PassphraseError,
};

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::configuration(error.code(), &error);
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<LoggingError> for Failure {
    fn from(error: LoggingError) -> Self {
        Self::configuration("invalid-log-filter", &error)
            .with_hint("use a level, or TARGET=LEVEL pairs split by commas: `RUST_LOG=info`")
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        match &error {
            LockError::Held { .. } => Self::other("data-folder-in-use", &error)
                .with_hint("stop that process, or choose another folder with --data-dir"),
            LockError::File { path, source } => Self::file("lock", path, source),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::configuration(error.code(), &error).with_hint(error.hint())
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match &error {
            TokenError::File { path, source } => Self::file("read the token file", path, source),
            TokenError::Exposed { path, .. } => Self::configuration("token-exposed", &error)
                .with_hint(format_args!("run `chmod 600 {}`", path.display())),
            TokenError::Weak { .. } => Self::configuration("token-weak", &error).with_hint(
                "write one line of at least 32 random characters: `openssl rand -hex 32`",
            ),
        }
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        match &error {
            PassphraseError::Unreadable { path, error } => {
                Self::file("read the passphrase from", path, error)
            }
            PassphraseError::NoTerminal(_) => Self::new(Exit::Usage, "no-terminal", &error)
                .with_hint(
                    "put the passphrase in a file that only you can read: --passphrase-file FILE",
                ),
            _ => Self::new(Exit::Usage, "invalid-passphrase", &error)
                .with_hint("a passphrase is one line of 1 to 1024 bytes, from one source"),
        }
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        match &error {
            KeystoreError::NotFound { .. } => Self::not_found("key-not-found", &error)
                .with_hint("`dsc wallet list` shows the keys, `dsc wallet create` makes one"),
            KeystoreError::Exists { .. } => {
                Self::rejected("key-exists", &error).with_hint("choose another name")
            }
            KeystoreError::WrongPassphrase { .. } => {
                Self::wrong_passphrase(&error).with_hint("nothing was changed or sent; try again")
            }
            KeystoreError::Corrupt { .. } => {
                Self::corrupt("key-corrupt", &error).with_hint("restore the file from a backup")
            }
            KeystoreError::Generate(_) => Self::other("key-not-made", &error),
            KeystoreError::Io { action, path, error } => Self::file(action, path, error),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::from_problem(problem),
            ClientError::Connect { role, .. } => {
                Self::unreachable("cannot-connect", &error).with_hint(start_hint(role))
            }
            ClientError::Timeout { .. } => Self::outcome_unknown("timed-out", &error)
                .with_hint("the request may still have been carried out: check before repeating"),
            ClientError::Lost { .. } => Self::outcome_unknown("connection-lost", &error)
                .with_hint("the request may still have been carried out: check before repeating"),
            ClientError::TooLarge { .. } => Self::other("answer-too-large", &error),
            ClientError::Malformed { .. } => Self::other("answer-malformed", &error)
                .with_hint("is another kind of server listening at that address?"),
            ClientError::Url { .. } => Self::configuration("invalid-url", &error),
        }
    }
}

/// What to do about a role that is not there.
fn start_hint(role: &str) -> String {
    if role.is_empty() {
        return "check the address; `dsc dev` runs every role".into();
    }
    let flag = if role == "monitor" { "--url".into() } else { format!("--{role}-url") };
    format!(
        "start it with `dsc {role}`, or every role with `dsc dev`; if it runs elsewhere, say where \
         with {flag}"
    )
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let failure = Self::new(Exit::Usage, "invalid-address", &error);
        match error {
            AddressError::WrongPrefix { .. } => failure
                .with_hint("addresses of development networks start with dscd1, others with dsc1"),
            _ => failure.with_hint("copy the whole address; `dsc wallet list` shows your own"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Corrupt { .. } => {
                Self::corrupt("ledger-corrupt", &error).with_hint(LEDGER_HINT)
            }
            StoreError::Index { .. } => Self::corrupt("ledger-index", &error).with_hint(INDEX_HINT),
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::new(Exit::NoSpace, "disk-full", &error)
                    .with_hint("free some space, or choose another folder with --data-dir")
            }
            _ => Self::other("ledger-store", &error),
        }
    }
}

const LEDGER_HINT: &str = "restore the folder from a backup, or fetch the chain anew";

/// What to do about an index that does not fit its blocks.
pub(crate) const INDEX_HINT: &str = "the blocks are good: remove the ledger's *.run and \
                                     index.manifest, and the server makes its index anew";

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked => Self::other("data-folder-in-use", &error)
                .with_hint("stop that process, or choose another folder with --data-dir"),
            OpenError::Missing => Self::not_found("ledger-not-found", &error)
                .with_hint("pass --genesis FILE the first time; `dsc genesis` writes one"),
            OpenError::OtherChain { .. } => Self::configuration("wrong-chain", &error)
                .with_hint("use the genesis this folder was started with, or another --data-dir"),
            OpenError::Old { .. } => Self::corrupt("ledger-old", &error).with_hint(
                "export it with the version that wrote it, move it away, and import the chain",
            ),
            OpenError::NotAFolder { .. } => Self::corrupt("ledger-not-a-folder", &error)
                .with_hint("name the folder `ledger` in a blockchain server's folder"),
            OpenError::Store(error) => error.into(),
            _ => Self::corrupt("ledger-corrupt", &error).with_hint(LEDGER_HINT),
        }
    }
}

/// What to do about a table that does not fit, for commands without flags for it.
const LESS_MEMORY: &str = "allow it more memory, or choose a smaller table";

/// What a plot that ended early tells who does not know whether anything was written.
const RUN_AGAIN: &str =
    "run this again: what was written before, if anything, is not written again";

/// The hints name no flag, because engines plot too: a command with flags says what they do.
impl From<&PlotError> for Failure {
    fn from(error: &PlotError) -> Self {
        match error {
            PlotError::Exists { .. } => {
                Self::rejected("vault-exists", error).with_hint("`dsc vault check` checks the file")
            }
            PlotError::Busy { .. } => {
                Self::other("vault-busy", error).with_hint("wait for the other process, or end it")
            }
            PlotError::NoSpace { .. } => {
                Self::no_space("disk-full", error).with_hint("free some space and run this again")
            }
            PlotError::Build(BuildError::Cancelled) => {
                Self::interrupted("plotting was interrupted").with_hint(RUN_AGAIN)
            }
            PlotError::Build(BuildError::Temporary { .. }) => {
                Self::other("temporary-file", error).with_hint(RUN_AGAIN)
            }
            PlotError::Build(_) => {
                Self::no_space("not-enough-memory", error).with_hint(LESS_MEMORY)
            }
            PlotError::Io { path, source } => Self::file("write", path, source),
            PlotError::Threads(_) => {
                Self::other("plot-failed", error).with_hint("allow it fewer threads")
            }
            _ => Self::other("plot-failed", error),
        }
    }
}

/// A file that cannot be read is not damaged for all we know.
impl From<&VaultError> for Failure {
    fn from(error: &VaultError) -> Self {
        match error.fault {
            Fault::Io { .. } => Self::other("file", error).with_hint(FILE_HINT),
            Fault::Identity { .. } => Self::corrupt("vault-corrupt", error)
                .with_hint("the file is another vault: move it away, and run this again"),
            _ => Self::corrupt("vault-corrupt", error)
                .with_hint("`dsc vault check` says what is wrong, `dsc vault repair` mends it"),
        }
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let message = error.to_string();
        match error {
            PrepareError::Size { .. } | PrepareError::NoIndex => Self::usage(message),
            PrepareError::Build(BuildError::Cancelled) => Self::interrupted(message),
            PrepareError::Build(_) => {
                Self::no_space("not-enough-memory", message).with_hint(LESS_MEMORY)
            }
            PrepareError::Plot(error) => Self::from(&error),
            PrepareError::Vault(error) => Self::from(&error),
            _ => Self::other("not-prepared", message),
        }
    }
}

impl Failure {
    fn from_problem(problem: crate::http::RemoteProblem) -> Self {
        let exit = match problem.status {
            404 | 410 => Exit::NotFound,
            408 | 504 => Exit::OutcomeUnknown,
            502 | 503 => Exit::Unreachable,
            400..500 => Exit::Rejected,
            _ => Exit::Other,
        };
        let hint = problem.hint.or_else(|| {
            problem.retry_after.map(|after| format!("try again in {} s", after.as_secs()))
        });
        let failure = Self::new(exit, problem.code, problem.detail);
        Self { hint, ..failure }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::http::RemoteProblem;

    fn problem(status: u16) -> ClientError {
        ClientError::Problem(RemoteProblem {
            status,
            code: "some-code".into(),
            detail: "some detail".into(),
            hint: None,
            retry_after: Some(Duration::from_secs(2)),
        })
    }

    #[test]
    fn a_problem_keeps_its_code_and_gets_the_exit_of_its_status() {
        let cases = [
            (400, Exit::Rejected),
            (404, Exit::NotFound),
            (408, Exit::OutcomeUnknown),
            (409, Exit::Rejected),
            (429, Exit::Rejected),
            (500, Exit::Other),
            (503, Exit::Unreachable),
            (504, Exit::OutcomeUnknown),
        ];
        for (status, exit) in cases {
            let failure = Failure::from(problem(status));
            assert_eq!(failure.exit(), exit, "{status}");
            assert_eq!(failure.code(), "some-code");
            assert_eq!(failure.message(), "some detail");
            assert_eq!(failure.hint(), Some("try again in 2 s"));
        }
    }

    /// Every way for a plot to fail, with the exit code and code it has to have.
    fn plot_errors() -> Vec<(PlotError, Exit, &'static str)> {
        let path = || Path::new("v").to_owned();
        let build = |error: BuildError| PlotError::Build(error);
        let full = PlotError::NoSpace { path: path(), needed: 2, temporary: 1, free: 1 };
        let denied = PlotError::Io { path: path(), source: io::ErrorKind::PermissionDenied.into() };
        let small = BuildError::RamTooSmall { needed: 2, allowed: 1 };
        let temporary = BuildError::Temporary { reason: "reason".into() };
        vec![
            (PlotError::Exists { path: path() }, Exit::Rejected, "vault-exists"),
            (PlotError::Busy { path: path() }, Exit::Other, "vault-busy"),
            (full, Exit::NoSpace, "disk-full"),
            (build(BuildError::Cancelled), Exit::Interrupted, "interrupted"),
            (build(temporary), Exit::Other, "temporary-file"),
            (build(small), Exit::NoSpace, "not-enough-memory"),
            (build(BuildError::OutOfMemory { bytes: 1 }), Exit::NoSpace, "not-enough-memory"),
            (denied, Exit::Other, "file"),
        ]
    }

    #[test]
    fn plotting_keeps_its_exit_code_through_an_engine() {
        for (error, exit, code) in plot_errors() {
            let failure = Failure::from(PrepareError::Plot(error));
            assert_eq!((failure.exit(), failure.code()), (exit, code));
            let hint = failure.hint().unwrap();
            assert!(!hint.contains("--"), "{hint}: engines have no such flag");
        }
    }

    fn vault_error(fault: Fault) -> VaultError {
        VaultError { path: Path::new("v").to_owned(), fault }
    }

    #[test]
    fn a_vault_that_cannot_be_read_is_not_called_damaged() {
        let denied = Fault::Io { page: 0, offset: 0, reason: "permission denied".into() };
        let failure = Failure::from(PrepareError::Vault(vault_error(denied)));
        let expected =
            Failure::file("read", Path::new("v"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!((failure.exit(), failure.code()), (expected.exit(), expected.code()));
        assert_eq!(failure.hint(), expected.hint());
        let got = Fault::Identity { got: "a".into(), expected: "b".into() };
        let other = Failure::from(PrepareError::Vault(vault_error(got)));
        assert!(other.hint().unwrap().contains("another vault: move it away"));
        let damaged = Failure::from(PrepareError::Vault(vault_error(Fault::Magic)));
        assert_eq!((damaged.exit(), damaged.code()), (Exit::Corrupt, "vault-corrupt"));
    }

    #[test]
    fn a_damaged_index_is_made_anew_and_not_restored() {
        let failure = Failure::from(StoreError::Index { what: "page 1".into() });
        assert_eq!((failure.exit(), failure.code()), (Exit::Corrupt, "ledger-index"));
        assert_eq!(failure.hint(), Some(INDEX_HINT));
    }
}
