//! Look-ups: every way to read gives the same, and no state of the file ends the process.

use std::{
    env,
    io::{self, BufRead, BufReader, Write as _},
    process::{Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::*;

const MODES: [LookupMode; 3] = [LookupMode::Map, LookupMode::Read, LookupMode::Direct];

/// A prover of the vault at `path`, alone in its folder.
fn prover(path: &Path, lookup: LookupMode) -> Box<dyn Prover> {
    let resources = Resources { lookup, ..CASES[0].resources(path.parent().unwrap()) };
    CASES[0].engine().prepare(&vector_miner(), &resources, &NoProgress).unwrap()
}

fn fault(prover: &mut dyn Prover) -> Fault {
    let ProveError::Vault(VaultError { fault, .. }) = prove(prover).unwrap_err();
    fault
}

#[test]
fn pages_are_the_same_however_they_are_read() {
    let [mapped, read, direct] = MODES.map(|mode| Vault::open(&PLOTTED.1, mode).unwrap());
    assert_eq!((mapped.mode(), read.mode()), (LookupMode::Map, LookupMode::Read));
    // Not every file system reads past its cache.
    assert!([LookupMode::Direct, LookupMode::Read].contains(&direct.mode()));
    assert_eq!(entries(&mapped).len(), 65_207 - 1078);
    assert_eq!(entries(&mapped), entries(&read));
    assert_eq!(entries(&mapped), entries(&direct));
    for vault in [&mapped, &read, &direct] {
        let mut all = Vec::new();
        vault.read(0, 128, &mut all).unwrap();
        assert_eq!(all, entries(&mapped), "all buckets in one read");
    }
}

#[test]
fn a_file_system_that_refuses_direct_reads_is_read_through_its_cache() {
    let mut short = tempfile::tempfile().unwrap();
    short.write_all(b"short").unwrap();
    let short = Real(short);
    assert!(!lookup::is_direct(&short, &CASES[0].id()), "there is no page to try it on");
    let mut bytes = [0; 3];
    short.read_at(&mut bytes, 1).unwrap();
    assert_eq!(&bytes, b"hor", "what is not aligned can be read again");
    let bytes = fs::read(&PLOTTED.1).unwrap();
    if let Ok(in_memory) = tempfile::NamedTempFile::new_in("/dev/shm") {
        fs::write(in_memory.path(), &bytes).unwrap();
        let vault = Vault::open(in_memory.path(), LookupMode::Direct).unwrap();
        assert_eq!(entries(&vault).len(), 65_207 - 1078);
    }
}

#[test]
fn a_bucket_is_looked_up_and_one_that_is_none_refused() {
    let (_, x1, x2) = CASES[0].first[0];
    for mode in MODES {
        let vault = Vault::open(&PLOTTED.1, mode).unwrap();
        assert_eq!(vault.entries(0).unwrap()[0], (x1, x2));
        let found = vault.entries(128).unwrap_err();
        assert_eq!(found.fault, Fault::NoBucket { got: 128, buckets: 128 });
        assert!(found.to_string().ends_with("bucket 128, expected less than 128"), "{found}");
        assert!(vault.entries(u64::MAX).is_err());
    }
}

#[test]
fn a_damaged_page_is_named_when_it_is_asked_for() {
    for mode in MODES {
        let (_folder, path) = copy();
        let mut prover = prover(&path, mode);
        let (page, offset) = (asked_page(), asked_page() * 4096);
        overwrite(&path, offset + 17, b"damage");
        let error = prove(&mut *prover).unwrap_err();
        let ProveError::Vault(VaultError { fault, .. }) = &error;
        assert_eq!(*fault, Fault::Checksum { page, offset });
        let text = format!("page {page} at offset {offset} fails its checksum");
        assert!(error.to_string().ends_with(&text), "{error}");
    }
}

#[test]
fn a_file_cut_while_open_is_an_error_and_no_crash() {
    for mode in MODES {
        let (_folder, path) = copy();
        let mut prover = prover(&path, mode);
        let file = File::options().write(true).open(&path).unwrap();
        // Within the header, after it, and within the page asked for.
        for got in [100, 4096, asked_page() * 4096 + 100] {
            file.set_len(got).unwrap();
            assert_eq!(fault(&mut *prover), Fault::Length { got, expected: 528_384 });
        }
        file.set_len(528_384).unwrap();
        let (page, offset) = (asked_page(), asked_page() * 4096);
        assert_eq!(fault(&mut *prover), Fault::Checksum { page, offset }, "zeros are no page");
    }
}

#[test]
fn a_file_that_is_renamed_or_deleted_while_open_is_still_read() {
    for mode in MODES {
        let (folder, path) = copy();
        let mut prover = prover(&path, mode);
        let expected = prove(&mut *prover).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        assert_eq!(prove(&mut *prover).unwrap(), expected);
        fs::remove_file(&moved).unwrap();
        assert_eq!(prove(&mut *prover).unwrap(), expected);
        fs::write(&path, "another file of that name").unwrap();
        assert_eq!(prove(&mut *prover).unwrap(), expected);
    }
}

#[test]
fn a_mapped_vault_is_not_repaired_nor_is_one_mapped_that_is_being_repaired() {
    let (_folder, path) = copy();
    let mapped = Vault::open(&path, LookupMode::Map).unwrap();
    let again = Vault::open(&path, LookupMode::Map).unwrap();
    let found = repair(&path, &Upkeep::default(), &NoProgress).unwrap_err();
    assert!(matches!(found, RepairError::Busy { .. }), "{found}");
    drop((mapped, again));
    let file = File::options().write(true).open(&path).unwrap();
    file.lock().unwrap();
    assert_eq!(open_fault(&path), Fault::Busy);
    assert_eq!(Fault::Busy.to_string(), "it is being repaired");
    Vault::open(&path, LookupMode::Read).unwrap();
    Vault::open(&path, LookupMode::Direct).unwrap();
}

#[test]
fn several_vaults_are_read_at_once_however_few_the_cores() {
    let count = READS_MAX;
    let (readers, barrier) = (Readers::new(count).unwrap(), Barrier::new(count));
    let items: Vec<usize> = (0..count).collect();
    // Nobody passes the barrier before every read has begun.
    let read = |&item: &usize| {
        barrier.wait();
        item * 2
    };
    let expected: Vec<usize> = items.iter().map(|item| item * 2).collect();
    assert_eq!(readers.read_all(&items, read), expected);
    let alone = Readers::new(1).unwrap();
    assert_eq!(alone.read_all(&[7], |item| item + 1), [8]);
    let more: Vec<usize> = (0..count * 3).collect();
    assert_eq!(Readers::new(more.len()).unwrap().read_all(&more, |&item| item), more);
}

#[test]
fn a_wide_scan_reads_its_group_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = ENTRY.build_with(&[16, 6]).unwrap();
    let resources = CASES[0].resources(folder.path());
    let mut prover = engine.prepare(&vector_miner(), &resources, &NoProgress).unwrap();
    let attempt = prove(&mut *prover).unwrap();
    assert!(attempt.attempts > 60 * 500, "{}", attempt.attempts);
    let (proof, quality) = attempt.best.unwrap();
    assert_eq!(engine.verify(&vector_challenge(), &vector_miner(), &proof), Ok(quality));
}

/// Names the vault to a child process that looks it up while its parent ruins it.
const HAMMERED: &str = "DSC_TEST_HAMMERED_VAULT";
/// How often every kind of ruin is done.
const ROUNDS: u64 = 150;

/// Looks up until standard input ends; every failure has to be an error.
fn look_up_until_told(path: &Path) {
    let is_over = AtomicBool::new(false);
    let mut vaults = [LookupMode::Read, LookupMode::Direct]
        .map(|mode| (mode, Vault::open(path, mode).unwrap(), [0_u64; 2]));
    // The harness prints to the same place, so what is waited for is a line that holds this.
    writeln!(io::stdout(), "\nready").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
            is_over.store(true, Ordering::Relaxed);
        });
        let mut numbers = 0..;
        while !is_over.load(Ordering::Relaxed) {
            let number: u64 = numbers.next().unwrap();
            for (mode, vault, found) in &mut vaults {
                if number.is_multiple_of(16)
                    && let Ok(again) = Vault::open(path, *mode)
                {
                    *vault = again;
                }
                found[usize::from(vault.entries(number % 128).is_ok())] += 1;
            }
        }
    });
    for (mode, _, [failed, found]) in vaults {
        writeln!(io::stdout(), "{mode:?}: {found} look-ups, {failed} failed").unwrap();
    }
}

/// Truncates, overwrites, renames and deletes the file and puts it right again.
fn ruin(path: &Path, sound: &[u8], round: u64) {
    let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.set_len(round * 977 % 528_384).unwrap();
    file.set_len(528_384).unwrap();
    write_all_at(&file, sound, 0).unwrap();
    write_all_at(&file, &[7; 5000], round * 8191 % 500_000).unwrap();
    let moved = path.with_extension("moved");
    fs::rename(path, &moved).unwrap();
    fs::write(path, &sound[..usize::try_from(round * 59 % 9000).unwrap()]).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, sound).unwrap();
}

#[test]
fn a_process_survives_whatever_is_done_to_its_vault() {
    if let Some(path) = env::var_os(HAMMERED) {
        return look_up_until_told(Path::new(&path));
    }
    let (_folder, path) = copy();
    let name = "proof::space::tests::reading::a_process_survives_whatever_is_done_to_its_vault";
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HAMMERED, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the child opens the vault");
    let sound = fs::read(&path).unwrap();
    for round in 0..ROUNDS {
        ruin(&path, &sound, round);
    }
    drop(child.stdin.take());
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("Direct: ")), "{said:?}");
}
