//! Tells the program which commit it was built from, for the results of benchmarks.

use std::{path::Path, process::Command};

/// What a change to makes another program.
const SOURCES: [&str; 5] =
    ["src", "Cargo.toml", "../dsc-lib/src", "../dsc-lib/Cargo.toml", "../Cargo.lock"];

fn main() {
    println!("cargo::rustc-env=DSC_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    println!("cargo::rerun-if-changed=build.rs");
    let git =
        ["HEAD", "logs/HEAD"].iter().filter_map(|name| git(&["rev-parse", "--git-path", name]));
    // A path that does not exist would have this run every time.
    for path in SOURCES.map(str::to_owned).into_iter().chain(git) {
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// The commit, and whether the sources differ from it.
fn commit() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&[&status[..], &SOURCES[..]].concat())?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-changed") })
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
