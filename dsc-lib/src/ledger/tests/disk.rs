//! Opening, recovery, damage and failing storage.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, ReadableDatabase, StorageBackend, WriteTransaction, backends::InMemoryBackend,
};
use tempfile::TempDir;

use super::{
    super::store::{self, ACCOUNTS, BLOCKS, HASHES, META, TRANSACTIONS, WINS},
    *,
};
use crate::testing::{CAROL, MINER, coins};

/// A file in a folder that goes away.
fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    (folder, path)
}

#[test]
fn a_chain_survives_reopening_after_each_block() {
    let (_folder, path) = file();
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
    }
    let ledger = Ledger::open(&path, Some(chain())).unwrap();
    let summary = ledger.verify(|_, _| {}).unwrap();
    assert_eq!((summary.blocks, summary.transactions, summary.accounts), (6, 12, 4));
    assert_eq!(
        (summary.state, summary.supply),
        (ledger.state().commitment(), ledger.state().supply())
    );
    assert_eq!(ledger.state().account(&address(&CAROL)).balance, coins(30));
    let round = *ledger.state().round();
    drop(ledger);
    let options = OpenOptions { check_pages: false, ..OpenOptions::default() };
    let quick = Ledger::open_with(&path, None, options).unwrap();
    assert_eq!(*quick.state().round(), round);
}

#[test]
fn without_a_genesis_nothing_is_started() {
    let (_folder, path) = file();
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Missing)));
    assert!(!path.exists());
    drop(Database::create(&path).unwrap());
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Missing)));
    drop(Ledger::open(&path, Some(chain())).unwrap());
    assert!(Ledger::open(&path, None).is_ok());
}

#[test]
fn a_ledger_in_use_is_not_opened_twice() {
    let (_folder, path) = file();
    let ledger = Ledger::open(&path, Some(chain())).unwrap();
    assert!(matches!(Ledger::open(&path, None), Err(OpenError::Locked)));
    drop(ledger);
    assert!(Ledger::open(&path, None).is_ok());
}

#[test]
fn a_ledger_of_another_chain_is_refused() {
    let (_folder, path) = file();
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
fn a_path_that_cannot_be_a_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let found = Ledger::open(folder.path(), Some(chain())).unwrap_err();
    assert!(matches!(found, OpenError::Store(StoreError::Database(_))), "{found:?}");
}

/// A file with the chain of one block, after `damage`.
fn damaged(damage: impl FnOnce(&WriteTransaction)) -> (TempDir, PathBuf) {
    let (folder, path) = file();
    let mut ledger = Ledger::open(&path, Some(chain())).unwrap();
    let proofs = Miners::new(&chain()).mine(ledger.state());
    let block = next_block(ledger.state(), proofs, vec![pay(&ALICE, 0, 10), pay(&ALICE, 1, 20)]);
    ledger.commit(&block).unwrap();
    ledger.commit(&empty(ledger.state())).unwrap();
    drop(ledger);
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    damage(&txn);
    txn.commit().unwrap();
    (folder, path)
}

/// What opening says after `damage`.
fn refused(damage: impl FnOnce(&WriteTransaction)) -> OpenError {
    let (_folder, path) = damaged(damage);
    Ledger::open(&path, None).unwrap_err()
}

/// Sets a field of the metadata.
fn set(txn: &WriteTransaction, key: &str, value: &[u8]) {
    txn.open_table(META).unwrap().insert(key, value).unwrap();
}

fn unset(txn: &WriteTransaction, key: &str) {
    txn.open_table(META).unwrap().remove(key).unwrap();
}

/// What is damaged, if that is what the error says.
fn what(error: OpenError) -> String {
    match error {
        OpenError::Store(StoreError::Corrupt { what }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_format_is_refused() {
    let found = refused(|txn| set(txn, store::KEY_FORMAT, &[9, 0]));
    assert!(matches!(found, OpenError::Format { got: 9, expected: 1 }), "{found:?}");
}

#[test]
fn damaged_metadata_is_named() {
    let short = |key| what(refused(|txn| set(txn, key, &[1])));
    assert_eq!(short(store::KEY_FORMAT), "meta format has 1 bytes");
    assert_eq!(short(store::KEY_SUPPLY), "meta supply has 1 bytes");
    assert_eq!(short(store::KEY_TIP), "meta tip: 1 bytes end before the value does");
    assert_eq!(short(store::KEY_GENESIS), "meta genesis: 1 bytes end before the value does");
    let missing = |key| what(refused(|txn| unset(txn, key)));
    assert_eq!(missing(store::KEY_GENESIS), "meta genesis is missing");
    assert_eq!(missing(store::KEY_SUPPLY), "meta supply is missing");
}

#[test]
fn a_stored_genesis_that_breaks_a_rule_is_refused() {
    let mut genesis = genesis();
    genesis.halving = 0;
    let found = refused(|txn| set(txn, store::KEY_GENESIS, &codec::encode(&genesis)));
    assert!(matches!(found, OpenError::Genesis(_)), "{found:?}");
}

#[test]
fn a_damaged_tip_is_named() {
    let found = what(refused(|txn| {
        txn.open_table(BLOCKS).unwrap().remove(1).unwrap();
    }));
    assert_eq!(found, "block 1, the tip, is missing");
    let found = what(refused(|txn| {
        txn.open_table(BLOCKS).unwrap().insert(1, &[1, 0][..]).unwrap();
    }));
    assert_eq!(found, "block 1: 2 bytes end before the value does");
    let tip = codec::encode(&(Height(1), Digest::ZERO));
    let found = what(refused(|txn| set(txn, store::KEY_TIP, &tip)));
    assert!(found.starts_with("block 1 has hash "), "{found}");
    assert!(found.ends_with(&format!("the tip is {}", Digest::ZERO)), "{found}");
}

#[test]
fn other_accounts_than_the_tip_commits_to_are_refused() {
    let change = |txn: &WriteTransaction| {
        txn.open_table(ACCOUNTS).unwrap().insert(&[7; 32], (1, 0)).unwrap();
    };
    let found = refused(change);
    assert!(matches!(found, OpenError::Restore(RestoreError::State { .. })), "{found:?}");
    let found = refused(|txn| {
        change(txn);
        unset(txn, store::KEY_TIP);
    });
    assert!(matches!(found, OpenError::Restore(RestoreError::State { .. })), "{found:?}");
}

#[test]
fn another_supply_than_the_balances_is_refused() {
    let found = refused(|txn| set(txn, store::KEY_SUPPLY, &7_u64.to_le_bytes()));
    let expected = "the balances add up to 401024 coins, the supply is 0.00000007";
    assert!(matches!(found, OpenError::Supply { .. }), "{found:?}");
    assert_eq!(found.to_string(), expected);
}

#[test]
fn tables_of_another_type_are_an_error() {
    let (_folder, path) = file();
    let db = Database::create(&path).unwrap();
    let txn = db.begin_write().unwrap();
    let other: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("meta");
    txn.open_table(other).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    drop(db);
    let found = Ledger::open(&path, Some(chain())).unwrap_err();
    assert!(matches!(found, OpenError::Store(StoreError::Database(_))), "{found:?}");
}

/// What replaying says after `damage` that opening does not see.
fn replayed(damage: impl FnOnce(&WriteTransaction)) -> ReplayError {
    let (_folder, path) = damaged(damage);
    Ledger::open(&path, None).unwrap().verify(|_, _| {}).unwrap_err()
}

/// The first block of the chain that [`damaged`] makes.
fn first_block(txn: &WriteTransaction) -> Block {
    use redb::ReadableTable;
    let table = txn.open_table(BLOCKS).unwrap();
    let bytes = table.get(0).unwrap().unwrap().value().to_vec();
    codec::decode(&bytes).unwrap()
}

#[test]
fn a_replay_finds_a_block_that_breaks_a_rule() {
    let found = replayed(|txn| {
        let mut block = first_block(txn);
        block.header.time = block.header.time.plus(Millis(1));
        let bytes = codec::encode(&block);
        txn.open_table(BLOCKS).unwrap().insert(0, bytes.as_slice()).unwrap();
    });
    let text = "block 0: the metronome's signature: \
                the signature is not that of the message by the key";
    assert_eq!(found.to_string(), text);
}

#[test]
fn a_replay_finds_a_block_that_does_not_decode_or_is_missing() {
    let found = replayed(|txn| {
        txn.open_table(BLOCKS).unwrap().insert(0, &[1][..]).unwrap();
    });
    let text = "the store is damaged: block 0: 1 bytes end before the value does";
    assert_eq!(found.to_string(), text);
    let found = replayed(|txn| {
        txn.open_table(BLOCKS).unwrap().remove(0).unwrap();
    });
    assert_eq!(found.to_string(), "blocks has 1 entries, expected 0");
}

#[test]
fn a_replay_finds_a_wrong_index() {
    let found = replayed(|txn| {
        let hash = first_block(txn).header.hash();
        txn.open_table(HASHES).unwrap().insert(&hash.0, 1).unwrap();
    });
    assert!(matches!(found, ReplayError::HashIndex { height: Height(0), got: Some(Height(1)) }));
    let found = replayed(|txn| {
        txn.open_table(HASHES).unwrap().insert(&[0; 32], 1).unwrap();
    });
    assert_eq!(found.to_string(), "hashes has 3 entries, expected 2");
    let found = replayed(|txn| {
        let id = first_block(txn).transactions[1].id(&chain().hash());
        txn.open_table(TRANSACTIONS).unwrap().insert(&id.0, (0, 0, 0)).unwrap();
    });
    let got = Some(Place { height: Height(0), index: 0 });
    let expected = matches!(
        found,
        ReplayError::TransactionIndex { height: Height(0), got: place, .. } if place == got
    );
    assert!(expected, "{found:?}");
    let found = replayed(|txn| {
        txn.open_table(TRANSACTIONS).unwrap().insert(&[0; 32], (0, 0, 0)).unwrap();
    });
    assert_eq!(found.to_string(), "transactions has 3 entries, expected 2");
}

/// What replaying says of a ledger of two blocks whose tables change while it is open.
fn replayed_open(damage: impl FnOnce(&WriteTransaction)) -> ReplayError {
    let (mut ledger, _) = ledger_with_a_block();
    ledger.commit(&empty(ledger.state())).unwrap();
    let txn = ledger.store().database().begin_write().unwrap();
    damage(&txn);
    txn.commit().unwrap();
    ledger.verify(|_, _| {}).unwrap_err()
}

#[test]
fn a_replay_finds_another_tip_or_account() {
    let found = replayed_open(|txn| {
        txn.open_table(BLOCKS).unwrap().remove(1).unwrap();
        txn.open_table(HASHES).unwrap().retain(|_, height| height == 0).unwrap();
    });
    assert!(matches!(found, ReplayError::Tip { .. }), "{found:?}");
    let found = replayed_open(|txn| {
        txn.open_table(ACCOUNTS).unwrap().insert(&[7; 32], (1, 0)).unwrap();
    });
    let expected = matches!(
        found,
        ReplayError::Account { address: Address([7, ..]), expected, .. } if expected.is_empty()
    );
    assert!(expected, "{found:?}");
}

#[test]
fn wrong_counts_of_blocks_won_are_found() {
    let found = replayed(|txn| {
        txn.open_table(WINS).unwrap().insert(&[][..], 7).unwrap();
    });
    assert!(matches!(found, ReplayError::Wins), "{found:?}");
    let found = what(refused(|txn| {
        txn.open_table(WINS).unwrap().insert(&[9][..], 7).unwrap();
    }));
    assert_eq!(found, "wins: proof kind 9, there are 3");
}

#[test]
fn a_replay_tells_its_progress() {
    let (ledger, _) = ledger_with_a_block();
    let mut told = Vec::new();
    ledger.verify(|done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(1, 1)]);
}

/// Reads everything there is to read; what fails must be an error, not a panic.
fn read_all(path: &Path) -> Result<(), StoreError> {
    let Ok(ledger) = Ledger::open(path, None) else { return Ok(()) };
    let _ = ledger.verify(|_, _| {});
    let history = ledger.history(&address(&ALICE), None, 10).map(drop);
    let block = ledger.block(Height(0)).map(drop);
    block.and(history).and_then(|()| ledger.snapshot().map(drop))
}

#[test]
fn wrong_places_in_indices_are_errors() {
    let (_folder, path) = damaged(|txn| {
        let mut block = first_block(txn);
        let id = block.transactions[0].id(&chain().hash());
        txn.open_table(TRANSACTIONS).unwrap().insert(&id.0, (0, 9, u32::MAX)).unwrap();
        txn.open_table(TRANSACTIONS).unwrap().insert(&[0; 32], (9, 0, 0)).unwrap();
        block.transactions = codec::List::default();
        let bytes = codec::encode(&block);
        txn.open_table(BLOCKS).unwrap().insert(0, bytes.as_slice()).unwrap();
    });
    let ledger = Ledger::open(&path, None).unwrap();
    let id = pay(&ALICE, 0, 10).id(&chain().hash());
    let text = "the store is damaged: block 0 has no transaction 9";
    assert_eq!(ledger.transaction(&id).unwrap_err().to_string(), text);
    assert_eq!(ledger.inclusion(&id).unwrap_err().to_string(), text);
    assert!(ledger.transaction(&Digest::ZERO).is_err());
    assert!(ledger.inclusion(&Digest::ZERO).is_err());
    assert!(ledger.history(&address(&ALICE), None, 10).is_err());
}

/// Flips bytes of the file: the page checks find it, or it was in unused space.
#[test]
fn a_file_with_flipped_bytes_never_panics() {
    let (_folder, path) = damaged(|_| {});
    let intact = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for place in (0..intact.len()).step_by(intact.len() / 150) {
        let mut bytes = intact.clone();
        bytes[place] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        refused += u32::from(Ledger::open(&path, None).is_err());
        let _ = read_all(&path);
    }
    assert!(refused > 0);
    for len in [0, 1, 100, intact.len() / 2] {
        std::fs::write(&path, &intact[..len]).unwrap();
        assert!(Ledger::open(&path, None).is_err(), "{len} bytes");
    }
}

/// Memory that fails at the flip of a switch.
#[derive(Clone, Debug)]
struct Failing {
    memory: Arc<InMemoryBackend>,
    broken: Arc<AtomicBool>,
}

impl Failing {
    fn new() -> Self {
        Self { memory: Arc::new(InMemoryBackend::new()), broken: Arc::default() }
    }

    fn check(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) { Err(io::Error::other("broken")) } else { Ok(()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.memory.write(offset, data)
    }
}

#[test]
fn a_failing_store_leaves_the_state_and_the_last_block() {
    let backend = Failing::new();
    let mut ledger = Ledger::with_backend(backend.clone(), Some(chain())).unwrap();
    ledger.commit(&empty(ledger.state())).unwrap();
    let block = next_block(ledger.state(), vec![], vec![pay(&ALICE, 0, 1)]);
    let (tip, commitment) = (*ledger.state().tip(), ledger.state().commitment());
    backend.broken.store(true, Ordering::Relaxed);
    let found = ledger.commit(&block).unwrap_err();
    assert!(matches!(found, CommitError::Store(StoreError::Database(_))), "{found:?}");
    assert!(found.to_string().contains("broken"), "{found}");
    assert_eq!((*ledger.state().tip(), ledger.state().commitment()), (tip, commitment));
    drop(ledger);
    backend.broken.store(false, Ordering::Relaxed);
    let ledger = Ledger::with_backend(backend, None).unwrap();
    assert_eq!(*ledger.state().tip(), tip);
}

#[test]
fn a_stale_block_is_not_committed() {
    let (mut ledger, block) = ledger_with_a_block();
    let found = ledger.commit(&block).unwrap_err();
    assert!(matches!(found, CommitError::Stale(StaleBlock { .. })), "{found:?}");
    assert_eq!(ledger.state().height(), Some(Height(0)));
    assert_eq!(ledger.block_bytes(Height(1)).unwrap(), None);
}

#[test]
fn what_was_committed_is_found_again() {
    let (ledger, block) = ledger_with_a_block();
    let height = Height(0);
    assert_eq!(ledger.block_bytes(height).unwrap(), Some(block.to_bytes()));
    assert_eq!(ledger.block(height).unwrap(), Some(unchecked(&block)));
    assert_eq!(ledger.header(height).unwrap().as_ref(), Some(block.header()));
    assert_eq!(ledger.height_of(&block.hash()).unwrap(), Some(height));
    assert_eq!(ledger.height_of(&Digest::ZERO).unwrap(), None);
    assert_eq!(ledger.header(Height(1)).unwrap(), None);
    for (index, transaction) in (0..).zip(block.transactions()) {
        let found = ledger.transaction(&transaction.id()).unwrap().unwrap();
        assert_eq!(found.place, Place { height, index });
        assert_eq!(found.transaction, transaction.transaction());
    }
    assert_eq!(ledger.transaction(&Digest::ZERO).unwrap(), None);
}

#[test]
fn inclusion_can_be_checked_without_the_ledger() {
    let (ledger, block) = ledger_with_a_block();
    for transaction in block.transactions() {
        let found = ledger.inclusion(&transaction.id()).unwrap().unwrap();
        assert_eq!(found.transaction, transaction.bytes());
        let leaf = merkle::leaf(&found.transaction);
        assert_eq!(found.proof.verify(leaf, found.header.transactions_root), Ok(()));
    }
    assert_eq!(ledger.inclusion(&Digest::ZERO).unwrap(), None);
}

#[test]
fn blocks_come_in_batches_of_bounded_size() {
    let mut ledger = Ledger::in_memory(chain());
    for _ in 0..5 {
        ledger.commit(&empty(ledger.state())).unwrap();
    }
    let len = ledger.block_bytes(Height(0)).unwrap().unwrap().len();
    let count = |from, bytes| ledger.blocks(Height(from), bytes).unwrap().len();
    assert_eq!((count(0, 0), count(0, len), count(0, 3 * len), count(0, usize::MAX)), (1, 1, 3, 5));
    assert_eq!((count(4, usize::MAX), count(5, usize::MAX)), (1, 0));
    let fourth = ledger.blocks(Height(3), 0).unwrap();
    assert_eq!(ledger.block_bytes(Height(3)).unwrap().as_ref(), fourth.first());
}

#[test]
fn history_is_newest_first_and_in_pages() {
    let (mut ledger, _) = ledger_with_a_block();
    let block = next_block(ledger.state(), vec![], vec![pay(&ALICE, 2, 30)]);
    ledger.commit(&block).unwrap();
    let place = |height, index| Place { height: Height(height), index };
    let of = |key: &SecretKey, before, max| {
        let events = ledger.history(&address(key), before, max).unwrap();
        events.into_iter().map(|e| (e.place, e.received)).collect::<Vec<_>>()
    };
    let all = [(place(1, 0), coins(30)), (place(0, 1), coins(20)), (place(0, 0), coins(10))];
    assert_eq!(of(&BOB, None, 10), all);
    assert_eq!(of(&BOB, None, 1), all[..1]);
    assert_eq!(of(&BOB, Some(all[0].0), 10), all[1..]);
    assert_eq!(of(&BOB, Some(all[2].0), 10), []);
    assert_eq!(of(&ALICE, None, 10), all.map(|(place, _)| (place, Amount::ZERO)));
    assert_eq!(of(&CAROL, None, 10), []);
    let reward = ledger.history(&address(&MINER), None, 10).unwrap();
    assert_eq!((reward[0].received, &reward[0].transaction), (coins(1026), &None));
    let events = ledger.history(&address(&BOB), None, 1).unwrap();
    assert_eq!(events[0].transaction, Some(pay(&ALICE, 2, 30)));
}

#[test]
fn a_database_closes_its_reads() {
    let (ledger, _) = ledger_with_a_block();
    assert!(format!("{ledger:?}").contains("Ledger"));
    let (_folder, path) = file();
    let db = Database::create(&path).unwrap();
    assert!(db.begin_read().is_ok());
}
