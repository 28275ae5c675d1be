//! Transactions and blocks to bytes and back.

use std::hint::black_box;

use bincode::{Decode, Encode};
use dsc_benches::{Criterion, Throughput, run, transaction, transactions};
use dsc_lib::{
    block::Block,
    codec::{decode, encode},
    ledger::State,
    testing::{self, ALICE, Miners, next_block, unchecked},
};

fn main() {
    run(&[transaction_codec, block_codec]);
}

fn transaction_codec(criterion: &mut Criterion) {
    let chain = testing::genesis().hash();
    for payments in [1, 256] {
        let transaction = transaction(&chain, &ALICE, 0, payments);
        both_ways(criterion, "transaction", &format!("payments={payments}"), &transaction);
    }
}

fn block_codec(criterion: &mut Criterion) {
    let state = State::genesis(testing::chain());
    let proofs = Miners::new(state.chain()).mine(&state);
    for count in [0, 1_000] {
        let transactions = transactions(&state.chain().hash(), count);
        let block: Block = unchecked(&next_block(&state, proofs.clone(), transactions));
        both_ways(criterion, "block", &format!("transactions={count}"), &block);
    }
}

fn both_ways<T: Encode + Decode<()>>(c: &mut Criterion, module: &str, case: &str, value: &T) {
    let bytes = encode(value);
    let len = Throughput::Bytes(bytes.len() as u64);
    let mut group = c.benchmark_group(format!("{module}::encode"));
    group.throughput(len.clone());
    group.bench_function(case, |b| b.iter(|| encode(black_box(value))));
    group.finish();
    let mut group = c.benchmark_group(format!("{module}::decode"));
    group.throughput(len);
    group.bench_function(case, |b| b.iter(|| decode::<T>(black_box(&bytes)).expect("our bytes")));
}
