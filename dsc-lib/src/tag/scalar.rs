//! One lane in ordinary registers: single values, and CPUs without a vector path.
#![allow(clippy::inline_always, reason = "part of the kernel's inner loop")]

use super::kernel::Lanes;

impl Lanes<1> for u32 {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        word
    }
    #[inline(always)]
    fn steps() -> Self {
        0
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self ^ other
    }
    #[inline(always)]
    fn rotate16(self) -> Self {
        self.rotate_right(16)
    }
    #[inline(always)]
    fn rotate12(self) -> Self {
        self.rotate_right(12)
    }
    #[inline(always)]
    fn rotate8(self) -> Self {
        self.rotate_right(8)
    }
    #[inline(always)]
    fn rotate7(self) -> Self {
        self.rotate_right(7)
    }
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    fn split(inputs: &[u64; 1]) -> (Self, Self) {
        (inputs[0] as Self, (inputs[0] >> 32) as Self)
    }
    #[inline(always)]
    fn join(low: Self, high: Self, out: &mut [u64; 1]) {
        *out = [u64::from(low) | u64::from(high) << 32];
    }
    #[inline(always)]
    fn any_at_most(self, bound: Self) -> bool {
        self <= bound
    }
}
