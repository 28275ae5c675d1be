//! Keys and signatures: RSA-2048, exponent 65537, PKCS#1 v1.5 with SHA-256.
//!
//! Source: RFC 8017, section 8.2. Signatures are deterministic and any standard tool checks them.
//!
//! # Invariants
//!
//! 1. A [`PublicKey`] holds an odd modulus of exactly 2048 bits: other bytes do not decode.
//! 2. Any 256 bytes decode as a [`Signature`]; one that is not below the modulus never verifies.
//! 3. The verdict on (key, message, signature) does not depend on the backend.
//! 4. A [`SecretKey`] that could be made signs, and its signatures verify.
//! 5. Secret material is wiped when it is dropped and never shown by `Debug`.
//!
//! Rules 1 and 2 leave nothing for a backend to decide but the arithmetic; rule 3 is checked by the
//! tests, which always build the pure-Rust backend and run it beside aws-lc on every input, and both
//! beside [`verify_each`], which checks eight signatures at once on CPUs with AVX-512 IFMA.
//!
//! # Timing
//!
//! With the feature `aws-lc` private operations are constant-time and blinded. Without it they are
//! those of the crate `rsa`: blinded, but not constant-time (RUSTSEC-2023-0071). Use that backend
//! where nobody who can time signatures is an enemy. Opening a sealed memo is a private operation as
//! well, and the same holds of it. Public operations need no such care. Keys are
//! made, read and written by the crate `rsa` in either case: once each, not on request of a stranger.

#[cfg(feature = "aws-lc")]
mod aws;
mod batch;
mod encrypted;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "a call of a function that needs CPU features")]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "hot loops over arrays of fixed length"
)]
mod lanes;
mod pure;
mod secret;

use std::fmt;

use bincode::{Decode, Encode, de::Decoder, error::DecodeError};
use rsa::pkcs8::{Document, der::pem::LineEnding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

#[cfg(feature = "aws-lc")]
use self::aws as backend;
#[cfg(not(feature = "aws-lc"))]
use self::pure as backend;
pub use self::{
    batch::{Claim, verify_each, verify_lanes},
    secret::{KeyError, SecretKey},
};
use crate::{address::Address, codec::malformed};

/// Bytes in a modulus and in a signature.
pub const MODULUS_LEN: usize = 256;
/// Bits in a modulus.
pub const MODULUS_BITS: usize = 2048;
/// The public exponent of every key.
pub const EXPONENT: u32 = 65_537;

/// What stands before the modulus in the `SubjectPublicKeyInfo` (RFC 5280) of every key: the algorithm
/// rsaEncryption, a bit string, a sequence, and the head of a 257-byte integer with its zero byte.
const SPKI_HEAD: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01,
    0x00,
];
/// What stands after it: the exponent.
const SPKI_TAIL: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
const SPKI_LABEL: &str = "PUBLIC KEY";

/// A key that is wrapped for somebody, wiped when dropped.
#[cfg(feature = "seal")]
pub(crate) type Secret = zeroize::Zeroizing<[u8; 32]>;

/// Bytes that are not a public key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not as many bytes as a modulus has.
    #[error("the modulus has {got} bytes, expected {MODULUS_LEN}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// The top bit is clear.
    #[error("the modulus has {got} bits, expected {MODULUS_BITS}")]
    Short {
        /// Significant bits.
        got: usize,
    },
    /// No product of two odd primes is even.
    #[error("the modulus is even")]
    Even,
    /// Not the PEM text of a 2048-bit RSA key with exponent 65537.
    #[error("not an RSA-2048 public key with exponent {EXPONENT} in PEM")]
    NotSpki,
}

/// A signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The number is not below the modulus, so it is no signature of this key.
    #[error("the signature is not below the modulus of the key")]
    OutOfRange,
    /// It is not the signature of this message by this key.
    #[error("the signature is not that of the message by the key")]
    Mismatch,
}

/// A public key: the 256-byte big-endian modulus, odd and with its top bit set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; MODULUS_LEN]);

impl PublicKey {
    /// Takes a big-endian modulus.
    ///
    /// Whether it is the product of two primes nobody can tell; a key that is not merely belongs
    /// to someone who gave it away.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::Length`], [`PublicKeyError::Short`] or [`PublicKeyError::Even`].
    pub fn from_modulus(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let length = |_| PublicKeyError::Length { got: bytes.len() };
        let modulus: [u8; MODULUS_LEN] = bytes.try_into().map_err(length)?;
        let [first, .., last] = modulus;
        if first < 0x80 {
            return Err(PublicKeyError::Short { got: bits(&modulus) });
        }
        if last.is_multiple_of(2) {
            return Err(PublicKeyError::Even);
        }
        Ok(Self(modulus))
    }

    /// The big-endian modulus.
    pub const fn modulus(&self) -> &[u8; MODULUS_LEN] {
        &self.0
    }

    /// The address of the account this key owns.
    pub fn address(&self) -> Address {
        Address::of(self)
    }

    /// Checks that `signature` is that of `message` by this key.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if it is not.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        self.verify_with(backend::verify, message, signature)
    }

    fn verify_with(
        &self,
        verify: impl FnOnce(&[u8; MODULUS_LEN], &[u8], &[u8; MODULUS_LEN]) -> bool,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        // Big-endian numbers of one length compare as bytes do.
        if signature.0 >= self.0 {
            return Err(SignatureError::OutOfRange);
        }
        if verify(&self.0, message, &signature.0) { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// Encrypts `secret` so that only the owner of this key reads it: RSAES-OAEP (RFC 8017, 7.1)
    /// with SHA-256 and `label`.
    #[cfg(feature = "seal")]
    pub(crate) fn encrypt<R: rand_core::CryptoRng + ?Sized>(
        &self,
        secret: &Secret,
        label: &str,
        rng: &mut R,
    ) -> [u8; MODULUS_LEN] {
        pure::encrypt(&self.0, secret, label, rng)
    }

    /// Writes the key as `SubjectPublicKeyInfo` (RFC 5280), as standard tools read it.
    pub fn to_spki_der(&self) -> Vec<u8> {
        [&SPKI_HEAD[..], &self.0, &SPKI_TAIL].concat()
    }

    /// Writes [`PublicKey::to_spki_der`] as PEM.
    ///
    /// # Panics
    ///
    /// Never: the document is well formed and short.
    pub fn to_spki_pem(&self) -> String {
        let document = Document::try_from(self.to_spki_der()).expect("a sequence of known length");
        document.to_pem(SPKI_LABEL, LineEnding::LF).expect("294 bytes fit a PEM text")
    }

    /// Reads the one form that [`PublicKey::to_spki_pem`] writes.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::NotSpki`], or what [`PublicKey::from_modulus`] finds.
    pub fn from_spki_pem(text: &str) -> Result<Self, PublicKeyError> {
        let (label, document) = Document::from_pem(text).map_err(|_| PublicKeyError::NotSpki)?;
        let modulus = document
            .as_bytes()
            .strip_prefix(&SPKI_HEAD)
            .and_then(|rest| rest.strip_suffix(&SPKI_TAIL))
            .filter(|_| label == SPKI_LABEL)
            .ok_or(PublicKeyError::NotSpki)?;
        Self::from_modulus(modulus)
    }
}

/// Significant bits of a big-endian number.
fn bits(mut number: &[u8]) -> usize {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    let zeros = number.first().map_or(0, |top| top.leading_zeros());
    number.len().saturating_mul(8).saturating_sub(zeros as usize)
}

/// Writes the first bytes of a long field: enough to tell two apart.
fn write_short(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{name}({}..)", hex::encode(bytes.get(..8).unwrap_or(bytes)))
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_short(f, "PublicKey", &self.0)
    }
}

impl Encode for PublicKey {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        encoder: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C> Decode<C> for PublicKey {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let modulus = <[u8; MODULUS_LEN]>::decode(decoder)?;
        Self::from_modulus(&modulus).map_err(|error| malformed(error.to_string()))
    }
}

bincode::impl_borrow_decode!(PublicKey);

/// In JSON a key is 512 hexadecimal digits.
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let modulus: [u8; MODULUS_LEN] = hex::serde::deserialize(deserializer)?;
        Self::from_modulus(&modulus).map_err(de::Error::custom)
    }
}

/// A signature: a 256-byte big-endian number; in JSON 512 hexadecimal digits.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "hex::serde")] pub [u8; MODULUS_LEN]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_short(f, "Signature", &self.0)
    }
}

#[cfg(test)]
mod tests;
