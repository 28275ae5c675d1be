//! Randomness from the operating system.

use std::convert::Infallible;

use getrandom::SysRng;
use rand_core::{Rng, TryCryptoRng, TryRng, UnwrapErr};

/// The generator of the operating system, for keys, tokens and fingerprints.
///
/// It panics if the system has no randomness, which no supported system does once it has started:
/// nothing here could be done safely then.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl OsEntropy {
    /// Returns `N` random bytes.
    pub fn bytes<const N: usize>(mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill_bytes(&mut bytes);
        bytes
    }

    /// Returns a random UUID (version 4), the fingerprint of a new validator.
    pub fn uuid(self) -> [u8; 16] {
        let mut bytes: [u8; 16] = self.bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}

impl TryRng for OsEntropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(UnwrapErr(SysRng).next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(UnwrapErr(SysRng).next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        UnwrapErr(SysRng).fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for OsEntropy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_a_uuid_says_its_version() {
        assert_ne!(OsEntropy.bytes::<32>(), OsEntropy.bytes::<32>());
        let uuid = OsEntropy.uuid();
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
    }
}
