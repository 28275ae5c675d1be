//! Proof of memory: building the table and walking through it, against a sorted array that is
//! searched in halves, and against what the machine's memory allows.

use std::{
    cell::{Cell, RefCell},
    hint::black_box,
};

use dsc_lib::{
    proof::{Entry, ProofEngine, Prover, Resources},
    tag::Tagger,
};
use memmap2::MmapMut;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};
use serde::Serialize;
use serde_json::Value;

use super::{
    Bench, MINER, Options, Scale, Spread,
    engine::{self, Overruns},
    scaling, section, size_of_values,
    tag::{Batch, Tag},
};
use crate::{
    bench::{
        measure::{Contender, Draw, Quiet},
        peak,
        stats::{Samples, float},
    },
    exit::Failure,
};

/// Reads started before the first is waited for: the engine fetches as many look-ups ahead (`LEAD`
/// of its walks).
const IN_FLIGHT: usize = 32;
/// Bytes for each entry while walks are measured: the engine's table, the sorted array, and as much
/// as the table once more.
const RAM_PER_ENTRY: u64 = 28;

/// What is known of the table and its walks.
#[derive(Debug, Serialize)]
struct Memory {
    m: u8,
    threads: usize,
    build_entries_per_second: f64,
    naive_build_entries_per_second: f64,
    ratio_build: f64,
    /// Two tags for each entry, on all threads.
    build_limit: f64,
    lookups_per_second: f64,
    /// Independent random reads of eight bytes in as much memory, on all threads.
    random_access_limit: f64,
    one_thread_lookups_per_second: f64,
    /// The same on one thread.
    one_thread_limit: f64,
    /// `binary_search` in a sorted array, one thread.
    naive_lookups_per_second: f64,
    ratio_lookups: f64,
    verify_ns: f64,
    overrun_us: Option<f64>,
    /// From the wish to stop to the end of the call.
    cancel_us: f64,
    ram_bytes: u64,
    peak_rss_bytes: Option<u64>,
    spread: Spread,
    scaling: Vec<Scale>,
    build_scaling: Vec<Scale>,
}

/// Fails if measuring needs more RAM than the system has, or than building may take.
pub(super) fn check_ram(options: &Options) -> Result<(), Failure> {
    let entries = size_of_values(options.m);
    let available = crate::memory::available_bytes();
    enough(entries.saturating_mul(RAM_PER_ENTRY), available, "available")?;
    // What the engine takes beyond the entries it says itself.
    enough(entries.saturating_mul(8), options.memory_bytes, "allowed")
}

fn enough(needed: u64, limit: Option<u64>, what: &str) -> Result<(), Failure> {
    let Some(limit) = limit.filter(|limit| *limit < needed) else { return Ok(()) };
    let message = format!("{needed} bytes of RAM are needed, {limit} are {what}");
    Err(Failure::no_space("not-enough-memory", message).with_hint("choose a smaller --m"))
}

/// A pool of `threads` threads.
pub(super) fn pool(threads: usize) -> Result<ThreadPool, Failure> {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(|error| Failure::other("threads", error))
}

/// The naive table: every input beside the top of its tag, sorted as one array.
pub(super) fn sorted_records(pool: &ThreadPool, bits: u8) -> Vec<u64> {
    const BATCH: usize = 4096;
    let tagger = Tagger::new(&[9; 32]);
    pool.install(|| {
        let count = usize::try_from(size_of_values(bits)).unwrap_or(usize::MAX);
        let mut records = vec![0_u64; count];
        records.par_chunks_mut(BATCH).enumerate().for_each(|(index, chunk)| {
            let first = (index * BATCH) as u64;
            tagger.fill_range(first, chunk);
            for (x, record) in (first..).zip(chunk) {
                *record = *record >> bits << bits | x;
            }
        });
        records.par_sort_unstable();
        records
    })
}

/// Measures the section.
pub(super) fn measure(bench: &Bench<'_>, entry: &Entry, tag: &Tag) -> Result<Value, Failure> {
    let engine = engine::build(entry, &[("m", bench.options.m.into())])?;
    let (builds, mut prover) = builds(bench, &*engine)?;
    let walks = walks(bench, &mut *prover)?;
    let proofs = engine::proofs(bench, entry, &mut *prover)?;
    let verify = engine::verify_ns(bench, &*engine, &proofs)?;
    let cancel_us = engine::cancel_us(bench, &mut *prover)?;
    let (mut spread, last) = (Spread::default(), bench.threads.len() - 1);
    let mut keep = |field, samples: &Samples| spread.keep(field, samples);
    section(&Memory {
        m: bench.options.m,
        threads: bench.threads_max(),
        build_entries_per_second: keep("build_entries_per_second", &builds.rates[last]),
        naive_build_entries_per_second: builds.naive.median(),
        ratio_build: keep("ratio_build", &builds.rates[last].over(&builds.naive)),
        build_limit: tag.rate_on_all() / 2.0,
        lookups_per_second: keep("lookups_per_second", &walks.rates[last]),
        random_access_limit: walks.limits[last].median(),
        one_thread_lookups_per_second: keep("one_thread_lookups_per_second", &walks.rates[0]),
        one_thread_limit: walks.limits[0].median(),
        naive_lookups_per_second: walks.naive.median(),
        ratio_lookups: keep("ratio_lookups", &walks.rates[0].over(&walks.naive)),
        verify_ns: keep("verify_ns", &verify),
        overrun_us: walks.overruns.longest(),
        cancel_us: keep("cancel_us", &cancel_us),
        ram_bytes: prover.footprint().ram_bytes,
        peak_rss_bytes: builds.peak_rss_bytes,
        spread,
        scaling: scaling(&bench.threads, &walks.rates),
        build_scaling: scaling(&bench.threads, &builds.rates),
    })
}

/// Entries per second, in each round.
struct Builds {
    rates: Vec<Samples>,
    naive: Samples,
    /// While the engine built.
    peak_rss_bytes: Option<u64>,
}

/// Builds the table again and again, and keeps the last.
fn builds(
    bench: &Bench<'_>,
    engine: &dyn ProofEngine,
) -> Result<(Builds, Box<dyn Prover>), Failure> {
    let (m, prover, peak) = (bench.options.m, RefCell::new(None), Cell::new(None));
    let (entries, pool) = (float(size_of_values(m)), pool(bench.threads_max())?);
    let build = |&threads: &usize| -> Contender<'_> {
        let (prover, peak, resources) = (&prover, &peak, resources(bench, threads));
        Box::new(move || {
            drop(prover.take());
            peak::reset();
            let progress = Quiet(bench.pace.progress);
            let (seconds, made) =
                bench.pace.seconds(|| engine.prepare(&MINER, &resources, &progress));
            peak.set(peak.get().max(peak::bytes()));
            prover.replace(Some(made?));
            Ok(entries / seconds)
        })
    };
    let mut contenders: Vec<_> = bench.threads.iter().map(build).collect();
    contenders.push(Box::new(|| {
        let (seconds, records) = bench.pace.seconds(|| sorted_records(&pool, m));
        drop(records);
        Ok(entries / seconds)
    }));
    let mut rates = bench.pace.interleave("memory table", contenders)?;
    let none = || Failure::other("no-measurement", "no table was built");
    let naive = rates.pop().ok_or_else(none)?;
    let prover = prover.take().ok_or_else(none)?;
    Ok((Builds { rates, naive, peak_rss_bytes: peak.get() }, prover))
}

fn resources(bench: &Bench<'_>, threads: usize) -> Resources {
    Resources { threads, ram_bytes_max: bench.ram_bytes_max(), ..Resources::new(bench.folder) }
}

/// Look-ups per second: of the engine and of the memory for each number of threads.
struct Walks {
    rates: Vec<Samples>,
    limits: Vec<Samples>,
    naive: Samples,
    overruns: Overruns,
}

fn walks(bench: &Bench<'_>, prover: &mut dyn Prover) -> Result<Walks, Failure> {
    let records = sorted_records(&pool(bench.threads_max())?, bench.options.m);
    let (table, overruns) = (Words::new(prover.footprint().ram_bytes)?, Overruns::default());
    let prover = RefCell::new(prover);
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for &threads in &bench.threads {
        let (prover, overruns, table) = (&prover, &overruns, &table);
        contenders.push(Box::new(move || {
            engine::rate(bench, &mut **prover.borrow_mut(), threads, overruns)
        }));
        contenders.push(Box::new(move || {
            Ok(bench.pace.rate_on(threads, |thread| table.reads(thread as u64)))
        }));
    }
    contenders.push(Box::new(|| Ok(bench.pace.rate(searches(&records)))));
    let mut found = bench.pace.interleave("memory walks", contenders)?.into_iter();
    let (mut rates, mut limits) = (Vec::new(), Vec::new());
    for _ in &bench.threads {
        rates.extend(found.next());
        limits.extend(found.next());
    }
    let naive = found.next().ok_or_else(|| Failure::other("no-measurement", "no search"))?;
    Ok(Walks { rates, limits, naive, overruns })
}

/// One search after the other, each for a random key.
fn searches(records: &[u64]) -> impl FnMut() -> u64 {
    const BATCH: u64 = 256;
    let mut draw = Draw::new(3);
    move || {
        for _ in 0..BATCH {
            // The next key depends on what was found: searches do not overlap, as steps of one
            // walk cannot.
            let found = black_box(records.binary_search(&draw.next()));
            draw = Draw::new(draw.next() ^ u64::from(found.is_ok()));
        }
        BATCH
    }
}

/// Memory as large as the engine's table, on huge pages where the system grants them.
struct Words(MmapMut);

impl Words {
    fn new(bytes: u64) -> Result<Self, Failure> {
        let none = |error| Failure::no_space("not-enough-memory", error);
        let len = usize::try_from(bytes).unwrap_or(usize::MAX).max(8);
        let mut map = MmapMut::map_anon(len).map_err(none)?;
        #[cfg(target_os = "linux")]
        let _: Result<(), _> = map.advise(memmap2::Advice::HugePage); // a wish: refused, smaller pages serve
        // Pages that were never written are all one page of zeros.
        map.fill(1);
        Ok(Self(map))
    }

    /// Independent reads of eight bytes, [`IN_FLIGHT`] at a time.
    fn reads(&self, seed: u64) -> Batch<'_> {
        const BLOCKS: usize = 256;
        let (words, _) = self.0.as_chunks::<8>();
        let mut random = Draw::new(seed).next();
        Box::new(move || {
            let mut sum = 0;
            for _ in 0..BLOCKS {
                let mut places = [0; IN_FLIGHT];
                for place in &mut places {
                    // As little as will do, so that the processor waits for memory and not for this.
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    *place = scaled(random, words.len());
                }
                sum = places.iter().fold(sum, |sum, &at| sum ^ u64::from_le_bytes(words[at]));
            }
            black_box(sum);
            (BLOCKS * IN_FLIGHT) as u64
        })
    }
}

/// The place below `count` that `random` chooses.
#[allow(clippy::cast_possible_truncation, reason = "below the count")]
const fn scaled(random: u64, count: usize) -> usize {
    ((random as u128 * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lacking_memory_is_told_before() {
        assert!(enough(5, None, "available").is_ok());
        assert!(enough(5, Some(5), "available").is_ok());
        let failure = enough(5, Some(4), "allowed").unwrap_err();
        assert_eq!((failure.code(), failure.exit() as u8), ("not-enough-memory", 10));
        assert_eq!(failure.message(), "5 bytes of RAM are needed, 4 are allowed");
    }

    #[test]
    fn the_naive_table_holds_every_input_once_and_is_sorted() {
        let records = sorted_records(&pool(2).unwrap(), 16);
        assert!(records.is_sorted());
        let mut inputs: Vec<_> = records.iter().map(|record| record & 0xffff).collect();
        inputs.sort_unstable();
        assert!(inputs.into_iter().eq(0..1 << 16));
        assert_eq!(searches(&records)(), 256);
    }

    #[test]
    fn reads_go_to_every_part_of_the_memory() {
        assert_eq!((scaled(0, 1000), scaled(u64::MAX, 1000), scaled(1 << 63, 1000)), (0, 999, 500));
        let words = Words::new(1 << 16).unwrap();
        assert_eq!(words.reads(1)(), 256 * 32);
        assert_eq!(Words::new(0).unwrap().reads(1)(), 256 * 32);
    }
}
