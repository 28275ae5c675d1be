//! The pair table of section 5.2 of the protocol, made the plain way, and seeded randomness.

use dsc_lib::{
    address::Address,
    hash::{Context, Digest, derive},
    proof::{Fingerprint, Miner},
    tag::Tagger,
};

pub(crate) type Pair = (u32, u32);

/// Entries expected in a bucket, as a power of two.
pub(crate) const BUCKET_BITS: u32 = 9;

/// The top `bits` bits of a tag.
pub(crate) const fn top(tag: u64, bits: u32) -> u32 {
    (tag >> (64 - bits)) as u32
}

/// A pair as `tag` takes it.
pub(crate) fn joined((x1, x2): Pair) -> u64 {
    u64::from(x1) | u64::from(x2) << 32
}

/// The keyed hash named by a seed.
pub(crate) fn tagger(context: Context, seed: u64) -> Tagger {
    Tagger::new(derive(context, &[&seed.to_le_bytes()]).as_bytes())
}

/// The miner whose tables are simulated.
pub(crate) fn miner(identity: u64) -> Miner {
    let fingerprint = Fingerprint(u128::from(identity).to_le_bytes());
    Miner { address: Address([1; 32]), fingerprint }
}

/// What section 5.3 derives for the first vault of a miner, after `parts`.
pub(crate) fn of_vault(context: Context, parts: &[&[u8]], k: u32, miner: &Miner) -> Digest {
    let vault = [&miner.address.0[..], &miner.fingerprint.0, &[k as u8], &[0; 4]];
    derive(context, &[parts, &vault].concat())
}

/// Repeatable randomness: the tags of a counter.
pub(crate) struct Random {
    tagger: Tagger,
    next: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { tagger: tagger(Context::Genesis, seed), next: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.tagger.tag(self.next)
    }

    /// Exponential with mean `1 / rate`.
    pub(crate) fn exponential(&mut self, rate: f64) -> f64 {
        let uniform = (self.next() as f64 + 1.0) / 2.0_f64.powi(64);
        -uniform.ln() / rate
    }
}

/// Both levels of the table of one identity.
pub(crate) struct Levels {
    pub(crate) k: u32,
    first: Tagger,
    second: Tagger,
}

impl Levels {
    pub(crate) fn new(k: u32, identity: u64) -> Self {
        let key = |context| of_vault(context, &[], k, &miner(identity));
        let level = |context| Tagger::new(key(context).as_bytes());
        Self { k, first: level(Context::SpaceTable1), second: level(Context::SpaceTable2) }
    }

    /// `y` of each x below 2^k.
    pub(crate) fn first_level(&self) -> Vec<u64> {
        let mut tags = vec![0; 1 << self.k];
        self.first.fill_range(0, &mut tags);
        tags
    }

    /// What two values must share to be a pair.
    pub(crate) fn prefix(&self, x: u32) -> u32 {
        top(self.first.tag(u64::from(x)), self.k - 1)
    }

    pub(crate) fn second_level(&self, pair: Pair) -> u64 {
        self.second.tag(joined(pair))
    }

    /// All pairs among values given with their prefixes.
    pub(crate) fn pairs(mut values: Vec<(u32, u32)>) -> Vec<Pair> {
        values.sort_unstable();
        let groups = values.chunk_by(|left, right| left.0 == right.0);
        groups.flat_map(pairs_within).collect()
    }
}

fn pairs_within(group: &[(u32, u32)]) -> Vec<Pair> {
    let later = |at: usize| group[at + 1..].iter().map(|value| value.1);
    let all = group.iter().enumerate();
    all.flat_map(|(at, first)| later(at).map(|second| (first.1, second))).collect()
}

/// All entries in increasing `e`.
pub(crate) struct Table {
    pub(crate) levels: Levels,
    pub(crate) entries: Vec<(u64, Pair)>,
}

impl Table {
    pub(crate) fn build(k: u32, identity: u64) -> Self {
        let levels = Levels::new(k, identity);
        let tags = levels.first_level();
        let values = tags.iter().zip(0..).map(|(tag, x)| (top(*tag, k - 1), x)).collect();
        let pairs = Levels::pairs(values).into_iter();
        let mut entries: Vec<_> = pairs.map(|pair| (levels.second_level(pair), pair)).collect();
        entries.sort_unstable();
        Self { levels, entries }
    }

    /// The entries whose `e` has the top `bits` bits `prefix`.
    pub(crate) fn range(&self, prefix: u32, bits: u32) -> &[(u64, Pair)] {
        let from = self.entries.partition_point(|entry| top(entry.0, bits) < prefix);
        let rest = &self.entries[from..];
        &rest[..rest.partition_point(|entry| top(entry.0, bits) == prefix)]
    }

    /// Bits that name a bucket.
    pub(crate) fn bucket_bits(&self) -> u32 {
        self.levels.k - BUCKET_BITS
    }
}
