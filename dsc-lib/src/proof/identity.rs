//! Who proves and what the round asks.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::{address::Address, hash::Digest};

/// The 16 bytes of a UUID that a validator chose for itself; shown as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Fingerprint(pub [u8; 16]);

/// Bytes after which the text of a UUID has a hyphen.
const HYPHENS_AFTER: [usize; 4] = [3, 5, 7, 9];
const TEXT_LEN: usize = 36;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{byte:02x}")?;
            if HYPHENS_AFTER.contains(&index) {
                f.write_str("-")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a hyphenated UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a UUID such as 00010203-0405-0607-0809-0a0b0c0d0e0f")]
#[non_exhaustive]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let mut bytes = [0; 16];
        let digits = text.replace('-', "");
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseFingerprintError)?;
        let parsed = Self(bytes);
        // Printing it again is the simplest check that the hyphens stand where they belong.
        let same = text.len() == TEXT_LEN && parsed.to_string().eq_ignore_ascii_case(text);
        same.then_some(parsed).ok_or(ParseFingerprintError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The identity that a proof is bound to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
pub struct Miner {
    /// Who is paid.
    pub address: Address,
    /// Which of the owner's validators it is.
    pub fingerprint: Fingerprint,
}

/// What a round asks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Challenge(pub Digest);

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00010203-0405-0607-0809-0a0b0c0d0e0f";

    #[test]
    fn a_fingerprint_reads_and_prints_as_a_uuid() {
        let fingerprint = Fingerprint(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(fingerprint.to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(fingerprint));
        assert_eq!(TEXT.to_uppercase().parse(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(json, format!("\"{TEXT}\""));
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    }

    #[test]
    fn what_is_not_a_uuid_is_refused() {
        let shifted = "0001020-30405-0607-0809-0a0b0c0d0e0f";
        for text in ["", shifted, &TEXT.replace('-', ""), &TEXT[1..], &TEXT.replace('f', "g")] {
            assert_eq!(text.parse::<Fingerprint>(), Err(ParseFingerprintError), "{text:?}");
        }
        assert!(ParseFingerprintError.to_string().ends_with(TEXT));
    }
}
