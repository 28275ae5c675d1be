//! Addresses: who owns coins, and how that is written for people.
//!
//! # Invariants
//!
//! 1. An address is the digest of one RSA modulus; no other bytes are chosen by a person.
//! 2. One text per address and network: `from_text(to_text(a)) == a`, and any accepted text is
//!    `to_text` of what it reads as, up to case (Bech32m is one case throughout).
//! 3. A text of one kind of network never reads as an address of the other.
//!
//! Checked by the tests below.

use std::{borrow::Cow, fmt, str::FromStr};

use bech32::{
    Bech32m, Hrp,
    primitives::decode::{CheckedHrpstring, CheckedHrpstringError, ChecksumError},
};
use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use thiserror::Error;

use crate::{
    hash::{Context, derive},
    keys::PublicKey,
};

/// Bytes in an address.
pub const ADDRESS_LEN: usize = 32;

/// The kind of network an address is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Prefix {
    /// A network whose coins are worth something: `dsc`.
    #[serde(rename = "dsc")]
    Main,
    /// A network anyone can start with published keys: `dscd`.
    #[serde(rename = "dscd")]
    Development,
}

impl Prefix {
    /// Every prefix.
    pub const ALL: [Self; 2] = [Self::Main, Self::Development];

    /// The human-readable part of the addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "dsc",
            Self::Development => "dscd",
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is not an address of the wanted network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text does not have the form of a Bech32m string.
    #[error("not a Bech32m address: {reason}")]
    NotBech32m {
        /// What is wrong with it.
        reason: String,
    },
    /// A character was mistyped, or the text is Bech32 of the older kind.
    #[error("the checksum of the address is wrong: at least one character is mistyped")]
    Checksum,
    /// The address is of another network than the wanted one.
    #[error("the address starts with {got:?}, expected {:?}", expected.as_str())]
    WrongPrefix {
        /// Prefix of the text.
        got: String,
        /// Prefix of the network.
        expected: Prefix,
    },
    /// The address is of no network of this system.
    #[error("the address starts with {got:?}, expected \"dsc\" or \"dscd\"")]
    UnknownPrefix {
        /// Prefix of the text.
        got: String,
    },
    /// The payload is not an address.
    #[error("the address holds {got} bytes, expected {ADDRESS_LEN}")]
    Length {
        /// Bytes held.
        got: usize,
    },
    /// Bits after the last byte are set, so that this is a second text of one address.
    #[error("the address has stray bits after its last byte")]
    Padding,
}

/// The owner of an account: `derive(dsc v1 address, modulus)`.
///
/// Shown, and written in JSON by serde, as 64 hexadecimal digits; [`Address::to_text`] is the form
/// for people, which serde reads too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(transparent)]
pub struct Address(#[serde(with = "hex::serde")] pub [u8; ADDRESS_LEN]);

impl Address {
    /// The address of `key`.
    pub fn of(key: &PublicKey) -> Self {
        Self(derive(Context::Address, &[key.modulus()]).0)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; ADDRESS_LEN] {
        &self.0
    }

    /// Writes the address in Bech32m, in lower case.
    ///
    /// # Panics
    ///
    /// Never: 32 bytes fit a Bech32m string whatever the prefix.
    pub fn to_text(self, prefix: Prefix) -> String {
        let hrp = Hrp::parse(prefix.as_str()).expect("our prefixes are valid");
        bech32::encode::<Bech32m>(hrp, &self.0).expect("32 bytes are within the length limit")
    }

    /// Reads an address that must be of the kind of network `expected`.
    ///
    /// # Errors
    ///
    /// [`AddressError`], with the first rule that `text` breaks.
    pub fn from_text(text: &str, expected: Prefix) -> Result<Self, AddressError> {
        let checked = parse(text)?;
        if checked.hrp() != hrp(expected) {
            return Err(AddressError::WrongPrefix { got: checked.hrp().to_lowercase(), expected });
        }
        payload(&checked)
    }

    /// Reads an address of either kind of network and says which.
    ///
    /// # Errors
    ///
    /// [`AddressError`], with the first rule that `text` breaks.
    pub fn from_any_text(text: &str) -> Result<(Prefix, Self), AddressError> {
        let checked = parse(text)?;
        let prefix = Prefix::ALL.into_iter().find(|prefix| hrp(*prefix) == checked.hrp());
        let unknown = || AddressError::UnknownPrefix { got: checked.hrp().to_lowercase() };
        Ok((prefix.ok_or_else(unknown)?, payload(&checked)?))
    }
}

const fn hrp(prefix: Prefix) -> Hrp {
    Hrp::parse_unchecked(prefix.as_str())
}

/// Checks form and checksum.
fn parse(text: &str) -> Result<CheckedHrpstring<'_>, AddressError> {
    CheckedHrpstring::new::<Bech32m>(text).map_err(|error| match error {
        CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue(_)) => AddressError::Checksum,
        CheckedHrpstringError::Checksum(error) => not_bech32m(&error),
        CheckedHrpstringError::Parse(error) => not_bech32m(&error),
        error => not_bech32m(&error),
    })
}

fn not_bech32m(error: &dyn fmt::Display) -> AddressError {
    AddressError::NotBech32m { reason: error.to_string() }
}

fn payload(checked: &CheckedHrpstring<'_>) -> Result<Address, AddressError> {
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let wrong_length = |bytes: Vec<u8>| AddressError::Length { got: bytes.len() };
    let address = Address(bytes.try_into().map_err(wrong_length)?);
    checked.validate_segwit_padding().map_err(|_| AddressError::Padding)?;
    Ok(address)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected an address as 64 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseAddressHexError;

/// Reads the hexadecimal form that [`fmt::Display`] writes.
impl FromStr for Address {
    type Err = ParseAddressHexError;

    fn from_str(text: &str) -> Result<Self, ParseAddressHexError> {
        let mut bytes = [0; ADDRESS_LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseAddressHexError)?;
        Ok(Self(bytes))
    }
}

/// Reads either text: people copy the one for people.
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        Self::from_any_text(&text).map(|(_, address)| address).map_err(|error| {
            D::Error::custom(format_args!(
                "expected an address in Bech32m or as 64 hexadecimal digits: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use bech32::Bech32;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{decode, encode};

    const ADDRESS: Address = Address([0x5a; 32]);

    /// Writes any bytes under any prefix with any checksum.
    fn text<C: bech32::Checksum>(prefix: &str, bytes: &[u8]) -> String {
        bech32::encode::<C>(Hrp::parse(prefix).unwrap(), bytes).unwrap()
    }

    #[test]
    fn an_address_has_one_text_per_network() {
        let (main, development) = (
            "dsc1tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfdq9aqwyf",
            "dscd1tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfd95kj6tfdqc4a2jr",
        );
        assert_eq!(ADDRESS.to_text(Prefix::Main), main);
        assert_eq!(ADDRESS.to_text(Prefix::Development), development);
        for prefix in Prefix::ALL {
            let text = ADDRESS.to_text(prefix);
            assert_eq!(Address::from_text(&text, prefix), Ok(ADDRESS));
            assert_eq!(Address::from_any_text(&text), Ok((prefix, ADDRESS)));
            assert_eq!(Address::from_text(&text.to_uppercase(), prefix), Ok(ADDRESS));
        }
    }

    #[test]
    fn json_may_hold_either_text() {
        for text in [ADDRESS.to_string(), ADDRESS.to_text(Prefix::Development)] {
            let read: Address = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(read, ADDRESS);
        }
        let error = serde_json::from_str::<Address>("\"abc\"").unwrap_err().to_string();
        let expected = "expected an address in Bech32m or as 64 hexadecimal digits: not a Bech32m";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn an_address_of_another_network_is_named() {
        let text = ADDRESS.to_text(Prefix::Development);
        let error = Address::from_text(&text, Prefix::Main).unwrap_err();
        let (got, expected) = ("dscd".to_owned(), Prefix::Main);
        assert_eq!(error, AddressError::WrongPrefix { got, expected });
        assert_eq!(error.to_string(), "the address starts with \"dscd\", expected \"dsc\"");
        let error = Address::from_any_text(&self::text::<Bech32m>("bc", &[0; 32])).unwrap_err();
        assert_eq!(error, AddressError::UnknownPrefix { got: "bc".to_owned() });
        let message = "the address starts with \"bc\", expected \"dsc\" or \"dscd\"";
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn other_checksums_are_refused() {
        let text = text::<Bech32>("dsc", &[0; 32]);
        assert_eq!(Address::from_any_text(&text), Err(AddressError::Checksum));
    }

    #[test]
    fn other_lengths_are_refused() {
        for got in [0, 20, 31, 33, 64] {
            let error = Address::from_any_text(&text::<Bech32m>("dsc", &vec![7; got])).unwrap_err();
            assert_eq!(error, AddressError::Length { got });
            assert_eq!(error.to_string(), format!("the address holds {got} bytes, expected 32"));
        }
    }

    #[test]
    fn what_is_not_bech32m_is_refused() {
        let mut mixed = ADDRESS.to_text(Prefix::Main);
        mixed.replace_range(..1, "D");
        for text in ["", "1", "dsc", "dsc1", "dsc1b", &ADDRESS.to_string(), "dsc1\u{e9}", &mixed] {
            let error = Address::from_any_text(text).unwrap_err();
            assert!(matches!(error, AddressError::NotBech32m { .. }), "{text:?}: {error:?}");
        }
        let error = Address::from_any_text("dsc").unwrap_err().to_string();
        assert!(error.starts_with("not a Bech32m address: "), "{error}");
    }

    /// The four bits that 52 digits have over 32 bytes are zero, or one address had 16 texts.
    #[test]
    fn stray_bits_are_refused() {
        use bech32::{ByteIterExt, Fe32, Fe32IterExt};
        let mut digits: Vec<Fe32> = ADDRESS.0.iter().copied().bytes_to_fes().collect();
        assert_eq!(digits.len(), 52);
        digits[51] = Fe32::try_from(digits[51].to_u8() | 1).unwrap();
        let prefix = hrp(Prefix::Main);
        let text: String = digits.into_iter().with_checksum::<Bech32m>(&prefix).chars().collect();
        assert_eq!(Address::from_any_text(&text), Err(AddressError::Padding));
    }

    #[test]
    fn hexadecimal_and_json_forms_round_trip() {
        let text = ADDRESS.to_string();
        assert_eq!(text, "5a".repeat(32));
        assert_eq!(format!("{ADDRESS:?}"), text);
        assert_eq!(text.parse(), Ok(ADDRESS));
        assert_eq!(text[1..].parse::<Address>(), Err(ParseAddressHexError));
        let json = serde_json::to_string(&ADDRESS).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), ADDRESS);
        assert_eq!(serde_json::to_string(&Prefix::Development).unwrap(), "\"dscd\"");
        assert_eq!(encode(&ADDRESS), ADDRESS.0);
        assert_eq!(decode(&ADDRESS.0), Ok(ADDRESS));
    }

    proptest! {
        #[test]
        fn texts_round_trip(bytes: [u8; 32]) {
            for prefix in Prefix::ALL {
                let text = Address(bytes).to_text(prefix);
                prop_assert_eq!(Address::from_text(&text, prefix), Ok(Address(bytes)));
            }
        }

        /// Up to three mistyped characters are always found, wherever they are.
        #[test]
        fn mistyped_characters_are_found(
            bytes: [u8; 32], mistakes in prop::collection::vec((4..62_usize, 0..32_usize), 1..4)
        ) {
            const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
            let text = Address(bytes).to_text(Prefix::Main);
            let mut typed = text.clone().into_bytes();
            for (at, digit) in mistakes {
                typed[at] = DIGITS[digit];
            }
            let typed = String::from_utf8(typed).unwrap();
            prop_assert_eq!(Address::from_any_text(&typed).is_ok(), typed == text);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok((prefix, address)) = Address::from_any_text(&text) {
                prop_assert_eq!(address.to_text(prefix), text.to_lowercase());
            }
        }
    }
}
