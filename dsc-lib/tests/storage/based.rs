//! Ledgers that start from a snapshot: they end as one that has every block, and believe nothing
//! that nobody has signed for.

use std::sync::Arc;

use dsc_lib::{
    codec::{List, decode, encode},
    disk::{Disk, Memory},
    genesis::Chain,
    keys::SecretKey,
    ledger::{
        CheckedBlock, ExportError, Ledger, OpenError, OpenOptions, RestoreError, Snapshot,
        SnapshotAccount, State, StoreError,
    },
    testing::{
        ALICE, BOB, CAROL, MINER, Miners, address, chain, coins,
        disk::{Dice, bytes_of},
        genesis, next_block, pay,
    },
    units::Height,
};

use super::for_each_seed;

/// Everybody who pays or is paid; all but the first two have nothing at the start.
fn people() -> [&'static SecretKey; 4] {
    [&ALICE, &BOB, &CAROL, &MINER]
}

/// A ledger of some blocks, and the state after each number of them.
struct Played {
    ledger: Ledger,
    blocks: Vec<CheckedBlock>,
    snapshots: Vec<Snapshot>,
}

impl Played {
    fn new(dice: &mut Dice, miners: &mut Miners, count: usize) -> Self {
        let mut ledger = Ledger::in_memory(chain());
        let (mut blocks, mut snapshots) = (Vec::new(), vec![ledger.snapshot().unwrap()]);
        for _ in 0..count {
            let block = random_block(ledger.state(), dice, miners);
            ledger.commit(&block).unwrap();
            blocks.push(block);
            snapshots.push(ledger.snapshot().unwrap());
        }
        Self { ledger, blocks, snapshots }
    }
}

/// Some payments of people who can, to anybody; with proofs or not.
fn random_block(state: &State, dice: &mut Dice, miners: &mut Miners) -> CheckedBlock {
    let proofs = if dice.below(2) == 0 { miners.mine(state) } else { vec![] };
    let mut payments = Vec::new();
    for from in people() {
        let account = state.account(&address(from));
        if account.balance > coins(10) && dice.below(3) > 0 {
            let to = address(people()[dice.below(4)]);
            payments.push(pay(from, account.sequence, to, 1 + dice.roll() % 5));
        }
    }
    next_block(state, proofs, payments)
}

/// Each block is written to runs at once, or none is.
fn options(dice: &mut Dice) -> OpenOptions {
    OpenOptions { fresh_bytes_max: [0, 8 << 20][dice.below(2)], ..OpenOptions::default() }
}

fn start(disk: &Memory, snapshot: &Snapshot) -> Result<Ledger, OpenError> {
    let disk = Arc::new(disk.clone());
    Ledger::start_from(disk, chain(), snapshot.clone(), OpenOptions::default())
}

fn open(disk: &Memory, options: OpenOptions) -> Result<Ledger, OpenError> {
    Ledger::with_disk(Arc::new(disk.clone()), None, options, |_, _| {})
}

/// A ledger after the first `count` blocks answers as the one that has all, of what it has.
fn assert_same(ledger: &Ledger, full: &Played, base: usize, count: usize) {
    let first = Height(base as u64);
    assert_eq!(ledger.base(), base.checked_sub(1).map(|last| Height(last as u64)));
    assert_eq!(ledger.snapshot().unwrap(), full.snapshots[count]);
    let sent = full.blocks[..count].iter().map(|block| block.transactions().len() as u64);
    assert_eq!(ledger.transaction_count().unwrap(), sent.sum::<u64>());
    for block in &full.blocks[base..count] {
        let height = block.header().height;
        assert_eq!(ledger.block_bytes(height).unwrap(), Some(block.to_bytes()));
        for transaction in block.transactions() {
            let id = transaction.id();
            assert_eq!(ledger.transaction(&id).unwrap(), full.ledger.transaction(&id).unwrap());
            assert_eq!(ledger.inclusion(&id).unwrap(), full.ledger.inclusion(&id).unwrap());
        }
    }
    for block in &full.blocks[..base] {
        let height = block.header().height;
        assert_eq!(ledger.block_bytes(height).unwrap(), None);
        assert_eq!(ledger.blocks(height, usize::MAX).unwrap(), Vec::<Vec<u8>>::new());
        for transaction in block.transactions() {
            assert_eq!(ledger.transaction(&transaction.id()).unwrap(), None);
        }
    }
    if count == full.blocks.len() {
        for person in people() {
            let mut events = full.ledger.history(&address(person), None, 1000).unwrap();
            events.retain(|event| event.place.height >= first);
            assert_eq!(ledger.history(&address(person), None, 1000).unwrap(), events);
        }
        assert_eq!(ledger.state().round(), full.ledger.state().round());
        assert_eq!(ledger.state().supply(), full.ledger.state().supply());
    }
    assert_eq!(Some(ledger.state().supply()), ledger.balances().sum().unwrap());
    let summary = ledger.verify(|_, _| {}).unwrap();
    assert_eq!((summary.base, summary.blocks), (ledger.base(), (count - base) as u64));
    assert_eq!(summary.supply, ledger.state().supply());
}

/// Takes the end off the last block, as a crash may.
fn tear(disk: &Memory) {
    let file = disk.open("blocks.log").unwrap();
    file.set_len(file.size().unwrap() - 1).unwrap();
    disk.remove("blocks.synced").unwrap();
}

fn case(seed: u64, miners: &mut Miners) {
    let mut dice = Dice(seed);
    let count = 1 + dice.below(6);
    let full = Played::new(&mut dice, miners, count);
    for base in 0..=count {
        let disk = Memory::default();
        let mut ledger = start(&disk, &full.snapshots[base]).unwrap();
        assert_same(&ledger, &full, base, base);
        for block in &full.blocks[base..] {
            if dice.below(3) == 0 {
                drop(ledger);
                ledger = open(&disk, options(&mut dice)).unwrap();
            }
            ledger.commit(block).unwrap();
        }
        assert_same(&ledger, &full, base, count);
        if dice.below(2) == 0 {
            ledger.flush().unwrap();
        }
        drop(ledger);
        let read_only = OpenOptions { read_only: true, ..options(&mut dice) };
        assert_same(&open(&disk, read_only).unwrap(), &full, base, count);
        assert_same(&open(&disk, options(&mut dice)).unwrap(), &full, base, count);
    }
}

#[test]
fn a_ledger_from_a_snapshot_ends_as_one_with_every_block() {
    // Plotting takes longer than a case, so all cases share the miners.
    let miners = std::cell::RefCell::new(Miners::new(&chain()));
    for_each_seed("snapshot", 12, |seed| case(seed, &mut miners.borrow_mut()));
}

/// A chain of four blocks.
fn played() -> Played {
    Played::new(&mut Dice(5), &mut Miners::new(&chain()), 4)
}

#[test]
fn a_torn_block_after_a_snapshot_is_cut_off() {
    let full = played();
    for base in 1..4 {
        let disk = Memory::default();
        let mut ledger = start(&disk, &full.snapshots[base]).unwrap();
        for block in &full.blocks[base..] {
            ledger.commit(block).unwrap();
        }
        drop(ledger);
        tear(&disk);
        let mut ledger = open(&disk, OpenOptions::default()).unwrap();
        assert_eq!(ledger.recovery().torn.as_ref().unwrap().height, Height(3));
        assert_same(&ledger, &full, base, 3);
        ledger.commit(&full.blocks[3]).unwrap();
        assert_same(&ledger, &full, base, 4);
    }
}

#[test]
fn a_lost_index_is_made_anew_from_the_snapshot() {
    let (full, disk) = (played(), Memory::default());
    let mut ledger = start(&disk, &full.snapshots[2]).unwrap();
    ledger.commit(&full.blocks[2]).unwrap();
    ledger.flush().unwrap();
    drop(ledger);
    disk.remove("index.manifest").unwrap();
    let ledger = open(&disk, OpenOptions::default()).unwrap();
    assert_eq!(ledger.recovery().replayed, 1);
    assert_same(&ledger, &full, 2, 3);
}

/// Why a ledger does not start from a snapshot after a change; nothing is left of it then.
fn refusal(full: &Played, change: impl FnOnce(&mut Snapshot)) -> RestoreError {
    let (disk, mut snapshot) = (Memory::default(), full.snapshots[3].clone());
    change(&mut snapshot);
    let Err(OpenError::Snapshot(error)) = start(&disk, &snapshot) else {
        panic!("a forged snapshot was taken")
    };
    assert_eq!(disk.list().unwrap(), [""; 0]);
    error
}

fn change_accounts(snapshot: &mut Snapshot, change: impl FnOnce(&mut Vec<SnapshotAccount>)) {
    let mut accounts = snapshot.accounts.to_vec();
    change(&mut accounts);
    snapshot.accounts = List::new(accounts).unwrap();
}

#[test]
fn a_forged_snapshot_is_refused() {
    let full = played();
    let refused = |change: fn(&mut Snapshot)| refusal(&full, change);
    let other_state = |error| assert!(matches!(error, RestoreError::State { .. }), "{error:?}");
    let accounts = |change: fn(&mut Vec<SnapshotAccount>)| {
        refusal(&full, |snapshot| change_accounts(snapshot, change))
    };
    other_state(accounts(|accounts| accounts[0].account.balance = coins(1)));
    other_state(accounts(|accounts| accounts[0].account.sequence += 1));
    other_state(accounts(|accounts| accounts.truncate(1)));
    let swapped = accounts(|accounts| accounts.swap(0, 1));
    assert!(matches!(swapped, RestoreError::Account { index: 1 }), "{swapped:?}");
    other_state(refused(|snapshot| snapshot.tip = None));
    let signature = refused(|snapshot| snapshot.tip.as_mut().unwrap().header.height = Height(9));
    assert!(matches!(signature, RestoreError::Tip(_)), "{signature:?}");
    let text = OpenError::Snapshot(RestoreError::Account { index: 1 }).to_string();
    assert_eq!(text, "the snapshot: account 1 is out of order, listed twice or empty");
}

#[test]
fn a_truncated_snapshot_is_none() {
    let bytes = encode(&played().snapshots[3]);
    for len in (0..bytes.len()).step_by(7) {
        assert!(decode::<Snapshot>(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
    }
}

#[test]
fn a_snapshot_of_another_chain_is_refused() {
    let mut other = genesis();
    other.reward = coins(1);
    let other: Chain = other.check().unwrap();
    let (disk, snapshot) = (Arc::new(Memory::default()), played().snapshots.remove(3));
    let found = Ledger::start_from(disk, other, snapshot, OpenOptions::default());
    assert!(matches!(found, Err(OpenError::Snapshot(RestoreError::Tip(_)))), "{found:?}");
}

#[test]
fn a_ledger_is_not_started_where_there_is_one() {
    let (full, disk) = (played(), Memory::default());
    drop(start(&disk, &full.snapshots[1]).unwrap());
    let before = bytes_of(&disk, "base.state");
    let found = start(&disk, &full.snapshots[2]).unwrap_err();
    assert!(matches!(found, OpenError::Present), "{found:?}");
    assert_eq!(found.to_string(), "there is a ledger here already");
    assert_eq!(bytes_of(&disk, "base.state"), before);
}

/// What is said of a folder whose index is lost, after a change of the file that it is made from.
fn damage(full: &Played, change: impl FnOnce(&Memory)) -> String {
    let disk = Memory::default();
    drop(start(&disk, &full.snapshots[2]).unwrap());
    change(&disk);
    match open(&disk, OpenOptions::default()).unwrap_err() {
        OpenError::Store(StoreError::Corrupt { what }) => what,
        other => other.to_string(),
    }
}

#[test]
fn a_base_that_does_not_fit_the_log_is_named() {
    let full = played();
    let write = |disk: &Memory, bytes: &[u8]| {
        disk.create("base.state").unwrap().write_at(bytes, 0).unwrap();
    };
    let other = damage(&full, |disk| write(disk, &encode(&full.snapshots[1])));
    assert_eq!(other, "base.state: it is of another block than the log's");
    let len = encode(&full.snapshots[2]).len() - 1;
    let cut = damage(&full, |disk| write(disk, &encode(&full.snapshots[2])[..len]));
    assert_eq!(cut, format!("base.state: {len} bytes end before the value does"));
    let forged = damage(&full, |disk| {
        let mut snapshot = full.snapshots[2].clone();
        change_accounts(&mut snapshot, |accounts| accounts[0].account.sequence += 1);
        write(disk, &encode(&snapshot));
    });
    assert!(forged.starts_with("base.state: the accounts have state "), "{forged}");
    let lost = damage(&full, |disk| disk.remove("base.state").unwrap());
    assert!(lost.starts_with("cannot read the state that the ledger starts with"), "{lost}");
    let head = damage(&full, |disk| {
        let len = bytes_of(disk, "blocks.log").len() as u64;
        disk.open("blocks.log").unwrap().write_at(&[0xff], len - 1).unwrap();
    });
    assert_eq!(head, "the block log: the checksum of its head is wrong");
}

#[test]
fn a_chain_without_its_first_blocks_is_not_exported() {
    let (full, disk) = (played(), Memory::default());
    let ledger = start(&disk, &full.snapshots[2]).unwrap();
    let found = ledger.export(&mut Vec::new()).unwrap_err();
    assert!(matches!(found, ExportError::Base { base: Height(1) }), "{found:?}");
    let text = "the ledger begins after block 1: it has none of those before";
    assert_eq!(found.to_string(), text);
}
