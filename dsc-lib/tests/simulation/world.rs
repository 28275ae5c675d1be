//! The network: every machine, what travels between them, and the order in which things happen.
//!
//! One thread, one queue of events, one source of chance: the same seed gives the same run.

use std::collections::BTreeMap;

use dsc_lib::{
    codec::List,
    genesis::{Chain, EngineGenesis, Genesis, Limits},
    hash::Digest,
    ledger::State,
    role::{Active, Answer, Call, Finished, Lost, Next, Work},
    testing::{self, ALICE, BOB, CAROL, METRONOME, STRANGER, address, coins},
    units::{Millis, Target},
};

use crate::{
    adversary::{Cheat, FalseLedger, Forger, Thief},
    clock::Clock,
    counts::Counts,
    disk::SickDisk,
    event::{Asked, Caller, Event, Node, Queue, server_of, wait_of},
    judge::Judge,
    network::Links,
    node::{BlockchainNode, Clients, Machine, MetronomeNode, PoolNode},
    plan::{FAULTY, Plan, SERVERS, honest},
    random::Random,
    trace::Trace,
};

/// Time it takes to check or draft a block.
const WORK_MS: std::ops::RangeInclusive<u64> = 1..=90;
/// Time within which all must have come to rest after faults have ended.
const PATIENCE: Millis = Millis(120_000);

/// More things than happen in a run in which time goes on.
const EVENTS_MAX: u64 = 1_000_000;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) state: Digest,
    pub(crate) counts: Counts,
}

/// A chain with a second metronome that is authorised and cheats, small blocks, and a thief with
/// some coins.
pub(crate) fn genesis() -> Genesis {
    let mut genesis = testing::genesis();
    genesis.metronomes = List::new(vec![*METRONOME.public(), *CAROL.public()]).unwrap();
    genesis.halving = 50;
    genesis.limits = Limits { block_transactions: 12, block_bytes: 1 << 16 };
    let target = Target::for_tries(testing::ATTEMPTS_MAX / 2);
    let engines = genesis.engines.iter().cloned();
    let engines = engines.map(|engine| EngineGenesis { target, ..engine });
    genesis.engines = List::new(engines.collect()).unwrap();
    let mut accounts = [&*ALICE, &*BOB, &*STRANGER].map(address);
    accounts.sort_unstable();
    let endow = |address| dsc_lib::genesis::Endowment { address, balance: coins(200_000) };
    genesis.accounts = List::new(accounts.map(endow).to_vec()).unwrap();
    genesis
}

pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) random: Random,
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
    pub(crate) judge: Judge,
    pub(crate) queue: Queue,
    pub(crate) links: Links,
    pub(crate) machines: BTreeMap<Node, Machine>,
    /// The ticket of what each caller waits for: an answer, or work.
    pub(crate) waiting: BTreeMap<Caller, u64>,
    /// The ticket of the time at which each caller is to be asked again.
    alarms: BTreeMap<Caller, u64>,
    /// Calls that are answered when there is something new.
    pub(crate) parked: BTreeMap<Node, Vec<Asked>>,
    pub(crate) genesis: Chain,
    pub(crate) blockchain: BlockchainNode,
    pub(crate) pool: PoolNode,
    pub(crate) metronome: MetronomeNode,
    pub(crate) clients: Clients,
    pub(crate) forger: Forger,
    pub(crate) cheat: Cheat,
    pub(crate) thief: Thief,
    pub(crate) false_ledger: FalseLedger,
    events: u64,
    pub(crate) is_quiet: bool,
    /// The ledger's next height when faults ended.
    pub(crate) quiet_height: u64,
}

impl World {
    pub(crate) fn new(seed: u64, is_shown: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        let chain = genesis().check().unwrap();
        let now = chain.genesis().time.plus(Millis(1));
        let clients = Clients::new(&chain, &mut random);
        let mut world = Self {
            now,
            random,
            plan,
            trace: Trace::new(now, is_shown),
            counts: Counts::default(),
            judge: Judge::default(),
            queue: Queue::default(),
            links: Links::default(),
            machines: BTreeMap::new(),
            waiting: BTreeMap::new(),
            alarms: BTreeMap::new(),
            parked: BTreeMap::new(),
            genesis: chain,
            blockchain: BlockchainNode::default(),
            pool: PoolNode::default(),
            metronome: MetronomeNode::default(),
            clients,
            forger: Forger::default(),
            cheat: Cheat::default(),
            thief: Thief::default(),
            false_ledger: FalseLedger::default(),
            events: 0,
            is_quiet: false,
            quiet_height: 0,
        };
        world.trace.note(now, format_args!("{:?}", world.plan));
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        let adversaries = [Node::Forger, Node::Cheat, Node::Thief];
        for node in honest().into_iter().chain(adversaries) {
            let disk = SERVERS.contains(&node).then(|| SickDisk::new(self.random.number()));
            self.machines.insert(node, Machine::new(Clock::right(self.now), disk));
            self.start(node);
        }
        self.schedule_orders();
        for (at, fault) in std::mem::take(&mut self.plan.faults) {
            self.schedule(at, Event::Begin(fault));
        }
        self.schedule(FAULTY, Event::Quiet);
    }

    /// The rules, for a role that starts. In one process all share what was checked.
    pub(crate) fn chain(&self) -> Chain {
        if self.plan.is_one_process { self.genesis.clone() } else { genesis().check().unwrap() }
    }

    pub(crate) fn schedule(&mut self, after: Millis, event: Event) {
        self.queue.push(self.now.plus(after), event);
    }

    pub(crate) fn run(mut self) -> Outcome {
        let end = self.now.plus(FAULTY).plus(PATIENCE);
        while !(self.is_quiet && self.is_settled()) {
            assert!(self.now < end, "not settled: {}", self.unsettled());
            let (at, event) = self.queue.pop();
            self.now = at;
            self.events += 1;
            assert!(self.events < EVENTS_MAX, "time stands still");
            self.dispatch(event);
        }
        let state = self.judge();
        Outcome { trace: self.trace.hash(), state, counts: self.counts }
    }

    /// Lets an event happen, unless its machine is down or stands still.
    fn dispatch(&mut self, event: Event) {
        let node = match &event {
            Event::Request(asked) => Some(server_of(&asked.call)),
            other => other.node(),
        };
        let Some(node) = node else { return self.happen(event) };
        let Machine { is_up, paused_until, .. } = self.machines[&node];
        if !is_up {
            if let Event::Request(asked) = event {
                self.refuse_connection(&asked);
            }
        } else if paused_until > self.now {
            self.queue.push(paused_until, event);
        } else {
            self.happen(event);
        }
    }

    /// Nobody listens: the caller learns of it at once, or never.
    fn refuse_connection(&mut self, asked: &Asked) {
        self.counts.add("call to a dead machine");
        if self.random.coin() {
            self.reply(asked, &Err(Lost::new("connection refused")));
        }
    }

    fn happen(&mut self, event: Event) {
        if !matches!(event, Event::Wake(..) | Event::Timeout(..)) {
            self.trace.note(self.now, &event);
        }
        match event {
            Event::Wake(caller, ticket) => {
                if self.alarms.get(&caller) == Some(&ticket) {
                    self.wake(caller);
                }
            }
            Event::Request(asked) => self.serve(asked),
            Event::Reply(caller, ticket, answer) => self.deliver(caller, ticket, answer),
            Event::Timeout(caller, ticket) => {
                self.deliver(caller, ticket, Err(Lost::new("timed out")));
            }
            Event::Worked(caller, ticket, done) => self.worked(caller, ticket, done),
            Event::Proved(index, ticket, job) => self.proved(index, ticket, &job),
            Event::Order(index) => self.order(index),
            Event::Overdue(node, ticket) => self.overdue(node, ticket),
            Event::Stored(Node::Pool, ticket) => self.stored_round(ticket),
            Event::Stored(_, ticket) => self.stored_block(ticket),
            Event::Begin(fault) => self.begin(fault),
            Event::End(fault) => self.end(fault),
            Event::Start(node) => self.start(node),
            Event::Quiet => {
                self.quieten();
                self.quiet_height = self.judge.blocks();
            }
        }
    }

    fn serve(&mut self, asked: Asked) {
        match server_of(&asked.call) {
            Node::Blockchain => self.serve_blockchain(asked),
            Node::Pool => self.serve_pool(asked),
            _ => self.serve_metronome(asked),
        }
    }

    /// Answers now, or when there is something new if the caller waits for that.
    pub(crate) fn answer_or_park(&mut self, asked: Asked, answer: &Result<Answer, Lost>) {
        let (node, wait) = (server_of(&asked.call), wait_of(&asked.call));
        if wait == Millis(0) || !is_nothing_new(answer) {
            return self.reply(&asked, answer);
        }
        self.schedule(wait, Event::Overdue(node, asked.ticket));
        self.parked.entry(node).or_default().push(asked);
    }

    /// Answers those who wait for something new, if there is.
    pub(crate) fn unpark(&mut self, node: Node) {
        for asked in self.parked.remove(&node).unwrap_or_default() {
            let answer = self.answer_again(node, &asked.call);
            if is_nothing_new(&answer) {
                self.parked.entry(node).or_default().push(asked);
            } else {
                self.reply(&asked, &answer);
            }
        }
    }

    fn answer_again(&mut self, node: Node, call: &Call) -> Result<Answer, Lost> {
        if node == Node::Blockchain {
            self.answer_blockchain(call)
        } else {
            self.answer_metronome(call)
        }
    }

    fn overdue(&mut self, node: Node, ticket: u64) {
        let Some(parked) = self.parked.get_mut(&node) else { return };
        let Some(index) = parked.iter().position(|asked| asked.ticket == ticket) else { return };
        let asked = parked.remove(index);
        let answer = self.answer_again(node, &asked.call);
        self.reply(&asked, &answer);
    }

    /// Whether the caller still waits for this; it does no longer then.
    pub(crate) fn take_ticket(&mut self, caller: Caller, ticket: u64) -> bool {
        let is_waited_for = self.waiting.get(&caller) == Some(&ticket);
        if is_waited_for {
            self.waiting.remove(&caller);
        }
        is_waited_for
    }

    /// Hands an answer over, unless it comes after the caller has given up on it.
    fn deliver(&mut self, caller: Caller, ticket: u64, answer: Result<Answer, Lost>) {
        if !self.take_ticket(caller, ticket) {
            return;
        }
        let now = self.now_of(caller.node());
        match caller {
            Caller::Validator(index) => self.validator(index).answer(now, answer),
            Caller::Forger => self.forged(&answer),
            Caller::Cheat => self.cheated(&answer),
            Caller::Thief => self.stole(&answer),
            _ => self.active(caller).answer(now, answer),
        }
        self.moved(caller);
        self.wake(caller);
    }

    fn active(&mut self, caller: Caller) -> &mut dyn Active {
        match caller {
            Caller::Pool => self.pool.role.as_mut().expect("it is up"),
            Caller::Metronome => self.metronome.role.as_mut().expect("it is up"),
            Caller::Monitor => &mut self.clients.monitor,
            Caller::Payment(index) => &mut self.clients.payers[index].payment,
            other => panic!("{other:?} is not driven this way"),
        }
    }

    /// Looks at a role that has taken an answer or what came of its work.
    fn moved(&mut self, caller: Caller) {
        let follows = |judge: &Judge, state: &State| judge.follows(caller, state);
        match caller {
            Caller::Pool => {
                let role = self.pool.role.as_ref().expect("it is up");
                follows(&self.judge, role.replica().state());
                self.follow_pool();
            }
            Caller::Metronome => {
                let role = self.metronome.role.as_ref().expect("it is up");
                follows(&self.judge, role.replica().state());
                self.unpark(Node::Metronome);
            }
            Caller::Payment(index) => {
                let payment = &self.clients.payers[index].payment;
                if let Some(id) = payment.id() {
                    self.judge.signed(id);
                    if payment.end().is_some() {
                        self.judge.ended(id);
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks a caller that waits for nothing what to do.
    pub(crate) fn wake(&mut self, caller: Caller) {
        // It may just have crashed over what it wrote.
        if self.waiting.contains_key(&caller) || !self.machine(caller.node()).is_up {
            return;
        }
        match caller {
            Caller::Validator(index) => self.wake_validator(index),
            Caller::Forger => self.wake_forger(),
            Caller::Cheat => self.wake_cheat(),
            Caller::Thief => self.wake_thief(),
            _ => self.wake_active(caller),
        }
    }

    fn wake_active(&mut self, caller: Caller) {
        let now = self.now_of(caller.node());
        match self.active(caller).next(now) {
            Next::Call(call) => {
                if let (Caller::Metronome, Call::SubmitBlock(bytes)) = (caller, &call) {
                    self.judge.made(bytes);
                }
                self.call(caller, &call);
            }
            Next::Work(work) => self.work(caller, work),
            Next::Wait(until) => self.wake_at(caller, until),
            _ => {}
        }
        if caller == Caller::Metronome {
            // Asking what to do next may have opened a round.
            self.unpark(Node::Metronome);
        }
    }

    /// Lets a role compute, and write what it must; until it is done others ask it what they like.
    fn work(&mut self, caller: Caller, work: Work) {
        let node = caller.node();
        self.machine(node).begin_write();
        let done = work.run();
        if self.strike(node) {
            return;
        }
        let ticket = self.queue.ticket();
        let time = self.random.millis(&WORK_MS).plus(self.disk_time(node));
        self.waiting.insert(caller, ticket);
        self.schedule(time, Event::Worked(caller, ticket, done));
    }

    fn worked(&mut self, caller: Caller, ticket: u64, done: Finished) {
        if self.take_ticket(caller, ticket) {
            self.machine(caller.node()).end_write();
            let now = self.now_of(caller.node());
            self.active(caller).finish(now, done);
            self.moved(caller);
            self.wake(caller);
        }
    }

    /// Asks the caller again when its clock shows `until`.
    pub(crate) fn wake_at(&mut self, caller: Caller, until: Millis) {
        let pause = self.machines[&caller.node()].clock.pause(self.now, until);
        let ticket = self.queue.ticket();
        self.alarms.insert(caller, ticket);
        self.schedule(pause, Event::Wake(caller, ticket));
    }
}

/// Whether the answer is that there is nothing new.
fn is_nothing_new(answer: &Result<Answer, Lost>) -> bool {
    match answer {
        Ok(Answer::Blocks(blocks)) => blocks.is_empty(),
        Ok(Answer::Round(round)) => round.is_none(),
        _ => false,
    }
}
