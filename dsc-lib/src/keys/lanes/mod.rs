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

use std::arch::x86_64::{
    __mmask8, _mm512_and_si512, _mm512_cmpeq_epi64_mask, _mm512_set1_epi64, _mm512_setr_epi64,
};

use rsa::sha2::{Digest, Sha256};

use self::mont::{LIMB_BITS, LIMBS, Limb, Moduli, Number, add, carry, zero};
use super::{Claim, MODULUS_LEN};

/// Claims checked by one call.
pub(super) const LANES: usize = 8;
/// Squarings of the exponent 2^16 + 1.
const SQUARINGS: usize = 16;

/// Big-endian numbers, one for each lane.
type Bytes<'a> = [&'a [u8; MODULUS_LEN]; LANES];

const HASH_LEN: usize = 32;
/// Limbs that hold a hash at the end of a number, or a part of it.
const HASH_LIMBS: usize = (8 * HASH_LEN).div_ceil(LIMB_BITS as usize);

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
    let claims: [_; LANES] = std::array::from_fn(|lane| claims.get(lane).unwrap_or(&claims[0]));
    let moduli = claims.map(|claim| claim.key.modulus());
    let signatures = claims.map(|claim| &claim.signature.0);
    let moduli = Moduli { inverse: inverses(&moduli), n: load(&moduli) };
    let power = raise(&load(&signatures), &moduli);
    is_congruent(&power, &expected(&claims), &moduli.n)
}

/// Pads the hashes of the messages.
#[target_feature(enable = "avx512f")]
fn expected(claims: &[&&Claim<'_>; LANES]) -> Number {
    let mut padded = [PADDED; LANES];
    for (padded, claim) in padded.iter_mut().zip(claims) {
        padded[MODULUS_LEN - HASH_LEN..].copy_from_slice(&Sha256::digest(claim.message));
    }
    let hashes: [_; HASH_LIMBS] = load(&padded.each_ref());
    let mut number = [zero(); LIMBS];
    for (i, limb) in number.iter_mut().enumerate() {
        let alike = || _mm512_set1_epi64(limb_of(&PADDED, i));
        *limb = hashes.get(i).copied().unwrap_or_else(alike);
    }
    number
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

/// Splits numbers into limbs, from the low end on.
#[target_feature(enable = "avx512f")]
fn load<const COUNT: usize>(numbers: &Bytes<'_>) -> [Limb; COUNT] {
    let mut limbs = [zero(); COUNT];
    for (i, limb) in limbs.iter_mut().enumerate() {
        *limb = vector(&numbers.map(|number| limb_of(number, i)));
    }
    limbs
}

/// The limb at a place of a big-endian number.
#[inline]
fn limb_of(number: &[u8; MODULUS_LEN], place: usize) -> i64 {
    let bit = place * LIMB_BITS as usize;
    // Of the 8 bytes from the limb's lowest on, or the 8 highest.
    let above = (MODULUS_LEN - 8).saturating_sub(bit / 8);
    let mut word = [0; 8];
    word.copy_from_slice(&number[above..above + 8]);
    let shift = bit - 8 * (MODULUS_LEN - 8 - above);
    (u64::from_be_bytes(word) >> shift).cast_signed() & ((1 << LIMB_BITS) - 1)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn vector(of: &[i64; LANES]) -> Limb {
    _mm512_setr_epi64(of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7])
}

/// Returns -1/n modulo 2^52, with arbitrary bits above.
#[target_feature(enable = "avx512f")]
fn inverses(moduli: &Bytes<'_>) -> Limb {
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
        let found = _mm512_and_si512(*found, limb);
        let sum = add(add(*expected, *n), carried);
        carried = carry(sum);
        let sum = _mm512_and_si512(sum, limb);
        same &= _mm512_cmpeq_epi64_mask(found, *expected);
        same_above &= _mm512_cmpeq_epi64_mask(found, sum);
    }
    same | same_above
}
