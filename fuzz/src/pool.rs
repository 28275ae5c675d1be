//! The mempool beside a list of all that it was given, which is looked through every time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use dsc_lib::{
    address::Address,
    codec::List,
    genesis::{Chain, Endowment, Genesis},
    keys::{MODULUS_LEN, PublicKey, Signature},
    ledger::{Proposal, State},
    mempool::{FeeRate, Inserted, Limits, Mempool, PoolError, Status},
    testing::{self, METRONOME},
    transaction::{CheckedTransaction, Encoded, Payment, Payments, Transaction, TransactionId},
    units::{Amount, Height, Millis},
};

use crate::script::Script;

const STEPS_MAX: usize = 200;
const SENDERS: u8 = 4;
const BALANCE: u64 = 1 << 20;
/// Tight, so that every limit is met often.
const LIMITS: Limits = Limits {
    transactions_max: 7,
    bytes_max: 5500,
    per_sender_max: 4,
    gap_max: 5,
    expiry_max: 5,
    finished_max: 10_000,
};

static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let endow =
        |n| Endowment { address: sender(n), balance: Amount::from_units(BALANCE << (8 * (n % 2))) };
    let accounts = List::new((0..SENDERS).map(endow).collect()).expect("a few accounts");
    Genesis { accounts, ..testing::genesis() }.check().expect("a valid genesis")
});

fn sender(number: u8) -> Address {
    Address([number + 1; 32])
}

/// A key of a sender's own: an id says who pays. Nobody has its secret half.
fn key_of(sender: Address) -> PublicKey {
    let mut modulus = [0xff; MODULUS_LEN];
    modulus[1] = sender.0[0];
    PublicKey::from_modulus(&modulus).expect("it is long enough and odd")
}

type Shared = Arc<CheckedTransaction>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Handed(Height),
    Confirmed(Height),
    Rejected(&'static str),
    Expired(Height),
}

#[derive(Clone, Debug)]
struct Item {
    transaction: Shared,
    arrival: usize,
    stage: Stage,
}

impl Item {
    fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Handed(_))
    }

    fn sequence(&self) -> u64 {
        self.transaction.sequence()
    }

    fn rate(&self) -> FeeRate {
        FeeRate::of(&self.transaction)
    }

    fn len(&self) -> u64 {
        self.transaction.bytes().len() as u64
    }
}

/// Everything that was ever taken, in no order.
#[derive(Debug, Default)]
struct Model {
    items: Vec<Item>,
    arrivals: usize,
}

impl Model {
    fn pending(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.is_pending())
    }

    fn queue(&self, of: Address) -> BTreeMap<u64, &Item> {
        let own = self.pending().filter(|item| item.transaction.sender() == of);
        own.map(|item| (item.sequence(), item)).collect()
    }

    /// The first sequence from `base` on that is missing.
    fn end(&self, of: Address, base: u64) -> u64 {
        let queue = self.queue(of);
        (base..).find(|sequence| !queue.contains_key(sequence)).expect("queues are short")
    }

    fn spent(&self, of: Address) -> u64 {
        self.queue(of).values().map(|item| item.transaction.spent().units()).sum()
    }

    fn set(&mut self, id: TransactionId, stage: Stage) {
        let found = self.items.iter_mut().find(|item| item.transaction.id() == id);
        found.expect("it was taken").stage = stage;
    }

    fn insert(&mut self, transaction: &Shared, state: &State) -> Result<(), &'static str> {
        let id = transaction.id();
        let passing = [Stage::Rejected("evicted"), Stage::Rejected("insufficient-funds")];
        let known = self.items.iter().find(|item| item.transaction.id() == id);
        if known.is_some_and(|item| !passing.contains(&item.stage)) {
            return Ok(());
        }
        let queue = self.queue(transaction.sender());
        let rival = queue.get(&transaction.sequence()).copied().cloned();
        self.check(transaction, rival.as_ref(), state)?;
        let before = self.items.clone();
        if let Some(rival) = rival {
            self.set(rival.transaction.id(), Stage::Rejected("replaced"));
        }
        self.items.retain(|item| item.transaction.id() != id);
        let (transaction, arrival) = (Arc::clone(transaction), self.arrivals);
        self.items.push(Item { transaction, arrival, stage: Stage::Waiting });
        self.arrivals += 1;
        while let Some(worst) = self.worst_if_full(state) {
            if worst == id {
                self.items = before;
                return Err("pool-full");
            }
            self.set(worst, Stage::Rejected("evicted"));
        }
        Ok(())
    }

    fn check(
        &self,
        transaction: &CheckedTransaction,
        rival: Option<&Item>,
        state: &State,
    ) -> Result<(), &'static str> {
        let (of, next) = (transaction.sender(), state.round().height.0);
        let (account, sequence) = (state.account(&of), transaction.sequence());
        let expires = transaction.expires().0;
        let outbids = |rival: &Item| {
            rival.stage == Stage::Waiting && FeeRate::of(transaction).outbids(rival.rate())
        };
        let spared = rival.map_or(0, |rival| rival.transaction.spent().units());
        let needed = u128::from(self.spent(of) - spared) + u128::from(transaction.spent().units());
        let broken = [
            (sequence < account.sequence, "sequence-used"),
            (sequence > account.sequence + LIMITS.gap_max, "too-far-ahead"),
            (expires < next, "expired"),
            (expires >= next + LIMITS.expiry_max, "expires-too-late"),
            (rival.is_some_and(|rival| !outbids(rival)), "sequence-taken"),
            (rival.is_none() && self.queue(of).len() >= LIMITS.per_sender_max, "sender-full"),
            (needed > account.balance.units().into(), "insufficient-funds"),
        ];
        broken.into_iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, code)| Err(code))
    }

    /// The one that nobody misses most, if there are too many.
    fn worst_if_full(&self, state: &State) -> Option<TransactionId> {
        let bytes: u64 = self.pending().map(Item::len).sum();
        if self.pending().count() <= LIMITS.transactions_max && bytes <= LIMITS.bytes_max {
            return None;
        }
        let value = |item: &&Item| {
            let of = item.transaction.sender();
            let rate = self.queue(of).into_values().map(Item::rate).min();
            let ready = item.sequence() < self.end(of, state.account(&of).sequence);
            (ready, rate, Reverse(item.arrival))
        };
        let is_last = |item: &&Item| {
            self.queue(item.transaction.sender()).keys().next_back() == Some(&item.sequence())
        };
        let free = self.pending().filter(|item| item.stage == Stage::Waiting);
        free.filter(is_last).min_by_key(value).map(|item| item.transaction.id())
    }

    fn take(&mut self, state: &State, asked: &Asked) -> Vec<TransactionId> {
        if asked.height < state.round().height {
            return Vec::new();
        }
        for item in &mut self.items {
            if matches!(item.stage, Stage::Handed(at) if at >= asked.height) {
                item.stage = Stage::Waiting;
            }
        }
        let (mut taken, mut aside, mut room) = (Vec::new(), BTreeSet::new(), asked.bytes_max);
        while taken.len() < asked.count_max {
            let open = (0..SENDERS).map(sender).filter(|of| !aside.contains(of));
            let heads = open.filter_map(|of| self.head(of, state.account(&of).sequence));
            let Some(best) = heads.min_by_key(|item| (Reverse(item.rate()), item.arrival)) else {
                break;
            };
            let fits = best.transaction.expires() >= asked.height && best.len() <= room;
            if !fits {
                aside.insert(best.transaction.sender());
                continue;
            }
            room -= best.len();
            taken.push(best.transaction.id());
            self.set(best.transaction.id(), Stage::Handed(asked.height));
        }
        taken
    }

    /// The next of a sender to hand out.
    fn head(&self, of: Address, base: u64) -> Option<Item> {
        let queue = self.queue(of);
        let mut ready = queue.range(..self.end(of, base)).map(|(_, item)| *item);
        ready.find(|item| item.stage == Stage::Waiting).cloned()
    }

    fn advance(&mut self, state: &State, included: &[Shared]) {
        let height = state.height().expect("there is a block");
        for transaction in included {
            self.items.retain(|item| item.transaction.id() != transaction.id());
            let (transaction, stage) = (Arc::clone(transaction), Stage::Confirmed(height));
            self.items.push(Item { transaction, arrival: usize::MAX, stage });
        }
        for item in self.items.iter_mut().filter(|item| item.is_pending()) {
            if item.sequence() < state.account(&item.transaction.sender()).sequence {
                item.stage = Stage::Rejected("sequence-used");
            }
        }
        for of in (0..SENDERS).map(sender) {
            while self.spent(of) > state.account(&of).balance.units() {
                let last =
                    self.queue(of).pop_last().expect("it costs something").1.transaction.id();
                self.set(last, Stage::Rejected("insufficient-funds"));
            }
        }
        for item in self.items.iter_mut().filter(|item| item.is_pending()) {
            if item.transaction.expires() <= height {
                item.stage = Stage::Expired(height);
            }
        }
        (0..SENDERS)
            .map(sender)
            .for_each(|of| self.release(of, state.account(&of).sequence, height));
    }

    /// Keeps handed out what may still be confirmed: without a gap, and for a later height.
    fn release(&mut self, of: Address, base: u64, height: Height) {
        let queue = self.queue(of);
        let handed = |sequence| {
            let found: Option<&&Item> = queue.get(&sequence);
            found.is_some_and(|item| matches!(item.stage, Stage::Handed(at) if at > height))
        };
        let kept = (base..).find(|sequence| !handed(*sequence)).expect("queues are short");
        let lost: Vec<_> = queue.range(kept..).map(|(_, item)| item.transaction.id()).collect();
        lost.into_iter().for_each(|id| self.set(id, Stage::Waiting));
    }
}

/// What a metronome asks for.
struct Asked {
    height: Height,
    count_max: usize,
    bytes_max: u64,
}

/// A pool, its model and the ledger that both follow.
struct Run {
    pool: Mempool,
    model: Model,
    state: State,
    seen: Vec<Shared>,
}

/// Submissions, blocks and what is asked for in between: the pool and the model agree after every
/// step on each transaction, and the next block takes all that the pool gives for it.
pub fn mempool(data: &[u8]) {
    let mut script = Script::new(data);
    let (pool, state) = (Mempool::new(LIMITS), State::genesis(CHAIN.clone()));
    let mut run = Run { pool, model: Model::default(), state, seen: Vec::new() };
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        run.step(&mut script);
        run.compare();
    }
}

impl Run {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0..10 => {
                let transaction = self.plan(script);
                self.insert(&transaction);
            }
            10 if !self.seen.is_empty() => {
                let again = Arc::clone(script.pick(&self.seen[..self.seen.len().min(256)]));
                self.insert(&again);
            }
            10..13 => self.take(script),
            _ => self.advance(script),
        }
    }

    /// A transaction of somebody; most are near the next sequence.
    fn plan(&mut self, script: &mut Script<'_>) -> Shared {
        let of = sender(script.byte() % SENDERS);
        let base = self.state.account(&of).sequence;
        let sequence = (base + u64::from(script.byte() % 8)).saturating_sub(1);
        let expires =
            (self.state.round().height.0 + u64::from(script.byte() % 7)).saturating_sub(1);
        let to = sender(script.byte() % SENDERS);
        let amount =
            *script.pick(&[1, 1, 1, 2, BALANCE / 4, BALANCE, BALANCE + 1, u64::MAX - 4000]);
        let transaction = Transaction {
            version: 1,
            sender: key_of(of),
            sequence,
            expires: Height(expires),
            fee: Amount::from_units(*script.pick(&[0, 100, 105, 110, 200, 400, 2000])),
            payments: Payments::new(vec![Payment { to, amount: Amount::from_units(amount) }])
                .expect("one payment"),
            memo: List::new(vec![script.byte() % 4; 500 * script.below(2)]).expect("a short memo"),
            signature: Signature([0; 256]),
        };
        let encoded = Encoded::from(&transaction);
        Arc::new(CheckedTransaction::assume(encoded, of, &CHAIN.hash()))
    }

    fn insert(&mut self, transaction: &Shared) {
        let got = self.pool.insert(Arc::clone(transaction), &self.state);
        let expected = self.model.insert(transaction, &self.state);
        assert_eq!(got.as_ref().map(drop).map_err(PoolError::code), expected);
        if let Ok(Inserted::Duplicate(status)) = got {
            assert_eq!(Some(status), self.pool.status(&transaction.id()));
        }
        self.seen.push(Arc::clone(transaction));
    }

    fn take(&mut self, script: &mut Script<'_>) {
        let ahead = u64::from(script.byte() % 4);
        let Some(height) = (self.state.round().height.0 + ahead).checked_sub(1) else { return };
        let (height, count_max) = (Height(height), script.below(10));
        let asked = Asked { height, count_max, bytes_max: *script.pick(&[900, 2500, 1 << 20]) };
        let got = self.pool.take(asked.height, asked.count_max, asked.bytes_max);
        let again = self.pool.take(asked.height, asked.count_max, asked.bytes_max);
        assert_eq!(got, again);
        let expected = self.model.take(&self.state, &asked);
        assert_eq!(got.iter().map(|t| t.id()).collect::<Vec<_>>(), expected);
    }

    /// A block of the first of what the pool gives, or of somebody else's transaction.
    fn advance(&mut self, script: &mut Script<'_>) {
        let height = self.state.round().height;
        let asked = Asked { height, count_max: usize::MAX, bytes_max: u64::MAX };
        let given = self.pool.take(height, usize::MAX, u64::MAX);
        self.model.take(&self.state, &asked);
        let drafted = self.draft(given.clone());
        assert_eq!(drafted.0.transactions().len(), given.len(), "{:?}", drafted.1);
        let candidates = if script.byte() % 4 == 0 {
            vec![self.plan(script)]
        } else {
            given.into_iter().take(script.below(6)).collect()
        };
        let (block, _) = self.draft(candidates);
        self.state.apply(&block).expect("it was drafted on this state");
        self.pool.advance(&block, &self.state);
        self.model.advance(&self.state, block.transactions());
    }

    fn draft(
        &self,
        transactions: Vec<Shared>,
    ) -> (dsc_lib::ledger::CheckedBlock, Vec<dsc_lib::ledger::LeftOut>) {
        let proposal = Proposal { proofs: Vec::new(), transactions, time: Millis(0), epoch: 0 };
        self.state.draft(proposal, &METRONOME).expect("nothing is wrong with the proposal")
    }

    fn compare(&self) {
        let counts = self.pool.counts();
        let pending: Vec<_> = self.model.pending().collect();
        assert_eq!(counts.submitted + counts.unconfirmed, pending.len() as u64);
        assert_eq!(counts.bytes, pending.iter().map(|item| item.len()).sum::<u64>());
        assert!(pending.len() <= LIMITS.transactions_max && counts.bytes <= LIMITS.bytes_max);
        for item in &self.model.items {
            let status = self.pool.status(&item.transaction.id());
            assert_eq!(status.as_ref().map(stage), Some(item.stage));
        }
        for of in (0..SENDERS).map(sender) {
            let base = self.state.account(&of).sequence;
            assert_eq!(self.pool.next_sequence(&of, &self.state), self.model.end(of, base));
        }
    }
}

fn stage(status: &Status) -> Stage {
    const CODES: [&str; 4] = ["evicted", "replaced", "sequence-used", "insufficient-funds"];
    match status {
        Status::Submitted => Stage::Waiting,
        Status::Unconfirmed { height } => Stage::Handed(*height),
        Status::Confirmed { height } => Stage::Confirmed(*height),
        Status::Expired { height } => Stage::Expired(*height),
        Status::Rejected { code, .. } => {
            let known = CODES.iter().find(|known| *known == code);
            Stage::Rejected(known.expect("one of the four"))
        }
        other => unreachable!("{other:?}"),
    }
}
