//! The published vaults, and every way in which a vault or a proof can be wrong.

use super::*;
use crate::proof::{
    LookupMode, NoProgress,
    pairs::{Placed, whole_table},
    testing::{Unhurried, vector_challenge, vector_miner},
};

/// A published vault and the answer that it gives.
struct Case {
    k: u8,
    index: u32,
    s: u64,
    pairs: u64,
    dropped: u64,
    entry: (u32, u32),
    quality: u64,
    table: &'static str,
    /// The first entries: `e`, `x1`, `x2`.
    first: [(u64, u32, u32); 3],
}

const CASES: [Case; 3] = [
    Case {
        k: 16,
        index: 0,
        s: 0,
        pairs: 65207,
        dropped: 1078,
        entry: (47218, 55193),
        quality: 86_099_865_028_526,
        table: "9c5f859d380bdce511eb5e4c4890791f038cc3cd2a36fb6dbccb765917193cc4",
        first: [
            (130_355_073_688_517, 17932, 52088),
            (250_336_517_844_435, 5166, 10655),
            (400_761_040_294_187, 45124, 57154),
        ],
    },
    Case {
        k: 16,
        index: 3,
        s: 1,
        pairs: 65820,
        dropped: 1365,
        entry: (46647, 61436),
        quality: 272_875_993_643_175,
        table: "792bd86f7b31b3db08308a7b9959b55d50574b063d73a60508fe532125611827",
        first: [
            (254_125_162_207_323, 24535, 57506),
            (388_542_371_035_334, 57355, 60433),
            (666_667_949_457_024, 5258, 58043),
        ],
    },
    Case {
        k: 17,
        index: 0,
        s: 2,
        pairs: 131_310,
        dropped: 2571,
        entry: (29755, 45582),
        quality: 190_723_613_354_078,
        table: "f367ba59829e1bfb586900423ff7d96092097ea90baab9b681027c5d401362d2",
        first: [
            (361_112_495_457_311, 30497, 92024),
            (526_184_549_067_264, 66851, 116_306),
            (571_409_729_505_853, 33859, 37336),
        ],
    },
];

impl Case {
    fn id(&self) -> VaultId {
        VaultId::new(vector_miner(), self.k, self.index).unwrap()
    }

    fn engine(&self) -> Box<dyn ProofEngine> {
        ENTRY.build_with(&[16, self.s]).unwrap()
    }

    fn resources(&self, folder: &std::path::Path) -> Resources {
        let indices = vec![self.index];
        Resources { threads: 2, size: Some(self.k), indices, ..Resources::new(folder) }
    }

    fn proof(&self) -> Proof {
        let (x1, x2) = self.entry;
        write(&self.id(), Pair(u64::from(x1) | u64::from(x2) << 32))
    }
}

fn entries(vault: &Vault) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for bucket in 0..vault.header().id.buckets() {
        vault.read(bucket, &mut pairs).unwrap();
    }
    pairs
}

#[test]
fn the_published_vaults_are_plotted_searched_and_verified() {
    for case in &CASES {
        let folder = tempfile::tempdir().unwrap();
        let resources = case.resources(folder.path());
        let engine = case.engine();
        let mut prover = engine.prepare(&vector_miner(), &resources, &NoProgress).unwrap();
        let vault = Vault::open(&folder.path().join(case.id().file_name()), LookupMode::Map);
        let header = *vault.as_ref().unwrap().header();
        assert_eq!((header.pairs, header.dropped), (case.pairs, case.dropped));
        let table = whole_table(&levels(&case.id()), 1);
        let bytes: Vec<u8> = table.iter().flat_map(|placed| placed.pair.to_bytes()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), case.table);
        let first = [0, 1, 2].map(|index: usize| table[index]);
        assert_eq!(first.map(|Placed { e, pair }| (e, pair.x1(), pair.x2())), case.first);
        let bits = u32::from(case.k) - 9;
        let buckets = table.chunk_by(|left, right| top(left.e, bits) == top(right.e, bits));
        let kept = buckets.flat_map(|bucket| bucket.iter().take(ENTRIES_MAX));
        assert!(kept.map(|placed| placed.pair).eq(entries(&vault.unwrap())));
        let free = Unhurried::default();
        let attempt = prover.prove(&vector_challenge(), Target::MAX, &free.budget()).unwrap();
        let quality = Quality(case.quality);
        assert_eq!(attempt.best, Some((case.proof(), quality)));
        let verified = engine.verify(&vector_challenge(), &vector_miner(), &case.proof());
        assert_eq!(verified, Ok(quality));
    }
}
