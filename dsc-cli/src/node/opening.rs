//! The ledger of a blockchain server: the one in its folder, or a new one, from a snapshot if those
//! who share an engine have put one there.

use std::sync::Arc;

use dsc_lib::{
    cluster::Cluster,
    disk::Disk,
    genesis::Chain,
    ledger::{Ledger, Snapshot},
};

use crate::{
    crash,
    engine::Engine,
    exit::Failure,
    memory,
    role::{blockchain::newest, transport::snapshot_bytes_max},
};

/// The file of a ledger that is there as soon as one is.
const LOG: &str = "blocks.log";

/// Opens the ledger in `disk`, or starts one of `chain`; with what it shares with others.
pub(super) fn open(
    engine: &Engine,
    disk: Arc<dyn Disk>,
    chain: Option<Chain>,
) -> Result<(Ledger, Option<Cluster>), Failure> {
    let fresh = chain.clone().filter(|_| !engine.is_alone());
    let Some(fresh) = fresh.filter(|_| is_new(&*disk)) else {
        let options = crash::ledger_options();
        let ledger = Ledger::with_disk(disk, chain, options, progress())?;
        let cluster = engine.open(ledger.state().chain())?;
        return Ok((ledger, cluster));
    };
    let cluster = engine.open(&fresh)?;
    let ledger = match cluster.as_ref().and_then(|cluster| snapshot(cluster, &fresh)) {
        Some(snapshot) => Ledger::start_from(disk, fresh, snapshot, crash::ledger_options())?,
        None => Ledger::with_disk(disk, chain, crash::ledger_options(), progress())?,
    };
    Ok((ledger, cluster))
}

fn is_new(disk: &dyn Disk) -> bool {
    disk.list().is_ok_and(|names| !names.iter().any(|name| name == LOG))
}

/// The newest snapshot that others have put into the store, if there is one to be had.
fn snapshot(cluster: &Cluster, chain: &Chain) -> Option<Snapshot> {
    let bytes_max = snapshot_bytes_max(memory::allowance());
    let found = newest(cluster, chain, usize::try_from(bytes_max).unwrap_or(usize::MAX));
    let found = found.unwrap_or_else(|error| {
        tracing::warn!(%error, "no snapshot can be had: the ledger begins with the first block");
        None
    })?;
    let height = found.tip.as_ref().map(|tip| tip.header.height)?;
    tracing::info!(%height, "the ledger begins at a snapshot");
    Some(found)
}

/// Logs each tenth of a long opening.
fn progress() -> impl FnMut(u64, u64) {
    let mut last = 0;
    move |done, total| {
        let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
        if tenth > last && total >= LONG_BYTES {
            tracing::info!(done, total, "checking blocks that the ledger's index does not cover");
        }
        last = tenth;
    }
}

/// Bytes of a log that take some time to check.
const LONG_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use dsc_lib::{
        cluster::{Embedded, Position},
        codec,
        disk::Memory,
        testing::{chain, next_block},
        units::Height,
    };

    use super::*;

    /// Appends the next block of a ledger to the log, and commits it.
    fn extend(cluster: &Cluster, ledger: &mut Ledger) {
        let block = next_block(ledger.state(), vec![], vec![]);
        let after = Position(ledger.state().round().height.0);
        cluster.blocks.append(after, &block.hash(), &block.to_bytes()).unwrap();
        ledger.commit(&block).unwrap();
    }

    fn put(cluster: &Cluster, height: u64, bytes: &[u8]) {
        cluster.blobs.put(&format!("state-{height:020}"), bytes).unwrap();
    }

    #[test]
    fn a_new_ledger_begins_at_the_newest_snapshot_that_is_of_use() {
        let cluster = Embedded::in_memory().cluster();
        let mut ledger = Ledger::in_memory(chain());
        let mut stray = Ledger::in_memory(chain());
        for height in 0..3 {
            extend(&cluster, &mut ledger);
            stray.commit(&next_block(stray.state(), vec![], vec![])).unwrap();
            if height < 2 {
                put(&cluster, height, &codec::encode(&ledger.snapshot().unwrap()));
            }
        }
        // Not one, one of a block that the log has not got, and one that is no snapshot.
        let other = next_block(stray.state(), vec![], vec![]);
        stray.commit(&other).unwrap();
        put(&cluster, 3, &codec::encode(&stray.snapshot().unwrap()));
        put(&cluster, 4, b"garbage");
        let disk: Arc<dyn Disk> = Arc::new(Memory::default());
        let engine = Engine::Shared(cluster);
        let (begun, cluster) = open(&engine, disk.clone(), Some(chain())).unwrap();
        assert!(cluster.is_some());
        assert_eq!((begun.base(), begun.state().height()), (Some(Height(1)), Some(Height(1))));
        drop(begun);
        // Once it is there it is opened as any other.
        let (again, _) = open(&engine, disk, Some(chain())).unwrap();
        assert_eq!(again.base(), Some(Height(1)));
    }

    #[test]
    fn without_a_snapshot_or_an_engine_a_ledger_begins_with_the_first_block() {
        for engine in [Engine::Alone, Engine::Shared(Embedded::in_memory().cluster())] {
            let disk: Arc<dyn Disk> = Arc::new(Memory::default());
            let (begun, cluster) = open(&engine, disk, Some(chain())).unwrap();
            assert_eq!((begun.base(), begun.state().height()), (None, None));
            assert_eq!(cluster.is_some(), !engine.is_alone());
        }
    }
}
