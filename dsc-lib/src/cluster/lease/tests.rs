use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;

const TIME: Millis = Millis(5_000);
const FIFTH: Millis = Millis(1_000);
/// Longest way of a question or an answer.
const WAY: u64 = 300;
const COUNT: usize = 3;

fn applicant(index: usize, process: u64) -> Applicant {
    let key = Address([u8::try_from(index).unwrap(); 32]);
    Applicant { key, process, url: format!("http://m{index}:1") }
}

fn lease(index: usize) -> Lease {
    Lease::new(applicant(index, 1), TIME)
}

fn at(seconds: u64) -> Millis {
    Millis(1_700_000_000_000 + seconds * 1_000)
}

/// A board of one note, on which nothing goes wrong.
#[derive(Debug, Default)]
struct Note {
    revision: Revision,
    record: Option<Record>,
}

impl Note {
    fn found(&self) -> Found {
        (self.revision, self.record.clone())
    }

    fn put(&mut self, record: &Record, expected: Revision) -> Result<Revision, PutError> {
        if self.revision != expected {
            return Err(PutError::Conflict { expected });
        }
        self.revision = Revision(self.revision.0 + 1);
        self.record = Some(record.clone());
        Ok(self.revision)
    }

    /// Lets a lease do what it wants until it waits, and says until when.
    fn turn(&mut self, lease: &mut Lease, now: Millis, tip: Option<u64>) -> Millis {
        loop {
            match lease.next(now, tip) {
                Ask::Read => lease.read(now, Ok(self.found())),
                Ask::Put(record, expected) => lease.put(now, &self.put(&record, expected)),
                Ask::Wait(until) => return until,
            }
        }
    }
}

fn leads(lease: &Lease, now: Millis) -> Option<u64> {
    lease.term().filter(|term| now < term.until).map(|term| term.epoch)
}

#[test]
fn the_first_takes_it_and_renews_it_every_fifth() {
    let (mut board, mut first, mut second) = (Note::default(), lease(1), lease(2));
    assert_eq!(board.turn(&mut first, at(0), Some(0)), at(1));
    board.turn(&mut second, at(0), Some(0));
    for second_of in 0..20 {
        board.turn(&mut first, at(second_of), Some(1));
        board.turn(&mut second, at(second_of), Some(1));
    }
    assert_eq!(first.term(), Some(Term { epoch: 1, until: at(23) }));
    assert_eq!(second.term(), None);
    assert_eq!(second.leader(at(19)).unwrap().url, "http://m1:1");
    assert_eq!(board.record.unwrap().beat, 19);
}

#[test]
fn it_is_taken_over_when_the_record_has_not_moved_for_the_lease_time() {
    let (mut board, mut first, mut second) = (Note::default(), lease(1), lease(2));
    board.turn(&mut first, at(0), Some(0));
    for now in 0..5 {
        board.turn(&mut second, at(now), Some(1));
        assert_eq!(second.term(), None, "{now}");
    }
    assert_eq!((leads(&first, at(3)), leads(&first, at(4))), (Some(1), None));
    board.turn(&mut second, at(5), Some(1));
    assert_eq!(leads(&second, at(5)), Some(2));
    // The old holder finds out when it renews.
    board.turn(&mut first, at(6), Some(2));
    assert_eq!(first.term(), None);
    assert_eq!(first.leader(at(6)).unwrap().epoch, 2);
    assert_eq!(first.leader(at(12)), None, "it has not moved for the lease time");
}

#[test]
fn its_epoch_is_above_that_of_the_tip() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(8));
    assert_eq!(leads(&first, at(0)), Some(9));
    board.turn(&mut first, at(1), Some(9));
    assert_eq!(leads(&first, at(1)), Some(9), "its own blocks");
    board.turn(&mut first, at(2), Some(11));
    assert_eq!(leads(&first, at(2)), Some(12), "blocks of a lease that the board has lost");
}

/// Whoever may write to the board, and nobody else, can put an epoch there that nobody can go above.
#[test]
fn a_record_with_an_epoch_that_no_block_may_have_ends_nothing() {
    let of = |epoch| {
        let Applicant { key, process, url } = applicant(1, 1);
        Record { holder: key, process, url, epoch, beat: 3, released: false }
    };
    let max = 4 + EPOCH_STEP_MAX;
    for (found, taken) in [(max - 1, max), (max, 5), (u64::MAX, 5), (2, 5), (4, 5), (7, 8)] {
        let mut board = Note { revision: Revision(3), record: Some(of(found)) };
        let mut second = lease(2);
        board.turn(&mut second, at(0), Some(4));
        board.turn(&mut second, at(5), Some(4));
        assert_eq!(leads(&second, at(5)), Some(taken), "taken over from {found}");
    }
    // Somebody forges what the holder itself has put.
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(4));
    assert_eq!(leads(&first, at(0)), Some(5));
    (board.revision, board.record) = (Revision(9), Some(of(u64::MAX)));
    for now in 1..3 {
        board.turn(&mut first, at(now), Some(4));
    }
    assert_eq!(leads(&first, at(2)), Some(5));
}

#[test]
fn without_a_tip_it_is_not_taken_and_given_back_at_once() {
    let (mut board, mut first, mut second) = (Note::default(), lease(1), lease(2));
    board.turn(&mut first, at(0), None);
    assert_eq!((first.term(), &board.record), (None, &None));
    board.turn(&mut first, at(1), Some(0));
    board.turn(&mut second, at(1), Some(0));
    let Ask::Put(record, expected) = first.next(at(1), None) else { panic!("nothing to put") };
    assert!(record.released);
    assert_eq!(leads(&first, at(1)), None, "others may take it before it hears of that");
    let done = board.put(&record, expected);
    first.put(at(1), &done);
    assert_eq!((first.term(), first.leader(at(1))), (None, None));
    board.turn(&mut first, at(2), Some(1));
    assert_eq!(first.term(), None, "it is for others first");
    board.turn(&mut second, at(2), Some(1));
    assert_eq!(leads(&second, at(2)), Some(2));
}

#[test]
fn what_was_given_back_is_taken_again_if_nobody_else_wants_it() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(0));
    board.turn(&mut first, at(1), None);
    for now in 2..6 {
        board.turn(&mut first, at(now), Some(1));
        assert_eq!(first.term(), None, "{now}");
    }
    board.turn(&mut first, at(6), Some(1));
    assert_eq!(leads(&first, at(6)), Some(2));
    let mut again = Lease::new(applicant(1, 2), TIME);
    board.turn(&mut first, at(7), None);
    board.turn(&mut again, at(7), Some(2));
    assert_eq!(leads(&again, at(7)), Some(3), "another process of the same key is another one");
}

/// A board that cannot be reached is not asked again and again.
#[test]
fn what_cannot_be_given_back_is_tried_again_after_a_pause() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(0));
    let Ask::Put(..) = first.next(at(1), None) else { panic!("nothing to put") };
    first.put(at(1), &Err(Unavailable::new("gone").into()));
    assert_eq!(first.next(at(1), None), Ask::Wait(at(2)));
    board.turn(&mut first, at(2), None);
    assert!(board.record.unwrap().released);
}

#[test]
fn a_put_without_an_answer_is_settled_by_reading() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(0));
    for (now, is_put) in [(1, true), (2, false)] {
        let Ask::Put(record, expected) = first.next(at(now), Some(1)) else { panic!("{now}") };
        if is_put {
            board.put(&record, expected).unwrap();
        }
        first.put(at(now), &Err(PutError::Unknown { reason: "timed out".into() }));
        assert_eq!(first.next(at(now), Some(1)), Ask::Read);
        board.turn(&mut first, at(now), Some(1));
        assert_eq!(first.term(), Some(Term { epoch: 1, until: at(now + 4) }), "{is_put}");
    }
}

/// A renewal that is found counts from its first try, whichever it was.
#[test]
fn a_renewal_that_came_to_be_late_does_not_lengthen_the_lease() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(0));
    let Ask::Put(late, expected) = first.next(at(1), Some(1)) else { panic!("nothing to put") };
    first.put(at(1), &Err(PutError::Unknown { reason: "timed out".into() }));
    first.read(at(2), Ok(board.found()));
    let Ask::Put(again, _) = first.next(at(3), Some(1)) else { panic!("nothing to put") };
    assert_eq!(again, late);
    board.put(&late, expected).unwrap();
    let done = board.put(&again, expected);
    first.put(at(3), &done);
    assert_eq!(first.term(), None, "another one may have it");
    first.read(at(3), Ok(board.found()));
    assert_eq!(first.term(), Some(Term { epoch: 1, until: at(5) }));
}

#[test]
fn another_process_of_the_same_key_waits_like_anybody() {
    let (mut board, mut first) = (Note::default(), lease(1));
    board.turn(&mut first, at(0), Some(0));
    let mut again = Lease::new(applicant(1, 2), TIME);
    board.turn(&mut again, at(1), Some(1));
    assert_eq!(again.term(), None);
    board.turn(&mut again, at(6), Some(1));
    assert_eq!(leads(&again, at(6)), Some(2));
}

#[test]
fn what_is_no_record_is_taken_over_when_it_does_not_move() {
    let (mut board, mut first) = (Note { revision: Revision(3), record: None }, lease(1));
    board.turn(&mut first, at(0), Some(4));
    assert_eq!(first.term(), None);
    board.turn(&mut first, at(5), Some(4));
    assert_eq!(leads(&first, at(5)), Some(5));
}

#[test]
fn a_record_is_json_that_may_say_more() {
    let record = Record {
        holder: Address([7; 32]),
        process: 3,
        url: "http://a:1".into(),
        epoch: 4,
        beat: 5,
        released: false,
    };
    let text = serde_json::to_string(&record).unwrap();
    let holder = "07".repeat(32);
    assert!(text.starts_with(&format!(r#"{{"holder":"{holder}","process":3"#)), "{text}");
    let other = format!(r#"{{"holder":"{holder}","epoch":4,"colour":"red"}}"#);
    let other: Record = serde_json::from_str(&other).unwrap();
    assert_eq!(other, Record { process: 0, url: String::new(), beat: 0, ..record });
}

/// What happens in the world of [`World`].
#[derive(Debug)]
enum Event {
    Ask(usize),
    /// A put comes to the board, and its answer starts back; that of a lost one says nothing.
    Reach {
        node: usize,
        life: u64,
        record: Record,
        expected: Revision,
        is_lost: bool,
    },
    Look {
        node: usize,
        life: u64,
    },
    Told {
        node: usize,
        life: u64,
        done: Result<Revision, PutError>,
    },
    Shown {
        node: usize,
        life: u64,
        found: Result<Found, Unavailable>,
    },
}

struct Node {
    lease: Lease,
    /// Counts its starts.
    life: u64,
    paused_until: Millis,
    is_dead: bool,
}

/// Several metronomes and a board: questions and answers are delayed, lost and overtaken, a put may
/// come to the board long after its sender gave it up, and metronomes stand still, die and start.
struct World {
    now: Millis,
    random: ChaCha8Rng,
    board: Note,
    nodes: Vec<Node>,
    queue: BTreeMap<(Millis, u64), Event>,
    count: u64,
    /// Whose each epoch is.
    epochs: BTreeMap<u64, Applicant>,
    tip: u64,
    is_quiet: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let node = |index: usize| Node {
            lease: Lease::new(applicant(index, 0), TIME),
            life: 0,
            paused_until: Millis(0),
            is_dead: false,
        };
        let mut world = Self {
            now: at(0),
            random: ChaCha8Rng::seed_from_u64(seed),
            board: Note::default(),
            nodes: (0..COUNT).map(node).collect(),
            queue: BTreeMap::new(),
            count: 0,
            epochs: BTreeMap::new(),
            tip: 0,
            is_quiet: false,
        };
        (0..COUNT).for_each(|node| world.after(0, Event::Ask(node)));
        world
    }

    fn upto(&mut self, max: u64) -> u64 {
        self.random.next_u64() % (max + 1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        !self.is_quiet && self.upto(count - 1) == 0
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.now.plus(Millis(millis)), self.count), event);
    }

    /// Lets things happen until a time.
    fn run(&mut self, until: Millis) {
        while let Some((&(time, _), _)) = self.queue.first_key_value()
            && time <= until
        {
            let (_, event) = self.queue.pop_first().unwrap();
            self.now = time;
            self.happen(event);
            self.check();
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        let node = match event {
            Event::Ask(node) | Event::Told { node, .. } | Event::Shown { node, .. } => Some(node),
            _ => None,
        };
        if let Some(node) = node {
            let paused_until = self.nodes[node].paused_until;
            if paused_until > self.now {
                return self.after(paused_until.since(self.now).0, event);
            }
        }
        match event {
            Event::Ask(node) => self.ask(node),
            Event::Reach { node, life, record, expected, is_lost } => {
                let before = self.board.record.clone();
                let done = self.board.put(&record, expected);
                if done.is_ok() {
                    Self::replaced(before.as_ref(), &record);
                }
                if !is_lost {
                    let way = self.upto(WAY);
                    self.after(way, Event::Told { node, life, done });
                }
            }
            Event::Look { node, life } => {
                let (way, found) = (self.upto(WAY), Ok(self.board.found()));
                self.after(way, Event::Shown { node, life, found });
            }
            Event::Told { node, life, done } => {
                if self.nodes[node].life == life {
                    self.nodes[node].lease.put(self.now, &done);
                    self.ask(node);
                }
            }
            Event::Shown { node, life, found } => {
                if self.nodes[node].life == life {
                    self.nodes[node].lease.read(self.now, found);
                    self.ask(node);
                }
            }
        }
    }

    fn ask(&mut self, index: usize) {
        if self.nodes[index].is_dead {
            return;
        }
        if self.one_in(60) {
            self.nodes[index].paused_until = self.now.plus(Millis(self.upto(20_000)));
        }
        if self.one_in(80) {
            self.restart(index);
        }
        let tip = if self.one_in(40) { None } else { Some(self.tip) };
        let node = &mut self.nodes[index];
        let life = node.life;
        match node.lease.next(self.now, tip) {
            Ask::Wait(until) => {
                let wait = until.since(self.now).0.max(1);
                self.after(wait, Event::Ask(index));
            }
            Ask::Read => {
                let way = self.upto(WAY);
                if self.one_in(12) {
                    let found = Err(Unavailable::new("no answer"));
                    self.after(way + 1_000, Event::Shown { node: index, life, found });
                } else {
                    self.after(way, Event::Look { node: index, life });
                }
            }
            Ask::Put(record, expected) => self.send(index, record, expected),
        }
    }

    fn send(&mut self, node: usize, record: Record, expected: Revision) {
        let life = self.nodes[node].life;
        let way = self.upto(WAY);
        if self.one_in(20) {
            let done = Err(Unavailable::new("no connection").into());
            return self.after(way, Event::Told { node, life, done });
        }
        let is_lost = self.one_in(8);
        if is_lost {
            let done = Err(PutError::Unknown { reason: "timed out".into() });
            self.after(1_000, Event::Told { node, life, done });
            if self.one_in(3) {
                return;
            }
        }
        // What was given up may come to the board much later.
        let way = if is_lost { self.upto(9_000) } else { way };
        self.after(way, Event::Reach { node, life, record, expected, is_lost });
    }

    fn restart(&mut self, index: usize) {
        let life = self.nodes[index].life + 1;
        let lease = Lease::new(applicant(index, life), TIME);
        let paused_until = self.now.plus(Millis(500));
        self.nodes[index] = Node { lease, life, paused_until, is_dead: false };
    }

    fn replaced(before: Option<&Record>, record: &Record) {
        let Some(before) = before else { return };
        let is_same = before.holder == record.holder && before.process == record.process;
        let is_renewed = is_same && !before.released;
        assert!(record.epoch > before.epoch || is_renewed && record.epoch == before.epoch);
    }

    /// Nobody leads beside another, and no two ever with one epoch.
    fn check(&mut self) {
        let now = self.now;
        let leading: Vec<(usize, u64)> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| !n.is_dead)
            .filter_map(|(index, node)| leads(&node.lease, now).map(|epoch| (index, epoch)))
            .collect();
        assert!(leading.len() <= 1, "several lead: {leading:?}");
        for (index, epoch) in leading {
            let me = self.nodes[index].lease.me.clone();
            let owner = self.epochs.entry(epoch).or_insert_with(|| me.clone());
            assert_eq!(*owner, me, "two with epoch {epoch}");
            // It makes blocks.
            self.tip = self.tip.max(epoch);
        }
    }

    fn leader(&self) -> Option<usize> {
        let is_leading = |node: &Node| !node.is_dead && leads(&node.lease, self.now).is_some();
        self.nodes.iter().position(is_leading)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is lost, late, paused or killed: one leads at a time, with an epoch of its own; and
    /// when all is well, or the leader has died, another one leads soon.
    #[test]
    fn one_leads_and_if_it_dies_another_one_soon(seed: u64) {
        let mut world = World::new(seed);
        world.run(at(300));
        prop_assert!(world.epochs.len() > 1, "nothing happened");
        world.is_quiet = true;
        // Those that stand still wake, what is under way ends, and nobody has the lease.
        world.run(at(300 + 20 + 9 + 8));
        let leader = world.leader();
        prop_assert!(leader.is_some(), "nobody leads");
        world.nodes[leader.unwrap()].is_dead = true;
        let bound = TIME.plus(FIFTH).plus(FIFTH).plus(Millis(4 * WAY));
        let now = world.now;
        world.run(now.plus(bound));
        prop_assert!(world.leader().is_some(), "nobody leads after one died");
    }
}
