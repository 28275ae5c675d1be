//! Errors of the servers: problem+json (RFC 9457) with a stable code.

use std::{borrow::Cow, fmt, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// An error that is answered to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Fields<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    /// A problem with a stable `code` in `kebab-case` and one sentence about this occurrence.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl fmt::Display,
    ) -> Self {
        let (code, detail) = (code.into(), detail.to_string());
        Self { status, code, detail, hint: None, retry_after: None }
    }

    /// 400: the request cannot be understood.
    pub fn malformed(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404: what was asked for does not exist.
    pub fn not_found(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 422: understood, but against a rule.
    pub fn rejected(code: impl Into<Cow<'static, str>>, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 429: too much for now; `retry_after` is rounded up to seconds.
    pub fn too_many(code: &'static str, detail: impl fmt::Display, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).with_retry_after(retry_after)
    }

    /// 500: the fault of this server. `detail` must not hold secrets.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .with_hint("the log of the server says more")
    }

    /// 503: not able to answer now.
    pub fn unavailable(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    /// 504: the time for the work was not enough; it may still be carried out.
    pub fn timed_out(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", detail)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The problem of an error that a library answered as text.
    pub(super) fn from_status(status: StatusCode, detail: String) -> Self {
        let code = match status.as_u16() {
            404 => "not-found",
            405 => "method-not-allowed",
            408 => "body-timed-out",
            413 => "body-too-large",
            415 => "unsupported-media-type",
            400..500 => "bad-request",
            503 => "unavailable",
            _ => "internal",
        };
        let reason = status.canonical_reason().unwrap_or("error");
        let detail = if detail.is_empty() { reason.to_lowercase() } else { detail };
        Self::new(status, code, detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let fields = Fields {
            r#type: format!("urn:dsc:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: &self.code,
            detail: &self.detail,
            hint: self.hint.as_deref(),
        };
        // Strings and a number always encode.
        let body = serde_json::to_vec(&fields).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(time) = self.retry_after {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
