//! A transaction that keeps every rule that needs no ledger.

use super::{Encoded, Payment, Transaction, TransactionId};
use crate::{
    address::Address,
    hash::Digest,
    units::{Amount, Height},
};

/// What is worth remembering of a transaction that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) id: TransactionId,
    pub(super) sender: Address,
    /// Payments and fee together.
    pub(super) spent: Amount,
}

/// A transaction that keeps every rule that needs no ledger, with what was computed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    pub(super) encoded: Encoded,
    pub(super) leaf: Digest,
    pub(super) findings: Findings,
}

impl CheckedTransaction {
    /// Its id on the chain it was checked for.
    pub fn id(&self) -> TransactionId {
        self.findings.id
    }

    /// The sender's address.
    pub fn sender(&self) -> Address {
        self.findings.sender
    }

    /// Payments and fee together.
    pub fn spent(&self) -> Amount {
        self.findings.spent
    }

    /// The sender's transaction counter.
    pub fn sequence(&self) -> u64 {
        self.encoded.sequence()
    }

    /// The last height at which it may be included.
    pub fn expires(&self) -> Height {
        self.encoded.expires()
    }

    /// What the winner of the block receives.
    pub fn fee(&self) -> Amount {
        self.encoded.fee()
    }

    /// Who receives how much.
    pub fn payments(&self) -> impl ExactSizeIterator<Item = Payment> + '_ {
        self.encoded.payments()
    }

    /// Bytes the sender attached.
    pub fn memo(&self) -> &[u8] {
        self.encoded.memo()
    }

    /// Its canonical encoding.
    pub fn bytes(&self) -> &[u8] {
        self.encoded.bytes()
    }

    /// Its canonical encoding, as it travels.
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// Its leaf in the transactions tree.
    pub fn leaf(&self) -> Digest {
        self.leaf
    }

    /// The transaction itself, decoded anew.
    pub fn transaction(&self) -> Transaction {
        self.encoded.decode()
    }
}

#[cfg(any(test, feature = "testing"))]
impl CheckedTransaction {
    /// Takes a transaction for checked, as if `sender` had signed it: for benches of what comes
    /// after the check, which would spend their time on signatures.
    pub fn assume(encoded: Encoded, sender: Address, chain: &Digest) -> Self {
        let (id, leaf) = (encoded.id(chain), crate::merkle::leaf(encoded.bytes()));
        let amounts = encoded.payments().map(|payment| payment.amount).chain([encoded.fee()]);
        let spent = Amount::checked_sum(amounts).unwrap_or_default();
        Self { encoded, leaf, findings: Findings { id, sender, spent } }
    }
}
