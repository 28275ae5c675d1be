//! Montgomery arithmetic modulo eight numbers at once.
//!
//! A number is 40 limbs of 52 bits; limb `i` of eight numbers is one vector. Instructions multiply the
//! low 52 bits of limbs, so what a limb holds above them is ignored where it is a factor. Products are
//! summed by column without carrying: a column takes fewer than 2^8 halves of products, each below
//! 2^52, and a carry, so it fits 64 bits.
//!
//! Loops go by blocks of 10 limbs of one factor and 5 of the other: their 15 columns, the 10 limbs and one
//! of the 5 stay in the 32 registers. A column takes two sums of four cycles for each of the 5 limbs, 40
//! cycles, while the 100 instructions of the block take 50 on two ports: in blocks of 8 by 8 both are 64,
//! so that every hitch is lost time.
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
/// Limbs of one factor in a step.
const WIDE: usize = 10;
/// Limbs of the other one, and columns by which steps advance.
const NARROW: usize = 5;

/// One limb of each number.
pub(super) type Limb = __m512i;
/// Eight numbers.
pub(super) type Number = [Limb; LIMBS];
/// The columns of a product.
pub(super) type Product = [Limb; 2 * LIMBS];
/// The columns that the product of a wide and a narrow block spans.
type Columns = [Limb; WIDE + NARROW];
type Wide = [Limb; WIDE];
type Narrow = [Limb; NARROW];

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
fn add_product(columns: &mut Columns, a: &Wide, b: &Narrow) {
    for j in 0..NARROW {
        for i in 0..WIDE {
            columns[i + j] = low(columns[i + j], a[i], b[j]);
        }
        for i in 0..WIDE {
            columns[i + j + 1] = high(columns[i + j + 1], a[i], b[j]);
        }
    }
}

/// Adds the products of limbs `j` and `i` of a block, i > j, for `j` in the lower or the upper half.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add_triangle<const FIRST: usize>(columns: &mut Columns, a: &Wide) {
    for j in FIRST..FIRST + NARROW {
        for i in j + 1..WIDE {
            columns[i + j - FIRST] = low(columns[i + j - FIRST], a[i], a[j]);
        }
        for i in j + 1..WIDE {
            columns[i + j + 1 - FIRST] = high(columns[i + j + 1 - FIRST], a[i], a[j]);
        }
    }
}

/// Takes the lowest columns off, moves the others down and `next` in above them.
#[target_feature(enable = "avx512f")]
#[inline]
fn advance(columns: &mut Columns, next: &Narrow) -> Narrow {
    let (old, new) = (*columns, next);
    // Spelt out: the compiler would copy a loop, or a slice, through memory.
    *columns = [
        old[5], old[6], old[7], old[8], old[9], old[10], old[11], old[12], old[13], old[14],
        new[0], new[1], new[2], new[3], new[4],
    ];
    [old[0], old[1], old[2], old[3], old[4]]
}

fn wide(a: &[Limb], i: usize) -> &Wide {
    &a.as_chunks().0[i]
}

fn narrow(a: &[Limb], i: usize) -> &Narrow {
    &a.as_chunks().0[i]
}

fn narrow_mut(a: &mut [Limb], i: usize) -> &mut Narrow {
    &mut a.as_chunks_mut().0[i]
}

/// The columns of a product.
#[target_feature(enable = "avx512f,avx512ifma")]
fn product(a: &Number, b: &Number, out: &mut Product) {
    let mut columns = [zero(); WIDE + NARROW];
    for (k, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
        for i in 0..LIMBS / WIDE {
            if (2 * i..2 * i + LIMBS / NARROW).contains(&k) {
                add_product(&mut columns, wide(a, i), narrow(b, k - 2 * i));
            }
        }
        *out = advance(&mut columns, &[zero(); NARROW]);
    }
}

/// The columns of a square: products of different limbs once, doubled, and the squares.
#[target_feature(enable = "avx512f,avx512ifma")]
fn square_columns(a: &Number, out: &mut Product) {
    let mut columns = [zero(); WIDE + NARROW];
    for (k, out) in out.as_chunks_mut::<NARROW>().0.iter_mut().enumerate() {
        for i in 0..LIMBS / WIDE {
            if (4 * i + 2..2 * i + LIMBS / NARROW).contains(&k) {
                add_product(&mut columns, wide(a, i), narrow(a, k - 2 * i));
            }
        }
        match k % 4 {
            0 => add_triangle::<0>(&mut columns, wide(a, k / 4)),
            1 => add_triangle::<NARROW>(&mut columns, wide(a, k / 4)),
            _ => {}
        }
        *out = advance(&mut columns, &[zero(); NARROW]);
    }
    for (i, root) in a.iter().enumerate() {
        out[2 * i] = low(add(out[2 * i], out[2 * i]), *root, *root);
        out[2 * i + 1] = high(add(out[2 * i + 1], out[2 * i + 1]), *root, *root);
    }
}

/// Makes the lowest columns multiples of 2^52 by adding multiples of n, and hands on their carries:
/// returns the multiples.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn cancel(columns: &mut Columns, n: &Wide, inverse: Limb) -> Narrow {
    let round_up = _mm512_set1_epi64((1 << LIMB_BITS) - 1);
    let mut multiples = [zero(); NARROW];
    for i in 0..NARROW {
        let multiple = low(zero(), columns[i], inverse);
        // The low half of multiple * n[0] fills the column up to the next multiple of 2^52.
        let handed_on = carry(add(columns[i], round_up));
        // The next multiple waits for this column only: two sums are ready before one of both.
        let next = low(add(columns[i + 1], handed_on), multiple, n[1]);
        columns[i + 1] = add(next, high(zero(), multiple, n[0]));
        for j in 2..WIDE {
            columns[i + j] = low(columns[i + j], multiple, n[j]);
        }
        for j in 1..WIDE {
            columns[i + j + 1] = high(columns[i + j + 1], multiple, n[j]);
        }
        multiples[i] = multiple;
    }
    multiples
}

/// Divides a product by R modulo n; the multiples of n that it takes are left in the lower half.
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce(product: &mut Product, moduli: &Moduli, out: &mut Number) {
    let n = &moduli.n;
    let mut columns = [zero(); WIDE + NARROW];
    for (column, product) in columns.iter_mut().zip(&*product) {
        *column = *product;
    }
    for k in 0..LIMBS / NARROW {
        for i in 1..LIMBS / WIDE {
            if k >= 2 * i {
                add_product(&mut columns, wide(n, i), narrow(&product[..], k - 2 * i));
            }
        }
        *narrow_mut(product, k) = cancel(&mut columns, wide(n, 0), moduli.inverse);
        advance(&mut columns, narrow(&product[..], k + (WIDE + NARROW) / NARROW));
    }
    let mut carried = zero();
    for k in 0..LIMBS / NARROW {
        for i in 1..LIMBS / WIDE {
            if k < 2 * i {
                let k = k + LIMBS / NARROW;
                add_product(&mut columns, wide(n, i), narrow(&product[..], k - 2 * i));
            }
        }
        let above = k + (LIMBS + WIDE + NARROW) / NARROW;
        let inside = above < 2 * LIMBS / NARROW;
        let next = if inside { *narrow(&product[..], above) } else { [zero(); NARROW] };
        let mut block = advance(&mut columns, &next);
        for limb in &mut block {
            *limb = add(*limb, carried);
            carried = carry(*limb);
        }
        *narrow_mut(out, k) = block;
    }
}

/// Returns `a * b / R` modulo n, below 2n; see the invariants. `columns` is overwritten.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn multiply(a: &Number, b: &Number, moduli: &Moduli, columns: &mut Product) -> Number {
    let mut out = [zero(); LIMBS];
    product(a, b, columns);
    reduce(columns, moduli, &mut out);
    out
}

/// Makes `a` its square over R modulo n, below 2n; see the invariants. `columns` is overwritten.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square(a: &mut Number, moduli: &Moduli, columns: &mut Product) {
    square_columns(a, columns);
    reduce(columns, moduli, a);
}
