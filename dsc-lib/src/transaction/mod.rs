//! Transactions: several payments under one signature, all or nothing.
//!
//! # Invariants
//!
//! 1. A [`CheckedTransaction`] has passed every rule that needs no ledger: version, payments, sums
//!    and signature. Only a [`Checker`] and [`Transaction::check`] make one.
//! 2. The id covers the genesis hash, so a transaction is good on one chain only.
//! 3. What depends on the ledger (sequence, expiry, funds) is decided in [`crate::ledger`].
//! 4. [`Encoded`] and [`Transaction`] accept the same bytes.

mod checked;
mod checker;
mod encoded;
mod reader;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    checked::CheckedTransaction, checker::Checker, encoded::Encoded, reader::TransactionReader,
};
use crate::{
    address::Address,
    codec::List,
    hash::Digest,
    keys::{PublicKey, SecretKey, Signature, SignatureError},
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
        Encoded::from(self).id(chain)
    }

    /// Checks every rule that needs no ledger.
    ///
    /// # Errors
    ///
    /// The first rule broken: version, payments, sum, signature.
    pub fn check(&self, chain: &Digest) -> Result<CheckedTransaction, TransactionError> {
        checker::check_one(Encoded::from(self), chain)
    }

    /// Bytes of the canonical encoding.
    pub fn encoded_len(&self) -> usize {
        let payments = self.payments.len().saturating_mul(PAYMENT_BYTES);
        FIXED_BYTES.saturating_add(payments).saturating_add(self.memo.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        codec, merkle,
        testing::{ALICE, BOB, address, coins, draft, pay},
    };

    const CHAIN: Digest = Digest([7; 32]);

    fn plain() -> Draft {
        draft(0, address(&BOB), coins(2), coins(1))
    }

    /// What is wrong with a transaction of Alice's that holds what `change` makes of it.
    fn refused(change: impl FnOnce(&mut Transaction)) -> TransactionError {
        let mut transaction = plain().sign(&CHAIN, &ALICE);
        change(&mut transaction);
        let id = transaction.id(&CHAIN);
        transaction.signature = ALICE.sign(id.as_bytes());
        transaction.check(&CHAIN).unwrap_err()
    }

    #[test]
    fn a_signed_draft_checks_and_keeps_what_it_says() {
        let memo = Memo::new(b"rent".to_vec()).unwrap();
        let transaction = Draft { memo, ..plain() }.sign(&CHAIN, &ALICE);
        let checked = transaction.check(&CHAIN).unwrap();
        assert_eq!(checked.id(), transaction.id(&CHAIN));
        assert_eq!(checked.memo(), b"rent");
        assert_eq!(checked.sender(), address(&ALICE));
        assert_eq!(checked.spent(), coins(3));
        assert_eq!(checked.bytes(), codec::encode(&transaction));
        assert_eq!(checked.leaf(), merkle::leaf(&codec::encode(&transaction)));
        assert_eq!(checked.transaction(), transaction);
    }

    #[test]
    fn another_version_is_refused() {
        let found = refused(|transaction| transaction.version = 2);
        assert_eq!(found, TransactionError::Version { got: 2 });
        assert_eq!(found.to_string(), "transaction version is 2, expected 1");
    }

    #[test]
    fn a_payment_of_nothing_is_refused() {
        let some = Payment { to: address(&BOB), amount: coins(1) };
        let none = Payment { amount: Amount::ZERO, ..some };
        let payments = Payments::new(vec![some, none]).unwrap();
        let found = refused(|transaction| transaction.payments = payments);
        assert_eq!(found, TransactionError::EmptyPayment { index: 1 });
        assert_eq!(found.to_string(), "payment 1 is of nothing");
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused() {
        let most = Amount::from_units(u64::MAX);
        let found = refused(|transaction| transaction.fee = most);
        assert_eq!(found, TransactionError::Overflow);
        let payment = Payment { to: address(&BOB), amount: most };
        let payments = Payments::new(vec![payment; 2]).unwrap();
        let found = refused(|transaction| {
            (transaction.fee, transaction.payments) = (Amount::ZERO, payments);
        });
        assert_eq!(found, TransactionError::Overflow);
    }

    #[test]
    fn a_signature_covers_chain_sender_and_content() {
        let signed = plain().sign(&CHAIN, &ALICE);
        let mismatch = TransactionError::Signature(SignatureError::Mismatch);
        assert_eq!(signed.check(&Digest::ZERO).unwrap_err(), mismatch);
        let redirected = Draft { memo: Memo::new(b"x".to_vec()).unwrap(), ..plain() };
        let forged = redirected.sign(&CHAIN, &ALICE);
        let forged = Transaction { signature: signed.signature, ..forged };
        assert_eq!(forged.check(&CHAIN).unwrap_err(), mismatch);
        let stolen = Transaction { sender: *BOB.public(), ..signed };
        assert!(matches!(stolen.check(&CHAIN), Err(TransactionError::Signature(_))));
        let text = "signature: the signature is not that of the message by the key";
        assert_eq!(mismatch.to_string(), text);
    }

    #[test]
    fn the_largest_and_the_smallest_have_the_length_foretold() {
        let smallest = plain().sign(&CHAIN, &ALICE);
        assert_eq!(codec::encode(&smallest).len(), 594);
        assert_eq!(smallest.encoded_len(), 594);
        let largest = Draft {
            payments: Payments::new(vec![smallest.payments[0]; PAYMENTS_MAX]).unwrap(),
            memo: Memo::new(vec![0; MEMO_BYTES_MAX]).unwrap(),
            ..plain()
        };
        let largest = largest.sign(&CHAIN, &ALICE);
        assert_eq!(codec::encode(&largest).len(), TRANSACTION_BYTES_MAX);
        assert_eq!(largest.encoded_len(), TRANSACTION_BYTES_MAX);
    }

    #[test]
    fn a_list_out_of_bounds_does_not_decode() {
        let bytes = codec::encode(&pay(&ALICE, 0, address(&BOB), 1));
        let count_at = 2 + 256 + 8 + 8 + 8;
        for count in [0, PAYMENTS_MAX as u64 + 1, u64::MAX] {
            let mut bytes = bytes.clone();
            bytes[count_at..count_at + 8].copy_from_slice(&count.to_le_bytes());
            let found = codec::decode::<Transaction>(&bytes).unwrap_err();
            assert_eq!(found.to_string(), format!("{count} elements, expected 1 to 256"));
        }
        let memo_at = count_at + 8 + 40;
        let mut bytes = bytes;
        bytes[memo_at..memo_at + 8].copy_from_slice(&513_u64.to_le_bytes());
        let found = codec::decode::<Transaction>(&bytes).unwrap_err();
        assert_eq!(found.to_string(), "513 elements, expected 0 to 512");
    }

    #[test]
    fn errors_have_their_values_and_codes_of_their_own() {
        let (low, high) = (coins(1), coins(2));
        let (expires, height) = (Height(3), Height(4));
        let errors = [
            TransactionError::Version { got: 2 },
            TransactionError::EmptyPayment { index: 1 },
            TransactionError::Overflow,
            TransactionError::Signature(SignatureError::Mismatch),
            TransactionError::Sequence { got: 5, expected: 6 },
            TransactionError::Expired { expires, height },
            TransactionError::InsufficientFunds { needed: high, balance: low },
        ];
        let codes: BTreeSet<_> = errors.iter().map(TransactionError::code).collect();
        assert_eq!(codes.len(), errors.len());
        assert_eq!(errors[4].to_string(), "sequence is 5, the sender's next is 6");
        assert_eq!(errors[5].to_string(), "expired at height 3, this is height 4");
        assert_eq!(errors[6].to_string(), "needs 2 coins, the sender has 1");
    }
}
