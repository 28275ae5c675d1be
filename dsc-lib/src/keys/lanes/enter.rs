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
    __mmask8, _mm512_and_si512, _mm512_andnot_si512, _mm512_cmpge_epu64_mask, _mm512_cvtepu64_pd,
    _mm512_cvttpd_epu64, _mm512_div_pd, _mm512_fmadd_pd, _mm512_mask_add_epi64, _mm512_max_pd,
    _mm512_mul_pd, _mm512_set1_epi64, _mm512_set1_pd, _mm512_setzero_pd, _mm512_srai_epi64,
    _mm512_sub_epi64, _mm512_sub_pd,
};

use super::mont::{LIMB_BITS, LIMBS, Limb, Moduli, Number, add, carry, high, low, zero};

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
    let n = &moduli.n;
    let mut power = complement(n);
    for _ in 0..2 {
        power = shift(&power, n);
    }
    let mut long = [zero(); LIMBS + 1];
    // The first step is free: there is nothing to fold.
    long[1..].copy_from_slice(a);
    fold(&mut long, &power);
    for _ in 0..STEPS / 2 {
        fold_twice(&mut long, &power);
    }
    for _ in 0..STEPS + 1 - LIMBS {
        step_back(&mut long, n, moduli.inverse);
    }
    carried_out(&long)
}

/// Carries what fits a number.
#[target_feature(enable = "avx512f")]
fn carried_out(long: &Long) -> Number {
    let mut number = [zero(); LIMBS];
    let mut carried = zero();
    for (to, from) in number.iter_mut().zip(long) {
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
fn complement(n: &Number) -> Number {
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
fn shift(a: &Number, n: &Number) -> Number {
    let factor = _mm512_set1_epi64(1 << SHIFT);
    let quotient = _mm512_div_pd(top(a), top(n));
    let quotient = _mm512_mul_pd(quotient, _mm512_cvtepu64_pd(factor));
    let less = _mm512_sub_pd(quotient, _mm512_set1_pd(1.0));
    let quotient = _mm512_cvttpd_epu64(_mm512_max_pd(less, _mm512_setzero_pd()));
    let mut out = [zero(); LIMBS];
    let (mut carried, mut above, mut taken) = (zero(), zero(), zero());
    for i in 0..LIMBS {
        let difference = _mm512_sub_epi64(low(above, a[i], factor), low(taken, n[i], quotient));
        let sum = add(difference, carried);
        out[i] = masked(sum);
        carried = _mm512_srai_epi64::<LIMB_BITS>(sum);
        above = high(zero(), a[i], factor);
        taken = high(zero(), n[i], quotient);
    }
    out
}

/// The top two limbs as a floating-point number.
#[target_feature(enable = "avx512f,avx512dq")]
fn top(a: &Number) -> std::arch::x86_64::__m512d {
    let weight = _mm512_cvtepu64_pd(_mm512_set1_epi64(1 << LIMB_BITS));
    let next = _mm512_cvtepu64_pd(a[LIMBS - 2]);
    _mm512_fmadd_pd(_mm512_cvtepu64_pd(a[LIMBS - 1]), weight, next)
}

/// Multiplies by 2^52 modulo n, with `power` = 2^2132 modulo n.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold(long: &mut Long, power: &Number) {
    let digit = top_digit(long);
    for i in (1..=LIMBS).rev() {
        long[i] = high(long[i - 1], power[i - 1], digit);
    }
    long[0] = zero();
    for i in 0..LIMBS {
        long[i] = low(long[i], power[i], digit);
    }
    let over = overflow(digit);
    if over != 0 {
        // The digit is 2^52, of which the products saw nothing.
        for i in 1..=LIMBS {
            long[i] = _mm512_mask_add_epi64(long[i], over, long[i], power[i - 1]);
        }
    }
}

/// Carries into the top limb from the two below it and returns it.
#[target_feature(enable = "avx512f")]
#[inline]
fn top_digit(limbs: &mut [Limb]) -> Limb {
    let [.., below, middle, top] = limbs else { return zero() };
    let sum = add(*middle, carry(*below));
    *below = masked(*below);
    *middle = masked(sum);
    *top = add(*top, carry(sum));
    *top
}

/// Where a digit is 2^52: once in a million keys, or when asked for.
#[target_feature(enable = "avx512f")]
#[inline]
fn overflow(digit: Limb) -> __mmask8 {
    _mm512_cmpge_epu64_mask(digit, _mm512_set1_epi64(1 << LIMB_BITS))
}

/// [`fold`] twice, for the loads and stores of once.
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold_twice(long: &mut Long, power: &Number) {
    let first = top_digit(long);
    // The three top limbs after the first step tell the second digit.
    let mut between = [zero(); 3];
    for (i, limb) in between.iter_mut().enumerate() {
        *limb = high(long[LIMBS - 3 + i], power[LIMBS - 3 + i], first);
        if i < 2 {
            *limb = low(*limb, power[LIMBS - 2 + i], first);
        }
    }
    let second = top_digit(&mut between);
    if overflow(first) | overflow(second) != 0 {
        fold(long, power);
        fold(long, power);
        return;
    }
    long[LIMBS] = high(between[1], power[LIMBS - 1], second);
    long[LIMBS - 1] = low(high(between[0], power[LIMBS - 2], second), power[LIMBS - 1], second);
    for i in (2..LIMBS - 1).rev() {
        let once = low(high(long[i - 2], power[i - 2], first), power[i - 1], first);
        long[i] = low(high(once, power[i - 1], second), power[i], second);
    }
    long[1] = low(high(low(zero(), power[0], first), power[0], second), power[1], second);
    long[0] = low(zero(), power[0], second);
}

/// Divides by 2^52 modulo n.
#[target_feature(enable = "avx512f,avx512ifma")]
fn step_back(long: &mut Long, n: &Number, inverse: Limb) {
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
