//! The client of the roles: blocking, with keep-alive, and bounded in time and size.
//!
//! Where a role has several servers, the next one is asked when one cannot be reached or takes no
//! requests now; when its answer was lost, if to ask again changes nothing; and after one that says
//! that it hears nothing of what it shares with the others, which may be old news.

mod addresses;
mod error;

use std::{cell::Cell, fmt, io, sync::Arc, time::Duration};

use dsc_lib::units::Height;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use ureq::{Agent, Body, Timeout, http::Response};

use self::addresses::Addresses;
pub use self::error::{ClientError, RemoteProblem};
use super::Token;
use crate::config::{Config, keys::Kind};

/// A server keeps an idle connection for longer than this, so that a request never meets the end
/// of one.
const IDLE_TIME: Duration = Duration::from_secs(5);
const PROBLEM_BYTES_MAX: u64 = 64 << 10;
/// A server that has not heard for a while of what it shares with others says since when.
const STALE_SINCE: &str = "x-stale-since";
/// What may be asked for again, of another server, when its answer was lost: what was taken once is
/// known by what it is.
const REPEATABLE: [&str; 3] = ["/v1/blocks", "/v1/transactions", "/v1/proofs"];
/// Longest wait for the head of an answer where another server can be asked, beside the time that
/// the question itself may stay open: to be shown something, and to have something done.
const GET_PATIENCE: Duration = Duration::from_secs(5);
const POST_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct ProblemFields {
    code: String,
    detail: String,
    hint: Option<String>,
}

/// One try to ask one server.
#[derive(Clone, Copy, Debug)]
struct Try<'a> {
    url: &'a str,
    /// Longest wait for the head of the answer.
    patience: Duration,
    /// Whether the answer says that it may be old.
    is_stale: &'a Cell<bool>,
}

/// A client of one role, whether it has one server or several.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    role: &'static str,
    addresses: Arc<Addresses>,
    token: Option<Token>,
    /// The height that answers are to be as of at least.
    at_least: Option<Height>,
    request_time: Duration,
    answer_bytes_max: u64,
}

impl Client {
    /// A client of the role at `urls`, split by commas.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`] if one of them is not `http://HOST:PORT`.
    pub fn new(
        urls: &str,
        connect_time: Duration,
        request_time: Duration,
        answer_bytes_max: u64,
    ) -> Result<Self, ClientError> {
        let kind = if urls.contains(',') { Kind::Urls } else { Kind::Url };
        kind.check(urls).map_err(|expected| ClientError::Url { url: urls.to_owned(), expected })?;
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
        let addresses = Arc::new(Addresses::parse(urls));
        let agent = Agent::new_with_config(config);
        let (token, at_least) = (None, None);
        Ok(Self { agent, role: "", addresses, token, at_least, request_time, answer_bytes_max })
    }

    /// A client of the role at `urls` with the bounds that `config` sets.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn from_config(urls: &str, config: &Config) -> Result<Self, ClientError> {
        Self::new(
            urls,
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

    /// Asks a blockchain server for answers as of this height at least.
    #[must_use]
    pub fn at_least(mut self, height: Option<Height>) -> Self {
        self.at_least = height;
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

    /// The address that answered last.
    pub fn base(&self) -> &str {
        self.addresses.last()
    }

    /// Whether who answered last says that it has not heard of the others for a while.
    pub fn is_stale(&self) -> bool {
        self.addresses.is_stale()
    }

    /// All addresses, in the order in which they were given.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.addresses.urls()
    }

    /// A client of each server alone.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        let alone = |url| Self { addresses: Arc::new(Addresses::parse(url)), ..self.clone() };
        self.urls().map(alone)
    }

    /// How many addresses there are.
    pub fn count(&self) -> usize {
        self.addresses.count()
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
        let max = max.max(self.answer_bytes_max);
        // Reading changes nothing, so that an answer that was lost is only one not had.
        self.ask(GET_PATIENCE.saturating_add(wait_of(path)), true, |this| {
            let mut request = self.agent.get(format!("{}{path}", this.url));
            if let Some(token) = &self.token {
                request = request.header("authorization", bearer(token));
            }
            if let Some(height) = self.at_least {
                request = request.header("x-min-height", height.to_string());
            }
            let request = request.config().timeout_global(Some(self.request_time));
            let request = request.timeout_recv_response(Some(this.patience)).build();
            self.read(this, request.call(), max)
        })
        .map_err(|error| match error {
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
        self.ask(self.request_time, true, |this| {
            let request = self.agent.get(format!("{}{path}", this.url));
            // Only the head of the answer has to come soon.
            let request = request.config().timeout_global(None);
            let request = request.timeout_recv_response(Some(this.patience)).build();
            let mut response = request.call().map_err(|error| self.transport(this, error))?;
            if !response.status().is_success() {
                let body = response.body_mut().with_config().limit(PROBLEM_BYTES_MAX).read_to_vec();
                let body = body.map_err(|error| self.transport(this, error))?;
                return Err(problem(this, &response, &body));
            }
            Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
        })
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
        let route = path.split('?').next().unwrap_or_default();
        self.ask(POST_PATIENCE, REPEATABLE.contains(&route), |this| {
            let mut request = self.agent.post(format!("{}{path}", this.url));
            request = request.header("content-type", media_type);
            if let Some(token) = &self.token {
                request = request.header("authorization", bearer(token));
            }
            let request = request.config().timeout_global(Some(self.request_time));
            let request = request.timeout_recv_response(Some(this.patience)).build();
            self.read(this, request.send(body), self.answer_bytes_max)
        })
    }

    /// Asks one server after the other, as long as there is reason to.
    fn ask<T>(
        &self,
        patience: Duration,
        is_repeatable: bool,
        ask: impl Fn(Try<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        // Who is alone is waited for as long as may be.
        let is_alone = self.count() == 1;
        let patience = if is_alone { self.request_time } else { patience.min(self.request_time) };
        let mut failures = Vec::new();
        for (index, url) in self.addresses.in_turn() {
            let is_stale = Cell::new(false);
            match ask(Try { url, patience, is_stale: &is_stale }) {
                Err(error) if error.is_for_another(is_repeatable) => failures.push(error),
                settled => {
                    if settled.as_ref().err().is_none_or(ClientError::is_an_answer) {
                        self.addresses.heard(index, is_stale.get());
                    }
                    return settled;
                }
            }
        }
        Err(error::together(failures, &self.addresses))
    }

    fn read(
        &self,
        this: Try<'_>,
        answered: Result<Response<Body>, ureq::Error>,
        max: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let mut response = answered.map_err(|error| self.transport(this, error))?;
        this.is_stale.set(response.headers().contains_key(STALE_SINCE));
        let is_error = !response.status().is_success();
        let limit = if is_error { PROBLEM_BYTES_MAX } else { max };
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| self.transport(this, error))?;
        if is_error { Err(problem(this, &response, &body)) } else { Ok(body) }
    }

    fn transport(&self, this: Try<'_>, error: ureq::Error) -> ClientError {
        let (role, url) = (self.role, this.url.to_owned());
        let reason = error.to_string();
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed => ClientError::Connect { role, url, reason },
            ureq::Error::Io(error) if is_before_sending(&error) => {
                ClientError::Connect { role, url, reason: plain(&error) }
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => {
                ClientError::Timeout { url, after: this.patience }
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
        malformed(self.base(), reason)
    }
}

fn malformed(url: &str, reason: &dyn fmt::Display) -> ClientError {
    ClientError::Malformed { url: url.to_owned(), reason: reason.to_string() }
}

fn problem(this: Try<'_>, response: &Response<Body>, body: &[u8]) -> ClientError {
    let status = response.status().as_u16();
    let Ok(ProblemFields { code, detail, hint }) = serde_json::from_slice(body) else {
        return malformed(this.url, &format_args!("status {status} without a problem"));
    };
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    ClientError::Problem(RemoteProblem { status, code, detail, hint, retry_after })
}

/// How long a question asks to stay open.
fn wait_of(path: &str) -> Duration {
    let (_, query) = path.split_once('?').unwrap_or_default();
    let wait = query.split('&').find_map(|field| field.strip_prefix("wait="));
    Duration::from_millis(wait.and_then(|wait| wait.parse().ok()).unwrap_or_default())
}

fn bearer(token: &Token) -> String {
    format!("Bearer {}", token.secret())
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
