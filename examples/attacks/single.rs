//! The single-table scheme: a vault of plain hashes, and what chains answer in its place.

use dsc_lib::hash::Context;

use crate::{
    rainbow::{Function, Inverter},
    report::{Markdown, Output, Plot, Series},
    table::{Random, tagger, top},
};

const BITS: u32 = 16;
const LOOKUPS: u32 = 2000;
/// Length and number of rainbow tables.
const SINGLE: [(u32, u32); 4] = [(4, 1), (8, 1), (15, 1), (32, 1)];
const DOUBLE: [(u32, u32); 4] = [(8, 2), (16, 2), (32, 2), (64, 2)];

struct Row {
    name: String,
    chains: f64,
    storage: f64,
    answered: f64,
    hashes: f64,
}

pub(crate) fn run(output: &Output) -> anyhow::Result<()> {
    let mut tags = vec![0; 1 << BITS];
    tagger(Context::Work, 1).fill_range(0, &mut tags);
    let function = Function::plain(BITS, tags.iter().map(|tag| top(*tag, BITS)).collect());
    let rainbow = |(length, tables)| {
        let inverter = Inverter::rainbow(&function, length, tables);
        row(format!("rainbow, {tables} x {length} columns"), &function, &inverter)
    };
    let hellman = |(length, tables)| {
        let inverter = Inverter::hellman(&function, length, tables);
        row(format!("Hellman, {tables} x {length} columns"), &function, &inverter)
    };
    let sizes = SINGLE.into_iter().chain(DOUBLE);
    let rainbows: Vec<Row> = sizes.map(rainbow).collect();
    let hellmans: Vec<Row> =
        [(4, 4), (8, 8), (16, 16), (16, 32)].into_iter().map(hellman).collect();
    print(rainbows.iter().chain(&hellmans));
    plot(output, &rainbows, &hellmans)
}

fn row(name: String, function: &Function, inverter: &Inverter<'_>) -> Row {
    let mut random = Random::new(2);
    let (mut answered, mut hashes) = (0_u32, 0);
    for _ in 0..LOOKUPS {
        let x = top(random.next(), BITS);
        let (found, spent) = inverter.invert(function.images[x as usize], 1);
        answered += u32::from(!found.is_empty());
        hashes += spent;
    }
    Row {
        name,
        chains: inverter.chain_share(),
        storage: inverter.bits_per_point(f64::from(BITS)) / f64::from(BITS),
        answered: f64::from(answered) / f64::from(LOOKUPS),
        hashes: hashes as f64 / f64::from(LOOKUPS),
    }
}

fn print<'a>(rows: impl Iterator<Item = &'a Row>) {
    println!("### Chains against a single table of 2^{BITS} plain hashes\n");
    let mut table = Markdown::new(&[
        "tables",
        "chains / entries",
        "storage, packed",
        "storage, 2 words a chain",
        "answered",
        "hashes a look-up",
    ]);
    for row in rows {
        table.row(&[
            row.name.clone(),
            format!("{:.3}", row.chains),
            format!("{:.1} %", 100.0 * row.storage),
            format!("{:.1} %", 200.0 * row.chains),
            format!("{:.1} %", 100.0 * row.answered),
            format!("{:.0}", row.hashes),
        ]);
    }
    table.print();
}

fn plot(output: &Output, rainbows: &[Row], hellmans: &[Row]) -> anyhow::Result<()> {
    let line = |name: &str, rows: &[Row]| {
        let point = |row: &Row| (100.0 * row.storage / row.answered, row.hashes.log2());
        Series::marked(name, rows.iter().map(point).collect())
    };
    let (one, two) = rainbows.split_at(SINGLE.len());
    let plot = Plot {
        title: "Single table of plain hashes: storage replaced by hashing",
        x: "storage for each look-up answered, % of the table",
        y: "hashes a look-up (log2)",
        series: vec![
            line("one rainbow table", one),
            line("two rainbow tables", two),
            line("Hellman, t tables of t columns", &hellmans[..3]),
        ],
    };
    output.write("single-table.svg", &plot)
}
