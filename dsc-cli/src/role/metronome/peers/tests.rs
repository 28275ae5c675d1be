//! Two metronomes in one process, with their threads.

use axum::{Router, routing::get};
use dsc_lib::{
    cluster::{Cluster, Embedded},
    codec::List,
    genesis::Chain,
    keys::SecretKey,
    ledger::Ledger,
    proof::Proof,
    role::{
        Active, Answer, Call, Next,
        blockchain::Blockchain,
        metronome::{LastSigned, Settings},
    },
    testing::{self, CAROL, METRONOME, Miners},
};

use super::*;
use crate::{
    http::{Limits, Site},
    role::{Socket, transport::Transport},
};

const LEASE: Millis = Millis(1_000);
/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn chain() -> Chain {
    let mut genesis = testing::genesis();
    genesis.metronomes = List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap();
    genesis.check().unwrap()
}

/// One that has followed an empty ledger.
fn metronome(key: &SecretKey) -> Metronome {
    let (chain, now) = (chain(), Millis(1_800_000_000_000));
    let signed = LastSigned::in_memory(&chain, &key.public().address());
    let settings = Settings { key: key.clone(), epoch: 0, interval: Millis(1_000), running: true };
    let mut metronome = Metronome::new(chain.clone(), settings, signed);
    metronome.stand_by();
    let blockchain = Blockchain::new(Ledger::in_memory(chain));
    while metronome.round(now).is_none() {
        let answer = match metronome.next(now) {
            Next::Work(work) => {
                metronome.finish(now, work.run());
                continue;
            }
            Next::Call(Call::Snapshot) => Answer::Snapshot(blockchain.snapshot().unwrap()),
            Next::Call(Call::Blocks { .. }) => Answer::Blocks(vec![]),
            other => panic!("{other:?}"),
        };
        metronome.answer(now, Ok(answer));
    }
    metronome
}

/// A peer on its own, whose blockchain server is `blockchain`.
fn peer(key: &SecretKey, cluster: &Cluster, blockchain: Client) -> Peer {
    Peer {
        role: Shared::new(metronome(key)),
        board: cluster.board.clone(),
        blockchain,
        time: Time::new(),
        shutdown: Shutdown::new(),
    }
}

fn applicant(key: &SecretKey) -> Applicant {
    Applicant { key: key.public().address(), process: 1, url: "http://m:1".into() }
}

struct Seat {
    role: Arc<Shared<Metronome>>,
    shutdown: Shutdown,
    offers: Offers,
    threads: Vec<JoinHandle<()>>,
    time: Time,
}

impl Seat {
    fn new(key: &SecretKey, cluster: &Cluster) -> Self {
        let peer = peer(key, cluster, Transport::nobody().blockchain);
        let (role, time, shutdown) = (peer.role.clone(), peer.time.clone(), peer.shutdown.clone());
        let (offers, threads) = peer.join(applicant(key), LEASE).unwrap();
        Self { role, shutdown, offers, threads, time }
    }

    /// Waits until the metronome is as `look` wants it.
    fn wait(&self, look: impl Fn(&mut Metronome, Millis) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen = self.role.until(PATIENCE, |role| look(role, self.time.now()).then_some(()));
        assert_eq!(runtime.block_on(seen), Some(()), "it did not happen");
    }

    fn stop(self) {
        self.shutdown.request();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn one_leads_and_when_it_ends_the_other_one_does_under_a_later_lease() {
    let cluster = Embedded::in_memory().cluster();
    let first = Seat::new(&METRONOME, &cluster);
    first.wait(|role, now| role.leads(now));
    let second = Seat::new(&CAROL, &cluster);
    second.wait(|role, now| role.status(now).leader.is_some());
    assert!(!second.role.lock().leads(second.time.now()));
    assert_eq!(first.role.lock().epoch(), 1);
    first.stop();
    second.wait(|role, now| role.leads(now));
    assert_eq!(second.role.lock().epoch(), 2);
    second.stop();
}

#[test]
fn one_that_is_stopped_leaves_the_lease_to_the_other() {
    let cluster = Embedded::in_memory().cluster();
    let first = Seat::new(&METRONOME, &cluster);
    first.wait(|role, now| role.leads(now));
    let second = Seat::new(&CAROL, &cluster);
    first.role.lock().stop();
    second.wait(|role, now| role.leads(now));
    first.wait(|role, now| !role.leads(now));
    first.stop();
    second.stop();
}

#[test]
fn a_proof_that_one_was_handed_counts_at_the_other_and_a_forged_one_does_not() {
    let cluster = Embedded::in_memory().cluster();
    let (first, second) = (Seat::new(&METRONOME, &cluster), Seat::new(&CAROL, &cluster));
    let round = first.role.lock().round(first.time.now()).unwrap();
    let entry = Miners::new(&chain()).solve(round.challenge, &round.targets).remove(0);
    let proof = Proof { kind: entry.proof.kind, bytes: vec![7; 3] };
    let forged = ProofEntry { proof, ..entry };
    first.offers.add(round.height, forged);
    first.offers.add(round.height, entry.clone());
    second.wait(|role, _| role.proofs() == [entry.clone()]);
    first.stop();
    second.stop();
}

/// A client that was told what may be old, as by a server that the engine does not answer.
fn stale() -> Client {
    let (limits, shutdown) = (Limits::default(), Shutdown::new());
    let socket = Socket::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
    let time = Duration::from_secs(10);
    let client = Client::new(&socket.url(), time, time, 1 << 10).unwrap();
    let old = async || ([("x-stale-since", "7")], "old");
    let site = Site::new("test", limits.clone(), shutdown.clone());
    let site = site.routes(Router::new().route("/v1/info", get(old)));
    let served = socket.serve(site, &limits, &shutdown).unwrap();
    client.get_bytes("/v1/info").unwrap();
    shutdown.request();
    served.join().unwrap();
    client
}

#[test]
fn whoever_is_told_of_no_blocks_takes_no_lease_and_keeps_the_one_it_has() {
    let cluster = Embedded::in_memory().cluster();
    let deaf = peer(&METRONOME, &cluster, stale());
    let hearing = Peer { blockchain: Transport::nobody().blockchain, ..deaf.clone() };
    let mut lease = Lease::new(applicant(&METRONOME), LEASE);
    assert_eq!((deaf.candidacy(&lease), hearing.candidacy(&lease)), (None, Some(0)));
    hearing.turn(&mut lease, Some(0));
    assert_eq!(lease.term().map(|term| term.epoch), Some(1));
    assert_eq!(deaf.candidacy(&lease), Some(0));
}

/// Somebody removes the record, or puts something else in its place: who led finds that out when it
/// renews, and one of those that want it has it after the lease time at most, under a later lease.
#[test]
fn a_record_that_is_gone_or_no_record_is_replaced() {
    for garbage in ["", "null", "{}", r#"{"holder":7,"epoch":"x"}"#, "\u{fffd}"] {
        let cluster = Embedded::in_memory().cluster();
        let first = Seat::new(&METRONOME, &cluster);
        first.wait(|role, now| role.leads(now));
        cluster.board.put(Shelf::Control, KEY, garbage.as_bytes(), None).unwrap();
        first.wait(|role, now| !role.leads(now) && role.status(now).leader.is_none());
        first.wait(|role, now| role.leads(now));
        assert!(first.role.lock().epoch() >= 1, "{garbage}");
        first.stop();
    }
}
