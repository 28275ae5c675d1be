//! The wrapper that makes faults: it has to make those that it says, and no other.

use std::{sync::Arc, time::Duration};

use dsc_lib::{
    cluster::{
        AppendError, BlockLog, Cluster, Embedded, Position, PutError, ReadError, Revision, Shelf,
        Unavailable,
        settle::{self, Appended},
    },
    hash::Digest,
    testing::{
        conformance::{self, Subject},
        faulty::{Faulty, Rates},
    },
};

use crate::{TRANSACTIONS_BYTES, bounds};

const ALL: usize = usize::MAX;

/// An engine of `count` blocks, and the faulty way to it.
fn rig(count: u64) -> (Arc<Embedded>, Arc<Faulty>) {
    let engine = Embedded::in_memory();
    for number in 0..count {
        append(&*engine, number).unwrap();
    }
    let faulty = Faulty::new(engine.cluster(), 7);
    (engine, faulty)
}

fn append(log: &dyn BlockLog, after: u64) -> Result<Position, AppendError> {
    log.append(Position(after), &Digest::ZERO, &after.to_le_bytes())
}

fn count(log: &dyn BlockLog) -> usize {
    log.read(Position::START, ALL).unwrap().len()
}

#[test]
fn without_faults_it_does_what_engines_do() {
    struct Sound(Arc<Embedded>);
    impl Subject for Sound {
        fn handle(&self) -> Cluster {
            Faulty::new(self.0.cluster(), 1).cluster()
        }
        fn reopened(&self) -> Cluster {
            self.handle()
        }
        fn transactions_bytes(&self) -> u64 {
            TRANSACTIONS_BYTES
        }
    }
    conformance::run(&|| Box::new(Sound(Embedded::in_memory_with(bounds()))));
}

#[test]
fn what_is_lost_is_missing_until_another_node_is_asked() {
    let (_, faulty) = rig(6);
    let log = faulty.cluster().blocks;
    faulty.lose(Position(4));
    assert_eq!(log.read(Position(1), ALL).unwrap().len(), 2);
    let missing = |at| log.read(Position(at), ALL).map_err(|error| error.to_string());
    let text = "the log has lost what was at 4: told to lose it";
    assert_eq!(missing(3), Err(text.to_owned()));
    assert_eq!(log.read(Position(4), ALL).unwrap().len(), 2);
    log.distrust();
    assert!(missing(3).is_err());
    faulty.set_others_whole(true);
    log.distrust();
    assert_eq!((missing(3).unwrap().len(), faulty.distrusted()), (3, 2));
}

#[test]
fn what_was_cut_off_is_missing() {
    let (_, faulty) = rig(6);
    let log = faulty.cluster().blocks;
    faulty.truncate(Position(4));
    assert_eq!(log.read(Position(1), ALL).unwrap().len(), 3);
    for (after, at) in [(4, 5), (5, 5), (6, 6)] {
        let found = log.read(Position(after), ALL);
        let Err(ReadError::Missing { position, .. }) = found else { panic!("{found:?}") };
        assert_eq!(position, Position(at));
    }
    faulty.mend();
    assert_eq!(count(&*log), 6);
}

/// A node that has lost what somebody else appended cannot say what stands there; the next one can.
#[test]
fn an_appender_settles_at_another_node_what_the_first_one_lost() {
    let (_, faulty) = rig(3);
    faulty.lose(Position(3));
    let append = || {
        let bytes = 2_u64.to_le_bytes();
        settle::append(&*faulty.cluster().blocks, Position(2), &Digest::ZERO, &bytes, 2)
    };
    assert_eq!(append(), Err(AppendError::Conflict { after: Position(2) }));
    assert_eq!(faulty.distrusted(), 2);
    faulty.set_others_whole(true);
    assert_eq!(append(), Ok(Appended::Mine(Position(3))));
}

#[test]
fn a_lost_acknowledgement_is_of_a_write_done_or_not_or_later() {
    let (engine, faulty) = rig(0);
    let log = faulty.cluster().blocks;
    faulty.set_rates(Rates { unknown: 100, unavailable: 0 });
    let mut came = [0; 3];
    for after in 0..100 {
        let before = count(&*engine);
        let told = append(&*log, after);
        assert!(matches!(told, Err(AppendError::Unknown { .. })), "{told:?}");
        let at_once = count(&*engine) > before;
        faulty.mend();
        faulty.set_rates(Rates { unknown: 100, unavailable: 0 });
        let late = count(&*engine) > before;
        came[usize::from(late) + usize::from(at_once)] += 1;
        if !late {
            append(&*engine, after).unwrap();
        }
    }
    assert!(came.iter().all(|count| *count > 15), "not, late, at once: {came:?}");
}

#[test]
fn who_is_down_answers_nothing() {
    let (engine, faulty) = rig(1);
    let cluster = faulty.cluster();
    faulty.set_down(true);
    let refused = Unavailable::new("told to be");
    assert_eq!(append(&*cluster.blocks, 1), Err(refused.clone().into()));
    assert_eq!(cluster.blocks.read(Position::START, ALL), Err(refused.clone().into()));
    cluster.blocks.wait(Position(9), Duration::from_secs(60));
    assert_eq!(cluster.transactions.append(&Digest::ZERO, b""), Err(refused.clone().into()));
    assert_eq!(cluster.transactions.remove(Position(1), &[]), Err(refused.clone()));
    let put = cluster.board.put(Shelf::Control, "a", b"", None);
    assert_eq!(put, Err(PutError::Unavailable(refused.clone())));
    let seen = cluster.board.wait(Shelf::Control, Revision(3), Duration::from_secs(60));
    assert_eq!(seen, Revision(3));
    assert_eq!(cluster.blobs.put("a", b""), Err(refused.clone().into()));
    assert_eq!(cluster.blobs.list(), Err(refused.into()));
    faulty.set_down(false);
    assert_eq!(append(&*cluster.blocks, 1), Ok(Position(2)));
    assert_eq!(count(&*engine), 2);
}
