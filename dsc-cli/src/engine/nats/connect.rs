//! One connection to the nodes: requests and their outcomes, and the wait for them from plain threads.
//!
//! # Invariants
//!
//! 1. [`Failed::NotSent`] is said only of what no node can have got; what may have been done is
//!    [`Failed::Unknown`], and a node's own answer [`Failed::Refused`].
//! 2. Nothing is stored while an engine that may lose it is in use ([`Guard`]).

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap, Message, Request, RequestError, RequestErrorKind, Subscriber,
    connection::State,
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
    super::settings::Settings,
    guard::Guard,
    session::{options, unreachable},
};
use crate::exit::Failure;

/// Longest wait for the answer to a request that stores or tells something small.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(4);
/// How long something that nobody hears is sent again, and how often: a node hears of a stream's new
/// leader a moment after that one leads.
const HEARD_TIME: Duration = Duration::from_secs(1);
const HEARD_PAUSE: Duration = Duration::from_millis(20);
/// How long a copy may take to begin its answer before any is asked again, and how many are asked.
const COPY_TIME: Duration = Duration::from_millis(500);
const COPY_TRIES: usize = 4;
/// Refusals that are remembered for whoever is about to look.
const DENIALS: usize = 64;
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
