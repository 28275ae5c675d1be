//! Private keys: made, read, written, used.

use std::fmt;

use rand_core::CryptoRng;
use rsa::{
    BigUint, RsaPrivateKey,
    pkcs8::{
        EncodePrivateKey, PrivateKeyInfo, SecretDocument,
        der::{self, pem::LineEnding},
    },
    traits::{PrivateKeyParts, PublicKeyParts},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{EXPONENT, MODULUS_BITS, PublicKey, Signature, backend, encrypted};

/// Longest text of a key that is read; ours have under 2,000 bytes.
pub(super) const TEXT_MAX: usize = 16_384;
const PRIME_BITS: usize = MODULUS_BITS / 2;
const PLAIN_LABEL: &str = "PRIVATE KEY";
pub(super) const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
const ALWAYS_SIGNS: &str = "a key that signed when it was read signs again";

/// A text or document that is not a usable private key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Far more bytes than a key has.
    #[error("{len} bytes are more than the {max} a key file may have")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Most that are read.
        max: usize,
    },
    /// Neither PEM nor DER of a PKCS#8 document.
    #[error("not a PKCS#8 key: {reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// A PEM text of something else.
    #[error("the PEM text holds a {got:?}, expected {expected:?}")]
    Label {
        /// Label found.
        got: String,
        /// Label wanted.
        expected: &'static str,
    },
    /// The key is encrypted, and no passphrase was given.
    #[error("the key is encrypted: a passphrase is needed")]
    Encrypted,
    /// A passphrase was given for a key that is not encrypted.
    #[error("the key is not encrypted: it needs no passphrase")]
    NotEncrypted,
    /// A key of another algorithm.
    #[error("the key is of algorithm {oid}, expected RSA (1.2.840.113549.1.1.1)")]
    NotRsa {
        /// Object identifier found.
        oid: String,
    },
    /// A modulus of another size.
    #[error("the modulus has {got} bits, expected {MODULUS_BITS}")]
    Size {
        /// Bits of the modulus.
        got: usize,
    },
    /// Another public exponent.
    #[error("the public exponent is {got}, expected {EXPONENT}")]
    Exponent {
        /// Exponent in decimal.
        got: String,
    },
    /// The numbers of the key do not belong together.
    #[error("the numbers of the key do not belong together")]
    Inconsistent,
    /// The passphrase does not open the key, or the encrypted bytes are damaged: the format cannot
    /// tell the two apart.
    #[error("wrong passphrase, or the encrypted key is damaged")]
    WrongPassphrase,
    /// Encrypted in a way that is not read here.
    #[error("the encryption of the key is not supported: {reason}")]
    Unsupported {
        /// What the parser says.
        reason: String,
    },
    /// Opening the key would take more memory or time than any honest file asks for.
    #[error("opening the key costs {got} units of {what}, more than the {max} allowed")]
    Costly {
        /// What is used up.
        what: &'static str,
        /// Amount the file asks for.
        got: u64,
        /// Most that is spent.
        max: u64,
    },
}

/// A private key; wiped from memory when dropped.
///
/// Equality is that of the public keys.
#[derive(Clone)]
pub struct SecretKey {
    public: PublicKey,
    signer: backend::Signer,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SecretKey {
    /// Makes a key from `rng` alone: the same stream gives the same key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Inconsistent`] if `rng` is so bad that no key comes out.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Result<Self, KeyError> {
        let mut source = Entropy(rng);
        let key = RsaPrivateKey::new(&mut source, MODULUS_BITS);
        Self::from_rsa(&key.map_err(|_| KeyError::Inconsistent)?)
    }

    /// Reads an unencrypted PKCS#8 PEM text.
    ///
    /// # Errors
    ///
    /// [`KeyError`], with the first thing that is wrong.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, KeyError> {
        let document = read_pem(text, PLAIN_LABEL)?;
        Self::from_pkcs8_der(document.as_bytes())
    }

    /// Reads an unencrypted PKCS#8 document.
    ///
    /// # Errors
    ///
    /// [`KeyError`], with the first thing that is wrong.
    pub fn from_pkcs8_der(document: &[u8]) -> Result<Self, KeyError> {
        check_len(document.len())?;
        let info = PrivateKeyInfo::try_from(document).map_err(malformed)?;
        if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
            return Err(KeyError::NotRsa { oid: info.algorithm.oid.to_string() });
        }
        check_size(&info)?;
        Self::from_rsa(&RsaPrivateKey::try_from(info).map_err(|_| KeyError::Inconsistent)?)
    }

    /// Reads a PKCS#8 PEM text encrypted under `passphrase`.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongPassphrase`], or the first other thing that is wrong.
    pub fn from_encrypted_pem(text: &str, passphrase: &[u8]) -> Result<Self, KeyError> {
        let document = read_pem(text, ENCRYPTED_LABEL)?;
        Self::from_pkcs8_der(&encrypted::open(document.as_bytes(), passphrase)?)
    }

    /// The key as a PKCS#8 document, unencrypted.
    pub fn as_pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Writes the key as PKCS#8 PEM, unencrypted.
    ///
    /// # Panics
    ///
    /// Never: the document is well formed and short.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(write_pem(&self.pkcs8, PLAIN_LABEL))
    }

    /// Writes the key as PKCS#8 PEM, encrypted under `passphrase` with a salt and an initialisation
    /// vector from `rng`.
    ///
    /// # Panics
    ///
    /// Never: the parameters are constant and the document is short.
    pub fn to_encrypted_pem<R: CryptoRng + ?Sized>(
        &self,
        passphrase: &[u8],
        rng: &mut R,
    ) -> String {
        write_pem(&encrypted::seal(&self.pkcs8, passphrase, rng), ENCRYPTED_LABEL)
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`; the same key and message always give the same signature.
    ///
    /// # Panics
    ///
    /// If memory is exhausted or the processor miscalculates: both backends check their result
    /// before they give it away, because a wrong one would reveal the key.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signer.sign(message).expect(ALWAYS_SIGNS))
    }

    /// Opens what [`PublicKey::encrypt`] made for this key; `None` if it was made for another, under
    /// another label, or was changed.
    #[cfg(feature = "seal")]
    pub(crate) fn decrypt(
        &self,
        encrypted: &[u8; super::MODULUS_LEN],
        label: &str,
    ) -> Option<super::Secret> {
        backend::decrypt(&self.pkcs8, encrypted, label)
    }

    fn from_rsa(key: &RsaPrivateKey) -> Result<Self, KeyError> {
        check_parts(key)?;
        let public = PublicKey::from_modulus(&key.n().to_bytes_be());
        let public = public.map_err(|_| KeyError::Inconsistent)?;
        let document = key.to_pkcs8_der().map_err(|_| KeyError::Inconsistent)?;
        let signer = backend::Signer::new(document.as_bytes()).ok_or(KeyError::Inconsistent)?;
        // Finds primes that are not prime, which no check of the numbers does.
        let trial = signer.sign(public.modulus()).ok_or(KeyError::Inconsistent)?;
        public.verify(public.modulus(), &Signature(trial)).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { public, signer, pkcs8: document.to_bytes() })
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Looks at the sizes before any arithmetic is done with the numbers.
fn check_size(info: &PrivateKeyInfo<'_>) -> Result<(), KeyError> {
    let parts = rsa::pkcs1::RsaPrivateKey::try_from(info.private_key).map_err(malformed)?;
    let got = super::bits(parts.modulus.as_bytes());
    if got != MODULUS_BITS {
        return Err(KeyError::Size { got });
    }
    let exponent = BigUint::from_bytes_be(parts.public_exponent.as_bytes());
    if exponent != BigUint::from(EXPONENT) {
        return Err(KeyError::Exponent { got: exponent.to_string() });
    }
    let bits = [parts.prime1, parts.prime2].map(|prime| super::bits(prime.as_bytes()));
    if bits == [PRIME_BITS; 2] { Ok(()) } else { Err(KeyError::Inconsistent) }
}

/// What both backends are to agree on, beyond what the crate `rsa` has already checked.
fn check_parts(key: &RsaPrivateKey) -> Result<(), KeyError> {
    let distinct = matches!(key.primes(), [p, q] if p != q);
    let reduced = key.d() < key.n();
    if distinct && reduced { Ok(()) } else { Err(KeyError::Inconsistent) }
}

fn check_len(len: usize) -> Result<(), KeyError> {
    if len > TEXT_MAX { Err(KeyError::TooLong { len, max: TEXT_MAX }) } else { Ok(()) }
}

pub(super) fn malformed(error: impl fmt::Display) -> KeyError {
    KeyError::Malformed { reason: error.to_string() }
}

fn read_pem(text: &str, expected: &'static str) -> Result<SecretDocument, KeyError> {
    check_len(text.len())?;
    let (label, document) = SecretDocument::from_pem(text).map_err(malformed)?;
    match label {
        label if label == expected => Ok(document),
        ENCRYPTED_LABEL => Err(KeyError::Encrypted),
        PLAIN_LABEL => Err(KeyError::NotEncrypted),
        label => Err(KeyError::Label { got: label.to_owned(), expected }),
    }
}

fn write_pem(document: &[u8], label: &'static str) -> String {
    der::pem::encode_string(label, LineEnding::LF, document).expect("a key fits a PEM text")
}

/// The generator of the caller, as the crate `rsa` wants it (its `rand_core` is older).
pub(super) struct Entropy<'a, R: ?Sized>(pub(super) &'a mut R);

impl<R: CryptoRng + ?Sized> rsa::rand_core::RngCore for Entropy<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl<R: CryptoRng + ?Sized> rsa::rand_core::CryptoRng for Entropy<'_, R> {}
