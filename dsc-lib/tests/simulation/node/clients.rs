//! Roles that nobody calls: validators, the monitor, and wallets with their payments.

use std::sync::{LazyLock, Mutex, PoisonError};

use dsc_lib::{
    genesis::Chain,
    keys::SecretKey,
    proof::{
        Attempt, ENGINE_COUNT, ENGINES, Fingerprint, Footprint, Miner, NoProgress, Prover,
        Resources,
    },
    role::{
        monitor::Monitor,
        validator::{Job, Step, Validator},
        wallet::{End, Order, Payment},
    },
    testing::{ALICE, BOB, MINER, Unhurried, address, coins},
    transaction::{self, Memo, Payments},
    units::{Amount, Millis},
};

use crate::{
    event::{Caller, Event, Node},
    plan::FAULTY,
    random::Random,
    world::{World, genesis},
};

/// Payments of a run, spread over the time of faults.
const PAYMENTS: usize = 30;
/// Heights within which most payments must get onto the ledger.
const LIFETIME: u64 = 20;
/// Time that proving takes.
const PROVING_MS: std::ops::RangeInclusive<u64> = 20..=400;
const MONITOR_INTERVAL: Millis = Millis(5000);

/// Provers are made once for all runs: they depend on the miner, not on the seed.
static PROVERS: LazyLock<Mutex<Vec<Box<dyn Prover>>>> = LazyLock::new(|| {
    let chain = genesis().check().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
    let prepare = |index: usize| {
        let engine = chain.engine(ENGINES[index].kind).unwrap();
        engine.prepare(&miner(index), &resources, &NoProgress).unwrap()
    };
    Mutex::new((0..ENGINE_COUNT).map(prepare).collect())
});

fn miner(index: usize) -> Miner {
    let index = u8::try_from(index).unwrap();
    Miner { address: address(&MINER), fingerprint: Fingerprint([index; 16]) }
}

fn prove(index: usize, job: &Job) -> (Attempt, Footprint) {
    let free = Unhurried::default();
    let mut provers = PROVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = provers[index].prove(&job.challenge, job.target, &free.budget()).unwrap();
    (attempt, provers[index].footprint())
}

/// Somebody who wants to pay. What was signed is kept, whatever becomes of the machine.
#[derive(Debug)]
pub(crate) struct Payer {
    key: SecretKey,
    order: Order,
    is_ordered: bool,
    pub(crate) payment: Payment,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Clients {
    validators: Vec<Validator>,
    pub(crate) monitor: Monitor,
    pub(crate) payers: Vec<Payer>,
}

impl Clients {
    pub(crate) fn new(chain: &Chain, random: &mut Random) -> Self {
        let validators = (0..ENGINE_COUNT).map(new_validator).collect();
        let payers = (0..PAYMENTS).map(|index| new_payer(chain, index, random)).collect();
        Self { validators, monitor: Monitor::new(MONITOR_INTERVAL), payers }
    }

    /// The payments of a wallet that have begun and not ended.
    pub(crate) fn open_payments(&self, node: Node) -> Vec<Caller> {
        let payers = self.payers.iter().enumerate();
        let open = payers.filter(|(_, p)| p.is_ordered && p.payment.end().is_none());
        let callers = open.map(|(index, _)| Caller::Payment(index));
        callers.filter(|caller| caller.node() == node).collect()
    }

    pub(crate) fn ends(&self) -> impl Iterator<Item = Option<&End>> {
        self.payers.iter().map(|payer| payer.payment.end())
    }
}

fn new_validator(index: usize) -> Validator {
    Validator::new(miner(index), ENGINES[index].kind)
}

/// Payments of every sort: most are good, some ask too much, some live too short a time.
fn new_payer(chain: &Chain, index: usize, random: &mut Random) -> Payer {
    let key = [&*ALICE, &*BOB][usize::from(random.coin())].clone();
    let amount = match index % 10 {
        0 => Amount::from_units(u64::MAX / 2),
        _ => coins(random.within(&(1..=50))),
    };
    let to = address([&ALICE, &BOB, &MINER][random.below(3)]);
    let order = Order {
        payments: Payments::new(vec![transaction::Payment { to, amount }]).unwrap(),
        fee: Amount::from_units(random.within(&(0..=1000))),
        memo: Memo::default(),
        lifetime: if index % 10 == 1 { 0 } else { LIFETIME },
        confirmations: random.within(&(1..=3)),
    };
    let payment = Payment::new(chain.clone(), key.clone(), order.clone());
    Payer { key, order, is_ordered: false, payment }
}

impl Payer {
    /// The wallet has started anew: what it had signed it sends again, as it is.
    fn resume(&mut self, chain: &Chain) {
        if self.payment.end().is_some() {
            return;
        }
        let (chain, order) = (chain.clone(), self.order.clone());
        self.payment = match self.payment.transaction().cloned() {
            Some(signed) => Payment::resume(chain, signed, order.confirmations),
            None => Payment::new(chain, self.key.clone(), order),
        };
    }
}

impl World {
    /// Puts down when everybody will want to pay: before faults end.
    pub(crate) fn schedule_orders(&mut self) {
        for index in 0..PAYMENTS {
            let at = self.random.millis(&(0..=FAULTY.0 - 1));
            self.schedule(at, Event::Order(index));
        }
    }

    pub(crate) fn start_client(&mut self, node: Node) -> bool {
        let chain = self.chain();
        match node {
            Node::Validator(index) => self.clients.validators[index] = new_validator(index),
            Node::Monitor => self.clients.monitor = Monitor::new(MONITOR_INTERVAL),
            Node::Wallet(_) => {
                let payers = self.clients.payers.iter_mut().enumerate();
                let own = payers.filter(|(index, _)| Caller::Payment(*index).node() == node);
                own.for_each(|(_, payer)| payer.resume(&chain));
            }
            _ => {}
        }
        true
    }

    pub(crate) fn order(&mut self, index: usize) {
        self.clients.payers[index].is_ordered = true;
        let caller = Caller::Payment(index);
        if self.machine(caller.node()).is_up {
            self.wake(caller);
        }
    }

    pub(crate) fn validator(&mut self, index: usize) -> &mut Validator {
        &mut self.clients.validators[index]
    }

    pub(crate) fn wake_validator(&mut self, index: usize) {
        let caller = Caller::Validator(index);
        let now = self.now_of(caller.node());
        match self.validator(index).next(now) {
            Step::Call(call) => self.call(caller, &call),
            Step::Wait(until) => self.wake_at(caller, until),
            Step::Prove(job) => {
                let (ticket, time) = (self.queue.ticket(), self.random.millis(&PROVING_MS));
                self.waiting.insert(caller, ticket);
                self.schedule(time, Event::Proved(index, ticket, job));
            }
            other => panic!("unknown step {other:?}"),
        }
    }

    pub(crate) fn proved(&mut self, index: usize, ticket: u64, job: &Job) {
        let caller = Caller::Validator(index);
        if self.take_ticket(caller, ticket) {
            let (attempt, footprint) = prove(index, job);
            self.validator(index).proved(job.time, attempt, footprint);
            self.wake(caller);
        }
    }
}
