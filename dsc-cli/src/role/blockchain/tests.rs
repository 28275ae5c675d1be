//! What may wait for what.

use std::{net::TcpStream, time::Duration};

use dsc_lib::{
    ledger::{Ledger, Proposal},
    role::blockchain::{Accepted, ConfirmedList},
    testing::{METRONOME, genesis},
    units::Millis,
};

use super::*;
use crate::{http::Client, role::Socket};

/// A block may take seconds to check and commit. Meanwhile what is on disk can be read, and
/// those who have to wait do not keep the server's few threads from others.
#[test]
fn a_busy_ledger_holds_up_only_what_needs_it() {
    let mut ledger = Ledger::in_memory(genesis().check().unwrap());
    let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
    let (block, _) = ledger.state().draft(proposal, &METRONOME).unwrap();
    ledger.commit(&block).unwrap();
    let shared = Shared::new(Blockchain::new(ledger));
    let (limits, shutdown) = (Limits::default(), Shutdown::new());
    let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
    let (url, address) = (socket.url(), socket.address);
    let server = socket
        .serve(site(&Server::new(&shared, None), &limits, &shutdown), &limits, &shutdown)
        .unwrap();

    let busy = shared.lock();
    let account = format!("accounts/{}", "00".repeat(32));
    let waits = ["info", "blocks?from=1&wait=9000", "snapshot", &account];
    let waiting: Vec<_> = waits
        .iter()
        .cycle()
        .take(12)
        .map(|path| {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = format!("GET /v1/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
            std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let time = Duration::from_secs(5);
    let client = Client::new(&url, time, time, 1 << 20).unwrap();
    for _ in 0..20 {
        client.get_bytes("/healthz").unwrap();
        assert_eq!(client.get_bytes("/v1/blocks/tip/raw").unwrap(), block.to_bytes());
    }
    drop((busy, waiting));
    shutdown.request();
    server.join().unwrap();
}

/// Whoever reads does not wait for those who submit, and two who submit the same block are told
/// the same.
#[test]
fn a_commit_under_way_holds_up_no_reader() {
    let shared = Shared::new(Blockchain::new(Ledger::in_memory(genesis().check().unwrap())));
    let (limits, shutdown) = (Limits::default(), Shutdown::new());
    let server = Server::new(&shared, None);
    let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
    let state = shared.lock().ledger().shared_state();
    let (block, _) = state.draft(proposal, &METRONOME).unwrap();
    drop(state);
    let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
    let url = socket.url();
    let site = site(&server, &limits, &shutdown);
    let serving = socket.serve(site, &limits, &shutdown).unwrap();
    let time = Duration::from_secs(60);
    let client = Client::new(&url, time, time, 1 << 20).unwrap();

    let turn = server.turn.lock().unwrap();
    let submit = |client: Client, bytes: Vec<u8>| {
        std::thread::spawn(move || client.submit_bytes("/v1/blocks", &bytes).unwrap())
    };
    let submitting: [_; 2] = std::array::from_fn(|_| submit(client.clone(), block.to_bytes()));
    let waiting = client.clone();
    let waiting =
        std::thread::spawn(move || waiting.get_bytes("/v1/confirmed?from=0&wait=10000").unwrap());
    let account = format!("/v1/accounts/{}", "00".repeat(32));
    for path in ["/v1/info", &account, "/v1/snapshot", "/v1/blocks?from=0", "/metrics"] {
        client.get_bytes(path).unwrap();
    }
    drop(turn);
    let accepted: [Accepted; 2] = submitting.map(|thread| thread.join().unwrap());
    assert_eq!((accepted[0].hash, accepted[0]), (block.hash(), accepted[1]));
    let confirmed: ConfirmedList = codec::decode(&waiting.join().unwrap()).unwrap();
    assert_eq!(confirmed.iter().map(|b| b.hash).collect::<Vec<_>>(), [block.hash()]);
    shutdown.request();
    serving.join().unwrap();
}

/// Whoever asks for the same snapshot gets the same memory.
#[test]
fn a_snapshot_is_made_once_for_a_tip() {
    let ledger = Ledger::in_memory(genesis().check().unwrap());
    let fresh = codec::encode(&ledger.snapshot().unwrap());
    let proposal = Proposal { proofs: vec![], transactions: vec![], time: Millis(1), epoch: 0 };
    let (block, _) = ledger.state().draft(proposal, &METRONOME).unwrap();
    let server = Server::new(&Shared::new(Blockchain::new(ledger)), None);
    let snapshot = || server.snapshot().unwrap().1;
    let first = snapshot();
    assert_eq!(first.as_ptr(), snapshot().as_ptr());
    server.shared.lock().submit(&block.to_bytes()).unwrap();
    assert_eq!(first, fresh);
    assert_ne!(first, snapshot());
}
