//! Commits of blocks of 10,000 transactions, beside a plain append of the same bytes.
//!
//! `cargo bench --package dsc-benches --bench ledger -- growth`. Transactions are between random
//! accounts and carry no real signature, as checking those is another bench. After each block the
//! same bytes are appended to another file and synced; upkeep follows, as in a server.

#![allow(clippy::cast_precision_loss, reason = "counts of a bench are small")]

use std::{
    fs::File,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use dsc_benches::{median, rounds, stranger};
use dsc_lib::{
    address::Address,
    codec::List,
    genesis::{Chain, Endowment, Genesis, Limits},
    keys::Signature,
    ledger::{CheckedBlock, Ledger, Maintained, Proposal, State},
    testing::{self, ALICE, METRONOME, disk::Dice},
    transaction::{
        CheckedTransaction, Encoded, Memo, PAYMENTS_MAX, Payment, Payments, Transaction, VERSION,
    },
    units::{Amount, Height, Millis},
};
use tempfile::TempDir;

/// Blocks for which accounts stay as many as they are.
const BLOCKS: usize = 20;

/// How much is done: all of it, or as much as shows that it works.
struct Sizes {
    block: usize,
    accounts: &'static [usize],
    transactions: usize,
}

const MEASURED: Sizes =
    Sizes { block: 10_000, accounts: &[10_000, 100_000, 1_000_000], transactions: 5_000_000 };
const TRIED: Sizes = Sizes { block: 20, accounts: &[100, 1_000], transactions: 1_000 };

/// Times what growing costs, and prints a table.
pub(crate) fn run() {
    let Some(rounds) = rounds("ledger::growth") else { return };
    let sizes = if rounds > 1 { MEASURED } else { TRIED };
    println!(
        "ledger::growth, blocks of {} transactions, medians; upkeep and CPU are means",
        sizes.block
    );
    println!(
        "      accounts  transactions  append ms  persist ms   ratio  advance ms  upkeep ms  \
         append us  all us"
    );
    let mut network = Network::new(sizes.block);
    for accounts in sizes.accounts {
        network.fill(*accounts);
        network.measure(BLOCKS);
    }
    while network.transactions < sizes.transactions {
        network.measure(sizes.transactions.div_ceil(5 * sizes.block));
    }
    network.reopen();
}

/// What one block cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    append: f64,
    persist: f64,
    advance: f64,
    upkeep: f64,
    /// CPU, in microseconds for a transaction, of the plain append and of all the rest.
    append_cpu: f64,
    cpu: f64,
}

/// A ledger, its people, and a plain file.
struct Network {
    folder: TempDir,
    ledger: Ledger,
    plain: File,
    dice: Dice,
    block: usize,
    /// Sequences of the accounts that can pay.
    sequences: Vec<u64>,
    transactions: usize,
}

impl Network {
    fn new(block: usize) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let chain = chain();
        let ledger =
            Ledger::open(&folder.path().join("ledger"), Some(chain)).expect("a new ledger");
        let plain = File::create(folder.path().join("plain")).expect("a file");
        let dice = Dice(1);
        Self { folder, ledger, plain, dice, block, sequences: vec![0], transactions: 0 }
    }

    /// Pays to new accounts until there are `count`.
    fn fill(&mut self, count: usize) {
        while self.sequences.len() < count {
            let room = (count - self.sequences.len()).min(self.block * PAYMENTS_MAX);
            let new: Vec<_> = (self.sequences.len()..self.sequences.len() + room).collect();
            let transactions = new
                .chunks(PAYMENTS_MAX)
                .map(|accounts| self.transaction(0, accounts, 10_000_000))
                .collect();
            self.sequences.resize(self.sequences.len() + room, 0);
            let block = self.draft(transactions);
            self.add(&block);
        }
    }

    /// A transaction of account number `from`, in base units.
    fn transaction(&mut self, from: usize, to: &[usize], amount: u64) -> Arc<CheckedTransaction> {
        let pay = |to: &usize| Payment { to: account(*to), amount: Amount::from_units(amount) };
        let sequence = self.sequences[from];
        self.sequences[from] += 1;
        let transaction = Transaction {
            version: VERSION,
            sender: *ALICE.public(),
            sequence,
            expires: Height(u64::MAX),
            fee: Amount::from_units(1),
            payments: Payments::new(to.iter().map(pay).collect()).expect("few enough"),
            memo: Memo::default(),
            // Makes it differ from all others, as the sender is not really its signer.
            signature: Signature([0; 256]),
        };
        let mut transaction = transaction;
        transaction.memo = List::new((from as u64).to_le_bytes().to_vec()).expect("short");
        let chain = self.ledger.state().chain().hash();
        let encoded = Encoded::from(&transaction);
        Arc::new(CheckedTransaction::assume(encoded, account(from), &chain))
    }

    fn draft(&self, transactions: Vec<Arc<CheckedTransaction>>) -> CheckedBlock {
        let state: &State = self.ledger.state();
        let time = state.tip().time.plus(Millis(1000));
        let proposal = Proposal { proofs: vec![], transactions, time, epoch: 0 };
        let (block, left_out) = state.draft(proposal, &METRONOME).expect("no proof is wrong");
        assert!(left_out.is_empty(), "a transaction was left out: {:?}", left_out[0]);
        block
    }

    /// Appends the next block to both files.
    fn commit(&mut self) -> Cost {
        let count = self.sequences.len();
        let transactions = (0..self.block)
            .map(|_| {
                let (from, to) = (self.dice.below(count), self.dice.below(count));
                self.transaction(from, &[to], 1)
            })
            .collect();
        let block = self.draft(transactions);
        let bytes = block.to_bytes();
        // Each goes first in turn: who does finds the caches cold.
        if self.ledger.state().round().height.0.is_multiple_of(2) {
            let (append, append_cpu) = self.append(&bytes);
            return Cost { append, append_cpu, ..self.add(&block) };
        }
        let cost = self.add(&block);
        let (append, append_cpu) = self.append(&bytes);
        Cost { append, append_cpu, ..cost }
    }

    fn append(&mut self, bytes: &[u8]) -> (f64, f64) {
        let begun = cpu();
        let append = timed(|| {
            self.plain.write_all(bytes).expect("room on the disk");
            self.plain.sync_data().expect("room on the disk");
        });
        (append, since(begun, self.block))
    }

    fn add(&mut self, block: &CheckedBlock) -> Cost {
        let (begun, archive) = (cpu(), self.ledger.archive().clone());
        let mut persisted = None;
        let persist = timed(|| persisted = Some(archive.persist(block).expect("room on the disk")));
        let persisted = persisted.expect("it was persisted");
        let advance = timed(|| self.ledger.advance(block, persisted).expect("the next block"));
        let upkeep = timed(|| while archive.maintain().expect("a disk") == Maintained::More {});
        self.transactions += block.transactions().len();
        let cpu = since(begun, block.transactions().len());
        Cost { persist, advance, upkeep, cpu, ..Cost::default() }
    }

    /// Commits blocks and prints a line: medians of what a block waits for, means of the rest,
    /// which comes in bursts.
    fn measure(&mut self, blocks: usize) {
        let costs: Vec<_> = (0..blocks).map(|_| self.commit()).collect();
        let middle = |of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
        let mean = |of: fn(&Cost) -> f64| costs.iter().map(of).sum::<f64>() / costs.len() as f64;
        println!(
            "{:>14}{:>14}{:>11.2}{:>12.2}{:>8.2}{:>12.2}{:>11.2}{:>12.2}{:>9.2}",
            self.ledger.state().accounts().len(),
            self.transactions,
            middle(|cost| cost.append),
            middle(|cost| cost.persist),
            middle(|cost| cost.persist / cost.append),
            middle(|cost| cost.advance),
            mean(|cost| cost.upkeep),
            mean(|cost| cost.append_cpu),
            mean(|cost| cost.cpu),
        );
    }

    /// Opens the ledger again and looks some things up.
    fn reopen(self) {
        let Self { folder, ledger, mut dice, .. } = self;
        let path = folder.path().join("ledger");
        let ids: Vec<_> = (0..1000)
            .filter_map(|_| {
                let height = Height(dice.roll() % ledger.state().round().height.0);
                let block = ledger.block(height).expect("a disk").expect("a block");
                let chain = ledger.state().chain().hash();
                let count = block.transactions.len();
                (count > 0).then(|| block.transactions[dice.below(count)].id(&chain))
            })
            .take(200)
            .collect();
        let count = ledger.state().accounts().len();
        ledger.flush().expect("room on the disk");
        drop(ledger);
        let mut ledger = None;
        let open = timed(|| ledger = Some(Ledger::open(&path, None).expect("a ledger")));
        let ledger = ledger.expect("it was opened");
        let look_up = |id| timed(|| drop(ledger.transaction(id).expect("a disk").expect("known")));
        let found = median(ids.iter().map(look_up).collect()) * 1e3;
        let miss = |index| {
            let unknown = dsc_benches::digest(index);
            timed(|| assert!(ledger.transaction(&unknown).expect("a disk").is_none()))
        };
        let missed = median((0..200).map(miss).collect()) * 1e3;
        let page = |_| {
            let address = account(dice.below(count.saturating_sub(1)));
            timed(|| drop(ledger.history(&address, None, 10).expect("a disk")))
        };
        let page = median((0..200).map(page).collect()) * 1e3;
        println!(
            "opened in {open:.0} ms; medians: a transaction {found:.0} us, an unknown one \
             {missed:.0} us, ten events of an account {page:.0} us"
        );
    }
}

/// A chain whose blocks have room, with one rich account.
fn chain() -> Chain {
    let rich = Endowment { address: account(0), balance: testing::coins(2_000_000) };
    let accounts = List::new(vec![rich]).expect("one account");
    let limits = Limits { block_transactions: 1 << 17, block_bytes: 1 << 28 };
    let genesis = Genesis { accounts, limits, ..testing::genesis() };
    genesis.check().expect("a valid genesis")
}

fn account(number: usize) -> Address {
    stranger(number as u64)
}

/// Milliseconds that `work` takes.
fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}

/// Microseconds of CPU since `begun`, for each of `count`.
fn since(begun: Duration, count: usize) -> f64 {
    cpu().saturating_sub(begun).as_secs_f64() * 1e6 / count as f64
}

/// CPU time of this process, in the kernel and outside.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
