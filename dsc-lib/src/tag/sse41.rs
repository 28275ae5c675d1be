//! Four lanes with SSE4.1.
#![allow(clippy::inline_always, reason = "the kernel inlines these into its entry points")]
#![allow(clippy::cast_ptr_alignment, reason = "loads and stores are the unaligned ones")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_loadu_si128,
    _mm_min_epu32, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi32, _mm_setr_epi8, _mm_setr_epi32,
    _mm_shuffle_epi8, _mm_shuffle_ps, _mm_slli_epi32, _mm_srli_epi32, _mm_storeu_si128,
    _mm_unpackhi_epi32, _mm_unpacklo_epi32, _mm_xor_si128,
};

use super::{
    Aside,
    kernel::{KeySchedule, Lanes},
    pair,
};

/// See [`pair::fill_range`].
#[target_feature(enable = "sse4.1")]
pub(super) fn fill_range(key: &KeySchedule, first: u64, out: &mut [u64]) {
    pair::fill_range::<Vector, 4, 8>(key, first, out);
}

/// See [`pair::fill_slice`].
#[target_feature(enable = "sse4.1")]
pub(super) fn fill_slice(
    key: &KeySchedule,
    inputs: &[u64],
    out: &mut [u64],
    aside: &mut impl Aside,
) {
    pair::fill_slice::<Vector, 4, 8>(key, inputs, out, aside);
}

/// See [`pair::min_in_range`].
#[target_feature(enable = "sse4.1")]
pub(super) fn min_in_range(key: &KeySchedule, first: u64, count: u64) -> (u64, u64) {
    pair::min_in_range::<Vector, 4, 8>(key, first, count)
}

/// Four lanes.
///
/// Only the entry points below make values of this type, and only a CPU that has SSE4.1 runs them:
/// that is what the calls of intrinsics in its methods rely on.
#[derive(Clone, Copy)]
struct Vector(__m128i);

impl Lanes<4> for Vector {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_set1_epi32(word.cast_signed()) })
    }
    #[inline(always)]
    fn steps() -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_setr_epi32(0, 1, 2, 3) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate16(self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe {
            _mm_shuffle_epi8(
                self.0,
                _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13),
            )
        })
    }
    #[inline(always)]
    fn rotate12(self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_or_si128(_mm_srli_epi32::<12>(self.0), _mm_slli_epi32::<20>(self.0)) })
    }
    #[inline(always)]
    fn rotate8(self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe {
            _mm_shuffle_epi8(
                self.0,
                _mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12),
            )
        })
    }
    #[inline(always)]
    fn rotate7(self) -> Self {
        // SAFETY: the CPU has SSE4.1, see the type.
        Self(unsafe { _mm_or_si128(_mm_srli_epi32::<7>(self.0), _mm_slli_epi32::<25>(self.0)) })
    }
    #[inline(always)]
    fn split(inputs: &[u64; 4]) -> (Self, Self) {
        let source = inputs.as_ptr().cast::<__m128i>();
        // SAFETY: the CPU has SSE4.1, see the type; 32 bytes are readable, at any alignment.
        unsafe {
            let first = _mm_castsi128_ps(_mm_loadu_si128(source));
            let second = _mm_castsi128_ps(_mm_loadu_si128(source.add(1)));
            let low = _mm_shuffle_ps::<0x88>(first, second);
            let high = _mm_shuffle_ps::<0xdd>(first, second);
            (Self(_mm_castps_si128(low)), Self(_mm_castps_si128(high)))
        }
    }
    #[inline(always)]
    fn join(low: Self, high: Self, out: &mut [u64; 4]) {
        let target = out.as_mut_ptr().cast::<__m128i>();
        // SAFETY: the CPU has SSE4.1, see the type; 32 bytes are writable, at any alignment.
        unsafe {
            _mm_storeu_si128(target, _mm_unpacklo_epi32(low.0, high.0));
            _mm_storeu_si128(target.add(1), _mm_unpackhi_epi32(low.0, high.0));
        }
    }
    #[inline(always)]
    fn any_at_most(self, bound: Self) -> bool {
        // SAFETY: the CPU has SSE4.1, see the type.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi32(_mm_min_epu32(self.0, bound.0), self.0)) != 0 }
    }
}
