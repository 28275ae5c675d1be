//! Asking for memory before it is read, so that the latencies of several reads overlap.

/// Tells the CPU that `items[index]` will be read soon; does nothing if there is no such item, or
/// where the instruction is unknown.
#[inline(always)]
#[allow(clippy::inline_always, reason = "one instruction, between vector instructions")]
pub(crate) fn prefetch<T>(items: &[T], index: usize) {
    if let Some(item) = items.get(index) {
        fetch(std::ptr::from_ref(item).cast());
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "an intrinsic")]
#[allow(clippy::inline_always, reason = "one instruction, between vector instructions")]
fn fetch(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: it reads nothing and never faults, and every x86-64 CPU has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
#[allow(unsafe_code, reason = "an instruction without an intrinsic")]
#[allow(clippy::inline_always, reason = "one instruction, between vector instructions")]
fn fetch(address: *const i8) {
    // SAFETY: it reads nothing, never faults, and every CPU of this kind has it.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fetch(_address: *const i8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_index_may_be_asked_for_and_nothing_changes() {
        let items = [1_u64, 2, 3];
        for index in [0, 2, 3, usize::MAX] {
            prefetch(&items, index);
        }
        prefetch::<u64>(&[], 0);
        assert_eq!(items, [1, 2, 3]);
    }
}
