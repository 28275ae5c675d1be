//! What is shown of blocks and transactions, as JSON.

use dsc_lib::{
    block::Block,
    genesis::Chain,
    hash::Digest,
    ledger::{Event, Located},
    proof::{Fingerprint, ProofEntry},
    transaction::Transaction,
    units::{Amount, Height, Millis, Target},
};
use serde::{Deserialize, Serialize};

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

impl BlockView {
    pub(crate) fn new(chain: &Chain, block: &Block) -> Self {
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
                .map(|t| TransactionView::new(chain, &t.decode()))
                .collect(),
        }
    }
}
