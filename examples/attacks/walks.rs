//! Memory: walks over part of a table, and walks batched so that a table can be streamed.

use dsc_lib::hash::Context;

use crate::{
    report::{Markdown, Output, Plot, Series},
    table::{Random, Table, joined, tagger, top},
};

const M: u32 = 18;
const STARTS: u64 = 1 << 16;
const SHARES: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 1.0];
const LENGTHS: [u32; 3] = [8, 16, 32];

/// A table with an index of prefixes, of which some entries were thrown away.
pub(crate) struct Kept {
    bits: u32,
    first: Vec<usize>,
    pairs: Vec<u64>,
}

impl Kept {
    pub(crate) fn new(table: &Table, share: f64) -> Self {
        let mut random = Random::new(4);
        let mut keep = || (random.next() as f64) < share * 2.0_f64.powi(64);
        let bits = table.levels.k;
        let (mut first, mut pairs) = (vec![0; (1 << bits) + 1], Vec::new());
        for (e, pair) in table.entries.iter().filter(|_| keep()) {
            first[top(*e, bits) as usize + 1] += 1;
            pairs.push(joined(*pair));
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        Self { bits, first, pairs }
    }

    fn find(&self, state: u64) -> &[u64] {
        let prefix = top(state, self.bits) as usize;
        &self.pairs[self.first[prefix]..self.first[prefix + 1]]
    }
}

/// What exploring some starts came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) lookups: usize,
    pub(crate) finished: usize,
    pub(crate) widest: usize,
    pub(crate) best: u64,
}

/// Takes `starts` walks of a challenge to their ends, all together, with every branch.
pub(crate) fn explore(kept: &Kept, challenge: u64, starts: u64, length: u32) -> Outcome {
    let step = tagger(Context::MemoryStep, challenge);
    let mut states = vec![0; starts as usize];
    tagger(Context::MemoryStart, challenge).fill_range(0, &mut states);
    let mut outcome = Outcome::default();
    for _ in 0..length {
        outcome.lookups += states.len();
        outcome.widest = outcome.widest.max(states.len());
        let inputs: Vec<u64> = states
            .iter()
            .flat_map(|state| kept.find(*state).iter().map(move |pair| state ^ pair))
            .collect();
        states = vec![0; inputs.len()];
        step.fill_slice(&inputs, &mut states);
    }
    outcome.finished = states.len();
    outcome.best = states.into_iter().min().unwrap_or(u64::MAX);
    outcome
}

pub(crate) fn run(output: &Output) -> anyhow::Result<()> {
    let table = Table::build(M, 1);
    fractions(&table);
    batches(&table);
    plot(output)
}

/// Finished walks a look-up with a share `f` of the table, as a share of the whole table's.
fn expected(f: f64, length: u32) -> f64 {
    if f >= 1.0 {
        return 1.0;
    }
    let survive = f.powf(f64::from(length));
    f64::from(length) * survive * (1.0 - f) / (1.0 - survive)
}

fn fractions(table: &Table) {
    println!("### Part of a memory table, m = {M}, {STARTS} starts: walks a look-up\n");
    let heads = LENGTHS.map(|length| [format!("L = {length}"), "formula".into()]).concat();
    let heads: Vec<_> = ["kept"].into_iter().chain(heads.iter().map(String::as_str)).collect();
    let mut markdown = Markdown::new(&heads);
    let whole = Kept::new(table, 1.0);
    for share in SHARES {
        let kept = Kept::new(table, share);
        let mut cells = vec![share.to_string()];
        for length in LENGTHS {
            let rate = |outcome: Outcome| outcome.finished as f64 / outcome.lookups as f64;
            let got = rate(explore(&kept, 1, STARTS, length));
            let full = rate(explore(&whole, 1, STARTS, length));
            cells.push(format!("{:.3} %", 100.0 * got / full));
            cells.push(format!("{:.3} %", 100.0 * expected(share, length)));
        }
        markdown.row(&cells);
    }
    markdown.print();
}

/// A pass over the table answers one step of every walk in the batch.
fn batches(table: &Table) {
    const LENGTH: u32 = 32;
    println!("### Walks batched to stream the table, m = {M}, L = {LENGTH}: {LENGTH} passes\n");
    let mut markdown = Markdown::new(&[
        "starts / entries",
        "walks finished",
        "most states at once / entries",
        "entries streamed a walk",
        "hashes a walk, if made anew",
    ]);
    let (whole, entries) = (Kept::new(table, 1.0), table.entries.len() as f64);
    for shift in [0, 2, 4, 6, 8] {
        let starts = (1 << M) >> shift;
        let outcome = explore(&whole, 2, starts, LENGTH);
        let streamed = f64::from(LENGTH) * entries / outcome.finished as f64;
        markdown.row(&[
            format!("1/{}", 1 << shift),
            outcome.finished.to_string(),
            format!("{:.3}", outcome.widest as f64 / entries),
            format!("{streamed:.0}"),
            format!("{:.0}", 2.0 * streamed),
        ]);
    }
    markdown.print();
}

fn plot(output: &Output) -> anyhow::Result<()> {
    let line = |length| {
        let shares = (0..=100).map(|step| f64::from(step) / 100.0);
        let points = shares.map(|f| (f, 100.0 * expected(f, length))).collect();
        Series::line(&format!("L = {length}"), points)
    };
    let plot = Plot {
        title: "Part of a memory table: walks finished for each look-up",
        x: "share of the table kept",
        y: "% of the whole table's rate",
        series: [1].into_iter().chain(LENGTHS).map(line).collect(),
    };
    output.write("fraction.svg", &plot)
}
