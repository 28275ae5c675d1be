//! How much RAM the machine has to give.

use std::fs;

/// Bytes of RAM that could be had now, if the system says.
pub(crate) fn available_bytes() -> Option<u64> {
    kib_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

/// Bytes of RAM in the machine, if the system says.
pub(crate) fn total_bytes() -> Option<u64> {
    kib_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

/// What to take at most when nobody says: three quarters of what is free, so that the rest of the
/// machine goes on. Without limit if the system does not say what is free.
pub(crate) fn allowance() -> u64 {
    available_bytes().map_or(u64::MAX, |bytes| bytes / 4 * 3)
}

/// A line of `/proc/meminfo`, in bytes.
fn kib_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let meminfo = "MemTotal:       24684112 kB\nMemAvailable: 1 kB\nMemAvailableX: 2 kB\n";
        assert_eq!(kib_of(meminfo, "MemTotal"), Some(24_684_112 << 10));
        assert_eq!(kib_of(meminfo, "MemAvailable"), Some(1024));
        assert_eq!(kib_of(meminfo, "MemFree"), None);
        assert_eq!(kib_of("MemFree: x kB", "MemFree"), None);
    }
}
