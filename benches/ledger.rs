//! A block's way through the ledger: drafted, checked, applied, put on disk; and what the last costs
//! beside a plain append, as accounts and blocks become more.

#[path = "ledger/growth.rs"]
mod growth;

use dsc_benches::{BatchSize, Bencher, Criterion, Throughput, run, stranger, transactions};
use dsc_lib::{
    block::Block,
    codec::List,
    genesis::{Chain, Endowment, Genesis},
    keys::SecretKey,
    ledger::{CheckedBlock, Ledger, Proposal, State},
    testing::{self, ALICE, BOB, METRONOME, Miners},
};

const BLOCK_TRANSACTIONS: u64 = 1_000;
const ACCOUNTS: u64 = 10_000;

fn main() {
    growth::run();
    run(&[draft, check, apply, commit]);
}

/// A chain with many accounts, of which two pay.
fn chain() -> Chain {
    let endow = |address| Endowment { address, balance: testing::ENDOWMENT };
    let payers = [&*ALICE, &*BOB].map(|key: &SecretKey| testing::address(key));
    let others = (0..ACCOUNTS).map(|number| stranger(u64::MAX - number));
    let mut accounts: Vec<_> = payers.into_iter().chain(others).map(endow).collect();
    accounts.sort_unstable_by_key(|account| account.address);
    let accounts = List::new(accounts).expect("few enough accounts");
    let genesis = Genesis { accounts, ..testing::genesis() };
    genesis.check().expect("a valid genesis")
}

/// A state, and a full block that comes after it.
struct Fixture {
    state: State,
    proposal: Proposal,
    block: CheckedBlock,
}

impl Fixture {
    fn new() -> Self {
        let state = State::genesis(chain());
        let proofs = Miners::new(state.chain()).mine(&state);
        let transactions = transactions(&state.chain().hash(), BLOCK_TRANSACTIONS);
        let proposal = testing::proposal(&state, proofs, transactions);
        let (block, left_out) = state.draft(proposal.clone(), &METRONOME).expect("valid proofs");
        assert!(left_out.is_empty(), "a transaction was left out");
        Self { state, proposal, block }
    }
}

fn draft(criterion: &mut Criterion) {
    let Fixture { state, proposal, .. } = Fixture::new();
    let make = |proposal| state.draft(proposal, &METRONOME).expect("valid proofs");
    measure(criterion, "draft", |b| {
        b.iter_batched(|| proposal.clone(), make, BatchSize::LargeInput);
    });
}

fn check(criterion: &mut Criterion) {
    let Fixture { state, block, .. } = Fixture::new();
    let block: Block = testing::unchecked(&block);
    let check = |block| state.check(block).expect("a valid block");
    measure(criterion, "check", |b| {
        b.iter_batched(|| block.clone(), check, BatchSize::LargeInput);
    });
}

fn apply(criterion: &mut Criterion) {
    let Fixture { state, block, .. } = Fixture::new();
    let apply = |mut state: State| {
        state.apply(&block).expect("checked against this state");
        state
    };
    measure(criterion, "apply", |b| {
        b.iter_batched(|| state.clone(), apply, BatchSize::LargeInput);
    });
}

/// With the write to disk: one durable commit.
fn commit(criterion: &mut Criterion) {
    let Fixture { state, block, .. } = Fixture::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut number = 0;
    let fresh = || {
        number += 1;
        let path = folder.path().join(number.to_string());
        Ledger::open(&path, Some(state.chain().clone())).expect("a new ledger")
    };
    let commit = |mut ledger: Ledger| {
        ledger.commit(&block).expect("checked against this state");
        ledger
    };
    measure(criterion, "commit", |b| b.iter_batched(fresh, commit, BatchSize::PerIteration));
}

fn measure(criterion: &mut Criterion, operation: &str, bench: impl FnOnce(&mut Bencher<'_>)) {
    let mut bench = Some(bench);
    let mut group = criterion.benchmark_group(format!("ledger::{operation}"));
    group.throughput(Throughput::Elements(BLOCK_TRANSACTIONS)).sample_size(20);
    group.bench_function(format!("transactions={BLOCK_TRANSACTIONS}"), |b| {
        bench.take().expect("criterion asks once")(b);
    });
}
