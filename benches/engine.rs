//! What is measured of every engine.

use std::{hint::black_box, path::Path};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use dsc_lib::{
    address::Address,
    proof::{
        Challenge, Entry, Fingerprint, Miner, NoProgress, ProofEngine, Prover, Resources, find,
    },
    testing::Unhurried,
    units::Target,
};

use crate::digest;

/// The miner of every bench.
pub const MINER: Miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
const PREPARE_SAMPLES: usize = 10;

/// One engine with its other parameters at their defaults.
struct Case {
    engine: Box<dyn ProofEngine>,
    name: String,
}

/// Measures preparing, proving and verifying of the engine called `name`, for each of `sizes` of
/// its table if it has one.
///
/// # Panics
///
/// If there is no such engine, or it fails.
pub fn engine(criterion: &mut Criterion, name: &str, sizes: &[u64]) {
    let entry = find(name).expect("a registered engine");
    for case in cases(entry, sizes) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if !entry.params.is_empty() {
            prepare(criterion, entry, &case);
        }
        let mut prover = prover(&case, folder.path());
        prove(criterion, entry, &case, &mut *prover);
        verify(criterion, entry, &case, &mut *prover);
    }
}

/// The first parameter of an engine with a table is log2 of its entries.
fn cases(entry: &Entry, sizes: &[u64]) -> Vec<Case> {
    let usual: Vec<_> = entry.params.iter().map(|param| param.default).collect();
    let Some(size) = entry.params.first() else {
        return vec![case(entry, &usual, "table=none".into())];
    };
    let case_of = |value: &u64| {
        let params: Vec<_> = [*value].into_iter().chain(usual[1..].to_vec()).collect();
        case(entry, &params, format!("{}={value}", size.name))
    };
    sizes.iter().map(case_of).collect()
}

fn case(entry: &Entry, params: &[u64], name: String) -> Case {
    Case { engine: entry.build_with(params).expect("parameters in range"), name }
}

fn prover(case: &Case, folder: &Path) -> Box<dyn Prover> {
    let resources = Resources::new(folder);
    case.engine.prepare(&MINER, &resources, &NoProgress).expect("enough memory and disk")
}

fn group<'a>(c: &'a mut Criterion, entry: &Entry, operation: &str) -> BenchmarkGroup<'a, WallTime> {
    c.benchmark_group(format!("proof::{}::{operation}", entry.name))
}

/// Makes the table anew each time.
fn prepare(criterion: &mut Criterion, entry: &Entry, case: &Case) {
    let mut group = group(criterion, entry, "prepare");
    group.sample_size(PREPARE_SAMPLES);
    group.bench_function(&case.name, |b| {
        b.iter_with_large_drop(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            (prover(case, folder.path()), folder)
        });
    });
}

/// The tries of one round under a cap; a try is a hash, an entry or a look-up.
fn prove(criterion: &mut Criterion, entry: &Entry, case: &Case, prover: &mut dyn Prover) {
    let free = Unhurried::default();
    let mut round = 0;
    let mut prove = || {
        round += 1;
        let challenge = Challenge(digest(round));
        prover.prove(&challenge, Target::MAX, &free.budget()).expect("a working prover")
    };
    let tries = prove().attempts;
    let mut group = group(criterion, entry, "prove");
    group.throughput(Throughput::Elements(tries));
    group.bench_function(&case.name, |b| b.iter(&mut prove));
}

fn verify(criterion: &mut Criterion, entry: &Entry, case: &Case, prover: &mut dyn Prover) {
    let (free, challenge) = (Unhurried::default(), Challenge(digest(0)));
    let attempt = prover.prove(&challenge, Target::MAX, &free.budget()).expect("a working prover");
    let (proof, _) = attempt.best.expect("every quality meets the target");
    group(criterion, entry, "verify").bench_function(&case.name, |b| {
        b.iter(|| case.engine.verify(&challenge, &MINER, black_box(&proof)));
    });
}
