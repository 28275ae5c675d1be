//! Signing and verifying with the crate `rsa`, in Rust alone: the fallback, and what the default
//! backend is compared with.
//!
//! Its private operations are not constant-time (RUSTSEC-2023-0071), so they are always blinded. The
//! blinding factor comes from the key and the message, because this library has no entropy of its
//! own: whoever times signatures cannot predict it without the key.

use std::fmt;

use rsa::{
    BigUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey,
    pkcs8::DecodePrivateKey,
    rand_core::{CryptoRng, Error, RngCore, impls},
    sha2::{Digest, Sha256},
};
use zeroize::Zeroizing;

use super::{EXPONENT, MODULUS_LEN};
#[cfg(feature = "seal")]
use super::{Secret, secret::Entropy};

/// Not a digest of the protocol: it never leaves this machine.
const BLINDING_CONTEXT: &str = "dsc v1 signature blinding";

/// Whether `signature` is that of `message` under the key with this modulus.
#[cfg_attr(feature = "aws-lc", allow(dead_code, reason = "tests compare the two backends"))]
pub(super) fn verify(
    modulus: &[u8; MODULUS_LEN],
    message: &[u8],
    signature: &[u8; MODULUS_LEN],
) -> bool {
    RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(EXPONENT))
        .and_then(|key| key.verify(padding(), &Sha256::digest(message), signature))
        .is_ok()
}

/// Encrypts `secret` to the key with this modulus: RSAES-OAEP with SHA-256.
///
/// A public operation, done by this crate whatever the backend: aws-lc draws its own randomness,
/// and this library has none.
#[cfg(feature = "seal")]
pub(super) fn encrypt<R: rand_core::CryptoRng + ?Sized>(
    modulus: &[u8; MODULUS_LEN],
    secret: &Secret,
    label: &str,
    rng: &mut R,
) -> [u8; MODULUS_LEN] {
    let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(EXPONENT));
    let encrypted = key.and_then(|key| key.encrypt(&mut Entropy(rng), oaep(label), &secret[..]));
    let encrypted = encrypted.ok().and_then(|bytes| bytes.try_into().ok());
    encrypted.expect("any odd modulus of 2048 bits encrypts 32 bytes")
}

/// Opens what [`encrypt`] made, blinded; `None` if it is not 32 bytes that were encrypted to this
/// key under `label`.
#[cfg(feature = "seal")]
#[cfg_attr(feature = "aws-lc", allow(dead_code, reason = "tests compare the two backends"))]
pub(super) fn decrypt(
    pkcs8_der: &[u8],
    encrypted: &[u8; MODULUS_LEN],
    label: &str,
) -> Option<Secret> {
    let Signer { key, blinding_key } = Signer::new(pkcs8_der)?;
    let mut blinding = Blinding::new(&blinding_key, encrypted);
    let opened = key.decrypt_blinded(&mut blinding, oaep(label), encrypted).ok()?;
    <[u8; 32]>::try_from(&Zeroizing::new(opened)[..]).ok().map(Secret::new)
}

#[cfg(feature = "seal")]
fn oaep(label: &str) -> rsa::Oaep {
    rsa::Oaep::new_with_label::<Sha256, _>(label)
}

fn padding() -> Pkcs1v15Sign {
    Pkcs1v15Sign::new::<Sha256>()
}

/// A private key as the crate `rsa` holds it; its memory is wiped when it is dropped.
#[derive(Clone)]
#[cfg_attr(feature = "aws-lc", allow(dead_code, reason = "tests compare the two backends"))]
pub(super) struct Signer {
    key: RsaPrivateKey,
    blinding_key: Zeroizing<[u8; 32]>,
}

#[cfg_attr(feature = "aws-lc", allow(dead_code, reason = "tests compare the two backends"))]
impl Signer {
    /// Takes a PKCS#8 document, or `None` if the crate rejects the key.
    pub(super) fn new(pkcs8_der: &[u8]) -> Option<Self> {
        let key = RsaPrivateKey::from_pkcs8_der(pkcs8_der).ok()?;
        let blinding_key = Zeroizing::new(blake3::derive_key(BLINDING_CONTEXT, pkcs8_der));
        Some(Self { key, blinding_key })
    }

    /// Signs `message`, or `None` if the key is inconsistent.
    pub(super) fn sign(&self, message: &[u8]) -> Option<[u8; MODULUS_LEN]> {
        let mut blinding = Blinding::new(&self.blinding_key, message);
        let hash = Sha256::digest(message);
        self.key.sign_with_rng(&mut blinding, padding(), &hash).ok()?.try_into().ok()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(rsa)")
    }
}

/// The stream that blinding factors are drawn from.
struct Blinding(blake3::OutputReader);

impl Blinding {
    /// One that nobody without the key can predict, another for each input.
    fn new(key: &[u8; 32], input: &[u8]) -> Self {
        Self(blake3::Hasher::new_keyed(key).update(input).finalize_xof())
    }
}

impl RngCore for Blinding {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Blinding {}
