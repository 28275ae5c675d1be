//! What the engine takes for what roles ask of it, on streams of its own.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use dsc_lib::{
    cluster::{AppendError, BlockLog, Cluster, Position},
    hash::Digest,
};
use serde::Serialize;
use serde_json::Value;

use super::{Names, Settings, connect_with};
use crate::{entropy::OsEntropy, exit::Failure};

const SMALL: usize = 600;
const LARGE: usize = 8 << 20;
const BATCH: usize = 256 << 10;
const SMALL_COUNT: usize = 200;
const LARGE_COUNT: usize = 12;
const BATCH_COUNT: u64 = 200;
const THREADS: usize = 8;

/// Times of one kind of request, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: usize| {
            let index = times.len().saturating_sub(1).saturating_mul(part) / 100;
            times.get(index).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Self { p50: at(50), p99: at(99) }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    /// A write of 600 bytes and its sync on a disk of this machine, in microseconds.
    pub(crate) sync: Times,
    /// An entry of 600 bytes appended, in microseconds.
    pub(crate) small: Times,
    /// An entry of 8 MiB appended, in microseconds.
    pub(crate) large: Times,
    /// Batches of 256 KiB that 8 threads append in a second.
    pub(crate) batches: f64,
    /// MiB a second at which they are read.
    pub(crate) read: f64,
}

/// Measures the engine, and a disk of this machine in `folder`.
pub(crate) fn measure(settings: &Settings, folder: &Path) -> Result<Measured, Failure> {
    let sync = syncs(folder).map_err(|error| Failure::file("write in", folder, &error))?;
    let names = Names::from(Digest(OsEntropy.bytes()));
    let (link, cluster) = connect_with(settings, &names)?;
    let measured = figures(&cluster, sync).map_err(|error| {
        Failure::unreachable("engine-unavailable", format_args!("it was not measured: {error}"))
            .with_hint("`dsc engine check` says which nodes answer; see their logs")
    });
    for name in names.all_streams() {
        let subject = format!("$JS.API.STREAM.DELETE.{name}");
        if let Err(error) = link.wait_for(link.ask(&subject, &Value::Null)) {
            tracing::warn!(name, %error, "a stream that was measured is left behind");
        }
    }
    measured
}

fn figures(cluster: &Cluster, sync: Times) -> Result<Measured, AppendError> {
    let blocks = &*cluster.blocks;
    let small = appends(blocks, 0, &noise(SMALL), SMALL_COUNT)?;
    let large = appends(blocks, SMALL_COUNT, &noise(LARGE), LARGE_COUNT)?;
    let begun = Instant::now();
    batches(cluster)?;
    let batches = rate(BATCH_COUNT, begun.elapsed());
    let begun = Instant::now();
    let read = read_all(cluster);
    let read = rate(read, begun.elapsed()) / f64::from(1_u32 << 20);
    Ok(Measured { sync, small, large, batches, read })
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn syncs(folder: &Path) -> io::Result<Times> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let bytes = noise(SMALL);
    let mut times = Vec::new();
    for _ in 0..SMALL_COUNT {
        let begun = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(Times::of(times))
}

fn appends(
    log: &dyn BlockLog,
    after: usize,
    bytes: &[u8],
    count: usize,
) -> Result<Times, AppendError> {
    let mut last = Position(after as u64);
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        last = log.append(last, &Digest::ZERO, bytes)?;
        times.push(begun.elapsed());
    }
    Ok(Times::of(times))
}

fn batches(cluster: &Cluster) -> Result<(), AppendError> {
    let next = AtomicU64::new(0);
    let bytes = noise(BATCH);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= BATCH_COUNT {
                return Ok(());
            }
            let id = Digest(*blake3::hash(&number.to_le_bytes()).as_bytes());
            cluster.transactions.append(&id, &bytes)?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| {
            let panicked = || AppendError::Unknown { reason: "a thread panicked".into() };
            thread.join().unwrap_or_else(|_| Err(panicked()))
        });
        ended.collect::<Result<(), _>>()
    })
}

/// Reads what there is, and says how many bytes it has.
fn read_all(cluster: &Cluster) -> u64 {
    let (mut after, mut bytes) = (Position::START, 0_u64);
    while let Ok(entries) = cluster.transactions.read(after, LARGE) {
        let Some(last) = entries.last() else { break };
        after = last.position;
        bytes =
            entries.iter().fold(bytes, |sum, entry| sum.saturating_add(entry.bytes.len() as u64));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_ranks() {
        let times = Times::of((1..=100).rev().map(Duration::from_micros).collect());
        assert_eq!((times.p50, times.p99), (50, 99));
        let none = Times::of(Vec::new());
        assert_eq!((none.p50, none.p99), (0, 0));
    }
}
