//! The pool against a model that keeps a plain list and looks through all of it every time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex},
};

use proptest::{collection::vec, prelude::*};

use super::chain::{Plan, SENDERS, address, extend, genesis};
use crate::{
    address::Address,
    ledger::{Proposal, State},
    mempool::{FeeRate, Inserted, Limits, Mempool, PoolError, Status},
    testing::METRONOME,
    transaction::{CheckedTransaction, TransactionId},
    units::{Amount, Height, Millis},
};

/// Tight, so that every limit is met often.
const LIMITS: Limits = Limits {
    transactions_max: 7,
    bytes_max: 5500,
    per_sender_max: 4,
    gap_max: 5,
    expiry_max: 5,
    finished_max: 10_000,
};

type Transactions = Vec<Arc<CheckedTransaction>>;

/// How the model sees a transaction; the code stands for the rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Submitted,
    Handed(Height),
    Confirmed(Height),
    Rejected(&'static str),
    Expired(Height),
}

#[derive(Clone, Debug)]
struct Item {
    transaction: Arc<CheckedTransaction>,
    arrival: usize,
    stage: Stage,
}

impl Item {
    fn sequence(&self) -> u64 {
        self.transaction.sequence()
    }

    fn rate(&self) -> FeeRate {
        FeeRate::of(&self.transaction)
    }

    fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Submitted | Stage::Handed(_))
    }
}

#[derive(Debug)]
struct Model {
    state: State,
    items: Vec<Item>,
    arrivals: usize,
}

impl Model {
    fn pending(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.is_pending())
    }

    /// The pending ones of a sender by sequence.
    fn queue(&self, sender: Address) -> BTreeMap<u64, &Item> {
        let own = self.pending().filter(|item| item.transaction.sender() == sender);
        own.map(|item| (item.sequence(), item)).collect()
    }

    /// The first sequence that is missing.
    fn end(&self, sender: Address) -> u64 {
        let (queue, base) = (self.queue(sender), self.state.account(&sender).sequence);
        (base..u64::MAX).find(|sequence| !queue.contains_key(sequence)).unwrap()
    }

    fn spent(&self, sender: Address) -> u64 {
        self.queue(sender).values().map(|item| item.transaction.spent().units()).sum()
    }

    fn item(&mut self, id: TransactionId) -> &mut Item {
        self.items.iter_mut().find(|item| item.transaction.id() == id).unwrap()
    }

    fn set(&mut self, id: TransactionId, stage: Stage) {
        self.item(id).stage = stage;
    }

    fn insert(&mut self, transaction: &Arc<CheckedTransaction>) -> Result<(), &'static str> {
        let (id, sender) = (transaction.id(), transaction.sender());
        let passing = [Stage::Rejected("evicted"), Stage::Rejected("insufficient-funds")];
        let known = self.items.iter().find(|item| item.transaction.id() == id);
        if known.is_some_and(|item| !passing.contains(&item.stage)) {
            return Ok(());
        }
        let rival = self.queue(sender).get(&transaction.sequence()).copied().cloned();
        self.check(transaction, rival.as_ref())?;
        let before = self.items.clone();
        if let Some(rival) = rival {
            self.set(rival.transaction.id(), Stage::Rejected("replaced"));
        }
        self.items.retain(|item| item.transaction.id() != id);
        let (transaction, arrival) = (Arc::clone(transaction), self.arrivals);
        self.arrivals += 1;
        self.items.push(Item { transaction, arrival, stage: Stage::Submitted });
        while let Some(worst) = self.worst_if_full() {
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
    ) -> Result<(), &'static str> {
        let (sender, next) = (transaction.sender(), self.state.round().height.0);
        let account = self.state.account(&sender);
        let fields = transaction.transaction();
        let outbid = |rival: &Item| {
            rival.stage == Stage::Submitted && FeeRate::of(transaction).outbids(rival.rate())
        };
        let spared = rival.map_or(0, |rival| rival.transaction.spent().units());
        let needed = self.spent(sender) - spared + transaction.spent().units();
        let broken = [
            (fields.sequence < account.sequence, "sequence-used"),
            (fields.sequence > account.sequence + LIMITS.gap_max, "too-far-ahead"),
            (fields.expires.0 < next, "expired"),
            (fields.expires.0 >= next + LIMITS.expiry_max, "expires-too-late"),
            (rival.is_some_and(|rival| !outbid(rival)), "sequence-taken"),
            (rival.is_none() && self.queue(sender).len() >= LIMITS.per_sender_max, "sender-full"),
            (needed > account.balance.units(), "insufficient-funds"),
        ];
        broken.into_iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, code)| Err(code))
    }

    /// The one that nobody misses most, if there are too many.
    fn worst_if_full(&self) -> Option<TransactionId> {
        let bytes: u64 = self.pending().map(|item| item.transaction.bytes().len() as u64).sum();
        if self.pending().count() <= LIMITS.transactions_max && bytes <= LIMITS.bytes_max {
            return None;
        }
        let value = |item: &&Item| {
            let rates = self.queue(item.transaction.sender()).into_values().map(Item::rate);
            let ready = item.sequence() < self.end(item.transaction.sender());
            (ready, rates.min(), Reverse(item.arrival))
        };
        let is_last = |item: &&Item| {
            let queue = self.queue(item.transaction.sender());
            queue.keys().next_back() == Some(&item.sequence())
        };
        let free = self.pending().filter(|item| item.stage == Stage::Submitted);
        free.filter(is_last).min_by_key(value).map(|item| item.transaction.id())
    }

    fn take(&mut self, height: Height, count_max: usize, bytes_max: u64) -> Vec<TransactionId> {
        if height < self.state.round().height {
            return Vec::new();
        }
        for item in &mut self.items {
            if matches!(item.stage, Stage::Handed(at) if at >= height) {
                item.stage = Stage::Submitted;
            }
        }
        let (mut taken, mut aside, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        while taken.len() < count_max {
            let heads = (0..SENDERS).map(address).filter(|sender| !aside.contains(sender));
            let heads = heads.filter_map(|sender| self.head(sender));
            let Some(best) = heads.min_by_key(|item| (Reverse(item.rate()), item.arrival)) else {
                break;
            };
            let (id, len) = (best.transaction.id(), best.transaction.bytes().len() as u64);
            if best.transaction.expires() < height || bytes + len > bytes_max {
                aside.insert(best.transaction.sender());
                continue;
            }
            bytes += len;
            taken.push(id);
            self.set(id, Stage::Handed(height));
        }
        taken
    }

    fn head(&self, sender: Address) -> Option<Item> {
        let queue = self.queue(sender);
        let mut ready = queue.range(..self.end(sender)).map(|(_, item)| *item);
        ready.find(|item| item.stage == Stage::Submitted).cloned()
    }

    fn advance(&mut self, state: &State, included: &Transactions) {
        self.state = state.clone();
        let height = Height(state.round().height.0 - 1);
        for transaction in included {
            let id = transaction.id();
            if !self.items.iter().any(|item| item.transaction.id() == id) {
                let (transaction, arrival) = (Arc::clone(transaction), usize::MAX);
                self.items.push(Item { transaction, arrival, stage: Stage::Submitted });
            }
            self.set(id, Stage::Confirmed(height));
        }
        for item in self.items.iter_mut().filter(|item| item.is_pending()) {
            if item.sequence() < state.account(&item.transaction.sender()).sequence {
                item.stage = Stage::Rejected("sequence-used");
            }
        }
        (0..SENDERS).for_each(|sender| self.drop_unfunded(address(sender)));
        for item in self.items.iter_mut().filter(|item| item.is_pending()) {
            if item.transaction.expires() <= height {
                item.stage = Stage::Expired(height);
            }
        }
        (0..SENDERS).for_each(|sender| self.release(address(sender), height));
    }

    fn drop_unfunded(&mut self, sender: Address) {
        while self.spent(sender) > self.state.account(&sender).balance.units() {
            let (_, last) = self.queue(sender).pop_last().unwrap();
            let id = last.transaction.id();
            self.set(id, Stage::Rejected("insufficient-funds"));
        }
    }

    /// Keeps handed out what may still be confirmed: without a gap, and for a later height.
    fn release(&mut self, sender: Address, height: Height) {
        let handed = |item: &Item| matches!(item.stage, Stage::Handed(at) if at > height);
        let base = self.state.account(&sender).sequence;
        let queue = self.queue(sender);
        let kept =
            (base..).take_while(|sequence| queue.get(sequence).is_some_and(|item| handed(item)));
        let kept = kept.count() as u64;
        let lost: Vec<_> = queue.range(base + kept..).map(|(_, i)| i.transaction.id()).collect();
        for id in lost {
            self.set(id, Stage::Submitted);
        }
    }
}

/// One step of a run; all numbers are relative to where the chain is.
#[derive(Clone, Debug)]
enum Step {
    Insert(Plan),
    /// One that was seen before, by its place in the model's list.
    Again(usize),
    Take {
        ahead: u64,
        count_max: usize,
        bytes_max: u64,
    },
    /// A block of the first `count` of what the pool gives, or of `foreign` ones instead.
    Advance {
        count: usize,
        foreign: Option<Plan>,
    },
}

fn plans() -> impl Strategy<Value = Plan> {
    let amount = prop_oneof![5 => Just(1_u64), 1 => Just(400_000)];
    let memo_len = prop_oneof![3 => Just(0_usize), 1 => Just(500)];
    let expires = prop_oneof![9 => 1_u64..6, 1 => prop::sample::select(vec![0_u64, 6])];
    let fee = prop::sample::select(vec![0, 100, 105, 200, 400, 2000]);
    (0..SENDERS, 0_u64..10, fee, amount, expires, memo_len).prop_map(
        |(sender, sequence, fee, amount, expires, memo_len)| {
            // Most are near the next sequence, which is 1.
            let sequence = if sequence > 7 { 1 } else { sequence };
            Plan { sender, sequence, fee, amount, expires, memo_len }
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let bytes_max = prop::sample::select(vec![900, 2500, 1 << 20]);
    let take = (0_u64..3, 0_usize..9, bytes_max)
        .prop_map(|(ahead, count_max, bytes_max)| Step::Take { ahead, count_max, bytes_max });
    let advance = (0_usize..5, prop::option::weighted(0.2, plans()))
        .prop_map(|(count, foreign)| Step::Advance { count, foreign });
    prop_oneof![
        10 => plans().prop_map(Step::Insert),
        1 => (0_usize..100).prop_map(Step::Again),
        2 => take,
        2 => advance,
    ]
}

/// Signs a plan relative to the tip, each only once in all runs.
fn sign(plan: Plan, state: &State) -> Arc<CheckedTransaction> {
    type Signed = HashMap<Plan, Arc<CheckedTransaction>>;
    static SIGNED: LazyLock<Mutex<Signed>> = LazyLock::new(Mutex::default);
    let base = state.account(&address(plan.sender)).sequence;
    let sequence = (base + plan.sequence).saturating_sub(1);
    let expires = (state.round().height.0 + plan.expires).saturating_sub(1);
    let plan = Plan { sequence, expires, ..plan };
    let mut signed = SIGNED.lock().unwrap();
    Arc::clone(signed.entry(plan).or_insert_with(|| plan.sign(state)))
}

/// A pool, its model and the ledger that both follow.
struct Run {
    pool: Mempool,
    model: Model,
    state: State,
}

impl Run {
    fn new() -> Self {
        let state = genesis();
        let model = Model { state: state.clone(), items: Vec::new(), arrivals: 0 };
        Self { pool: Mempool::new(LIMITS), model, state }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(plan) => self.insert(&sign(plan, &self.state)),
            Step::Again(place) => self.again(place),
            Step::Take { ahead, count_max, bytes_max } => self.take(ahead, count_max, bytes_max),
            Step::Advance { count, foreign } => self.advance(count, foreign),
        }
        self.compare();
    }

    fn insert(&mut self, transaction: &Arc<CheckedTransaction>) {
        let got = self.pool.insert(Arc::clone(transaction), &self.state);
        let expected = self.model.insert(transaction);
        assert_eq!(got.as_ref().map(|_| ()).map_err(PoolError::code), expected);
        if let Ok(Inserted::Duplicate(status)) = got {
            assert_eq!(Some(status), self.pool.status(&transaction.id()));
        }
    }

    fn again(&mut self, place: usize) {
        let known = self.model.items.get(place).map(|item| Arc::clone(&item.transaction));
        if let Some(transaction) = known {
            self.insert(&transaction);
        }
    }

    fn take(&mut self, ahead: u64, count_max: usize, bytes_max: u64) {
        // From the tip, which gets nothing, to two heights ahead.
        let Some(height) = (self.state.round().height.0 + ahead).checked_sub(1) else { return };
        let got = self.pool.take(Height(height), count_max, bytes_max);
        let again = self.pool.take(Height(height), count_max, bytes_max);
        assert_eq!(got, again);
        let expected = self.model.take(Height(height), count_max, bytes_max);
        assert_eq!(got.iter().map(|t| t.id()).collect::<Vec<_>>(), expected);
    }

    fn advance(&mut self, count: usize, foreign: Option<Plan>) {
        let height = self.state.round().height;
        let mut transactions = self.pool.take(height, usize::MAX, u64::MAX);
        self.model.take(height, usize::MAX, u64::MAX);
        self.drafted(&transactions);
        transactions.truncate(count);
        if let Some(plan) = foreign {
            transactions = vec![sign(Plan { sequence: 1, expires: 3, ..plan }, &self.state)];
        }
        let transactions = self.payable(transactions);
        let block = extend(&mut self.state, transactions.clone());
        self.pool.advance(&block, &self.state);
        self.model.advance(&self.state, &transactions);
    }

    /// The next block takes whatever the pool gives for it.
    fn drafted(&self, transactions: &Transactions) {
        assert_eq!(self.draft(transactions), (transactions.len(), 0));
    }

    /// How many transactions the next block takes, and how many it leaves out.
    fn draft(&self, transactions: &Transactions) -> (usize, usize) {
        let transactions = transactions.clone();
        let proposal = Proposal { proofs: Vec::new(), transactions, time: Millis(0), epoch: 0 };
        let (block, left_out) = self.state.draft(proposal, &METRONOME).unwrap();
        (block.transactions().len(), left_out.len())
    }

    /// A foreign transaction that its sender cannot pay makes an empty block.
    fn payable(&self, transactions: Transactions) -> Transactions {
        let (taken, _) = self.draft(&transactions);
        if taken == transactions.len() { transactions } else { Vec::new() }
    }

    fn compare(&self) {
        for item in &self.model.items {
            let status = self.pool.status(&item.transaction.id());
            assert_eq!(status.as_ref().map(stage), Some(code(item.stage)), "{item:?}");
        }
        let mut pending: Vec<_> = self.model.pending().collect();
        pending.sort_by_key(|item| item.arrival);
        let ids = |all: Transactions| all.iter().map(|t| t.id()).collect::<Vec<_>>();
        let expected: Vec<_> = pending.iter().map(|item| item.transaction.id()).collect();
        assert_eq!(ids(self.pool.pending()), expected);
        self.compare_counts();
        for sender in (0..SENDERS).map(address) {
            assert_eq!(self.pool.next_sequence(&sender, &self.state), self.model.end(sender));
            let queue = self.model.queue(sender);
            let expected: Vec<_> = queue.values().map(|item| item.transaction.id()).collect();
            assert_eq!(ids(self.pool.pending_of(&sender).cloned().collect()), expected);
            let balance = self.state.account(&sender).balance;
            assert!(Amount::from_units(self.model.spent(sender)) <= balance);
        }
    }

    fn compare_counts(&self) {
        let counts = self.pool.counts();
        let count = |wanted: fn(&Stage) -> bool| {
            self.model.items.iter().filter(|item| wanted(&item.stage)).count() as u64
        };
        assert_eq!(counts.submitted, count(|stage| *stage == Stage::Submitted));
        assert_eq!(counts.unconfirmed, count(|stage| matches!(stage, Stage::Handed(_))));
        assert_eq!(counts.confirmed, count(|stage| matches!(stage, Stage::Confirmed(_))));
        assert_eq!(counts.expired, count(|stage| matches!(stage, Stage::Expired(_))));
        assert!(counts.rejected >= count(|stage| matches!(stage, Stage::Rejected(_))));
        assert!(counts.submitted + counts.unconfirmed <= LIMITS.transactions_max as u64);
        assert!(counts.bytes <= LIMITS.bytes_max);
        let bytes = self.model.pending().map(|item| item.transaction.bytes().len() as u64);
        assert_eq!(counts.bytes, bytes.sum::<u64>());
    }
}

fn stage(status: &Status) -> (String, Option<Height>) {
    match status {
        Status::Submitted => ("submitted".into(), None),
        Status::Unconfirmed { height } => ("unconfirmed".into(), Some(*height)),
        Status::Confirmed { height } => ("confirmed".into(), Some(*height)),
        Status::Rejected { code, .. } => (code.clone(), None),
        Status::Expired { height } => ("expired".into(), Some(*height)),
    }
}

fn code(stage: Stage) -> (String, Option<Height>) {
    match stage {
        Stage::Submitted => ("submitted".into(), None),
        Stage::Handed(height) => ("unconfirmed".into(), Some(height)),
        Stage::Confirmed(height) => ("confirmed".into(), Some(height)),
        Stage::Rejected(code) => (code.into(), None),
        Stage::Expired(height) => ("expired".into(), Some(height)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_does_what_the_model_does(steps in vec(steps(), 1..100)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
    }
}
