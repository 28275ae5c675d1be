//! The client of the roles: blocking, with keep-alive, and bounded in time and size.

use std::{fmt, io, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;
use ureq::{Agent, Body, Timeout, http::Response};

use super::Token;
use crate::config::{Config, keys::Kind};

/// A server keeps an idle connection for longer than this, so that a request never meets the end
/// of one.
const IDLE_TIME: Duration = Duration::from_secs(5);
const PROBLEM_BYTES_MAX: u64 = 64 << 10;

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

#[derive(Deserialize)]
struct ProblemFields {
    code: String,
    detail: String,
    hint: Option<String>,
}

/// A client of one role.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    role: &'static str,
    base: String,
    token: Option<Token>,
    request_time: Duration,
    answer_bytes_max: u64,
}

impl Client {
    /// A client of the role at `url`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`] if `url` is not `http://HOST:PORT`.
    pub fn new(
        url: &str,
        connect_time: Duration,
        request_time: Duration,
        answer_bytes_max: u64,
    ) -> Result<Self, ClientError> {
        Kind::Url
            .check(url)
            .map_err(|expected| ClientError::Url { url: url.to_owned(), expected })?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // Roles are reached directly: a proxy of the environment is for the web.
            .proxy(None)
            .timeout_connect(Some(connect_time))
            .timeout_global(Some(request_time))
            .max_idle_age(IDLE_TIME)
            .user_agent(concat!("dsc/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = url.trim_end_matches('/').to_owned();
        let agent = Agent::new_with_config(config);
        Ok(Self { agent, role: "", base, token: None, request_time, answer_bytes_max })
    }

    /// A client of the role at `url` with the bounds that `config` sets.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn from_config(url: &str, config: &Config) -> Result<Self, ClientError> {
        Self::new(
            url,
            config.time("client.connect_time"),
            config.time("client.request_time"),
            config.count("http.bulk_bytes_max") as u64,
        )
    }

    /// A client of the role that the configuration says where to find, by the key `ROLE.url`.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn of_role(role: &'static str, config: &Config) -> Result<Self, ClientError> {
        let client = Self::from_config(config.text(&format!("{role}.url")), config)?;
        Ok(client.named(role))
    }

    /// Says which role is asked, for errors to name it.
    #[must_use]
    pub fn named(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    /// Sends `token` with every request.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Waits up to `time` for each answer; for long polls.
    #[must_use]
    pub fn with_request_time(mut self, time: Duration) -> Self {
        self.request_time = time;
        self
    }

    /// Waits for no answer longer than `max`.
    #[must_use]
    pub fn within(mut self, max: Duration) -> Self {
        self.request_time = self.request_time.min(max);
        self
    }

    /// The address of the role.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Gets `path` as JSON.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if there is no such answer.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.parse(&self.get_bytes(path)?)
    }

    /// Gets `path` as bytes.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`].
    pub fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.get_within(path, self.answer_bytes_max)
    }

    /// Gets `path` as at most `max` bytes, or as many as other answers may have.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`].
    pub fn get_within(&self, path: &str, max: u64) -> Result<Vec<u8>, ClientError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", bearer(token));
        }
        let request = request.config().timeout_global(Some(self.request_time)).build();
        // Reading changes nothing, so that an answer that was lost is only one not had.
        self.read(request.call(), max.max(self.answer_bytes_max)).map_err(|error| match error {
            ClientError::Lost { url, reason } => {
                ClientError::Connect { role: self.role, url, reason }
            }
            other => other,
        })
    }

    /// Gets `path` as a stream that may never end, such as server-sent events.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`]; and those of reading.
    pub fn open(&self, path: &str) -> Result<impl io::Read + Send + use<>, ClientError> {
        let request = self.agent.get(format!("{}{path}", self.base));
        // Only the head of the answer has to come soon.
        let request = request.config().timeout_global(None);
        let request = request.timeout_recv_response(Some(self.request_time)).build();
        let mut response = request.call().map_err(|error| self.transport(error))?;
        if !response.status().is_success() {
            let body = response.body_mut().with_config().limit(PROBLEM_BYTES_MAX).read_to_vec();
            return Err(self.problem(&response, &body.map_err(|error| self.transport(error))?));
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Posts JSON to `path` and reads JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`].
    pub fn post_json<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.malformed(&error))?;
        self.parse(&self.post(path, "application/json", &body)?)
    }

    /// Posts bytes to `path` and reads bytes.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`].
    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.post(path, "application/octet-stream", body)
    }

    /// Posts bytes to `path` and reads JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::get_json`].
    pub fn submit_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &[u8],
    ) -> Result<T, ClientError> {
        self.parse(&self.post_bytes(path, body)?)
    }

    fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        request = request.header("content-type", media_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", bearer(token));
        }
        let request = request.config().timeout_global(Some(self.request_time)).build();
        self.read(request.send(body), self.answer_bytes_max)
    }

    fn read(
        &self,
        answered: Result<Response<Body>, ureq::Error>,
        max: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let mut response = answered.map_err(|error| self.transport(error))?;
        let is_error = !response.status().is_success();
        let limit = if is_error { PROBLEM_BYTES_MAX } else { max };
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| self.transport(error))?;
        if is_error { Err(self.problem(&response, &body)) } else { Ok(body) }
    }

    fn problem(&self, response: &Response<Body>, body: &[u8]) -> ClientError {
        let status = response.status().as_u16();
        let Ok(ProblemFields { code, detail, hint }) = serde_json::from_slice(body) else {
            return self.malformed(&format_args!("status {status} without a problem"));
        };
        let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        ClientError::Problem(RemoteProblem { status, code, detail, hint, retry_after })
    }

    fn transport(&self, error: ureq::Error) -> ClientError {
        let (role, url) = (self.role, self.base.clone());
        let reason = error.to_string();
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed => ClientError::Connect { role, url, reason },
            ureq::Error::Io(error) if is_before_sending(&error) => {
                ClientError::Connect { role, url, reason: plain(&error) }
            }
            ureq::Error::Timeout(_) => ClientError::Timeout { url, after: self.request_time },
            ureq::Error::BodyExceedsLimit(limit) => ClientError::TooLarge { url, limit },
            ureq::Error::Io(_) => ClientError::Lost { url, reason },
            _ => ClientError::Malformed { url, reason },
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, reason: &dyn fmt::Display) -> ClientError {
        ClientError::Malformed { url: self.base.clone(), reason: reason.to_string() }
    }
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.secret())
}

/// What people call a role.
fn name_of(role: &str) -> String {
    match role {
        "" => "a server".into(),
        "blockchain" => "the blockchain server".into(),
        role => format!("the {role}"),
    }
}

/// What the system says, without its number for that.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or_default();
    reason.to_lowercase()
}

/// Whether the error says that there was no connection to send on.
fn is_before_sending(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
    )
}
