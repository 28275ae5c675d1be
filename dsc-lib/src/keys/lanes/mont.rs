//! Montgomery arithmetic modulo eight numbers at once.
//!
//! A number is 40 limbs of 52 bits; limb `i` of eight numbers is one vector. Instructions multiply the
//! low 52 bits of limbs, so what a limb holds above them is ignored where it is a factor. Products are
//! summed by column without carrying: a column takes fewer than 2^8 halves of products, each below
//! 2^52, and a carry, so it fits 64 bits.
//!
//! Loops go by blocks of 8 limbs: 16 columns, 8 limbs of one factor and one of the other stay in the 32
//! registers.
//!
//! # Invariants
//!
//! 1. With R = 2^2080, [`multiply`] and [`square`] return the product times R^-1 modulo n.
//! 2. Factors below 2^2063 give a result below 2n: (2^4126 + (R - 1) n) / R < n + n.
//!
//! Source: Montgomery, "Modular multiplication without trial division"; for the layout in radix 2^52,
//! Gueron and Krasnov, "Software implementation of modular exponentiation, using advanced vector
//! instructions architectures".

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_srli_epi64,
};

/// Bits in a limb.
pub(super) const LIMB_BITS: u32 = 52;
/// Limbs in a number.
pub(super) const LIMBS: usize = 40;
/// Limbs in a block.
pub(super) const BLOCK: usize = 8;
/// Blocks in a number.
pub(super) const BLOCKS: usize = LIMBS / BLOCK;

/// One limb of each number.
pub(super) type Limb = __m512i;
type Block = [Limb; BLOCK];
/// Eight numbers.
pub(super) type Number = [Block; BLOCKS];
/// The columns that a product of two blocks spans; the last takes only what overflows.
type Columns = [Limb; 2 * BLOCK];
/// The columns of eight products.
type Product = [Block; 2 * BLOCKS];

/// Eight odd moduli.
pub(super) struct Moduli {
    pub(super) n: Number,
    /// -1/n modulo 2^52.
    pub(super) inverse: Limb,
}

/// `sum` and the low half of a product of limbs.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn low(sum: Limb, a: Limb, b: Limb) -> Limb {
    _mm512_madd52lo_epu64(sum, a, b)
}

/// `sum` and the high half of a product of limbs.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(super) fn high(sum: Limb, a: Limb, b: Limb) -> Limb {
    _mm512_madd52hi_epu64(sum, a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn add(a: Limb, b: Limb) -> Limb {
    _mm512_add_epi64(a, b)
}

/// What a column hands on to the next.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn carry(column: Limb) -> Limb {
    _mm512_srli_epi64::<LIMB_BITS>(column)
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn zero() -> Limb {
    _mm512_setzero_si512()
}

/// Adds the product of two blocks.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add_product(columns: &mut Columns, a: &Block, b: &Block) {
    for j in 0..BLOCK {
        for i in 0..BLOCK {
            columns[i + j] = low(columns[i + j], a[i], b[j]);
        }
        for i in 0..BLOCK {
            columns[i + j + 1] = high(columns[i + j + 1], a[i], b[j]);
        }
    }
}

/// Adds the products of each two different limbs of a block, once.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add_triangle(columns: &mut Columns, a: &Block) {
    for j in 0..BLOCK {
        for i in j + 1..BLOCK {
            columns[i + j] = low(columns[i + j], a[i], a[j]);
            columns[i + j + 1] = high(columns[i + j + 1], a[i], a[j]);
        }
    }
}

/// Takes the lower half of the columns off and moves the upper one down.
#[target_feature(enable = "avx512f")]
#[inline]
fn shift_out(columns: &mut Columns) -> Block {
    let mut lower = [zero(); BLOCK];
    for i in 0..BLOCK {
        lower[i] = columns[i];
        columns[i] = columns[i + BLOCK];
        columns[i + BLOCK] = zero();
    }
    lower
}

/// The columns of a product.
#[target_feature(enable = "avx512f,avx512ifma")]
fn product(a: &Number, b: &Number, out: &mut Product) {
    let mut columns = [zero(); 2 * BLOCK];
    for (k, out) in out.iter_mut().enumerate() {
        for i in k.saturating_sub(BLOCKS - 1)..BLOCKS.min(k + 1) {
            add_product(&mut columns, &a[i], &b[k - i]);
        }
        *out = shift_out(&mut columns);
    }
}

/// The columns of a square: products of different limbs once, doubled, and the squares.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_columns(a: &Number, out: &mut Product) {
    let mut columns = [zero(); 2 * BLOCK];
    for (k, out) in out.iter_mut().enumerate() {
        for i in k.saturating_sub(BLOCKS - 1)..k.div_ceil(2) {
            add_product(&mut columns, &a[i], &a[k - i]);
        }
        if k % 2 == 0 {
            add_triangle(&mut columns, &a[k / 2]);
        }
        let once = shift_out(&mut columns);
        for i in 0..BLOCK / 2 {
            let root = a[k / 2][k % 2 * (BLOCK / 2) + i];
            out[2 * i] = low(add(once[2 * i], once[2 * i]), root, root);
            out[2 * i + 1] = high(add(once[2 * i + 1], once[2 * i + 1]), root, root);
        }
    }
}

/// Makes the lower half of the columns multiples of 2^52 by adding multiples of n, and hands on their
/// carries: returns the multiples.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn cancel(columns: &mut Columns, n: &Block, inverse: Limb) -> Block {
    let round_up = _mm512_set1_epi64((1 << LIMB_BITS) - 1);
    let mut multiples = [zero(); BLOCK];
    for i in 0..BLOCK {
        let multiple = low(zero(), columns[i], inverse);
        // The low half of multiple * n[0] fills the column up to the next multiple of 2^52.
        let handed_on = carry(add(columns[i], round_up));
        columns[i + 1] = add(columns[i + 1], handed_on);
        for j in 1..BLOCK {
            columns[i + j] = low(columns[i + j], multiple, n[j]);
        }
        for j in 0..BLOCK {
            columns[i + j + 1] = high(columns[i + j + 1], multiple, n[j]);
        }
        multiples[i] = multiple;
    }
    multiples
}

/// Divides a product by R modulo n.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce(product: &Product, moduli: &Moduli) -> Number {
    let n = &moduli.n;
    let mut multiples = [[zero(); BLOCK]; BLOCKS];
    let mut out = multiples;
    let mut columns = [zero(); 2 * BLOCK];
    let mut carried = zero();
    for k in 0..2 * BLOCKS {
        for i in 0..BLOCK {
            columns[i] = add(columns[i], product[k][i]);
        }
        for i in k.saturating_sub(BLOCKS - 1)..BLOCKS.min(k) {
            add_product(&mut columns, &multiples[i], &n[k - i]);
        }
        if k < BLOCKS {
            multiples[k] = cancel(&mut columns, &n[0], moduli.inverse);
            shift_out(&mut columns);
        } else {
            let mut block = shift_out(&mut columns);
            for limb in &mut block {
                *limb = add(*limb, carried);
                carried = carry(*limb);
            }
            out[k - BLOCKS] = block;
        }
    }
    out
}

/// Returns `a * b / R` modulo n, below 2n; see the invariants.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn multiply(a: &Number, b: &Number, moduli: &Moduli) -> Number {
    let mut columns = [[zero(); BLOCK]; 2 * BLOCKS];
    product(a, b, &mut columns);
    reduce(&columns, moduli)
}

/// Returns `a * a / R` modulo n, below 2n; see the invariants.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square(a: &Number, moduli: &Moduli) -> Number {
    let mut columns = [[zero(); BLOCK]; 2 * BLOCKS];
    square_columns(a, &mut columns);
    reduce(&columns, moduli)
}
