//! The engine in one process: held to the contract of all engines, on disks that fail, and under
//! appenders whose acknowledgements get lost.
//!
//! `DSC_CLUSTER_SEEDS=FROM..TO` are the seeds of each test that has some.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod appenders;
mod faulty;
mod storage;

use std::{
    env,
    ops::Range,
    sync::{Arc, Mutex},
};

use dsc_lib::{
    cluster::{Bounds, Cluster, Embedded},
    disk::Memory,
    testing::conformance::{self, Check, Subject},
};

/// The seeds of the environment, or the first `count`.
fn seeds(count: u64) -> Range<u64> {
    let Ok(text) = env::var("DSC_CLUSTER_SEEDS") else { return 0..count };
    let (from, to) = text.split_once("..").expect("DSC_CLUSTER_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

const TRANSACTIONS_BYTES: u64 = 1 << 20;

fn bounds() -> Bounds {
    Bounds { transactions_bytes: TRANSACTIONS_BYTES, ..Bounds::default() }
}

/// An engine in RAM, which nothing can close.
struct InMemory(Arc<Embedded>);

impl Subject for InMemory {
    fn handle(&self) -> Cluster {
        self.0.cluster()
    }

    fn reopened(&self) -> Cluster {
        self.handle()
    }

    fn transactions_bytes(&self) -> u64 {
        TRANSACTIONS_BYTES
    }
}

/// An engine on a disk.
struct OnDisk {
    disk: Memory,
    opened: Mutex<Arc<Embedded>>,
}

impl OnDisk {
    fn open(disk: &Memory) -> Arc<Embedded> {
        Embedded::open_with(Arc::new(disk.clone()), bounds()).unwrap()
    }

    fn new() -> Self {
        let disk = Memory::default();
        let opened = Mutex::new(Self::open(&disk));
        Self { disk, opened }
    }
}

impl Subject for OnDisk {
    fn handle(&self) -> Cluster {
        self.opened.lock().unwrap().cluster()
    }

    fn reopened(&self) -> Cluster {
        let mut opened = self.opened.lock().unwrap();
        *opened = Self::open(&self.disk);
        opened.cluster()
    }

    fn transactions_bytes(&self) -> u64 {
        TRANSACTIONS_BYTES
    }
}

fn in_memory() -> Box<dyn Subject> {
    Box::new(InMemory(Embedded::in_memory_with(bounds())))
}

fn on_disk() -> Box<dyn Subject> {
    Box::new(OnDisk::new())
}

#[test]
fn an_engine_in_ram_does_what_engines_do() {
    conformance::run(&in_memory);
}

#[test]
fn an_engine_on_a_disk_does_what_engines_do() {
    conformance::run(&on_disk);
}

#[test]
fn checks_have_names_of_their_own() {
    let mut names: Vec<_> = conformance::checks().map(Check::name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.contains(&"blocks::lets_one_of_several_append"), "{names:?}");
}

/// What is told of an engine that forgets all when it is opened again.
#[test]
fn a_check_that_fails_says_which_and_why() {
    struct Forgets(InMemory);
    impl Subject for Forgets {
        fn handle(&self) -> Cluster {
            self.0.handle()
        }
        fn reopened(&self) -> Cluster {
            Embedded::in_memory().cluster()
        }
        fn transactions_bytes(&self) -> u64 {
            TRANSACTIONS_BYTES
        }
    }
    let factory =
        || -> Box<dyn Subject> { Box::new(Forgets(InMemory(Embedded::in_memory_with(bounds())))) };
    let check = conformance::checks().find(|check| check.name().contains("goes_on_after_a_res"));
    let failure = check.unwrap().run(&*factory()).unwrap_err();
    assert_eq!(failure.check, "blocks::goes_on_after_a_restart");
    assert!(failure.reason.starts_with("after 2 restarts: got [], expected [Entry"), "{failure}");
    let panic = std::panic::catch_unwind(|| conformance::run(&factory)).unwrap_err();
    let text = panic.downcast::<String>().unwrap();
    assert!(text.contains("\nboard::is_the_same_after_a_restart: "), "{text}");
}
