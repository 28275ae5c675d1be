//! Proofs that several metronomes share, as notes on the board: what one was handed in counts for
//! whoever makes the block.
//!
//! # Invariants
//!
//! 1. What was read from the board is verified as if it were handed in: nobody who writes there is
//!    believed.
//! 2. A note has the name of what is in it, so that no proof takes another one's place.
//! 3. Of one round each note is looked at once, and no more than [`NOTES_MAX`] are.

use std::collections::BTreeSet;

use super::OpenRound;
use crate::{
    cluster::{NOTE_BYTES_MAX, Note},
    codec,
    hash::Digest,
    proof::ProofEntry,
    units::Height,
};

/// Most notes of one round that are looked at.
pub const NOTES_MAX: usize = 256;
/// Bytes of the name of what is in a note.
const NAME_LEN: usize = 16;

/// The note that shares a proof for the round at `height`: its key and its value; none if it is too
/// large for one.
pub fn note_of(height: Height, entry: &ProofEntry) -> Option<(String, Vec<u8>)> {
    let value = codec::encode(entry);
    let name = blake3::hash(&value);
    let name = hex::encode(name.as_bytes().get(..NAME_LEN)?);
    let key = format!("{}{}.{name}", prefix_of(height), entry.proof.kind.name());
    (value.len() <= NOTE_BYTES_MAX).then_some((key, value))
}

/// What the keys of the notes for the round at `height` begin with.
pub fn prefix_of(height: Height) -> String {
    format!("proof.{height}.")
}

/// Which notes of the open round were looked at.
#[derive(Debug, Default)]
pub struct Exchange {
    round: Option<(Height, Digest)>,
    seen: BTreeSet<String>,
}

impl Exchange {
    /// Whether this is another round than the one that notes were looked at for.
    pub fn is_new(&self, round: &OpenRound) -> bool {
        self.round != Some((round.height, round.challenge))
    }

    /// The proofs in those of `notes` that were not looked at for this round.
    pub fn fresh(&mut self, round: &OpenRound, notes: Vec<Note>) -> Vec<ProofEntry> {
        if self.is_new(round) {
            self.round = Some((round.height, round.challenge));
            self.seen.clear();
        }
        let room = NOTES_MAX.saturating_sub(self.seen.len());
        let prefix = prefix_of(round.height);
        let notes = notes.into_iter().filter(|note| note.key.starts_with(&prefix));
        let unseen: Vec<_> =
            notes.filter(|note| !self.seen.contains(&note.key)).take(room).collect();
        let entries = unseen.into_iter().filter_map(|Note { key, value, .. }| {
            self.seen.insert(key);
            codec::decode(&value).ok()
        });
        entries.collect()
    }
}
