//! The engine on real nodes.

use std::{
    fs, iter,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use dsc_lib::{
    cluster::{AppendError, Cluster, Position, ReadError, Shelf, settle},
    genesis::Chain,
    hash::Digest,
    testing::conformance::{self, Subject},
    units::Millis,
};

use self::common::{Nodes, SYNCED};
use super::{
    super::Engine,
    connect::{ANSWER_TIME, Failed},
    stored::{Parts, headers},
    *,
};
use crate::{
    config::{Config, Sources},
    exit::Exit,
};

#[allow(dead_code, reason = "it is a module of tests of the command as well")]
#[path = "../../../tests/common/nats.rs"]
pub(crate) mod common;
mod reaching;

/// Longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Chains that share nothing.
fn chain(number: u64) -> Chain {
    let mut genesis = dsc_lib::testing::genesis();
    genesis.time = Millis(genesis.time.0 + number);
    genesis.check().unwrap()
}

fn config(nodes: &Nodes, more: &[(&'static str, &str)]) -> Config {
    let flag = |(key, value): &(&'static str, &str)| (*key, "--flag", (*value).to_owned());
    let mut flags = vec![
        ("engine.url", "--engine", nodes.urls()),
        ("engine.monitors", "--flag", nodes.monitors()),
    ];
    flags.extend(more.iter().map(flag));
    Config::load(&Sources { flags, ..Sources::default() }).unwrap()
}

fn settings(nodes: &Nodes, more: &[(&'static str, &str)]) -> Settings {
    Settings::from_config(&config(nodes, more)).unwrap()
}

fn open(nodes: &Nodes, number: u64) -> Result<Cluster, Failure> {
    let opened = Engine::from_config(&config(nodes, &[]))?.open(&chain(number))?;
    Ok(opened.expect("an engine is named"))
}

fn id(number: u8) -> Digest {
    Digest([number; 32])
}

/// A connection without the rest.
fn link(nodes: &Nodes) -> Arc<Link> {
    let settings = settings(nodes, &[]);
    let guard = Arc::new(Guard::new(&node::look(&settings)));
    Arc::new(Link::open(&settings, guard).unwrap())
}

const TRANSACTIONS_BYTES: u64 = 2 << 20;

/// What one chain shares, gone from the nodes when it is dropped.
struct OneChain {
    link: Arc<Link>,
    settings: Settings,
    chain: Chain,
    given: Mutex<Vec<Cluster>>,
}

impl Subject for OneChain {
    fn handle(&self) -> Cluster {
        let cluster = super::open(&self.settings, &self.chain).unwrap();
        self.given.lock().unwrap().push(cluster.clone());
        cluster
    }

    fn reopened(&self) -> Cluster {
        self.given.lock().unwrap().clear();
        self.handle()
    }

    fn transactions_bytes(&self) -> u64 {
        TRANSACTIONS_BYTES
    }
}

impl Drop for OneChain {
    fn drop(&mut self) {
        let names = Names::of(&self.chain);
        for stream in names.all_streams() {
            let subject = format!("$JS.API.STREAM.DELETE.{stream}");
            // A check that failed may not have made it.
            drop(self.link.wait_for(self.link.ask(&subject, &Value::Null)));
        }
    }
}

#[test]
fn it_passes_the_suite_of_all_engines() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let link = link(&nodes);
    let (count, bytes) = (AtomicU64::new(0), TRANSACTIONS_BYTES.to_string());
    let settings = settings(&nodes, &[("engine.pool_bytes_max", &bytes)]);
    let factory = || {
        let chain = chain(count.fetch_add(1, Ordering::Relaxed));
        let (link, settings) = (link.clone(), settings.clone());
        let subject = OneChain { link, settings, chain, given: Mutex::default() };
        Box::new(subject) as Box<dyn Subject>
    };
    conformance::run(&factory);
}

#[test]
fn the_last_batch_stays_so_that_nodes_know_where_the_log_ended() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let log = open(&nodes, 10).unwrap().transactions;
    let stream = Stream::named(&link(&nodes), &Names::of(&chain(10)).stream("TRANSACTIONS"));
    let held = || {
        let state = stream.link.wait_for(stream.state()).unwrap();
        (state.messages, state.first_seq, state.last_seq)
    };
    let put = |number: u8| log.append(&id(number), &[number]).unwrap();
    let second = [1, 2].map(put)[1];
    log.remove(second, &[]).unwrap();
    assert_eq!((log.read(Position::START, 1_000), held()), (Ok(Vec::new()), (1, 2, 2)));
    let third = put(3);
    for bytes_max in [0, 1_000] {
        let read = log.read(Position::START, bytes_max).unwrap();
        assert!(matches!(&read[..], [one] if one.position == third), "{bytes_max}: {read:?}");
    }
    log.remove(Position::START, &[third]).unwrap();
    assert_eq!((log.read(Position::START, 1_000), held()), (Ok(Vec::new()), (1, 3, 3)));
}

/// A node chooses among all copies, also those that it cannot reach and does not know it yet. No client
/// can be a copy of a stream, so that these are copies of nothing.
#[test]
fn a_copy_that_says_nothing_is_not_the_only_one_asked() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let link = link(&nodes);
    link.wait_for(async {
        let client = link.client();
        let copy = || client.queue_subscribe("asked", "copies".into());
        let (mut silent, mut other) = (copy().await.unwrap(), copy().await.unwrap());
        silent.unsubscribe_after(1).await.unwrap();
        let answering = async {
            while let Some(question) = other.next().await {
                client.publish(question.reply.unwrap(), "answer".into()).await.unwrap();
            }
        };
        let asking = async {
            // Half of the questions are for the silent one, until it has had one.
            while tokio::time::timeout(Duration::ZERO, silent.next()).await.is_err() {
                let mut answers = link.question("asked", &Value::Null).await.unwrap();
                let answer = tokio::time::timeout(ANSWER_TIME, answers.next()).await;
                assert_eq!(answer.expect("a copy answers").unwrap().payload, "answer");
            }
        };
        tokio::select! { () = asking => {}, () = answering => {} }
    });
}

/// A node hears a moment late of a stream that was just made.
#[test]
fn what_nobody_hears_is_sent_again() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let link = link(&nodes);
    link.wait_for(async {
        let client = link.client();
        let asking = link.request("late", HeaderMap::new(), b"?".to_vec(), ANSWER_TIME);
        let answering = async {
            // What was sent before this has been heard by nobody either.
            client.request("late", "".into()).await.unwrap_err();
            let mut questions = client.subscribe("late").await.unwrap();
            let question = questions.next().await.unwrap();
            client.publish(question.reply.unwrap(), "answer".into()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.unwrap().payload, "answer");
    });
    let nobody = link.wait_for(link.ask("nobody", &Value::Null));
    assert!(matches!(&nobody, Err(Failed::NotSent(_))), "{nobody:?}");
}

#[test]
fn nodes_that_may_lose_what_they_acknowledged_are_refused() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::start(&program, &[SYNCED, SYNCED, "sync_interval: 10s"], "");
    let failure = open(&nodes, 0).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-unsafe"));
    assert!(failure.message().contains("the node n2 at http://"), "{failure}");
    assert!(failure.hint().unwrap().contains("sync_interval: always"), "{failure}");
}

#[test]
fn a_stream_of_another_chain_is_refused() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let other = Names { genesis: id(9), ..Names::of(&chain(0)) };
    streams(&link(&nodes), &other, &settings(&nodes, &[])).unwrap();
    let failure = open(&nodes, 0).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-wrong-chain"));
    assert!(failure.message().contains(&id(9).to_string()), "{failure}");
    open(&nodes, 1).unwrap();
}

#[test]
fn pieces_that_no_node_takes_are_refused() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::start(&program, &[SYNCED; 3], "max_payload: 262144");
    let failure = open(&nodes, 0).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-chunk-bytes"));
    assert!(failure.hint().unwrap().contains("258048 or less"), "{failure}");
}

#[test]
fn an_entry_whose_pieces_are_gone_is_missing_and_not_skipped() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let cluster = open(&nodes, 0).unwrap();
    assert_eq!(cluster.blocks.append(Position(0), &id(1), b"one"), Ok(Position(1)));
    let (link, names) = (link(&nodes), Names::of(&chain(0)));
    let opened = streams(&link, &names, &settings(&nodes, &[])).unwrap();
    let put = |parts: Parts| {
        let headers = headers(Some(&id(2)), Some(&parts));
        let (subject, time) = (names.subject("blocks"), Duration::from_secs(4));
        let stored = opened.blocks.store(&subject, headers, Vec::new(), time);
        link.wait_for(stored).unwrap()
    };
    assert_eq!(put(Parts { len: 7, count: 1, hash: id(3) }), 2);
    let entries = cluster.blocks.read(Position(0), usize::MAX).unwrap();
    assert_eq!(entries.len(), 1, "what is before the gap");
    let missing = cluster.blocks.read(Position(1), 1).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { position: Position(2), .. }), "{missing}");
    // What no block can have is no block, to all alike: nobody looks for it.
    let impossible = [(usize::MAX, usize::MAX), (7, 0), (7, 8), (1 << 29, 9), (0, 1)];
    for (len, count) in impossible {
        put(Parts { len, count, hash: id(3) });
    }
    let entries = cluster.blocks.read(Position(2), usize::MAX).unwrap();
    assert_eq!(entries.len(), impossible.len());
    assert!(entries.iter().all(|entry| entry.bytes.is_empty()));
}

/// Somebody who may write blocks names pieces that there never were: every server waits for them, until
/// an operator gives them up.
#[test]
fn what_nobody_can_ever_have_is_given_up_and_nothing_else_is() {
    let Some(program) = common::program() else { return };
    let mut nodes = Nodes::three(&program);
    let (settings, names) = (settings(&nodes, &[]), Names::of(&chain(0)));
    let cluster = open(&nodes, 0).unwrap();
    let link = link(&nodes);
    let opened = streams(&link, &names, &settings).unwrap();
    let whole = vec![7; 700_000];
    cluster.blocks.append(Position(0), &id(1), &whole).unwrap();
    let headers = headers(Some(&id(2)), Some(&Parts { len: 9, count: 2, hash: id(3) }));
    let (subject, time) = (names.subject("blocks"), Duration::from_secs(4));
    link.wait_for(opened.blocks.store(&subject, headers, Vec::new(), time)).unwrap();
    cluster.blocks.append(Position(2), &id(4), b"three").unwrap();

    let missing = cluster.blocks.read(Position(1), 1).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { position: Position(2), .. }), "{missing}");
    let give_up = |position, even_if_read| {
        give_up::give_up(&settings, &chain(0), Position(position), even_if_read)
    };
    let refused = |position| give_up(position, false).unwrap_err().code().to_owned();
    assert_eq!([1, 3, 4].map(refused), ["entry-whole", "entry-whole", "no-entry"]);
    let say = |position: u64| {
        let note = format!(r#"{{"url":"http://a:1","position":{position}}}"#);
        let key = "replica.0123456789abcdef";
        cluster.board.put(Shelf::Control, key, note.as_bytes(), None).unwrap();
    };
    say(2);
    let failure = give_up(2, false).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Rejected, "entry-read"));
    assert!(failure.message().contains("the server at http://a:1 has read"), "{failure}");
    say(1);
    nodes.kill(2);
    let away = eventually(|| give_up(2, false).err().filter(|e| e.code() == "engine-node-away"));
    assert!(away.message().contains("the node n2 "), "{away}");
    nodes.spawn_again(2);
    let done = eventually(|| give_up(2, false).ok());
    assert_eq!(done, give_up::GivenUp { position: 2, pieces: 2, bytes: 9 });

    let entries = eventually(|| cluster.blocks.read(Position(0), usize::MAX).ok());
    let bytes: Vec<_> = entries.into_iter().map(|entry| entry.bytes).collect();
    assert!(bytes == [whole, Vec::new(), b"three".to_vec()]);
}

/// Two servers are handed the same block, and their pieces differ in size.
#[test]
fn a_block_in_pieces_of_one_server_is_not_harmed_by_another_one() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let of = |chunk_bytes| {
        let more = [("engine.chunk_bytes", chunk_bytes)];
        super::open(&settings(&nodes, &more), &chain(0)).unwrap().blocks
    };
    let (first, second) = (of("300000"), of("200000"));
    let bytes: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    assert_eq!(first.append(Position(0), &id(1), &bytes), Ok(Position(1)));
    let late = second.append(Position(0), &id(1), &bytes);
    assert_eq!(late, Err(AppendError::Conflict { after: Position(0) }));
    for log in [&first, &second] {
        assert!(log.read(Position(0), 1).unwrap()[0].bytes == bytes);
    }
}

/// The engine has lost the pieces before any server read them, and the metronome has the block yet.
#[test]
fn a_block_whose_pieces_are_lost_is_whole_once_it_is_handed_in_again() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let log = open(&nodes, 0).unwrap().blocks;
    let (link, names) = (link(&nodes), Names::of(&chain(0)));
    let opened = streams(&link, &names, &settings(&nodes, &[])).unwrap();
    let bytes = vec![9; 700_000];
    let hash = Digest(*blake3::hash(&bytes).as_bytes());
    let headers = headers(Some(&id(1)), Some(&Parts { len: bytes.len(), count: 2, hash }));
    let (subject, time) = (names.subject("blocks"), Duration::from_secs(4));
    link.wait_for(opened.blocks.store(&subject, headers, Vec::new(), time)).unwrap();
    let missing = log.read(Position(0), 1).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { position: Position(1), .. }), "{missing}");
    let done = settle::append(&*log, Position(0), &id(1), &bytes, 1);
    assert_eq!(done, Ok(settle::Appended::Mine(Position(1))));
    assert!(log.read(Position(0), 1).unwrap()[0].bytes == bytes);
}

/// Until `work` gives something.
fn eventually<T>(work: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut tries = iter::repeat_with(work);
    loop {
        if let Some(done) = tries.next().flatten() {
            return done;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn nothing_is_stored_any_more_once_a_node_is_found_unsafe() {
    let Some(program) = common::program() else { return };
    let mut nodes = Nodes::three(&program);
    let cluster = open(&nodes, 0).unwrap();
    let put = |after: u64| cluster.blocks.append(Position(after), &id(1), b"x");
    assert_eq!(put(0), Ok(Position(1)));
    nodes.kill(1);
    nodes.restart(1, "sync_interval: 10s");
    let refused = |error: &AppendError| error.to_string().contains("a power cut would erase it");
    // What is put before it is found is not the point.
    let mut last = 1;
    let error = eventually(|| match put(last) {
        Ok(position) => {
            last = position.0;
            None
        }
        Err(AppendError::Conflict { .. }) => {
            last += 1;
            None
        }
        Err(error) => refused(&error).then_some(error),
    });
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    // It can still be read, once the nodes have found one another again.
    eventually(|| cluster.blocks.read(Position(0), 1).ok().filter(|read| !read.is_empty()));
    nodes.kill(1);
    nodes.restart(1, SYNCED);
    eventually(|| put(last).is_ok().then_some(()));
}

/// Nodes tell clients of one another, so that there is another one to go to.
#[test]
fn a_node_that_nobody_speaks_for_is_left() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let (urls, monitors) = (nodes.urls(), nodes.monitors());
    let last = format!("nats://{}", urls.rsplit(',').next().unwrap());
    let (known, _) = monitors.rsplit_once(',').unwrap();
    let known = format!("{known},http://127.0.0.1:1");
    let settings = settings(&nodes, &[("engine.url", &last), ("engine.monitors", &known)]);
    // At the start it is refused; it may come later.
    let guard = Guard::new(&node::look(&settings));
    let (_, cluster) = attach(&settings, &Names::of(&chain(0)), guard).unwrap();
    eventually(|| cluster.blocks.append(Position(0), &id(1), b"x").is_ok().then_some(()));
}

/// One that is away is none that takes part: a role may start without it.
#[test]
fn a_node_that_runs_and_does_not_say_how_it_keeps_things_is_refused_and_one_that_is_away_is_not() {
    let Some(program) = common::program() else { return };
    let mut nodes = Nodes::three(&program);
    let (hidden, urls) = (2, nodes.monitors());
    let known: Vec<_> =
        urls.split(',').enumerate().filter(|(at, _)| *at != hidden).map(|(_, url)| url).collect();
    let open_with = |monitors: &str, replicas| {
        let more = [("engine.monitors", monitors), ("engine.replicas", replicas)];
        super::open(&settings(&nodes, &more), &chain(0))
    };
    let failure = open_with(&format!("{},http://127.0.0.1:1", known.join(",")), "3").unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-unwatched"));
    assert!(failure.message().starts_with(&format!("n{hidden} takes part")), "{failure}");
    assert_eq!(open_with(&known.join(","), "1").unwrap_err().code(), "engine-monitors");
    open(&nodes, 0).unwrap();
    nodes.kill(hidden);
    open(&nodes, 0).unwrap();
}

#[test]
fn a_log_whose_leader_is_killed_goes_on_without_a_loss() {
    let Some(program) = common::program() else { return };
    let mut nodes = Nodes::three(&program);
    let cluster = open(&nodes, 0).unwrap();
    let bytes = |number: u64| vec![u8::try_from(number).unwrap(); 700_000];
    let put = |number: u64| {
        let log = &*cluster.blocks;
        let done = settle::append(log, Position(number - 1), &id(1), &bytes(number), 3);
        matches!(done, Ok(settle::Appended::Mine(at)) if at == Position(number)).then_some(())
    };
    (1..=5).for_each(|number| eventually(|| put(number)));
    let link = link(&nodes);
    let opened = streams(&link, &Names::of(&chain(0)), &settings(&nodes, &[])).unwrap();
    let leader = link.wait_for(opened.blocks.info()).unwrap().cluster.unwrap().leader;
    let index: usize = leader.trim_start_matches('n').parse().unwrap();
    nodes.kill(index);
    (6..=10).for_each(|number| eventually(|| put(number)));
    nodes.restart(index, SYNCED);
    cluster.blocks.distrust();
    let all = || cluster.blocks.read(Position(0), usize::MAX).ok().filter(|all| all.len() == 10);
    for (number, entry) in (1..).zip(eventually(all)) {
        assert!(entry.bytes == bytes(number), "entry {number}");
    }
}

/// What `contrib/nats/accounts.conf` says, for one chain and with passwords that are users' names.
fn accounts(names: &Names) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/nats/accounts.conf");
    let mut text = fs::read_to_string(path).unwrap().replace("@CHAIN@", &names.short);
    for user in ["blockchain", "pool", "metronome", "reader"] {
        text = text.replace(&format!("${}_PASSWORD", user.to_uppercase()), user);
    }
    text
}

fn open_as(nodes: &Nodes, user: &'static str, password: &str) -> Result<Cluster, Failure> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), password).unwrap();
    let path = file.path().to_str().unwrap();
    let more = [("engine.user", user), ("engine.password_file", path)];
    super::open(&settings(nodes, &more), &chain(0))
}

fn is_denied<T>(done: Result<T, AppendError>) -> bool {
    done.is_err_and(|error| error.to_string().to_lowercase().contains("permissions violation"))
}

/// `contrib/nats/accounts.conf` on real nodes.
#[test]
fn each_user_writes_what_is_its_own() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::start(&program, &[SYNCED; 3], &accounts(&Names::of(&chain(0))));
    let failure = open_as(&nodes, "blockchain", "wrong").unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Unreachable, "engine-unreachable"));

    let blockchain = open_as(&nodes, "blockchain", "blockchain").unwrap();
    let pool = open_as(&nodes, "pool", "pool").unwrap();
    let metronome = open_as(&nodes, "metronome", "metronome").unwrap();
    let large = vec![7; 700_000];
    assert_eq!(blockchain.blocks.append(Position(0), &id(1), &large), Ok(Position(1)));
    assert_eq!(pool.transactions.append(&id(1), b"batch"), Ok(Position(1)));
    for other in [&pool, &metronome] {
        assert_eq!(other.blocks.read(Position(0), 1).unwrap()[0].bytes, large);
        assert!(is_denied(other.blocks.append(Position(1), &id(1), b"x")));
        assert!(is_denied(other.blocks.append(Position(1), &id(1), &large)));
        assert!(other.blobs.put("state-1", b"x").is_err());
    }
    for other in [&blockchain, &metronome] {
        assert_eq!(other.transactions.read(Position(0), 1).unwrap()[0].bytes, b"batch");
        assert!(is_denied(other.transactions.append(&id(2), b"x")));
        assert!(other.transactions.remove(Position(1), &[]).is_err());
    }
    pool.transactions.remove(Position(1), &[Position(2)]).unwrap();
    blockchain.blobs.put("state-1", b"x").unwrap();
    assert_eq!(metronome.blobs.get("state-1", 9), Ok(Some(b"x".to_vec())));
    blockchain.blobs.remove("state-1").unwrap();

    let put = |cluster: &Cluster, on, key| cluster.board.put(on, key, b"{}", None).is_ok();
    assert!(put(&metronome, Shelf::Control, "metronome"));
    assert!(put(&metronome, Shelf::Proofs, "proof.7.work.00"));
    assert!(put(&blockchain, Shelf::Control, "replica.0123456789abcdef"));
    assert!(!put(&metronome, Shelf::Control, "replica.0123456789abcdef"));
    assert!(!put(&blockchain, Shelf::Control, "metronome"));
    assert!(!put(&blockchain, Shelf::Proofs, "proof.7.work.00"));
    assert!(!put(&pool, Shelf::Control, "metronome"));
    let record = pool.board.get(Shelf::Control, "metronome").unwrap();
    let failure = crate::node::require_leave(&*pool.board).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-user"));
    assert_eq!(crate::node::require_leave(&*metronome.board), Ok(()));
    assert_eq!(pool.board.get(Shelf::Control, "metronome").unwrap(), record, "nothing was put");
    eventually(|| (pool.board.list(Shelf::Control, "").ok()?.len() == 2).then_some(()));
    blockchain.blocks.distrust();
}
