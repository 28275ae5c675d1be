//! One transaction as its canonical bytes, read only where they are asked for.
//!
//! # Invariants
//!
//! 1. The bytes decode as a [`Transaction`]: lists are within their bounds, the key is one, and
//!    nothing is missing or left over.

use bincode::{
    BorrowDecode, Decode, Encode,
    de::{BorrowDecoder, Decoder, read::Reader},
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};

use super::{FIXED_BYTES, Memo, PAYMENT_BYTES, Payment, Payments, Transaction, TransactionId};
use crate::{
    address::Address,
    codec,
    hash::{Context, Digest, derive},
    keys::{MODULUS_LEN, PublicKey, Signature},
    units::{Amount, Height},
};

const SENDER_AT: usize = 2;
const SEQUENCE_AT: usize = SENDER_AT + MODULUS_LEN;
const EXPIRES_AT: usize = SEQUENCE_AT + 8;
const FEE_AT: usize = EXPIRES_AT + 8;
const COUNT_AT: usize = FEE_AT + 8;
const PAYMENTS_AT: usize = COUNT_AT + 8;
const SIGNATURE_LEN: usize = MODULUS_LEN;

/// The canonical bytes of a transaction, of which only the structure has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(Box<[u8]>);

impl Encoded {
    /// The canonical encoding.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The transaction.
    ///
    /// # Panics
    ///
    /// Never: the structure has been checked.
    pub fn decode(&self) -> Transaction {
        codec::decode(&self.0).expect("the structure was checked when this was made")
    }

    /// The id on the chain with this genesis hash.
    pub fn id(&self, chain: &Digest) -> TransactionId {
        let unsigned = self.0.split_at(self.0.len().saturating_sub(SIGNATURE_LEN)).0;
        derive(Context::Transaction, &[chain.as_bytes(), unsigned])
    }

    pub(super) fn version(&self) -> u16 {
        u16::from_le_bytes(self.field(0))
    }

    pub(super) fn sender(&self) -> PublicKey {
        PublicKey::from_modulus(&self.field::<MODULUS_LEN>(SENDER_AT))
            .expect("the key was checked when this was made")
    }

    pub(super) fn signature(&self) -> Signature {
        Signature(self.field(self.0.len().saturating_sub(SIGNATURE_LEN)))
    }

    pub(super) fn sequence(&self) -> u64 {
        self.number(SEQUENCE_AT)
    }

    pub(super) fn expires(&self) -> Height {
        Height(self.number(EXPIRES_AT))
    }

    pub(crate) fn fee(&self) -> Amount {
        Amount::from_units(self.number(FEE_AT))
    }

    pub(crate) fn payments(&self) -> impl ExactSizeIterator<Item = Payment> + '_ {
        let end = self.memo_at().saturating_sub(8);
        let payments = self.0.get(PAYMENTS_AT..end).unwrap_or_default();
        payments.chunks_exact(PAYMENT_BYTES).map(read_payment)
    }

    pub(super) fn memo(&self) -> &[u8] {
        let end = self.0.len().saturating_sub(SIGNATURE_LEN);
        self.0.get(self.memo_at()..end).unwrap_or_default()
    }

    /// Where the memo's bytes begin.
    fn memo_at(&self) -> usize {
        let count = usize::try_from(self.number(COUNT_AT)).unwrap_or(0);
        PAYMENTS_AT.saturating_add(count.saturating_mul(PAYMENT_BYTES)).saturating_add(8)
    }

    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.field(at))
    }

    fn field<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk());
        *field.expect("the structure was checked when this was made")
    }
}

fn read_payment(bytes: &[u8]) -> Payment {
    let (to, amount) = bytes.split_at(32);
    let (mut address, mut units) = ([0; 32], [0; 8]);
    address.copy_from_slice(to);
    units.copy_from_slice(amount);
    Payment { to: Address(address), amount: Amount::from_units(u64::from_le_bytes(units)) }
}

impl From<&Transaction> for Encoded {
    fn from(transaction: &Transaction) -> Self {
        Self(codec::encode(transaction).into())
    }
}

impl From<Transaction> for Encoded {
    fn from(transaction: Transaction) -> Self {
        Self::from(&transaction)
    }
}

impl Encode for Encoded {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encoder.writer().write(&self.0)
    }
}

impl<C> Decode<C> for Encoded {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + PAYMENT_BYTES);
        let head = take(decoder, &mut bytes, PAYMENTS_AT)?;
        let modulus = head.get(SENDER_AT..SEQUENCE_AT).unwrap_or_default();
        let count = last_number(head);
        PublicKey::from_modulus(modulus).map_err(|error| codec::malformed(error.to_string()))?;
        let count = Payments::check_len(count)?;
        let tail =
            take(decoder, &mut bytes, count.saturating_mul(PAYMENT_BYTES).saturating_add(8))?;
        let memo_len = Memo::check_len(last_number(tail))?;
        take(decoder, &mut bytes, memo_len.saturating_add(SIGNATURE_LEN))?;
        Ok(Self(bytes.into()))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Encoded {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        <Self as Decode<C>>::decode(decoder)
    }
}

/// Reads `len` more bytes to the end of `bytes` and returns those.
fn take<'a, D: Decoder>(
    decoder: &mut D,
    bytes: &'a mut Vec<u8>,
    len: usize,
) -> Result<&'a [u8], DecodeError> {
    let start = bytes.len();
    bytes.resize(start.saturating_add(len), 0);
    let (_, fresh) = bytes.split_at_mut(start);
    decoder.reader().read(fresh)?;
    Ok(fresh)
}

fn last_number(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::PAYMENTS_MAX, *};
    use crate::testing::{ALICE, BOB, address, coins, draft};

    fn transaction(payments: usize, memo: usize) -> Transaction {
        let mut draft = draft(7, address(&BOB), coins(2), coins(1));
        draft.payments = Payments::new(vec![draft.payments[0]; payments]).unwrap();
        draft.memo = Memo::new(vec![5; memo]).unwrap();
        draft.sign(&Digest([3; 32]), &ALICE)
    }

    #[test]
    fn fields_are_those_of_the_transaction() {
        for (payments, memo) in [(1, 0), (2, 17), (PAYMENTS_MAX, 512)] {
            let transaction = transaction(payments, memo);
            let encoded: Encoded = codec::decode(&codec::encode(&transaction)).unwrap();
            assert_eq!(encoded, Encoded::from(&transaction));
            assert_eq!(encoded.decode(), transaction);
            assert_eq!(codec::encode(&encoded), codec::encode(&transaction));
            assert_eq!(encoded.version(), transaction.version);
            assert_eq!(encoded.sender(), transaction.sender);
            assert_eq!(encoded.sequence(), transaction.sequence);
            assert_eq!(encoded.expires(), transaction.expires);
            assert_eq!(encoded.fee(), transaction.fee);
            assert_eq!(encoded.memo(), &*transaction.memo);
            assert_eq!(encoded.signature(), transaction.signature);
            assert_eq!(encoded.payments().collect::<Vec<_>>(), *transaction.payments);
        }
    }

    fn same_verdict(bytes: &[u8]) {
        let encoded = codec::decode::<Encoded>(bytes);
        let decoded = codec::decode::<Transaction>(bytes);
        assert_eq!(encoded.map(|encoded| encoded.decode()), decoded);
    }

    proptest! {
        /// Whatever one byte or the length becomes, both forms say the same of it.
        #[test]
        fn both_forms_accept_the_same_bytes(
            payments in 1_usize..4, memo in 0_usize..4, at in any::<prop::sample::Index>(),
            value in any::<u8>(), cut in 0_usize..3, extra in 0_usize..3,
        ) {
            let mut bytes = codec::encode(&transaction(payments, memo));
            let place = at.index(bytes.len());
            bytes[place] = value;
            bytes.truncate(bytes.len() - cut);
            bytes.extend(vec![0; extra]);
            same_verdict(&bytes);
        }

        #[test]
        fn lengths_out_of_bounds_are_refused_alike(count in any::<u64>(), memo in any::<u64>()) {
            let mut bytes = codec::encode(&transaction(1, 0));
            bytes[COUNT_AT..COUNT_AT + 8].copy_from_slice(&count.to_le_bytes());
            same_verdict(&bytes);
            bytes[COUNT_AT..COUNT_AT + 8].copy_from_slice(&1_u64.to_le_bytes());
            let memo_at = PAYMENTS_AT + PAYMENT_BYTES;
            bytes[memo_at..memo_at + 8].copy_from_slice(&memo.to_le_bytes());
            same_verdict(&bytes);
        }
    }
}
