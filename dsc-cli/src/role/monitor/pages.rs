//! What the explorer shows: answers of the blockchain server and the pool put together for people.

use dsc_lib::{
    address::Prefix,
    codec,
    hash::Digest,
    mempool::{Note, Status},
    proof::{Fingerprint, ProofKind},
    role::{Refusal, monitor::BlockRow},
    transaction::Transaction,
    units::{Amount, Height, Millis},
};
use serde::Serialize;

use crate::{
    http::openapi::{Describe, Field, Fields, Schemas, answered, describe},
    role::{
        blockchain::Record,
        describe::{Bech32m, Hex},
        pool::HeldRecord,
        view::{BlockView, PaymentView},
    },
};

/// A block with what its transactions come to.
#[derive(Debug, Serialize)]
pub(super) struct BlockPage {
    #[serde(flatten)]
    pub(super) block: BlockView,
    pub(super) transaction_count: u64,
    pub(super) payments: u64,
    pub(super) bytes: u64,
    pub(super) amount: Amount,
    pub(super) fees: Amount,
    pub(super) reward: Amount,
    pub(super) winner: Option<ProofKind>,
    pub(super) miner: Option<String>,
    pub(super) fingerprint: Option<Fingerprint>,
}

impl BlockPage {
    pub(super) fn new(block: BlockView, row: BlockRow) -> Self {
        let BlockRow { payments, bytes, amount, fees, reward, winner, miner, fingerprint, .. } =
            row;
        Self {
            block,
            transaction_count: row.transactions,
            payments,
            bytes,
            amount,
            fees,
            reward,
            winner,
            miner,
            fingerprint,
        }
    }
}

impl Describe for BlockPage {
    fn bare(known: &mut Schemas) -> serde_json::Value {
        known.named("BlockPage", |known| {
            let mut fields = BlockView::fields(known);
            let all = "Transactions in the block, also if fewer are listed.";
            fields.extend([
                Field::new::<u64>("transaction_count", all, known),
                Field::new::<u64>("payments", "Payments in them.", known),
                Field::new::<u64>("bytes", "Bytes of its encoding.", known),
                Field::new::<Amount>("amount", "What the payments are together.", known),
                Field::new::<Amount>("fees", "The fees of its transactions.", known),
                Field::new::<Amount>("reward", "New coins for its winner.", known),
                Field::new::<Option<ProofKind>>("winner", "The engine that won.", known),
                Field::new::<Option<Bech32m>>("miner", "Whose account was paid.", known),
                Field::new::<Option<Fingerprint>>("fingerprint", "Which validator won.", known),
            ]);
            answered("A block with its first 1,000 transactions.", fields)
        })
    }
}

/// A transaction and its life so far.
#[derive(Debug, Serialize)]
pub(super) struct TransactionPage {
    id: Digest,
    state: &'static str,
    reason: Option<Refusal>,
    height: Option<Height>,
    index: Option<u32>,
    block_hash: Option<Digest>,
    block_time: Option<Millis>,
    confirmations: Option<u64>,
    from: Option<String>,
    payments: Option<Vec<PaymentView>>,
    amount: Option<Amount>,
    fee: Option<Amount>,
    sequence: Option<u64>,
    expires: Option<Height>,
    memo: Option<String>,
    bytes: Option<u64>,
    timeline: Vec<Step>,
}

/// A state that a transaction goes through.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    state: &'static str,
    time: Option<Millis>,
}

describe! { answered TransactionPage as "TransactionPage": "A transaction and its life so far." {
    id: "Its id.",
    state: "`submitted`, `unconfirmed`, `confirmed`, `rejected` or `expired`.",
    reason: "Why, if it was rejected.",
    height: "Its block, or the one it was handed out for or missed.",
    index: "Its place in the block, from 0.",
    block_hash: "Hash of its block.",
    block_time: "Time of its block.",
    confirmations: "Blocks from its own to the tip.",
    from as Option<Bech32m>: "Who pays; null, as what follows, if only its state is known.",
    payments: "Whom it pays.",
    amount: "What the payments are together.",
    fee: "What the winner of its block is paid.",
    sequence: "How many transactions the sender had sent before it.",
    expires: "The last height at which it may be on the ledger.",
    memo as Option<Hex>: "The memo, in hexadecimal.",
    bytes: "Bytes of its encoding.",
    timeline: "The states that it went or may go through.",
}}

describe! { answered Step as "Step": "A state that a transaction goes through." {
    state: "The state.",
    time: "When it was reached; null if it was not, or that is not known.",
}}

impl TransactionPage {
    /// The page of a transaction on the ledger, on its way, or both.
    pub(super) fn new(
        id: Digest,
        record: Option<&Record>,
        held: Option<&HeldRecord>,
        prefix: Prefix,
    ) -> Option<Self> {
        let on_ledger = record.map(|record| Status::Confirmed { height: record.height });
        let status = on_ledger.or_else(|| held.map(|held| held.status.clone()))?;
        let note = held.and_then(|held| held.note);
        let bytes = record.map(|record| &record.transaction);
        let bytes = bytes.or_else(|| held.and_then(|held| held.transaction.as_ref()));
        let block_time = record.map(|record| record.block_time);
        let page = Self {
            id,
            state: status.name(),
            reason: reason(&status),
            height: status.height(),
            index: record.map(|record| record.index),
            block_hash: record.map(|record| record.block_hash),
            block_time,
            confirmations: record.map(|r| r.tip.0.saturating_sub(r.height.0).saturating_add(1)),
            from: None,
            payments: None,
            amount: None,
            fee: None,
            sequence: None,
            expires: None,
            memo: None,
            bytes: None,
            timeline: timeline(&status, note.as_ref(), block_time),
        };
        Some(match bytes.and_then(|bytes| Some((bytes.len(), codec::decode(bytes).ok()?))) {
            Some((len, transaction)) => page.with_content(&transaction, len as u64, prefix),
            None => match &note {
                Some(note) => page.with_note(note, prefix),
                None => page,
            },
        })
    }

    fn with_content(self, transaction: &Transaction, bytes: u64, prefix: Prefix) -> Self {
        let payments = transaction
            .payments
            .iter()
            .map(|payment| PaymentView { to: payment.to.to_text(prefix), amount: payment.amount });
        Self {
            from: Some(transaction.sender.address().to_text(prefix)),
            payments: Some(payments.collect()),
            amount: Amount::checked_sum(transaction.payments.iter().map(|one| one.amount)),
            fee: Some(transaction.fee),
            sequence: Some(transaction.sequence),
            expires: Some(transaction.expires),
            memo: Some(hex::encode(&transaction.memo[..])),
            bytes: Some(bytes),
            ..self
        }
    }

    /// What a pool still knows of one that has ended.
    fn with_note(self, note: &Note, prefix: Prefix) -> Self {
        let (from, amount, fee) = (note.sender.to_text(prefix), note.amount, note.fee);
        Self { from: Some(from), amount: Some(amount), fee: Some(fee), ..self }
    }
}

fn reason(status: &Status) -> Option<Refusal> {
    let Status::Rejected { code, reason } = status else { return None };
    Some(Refusal { code: code.clone(), reason: reason.clone() })
}

fn timeline(status: &Status, note: Option<&Note>, block_time: Option<Millis>) -> Vec<Step> {
    let handed = note.and_then(|note| note.unconfirmed);
    let submitted = Step { state: "submitted", time: note.map(|note| note.submitted) };
    let unconfirmed = Step { state: "unconfirmed", time: handed };
    let end = match status {
        Status::Rejected { .. } | Status::Expired { .. } => {
            Step { state: status.name(), time: None }
        }
        _ => Step { state: "confirmed", time: block_time },
    };
    let was_handed = handed.is_some() || end.state == "confirmed";
    [Some(submitted), was_handed.then_some(unconfirmed), Some(end)].into_iter().flatten().collect()
}

/// An address and what it holds.
#[derive(Debug, Serialize)]
pub(super) struct AccountPage {
    pub(super) address: String,
    pub(super) balance: Amount,
    pub(super) sequence: u64,
    pub(super) height: Option<Height>,
    pub(super) pending: Option<u64>,
}

describe! { answered AccountPage as "AccountPage": "An address and what it holds." {
    address as Bech32m: "The address.",
    balance: "Coins held.",
    sequence: "Transactions sent.",
    height: "Height of the tip; null before the first block.",
    pending: "Transactions of it that the pool holds without a gap; null if the pool does not answer.",
}}

/// What a text names.
#[derive(Debug, Serialize)]
pub(super) struct FoundPage {
    pub(super) kind: &'static str,
    pub(super) path: String,
}

describe! { answered FoundPage as "Found": "What a text names." {
    kind: "`block`, `transaction` or `account`.",
    path: "The page of it.",
}}
