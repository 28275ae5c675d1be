//! Checking and repairing a vault: seconds and peak of RAM for each, and entries a second.
//!
//! `cargo bench --package dsc-benches --bench upkeep` plots a vault in the folder for temporary
//! files (`TMPDIR`); `DSC_BENCH_K` says of which size, 24 if it does not. Without `--bench` it runs
//! once with the least, as a test.

use std::{
    error::Error,
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::Instant,
};

use dsc_lib::proof::{
    Fingerprint, Miner, NoProgress, Resources,
    space::{Depth, PAGE_LEN, Upkeep, VaultId, check, plot, repair},
};

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let asked = std::env::var("DSC_BENCH_K").ok().map_or(Ok(24), |k| k.parse())?;
    let (k, folder) = (if is_bench { asked } else { 16 }, tempfile::tempdir()?);
    let miner = Miner { address: dsc_benches::stranger(1), fingerprint: Fingerprint([7; 16]) };
    let id = VaultId::new(miner, k, 0).ok_or("no such size")?;
    let path = timed(k, "plot", || plot(&id, &Resources::new(folder.path()), &NoProgress))?;
    let with = |ram_bytes_max| Upkeep { ram_bytes_max, ..Upkeep::default() };
    let all = with(u64::MAX);
    timed(k, "check", || check(&path, Depth::Sample, &all, &NoProgress))?;
    // The least first: the allocator keeps what it was given once.
    for (name, ram_bytes_max) in [("512MiB", 512 * MIB), ("1GiB", 1024 * MIB), ("all", u64::MAX)] {
        let upkeep = with(ram_bytes_max);
        let full = || check(&path, Depth::Full, &upkeep, &NoProgress);
        assert!(timed(k, &format!("check --full/memory={name}"), full)?.faults.is_empty());
    }
    let pages = [1, id.buckets() / 2, id.buckets()];
    damage(&path, &pages)?;
    let repaired = timed(k, "repair/pages=3", || repair(&path, &all, &NoProgress))?;
    assert_eq!(repaired.pages, pages);
    Ok(())
}

fn timed<T>(k: u8, name: &str, task: impl FnOnce() -> T) -> T {
    // Starts the peak anew; where that is not possible, the peak is that of all tasks so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    let done = task();
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak_mib().map_or_else(String::new, |mib| format!(", peak {mib} MiB"));
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = (1_u64 << k) as f64 / seconds / 1e6;
    println!("space::{name}/k={k}: {seconds:.2} s, {rate:.1} million entries a second{peak}");
    done
}

/// Most RAM that this process has held, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}

fn damage(path: &Path, pages: &[u64]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    for page in pages {
        file.seek(SeekFrom::Start(page * PAGE_LEN as u64 + 100))?;
        file.write_all(b"damage")?;
    }
    Ok(())
}
