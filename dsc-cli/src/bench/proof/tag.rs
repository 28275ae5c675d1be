//! The bulk hash on one core, against the `blake3` crate one by one and eight or sixteen at once.
//!
//! Core cycles come from a chain of additions and exclusive ors, each of which waits for the one
//! before for exactly one cycle on every processor built in the last twenty years; its rate is the
//! clock of the core in that round. Performance counters would need rights and a virtual machine
//! that passes them on.

use std::{array, hint::black_box};

use blake3::{IncrementCounter, platform::Platform};
use dsc_lib::tag::{Path, Tagger};
use serde::Serialize;

use super::{Bench, Scale, Spread, scaling};
use crate::{
    bench::{
        machine,
        measure::{Contender, Draw},
        peak,
        stats::Samples,
    },
    exit::Failure,
};

const KEY: [u8; 32] = [7; 32];
/// Tags computed between two looks at the clock.
const BATCH: u64 = 8192;
const BATCH_LEN: usize = 8192;
/// Inputs given to `hash_many` at once.
const MANY: usize = 64;
const MEGA: f64 = 1e6;

/// What is known of the bulk hash.
#[derive(Debug, Serialize)]
pub(super) struct Tag {
    /// The instructions used.
    path: String,
    /// Where the clock of the core is from.
    clock: &'static str,
    /// Millions of tags per second, searched for the least.
    mhs: f64,
    naive_mhs: f64,
    hash_many_mhs: f64,
    ratio_naive: f64,
    ratio_hash_many: f64,
    /// Written to an array, inputs in a row.
    range_mhs: f64,
    ratio_range: f64,
    /// Written to an array, inputs anywhere.
    slice_mhs: f64,
    ratio_slice: f64,
    clock_hz: f64,
    cycles_per_8: f64,
    /// Least cycles in which the vector instructions can be issued.
    bound_cycles_per_8: Option<f64>,
    limit_mhs: Option<f64>,
    peak_rss_bytes: Option<u64>,
    spread: Spread,
    scaling: Vec<Scale>,
}

impl Tag {
    /// Tags per second on the most threads that were measured.
    pub(super) fn rate_on_all(&self) -> f64 {
        self.scaling.last().map_or(f64::NAN, |scale| scale.rate)
    }
}

/// Measures the section.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Tag, Failure> {
    peak::reset();
    let one = |batch: fn(u64) -> Batch<'static>| -> Contender<'_> {
        let mut batch = batch(0);
        Box::new(move || Ok(bench.pace.rate(&mut batch)))
    };
    let kernels = [search, range, slice, naive, hash_many, clock];
    let mut contenders: Vec<_> = kernels.into_iter().map(one).collect();
    contenders.extend(bench.threads.iter().map(|&threads| -> Contender<'_> {
        let make = |thread: usize| search(1 << (40 + thread % 16));
        Box::new(move || Ok(bench.pace.rate_on(threads, make)))
    }));
    let found = bench.pace.interleave("tag", contenders)?;
    let [search, range, slice, naive, many, clock] = array::from_fn(|index| &found[index]);
    let path = Path::best();
    let bound = bound_cycles_per_8(path, &machine::vendor().unwrap_or_default());
    let mut spread = Spread::default();
    let mega = |samples: &Samples| samples.map(|rate| rate / MEGA);
    let cycles = clock.over(search).map(|ratio| 8.0 * ratio);
    let clock_hz = spread.keep("clock_hz", clock);
    Ok(Tag {
        path: path.to_string(),
        clock: "measured by a dependent chain",
        mhs: spread.keep("mhs", &mega(search)),
        naive_mhs: spread.keep("naive_mhs", &mega(naive)),
        hash_many_mhs: spread.keep("hash_many_mhs", &mega(many)),
        ratio_naive: spread.keep("ratio_naive", &search.over(naive)),
        ratio_hash_many: spread.keep("ratio_hash_many", &search.over(many)),
        range_mhs: spread.keep("range_mhs", &mega(range)),
        ratio_range: range.ratio(many),
        slice_mhs: spread.keep("slice_mhs", &mega(slice)),
        ratio_slice: slice.ratio(many),
        clock_hz,
        cycles_per_8: spread.keep("cycles_per_8", &cycles),
        bound_cycles_per_8: bound,
        limit_mhs: bound.map(|bound| 8.0 * clock_hz / bound / MEGA),
        peak_rss_bytes: peak::bytes(),
        spread,
        scaling: scaling(&bench.threads, &found[kernels.len()..]),
    })
}

/// Cycles in which the vector instructions of eight tags can be issued, where they were counted
/// (docs/performance.md): two 512-bit ports; three 256-bit ports, or four on AMD's Zen.
fn bound_cycles_per_8(path: Path, vendor: &str) -> Option<f64> {
    match path {
        Path::Avx512 => Some(145.0),
        Path::Avx2 if vendor == "AuthenticAMD" => Some(194.0),
        Path::Avx2 => Some(246.0),
        _ => None,
    }
}

/// Does some work and returns how much.
pub(super) type Batch<'a> = Box<dyn FnMut() -> u64 + Send + 'a>;

pub(super) fn search(first: u64) -> Batch<'static> {
    let (tagger, mut first) = (Tagger::new(&KEY), first);
    Box::new(move || {
        black_box(tagger.min_in_range(first, BATCH));
        first = first.wrapping_add(BATCH);
        BATCH
    })
}

fn range(first: u64) -> Batch<'static> {
    let (tagger, mut first, mut out) = (Tagger::new(&KEY), first, vec![0; BATCH_LEN]);
    Box::new(move || {
        tagger.fill_range(first, &mut out);
        black_box(&out);
        first = first.wrapping_add(BATCH);
        BATCH
    })
}

fn slice(seed: u64) -> Batch<'static> {
    let (tagger, mut draw) = (Tagger::new(&KEY), Draw::new(seed));
    let inputs: Vec<_> = (0..BATCH).map(|_| draw.next()).collect();
    let mut out = vec![0; BATCH_LEN];
    Box::new(move || {
        tagger.fill_slice(black_box(&inputs), &mut out);
        black_box(&out);
        BATCH
    })
}

/// One call of `blake3::hash` for each nonce, as simple miners do.
pub(super) fn naive(first: u64) -> Batch<'static> {
    let (mut nonce, mut input) = (first, [0; 64]);
    Box::new(move || {
        let mut least = u64::MAX;
        for _ in 0..BATCH {
            input[..8].copy_from_slice(&nonce.to_le_bytes());
            least = least.min(first64(blake3::hash(&input).as_bytes()));
            nonce = nonce.wrapping_add(1);
        }
        black_box(least);
        BATCH
    })
}

fn first64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// The initial value of BLAKE3.
const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// Flags of a message of one block: start and end of a chunk, and root.
const ONE_BLOCK: [u8; 3] = [8, 1, 2];

/// Hashes whole blocks with the widest instructions that the `blake3` crate has.
fn digests(platform: Platform, inputs: &[&[u8; 64]], out: &mut [u8]) {
    let [root, start, end] = ONE_BLOCK;
    platform.hash_many(inputs, &IV, 0, IncrementCounter::No, root, start, end, out);
}

/// The same inputs again and again: nothing is spent on making them.
fn hash_many(first: u64) -> Batch<'static> {
    let mut inputs = [[0_u8; 64]; MANY];
    for (nonce, input) in (first..).zip(&mut inputs) {
        input[..8].copy_from_slice(&nonce.to_le_bytes());
    }
    let (platform, mut out) = (Platform::detect(), [0; 32 * MANY]);
    Box::new(move || {
        let inputs = black_box(&inputs).each_ref();
        for _ in 0..BATCH_LEN / MANY {
            digests(platform, &inputs, &mut out);
            black_box(&out);
        }
        BATCH
    })
}

/// Counts cycles: two for each step of the chain.
fn clock(seed: u64) -> Batch<'static> {
    const STEPS: u64 = 1 << 15;
    let (mut value, addend, mask) = (seed, black_box(0x9e37_79b9), black_box(0x7f4a_7c15));
    Box::new(move || {
        for _ in 0..STEPS / 8 {
            // Unrolled, so that counting does not matter where the optimizer is told to do little.
            for _ in 0..8 {
                value = value.wrapping_add(addend) ^ mask;
            }
        }
        black_box(value);
        2 * STEPS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_many_is_the_hash() {
        let input = array::from_fn(|index| u8::try_from(index).unwrap());
        let mut out = [0; 32 * 3];
        digests(Platform::detect(), &[&[0; 64], &input, &[1; 64]], &mut out);
        for (index, input) in [&[0; 64], &input, &[1; 64]].into_iter().enumerate() {
            assert_eq!(out[32 * index..][..32], *blake3::hash(input).as_bytes());
        }
    }

    #[test]
    fn every_batch_does_what_it_says() {
        for batch in [search, range, slice, naive, hash_many] {
            assert_eq!(batch(5)(), BATCH);
        }
        assert_eq!(clock(1)(), 1 << 16);
    }

    #[test]
    fn bounds_are_known_for_the_wide_paths_only() {
        assert_eq!(bound_cycles_per_8(Path::Avx2, "GenuineIntel"), Some(246.0));
        assert_eq!(bound_cycles_per_8(Path::Avx2, "AuthenticAMD"), Some(194.0));
        assert_eq!(bound_cycles_per_8(Path::Scalar, "GenuineIntel"), None);
    }
}
