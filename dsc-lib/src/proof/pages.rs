//! Large arrays on huge pages, where the system grants them.
//!
//! With pages of 4 KiB nearly every random access to a large table also misses the address
//! translation cache, and filling it costs a fault each 4 KiB.
//!
//! # Invariants
//!
//! 1. The memory is zero when it is handed out, and touched (so taken) only where it is written.
//! 2. Huge pages are a wish: where the system refuses, ordinary pages hold the same bytes.
//!
//! Checked by the tests below.

use bytemuck::Pod;
use memmap2::MmapMut;

use super::BuildError;

/// Memory of its own pages, all zero at first.
#[derive(Debug)]
pub(super) struct Pages(MmapMut);

impl Pages {
    /// Asks for `bytes`, zeroed.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfMemory`] if the system does not have them.
    pub(super) fn zeroed(bytes: usize) -> Result<Self, BuildError> {
        let memory = MmapMut::map_anon(bytes);
        let memory = memory.map_err(|_| BuildError::OutOfMemory { bytes: bytes as u64 })?;
        #[cfg(target_os = "linux")]
        let _: Result<(), _> = memory.advise(memmap2::Advice::HugePage); // refused: ordinary pages
        Ok(Self(memory))
    }

    /// Asks for `count` items of zero bytes.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfMemory`] if the system does not have them.
    pub(super) fn zeroed_items<T: Pod>(count: usize) -> Result<Self, BuildError> {
        Self::zeroed(count.saturating_mul(size_of::<T>()))
    }

    /// As many items as the bytes hold.
    ///
    /// # Panics
    ///
    /// If items are aligned to more than a page.
    pub(super) fn as_slice<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self.0.get(..whole::<T>(self.0.len())).unwrap_or_default())
    }

    /// As many items as the bytes hold, to write to.
    ///
    /// # Panics
    ///
    /// If items are aligned to more than a page.
    pub(super) fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let bytes = whole::<T>(self.0.len());
        bytemuck::cast_slice_mut(self.0.get_mut(..bytes).unwrap_or_default())
    }
}

/// The bytes of the whole items that `bytes` hold.
const fn whole<T>(bytes: usize) -> usize {
    match bytes.checked_rem(size_of::<T>()) {
        Some(rest) => bytes.saturating_sub(rest),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_as_zeros_and_keep_what_is_written() {
        let mut pages = Pages::zeroed(5 << 20).unwrap();
        assert!(pages.as_slice::<u8>().iter().all(|&byte| byte == 0));
        let words = pages.as_mut_slice::<u64>();
        assert_eq!(words.len(), 5 << 17);
        for (index, word) in words.iter_mut().enumerate() {
            *word = index as u64;
        }
        assert!(pages.as_slice::<u64>().iter().copied().eq(0..5 << 17));
    }

    #[test]
    fn items_that_do_not_fill_the_bytes_leave_a_rest() {
        let mut pages = Pages::zeroed(19).unwrap();
        assert_eq!(pages.as_slice::<u64>().len(), 2);
        assert_eq!(pages.as_mut_slice::<[u64; 4]>().len(), 0);
        assert_eq!(Pages::zeroed_items::<u32>(5).unwrap().as_slice::<u32>(), [0; 5]);
    }

    #[test]
    fn nothing_is_a_size_too() {
        let mut pages = Pages::zeroed(0).unwrap();
        assert_eq!(pages.as_slice::<u64>(), [0; 0]);
        assert_eq!(pages.as_mut_slice::<u64>(), [0; 0]);
        assert_eq!(pages.as_slice::<()>(), [(); 0]);
    }

    #[test]
    fn memory_that_the_system_does_not_have_is_an_error() {
        let found = Pages::zeroed_items::<u64>(usize::MAX).unwrap_err();
        assert_eq!(found, BuildError::OutOfMemory { bytes: u64::MAX });
        let found = Pages::zeroed(usize::MAX >> 1).unwrap_err();
        assert!(found.to_string().starts_with("the system has no "), "{found}");
    }
}
