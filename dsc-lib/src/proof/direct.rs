//! Input and output that leaves the page cache out.
//!
//! A plot writes each byte once and reads it once; through the page cache that costs a copy, a page
//! of memory and, on a slow disk, a stall when the cache is written back.

use std::fs::File;

/// Asks the file system for direct input and output; tells whether it agreed.
///
/// Offsets, lengths and addresses then have to be multiples of 4096.
#[cfg(target_os = "linux")]
pub(crate) fn enable(file: &File) -> bool {
    set(file, true)
}

/// Goes back to the page cache, for what is not aligned or refused after all.
#[cfg(target_os = "linux")]
pub(crate) fn disable(file: &File) -> bool {
    set(file, false)
}

#[cfg(target_os = "linux")]
fn set(file: &File, direct: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let change = |mut flags: OFlags| {
        flags.set(OFlags::DIRECT, direct);
        fcntl_setfl(file, flags)
    };
    fcntl_getfl(file).and_then(change).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn enable(_file: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn disable(_file: &File) -> bool {
    true
}
