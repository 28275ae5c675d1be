//! The most memory that this process held, for one stretch of the run where the system allows it.
//!
//! Linux keeps a high-water mark of the resident set, and a process may set its own mark back.

use std::fs;

/// What a peak covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What was measured since the last [`reset`].
    Section,
    /// Everything since the process began.
    Run,
}

impl Scope {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Section => "section",
            Self::Run => "run",
        }
    }
}

/// Sets the mark back to what is held now.
pub(crate) fn reset() -> Scope {
    let done = cfg!(target_os = "linux") && fs::write("/proc/self/clear_refs", "5").is_ok();
    if done { Scope::Section } else { Scope::Run }
}

/// The mark in bytes, where the system tells it.
pub(crate) fn bytes() -> Option<u64> {
    high_water(&fs::read_to_string("/proc/self/status").ok()?)
}

pub(super) fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_from_the_status() {
        let status = "VmPeak:\t  900 kB\nVmHWM:\t    12 kB\nVmRSS:\t 8 kB\n";
        assert_eq!(high_water(status), Some(12 * 1024));
        assert_eq!(high_water("VmHWM:\t many kB\n"), None);
        assert_eq!(high_water(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_mark_rises_with_what_is_held() {
        reset();
        let before = bytes().unwrap();
        let held = vec![1_u8; 64 << 20];
        assert!(bytes().unwrap() >= before + (32 << 20), "{}", held.len());
    }
}
