//! Metronomes and blockchain servers on an engine in this process, over HTTP.

use dsc_lib::{
    block::Header,
    cluster::{Cluster, Embedded, Shelf, lease::KEY},
    codec,
    codec::List,
    role::{Answer, Call, metronome::OpenRound},
    testing::{self, CAROL, METRONOME, address, faulty::Faulty},
    units::Height,
};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{config::Sources, http::ClientError};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn chain() -> Chain {
    let mut genesis = testing::genesis();
    genesis.interval = Millis(200);
    genesis.metronomes = List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap();
    genesis.check().unwrap()
}

/// One process of the cluster.
fn host(cluster: &Cluster) -> Host {
    let config = Config::load(&Sources::default()).unwrap();
    let host = Host::from_config(&config, Shutdown::new()).unwrap();
    Host { engine: Engine::Shared(cluster.clone()), lease_time: Millis(1_000), ..host }
}

fn socket(role: &'static str) -> Socket {
    Socket::bind(role, ([127, 0, 0, 1], 0).into()).unwrap()
}

/// A role, and how to end it.
struct Process<R> {
    running: Running<R>,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl<R> Process<R> {
    fn stop(self) {
        self.shutdown.request();
        self.running.join();
    }
}

fn server(cluster: &Cluster) -> Process<Blockchain> {
    let (host, folder) = (host(cluster), tempfile::tempdir().unwrap());
    let running = blockchain(&host, socket("blockchain"), folder.path(), Some(chain())).unwrap();
    Process { running, shutdown: host.shutdown, _folder: folder }
}

fn transport(servers: &[&Process<Blockchain>]) -> Transport {
    let urls: Vec<_> = servers.iter().map(|server| server.running.url.as_str()).collect();
    let blockchain = Client::new(&urls.join(","), PATIENCE, PATIENCE, 1 << 20).unwrap();
    // Without a pool blocks are empty.
    Transport { blockchain, ..Transport::nobody() }
}

fn ticking(cluster: &Cluster, key: &SecretKey, transport: &Transport) -> Process<Metronome> {
    let (host, folder) = (host(cluster), tempfile::tempdir().unwrap());
    let interval = chain().genesis().interval;
    let settings = Settings { key: key.clone(), epoch: 0, interval, running: true };
    let (socket, transport) = (socket("metronome"), transport.clone());
    let running = metronome(&host, socket, folder.path(), chain(), settings, transport).unwrap();
    Process { running, shutdown: host.shutdown, _folder: folder }
}

/// The header at a height, as soon as there is one.
fn header(transport: &Transport, height: u64) -> Header {
    let call = Call::Blocks { from: Height(height), wait: Millis(30_000) };
    let Ok(Answer::Blocks(blocks)) = transport.call(&call) else { panic!("no answer") };
    codec::decode_first(blocks.first().expect("no block comes")).unwrap().0
}

/// The first header from a height on that is of a later lease than `epoch`.
fn later_than(transport: &Transport, from: u64, epoch: u64) -> Header {
    let mut headers = (from..).map(|height| header(transport, height));
    headers.find(|header| header.epoch > epoch).unwrap()
}

#[test]
fn when_the_leader_or_a_blockchain_server_ends_the_others_go_on() {
    let cluster = Embedded::in_memory().cluster();
    let (left, right) = (server(&cluster), server(&cluster));
    let both = transport(&[&left, &right]);
    let first = ticking(&cluster, &METRONOME, &both);
    assert_eq!((header(&both, 2).epoch, header(&both, 2).metronome), (1, address(&METRONOME)));
    let second = ticking(&cluster, &CAROL, &both);
    // It has followed, and knows who leads, before the other one ends.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let time = Time::new();
    let knows = |role: &mut Metronome| {
        role.status(time.now()).leader.filter(|_| role.replica().next_height() > Height(2))
    };
    let leader = runtime.block_on(second.running.shared.until(PATIENCE, knows));
    assert_eq!(leader, Some(first.running.url.clone()));
    first.stop();
    let taken = later_than(&both, 3, 1);
    assert_eq!((taken.epoch, taken.metronome), (2, address(&CAROL)));
    left.stop();
    let far = taken.height.0 + 5;
    assert_eq!(header(&transport(&[&right]), far).epoch, 2);
    let evidence = right.running.shared.lock().evidence().count();
    assert_eq!(evidence, 0);
    second.stop();
    right.stop();
}

/// Another one has the lease, and the one that believes to lead does not know: its blocks are
/// refused until it has taken the lease over, and none is made under the old one.
#[test]
fn a_leader_that_was_replaced_makes_no_block_until_it_leads_again() {
    let cluster = Embedded::in_memory().cluster();
    let only = server(&cluster);
    let transport = transport(&[&only]);
    let first = ticking(&cluster, &METRONOME, &transport);
    header(&transport, 2);
    let record = json!({ "holder": address(&CAROL), "url": "http://b:1", "epoch": 9 }).to_string();
    cluster.board.put(Shelf::Control, KEY, record.as_bytes(), None).unwrap();
    let tip = only.running.shared.lock().ledger().state().round().height.0;
    let next = later_than(&transport, tip, 1);
    assert_eq!((next.epoch, next.metronome), (10, address(&METRONOME)));
    assert!(next.height.0 <= tip + 1, "at most one was under way: {} after {tip}", next.height);
    first.stop();
    only.stop();
}

/// The servers are whole, and one of them does not reach the engine.
#[test]
fn one_that_stands_by_leaves_a_server_that_is_cut_off_and_says_so_if_it_knows_no_other() {
    let cluster = Embedded::in_memory().cluster();
    let faulty = Faulty::new(cluster.clone(), 1);
    let (cut, whole) = (server(&faulty.cluster()), server(&cluster));
    let first = ticking(&cluster, &METRONOME, &transport(&[&whole]));
    header(&transport(&[&whole]), 1);
    let both = ticking(&cluster, &CAROL, &transport(&[&cut, &whole]));
    let one = ticking(&cluster, &CAROL, &transport(&[&cut]));
    let client = Client::new(&one.running.url, PATIENCE, PATIENCE, 1 << 20).unwrap();
    let round = |query: &str| client.get_json::<Option<OpenRound>>(&format!("/v1/round?{query}"));
    let open = loop {
        if let Ok(Some(open)) = round("wait=1000") {
            break open;
        }
    };
    faulty.set_down(true);
    let mut after = open.height;
    let code = loop {
        match round(&format!("after={after}&wait=10000")) {
            Ok(Some(open)) => after = open.height,
            Ok(None) => {}
            Err(ClientError::Problem(problem)) => break problem.code,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(code, "no-round");
    let tip = whole.running.shared.lock().ledger().state().round().height;
    let far = Height(tip.0 + 5);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let follows = |role: &mut Metronome| (role.replica().next_height() > far).then_some(());
    assert_eq!(runtime.block_on(both.running.shared.until(PATIENCE, follows)), Some(()));
    for metronome in [first, both, one] {
        metronome.stop();
    }
    cut.stop();
    whole.stop();
}
