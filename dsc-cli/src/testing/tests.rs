//! The servers, asked every way there is, answer as they are described.

use dsc_lib::{
    hash::Digest,
    mempool::Status,
    role::{Refusal, blockchain::Equivocation, metronome::Receipt, pool::Outcome},
    testing::chain,
    units::Height,
};
use serde_json::json;

use super::{conform::check_value, *};
use crate::role::{
    pool::submission::{Brief, Rejected},
    transport::ReceiptBody,
};

const DIGEST: &str = "5f1d7a2f0f4f5c3a7b9e8d6c1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";

fn role(name: &str) -> usize {
    Sites::ROLES.iter().position(|role| *role == name).unwrap()
}

/// Asks, holds the answer to the description, and returns its status and code.
fn ask(sites: &Sites, name: &str, method: &str, target: &str, body: &[u8]) -> (u16, String) {
    let json: &[(&[u8], &[u8])] = &[(b"content-type", b"application/json")];
    let (method, target) = (method.as_bytes(), target.as_bytes());
    let reply = sites.answer(role(name), method, target, json, body).unwrap();
    let checked = sites.check(role(name), method, target, &reply);
    checked.unwrap_or_else(|fault| {
        panic!("{name} {}: {fault}: {reply:?}", String::from_utf8_lossy(target))
    });
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    (reply.status, answer["code"].as_str().unwrap_or_default().to_owned())
}

/// Each template with something in its braces, and its methods.
fn routes(sites: &Sites, name: &str) -> Vec<(String, Vec<String>)> {
    let paths = sites.served[role(name)].1["paths"].as_object().unwrap();
    let fill = |path: &str| path.replace("{which}", "0").replace("{id}", DIGEST);
    let routes = paths.iter().map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys().map(|method| method.to_uppercase());
        (fill(path).replace("{address}", DIGEST), methods.collect())
    });
    routes.collect()
}

#[test]
fn every_described_route_is_served_and_refuses_other_methods() {
    let sites = Sites::new();
    for name in Sites::ROLES {
        for (path, methods) in routes(&sites, name) {
            for method in
                ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"]
            {
                let as_get = if method == "HEAD" { "GET" } else { method };
                let (status, code) = ask(&sites, name, method, &path, b"");
                let is_served = methods.iter().any(|own| own == as_get);
                assert_eq!(status != 405, is_served, "{name}: {method} {path}: {status} {code}");
                assert_ne!(code, "unknown-path", "{name}: {method} {path}");
            }
        }
    }
}

#[test]
fn answers_are_as_described() {
    let sites = Sites::new();
    let ok = |name: &str, method: &str, target: &str, body: &[u8]| {
        let (status, code) = ask(&sites, name, method, target, body);
        assert_eq!(status, 200, "{name} {target} {code}");
    };
    for target in ["info", "genesis", "snapshot", "blocks/0", "blocks/tip", "blocks/tip/raw"] {
        ok("blockchain", "GET", &format!("/v1/{target}"), b"");
    }
    let account = format!("/v1/accounts/{}", ALICE.public().address());
    ok("blockchain", "GET", &account, b"");
    ok("pool", "GET", &account, b"");
    ok("blockchain", "GET", &format!("{account}/transactions?limit=1000"), b"");
    let transaction = format!("/v1/transactions/{}", paid().id(&genesis().check().unwrap().hash()));
    ok("blockchain", "GET", &transaction, b"");
    ok("blockchain", "GET", &format!("{transaction}/proof"), b"");
    ok("blockchain", "GET", &format!("{transaction}/record"), b"");
    ok("blockchain", "GET", "/v1/blocks/0?limit=1", b"");
    ok("blockchain", "GET", "/v1/summaries?before=1&limit=1000", b"");
    ok("blockchain", "GET", "/v1/audit", b"");
    ok("blockchain", "GET", "/v1/equivocations", b"");
    ok("blockchain", "GET", "/v1/blocks?from=1&wait=10000", b"");
    ok("blockchain", "GET", "/v1/confirmed?from=0", b"");
    ok("pool", "GET", "/v1/pending?height=1", b"");
    ok("pool", "GET", "/v1/counts", b"");
    ok("pool", "GET", "/v1/activity", b"");
    ok("metronome", "GET", "/v1/status", b"");
    ok("metronome", "GET", "/v1/round?wait=5", b"");
    ok("metronome", "POST", "/v1/stop", b"");
    ok("metronome", "POST", "/v1/start", b"");
    ok("monitor", "GET", "/v1/report", b"");
    ok("monitor", "GET", "/v1/history", b"");
    ok("monitor", "GET", "/v1/events", b"");
    ok("monitor", "GET", "/v1/events?after=1-1", b"");
    for path in ["blocks", "blocks/0", "search?q=0", &transaction["/v1/".len()..]] {
        let asked = ask(&sites, "monitor", "GET", &format!("/v1/{path}"), b"");
        assert_eq!(asked, (503, "role-down".into()), "{path}");
    }
    let payment = json!({ "address": DIGEST, "amount": "0.00000001" }).to_string();
    ok("pool", "POST", "/v1/faucet", payment.as_bytes());
}

/// Of enumerations a request meets one variant at a time.
#[test]
fn every_variant_travels_as_it_is_described() {
    let (height, id) = (Height(1), Digest::ZERO);
    let (code, reason) = ("evicted".to_owned(), "made room".to_owned());
    let refusal = Refusal::new("bad-signature", "forged");
    let statuses = [
        Status::Submitted,
        Status::Unconfirmed { height },
        Status::Confirmed { height },
        Status::Expired { height },
        Status::Rejected { code, reason },
    ];
    for status in statuses {
        assert_eq!(check_value(&status), Ok(()));
        assert_eq!(check_value(&Outcome::Known { id, status }), Ok(()));
    }
    let rejected = Outcome::Rejected { id, refusal, retry: false };
    for outcome in [Outcome::Added { id }, rejected.clone()] {
        assert_eq!(check_value(&outcome), Ok(()));
    }
    let rejected = vec![Rejected { index: 0, outcome: rejected }];
    assert_eq!(check_value(&Brief { added: 1, known: 0, refused: 1, rejected }), Ok(()));
    for receipt in [Receipt::Best, Receipt::Outbid, Receipt::Noted] {
        assert_eq!(check_value(&ReceiptBody { receipt }), Ok(()));
    }
    let header = next_block(Ledger::in_memory(chain()).state(), vec![], vec![]).header().clone();
    let (first, second) = (header.clone(), header);
    assert_eq!(check_value(&Equivocation { first, second }), Ok(()));
}

/// Found by fuzzing: a number sign ends the path, for the server and for whoever holds it to its
/// description.
#[test]
fn a_fragment_is_not_a_part_of_the_path() {
    let sites = Sites::new();
    assert_eq!(ask(&sites, "pool", "GET", "/v1/counts#x", b"").0, 200);
    assert_eq!(ask(&sites, "pool", "GET", "/v1/none#/../counts", b"").0, 404);
}

#[test]
fn what_a_query_does_not_take_is_refused() {
    let sites = Sites::new();
    for (name, target) in [
        ("blockchain", "/v1/info?a"),
        ("blockchain", "/v1/blocks?from=1&from=1"),
        ("blockchain", "/v1/blocks?from=1&extra=2"),
        ("blockchain", "/v1/blocks?from=%2B1"),
        ("blockchain", "/v1/blocks?from=+1"),
        ("blockchain", "/v1/blocks?from=-1"),
        ("blockchain", "/v1/blocks?from=18446744073709551616"),
        ("blockchain", "/v1/blocks?from=%ff"),
        ("blockchain", "/v1/blocks?from="),
        ("blockchain", "/v1/blocks"),
        ("pool", "/v1/pending?height=0x1"),
        ("pool", "/v1/counts?=1"),
        ("metronome", "/v1/round?challenge=00"),
        ("metronome", "/v1/status?a=b"),
    ] {
        assert_eq!(
            ask(&sites, name, "GET", target, b""),
            (400, "invalid-query".into()),
            "{target}"
        );
    }
    let history = format!("/v1/accounts/{DIGEST}/transactions?limit");
    for limit in ["0", "1001", "-1", "1.0"] {
        let target = format!("{history}={limit}");
        assert_eq!(ask(&sites, "blockchain", "GET", &target, b"").0, 400, "{limit}");
    }
}

#[test]
fn what_a_path_does_not_name_is_refused() {
    let sites = Sites::new();
    for (name, target, code) in [
        ("blockchain", "/v1/blocks/+1", "invalid-block"),
        ("blockchain", "/v1/blocks/-1", "invalid-block"),
        ("blockchain", "/v1/blocks/99999999999999999999", "invalid-block"),
        ("blockchain", "/v1/blocks/%ff", "invalid-path"),
        ("blockchain", "/v1/transactions/00", "invalid-id"),
        ("pool", "/v1/transactions/%ff", "invalid-path"),
        ("pool", "/v1/accounts/dsc1x", "invalid-address"),
    ] {
        assert_eq!(ask(&sites, name, "GET", target, b""), (400, code.into()), "{target}");
    }
    let (status, code) = ask(&sites, "pool", "GET", "/v2", b"");
    assert_eq!((status, code.as_str()), (404, "unknown-path"));
}

/// What `serde` takes besides objects with the names it knows is not what is described.
#[test]
fn a_body_in_json_is_the_object_that_is_described() {
    let sites = Sites::new();
    let miner = json!({ "address": DIGEST, "fingerprint": "00010203-0405-0607-0809-0a0b0c0d0e0f" });
    let report = json!({
        "height": 1, "miner": miner, "kind": "work", "attempts": 1, "spent": 1,
        "footprint": { "ram_bytes": 1, "disk_bytes": 1 },
    });
    let hand_in =
        |body: &Value| ask(&sites, "metronome", "POST", "/v1/proofs", body.to_string().as_bytes());
    let with = |name: &str, value: Value| {
        let mut body = report.clone();
        body[name] = value;
        body
    };
    assert_ne!(hand_in(&report).0, 400);
    assert_ne!(hand_in(&with("entry", Value::Null)).0, 400);
    for body in [
        with("extra", json!(1)),
        with("miner", json!([DIGEST, "00010203-0405-0607-0809-0a0b0c0d0e0f"])),
        with("footprint", json!([1, 1])),
        with("footprint", json!({ "ram_bytes": 1, "disk_bytes": 1, "extra": 1 })),
        with("attempts", json!(-1)),
        with("attempts", json!(1.5)),
        with("kind", json!(0)),
        json!([DIGEST]),
        json!(null),
    ] {
        assert_eq!(hand_in(&body), (400, "invalid-json".into()), "{body}");
    }
    assert_eq!(hand_in(&with("entry", json!("zz"))), (400, "not-canonical".into()));
    let faucet = |body: &[u8]| ask(&sites, "pool", "POST", "/v1/faucet", body);
    let list = json!([DIGEST, "1"]).to_string();
    assert_eq!(faucet(list.as_bytes()), (400, "invalid-json".into()));
    let twice = format!("{{\"address\":\"{DIGEST}\",\"amount\":\"1\",\"amount\":\"2\"}}");
    assert_eq!(faucet(twice.as_bytes()), (400, "invalid-json".into()));
    let more = json!({ "address": DIGEST, "amount": "1" }).to_string() + "{}";
    assert_eq!(faucet(more.as_bytes()), (400, "malformed-json".into()));
    assert_eq!(faucet(b"\xff"), (400, "malformed-json".into()));
}

#[test]
fn what_does_not_conform_is_found() {
    let sites = Sites::new();
    let check = |target: &[u8], reply: &Reply| sites.check(role("pool"), b"GET", target, reply);
    let target = b"/v1/counts";
    let good = sites.answer(role("pool"), b"GET", target, &[], b"").unwrap();
    assert_eq!(check(target, &good), Ok(()));
    let with_body = |body: &[u8]| Reply { body: body.to_vec(), ..good.clone() };
    for bad in [
        Reply { status: 500, ..good.clone() },
        Reply { status: 404, ..good.clone() },
        Reply { headers: vec![], ..good.clone() },
        with_body(b"{}"),
        with_body(b"[]"),
        with_body(&[b"{\"extra\":1,", &good.body[1..]].concat()),
    ] {
        assert!(check(target, &bad).is_err(), "{bad:?}");
    }
    assert!(check(b"/v1/nothing", &good).is_err());
}
