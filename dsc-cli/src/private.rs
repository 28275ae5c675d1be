//! Files that only their owner may read: tokens, and keys that are not encrypted.

use std::fs::Metadata;

/// The permission bits of a file that others than its owner may use; elsewhere than on unix nothing
/// is known of them.
#[cfg(unix)]
pub(crate) fn exposed(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
pub(crate) fn exposed(_metadata: &Metadata) -> Option<u32> {
    None
}
