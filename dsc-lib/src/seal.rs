//! Sealed memos: text that only the recipient of a payment reads, on a chain that everybody reads.
//!
//! A fresh key is encrypted to the recipient's RSA key (RSAES-OAEP with SHA-256, label
//! `dsc v1 sealed memo`) and seals the text (ChaCha20-Poly1305, RFC 8439). This is a convention of
//! applications: to the rules of the chain a sealed memo is a memo like any other.
//!
//! ```text
//! 0    magic       4   93 64 73 63: no UTF-8 text begins so
//! 4    version     1   1
//! 5    wrapped key 256 RSAES-OAEP of the 32-byte key
//! 261  sealed text 235 ChaCha20-Poly1305, nonce of zeros: length (1), text, zeros up to 235 bytes
//! 496  tag         16
//! ```
//!
//! The associated data is the first 261 bytes, the genesis hash, the sender's address and the
//! recipient's address.
//!
//! # Invariants
//!
//! 1. Every sealed memo has [`SEALED_BYTES`] bytes, whatever the length of its text.
//! 2. It opens with the recipient's key only, and only as a memo of this sender on this chain: in a
//!    transaction that somebody else copied it into, it does not open.
//! 3. Whatever does not open fails in one way, after the same work: [`OpenError::Refused`].
//! 4. [`open`] is total: it never panics, whatever the bytes.
//! 5. Each key seals one text; it and the opened text are wiped when dropped.
//!
//! # What is not promised
//!
//! * It is not bound to one transaction: the sender may put the same sealed memo into several.
//! * Sender, recipient, amount, and that there is a sealed memo, are as public as ever.
//! * The sender cannot open it again, and whoever gets hold of the recipient's key later opens
//!   everything ever sealed to it: there is no forward secrecy.
//! * That the sender wrote it is shown by the transaction's signature, not by the seal.
//! * Timing: see [`crate::keys`]. With the feature `aws-lc` the private operation, its check of the
//!   padding included, is that of aws-lc: constant-time and blinded. Without it, open nothing on
//!   request of strangers who can measure how long that takes.
//!
//! # Example
//!
//! ```
//! use dsc_lib::{hash::Digest, keys::SecretKey, seal};
//! # use rand_core::SeedableRng;
//! # let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
//! let alice = SecretKey::from_pkcs8_pem(include_str!("../tests/data/keys/alice.pem"))?;
//! let bob = SecretKey::from_pkcs8_pem(include_str!("../tests/data/keys/bob.pem"))?;
//! let chain = Digest([7; 32]);
//! let from = alice.public().address();
//! let memo = seal::seal(b"the key is under the mat", bob.public(), &chain, &from, &mut rng)?;
//! assert!(seal::is_sealed(&memo));
//! assert_eq!(seal::open(&memo, &bob, &chain, &from)?[..], *b"the key is under the mat");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    address::Address,
    hash::Digest,
    keys::{MODULUS_LEN, PublicKey, Secret, SecretKey},
    transaction::{MEMO_BYTES_MAX, Memo},
};

/// What every sealed memo begins with.
pub const MAGIC: [u8; 4] = [0x93, b'd', b's', b'c'];
/// The only version there is.
pub const VERSION: u8 = 1;
/// Bytes in a sealed memo: as many as a memo may have.
pub const SEALED_BYTES: usize = MEMO_BYTES_MAX;
/// Most bytes of text in one.
pub const TEXT_BYTES_MAX: usize = PADDED_LEN - 1;

const LABEL: &str = "dsc v1 sealed memo";
/// Context of the key that takes the place of one that does not unwrap.
const REFUSAL_CONTEXT: &str = "dsc v1 sealed memo refusal";
const START_LEN: usize = MAGIC.len() + 1;
const HEAD_LEN: usize = START_LEN + MODULUS_LEN;
const TAG_LEN: usize = 16;
const PADDED_LEN: usize = SEALED_BYTES - HEAD_LEN - TAG_LEN;

type Padded = Zeroizing<[u8; PADDED_LEN]>;

/// A text that cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// It does not fit.
    #[error("the text has {got} bytes, at most {TEXT_BYTES_MAX} can be sealed")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
}

/// A memo that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not begin as a sealed memo does.
    #[error("the memo is not sealed")]
    NotSealed,
    /// It has another length than every sealed memo.
    #[error("a sealed memo has {SEALED_BYTES} bytes, this one has {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// A version this program does not know.
    #[error("the memo is sealed in version {got}, expected {VERSION}")]
    Version {
        /// The version given.
        got: u8,
    },
    /// Sealed to another key, for another chain or by another sender, or changed: which of these
    /// is told to nobody.
    #[error("the memo was not sealed to this key by the sender of this transaction")]
    Refused,
}

/// Whether a memo says that it is sealed; [`open`] says whether that is so.
pub fn is_sealed(memo: &[u8]) -> bool {
    memo.starts_with(&MAGIC)
}

/// Seals `text` to the owner of `recipient`, as a memo of `sender` on the chain with this genesis
/// hash. All randomness is from `rng`.
///
/// # Errors
///
/// [`SealError::TooLong`] if `text` has more than [`TEXT_BYTES_MAX`] bytes.
///
/// # Panics
///
/// Never: the sizes are constant.
pub fn seal<R: CryptoRng + ?Sized>(
    text: &[u8],
    recipient: &PublicKey,
    chain: &Digest,
    sender: &Address,
    rng: &mut R,
) -> Result<Memo, SealError> {
    let mut padded = pad(text)?;
    let mut secret = Secret::default();
    rng.fill_bytes(&mut secret[..]);
    let wrapped = recipient.encrypt(&secret, LABEL, rng);
    let head = [&MAGIC[..], &[VERSION], &wrapped].concat();
    let associated = associated(&head, chain, sender, &recipient.address());
    let tag = cipher(&secret).encrypt_inout_detached(
        &Nonce::default(),
        &associated,
        (&mut padded[..]).into(),
    );
    let tag = tag.expect("a short text is sealed");
    let sealed = [&head[..], &padded[..], &tag[..]].concat();
    Ok(Memo::new(sealed).expect("it has as many bytes as a memo may have"))
}

/// Opens the memo of a transaction from `sender` on the chain with this genesis hash.
///
/// # Errors
///
/// [`OpenError`]: the first three say what anybody sees of the memo.
pub fn open(
    memo: &[u8],
    key: &SecretKey,
    chain: &Digest,
    sender: &Address,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (head, wrapped, padded, tag) = split(memo)?;
    // A key that does not unwrap is replaced by one that nobody can guess, so that everything fails
    // at the same place.
    let secret = key.decrypt(wrapped, LABEL).unwrap_or_else(|| refusal(key, wrapped));
    let associated = associated(head, chain, sender, &key.public().address());
    let mut padded: Padded = Zeroizing::new(*padded);
    cipher(&secret)
        .decrypt_inout_detached(
            &Nonce::default(),
            &associated,
            (&mut padded[..]).into(),
            &Tag::from(*tag),
        )
        .map_err(|_| OpenError::Refused)?;
    unpad(&padded).ok_or(OpenError::Refused)
}

type Parts<'a> =
    (&'a [u8; HEAD_LEN], &'a [u8; MODULUS_LEN], &'a [u8; PADDED_LEN], &'a [u8; TAG_LEN]);

fn split(memo: &[u8]) -> Result<Parts<'_>, OpenError> {
    if !is_sealed(memo) {
        return Err(OpenError::NotSealed);
    }
    match memo.get(MAGIC.len()) {
        Some(&VERSION) => {}
        Some(&got) => return Err(OpenError::Version { got }),
        None => return Err(OpenError::Length { got: memo.len() }),
    }
    let parts = || {
        let (head, rest) = memo.split_first_chunk()?;
        let (_, wrapped) = head.split_last_chunk()?;
        let (padded, tag) = rest.split_first_chunk()?;
        Some((head, wrapped, padded, tag.try_into().ok()?))
    };
    parts().ok_or(OpenError::Length { got: memo.len() })
}

fn cipher(secret: &Secret) -> ChaCha20Poly1305 {
    // The key is good for one text, so the nonce need not differ from another.
    ChaCha20Poly1305::new(<&Key>::from(&**secret))
}

fn associated(head: &[u8], chain: &Digest, sender: &Address, recipient: &Address) -> Vec<u8> {
    [head, chain.as_bytes(), &sender.0, &recipient.0].concat()
}

fn refusal(key: &SecretKey, wrapped: &[u8; MODULUS_LEN]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(REFUSAL_CONTEXT);
    Secret::new(hasher.update(key.as_pkcs8_der()).update(wrapped).finalize().into())
}

fn pad(text: &[u8]) -> Result<Padded, SealError> {
    let too_long = SealError::TooLong { got: text.len() };
    let mut padded = Padded::new([0; PADDED_LEN]);
    let (len, room) = padded.split_first_mut().ok_or(too_long)?;
    *len = u8::try_from(text.len()).map_err(|_| too_long)?;
    room.get_mut(..text.len()).ok_or(too_long)?.copy_from_slice(text);
    Ok(padded)
}

/// The text, if the bytes are as [`pad`] makes them.
fn unpad(padded: &Padded) -> Option<Zeroizing<Vec<u8>>> {
    let (len, room) = padded.split_first()?;
    let (text, rest) = room.split_at_checked(usize::from(*len))?;
    rest.iter().all(|byte| *byte == 0).then(|| Zeroizing::new(text.to_vec()))
}

#[cfg(test)]
mod tests;
