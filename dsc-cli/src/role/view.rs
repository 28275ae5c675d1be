//! What is shown of blocks and transactions, as JSON.

use dsc_lib::{
    block::Block,
    genesis::Chain,
    hash::Digest,
    ledger::{Event, Located},
    proof::{Fingerprint, ProofEntry, ProofKind},
    transaction::Transaction,
    units::{Amount, Height, Millis, Target},
};
use serde::{Deserialize, Serialize};

use super::describe::{Bech32m, Hex};
use crate::http::openapi::{Describe, Field, Fields, Schemas, answered, describe};

/// A payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PaymentView {
    pub(crate) to: String,
    pub(crate) amount: Amount,
}

/// A transaction; addresses are text of its network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TransactionView {
    pub(crate) id: Digest,
    pub(crate) sender: String,
    pub(crate) sequence: u64,
    pub(crate) expires: Height,
    pub(crate) fee: Amount,
    pub(crate) payments: Vec<PaymentView>,
    /// The memo as text if it is UTF-8, else in hexadecimal with `0x`.
    pub(crate) memo: String,
}

describe! { answered PaymentView as "Payment": "A payment." {
    to as Bech32m: "Who receives it.",
    amount: "How much.",
}}

describe! { answered TransactionView as "Transaction": "A transaction." {
    id: "Its id on this chain.",
    sender as Bech32m: "Who pays.",
    sequence: "How many transactions the sender had sent before it.",
    expires: "The last height at which it may be on the ledger.",
    fee: "What the winner of its block is paid.",
    payments: "Whom it pays.",
    memo: "The memo as text if it is UTF-8, else in hexadecimal after `0x`.",
}}

impl TransactionView {
    pub(crate) fn new(chain: &Chain, transaction: &Transaction) -> Self {
        let prefix = chain.prefix();
        let payment = |payment: &dsc_lib::transaction::Payment| PaymentView {
            to: payment.to.to_text(prefix),
            amount: payment.amount,
        };
        Self {
            id: transaction.id(&chain.hash()),
            sender: transaction.sender.address().to_text(prefix),
            sequence: transaction.sequence,
            expires: transaction.expires,
            fee: transaction.fee,
            payments: transaction.payments.iter().map(payment).collect(),
            memo: memo_text(&transaction.memo),
        }
    }
}

pub(crate) fn memo_text(memo: &[u8]) -> String {
    match std::str::from_utf8(memo) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex::encode(memo)),
    }
}

/// A transaction on the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LocatedView {
    pub(crate) height: Height,
    pub(crate) index: u32,
    #[serde(flatten)]
    pub(crate) transaction: TransactionView,
}

impl Describe for LocatedView {
    fn bare(known: &mut Schemas) -> serde_json::Value {
        known.named("LocatedTransaction", |known| {
            let _: fn(&Self) = |Self { height: _, index: _, transaction: _ }| ();
            let mut fields = place(known);
            fields.extend(TransactionView::fields(known));
            answered("A transaction on the ledger.", fields)
        })
    }
}

fn place(known: &mut Schemas) -> Vec<Field> {
    vec![
        Field::new::<Height>("height", "Height of its block.", known),
        Field::new::<u32>("index", "Its place in the block, from 0.", known),
    ]
}

impl LocatedView {
    pub(crate) fn new(chain: &Chain, located: &Located) -> Self {
        let transaction = TransactionView::new(chain, &located.transaction);
        Self { height: located.place.height, index: located.place.index, transaction }
    }
}

/// Something that touched an address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventView {
    pub(crate) height: Height,
    pub(crate) index: u32,
    /// Coins received; of a block's winner, reward and fees.
    pub(crate) received: Amount,
    /// The transaction; none for a block's reward.
    pub(crate) transaction: Option<TransactionView>,
}

describe! { answered EventView as "Event": "Something that touched an address." {
    height: "Height of its block.",
    index: "Its place in the block, from 0.",
    received: "Coins received; of a block's winner, reward and fees.",
    transaction: "The transaction; null for a block's reward.",
}}

impl EventView {
    pub(crate) fn new(chain: &Chain, event: &Event) -> Self {
        let transaction = event.transaction.as_ref();
        Self {
            height: event.place.height,
            index: event.place.index,
            received: event.received,
            transaction: transaction.map(|transaction| TransactionView::new(chain, transaction)),
        }
    }
}

/// A proof in a block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProofView {
    pub(crate) proof: String,
    pub(crate) miner: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) bytes: String,
}

describe! { answered ProofView as "Proof": "A proof in a block." {
    proof as ProofKind: "The engine.",
    miner as Bech32m: "Whose account is paid.",
    fingerprint: "Which of the owner's validators found it.",
    bytes as Hex: "The proof itself, in hexadecimal (docs/proofs.md).",
}}

impl ProofView {
    fn new(chain: &Chain, entry: &ProofEntry) -> Self {
        Self {
            proof: entry.proof.kind.name().to_owned(),
            miner: entry.miner.address.to_text(chain.prefix()),
            fingerprint: entry.miner.fingerprint,
            bytes: hex::encode(&entry.proof.bytes),
        }
    }
}

/// A block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BlockView {
    pub(crate) hash: Digest,
    pub(crate) height: Height,
    pub(crate) time: Millis,
    pub(crate) parent: Digest,
    pub(crate) challenge: Digest,
    pub(crate) targets: Vec<Target>,
    pub(crate) epoch: u64,
    pub(crate) metronome: String,
    pub(crate) state: Digest,
    pub(crate) transactions_root: Digest,
    pub(crate) proofs_root: Digest,
    pub(crate) proofs: Vec<ProofView>,
    pub(crate) transactions: Vec<TransactionView>,
}

describe! { answered BlockView as "Block": "A block." {
    hash: "Its hash.",
    height: "Its height.",
    time: "When it was made.",
    parent: "Hash of the block before; of the genesis for the first one.",
    challenge: "What the proofs answer.",
    targets: "What they must meet, in the order of engines: work, space, memory.",
    epoch: "The metronome's lease number; 0 when it is alone.",
    metronome as Bech32m: "Who made it.",
    state: "State commitment after this block.",
    transactions_root: "Root of the tree over whole transactions.",
    proofs_root: "Root of the tree over proof entries.",
    proofs: "At most one of each engine; the best is paid.",
    transactions: "In the order in which they were applied; with a `limit` the first ones.",
}}

impl BlockView {
    /// The block with at most `max` of its transactions.
    pub(crate) fn new(chain: &Chain, block: &Block, max: usize) -> Self {
        let header = &block.header;
        Self {
            hash: header.hash(),
            height: header.height,
            time: header.time,
            parent: header.parent,
            challenge: header.challenge,
            targets: header.targets.to_vec(),
            epoch: header.epoch,
            metronome: header.metronome.to_text(chain.prefix()),
            state: header.state,
            transactions_root: header.transactions_root,
            proofs_root: header.proofs_root,
            proofs: block.proofs.iter().map(|entry| ProofView::new(chain, entry)).collect(),
            transactions: block
                .transactions
                .iter()
                .take(max)
                .map(|t| TransactionView::new(chain, &t.decode()))
                .collect(),
        }
    }
}
