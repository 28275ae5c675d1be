//! The machine that a benchmark ran on, as far as the system tells.
//!
//! # Invariants
//!
//! 1. What cannot be known is absent, never guessed.
//! 2. No name of a host or user is kept.

use std::{fs, path::Path, thread};

use serde::Serialize;
use serde_json::Value;

use super::table::bytes_text;
use crate::memory;

/// A machine, and how it was set up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// Model of the processor.
    cpu: Option<String>,
    /// Threads that run at once.
    cores: usize,
    arch: &'static str,
    os: &'static str,
    kernel: Option<String>,
    ram_bytes: Option<u64>,
    /// Of the folder that files went to.
    file_system: Option<String>,
    /// The setting of transparent huge pages.
    huge_pages: Option<String>,
    /// Load average of the minute before the run: above zero, something else was running.
    load: Option<f64>,
}

impl Machine {
    /// Describes this machine; `folder` is where files go.
    pub(crate) fn here(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        Self {
            cpu: read("/proc/cpuinfo").and_then(|text| cpu_of(&text)),
            cores: cores(),
            arch: std::env::consts::ARCH,
            os: std::env::consts::OS,
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            ram_bytes: memory::total_bytes(),
            file_system: read("/proc/self/mountinfo").and_then(|text| file_system(&text, folder)),
            huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            load: read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }
}

/// Threads that run at once; one if the system does not say.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The maker of the processor, as it calls itself.
pub(crate) fn vendor() -> Option<String> {
    field(&fs::read_to_string("/proc/cpuinfo").ok()?, "vendor_id").map(str::to_owned)
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?.trim_start();
    Some(value.strip_prefix(':')?.trim())
}

fn cpu_of(cpuinfo: &str) -> Option<String> {
    let name = field(cpuinfo, "model name").or_else(|| field(cpuinfo, "CPU part"))?;
    Some(name.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The word in brackets of `always [madvise] never`.
fn chosen(setting: &str) -> Option<String> {
    let (_, rest) = setting.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// The type of the file system that `folder` is on: of the mounts above it the last and deepest.
fn file_system(mountinfo: &str, folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let place = left.split(' ').nth(4)?;
        folder.starts_with(place).then(|| (place.len(), right.split(' ').next()))
    });
    mounts.max_by_key(|(depth, _)| *depth)?.1.map(str::to_owned)
}

/// What has to be alike for two results to be of one machine.
const IDENTITY: [&str; 4] = ["cpu", "cores", "arch", "os"];

/// How two machines in results differ, one entry for each property; none if they are the same.
pub(crate) fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut found: Vec<_> = IDENTITY
        .into_iter()
        .filter(|name| old[name] != new[name])
        .map(|name| format!("{name} is {}, was {}", plain(&new[name]), plain(&old[name])))
        .collect();
    let gib = |machine: &Value| machine["ram_bytes"].as_u64().map(|bytes| bytes.div_ceil(1 << 30));
    if gib(old) != gib(new) {
        let text = |machine: &Value| {
            gib(machine).map_or_else(|| "unknown".to_owned(), |gib| gib.to_string())
        };
        found.push(format!("GiB of RAM are {}, were {}", text(new), text(old)));
    }
    found
}

/// A value without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One line about the machine of a result.
pub(crate) fn line(machine: &Value) -> String {
    let text = |name: &str| Some(machine[name].as_str()?.to_owned());
    let parts = [
        text("cpu"),
        machine["cores"].as_u64().map(|cores| format!("{cores} cores")),
        machine["ram_bytes"].as_f64().map(|bytes| format!("{} RAM", bytes_text(bytes))),
        text("os").zip(text("kernel")).map(|(os, kernel)| format!("{os} {kernel}")),
        text("file_system"),
        text("huge_pages").map(|setting| format!("huge pages: {setting}")),
        machine["load"].as_f64().map(|load| format!("load before {load:.2}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some  Processor (R)\n";
        assert_eq!(cpu_of(cpuinfo).as_deref(), Some("Some Processor (R)"));
        assert_eq!(cpu_of("flags: none"), None);
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("none"), None);
    }

    #[test]
    fn the_deepest_mount_above_a_folder_is_its_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let (outer, inner) = (place.parent().unwrap().display(), place.display());
        let mounts = format!(
            "1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {inner} rw shared:1 - xfs /dev/b rw\n\
             3 1 0:3 / {outer} rw - tmpfs none rw\n4 1 0:4 / /elsewhere rw - zfs none rw\n"
        );
        assert_eq!(file_system(&mounts, folder.path()).as_deref(), Some("xfs"));
        assert_eq!(file_system(&mounts, Path::new("/")).as_deref(), Some("ext4"));
        assert_eq!(file_system("", folder.path()), None);
    }

    #[test]
    fn this_machine_has_cores_and_is_itself() {
        let here = serde_json::to_value(Machine::here(Path::new("."))).unwrap();
        assert!(here["cores"].as_u64().unwrap() > 0);
        assert_eq!(differences(&here, &here), Vec::<String>::new());
        assert!(line(&here).contains("cores"));
    }

    #[test]
    fn another_machine_is_told_by_what_differs() {
        let old = json!({"cpu": "A", "cores": 2, "arch": "x", "os": "y", "ram_bytes": 100 << 20});
        let new = json!({"cores": 4, "arch": "x", "os": "y", "ram_bytes": 3_u64 << 30});
        let expected = ["cpu is unknown, was A", "cores is 4, was 2", "GiB of RAM are 3, were 1"];
        assert_eq!(differences(&old, &new), expected);
        let kernel = json!({"cpu": "A", "cores": 2, "arch": "x", "os": "y",
            "ram_bytes": 101 << 20, "kernel": "9"});
        assert_eq!(differences(&old, &kernel), Vec::<String>::new());
    }
}
