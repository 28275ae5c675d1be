//! What can become of a request.

use std::time::Duration;

use thiserror::Error;

use dsc_lib::role::NOT_HERE;

use super::Addresses;

/// A request without the answer it asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server answered an error.
    #[error("{0}")]
    Problem(RemoteProblem),
    /// Nobody answers there.
    #[error("{} cannot be reached at {url}: {reason}", name_of(role))]
    Connect {
        /// The role that was looked for; empty if that is not known.
        role: &'static str,
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer took too long.
    #[error("no answer from {url} within {after:?}")]
    Timeout {
        /// The address.
        url: String,
        /// The time allowed.
        after: Duration,
    },
    /// The connection broke after something was sent.
    #[error("the connection to {url} was lost: {reason}")]
    Lost {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer of {url} is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The size allowed.
        limit: u64,
    },
    /// The answer is not what a role would say.
    #[error("the answer of {url} makes no sense: {reason}")]
    Malformed {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The address is not one.
    #[error("`{url}` is no address of a role, expected {expected}")]
    Url {
        /// The text.
        url: String,
        /// What an address looks like.
        expected: String,
    },
}

/// An error that a server answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail} ({code})")]
#[non_exhaustive]
pub struct RemoteProblem {
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What happened, in one sentence.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl ClientError {
    /// Whether another server may be asked instead: this one cannot be reached, takes no requests
    /// now, or never had what it is asked for; or it failed or its answer is lost, and to ask again
    /// changes nothing.
    pub(super) fn is_for_another(&self, is_repeatable: bool) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Problem(problem) if problem.status == 503 || problem.code == NOT_HERE => true,
            Self::Problem(problem) => problem.status >= 500 && is_repeatable,
            Self::Timeout { .. } | Self::Lost { .. } => is_repeatable,
            _ => false,
        }
    }

    /// Whether a server has said so.
    pub(super) fn is_an_answer(&self) -> bool {
        matches!(self, Self::Problem(_))
    }

    /// Whether this tells more than that others did not answer: those that do began later.
    fn is_not_here(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.code == NOT_HERE)
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.status == 504,
            other => matches!(other, Self::Timeout { .. } | Self::Lost { .. }),
        }
    }

    /// The same, as what is known of several servers.
    fn of_all(self, texts: &[String], asked: &Addresses) -> Self {
        let (url, reason) = (asked.to_string(), texts.join("; "));
        match self {
            Self::Problem(problem) => Self::Problem(RemoteProblem { detail: reason, ..problem }),
            Self::Connect { role, .. } => Self::Connect { role, url, reason },
            Self::Timeout { after, .. } => Self::Timeout { url, after },
            _ => Self::Lost { url, reason },
        }
    }
}

/// What is known when every server was asked in vain: of one, what it is; of several, the one that
/// says least of what was done, with the addresses of all.
pub(super) fn together(mut failures: Vec<ClientError>, asked: &Addresses) -> ClientError {
    let least = |error: &ClientError| (error.is_not_here(), error.is_open(), error.is_an_answer());
    failures.sort_by_key(least);
    let texts: Vec<String> = failures.iter().map(ClientError::to_string).collect();
    match failures.pop() {
        Some(worst) if texts.len() > 1 => worst.of_all(&texts, asked),
        Some(only) => only,
        None => ClientError::Lost { url: asked.to_string(), reason: "nobody was asked".into() },
    }
}

/// What people call a role.
fn name_of(role: &str) -> String {
    match role {
        "" => "a server".into(),
        "blockchain" => "the blockchain server".into(),
        role => format!("the {role}"),
    }
}
