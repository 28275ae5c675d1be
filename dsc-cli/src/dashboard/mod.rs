//! The dashboard and explorer: one page with all that it loads, inside the program.
//!
//! # Invariants
//!
//! 1. The page loads nothing from elsewhere and runs nothing that is written into it: every answer
//!    says so by its content security policy.
//! 2. What is not embedded is not found; no path reaches the file system.
//! 3. A browser asks again whether its copy is the newest and then gets 304 without a body, so
//!    another version of the program is never mixed with old parts.
//!
//! `tests.rs` beside this file checks them; `scripts/browser_test.py` uses the page.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::http::Problem;

#[cfg(test)]
mod tests;

const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];
/// Places within the page; the browser shows what belongs to each.
const PAGES: [&str; 5] =
    ["/", "/blocks", "/block/{which}", "/transaction/{id}", "/address/{address}"];

/// A file of the page.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal)*) => {
        &[$(Asset { name: $name, bytes: include_bytes!(concat!("assets/", $name)) }),*]
    };
}

const INDEX: Asset = Asset { name: "index.html", bytes: include_bytes!("assets/index.html") };
/// Everything that the page loads, by its name after `/assets/`.
const ASSETS: &[Asset] = assets! {
    "address.js"
    "api.js"
    "app.js"
    "base.css"
    "block.js"
    "charts.js"
    "dom.js"
    "explorer.css"
    "format.js"
    "header.js"
    "icon.svg"
    "overview.css"
    "overview.js"
    "paging.js"
    "plot.js"
    "ribbon.js"
    "search.js"
    "servers.js"
    "state.js"
    "stream.js"
    "theme.js"
    "transaction.js"
    "transactions.js"
    "uplot/LICENSE"
    "uplot/uPlot.esm.js"
    "uplot/uPlot.min.css"
    "validators.js"
};

/// The routes of the page, for the site of a monitor; they are no part of its interface.
pub(crate) fn routes() -> Router {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/assets/{*name}", get(asset))
}

async fn page(headers: HeaderMap) -> Response {
    static TAG: LazyLock<HeaderValue> = LazyLock::new(|| INDEX.tag());
    INDEX.answer(&TAG, &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    static TAGS: LazyLock<Vec<HeaderValue>> =
        LazyLock::new(|| ASSETS.iter().map(Asset::tag).collect());
    let mut assets = ASSETS.iter().zip(TAGS.iter());
    let found = assets.find(|(asset, _)| asset.name == name);
    found.map(|(asset, tag)| asset.answer(tag, &headers)).ok_or_else(|| {
        Problem::not_found("unknown-asset", format_args!("the page has no part `{name}`"))
    })
}

impl Asset {
    /// Names the content, for a browser to say which one it holds.
    fn tag(&self) -> HeaderValue {
        let hash = blake3::hash(self.bytes).to_hex();
        HeaderValue::from_str(&format!("\"{}\"", &hash[..32])).expect("hexadecimal digits")
    }

    fn answer(&self, tag: &HeaderValue, asked: &HeaderMap) -> Response {
        let head = (HEADERS, [(header::ETAG, tag.clone())]);
        if is_held(asked, tag) {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        (head, [(header::CONTENT_TYPE, media_type(self.name))], self.bytes).into_response()
    }
}

/// Whether the browser says that it holds the content of `tag`.
fn is_held(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lists.flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
    tags.any(|held| {
        let held = held.trim_ascii();
        let held = held.strip_prefix(b"W/").unwrap_or(held);
        held == tag.as_bytes() || held == b"*"
    })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
