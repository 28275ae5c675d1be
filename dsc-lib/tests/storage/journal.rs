//! The journal of a pool.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use dsc_lib::{
    mempool::journal::Journal,
    testing::{
        ALICE, BOB, address, chain,
        disk::{Dice, NotingDisk},
        pay,
    },
    transaction::{CheckedTransaction, TransactionId},
};

use super::{Fault, Promises, for_each_seed};

static ALL: LazyLock<Vec<Arc<CheckedTransaction>>> = LazyLock::new(|| {
    let signed = |sequence| pay(&ALICE, sequence, address(&BOB), 1).check(&chain().hash());
    (0..60).map(|sequence| Arc::new(signed(sequence).unwrap())).collect()
});

fn number_of(id: &TransactionId) -> Option<usize> {
    ALL.iter().position(|transaction| transaction.id() == *id)
}

/// A case under way. Transactions go by number.
struct Case {
    dice: Dice,
    segment_bytes: u64,
    disk: NotingDisk,
    /// What was acknowledged.
    promises: Promises<BTreeSet<usize>>,
    /// What was handed to the journal, whatever came of it.
    tried: BTreeSet<usize>,
    /// What is on the ledger: nobody needs it in the journal any more.
    ended: BTreeSet<usize>,
    /// What the pool holds; of that, what could not be put into the journal yet.
    held: BTreeSet<usize>,
    unsynced: Vec<usize>,
    fault: Fault,
}

impl Case {
    fn new(seed: u64) -> Self {
        let (mut dice, disk) = (Dice(seed), NotingDisk::default());
        let segment_bytes = [1, 2000, 6000, 16 << 20][dice.below(4)];
        let promises = Promises::new(&disk, BTreeSet::new());
        let none = BTreeSet::new;
        let (tried, ended, held, unsynced) = (none(), none(), none(), Vec::new());
        let fault = Fault::None;
        Self { dice, segment_bytes, disk, promises, tried, ended, held, unsynced, fault }
    }

    fn promise(&mut self, more: impl IntoIterator<Item = usize>) {
        let mut promised = self.promises.last().clone();
        promised.extend(more);
        self.promises.add(&self.disk, promised);
    }

    /// Opens the journal as a pool does that starts: what it holds is known from then on.
    fn open(&mut self) -> std::io::Result<Journal> {
        let disk = Arc::new(self.disk.clone());
        let mut journal = Journal::open_with(disk, self.segment_bytes)?;
        let mut found = BTreeSet::new();
        for index in 0..journal.unread() {
            let ids = journal.read(index)?.into_iter().map(|one| one.decode().id(&chain().hash()));
            let numbers: Vec<_> = ids.map(|id| number_of(&id).expect("one of ours")).collect();
            found.extend(numbers.iter().copied());
            let pending = numbers.iter().filter(|number| !self.ended.contains(number));
            journal.adopt(index, pending.map(|number| ALL[*number].id()));
        }
        let due = self.promises.last().difference(&self.ended);
        let lost: Vec<_> = due.filter(|number| !found.contains(number)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(found.is_subset(&self.tried));
        self.held = found.difference(&self.ended).copied().collect();
        self.unsynced.clear();
        self.promise(found);
        Ok(journal)
    }

    fn open_somehow(&mut self) -> Journal {
        if let Ok(journal) = self.open() {
            return journal;
        }
        assert!(self.fault != Fault::None);
        self.disk.mend();
        self.open().unwrap()
    }

    /// One process, from opening to its end.
    fn live(&mut self) {
        self.fault = Fault::inject(&self.disk, &mut self.dice, 30);
        let mut journal = self.open_somehow();
        for _ in 0..self.dice.below(20) {
            match self.dice.below(8) {
                0..5 => self.submit(&mut journal),
                5 => self.end(),
                6 => self.retire(&mut journal),
                _ if self.dice.below(4) == 0 => self.disk.mend(),
                _ => self.submit(&mut journal),
            }
        }
    }

    /// Submits a few, some of which are known: all are acknowledged once all that are held are in
    /// the journal.
    fn submit(&mut self, journal: &mut Journal) {
        let asked: Vec<_> = (0..=self.dice.below(4)).map(|_| self.dice.below(ALL.len())).collect();
        for number in asked.iter().copied().filter(|number| !self.ended.contains(number)) {
            if self.held.insert(number) {
                self.unsynced.push(number);
            }
        }
        self.unsynced.retain(|number| !self.ended.contains(number));
        self.tried.extend(self.unsynced.iter().copied());
        let transactions: Vec<_> =
            self.unsynced.iter().map(|number| ALL[*number].clone()).collect();
        if journal.append(&transactions).is_ok() {
            self.unsynced.clear();
            let ended = self.ended.clone();
            self.promise(asked.into_iter().filter(|number| !ended.contains(number)));
        }
    }

    /// Some of what is held gets onto the ledger.
    fn end(&mut self) {
        let dice = &mut self.dice;
        let ended: Vec<_> = self.held.iter().copied().filter(|_| dice.below(2) == 0).collect();
        self.held.retain(|number| !ended.contains(number));
        self.ended.extend(ended);
    }

    fn retire(&mut self, journal: &mut Journal) {
        let find = |id: &TransactionId| {
            number_of(id).filter(|number| self.held.contains(number)).map(|at| ALL[at].clone())
        };
        let bytes: usize = self.held.iter().map(|number| ALL[*number].bytes().len()).sum();
        let _ = journal.retire(find, bytes as u64);
    }

    /// Goes on, on a disk that works.
    fn finish(mut self) {
        self.disk.mend();
        self.fault = Fault::None;
        drop(self.open().unwrap());
        (self.disk, self.promises) = self.promises.cut_off(&self.disk);
        let mut journal = self.open().unwrap();
        self.submit(&mut journal);
        assert!(self.unsynced.is_empty());
        self.end();
        self.retire(&mut journal);
        drop(journal);
        drop(self.open().unwrap());
        (self.disk, self.promises) = self.promises.cut_off(&self.disk);
        drop(self.open().unwrap());
    }
}

#[test]
fn no_acknowledged_transaction_is_lost() {
    for_each_seed("journal", 300, |seed| {
        let mut case = Case::new(seed);
        for _ in 0..=case.dice.below(4) {
            case.live();
            if case.dice.below(3) > 0 {
                let (disk, promises) = case.promises.crash(&case.disk, &mut case.dice);
                (case.disk, case.promises) = (disk, promises);
            }
        }
        case.finish();
    });
}
