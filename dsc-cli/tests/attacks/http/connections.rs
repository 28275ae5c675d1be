//! Connections: many, idle, slow, and such that take no answer.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpStream},
    thread,
    time::Duration,
};

use dsc_lib::{
    testing::address,
    transaction::{Draft, MEMO_BYTES_MAX, Memo, PAYMENTS_MAX, Payment, Payments},
    units::{Amount, Height},
};

use crate::{
    attack::{attack, attack_with_much},
    honest::FEE,
    network::{self, ACCOUNTS, CONNECTIONS_MAX, Network},
    process::Process,
    raw::{ATTACKER, LOCAL, OTHER_ATTACKER, connect, connect_from, listen},
};

/// Opens connections to every role and leaves them to `start`.
fn open_each(
    network: &Network,
    from: IpAddr,
    count: usize,
    start: impl Fn(&mut TcpStream),
) -> Vec<TcpStream> {
    let processes = network.processes();
    let all = (0..count).flat_map(|_| processes);
    let opened = all.filter_map(|process| {
        let mut stream = connect_from(from, process).ok()?;
        start(&mut stream);
        Some(stream)
    });
    opened.collect()
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    // A server with no room for another connection closes it.
    drop(stream.write_all(bytes));
}

#[test]
fn thousands_of_idle_connections_leave_room_for_others() {
    attack("2,000 idle connections", |network| {
        let open = open_each(network, ATTACKER, 400, |_| {});
        network.answers_newcomers(20);
        drop(open);
    });
}

/// From an address without a share of its own: newcomers take the places of the idle.
#[test]
fn idle_connections_of_the_same_machine_make_room_for_others() {
    attack("2,000 idle connections of the same machine", |network| {
        let open = open_each(network, LOCAL, 400, |_| {});
        network.answers_newcomers(20);
        drop(open);
    });
}

#[test]
fn heads_that_never_end_leave_room_for_others() {
    attack("2,000 unfinished heads", |network| {
        let mut open = open_each(network, ATTACKER, 400, |stream| send(stream, b"GET /healthz HT"));
        for _ in 0..3 {
            for stream in &mut open {
                send(stream, b"x");
            }
            network.answers_newcomers(7);
        }
    });
}

#[test]
fn a_head_that_comes_slowly_is_cut() {
    attack("heads of a byte at a time", |network| {
        let slow = |process: &Process| {
            let mut stream = connect(process);
            for byte in b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ".iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            listen(stream).statuses()
        };
        thread::scope(|scope| {
            let slow = network.processes().map(|process| scope.spawn(move || slow(process)));
            for statuses in slow.map(|slow| slow.join().unwrap()) {
                assert!(statuses.iter().all(|s| *s >= 400), "{statuses:?}");
            }
        });
    });
}

#[test]
fn connections_opened_and_dropped_leave_nothing_behind() {
    attack("5,000 connections opened and dropped", |network| {
        for _ in 0..50 {
            drop(open_each(network, ATTACKER, 20, |stream| {
                send(stream, b"GET / HTTP/1.1\r\nhost: x\r\n");
            }));
        }
    });
}

#[test]
fn many_requests_at_once_on_a_connection_are_answered_in_turn() {
    attack("10,000 pipelined requests", |network| {
        for process in network.processes() {
            let mut stream = connect(process);
            let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2000);
            let last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let mut sending = stream.try_clone().unwrap();
            let sender = thread::spawn(move || {
                sending.write_all(&request).unwrap();
                sending.write_all(last).unwrap();
            });
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).unwrap();
            sender.join().unwrap();
            let text = String::from_utf8(answers).unwrap();
            assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2001, "{}", process.name);
        }
    });
}

#[test]
fn long_polls_and_streams_without_number_leave_room_for_others() {
    attack("1,000 long polls and streams", |network| {
        let poll = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
        let mut open = Vec::new();
        for _ in 0..250 {
            for (process, path) in [
                (&network.blockchain, "/v1/blocks?from=1000000&wait=10000"),
                (&network.blockchain, "/v1/confirmed?from=1000000&wait=10000"),
                (&network.metronome, "/v1/round?after=1000000&challenge=0&wait=10000"),
                (&network.monitor, "/v1/events"),
            ] {
                let Ok(mut stream) = connect_from(ATTACKER, process) else { continue };
                send(&mut stream, &poll(path));
                open.push(stream);
            }
        }
        network.answers_newcomers(40);
        drop(open);
    });
}

/// Asks for all there is on many connections and takes none of it.
#[test]
fn answers_that_nobody_reads_are_counted() {
    fill_blocks(network::shared().as_ref().unwrap());
    attack_with_much("large answers that nobody reads", |network| {
        let mut open = Vec::new();
        for path in ["/v1/blocks?from=0", "/v1/snapshot", "/v1/confirmed?from=0"] {
            for from in [ATTACKER, LOCAL, OTHER_ATTACKER, LOCAL] {
                for _ in 0..CONNECTIONS_MAX / 12 {
                    let mut stream = connect_from(from, &network.blockchain).unwrap();
                    let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
                    send(&mut stream, ask.as_bytes());
                    open.push(stream);
                }
            }
        }
        network.answers_newcomers(100);
        drop(open);
    });
}

/// Puts more onto the ledger than one answer holds: payments as large as they can be.
fn fill_blocks(network: &Network) {
    let key = &ACCOUNTS[5];
    let first = network.sequence(key);
    let payment = Payment { to: address(key), amount: Amount::from_units(1) };
    let payments = Payments::new(vec![payment; PAYMENTS_MAX]).unwrap();
    let memo = Memo::new(vec![0; MEMO_BYTES_MAX]).unwrap();
    let expires = Height(network.height().0 + 1000);
    let large = |sequence| {
        let (payments, memo) = (payments.clone(), memo.clone());
        let draft = Draft { sequence, expires, fee: Amount::from_units(FEE), payments, memo };
        draft.sign(&network.hash(), key)
    };
    let large: Vec<_> = (first..first + 800).map(large).collect();
    assert!(network.submit(&large).iter().all(|verdict| verdict == "added"));
    network.await_confirmed(&network.id(&large[799]));
}
