//! The published vaults, and every way in which a vault or a proof can be wrong.

mod reading;
mod upkeep;

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;

use super::{super::file::write_all_at, *};
use crate::{
    disk::{DiskFile, Real},
    proof::{
        BuildError, LookupMode, NoProgress,
        pairs::{Placed, whole_table},
        testing::{Unhurried, vector_challenge, vector_miner},
    },
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

    fn resources(&self, folder: &Path) -> Resources {
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
        vault.read(bucket, 1, &mut pairs).unwrap();
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

/// A plotted vault, which tests copy before they damage it.
static PLOTTED: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = plot(&CASES[0].id(), &CASES[0].resources(folder.path()), &NoProgress).unwrap();
    (folder, path)
});

/// A folder with a copy of the plotted vault.
fn copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CASES[0].id().file_name());
    fs::copy(&PLOTTED.1, &path).unwrap();
    (folder, path)
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    write_all_at(&file, bytes, offset).unwrap();
}

/// The fault of opening the vault at `path`.
fn open_fault(path: &Path) -> Fault {
    let error = Vault::open(path, LookupMode::Map).unwrap_err();
    assert_eq!(error.path, path);
    error.fault
}

/// The page that answers the published challenge.
fn asked_page() -> u64 {
    Question::new(&vector_challenge(), &CASES[0].id(), 0).group + 1
}

fn prove(prover: &mut dyn Prover) -> Result<Attempt, ProveError> {
    prover.prove(&vector_challenge(), Target::MAX, &Unhurried::default().budget())
}

#[test]
fn the_file_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let resources = Resources { threads: 3, ..CASES[0].resources(folder.path()) };
    let path = plot(&CASES[0].id(), &resources, &NoProgress).unwrap();
    assert!(fs::read(path).unwrap() == fs::read(&PLOTTED.1).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the vault is left");
}

/// The progress of a plot of k = 16 that has sorted so many of its 16 partitions: it has hashed and
/// matched every value before.
const fn sorted(partitions: u64) -> u64 {
    (2 << 16) + partitions * (1 << 12)
}

/// Stops a plot when it has sorted so many partitions.
#[derive(Debug)]
struct StopAfter(u64, AtomicBool);

impl StopAfter {
    const fn sorted(count: u64) -> Self {
        Self(count, AtomicBool::new(false))
    }
}

impl Progress for StopAfter {
    fn update(&self, stage: &'static str, done: u64, _total: u64) {
        self.1.fetch_or(stage == "sort" && done >= sorted(self.0), Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

/// The first stage that a plot tells of, and how far it was then.
#[derive(Debug, Default)]
struct First(OnceLock<(&'static str, u64)>);

impl Progress for First {
    fn update(&self, stage: &'static str, done: u64, _total: u64) {
        if stage != "hash" && stage != "match" {
            let _ = self.0.set((stage, done));
        }
    }
}

#[test]
fn a_plot_that_was_stopped_is_taken_up_again() {
    let id = CASES[0].id();
    for (stop, threads) in [(1, 1), (5, 2), (9, 1), (16, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let resources = Resources { threads: 1, ..CASES[0].resources(folder.path()) };
        let found = plot(&id, &resources, &StopAfter::sorted(stop)).unwrap_err();
        assert!(matches!(found, PlotError::Build(BuildError::Cancelled)), "{found}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a part and its journal");
        let needed =
            match plot(&id, &Resources { ram_bytes_max: 1, ..resources.clone() }, &NoProgress) {
                Err(PlotError::Build(BuildError::RamTooSmall { needed, .. })) => needed,
                other => panic!("{other:?}"),
            };
        // With as little memory as will do if there is one thread, with enough if there are more.
        let ram_bytes_max = if threads == 1 { needed } else { u64::MAX };
        let resources = Resources { threads, ram_bytes_max, ..resources };
        let first = First::default();
        let path = plot(&id, &resources, &first).unwrap();
        // If all was done, nothing is sorted any more.
        let expected = (stop < 16).then_some(("sort", sorted(stop)));
        assert_eq!(first.0.into_inner(), expected);
        assert!(fs::read(path).unwrap() == fs::read(&PLOTTED.1).unwrap(), "stopped at {stop}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_part_that_was_cut_is_plotted_anew() {
    let (folder, id) = (tempfile::tempdir().unwrap(), CASES[0].id());
    let resources = Resources { threads: 1, ..CASES[0].resources(folder.path()) };
    plot(&id, &resources, &StopAfter::sorted(9)).unwrap_err();
    let partial = folder.path().join(id.file_name() + ".partial");
    File::options().write(true).open(partial).unwrap().set_len(100_000).unwrap();
    let path = plot(&id, &resources, &NoProgress).unwrap();
    assert!(fs::read(path).unwrap() == fs::read(&PLOTTED.1).unwrap());
}

#[test]
fn what_is_no_vault_is_not_opened() {
    let (folder, path) = copy();
    assert!(matches!(open_fault(&folder.path().join("none")), Fault::Io { page: 0, .. }));
    File::options().write(true).open(&path).unwrap().set_len(8192).unwrap();
    assert_eq!(open_fault(&path), Fault::Length { got: 8192, expected: 528_384 });
    overwrite(&path, 0, b"x");
    assert_eq!(open_fault(&path), Fault::Magic);
    File::create(&path).unwrap();
    assert_eq!(open_fault(&path), Fault::Magic);
    let text = Vault::open(&path, LookupMode::Map).unwrap_err().to_string();
    assert_eq!(text, format!("{}: not a vault file", path.display()));
}

#[test]
fn an_unfinished_vault_is_not_opened_but_its_header_is_read() {
    let (_folder, path) = copy();
    let header = Vault::read_header(&path).unwrap();
    overwrite(&path, 0, &Header { complete: false, ..header }.to_page());
    assert_eq!(open_fault(&path), Fault::Incomplete);
    assert!(!Vault::read_header(&path).unwrap().complete);
}

#[test]
fn a_folder_lists_its_vaults_sound_or_not() {
    let (folder, path) = copy();
    let broken = folder.path().join("a.vault");
    File::create(&broken).unwrap();
    File::create(folder.path().join("note.txt")).unwrap();
    let found = list(folder.path()).unwrap();
    let paths: Vec<_> = found.iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [&broken, &path]);
    assert_eq!(found[0].1.as_ref().unwrap_err().fault, Fault::Magic);
    assert_eq!(found[1].1.as_ref().unwrap().id, CASES[0].id());
    assert!(list(&broken).is_err());
}

#[test]
fn a_broken_vault_is_not_plotted_over() {
    let (folder, path) = copy();
    overwrite(&path, 100, b"damage");
    let resources = CASES[0].resources(folder.path());
    let engine = CASES[0].engine();
    let found = engine.prepare(&vector_miner(), &resources, &NoProgress).unwrap_err();
    assert!(matches!(found, PrepareError::Vault(_)), "{found}");
    assert_eq!(fs::metadata(&path).unwrap().len(), 528_384);
}

#[test]
fn a_cancelled_plot_leaves_nothing_and_a_cancelled_check_says_so() {
    struct Cancelled;
    impl Progress for Cancelled {
        fn update(&self, _stage: &'static str, _done: u64, _total: u64) {}
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let resources = CASES[0].resources(folder.path());
    let found = plot(&CASES[0].id(), &resources, &Cancelled).unwrap_err();
    assert!(matches!(found, PlotError::Build(BuildError::Cancelled)), "{found}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    for depth in [Depth::Sample, Depth::Full] {
        let found = check(&PLOTTED.1, depth, &Upkeep::default(), &Cancelled).unwrap_err();
        assert_eq!(found.to_string(), "cancelled");
    }
}

#[test]
fn the_vault_of_somebody_else_is_not_opened() {
    let mut other = CASES[0].id();
    other.miner.address.0[0] ^= 1;
    let error = Vault::open_as(&PLOTTED.1, &other, LookupMode::Read).unwrap_err();
    let (got, expected) = (CASES[0].id().file_name(), other.file_name());
    assert_eq!(error.fault, Fault::Identity { got, expected });
}

#[test]
fn one_failed_vault_does_not_silence_the_others() {
    let (folder, path) = copy();
    let resources = Resources { indices: vec![1, 0, 1], ..CASES[0].resources(folder.path()) };
    let engine = CASES[0].engine();
    let mut prover = engine.prepare(&vector_miner(), &resources, &NoProgress).unwrap();
    assert_eq!(prover.footprint().disk_bytes, 2 * 528_384);
    let both = prove(&mut *prover).unwrap();
    overwrite(&path, asked_page() * 4096, b"damage");
    let (proof, quality) = prove(&mut *prover).unwrap().best.unwrap();
    assert_eq!(proof.bytes[1], 1, "found in the vault of index 1");
    assert!(both.best.unwrap().1 <= quality);
    let impossible = prover.prove(&vector_challenge(), Target(0), &Unhurried::default().budget());
    assert!(matches!(impossible, Err(ProveError::Vault(_))));
}

#[test]
fn a_vault_is_not_plotted_twice_nor_by_two_at_once() {
    let (folder, path) = copy();
    let (id, resources) = (CASES[0].id(), CASES[0].resources(folder.path()));
    let journal = folder.path().join(id.file_name() + ".journal");
    File::create(&journal).unwrap();
    let found = plot(&id, &resources, &NoProgress).unwrap_err();
    assert_eq!(found.to_string(), format!("{}: there is such a file already", path.display()));
    assert!(!journal.exists(), "what a killed plot left is removed");
    fs::remove_file(&path).unwrap();
    let partial = File::create(folder.path().join(id.file_name() + ".partial")).unwrap();
    partial.lock().unwrap();
    let found = plot(&id, &resources, &NoProgress).unwrap_err();
    assert!(found.to_string().ends_with("another process is plotting it"), "{found}");
    drop(partial);
    plot(&id, &resources, &NoProgress).unwrap();
}

#[test]
fn a_plot_that_cannot_be_made_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (id, resources) = (CASES[0].id(), CASES[0].resources(folder.path()));
    let small = Resources { ram_bytes_max: 1000, ..resources.clone() };
    let found = plot(&id, &small, &NoProgress).unwrap_err();
    assert!(matches!(found, PlotError::Build(BuildError::RamTooSmall { allowed: 1000, .. })));
    assert!(found.to_string().ends_with("bytes of RAM, 1000 are allowed"), "{found}");
    let file = folder.path().join("file");
    File::create(&file).unwrap();
    let found = plot(&id, &Resources { folder: file, ..resources }, &NoProgress).unwrap_err();
    assert!(matches!(found, PlotError::Io { .. }), "{found}");
}

#[test]
fn resources_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let resources = CASES[0].resources(folder.path());
    let engine = ENTRY.build_with(&[18, 0]).unwrap();
    let prepare = |resources| engine.prepare(&vector_miner(), &resources, &NoProgress);
    for size in [0, 17, 33] {
        let found = prepare(Resources { size: Some(size), ..resources.clone() }).unwrap_err();
        assert_eq!(found.to_string(), format!("size {size}, expected 18 to 32"));
    }
    let found = prepare(Resources { indices: vec![], size: None, ..resources }).unwrap_err();
    assert!(matches!(found, PrepareError::NoIndex), "{found}");
}

#[test]
fn each_rule_has_its_error() {
    let engine = ENTRY.build_with(&[16, 0]).unwrap();
    let verify = |proof: &Proof| engine.verify(&vector_challenge(), &vector_miner(), proof);
    let damaged = |at: usize, bytes: &[u8]| {
        let mut proof = CASES[0].proof();
        proof.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        verify(&proof).unwrap_err()
    };
    for len in [0, 4, 12, 14] {
        let proof = Proof { kind: KIND, bytes: vec![16; len] };
        assert_eq!(verify(&proof), Err(VerifyError::Length { got: len, expected: 13 }));
    }
    for k in [0, 15, 33, 255] {
        assert_eq!(damaged(0, &[k]).to_string(), format!("k is {k}, expected 16 to 32"));
    }
    assert_eq!(damaged(7, &[1]).to_string(), "x1 is 112754, expected 0 to 65535");
    assert_eq!(damaged(11, &[1]).to_string(), "x2 is 120729, expected 0 to 65535");
    let (x1, x2) = (47_218_u32, 55_193_u32);
    let equal = damaged(9, &x1.to_le_bytes());
    assert_eq!(equal, VerifyError::Order { x1, x2: x1 });
    assert_eq!(damaged(5, &[0]), VerifyError::NoMatch { x1: 47_104, x2 });
    assert_eq!(VerifyError::NoMatch { x1, x2 }.to_string(), "47218 and 55193 do not match");
    let (_, first_x1, first_x2) = CASES[0].first[0];
    let elsewhere = damaged(5, &(u64::from(first_x1) | u64::from(first_x2) << 32).to_le_bytes());
    let expected = asked_page() - 1;
    assert_eq!(elsewhere, VerifyError::WrongBucket { got: 0, expected });
    let text = format!("the entry is in bucket group 0, the challenge asks for {expected}");
    assert_eq!(elsewhere.to_string(), text);
}
