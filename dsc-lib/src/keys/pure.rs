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
        let mut hasher = blake3::Hasher::new_keyed(&self.blinding_key);
        let mut blinding = Blinding(hasher.update(message).finalize_xof());
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
