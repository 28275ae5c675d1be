//! A large block's way through a process, stage by stage: one payment a transaction, each to an
//! account of its own.

use std::hint::black_box;

use dsc_benches::{BatchSize, Bencher, Criterion, Throughput, run, transactions};
use dsc_lib::{
    block::Block,
    codec::{self, List},
    genesis::{BLOCK_BYTES_MAX, Chain, Endowment, Genesis, Limits},
    hash::Digest,
    ledger::{CheckedBlock, Proposal, State},
    merkle,
    testing::{self, ALICE, BOB, METRONOME, Miners},
    transaction::Encoded,
};

const SIZES: [u64; 2] = [10_000, 40_000];

fn main() {
    run(&[stages]);
}

/// A chain with room for large blocks, on which two pay.
fn chain() -> Chain {
    let mut payers = [&*ALICE, &*BOB].map(testing::address);
    payers.sort_unstable();
    let endow = |address| Endowment { address, balance: testing::ENDOWMENT };
    let accounts = List::new(payers.map(endow).to_vec()).expect("two accounts");
    let limits = Limits { block_transactions: 131_072, block_bytes: BLOCK_BYTES_MAX };
    let genesis = Genesis { accounts, limits, ..testing::genesis() };
    genesis.check().expect("a valid genesis")
}

/// A state, and a block that comes after it.
struct Fixture {
    count: u64,
    state: State,
    proposal: Proposal,
    block: CheckedBlock,
    bytes: Vec<u8>,
}

impl Fixture {
    fn new(count: u64) -> Self {
        let state = State::genesis(chain());
        let proofs = Miners::new(state.chain()).mine(&state);
        let transactions = transactions(&state.chain().hash(), count);
        let proposal = testing::proposal(&state, proofs, transactions);
        let (block, left_out) = state.draft(proposal.clone(), &METRONOME).expect("valid proofs");
        assert!(left_out.is_empty(), "a transaction was left out");
        let bytes = block.to_bytes();
        Self { count, state, proposal, block, bytes }
    }

    fn decoded(&self) -> Block {
        codec::decode(&self.bytes).expect("our own block")
    }

    fn encoded(&self) -> Vec<Encoded> {
        self.block.transactions().iter().map(|transaction| transaction.encoded().clone()).collect()
    }
}

fn stages(criterion: &mut Criterion) {
    for count in SIZES {
        let fixture = Fixture::new(count);
        bytes(criterion, &fixture);
        hashes(criterion, &fixture);
        rules(criterion, &fixture);
    }
}

fn bytes(criterion: &mut Criterion, fixture: &Fixture) {
    measure(criterion, "decode", fixture, |b| {
        b.iter_with_large_drop(|| fixture.decoded());
    });
    measure(criterion, "to_bytes", fixture, |b| {
        b.iter_with_large_drop(|| fixture.block.to_bytes());
    });
}

fn hashes(criterion: &mut Criterion, fixture: &Fixture) {
    let transactions = fixture.encoded();
    measure(criterion, "leaves", fixture, |b| {
        b.iter(|| merkle::leaves(black_box(&transactions), |transaction| transaction.bytes()));
    });
    let leaves: Vec<Digest> = fixture.block.transactions().iter().map(|t| t.leaf()).collect();
    measure(criterion, "root", fixture, |b| {
        b.iter(|| merkle::root(black_box(&leaves)));
    });
}

/// Every signature is known already: what is left is everything else.
fn rules(criterion: &mut Criterion, fixture: &Fixture) {
    let Fixture { state, proposal, block, .. } = fixture;
    let checker = state.chain().checker();
    measure(criterion, "recall", fixture, |b| {
        b.iter_batched(|| fixture.encoded(), |t| checker.check_all(t), BatchSize::LargeInput);
    });
    let draft = |proposal| state.draft(proposal, &METRONOME).expect("valid proofs");
    measure(criterion, "draft", fixture, |b| {
        b.iter_batched(|| proposal.clone(), draft, BatchSize::LargeInput);
    });
    let check = |block| state.check(block).expect("a valid block");
    measure(criterion, "check", fixture, |b| {
        b.iter_batched(|| fixture.decoded(), check, BatchSize::LargeInput);
    });
    let apply = |mut state: State| {
        state.apply(block).expect("checked against this state");
        state
    };
    measure(criterion, "apply", fixture, |b| {
        b.iter_batched(|| state.clone(), apply, BatchSize::LargeInput);
    });
}

fn measure(
    criterion: &mut Criterion,
    stage: &str,
    fixture: &Fixture,
    bench: impl FnMut(&mut Bencher<'_>),
) {
    let mut group = criterion.benchmark_group(format!("block::{stage}"));
    group.throughput(Throughput::Elements(fixture.count)).sample_size(10);
    group.bench_function(format!("transactions={}", fixture.count), bench);
}
