//! The index: where in the log everything is. It can always be made anew from there.
//!
//! Blocks that came last are indexed in RAM. When there are enough, their records are written as
//! one run of each kind; when a level has enough runs of a kind, they are merged into one of the
//! next level, so a record is written once for each level. Who commits pays for a run only if
//! nobody calls [`Index::maintain`].
//!
//! # Invariants
//!
//! 1. Runs of one kind are about disjoint heights, oldest first; RAM is about later ones.
//! 2. The files are those of the manifest, or nobody needs them.
//! 3. No run is removed that a manifest names which may be the one on disk.

mod manifest;
mod merge;
mod run;
mod table;
mod view;

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

pub(super) use self::{
    manifest::Covered,
    table::{Kind, Pointer, REWARD_INDEX, Tables, Touch},
    view::{Sum, View},
};
use self::{
    manifest::{Listed, MANIFEST, MANIFEST_NEW, Manifest},
    merge::{Merge, failed},
    run::{Run, Writer},
    table::{KINDS, Table},
};
use super::StoreError;
use crate::{codec::List, disk::Disk, hash::Digest, units::Height};

/// Runs of one level and kind that are merged into one.
const FAN: usize = 8;
/// Blocks in RAM at which they are written.
const FRESH_BLOCKS: usize = 256;
/// By how much that, and the bytes, may be exceeded before a commit waits for them to be written.
const HARD: usize = 4;
/// Bytes that a merge writes before others have their turn.
const STEP_BYTES: usize = 8 << 20;

/// A block whose records are in RAM.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) covered: Covered,
    pub(super) tables: Tables,
}

#[derive(Clone, Debug)]
struct Leveled {
    level: u8,
    run: Arc<Run>,
}

type Runs = [Vec<Leveled>; KINDS];

/// What is not read but written: one at a time.
#[derive(Debug)]
struct Upkeep {
    next: u64,
    merge: Option<Merge>,
    /// Whether the manifest says that the index is damaged.
    flagged: bool,
    /// Runs that only a manifest names of which nobody knows whether it is on disk: they go when a
    /// later one is.
    doubtful: Vec<u64>,
}

/// The index, open.
#[derive(Debug)]
pub(super) struct Index {
    disk: Arc<dyn Disk>,
    chain: Digest,
    fresh_bytes_max: usize,
    view: RwLock<Arc<View>>,
    upkeep: Mutex<Upkeep>,
    damaged: Arc<AtomicBool>,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintained {
    /// Nothing is left to do.
    Done,
    /// Something was done, and something is left.
    More,
}

/// Files that belong to an index.
pub(super) fn is_own(name: &str) -> bool {
    name == MANIFEST || name == MANIFEST_NEW || run::is_run(name)
}

impl Index {
    /// An index of nothing, for a log whose first block has height `first`, written to `disk`.
    pub(super) fn empty(
        disk: Arc<dyn Disk>,
        chain: Digest,
        first: Height,
        fresh_bytes_max: usize,
    ) -> Self {
        let upkeep = Upkeep { next: 0, merge: None, flagged: false, doubtful: Vec::new() };
        Self {
            disk,
            chain,
            fresh_bytes_max,
            view: RwLock::new(Arc::new(View::empty(first))),
            upkeep: Mutex::new(upkeep),
            damaged: Arc::default(),
        }
    }

    /// Opens what the manifest of `from` names, if there is one; what is added goes to `disk`.
    pub(super) fn open(
        from: &dyn Disk,
        disk: Arc<dyn Disk>,
        chain: Digest,
        first: Height,
        fresh_bytes_max: usize,
    ) -> Result<Option<Self>, StoreError> {
        let Some(manifest) = Manifest::read(from)? else { return Ok(None) };
        if manifest.chain != chain {
            return Err(StoreError::index(format!("it is of chain {}", manifest.chain)));
        }
        if manifest.damaged {
            return Err(StoreError::index("a page of it was found damaged"));
        }
        let index = Self::empty(disk, chain, first, fresh_bytes_max);
        let mut runs = Runs::default();
        for listed in &manifest.runs {
            let unknown = || StoreError::index("it has records of an unknown kind");
            let name = listed.name().ok_or_else(unknown)?;
            let run = Arc::new(Run::open(from, name, &index.damaged)?);
            if let Some(of_kind) = runs.get_mut(name.kind as usize) {
                of_kind.push(Leveled { level: listed.level, run });
            }
        }
        index.publish(|view| {
            (view.base, view.runs) = (Some(manifest.covered), Arc::new(runs));
        });
        index.upkeep().next = manifest.next;
        Ok(Some(index))
    }

    /// Removes files that nobody needs.
    pub(super) fn tidy(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let failed = StoreError::io("remove old files of the index");
        let view = self.view();
        let used: Vec<_> = view.runs.iter().flatten().map(|l| l.run.name.file()).collect();
        let mut names = disk.list().map_err(&failed)?;
        // A manifest goes before the runs that it names.
        names.sort_unstable_by_key(|name| name != MANIFEST);
        for name in names {
            let manifest = name == MANIFEST && view.base.is_some();
            if is_own(&name) && !manifest && !used.contains(&name) {
                disk.remove(&name).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index at this moment.
    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, change: impl FnOnce(&mut View)) {
        let mut held = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut held));
    }

    /// Adds the block after the last one.
    pub(super) fn push(&self, fresh: Fresh) {
        self.publish(|view| {
            view.fresh_bytes = view.fresh_bytes.saturating_add(fresh.tables.len_bytes());
            view.fresh.push(Arc::new(fresh));
        });
    }

    fn is_full(&self, times: usize) -> bool {
        let view = self.view();
        view.fresh.len() >= FRESH_BLOCKS.saturating_mul(times)
            || !view.fresh.is_empty()
                && view.fresh_bytes >= self.fresh_bytes_max.saturating_mul(times)
    }

    /// Makes room for another block if as much is in RAM as may be: writes it, and merges as much
    /// as comes with it.
    pub(super) fn make_room(&self) -> Result<(), StoreError> {
        if !self.is_full(HARD) {
            return Ok(());
        }
        let steps = self.view().fresh_bytes.saturating_mul(HARD).div_ceil(STEP_BYTES);
        let mut upkeep = self.upkeep();
        if self.is_full(1) {
            self.flush(&mut upkeep)?;
        }
        for _ in 0..steps {
            if !self.merge(&mut upkeep)? {
                break;
            }
        }
        Ok(())
    }

    /// Writes what is in RAM if it is enough, or goes on merging; nothing while somebody else does.
    pub(super) fn maintain(&self) -> Result<Maintained, StoreError> {
        let mut upkeep = match self.upkeep.try_lock() {
            Ok(upkeep) => upkeep,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Maintained::Done),
        };
        self.flag(&mut upkeep)?;
        if self.is_full(1) {
            self.flush(&mut upkeep)?;
            return Ok(Maintained::More);
        }
        Ok(if self.merge(&mut upkeep)? { Maintained::More } else { Maintained::Done })
    }

    /// Writes what is in RAM.
    pub(super) fn flush_all(&self) -> Result<(), StoreError> {
        self.flush(&mut self.upkeep())
    }

    /// Puts on record that the index is damaged, once that was seen.
    fn flag(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if upkeep.flagged || !self.damaged.load(Ordering::Relaxed) {
            return Ok(());
        }
        upkeep.flagged = true;
        upkeep.merge = None;
        match self.view().base {
            Some(base) => {
                let flagged = self.install(upkeep, base, &self.view().runs, 0..0);
                flagged.inspect_err(|_| upkeep.flagged = false)
            }
            None => Ok(()),
        }
    }

    /// Makes `runs` the index on disk; `made` are those that no manifest names yet.
    fn install(
        &self,
        upkeep: &mut Upkeep,
        covered: Covered,
        runs: &Runs,
        made: Range<u64>,
    ) -> Result<(), StoreError> {
        let listed = runs.iter().flatten().map(|l| Listed::new(l.run.name, l.level)).collect();
        let runs = List::new(listed).map_err(|error| StoreError::index(error.to_string()))?;
        let (chain, next, damaged) = (self.chain, upkeep.next, upkeep.flagged);
        let manifest = Manifest { chain, covered, next, damaged, runs };
        manifest.write(&*self.disk).inspect_err(|_| self.discard(made.clone()))?;
        manifest::install(&*self.disk).inspect_err(|_| upkeep.doubtful.extend(made))?;
        self.discard(upkeep.doubtful.drain(..));
        Ok(())
    }

    /// Writes the records of all blocks in RAM.
    fn flush(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let view = self.view();
        let Some(last) = view.fresh.last() else { return Ok(()) };
        let first = upkeep.next;
        let runs = self.write_runs(upkeep, &view);
        let runs = runs.inspect_err(|_| self.discard(first..upkeep.next))?;
        self.install(upkeep, last.covered, &runs, first..upkeep.next)?;
        let written = view.fresh.len();
        self.publish(|view| {
            (view.base, view.runs) = (Some(last.covered), Arc::new(runs));
            view.fresh.drain(..written.min(view.fresh.len()));
            view.fresh_bytes = view.fresh.iter().map(|fresh| fresh.tables.len_bytes()).sum();
        });
        Ok(())
    }

    /// The runs of `view`, and one more of each kind from what is in RAM.
    fn write_runs(&self, upkeep: &mut Upkeep, view: &View) -> Result<Runs, StoreError> {
        let mut runs = (*view.runs).clone();
        for (kind, of_kind) in Kind::ALL.into_iter().zip(&mut runs) {
            if let Some(run) = self.write_run(upkeep, kind, &view.fresh)? {
                of_kind.push(Leveled { level: 0, run: Arc::new(run) });
            }
        }
        Ok(runs)
    }

    /// Removes runs that no manifest on disk names. What cannot be removed now is removed when the ledger
    /// is opened again.
    fn discard(&self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let _ = self.disk.remove(&run::file_name(id));
        }
    }

    fn write_run(
        &self,
        upkeep: &mut Upkeep,
        kind: Kind,
        fresh: &[Arc<Fresh>],
    ) -> Result<Option<Run>, StoreError> {
        let tables = fresh.iter().map(|fresh| fresh.tables.of_kind(kind));
        let table = Table::merge(kind, tables);
        if table.count() == 0 {
            return Ok(None);
        }
        let write = |id| {
            let mut writer = Writer::create(&*self.disk, kind, id)?;
            table.records().try_for_each(|record| writer.push(record))?;
            writer.finish(&self.damaged)
        };
        write(take_id(upkeep)).map(Some).map_err(failed())
    }

    /// Goes on merging; says whether anything was done.
    fn merge(&self, upkeep: &mut Upkeep) -> Result<bool, StoreError> {
        if upkeep.flagged {
            return Ok(false);
        }
        if upkeep.merge.is_none() {
            upkeep.merge = self.next_merge(upkeep)?;
        }
        let Some(mut merge) = upkeep.merge.take() else { return Ok(false) };
        let id = merge.id;
        if merge.step(STEP_BYTES).inspect_err(|_| self.discard([id]))? {
            upkeep.merge = Some(merge);
        } else {
            self.finish_merge(upkeep, merge)?;
        }
        Ok(true)
    }

    fn next_merge(&self, upkeep: &mut Upkeep) -> Result<Option<Merge>, StoreError> {
        let view = self.view();
        for (kind, runs) in Kind::ALL.into_iter().zip(view.runs.iter()) {
            let Some(level) = full_level(runs) else { continue };
            let same = runs.iter().filter(|leveled| leveled.level == level);
            let inputs = same.map(|leveled| leveled.run.clone()).collect();
            let (id, level) = (take_id(upkeep), level.saturating_add(1));
            return Merge::start(&*self.disk, kind, level, inputs, id).map(Some);
        }
        Ok(None)
    }

    fn finish_merge(&self, upkeep: &mut Upkeep, merge: Merge) -> Result<(), StoreError> {
        let (kind, level, inputs, id) = (merge.kind, merge.level, merge.inputs.clone(), merge.id);
        let run = merge.finish(&self.damaged).inspect_err(|_| self.discard([id]))?;
        let merged = Leveled { level, run: Arc::new(run) };
        let view = self.view();
        let mut runs = (*view.runs).clone();
        let old = |leveled: &Leveled| inputs.iter().any(|input| Arc::ptr_eq(input, &leveled.run));
        if let (Some(base), Some(of_kind)) = (view.base, runs.get_mut(kind as usize)) {
            let place = of_kind.iter().position(old).unwrap_or(0);
            of_kind.retain(|leveled| !old(leveled));
            of_kind.insert(place.min(of_kind.len()), merged);
            self.install(upkeep, base, &runs, id..id.saturating_add(1))?;
            self.publish(|view| view.runs = Arc::new(runs));
        }
        self.discard(inputs.iter().map(|input| input.name.id));
        Ok(())
    }
}

fn take_id(upkeep: &mut Upkeep) -> u64 {
    let id = upkeep.next;
    upkeep.next = id.saturating_add(1);
    id
}

/// The lowest level of which there are enough runs to merge them.
fn full_level(runs: &[Leveled]) -> Option<u8> {
    let counts = runs.chunk_by(|left, right| left.level == right.level);
    let full = counts.filter(|same| same.len() >= FAN);
    full.filter_map(|same| same.first()).map(|leveled| leveled.level).min()
}
