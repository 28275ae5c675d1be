//! The server and the client over real sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    exit::{Exit, Failure},
    shutdown::Shutdown,
};

mod several;

/// A server in a thread of its own.
struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(limits: Limits, build: impl FnOnce(Site) -> Site) -> Self {
        let shutdown = Shutdown::new();
        let listener = bind("test", "--listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let router = build(Site::new("test", limits.clone(), shutdown.clone())).into_router();
        let ending = shutdown.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(router, listener, &limits, &ending)).unwrap();
        });
        Self { address, shutdown, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        let time = Duration::from_secs(10);
        Client::new(&format!("http://{}", self.address), time, time, 1 << 20).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read_to_end(&mut stream)
    }

    /// Ends the server and returns how long that took.
    fn stop(&mut self) -> Duration {
        let started = Instant::now();
        self.shutdown.request();
        self.thread.take().unwrap().join().unwrap();
        started.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Splits a raw answer into its status and its body, which must be a problem.
fn problem(answer: &str) -> (u16, serde_json::Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], status);
    (status, body)
}

fn problem_of(error: ClientError) -> RemoteProblem {
    match error {
        ClientError::Problem(problem) => problem,
        other => panic!("{other}"),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    height: u64,
}

fn quick() -> Limits {
    Limits {
        body_bytes_max: 4096,
        bulk_bytes_max: 65_536,
        header_time: Duration::from_millis(200),
        body_time: Duration::from_millis(200),
        request_time: Duration::from_millis(500),
        ..Limits::default()
    }
}

fn echo() -> Router {
    Router::new()
        .route("/v1/json", post(async |Json(sample): Json<Sample>| Json(sample)))
        .route("/v1/bytes", post(async |bytes: Bytes| bytes))
}

#[test]
fn documents_and_bytes_go_both_ways() {
    let server = Running::start(quick(), |site| {
        site.routes(echo()).bulk(Router::new().route("/v1/bulk", post(async |bytes: Bytes| bytes)))
    });
    let client = server.client();
    let sample: Sample = client.post_json("/v1/json", &Sample { height: 7 }).unwrap();
    assert_eq!(sample, Sample { height: 7 });
    assert_eq!(client.post_bytes("/v1/bytes", b"abc").unwrap(), b"abc");
    let batch = vec![5; 60_000];
    assert_eq!(client.post_bytes("/v1/bulk", &batch).unwrap(), batch);
}

#[test]
fn an_unknown_path_is_404_and_a_wrong_method_405() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    let unknown = problem_of(server.client().get_bytes("/v1/nothing").unwrap_err());
    assert_eq!((unknown.status, unknown.code.as_str()), (404, "unknown-path"));
    assert_eq!(unknown.detail, "there is no /v1/nothing");
    let answer = server.raw("GET /v1/json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (status, body) = problem(&answer);
    assert_eq!((status, &body["code"]), (405, &"method-not-allowed".into()));
    assert!(answer.to_lowercase().contains("allow: post"), "{answer}");
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    for len in [4097, 1 << 20] {
        let error = problem_of(server.client().post_bytes("/v1/bytes", &vec![0; len]).unwrap_err());
        assert_eq!((error.status, error.code.as_str()), (413, "body-too-large"), "{len}");
        assert_eq!(error.detail, "the body is larger than 4096 bytes");
    }
    let ask = "POST /v1/bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\
               expect: 100-continue\r\nconnection: close\r\n\r\n";
    assert_eq!(problem(&server.raw(ask)).0, 413);
}

#[test]
fn a_body_that_is_not_the_json_expected_is_400_or_415() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    let send = |media_type: &str, body: &str| {
        let len = body.len();
        problem(&server.raw(&format!(
            "POST /v1/json HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\n\
             content-length: {len}\r\nconnection: close\r\n\r\n{body}"
        )))
    };
    let json = "application/json; charset=utf-8";
    let cases = [
        (json, "{\"height\":", 400, "malformed-json"),
        (json, "\u{fffd}", 400, "malformed-json"),
        (json, "{}", 400, "invalid-json"),
        (json, "{\"height\":-1}", 400, "invalid-json"),
        ("text/plain", "{\"height\":1}", 415, "unsupported-media-type"),
    ];
    for (media_type, body, status, code) in cases {
        let (got, problem) = send(media_type, body);
        assert_eq!((got, &problem["code"]), (status, &code.into()), "{body}");
        assert_eq!(problem["type"], format!("urn:dsc:problem:{code}"));
    }
}

#[test]
fn slow_heads_and_bodies_are_cut_and_hold_up_nobody() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    let mut slow_head = server.connect();
    slow_head.write_all(b"POST /v1/bytes HT").unwrap();
    let mut silent = server.connect();
    let mut slow_body = server.connect();
    let head = "POST /v1/bytes HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    slow_body.write_all(head.as_bytes()).unwrap();
    assert_eq!(server.client().post_bytes("/v1/bytes", b"quick").unwrap(), b"quick");
    let (status, body) = problem(&read_to_end(&mut slow_body));
    assert_eq!((status, &body["code"]), (408, &"body-timed-out".into()));
    read_to_end(&mut slow_head);
    assert_eq!(read_to_end(&mut silent), "");
}

/// Tells when it is dropped.
struct Tell(mpsc::Sender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let limits = Limits { write_time: Duration::from_millis(200), ..quick() };
    let (sender, was_cut) = mpsc::channel();
    let flood = move || {
        let tell = Tell(sender.clone());
        let chunk = move || {
            let _held_by_the_answer = &tell;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 8192]))
        };
        async { Body::from_stream(futures_util::stream::repeat_with(chunk)) }
    };
    let server =
        Running::start(limits, |site| site.routes(Router::new().route("/flood", get(flood))));
    let mut stream = server.connect();
    stream.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(was_cut.recv_timeout(Duration::from_secs(10)), Ok(()));
}

/// One byte now and then is progress, and yet the answer is not out in a hundred years.
#[test]
fn a_client_that_reads_a_byte_now_and_then_is_cut() {
    let limits = Limits { write_time: Duration::from_millis(400), ..quick() };
    let (sender, was_cut) = mpsc::channel();
    let large = move || {
        let tell = Tell(sender.clone());
        let chunks = futures_util::stream::iter((0..4096).map(move |_| {
            let _held_by_the_answer = &tell;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 8192]))
        }));
        async { Body::from_stream(chunks) }
    };
    let server =
        Running::start(limits, |site| site.routes(Router::new().route("/large", get(large))));
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    while was_cut.recv_timeout(Duration::from_millis(20)).is_err() {
        let mut some = [0; 512];
        if stream.read(&mut some).is_err() {
            break;
        }
    }
    assert!(stream.read_to_end(&mut Vec::new()).is_ok_and(|len| len < 32 << 20));
}

#[test]
fn a_body_in_other_codings_or_for_two_hosts_is_refused() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    let send = |fields: &str| {
        let head = format!("POST /v1/bytes HTTP/1.1\r\nhost: x\r\n{fields}\r\n0\r\n\r\n");
        server.raw(&format!("{head}GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"))
    };
    let cases = [
        ("transfer-encoding: gzip, chunked\r\n", 501, "unsupported-transfer-coding"),
        ("transfer-encoding: chunked, chunked\r\n", 501, "unsupported-transfer-coding"),
        ("host: y\r\n", 400, "bad-request"),
    ];
    for (fields, status, code) in cases {
        // The rest of the connection is no part of the answer: it ends there.
        let (got, body) = problem(&send(fields));
        assert_eq!((got, &body["code"]), (status, &code.into()), "{fields}");
    }
}

#[test]
fn a_newcomer_takes_the_place_of_an_idle_connection() {
    let limits = Limits { connections_max: 2, header_time: Duration::from_secs(30), ..quick() };
    let server = Running::start(limits, |site| site.routes(echo()));
    let mut idle: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for _ in 0..3 {
        assert_eq!(server.client().post_bytes("/v1/bytes", b"new").unwrap(), b"new");
    }
    assert_eq!(read_to_end(&mut idle.remove(0)), "");
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let limits = Limits { connections_max: 1, body_time: Duration::from_secs(30), ..quick() };
    let server = Running::start(limits, |site| site.routes(echo()));
    let mut busy = server.connect();
    let head = "POST /v1/bytes HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n";
    busy.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    // The body is asked for: the request is under way.
    busy.read_exact(&mut [0; 25]).unwrap();
    let (status, body) = problem(&server.raw("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"));
    assert_eq!((status, &body["code"]), (503, &"too-many-connections".into()));
    busy.write_all(b"still").unwrap();
    assert!(read_to_end(&mut busy).ends_with("still"));
}

async fn failing() {
    panic!("as the test asks");
}

#[test]
fn a_handler_that_panics_or_takes_too_long_is_answered_for() {
    let server = Running::start(quick(), |site| {
        let routes = Router::new()
            .route("/panic", get(failing))
            .route("/never", get(async || std::future::pending::<()>().await))
            .route(
                "/full",
                get(async || {
                    Problem::too_many("pool-full", "the pool is full", Duration::from_millis(1500))
                }),
            );
        site.routes(routes)
    });
    let client = server.client();
    let get = |path| problem_of(client.get_bytes(path).unwrap_err());
    assert_eq!((get("/panic").status, get("/panic").code.as_str()), (500, "internal"));
    assert_eq!((get("/never").status, get("/never").code.as_str()), (504, "timed-out"));
    let full = get("/full");
    assert_eq!((full.status, full.retry_after), (429, Some(Duration::from_secs(2))));
}

#[test]
fn health_readiness_and_metrics_are_told() {
    let server = Running::start(quick(), |site| {
        let check = Check { name: "blockchain", ok: false, detail: "no answer".into() };
        site.ready(move || vec![check.clone()])
            .metrics(|text| text.push_str("dsc_chain_height 7\n"))
    });
    let client = server.client();
    let alive: serde_json::Value = client.get_json("/healthz").unwrap();
    assert_eq!((&alive["schema"], &alive["role"]), (&"dsc.alive/1".into(), &"test".into()));
    let not_ready = problem_of(client.get_bytes("/readyz").unwrap_err());
    assert_eq!((not_ready.status, not_ready.code.as_str()), (503, "not-ready"));
    assert_eq!(not_ready.detail, "the test is not ready: blockchain: no answer");
    let figures = String::from_utf8(client.get_bytes("/metrics").unwrap()).unwrap();
    for expected in [
        "dsc_http_request_seconds_count{role=\"test\",route=\"/readyz\",code=\"503\"} 1\n",
        "# TYPE dsc_build_info gauge\n",
        "dsc_ready{role=\"test\",check=\"blockchain\"} 0\n",
    ] {
        assert!(figures.contains(expected), "{figures}");
    }
    assert!(figures.ends_with("dsc_chain_height 7\n"), "{figures}");
}

#[test]
fn probes_may_add_to_the_query() {
    let server = Running::start(quick(), |site| site);
    let client = server.client();
    for path in ["/healthz?x=1", "/readyz?x=1&x=2", "/metrics?format=prometheus"] {
        client.get_bytes(path).unwrap();
    }
    let problem = problem_of(client.get_bytes("/openapi.json?x=1").unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (400, "invalid-query"));
}

#[test]
fn a_path_or_a_method_that_a_client_makes_up_is_no_series() {
    let server = Running::start(quick(), |site| site);
    let client = server.client();
    for index in 0..50 {
        client.get_bytes(&format!("/made/up/{index}")).unwrap_err();
    }
    client.post_bytes("/healthz", b"").unwrap_err();
    let figures = String::from_utf8(client.get_bytes("/metrics").unwrap()).unwrap();
    let counts: Vec<_> = figures.lines().filter(|line| line.contains("seconds_count")).collect();
    let label = "dsc_http_request_seconds_count{role=\"test\",route";
    let expected = [
        format!("{label}=\"/healthz\",code=\"405\"}} 1"),
        format!("{label}=\"none\",code=\"404\"}} 50"),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn administration_needs_a_token_unless_it_comes_from_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let token = Token::load_or_create(&folder.path().join("token")).unwrap();
    let guarding = token.clone();
    let server = Running::start(quick(), move |site| {
        let stop = Router::new().route("/v1/stop", post(async || "stopped"));
        site.admin(stop, Some(guarding))
    });
    assert_eq!(server.client().post_bytes("/v1/stop", b"").unwrap(), b"stopped");
    let send = |headers: &str| {
        server.raw(&format!(
            "POST /v1/stop HTTP/1.1\r\nhost: example.org\r\n{headers}content-length: 0\r\n\
             connection: close\r\n\r\n"
        ))
    };
    let (status, body) = problem(&send(""));
    assert_eq!((status, &body["code"]), (401, &"token-required".into()));
    let (status, body) = problem(&send("authorization: Bearer 0\r\n"));
    assert_eq!((status, &body["code"]), (403, &"wrong-token".into()));
    let answer = send(&format!("authorization: Bearer {}\r\n", token.secret()));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(server.client().with_token(token).post_bytes("/v1/stop", b"").is_ok());
}

#[test]
fn shutdown_ends_streams_long_polls_and_idle_connections() {
    let mut server =
        Running::start(Limits { header_time: Duration::from_secs(30), ..quick() }, |site| {
            let chunks = || {
                let first =
                    futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("first\n"))]);
                Body::from_stream(futures_util::StreamExt::chain(
                    first,
                    futures_util::stream::pending(),
                ))
            };
            let routes = Router::new()
                .route("/stream", get(async move || chunks()))
                .route("/poll", get(async || std::future::pending::<()>().await));
            site.waiting(routes)
        });
    let _idle = server.connect();
    let mut stream = server.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"first\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let mut poll = server.connect();
    poll.write_all(b"GET /poll HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(server.stop() < Duration::from_secs(3));
    // The stream ends as a whole answer does, not in the middle.
    assert!(read_to_end(&mut stream).ends_with("0\r\n\r\n"));
}

#[test]
fn shutdown_cuts_what_does_not_end_by_itself() {
    let limits = Limits { grace_time: Duration::from_millis(200), ..Limits::default() };
    let mut server = Running::start(limits, |site| {
        let pending =
            || Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        site.routes(Router::new().route("/stream", get(async move || pending())))
    });
    let mut stream = server.connect();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    assert!(server.stop() < Duration::from_secs(3));
}

#[test]
fn a_role_that_is_not_there_cannot_be_connected_to() {
    let listener = bind("test", "--listen", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let time = Duration::from_secs(2);
    let client = Client::new(&format!("http://{address}"), time, time, 1024).unwrap();
    for error in [client.get_bytes("/").unwrap_err(), client.post_bytes("/", b"x").unwrap_err()] {
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
        assert_eq!(Failure::from(error).exit(), Exit::Unreachable);
    }
}

#[test]
fn an_answer_that_does_not_come_times_out() {
    // The operating system accepts the connection, and nobody ever answers it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let time = Duration::from_millis(200);
    let error = Client::new(&url, time, time, 1024).unwrap().get_bytes("/").unwrap_err();
    assert_eq!(error.to_string(), format!("no answer from {url} within 200ms"));
    assert_eq!(Failure::from(error).exit(), Exit::OutcomeUnknown);
}

#[test]
fn an_answer_that_breaks_off_is_lost_for_a_post_and_not_had_for_a_get() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closing = thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut head = [0; 16];
            stream.read_exact(&mut head).unwrap();
        }
    });
    let time = Duration::from_secs(10);
    let client = Client::new(&url, time, time, 1024).unwrap();
    let (get, post) = (client.get_bytes("/"), client.post_bytes("/", b"x"));
    closing.join().unwrap();
    assert!(matches!(get, Err(ClientError::Connect { .. })), "{get:?}");
    assert!(matches!(post, Err(ClientError::Lost { .. })), "{post:?}");
}

#[test]
fn answers_are_bounded_and_have_to_make_sense() {
    let server = Running::start(quick(), |site| site.routes(echo()));
    let time = Duration::from_secs(10);
    let url = format!("http://{}", server.address);
    let small = Client::new(&url, time, time, 8).unwrap();
    let error = small.post_bytes("/v1/bytes", b"123456789").unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 8, .. }), "{error}");
    let error = server.client().submit_bytes::<Sample>("/v1/bytes", b"{").unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    let error = Client::new("https://127.0.0.1:1", time, time, 8).unwrap_err();
    assert!(matches!(error, ClientError::Url { .. }), "{error}");
}
