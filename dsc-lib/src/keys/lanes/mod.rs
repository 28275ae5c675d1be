//! Eight signatures checked at once, one in each lane of AVX-512 vectors.
//!
//! The CPU multiplies 52-bit limbs in eight lanes (AVX-512 IFMA). A signature is raised to the power
//! 65537 by 16 squarings in Montgomery form and one multiplication by the signature itself, which leaves
//! that form, and compared with what RFC 8017, section 9.2 makes of the message. Nothing here is secret, so
//! nothing is made constant-time.
//!
//! # Invariants
//!
//! 1. A lane does not see the others: the verdict on a claim does not depend on which it shares a call with.
//! 2. Only [`available`] CPUs get here.

mod enter;
mod mont;
#[cfg(test)]
mod tests;

use std::arch::x86_64::{__mmask8, _mm512_cmpeq_epi64_mask, _mm512_set1_epi64, _mm512_setr_epi64};

use rsa::sha2::{Digest, Sha256};

use self::mont::{LIMB_BITS, LIMBS, Limb, Moduli, Number, add, carry, zero};
use super::{Claim, MODULUS_LEN};

/// Claims checked by one call.
pub(super) const LANES: usize = 8;
/// Squarings of the exponent 2^16 + 1.
const SQUARINGS: usize = 16;

/// Big-endian numbers, one for each lane.
type Bytes = [[u8; MODULUS_LEN]; LANES];

/// A message as it is signed, up to its hash: the padding and the `DigestInfo` of SHA-256.
const PADDED: [u8; MODULUS_LEN] = {
    const INFO: [u8; 20] = [
        0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
        0x01, 0x05, 0x00, 0x04, 0x20,
    ];
    const INFO_AT: usize = MODULUS_LEN - HASH_LEN - INFO.len();
    let mut padded = [0xff; MODULUS_LEN];
    padded[0] = 0;
    padded[1] = 1;
    let mut i = 0;
    while i < INFO.len() {
        padded[INFO_AT + i] = INFO[i];
        i += 1;
    }
    padded
};
const HASH_LEN: usize = 32;

/// Whether this CPU has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512ifma")
}

/// Tells which of up to eight claims hold; their signatures have to be below the moduli.
///
/// Lanes without a claim repeat the first one.
pub(super) fn verify(claims: &[&Claim<'_>]) -> [bool; LANES] {
    assert!(available(), "the CPU has AVX-512 IFMA");
    // SAFETY: the CPU has the features, see above.
    let mask = unsafe { verify_lanes(claims) };
    std::array::from_fn(|lane| mask >> lane & 1 == 1)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn verify_lanes(claims: &[&Claim<'_>]) -> __mmask8 {
    let claim = |lane: usize| claims.get(lane).unwrap_or(&claims[0]);
    let mut moduli = [[0; MODULUS_LEN]; LANES];
    let (mut signatures, mut expected) = (moduli, [PADDED; LANES]);
    for lane in 0..LANES {
        let claim = claim(lane);
        moduli[lane] = *claim.key.modulus();
        signatures[lane] = claim.signature.0;
        expected[lane][MODULUS_LEN - HASH_LEN..].copy_from_slice(&Sha256::digest(claim.message));
    }
    let moduli = Moduli { inverse: inverses(&moduli), n: load(&moduli) };
    let power = raise(&load(&signatures), &moduli);
    is_congruent(&power, &load(&expected), &moduli.n)
}

/// Returns the signatures to the power 65537, below 2n.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn raise(signatures: &Number, moduli: &Moduli) -> Number {
    let mut power = enter::scale(signatures, moduli);
    let mut columns = [zero(); 2 * LIMBS];
    for _ in 0..SQUARINGS {
        mont::square(&mut power, moduli, &mut columns);
    }
    mont::multiply(&power, signatures, moduli, &mut columns)
}

/// Splits numbers into limbs.
#[target_feature(enable = "avx512f")]
fn load(numbers: &Bytes) -> Number {
    let mut limbs = [[0; LANES]; LIMBS];
    for (lane, number) in numbers.iter().enumerate() {
        // Limbs start at multiples of 6.5 bytes; the last one is followed by nothing.
        let mut bytes = [0; MODULUS_LEN + 8];
        for (to, from) in bytes.iter_mut().zip(number.iter().rev()) {
            *to = *from;
        }
        for (i, limb) in limbs.iter_mut().enumerate() {
            let (at, shift) = (i * LIMB_BITS as usize / 8, i % 2 * 4);
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            limb[lane] = (i64::from_le_bytes(word) >> shift) & ((1 << LIMB_BITS) - 1);
        }
    }
    let mut number = [zero(); LIMBS];
    for (to, from) in number.iter_mut().zip(&limbs) {
        *to = vector(from);
    }
    number
}

#[target_feature(enable = "avx512f")]
#[inline]
fn vector(of: &[i64; LANES]) -> Limb {
    _mm512_setr_epi64(of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7])
}

/// Returns -1/n modulo 2^52, with arbitrary bits above.
#[target_feature(enable = "avx512f")]
fn inverses(moduli: &Bytes) -> Limb {
    let mut inverses = [0; LANES];
    for (inverse, modulus) in inverses.iter_mut().zip(moduli) {
        let n = modulus.last_chunk().map_or(1, |low| i64::from_be_bytes(*low));
        // Right in 5 bits; each step doubles them.
        let mut guess = n.wrapping_mul(3) ^ 2;
        for _ in 0..4 {
            guess = guess.wrapping_mul(2_i64.wrapping_sub(n.wrapping_mul(guess)));
        }
        *inverse = guess.wrapping_neg();
    }
    vector(&inverses)
}

/// Tells in which lanes `found`, below 2n, is `expected`, below n, modulo n.
#[target_feature(enable = "avx512f")]
fn is_congruent(found: &Number, expected: &Number, n: &Number) -> __mmask8 {
    let (mut same, mut same_above) = (0xff, 0xff);
    let mut carried = zero();
    let limb = _mm512_set1_epi64((1 << LIMB_BITS) - 1);
    let limbs = found.iter().zip(expected).zip(n);
    for ((found, expected), n) in limbs {
        let found = std::arch::x86_64::_mm512_and_si512(*found, limb);
        let sum = add(add(*expected, *n), carried);
        carried = carry(sum);
        let sum = std::arch::x86_64::_mm512_and_si512(sum, limb);
        same &= _mm512_cmpeq_epi64_mask(found, *expected);
        same_above &= _mm512_cmpeq_epi64_mask(found, sum);
    }
    same | same_above
}
