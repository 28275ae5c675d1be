//! Tags per second on every path of this CPU, and of the reference.

use std::hint::black_box;

use blake3::{IncrementCounter, platform::Platform};
use dsc_benches::{Contender, Criterion, Throughput, run, side_by_side};
use dsc_lib::tag::{Path, Tagger, tag};

const KEY: [u8; 32] = [7; 32];
const COUNT: u64 = 4096;

fn main() {
    run(&[reference, fill_range, fill_slice, min_in_range, beside_the_crate]);
}

fn reference(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tag::tag");
    group.throughput(Throughput::Elements(1));
    group.bench_function("path=reference", |b| b.iter(|| tag(&KEY, black_box(12_345))));
    group.bench_function("path=single", |b| {
        let tagger = Tagger::new(&KEY);
        b.iter(|| tagger.tag(black_box(12_345)));
    });
}

fn fill_range(criterion: &mut Criterion) {
    let mut out = vec![0; usize::try_from(COUNT).expect("small")];
    each_path(criterion, "tag::fill_range", |tagger| {
        tagger.fill_range(black_box(1_000), &mut out);
    });
}

fn fill_slice(criterion: &mut Criterion) {
    let inputs: Vec<_> = (0..COUNT).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let mut out = vec![0; inputs.len()];
    each_path(criterion, "tag::fill_slice", |tagger| {
        tagger.fill_slice(black_box(&inputs), &mut out);
    });
}

fn min_in_range(criterion: &mut Criterion) {
    each_path(criterion, "tag::min_in_range", |tagger| {
        black_box(tagger.min_in_range(black_box(1_000), COUNT));
    });
}

fn each_path(criterion: &mut Criterion, operation: &str, mut work: impl FnMut(&Tagger)) {
    let mut group = criterion.benchmark_group(operation);
    group.throughput(Throughput::Elements(COUNT));
    for path in Path::available() {
        let tagger = Tagger::with_path(&KEY, path).expect("the path is available");
        group.bench_function(format!("path={path}"), |b| b.iter(|| work(&tagger)));
    }
}

/// Tags searched by one contender in a round.
const SEARCHED: u64 = 1 << 17;

/// Every path beside what it is measured against: one call of the `blake3` crate for each nonce,
/// and the crate's own way to hash many inputs.
///
/// `chain` tells the clock of the core: 32 times its rate over a path's is the cycles that the path
/// takes for eight tags.
fn beside_the_crate(_: &mut Criterion) {
    let mut contenders: Vec<Contender<'_>> = vec![
        ("blake3::hash".into(), Box::new(naive)),
        ("hash_many, best".into(), Box::new(|| hash_many(Platform::detect()))),
        ("chain".into(), Box::new(chain)),
    ];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        contenders.push(("hash_many, avx2".into(), Box::new(|| hash_many(Platform::AVX2))));
    }
    for path in Path::available() {
        let tagger = Tagger::with_path(&KEY, path).expect("the path is available");
        let minimum = tagger.clone();
        let search = move || {
            black_box(minimum.min_in_range(black_box(0), SEARCHED));
            SEARCHED
        };
        contenders.push((format!("{path} minimum"), Box::new(search)));
        let mut tags = vec![0; usize::try_from(COUNT).expect("small")];
        let inputs: Vec<_> = (0..COUNT).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let (range, mut out) = (tagger.clone(), tags.clone());
        let fill = move || {
            (0..SEARCHED / COUNT).for_each(|_| range.fill_range(black_box(0), &mut out));
            SEARCHED
        };
        contenders.push((format!("{path} range"), Box::new(fill)));
        let fill = move || {
            (0..SEARCHED / COUNT).for_each(|_| tagger.fill_slice(black_box(&inputs), &mut tags));
            SEARCHED
        };
        contenders.push((format!("{path} slice"), Box::new(fill)));
    }
    side_by_side("tag::beside_the_crate", contenders);
}

fn naive() -> u64 {
    let mut input = [0; 64];
    for nonce in 0..SEARCHED {
        input[..8].copy_from_slice(&nonce.to_le_bytes());
        black_box(blake3::hash(black_box(&input)));
    }
    SEARCHED
}

/// The crate's own way to hash many inputs, with the instructions of `platform`.
fn hash_many(platform: Platform) -> u64 {
    const LANES: usize = 16;
    let inputs = [[0_u8; 64]; LANES];
    let inputs: [&[u8; 64]; LANES] = std::array::from_fn(|lane| &inputs[lane]);
    let mut out = [0; 32 * LANES];
    for _ in 0..SEARCHED / LANES as u64 {
        let inputs = black_box(&inputs);
        platform.hash_many(inputs, &[7; 8], 0, IncrementCounter::No, 0, 1, 10, &mut out);
        black_box(&out);
    }
    SEARCHED
}

/// A chain of steps of four cycles each: a multiplication takes three, and `|` one.
fn chain() -> u64 {
    let mut value = black_box(3_u64);
    for _ in 0..SEARCHED {
        value = value.wrapping_mul(value | 1);
    }
    black_box(value);
    SEARCHED
}
