//! The network: every machine, what travels between them, and the order in which things happen.
//!
//! One thread, one queue of events, one source of chance: the same seed gives the same run.

use std::collections::BTreeMap;

use dsc_lib::{
    codec::List,
    genesis::{Chain, EngineGenesis, Genesis, Limits},
    hash::Digest,
    role::Lost,
    testing::{self, ALICE, BOB, CAROL, METRONOME, STRANGER, address, coins},
    units::{Millis, Target},
};

use crate::{
    adversary::{Cheat, FalseLedger, Forger, Thief},
    clock::Clock,
    counts::Counts,
    disk::SickDisk,
    event::{Asked, Caller, Event, Node, Queue, server_of},
    judge::Judge,
    network::Links,
    node::{BlockchainNode, Clients, Machine, MetronomeNode, PoolNode},
    plan::{FAULTY, Plan, SERVERS, honest},
    random::Random,
    trace::Trace,
};

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
    pub(crate) alarms: BTreeMap<Caller, u64>,
    /// Calls that are answered when there is something new.
    pub(crate) parked: BTreeMap<Node, Vec<Asked>>,
    pub(crate) genesis: Chain,
    pub(crate) blockchain: BlockchainNode,
    pub(crate) pool: PoolNode,
    pub(crate) metronome: MetronomeNode,
    /// Leases that metronomes were given.
    pub(crate) leases: u64,
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
            leases: 0,
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
}
