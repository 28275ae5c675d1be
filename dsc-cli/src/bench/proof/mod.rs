//! The proof engines: rates, tables, look-ups, verification, memory and disk, each beside a naive
//! way measured in the same run.
//!
//! # Invariants
//!
//! 1. Inputs come from fixed numbers: two runs do the same work.
//! 2. What could not be measured is not a number here, and null in the document.
//! 3. Files go to a folder of their own that is removed, however the run ends.

mod engine;
mod memory;
mod schema;
mod space;
mod tag;
mod work;

use std::{collections::BTreeMap, path::Path};

use dsc_lib::{
    address::Address,
    hash::Digest,
    proof::{Challenge, Entry, Fingerprint, Miner, ProofKind},
};
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use self::schema::SCHEMA;
use super::{measure::Pace, peak, record::Body, schema::Schema, stats::Samples};
use crate::exit::Failure;

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    pub(crate) k: u8,
    pub(crate) m: u8,
    pub(crate) rounds: u32,
    /// Of one measurement of a rate.
    pub(crate) milliseconds: u64,
    pub(crate) lookups: u32,
    pub(crate) threads: usize,
    /// RAM that building a table may take.
    pub(crate) memory_bytes: Option<u64>,
}

/// The figures of `dsc.bench.proof/1`.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// What was asked for, without what no measured proof looks at.
    options: Value,
    /// What `peak_rss_bytes` covers: its `section`, or the whole `run`.
    peak_rss_of: &'static str,
    tag: tag::Tag,
    /// By the engine's name; an engine that was not measured has none.
    #[serde(flatten)]
    engines: Map<String, Value>,
}

impl Body for Figures {
    const SCHEMA: &'static Schema = &SCHEMA;
}

/// What every section works with.
struct Bench<'a> {
    pace: Pace<'a>,
    options: &'a Options,
    /// Numbers of threads to measure with, the most last.
    threads: Vec<usize>,
    folder: &'a Path,
}

impl Bench<'_> {
    fn threads_max(&self) -> usize {
        self.options.threads
    }

    /// RAM that making a table may take: what was allowed, or all that there is.
    fn ram_bytes_max(&self) -> u64 {
        self.options.memory_bytes.or_else(crate::memory::available_bytes).unwrap_or(u64::MAX)
    }
}

/// Measures one engine.
type Measure = fn(&Bench<'_>, &Entry, &tag::Tag) -> Result<Value, Failure>;

/// Sections of engines whose resource has figures of its own; others get [`engine::measure`].
const SECTIONS: &[(&str, Measure)] =
    &[("work", work::measure), ("space", space::measure), ("memory", memory::measure)];

/// Measures the bulk hash and the engines of `kinds`, with files in `folder`.
pub(crate) fn measure(
    options: &Options,
    kinds: &[ProofKind],
    folder: &Path,
    pace: Pace<'_>,
) -> Result<Figures, Failure> {
    let threads = super::measure::thread_steps(options.threads);
    let bench = Bench { pace, options, threads, folder };
    let scope = peak::reset();
    let tag = tag::measure(&bench)?;
    let mut engines = Map::new();
    for entry in kinds.iter().filter_map(|kind| kind.entry()) {
        peak::reset();
        let special = SECTIONS.iter().find(|(name, _)| *name == entry.name);
        let measure = special.map_or(engine::measure as Measure, |(_, measure)| *measure);
        engines.insert(entry.name.to_owned(), measure(&bench, entry, &tag)?);
    }
    let (options, peak_rss_of) = (asked(options, kinds)?, scope.word());
    Ok(Figures { options, peak_rss_of, tag, engines })
}

fn measures(kinds: &[ProofKind], name: &str) -> bool {
    kinds.iter().any(|kind| kind.name() == name)
}

fn asked(options: &Options, kinds: &[ProofKind]) -> Result<Value, Failure> {
    let mut asked = section(options)?;
    for (name, fields) in [("space", &["k", "lookups"][..]), ("memory", &["m"])] {
        if let Some(asked) = asked.as_object_mut().filter(|_| !measures(kinds, name)) {
            asked.retain(|field, _| !fields.contains(&&**field));
        }
    }
    Ok(asked)
}

/// Fails if the engines of `kinds` cannot have the RAM that measuring them takes.
pub(crate) fn check_ram(options: &Options, kinds: &[ProofKind]) -> Result<(), Failure> {
    if measures(kinds, "memory") { memory::check_ram(options) } else { Ok(()) }
}

/// Bytes of disk that the engines of `kinds` need while they are measured.
pub(crate) fn disk_bytes(options: &Options, kinds: &[ProofKind]) -> u64 {
    if measures(kinds, "space") { space::disk_bytes(options.k) } else { 0 }
}

/// A section as JSON.
fn section<T: Serialize>(figures: &T) -> Result<Value, Failure> {
    serde_json::to_value(figures)
        .map_err(|error| Failure::other("output", format!("cannot encode: {error}")))
}

/// Least and greatest of the rounds, by the field of the median.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
struct Spread(BTreeMap<&'static str, [f64; 2]>);

impl Spread {
    /// Keeps the range of `samples` and returns their median.
    fn keep(&mut self, field: &'static str, samples: &Samples) -> f64 {
        self.0.insert(field, samples.range());
        samples.median()
    }
}

/// A rate on some threads.
#[derive(Clone, Debug, Serialize)]
struct Scale {
    threads: usize,
    rate: f64,
    /// Times the rate of one thread.
    speedup: f64,
    spread: Spread,
}

/// One [`Scale`] for each number of threads; the first is one.
fn scaling(threads: &[usize], rates: &[Samples]) -> Vec<Scale> {
    let scale = |(&threads, rate): (&usize, &Samples)| {
        let mut spread = Spread::default();
        let speedup = rates.first().map_or(f64::NAN, |one| rate.ratio(one));
        Scale { threads, rate: spread.keep("rate", rate), speedup, spread }
    };
    threads.iter().zip(rates).map(scale).collect()
}

const MINER: Miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };

/// The challenge numbered `number`.
fn challenge(number: u64) -> Challenge {
    Challenge(Digest(*blake3::hash(&number.to_le_bytes()).as_bytes()))
}

/// The size of a table as a parameter or argument takes it.
fn size_of_values(bits: u8) -> u64 {
    1 << bits
}

#[cfg(test)]
mod tests {
    use dsc_lib::proof::{ENGINES, NoProgress};

    use super::*;
    use crate::{bench::measure::tests::pace, clock::SystemClock};

    #[test]
    fn an_engine_without_a_section_of_its_own_is_measured_too() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::new());
        let (k, m, memory_bytes) = (16, 16, None);
        let (rounds, milliseconds, lookups, threads) = (1, 1, 1, 2);
        let options = Options { k, m, rounds, milliseconds, lookups, threads, memory_bytes };
        let pace = pace(&clock, &NoProgress);
        let bench = Bench { pace, options: &options, threads: vec![1, 2], folder: folder.path() };
        let tag = tag::measure(&bench).unwrap();
        for entry in ENGINES {
            let found = engine::measure(&bench, entry, &tag).unwrap();
            for field in ["prepare_seconds", "attempts_per_second", "verify_ns"] {
                assert!(found[field].as_f64().unwrap() > 0.0, "{} {field}", entry.name);
            }
            assert_eq!(found["scaling"].as_array().unwrap().len(), 2, "{}", entry.name);
        }
    }

    #[test]
    fn what_is_no_number_is_null() {
        let spread = Spread([("rate", [f64::NAN; 2])].into());
        assert_eq!(section(&spread).unwrap()["rate"][0], Value::Null);
    }
}
