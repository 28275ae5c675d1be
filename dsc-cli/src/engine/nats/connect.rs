//! One connection to the nodes: requests and their outcomes, and the wait for them from plain threads.
//!
//! # Invariants
//!
//! 1. [`Failed::NotSent`] is said only of what no node can have got; what may have been done is
//!    [`Failed::Unknown`], and a node's own answer [`Failed::Refused`].
//! 2. Nothing is stored while an engine that may lose it is in use ([`Guard`]).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, RequestError, RequestErrorKind,
    Subscriber, connection::State,
};
use axum::body::Bytes;
use dsc_lib::cluster::Unavailable;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{broadcast, watch},
};

use super::{
    super::settings::{Identity, Settings},
    guard::Guard,
    turn::in_turn,
};
use crate::exit::Failure;

/// Longest wait for the answer to a request that stores or tells something small.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(4);
/// How long something that nobody hears is sent again, and how often: a node hears of a stream's new
/// leader a moment after that one leads.
const HEARD_TIME: Duration = Duration::from_secs(1);
const HEARD_PAUSE: Duration = Duration::from_millis(20);
/// Two of these without an answer, and another node is connected to.
const PING_TIME: Duration = Duration::from_secs(1);
/// How long a copy may take to begin its answer before any is asked again, and how many are asked.
const COPY_TIME: Duration = Duration::from_millis(500);
const COPY_TRIES: usize = 4;
/// Refusals that are remembered for whoever is about to look.
const DENIALS: usize = 64;
/// How long the same complaint of a node is no news, and how many are told within that time.
const COMPLAINT_TIME: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 64;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a request has no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Failed {
    /// No node got it.
    #[error("{0}")]
    NotSent(String),
    /// It may have been done.
    #[error("{0}")]
    Unknown(String),
    /// The node that leads says no.
    #[error("{description} (error {code})")]
    Refused {
        /// The server's own number for it.
        code: u64,
        description: String,
    },
}

impl From<Failed> for Unavailable {
    fn from(failed: Failed) -> Self {
        Self::new(failed)
    }
}

/// What a node says instead of doing it.
#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// The name of the value that stands for an answer's own.
#[derive(Deserialize)]
struct Answer {
    error: Option<ApiError>,
    #[serde(flatten)]
    value: Value,
}

/// A connection, with the threads that drive it.
#[derive(Debug)]
pub(super) struct Link {
    /// Taken when the link is dropped, which may happen where blocking is not allowed.
    runtime: Option<Runtime>,
    client: Client,
    /// Counts connections that were lost.
    lost: watch::Receiver<u64>,
    /// What the node says this user may not do.
    denied: broadcast::Sender<String>,
    pub(super) guard: Arc<Guard>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    /// Connects to one of the nodes.
    pub(super) fn open(settings: &Settings, guard: Arc<Guard>) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("engine")
            .enable_all()
            .build()
            .map_err(|error| Failure::other("engine-threads", error))?;
        let (losses, lost) = watch::channel(0);
        let (denied, _) = broadcast::channel(DENIALS);
        let options = options(settings, losses, denied.clone(), guard.clone())?;
        let connected = runtime.block_on(options.connect(&settings.nodes[..]));
        match connected {
            Ok(client) => Ok(Self { runtime: Some(runtime), client, lost, denied, guard }),
            Err(error) => {
                runtime.shutdown_background();
                Err(unreachable(settings, &error))
            }
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only when the link is dropped")
    }

    /// Waits for `work`, as no thread may where futures are polled.
    pub(super) fn wait_for<F: Future>(&self, work: F) -> F::Output {
        self.runtime().block_on(work)
    }

    /// Leaves `work` to the threads of the link.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(work);
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    fn require_connection(&self) -> Result<(), Failed> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            state => Err(Failed::NotSent(format!("no node is connected ({state})"))),
        }
    }

    /// Sends something to be stored, and waits for what the node says.
    pub(super) async fn store(
        &self,
        subject: &str,
        headers: HeaderMap,
        bytes: Vec<u8>,
        time: Duration,
    ) -> Result<Value, Failed> {
        self.guard.check(self.client.server_info().server_id.as_str()).map_err(Failed::NotSent)?;
        let message = self.request(subject, headers, bytes, time).await?;
        read_answer(&message)
    }

    /// Asks the engine's own interface.
    pub(super) async fn ask(&self, subject: &str, question: &Value) -> Result<Value, Failed> {
        let bytes = in_json(question);
        let message = self.request(subject, HeaderMap::new(), bytes, ANSWER_TIME).await?;
        read_answer(&message)
    }

    /// Sends a request and waits for one answer.
    ///
    /// Where nobody hears it, the node may not have been told yet who leads a stream that was just made or
    /// just lost who led it: then it is sent again for a while.
    pub(super) async fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        bytes: Vec<u8>,
        time: Duration,
    ) -> Result<Message, Failed> {
        let bytes = Bytes::from(bytes);
        let end = tokio::time::Instant::now() + HEARD_TIME.min(time);
        loop {
            let request = Request::new().headers(headers.clone()).payload(bytes.clone());
            let answered = self.request_once(subject, request.timeout(Some(time))).await?;
            match answered.map_err(|error| (error.kind(), error)) {
                Ok(message) => return Ok(message),
                Err((RequestErrorKind::NoResponders, _)) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(HEARD_PAUSE).await;
                }
                Err((kind, error)) => return Err(request_failed(kind, &error, time)),
            }
        }
    }

    async fn request_once(
        &self,
        subject: &str,
        request: Request,
    ) -> Result<Result<Message, RequestError>, Failed> {
        self.require_connection()?;
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        let mut denied = self.denied.subscribe();
        let answer = self.client.send_request(subject.to_owned(), request);
        tokio::select! {
            answered = answer => Ok(answered),
            _ = lost.changed() => Err(Failed::Unknown("the connection was lost".into())),
            reason = denial(&mut denied, subject) => Err(Failed::NotSent(reason)),
        }
    }

    /// Sends a question to any copy, whose answers are to be taken from what is returned.
    ///
    /// One that says nothing soon may be cut off from the node that is connected to, which goes on
    /// choosing it for as long as it has not noticed: then any copy is asked again.
    pub(super) async fn question(
        &self,
        subject: &str,
        question: &Value,
    ) -> Result<impl Stream<Item = Message> + Unpin + use<>, Failed> {
        let mut answers = self.question_once(subject, question).await?;
        let mut first = None;
        for _ in 1..COPY_TRIES {
            if let Ok(answer) = tokio::time::timeout(COPY_TIME, answers.next()).await {
                first = answer;
                break;
            }
            tracing::debug!(subject, "a copy says nothing, asking any again");
            answers = self.question_once(subject, question).await?;
        }
        Ok(stream::iter(first).chain(answers))
    }

    async fn question_once(&self, subject: &str, question: &Value) -> Result<Subscriber, Failed> {
        self.require_connection()?;
        let inbox = self.client.new_inbox();
        let failed = |error: &dyn std::error::Error| Failed::NotSent(error.to_string());
        let answers = self.client.subscribe(inbox.clone()).await.map_err(|e| failed(&e))?;
        let bytes = in_json(question).into();
        let sent = self.client.publish_with_reply(subject.to_owned(), inbox, bytes).await;
        sent.map_err(|error| failed(&error))?;
        Ok(answers)
    }
}

fn request_failed(kind: RequestErrorKind, error: &RequestError, time: Duration) -> Failed {
    match kind {
        RequestErrorKind::NoResponders => {
            Failed::NotSent("no node leads, or JetStream is off".into())
        }
        RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
            Failed::NotSent(error.to_string())
        }
        RequestErrorKind::TimedOut => Failed::Unknown(format!("no answer within {time:?}")),
        RequestErrorKind::Other => Failed::Unknown(error.to_string()),
    }
}

/// A question as it is sent; none is nothing at all.
fn in_json(question: &Value) -> Vec<u8> {
    if question.is_null() { Vec::new() } else { question.to_string().into() }
}

/// Waits until a node says that nothing may be sent to `subject`; it has dropped what was.
async fn denial(denied: &mut broadcast::Receiver<String>, subject: &str) -> String {
    let quoted = format!("\"{subject}\"").to_lowercase();
    loop {
        match denied.recv().await {
            Ok(reason) if reason.to_lowercase().contains(&quoted) => return reason,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            // Nobody will say any more; the answer or its time ends the wait.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The value of an answer in JSON, or what it says is wrong.
fn read_answer(message: &Message) -> Result<Value, Failed> {
    let answer: Answer = serde_json::from_slice(&message.payload)
        .map_err(|error| Failed::Unknown(format!("an answer that makes no sense: {error}")))?;
    match answer.error {
        None => Ok(answer.value),
        Some(ApiError { code, err_code, description }) => {
            let code = if err_code == 0 { code } else { err_code };
            Err(Failed::Refused { code, description })
        }
    }
}

fn unreachable(settings: &Settings, error: &dyn std::error::Error) -> Failure {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        // Many an error says again what caused it.
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = inner.source();
    }
    let nodes = settings.nodes.join(", ");
    let message = format!("no node of the engine can be connected to at {nodes}: {reason}");
    Failure::unreachable("engine-unreachable", message).with_hint(advice(&reason))
}

/// What to do when this is why nobody can be connected to.
fn advice(reason: &str) -> &'static str {
    if reason.contains("authorization") {
        "set engine.user, and engine.password_file to a file with its password, as the accounts of \
         the nodes have them"
    } else if reason.contains("certificate") {
        "set engine.ca_file to the certificate of whoever signed those of the nodes; each is for the \
         name by which engine.url calls its node"
    } else {
        "start nats-server there; check engine.url: it names the ports of clients, 4222 unless told \
         otherwise"
    }
}

/// What the nodes complain of: the same again is no news for a while.
#[derive(Debug, Default)]
struct Complaints(Mutex<HashMap<String, Instant>>);

impl Complaints {
    fn is_news(&self, text: &str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < COMPLAINT_TIME);
        if told.contains_key(text) || told.len() >= COMPLAINTS_MAX {
            return false;
        }
        told.insert(text.to_owned(), now);
        true
    }
}

fn options(
    settings: &Settings,
    losses: watch::Sender<u64>,
    denied: broadcast::Sender<String>,
    guard: Arc<Guard>,
) -> Result<ConnectOptions, Failure> {
    let complaints = Complaints::default();
    let options = ConnectOptions::new()
        .name("dsc")
        .connection_timeout(settings.connect_time)
        .ping_interval(PING_TIME)
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| {
            let tries = u32::try_from(tries).unwrap_or(u32::MAX);
            Duration::from_millis(50).saturating_mul(tries).min(PAUSE_MAX)
        })
        .reconnect_to_server_callback(in_turn())
        .event_callback(move |event| {
            tell(&event, &losses, &denied, &guard, &complaints);
            std::future::ready(())
        });
    let options = match &settings.ca_file {
        Some(path) => options.add_root_certificates(path.clone()),
        None => options,
    };
    // Nodes tell of one another without a word of TLS: whoever asks for it of one means all.
    let options = options.require_tls(settings.asks_for_tls());
    match &settings.identity {
        Identity::Nobody => Ok(options),
        Identity::User { name, password } => {
            Ok(options.user_and_password(name.clone(), password.text().to_owned()))
        }
        Identity::Credentials(text) => options.credentials(text.text()).map_err(|error| {
            Failure::configuration("engine-credentials", error)
                .with_hint("engine.credentials_file is what `nsc generate creds` writes")
        }),
    }
}

/// Logs what happens to the connection.
fn tell(
    event: &Event,
    losses: &watch::Sender<u64>,
    denied: &broadcast::Sender<String>,
    guard: &Guard,
    complaints: &Complaints,
) {
    match event {
        Event::Connected => {
            guard.look_again();
            tracing::info!("connected to the engine");
        }
        Event::Disconnected => {
            losses.send_modify(|count| *count = count.wrapping_add(1));
            tracing::warn!("the connection to the engine was lost");
        }
        Event::ServerError(error) => {
            if complaints.is_news(&error.to_string(), Instant::now()) {
                tracing::warn!("the engine says: {error}");
            }
            // Nobody may be waiting.
            drop(denied.send(error.to_string()));
        }
        Event::ClientError(error) => tracing::warn!("the connection to the engine: {error}"),
        other => tracing::debug!("the connection to the engine: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_complaint_is_told_once_in_a_while() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = [("a", 0), ("a", 1), ("b", 1), ("a", 59), ("a", 60), ("b", 60), ("b", 61)]
            .map(|(text, second)| complaints.is_news(text, at(second)));
        assert_eq!(told, [true, false, true, false, true, false, true]);
        let many = (0..100).filter(|n: &u32| complaints.is_news(&n.to_string(), at(62))).count();
        assert_eq!(many, COMPLAINTS_MAX - 2);
    }

    #[test]
    fn what_keeps_nodes_from_being_connected_to_has_its_own_advice() {
        for (reason, expected) in [
            ("authorization violation", "engine.password_file"),
            ("IO error: invalid peer certificate: UnknownIssuer", "engine.ca_file"),
            ("timed out", "4222"),
        ] {
            assert!(advice(reason).contains(expected), "{reason}");
        }
    }
}
