//! The way into Montgomery form by long division from the top: a number times R modulo n, for the cost
//! of one reduction, where the square of R would take six multiplications.
//!
//! With c = 2^2132 modulo n, a number of 41 limbs times 2^52 is its lower 40 limbs times 2^52 and its top
//! limb times c: a digit of the quotient needs no estimate. Of 41 such steps the last two are taken back
//! by Montgomery's, which leave less than 2n.
//!
//! # Invariants
//!
//! 1. c is below 2^2050, so after a step the number is below 2^2132 + 2^2103: its top limb is at most
//!    2^52, and only if less than 2^2103 is below it.
//! 2. [`scale`] returns less than 2n.

use std::arch::x86_64::{
    _mm512_and_si512, _mm512_andnot_si512, _mm512_cmpge_epu64_mask, _mm512_cvtepu64_pd,
    _mm512_cvttpd_epu64, _mm512_div_pd, _mm512_fmadd_pd, _mm512_mask_add_epi64, _mm512_max_pd,
    _mm512_mul_pd, _mm512_set1_epi64, _mm512_set1_pd, _mm512_setzero_pd, _mm512_srai_epi64,
    _mm512_sub_epi64, _mm512_sub_pd,
};

use super::mont::{
    BLOCK, BLOCKS, LIMB_BITS, LIMBS, Limb, Moduli, Number, add, carry, high, low, zero,
};

type Flat = [Limb; LIMBS];
/// A number of 41 limbs, any of which may hold more than 52 bits.
type Long = [Limb; LIMBS + 1];

const LIMB_MAX: i64 = (1 << LIMB_BITS) - 1;
/// What one step towards c multiplies by: twice this many bits lead from 2^2048 to 2^2132.
const SHIFT: u32 = 42;
/// Steps by a limb.
const STEPS: usize = LIMBS + 1;

/// Returns `a * R` modulo n, below 2n.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn scale(a: &Number, moduli: &Moduli) -> Number {
    let n = flat(&moduli.n);
    let mut power = complement(&n);
    for _ in 0..2 {
        power = shift(&power, &n);
    }
    let mut long = [zero(); LIMBS + 1];
    // The first step is free: there is nothing to fold.
    long[1..].copy_from_slice(&flat(a));
    for _ in 0..STEPS {
        fold(&mut long, &power);
    }
    for _ in 0..STEPS + 1 - LIMBS {
        step_back(&mut long, &n, moduli.inverse);
    }
    blocks(&long)
}

fn flat(number: &Number) -> Flat {
    let mut flat = [number[0][0]; LIMBS];
    for (to, from) in flat.iter_mut().zip(number.as_flattened()) {
        *to = *from;
    }
    flat
}

/// The number in blocks, carried out; it has to fit.
#[target_feature(enable = "avx512f")]
fn blocks(long: &Long) -> Number {
    let mut number = [[zero(); BLOCK]; BLOCKS];
    let mut carried = zero();
    for (to, from) in number.as_flattened_mut().iter_mut().zip(long) {
        *to = add(*from, carried);
        carried = carry(*to);
    }
    number
}

/// Leaves the low 52 bits.
#[target_feature(enable = "avx512f")]
#[inline]
fn masked(limb: Limb) -> Limb {
    _mm512_and_si512(limb, _mm512_set1_epi64(LIMB_MAX))
}

/// Returns `2^2048 - n`.
#[target_feature(enable = "avx512f")]
fn complement(n: &Flat) -> Flat {
    let mut out = [zero(); LIMBS];
    let mut carried = _mm512_set1_epi64(1);
    for i in 0..LIMBS {
        // The top limb has the remaining 20 bits.
        let ones = if i == LIMBS - 1 { 0xf_ffff } else { LIMB_MAX };
        let sum = add(_mm512_andnot_si512(n[i], _mm512_set1_epi64(ones)), carried);
        out[i] = masked(sum);
        carried = carry(sum);
    }
    out
}

/// Returns `a * 2^SHIFT` less a multiple of n: below 3n, if a was.
///
/// The quotient is below 2^44 and estimated with an error below 2^-6, so that one less than its whole
/// part is at most two too low and never too high.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn shift(a: &Flat, n: &Flat) -> Flat {
    let factor = _mm512_set1_epi64(1 << SHIFT);
    let quotient = _mm512_div_pd(top(a), top(n));
    let quotient = _mm512_mul_pd(quotient, _mm512_cvtepu64_pd(factor));
    let less = _mm512_sub_pd(quotient, _mm512_set1_pd(1.0));
    let quotient = _mm512_cvttpd_epu64(_mm512_max_pd(less, _mm512_setzero_pd()));
    let mut out = [zero(); LIMBS];
    let (mut carried, mut above, mut taken) = (zero(), zero(), zero());
    for i in 0..LIMBS {
        let up = low(add(above, carried), a[i], factor);
        let sum = _mm512_sub_epi64(up, low(taken, n[i], quotient));
        out[i] = masked(sum);
        carried = _mm512_srai_epi64::<LIMB_BITS>(sum);
        above = high(zero(), a[i], factor);
        taken = high(zero(), n[i], quotient);
    }
    out
}

/// The top two limbs as a floating-point number.
#[target_feature(enable = "avx512f,avx512dq")]
fn top(a: &Flat) -> std::arch::x86_64::__m512d {
    let weight = _mm512_cvtepu64_pd(_mm512_set1_epi64(1 << LIMB_BITS));
    let next = _mm512_cvtepu64_pd(a[LIMBS - 2]);
    _mm512_fmadd_pd(_mm512_cvtepu64_pd(a[LIMBS - 1]), weight, next)
}

/// Multiplies by 2^52 modulo n, with `power` = 2^2132 modulo n.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold(long: &mut Long, power: &Flat) {
    for i in LIMBS - 2..LIMBS {
        long[i + 1] = add(long[i + 1], carry(long[i]));
        long[i] = masked(long[i]);
    }
    let digit = long[LIMBS];
    for i in (1..=LIMBS).rev() {
        long[i] = high(long[i - 1], power[i - 1], digit);
    }
    long[0] = zero();
    for i in 0..LIMBS {
        long[i] = low(long[i], power[i], digit);
    }
    // Once in a million keys, or when asked for: the digit is 2^52, of which the products saw nothing.
    let over = _mm512_cmpge_epu64_mask(digit, _mm512_set1_epi64(1 << LIMB_BITS));
    if over != 0 {
        for i in 1..=LIMBS {
            long[i] = _mm512_mask_add_epi64(long[i], over, long[i], power[i - 1]);
        }
    }
}

/// Divides by 2^52 modulo n.
#[target_feature(enable = "avx512f,avx512ifma")]
fn step_back(long: &mut Long, n: &Flat, inverse: Limb) {
    let multiple = low(zero(), long[0], inverse);
    let mut below = low(long[0], multiple, n[0]);
    for i in 1..LIMBS {
        let sum = if i == 1 { add(long[1], carry(below)) } else { long[i] };
        below = low(high(sum, multiple, n[i - 1]), multiple, n[i]);
        long[i - 1] = below;
    }
    long[LIMBS - 1] = high(long[LIMBS], multiple, n[LIMBS - 1]);
    long[LIMBS] = zero();
}
