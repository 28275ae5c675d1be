//! Several servers of one chain on an engine in this process, with what can go wrong between them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use dsc_lib::{
    cluster::{BlockLog, Cluster, Embedded, Shelf},
    codec::List,
    genesis::Chain,
    hash::Digest,
    keys::SecretKey,
    ledger::{CheckedBlock, EPOCH_STEP_MAX, Ledger, Proposal},
    role::{Answer, Call, NOT_HERE, Replica, Sought, blockchain::Blockchain},
    testing::{
        ALICE, BOB, CAROL, METRONOME, address, coins,
        disk::Dice,
        draft,
        faulty::{Faulty, Rates},
        genesis, next_block, proposal,
    },
    units::Millis,
};
use serde_json::json;

use super::*;
use crate::{
    clock::Time,
    http::{Client, ClientError, Limits},
    role::{
        Shared, Socket,
        blockchain::{Identity, follow, site},
        transport::Transport,
    },
    shutdown::Shutdown,
};

mod lost;
mod replicas;

/// What the log of one server does wrong.
#[derive(Debug)]
struct Rigged {
    inner: Mutex<Arc<Embedded>>,
    /// Acknowledgements to lose: whether the entry is there all the same.
    lost: Mutex<VecDeque<bool>>,
    hole: Mutex<Option<Position>>,
    distrusted: AtomicU32,
}

impl Rigged {
    fn over(inner: &Arc<Embedded>) -> Arc<Self> {
        let (lost, hole) = (Mutex::default(), Mutex::default());
        let inner = Mutex::new(inner.clone());
        Arc::new(Self { inner, lost, hole, distrusted: AtomicU32::new(0) })
    }

    fn inner(&self) -> Arc<Embedded> {
        self.inner.lock().unwrap().clone()
    }

    fn cluster(self: &Arc<Self>) -> Cluster {
        Cluster { blocks: self.clone(), ..self.inner().cluster() }
    }
}

impl BlockLog for Rigged {
    fn append(&self, after: Position, id: &Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        let unknown = || Err(AppendError::Unknown { reason: "it was lost".into() });
        match self.lost.lock().unwrap().pop_front() {
            None => BlockLog::append(&*self.inner(), after, id, bytes),
            Some(false) => unknown(),
            Some(true) => {
                BlockLog::append(&*self.inner(), after, id, bytes).unwrap();
                unknown()
            }
        }
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let mut entries = BlockLog::read(&*self.inner(), after, bytes_max)?;
        let Some(hole) = *self.hole.lock().unwrap() else { return Ok(entries) };
        if entries.first().is_some_and(|first| first.position == hole) {
            return Err(ReadError::Missing { position: hole, reason: "a test".into() });
        }
        entries.retain(|entry| entry.position < hole || after >= hole);
        Ok(entries)
    }

    fn wait(&self, after: Position, time: Duration) {
        BlockLog::wait(&*self.inner(), after, time);
    }

    fn distrust(&self) {
        self.distrusted.fetch_add(1, Relaxed);
    }
}

/// A chain with two metronomes.
fn chain() -> Chain {
    let mut metronomes = vec![*METRONOME.public(), *CAROL.public()];
    metronomes.sort_by_key(dsc_lib::keys::PublicKey::address);
    let metronomes = List::new(metronomes).unwrap();
    dsc_lib::genesis::Genesis { metronomes, ..genesis() }.check().unwrap()
}

fn joined(id: u64, cluster: Cluster, shared: &Arc<Shared<Blockchain>>, url: &str) -> Server {
    let identity = Identity { id: format!("{id:016x}"), url: url.into() };
    Server::new(shared, Some(Member::new(cluster, identity, Time::new(), 2)))
}

fn server(id: u64, cluster: Cluster) -> Server {
    let shared = Shared::new(Blockchain::new(Ledger::in_memory(chain())));
    joined(id, cluster, &shared, "http://127.0.0.1:1")
}

fn member(server: &Server) -> &Member {
    server.member.as_deref().unwrap()
}

/// The block after the last one of `server`, of this metronome.
fn next_by(server: &Server, key: &SecretKey) -> CheckedBlock {
    let held = server.shared.lock();
    let state = held.ledger().state();
    state.draft(proposal(state, vec![], vec![]), key).unwrap().0
}

/// Makes the next block, in which Alice pays Bob, and submits it.
fn extend(server: &Server) -> Accepted {
    let held = server.shared.lock();
    let state = held.ledger().state();
    let sequence = state.account(&address(&ALICE)).sequence;
    let payment = draft(sequence, address(&BOB), coins(1), coins(1));
    let payment = payment.sign(&state.chain().hash(), &ALICE);
    let block = next_block(state, vec![], vec![payment]);
    drop(held);
    let accepted = server.submit(&block.to_bytes()).unwrap();
    assert_eq!(accepted.hash, block.hash());
    accepted
}

/// Follows the log to its end.
fn follow_all(server: &Server) {
    while server.follow(member(server)).unwrap() > 0 {}
}

fn append(engine: &Embedded, bytes: &[u8]) -> Position {
    let mut after = Position::START;
    while let Some(last) = BlockLog::read(engine, after, 1 << 20).unwrap().last() {
        after = last.position;
    }
    BlockLog::append(engine, after, &Digest::ZERO, bytes).unwrap()
}

/// All have the same blocks, the same commitment, and read as much of the log.
fn assert_equal(servers: &[&Server]) {
    let (first, rest) = servers.split_first().unwrap();
    for server in rest {
        assert_eq!(server.tip(), first.tip());
        assert_eq!(member(server).position(), member(first).position());
        let commitment = |server: &Server| server.shared.lock().ledger().state().commitment();
        assert_eq!(commitment(server), commitment(first));
        for height in 0..=first.tip().0.map_or(0, |height| height.0) {
            let block = |server: &Server| server.archive.block_bytes(Height(height)).unwrap();
            assert_eq!(block(server), block(first), "block {height}");
        }
        server.shared.lock().ledger().verify(|_, _| {}).unwrap();
    }
}

/// Serves `server` until the test ends.
struct Serving(Shutdown, Option<thread::JoinHandle<()>>);

impl Serving {
    fn start(server: &Server, socket: Socket) -> Self {
        let (limits, shutdown) = (Limits::default(), Shutdown::new());
        let site = site(server, &limits, &shutdown);
        let thread = socket.serve(site, &limits, &shutdown).unwrap();
        Self(shutdown, Some(thread))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.request();
        self.1.take().unwrap().join().unwrap();
    }
}

fn socket() -> Socket {
    Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap()
}

#[test]
fn blocks_get_onto_every_ledger_through_any_server() {
    let engine = Embedded::in_memory();
    let [first, second] = [1, 2].map(|id| server(id, engine.cluster()));
    extend(&first);
    let block = next_by(&first, &METRONOME);
    let accepted = second.submit(&block.to_bytes()).unwrap();
    assert_eq!(accepted.height, Height(1), "it has read on by itself");
    assert_eq!(first.submit(&block.to_bytes()).unwrap(), accepted, "it is known");
    extend(&first);
    follow_all(&second);
    assert_equal(&[&first, &second]);
    assert_eq!(member(&second).position(), Position(3));
}

#[test]
fn of_two_blocks_of_one_height_the_log_takes_one() {
    let engine = Embedded::in_memory();
    let servers = [1, 2].map(|id| server(id, engine.cluster()));
    for _ in 0..5 {
        servers.iter().for_each(follow_all);
        let blocks = [&METRONOME, &CAROL].map(|key| next_by(&servers[0], key).to_bytes());
        let start = Barrier::new(2);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let tasks = servers.iter().zip(&blocks).map(|(server, block)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    server.submit(block).map_err(|fault| fault.problem())
                })
            });
            tasks.collect::<Vec<_>>().into_iter().map(|task| task.join().unwrap()).collect()
        });
        let refused: Vec<_> =
            outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "{outcomes:?}");
        assert_eq!((refused[0].status().as_u16(), refused[0].code()), (422, "wrong-height"));
    }
    servers.iter().for_each(follow_all);
    assert_equal(&[&servers[0], &servers[1]]);
    assert_eq!(servers[0].tip().0, Some(Height(4)));
}

/// Once the entry was not appended, once it was, once neither try says.
#[test]
fn a_lost_acknowledgement_is_settled_by_reading() {
    let engine = Embedded::in_memory();
    let log = Rigged::over(&engine);
    let (rigged, other) = (server(1, log.cluster()), server(2, engine.cluster()));
    for lost in [vec![false], vec![true], vec![false, false], vec![false, true]] {
        log.lost.lock().unwrap().extend(lost);
        extend(&rigged);
    }
    assert_eq!(member(&rigged).position(), Position(4), "nothing is there twice");
    // All tries are lost, then the same block is handed in again.
    for is_there in [false, true] {
        let block = next_by(&rigged, &METRONOME).to_bytes();
        let tries = [[false].repeat(APPENDS_MAX as usize), vec![true]];
        log.lost.lock().unwrap().extend(tries[usize::from(is_there)].clone());
        log.hole.lock().unwrap().clone_from(&is_there.then_some(member(&rigged).position().next()));
        let problem = rigged.submit(&block).unwrap_err().problem();
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "unsettled"));
        *log.hole.lock().unwrap() = None;
        rigged.submit(&block).unwrap();
    }
    follow_all(&other);
    assert_equal(&[&rigged, &other]);
    assert_eq!(member(&other).position(), Position(6));
}

/// Another metronome was faster while nobody knew whether the block was appended.
#[test]
fn a_block_whose_append_lost_against_another_is_refused() {
    let engine = Embedded::in_memory();
    let log = Rigged::over(&engine);
    let (rigged, other) = (server(1, log.cluster()), server(2, engine.cluster()));
    let (mine, theirs) = (next_by(&rigged, &METRONOME), next_by(&other, &CAROL));
    other.submit(&theirs.to_bytes()).unwrap();
    log.lost.lock().unwrap().push_back(false);
    let problem = rigged.submit(&mine.to_bytes()).unwrap_err().problem();
    assert_eq!((problem.status().as_u16(), problem.code()), (422, "wrong-height"));
    assert_equal(&[&rigged, &other]);
}

#[test]
fn what_breaks_a_rule_is_passed_over_by_all_alike() {
    let engine = Embedded::in_memory();
    let [first, second, late] = [1, 2, 3].map(|id| server(id, engine.cluster()));
    let other_chain = Ledger::in_memory(dsc_lib::testing::chain());
    let foreign = next_block(other_chain.state(), vec![], vec![]).to_bytes();
    let early = next_by(&first, &CAROL).to_bytes();
    append(&engine, b"garbage");
    extend(&first);
    let known = first.archive.block_bytes(Height(0)).unwrap().unwrap();
    // No block, of another chain, at a height that there is already, again, without its end.
    for bytes in [b"".as_slice(), &foreign, &early, &known, &known[..known.len() - 1]] {
        append(&engine, bytes);
    }
    follow_all(&second);
    extend(&second);
    for server in [&first, &second, &late] {
        follow_all(server);
        assert_eq!(member(server).position(), Position(8));
        assert_eq!(server.tip().0, Some(Height(1)));
        // The block that was there twice, and what only looks like it, changed nothing.
        assert_eq!(member(server).counts().0, 4);
        assert!(member(server).check().ok);
    }
    assert_equal(&[&first, &second, &late]);
}

#[test]
fn a_restart_finds_its_place() {
    let engine = Embedded::in_memory();
    let first = server(1, engine.cluster());
    append(&engine, b"garbage");
    extend(&first);
    extend(&first);
    append(&engine, b"garbage");
    let again = joined(1, engine.cluster(), &first.shared, "http://127.0.0.1:1");
    again.place(member(&again), &mut again.turn()).unwrap();
    assert_eq!(member(&again).position(), Position(3));
    follow_all(&again);
    extend(&again);
    assert_eq!(member(&again).position(), Position(5));
    assert_eq!(member(&again).counts().0, 1);
}

#[test]
fn a_log_without_the_own_tip_is_neither_followed_nor_appended_to() {
    let engine = Embedded::in_memory();
    let alone = Server::new(&server(1, engine.cluster()).shared, None);
    for height in 0..3 {
        assert_eq!(extend(&alone).height, Height(height));
    }
    let joined = joined(1, engine.cluster(), &alone.shared, "http://127.0.0.1:1");
    let fault = joined.follow(member(&joined)).unwrap_err();
    let expected = FollowFault::Elsewhere { height: Height(2), hash: alone.tip().1 };
    assert!(matches!(&fault, Fault::Follow(got) if *got == expected), "{fault}");
    let block = next_by(&alone, &METRONOME).to_bytes();
    let problem = joined.submit(&block).unwrap_err().problem();
    assert_eq!((problem.status().as_u16(), problem.code()), (503, "log-damaged"));
    assert!(!member(&joined).check().ok);
    assert_eq!(BlockLog::read(&*engine, Position::START, 1).unwrap(), []);
}

#[test]
fn a_metronome_that_does_not_lead_appends_nothing() {
    let engine = Embedded::in_memory();
    let server = server(1, engine.cluster());
    let lead = |value: serde_json::Value| {
        let board = engine.cluster().board;
        board.put(Shelf::Control, "metronome", value.to_string().as_bytes(), None).unwrap();
    };
    let holder = |key: &SecretKey| json!({ "holder": address(key), "url": "x", "epoch": 1 });
    lead(holder(&CAROL));
    let block = next_by(&server, &METRONOME).to_bytes();
    let problem = server.submit(&block).unwrap_err().problem();
    assert_eq!((problem.status().as_u16(), problem.code()), (422, "not-leader"));
    assert_eq!(BlockLog::read(&*engine, Position::START, 1).unwrap(), []);
    lead(holder(&METRONOME));
    server.submit(&block).unwrap();
    // What is on the ledger is acknowledged whoever leads now.
    lead(holder(&CAROL));
    server.submit(&block).unwrap();
    // What names no metronome of the chain counts for nothing, nor what was given back.
    let mut released = holder(&CAROL);
    released["released"] = true.into();
    for garbage in [json!(null), json!({ "holder": "x" }), holder(&ALICE), released] {
        lead(garbage);
        extend(&server);
    }
}

/// A metronome of the chain that names a lease which it was never given is refused, whether it leads
/// or not: it would take the numbers in between away from the others.
#[test]
fn a_block_of_a_lease_that_nobody_was_given_is_not_appended() {
    let engine = Embedded::in_memory();
    let server = server(1, engine.cluster());
    let lead = |epoch: u64, released: bool| {
        let board = engine.cluster().board;
        let record = json!({ "holder": address(&METRONOME), "epoch": epoch, "released": released });
        board.put(Shelf::Control, "metronome", record.to_string().as_bytes(), None).unwrap();
    };
    let block_of = |epoch: u64, key: &SecretKey| {
        let held = server.shared.lock();
        let state = held.ledger().state();
        let proposal = Proposal { epoch, ..proposal(state, vec![], vec![]) };
        state.draft(proposal, key).unwrap().0.to_bytes()
    };
    for (epoch, released, key) in
        [(5, false, &METRONOME), (EPOCH_STEP_MAX, false, &METRONOME), (5, true, &CAROL)]
    {
        lead(4, released);
        let problem = server.submit(&block_of(epoch, key)).unwrap_err().problem();
        assert_eq!((problem.status().as_u16(), problem.code()), (422, "not-leader"));
    }
    assert_eq!(BlockLog::read(&*engine, Position::START, 1).unwrap(), []);
    let signed_before = block_of(4, &METRONOME);
    lead(6, false);
    server.submit(&signed_before).unwrap();
    server.submit(&block_of(6, &METRONOME)).unwrap();
    lead(7, true);
    server.submit(&block_of(7, &CAROL)).unwrap();
}
