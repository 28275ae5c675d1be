//! Chains against both levels of a pair table: forwards only through an inverse of level 1.
//!
//! The chains of level 2 visit the first two pairs of each prefix, 46 % of all: prefixes that have
//! more are rare but rich, and a function that named every pair would mostly name none.

use crate::{
    rainbow::{Function, Inverter},
    report::Markdown,
    table::{Levels, Pair, Random, Table, top},
};

const K: u32 = 14;
/// The size for which bits and hashes are priced; the shares hardly depend on it.
const K_PRICED: f64 = 28.0;
const SAMPLES: u32 = 1000;

/// Length and number of the tables of one level.
type Shape = (u32, u32);

pub(crate) fn run() {
    println!("### Chains on both levels, shares measured at k = {K}, priced at k = {K_PRICED}\n");
    let mut markdown = Markdown::new(&[
        "level 1",
        "level 2",
        "restored",
        "hashes an entry",
        "bits / entry",
        "bits / restored",
        "log2 hashes a bucket",
        "hints, same hashes",
    ]);
    let table = Table::build(K, 1);
    let shapes = [((4, 2), (4, 2)), ((8, 2), (8, 2)), ((8, 3), (8, 2)), ((16, 2), (16, 2))];
    for (first, second) in shapes {
        markdown.row(&row(&table, first, second));
    }
    markdown.print();
}

fn row(table: &Table, first: Shape, second: Shape) -> Vec<String> {
    let tags = table.levels.first_level();
    let level1 = Function::plain(K, tags.iter().map(|tag| top(*tag, K)).collect());
    let inverse1 = Inverter::rainbow(&level1, first.0, first.1);
    let (level2, pairs) = forwards(table, &inverse1);
    let inverse2 = Inverter::rainbow(&level2, second.0, second.1);
    let (restored, hashes) = attempt(table, &inverse2, &pairs);
    let bits = inverse1.bits_per_point(K_PRICED) + inverse2.bits_per_point(K_PRICED);
    let bucket = (512.0 * hashes).log2();
    vec![
        format!("{} x {}", first.1, first.0),
        format!("{} x {}", second.1, second.0),
        format!("{:.0} %", 100.0 * restored),
        format!("{hashes:.0}"),
        format!("{bits:.1}"),
        format!("{:.1}", bits / restored),
        format!("{bucket:.1}"),
        format!("{:.1}", crate::hints::formula(K_PRICED, bucket)),
    ]
}

/// Level 2 as a function of (prefix, which of its first two pairs), through the inverse of level 1.
fn forwards(table: &Table, inverse: &Inverter<'_>) -> (Function, Vec<Option<Pair>>) {
    let (mut images, mut costs, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for prefix in 0..1 << (K - 1) {
        let (found, hashes) = pairs_of(prefix, inverse);
        for which in 0..2 {
            let pair = found.get(which as usize).copied();
            let image = pair.map(|pair| top(table.levels.second_level(pair), K));
            // Where there is no pair the chain goes on somewhere, as it must.
            let nowhere = (prefix * 2 + which).wrapping_mul(0x85EB_CA6B) >> (32 - K);
            images.push(image.unwrap_or(nowhere));
            costs.push(hashes + 1);
            pairs.push(pair);
        }
    }
    (Function { bits: K, images, costs }, pairs)
}

fn pairs_of(prefix: u32, inverse: &Inverter<'_>) -> (Vec<Pair>, u64) {
    let (low, spent_low) = inverse.invert(prefix * 2, usize::MAX);
    let (high, spent_high) = inverse.invert(prefix * 2 + 1, usize::MAX);
    let values = low.into_iter().chain(high).map(|x| (prefix, x)).collect();
    (Levels::pairs(values), spent_low + spent_high)
}

/// The share of the table's entries that were restored, and the hashes for each.
fn attempt(table: &Table, inverse: &Inverter<'_>, pairs: &[Option<Pair>]) -> (f64, f64) {
    let mut random = Random::new(3);
    let (mut restored, mut hashes) = (0_u32, 0);
    for _ in 0..SAMPLES {
        let at = random.next() as usize % table.entries.len();
        let (e, pair) = table.entries[at];
        let (found, spent) = inverse.invert(top(e, K), usize::MAX);
        restored += u32::from(found.iter().any(|at| pairs[*at as usize] == Some(pair)));
        hashes += spent;
    }
    let per_sample = |sum: f64| sum / f64::from(SAMPLES);
    (per_sample(f64::from(restored)), per_sample(hashes as f64))
}
