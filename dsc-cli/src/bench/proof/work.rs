//! Proof of work: the search on some threads, against the kernel alone and the naive loop.

use std::cell::RefCell;

use dsc_lib::proof::{Entry, Resources};
use serde::Serialize;
use serde_json::Value;

use super::{
    Bench, MINER, Scale, Spread,
    engine::{self, Overruns},
    scaling, section,
    tag::{self, Tag},
};
use crate::{
    bench::{
        measure::{Contender, Quiet},
        peak,
        stats::Samples,
    },
    exit::Failure,
};

const MEGA: f64 = 1e6;

/// What is known of the search.
#[derive(Debug, Serialize)]
struct Work {
    /// Millions of tags per second on all threads.
    mhs: f64,
    threads: usize,
    naive_mhs: f64,
    ratio_naive: f64,
    one_thread_mhs: f64,
    /// The kernel alone, one thread.
    kernel_mhs: f64,
    verify_ns: f64,
    /// The longest that a call went on after its deadline.
    overrun_us: Option<f64>,
    /// From the wish to stop to the end of the call.
    cancel_us: f64,
    peak_rss_bytes: Option<u64>,
    spread: Spread,
    scaling: Vec<Scale>,
}

/// Measures the section.
pub(super) fn measure(bench: &Bench<'_>, entry: &Entry, _tag: &Tag) -> Result<Value, Failure> {
    let engine = engine::build(entry, &[])?;
    let threads = bench.threads_max();
    let resources = Resources { threads, ..Resources::new(bench.folder) };
    let prover = engine.prepare(&MINER, &resources, &Quiet(bench.pace.progress))?;
    let (prover, overruns) = (RefCell::new(prover), Overruns::default());
    let search = |&threads: &usize| -> Contender<'_> {
        let (prover, overruns) = (&prover, &overruns);
        Box::new(move || engine::rate(bench, &mut **prover.borrow_mut(), threads, overruns))
    };
    let mut contenders: Vec<_> = bench.threads.iter().map(search).collect();
    let naive = |thread: usize| tag::naive(1 << (40 + thread % 16));
    contenders.push(Box::new(|| Ok(bench.pace.rate_on(1, |_| tag::search(0)))));
    contenders.push(Box::new(|| Ok(bench.pace.rate_on(threads, naive))));
    let found = bench.pace.interleave("work", contenders)?;
    let (rates, others) = found.split_at(bench.threads.len());
    let (most, kernel, naive) = (&rates[rates.len() - 1], &others[0], &others[1]);
    let mut prover = prover.into_inner();
    let proofs = engine::proofs(bench, entry, &mut *prover)?;
    let verify = engine::verify_ns(bench, &*engine, &proofs)?;
    let cancel_us = engine::cancel_us(bench, &mut *prover)?;
    let mut spread = Spread::default();
    let mut mega = |field, rate: &Samples| spread.keep(field, &rate.map(|rate| rate / MEGA));
    section(&Work {
        mhs: mega("mhs", most),
        threads,
        naive_mhs: mega("naive_mhs", naive),
        ratio_naive: most.ratio(naive),
        one_thread_mhs: mega("one_thread_mhs", &rates[0]),
        kernel_mhs: mega("kernel_mhs", kernel),
        verify_ns: spread.keep("verify_ns", &verify),
        overrun_us: overruns.longest(),
        cancel_us: spread.keep("cancel_us", &cancel_us),
        peak_rss_bytes: peak::bytes(),
        spread,
        scaling: scaling(&bench.threads, rates),
    })
}
