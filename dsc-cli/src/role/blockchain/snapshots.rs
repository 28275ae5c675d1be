//! Snapshots of the state in the store that the servers of a chain share, so that a new server need
//! not check every block from the first one on.
//!
//! # Invariants
//!
//! 1. Nobody trusts one: it counts only if a metronome of the chain has signed for what is in it,
//!    and the log has the block that it ends with.
//! 2. Two are kept: one may be read while the next one is put there.

use dsc_lib::{
    cluster::{BlobError, Cluster},
    codec,
    genesis::Chain,
    ledger::{Snapshot, State},
    role::blockchain::Bookmark,
    units::Height,
};

use super::{Server, member::Member};

/// Start of the names of snapshots.
const PREFIX: &str = "state-";
/// Digits of a height in a name: all names are as long, so that their order is that of heights.
const DIGITS: usize = 20;
/// Snapshots that are kept.
const KEPT: usize = 2;
/// Snapshots that a new server looks at: what is of no use costs as much as what is.
const LOOKS_MAX: usize = 8;

/// The name of the snapshot after the block at `height`.
fn name_of(height: Height) -> String {
    format!("{PREFIX}{:0DIGITS$}", height.0)
}

fn height_of(name: &str) -> Option<Height> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok().map(Height))?
}

/// The heights of snapshots up to `own`, in order. What is said to be above is of no use.
fn heights(names: &[String], own: Height) -> Vec<Height> {
    let mut heights: Vec<_> = names.iter().filter_map(|name| height_of(name)).collect();
    heights.retain(|height| *height <= own);
    heights.sort_unstable();
    heights
}

/// The height at which the next snapshot is due.
fn next_due(heights: &[Height], every: u64) -> Height {
    // The first one comes after so many blocks, of which the first has height 0.
    let first = Height(every.saturating_sub(1));
    heights.last().map_or(first, |last| Height(last.0.saturating_add(every)))
}

impl Server {
    /// Puts a snapshot into the store if one is due, and removes those that nobody needs; returns
    /// the height at which the next one is.
    ///
    /// Of several servers that find this at once each may put one: that harms nothing.
    pub(super) fn put_snapshot(&self, member: &Member) -> Result<Height, BlobError> {
        let (blobs, every) = (&*member.cluster.blobs, member.snapshot_blocks());
        let Some(own) = self.tip().0 else { return Ok(next_due(&[], every)) };
        let mut known = heights(&blobs.list()?, own);
        let next = next_due(&known, every);
        if own < next || member.outrun(member.position()).is_some() {
            return Ok(next);
        }
        let Ok((Some(height), bytes)) = self.snapshot() else { return Ok(next) };
        blobs.put(&name_of(height), &bytes)?;
        tracing::info!(%height, bytes = bytes.len(), "a snapshot is in the shared store");
        known.push(height);
        for height in known.iter().rev().skip(KEPT) {
            blobs.remove(&name_of(*height))?;
        }
        Ok(next_due(&known, every))
    }
}

/// The newest snapshot that can be used, with at most `bytes_max` bytes.
///
/// # Errors
///
/// [`BlobError`] if the store cannot be asked what it has.
pub(crate) fn newest(
    cluster: &Cluster,
    chain: &Chain,
    bytes_max: usize,
) -> Result<Option<Snapshot>, BlobError> {
    let names = cluster.blobs.list()?;
    for height in heights(&names, Height(u64::MAX)).into_iter().rev().take(LOOKS_MAX) {
        match read(cluster, chain, height, bytes_max) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(why) => tracing::warn!(%height, "a snapshot in the shared store is no use: {why}"),
        }
    }
    Ok(None)
}

/// A snapshot of a state that the chain can have, and from which the log goes on.
fn read(
    cluster: &Cluster,
    chain: &Chain,
    height: Height,
    bytes_max: usize,
) -> Result<Snapshot, String> {
    let bytes =
        cluster.blobs.get(&name_of(height), bytes_max).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or("it is gone")?;
    let snapshot: Snapshot = codec::decode(&bytes).map_err(|error| error.to_string())?;
    drop(bytes);
    let state = State::from_snapshot(chain.clone(), snapshot.clone());
    let state = state.map_err(|error| error.to_string())?;
    let found = Bookmark::find(&*cluster.blocks, state.height(), &state.tip().hash);
    found.map(|_| snapshot).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_height_and_nothing_else() {
        for height in [0, 7, u64::MAX].map(Height) {
            assert_eq!(height_of(&name_of(height)), Some(height));
        }
        let odd = ["state-1", "state-99999999999999999999", "state-+0000000000000000001", "x"];
        assert!(odd.iter().all(|name| height_of(name).is_none()));
    }

    #[test]
    fn the_next_snapshot_is_due_so_many_blocks_after_the_last() {
        let due = |own: u64, known: &[u64]| {
            let names: Vec<_> = known.iter().map(|height| name_of(Height(*height))).collect();
            next_due(&heights(&names, Height(own)), 10).0
        };
        assert_eq!((due(8, &[]), due(9, &[9]), due(30, &[29, 19])), (9, 19, 39));
        assert_eq!(due(19, &[9, u64::MAX]), 19, "a height from the future keeps nobody from it");
    }
}
