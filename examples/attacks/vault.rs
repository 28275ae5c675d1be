//! Space: what keeping part of a vault wins, and the qualities a vault yields.

use dsc_lib::hash::Context;

use crate::{
    report::Markdown,
    table::{Table, joined, tagger, top},
};

pub(crate) const K: u32 = 14;
const ROUNDS: u64 = 4000;
const SHARES: [f64; 5] = [0.125, 0.25, 0.5, 0.75, 1.0];

/// What is left of each vault.
#[derive(Clone, Copy)]
pub(crate) enum Kept {
    Buckets(f64),
    Entries(f64),
}

/// The best quality for a challenge among what is kept.
pub(crate) fn best(table: &Table, challenge: u64, kept: Kept) -> Option<u64> {
    let key = tagger(Context::SpaceChallenge, challenge);
    let bits = table.bucket_bits();
    let bucket = top(key.tag(u64::MAX), bits);
    let entries = table.range(bucket, bits);
    let count = match kept {
        Kept::Buckets(share) if f64::from(bucket) < share * f64::from(1 << bits) => entries.len(),
        Kept::Buckets(_) => 0,
        Kept::Entries(share) => (share * entries.len() as f64).round() as usize,
    };
    let inputs: Vec<_> = entries[..count].iter().map(|entry| joined(entry.1)).collect();
    let mut tags = vec![0; count];
    key.fill_slice(&inputs, &mut tags);
    tags.into_iter().min().map(|tag| tag >> bits)
}

pub(crate) fn run() {
    println!("### Part of a vault against a whole one, k = {K}, {ROUNDS} rounds\n");
    let (honest, other) = (Table::build(K, 1), Table::build(K, 2));
    let whole = Kept::Entries(1.0);
    let rivals: Vec<_> = (0..ROUNDS).map(|round| best(&honest, 2 * round, whole)).collect();
    let mut markdown =
        Markdown::new(&["kept", "won, whole buckets", "won, part of each", "f / (1 + f)"]);
    for share in SHARES {
        let won = |kept| {
            let ours = (0..ROUNDS).map(|round| best(&other, 2 * round + 1, kept));
            ours.zip(&rivals).filter(|(ours, rival)| beats(*ours, **rival)).count()
        };
        let percent = |count: usize| format!("{:.1} %", 100.0 * count as f64 / ROUNDS as f64);
        markdown.row(&[
            share.to_string(),
            percent(won(Kept::Buckets(share))),
            percent(won(Kept::Entries(share))),
            format!("{:.1} %", 100.0 * share / (1.0 + share)),
        ]);
    }
    markdown.print();
}

fn beats(ours: Option<u64>, rival: Option<u64>) -> bool {
    ours.unwrap_or(u64::MAX) < rival.unwrap_or(u64::MAX)
}
