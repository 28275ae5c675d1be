//! The canonical binary encoding, the only module that knows bincode.
//!
//! Little-endian, fixed-width integers, fixed arrays without a length, lists with a `u64` length.
//!
//! # Invariants
//!
//! 1. Exact: `decode(encode(x)) == x`, and `encode(decode(b)) == b` for every accepted `b`.
//! 2. Bounded: a list's length is checked against its bound before memory is reserved for it.
//!
//! Checked by `tests/properties.rs` and the fuzz targets.

use std::ops::Deref;

use bincode::{
    BorrowDecode,
    config::{Configuration, Fixint, LittleEndian, NoLimit},
    de::{BorrowDecoder, Decoder, read::Reader},
    enc::Encoder,
    error::{DecodeError as BincodeError, EncodeError},
};
pub use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

type Config = Configuration<LittleEndian, Fixint, NoLimit>;

const CONFIG: Config =
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_no_limit();

/// Elements reserved at once while a list is read: a lying length costs at most this much memory.
const RESERVE_MAX: usize = 256;

/// Bytes that are not the canonical encoding of a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{len} bytes end before the value does")]
    Truncated {
        /// Bytes given.
        len: usize,
    },
    /// Bytes follow the value.
    #[error("{count} bytes follow the value")]
    Trailing {
        /// Bytes left over.
        count: usize,
    },
    /// More bytes than the largest value of this type has.
    #[error("{len} bytes are more than the {max} allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Largest length accepted.
        max: usize,
    },
    /// A field holds what no value has.
    #[error("{reason}")]
    Malformed {
        /// Which field and what it held.
        reason: String,
    },
}

/// Returns the canonical encoding of `value`.
///
/// # Panics
///
/// Never for the types of this crate: encoding to a vector fails only if an `Encode`
/// implementation fails, and theirs do not.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, CONFIG).expect("our Encode implementations do not fail")
}

/// Returns the encoding of a list of values that are encoded already.
pub fn encode_list<'a>(items: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let len: usize = items.clone().map(<[u8]>::len).sum();
    let mut bytes = Vec::with_capacity(len.saturating_add(8));
    bytes.extend((items.len() as u64).to_le_bytes());
    items.for_each(|item| bytes.extend_from_slice(item));
    bytes
}

/// Reads exactly one value from all of `bytes`.
///
/// # Errors
///
/// [`DecodeError`] if `bytes` is anything but the canonical encoding of a `T`.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = decode_first(bytes)?;
    match rest.len() {
        0 => Ok(value),
        count => Err(DecodeError::Trailing { count }),
    }
}

/// Reads one value from all of `bytes`, refusing more than `max` bytes before looking at them.
///
/// # Errors
///
/// [`DecodeError::TooLong`] or whatever [`decode`] finds.
pub fn decode_bounded<T: Decode<()>>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { len: bytes.len(), max });
    }
    decode(bytes)
}

/// Reads one value from the front of `bytes` and returns it with the bytes that follow.
///
/// # Errors
///
/// [`DecodeError`] if no canonical encoding of a `T` stands at the front.
pub fn decode_first<T: Decode<()>>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|error| from_bincode(error, bytes.len()))?;
    Ok((value, bytes.get(used..).unwrap_or_default()))
}

fn from_bincode(error: BincodeError, len: usize) -> DecodeError {
    match error {
        BincodeError::UnexpectedEnd { .. } => DecodeError::Truncated { len },
        BincodeError::OtherString(reason) => DecodeError::Malformed { reason },
        other => DecodeError::Malformed { reason: other.to_string() },
    }
}

/// Makes the error a hand-written `Decode` implementation returns.
pub(crate) fn malformed(reason: impl Into<String>) -> BincodeError {
    BincodeError::OtherString(reason.into())
}

/// A list of `MIN` to `MAX` elements, written as a `u64` length and the elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct List<T, const MIN: usize, const MAX: usize>(Vec<T>);

/// A list shorter or longer than its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{count} elements, expected {min} to {max}")]
#[non_exhaustive]
pub struct ListError {
    /// Elements given.
    pub count: u64,
    /// Fewest allowed.
    pub min: usize,
    /// Most allowed.
    pub max: usize,
}

impl<T, const MIN: usize, const MAX: usize> List<T, MIN, MAX> {
    /// Takes the elements of `items`.
    ///
    /// # Errors
    ///
    /// [`ListError`] if there are fewer than `MIN` or more than `MAX`.
    pub fn new(items: Vec<T>) -> Result<Self, ListError> {
        Self::check(items.len() as u64)?;
        Ok(Self(items))
    }

    /// Gives the elements back.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// The bounds, for those who read a list by hand.
    pub(crate) fn check_len(count: u64) -> Result<usize, BincodeError> {
        Self::check(count).map_err(|error| malformed(error.to_string()))
    }

    fn check(count: u64) -> Result<usize, ListError> {
        usize::try_from(count).ok().filter(|count| (MIN..=MAX).contains(count)).ok_or(ListError {
            count,
            min: MIN,
            max: MAX,
        })
    }
}

impl<T, const MAX: usize> Default for List<T, 0, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MIN: usize, const MAX: usize> Deref for List<T, MIN, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MIN: usize, const MAX: usize> IntoIterator for &'a List<T, MIN, MAX> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Encode, const MIN: usize, const MAX: usize> Encode for List<T, MIN, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

impl<C, T: Decode<C>, const MIN: usize, const MAX: usize> Decode<C> for List<T, MIN, MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let count = Self::check_len(u64::decode(decoder)?)?;
        let mut items = Vec::with_capacity(count.min(RESERVE_MAX));
        for _ in 0..count {
            items.push(T::decode(decoder)?);
        }
        Ok(Self(items))
    }
}

/// What derived implementations ask of a field; nothing is borrowed.
impl<'de, C, T: Decode<C>, const MIN: usize, const MAX: usize> BorrowDecode<'de, C>
    for List<T, MIN, MAX>
{
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, BincodeError> {
        Self::decode(decoder)
    }
}

impl<T: Serialize, const MIN: usize, const MAX: usize> Serialize for List<T, MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T, const MIN: usize, const MAX: usize> Deserialize<'de> for List<T, MIN, MAX>
where
    T: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Reads `len` raw bytes; the caller has bounded `len`.
pub(crate) fn read_bytes<D: Decoder>(decoder: &mut D, len: usize) -> Result<Vec<u8>, BincodeError> {
    let mut bytes = vec![0; len];
    decoder.reader().read(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Few = List<u16, 1, 3>;

    #[test]
    fn list_round_trips_with_a_u64_length() {
        let list = Few::new(vec![1, 2]).unwrap();
        let bytes = encode(&list);
        assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0]);
        assert_eq!(bytes, encode_list([&[1, 0][..], &[2, 0]].into_iter()));
        assert_eq!(decode::<Few>(&bytes), Ok(list));
    }

    #[test]
    fn list_out_of_bounds_is_malformed() {
        for count in [0_u64, 4, u64::MAX] {
            let reason = format!("{count} elements, expected 1 to 3");
            let found = decode::<Few>(&encode(&count)).unwrap_err();
            assert_eq!(found, DecodeError::Malformed { reason });
        }
        assert_eq!(Few::new(vec![]).unwrap_err().to_string(), "0 elements, expected 1 to 3");
    }

    #[test]
    fn every_wrong_length_is_named() {
        assert_eq!(decode::<u64>(&[0; 7]), Err(DecodeError::Truncated { len: 7 }));
        assert_eq!(decode::<u64>(&[0; 9]), Err(DecodeError::Trailing { count: 1 }));
        assert_eq!(decode_bounded::<u64>(&[0; 8], 8), Ok(0));
        let found = decode_bounded::<u64>(&[0; 9], 8);
        assert_eq!(found, Err(DecodeError::TooLong { len: 9, max: 8 }));
        assert_eq!(found.unwrap_err().to_string(), "9 bytes are more than the 8 allowed");
    }
}
