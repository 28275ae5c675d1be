use std::{collections::BTreeSet, fs, path::Path};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use tower_service::Service;

use super::*;

async fn ask(path: &str, held: Option<&str>) -> Response {
    let mut request = Request::get(path);
    if let Some(tag) = held {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    routes().call(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

fn header_of(response: &Response, name: HeaderName) -> &str {
    response.headers()[name].to_str().unwrap()
}

/// Names of files under `folder`, as they follow `/assets/`.
fn files(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{name}/"), into);
        } else {
            into.insert(name);
        }
    }
}

#[test]
fn every_file_is_embedded() {
    let mut there = BTreeSet::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/assets"), "", &mut there);
    assert!(there.remove(INDEX.name));
    let embedded: BTreeSet<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
    assert_eq!(embedded, there);
}

/// The texts between `before` and the quote that follows.
fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn whatever_the_page_names_is_embedded() {
    let index = str::from_utf8(INDEX.bytes).unwrap();
    let mut named: Vec<String> = Vec::new();
    for before in ["src=\"", "href=\"/assets/"] {
        let found = quoted(index, before).into_iter();
        named.extend(found.map(|path| path.trim_start_matches("/assets/").to_owned()));
    }
    for asset in ASSETS.iter().filter(|asset| media_type(asset.name).contains("javascript")) {
        let text = str::from_utf8(asset.bytes).unwrap();
        named.extend(quoted(text, "from \"./").into_iter().map(str::to_owned));
    }
    assert!(named.len() > 20, "found only {named:?}");
    for name in named {
        assert!(ASSETS.iter().any(|asset| asset.name == name), "{name} is not embedded");
    }
}

/// What the policy would refuse, and what would let text of strangers become part of the page.
#[test]
fn own_parts_have_nothing_inline_and_insert_only_text() {
    let own = ASSETS.iter().filter(|asset| !asset.name.starts_with("uplot/"));
    for asset in own.chain([&INDEX]) {
        let text = str::from_utf8(asset.bytes).unwrap();
        let refused = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=",
            " onclick=",
            "javascript:",
            "<style",
            "https://",
            "setAttribute(\"style\"",
        ];
        for part in refused {
            assert!(!text.contains(part), "{} has {part}", asset.name);
        }
    }
}

#[tokio::test]
async fn every_place_answers_the_page() {
    let places = ["/", "/blocks", "/block/12", "/block/tip", "/transaction/ab", "/address/dscd1x"];
    for path in places {
        let response = ask(path, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header_of(&response, header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header_of(&response, header::CONTENT_SECURITY_POLICY), POLICY);
        assert_eq!(header_of(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header_of(&response, header::REFERRER_POLICY), "no-referrer");
        assert_eq!(header_of(&response, header::CACHE_CONTROL), "no-cache");
        assert_eq!(body(response).await, INDEX.bytes, "{path}");
    }
}

#[tokio::test]
async fn every_asset_is_answered_with_its_type() {
    for asset in ASSETS {
        let response = ask(&format!("/assets/{}", asset.name), None).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", asset.name);
        assert_eq!(header_of(&response, header::CONTENT_TYPE), media_type(asset.name));
        assert_eq!(header_of(&response, header::CONTENT_SECURITY_POLICY), POLICY);
        assert_eq!(body(response).await, asset.bytes);
    }
    assert_eq!(media_type("app.js"), "text/javascript; charset=utf-8");
    assert_eq!(media_type("base.css"), "text/css; charset=utf-8");
    assert_eq!(media_type("icon.svg"), "image/svg+xml");
    assert_eq!(media_type("uplot/LICENSE"), "text/plain; charset=utf-8");
}

#[tokio::test]
async fn a_copy_that_is_the_newest_is_not_sent_again() {
    for path in ["/", "/assets/app.js"] {
        let first = ask(path, None).await;
        let tag = header_of(&first, header::ETAG).to_owned();
        for held in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            let again = ask(path, Some(&held)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{held}");
            assert_eq!(header_of(&again, header::ETAG), tag);
            assert_eq!(body(again).await, b"");
        }
        assert_eq!(ask(path, Some("\"other\"")).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_is_not_embedded_is_not_found() {
    for name in ["nothing.js", "index.html", "../mod.rs", "%2e%2e/mod.rs", "uplot/"] {
        let response = ask(&format!("/assets/{name}"), None).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
        let text = String::from_utf8(body(response).await).unwrap();
        assert!(text.contains("unknown-asset"), "{text}");
    }
}
