//! Transactions: several payments under one signature, all or nothing.
//!
//! # Invariants
//!
//! 1. A [`CheckedTransaction`] has passed every rule that needs no ledger: version, payments, sums
//!    and signature. Only [`Transaction::check`] makes one.
//! 2. The id covers the genesis hash, so a transaction is good on one chain only.
//! 3. What depends on the ledger (sequence, expiry, funds) is decided in [`crate::ledger`].

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    address::Address,
    codec::{self, List},
    hash::{Context, Digest, derive},
    keys::{PublicKey, SecretKey, Signature, SignatureError},
    merkle,
    units::{Amount, Height},
};

/// The only version there is.
pub const VERSION: u16 = 1;
/// Most payments in one transaction.
pub const PAYMENTS_MAX: usize = 256;
/// Most bytes in a memo.
pub const MEMO_BYTES_MAX: usize = 512;
/// Bytes of the largest transaction.
pub const TRANSACTION_BYTES_MAX: usize =
    FIXED_BYTES + PAYMENTS_MAX * PAYMENT_BYTES + MEMO_BYTES_MAX;
const SIGNATURE_BYTES: usize = 256;
const PAYMENT_BYTES: usize = 32 + 8;
/// Bytes of a transaction without its payments and memo: the other fields and two lengths.
const FIXED_BYTES: usize = 2 + 256 + 8 + 8 + 8 + 8 + 8 + SIGNATURE_BYTES;

/// The name of a transaction: what its sender signs.
pub type TransactionId = Digest;
/// One to [`PAYMENTS_MAX`] payments.
pub type Payments = List<Payment, 1, PAYMENTS_MAX>;
/// Bytes the sender attaches, readable by everyone.
pub type Memo = List<u8, 0, MEMO_BYTES_MAX>;

/// Coins for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Payment {
    /// Who receives.
    pub to: Address,
    /// How much; more than nothing.
    pub amount: Amount,
}

/// What a sender decides before signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The sender's transaction counter: transactions sent before.
    pub sequence: u64,
    /// The last height at which it may be included.
    pub expires: Height,
    /// What the winner of the block receives.
    pub fee: Amount,
    /// Who receives how much.
    pub payments: Payments,
    /// Bytes for the recipients.
    pub memo: Memo,
}

impl Draft {
    /// Signs for the chain with this genesis hash.
    pub fn sign(self, chain: &Digest, key: &SecretKey) -> Transaction {
        let Self { sequence, expires, fee, payments, memo } = self;
        let unsigned = Transaction {
            version: VERSION,
            sender: *key.public(),
            sequence,
            expires,
            fee,
            payments,
            memo,
            signature: Signature([0; SIGNATURE_BYTES]),
        };
        let id = unsigned.id(chain);
        Transaction { signature: key.sign(id.as_bytes()), ..unsigned }
    }
}

/// A transaction as it travels, of which nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// [`VERSION`].
    pub version: u16,
    /// Who pays and signs.
    pub sender: PublicKey,
    /// The sender's transaction counter.
    pub sequence: u64,
    /// The last height at which it may be included.
    pub expires: Height,
    /// What the winner of the block receives.
    pub fee: Amount,
    /// Who receives how much.
    pub payments: Payments,
    /// Bytes for the recipients.
    pub memo: Memo,
    /// Signature of the id.
    pub signature: Signature,
}

/// A transaction that breaks a rule: the fault of its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A version this program does not know.
    #[error("transaction version is {got}, expected {VERSION}")]
    Version {
        /// The version given.
        got: u16,
    },
    /// A payment of nothing.
    #[error("payment {index} is of nothing")]
    EmptyPayment {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// Payments and fee together exceed what an amount can hold.
    #[error("payments and fee exceed the largest amount")]
    Overflow,
    /// The signature is not the sender's for this chain and content.
    #[error("signature: {0}")]
    Signature(#[from] SignatureError),
    /// The sequence has been used, or one before it is missing.
    #[error("sequence is {got}, the sender's next is {expected}")]
    Sequence {
        /// The sequence given.
        got: u64,
        /// The sender's next.
        expected: u64,
    },
    /// The last height for it has passed.
    #[error("expired at height {expires}, this is height {height}")]
    Expired {
        /// Its last height.
        expires: Height,
        /// The height it was to be included at.
        height: Height,
    },
    /// The sender has less than payments and fee.
    #[error("needs {needed} coins, the sender has {balance}")]
    InsufficientFunds {
        /// Payments and fee.
        needed: Amount,
        /// The sender's balance at this place in the block.
        balance: Amount,
    },
}

impl TransactionError {
    /// A name for programs, stable across versions.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "transaction-version",
            Self::EmptyPayment { .. } => "empty-payment",
            Self::Overflow => "amount-overflow",
            Self::Signature(_) => "bad-signature",
            Self::Sequence { .. } => "wrong-sequence",
            Self::Expired { .. } => "expired",
            Self::InsufficientFunds { .. } => "insufficient-funds",
        }
    }
}

impl Transaction {
    /// The id on the chain with this genesis hash.
    pub fn id(&self, chain: &Digest) -> TransactionId {
        id_of(&codec::encode(self), chain)
    }

    /// Checks every rule that needs no ledger.
    ///
    /// # Errors
    ///
    /// The first rule broken: version, payments, sum, signature.
    pub fn check(self, chain: &Digest) -> Result<CheckedTransaction, TransactionError> {
        self.check_named(chain).map_err(|(_, error)| error)
    }

    /// [`Transaction::check`] that names the transaction in its error.
    pub(crate) fn check_named(
        self,
        chain: &Digest,
    ) -> Result<CheckedTransaction, (TransactionId, TransactionError)> {
        let bytes = codec::encode(&self);
        let id = id_of(&bytes, chain);
        let spent = self.check_content(&id).map_err(|error| (id, error))?;
        let sender = self.sender.address();
        Ok(CheckedTransaction { id, sender, spent, bytes, transaction: self })
    }

    fn check_content(&self, id: &TransactionId) -> Result<Amount, TransactionError> {
        let spent = self.check_fields()?;
        self.sender.verify(id.as_bytes(), &self.signature)?;
        Ok(spent)
    }

    /// Bytes of the canonical encoding.
    pub fn encoded_len(&self) -> usize {
        let payments = self.payments.len().saturating_mul(PAYMENT_BYTES);
        FIXED_BYTES.saturating_add(payments).saturating_add(self.memo.len())
    }

    fn check_fields(&self) -> Result<Amount, TransactionError> {
        if self.version != VERSION {
            return Err(TransactionError::Version { got: self.version });
        }
        if let Some(index) = self.payments.iter().position(|p| p.amount == Amount::ZERO) {
            return Err(TransactionError::EmptyPayment { index });
        }
        let amounts = self.payments.iter().map(|payment| payment.amount);
        Amount::checked_sum(amounts.chain([self.fee])).ok_or(TransactionError::Overflow)
    }
}

fn id_of(bytes: &[u8], chain: &Digest) -> TransactionId {
    let unsigned = bytes.get(..bytes.len().saturating_sub(SIGNATURE_BYTES)).unwrap_or_default();
    derive(Context::Transaction, &[chain.as_bytes(), unsigned])
}

/// A transaction that keeps every rule that needs no ledger, with what was computed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    id: TransactionId,
    sender: Address,
    spent: Amount,
    bytes: Vec<u8>,
    transaction: Transaction,
}

impl CheckedTransaction {
    /// Its id on the chain it was checked for.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The sender's address.
    pub fn sender(&self) -> Address {
        self.sender
    }

    /// Payments and fee together.
    pub fn spent(&self) -> Amount {
        self.spent
    }

    /// Its canonical encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its leaf in the transactions tree.
    pub fn leaf(&self) -> Digest {
        merkle::leaf(&self.bytes)
    }

    /// The transaction itself.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}
