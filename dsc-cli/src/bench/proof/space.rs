//! Proof of space: plotting a vault and looking challenges up in it, against one sorted table on
//! disk, and against what hashing, memory and disk allow.

use std::{
    cell::Cell,
    fs::{self, File},
    hint::black_box,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use dsc_lib::{
    proof::{
        Budget, Clock, Entry, LookupMode, ProofEngine, Prover, Resources,
        space::{self, ENTRIES_MAX, Header, Vault, VaultId},
    },
    units::Target,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Bench, MINER, Scale, Spread, challenge, engine,
    memory::{pool, sorted_records},
    scaling, section, size_of_values,
    tag::Tag,
};
use crate::{
    bench::{
        disk::{self, Access, PAGE, PageReader},
        measure::{Contender, Draw, Quiet},
        peak,
        stats::{Samples, float, float_of},
    },
    exit::Failure,
};

/// Bytes that plotting one entry moves through memory, at least: a record scattered and gathered
/// on both levels, and the page written.
const TRAFFIC_PER_ENTRY: f64 = 52.0;
const ENTRY_LEN: f64 = 8.0;
/// Bytes that are copied for each entry to measure memory: as much as plotting spreads over it, so
/// that caches help both alike; and the most in all.
const COPY_PER_ENTRY: u64 = 16;
const COPY_MAX: u64 = 1 << 30;
/// Look-ups of the naive way for each look-up of the engine: it takes longer.
const NAIVE_SHARE: u32 = 8;

/// What is known of vaults.
#[derive(Debug, Serialize)]
struct Space {
    k: u8,
    threads: usize,
    /// Of a vault that is durable.
    entries_per_second: f64,
    /// Hashed, sorted in RAM as one array, written and made durable.
    naive_entries_per_second: f64,
    ratio_naive: f64,
    /// The least of the three that follow.
    limit_entries_per_second: f64,
    hash_limit: f64,
    memory_limit: f64,
    disk_limit: f64,
    limited_by: &'static str,
    /// Entries stored for each that is expected.
    fill: f64,
    /// Entries stored for each that there is room for.
    page_fill: f64,
    dropped: u64,
    /// Cold: the cache holds nothing of the vault.
    lookup_us_min: f64,
    lookup_us_p50: f64,
    lookup_us_p99: f64,
    lookup_warm_us_p50: f64,
    lookup_warm_us_p99: f64,
    /// Past the cache.
    lookup_direct_us_p50: f64,
    lookup_direct_us_p99: f64,
    /// The page in the cache, mapped.
    lookup_mapped_us_p50: f64,
    /// A binary search in the sorted table, cold.
    naive_lookup_us_p50: f64,
    ratio_lookup: f64,
    verify_ns: f64,
    vault_bytes: u64,
    disk_write_bytes_per_second: f64,
    /// One page of the vault, anywhere, past the cache.
    disk_read_us_p50: f64,
    disk_read_us_p99: f64,
    /// Whether the disk was measured past its cache: `direct` or `buffered`.
    disk_access: &'static str,
    peak_rss_bytes: Option<u64>,
    spread: Spread,
    scaling: Vec<Scale>,
}

/// Bytes of disk that are needed: the vault, the sorted table, and what is written to measure.
pub(super) fn disk_bytes(k: u8) -> u64 {
    3 * (size_of_values(k) * 8 + PAGE)
}

/// What the measurements of one vault share.
struct Place<'a, 'b> {
    bench: &'a Bench<'b>,
    id: VaultId,
    engine: Box<dyn ProofEngine>,
}

impl Place<'_, '_> {
    fn path(&self, name: &str) -> PathBuf {
        self.bench.folder.join(name)
    }

    fn vault(&self) -> PathBuf {
        self.path(&self.id.file_name())
    }

    fn naive(&self) -> PathBuf {
        self.path("naive.table")
    }

    /// Whether the naive way, which needs all of its table in RAM, can be gone.
    fn has_naive(&self) -> bool {
        let needed = size_of_values(self.id.k()).saturating_mul(8);
        crate::memory::available_bytes().is_none_or(|available| available > needed)
    }

    fn resources(&self, threads: usize, lookup: LookupMode) -> Resources {
        Resources {
            threads,
            ram_bytes_max: self.bench.ram_bytes_max(),
            size: Some(self.id.k()),
            lookup,
            ..Resources::new(self.bench.folder)
        }
    }

    fn prover(&self, lookup: LookupMode) -> Result<Box<dyn Prover>, Failure> {
        let progress = Quiet(self.bench.pace.progress);
        Ok(self.engine.prepare(&MINER, &self.resources(1, lookup), &progress)?)
    }
}

/// Measures the section.
pub(super) fn measure(bench: &Bench<'_>, entry: &Entry, tag: &Tag) -> Result<Value, Failure> {
    let k = bench.options.k;
    let size = || Failure::usage(format!("--k is {k}, expected 16 to 32"));
    let id = VaultId::new(MINER, k, 0).ok_or_else(size)?;
    let place = Place { bench, id, engine: engine::build(entry, &[("k", k.into())])? };
    let plots = plots(&place)?;
    let header = Vault::read_header(&place.vault())
        .map_err(|error| Failure::corrupt("vault-corrupt", error))?;
    let lookups = lookups(&place)?;
    let mut prover = place.prover(LookupMode::Read)?;
    let proofs = engine::proofs(bench, entry, &mut *prover)?;
    let verify = engine::verify_ns(bench, &*place.engine, &proofs)?;
    section(&figures(&place, &plots, &lookups, &verify, &header, tag))
}

fn figures(
    place: &Place<'_, '_>,
    plots: &Plots,
    lookups: &Lookups,
    verify: &Samples,
    header: &Header,
    tag: &Tag,
) -> Space {
    let mut spread = Spread::default();
    let most = &plots.rates[plots.rates.len() - 1];
    let write = spread.keep("disk_write_bytes_per_second", &plots.writes);
    let limits = [
        ("hashing", tag.rate_on_all() / 2.0),
        ("memory", plots.copies.median() / TRAFFIC_PER_ENTRY),
        ("disk", write / ENTRY_LEN),
    ];
    let least = limits.into_iter().min_by(|one, other| one.1.total_cmp(&other.1));
    let (limited_by, limit_entries_per_second) = least.unwrap_or_default();
    let stored = float(header.pairs.saturating_sub(header.dropped));
    let room = float(place.id.buckets()) * float_of(ENTRIES_MAX);
    Space {
        k: place.id.k(),
        threads: place.bench.threads_max(),
        entries_per_second: spread.keep("entries_per_second", most),
        naive_entries_per_second: plots.naive.median(),
        ratio_naive: spread.keep("ratio_naive", &most.over(&plots.naive)),
        limit_entries_per_second,
        hash_limit: limits[0].1,
        memory_limit: limits[1].1,
        disk_limit: limits[2].1,
        limited_by,
        fill: stored / float(size_of_values(place.id.k())),
        page_fill: stored / room,
        dropped: header.dropped,
        lookup_us_min: lookups.cold.range()[0],
        lookup_us_p50: lookups.cold.percentile(50),
        lookup_us_p99: lookups.cold.percentile(99),
        lookup_warm_us_p50: lookups.warm.percentile(50),
        lookup_warm_us_p99: lookups.warm.percentile(99),
        lookup_direct_us_p50: lookups.direct.percentile(50),
        lookup_direct_us_p99: lookups.direct.percentile(99),
        lookup_mapped_us_p50: lookups.mapped.percentile(50),
        naive_lookup_us_p50: lookups.naive.percentile(50),
        ratio_lookup: lookups.naive.percentile(50) / lookups.cold.percentile(50),
        verify_ns: spread.keep("verify_ns", verify),
        vault_bytes: place.id.file_len(),
        disk_write_bytes_per_second: write,
        disk_read_us_p50: lookups.disk.percentile(50),
        disk_read_us_p99: lookups.disk.percentile(99),
        disk_access: lookups.access.word(),
        peak_rss_bytes: plots.peak_rss_bytes,
        spread,
        scaling: scaling(&place.bench.threads, &plots.rates),
    }
}

/// What plotting came to, in each round.
struct Plots {
    rates: Vec<Samples>,
    naive: Samples,
    /// Bytes per second, written past the cache and durable.
    writes: Samples,
    /// Bytes per second, read and written in memory by all threads.
    copies: Samples,
    /// While the engine plotted.
    peak_rss_bytes: Option<u64>,
}

fn plots(place: &Place<'_, '_>) -> Result<Plots, Failure> {
    let (bench, entries) = (place.bench, float(size_of_values(place.id.k())));
    let (pool, written) = (pool(bench.threads_max())?, place.path("written"));
    let peak_rss_bytes = Cell::new(None);
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for &threads in &bench.threads {
        let peak_rss_bytes = &peak_rss_bytes;
        contenders.push(Box::new(move || {
            peak::reset();
            let seconds = plot(place, threads)?;
            peak_rss_bytes.set(peak_rss_bytes.get().max(peak::bytes()));
            Ok(entries / seconds)
        }));
    }
    contenders.push(Box::new(|| {
        if !place.has_naive() {
            return Ok(f64::NAN);
        }
        let (seconds, made) = bench
            .pace
            .seconds(|| write_table(&place.naive(), &sorted_records(&pool, place.id.k())));
        made.map_err(|error| Failure::file("write", &place.naive(), &error))?;
        Ok(entries / seconds)
    }));
    contenders.push(Box::new(|| {
        let (seconds, made) = bench.pace.seconds(|| disk::write(&written, place.id.file_len()));
        made.map_err(|error| Failure::file("write", &written, &error))?;
        fs::remove_file(&written).map_err(|error| Failure::file("remove", &written, &error))?;
        Ok(float(place.id.file_len()) / seconds)
    }));
    contenders.push(Box::new(|| Ok(copy_rate(bench))));
    let mut rates = bench.pace.interleave("space plot", contenders)?;
    let copies = rates.pop();
    let (writes, naive) = (rates.pop(), rates.pop());
    let none = || Failure::other("no-measurement", "nothing was measured");
    Ok(Plots {
        rates,
        naive: naive.ok_or_else(none)?,
        writes: writes.ok_or_else(none)?,
        copies: copies.ok_or_else(none)?,
        peak_rss_bytes: peak_rss_bytes.get(),
    })
}

/// Seconds to a durable vault.
fn plot(place: &Place<'_, '_>, threads: usize) -> Result<f64, Failure> {
    let path = place.vault();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file("remove", &path, &error));
        }
        _ => {}
    }
    let (resources, progress) =
        (place.resources(threads, LookupMode::Read), Quiet(place.bench.pace.progress));
    let (seconds, plotted) =
        place.bench.pace.seconds(|| space::plot(&place.id, &resources, &progress));
    plotted.map_err(|error| Failure::from(&error))?;
    Ok(seconds)
}

/// Writes the sorted table through the cache and waits until it is on the disk.
fn write_table(path: &Path, records: &[u64]) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut bytes = Vec::with_capacity(1 << 20);
    for chunk in records.chunks(1 << 17) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|record| record.to_le_bytes()));
        file.write_all(&bytes)?;
    }
    file.sync_all()
}

/// Bytes that all threads together read and write in a second, each from one array to another.
fn copy_rate(bench: &Bench<'_>) -> f64 {
    let threads = bench.threads_max();
    let total = size_of_values(bench.options.k).saturating_mul(COPY_PER_ENTRY).min(COPY_MAX);
    let words = usize::try_from(total / 16).unwrap_or_default().div_ceil(threads);
    bench.pace.rate_on(threads, |_| {
        let [from, mut to] = [1_u64, 2].map(|value| vec![value; words]);
        move || {
            to.copy_from_slice(&from);
            black_box(&to);
            16 * words as u64
        }
    })
}

/// What look-ups take, in microseconds.
struct Lookups {
    /// The file dropped from the cache before.
    cold: Samples,
    /// Past the cache.
    direct: Samples,
    /// The page in the cache, read.
    warm: Samples,
    /// The page in the cache, mapped.
    mapped: Samples,
    /// A binary search, the sorted file dropped from the cache before.
    naive: Samples,
    /// A page past the cache, nothing else.
    disk: Samples,
    access: Access,
}

fn lookups(place: &Place<'_, '_>) -> Result<Lookups, Failure> {
    let (bench, path) = (place.bench, place.vault());
    let read = |error| Failure::file("read", &path, &error);
    let (file, mut pages) =
        (File::open(&path).map_err(read)?, PageReader::open(&path).map_err(read)?);
    let naive_file = File::open(place.naive()).ok();
    let [mut through, mut past, mut mapped] = [
        place.prover(LookupMode::Read)?,
        place.prover(LookupMode::Direct)?,
        place.prover(LookupMode::Map)?,
    ];
    let mut found = [const { Vec::new() }; 6];
    let (mut draw, access) = (Draw::new(11), pages.access);
    let total = bench.options.lookups;
    for number in 0..total {
        bench.pace.check()?;
        bench.pace.progress.update("space look-up", number.into(), total.into());
        let page = draw.below(place.id.buckets()) + 1;
        disk::forget(&file);
        found[0].push(look_up(place, &mut *through, number)?);
        found[1].push(look_up(place, &mut *past, number)?);
        found[2].push(look_up(place, &mut *through, number)?);
        found[3].push(look_up(place, &mut *mapped, number)?);
        if let Some(file) = naive_file.as_ref().filter(|_| number % NAIVE_SHARE == 0) {
            disk::forget(file);
            let key = draw.next();
            found[4].push(timed(place, || search_file(file, key)).map_err(read)?);
        }
        found[5].push(timed(place, || pages.read(page)).map_err(read)?);
    }
    bench.pace.progress.update("space look-up", total.into(), total.into());
    // What was never measured is no number.
    let none = || Samples::from_one(f64::NAN);
    let [cold, direct, warm, mapped, naive, disk] =
        found.map(|values| Samples::new(values).unwrap_or_else(none));
    Ok(Lookups { cold, direct, warm, mapped, naive, disk, access })
}

/// Microseconds that `work` takes.
fn timed<T>(place: &Place<'_, '_>, work: impl FnOnce() -> io::Result<T>) -> io::Result<f64> {
    let (seconds, done) = place.bench.pace.seconds(work);
    black_box(done?);
    Ok(seconds * 1e6)
}

/// Microseconds from a challenge to the best entry.
fn look_up(place: &Place<'_, '_>, prover: &mut dyn Prover, number: u32) -> Result<f64, Failure> {
    let never = AtomicBool::new(false);
    let clock = place.bench.pace.clock;
    let (budget, challenge) =
        (Budget::new(clock, &never).with_threads(1), challenge(number.into()));
    let start = clock.now();
    let attempt = prover.prove(&challenge, Target::MAX, &budget).map_err(engine::failed)?;
    let end = clock.now();
    black_box(attempt);
    Ok(end.saturating_sub(start).as_secs_f64() * 1e6)
}

/// The place of the first record of a sorted file that is not below `key`.
fn search_file(mut file: &File, key: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len() / 8);
    while low < high {
        let middle = u64::midpoint(low, high);
        let mut record = [0; 8];
        file.seek(SeekFrom::Start(middle * 8))?;
        file.read_exact(&mut record)?;
        if u64::from_le_bytes(record) < key { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_search_finds_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let records: Vec<u64> = (0..1000).map(|value| value * 10).collect();
        write_table(&path, &records).unwrap();
        let file = File::open(&path).unwrap();
        for (key, place) in [(0, 0), (5, 1), (10, 1), (9_990, 999), (9_991, 1000)] {
            assert_eq!(search_file(&file, key).unwrap(), place, "{key}");
        }
    }

    #[test]
    fn the_disk_needed_grows_with_k() {
        assert_eq!(disk_bytes(16), 3 * ((8 << 16) + 4096));
    }
}
