//! The bulk function `tag(key, n)`, one hash at a time.

/// `tag` under one key.
#[derive(Clone, Debug)]
pub struct Tagger {
    key: [u8; 32],
}

impl Tagger {
    /// Takes the key.
    pub const fn new(key: &[u8; 32]) -> Self {
        Self { key: *key }
    }

    /// Returns the tag of `n`.
    pub fn tag(&self, n: u64) -> u64 {
        let mut message = [0; 40];
        message[32..36].copy_from_slice(&((n >> 32) as u32).to_le_bytes());
        message[36..].copy_from_slice(&((n & 0xffff_ffff) as u32).to_le_bytes());
        let hash = blake3::keyed_hash(&self.key, &message);
        hash.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// Fills `out` with the tags of `first`, `first + 1`, ...
    pub fn fill_range(&self, first: u64, out: &mut [u64]) {
        let mut n = first;
        for slot in out {
            *slot = self.tag(n);
            n = n.wrapping_add(1);
        }
    }

    /// Fills `out` with the tags of `inputs`, which has the same length.
    pub fn fill_slice(&self, inputs: &[u64], out: &mut [u64]) {
        for (slot, &n) in out.iter_mut().zip(inputs) {
            *slot = self.tag(n);
        }
    }
}
