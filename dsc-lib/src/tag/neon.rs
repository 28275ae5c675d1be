//! Four lanes with NEON.
#![allow(clippy::inline_always, reason = "the kernel inlines these into its entry points")]

use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vcleq_u32, vdupq_n_u32, veorq_u32, vld1q_u8, vld1q_u32, vld1q_u64,
    vmaxvq_u32, vqtbl1q_u8, vreinterpretq_u8_u32, vreinterpretq_u16_u32, vreinterpretq_u32_u8,
    vreinterpretq_u32_u16, vreinterpretq_u32_u64, vreinterpretq_u64_u32, vrev32q_u16, vshlq_n_u32,
    vsriq_n_u32, vst1q_u64, vuzp1q_u32, vuzp2q_u32, vzip1q_u32, vzip2q_u32,
};

use super::{
    Aside,
    kernel::{KeySchedule, Lanes},
    pair,
};

/// See [`pair::fill_range`].
#[target_feature(enable = "neon")]
pub(super) fn fill_range(key: &KeySchedule, first: u64, out: &mut [u64]) {
    pair::fill_range::<Vector, 4, 8>(key, first, out);
}

/// See [`pair::fill_slice`].
#[target_feature(enable = "neon")]
pub(super) fn fill_slice(
    key: &KeySchedule,
    inputs: &[u64],
    out: &mut [u64],
    aside: &mut impl Aside,
) {
    pair::fill_slice::<Vector, 4, 8>(key, inputs, out, aside);
}

/// See [`pair::min_in_range`].
#[target_feature(enable = "neon")]
pub(super) fn min_in_range(key: &KeySchedule, first: u64, count: u64) -> (u64, u64) {
    pair::min_in_range::<Vector, 4, 8>(key, first, count)
}

/// Moves each byte of a lane one place down.
const ROTATE8: [u8; 16] = [1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12];

/// Four lanes.
///
/// Only the entry points below make values of this type, and only a CPU that has NEON runs them:
/// that is what the calls of intrinsics in its methods rely on.
#[derive(Clone, Copy)]
struct Vector(uint32x4_t);

impl Lanes<4> for Vector {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vdupq_n_u32(word) })
    }
    #[inline(always)]
    fn steps() -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vld1q_u32([0, 1, 2, 3].as_ptr()) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vaddq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { veorq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate16(self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(self.0))) })
    }
    #[inline(always)]
    fn rotate12(self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vsriq_n_u32::<12>(vshlq_n_u32::<20>(self.0), self.0) })
    }
    #[inline(always)]
    fn rotate8(self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe {
            vreinterpretq_u32_u8(vqtbl1q_u8(
                vreinterpretq_u8_u32(self.0),
                vld1q_u8(ROTATE8.as_ptr()),
            ))
        })
    }
    #[inline(always)]
    fn rotate7(self) -> Self {
        // SAFETY: the CPU has NEON, see the type.
        Self(unsafe { vsriq_n_u32::<7>(vshlq_n_u32::<25>(self.0), self.0) })
    }
    #[inline(always)]
    fn split(inputs: &[u64; 4]) -> (Self, Self) {
        let source = inputs.as_ptr();
        // SAFETY: the CPU has NEON, see the type; 32 bytes are readable, at any alignment.
        unsafe {
            let first = vreinterpretq_u32_u64(vld1q_u64(source));
            let second = vreinterpretq_u32_u64(vld1q_u64(source.add(2)));
            (Self(vuzp1q_u32(first, second)), Self(vuzp2q_u32(first, second)))
        }
    }
    #[inline(always)]
    fn join(low: Self, high: Self, out: &mut [u64; 4]) {
        let target = out.as_mut_ptr();
        // SAFETY: the CPU has NEON, see the type; 32 bytes are writable, at any alignment.
        unsafe {
            vst1q_u64(target, vreinterpretq_u64_u32(vzip1q_u32(low.0, high.0)));
            vst1q_u64(target.add(2), vreinterpretq_u64_u32(vzip2q_u32(low.0, high.0)));
        }
    }
    #[inline(always)]
    fn any_at_most(self, bound: Self) -> bool {
        // SAFETY: the CPU has NEON, see the type.
        unsafe { vmaxvq_u32(vcleq_u32(self.0, bound.0)) != 0 }
    }
}
