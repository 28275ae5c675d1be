//! Arithmetic: what replacing space and memory by hashing costs at real sizes.

use crate::report::Markdown;

/// Seconds between blocks.
const INTERVAL: f64 = 6.0;
/// Hashes a second of one core, between what AVX2 (78 million) and AVX-512 (148 million) reached
/// when measured; and of a large GPU, assumed.
const CORE: f64 = 9e7;
const GPU: f64 = 1e10;
/// Bytes of an entry.
const ENTRY: f64 = 8.0;
const WALK: f64 = 32.0;

pub(crate) fn run() {
    single_table();
    vaults_anew();
    hints();
    tables_streamed();
}

/// Two rainbow tables of `length` columns: about `2 * 2 / (length + 2)` chains an entry.
fn single_table() {
    /// Hashes for a look-up over the square of the length, as measured with 64 columns.
    const HASHES: f64 = 650.0 / (64.0 * 64.0);
    const K: f64 = 28.0;
    println!("### Single table and pair table, k = {K}, for the same hashes a challenge\n");
    let mut markdown = Markdown::new(&[
        "columns",
        "log2 hashes a challenge",
        "single table, bits / entry",
        "pair table, bits / entry",
    ]);
    for length in [32.0_f64, 128.0, 512.0, 1024.0, 4096.0] {
        let hashes = (HASHES * length * length).log2();
        let one_table = 2.0 / (length + 2.0);
        let chains = 2.0 * one_table * (K + 2.0 - one_table.log2());
        // Less than one hash for each value in the bucket restores nothing.
        let hints = (hashes >= 10.0).then(|| format!("{:.1}", crate::hints::formula(K, hashes)));
        markdown.row(&[
            length.to_string(),
            format!("{hashes:.1}"),
            format!("{chains:.3}"),
            hints.unwrap_or_else(|| "56 (plain pairs)".into()),
        ]);
    }
    markdown.print();
}

fn vaults_anew() {
    println!("### One vault made anew for a challenge: 2^(k+1) hashes\n");
    let mut markdown = Markdown::new(&[
        "k",
        "vault",
        "core seconds",
        "GPU seconds",
        "vaults a GPU replaces in 6 s",
        "bytes so saved",
    ]);
    for k in [20, 24, 28, 30, 32] {
        let (hashes, bytes) = (2.0_f64.powi(k + 1), ENTRY * 2.0_f64.powi(k));
        let vaults = INTERVAL * GPU / hashes;
        markdown.row(&[
            k.to_string(),
            size(bytes),
            format!("{:.2}", hashes / CORE),
            format!("{:.4}", hashes / GPU),
            format!("{vaults:.1}"),
            size(vaults * bytes),
        ]);
    }
    markdown.print();
}

/// Per entry of 8 bytes, whatever k: only the hashes per entry and challenge count.
fn hints() {
    println!("### Sorted hints: the price of a smaller vault, a challenge every 6 s\n");
    let mut markdown = Markdown::new(&[
        "bits / entry",
        "of the vault",
        "hashes an entry and challenge",
        "cores for each TB freed",
        "TB of vaults that one GPU shrinks",
    ]);
    for bits in [48.0, 40.0, 32.0, 24.0, 20.0, 16.0, 12.0, 8.0] {
        let hashes = 2.0_f64.powf(std::f64::consts::LOG2_E - bits / 2.0);
        let saved = 1.0 - bits / (8.0 * ENTRY);
        // Entries whose hints leave one terabyte free.
        let entries = 1e12 / ENTRY / saved;
        let rate = hashes * entries / INTERVAL;
        let shrunk = GPU * INTERVAL / hashes * ENTRY / 1e12;
        markdown.row(&[
            bits.to_string(),
            format!("{:.0} %", 100.0 * (1.0 - saved)),
            format!("2^{:.1}", hashes.log2()),
            format!("{:.3}", rate / CORE),
            format!("{shrunk:.0}"),
        ]);
    }
    markdown.print();
}

fn tables_streamed() {
    println!("### A memory table streamed from disk or made anew, L = {WALK}\n");
    let mut markdown = Markdown::new(&[
        "m",
        "table",
        "L passes at 1 GB/s, s",
        "at 7 GB/s, s",
        "at 14 GB/s, s",
        "hashes/s to make it anew in 6 s",
    ]);
    for m in [24, 26, 27, 28, 29, 30, 32] {
        let bytes = ENTRY * 2.0_f64.powi(m);
        let passes = |rate: f64| format!("{:.1}", WALK * bytes / rate);
        let anew = WALK * 2.0_f64.powi(m + 1) / INTERVAL;
        markdown.row(&[
            m.to_string(),
            size(bytes),
            passes(1e9),
            passes(7e9),
            passes(14e9),
            format!("{anew:.1e}"),
        ]);
    }
    markdown.print();
}

fn size(bytes: f64) -> String {
    let steps = (bytes.log2() / 10.0).floor().clamp(0.0, 4.0);
    let unit = ["B", "KiB", "MiB", "GiB", "TiB"][steps as usize];
    format!("{:.0} {unit}", bytes / 1024.0_f64.powf(steps))
}
