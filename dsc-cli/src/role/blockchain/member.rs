//! What a blockchain server knows of the engine that it shares with others, and of those others.
//!
//! # Invariants
//!
//! 1. The engine is believed in nothing: what it says only decides whether this server goes on.
//! 2. What is final is so as of this server: never above what it has itself, and never by a server
//!    that has another block somewhere, or might have.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dsc_lib::{
    block::BlockHash,
    cluster::{
        Cluster, Position, Revision, Shelf, Unavailable,
        lease::{self, Record},
    },
    genesis::Chain,
    units::{Height, Millis},
};

use super::note::{self, Agreement, ReplicaNote};
use crate::{clock::Time, http::Check};

/// How long the engine may be silent before what is answered counts as stale.
const SILENCE_MAX: Millis = Millis(2_000);
/// How often another node is asked to answer before the trouble is taken to be elsewhere: to change
/// nodes costs everybody time.
const DISTRUSTS_MAX: u32 = 3;
/// Least time between two of them.
const DISTRUST_PAUSE: Millis = Millis(2_000);
/// How long a note may stand still before its server counts as gone.
const GONE_AFTER: Millis = Millis(15_000);
/// Most time for an answer of another server.
pub(super) const SIBLING_TIME: Duration = Duration::from_secs(10);

/// How a server is called among those of its chain.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// 16 hexadecimal digits, the same for as long as the folder is.
    pub(crate) id: String,
    /// Where the others reach it.
    pub(crate) url: String,
}

/// A server's part in a cluster.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) cluster: Cluster,
    identity: Identity,
    time: Time,
    snapshot_blocks: u64,
    standing: Mutex<Standing>,
    skipped: AtomicU64,
    gaps: AtomicU64,
}

#[derive(Debug, Default)]
struct Standing {
    position: Position,
    reached: Millis,
    trouble: Option<String>,
    disputed: Option<String>,
    /// Why the own note could not be put last.
    refused: Option<String>,
    /// When another node was asked to answer since all was well, and how often.
    distrusted: Option<(Millis, u32)>,
    filled: Option<Position>,
    final_height: Option<Height>,
    /// Nothing before the board was looked at.
    others: Option<BTreeMap<String, Sibling>>,
}

/// Another server of the chain, as of its last note.
#[derive(Clone, Debug)]
pub(super) struct Sibling {
    pub(super) note: ReplicaNote,
    revision: Revision,
    /// When that was new here.
    moved: Millis,
    agreement: Agreement,
}

impl Member {
    pub(crate) fn new(
        cluster: Cluster,
        identity: Identity,
        time: Time,
        snapshot_blocks: u64,
    ) -> Self {
        let standing = Mutex::new(Standing { reached: time.now(), ..Standing::default() });
        let (skipped, gaps) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { cluster, identity, time, snapshot_blocks, standing, skipped, gaps }
    }

    /// Blocks between two snapshots in the shared store.
    pub(super) const fn snapshot_blocks(&self) -> u64 {
        self.snapshot_blocks
    }

    pub(super) fn now(&self) -> Millis {
        self.time.now()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries of the log this server has read.
    pub(super) fn position(&self) -> Position {
        self.standing().position
    }

    /// The engine has answered, and this is how far the log was read.
    pub(super) fn reached(&self, position: Position) {
        let mut standing = self.standing();
        (standing.position, standing.reached) = (position, self.time.now());
    }

    /// Asks another node of the engine to answer, unless that has not helped.
    pub(super) fn distrust(&self) {
        let (mut standing, now) = (self.standing(), self.time.now());
        let (last, count) = standing.distrusted.unwrap_or_default();
        if count < DISTRUSTS_MAX && (count == 0 || now.since(last) >= DISTRUST_PAUSE) {
            standing.distrusted = Some((now, count.saturating_add(1)));
            drop(standing);
            self.cluster.blocks.distrust();
        }
    }

    /// The node that answers shows the log as it was read.
    pub(super) fn trust(&self) {
        self.standing().distrusted = None;
    }

    /// Says once what keeps this server from going on, and once that it is mended.
    pub(super) fn tell(&self, trouble: Option<String>) {
        let mut standing = self.standing();
        if standing.trouble == trouble {
            return;
        }
        if let Some(trouble) = &trouble {
            tracing::error!("the shared log: {trouble}");
        } else {
            tracing::info!("the shared log: mended");
        }
        standing.trouble = trouble;
    }

    /// An entry was passed over, as every server does.
    pub(super) fn skip(&self, position: Position, why: &dyn std::fmt::Display) {
        self.skipped.fetch_add(1, Relaxed);
        tracing::error!(%position, "an entry of the shared log is passed over: {why}");
    }

    /// An entry that the log has lost was had from another server.
    pub(super) fn fill(&self, position: Position, from: &str) {
        self.gaps.fetch_add(1, Relaxed);
        self.standing().filled = Some(position);
        tracing::error!(
            %position, from,
            "the shared log has lost an entry, which was had from another server: look which node \
             of the engine is damaged, empty it and let it fill again"
        );
    }

    /// Who holds the lease, or gave it back last. What names no metronome of the chain counts for
    /// nothing: the log itself keeps two from appending the same height.
    pub(super) fn lease(&self, chain: &Chain) -> Result<Option<Record>, Unavailable> {
        let note = self.cluster.board.get(Shelf::Control, lease::KEY)?;
        let read = note.and_then(|note| serde_json::from_slice::<Record>(&note.value).ok());
        Ok(read.filter(|record| chain.metronome(&record.holder).is_some()))
    }

    /// Whether the board was looked at: before that nothing is known of other servers.
    pub(super) fn has_looked(&self) -> bool {
        self.standing().others.is_some()
    }

    /// Another server that is there and has read more of the log than `position`. Of a log that seems
    /// to be empty those count as well that are gone: whoever was first would begin the chain anew.
    pub(super) fn outrun(&self, position: Position) -> Option<ReplicaNote> {
        let (standing, now) = (self.standing(), self.time.now());
        let is_there = |sibling: &&Sibling| {
            position == Position::START || now.since(sibling.moved) <= GONE_AFTER
        };
        let mut further = standing.others.iter().flat_map(BTreeMap::values).filter(is_there);
        further.find(|other| other.note.position > position.0).map(|other| other.note.clone())
    }

    /// The other servers, whether they are there or not.
    pub(super) fn others(&self) -> Vec<ReplicaNote> {
        let standing = self.standing();
        standing.others.iter().flat_map(BTreeMap::values).map(|one| one.note.clone()).collect()
    }

    /// What servers have said of themselves, this one among them.
    pub(super) fn said(&self) -> Result<Vec<ReplicaNote>, Unavailable> {
        let notes = self.cluster.board.list(Shelf::Control, ReplicaNote::PREFIX)?;
        Ok(note::replicas(&notes).map(|(_, note)| note).collect())
    }

    /// The note that says this.
    pub(super) fn own_note(&self, tip: Option<(Height, dsc_lib::hash::Digest)>) -> ReplicaNote {
        let Identity { id, url } = self.identity.clone();
        let (height, hash) = (tip.map(|tip| tip.0), tip.map(|tip| tip.1));
        let position = self.position().0;
        ReplicaNote { id, url, height, hash, position, beat: self.time.now() }
    }

    /// Puts the own note on the board. What cannot be put now is put again with the next one.
    pub(super) fn put(&self, own: &ReplicaNote) -> Result<Revision, Unavailable> {
        let value = serde_json::to_vec(own).map_err(Unavailable::new)?;
        let put = self.cluster.board.put(Shelf::Control, &own.key(), &value, None);
        // An engine that can be read and takes nothing is no engine to hand a block to.
        self.standing().refused = put.as_ref().err().map(ToString::to_string);
        put.map_err(Unavailable::new)
    }

    /// Looks at the notes on the board after the own one was put there, at `put`; `is_own` tells
    /// whether a block is the one that this ledger has at a height, and nothing if it has none there.
    pub(super) fn look(
        &self,
        own: &ReplicaNote,
        put: Revision,
        is_own: impl Fn(Height, &BlockHash) -> Option<bool>,
    ) -> Result<(), Unavailable> {
        let notes = self.cluster.board.list(Shelf::Control, ReplicaNote::PREFIX)?;
        let mut known = self.standing().others.clone().unwrap_or_default();
        let (mut others, mut heights) = (BTreeMap::new(), vec![own.height]);
        let mut disputed = None;
        for (revision, note) in note::replicas(&notes) {
            if note.id == own.id {
                disputed = disputed.or_else(|| twin(own, put, revision, &note));
                continue;
            }
            let last = known.remove(&note.id);
            let agreement = last.as_ref().map(|last| last.agreement).unwrap_or_default();
            let last = last.filter(|last| last.revision == revision);
            let moved = last.map_or_else(|| self.time.now(), |last| last.moved);
            let agreement = agreement.after(&note, own.height, &is_own).unwrap_or_else(|height| {
                disputed = Some(format!("the server at {} has another block {height}", note.url));
                Agreement::default()
            });
            heights.push(agreement.upto());
            others.insert(note.id.clone(), Sibling { note, revision, moved, agreement });
        }
        let mut standing = self.standing();
        if let Some(what) =
            disputed.as_ref().filter(|what| standing.disputed.as_ref() != Some(what))
        {
            tracing::error!("the servers of the chain do not go together: {what}");
        }
        (standing.others, standing.final_height) = (Some(others), note::final_height(heights));
        standing.disputed = disputed;
        Ok(())
    }

    /// Height up to which two servers have every block, if that is known.
    pub(super) fn final_height(&self) -> Option<Height> {
        self.standing().final_height
    }

    /// Since when the engine is silent, if it is for long.
    pub(super) fn stale_since(&self) -> Option<Millis> {
        silent_since(self.standing().reached, self.time.now())
    }

    /// Entries passed over, and those that were lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.skipped.load(Relaxed), self.gaps.load(Relaxed))
    }

    /// Whether this server goes along with the others.
    pub(super) fn check(&self) -> Check {
        let stale = self.stale_since();
        let standing = self.standing();
        let Standing { position, trouble, disputed, refused, filled, .. } = &*standing;
        let silent = stale.map(|since| format!("not reached since {since} ms"));
        let known = [trouble, disputed, refused].into_iter().find_map(Clone::clone);
        let fault = known.or(silent);
        let ok = fault.is_none();
        let place = fault.unwrap_or_else(|| format!("at position {position}"));
        let detail = filled.map_or_else(
            || place.clone(),
            |lost| format!("{place}; position {lost} was lost and had from another server"),
        );
        Check { name: "engine", ok, detail }
    }
}

/// What is wrong if another server has put a note of this one's id after `put`.
fn twin(own: &ReplicaNote, put: Revision, at: Revision, note: &ReplicaNote) -> Option<String> {
    let is_another = at > put && note.url != own.url;
    is_another.then(|| {
        let url = &note.url;
        format!("the server at {url} has the id of this one: remove `id` from the folder of a copy")
    })
}

/// Since when the engine is silent, if it is for long.
fn silent_since(reached: Millis, now: Millis) -> Option<Millis> {
    (now.since(reached) > SILENCE_MAX).then_some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_silent_after_a_while() {
        let reached = Millis(1_000_000);
        assert_eq!(silent_since(reached, reached.plus(SILENCE_MAX)), None);
        assert_eq!(silent_since(reached, reached.plus(SILENCE_MAX).plus(Millis(1))), Some(reached));
        assert_eq!(silent_since(reached, Millis(0)), None);
    }
}
