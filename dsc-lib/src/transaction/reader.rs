//! Transactions read from a list while its bytes are still coming in.
//!
//! # Invariants
//!
//! 1. However the bytes are cut, the same transactions come out, and the same fault.
//! 2. What is held back is less than one transaction more than the last bytes pushed.

use super::Encoded;
use crate::codec::{self, DecodeError};

/// Reads a canonical list of transactions piece by piece.
#[derive(Debug)]
pub struct TransactionReader {
    count_max: u64,
    /// How many are still to come, once the count has been read.
    left: Option<u64>,
    rest: Vec<u8>,
}

impl TransactionReader {
    /// A reader of a list of at most `count_max` transactions.
    pub fn new(count_max: u64) -> Self {
        Self { count_max, left: None, rest: Vec::new() }
    }

    /// Takes the next bytes and appends the transactions that are whole now to `out`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] at the first fault; transactions before it have been appended.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Encoded>) -> Result<(), DecodeError> {
        self.rest.extend_from_slice(bytes);
        if !self.read_count()? {
            return Ok(());
        }
        let mut used = 0_usize;
        let outcome = self.read_whole(&mut used, out);
        self.rest.drain(..used);
        outcome
    }

    /// Reads the count if it is there; whether it has been read.
    fn read_count(&mut self) -> Result<bool, DecodeError> {
        if self.left.is_some() {
            return Ok(true);
        }
        let Some(count) = self.rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Ok(false);
        };
        if count > self.count_max {
            let reason = format!("{count} elements, expected 0 to {}", self.count_max);
            return Err(DecodeError::Malformed { reason });
        }
        self.rest.drain(..8);
        self.left = Some(count);
        Ok(true)
    }

    fn read_whole(&mut self, used: &mut usize, out: &mut Vec<Encoded>) -> Result<(), DecodeError> {
        while let Some(left) = self.left.filter(|left| *left > 0) {
            let unread = self.rest.get(*used..).unwrap_or_default();
            let (transaction, after) = match codec::decode_first(unread) {
                Err(DecodeError::Truncated { .. }) => return Ok(()),
                decoded => decoded?,
            };
            *used = self.rest.len().saturating_sub(after.len());
            out.push(transaction);
            self.left = Some(left.saturating_sub(1));
        }
        match self.rest.len().saturating_sub(*used) {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    /// Says that no more bytes come.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if the list is not complete.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left {
            Some(0) => Ok(()),
            _ => Err(DecodeError::Truncated { len: self.rest.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ALICE, BOB, address, pay};

    fn list(count: u64) -> Vec<u8> {
        let encoded: Vec<_> =
            (0..count).map(|n| Encoded::from(pay(&ALICE, n, address(&BOB), 1))).collect();
        codec::encode_list(encoded.iter().map(Encoded::bytes))
    }

    fn read(pieces: &[&[u8]]) -> (Vec<Encoded>, Result<(), DecodeError>) {
        let (mut reader, mut out) = (TransactionReader::new(5), Vec::new());
        for piece in pieces {
            if let Err(error) = reader.push(piece, &mut out) {
                return (out, Err(error));
            }
        }
        (out, reader.finish())
    }

    #[test]
    fn an_empty_list_is_one_and_nothing_is_none() {
        assert_eq!(read(&[&list(0)]), (vec![], Ok(())));
        assert!(matches!(read(&[]).1, Err(DecodeError::Truncated { len: 0 })));
        assert!(matches!(read(&[&[0; 7]]).1, Err(DecodeError::Truncated { len: 7 })));
    }

    #[test]
    fn too_many_are_refused_before_any_is_read() {
        assert_eq!(read(&[&list(5)]).1, Ok(()));
        let found = read(&[&list(6)]).1.unwrap_err();
        assert_eq!(found.to_string(), "6 elements, expected 0 to 5");
    }

    #[test]
    fn what_follows_the_list_is_a_fault() {
        let bytes = [list(2), vec![0]].concat();
        let (out, found) = read(&[&bytes]);
        assert_eq!((out.len(), found), (2, Err(DecodeError::Trailing { count: 1 })));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
            flip in any::<prop::sample::Index>(), value in any::<u8>(), len in 0_usize..9,
        ) {
            let mut bytes = list(3);
            let at = flip.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(bytes.len() - len.saturating_sub(4));
            let whole = read(&[&bytes]);
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<_> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (out, outcome) = read(&pieces);
            prop_assert_eq!(&out, &whole.0);
            prop_assert_eq!(outcome.is_ok(), whole.1.is_ok());
            let expected = codec::decode::<codec::List<Encoded, 0, 5>>(&bytes);
            prop_assert_eq!(expected.is_ok(), outcome.is_ok());
            if let Ok(expected) = expected {
                prop_assert_eq!(expected.into_vec(), out);
            }
        }
    }
}
