//! Several servers beside each other: what is final, snapshots, and whoever asks them.

use super::*;

/// A server that begins at a snapshot of what `whole` has.
fn begun_after(whole: &Server, id: u64, cluster: Cluster) -> Server {
    let snapshot = whole.shared.lock().ledger().snapshot().unwrap();
    let options = dsc_lib::ledger::OpenOptions::default();
    let disk = Arc::new(dsc_lib::disk::Memory::default());
    let late = Ledger::start_from(disk, chain(), snapshot, options).unwrap();
    joined(id, cluster, &Shared::new(Blockchain::new(late)), "http://127.0.0.1:1")
}

/// What it never had there may be all the same; what is above its tip there is not yet.
#[test]
fn a_server_that_began_at_a_snapshot_says_what_it_cannot_know() {
    let engine = Embedded::in_memory();
    let whole = server(1, engine.cluster());
    let early = extend(&whole).hash;
    extend(&whole);
    let late = begun_after(&whole, 2, engine.cluster());
    let socket = socket();
    let (time, url) = (Duration::from_secs(60), socket.url());
    let _serving = Serving::start(&late, socket);
    let client = Client::new(&url, time, time, 1 << 20).unwrap();
    let code_of = |path: &str| match client.get_bytes(path) {
        Err(ClientError::Problem(problem)) => (problem.status, problem.code),
        other => panic!("{path}: {other:?}"),
    };
    let id = Digest([7; 32]);
    for path in [
        "/v1/blocks/0".to_owned(),
        "/v1/blocks/1/raw".into(),
        "/v1/blocks/tip".into(),
        format!("/v1/blocks/{early}"),
        format!("/v1/transactions/{id}"),
        format!("/v1/transactions/{id}/record"),
    ] {
        assert_eq!(code_of(&path), (404, NOT_HERE.to_owned()), "{path}");
    }
    assert_eq!(code_of("/v1/blocks/2"), (404, "not-found".to_owned()));
}

/// The server that it followed is gone for good, and another one began at a snapshot meanwhile.
#[test]
fn a_role_goes_on_by_a_server_that_began_after_what_it_knows() {
    let engine = Embedded::in_memory();
    let whole = server(1, engine.cluster());
    extend(&whole);
    let early = whole.shared.lock().snapshot().unwrap();
    for _ in 0..2 {
        extend(&whole);
    }
    let late = begun_after(&whole, 2, engine.cluster());
    let (first, second) = (socket(), socket());
    let urls = format!("{},{}", first.url(), second.url());
    let (gone, _serving) = (Serving::start(&whole, second), Serving::start(&late, first));
    let time = Duration::from_secs(60);
    let blockchain = Client::new(&urls, time, time, 1 << 20).unwrap();
    let transport = Transport { blockchain, ..Transport::nobody() };
    let replica = || {
        let mut replica = Replica::new(chain());
        replica.absorb(Answer::Snapshot(early.clone())).unwrap();
        assert_eq!(replica.next_height(), Height(1));
        replica
    };
    let step = |replica: &mut Replica| {
        let call = replica.call(Millis(0));
        let blocks = replica.absorb(transport.call(&call).unwrap()).unwrap();
        (blocks.len(), replica.next_height().0)
    };
    let mut follower = replica();
    assert_eq!(step(&mut follower), (2, 3), "the other one has them");
    let id = Digest([7; 32]);
    let absent = |since: u64, as_of: Option<u64>| {
        let mut sought = Sought::of(id);
        (sought.since, sought.as_of) = (Height(since), as_of.map(Height));
        transport.call(&Call::Inclusion(sought)).unwrap()
    };
    assert_eq!(absent(0, None), Answer::Inclusion(None), "the other one has every block");
    drop(gone);
    let mut follower = replica();
    assert_eq!([(); 2].map(|()| step(&mut follower)), [(0, 1), (0, 3)]);
    assert!(matches!(absent(2, None), Answer::Refused(refusal) if refusal.code == NOT_HERE));
    assert_eq!(absent(3, Some(2)), Answer::Inclusion(None), "it cannot be before");
    let Answer::Account(account) = transport.call(&Call::Account(address(&ALICE))).unwrap() else {
        panic!("another answer");
    };
    assert_eq!((account.sequence, account.height), (3, Some(Height(2))));
}

#[test]
fn what_two_servers_say_they_have_is_final() {
    let engine = Embedded::in_memory();
    let [first, second] = [1, 2].map(|id| server(id, engine.cluster()));
    let final_height = |server: &Server| {
        server.note(member(server)).unwrap();
        member(server).final_height()
    };
    extend(&first);
    extend(&first);
    assert_eq!(final_height(&first), None, "one server is not enough");
    assert_eq!(final_height(&second), None, "it has nothing itself");
    follow_all(&second);
    assert_eq!(final_height(&second), Some(Height(1)));
    extend(&first);
    assert_eq!(final_height(&first), Some(Height(1)));
    follow_all(&second);
    assert_eq!(final_height(&second), Some(Height(2)));
    // A server with another block counts for nothing, and is told of.
    let stray = server(3, Embedded::in_memory().cluster());
    extend(&stray);
    let note = member(&stray).own_note(Some((Height(2), Digest::ZERO)));
    member(&second).put(&note).unwrap();
    assert_eq!(final_height(&second), Some(Height(2)));
    assert!(member(&second).check().detail.contains("another block 2"));
}

/// The engine was filled again from another ledger: what is ahead may be another chain of blocks.
#[test]
fn a_server_that_is_ahead_makes_nothing_final_before_its_block_is_known() {
    let engine = Embedded::in_memory();
    let [first, second] = [1, 2].map(|id| server(id, engine.cluster()));
    extend(&first);
    let ahead = member(&second).own_note(Some((Height(9), Digest::ZERO)));
    member(&second).put(&ahead).unwrap();
    first.note(member(&first)).unwrap();
    assert_eq!(member(&first).final_height(), None);
    assert!(member(&first).check().ok, "it may be right");
}

/// A folder was copied together with the id in it.
#[test]
fn two_servers_of_one_id_count_once_and_are_told_of() {
    let engine = Embedded::in_memory();
    let first = server(1, engine.cluster());
    extend(&first);
    let copied = joined(1, engine.cluster(), &first.shared, "http://127.0.0.1:2");
    let note = |server: &Server| server.note(member(server)).unwrap();
    note(&first);
    note(&copied);
    assert!(member(&first).check().ok && member(&copied).check().ok, "it may have moved");
    let own = member(&first).own_note(first.tip().0.map(|height| (height, first.tip().1)));
    let put = member(&first).put(&own).unwrap();
    note(&copied);
    member(&first).look(&own, put, |_, _| None).unwrap();
    let detail = member(&first).check().detail;
    assert!(detail.contains("http://127.0.0.1:2 has the id of this one"), "{detail}");
    assert_eq!(member(&first).final_height(), None);
}

#[test]
fn every_so_many_blocks_a_snapshot_is_put_into_the_store() {
    let engine = Embedded::in_memory();
    let [first, second] = [1, 2].map(|id| server(id, engine.cluster()));
    let blobs = engine.cluster().blobs;
    let put = |server: &Server| server.put_snapshot(member(server)).unwrap().0;
    let names =
        |heights: &[u64]| heights.iter().map(|at| format!("state-{at:020}")).collect::<Vec<_>>();
    let expect = |heights: &[u64]| assert_eq!(blobs.list().unwrap(), names(heights));
    assert_eq!(put(&first), 1);
    extend(&first);
    assert_eq!(put(&first), 1);
    expect(&[]);
    extend(&first);
    assert_eq!((put(&first), put(&first)), (3, 3));
    expect(&[1]);
    for _ in 0..5 {
        follow_all(&second);
        extend(&second);
        put(&second);
    }
    expect(&[3, 5]);
    // Whoever is behind puts nothing: the others have come further.
    second.note(member(&second)).unwrap();
    first.note(member(&first)).unwrap();
    put(&first);
    expect(&[3, 5]);
    let bytes = blobs.get("state-00000000000000000005", 1 << 20).unwrap().unwrap();
    let snapshot = dsc_lib::codec::decode(&bytes).unwrap();
    let state = dsc_lib::ledger::State::from_snapshot(chain(), snapshot).unwrap();
    assert_eq!(state.height(), Some(Height(5)));
}

/// What several servers and metronomes do while the engine loses answers or is away: nobody ever
/// has another block than the others, and what was acknowledged stays.
#[test]
fn whatever_the_engine_loses_ledgers_are_one() {
    for seed in 0..6 {
        let engine = Embedded::in_memory();
        let faulty = [1, 2, 3].map(|id| Faulty::new(engine.cluster(), seed * 10 + id));
        let servers = [0, 1, 2].map(|at| server(at as u64, faulty[at].cluster()));
        let mut dice = Dice(seed);
        for one in &faulty {
            one.set_rates(Rates { unknown: 30, unavailable: 10 });
        }
        let mut acknowledged = Vec::new();
        for _ in 0..60 {
            let key = [&METRONOME, &CAROL][dice.below(2)];
            let block = next_by(&servers[dice.below(3)], key);
            let to = &servers[dice.below(3)];
            if to.submit(&block.to_bytes()).is_ok() {
                acknowledged.push((block.header().height, block.hash()));
            }
            let other = &servers[dice.below(3)];
            drop(other.follow(member(other)));
        }
        for one in &faulty {
            one.mend();
        }
        servers.iter().for_each(follow_all);
        assert_equal(&[&servers[0], &servers[1], &servers[2]]);
        assert!(acknowledged.len() > 5, "seed {seed}: {}", acknowledged.len());
        for (height, hash) in acknowledged {
            let header = servers[0].archive.header(height).unwrap().unwrap();
            assert_eq!(header.hash(), hash, "seed {seed}");
        }
        assert!(servers.iter().all(|server| member(server).counts() == (0, 0)), "seed {seed}");
    }
}

/// The threads that a role has: nobody here looks at the log or the board by hand.
#[test]
fn a_server_follows_and_answers_as_of_the_height_asked_for() {
    let engine = Embedded::in_memory();
    let (first, second) = (server(1, engine.cluster()), server(2, engine.cluster()));
    let socket = socket();
    let url = socket.url();
    let serving = Serving::start(&second, socket);
    let threads = follow(&second, &serving.0).unwrap();
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).build(),
    );
    let get = |min: &str| {
        let request = agent.get(format!("{url}/v1/info")).header("x-min-height", min);
        let answer = request.call().unwrap();
        let height = answer.headers().get("x-height").map(|value| value.to_str().unwrap().into());
        (answer.status().as_u16(), height.unwrap_or_default())
    };
    assert_eq!(get("x"), (400, String::new()));
    assert_eq!(get("99999999999999999999"), (400, String::new()));
    assert_eq!(get("18446744073709551615"), (503, String::new()));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| get("1"));
        extend(&first);
        extend(&first);
        assert_eq!(waiting.join().unwrap(), (200, "1".into()));
    });
    let time = Duration::from_secs(10);
    let client = Client::new(&url, time, time, 1 << 20).unwrap();
    let at_least = |height| client.clone().at_least(Some(Height(height)));
    let info: dsc_lib::role::blockchain::Info = at_least(1).get_json("/v1/info").unwrap();
    assert_eq!(info.height, Some(Height(1)));
    let metrics = String::from_utf8(client.get_bytes("/metrics").unwrap()).unwrap();
    assert!(metrics.contains("\ndsc_engine_position 2\n"), "{metrics}");
    serving.0.request();
    for thread in threads {
        thread.join().unwrap();
    }
}
