//! What roles send each other, beside blocks and transactions alone.

use std::{fmt::Debug, sync::LazyLock};

use dsc_lib::{
    block::Header,
    codec::{Decode, DecodeError, Encode, List, decode, encode},
    commitment::Account,
    genesis::{BLOCK_TRANSACTIONS_MAX, Chain},
    mempool,
    merkle::InclusionProof,
    proof::ProofEntry,
    role::{
        HandIn, Refusal,
        blockchain::{Accepted, ConfirmedList, Equivocation, Inclusion, Info},
        metronome::{OpenRound, Receipt, Status},
        monitor::Report,
        pool::{NextSequence, Outcome},
    },
    testing,
    transaction::{Encoded, TransactionReader},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{assert_exact, assert_same, script::Script};

static CHAIN: LazyLock<Chain> = LazyLock::new(testing::chain);

/// Most transactions of a submission in `lists`.
const COUNT_MAX: usize = 4;

/// Lists of blocks, transactions and ids, exact; a list that comes in pieces gives the transactions
/// that it gives as a whole.
pub fn lists(data: &[u8]) {
    exact::<ConfirmedList>(data);
    exact::<List<List<u8, 0, { 1 << 28 }>, 0, { 1 << 20 }>>(data);
    exact::<List<Encoded, 0, BLOCK_TRANSACTIONS_MAX>>(data);
    exact::<Header>(data);
    exact::<InclusionProof>(data);
    let Some((cuts, bytes)) = data.split_first_chunk::<8>() else { return };
    let whole = decode::<List<Encoded, 0, COUNT_MAX>>(bytes);
    let pieces = in_pieces(&mut Script::new(cuts), bytes);
    assert_eq!(pieces.is_ok(), whole.is_ok());
    if let (Ok(pieces), Ok(whole)) = (pieces, whole) {
        assert_eq!(pieces, whole.into_vec());
    }
}

fn exact<T: Decode<()> + Encode>(data: &[u8]) {
    if let Ok(value) = decode::<T>(data) {
        assert_exact(&encode(&value), data);
    }
}

fn in_pieces(cuts: &mut Script<'_>, bytes: &[u8]) -> Result<Vec<Encoded>, DecodeError> {
    let (mut reader, mut out) = (TransactionReader::new(COUNT_MAX as u64), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = if cuts.is_over() { rest.len() } else { 7 * usize::from(cuts.byte()) };
        let (piece, after) = rest.split_at(len.min(rest.len()));
        reader.push(piece, &mut out)?;
        rest = after;
    }
    reader.finish().map(|()| out)
}

/// Bodies in JSON: what is read is written, and read again as the same; what shows that something
/// is on the ledger is checked without fail.
pub fn json(data: &[u8]) {
    same::<Accepted>(data);
    same::<Account>(data);
    same::<HandIn>(data);
    same::<Header>(data);
    same::<Info>(data);
    same::<InclusionProof>(data);
    same::<mempool::Counts>(data);
    same::<mempool::Status>(data);
    same::<NextSequence>(data);
    same::<OpenRound>(data);
    same::<Outcome>(data);
    same::<ProofEntry>(data);
    same::<Receipt>(data);
    same::<Refusal>(data);
    same::<Report>(data);
    same::<Status>(data);
    if let Some(found) = same::<Inclusion>(data)
        && let Ok(transaction) = decode::<Encoded>(&found.transaction)
    {
        drop(found.verify(&CHAIN, &transaction.id(&CHAIN.hash())));
    }
    if let Some(found) = same::<Equivocation>(data) {
        drop(found.verify(&CHAIN));
    }
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&value).expect("what was read is written");
    assert_same(serde_json::from_slice(&written), &value);
    Some(value)
}
