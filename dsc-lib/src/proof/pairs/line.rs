//! Cache lines, and writing them past the cache.
//!
//! A list that is read again only after all the others were written has no business in the cache,
//! and a line that is written whole need not be read first: both is what a streaming store is for.
//! `scatter` tests that what is streamed is what is copied.

/// Words in a line.
pub(super) const LINE: usize = 8;

/// Eight words, aligned to 16 bytes so that they can be streamed.
pub(super) type Line = [u128; 4];

/// The words of lines.
pub(super) fn words(lines: &[Line]) -> &[u64] {
    bytemuck::cast_slice(lines)
}

/// The words of lines, to write to.
pub(super) fn words_mut(lines: &mut [Line]) -> &mut [u64] {
    bytemuck::cast_slice_mut(lines)
}

/// Writes a line past the cache; other threads may read it after a [`fence`].
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
#[inline]
pub(super) fn stream(to: &mut Line, from: &Line) {
    use std::arch::x86_64::{__m128i, _mm_load_si128, _mm_stream_si128};

    for (to, from) in to.iter_mut().zip(from) {
        let (to, from): (*mut __m128i, *const __m128i) =
            (std::ptr::from_mut(to).cast(), std::ptr::from_ref(from).cast());
        // SAFETY: every x86-64 has SSE2; both point to 16 bytes that are ours, and a `u128` is
        // aligned to 16.
        unsafe { _mm_stream_si128(to, _mm_load_si128(from)) };
    }
}

/// Makes streamed lines visible to whoever synchronises with this thread.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
pub(super) fn fence() {
    // SAFETY: every x86-64 has it.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn stream(to: &mut Line, from: &Line) {
    *to = *from;
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) const fn fence() {}

const _: () = assert!(align_of::<Line>() >= 8 && size_of::<Line>() == LINE * size_of::<u64>());
#[cfg(target_arch = "x86_64")]
const _: () = assert!(align_of::<u128>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_line_is_a_copied_one() {
        let from: Vec<Line> = (0..64).map(|n: u128| [n, n << 100, !n, n * n]).collect();
        let mut to = vec![[0; 4]; 64];
        for (to, from) in to.iter_mut().zip(&from) {
            stream(to, from);
        }
        fence();
        assert_eq!(to, from);
        assert_eq!(words(&to).len(), 64 * LINE);
        words_mut(&mut to)[8] = 5;
        assert_eq!(words(&to)[8], 5);
    }
}
