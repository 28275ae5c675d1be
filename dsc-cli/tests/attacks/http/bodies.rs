//! Bodies that are junk, lie about their size, or are too large; and many large ones at once.

use std::{
    io::{Read, Write},
    thread,
};

use crate::{
    attack::{attack, attack_with_much},
    network::Network,
    process::Process,
    raw::{Heard, connect, exchange, listen, request},
};

/// The largest request, and the largest batch of transactions or block.
const BODY_BYTES_MAX: usize = 1 << 20;
const BULK_BYTES_MAX: usize = 64 << 20;

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Every route of every role that takes a body.
fn posts(network: &Network) -> [(&Process, &'static str, usize); 5] {
    [
        (&network.blockchain, "/v1/blocks", BULK_BYTES_MAX),
        (&network.pool, "/v1/transactions", BULK_BYTES_MAX),
        (&network.pool, "/v1/faucet", BODY_BYTES_MAX),
        (&network.metronome, "/v1/proofs", BODY_BYTES_MAX),
        (&network.metronome, "/v1/start", BODY_BYTES_MAX),
    ]
}

/// Every route that is read.
fn gets(network: &Network) -> Vec<(&Process, String)> {
    let id = |path: &str| path.replace("ID", ID);
    let blockchain = [
        "info",
        "genesis",
        "snapshot",
        "blocks?from=0",
        "confirmed?from=0",
        "blocks/tip",
        "blocks/tip/raw",
        "blocks/ID",
        "transactions/ID",
        "transactions/ID/proof",
        "accounts/ID",
        "accounts/ID/transactions",
    ];
    let pool = ["genesis", "transactions/ID", "pending?height=0", "accounts/ID", "counts"];
    let metronome = ["genesis", "status", "round"];
    let mut all = Vec::new();
    for (process, paths) in [
        (&network.blockchain, &blockchain[..]),
        (&network.pool, &pool),
        (&network.metronome, &metronome),
        (&network.monitor, &["report"]),
    ] {
        all.extend(paths.iter().map(|path| (process, format!("/v1/{}", id(path)))));
    }
    for process in network.processes() {
        let probes = ["/healthz", "/readyz", "/metrics"];
        all.extend(probes.map(|path| (process, path.to_owned())));
    }
    all
}

/// Bodies that no route wants.
fn junk() -> Vec<(&'static str, Vec<u8>)> {
    let list = |count: u64, rest: &[u8]| [&count.to_le_bytes()[..], rest].concat();
    vec![
        ("nothing", vec![]),
        ("one byte", vec![0]),
        ("an empty list", list(0, &[])),
        ("a list of 2^64-1", list(u64::MAX, &[])),
        ("a list of 2^63", list(1 << 63, &[0; 600])),
        ("a list that ends early", list(1, &[1; 300])),
        ("zeros", vec![0; 5000]),
        ("ones", vec![0xff; 5000]),
        ("half a number", b"{\"height\":1".to_vec()),
        ("deep arrays", b"[".repeat(100_000)),
        ("deep objects", b"{\"a\":".repeat(50_000)),
        ("a number beyond all", b"{\"height\":1e999999}".to_vec()),
        ("bad UTF-8", b"{\"\xc3\x28\":\"\xed\xa0\x80\"}".to_vec()),
        ("a NUL", b"{\"height\":\"\\u0000\"}\0".to_vec()),
        ("keys twice", b"{\"height\":1,\"height\":2}".to_vec()),
        ("another type", b"[1,2,3]".to_vec()),
    ]
}

/// Answered, and not by a failure of the server.
fn answered(at: &str, reply: &Heard) {
    let statuses = reply.statuses();
    assert!(statuses.len() == 1 && statuses[0] < 500, "{at}: {}", reply.text());
    let is_problem = reply.contains("application/problem+json");
    assert_eq!(statuses[0] >= 400, is_problem, "{at}: {}", reply.text());
}

#[test]
fn junk_is_refused_by_every_route_that_takes_a_body() {
    attack("junk at every route that takes a body", |network| {
        for (process, path, _) in posts(network) {
            for (name, body) in junk() {
                for media_type in ["application/json", "application/octet-stream", "text/\u{e9}"] {
                    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: {media_type}");
                    let reply = exchange(process, &request(&head, &body));
                    answered(&format!("{name} ({media_type}) at {path}"), &reply);
                }
            }
        }
    });
}

#[test]
fn other_methods_bodies_and_paths_are_answered_by_every_route() {
    attack("other methods, bodies and paths at every route", |network| {
        let methods = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"];
        for (process, path) in gets(network) {
            let unexpected = request(&format!("GET {path} HTTP/1.1"), &[0xff; 3000]);
            answered(&format!("a body at {path}"), &exchange(process, &unexpected));
            for method in methods {
                let reply = exchange(process, &request(&format!("{method} {path} HTTP/1.1"), b"x"));
                answered(&format!("{method} {path}"), &reply);
            }
        }
        let paths = [
            "/..",
            "/../../etc/passwd",
            "/v1/../v1/info",
            "//v1//info",
            "/v1/blocks/%2e%2e",
            "/v1/accounts/%ff%fe",
            "/v1/accounts/%",
            "/v1/accounts/%00",
            "/v1/transactions/%c3%28",
            "/v1/blocks?from=-1",
            "/v1/blocks?from=18446744073709551616",
            "/v1/blocks?from=%ff",
            "/v1/blocks?from=18446744073709551615&wait=1",
            "/v1/pending?height=18446744073709551615",
            "/v1/blocks/18446744073709551615",
            "/v1/blocks/99999999999999999999999",
            "/v1/round?after=1&after=2",
            "/v1/round?challenge=%ff",
            "http://example.org/v1/info",
            "http://x:99999/v1/info",
            "*",
            "/v1/info#fragment",
            "/v1/\u{e9}",
            "/?\u{7f}",
        ];
        for process in network.processes() {
            for path in paths {
                let reply = exchange(process, &request(&format!("GET {path} HTTP/1.1"), b""));
                assert!(reply.statuses().iter().all(|s| *s < 500), "{path}: {}", reply.text());
                assert!(!reply.contains("root:"), "{path}");
            }
        }
    });
}

#[test]
fn a_body_one_byte_over_the_limit_is_refused() {
    attack_with_much("bodies one byte over the limit", |network| {
        for (process, path, max) in posts(network) {
            // A list of one transaction of the largest number of payments, which never comes whole.
            let mut body = vec![1; max + 1];
            body[..8].copy_from_slice(&1_u64.to_le_bytes());
            let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json");
            let reply = exchange(process, &request(&head, &body));
            let statuses = reply.statuses();
            // A list is refused at its first fault, an empty submission is none.
            assert!(matches!(statuses[..], [400 | 413]), "{path}: {statuses:?}");
            let fits = exchange(process, &request(&head, &body[..max.min(1 << 20)])).statuses();
            assert_ne!(fits, [413], "{path}");
        }
    });
}

#[test]
fn a_body_that_asks_before_it_is_sent_is_refused_before() {
    attack("bodies that ask first", |network| {
        for (process, path, max) in posts(network) {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                max + 1
            );
            let mut stream = connect(process);
            stream.write_all(head.as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            // What reads while the body comes in has to ask for it.
            let status = std::str::from_utf8(&status).unwrap();
            assert!(matches!(status, "HTTP/1.1 413" | "HTTP/1.1 100"), "{path}: {status}");
        }
    });
}

/// A gzip stream of zeros that would be 1000 times as large: nobody here inflates anything.
#[test]
fn compressed_bodies_are_taken_as_bytes() {
    let bomb = include_bytes!("../data/zeros.gz");
    attack("compressed bodies", |network| {
        for (process, path, _) in posts(network) {
            for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
                let head = format!(
                    "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n\
                     content-encoding: {coding}"
                );
                let reply = exchange(process, &request(&head, bomb));
                answered(&format!("{coding} at {path}"), &reply);
            }
        }
    });
}

#[test]
fn many_large_bodies_at_once_stay_within_the_memory_for_them() {
    attack_with_much("64 bodies of 60 MiB at once", |network| {
        let body = vec![0; 60 << 20];
        let bytes = request("POST /v1/blocks HTTP/1.1", &body);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let sent: Vec<_> = (0..64)
                .map(|_| scope.spawn(|| exchange(&network.blockchain, &bytes).statuses()))
                .collect();
            sent.into_iter().flat_map(|sent| sent.join().unwrap()).collect()
        });
        assert!(statuses.iter().all(|s| matches!(s, 422 | 503 | 408)), "{statuses:?}");
    });
}

#[test]
fn bodies_that_come_slowly_or_never_are_cut() {
    attack("slow bodies", |network| {
        let mut open = Vec::new();
        for (process, path, _) in posts(network) {
            for len in [10_u64, 1 << 20, u64::MAX] {
                let mut stream = connect(process);
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\
                     content-type: application/json\r\n\r\n1"
                );
                stream.write_all(head.as_bytes()).unwrap();
                open.push((path, stream));
            }
        }
        network.answers_newcomers(40);
        // A byte now and then does not help.
        for (path, mut stream) in open {
            drop(stream.write_all(b"2"));
            let statuses = listen(stream).statuses();
            assert!(matches!(statuses[..], [400 | 408 | 413 | 431]), "{path}: {statuses:?}");
        }
    });
}

#[test]
fn a_client_that_stops_sending_is_answered_or_cut() {
    attack("half-closed connections", |network| {
        for (process, path, _) in posts(network) {
            let mut stream = connect(process);
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc");
            stream.write_all(head.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let statuses = listen(stream).statuses();
            assert!(matches!(statuses[..], [] | [400 | 415 | 408]), "{path}: {statuses:?}");
        }
    });
}
