//! Best qualities: exponential, with the mean that the tries predict, for every engine.

use dsc_lib::hash::Context;

use crate::{
    report::{Markdown, Output, Plot, Series},
    table::{Table, tagger},
    vault, walks,
};

const ROUNDS: u64 = 2000;
const WORK_TRIES: u64 = 1 << 12;
const M: u32 = 16;
const LENGTH: u32 = 8;
const STARTS: u64 = 1 << 11;

pub(crate) fn run(output: &Output) -> anyhow::Result<()> {
    println!("### Best quality of a round times tries / 2^64, {ROUNDS} rounds\n");
    let engines = [("work", work()), ("space", space()), ("memory", memory())];
    let mut markdown = Markdown::new(&[
        "engine",
        "mean (1)",
        "median (0.693)",
        "within 2.3 (90.0 %)",
        "Kolmogorov-Smirnov, 1.36 at 5 %",
    ]);
    for (name, scaled) in &engines {
        markdown.row(&[
            (*name).into(),
            format!("{:.3}", scaled.iter().sum::<f64>() / ROUNDS as f64),
            format!("{:.3}", scaled[scaled.len() / 2]),
            format!(
                "{:.1} %",
                100.0 * scaled.partition_point(|q| *q <= 2.3) as f64 / ROUNDS as f64
            ),
            format!("{:.2}", distance(scaled) * (ROUNDS as f64).sqrt()),
        ]);
    }
    markdown.print();
    plot(output, &engines)
}

fn sorted(scaled: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut scaled: Vec<_> = scaled.collect();
    scaled.sort_by(f64::total_cmp);
    scaled
}

fn scale(quality: u64, tries: f64) -> f64 {
    quality as f64 / 2.0_f64.powi(64) * tries
}

fn work() -> Vec<f64> {
    let best = |round| tagger(Context::Work, round).min_in_range(0, WORK_TRIES);
    let found = (0..ROUNDS).filter_map(best);
    sorted(found.map(|(quality, _)| scale(quality, WORK_TRIES as f64)))
}

fn space() -> Vec<f64> {
    let table = Table::build(vault::K, 1);
    let best = |round| vault::best(&table, round, vault::Kept::Entries(1.0));
    let tries = f64::from(1 << vault::K);
    sorted((0..ROUNDS).filter_map(best).map(|quality| scale(quality, tries)))
}

fn memory() -> Vec<f64> {
    let table = walks::Kept::new(&Table::build(M, 1), 1.0);
    let round = |round| {
        let outcome = walks::explore(&table, round, STARTS, LENGTH);
        scale(outcome.best, outcome.lookups as f64 / f64::from(LENGTH))
    };
    sorted((0..ROUNDS).map(round))
}

/// The largest difference between the sample's distribution and the exponential one.
fn distance(scaled: &[f64]) -> f64 {
    let count = scaled.len() as f64;
    let differences = scaled.iter().enumerate().map(|(below, quality)| {
        let model = 1.0 - (-quality).exp();
        let (low, high) = (below as f64 / count, (below + 1) as f64 / count);
        (model - low).abs().max((model - high).abs())
    });
    differences.fold(0.0, f64::max)
}

fn plot(output: &Output, engines: &[(&str, Vec<f64>)]) -> anyhow::Result<()> {
    let model = (0..=120).map(|step| f64::from(step) / 20.0);
    let model = model.map(|q| (q, 1.0 - (-q).exp())).collect();
    let mut series = vec![Series::line("1 - exp(-q)", model)];
    for (name, scaled) in engines {
        let points = scaled.iter().enumerate().step_by(20);
        let points = points.map(|(below, q)| (q.min(6.0), below as f64 / ROUNDS as f64));
        series.push(Series::line(name, points.collect()));
    }
    let plot = Plot {
        title: "Best quality of a round, in units of its expectation",
        x: "quality x tries / 2^64",
        y: "share of rounds at or below",
        series,
    };
    output.write("quality.svg", &plot)
}
