//! Sixteen lanes with AVX-512.
#![allow(clippy::inline_always, reason = "the kernel inlines these into its entry points")]
#![allow(clippy::cast_ptr_alignment, reason = "loads and stores are the unaligned ones")]

use std::arch::asm;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmple_epu32_mask,
    _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_shuffle_ps,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpacklo_epi32, _mm512_xor_si512,
};

use super::{
    Aside,
    kernel::{self, KeySchedule, Lanes},
};

/// Sixteen lanes.
///
/// Only the entry points below make values of this type, and only a CPU that has AVX-512F runs them:
/// that is what the calls of intrinsics in its methods rely on.
#[derive(Clone, Copy)]
struct Vector(__m512i);

/// See [`kernel::fill_range`].
#[target_feature(enable = "avx512f")]
pub(super) fn fill_range(key: &KeySchedule, first: u64, out: &mut [u64]) {
    kernel::fill_range::<Vector, 16>(key, first, out);
}

/// See [`kernel::fill_slice`].
#[target_feature(enable = "avx512f")]
pub(super) fn fill_slice(
    key: &KeySchedule,
    inputs: &[u64],
    out: &mut [u64],
    aside: &mut impl Aside,
) {
    kernel::fill_slice::<Vector, 16>(key, inputs, out, aside);
}

/// See [`kernel::min_in_range`].
#[target_feature(enable = "avx512f")]
pub(super) fn min_in_range(key: &KeySchedule, first: u64, count: u64) -> (u64, u64) {
    kernel::min_in_range::<Vector, 16>(key, first, count)
}

impl Lanes<16> for Vector {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }
    #[inline(always)]
    fn steps() -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_xor_si512(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate16(self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_ror_epi32::<16>(self.0) })
    }
    #[inline(always)]
    fn rotate12(self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_ror_epi32::<12>(self.0) })
    }
    #[inline(always)]
    fn rotate8(self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_ror_epi32::<8>(self.0) })
    }
    #[inline(always)]
    fn rotate7(self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { _mm512_ror_epi32::<7>(self.0) })
    }
    #[inline(always)]
    fn split(inputs: &[u64; 16]) -> (Self, Self) {
        let source = inputs.as_ptr().cast::<__m512i>();
        // SAFETY: the CPU has AVX-512F, see the type; 128 bytes are readable, at any alignment.
        unsafe {
            let first = _mm512_castsi512_ps(_mm512_loadu_si512(source));
            let second = _mm512_castsi512_ps(_mm512_loadu_si512(source.add(1)));
            let low = _mm512_shuffle_ps::<0x88>(first, second);
            let high = _mm512_shuffle_ps::<0xdd>(first, second);
            (Self(_mm512_castps_si512(low)), Self(_mm512_castps_si512(high)))
        }
    }
    #[inline(always)]
    fn join(low: Self, high: Self, out: &mut [u64; 16]) {
        let target = out.as_mut_ptr().cast::<__m512i>();
        // SAFETY: the CPU has AVX-512F, see the type; 128 bytes are writable, at any alignment.
        unsafe {
            _mm512_storeu_si512(target, _mm512_unpacklo_epi32(low.0, high.0));
            _mm512_storeu_si512(target.add(1), _mm512_unpackhi_epi32(low.0, high.0));
        }
    }
    #[inline(always)]
    fn any_at_most(self, bound: Self) -> bool {
        // SAFETY: the CPU has AVX-512F, see the type.
        unsafe { _mm512_cmple_epu32_mask(self.0, bound.0) != 0 }
    }
    #[inline(always)]
    fn pin(self) -> Self {
        // SAFETY: the CPU has AVX-512F, see the type.
        Self(unsafe { pin(self.0) })
    }
}

/// See [`Lanes::pin`].
#[target_feature(enable = "avx512f")]
#[inline]
fn pin(mut value: __m512i) -> __m512i {
    // SAFETY: it is no instruction.
    unsafe {
        asm!("/* {value} */", value = inout(zmm_reg) value, options(nostack, preserves_flags));
    };
    value
}
