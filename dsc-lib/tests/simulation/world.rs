//! The network: one clock, one queue of events, every role, and what travels between them.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use dsc_lib::{
    genesis::{Chain, Genesis},
    ledger::Ledger,
    mempool::Limits,
    proof::{ENGINE_COUNT, ENGINES, Fingerprint, Miner, NoProgress, Prover, Resources},
    role::{
        Active, Answer, Call, Finished, Lost, Next, Refusal, Work,
        blockchain::{Blockchain, SubmitError},
        metronome::{LastSigned, Metronome, Settings},
        monitor::Monitor,
        pool::Pool,
        validator::{Job, Step, Validator},
        wallet::{End, Order, Payment},
    },
    testing::{self, ALICE, BOB, CAROL, METRONOME, MINER, Unhurried, address, coins},
    transaction::{self, Encoded, Memo, Payments},
    units::{Amount, Height, Millis, Target},
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::adversary::{CheatingMetronome, Forger};

/// A call without an answer is given up after this time.
const TIMEOUT: Millis = Millis(400);
/// Time a message takes.
const DELAY_MS: Range<u64> = 1..120;
/// Time a validator takes to prove.
const PROVING_MS: Range<u64> = 20..400;
/// Time it takes to check or draft a block.
const WORK_MS: Range<u64> = 1..90;
/// Chances in a thousand.
const LOSS: u64 = 60;
const DOUBLING: u64 = 60;
/// Payments of a run, spread over its rounds.
const PAYMENTS: u64 = 60;
/// After this many rounds beyond the last, a payment without an end is a failure.
const PATIENCE_ROUNDS: u64 = 60;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: String,
    pub(crate) height: u64,
    pub(crate) wins: [u64; ENGINE_COUNT],
    pub(crate) empty: u64,
    pub(crate) confirmed: u64,
    pub(crate) rejected: u64,
    pub(crate) expired: u64,
    pub(crate) forgeries: u64,
    pub(crate) cheats: u64,
    pub(crate) stolen_rounds: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, wins) in self.wins.iter_mut().zip(other.wins) {
            *sum += wins;
        }
        self.height += other.height;
        self.empty += other.empty;
        self.confirmed += other.confirmed;
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.forgeries += other.forgeries;
        self.cheats += other.cheats;
        self.stolen_rounds += other.stolen_rounds;
        self.lost += other.lost;
        self.doubled += other.doubled;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "height {}, wins {:?}, {} empty; ", self.height, self.wins, self.empty)?;
        let Self { confirmed, rejected, expired, .. } = self;
        write!(f, "payments {confirmed} confirmed, {rejected} rejected, {expired} expired; ")?;
        let Self { forgeries, cheats, stolen_rounds, .. } = self;
        write!(
            f,
            "{forgeries} forgeries and {cheats} cheats refused, {stolen_rounds} rounds taken; "
        )?;
        write!(f, "{} calls lost, {} doubled; {}", self.lost, self.doubled, self.state)
    }
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Pool,
    Metronome,
    Monitor,
    Validator(usize),
    Payment(usize),
    Forger,
    Cheat,
}

#[derive(Debug)]
enum Event {
    /// The caller may have something to do.
    Wake(Caller),
    /// A call arrives; the answer to it goes back if `ticket` is still the caller's.
    Request(Caller, u64, Call),
    Reply(Caller, u64, Answer),
    Timeout(Caller, u64),
    Worked(Caller, u64, Finished),
    Proved(usize, Job),
    StartPayment(usize),
}

/// Provers are made once for all runs: they depend on the miner, not on the seed.
type Provers = Vec<Box<dyn Prover>>;

static PROVERS: LazyLock<Mutex<(Chain, Provers)>> = LazyLock::new(|| {
    let chain = genesis().check().unwrap();
    let folder = tempfile::tempdir().unwrap().keep();
    let resources = Resources { threads: 1, ..Resources::new(&folder) };
    let prepare = |index: usize| {
        let engine = chain.engine(ENGINES[index].kind).unwrap();
        engine.prepare(&miner(index), &resources, &NoProgress).unwrap()
    };
    let provers = (0..ENGINE_COUNT).map(prepare).collect();
    Mutex::new((chain, provers))
});

fn miner(index: usize) -> Miner {
    let index = u8::try_from(index).unwrap();
    Miner { address: address(&MINER), fingerprint: Fingerprint([index; 16]) }
}

/// A chain with a second metronome that is authorised and cheats.
fn genesis() -> Genesis {
    let mut genesis = testing::genesis();
    genesis.metronomes =
        dsc_lib::codec::List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap();
    genesis.halving = 50;
    let engines = genesis.engines.iter().cloned().map(|engine| dsc_lib::genesis::EngineGenesis {
        target: Target::for_tries(testing::ATTEMPTS_MAX / 2),
        ..engine
    });
    genesis.engines = dsc_lib::codec::List::new(engines.collect()).unwrap();
    genesis
}

pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) random: ChaCha8Rng,
    queue: BTreeMap<(Millis, u64), Event>,
    counter: u64,
    waiting: BTreeMap<Caller, u64>,
    pub(crate) blockchain: Blockchain,
    pool: Pool,
    pub(crate) metronome: Metronome,
    monitor: Monitor,
    validators: Vec<Validator>,
    payments: Vec<Payment>,
    forger: Forger,
    cheat: CheatingMetronome,
    outcome: Outcome,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let chain = PROVERS.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let time = chain.genesis().time;
        let key = METRONOME.clone();
        let interval = chain.genesis().interval;
        let signed = LastSigned::in_memory(&chain, &key.public().address());
        let settings = Settings { key, epoch: 0, interval, running: true };
        let mut world = Self {
            now: time.plus(Millis(1)),
            random: ChaCha8Rng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            counter: 0,
            waiting: BTreeMap::new(),
            blockchain: Blockchain::new(Ledger::in_memory(chain.clone())),
            pool: Pool::new(chain.clone(), Limits::default()),
            metronome: Metronome::new(chain.clone(), settings, signed),
            monitor: Monitor::new(Millis(5_000)),
            validators: (0..ENGINE_COUNT)
                .map(|i| Validator::new(miner(i), ENGINES[i].kind))
                .collect(),
            payments: Vec::new(),
            forger: Forger::default(),
            cheat: CheatingMetronome::new(chain, CAROL.clone()),
            outcome: Outcome::default(),
        };
        let callers =
            [Caller::Pool, Caller::Metronome, Caller::Monitor, Caller::Forger, Caller::Cheat];
        let validators = (0..ENGINE_COUNT).map(Caller::Validator);
        for caller in callers.into_iter().chain(validators) {
            world.schedule(Millis(0), Event::Wake(caller));
        }
        world
    }

    pub(crate) fn below(&mut self, range: &Range<u64>) -> u64 {
        range.start + self.random.next_u64() % (range.end - range.start)
    }

    pub(crate) fn chance(&mut self, in_a_thousand: u64) -> bool {
        self.random.next_u64() % 1000 < in_a_thousand
    }

    fn schedule(&mut self, after: Millis, event: Event) {
        self.counter += 1;
        self.queue.insert((self.now.plus(after), self.counter), event);
    }

    fn height(&self) -> u64 {
        self.blockchain.ledger().state().round().height.0
    }

    pub(crate) fn run(mut self, rounds: u64) -> Outcome {
        let interval = self.blockchain.ledger().state().chain().genesis().interval.0;
        for index in 0..PAYMENTS {
            let order = self.order(index);
            self.payments.push(order);
            let at = self.below(&(0..rounds * interval * 9 / 10));
            self.schedule(Millis(at), Event::StartPayment(usize::try_from(index).unwrap()));
        }
        while self.height() < rounds || !self.settled() {
            assert!(
                self.height() < rounds + PATIENCE_ROUNDS,
                "not settled: {:?}",
                self.unsettled()
            );
            let ((at, _), event) = self.queue.pop_first().expect("somebody is always waiting");
            self.now = at;
            self.handle(event);
        }
        self.judge()
    }

    fn settled(&self) -> bool {
        self.payments.iter().all(|payment| payment.end().is_some())
    }

    fn unsettled(&self) -> Vec<&Payment> {
        self.payments.iter().filter(|payment| payment.end().is_none()).collect()
    }

    /// Payments of every sort: most are good, some ask too much, some live too short a time.
    fn order(&mut self, index: u64) -> Payment {
        let key = [&*ALICE, &*BOB][usize::from(self.chance(500))].clone();
        let amount = match index % 10 {
            0 => Amount::from_units(u64::MAX / 2),
            _ => coins(1 + self.below(&(0..50))),
        };
        let lifetime = if index % 10 == 1 { 0 } else { 20 };
        let to = address([&ALICE, &BOB, &MINER][usize::try_from(self.below(&(0..3))).unwrap()]);
        let order = Order {
            payments: Payments::new(vec![transaction::Payment { to, amount }]).unwrap(),
            fee: Amount::from_units(self.below(&(0..1000))),
            memo: Memo::default(),
            lifetime,
            confirmations: 1 + index % 3,
        };
        Payment::new(self.blockchain.ledger().state().chain().clone(), key, order)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake(caller) => self.wake(caller),
            Event::Request(caller, ticket, call) => {
                let answer = self.serve(&call);
                self.send_reply(caller, ticket, &answer);
            }
            Event::Reply(caller, ticket, answer) => self.deliver(caller, ticket, Ok(answer)),
            Event::Timeout(caller, ticket) => {
                self.deliver(caller, ticket, Err(Lost::new("timed out")));
            }
            Event::Worked(caller, ticket, done) => self.worked(caller, ticket, done),
            Event::Proved(index, job) => self.proved(index, &job),
            Event::StartPayment(index) => self.wake(Caller::Payment(index)),
        }
    }

    /// Sends over the network: lost, doubled or delayed as chance has it.
    fn send(&mut self, event: impl Fn() -> Event) {
        if self.chance(LOSS) {
            self.outcome.lost += 1;
            return;
        }
        let copies = if self.chance(DOUBLING) { 2 } else { 1 };
        self.outcome.doubled += copies - 1;
        for _ in 0..copies {
            let delay = Millis(self.below(&DELAY_MS));
            self.schedule(delay, event());
        }
    }

    fn send_reply(&mut self, caller: Caller, ticket: u64, answer: &Answer) {
        self.send(|| Event::Reply(caller, ticket, answer.clone()));
    }

    fn call(&mut self, caller: Caller, call: &Call) {
        self.counter += 1;
        let ticket = self.counter;
        self.waiting.insert(caller, ticket);
        self.send(|| Event::Request(caller, ticket, call.clone()));
        self.schedule(TIMEOUT, Event::Timeout(caller, ticket));
    }

    /// Hands an answer over, unless it comes after the caller has given up on it.
    fn deliver(&mut self, caller: Caller, ticket: u64, answer: Result<Answer, Lost>) {
        if self.waiting.get(&caller) != Some(&ticket) {
            return;
        }
        self.waiting.remove(&caller);
        let now = self.now;
        match caller {
            Caller::Validator(index) => self.validators[index].answer(now, answer),
            Caller::Forger => {
                self.outcome.forgeries += u64::from(self.forger.refused(answer));
            }
            Caller::Cheat => {
                let (cheats, stolen) = self.cheat.settled(answer);
                self.outcome.cheats += u64::from(cheats);
                self.outcome.stolen_rounds += u64::from(stolen);
            }
            _ => self.active(caller).answer(now, answer),
        }
        self.wake(caller);
    }

    fn active(&mut self, caller: Caller) -> &mut dyn Active {
        match caller {
            Caller::Pool => &mut self.pool,
            Caller::Metronome => &mut self.metronome,
            Caller::Monitor => &mut self.monitor,
            Caller::Payment(index) => &mut self.payments[index],
            other => panic!("{other:?} is not driven this way"),
        }
    }

    fn wake(&mut self, caller: Caller) {
        if self.waiting.contains_key(&caller) {
            return;
        }
        match caller {
            Caller::Validator(index) => self.wake_validator(index),
            Caller::Forger => self.wake_forger(),
            Caller::Cheat => self.wake_cheat(),
            _ => self.wake_active(caller),
        }
    }

    fn wake_active(&mut self, caller: Caller) {
        let now = self.now;
        match self.active(caller).next(now) {
            Next::Call(call) => self.call(caller, &call),
            Next::Work(work) => self.work(caller, work),
            Next::Wait(until) => self.wake_at(caller, until),
            _ => {}
        }
    }

    /// Lets a role compute; until it is done others ask it what they like.
    fn work(&mut self, caller: Caller, work: Work) {
        self.counter += 1;
        let ticket = self.counter;
        self.waiting.insert(caller, ticket);
        let time = Millis(self.below(&WORK_MS));
        self.schedule(time, Event::Worked(caller, ticket, work.run()));
    }

    fn worked(&mut self, caller: Caller, ticket: u64, done: Finished) {
        assert_eq!(self.waiting.remove(&caller), Some(ticket), "a role does one thing at a time");
        let now = self.now;
        self.active(caller).finish(now, done);
        self.wake(caller);
    }

    fn wake_at(&mut self, caller: Caller, until: Millis) {
        let pause = until.since(self.now).max(Millis(1));
        self.schedule(pause, Event::Wake(caller));
    }

    fn wake_validator(&mut self, index: usize) {
        match self.validators[index].next(self.now) {
            Step::Call(call) => self.call(Caller::Validator(index), &call),
            Step::Prove(job) => {
                let time = Millis(self.below(&PROVING_MS));
                self.schedule(time, Event::Proved(index, job));
            }
            Step::Wait(until) => self.wake_at(Caller::Validator(index), until),
            other => panic!("unknown step {other:?}"),
        }
    }

    fn proved(&mut self, index: usize, job: &Job) {
        let free = Unhurried::default();
        let mut provers = PROVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let prover = &mut provers.1[index];
        let attempt = prover.prove(&job.challenge, job.target, &free.budget()).unwrap();
        let footprint = prover.footprint();
        drop(provers);
        self.validators[index].proved(job.time, attempt, footprint);
        self.wake(Caller::Validator(index));
    }

    fn wake_forger(&mut self) {
        let mut forger = std::mem::take(&mut self.forger);
        let call = forger.forge(self);
        self.forger = forger;
        if let Some(call) = call {
            self.call(Caller::Forger, &call);
        } else {
            self.wake_at(Caller::Forger, self.now.plus(Millis(300)));
        }
    }

    fn wake_cheat(&mut self) {
        let mut cheat = self.cheat.take();
        let call = cheat.cheat(self);
        self.cheat = cheat;
        match call {
            Some(call) => self.call(Caller::Cheat, &call),
            None => self.wake_at(Caller::Cheat, self.now.plus(Millis(700))),
        }
    }

    /// The served side of every role.
    fn serve(&mut self, call: &Call) -> Answer {
        let now = self.now;
        match call {
            Call::Snapshot => Answer::Snapshot(self.blockchain.snapshot().unwrap()),
            Call::Blocks { from, .. } => Answer::Blocks(self.blockchain.blocks(*from).unwrap()),
            Call::SubmitBlock(bytes) => answer_block(self.blockchain.submit(bytes)),
            Call::ChainInfo => Answer::ChainInfo(Box::new(self.blockchain.info().unwrap())),
            Call::Inclusion(id) => {
                Answer::Inclusion(self.blockchain.inclusion(id).unwrap().map(Box::new))
            }
            Call::SubmitTransactions(transactions) => self.serve_submission(transactions),
            Call::Take(height) => {
                let taken = self.pool.take(*height);
                Answer::Transactions(taken.iter().map(|t| t.encoded().clone()).collect())
            }
            Call::PoolStatus(id) => Answer::PoolStatus(self.pool.status(id)),
            Call::NextSequence(address) => Answer::NextSequence(self.pool.next_sequence(address)),
            Call::PoolCounts => Answer::PoolCounts(self.pool.counts()),
            Call::Round { after, challenge, .. } => {
                Answer::Round(self.metronome.round_other_than(now, *after, *challenge))
            }
            Call::HandIn(hand_in) => match self.metronome.hand_in(now, hand_in) {
                Ok(receipt) => Answer::HandedIn(receipt),
                Err(refusal) => Answer::Refused(refusal),
            },
            Call::MetronomeStatus => Answer::MetronomeStatus(Box::new(self.metronome.status(now))),
            other => panic!("unknown call {other:?}"),
        }
    }

    fn serve_submission(&mut self, transactions: &[Encoded]) -> Answer {
        let chain = self.blockchain.ledger().state().chain().hash();
        let pool = &mut self.pool;
        let submit = |transaction: &Encoded| {
            let checked =
                transaction.decode().check(&chain).map_err(|e| Refusal::new(e.code(), e))?;
            Ok(pool.submit(Arc::new(checked)))
        };
        let outcomes: Result<Vec<_>, Refusal> = transactions.iter().map(submit).collect();
        outcomes.map_or_else(Answer::Refused, Answer::TransactionsSubmitted)
    }

    fn judge(mut self) -> Outcome {
        let ledger = self.blockchain.ledger();
        assert!(ledger.state().supply_holds(), "coins were made or lost");
        ledger.verify(|_, _| {}).expect("a replay finds nothing wrong");
        self.outcome.state = ledger.state().commitment().to_string();
        self.outcome.height = ledger.state().height().map_or(0, |height| height.0);
        for height in 0..=self.outcome.height {
            let block = ledger.block(Height(height)).unwrap().unwrap();
            let checked = block.proofs.iter().map(|entry| entry.miner.address);
            assert!(checked.into_iter().all(|owner| owner == address(&MINER)), "a forger won");
        }
        for ((kind, _), count) in ledger.wins().by_miner() {
            self.outcome.wins[usize::from(kind.index())] += count;
        }
        self.outcome.empty = ledger.wins().none();
        for payment in &self.payments {
            self.outcome.count(payment, ledger);
        }
        self.outcome
    }
}

impl Outcome {
    /// Counts how a payment ended, and holds it against the ledger.
    fn count(&mut self, payment: &Payment, ledger: &Ledger) {
        let id = payment.id().expect("an ended payment was signed");
        let there = ledger.transaction(&id).unwrap();
        match payment.end().expect("settled") {
            End::Confirmed { height } => {
                self.confirmed += 1;
                assert_eq!(there.expect("a confirmed payment is there").place.height, *height);
            }
            End::Rejected(refusal) => {
                self.rejected += 1;
                assert!(there.is_none(), "rejected ({refusal}) and yet on the ledger");
            }
            End::Expired { .. } => {
                self.expired += 1;
                assert!(there.is_none(), "expired and yet on the ledger");
            }
            other => panic!("unknown end {other:?}"),
        }
    }
}

fn answer_block(result: Result<dsc_lib::role::blockchain::Accepted, SubmitError>) -> Answer {
    match result {
        Ok(accepted) => Answer::BlockAccepted(accepted),
        Err(error) => Answer::Refused(error.refusal().expect("memory does not fail")),
    }
}
