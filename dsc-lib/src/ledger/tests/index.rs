//! The index against a simple model, over many runs and merges.

use std::collections::BTreeMap;

use super::*;
use crate::{
    codec::List,
    disk::{Disk, Memory},
    testing::{CAROL, MINER, STRANGER, disk::Dice},
    transaction::{Draft, Payment, Payments},
};

/// What the index should know, as plain maps.
#[derive(Debug, Default)]
struct Model {
    blocks: Vec<CheckedBlock>,
    transactions: BTreeMap<TransactionId, Place>,
    history: BTreeMap<Address, Vec<(Place, Amount)>>,
    wins: Wins,
}

impl Model {
    fn add(&mut self, block: &CheckedBlock) {
        let height = block.header().height;
        for (index, transaction) in (0..).zip(block.transactions()) {
            let place = Place { height, index };
            self.transactions.insert(transaction.id(), place);
            let mut received = BTreeMap::from([(transaction.sender(), Amount::ZERO)]);
            for payment in transaction.payments() {
                let sum = received.entry(payment.to).or_default();
                *sum = sum.checked_add(payment.amount).unwrap();
            }
            for (address, sum) in received {
                self.history.entry(address).or_default().push((place, sum));
            }
        }
        if let Some(winner) = block.winner() {
            let place = Place { height, index: u32::MAX };
            let history = self.history.entry(winner.miner.address).or_default();
            history.push((place, block.income()));
        }
        self.wins.count(block.winner());
        self.blocks.push(block.clone());
    }

    fn compare(&self, ledger: &Ledger, dice: &mut Dice) {
        for block in &self.blocks {
            let height = block.header().height;
            assert_eq!(ledger.height_of(&block.hash()).unwrap(), Some(height));
            assert_eq!(ledger.header(height).unwrap().as_ref(), Some(block.header()));
        }
        for (id, place) in &self.transactions {
            let found = ledger.transaction(id).unwrap().unwrap();
            assert_eq!(found.place, *place);
            assert_eq!(found.transaction.id(&chain().hash()), *id);
            let near = Digest(std::array::from_fn(|byte| id.0[byte] ^ u8::from(byte == 31)));
            assert_eq!(ledger.transaction(&near).unwrap(), None);
        }
        assert_eq!(ledger.transaction_count().unwrap(), self.transactions.len() as u64);
        assert_eq!(*ledger.wins(), self.wins);
        self.history.keys().for_each(|address| self.compare_history(ledger, address, dice));
    }

    fn compare_history(&self, ledger: &Ledger, address: &Address, dice: &mut Dice) {
        let all = &self.history[address];
        for _ in 0..6 {
            let before = (dice.below(4) > 0).then(|| all[dice.below(all.len())].0);
            let max = dice.below(all.len() + 2);
            let mut expected: Vec<_> =
                all.iter().filter(|(place, _)| before.is_none_or(|b| *place < b)).collect();
            expected.reverse();
            expected.truncate(max);
            let found = ledger.history(address, before, max).unwrap();
            let found: Vec<_> = found.iter().map(|event| (event.place, event.received)).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        }
    }
}

/// A transaction with one to four payments, some to oneself, some twice to the same.
fn random_payment(sequence: u64, dice: &mut Dice) -> Transaction {
    let people = [&ALICE, &BOB, &CAROL, &MINER, &STRANGER];
    let pay = |dice: &mut Dice| Payment {
        to: address(people[dice.below(people.len())]),
        amount: Amount::from_units(1 + dice.roll() % 5),
    };
    let payments = (0..=dice.below(4)).map(|_| pay(dice)).collect();
    let (expires, fee) = (Height(1_000), Amount::ZERO);
    let (payments, memo) = (Payments::new(payments).unwrap(), List::default());
    Draft { sequence, expires, fee, payments, memo }.sign(&chain().hash(), &ALICE)
}

#[test]
fn an_index_of_many_merged_runs_equals_a_simple_model() {
    let mut dice = Dice(7);
    let (disk, options) =
        (Arc::new(Memory::default()), OpenOptions { read_only: false, fresh_bytes_max: 600 });
    let open = || Ledger::with_disk(disk.clone(), Some(chain()), options, |_, _| {}).unwrap();
    let (mut ledger, mut model, mut sequence) = (open(), Model::default(), 0);
    let mut miners = Miners::new(&chain());
    for height in 0..200 {
        let proofs = if dice.below(2) == 0 { miners.mine(ledger.state()) } else { vec![] };
        let transactions = (sequence..).take(dice.below(4));
        let transactions: Vec<_> =
            transactions.map(|sequence| random_payment(sequence, &mut dice)).collect();
        sequence += transactions.len() as u64;
        let block = next_block(ledger.state(), proofs, transactions);
        ledger.commit(&block).unwrap();
        model.add(&block);
        match dice.below(8) {
            0 => ledger = open(),
            1 => {}
            _ => drop(ledger.maintain().unwrap()),
        }
        if height % 40 == 39 {
            model.compare(&ledger, &mut dice);
        }
    }
    let runs = disk.list().unwrap().iter().filter(|name| is_run(name)).count();
    assert!((12..60).contains(&runs), "{runs} runs");
    ledger.flush().unwrap();
    ledger.verify(|_, _| {}).unwrap();
    drop(ledger);
    let ledger = open();
    assert_eq!(ledger.recovery().replayed, 0);
    model.compare(&ledger, &mut dice);
}

/// Whoever never calls for upkeep has bounded memory all the same.
#[test]
fn commits_alone_write_the_index() {
    let (disk, options) =
        (Arc::new(Memory::default()), OpenOptions { read_only: false, fresh_bytes_max: 600 });
    let mut ledger = Ledger::with_disk(disk.clone(), Some(chain()), options, |_, _| {}).unwrap();
    for _ in 0..200 {
        ledger.commit(&empty(ledger.state())).unwrap();
    }
    let runs = disk.list().unwrap().iter().filter(|name| is_run(name)).count();
    assert!((3..60).contains(&runs), "{runs} runs");
    drop(ledger);
    let ledger = Ledger::with_disk(disk, None, options, |_, _| {}).unwrap();
    assert!(ledger.recovery().replayed < 30, "{:?}", ledger.recovery());
}
