//! Opening, what is refused, and damage to any byte.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    codec::List,
    disk::{Disk, Memory},
    testing::{CAROL, coins},
    transaction::Draft,
};

/// A folder for a ledger, in a folder that goes away.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    (folder, path)
}

const READ_ONLY: OpenOptions = OpenOptions { read_only: true, fresh_bytes_max: 8 << 20 };

fn read_only(path: &std::path::Path) -> Result<Ledger, OpenError> {
    Ledger::open_with(path, None, READ_ONLY, |_, _| {})
}

#[test]
fn a_chain_survives_reopening_after_each_block() {
    let (_folder, path) = folder();
    let mut miners = Miners::new(&chain());
    drop(Ledger::open(&path, Some(chain())).unwrap());
    for height in 0..6 {
        let mut ledger = Ledger::open(&path, None).unwrap();
        assert_eq!(ledger.state().round().height, Height(height));
        let proofs = miners.mine(ledger.state());
        let to_carol = crate::testing::pay(&BOB, height, address(&CAROL), 5);
        let transactions = vec![pay(&ALICE, height, 10), to_carol];
        let block = next_block(ledger.state(), proofs, transactions);
        ledger.commit(&block).unwrap();
        assert!(ledger.state().supply_holds());
        if height % 2 == 1 {
            ledger.flush().unwrap();
        }
    }
    let ledger = Ledger::open(&path, Some(chain())).unwrap();
    assert_eq!(*ledger.recovery(), Recovery::default());
    let summary = ledger.verify(|_, _| {}).unwrap();
    assert_eq!((summary.blocks, summary.transactions, summary.accounts), (6, 12, 4));
    assert_eq!(
        (summary.state, summary.supply),
        (ledger.state().commitment(), ledger.state().supply())
    );
    assert_eq!(ledger.state().account(&address(&CAROL)).balance, coins(30));
}

#[test]
fn without_a_genesis_nothing_is_started() {
    let (_folder, path) = folder();
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Missing)));
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Missing)));
    assert!(matches!(read_only(&path), Err(OpenError::Missing)));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    drop(Ledger::open(&path, Some(chain())).unwrap());
    assert!(Ledger::open(&path, None).is_ok());
}

#[test]
fn a_ledger_in_use_is_not_opened_twice() {
    let (_folder, path) = folder();
    let ledger = Ledger::open(&path, Some(chain())).unwrap();
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Locked)));
    assert!(matches!(read_only(&path), Err(OpenError::Locked)));
    drop(ledger);
    let readers = [read_only(&path).unwrap(), read_only(&path).unwrap()];
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Locked)));
    drop(readers);
    assert!(Ledger::open(&path, None).is_ok());
}

#[test]
fn a_ledger_of_another_chain_is_refused() {
    let (_folder, path) = folder();
    drop(Ledger::open(&path, Some(chain())).unwrap());
    let other = chain_with(|genesis| genesis.halving = 5);
    match Ledger::open(&path, Some(other.clone())).unwrap_err() {
        OpenError::OtherChain { got, expected } => {
            assert_eq!((got, expected), (chain().hash(), other.hash()));
        }
        found => panic!("{found:?}"),
    }
}

#[test]
fn what_an_earlier_version_kept_is_refused() {
    let (folder, path) = folder();
    let old = folder.path().join("ledger.redb");
    fs::write(&old, "a database").unwrap();
    let text = "is a ledger of an earlier version, which this program does not read";
    for path in [&path, folder.path()] {
        let found = Ledger::open(path, Some(chain())).unwrap_err();
        assert!(matches!(found, OpenError::Old { .. }), "{found:?}");
        assert_eq!(found.to_string(), format!("{} {text}", old.display()));
    }
    let found = Ledger::open(&old, Some(chain())).unwrap_err();
    assert!(matches!(found, OpenError::Old { .. }), "{found:?}");
    assert!(!path.exists());
}

#[test]
fn a_file_is_no_ledger() {
    let (folder, _) = folder();
    let file = folder.path().join("file");
    fs::write(&file, []).unwrap();
    let found = Ledger::open(&file, Some(chain())).unwrap_err();
    assert!(matches!(found, OpenError::NotAFolder { .. }), "{found:?}");
    assert_eq!(found.to_string(), format!("{} is a file, a ledger is a folder", file.display()));
    let found = Ledger::open(&file.join("below"), Some(chain())).unwrap_err();
    assert!(matches!(found, OpenError::Store(StoreError::Io { .. })), "{found:?}");
    assert!(found.to_string().starts_with("cannot open the ledger: "), "{found}");
}

/// The names and bytes of all files.
type Files = Vec<(String, Vec<u8>)>;

fn files_of(disk: &dyn Disk) -> Files {
    let read = |name: String| {
        let file = disk.open(&name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    disk.list().unwrap().into_iter().map(read).collect()
}

fn disk_of(files: &Files) -> Arc<Memory> {
    let disk = Memory::default();
    for (name, bytes) in files {
        disk.create(name).unwrap().write_at(bytes, 0).unwrap();
    }
    Arc::new(disk)
}

fn open(disk: Arc<Memory>) -> Result<Ledger, OpenError> {
    Ledger::with_disk(disk, None, OpenOptions::default(), |_, _| {})
}

/// The blocks of a small chain, with payments and a winner.
fn blocks(count: u64) -> Vec<CheckedBlock> {
    let mut state = State::genesis(chain());
    let proofs = Miners::new(&chain()).mine(&state);
    let mut blocks = Vec::new();
    for height in 0..count {
        let proofs = if height == 0 { proofs.clone() } else { vec![] };
        let block = next_block(&state, proofs, vec![pay(&ALICE, height, 10), pay(&BOB, height, 1)]);
        state.apply(&block).unwrap();
        blocks.push(block);
    }
    blocks
}

/// A ledger of five blocks, of which the index covers three, as files.
fn small() -> (Vec<CheckedBlock>, Files) {
    let (disk, blocks) = (Arc::new(Memory::default()), blocks(5));
    let mut ledger =
        Ledger::with_disk(disk.clone(), Some(chain()), OpenOptions::default(), |_, _| {}).unwrap();
    for (number, block) in blocks.iter().enumerate() {
        if number == 3 {
            ledger.flush().unwrap();
        }
        ledger.commit(block).unwrap();
    }
    drop(ledger);
    (blocks, files_of(&*disk))
}

/// Asks everything about blocks that should be there; what fails must be an error, what does not
/// must be right.
fn ask(ledger: &Ledger, blocks: &[CheckedBlock]) -> Result<(), StoreError> {
    for block in blocks {
        let height = block.header().height;
        assert_eq!(ledger.block_bytes(height)?, Some(block.to_bytes()));
        assert_eq!(ledger.header(height)?.as_ref(), Some(block.header()));
        assert_eq!(ledger.height_of(&block.hash())?, Some(height));
        for (index, transaction) in (0..).zip(block.transactions()) {
            let found = ledger.transaction(&transaction.id())?.unwrap();
            assert_eq!(found.place, Place { height, index });
            assert_eq!(found.transaction, transaction.transaction());
        }
    }
    let of_alice = ledger.history(&address(&ALICE), None, 100)?;
    let received: Vec<_> = of_alice.iter().map(|event| event.received).collect();
    assert_eq!(received, vec![Amount::ZERO; blocks.len()]);
    Ok(())
}

/// A flipped bit anywhere leads to an error, or to an index made anew, or did not matter; what the
/// ledger then says is right.
#[test]
fn no_flipped_bit_goes_unseen_or_panics() {
    let (blocks, files) = small();
    let (mut refused, mut rebuilt, mut unread) = (0, 0, 0);
    for (number, (name, bytes)) in files.iter().enumerate() {
        let step = (bytes.len() / 400).max(1);
        for place in (0..bytes.len()).step_by(step) {
            let mut files = files.clone();
            files[number].1[place] ^= 1 << (place % 8);
            match open(disk_of(&files)) {
                Err(error) => {
                    assert!(name == "blocks.log", "{name} at {place}: {error}");
                    refused += 1;
                }
                Ok(ledger) => {
                    rebuilt += usize::from(ledger.recovery().rebuilt.is_some());
                    assert_eq!(ledger.recovery().torn, None, "{name} at {place}");
                    unread += usize::from(ask(&ledger, &blocks).is_err());
                }
            }
        }
    }
    assert!(refused > 0 && rebuilt > 0 && unread > 0, "{refused} {rebuilt} {unread}");
}

/// Any byte of the log: what is covered by the index is found when it is read, the rest on opening.
#[test]
fn every_byte_of_the_log_is_checked() {
    let (blocks, files) = small();
    let log = files.iter().position(|(name, _)| name == "blocks.log").unwrap();
    for place in 0..files[log].1.len() {
        let mut files = files.clone();
        files[log].1[place] ^= 0x40;
        if let Ok(ledger) = open(disk_of(&files)) {
            assert_eq!(ledger.recovery().torn, None, "byte {place}: nothing is cut off");
            assert!(ask(&ledger, &blocks).is_err(), "byte {place}");
        }
    }
}

/// Any page of the index that is found damaged is made anew on the next opening.
#[test]
fn a_damaged_page_is_an_error_once() {
    let (blocks, files) = small();
    for (number, (name, bytes)) in files.iter().enumerate() {
        if !is_run(name) {
            continue;
        }
        let mut files = files.clone();
        files[number].1[bytes.len() / 4] ^= 1;
        let disk = disk_of(&files);
        let ledger = open(disk.clone()).unwrap();
        if ledger.recovery().rebuilt.is_none() {
            let found = ask(&ledger, &blocks).unwrap_err();
            assert!(found.to_string().contains("its checksum is wrong"), "{found}");
            ledger.maintain().unwrap();
            drop(ledger);
            let ledger = open(disk.clone()).unwrap();
            let why = ledger.recovery().rebuilt.as_deref();
            assert_eq!(why, Some("the index is damaged: a page of it was found damaged"));
        }
        let ledger = open(disk).unwrap();
        ask(&ledger, &blocks).unwrap();
        ledger.verify(|_, _| {}).unwrap();
    }
}

/// Opens the small ledger after a change of its files.
fn after(change: impl FnOnce(&mut Files)) -> (Vec<CheckedBlock>, Result<Ledger, OpenError>) {
    let (blocks, mut files) = small();
    change(&mut files);
    (blocks, open(disk_of(&files)))
}

fn file<'a>(files: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    &mut files.iter_mut().find(|(other, _)| other == name).unwrap().1
}

/// What is damaged, if that is what the error says.
fn what(opened: Result<Ledger, OpenError>) -> String {
    match opened.unwrap_err() {
        OpenError::Store(StoreError::Corrupt { what }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_head_of_the_log_is_named() {
    let head = |change: fn(&mut Vec<u8>)| what(after(|files| change(file(files, "blocks.log"))).1);
    assert_eq!(head(Vec::clear), "the block log: its head is cut");
    assert_eq!(head(|log| log.truncate(30)), "the block log: its head is cut");
    assert_eq!(head(|log| log[0] = b'X'), "the block log: it does not start with DSCBLOCK");
    assert_eq!(head(|log| log[10] = 1), "the block log: the checksum of its head is wrong");
    assert_eq!(head(|log| log[40] ^= 1), "the block log: the checksum of its head is wrong");
    assert_eq!(head(|log| log[14] = 0xff), "the block log: its head is cut");
    let (_, found) = after(|files| file(files, "blocks.log")[8] = 9);
    let found = found.unwrap_err();
    assert!(matches!(found, OpenError::Format { got: 9, expected: 1 }), "{found:?}");
}

/// The head of a log with this genesis.
fn with_genesis(genesis: &[u8]) -> Result<Ledger, OpenError> {
    let disk = Arc::new(Memory::default());
    log::create(&*disk, genesis, None).unwrap();
    open(disk)
}

#[test]
fn a_genesis_that_breaks_a_rule_is_refused() {
    let mut genesis = genesis();
    genesis.halving = 0;
    let found = with_genesis(&codec::encode(&genesis)).unwrap_err();
    assert!(matches!(found, OpenError::Genesis(_)), "{found:?}");
    let found = what(with_genesis(&[1]));
    assert_eq!(found, "the log's genesis: 1 bytes end before the value does");
}

#[test]
fn a_lost_index_is_made_anew() {
    let lost = |which: fn(&str) -> bool| {
        let (blocks, ledger) = after(|files| files.retain(|(name, _)| !which(name)));
        let ledger = ledger.unwrap();
        ask(&ledger, &blocks).unwrap();
        ledger.verify(|_, _| {}).unwrap();
        ledger.recovery().clone()
    };
    let all = lost(|name| name != "blocks.log");
    assert_eq!((all.replayed, all.rebuilt, all.torn), (5, None, None));
    let manifest = lost(|name| name == "index.manifest");
    assert_eq!((manifest.replayed, manifest.rebuilt), (5, None));
    let run = lost(|name| name.starts_with("0000000000000002"));
    assert_eq!(run.replayed, 5);
    assert!(run.rebuilt.unwrap().starts_with("cannot open a run of the index: "));
    assert_eq!(lost(|_| false).replayed, 2);
}

#[test]
fn a_lost_log_is_not_started_anew() {
    let (_, mut files) = small();
    files.retain(|(name, _)| name != "blocks.log");
    let started =
        Ledger::with_disk(disk_of(&files), Some(chain()), OpenOptions::default(), |_, _| {});
    assert!(what(started).starts_with("blocks.log is missing beside "));
}

/// Someone who cuts the log must not make the ledger forget what it has acknowledged.
#[test]
fn a_log_without_blocks_that_were_on_disk_is_refused() {
    let (blocks, mut files) = small();
    let len = file(&mut files, "blocks.log").len();
    let record = |number: usize| blocks[number].to_bytes().len() + 20;
    let cut = |to: usize| what(after(|files| file(files, "blocks.log").truncate(to)).1);
    let last = len - record(4);
    assert_eq!(cut(last), format!("block 4 at byte {last}: the file ends before it"));
    assert_eq!(cut(len - 1), format!("block 4 at byte {last}: the file ends within it"));
    let covered = last - record(3);
    let text = format!("blocks.log has {} bytes, the index covers {covered}", covered - 1);
    assert_eq!(cut(covered - 1), text);
    let nothing = |files: &mut Files| {
        file(files, "blocks.log").truncate(last);
        files.retain(|(name, _)| name != "blocks.synced");
    };
    let (blocks, ledger) = after(nothing);
    ask(&ledger.unwrap(), &blocks[..4]).unwrap();
}

/// A change of a file.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// What a crash leaves of the last block is kept aside, in whatever way it is cut.
#[test]
fn a_torn_last_block_is_kept_aside() {
    let (blocks, files) = small();
    let len = files.iter().find(|(name, _)| name == "blocks.log").unwrap().1.len();
    let last = len - blocks[4].to_bytes().len() - 20;
    let unsynced = |change: Change<'_>| {
        let mut files = files.clone();
        files.retain(|(name, _)| name != "blocks.synced");
        change(file(&mut files, "blocks.log"));
        disk_of(&files)
    };
    let changes: [Change<'_>; 5] = [
        &|log| log.truncate(last + 1),
        &|log| log.truncate(len - 1),
        &|log| log[last..].fill(0),
        &|log| log[last + 100] ^= 1,
        &|log| log[last + 3] = 0xff,
    ];
    for change in changes {
        let disk = unsynced(change);
        let left = files_of(&*disk).into_iter().find(|(name, _)| name == "blocks.log").unwrap().1;
        let mut ledger = open(disk.clone()).unwrap();
        let torn = ledger.recovery().torn.clone().unwrap();
        assert_eq!((torn.height, torn.bytes), (Height(4), (left.len() - last) as u64));
        let kept = files_of(&*disk).into_iter().find(|(name, _)| Some(name) == torn.kept.as_ref());
        assert_eq!(kept.unwrap().1, left[last..]);
        ask(&ledger, &blocks[..4]).unwrap();
        ledger.commit(&blocks[4]).unwrap();
        drop(ledger);
        let ledger = open(disk).unwrap();
        assert_eq!(ledger.recovery().torn, None);
        ask(&ledger, &blocks).unwrap();
    }
}

/// A second crash at one height keeps what the first one has left.
#[test]
fn nothing_that_was_kept_aside_is_overwritten() {
    let (_, mut files) = small();
    files.retain(|(name, _)| name != "blocks.synced");
    let log = file(&mut files, "blocks.log");
    log.truncate(log.len() - 1);
    let disk = disk_of(&files);
    disk.create("blocks.torn-4").unwrap().write_at(b"before", 0).unwrap();
    let ledger = open(disk.clone()).unwrap();
    let torn = ledger.recovery().torn.clone().unwrap();
    assert_eq!(torn.kept.as_deref(), Some("blocks.torn-4.2"));
    let files = files_of(&*disk);
    assert!(files.contains(&("blocks.torn-4".into(), b"before".to_vec())));
}

/// Damage before the last block is no leftover, even where nothing tells what was synced.
#[test]
fn damage_before_the_last_block_is_refused() {
    let (blocks, files) = small();
    let start = 20 + codec::encode(&genesis()).len();
    let record = blocks[0].to_bytes().len() + 20;
    for place in [0, 5, 13, 17, 30, record - 1] {
        let mut files = files.clone();
        files.retain(|(name, _)| name == "blocks.log");
        file(&mut files, "blocks.log")[start + place] ^= 1;
        let found = what(open(disk_of(&files)));
        assert!(found.starts_with(&format!("block 0 at byte {start}: ")), "{found}");
    }
}

/// A payer can put bytes that look like a record into a block. They must not make a block that a
/// crash tore pass for damage, or nobody could start again.
#[test]
fn bytes_like_a_record_within_a_torn_block_are_not_taken_for_one() {
    let mut forged = 1_u32.to_le_bytes().to_vec();
    forged.extend(7_u64.to_le_bytes());
    let sums = crc32c::crc32c(&[1]).to_le_bytes();
    forged.extend(crc32c::crc32c_append(crc32c::crc32c(&forged), &sums).to_le_bytes());
    forged.extend([&sums[..], &[1]].concat());
    let draft = crate::testing::draft(0, address(&BOB), coins(1), coins(1));
    let draft = Draft { memo: List::new(forged).unwrap(), ..draft };
    let state = State::genesis(chain());
    let block = next_block(&state, vec![], vec![draft.sign(&chain().hash(), &ALICE)]);
    let disk = Arc::new(Memory::default());
    let options = OpenOptions::default();
    let opened = Ledger::with_disk(disk.clone(), Some(chain()), options, |_, _| {});
    opened.unwrap().commit(&block).unwrap();
    let mut files = files_of(&*disk);
    files.retain(|(name, _)| name == "blocks.log");
    let start = 20 + codec::encode(&genesis()).len();
    file(&mut files, "blocks.log")[start..start + 16].fill(0);
    let ledger = open(disk_of(&files)).unwrap();
    assert_eq!(ledger.recovery().torn.as_ref().unwrap().height, Height(0));
}

#[test]
fn an_index_of_another_log_is_made_anew() {
    let other = {
        let disk = Arc::new(Memory::default());
        let chain = chain_with(|genesis| genesis.halving = 5);
        let mut ledger =
            Ledger::with_disk(disk.clone(), Some(chain), OpenOptions::default(), |_, _| {})
                .unwrap();
        ledger.commit(&empty(ledger.state())).unwrap();
        ledger.flush().unwrap();
        files_of(&*disk)
    };
    let (blocks, ledger) = after(|files| {
        files.retain(|(name, _)| name.starts_with("blocks"));
        files.extend(other.into_iter().filter(|(name, _)| !name.starts_with("blocks")));
    });
    let ledger = ledger.unwrap();
    let why = ledger.recovery().rebuilt.clone().unwrap();
    assert!(why.starts_with("the index is damaged: it is of chain "), "{why}");
    ask(&ledger, &blocks).unwrap();
}

#[test]
fn reading_writes_nothing_into_the_folder() {
    let (_folder, path) = folder();
    let (blocks, files) = small();
    fs::create_dir(&path).unwrap();
    let write = |files: &Files| {
        for (name, bytes) in files {
            fs::write(path.join(name), bytes).unwrap();
        }
    };
    write(&files);
    let log = path.join("blocks.log");
    for lost in [None, Some("index.manifest")] {
        if let Some(name) = lost {
            fs::remove_file(path.join(name)).unwrap();
        }
        fs::remove_file(path.join("blocks.synced")).unwrap();
        let torn = fs::read(&log).unwrap();
        fs::write(&log, &torn[..torn.len() - 1]).unwrap();
        let before = fs::read_dir(&path).unwrap().count();
        let options = OpenOptions { fresh_bytes_max: 0, ..READ_ONLY };
        let mut ledger = Ledger::open_with(&path, None, options, |_, _| {}).unwrap();
        let torn_block = ledger.recovery().torn.clone().unwrap();
        assert_eq!((torn_block.height, torn_block.kept), (Height(4), None));
        ask(&ledger, &blocks[..4]).unwrap();
        ledger.verify(|_, _| {}).unwrap();
        let found = ledger.commit(&blocks[4]).unwrap_err();
        assert!(matches!(found, CommitError::Store(StoreError::ReadOnly)), "{found:?}");
        assert_eq!(ledger.maintain().unwrap(), Maintained::Done);
        ledger.flush().unwrap();
        drop(ledger);
        assert_eq!(fs::read_dir(&path).unwrap().count(), before);
        write(&files);
    }
}

#[test]
fn a_replay_tells_its_progress() {
    let (ledger, _) = ledger_with_a_block();
    let mut told = Vec::new();
    ledger.verify(|done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(1, 1)]);
    let (_, files) = small();
    let mut told = Vec::new();
    Ledger::with_disk(disk_of(&files), None, OpenOptions::default(), |done, total| {
        told.push((done, total));
    })
    .unwrap();
    let len = files.iter().find(|(name, _)| name == "blocks.log").unwrap().1.len() as u64;
    assert_eq!((told.len(), told[1]), (2, (len, len)));
}
