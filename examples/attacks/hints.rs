//! Sorted hints instead of pairs: each bucket keeps the high bits of its values, sorted.

use dsc_lib::{
    hash::{Context, derive},
    proof::{Challenge, Proof, ProofEngine, find},
    tag::Tagger,
    units::Quality,
};

use crate::{
    report::{Markdown, Output, Plot, Series},
    table::{Levels, Pair, Table, joined, miner, of_vault, top},
};

const K: u32 = 18;
const DROPPED_MAX: u32 = 7;
const BUCKETS: u32 = 8;
const HONEST_BITS: f64 = 64.0;
const IDENTITY: u64 = 1;
/// Bits dropped when real challenges are answered, and how many are.
const DROPPED: u32 = 4;
const CHALLENGES: u64 = 64;

/// Bits an entry of sorted hints when `log2_hashes` are spent on a challenge.
pub(crate) fn formula(k: f64, log2_hashes: f64) -> f64 {
    2.0 * (k - log2_hashes + std::f64::consts::LOG2_E)
}

#[derive(Default)]
struct Sum {
    entries: usize,
    restored: usize,
    bits: u64,
    hashes: u64,
}

pub(crate) fn run(output: &Output) -> anyhow::Result<()> {
    println!("### Sorted hints at k = {K}, {BUCKETS} buckets restored\n");
    let table = Table::build(K, IDENTITY);
    let mut markdown = Markdown::new(&[
        "bits dropped",
        "log2 hashes a challenge",
        "restored",
        "bits / entry, Rice code",
        "formula",
        "of 64 bits",
    ]);
    let mut measured = Vec::new();
    for dropped in 0..=DROPPED_MAX {
        let sum = bucket_sum(&table, dropped);
        let bits = sum.bits as f64 / sum.entries as f64;
        let log2 = (sum.hashes as f64 / f64::from(BUCKETS)).log2();
        measured.push((f64::from(K) - log2, bits));
        markdown.row(&[
            dropped.to_string(),
            format!("{log2:.1}"),
            format!("{} of {}", sum.restored, sum.entries),
            format!("{bits:.1}"),
            format!("{:.1}", formula(f64::from(K), log2)),
            format!("{:.0} %", 100.0 * bits / HONEST_BITS),
        ]);
    }
    markdown.print();
    deceive(&table)?;
    plot(output, measured)
}

/// Answers challenges from hints and has the library verify the proofs.
fn deceive(table: &Table) -> anyhow::Result<()> {
    let engine = find("space")?.build_with(&[K.into(), 0])?;
    let mut accepted = 0;
    for round in 0..CHALLENGES {
        let challenge = Challenge(derive(Context::Challenge, &[&round.to_le_bytes()]));
        let (proof, quality) = answer(table, &*engine, &challenge);
        let verdict = engine.verify(&challenge, &miner(IDENTITY), &proof)?;
        accepted += u32::from(verdict == quality);
    }
    println!(
        "Challenges of the protocol answered from hints with {DROPPED} bits dropped, and the \
         proofs accepted by the library: {accepted} of {CHALLENGES}.\n"
    );
    Ok(())
}

/// The best proof that the hints of the bucket give; the table serves only to make the hints.
fn answer(table: &Table, engine: &dyn ProofEngine, challenge: &Challenge) -> (Proof, Quality) {
    let parts: [&[u8]; 1] = [challenge.0.as_bytes()];
    let digest = of_vault(Context::SpaceChallenge, &parts, K, &miner(IDENTITY));
    let bits = table.bucket_bits();
    let bucket = top(digest.first64(), bits);
    let hints = hints(table.range(bucket, bits), DROPPED);
    let (restored, _) = restore(table, bucket, &hints, DROPPED);
    let tagger = Tagger::new(digest.as_bytes());
    let qualities = restored.into_iter().map(|pair| (tagger.tag(joined(pair)) >> bits, pair));
    let (quality, (x1, x2)) = qualities.min().unwrap_or((u64::MAX, (0, 0)));
    let bytes = [&[K as u8][..], &[0; 4], &x1.to_le_bytes(), &x2.to_le_bytes()].concat();
    (Proof { kind: engine.kind(), bytes }, Quality(quality))
}

fn bucket_sum(table: &Table, dropped: u32) -> Sum {
    let mut sum = Sum::default();
    for bucket in 0..BUCKETS {
        let entries = table.range(bucket, table.bucket_bits());
        let hints = hints(entries, dropped);
        let (restored, hashes) = restore(table, bucket, &hints, dropped);
        let kept = entries.iter().filter(|entry| restored.contains(&entry.1));
        sum.restored += kept.count();
        sum.entries += entries.len();
        sum.bits += rice_bits(&hints);
        sum.hashes += hashes;
    }
    sum
}

fn hints(entries: &[(u64, Pair)], dropped: u32) -> Vec<u32> {
    let values = entries.iter().flat_map(|(_, (x1, x2))| [x1 >> dropped, x2 >> dropped]);
    let mut hints: Vec<_> = values.collect();
    hints.sort_unstable();
    hints.dedup();
    hints
}

/// The pairs that the hints of a bucket lead to, and the hashes of level 1 it took.
fn restore(table: &Table, bucket: u32, hints: &[u32], dropped: u32) -> (Vec<Pair>, u64) {
    let values = hints.iter().flat_map(|hint| hint << dropped..(hint + 1) << dropped);
    let tagged: Vec<_> = values.map(|x| (table.levels.prefix(x), x)).collect();
    let hashes = tagged.len() as u64;
    let bits = table.bucket_bits();
    let here = |pair: &Pair| top(table.levels.second_level(*pair), bits) == bucket;
    (Levels::pairs(tagged).into_iter().filter(here).collect(), hashes)
}

/// The length of the differences in the best Rice code.
fn rice_bits(sorted: &[u32]) -> u64 {
    let before = [0].into_iter().chain(sorted.iter().copied());
    let gaps: Vec<_> = sorted.iter().zip(before).map(|(hint, before)| hint - before).collect();
    let length = |low: u32| gaps.iter().map(|gap| u64::from((gap >> low) + 1 + low)).sum();
    (0..K).map(length).min().unwrap_or(0)
}

fn plot(output: &Output, measured: Vec<(f64, f64)>) -> anyhow::Result<()> {
    let curve = (0..=48).map(|step| f64::from(step) / 2.0);
    let hints = curve.clone().map(|x| (x, formula(x, 0.0)));
    let honest = curve.map(|x| (x, HONEST_BITS));
    let plot = Plot {
        title: "Pair table: bits kept for an entry against hashes a challenge",
        x: "k - log2(hashes a challenge)",
        y: "bits an entry",
        series: vec![
            Series::line("an entry as the vault stores it", honest.collect()),
            Series::line("2 (k - log2 W + 1.44)", hints.collect()),
            Series::marked("measured, k = 18", measured),
        ],
    };
    output.write("hints.svg", &plot)
}
