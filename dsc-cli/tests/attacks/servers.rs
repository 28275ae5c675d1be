//! Servers that are not what they say: what they answer harms no command and no role.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use dsc_cli::http::Client;
use dsc_lib::{
    address::Prefix,
    testing::{BOB, address},
};
use serde_json::Value;

use crate::{
    figures,
    network::{self, PATIENCE, await_that},
    process::Process,
};

/// Longest wait of the commands and roles for an answer.
const REQUEST_TIME: &str = "300ms";
/// What a command or role may hold beside an answer.
const RSS_BYTES_MAX: u64 = 300 << 20;
/// Time in which a command has to end, whatever it is answered.
const COMMAND_TIME: Duration = Duration::from_secs(15);

type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

/// Everything that a hostile server answers, one after the other.
const ANSWERS: &[Answer] = &[
    |to| endless(to, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", &[b'['; 65_536]),
    |to| {
        endless(to, "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n", &[0; 65_536])
    },
    |to| endless(to, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    |to| endless(to, "HTTP/1.1 200 OK\r\n", b"x-endless: endless\r\n"),
    |to| endless(to, "HTTP/1.1 ", &[b'2'; 65_536]),
    |to| endless(to, "", b"HTTP/1.1 100 Continue\r\n\r\n"),
    |to| {
        endless(
            to,
            "HTTP/1.1 422 X\r\ncontent-type: application/problem+json\r\n\r\n",
            &[b'{'; 4096],
        )
    },
    |to| slowly(to, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"a\":"),
    |to| body(to, "200 OK", "content-encoding: gzip\r\n", include_bytes!("data/zeros.gz")),
    |to| body(to, "302 Found", "location: /v1/info\r\n", b""),
    |to| body(to, "200 OK", "", b"{\"height\":-1,\"accounts\":\"many\",\"chain\":[]}"),
    |to| body(to, "200 OK", "", &[b'['; 60_000]),
    |to| body(to, "200 OK", "", b"{\"\xc3\x28\":\"\xed\xa0\x80\"}"),
    |to| body(to, "200 OK", "", &[0xff; 600]),
    |to| body(to, "200 OK", "", b"null"),
    |to| body(to, "204 No Content", "", b""),
    |to| body(to, "999 Beyond", "", b"{}"),
    |to| body(to, "429 Busy", "retry-after: 18446744073709551615\r\n", PROBLEM),
    |to| body(to, "503 Gone", "retry-after: -1\r\n", PROBLEM),
    |to| to.write_all(b"SSH-2.0-OpenSSH_9.6\r\n"),
    |to| to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}{}{}"),
    |to| to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
    |_| Ok(()),
];

const PROBLEM: &[u8] = b"{\"code\":\"\\u001b[2J\",\"detail\":\"\\u0000\",\"hint\":\"\\r\\n\"}";

fn endless(to: &mut TcpStream, first: &str, rest: &[u8]) -> std::io::Result<()> {
    to.write_all(first.as_bytes())?;
    let rest = rest.repeat(65_536 / rest.len());
    loop {
        to.write_all(&rest)?;
    }
}

fn slowly(to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes.iter().cycle() {
        to.write_all(&[*byte])?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn body(to: &mut TcpStream, status: &str, fields: &str, body: &[u8]) -> std::io::Result<()> {
    let len = body.len();
    write!(to, "HTTP/1.1 {status}\r\n{fields}content-length: {len}\r\nconnection: close\r\n\r\n")?;
    to.write_all(body)
}

/// A server that answers each request with the next of [`ANSWERS`].
struct Hostile {
    url: String,
    served: Arc<AtomicUsize>,
}

impl Hostile {
    /// One whose first answer is the one at `first`, and whose every answer is it if it is `fixed`.
    fn start(first: usize, fixed: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let number = count.fetch_add(1, Ordering::Relaxed);
                let place = if fixed { first } else { first + number };
                let answer = ANSWERS[place % ANSWERS.len()];
                thread::spawn(move || serve(stream, answer));
            }
        });
        Self { url, served }
    }

    /// Waits until every answer was given once.
    fn await_all(&self) {
        let all = || (self.served.load(Ordering::Relaxed) > ANSWERS.len()).then_some(());
        await_that("every answer", all);
    }
}

/// Reads the head of one request and answers.
fn serve(mut stream: TcpStream, answer: Answer) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // The client ends it as soon as it has heard enough.
    drop(answer(&mut stream));
}

fn variables(url: &str) -> Vec<(String, String)> {
    let roles = ["BLOCKCHAIN", "POOL", "METRONOME"].map(|role| (format!("DSC_{role}__URL"), url));
    let times = [("DSC_CLIENT__REQUEST_TIME".to_owned(), REQUEST_TIME)];
    let all = roles.into_iter().chain(times);
    all.map(|(name, value)| (name, value.to_owned())).collect()
}

/// Runs a command until it ends; its exit code, what it says and the most memory it held.
fn run(args: &[&str], folder: &Path, url: &str) -> (Option<i32>, String, u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsc"));
    command.args(args).arg("--json").current_dir(folder).env_clear().env("HOME", folder);
    command.envs(variables(url)).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (started, mut most) = (Instant::now(), 0);
    while child.try_wait().unwrap().is_none() {
        most = most.max(figures::peak_rss_bytes(child.id()).unwrap_or_default());
        let is_late = started.elapsed() > COMMAND_TIME;
        if is_late {
            child.kill().unwrap();
        }
        assert!(!is_late, "{args:?} did not end");
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), most)
}

#[test]
fn no_answer_harms_a_command() {
    let _turn = network::alone();
    let folder = tempfile::tempdir().unwrap();
    let to = address(&BOB).to_text(Prefix::Development);
    let id = "11".repeat(32);
    let commands: [&[&str]; 6] = [
        &["health"],
        &["wallet", "balance", &to],
        &["metronome", "status"],
        &["monitor", "--once"],
        &["tx", "status", &id],
        &["chain", "genesis", "fetched.json"],
    ];
    for first in 0..ANSWERS.len() {
        let hostile = Hostile::start(first, true);
        thread::scope(|scope| {
            for args in commands {
                let (hostile, folder) = (&hostile, folder.path());
                scope.spawn(move || {
                    let (code, said, most) = run(args, folder, &hostile.url);
                    let at = format!("{args:?}, answer {first}: {code:?} {said}");
                    assert!(code.is_some_and(|code| (0..=20).contains(&code)), "{at}");
                    let document: Value = serde_json::from_str(&said).expect(&at);
                    assert!(document["schema"].is_string(), "{at}");
                    assert!(most <= RSS_BYTES_MAX, "{at}: {most} bytes");
                });
            }
        });
    }
    assert!(!folder.path().join("fetched.json").exists(), "no genesis was believed");
}

#[test]
fn no_answer_harms_a_role() {
    let _turn = network::alone();
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let genesis = serde_json::to_vec(&network::genesis()).unwrap();
    fs::write(folder.join("genesis.json"), genesis).unwrap();
    network::write_key(&folder.join("metronome.pem"), &dsc_lib::testing::METRONOME);
    let to = address(&BOB).to_text(Prefix::Development);
    let known = ["--genesis", "genesis.json"];
    let prover = ["--proof", "work", "--address", &to, "--threads", "1"];
    let roles: [(&'static str, Vec<&str>); 4] = [
        ("pool", known.to_vec()),
        ("metronome", [&known[..], &["--key", "metronome.pem"]].concat()),
        ("validator", [&known[..], &prover].concat()),
        ("monitor", vec!["--interval", "50ms"]),
    ];
    thread::scope(|scope| {
        for (name, extra) in &roles {
            scope.spawn(move || {
                let hostile = Hostile::start(0, false);
                let data = format!("data-{name}");
                let fixed = [*name, "--json", "--listen", "127.0.0.1:0", "--data-dir", &data];
                let args: Vec<_> = fixed.iter().chain(extra).map(|arg| (*arg).into()).collect();
                let role = Process::role(name, folder, &args, &variables(&hostile.url));
                hostile.await_all();
                let client = Client::new(&role.url, PATIENCE, PATIENCE, 1 << 20).unwrap();
                let alive: Value = client.get_json("/healthz").unwrap();
                assert_eq!(alive["status"], "alive");
                let most = figures::peak_rss_bytes(role.pid()).unwrap();
                let max = RSS_BYTES_MAX + figures::available_bytes() / 4;
                assert!(most <= max, "the {name} held {most} of {max} bytes");
                assert!(!role.log().contains("panicked"), "{name}: {}", role.log());
            });
        }
    });
}
