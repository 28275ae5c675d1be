//! Choosing: a lucky identity, or which of several winning proofs to hand in.

use crate::{
    report::Markdown,
    table::{Random, Table},
};

const K: u32 = 12;
const IDENTITIES: u64 = 400;
const ROUNDS: u64 = 400_000;

pub(crate) fn run() {
    identities();
    challenges();
}

/// How much the number of pairs differs between identities.
fn identities() {
    let expected = 2.0_f64.powi(K as i32);
    let surplus = |identity| Table::build(K, identity).entries.len() as f64 / expected - 1.0;
    let found: Vec<f64> = (0..IDENTITIES).map(surplus).collect();
    let mean = found.iter().sum::<f64>() / IDENTITIES as f64;
    let squares = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let deviation = (squares / IDENTITIES as f64).sqrt();
    let best = found.iter().copied().fold(f64::MIN, f64::max);
    println!("### Grinding identities, k = {K}, {IDENTITIES} of them\n");
    println!(
        "Pairs / 2^k - 1: mean {:+.2} %, standard deviation {:.2} % (2^(-k/2) = {:.2} %), \
         best {:+.2} %\n",
        100.0 * mean,
        100.0 * deviation,
        100.0 / expected.sqrt(),
        100.0 * best
    );
}

fn challenges() {
    println!("### Grinding the challenge: rounds won of {ROUNDS}\n");
    let mut markdown =
        Markdown::new(&["capacity", "honest", "choosing among winning proofs", "gain"]);
    for share in [0.05, 0.1, 0.2, 0.3, 0.4, 0.45] {
        let (honest, ground) = (rounds_won(share, false), rounds_won(share, true));
        markdown.row(&[
            format!("{:.0} %", 100.0 * share),
            format!("{:.2} %", 100.0 * honest),
            format!("{:.2} %", 100.0 * ground),
            format!("{:+.1} %", 100.0 * (ground / honest - 1.0)),
        ]);
    }
    markdown.print();
}

/// The share of rounds won by a miner who holds `share` of one engine's capacity.
///
/// His proofs come at rate `share`, the others' at the rest. All of his that beat the others' best
/// would win, each gives another challenge, and for each he knows his next best quality.
fn rounds_won(share: f64, choosing: bool) -> f64 {
    let mut random = Random::new(5);
    let mut ours = random.exponential(share);
    let mut won = 0_u64;
    for _ in 0..ROUNDS {
        let others = random.exponential(1.0 - share);
        let mut next = random.exponential(share);
        if ours < others {
            won += 1;
            ours += random.exponential(share);
        }
        while choosing && ours < others {
            next = next.min(random.exponential(share));
            ours += random.exponential(share);
        }
        ours = next;
    }
    won as f64 / ROUNDS as f64
}
