//! Several servers that append what they are handed, over an engine that loses acknowledgements:
//! nothing is there twice, all see the same order, and nothing acknowledged is lost.
//!
//! A server does as CLUSTER says: it names what it has applied, and settles what was not
//! acknowledged by reading. Servers that break the rule are caught by the same checks.

use std::{collections::BTreeSet, sync::Arc};

use dsc_lib::{
    cluster::{
        AppendError, BlockLog, Embedded, Entry, Position, ReadError,
        settle::{self, Appended},
    },
    hash::Digest,
    testing::{
        disk::Dice,
        faulty::{Faulty, Rates},
    },
};

use crate::seeds;

/// How a server appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// By the rule.
    Right,
    /// After the end that it asks for.
    AsksForTheEnd,
    /// It takes an acknowledgement that was lost for one.
    BelievesTheUnknown,
}

const SERVERS: usize = 3;
/// What each server is handed.
const ITEMS: usize = 6;
const STEPS: usize = 150;
const ALL: usize = usize::MAX;

/// One server.
struct Server {
    faulty: Arc<Faulty>,
    log: Arc<dyn BlockLog>,
    manner: Manner,
    /// What it has applied, in order.
    applied: Vec<Vec<u8>>,
    /// What it was handed and has not answered for yet.
    due: Vec<Vec<u8>>,
    /// What it has said to be there, and where.
    told: Vec<(Position, Vec<u8>)>,
}

impl Server {
    fn position(&self) -> Position {
        Position(self.applied.len() as u64)
    }

    fn apply(&mut self, bytes: Vec<u8>) {
        if self.due.first() == Some(&bytes) {
            self.answer(self.position().next());
        }
        self.applied.push(bytes);
    }

    fn apply_all(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.apply(entry.bytes);
        }
    }

    /// Says that what it was handed is at `position`.
    fn answer(&mut self, position: Position) {
        let bytes = self.due.remove(0);
        self.told.push((position, bytes));
    }

    /// Hands in what is due, or reads what others have appended.
    fn step(&mut self, dice: &mut Dice) {
        match self.due.first().cloned() {
            Some(bytes) if dice.below(3) > 0 => self.hand_in(&bytes, dice),
            _ => self.follow(),
        }
    }

    fn hand_in(&mut self, bytes: &[u8], dice: &mut Dice) {
        match self.manner {
            Manner::Right => self.append(bytes, 1 + u32::try_from(dice.below(3)).unwrap()),
            Manner::AsksForTheEnd => self.append_at_the_end(bytes),
            Manner::BelievesTheUnknown => self.append_and_believe(bytes),
        }
    }

    fn append(&mut self, bytes: &[u8], tries: u32) {
        let after = self.position();
        match settle::append(&*self.log, after, &Digest::ZERO, bytes, tries) {
            Ok(Appended::Mine(position)) => {
                assert_eq!(position, after.next());
                self.apply(bytes.to_vec());
            }
            Ok(Appended::Other(entries)) => {
                self.apply_all(entries);
            }
            // It is handed in again.
            Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
    }

    fn append_at_the_end(&mut self, bytes: &[u8]) {
        self.follow();
        let is_due = self.due.first().is_some_and(|first| first == bytes);
        let Ok(end) = self.end() else { return };
        if is_due && let Ok(position) = self.log.append(end, &Digest::ZERO, bytes) {
            self.answer(position);
        }
    }

    /// The end of the log, whatever of it was applied.
    fn end(&self) -> Result<Position, ReadError> {
        let more = self.log.read(self.position(), ALL)?;
        Ok(more.last().map_or_else(|| self.position(), |last| last.position))
    }

    fn append_and_believe(&mut self, bytes: &[u8]) {
        match self.log.append(self.position(), &Digest::ZERO, bytes) {
            Ok(_) | Err(AppendError::Unknown { .. }) => self.apply(bytes.to_vec()),
            Err(_) => self.follow(),
        }
    }

    fn follow(&mut self) {
        if let Ok(entries) = self.log.read(self.position(), ALL) {
            self.apply_all(entries);
        }
    }

    /// Loses what it has applied and not answered for, as a crash may.
    fn crash(&mut self, dice: &mut Dice) {
        let firm = self.told.iter().map(|(position, _)| position.0).max().unwrap_or_default();
        let firm = usize::try_from(firm).unwrap().min(self.applied.len());
        self.applied.truncate(firm + dice.below(self.applied.len() - firm + 1));
    }
}

fn servers(engine: &Arc<Embedded>, dice: &mut Dice, manner: Manner) -> Vec<Server> {
    let rates = Rates { unknown: dice.below(50), unavailable: dice.below(30) };
    let server = |number: usize| {
        let faulty = Faulty::new(engine.cluster(), dice.roll());
        faulty.set_rates(rates);
        let due = (0..ITEMS).map(|item| format!("{number}.{item}").into_bytes()).collect();
        let (applied, told) = (Vec::new(), Vec::new());
        Server { log: faulty.cluster().blocks, faulty, manner, applied, due, told }
    };
    (0..SERVERS).map(server).collect()
}

/// Lets servers work for a while with faults and then without; says what is not as it should be.
fn run(seed: u64, manner: Manner) -> Result<(), String> {
    let (mut dice, engine) = (Dice(seed), Embedded::in_memory());
    let mut servers = servers(&engine, &mut dice, manner);
    for _ in 0..STEPS {
        let server = &mut servers[dice.below(SERVERS)];
        match dice.below(40) {
            0 => server.crash(&mut dice),
            _ => server.step(&mut dice),
        }
    }
    for server in &servers {
        server.faulty.mend();
    }
    for round in 0.. {
        for server in &mut servers {
            server.step(&mut dice);
        }
        if servers.iter().all(|server| server.due.is_empty()) {
            break;
        }
        if round == 1000 {
            return Err("what was handed in never came to an end".to_owned());
        }
    }
    servers.iter_mut().for_each(Server::follow);
    judge(&*engine, &servers)
}

fn judge(log: &dyn BlockLog, servers: &[Server]) -> Result<(), String> {
    let entries = log.read(Position::START, ALL).unwrap();
    let mut seen = BTreeSet::new();
    let twice = entries.iter().find(|entry| !seen.insert(&entry.bytes));
    if let Some(twice) = twice {
        return Err(format!("there twice: {:?}", String::from_utf8_lossy(&twice.bytes)));
    }
    for server in servers {
        for (position, bytes) in &server.told {
            let entry = entries.iter().find(|entry| entry.position == *position);
            if entry.is_none_or(|entry| entry.bytes != *bytes) {
                return Err(format!("acknowledged at {position} and lost"));
            }
        }
        if !entries.iter().map(|entry| &entry.bytes).eq(&server.applied) {
            return Err("a server has applied another order".to_owned());
        }
    }
    let wanted = SERVERS * ITEMS;
    if entries.len() == wanted { Ok(()) } else { Err(format!("{} of {wanted}", entries.len())) }
}

#[test]
fn appenders_by_the_rule_agree_whatever_is_lost() {
    for seed in seeds(2000) {
        run(seed, Manner::Right).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// What is said of appenders of a manner, over many seeds.
fn complaints(manner: Manner) -> BTreeSet<String> {
    let found = (0..200).filter_map(|seed| run(seed, manner).err());
    found.map(|text| text.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn appenders_that_ask_for_the_end_are_caught() {
    let complaints = complaints(Manner::AsksForTheEnd);
    assert!(complaints.contains("there twice"), "{complaints:?}");
}

#[test]
fn appenders_that_believe_what_is_unknown_are_caught() {
    let found = complaints(Manner::BelievesTheUnknown);
    assert!(found.iter().any(|text| text.starts_with("acknowledged at ")), "{found:?}");
}
