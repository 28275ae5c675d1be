//! The log of transactions that several pools share: batches, and what pools make of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use dsc_lib::{
    cluster::Position,
    genesis::Chain,
    ledger::{CheckedBlock, Ledger, Proposal},
    mempool::{
        Limits,
        feed::{self, Batch, Origin, Tag},
    },
    role::{Active, Answer, Next, pool::Pool},
    testing::{self, ALICE, BOB, CAROL, METRONOME, address, coins, draft},
    transaction::{CheckedTransaction, Draft, Transaction, TransactionId},
    units::{Height, Millis},
};

use crate::{assert_exact, script::Script};

const STEPS_MAX: usize = 60;
/// Tight, so that every limit is met often.
const LIMITS: Limits = Limits {
    transactions_max: 6,
    bytes_max: 5500,
    per_sender_max: 4,
    gap_max: 3,
    expiry_max: 6,
    finished_max: 10_000,
};

static CHAIN: LazyLock<Chain> = LazyLock::new(testing::chain);

/// Two senders, four sequences, two fees, two times to expire, all signed.
static TRANSACTIONS: LazyLock<Vec<Shared>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for key in [&ALICE, &BOB] {
        for (sequence, fee, expires) in
            (0..16).map(|number| (number % 4, 1 + number / 4 % 2, 2 + number / 8 * 3))
        {
            let plan = draft(sequence, address(&CAROL), coins(1), coins(fee));
            let signed = Draft { expires: Height(expires), ..plan }.sign(&CHAIN.hash(), key);
            all.push(checked(&signed));
        }
    }
    all
});

type Shared = Arc<CheckedTransaction>;

fn checked(transaction: &Transaction) -> Shared {
    let good = CHAIN.checker().check_all(vec![transaction.into()]).remove(0);
    good.expect("it was signed for this chain")
}

/// What reads as a batch is written the same; and two pools that apply one log, of which one removes what
/// has ended, agree after every step, while all that they hold is in the log.
pub fn log(data: &[u8]) {
    if let Ok(batch) = Batch::decode(data) {
        let assume = |one| CheckedTransaction::assume(one, address(&ALICE), &CHAIN.hash());
        let transactions: Vec<_> =
            batch.transactions.into_iter().map(|one| Arc::new(assume(one))).collect();
        assert_exact(&feed::encode(batch.tag, batch.seen, &transactions), data);
    }
    let mut script = Script::new(data);
    let mut run = Run::begin();
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        run.step(&mut script);
        run.compare();
    }
}

/// The log, the ledger, and two pools that follow both.
struct Run {
    ledger: Ledger,
    entries: BTreeMap<Position, Vec<u8>>,
    last: Position,
    pools: [Pool; 2],
}

impl Run {
    fn begin() -> Self {
        let ledger = Ledger::in_memory(CHAIN.clone());
        let snapshot = dsc_lib::codec::encode(&ledger.snapshot().expect("it is in memory"));
        let pools = [(); 2].map(|()| {
            let mut pool = Pool::new(CHAIN.clone(), LIMITS);
            follow(&mut pool, Answer::Snapshot(snapshot.clone()));
            pool
        });
        Self { ledger, entries: BTreeMap::new(), last: Position::START, pools }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0..5 => self.append(script),
            5 | 6 => self.extend(script),
            _ => self.remove(),
        }
    }

    /// A batch, one that was there before, or bytes that are none any more.
    fn append(&mut self, script: &mut Script<'_>) {
        let kind = script.byte();
        let seen = Position(self.last.0.saturating_sub(u64::from(kind % 3)));
        let count = 1 + script.below(3);
        let batch: Vec<_> = (0..count).map(|_| Arc::clone(script.pick(&TRANSACTIONS))).collect();
        let mut bytes = feed::encode(Tag([kind; 16]), seen, &batch);
        if kind >= 240 {
            let place = script.place(bytes.len());
            bytes[place] ^= 1 << (kind % 8);
        }
        self.last = self.last.next();
        for (pool, is_own) in self.pools.iter_mut().zip([true, false]) {
            apply(pool, self.last, &bytes, is_own);
        }
        self.entries.insert(self.last, bytes);
    }

    /// A block of anything that fits, whether a pool holds it or not.
    fn extend(&mut self, script: &mut Script<'_>) {
        let count = script.below(4);
        let transactions = (0..count).map(|_| Arc::clone(script.pick(&TRANSACTIONS))).collect();
        let (proofs, time) = (Vec::new(), Millis(0));
        let proposal = Proposal { proofs, transactions, time, epoch: 0 };
        let drafted = self.ledger.state().draft(proposal, &METRONOME);
        let (block, _): (CheckedBlock, _) = drafted.expect("nothing is wrong with the proposal");
        self.ledger.commit(&block).expect("it was drafted on this state");
        for pool in &mut self.pools {
            follow(pool, Answer::Blocks(vec![block.to_bytes()]));
        }
    }

    fn remove(&mut self) {
        let [first, _] = &mut self.pools;
        let Some(removal) = first.ended() else { return };
        first.removed(&removal);
        self.entries.retain(|at, _| *at > removal.to && !removal.also.contains(at));
    }

    fn compare(&self) {
        let [first, second] = &self.pools;
        let batches = self.entries.values().filter_map(|bytes| Batch::decode(bytes).ok());
        let in_log: Vec<TransactionId> = batches
            .flat_map(|batch| batch.transactions)
            .map(|transaction| transaction.id(&CHAIN.hash()))
            .collect();
        for id in TRANSACTIONS.iter().map(|transaction| transaction.id()) {
            let held = first.find(&id).is_some();
            assert_eq!(first.status(&id), second.status(&id));
            assert!(!held || in_log.contains(&id), "{id} is held, and the log has lost it");
        }
        for key in [&ALICE, &BOB] {
            let of = address(key);
            assert_eq!(first.next_sequence(&of), second.next_sequence(&of));
        }
        let counts = |pool: &Pool| dsc_lib::mempool::Counts { added: 0, ..pool.counts() };
        assert_eq!(counts(first), counts(second));
        assert_eq!(first.feed().position(), self.last);
        assert_eq!(first.feed().skipped(), second.feed().skipped());
    }
}

fn apply(pool: &mut Pool, position: Position, bytes: &[u8], is_own: bool) {
    let Ok(batch) = Batch::decode(bytes) else { return pool.skip(position, bytes) };
    let verdicts = CHAIN.checker().check_all(batch.transactions);
    let good: Vec<_> = verdicts.into_iter().flatten().collect();
    let origin = Origin::new(position, batch.seen);
    let outcomes = pool.apply(origin, (batch.tag, bytes.len() as u64), &good, is_own);
    assert_eq!(outcomes.len(), good.len());
}

fn follow(pool: &mut Pool, answer: Answer) {
    pool.answer(Millis(0), Ok(answer));
    while let Next::Work(work) = pool.next(Millis(0)) {
        pool.finish(Millis(0), work.run());
    }
    assert_eq!(pool.fault(), None);
}
