//! The monitor of running chains, as a page uses it: its history, its events, and what it finds.

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use common::{Dsc, Network};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks a server on a connection of its own; returns the status and the rest of the answer.
fn ask(url: &str, path: &str, header: &str) -> (u16, BufReader<TcpStream>) {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    (status, reader)
}

fn get(url: &str, path: &str) -> (u16, Value) {
    let (status, mut reader) = ask(url, path, "");
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut body).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// What is there at `path`, as soon as it is as wanted.
fn await_at(url: &str, path: &str, mut is_wanted: impl FnMut(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let (status, found) = get(url, path);
        if status == 200 && is_wanted(&found) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} stays {status} {found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An event: its id, its name and its data.
type Event = (String, String, Value);

/// The next events of a stream; parts of chunks and comments are passed over.
fn events(reader: &mut BufReader<TcpStream>, count: usize) -> Vec<Event> {
    let (mut events, mut open) = (Vec::new(), Event::default());
    while events.len() < count {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the stream ended after {events:?}");
        match line.trim_end().split_once(": ") {
            Some(("id", id)) => id.clone_into(&mut open.0),
            Some(("event", name)) => name.clone_into(&mut open.1),
            Some(("data", data)) => {
                open.2 = serde_json::from_str(data).unwrap();
            }
            _ if line.trim().is_empty() && !open.2.is_null() => {
                events.push(std::mem::take(&mut open));
            }
            _ => {}
        }
    }
    events
}

fn number(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn history_grows_and_its_newest_sample_is_whole() {
    let network = Network::shared();
    let monitor = network.url("monitor").to_owned();
    let count = |history: &Value| history["samples"].as_array().unwrap().len();
    let first = await_at(&monitor, "/v1/history", |history| count(history) > 0);
    let later = await_at(&monitor, "/v1/history", |history| {
        count(history) > count(&first) && history["now"]["supply_ok"] == true
    });
    assert_eq!(later["schema"], "dsc.monitor.history/1");
    assert_eq!((&later["network"], &later["development"]), (&"dsc-dev".into(), &true.into()));
    let now = &later["now"];
    // Another test of this network starts one more.
    assert!(now["validators"].as_array().unwrap().len() >= 3, "{now}");
    assert_eq!(now["faults"].as_array().unwrap().len(), 0, "{now}");
    assert_eq!(later["samples"][0]["validators"], Value::Null, "they are in the newest alone");
    let blocks = later["blocks"].as_array().unwrap();
    assert!(blocks.windows(2).all(|pair| pair[0]["height"].as_u64() > pair[1]["height"].as_u64()));
    assert!(number(later["id"].as_str().unwrap()) > number(first["id"].as_str().unwrap()));
}

/// What a browser does when its connection is cut.
#[test]
fn a_stream_is_resumed_without_a_gap_or_a_double() {
    let network = Network::shared();
    let monitor = network.url("monitor").to_owned();
    let known = await_at(&monitor, "/v1/history", |history| !history["now"].is_null());
    let known = known["id"].as_str().unwrap().to_owned();
    let (status, mut stream) = ask(&monitor, &format!("/v1/events?after={known}"), "");
    assert_eq!(status, 200);
    let mut all = events(&mut stream, 4);
    drop(stream);
    // The address stays that of the first try, as in a browser; the header counts.
    for _ in 0..2 {
        let last = format!("last-event-id: {}\r\n", all.last().unwrap().0);
        let (_, mut stream) = ask(&monitor, &format!("/v1/events?after={known}"), &last);
        all.extend(events(&mut stream, 4));
    }
    let numbers: Vec<_> = all.iter().map(|(id, ..)| number(id)).collect();
    let from = number(&known) + 1;
    assert_eq!(numbers, (from..from + 12).collect::<Vec<_>>());
    let heights = all.iter().filter(|(_, name, _)| name == "block");
    let heights: Vec<_> = heights.map(|(.., block)| block["height"].as_u64().unwrap()).collect();
    assert!(heights.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{heights:?}");
    let sample = all.iter().find(|(_, name, _)| name == "sample").unwrap();
    // Another test of this network starts one more.
    assert!(sample.2["validators"].as_array().unwrap().len() >= 3, "{sample:?}");

    let (_, mut stream) = ask(&monitor, "/v1/events?after=1-1", "");
    let lost = events(&mut stream, 2);
    assert_eq!((lost[0].1.as_str(), &lost[0].2), ("reset", &serde_json::json!({})));
    assert_eq!(number(&lost[1].0), number(&lost[0].0) + 1, "then it goes on");
    let (_, mut stream) = ask(&monitor, "/v1/events", "");
    assert_eq!(events(&mut stream, 1)[0].1, "sample", "a newcomer sees something at once");
}

#[test]
fn a_payment_is_followed_to_its_block_and_everything_is_found() {
    let network = Network::shared();
    let monitor = network.url("monitor").to_owned();
    let dsc = Dsc::on(&network);
    let address = dsc.create("watched");
    let sent = dsc.json("dsc.tx/1", &["wallet", "faucet", "watched", "12.5", "--async"]);
    let id = sent["id"].as_str().unwrap();
    let path = format!("/v1/transactions/{id}");
    let mut seen = Vec::new();
    let page = await_at(&monitor, &path, |page| {
        let state = page["state"].as_str().unwrap().to_owned();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        page["state"] == "confirmed" && !page["timeline"][0]["time"].is_null()
    });
    let order = ["submitted", "unconfirmed", "confirmed"];
    let places: Vec<_> = seen.iter().map(|s| order.iter().position(|o| o == s).unwrap()).collect();
    assert!(places.is_sorted(), "{seen:?}");
    assert_eq!(
        (&page["amount"], &page["payments"][0]["to"]),
        (&"12.5".into(), &address.clone().into())
    );
    let times: Vec<_> =
        page["timeline"].as_array().unwrap().iter().map(|s| s["time"].as_u64()).collect();
    assert!(times.len() == 3 && times.is_sorted() && !times.contains(&None), "{page}");

    let height = page["height"].as_u64().unwrap();
    let block = await_at(&monitor, &format!("/v1/blocks/{height}"), |_| true);
    assert_eq!(block["hash"], page["block_hash"]);
    assert_eq!(block["transactions"].as_array().unwrap().len() as u64, block["transaction_count"]);
    let at = format!("/transactions/{}/id", page["index"]);
    assert_eq!(block.pointer(&at), Some(&id.into()));
    let list = await_at(&monitor, &format!("/v1/blocks?before={}&limit=2", height + 1), |_| true);
    assert_eq!((&list[0]["hash"], list.as_array().unwrap().len()), (&block["hash"], 2));
    let account = await_at(&monitor, &format!("/v1/accounts/{address}"), |_| true);
    assert_eq!((&account["balance"], &account["pending"]), (&"12.5".into(), &0.into()));
    let activity = format!("/v1/accounts/{address}/transactions?limit=1");
    assert_eq!(await_at(&monitor, &activity, |_| true)[0]["received"], "12.5");

    let hash = block["hash"].as_str().unwrap();
    for (text, kind, page) in [
        (hash, "block", format!("/block/{height}")),
        (&height.to_string(), "block", format!("/block/{height}")),
        (id, "transaction", format!("/transaction/{id}")),
        (&address, "account", format!("/address/{address}")),
    ] {
        let found = await_at(&monitor, &format!("/v1/search?q={text}"), |_| true);
        assert_eq!((&found["kind"], &found["path"]), (&kind.into(), &page.into()), "{text}");
    }
    for (text, tried) in [
        ("99999999", "no block of that height"),
        ("nonsense", "no height"),
        (&"0".repeat(64), "no block hash"),
        ("..%2Finfo", "no height"),
    ] {
        let (status, problem) = get(&monitor, &format!("/v1/search?q={text}"));
        assert_eq!((status, &problem["code"]), (404, &"not-found".into()), "{text}");
        assert!(problem["detail"].as_str().unwrap().contains(tried), "{problem}");
    }
    for path in ["/v1/blocks/99999999".to_owned(), format!("/v1/transactions/{}", "0".repeat(64))] {
        assert_eq!(get(&monitor, &path).0, 404, "{path}");
    }
    for path in ["/v1/blocks/x", "/v1/transactions/x", "/v1/accounts/x", "/v1/blocks/..%2Finfo"] {
        assert_eq!(get(&monitor, path).0, 400, "{path}");
    }
}

/// A process of its own, which ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_validator_that_is_killed_is_shown_as_gone() {
    let network = Network::shared();
    let monitor = network.url("monitor").to_owned();
    let dsc = Dsc::on(&network);
    let address = dsc.create("owner");
    let args = ["validator", "--proof", "work", "--address", &address, "--listen", "127.0.0.1:0"];
    let mut command = dsc.command(&args);
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let process = Process(process);
    let is_alive = |history: &Value| {
        let all = history["now"]["validators"].as_array().unwrap();
        all.iter().find(|one| one["address"] == address).map(|one| one["alive"] == true)
    };
    await_at(&monitor, "/v1/history", |history| is_alive(history) == Some(true));
    drop(process);
    let gone = await_at(&monitor, "/v1/history", |history| is_alive(history) == Some(false));
    assert_eq!(gone["now"]["validators_alive"], 3, "{}", gone["now"]);
}

/// Streams last; they must not keep a server from ending.
#[test]
fn a_server_with_open_streams_ends_in_time() {
    let mut network = Network::start_with(&[]);
    let monitor = network.url("monitor").to_owned();
    let mut streams: Vec<_> = (0..20).map(|_| ask(&monitor, "/v1/events", "").1).collect();
    events(&mut streams[0], 1);
    assert!(network.end() < Duration::from_secs(5), "it took too long");
}
