//! What a process takes of the machine, as the kernel counts it.

use std::fs;

/// Memory, open files (connections among them) and threads of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) rss_bytes: u64,
    pub(crate) files: u64,
    pub(crate) threads: u64,
}

impl Figures {
    /// Those of the process `pid` now, if it runs.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        let rss_bytes = kib_of(&status, "VmRSS:")?;
        Some(Self { rss_bytes, files, threads: threads.trim().parse().ok()? })
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            rss_bytes: self.rss_bytes.max(other.rss_bytes),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }
}

/// The most memory that the process `pid` has held, if it runs.
pub(crate) fn peak_rss_bytes(pid: u32) -> Option<u64> {
    kib_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// Memory of the machine that is free or can be had.
pub(crate) fn available_bytes() -> u64 {
    kib_of(&fs::read_to_string("/proc/meminfo").unwrap(), "MemAvailable:").unwrap()
}

/// A line that the kernel writes in KiB, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}
