//! Roots and inclusion proofs.

use std::hint::black_box;

use dsc_benches::{Criterion, Throughput, digest, run};
use dsc_lib::{
    hash::Digest,
    merkle::{InclusionProof, leaf, root},
};

fn main() {
    run(&[leaves, roots, proofs]);
}

fn tree(count: u64) -> Vec<Digest> {
    (0..count).map(digest).collect()
}

fn leaves(criterion: &mut Criterion) {
    let item = [7; 622];
    let mut group = criterion.benchmark_group("merkle::leaf");
    group.throughput(Throughput::Bytes(item.len() as u64));
    group.bench_function("bytes=622", |b| b.iter(|| leaf(black_box(&item))));
}

fn roots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merkle::root");
    for count in [1_000, 100_000] {
        let leaves = tree(count);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("leaves={count}"), |b| b.iter(|| root(black_box(&leaves))));
    }
}

fn proofs(criterion: &mut Criterion) {
    let leaves = tree(1_000);
    let (root, place) = (root(&leaves), 777);
    criterion.bench_function("merkle::prove/leaves=1000", |b| {
        b.iter(|| InclusionProof::new(black_box(&leaves), place).expect("there is such a leaf"));
    });
    let proof = InclusionProof::new(&leaves, place).expect("there is such a leaf");
    criterion.bench_function("merkle::verify/leaves=1000", |b| {
        b.iter(|| proof.verify(black_box(leaves[place]), root).expect("our own proof"));
    });
}
