//! Signing and verifying with aws-lc: fast, constant-time, with blinding of private operations.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents},
};

use super::MODULUS_LEN;
#[cfg(feature = "seal")]
use super::Secret;

/// 65537, big-endian.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Whether `signature` is that of `message` under the key with this modulus.
pub(super) fn verify(
    modulus: &[u8; MODULUS_LEN],
    message: &[u8],
    signature: &[u8; MODULUS_LEN],
) -> bool {
    RsaPublicKeyComponents { n: &modulus[..], e: &EXPONENT[..] }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .is_ok()
}

/// Opens RSAES-OAEP with SHA-256, in constant time and blinded; `None` if it is not 32 bytes that
/// were encrypted to this key under `label`.
#[cfg(feature = "seal")]
pub(super) fn decrypt(
    pkcs8_der: &[u8],
    encrypted: &[u8; MODULUS_LEN],
    label: &str,
) -> Option<Secret> {
    use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
    let key = PrivateDecryptingKey::from_pkcs8(pkcs8_der).ok()?;
    let key = OaepPrivateDecryptingKey::new(key).ok()?;
    let mut buffer = zeroize::Zeroizing::new([0; MODULUS_LEN]);
    let label = Some(label.as_bytes());
    let opened = key.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted, &mut buffer[..], label).ok()?;
    <[u8; 32]>::try_from(&*opened).ok().map(Secret::new)
}

/// A private key as aws-lc holds it; its memory is wiped when it is freed.
#[derive(Clone)]
pub(super) struct Signer(KeyPair);

impl Signer {
    /// Takes a PKCS#8 document, or `None` if aws-lc rejects the key.
    pub(super) fn new(pkcs8_der: &[u8]) -> Option<Self> {
        KeyPair::from_pkcs8(pkcs8_der).ok().map(Self)
    }

    /// Signs `message`, or `None` if the key is inconsistent.
    pub(super) fn sign(&self, message: &[u8]) -> Option<[u8; MODULUS_LEN]> {
        let mut signature = [0; MODULUS_LEN];
        // The generator is not used: the padding has no random part, and aws-lc blinds by itself.
        let unused = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &unused, message, &mut signature).ok()?;
        Some(signature)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(aws-lc)")
    }
}
