//! Tags per second on every path of this CPU, and of the reference.

use std::hint::black_box;

use dsc_benches::{Criterion, Throughput, run};
use dsc_lib::tag::{Path, Tagger, tag};

const KEY: [u8; 32] = [7; 32];
const COUNT: u64 = 4096;

fn main() {
    run(&[reference, fill_range, fill_slice, min_in_range]);
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
