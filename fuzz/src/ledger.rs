//! What travels between roles and to disk.

use std::sync::{Arc, LazyLock};

use dsc_lib::{
    block::Block,
    codec::{DecodeError, decode, encode},
    genesis::Genesis,
    ledger::{Import, Proposal, Snapshot, State},
    testing::{self, METRONOME},
    transaction::{CheckedTransaction, Encoded, TRANSACTION_BYTES_MAX, Transaction},
};

use crate::{assert_exact, assert_same};

static STATE: LazyLock<State> = LazyLock::new(|| State::genesis(testing::chain()));

/// Exact; no longer than allowed; a transaction that is checked is the one that was given.
pub fn transaction(data: &[u8]) {
    let encoded = decode::<Encoded>(data);
    let decoded = decode::<Transaction>(data);
    // Of two faults each form may name another: one reads the key first, the other its whole head.
    assert_eq!(encoded.ok().map(|encoded| encoded.decode()), decoded.ok());
    let Ok(transaction) = decode::<Transaction>(data) else { return };
    assert_exact(&encode(&transaction), data);
    assert!(data.len() <= TRANSACTION_BYTES_MAX);
    if let Ok(checked) = transaction.check(&STATE.chain().hash()) {
        assert_exact(checked.bytes(), data);
        assert_eq!(checked.transaction(), transaction);
    }
}

/// Exact; checking is total; a block that the ledger itself makes of the parts passes the check,
/// and money is neither made nor lost.
pub fn block(data: &[u8]) {
    let Ok(block) = decode::<Block>(data) else { return };
    assert_exact(&encode(&block), data);
    if let Ok(checked) = STATE.check(block.clone()) {
        assert_exact(&checked.to_bytes(), data);
    }
    redraft(block);
}

fn redraft(block: Block) {
    let chain = STATE.chain().hash();
    let check = |encoded: Encoded| encoded.decode().check(&chain).ok().map(Arc::new);
    let transactions: Vec<Arc<CheckedTransaction>> =
        block.transactions.into_vec().into_iter().filter_map(check).collect();
    let (time, epoch) = (block.header.time, block.header.epoch);
    let proposal = Proposal { proofs: block.proofs.into_vec(), transactions, time, epoch };
    let Ok((drafted, _)) = STATE.draft(proposal, &METRONOME) else { return };
    let mut state = STATE.clone();
    let checked = state.check(testing::unchecked(&drafted)).expect("it was drafted here");
    assert_eq!(checked.header(), drafted.header());
    state.apply(&checked).expect("it was checked against this state");
    assert!(state.supply_holds());
}

/// Exact in bytes and in JSON; checking is total.
pub fn genesis(data: &[u8]) {
    if let Ok(genesis) = decode::<Genesis>(data) {
        assert_exact(&encode(&genesis), data);
        through_json(genesis);
    } else if let Ok(genesis) = serde_json::from_slice(data) {
        through_json(genesis);
    }
}

/// JSON holds text: a network name that is not UTF-8 is refused by the check, so only what passes
/// has to come back.
fn through_json(genesis: Genesis) {
    let Ok(chain) = genesis.clone().check() else { return };
    assert_eq!(chain.hash(), genesis.hash());
    let json = serde_json::to_vec(&genesis).expect("a genesis has a JSON form");
    assert_same(serde_json::from_slice(&json), &genesis);
}

/// Exact: a file that is read to its end without an error is the concatenation of what was read.
pub fn export(data: &[u8]) {
    let Ok(import) = Import::new(data) else { return };
    let mut written = b"DSCCHAIN\x01\0".to_vec();
    push_record(&mut written, &encode(import.genesis()));
    for block in import {
        let Ok(block) = block else { return };
        push_record(&mut written, &encode(&block));
    }
    assert_exact(&written, data);
}

fn push_record(file: &mut Vec<u8>, record: &[u8]) {
    file.extend((record.len() as u64).to_le_bytes());
    file.extend(record);
}

/// Exact; a state is restored only from what a metronome signed for, so never from other bytes
/// than those of the state before the first block.
pub fn snapshot(data: &[u8]) {
    let decoded: Result<Snapshot, DecodeError> = decode(data);
    let Ok(snapshot) = decoded else { return };
    assert_exact(&encode(&snapshot), data);
    if let Ok(state) = State::from_snapshot(STATE.chain().clone(), snapshot) {
        assert!(state.supply_holds());
    }
}
