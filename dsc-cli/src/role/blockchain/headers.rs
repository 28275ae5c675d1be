//! As of which height a server answers, and who asks for how much at least.
//!
//! # Invariants
//!
//! 1. An answer is as of the height in its head or a later one.
//! 2. Whoever asks for a height that is not there yet waits as long as any long poll does at most,
//!    and not at all for one that cannot be there by then.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use dsc_lib::{
    role::blockchain::Blockchain,
    units::{Height, Millis},
};

use super::Server;
use crate::{
    http::{Problem, openapi::Operation},
    role::query::bounded,
    shutdown::Shutdown,
};

/// The height that an answer is as of.
const HEIGHT: HeaderName = HeaderName::from_static("x-height");
/// Since when the server hears nothing of the engine that it shares with others.
const STALE_SINCE: HeaderName = HeaderName::from_static("x-stale-since");
/// The height that an answer is to be as of at least.
const MIN_HEIGHT: HeaderName = HeaderName::from_static("x-min-height");
/// How far above the tip a height may be that is worth waiting for: more blocks than follow one
/// another within a long poll.
const REACH: u64 = 1_000;
/// When to ask a server that is behind again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Waits for the height asked for, and says as of which one the answer is.
pub(super) async fn say_height(
    State((server, shutdown)): State<(Server, Shutdown)>,
    request: Request,
    next: Next,
) -> Response {
    let waited = match wanted(request.headers()) {
        Ok(None) => Ok(()),
        Ok(Some(height)) => server.await_height(height, &shutdown).await,
        Err(problem) => Err(problem),
    };
    let height = server.archive.height().ok().flatten();
    let mut response = match waited {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let stale = server.member.as_ref().and_then(|member| member.stale_since());
    let headers = response.headers_mut();
    for (name, value) in [(HEIGHT, height.map(|at| at.0)), (STALE_SINCE, stale.map(|at| at.0))] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from(value));
        }
    }
    response
}

fn wanted(headers: &HeaderMap) -> Result<Option<Height>, Problem> {
    let Some(value) = headers.get(MIN_HEIGHT) else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let height = text.and_then(|text| text.parse().ok()).map(Height);
    let refuse = || Problem::malformed("invalid-min-height", "x-min-height is not a height");
    height.map(Some).ok_or_else(refuse)
}

impl Server {
    async fn await_height(&self, wanted: Height, shutdown: &Shutdown) -> Result<(), Problem> {
        let settled = |chain: &mut Blockchain| settle(chain.ledger().state().height(), wanted);
        let longest = bounded(Some(Millis(u64::MAX)));
        let found = tokio::select! {
            found = self.shared.until(longest, settled) => found,
            () = shutdown.requested() => None,
        };
        if found == Some(true) { Ok(()) } else { Err(behind(wanted)) }
    }
}

/// Whether a height is there, or cannot be there in time; neither if it is worth waiting for.
fn settle(tip: Option<Height>, wanted: Height) -> Option<bool> {
    let reach = tip.map_or(0, |tip| tip.0).saturating_add(REACH);
    let there = tip >= Some(wanted);
    (there || wanted.0 > reach).then_some(there)
}

fn behind(wanted: Height) -> Problem {
    let detail = format_args!("this server has not come to height {wanted} yet");
    Problem::unavailable("behind", detail)
        .with_retry_after(RETRY_AFTER)
        .with_hint("ask again, or another server of the chain")
}

/// Says of every route that it does this.
pub(super) fn described(operation: Operation) -> Operation {
    operation
        .header::<Option<Height>>(
            "x-min-height",
            "The height that the answer is to be as of at least: it is waited for up to 10 s if it is at most 1,000 above the tip.",
        )
        .fault(400, "invalid-min-height", "x-min-height is not a height")
        .fault(503, "behind", "this server has not come to x-min-height")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_may_come_and_for_nothing_else() {
        let cases = [
            (None, 0, None),
            (None, REACH, None),
            (None, REACH + 1, Some(false)),
            (Some(7), 7, Some(true)),
            (Some(7), 8, None),
            (Some(7), 7 + REACH, None),
            (Some(7), 8 + REACH, Some(false)),
            (Some(7), u64::MAX, Some(false)),
            (Some(u64::MAX), u64::MAX, Some(true)),
        ];
        for (tip, wanted, settled) in cases {
            assert_eq!(settle(tip.map(Height), Height(wanted)), settled, "{tip:?} {wanted}");
        }
    }
}
