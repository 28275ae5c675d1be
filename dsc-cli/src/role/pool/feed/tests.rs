//! Several pools of one process that share a log.

use std::{collections::VecDeque, time::Instant};

use dsc_lib::{
    cluster::{Embedded, ReadError},
    ledger::{CheckedBlock, Ledger},
    mempool::Limits,
    role::{Active, Answer, Next},
    testing::{
        ALICE, BOB, CAROL, address, chain, coins,
        faulty::{Faulty, Rates},
        next_block, pay,
    },
    transaction::{Encoded, Transaction},
    units::{Height, Millis},
};

use super::{super::Server, *};

/// What a log does with an append.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Full,
    Unavailable,
    /// Nothing is appended, and nobody is told so.
    Before,
    /// It is appended, and nobody is told so.
    After,
    /// It is said to be at the first place, where it is no longer.
    Gone,
}

/// A log that does what a script says, and then what the one in it does.
#[derive(Debug)]
struct Scripted {
    log: Mutex<Arc<Embedded>>,
    script: Mutex<VecDeque<Fault>>,
}

impl Scripted {
    fn of(log: &Arc<Embedded>, script: &[Fault]) -> Arc<Self> {
        let script = Mutex::new(script.iter().copied().collect());
        Arc::new(Self { log: Mutex::new(log.clone()), script })
    }

    fn log(&self) -> Arc<Embedded> {
        self.log.lock().unwrap().clone()
    }
}

fn unknown() -> AppendError {
    AppendError::Unknown { reason: "no answer".into() }
}

impl TransactionLog for Scripted {
    fn append(&self, id: &dsc_lib::hash::Digest, bytes: &[u8]) -> Result<Position, AppendError> {
        let fault = self.script.lock().unwrap().pop_front();
        let append = || TransactionLog::append(&*self.log(), id, bytes);
        match fault {
            None => append(),
            Some(Fault::Full) => Err(AppendError::Full),
            Some(Fault::Unavailable) => Err(Unavailable::new("nobody is there").into()),
            Some(Fault::Before) => Err(unknown()),
            Some(Fault::Gone) => Ok(Position(1)),
            Some(Fault::After) => append().and_then(|_| Err(unknown())),
        }
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        TransactionLog::read(&*self.log(), after, bytes_max)
    }

    fn wait(&self, after: Position, time: Duration) {
        TransactionLog::wait(&*self.log(), after, time);
    }

    fn remove(&self, to: Position, also: &[Position]) -> Result<(), Unavailable> {
        self.log().remove(to, also)
    }
}

/// A pool that shares a log.
struct Member {
    server: Arc<Server>,
    feed: Arc<SharedLog>,
}

impl Member {
    /// One that has followed a ledger without blocks, and taken in the log.
    fn of(log: Arc<dyn TransactionLog>) -> Self {
        let member = Self::fresh(log);
        member.follow_ledger(&Ledger::in_memory(chain()));
        member
    }

    /// One that has not heard of the ledger.
    fn fresh(log: Arc<dyn TransactionLog>) -> Self {
        let shared = Shared::new(Pool::new(chain(), Limits::default()));
        let feed = SharedLog::start(log, shared.clone(), Time::default()).unwrap();
        let server = Server::with_keeper(shared, feed.clone(), Some(ALICE.clone()), 1 << 24);
        Self { server: server.unwrap(), feed }
    }

    /// Follows a ledger that it has not heard of yet, and takes in the log.
    fn follow_ledger(&self, ledger: &Ledger) {
        let snapshot = dsc_lib::codec::encode(&ledger.snapshot().unwrap());
        self.answer(Answer::Snapshot(snapshot));
        until(|| self.feed.is_restored());
    }

    fn follow(&self, block: &CheckedBlock) {
        self.answer(Answer::Blocks(vec![block.to_bytes()]));
    }

    fn answer(&self, answer: Answer) {
        let mut pool = self.server.shared.lock();
        pool.answer(Millis(0), Ok(answer));
        while let Next::Work(work) = pool.next(Millis(0)) {
            pool.finish(Millis(0), work.run());
        }
        assert_eq!(pool.fault(), None);
    }

    fn submit(&self, transactions: &[Transaction]) -> Outcomes {
        self.server.submit(transactions.iter().map(Encoded::from).collect())
    }

    /// The one outcome of a transaction.
    fn submit_one(&self, transaction: &Transaction) -> Outcome {
        self.submit(std::slice::from_ref(transaction)).unwrap().remove(0)
    }

    fn status(&self, transaction: &Transaction) -> Option<Status> {
        self.server.shared.lock().status(&transaction.id(&chain().hash()))
    }

    /// Waits until it has applied all that the others had.
    fn catch_up(&self, with: &Self) {
        until(|| self.feed.position() >= with.feed.position());
    }

    fn take(&self, height: u64) -> Vec<Transaction> {
        let taken = self.server.shared.lock().take(Height(height));
        taken.iter().map(|transaction| transaction.transaction()).collect()
    }
}

fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "it does not come");
        thread::yield_now();
    }
}

/// Makes the next block of these.
fn extend(ledger: &mut Ledger, transactions: Vec<Transaction>) -> CheckedBlock {
    let block = next_block(ledger.state(), vec![], transactions);
    ledger.commit(&block).unwrap();
    block
}

fn alice(sequence: u64) -> Transaction {
    pay(&ALICE, sequence, address(&BOB), 1)
}

/// Puts into the log what a pool would that is killed before it tells anybody.
fn publish(log: &Arc<Embedded>, tag: u8, transactions: &[Transaction]) -> Position {
    let checked: Vec<_> = transactions
        .iter()
        .map(|one| {
            let sender = one.sender.address();
            Arc::new(CheckedTransaction::assume(one.into(), sender, &chain().hash()))
        })
        .collect();
    let bytes = feed::encode(Tag([tag; 16]), Position::START, &checked);
    TransactionLog::append(&**log, &feed::id_of(&bytes), &bytes).unwrap()
}

fn is_added(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Added { .. })
}

fn is_known(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Known { status: Status::Submitted, .. })
}

#[test]
fn what_one_pool_takes_in_another_gives_to_a_metronome() {
    let log = Embedded::in_memory();
    let members = [(); 3].map(|()| Member::of(log.clone()));
    let all: Vec<_> = (0..6).map(alice).collect();
    for (member, part) in members.iter().cycle().zip(all.chunks(2)) {
        assert!(member.submit(part).unwrap().iter().all(is_added));
        for other in &members {
            other.catch_up(member);
        }
    }
    for member in &members {
        assert_eq!(member.take(0), all);
        let next = member.server.shared.lock().next_sequence(&address(&ALICE)).sequence;
        assert_eq!(next, 6);
        assert!(all.iter().all(|one| member.status(one).is_some()));
    }
}

#[test]
fn more_than_a_batch_is_taken_in_as_one() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    let all: Vec<_> = (0..1000).map(alice).collect();
    assert!(members[0].submit(&all).unwrap().iter().all(is_added));
    assert!(members[0].feed.position() >= Position(3));
    members[1].catch_up(&members[0]);
    assert_eq!(members[1].take(0), all);
}

#[test]
fn the_same_submitted_to_both_at_once_is_held_once() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    for sequence in 0..20 {
        let one = alice(sequence);
        let outcomes = thread::scope(|scope| {
            let both = [0, 1].map(|at| {
                scope.spawn({
                    let (member, one) = (&members[at], &one);
                    move || member.submit_one(one)
                })
            });
            both.map(|one| one.join().unwrap())
        });
        assert_eq!(outcomes.iter().filter(|one| is_added(one)).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|one| is_known(one)).count(), 1, "{outcomes:?}");
    }
    let all: Vec<_> = (0..20).map(alice).collect();
    let last = members.iter().map(|member| member.feed.position()).max().unwrap();
    for member in &members {
        until(|| member.feed.position() >= last);
        assert_eq!(member.take(0), all);
    }
}

/// Whichever is first in the log, all pools come to the same.
#[test]
fn of_two_of_one_sequence_all_pools_hold_the_same() {
    let log = Embedded::in_memory();
    let members = [(); 3].map(|()| Member::of(log.clone()));
    for sequence in 0..20 {
        let both = [&BOB, &CAROL].map(|to| pay(&ALICE, sequence, address(to), 1));
        let outcomes = thread::scope(|scope| {
            let both = [0, 1].map(|at| {
                scope.spawn({
                    let (member, one) = (&members[at], &both[at]);
                    move || member.submit_one(one)
                })
            });
            both.map(|one| one.join().unwrap())
        });
        assert_eq!(outcomes.iter().filter(|one| is_added(one)).count(), 1, "{outcomes:?}");
        let held = usize::from(!is_added(&outcomes[0]));
        let last = members.iter().map(|member| member.feed.position()).max().unwrap();
        for member in &members {
            until(|| member.feed.position() >= last);
            assert_eq!(member.status(&both[held]), Some(Status::Submitted));
            assert_eq!(member.status(&both[1 - held]), None);
        }
    }
}

/// It was killed after it had published and before it answered.
#[test]
fn what_a_killed_pool_had_published_is_known_to_the_others() {
    let log = Embedded::in_memory();
    let member = Member::of(log.clone());
    let position = publish(&log, 1, &[alice(0)]);
    until(|| member.feed.position() >= position);
    assert!(is_known(&member.submit_one(&alice(0))));
    assert_eq!(member.take(0), [alice(0)]);
}

#[test]
fn what_was_acknowledged_survives_that_all_pools_end() {
    let log = Embedded::in_memory();
    let all: Vec<_> = (0..5).map(alice).collect();
    {
        let members = [(); 2].map(|()| Member::of(log.clone()));
        assert!(members[0].submit(&all[..3]).unwrap().iter().all(is_added));
        members[1].catch_up(&members[0]);
        assert!(members[1].submit(&all[3..]).unwrap().iter().all(is_added));
    }
    let member = Member::of(log);
    assert_eq!(member.take(0), all);
    assert!(member.submit(&all).unwrap().iter().all(|one| !is_added(one)));
}

#[test]
fn nothing_is_applied_before_the_ledger_is_followed() {
    let log = Embedded::in_memory();
    publish(&log, 1, &[alice(0)]);
    let member = Member::fresh(log);
    assert!(!member.feed.is_restored());
    assert_eq!(member.status(&alice(0)), None);
    assert!(member.feed.checks().iter().any(|check| check.name == "restored" && !check.ok));
    member.follow_ledger(&Ledger::in_memory(chain()));
    assert_eq!(member.status(&alice(0)), Some(Status::Submitted));
    assert!(member.feed.checks().iter().all(|check| check.ok));
}

#[test]
fn what_is_no_batch_is_passed_over_and_what_is_forged_is_not_held() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    for garbage in [&b""[..], b"garbage", &[1; 100]] {
        TransactionLog::append(&*log, &feed::id_of(garbage), garbage).unwrap();
    }
    let mut forged = alice(1);
    forged.signature.0[255] ^= 1;
    let last = publish(&log, 1, &[alice(0), forged.clone()]);
    for member in &members {
        until(|| member.feed.position() >= last);
        assert_eq!(member.take(0), [alice(0)]);
        assert_eq!(member.status(&forged), None);
        let mut text = String::new();
        member.feed.write_figures(&mut text);
        assert!(text.contains("\ndsc_pool_log_skipped_total 3\n"), "{text}");
        assert!(text.contains("\ndsc_pool_log_position 4\n"), "{text}");
    }
    // The ledger need not end what was never held.
    members[0].feed.remove().unwrap();
    let left = TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
    assert_eq!(left.iter().map(|entry| entry.position).collect::<Vec<_>>(), [last]);
}

#[test]
fn an_engine_that_takes_nothing_is_told_and_nothing_is_held() {
    for (fault, status, code) in
        [(Fault::Full, 429, "pool-full"), (Fault::Unavailable, 503, "engine-unavailable")]
    {
        let member = Member::of(Scripted::of(&Embedded::in_memory(), &[fault]));
        let problem = member.submit(&[alice(0)]).unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
        assert_eq!(member.status(&alice(0)), None);
        assert!(is_added(&member.submit_one(&alice(0))), "{code}");
    }
}

/// With or without an effect, the same batch again settles it.
#[test]
fn an_append_without_an_acknowledgement_is_settled() {
    for script in [vec![Fault::Before], vec![Fault::After], vec![Fault::Before, Fault::After]] {
        let log = Embedded::in_memory();
        let member = Member::of(Scripted::of(&log, &script));
        assert!(is_added(&member.submit_one(&alice(0))), "{script:?}");
        let entries = TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
        assert_eq!(entries.len(), 1, "{script:?}");
    }
}

#[test]
fn what_stays_unknown_is_called_so_and_is_settled_by_sending_it_again() {
    for last in [Fault::Before, Fault::Full, Fault::Unavailable] {
        let mut script = [Fault::Before; APPENDS_MAX];
        script[APPENDS_MAX - 1] = last;
        let member = Member::of(Scripted::of(&Embedded::in_memory(), &script));
        let problem = member.submit(&[alice(0)]).unwrap_err();
        assert_eq!((problem.status().as_u16(), problem.code()), (503, "unsettled"));
        assert!(is_added(&member.submit_one(&alice(0))), "{last:?}");
    }
}

#[test]
fn what_has_ended_is_removed_and_nothing_else() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    let late = pay(&BOB, 0, address(&ALICE), 1);
    let all = [alice(0), late.clone(), alice(1), alice(2)];
    for one in &all {
        assert!(is_added(&members[0].submit_one(one)));
    }
    members[1].catch_up(&members[0]);
    let mut ledger = Ledger::in_memory(chain());
    let block = extend(&mut ledger, vec![alice(0), alice(1)]);
    let positions = || {
        let left = TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
        left.iter().map(|entry| entry.position.0).collect::<Vec<_>>()
    };
    for member in &members {
        member.feed.remove().unwrap();
        assert_eq!(positions(), [1, 2, 3, 4]);
    }
    for member in &members {
        member.follow(&block);
        member.feed.remove().unwrap();
        assert_eq!(positions(), [2, 4]);
    }
    for member in &members {
        assert_eq!(member.take(1).len(), 2);
    }
    // A pool that begins now needs no more than what is left.
    let block = extend(&mut ledger, vec![late, alice(2)]);
    let member = Member::of(log.clone());
    members[0].follow(&block);
    members[0].feed.remove().unwrap();
    assert_eq!(positions(), [0; 0]);
    assert_eq!(member.server.shared.lock().counts().submitted, 2);
}

/// Anybody with some coins can replace his transactions at next to no cost, and keep one of each
/// batch: else the log would be full of what nobody holds for as long as that does not expire.
#[test]
fn a_log_crowded_with_what_was_replaced_is_made_small_again() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    let of = |sequence, fee| {
        let draft = dsc_lib::testing::draft(sequence, address(&BOB), coins(1), coins(fee));
        draft.sign(&chain().hash(), &ALICE)
    };
    // All but the first of the first batch are replaced, and all of the second.
    let (first, second): (Vec<_>, Vec<_>) =
        ((1..9).map(|at| of(at, 1)).collect(), (1..9).map(|at| of(at, 2)).collect());
    let third: Vec<_> = (2..9).map(|at| of(at, 4)).collect();
    assert!(members[0].submit(&first).unwrap().iter().all(is_added));
    assert!(members[0].submit(&second[1..]).unwrap().iter().all(is_added));
    assert!(members[0].submit(&third).unwrap().iter().all(is_added));
    let positions = || {
        let left = TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
        left.iter().map(|entry| entry.position.0).collect::<Vec<_>>()
    };
    members[0].feed.condense().unwrap();
    members[0].feed.remove().unwrap();
    assert_eq!(positions(), [1, 2, 3], "there is room enough");
    for garbage in [0, 1].map(|byte| vec![byte; 33 << 20]) {
        TransactionLog::append(&*log, &feed::id_of(&garbage), &garbage).unwrap();
    }
    // What is held of the first one is put there again.
    until(|| positions() == [3, 6]);
    let held = [&first[..1], &third].concat();
    let late = Member::of(log.clone());
    for member in members.iter().chain([&late]) {
        until(|| member.feed.position() >= Position(6));
        let pool = member.server.shared.lock();
        let ids = held.iter().map(|one| one.id(&chain().hash()));
        assert!(ids.into_iter().all(|id| pool.find(&id).is_some()));
        assert_eq!(pool.counts().submitted, 8);
    }
}

/// The engine was wiped: nobody waits in vain, and what was acknowledged is in the new log.
#[test]
fn a_log_that_has_begun_anew_is_filled_again_and_read_from_its_beginning() {
    let scripted = Scripted::of(&Embedded::in_memory(), &[]);
    let member = Member::of(scripted.clone());
    let all: Vec<_> = (0..6).map(alice).collect();
    assert!(all[..3].iter().all(|one| is_added(&member.submit_one(one))));
    let log = Embedded::in_memory();
    *scripted.log.lock().unwrap() = log.clone();
    publish(&log, 1, &all[3..4]);
    assert!(is_added(&member.submit_one(&all[4])), "its position was passed before");
    assert!(is_known(&member.submit_one(&all[3])));
    // One that submits nothing finds out as well.
    let idle = Scripted::of(&Embedded::in_memory(), &[]);
    publish(&idle.log(), 2, &all[5..]);
    publish(&idle.log(), 3, &all[5..]);
    let other = Member::of(idle.clone());
    *idle.log.lock().unwrap() = log.clone();
    until(|| other.take(0) == all);
    let member = Member::of(log);
    until(|| member.take(0) == all);
}

/// Others have applied it, seen it end and removed it before this one came to it.
#[test]
fn what_was_removed_before_it_was_read_is_no_sign_of_another_log() {
    let log = Embedded::in_memory();
    let scripted = Scripted::of(&log, &[]);
    let member = Member::of(scripted.clone());
    assert!(is_added(&member.submit_one(&alice(0))));
    scripted.script.lock().unwrap().push_back(Fault::Gone);
    assert_eq!(member.submit(&[alice(1)]).unwrap_err().code(), "unsettled");
    assert!(is_added(&member.submit_one(&alice(1))));
    let entries = TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
    assert_eq!(entries.len(), 2, "nothing was put into it again");
}

#[test]
fn two_faucets_of_one_account_both_pay() {
    let log = Embedded::in_memory();
    let members = [(); 2].map(|()| Member::of(log.clone()));
    for _ in 0..5 {
        let outcomes = thread::scope(|scope| {
            let both = members.each_ref().map(|member| {
                let pay = || member.server.pay_from_faucet(address(&CAROL), coins(1));
                scope.spawn(pay)
            });
            both.map(|one| one.join().unwrap().unwrap())
        });
        assert!(outcomes.iter().all(is_added), "{outcomes:?}");
    }
}

/// Submissions to three pools whose engine loses acknowledgements, delays writes and is away at
/// times, with blocks in between and a pool that is replaced: what was acknowledged is on the ledger
/// in the end, once, and the log is empty.
#[test]
fn what_any_pool_acknowledged_is_on_the_ledger_once() {
    for seed in 0..2 {
        let log = Embedded::in_memory();
        let faulty = |at: u64| Faulty::new(log.cluster(), 3 * seed + at);
        let engines = [0, 1, 2].map(faulty);
        let mut members = engines.each_ref().map(|one| Member::of(one.cluster().transactions));
        for engine in &engines {
            engine.set_rates(Rates { unknown: 30, unavailable: 5 });
        }
        let mut ledger = Ledger::in_memory(chain());
        let mut confirmed = Vec::new();
        for (round, sequence) in (0..12).zip(0..) {
            let at = round % 3;
            let all = [&ALICE, &BOB].map(|key| pay(key, sequence, address(&CAROL), 1));
            for (member, one) in [(at, &all[0]), ((at + 1) % 3, &all[1]), ((at + 2) % 3, &all[1])] {
                settle(&members[member], one);
            }
            if round % 4 == 3 {
                let giver = &members[(at + 2) % 3];
                let last = members.iter().map(|member| member.feed.position()).max().unwrap();
                until(|| giver.feed.position() >= last);
                let taken = giver.take(ledger.state().round().height.0);
                let block = extend(&mut ledger, taken.clone());
                confirmed.extend(taken);
                for member in &members {
                    member.follow(&block);
                }
            }
            if round == 7 {
                members[at] = Member::fresh(engines[at].cluster().transactions);
                members[at].follow_ledger(&ledger);
            }
        }
        confirmed.sort_by_key(|one| (one.sender.address(), one.sequence));
        let all = [&ALICE, &BOB].map(|key| (0..12).map(|at| pay(key, at, address(&CAROL), 1)));
        let mut all: Vec<_> = all.into_iter().flatten().collect();
        all.sort_by_key(|one| (one.sender.address(), one.sequence));
        assert_eq!(confirmed, all);
        for engine in &engines {
            engine.mend();
        }
        let left = || TransactionLog::read(&*log, Position::START, usize::MAX).unwrap();
        until(|| {
            drop(members[0].feed.remove());
            left().is_empty()
        });
    }
}

/// Submits until the pool says that it is held.
fn settle(member: &Member, one: &Transaction) {
    until(|| {
        let outcomes = member.submit(std::slice::from_ref(one));
        outcomes.is_ok_and(|outcomes| {
            assert!(outcomes[0].held_id().is_some(), "{outcomes:?}");
            true
        })
    });
}

/// The same on real nodes, of which one is killed and then all are.
/// A chain that moves from one machine to several takes its acknowledged payments along.
#[test]
fn what_a_pool_acknowledged_alone_is_in_the_log_before_its_journal_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal-0123456789abcdef");
    let checked = |sequence| Arc::new(alice(sequence).check(&chain().hash()).unwrap());
    let mut journal = super::super::journal::open(&path).unwrap();
    journal.append(&[checked(0), checked(1)]).unwrap();
    drop(journal);
    let (log, shutdown) = (Embedded::in_memory(), Shutdown::new());
    let member = Member::fresh(Scripted::of(&log, &[Fault::Unavailable]));
    let moving = member.server.take_journal(&path, &shutdown).unwrap().unwrap();
    assert!(path.exists(), "nothing can be put into the log yet");
    member.follow_ledger(&Ledger::in_memory(chain()));
    moving.join().unwrap();
    assert!(!path.exists() && path.with_extension("moved-1").exists());
    let other = Member::of(log);
    for one in [&member, &other] {
        other.catch_up(&member);
        for sequence in [0, 1] {
            assert_eq!(one.status(&alice(sequence)), Some(Status::Submitted));
        }
    }
    assert!(member.server.take_journal(&path, &shutdown).unwrap().is_none(), "there is none left");
    fs_again(&path, &checked(2));
    shutdown.request();
    let fresh = Member::fresh(Embedded::in_memory());
    fresh.server.take_journal(&path, &shutdown).unwrap().unwrap().join().unwrap();
    assert!(path.exists(), "one that ends before begins again");
}

fn fs_again(path: &std::path::Path, transaction: &Arc<CheckedTransaction>) {
    let mut journal = super::super::journal::open(path).unwrap();
    journal.append(std::slice::from_ref(transaction)).unwrap();
}

#[cfg(feature = "cluster")]
mod nats {
    use super::*;
    use crate::{
        config::{Config, Sources},
        engine::{Engine, nats::tests::common as nodes},
    };

    fn open(nodes: &nodes::Nodes) -> Arc<dyn TransactionLog> {
        let flags = vec![
            ("engine.url", "--engine", nodes.urls()),
            ("engine.monitors", "--flag", nodes.monitors()),
        ];
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
        let cluster = Engine::from_config(&config).unwrap().open(&chain()).unwrap();
        cluster.unwrap().transactions
    }

    /// Each of `all` to all pools at once; what they say of it.
    fn submit_all(members: &[Member], all: &[Transaction]) {
        for one in all {
            thread::scope(|scope| {
                for member in members {
                    scope.spawn(|| settle(member, one));
                }
            });
        }
    }

    /// Whether each pool gives exactly these to a metronome, sooner or later.
    fn hold(members: &[Member], all: &[Transaction], height: u64) {
        for member in members {
            until(|| member.take(height) == all);
        }
    }

    #[test]
    fn pools_on_nodes_of_nats_lose_nothing_they_acknowledged() {
        let Some(program) = nodes::program() else { return };
        let mut running = nodes::Nodes::three(&program);
        let members = [(); 3].map(|()| Member::of(open(&running)));
        let all: Vec<_> = (0..40).map(alice).collect();
        submit_all(&members, &all[..10]);
        hold(&members, &all[..10], 0);
        running.kill(0);
        submit_all(&members, &all[10..20]);
        running.restart(0, nodes::SYNCED);
        submit_all(&members, &all[20..30]);
        hold(&members, &all[..30], 0);
        (0..3).for_each(|node| running.kill(node));
        let problem = members[0].submit(&all[30..]).unwrap_err();
        assert_eq!(problem.status().as_u16(), 503, "{problem}");
        (0..3).for_each(|node| running.spawn_again(node));
        submit_all(&members, &all[30..]);
        drop(members);
        let members = [(); 2].map(|()| Member::of(open(&running)));
        hold(&members, &all, 0);
        let mut ledger = Ledger::in_memory(chain());
        let block = extend(&mut ledger, all);
        for member in &members {
            member.follow(&block);
            until(|| member.feed.remove().is_ok());
        }
        let log = open(&running);
        // The last one stays until there is a later one.
        until(|| log.read(Position::START, usize::MAX).is_ok_and(|left| left.len() <= 1));
        settle(&members[0], &alice(40));
        hold(&members, &[alice(40)], 1);
    }
}
