//! Heads that are malformed, ambiguous or too large; nothing after them may pass for a request.

use crate::{attack::attack, network::Network, raw::exchange};

/// A request that nobody makes on purpose: its answer would name it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends each to a role, in turn; all but a refusal and silence is a fault, and so is any answer to
/// what follows.
fn refuse_each(network: &Network, cases: &[(&str, String)]) {
    let roles = network.processes();
    let mut faults = Vec::new();
    for (index, (name, bytes)) in cases.iter().enumerate() {
        let process = roles[index % roles.len()];
        let reply = exchange(process, format!("{bytes}{SMUGGLED}").as_bytes());
        let statuses = reply.statuses();
        let is_refused = statuses.len() <= 1 && statuses.iter().all(|s| (400..600).contains(s));
        if !is_refused || reply.contains("/smuggled") {
            faults.push(format!("{name} at the {}: {statuses:?}", process.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_marker_of_smuggled_requests_is_seen_where_it_is_answered() {
    attack("control: two requests at once", |network| {
        let two = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n{SMUGGLED}");
        let closing = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        for process in network.processes() {
            let reply = exchange(process, format!("{two}{closing}").as_bytes());
            assert_eq!(reply.statuses(), [200, 404, 200]);
            assert!(reply.contains("/smuggled"));
        }
    });
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n";
    let case = |name, fields: &str, body: &str| (name, format!("{get}{fields}\r\n{body}"));
    let cases = [
        case("negative length", "content-length: -5\r\n", "abcde"),
        case("signed length", "content-length: +5\r\n", "abcde"),
        case("length of no number", "content-length: five\r\n", "abcde"),
        case("empty length", "content-length:\r\n", ""),
        case("length beyond 64 bits", "content-length: 18446744073709551616\r\n", ""),
        case("hexadecimal length", "content-length: 0x5\r\n", "abcde"),
        case("two lengths", "content-length: 5\r\ncontent-length: 6\r\n", "abcde"),
        case("a list of lengths", "content-length: 5, 6\r\n", "abcde"),
        case("unknown coding", "transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        case("chunked not last", "transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        case("chunked twice", "transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        case("identity", "transfer-encoding: identity\r\n", "0\r\n\r\n"),
        case("two codings", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n", "0\r\n\r\n"),
        case("compressed", "transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        case("two hosts", "host: y\r\n", ""),
        case("tab in the coding", "transfer-encoding: chunked\x0b\r\n", "0\r\n\r\n"),
        case("junk chunk size", "transfer-encoding: chunked\r\n", "xyz\r\n"),
        case("negative chunk size", "transfer-encoding: chunked\r\n", "-1\r\n"),
        case("huge chunk size", "transfer-encoding: chunked\r\n", "ffffffffffffffff1\r\n"),
        case("chunk size of 2^64-1", "transfer-encoding: chunked\r\n", "ffffffffffffffff\r\n"),
        case("chunk longer than said", "transfer-encoding: chunked\r\n", "1\r\nabcd\r\n0\r\n\r\n"),
    ];
    attack("lengths that contradict each other", |network| {
        refuse_each(network, &cases);
    });
}

#[test]
fn heads_against_the_grammar_are_refused() {
    let long = "a".repeat(300_000);
    let many = "x-many: y\r\n".repeat(100);
    let get = |fields: &str| format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
    let cases = [
        ("a name with a space", get("content-length : 5\r\n")),
        ("a folded field", get("x-a: b\r\n c\r\n")),
        ("a NUL in a value", get("x-a: b\0c\r\n")),
        ("a NUL in a name", get("x-\0a: c\r\n")),
        ("a field without a name", get(": c\r\n")),
        ("a field without a colon", get("colon\r\n")),
        ("a lone CR", get("x-a: b\rGET /smuggled HTTP/1.1\r\n")),
        ("too many fields", get(&many)),
        ("a field too long", get(&format!("x-a: {long}\r\n"))),
        ("a target too long", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("another version", "GET /healthz HTTP/3.7\r\nhost: x\r\n\r\n".into()),
        ("no version", "GET /healthz\r\n\r\n".into()),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("a TLS hello", "\u{16}\u{3}\u{1}\0\u{5}\u{1}\0\0\u{1}\u{3}\r\n\r\n".into()),
        ("a method of junk", "G\u{0}T / HTTP/1.1\r\nhost: x\r\n\r\n".into()),
    ];
    attack("heads against the grammar", |network| refuse_each(network, &cases));
}

/// The coding counts, as the standard has it, and whoever counted on the length is cut off.
#[test]
fn a_length_beside_a_coding_ends_the_connection() {
    let both = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
    let reversed = "transfer-encoding: chunked\r\ncontent-length: 5\r\n";
    let longer = "content-length: 500\r\ntransfer-encoding: chunked\r\n";
    attack("a length beside a coding", |network| {
        for process in network.processes() {
            for fields in [both, reversed, longer] {
                let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{fields}\r\n0\r\n\r\n");
                let reply = exchange(process, format!("{head}{SMUGGLED}").as_bytes());
                assert_eq!(reply.statuses(), [200], "{fields}");
            }
        }
    });
}
