//! A role with several servers: who is asked, and what is said when nobody answers.

use std::net::TcpListener;

use axum::response::IntoResponse;

use super::*;

/// A server that says its name, and refuses what it is told to.
fn named(name: &'static str) -> Running {
    Running::start(quick(), move |site| {
        let routes = Router::new()
            .route("/v1/name", get(async move || name))
            .route("/v1/blocks", post(async move || name))
            .route("/v1/faucet", post(async move || name))
            .route("/v1/failing", get(async move || name))
            .route(
                "/v1/none",
                get(async || Problem::not_found("not-found", "there is none").into_response()),
            );
        site.routes(routes)
    })
}

/// A server that takes no requests now.
fn busy() -> Running {
    Running::start(quick(), |site| {
        let refuse = async || Problem::unavailable("behind", "block 7 is missing").into_response();
        let routes = Router::new()
            .route("/v1/name", get(refuse))
            .route("/v1/blocks", post(refuse))
            .route("/v1/none", get(refuse))
            .route("/v1/failing", get(async || Problem::internal("a disk").into_response()));
        site.routes(routes)
    })
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// An address at which every connection is closed when something was sent.
fn closing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut head = [0; 16];
            stream.unwrap().read_exact(&mut head).unwrap();
        }
    });
    url
}

fn url(server: &Running) -> String {
    format!("http://{}", server.address)
}

fn client(urls: &[String]) -> Client {
    let time = Duration::from_secs(10);
    Client::new(&urls.join(","), time, time, 1 << 20).unwrap().named("pool")
}

#[test]
fn the_next_one_is_asked_when_one_cannot_be_reached_or_takes_no_requests() {
    let (busy, first, second) = (busy(), named("first"), named("second"));
    let client = client(&[nobody(), url(&busy), url(&first), url(&second)]);
    assert_eq!(client.get_bytes("/v1/name").unwrap(), b"first");
    assert_eq!(client.get_bytes("/v1/failing").unwrap(), b"first");
    assert_eq!(client.post_bytes("/v1/blocks", b"x").unwrap(), b"first");
    assert_eq!(client.post_bytes("/v1/faucet", b"x").unwrap(), b"first");
    let mut stream = client.open("/v1/name").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first");
}

#[test]
fn whoever_answered_last_is_asked_first_by_all_that_share_the_client() {
    let (mut first, second) = (named("first"), named("second"));
    let client = client(&[url(&first), url(&second)]);
    assert_eq!(client.get_bytes("/v1/name").unwrap(), b"first");
    first.stop();
    let shared = client.clone();
    assert_eq!(shared.get_bytes("/v1/name").unwrap(), b"second");
    assert_eq!(client.base(), url(&second));
}

/// Two servers behind one engine, of which one has lost it: what that one says is right, and old.
#[test]
fn after_one_that_hears_nothing_of_the_others_the_next_one_is_asked() {
    let deaf = Running::start(quick(), |site| {
        let old = async || ([("x-stale-since", "7")], "old");
        site.routes(Router::new().route("/v1/name", get(old)))
    });
    let mut fresh = named("fresh");
    let alone = client(&[url(&deaf)]);
    assert!(!alone.is_stale());
    for _ in 0..2 {
        assert_eq!((alone.get_bytes("/v1/name").unwrap(), alone.is_stale()), (b"old".into(), true));
    }
    let client = client(&[url(&deaf), url(&fresh)]);
    for (name, is_stale) in [("old", true), ("fresh", false), ("fresh", false)] {
        assert_eq!(client.get_bytes("/v1/name").unwrap(), name.as_bytes());
        assert_eq!(client.is_stale(), is_stale);
    }
    fresh.stop();
    for _ in 0..2 {
        assert_eq!(client.get_bytes("/v1/name").unwrap(), b"old", "the only one that answers");
        assert_eq!((client.is_stale(), client.base()), (true, url(&deaf).as_str()));
    }
}

/// A server that began after what is at `/v1/old`.
fn late() -> Running {
    Running::start(quick(), |site| {
        let began = async || Problem::not_found("not-here", "it began later").into_response();
        site.routes(Router::new().route("/v1/old", get(began)))
    })
}

#[test]
fn what_one_never_had_another_is_asked_for() {
    let (first, second) = (late(), late());
    let whole = Running::start(quick(), |site| {
        site.routes(Router::new().route("/v1/old", get(async || "old")))
    });
    let of = |urls: &[String]| client(urls).get_bytes("/v1/old");
    assert_eq!(of(&[url(&first), url(&second), url(&whole)]).unwrap(), b"old");
    // Whoever did not answer may have it or not: this is what is known.
    let (nobody, closing) = (nobody(), closing());
    let problem = problem_of(of(&[url(&first), nobody, closing, url(&second)]).unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (404, "not-here"));
}

#[test]
fn what_was_refused_is_no_reason_to_ask_another_one() {
    let (first, busy) = (named("first"), busy());
    let client = client(&[url(&first), url(&busy)]);
    let problem = problem_of(client.get_bytes("/v1/none").unwrap_err());
    assert_eq!((problem.status, problem.detail.as_str()), (404, "there is none"));
    assert_eq!(client.base(), url(&first));
}

/// What was taken once is known by what it is; coins are not to be given away twice.
#[test]
fn a_lost_answer_is_a_reason_only_where_to_ask_again_changes_nothing() {
    let (closing, second) = (closing(), named("second"));
    let urls = [closing.clone(), url(&second)];
    assert_eq!(client(&urls).get_bytes("/v1/name").unwrap(), b"second");
    assert_eq!(client(&urls).post_bytes("/v1/blocks", b"x").unwrap(), b"second");
    let lost = client(&urls);
    let error = lost.post_bytes("/v1/faucet", b"x").unwrap_err();
    assert!(matches!(&error, ClientError::Lost { url, .. } if *url == closing), "{error}");
    assert_eq!(lost.base(), closing);
}

#[test]
fn one_that_hangs_is_left_for_the_next() {
    let (hanging, second) = (TcpListener::bind("127.0.0.1:0").unwrap(), named("second"));
    let urls = format!("http://{},{}", hanging.local_addr().unwrap(), url(&second));
    let time = Duration::from_millis(300);
    let client = Client::new(&urls, time, time, 1 << 20).unwrap();
    assert_eq!(client.get_bytes("/v1/name").unwrap(), b"second");
}

#[test]
fn when_nobody_answers_all_are_named_and_what_is_open_is_said() {
    let (first, second, busy, closing) = (nobody(), nobody(), busy(), closing());
    let error = client(&[first.clone(), second.clone()]).post_bytes("/v1/blocks", b"x");
    let error = error.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the pool cannot be reached at "), "{text}");
    assert!(text.contains(&format!("{first}, {second}: ")), "{text}");
    assert_eq!(Failure::from(error).exit(), Exit::Unreachable);

    let client_of =
        |urls: &[&String]| client(&urls.iter().map(|url| (*url).clone()).collect::<Vec<_>>());
    let busy = url(&busy);
    let error = client_of(&[&busy, &first]).get_bytes("/v1/name").unwrap_err();
    let problem = problem_of(error);
    assert_eq!((problem.status, problem.code.as_str()), (503, "behind"));
    let is_named = problem.detail.contains(&first) && problem.detail.contains("block 7 is missing");
    assert!(is_named, "{}", problem.detail);

    let error = client_of(&[&closing, &busy, &first]).post_bytes("/v1/blocks", b"x").unwrap_err();
    assert!(matches!(&error, ClientError::Lost { .. }), "{error}");
    assert!(error.to_string().contains(&first), "{error}");
    assert_eq!(Failure::from(error).exit(), Exit::OutcomeUnknown);
}
