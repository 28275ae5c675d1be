//! The single-table scheme: a vault of plain hashes, and what chains answer in its place.

use dsc_lib::hash::Context;

use crate::{
    rainbow::{Function, Inverter},
    report::{Markdown, Output, Plot, Series},
    table::{Random, tagger, top},
};

const BITS: u32 = 16;
const LOOKUPS: u32 = 2000;

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
    let sizes = [(4, 1), (8, 1), (15, 1), (32, 1), (8, 2), (16, 2), (32, 2), (64, 2)];
    let rainbows: Vec<Row> = sizes.into_iter().map(rainbow).collect();
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
    let points = |rows: &[Row]| {
        let mut points: Vec<_> =
            rows.iter().map(|row| (100.0 * row.storage / row.answered, row.hashes)).collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        points
    };
    let plot = Plot {
        title: "Single table of plain hashes: storage replaced by hashing",
        x: "storage for each look-up answered, % of the table",
        y: "hashes a look-up (log2)",
        series: vec![
            Series::marked("rainbow tables", log2_y(points(rainbows))),
            Series::marked("Hellman tables", log2_y(points(hellmans))),
        ],
    };
    output.write("single-table.svg", &plot)
}

fn log2_y(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.into_iter().map(|(x, y)| (x, y.log2())).collect()
}
