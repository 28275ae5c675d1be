//! Eight lanes with AVX2.
#![allow(clippy::inline_always, reason = "the kernel inlines these into its entry points")]
#![allow(clippy::cast_ptr_alignment, reason = "loads and stores are the unaligned ones")]

use std::arch::asm;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi32,
    _mm256_loadu_si256, _mm256_min_epu32, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi32,
    _mm256_setr_epi32, _mm256_shuffle_ps, _mm256_slli_epi32, _mm256_srli_epi32,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpacklo_epi32, _mm256_xor_si256,
};
use std::mem::transmute;

use super::{
    Aside,
    kernel::{KeySchedule, Lanes},
    pair,
};

/// See [`pair::fill_range`].
#[target_feature(enable = "avx2")]
pub(super) fn fill_range(key: &KeySchedule, first: u64, out: &mut [u64]) {
    pair::fill_range::<Vector, 8, 16>(key, first, out);
}

/// See [`pair::fill_slice`].
#[target_feature(enable = "avx2")]
pub(super) fn fill_slice(
    key: &KeySchedule,
    inputs: &[u64],
    out: &mut [u64],
    aside: &mut impl Aside,
) {
    pair::fill_slice::<Vector, 8, 16>(key, inputs, out, aside);
}

/// See [`pair::min_in_range`].
#[target_feature(enable = "avx2")]
pub(super) fn min_in_range(key: &KeySchedule, first: u64, count: u64) -> (u64, u64) {
    pair::min_in_range::<Vector, 8, 16>(key, first, count)
}

/// Eight lanes.
///
/// Only the entry points below make values of this type, and only a CPU that has AVX2 runs them:
/// that is what the calls of intrinsics in its methods rely on.
#[derive(Clone, Copy)]
struct Vector(__m256i);

/// The operand of `vpshufb` that rotates each lane right by 16 bits.
static ROTATE16: __m256i = repeat(0x0d0c_0f0e_0908_0b0a_0504_0706_0100_0302);
/// The operand of `vpshufb` that rotates each lane right by 8 bits.
static ROTATE8: __m256i = repeat(0x0c0f_0e0d_080b_0a09_0407_0605_0003_0201);

/// Repeats a half in both halves of a vector.
const fn repeat(half: u128) -> __m256i {
    // SAFETY: both types are 32 bytes, and any bits are a vector.
    unsafe { transmute([half; 2]) }
}

/// Defines a rotation as one `vpshufb`.
///
/// Of the intrinsic, whose operand it knows, the compiler would make two instructions.
macro_rules! shuffle {
    ($name:ident, $mask:ident) => {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn $name(value: __m256i) -> __m256i {
            let out;
            // SAFETY: it reads 32 bytes of a static and touches no register but `out`.
            unsafe {
                asm!(
                    "vpshufb {out}, {value}, ymmword ptr [rip + {mask}]",
                    out = lateout(ymm_reg) out,
                    value = in(ymm_reg) value,
                    mask = sym $mask,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            out
        }
    };
}

shuffle!(rotate16, ROTATE16);
shuffle!(rotate8, ROTATE8);

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
        Self(unsafe { rotate16(self.0) })
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
        Self(unsafe { rotate8(self.0) })
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
            _mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_min_epu32(self.0, bound.0), self.0)) != 0
        }
    }
    #[inline(always)]
    fn pin(self) -> Self {
        // SAFETY: the CPU has AVX2, see the type.
        Self(unsafe { pin(self.0) })
    }
}

/// See [`Lanes::pin`].
#[target_feature(enable = "avx2")]
#[inline]
fn pin(mut value: __m256i) -> __m256i {
    // SAFETY: it is no instruction.
    unsafe {
        asm!("/* {value} */", value = inout(ymm_reg) value, options(nostack, preserves_flags));
    };
    value
}
