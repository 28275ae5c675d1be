//! What an engine in one process holds, and the changes that lead there.
//!
//! # Invariants
//!
//! 1. It is what its changes in their order make it, and nothing else: after a restart the same
//!    changes lead to the same.

use std::collections::BTreeMap;

use super::Bounds;
use crate::{
    cluster::{Entry, KEY_BYTES_MAX, Note, Position, Revision, Shelf},
    codec::{Decode, Encode, List},
    hash::Digest,
};

/// A key or a name.
type Key = List<u8, 1, KEY_BYTES_MAX>;

/// What changes; the bytes that belong to it are kept apart, so that nobody copies them.
#[derive(Debug, Encode, Decode)]
pub(super) enum Change {
    /// A block was put at the end.
    Block { id: Digest },
    /// A batch was put at the end; this was its position.
    Batch { position: u64, id: Digest },
    /// The batches up to this position were removed, and those whose positions are in the bytes.
    Removed { to: u64 },
    /// A note was put on a shelf, by its place in [`Shelf::ALL`].
    Note { on: u8, revision: u64, key: Key },
    /// A blob was put in place of what was there.
    Blob { name: Key },
    /// A blob was removed.
    BlobRemoved { name: Key },
    /// What there were before so much was removed: batches, and changes of each shelf.
    Counted { batches: u64, notes: [u64; Shelf::ALL.len()] },
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) blocks: Vec<(Digest, Vec<u8>)>,
    pub(super) batches: BTreeMap<Position, (Digest, Vec<u8>)>,
    pub(super) batches_bytes: u64,
    pub(super) last_batch: Position,
    shelves: [Notes; Shelf::ALL.len()],
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Default)]
struct Notes {
    last: Revision,
    by_key: BTreeMap<String, (Revision, Vec<u8>)>,
}

impl Held {
    pub(super) fn last_block(&self) -> Position {
        Position(self.blocks.len() as u64)
    }

    /// The entries of the block log after `after`.
    pub(super) fn blocks_after(&self, after: Position) -> impl Iterator<Item = Entry> {
        let known = usize::try_from(after.0).unwrap_or(usize::MAX);
        self.blocks.iter().zip(1..).skip(known).map(|((id, bytes), place)| Entry {
            position: Position(place),
            id: *id,
            bytes: bytes.clone(),
        })
    }

    /// The batches after `after` that were not removed.
    pub(super) fn batches_after(&self, after: Position) -> impl Iterator<Item = Entry> {
        self.batches.range(after.next()..).map(|(position, (id, bytes))| Entry {
            position: *position,
            id: *id,
            bytes: bytes.clone(),
        })
    }

    /// Where the batch of this name is, if it was not removed.
    pub(super) fn batch_of(&self, id: &Digest) -> Option<Position> {
        self.batches.iter().find(|(_, (other, _))| other == id).map(|(position, _)| *position)
    }

    fn notes(&self, on: Shelf) -> Option<&Notes> {
        self.shelves.get(usize::from(number(on)))
    }

    /// The revision of the last note put on a shelf.
    pub(super) fn revision(&self, on: Shelf) -> Revision {
        self.notes(on).map_or(Revision::NONE, |notes| notes.last)
    }

    pub(super) fn note(&self, on: Shelf, key: &str) -> Option<Note> {
        let (revision, value) = self.notes(on)?.by_key.get(key)?;
        Some(Note { key: key.to_owned(), revision: *revision, value: value.clone() })
    }

    pub(super) fn notes_from(&self, on: Shelf, prefix: &str) -> Vec<Note> {
        let keys = self.notes(on).into_iter().flat_map(|notes| notes.by_key.keys());
        keys.filter(|key| key.starts_with(prefix)).filter_map(|key| self.note(on, key)).collect()
    }

    /// Makes a change that was checked.
    pub(super) fn apply(&mut self, change: Change, bytes: Vec<u8>, bounds: &Bounds) {
        match change {
            Change::Block { id } => self.blocks.push((id, bytes)),
            Change::Batch { position, id } => {
                self.batches_bytes = self.batches_bytes.saturating_add(bytes.len() as u64);
                self.last_batch = self.last_batch.max(Position(position));
                self.batches.insert(Position(position), (id, bytes));
            }
            Change::Removed { to } => self.remove(Position(to), &positions(&bytes)),
            Change::Note { on, revision, key } => {
                let Some(notes) = self.shelves.get_mut(usize::from(on)) else { return };
                notes.put(text(&key), Revision(revision), bytes);
                if on == number(Shelf::Proofs) {
                    notes.forget_oldest(bounds.proofs);
                }
            }
            Change::Blob { name } => drop(self.blobs.insert(text(&name), bytes)),
            Change::BlobRemoved { name } => drop(self.blobs.remove(&text(&name))),
            Change::Counted { batches, notes } => {
                self.last_batch = Position(batches);
                for (shelf, last) in self.shelves.iter_mut().zip(notes) {
                    shelf.last = Revision(last);
                }
            }
        }
    }

    fn remove(&mut self, to: Position, also: &[Position]) {
        let kept = &mut self.batches_bytes;
        self.batches.retain(|at, (_, bytes)| {
            let stays = *at > to && !also.contains(at);
            if !stays {
                *kept = kept.saturating_sub(bytes.len() as u64);
            }
            stays
        });
    }

    /// The changes that lead to this from nothing, as few as there can be.
    pub(super) fn changes(&self) -> impl Iterator<Item = (Change, &[u8])> {
        let notes = self.shelves.each_ref().map(|notes| notes.last.0);
        let counted = (Change::Counted { batches: self.last_batch.0, notes }, &[][..]);
        let blocks = self.blocks.iter().map(|(id, bytes)| (Change::Block { id: *id }, &bytes[..]));
        let batches = self.batches.iter().map(|(position, (id, bytes))| {
            (Change::Batch { position: position.0, id: *id }, &bytes[..])
        });
        let shelves = self.shelves.iter().zip(0..);
        let notes = shelves.flat_map(|(notes, shelf)| notes.changes(shelf));
        let blobs =
            self.blobs.iter().map(|(name, bytes)| (Change::Blob { name: key(name) }, bytes));
        let blobs = blobs.map(|(change, bytes)| (change, &bytes[..]));
        [counted].into_iter().chain(blocks).chain(batches).chain(notes).chain(blobs)
    }
}

impl Notes {
    fn put(&mut self, key: String, revision: Revision, value: Vec<u8>) {
        self.last = self.last.max(revision);
        self.by_key.insert(key, (revision, value));
    }

    /// Keeps at most `count` notes, those put last.
    fn forget_oldest(&mut self, count: usize) {
        while self.by_key.len() > count {
            let oldest = self.by_key.iter().min_by_key(|(_, (revision, _))| *revision);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.by_key.remove(&key);
        }
    }

    fn changes(&self, on: u8) -> impl Iterator<Item = (Change, &[u8])> {
        self.by_key.iter().map(move |(name, (revision, value))| {
            let (revision, key) = (revision.0, key(name));
            (Change::Note { on, revision, key }, &value[..])
        })
    }
}

/// The place of a shelf in [`Shelf::ALL`].
pub(super) const fn number(on: Shelf) -> u8 {
    match on {
        Shelf::Control => 0,
        Shelf::Proofs => 1,
    }
}

/// A key that was checked.
pub(super) fn key(checked: &str) -> Key {
    Key::new(checked.as_bytes().to_vec()).expect("check_key has the same bounds")
}

fn text(key: &Key) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// Positions as bytes, for [`Change::Removed`].
pub(super) fn position_bytes(positions: &[Position]) -> Vec<u8> {
    positions.iter().flat_map(|position| position.0.to_le_bytes()).collect()
}

fn positions(bytes: &[u8]) -> Vec<Position> {
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().map(|eight| Position(u64::from_le_bytes(*eight))).collect()
}
