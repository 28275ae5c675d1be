//! Transactions that were signed ahead of time, encoded, in the order of each sender's sequence.
//!
//! # Invariants
//!
//! 1. A lane holds one sender's transactions in sequence; whoever sends a lane in order never leaves
//!    a gap.
//! 2. Everything is encoded before a measurement begins.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use dsc_lib::{
    address::Address,
    codec,
    hash::Digest,
    keys::SecretKey,
    proof::Progress,
    transaction::{Draft, Memo, Payment, Payments, Transaction, TransactionId},
    units::{Amount, Height},
};
use hyper::body::Bytes;
use rayon::prelude::*;

use crate::exit::Failure;

/// A sender and what it signs.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) key: SecretKey,
    /// Sequence of its first transaction.
    pub(crate) sequence: u64,
    /// How many it signs.
    pub(crate) count: usize,
}

/// What every transaction carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) expires: Height,
    pub(crate) fee: Amount,
    /// Payments in each transaction.
    pub(crate) payments: usize,
    /// Different recipients; none gives every payment one of its own, which no state knows yet.
    pub(crate) recipients: Option<u64>,
    /// Another seed pays other recipients.
    pub(crate) seed: u64,
}

/// Signed transactions.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    bytes: Vec<u8>,
    /// Where each transaction's bytes end.
    ends: Vec<usize>,
    ids: Vec<TransactionId>,
    lanes: Vec<Range<usize>>,
}

impl Workload {
    /// Signs on all cores; tells `progress` and stops when that says so.
    pub(crate) fn sign(
        chain: &Digest,
        senders: &[Sender],
        terms: Terms,
        progress: &dyn Progress,
    ) -> Result<Self, Failure> {
        let total = senders.iter().map(|sender| sender.count as u64).sum();
        let done = AtomicU64::new(0);
        let mut workload = Self::default();
        progress.update("sign", 0, total);
        let mut first = 0;
        for sender in senders {
            let signed = (0..sender.count).into_par_iter().map(|index| {
                if progress.is_cancelled() {
                    return Err(Failure::interrupted("signing was interrupted"));
                }
                let transaction = terms.sign(chain, sender, index, first);
                let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                if count.is_multiple_of(64) || count == total {
                    progress.update("sign", count, total);
                }
                Ok((codec::encode(&transaction), transaction.id(chain)))
            });
            workload.push_lane(signed.collect::<Result<_, Failure>>()?);
            first += sender.count as u64;
        }
        Ok(workload)
    }

    /// Takes transactions that were signed before, encoded, one list for each client.
    pub(crate) fn from_lanes(lanes: Vec<Vec<(Vec<u8>, TransactionId)>>) -> Self {
        let mut workload = Self::default();
        for lane in lanes {
            workload.push_lane(lane);
        }
        workload
    }

    fn push_lane(&mut self, signed: Vec<(Vec<u8>, TransactionId)>) {
        let first = self.ids.len();
        for (bytes, id) in signed {
            self.bytes.extend_from_slice(&bytes);
            self.ends.push(self.bytes.len());
            self.ids.push(id);
        }
        self.lanes.push(first..self.ids.len());
    }

    pub(crate) fn ids(&self) -> &[TransactionId] {
        &self.ids
    }

    /// One range of transactions for each sender.
    pub(crate) fn lanes(&self) -> &[Range<usize>] {
        &self.lanes
    }

    fn encoding(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// The body of one submission: a canonical list.
    pub(super) fn body(&self, transactions: &[usize]) -> Bytes {
        let mut body = codec::encode(&(transactions.len() as u64));
        for &index in transactions {
            body.extend_from_slice(self.encoding(index));
        }
        body.into()
    }
}

impl Terms {
    /// The transaction `index` of `sender`, before whom `first` were signed.
    fn sign(&self, chain: &Digest, sender: &Sender, index: usize, first: u64) -> Transaction {
        let index = index as u64;
        let payment = |place: u64| Payment {
            to: self.recipient((first + index) * self.payments as u64 + place),
            amount: Amount::from_units(1),
        };
        let payments = Payments::new((0..self.payments as u64).map(payment).collect());
        let draft = Draft {
            sequence: sender.sequence + index,
            expires: self.expires,
            fee: self.fee,
            payments: payments.expect("the number of payments was checked"),
            memo: Memo::default(),
        };
        draft.sign(chain, &sender.key)
    }

    /// Nobody has the key of such an address.
    fn recipient(&self, place: u64) -> Address {
        let place = self.recipients.map_or(place, |recipients| place % recipients);
        let mut material = [0; 16];
        material[..8].copy_from_slice(&self.seed.to_le_bytes());
        material[8..].copy_from_slice(&place.to_le_bytes());
        Address(*blake3::hash(&material).as_bytes())
    }
}
