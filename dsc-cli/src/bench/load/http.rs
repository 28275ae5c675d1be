//! One connection to a role: asynchronous and kept open, so that what is measured is the role.
//!
//! The client of the commands blocks a thread and costs a few hundred microseconds a request; this
//! one costs tens, and hundreds of them share one thread.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode, body::Bytes, client::conn::http1, header, header::HeaderValue,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::http::ClientError;

/// Longest wait for an answer: far more than any server takes that is not stuck.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// What a role answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// When to ask again, if the role said so.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// A connection that is made when it is needed, and again when it was lost.
#[derive(Debug)]
pub(super) struct Connection {
    url: String,
    authority: String,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// A connection to the role at `url`, which is `http://HOST:PORT`.
    pub(super) fn to(url: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        Self { url: url.to_owned(), authority: authority.to_owned(), sender: None }
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        self.send(Method::POST, path, body).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let late = ClientError::Timeout { url: self.url.clone(), after: ANSWER_TIME };
        let answered = timeout(ANSWER_TIME, self.exchange(method, path, body)).await;
        let answered = answered.unwrap_or(Err(late));
        if answered.is_err() {
            self.sender = None;
        }
        answered
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let url = self.url.clone();
        let lost = |error: hyper::Error| ClientError::Lost { url, reason: error.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(body));
        let request = request.map_err(|error| ClientError::Url {
            url: format!("{}{path}", self.url),
            expected: error.to_string(),
        })?;
        let sender = self.ready().await?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(lost(error)),
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(lost)?.to_bytes();
        let retry_after = head.headers.get(header::RETRY_AFTER).and_then(seconds);
        Ok(Answer { status: head.status, retry_after, body })
    }

    async fn ready(&mut self) -> Result<&mut http1::SendRequest<Full<Bytes>>, ClientError> {
        let usable = self.sender.take().filter(|sender| !sender.is_closed());
        let sender = match usable {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        Ok(self.sender.insert(sender))
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, ClientError> {
        let refused = |error: &dyn std::fmt::Display| ClientError::Connect {
            role: "",
            url: self.url.clone(),
            reason: error.to_string(),
        };
        let stream = TcpStream::connect(&self.authority).await.map_err(|e| refused(&e))?;
        stream.set_nodelay(true).map_err(|error| refused(&error))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| refused(&error))?;
        // Its end is noticed by whoever sends next.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
