//! Exported chains and snapshots.

use super::*;
use crate::{
    codec::{DecodeError, List},
    genesis::{BLOCK_BYTES_MAX, GENESIS_BYTES_MAX},
    testing::coins,
};

fn exported() -> (Ledger, Vec<u8>) {
    let (mut ledger, _) = ledger_with_a_block();
    ledger.commit(&empty(ledger.state())).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(ledger.export(&mut bytes).unwrap(), 2);
    (ledger, bytes)
}

#[test]
fn an_exported_chain_reads_back_and_replays() {
    let (ledger, bytes) = exported();
    let mut import = Import::new(bytes.as_slice()).unwrap();
    let mut state = State::genesis(import.genesis().clone().check().unwrap());
    for block in import.by_ref() {
        let block = state.check(block.unwrap()).unwrap();
        state.apply(&block).unwrap();
    }
    assert!(import.next().is_none());
    assert_eq!(state.tip(), ledger.state().tip());
    assert_eq!(state.commitment(), ledger.state().commitment());
}

/// The message about an export after `change`.
fn import_error(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (_, mut bytes) = exported();
    change(&mut bytes);
    let import = match Import::new(bytes.as_slice()) {
        Ok(import) => import,
        Err(error) => return error.to_string(),
    };
    let mut errors = import.filter_map(Result::err);
    let error = errors.next().unwrap();
    assert!(errors.next().is_none());
    error.to_string()
}

#[test]
fn every_damage_to_an_export_is_named() {
    const GENESIS: usize = 10;
    let first = GENESIS + 8 + codec::encode(&genesis()).len();
    let found = import_error(|bytes| bytes[0] = b'X');
    assert_eq!(found, "not an exported chain: it does not start with DSCCHAIN");
    let found = import_error(|bytes| bytes[8] = 2);
    assert_eq!(found, "the exported chain has format 2, this program reads 1");
    let found = import_error(|bytes| bytes.truncate(9));
    assert_eq!(found, "the file ends within the file's head");
    let found = import_error(|bytes| bytes.truncate(12));
    assert_eq!(found, "the file ends within the genesis");
    let found = import_error(|bytes| bytes.truncate(first - 1));
    assert_eq!(found, "the file ends within the genesis");
    let found = import_error(|bytes| bytes.truncate(first + 3));
    assert_eq!(found, "the file ends within block 0");
    let found = import_error(|bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(found, "the file ends within block 1");
    let lie = |at: usize| move |bytes: &mut Vec<u8>| bytes[at..at + 8].fill(0xff);
    let max = GENESIS_BYTES_MAX;
    let found = import_error(lie(GENESIS));
    assert_eq!(
        found,
        format!("the genesis is said to have {} bytes, at most {max} are allowed", u64::MAX)
    );
    let found = import_error(lie(first));
    let max = BLOCK_BYTES_MAX;
    assert_eq!(
        found,
        format!("block 0 is said to have {} bytes, at most {max} are allowed", u64::MAX)
    );
    let found =
        import_error(|bytes| bytes[first..first + 8].copy_from_slice(&100_u64.to_le_bytes()));
    assert_eq!(found, "block 0: 100 bytes end before the value does");
}

/// A pipe that breaks at once.
#[derive(Debug)]
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("no pipe"))
    }
}

impl std::io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("no pipe"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_pipe_is_named() {
    let error = Import::new(Broken).unwrap_err();
    assert_eq!(error.to_string(), "reading the chain: no pipe");
    let error = exported().0.export(&mut Broken).unwrap_err();
    assert_eq!(error.to_string(), "writing the chain: no pipe");
}

#[test]
fn a_snapshot_gives_the_state_back() {
    let mut ledger = Ledger::in_memory(chain());
    for _ in 0..3 {
        let snapshot = ledger.snapshot().unwrap();
        let bytes = codec::encode(&snapshot);
        let decoded: Snapshot = codec::decode(&bytes).unwrap();
        assert_eq!(decoded, snapshot);
        let state = State::from_snapshot(chain(), decoded).unwrap();
        assert_eq!(state.tip(), ledger.state().tip());
        assert_eq!(state.round(), ledger.state().round());
        assert_eq!(state.accounts(), ledger.state().accounts());
        assert_eq!(state.supply(), ledger.state().supply());
        let sequence = ledger.state().account(&address(&ALICE)).sequence;
        let block = next_block(&state, vec![], vec![pay(&ALICE, sequence, 1)]);
        ledger.commit(&ledger.check(unchecked(&block)).unwrap()).unwrap();
    }
}

/// What is wrong with the snapshot of a chain of one block after `change`.
fn restore_error(change: impl FnOnce(&mut Snapshot)) -> RestoreError {
    let mut snapshot = ledger_with_a_block().0.snapshot().unwrap();
    change(&mut snapshot);
    State::from_snapshot(chain(), snapshot).unwrap_err()
}

fn edit(snapshot: &mut Snapshot, change: impl FnOnce(&mut Vec<SnapshotAccount>)) {
    let mut accounts = snapshot.accounts.to_vec();
    change(&mut accounts);
    snapshot.accounts = List::new(accounts).unwrap();
}

#[test]
fn a_snapshot_out_of_order_is_refused() {
    let found = restore_error(|snapshot| edit(snapshot, |accounts| accounts.swap(0, 1)));
    assert_eq!(found, RestoreError::Account { index: 1 });
    let found = restore_error(|snapshot| edit(snapshot, |accounts| accounts[2] = accounts[1]));
    assert_eq!(found, RestoreError::Account { index: 2 });
    let empty = |accounts: &mut Vec<SnapshotAccount>| accounts[0].account = Account::default();
    let found = restore_error(|snapshot| edit(snapshot, empty));
    assert_eq!(found, RestoreError::Account { index: 0 });
}

#[test]
fn a_snapshot_that_the_tip_does_not_commit_to_is_refused() {
    let richer = |accounts: &mut Vec<SnapshotAccount>| accounts[0].account.sequence += 1;
    let found = restore_error(|snapshot| edit(snapshot, richer));
    assert!(matches!(found, RestoreError::State { .. }), "{found:?}");
    let found = restore_error(|snapshot| snapshot.tip = None);
    assert!(matches!(found, RestoreError::State { .. }), "{found:?}");
    let found = restore_error(|snapshot| {
        snapshot.tip.as_mut().unwrap().proofs = Proofs::default();
    });
    assert!(matches!(found, RestoreError::Tip(BlockError::ProofsRoot { .. })), "{found:?}");
    let found = restore_error(|snapshot| {
        snapshot.tip.as_mut().unwrap().header.state = Digest::ZERO;
    });
    assert!(matches!(found, RestoreError::Tip(BlockError::Signature(_))), "{found:?}");
}

/// A metronome that signs for coins from nowhere must not make a later sum overflow.
#[test]
fn a_signed_snapshot_with_too_many_coins_is_refused() {
    for balance in [u64::MAX, coins(401_024 - 199_968).units() + 1] {
        let found = restore_error(|snapshot| {
            edit(snapshot, |accounts| {
                let rich =
                    accounts.iter_mut().find(|entry| entry.address == address(&BOB)).unwrap();
                rich.account.balance = Amount::from_units(balance);
            });
            let accounts =
                snapshot.accounts.iter().map(|e| (e.address, e.account)).collect::<HashMap<_, _>>();
            let tip = snapshot.tip.as_mut().unwrap();
            tip.header.state = sum_of(&accounts).digest();
            tip.header = tip.header.clone().sign(&METRONOME);
        });
        assert_eq!(found, RestoreError::Supply { max: coins(401_024) });
    }
}

#[test]
fn a_snapshot_with_a_lying_length_is_refused_without_memory() {
    let mut bytes = codec::encode(&Ledger::in_memory(chain()).snapshot().unwrap());
    bytes[1..9].copy_from_slice(&(1_u64 << 26).to_le_bytes());
    let found = codec::decode::<Snapshot>(&bytes).unwrap_err();
    assert_eq!(found, DecodeError::Truncated { len: bytes.len() });
    bytes[1..9].fill(0xff);
    let found = codec::decode::<Snapshot>(&bytes).unwrap_err();
    assert!(matches!(found, DecodeError::Malformed { .. }), "{found:?}");
}
