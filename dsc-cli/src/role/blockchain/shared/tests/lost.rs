//! What the log has lost: its end, something in between, or all of it.

use super::*;

/// A log that lost its end, and one that has something else there, with as many entries or more.
#[test]
fn a_log_that_went_back_is_refused_until_it_is_whole() {
    let engine = Embedded::in_memory();
    let log = Rigged::over(&engine);
    let rigged = server(1, log.cluster());
    extend(&rigged);
    let shorter = Embedded::in_memory();
    append(&shorter, &rigged.archive.block_bytes(Height(0)).unwrap().unwrap());
    let stray = server(2, shorter.cluster());
    follow_all(&stray);
    extend(&rigged);
    let block = next_by(&rigged, &METRONOME).to_bytes();

    *log.inner.lock().unwrap() = shorter;
    let refuses = |expected: FollowFault| {
        let fault = rigged.follow(member(&rigged)).unwrap_err();
        assert!(matches!(&fault, Fault::Follow(got) if *got == expected), "{fault}");
        let problem = rigged.submit(&block).unwrap_err().problem();
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "log-damaged"));
        assert!(log.distrusted.load(Relaxed) > 0, "another node is asked");
        assert!(member(&rigged).check().detail.contains(&expected.to_string()));
    };
    let position = Position(2);
    refuses(FollowFault::Regressed { position });
    let theirs = next_by(&stray, &CAROL).to_bytes();
    stray.submit(&theirs).unwrap();
    refuses(FollowFault::Changed { position });
    extend(&stray);
    refuses(FollowFault::Changed { position });
    assert_eq!(rigged.tip().0, Some(Height(1)));

    *log.inner.lock().unwrap() = engine;
    rigged.submit(&block).unwrap();
    follow_all(&rigged);
    assert!(member(&rigged).check().ok);
}

/// A server that was behind when the log lost its end does not fill it with something else.
#[test]
fn a_log_that_ends_before_what_others_have_read_takes_nothing() {
    let engine = Embedded::in_memory();
    let further = server(1, engine.cluster());
    extend(&further);
    let shorter = Embedded::in_memory();
    append(&shorter, &further.archive.block_bytes(Height(0)).unwrap().unwrap());
    extend(&further);
    further.note(member(&further)).unwrap();

    let log = Rigged::over(&shorter);
    let late = server(2, Cluster { blocks: log.clone(), ..engine.cluster() });
    follow_all(&late);
    late.note(member(&late)).unwrap();
    let block = next_by(&late, &CAROL).to_bytes();
    let fault = late.submit(&block).unwrap_err();
    assert!(matches!(fault, Fault::CutOff { position: Position(1), .. }), "{fault}");
    assert_eq!(fault.problem().code(), "log-damaged");
    assert!(log.distrusted.load(Relaxed) > 0, "another node is asked");
    *log.inner.lock().unwrap() = engine;
    assert_eq!(late.submit(&block).unwrap_err().problem().code(), "wrong-height");
    assert_equal(&[&late, &further]);
}

#[test]
fn what_the_log_has_lost_comes_from_another_server() {
    let engine = Embedded::in_memory();
    let socket = socket();
    let shared = Shared::new(Blockchain::new(Ledger::in_memory(chain())));
    let whole = joined(1, engine.cluster(), &shared, &socket.url());
    let serving = Serving::start(&whole, socket);
    let log = Rigged::over(&engine);
    let rigged = server(2, log.cluster());
    append(&engine, b"garbage");
    for _ in 0..3 {
        extend(&whole);
    }
    whole.note(member(&whole)).unwrap();
    rigged.note(member(&rigged)).unwrap();

    // Once a block is lost, then an entry that is none.
    for (lost, height) in [(3, Some(Height(1))), (5, Some(Height(2)))] {
        *log.hole.lock().unwrap() = Some(Position(lost));
        if lost == 5 {
            append(&engine, b"garbage");
            follow_all(&whole);
            whole.note(member(&whole)).unwrap();
            rigged.note(member(&rigged)).unwrap();
        }
        while member(&rigged).position().next() != Position(lost) {
            rigged.follow(member(&rigged)).unwrap();
        }
        let distrusted = log.distrusted.load(Relaxed);
        for _ in 0..MISSES_MAX {
            let fault = rigged.follow(member(&rigged)).unwrap_err();
            assert!(fault.to_string().contains(&format!("at {lost}")), "{fault}");
            assert!(!member(&rigged).check().ok);
            assert_eq!(member(&rigged).position().next(), Position(lost), "nothing is applied");
        }
        assert!(log.distrusted.load(Relaxed) > distrusted, "another node is asked first");
        assert_eq!(rigged.follow(member(&rigged)).unwrap(), 1);
        assert_eq!(rigged.tip().0, height);
        let check = member(&rigged).check();
        assert!(check.ok && check.detail.contains(&format!("position {lost} was lost")));
    }
    assert_eq!(member(&rigged).counts(), (1, 2));
    follow_all(&rigged);
    assert_equal(&[&whole, &rigged]);
    drop(serving);
    // Nobody answers any more: it waits.
    extend(&rigged);
    follow_all(&whole);
    assert_equal(&[&whole, &rigged]);
}

/// Nothing comes after it that would tell; but notes say where it was.
#[test]
fn a_server_whose_tip_the_log_has_lost_at_its_end_finds_its_place_by_the_notes() {
    let engine = Embedded::in_memory();
    let log = Rigged::over(&engine);
    let [first, second] = [1, 2].map(|id| server(id, engine.cluster()));
    append(&engine, b"garbage");
    extend(&first);
    extend(&first);
    follow_all(&second);
    *log.hole.lock().unwrap() = Some(Position(3));
    let again = joined(1, log.cluster(), &first.shared, "http://127.0.0.1:1");
    // Notes of other blocks are of no use.
    member(&again).put(&member(&again).own_note(Some((Height(1), Digest::ZERO)))).unwrap();
    for _ in 0..=MISSES_MAX {
        let fault = again.follow(member(&again)).unwrap_err();
        let Fault::Follow(FollowFault::TipLost { position, .. }) = &fault else {
            panic!("{fault}");
        };
        assert_eq!(*position, Position(3));
        let block = next_by(&again, &METRONOME).to_bytes();
        assert_eq!(again.submit(&block).unwrap_err().problem().code(), "log-damaged");
    }
    assert!(log.distrusted.load(Relaxed) > 0, "another node is asked first");
    second.note(member(&second)).unwrap();
    assert_eq!(again.follow(member(&again)).unwrap(), 0);
    assert!(member(&again).check().detail.contains("position 3 was lost"));
    extend(&again);
    follow_all(&second);
    assert_equal(&[&second, &again]);
    assert_eq!(member(&again).position(), Position(4));
}

/// Its servers are gone, and what they had read is too: whoever comes first begins nothing anew.
#[test]
fn a_log_that_is_empty_though_servers_have_read_some_takes_nothing() {
    let engine = Embedded::in_memory();
    let gone = server(1, engine.cluster());
    extend(&gone);
    gone.note(member(&gone)).unwrap();
    let emptied = Cluster { blocks: Embedded::in_memory().cluster().blocks, ..engine.cluster() };
    let fresh = server(2, emptied);
    // Nobody has looked at the board for it yet.
    let fault = fresh.submit(&next_by(&fresh, &CAROL).to_bytes()).unwrap_err();
    assert!(matches!(fault, Fault::CutOff { position: Position(0), .. }), "{fault}");
    assert_eq!(fault.problem().code(), "log-damaged");
    assert_eq!(fresh.tip().0, None);
}
