//! The pool's server without its sockets.

use dsc_lib::{
    disk::{Disk, Memory},
    ledger::Ledger,
    mempool,
    role::{Active, Answer, Next},
    testing::{
        ALICE, BOB, address, chain,
        disk::{Keep, NotingDisk},
        next_block, pay,
    },
    units::Millis,
};

use super::*;
use crate::{
    http::{Client, ClientError},
    role::Socket,
};

fn encoded(sequence: u64) -> Encoded {
    pay(&ALICE, sequence, address(&BOB), 1).into()
}

fn opened(disk: &(impl Disk + Clone + 'static)) -> Arc<Server> {
    let pool = Pool::new(chain(), mempool::Limits::default());
    let journal = Journal::open(Arc::new(disk.clone())).unwrap();
    Server::start(pool, journal, None, 1 << 20, &Time::default()).unwrap()
}

/// Lets a pool follow a ledger that has no block yet.
fn follow_genesis(pool: &mut Pool) {
    let snapshot = Ledger::in_memory(chain()).snapshot().unwrap();
    pool.answer(Millis(0), Ok(Answer::Snapshot(codec::encode(&snapshot))));
    let Next::Work(work) = pool.next(Millis(0)) else { panic!("a snapshot has to be checked") };
    pool.finish(Millis(0), work.run());
    assert!(!pool.replica().is_fresh());
}

/// The pool holds a transaction before it is on disk. If putting it there fails, whoever submits
/// it again must not hear that it is known.
#[test]
fn a_transaction_is_acknowledged_only_once_it_is_in_the_journal() {
    let disk = NotingDisk::default();
    let server = opened(&disk);
    let submit = || server.submit(vec![encoded(0)]);

    disk.fail(0, usize::MAX);
    assert!(submit().is_err());
    assert!(submit().is_err(), "known, but on no disk");
    disk.mend();
    assert!(matches!(submit().unwrap()[..], [Outcome::Known { .. }]));
    let left = disk.crash(disk.operations(), Keep::Nothing);
    let journal = Journal::open(Arc::new(left)).unwrap();
    let held: Vec<_> = (0..journal.unread()).flat_map(|at| journal.read(at).unwrap()).collect();
    assert_eq!(held, [encoded(0)]);
}

#[test]
fn outcomes_are_in_order_whatever_the_rounds() {
    let disk = Memory::default();
    let server = opened(&disk);
    let mut forged = pay(&ALICE, 1, address(&BOB), 1);
    forged.signature.0[255] ^= 1;
    let answers = [
        server.intake.offer(vec![encoded(0), forged.into()]).unwrap(),
        server.intake.offer(vec![encoded(1), encoded(0)]).unwrap(),
    ];
    let [first, second] = answers.map(|answer| answer.blocking_recv().unwrap().unwrap());
    assert!(matches!(first[..], [Outcome::Added { .. }, Outcome::Rejected { retry: false, .. }]));
    assert!(matches!(second[..], [Outcome::Added { .. }, Outcome::Known { .. }]));
}

/// A pool that has followed a ledger of the genesis alone, behind a socket.
struct Served {
    client: Client,
    address: std::net::SocketAddr,
    shutdown: Shutdown,
    thread: Option<std::thread::JoinHandle<()>>,
    server: Arc<Server>,
}

impl Served {
    fn start() -> Self {
        let server = opened(&Memory::default());
        let mut pool = server.shared.lock();
        follow_genesis(&mut pool);
        server.follow(&mut pool);
        drop(pool);
        Self::of(server)
    }

    fn of(server: Arc<Server>) -> Self {
        let (limits, shutdown) = (Limits::default(), Shutdown::new());
        let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let (url, address, time) = (socket.url(), socket.address, Duration::from_secs(10));
        let site = site(&server, &limits, &shutdown, None);
        let thread = Some(socket.serve(site, &limits, &shutdown).unwrap());
        let client = Client::new(&url, time, time, 1 << 20).unwrap();
        Self { client, address, shutdown, thread, server }
    }

    fn submit<T: serde::de::DeserializeOwned>(
        &self,
        query: &str,
        body: &[u8],
    ) -> Result<T, ClientError> {
        self.client.submit_bytes(&format!("/v1/transactions{query}"), body)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.client = Client::new("http://127.0.0.1:1", Duration::ZERO, Duration::ZERO, 0).unwrap();
        self.shutdown.request();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn body(transactions: &[Encoded]) -> Vec<u8> {
    codec::encode_list(transactions.iter().map(Encoded::bytes))
}

fn code(error: ClientError) -> (u16, String) {
    match error {
        ClientError::Problem(problem) => (problem.status, problem.code),
        other => panic!("{other}"),
    }
}

#[test]
fn a_submission_is_answered_in_full_or_in_brief() {
    let served = Served::start();
    let all: Vec<_> = (0..3).map(encoded).collect();
    let outcomes: Vec<Outcome> = served.submit("", &body(&all[..2])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Added { .. }, Outcome::Added { .. }]));
    let mut forged = pay(&ALICE, 3, address(&BOB), 1);
    forged.signature.0[255] ^= 1;
    let all = [all, vec![forged.into()]].concat();
    let brief: submission::Brief = served.submit("?brief=true", &body(&all)).unwrap();
    assert_eq!((brief.added, brief.known, brief.rejected.len()), (1, 2, 1));
    assert_eq!(brief.rejected[0].index, 3);
    let error = served.submit::<Vec<Outcome>>("?short=true", &body(&all)).unwrap_err();
    assert_eq!(code(error), (400, "invalid-query".into()));
}

#[test]
fn a_body_that_is_no_list_is_malformed_and_what_came_before_is_held() {
    let served = Served::start();
    let good = body(&[encoded(0), encoded(1)]);
    let cut = &good[..good.len() - 1];
    for (body, taken) in [(&[][..], 0), (&[0; 8], 0), (&[255; 8], 0), (cut, 1)] {
        let error = served.submit::<Vec<Outcome>>("", body).unwrap_err();
        assert_eq!(code(error), (400, "not-canonical".into()));
        assert_eq!(served.server.shared.lock().counts().submitted, taken);
    }
}

/// The first part of a submission is held before the last one is sent.
#[test]
fn a_submission_is_read_while_it_comes_in() {
    use std::io::{Read, Write};
    let served = Served::start();
    let body = body(&[encoded(0), encoded(1)]);
    let (first, second) = body.split_at(body.len() - 10);
    let mut stream = std::net::TcpStream::connect(served.address).unwrap();
    let head = "POST /v1/transactions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(first).unwrap();
    let started = std::time::Instant::now();
    while served.server.shared.lock().counts().submitted == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "the first part is not held");
        std::thread::yield_now();
    }
    stream.write_all(second).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(served.server.shared.lock().counts().submitted, 2);
}

/// With the queue full, whoever begins a submission is told when to come back, and the connection
/// can be used again.
#[test]
fn a_busy_pool_says_when_to_come_back() {
    let served = Served::start();
    let all = served.server.intake.fill();
    let error = served.submit::<Vec<Outcome>>("", &body(&[encoded(0)])).unwrap_err();
    let ClientError::Problem(problem) = error else { panic!("{error}") };
    assert_eq!((problem.status, problem.code.as_str()), (429, "pool-busy"));
    assert_eq!(problem.retry_after, Some(Duration::from_secs(1)));
    drop(all);
    let outcomes: Vec<Outcome> = served.submit("", &body(&[encoded(0)])).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Added { .. }]));
}

/// Until then a pool would tell of an account's first sequence and of transactions it never had.
#[test]
fn a_pool_that_has_not_followed_the_ledger_says_so() {
    let served = Served::of(opened(&Memory::default()));
    let (account, id) = (address(&ALICE), "00".repeat(32));
    for path in [format!("/v1/accounts/{account}"), format!("/v1/transactions/{id}")] {
        let error = served.client.get_bytes(&path).unwrap_err();
        let ClientError::Problem(problem) = error else { panic!("{error}") };
        assert_eq!((problem.status, problem.code.as_str()), (503, "not-ready"), "{path}");
        assert_eq!(problem.retry_after, Some(Duration::from_secs(1)));
    }
}

#[test]
fn what_the_journal_holds_is_held_again_after_a_restart() {
    let disk = Memory::default();
    let server = opened(&disk);
    server.submit((0..5).map(encoded).collect()).unwrap();
    drop(server);
    let server = opened(&disk);
    assert!(!server.is_restored());
    let mut pool = server.shared.lock();
    follow_genesis(&mut pool);
    server.follow(&mut pool);
    assert_eq!(pool.counts().submitted, 5);
    assert!(server.is_restored());
}

/// Whoever wants each outcome named may send fewer: the answer is held until it is read.
#[test]
fn a_long_submission_has_to_be_brief() {
    let served = Served::start();
    let head = (1_u64 << 15).to_le_bytes();
    let error = served.submit::<Vec<Outcome>>("", &head).unwrap_err();
    assert!(error.to_string().contains("expected 0 to 16384"), "{error}");
    let error = served.submit::<submission::Brief>("?brief=true", &head).unwrap_err();
    assert!(error.to_string().contains("end before the value"), "{error}");
}

/// A segment that cannot be read now may be read later: what is in it was acknowledged.
#[test]
fn a_segment_that_cannot_be_read_is_kept_until_it_can() {
    let disk = NotingDisk::default();
    let server = opened(&disk);
    server.submit(vec![encoded(0)]).unwrap();
    drop(server);
    let server = opened(&disk);
    disk.fail_reads(0, usize::MAX);
    let mut pool = server.shared.lock();
    follow_genesis(&mut pool);
    server.follow(&mut pool);
    assert!(!server.is_restored());
    disk.mend();
    server.follow(&mut pool);
    assert!(server.is_restored());
    assert_eq!(pool.counts().submitted, 1);
}

/// On a disk that is full, what the ledger takes meanwhile is not kept for the journal.
#[test]
fn what_has_ended_is_not_kept_for_a_journal_that_fails() {
    let disk = NotingDisk::default();
    let journal = Journal::open(Arc::new(disk.clone())).unwrap();
    let shared = Shared::new(Pool::new(chain(), mempool::Limits::default()));
    let holder = Arc::new(Holder::new(shared.clone(), journal, Time::default()));
    let server = Server::with_keeper(shared, holder.clone(), None, 1 << 20).unwrap();
    disk.fail(0, usize::MAX);
    assert!(server.submit(vec![encoded(0)]).is_err());
    let mut pool = server.shared.lock();
    follow_genesis(&mut pool);
    let block = next_block(pool.replica().state(), vec![], vec![encoded(0).decode()]);
    pool.answer(Millis(0), Ok(Answer::Blocks(vec![block.to_bytes()])));
    while let Next::Work(work) = pool.next(Millis(0)) {
        pool.finish(Millis(0), work.run());
    }
    drop(pool);
    assert!(server.submit(vec![encoded(1)]).is_err());
    assert_eq!(holder.unsynced_count(), 1);
}
