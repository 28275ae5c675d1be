//! Eight lanes with AVX2.
#![allow(clippy::inline_always, reason = "the kernel inlines these into its entry points")]
#![allow(clippy::cast_ptr_alignment, reason = "loads and stores are the unaligned ones")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
    _mm256_loadu_si256, _mm256_min_epu32, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi8,
    _mm256_set1_epi32, _mm256_setr_epi32, _mm256_shuffle_epi8, _mm256_shuffle_ps,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32,
    _mm256_unpacklo_epi32, _mm256_xor_si256,
};

use super::kernel::{self, KeySchedule, Lanes};

/// 8 lanes.
///
/// Only the entry points below make values of this type, and only a CPU that has AVX2 runs them:
/// that is what the methods' calls of intrinsics rely on.
#[derive(Clone, Copy)]
struct Vector(__m256i);

/// See [`kernel::fill_range`].
#[target_feature(enable = "avx2")]
pub(super) fn fill_range(key: &KeySchedule, first: u64, out: &mut [u64]) {
    kernel::fill_range::<Vector, 8>(key, first, out);
}

/// See [`kernel::fill_slice`].
#[target_feature(enable = "avx2")]
pub(super) fn fill_slice(key: &KeySchedule, inputs: &[u64], out: &mut [u64]) {
    kernel::fill_slice::<Vector, 8>(key, inputs, out);
}

/// See [`kernel::min_in_range`].
#[target_feature(enable = "avx2")]
pub(super) fn min_in_range(key: &KeySchedule, first: u64, count: u64) -> (u64, u64) {
    kernel::min_in_range::<Vector, 8>(key, first, count)
}

impl Lanes<8> for Vector {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }
    #[inline(always)]
    fn steps() -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe { _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate16(self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe {
            _mm256_shuffle_epi8(
                self.0,
                _mm256_set_epi8(
                    13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9, 8, 11,
                    10, 5, 4, 7, 6, 1, 0, 3, 2,
                ),
            )
        })
    }
    #[inline(always)]
    fn rotate12(self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe {
            _mm256_or_si256(_mm256_srli_epi32::<12>(self.0), _mm256_slli_epi32::<20>(self.0))
        })
    }
    #[inline(always)]
    fn rotate8(self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe {
            _mm256_shuffle_epi8(
                self.0,
                _mm256_set_epi8(
                    12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1, 12, 15, 14, 13, 8, 11,
                    10, 9, 4, 7, 6, 5, 0, 3, 2, 1,
                ),
            )
        })
    }
    #[inline(always)]
    fn rotate7(self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe {
            _mm256_or_si256(_mm256_srli_epi32::<7>(self.0), _mm256_slli_epi32::<25>(self.0))
        })
    }
    #[inline(always)]
    fn split(inputs: &[u64; 8]) -> (Self, Self) {
        let source = inputs.as_ptr().cast::<__m256i>();
        // SAFETY: the CPU has AVX2, see the type; 64 bytes are readable, at any alignment.
        unsafe {
            let first = _mm256_castsi256_ps(_mm256_loadu_si256(source));
            let second = _mm256_castsi256_ps(_mm256_loadu_si256(source.add(1)));
            let low = _mm256_shuffle_ps::<0x88>(first, second);
            let high = _mm256_shuffle_ps::<0xdd>(first, second);
            (Self(_mm256_castps_si256(low)), Self(_mm256_castps_si256(high)))
        }
    }
    #[inline(always)]
    fn join(low: Self, high: Self, out: &mut [u64; 8]) {
        let target = out.as_mut_ptr().cast::<__m256i>();
        // SAFETY: the CPU has AVX2, see the type; 64 bytes are writable, at any alignment.
        unsafe {
            _mm256_storeu_si256(target, _mm256_unpacklo_epi32(low.0, high.0));
            _mm256_storeu_si256(target.add(1), _mm256_unpackhi_epi32(low.0, high.0));
        }
    }
    #[inline(always)]
    fn any_at_most(self, bound: Self) -> bool {
        // SAFETY: the CPU has AVX2, see the type.
        unsafe {
            let least = _mm256_min_epu32(self.0, bound.0);
            _mm256_movemask_epi8(_mm256_cmpeq_epi32(least, self.0)) != 0
        }
    }
}
