//! `dsc top` at a terminal and off one, against a monitor that says what the test wants.
#![cfg(all(target_os = "linux", feature = "top"))]

mod common;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    thread,
};

use common::Dsc;
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

const HISTORY: &str = r#"{"schema":"dsc.monitor.history/1","network":"dsc-dev","id":"7-1","samples":[
    {"time":1000,"transactions":1},{"time":2000,"transactions":6}],
    "now":{"time":2000,"height":12,"transactions":6,"validators_alive":1,"validators":[
    {"fingerprint":"0123456789abcdef","proof":"work","won":3,"share":1.0,"alive":true}]},
    "blocks":[{"height":12,"transactions":5,"winner":"work"}],
    "recent":[{"id":"aaaaaaaaaaaaaaaaaaaaaaaa","amount":"1","payments":1,"state":"confirmed","height":12}]}"#;

/// Answers one request; the stream of events has one sample and then goes on in silence.
fn answer(mut stream: TcpStream) {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        request.push_str(&line);
    }
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type:";
    if request.starts_with("GET /v1/history") {
        let _ = write!(stream, "{head} application/json\r\n\r\n{HISTORY}");
        return;
    }
    assert!(request.starts_with("GET /v1/events?after=7-1 "), "{request}");
    let sample = "event: sample\nid: 7-2\ndata: {\"time\":3000,\"height\":77}\n\n";
    let _ = write!(stream, "{head} text/event-stream\r\n\r\nretry: 1000\n\n{sample}");
    // Until the command has gone.
    let _ = lines.next();
}

/// The address of a monitor.
fn monitor() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    url
}

#[test]
fn off_a_terminal_there_is_a_table() {
    let (dsc, url) = (Dsc::offline(), monitor());
    let once = dsc.json("dsc.top/1", &["top", "--once", "--url", &url]);
    assert_eq!((&once["network"], &once["now"]["height"]), (&"dsc-dev".into(), &12.into()));
    let text = dsc.text(&["top", "--once", "--url", &url]);
    for said in ["block 12", "5.0 tx/s", "01234567", "aaaaaaaaaaaaaaaa  confirmed"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut going = dsc.command(&["top", "--json", "--url", &url]);
    let mut going = going.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(going.stdout.take().unwrap()).lines();
    let heights = lines.take(2).map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["now"]["height"].as_u64()
    });
    assert_eq!(heights.collect::<Vec<_>>(), [Some(12), Some(77)]);
    going.kill().unwrap();
    going.wait().unwrap();
    dsc.fails(6, "cannot-connect", &["top", "--url", "http://127.0.0.1:1"]);
    dsc.fails(2, "usage", &["top", "--url", "nowhere"]);
}

/// Starts it at a terminal, waits for the sample of the stream, presses a key and sees it end.
fn ends_with(key: &[u8]) {
    let (dsc, url) = (Dsc::offline(), monitor());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let near = openpt(flags).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let far = ioctl_tiocgptpeer(&near, flags).unwrap();
    tcsetwinsize(&near, Winsize { ws_row: 30, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let end = || Stdio::from(far.try_clone().unwrap());
    let mut command = dsc.command(&["top", "--url", &url]);
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    let (mut near, mut shown) = (File::from(near), Vec::new());
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&shown).contains("block 77") {
        let count = near.read(&mut bytes).unwrap();
        shown.extend(&bytes[..count]);
    }
    drop(command);
    let modes = tcgetattr(&far).unwrap().local_modes;
    assert!(!modes.contains(LocalModes::ECHO), "keys are not shown while it draws");
    near.write_all(key).unwrap();
    let reader = thread::spawn(move || {
        while let Ok(count @ 1..) = near.read(&mut bytes) {
            shown.extend(&bytes[..count]);
        }
        shown
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let modes = tcgetattr(&far).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    drop(far);
    let shown = String::from_utf8(reader.join().unwrap()).unwrap();
    assert!(shown.starts_with("\u{1b}[?1049h"), "{shown:?}");
    assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{shown:?}");
    assert!(shown.contains("01234567"), "{shown:?}");
}

#[test]
fn at_a_terminal_it_draws_until_q_or_ctrl_c() {
    ends_with(b"q");
    ends_with(b"\x03");
}
