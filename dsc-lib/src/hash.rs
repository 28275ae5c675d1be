//! Digests and the one way to derive them.
//!
//! # Invariants
//!
//! 1. Every digest of the protocol comes from [`derive()`] with a [`Context`], so two uses of the
//!    hash can never be confused with each other.
//! 2. A context string is spelled once, in [`Context::name`].
//!
//! Checked by `tests/vectors.rs`.

use std::{borrow::Cow, fmt, str::FromStr, sync::LazyLock};

use bincode::{Decode, Encode};
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// A 32-byte BLAKE3 output; shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "hex::serde")] pub [u8; 32]);

impl Digest {
    /// 32 zero bytes: the root of an empty tree.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 bytes, read little-endian.
    pub fn first64(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseDigestError)?;
        Ok(Self(bytes))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a digest is for; each has its own BLAKE3 key-derivation context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are those of the table in docs/protocol.md")]
pub enum Context {
    Address,
    Transaction,
    Block,
    MerkleLeaf,
    MerkleNode,
    Challenge,
    Genesis,
    Account,
    State,
    Work,
    SpaceTable1,
    SpaceTable2,
    SpaceChallenge,
    MemoryTable1,
    MemoryTable2,
    MemoryStart,
    MemoryStep,
}

impl Context {
    /// The context string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "dsc v1 address",
            Self::Transaction => "dsc v1 transaction",
            Self::Block => "dsc v1 block",
            Self::MerkleLeaf => "dsc v1 merkle leaf",
            Self::MerkleNode => "dsc v1 merkle node",
            Self::Challenge => "dsc v1 challenge",
            Self::Genesis => "dsc v1 genesis",
            Self::Account => "dsc v1 account",
            Self::State => "dsc v1 state",
            Self::Work => "dsc v1 work",
            Self::SpaceTable1 => "dsc v1 space table 1",
            Self::SpaceTable2 => "dsc v1 space table 2",
            Self::SpaceChallenge => "dsc v1 space challenge",
            Self::MemoryTable1 => "dsc v1 memory table 1",
            Self::MemoryTable2 => "dsc v1 memory table 2",
            Self::MemoryStart => "dsc v1 memory start",
            Self::MemoryStep => "dsc v1 memory step",
        }
    }

    fn hasher(self, parts: &[&[u8]]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_from_context_key(self.key());
        // Keys of proofs are short, and each part given alone costs a fifth of a compression.
        let mut short = [0; SHORT_LEN];
        if let Some(joined) = join(parts, &mut short) {
            hasher.update(joined);
        } else {
            for part in parts {
                hasher.update(part);
            }
        }
        hasher
    }
}

impl Context {
    const ALL: [Self; 17] = [
        Self::Address,
        Self::Transaction,
        Self::Block,
        Self::MerkleLeaf,
        Self::MerkleNode,
        Self::Challenge,
        Self::Genesis,
        Self::Account,
        Self::State,
        Self::Work,
        Self::SpaceTable1,
        Self::SpaceTable2,
        Self::SpaceChallenge,
        Self::MemoryTable1,
        Self::MemoryTable2,
        Self::MemoryStart,
        Self::MemoryStep,
    ];

    /// The key that the context string stands for: hashing the string again for every digest
    /// would double the cost of a short one.
    fn key(self) -> &'static ContextKey {
        static KEYS: LazyLock<Vec<ContextKey>> = LazyLock::new(|| {
            Context::ALL.iter().map(|context| hash_derive_key_context(context.name())).collect()
        });
        KEYS.get(self as usize).expect("ALL lists every context in its order")
    }
}

/// Bytes that are joined before they are hashed: more than a proof's keys come from.
const SHORT_LEN: usize = 128;

/// Copies `parts` to the beginning of `short` and returns that, if they fit.
fn join<'a>(parts: &[&[u8]], short: &'a mut [u8; SHORT_LEN]) -> Option<&'a [u8]> {
    let mut end = 0_usize;
    for part in parts {
        let start = end;
        end = start.checked_add(part.len())?;
        short.get_mut(start..end)?.copy_from_slice(part);
    }
    short.get(..end)
}

/// Returns BLAKE3 `derive_key` for `context` over the concatenated `parts`.
pub fn derive(context: Context, parts: &[&[u8]]) -> Digest {
    Digest(context.hasher(parts).finalize().into())
}

/// Fills `output` with the extendable output of [`derive()`]'s hash.
pub fn derive_extended(context: Context, parts: &[&[u8]], output: &mut [u8]) {
    context.hasher(parts).finalize_xof().fill(output);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_context_derives_as_the_crate_does_with_its_name() {
        for (index, context) in Context::ALL.into_iter().enumerate() {
            assert_eq!(context as usize, index);
            let expected = blake3::derive_key(context.name(), b"some material");
            assert_eq!(derive(context, &[b"some ", b"material"]).0, expected);
        }
    }

    #[test]
    fn material_of_any_length_is_hashed_as_one() {
        let material: Vec<u8> = (0..=255).collect();
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 256] {
            let expected = blake3::derive_key(Context::Block.name(), &material[..len]);
            for cut in [0, len / 3, len] {
                let parts = [&material[..cut], &[], &material[cut..len]];
                assert_eq!(derive(Context::Block, &parts).0, expected, "{len} bytes cut at {cut}");
            }
        }
    }

    #[test]
    fn digests_are_read_as_they_are_shown() {
        let error = serde_json::from_str::<Digest>("\"abc\"").unwrap_err().to_string();
        assert!(error.starts_with("expected 64 hexadecimal digits"), "{error}");
        let digest = derive(Context::Block, &[]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let wrong = ["", "00", "zz"].map(|text| text.parse::<Digest>().unwrap_err().to_string());
        assert_eq!(wrong, ["expected 64 hexadecimal digits"; 3]);
    }
}
