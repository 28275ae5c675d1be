//! What blockchain servers tell each other: how far each has come, and what is final by that.
//!
//! # Invariants
//!
//! 1. A block is final once two servers have it on disk, or the signed state after it: whatever
//!    becomes of one of them, or of all that the log kept, it is there.
//! 2. Whatever is on the board, what is not a note of this form counts for nothing, and one server
//!    counts once.
//! 3. Another server counts up to the last block that was compared with the own one of that height:
//!    one that is further ahead may be on another chain of blocks.

use std::collections::BTreeMap;

use dsc_lib::{
    block::BlockHash,
    cluster::{Note, Revision},
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

/// Start of the keys of these notes.
const PREFIX: &str = "replica.";
/// Hexadecimal digits of a server's id.
const ID_DIGITS: usize = 16;

/// How far a server has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaNote {
    /// The server: 16 hexadecimal digits.
    pub(super) id: String,
    /// Where others reach it.
    pub(super) url: String,
    /// Height up to which it has every block on disk; nothing before the first one.
    pub(super) height: Option<Height>,
    /// Hash of the block there.
    pub(super) hash: Option<BlockHash>,
    /// How many entries of the log it has read.
    pub(super) position: u64,
    /// When it said so, by its own clock.
    pub(super) beat: Millis,
}

impl ReplicaNote {
    /// Start of the keys of all of them.
    pub(super) const PREFIX: &str = PREFIX;

    /// The key it stands under.
    pub(super) fn key(&self) -> String {
        format!("{PREFIX}{}", self.id)
    }

    /// Reads a note; nothing if it is not one.
    pub(super) fn read(note: &Note) -> Option<Self> {
        let read: Self = serde_json::from_slice(&note.value).ok()?;
        let is_own = note.key.strip_prefix(PREFIX) == Some(read.id.as_str());
        let is_whole = read.height.is_some() == read.hash.is_some();
        (is_own && is_whole && Self::is_id(&read.id)).then_some(read)
    }

    /// Whether `text` can be a server's id.
    pub(crate) fn is_id(text: &str) -> bool {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == ID_DIGITS && text.bytes().all(is_digit)
    }
}

/// What the servers of a board say, one note of each with its revision, in order of id.
pub(super) fn replicas(notes: &[Note]) -> impl Iterator<Item = (Revision, ReplicaNote)> {
    let mut last: BTreeMap<String, (Revision, ReplicaNote)> = BTreeMap::new();
    for (revision, said) in notes.iter().filter_map(|n| Some((n.revision, ReplicaNote::read(n)?))) {
        let is_later = last.get(&said.id).is_none_or(|(known, _)| revision > *known);
        if is_later {
            last.insert(said.id.clone(), (revision, said));
        }
    }
    last.into_values()
}

/// Height up to which at least two servers have every block, of which each has come to one of these.
pub(super) fn final_height(heights: impl IntoIterator<Item = Option<Height>>) -> Option<Height> {
    let mut heights: Vec<Height> = heights.into_iter().flatten().collect();
    heights.sort_unstable();
    heights.iter().rev().nth(1).copied()
}

/// How far another server is known to have the blocks that this one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    upto: Option<Height>,
    /// What it said to have that this server has not come to: the first such is kept until it has.
    ahead: Option<(Height, BlockHash)>,
}

impl Agreement {
    /// The height up to which both have the same blocks.
    pub(super) const fn upto(&self) -> Option<Height> {
        self.upto
    }

    /// What is known after another note; `own` is how far this server is, and `is_own` says whether it
    /// has that block at that height, and nothing if it has none there.
    ///
    /// # Errors
    ///
    /// The height at which the two have different blocks.
    pub(super) fn after(
        mut self,
        note: &ReplicaNote,
        own: Option<Height>,
        is_own: impl Fn(Height, &BlockHash) -> Option<bool>,
    ) -> Result<Self, Height> {
        let said = note.height.zip(note.hash);
        for (height, hash) in self.ahead.take().into_iter().chain(said) {
            match is_own(height, &hash) {
                Some(true) => self.upto = self.upto.max(Some(height)),
                Some(false) => return Err(height),
                None if Some(height) > own => self.ahead = self.ahead.or(Some((height, hash))),
                // It is before the snapshot that this server began at.
                None => {}
            }
        }
        // It may have lost what it had.
        self.upto = self.upto.min(note.height);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use dsc_lib::hash::Digest;

    use super::*;

    fn said(id: u64, height: Option<u64>) -> ReplicaNote {
        let height = height.map(Height);
        ReplicaNote {
            id: format!("{id:016x}"),
            url: "http://127.0.0.1:1".into(),
            height,
            hash: height.map(|_| Digest([7; 32])),
            position: 0,
            beat: Millis(0),
        }
    }

    fn on_board(said: &ReplicaNote, revision: u64) -> Note {
        let value = serde_json::to_vec(said).unwrap();
        Note { key: said.key(), revision: Revision(revision), value }
    }

    fn final_of(heights: &[Option<u64>]) -> Option<u64> {
        final_height(heights.iter().map(|height| height.map(Height))).map(|height| height.0)
    }

    fn read(notes: &[Note]) -> Vec<ReplicaNote> {
        replicas(notes).map(|(_, note)| note).collect()
    }

    #[test]
    fn what_two_servers_have_is_final() {
        assert_eq!(final_of(&[]), None);
        assert_eq!(final_of(&[Some(9)]), None);
        assert_eq!(final_of(&[Some(9), None]), None);
        assert_eq!(final_of(&[Some(9), Some(4)]), Some(4));
        assert_eq!(final_of(&[Some(4), Some(9), Some(7)]), Some(7));
        assert_eq!(final_of(&[Some(9), Some(9), Some(1)]), Some(9));
    }

    /// This server has block 5 and those before it, all with the hash that `said` gives.
    fn is_own(height: Height, hash: &BlockHash) -> Option<bool> {
        (height <= Height(5)).then_some(*hash == Digest([7; 32]))
    }

    fn agreed(notes: &[ReplicaNote]) -> Result<Option<u64>, Height> {
        let all = notes.iter().try_fold(Agreement::default(), |known, note| {
            known.after(note, Some(Height(5)), is_own)
        });
        all.map(|known| known.upto().map(|height| height.0))
    }

    #[test]
    fn a_server_counts_up_to_the_last_block_that_was_compared() {
        let of = |heights: &[Option<u64>]| {
            agreed(&heights.iter().map(|height| said(1, *height)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[None]), Ok(None));
        assert_eq!(of(&[Some(9)]), Ok(None), "it may be another chain of blocks");
        assert_eq!(of(&[Some(3), Some(9)]), Ok(Some(3)));
        assert_eq!(of(&[Some(3), Some(2)]), Ok(Some(2)), "it has lost some");
        assert_eq!(of(&[Some(3), None]), Ok(None));
        let other = ReplicaNote { hash: Some(Digest([8; 32])), ..said(1, Some(4)) };
        assert_eq!(agreed(&[said(1, Some(3)), other]), Err(Height(4)));
    }

    #[test]
    fn what_was_ahead_is_compared_once_that_can_be() {
        let known = Agreement::default().after(&said(1, Some(6)), Some(Height(5)), is_own).unwrap();
        let known = known.after(&said(1, Some(8)), Some(Height(5)), is_own).unwrap();
        let six =
            |is_own: bool| move |height: Height, _: &BlockHash| (height.0 < 7).then_some(is_own);
        let upto = |known: Agreement| known.upto().map(|height| height.0);
        assert_eq!(
            known.after(&said(1, Some(9)), Some(Height(6)), six(true)).map(upto),
            Ok(Some(6))
        );
        assert_eq!(
            known.after(&said(1, Some(9)), Some(Height(6)), six(false)).map(upto),
            Err(Height(6))
        );
    }

    #[test]
    fn one_server_counts_once_and_as_it_said_last() {
        let notes = [on_board(&said(1, Some(9)), 5), on_board(&said(1, Some(8)), 4)];
        assert_eq!(read(&notes), [said(1, Some(9))]);
        let [first, second] = notes;
        let again = [second, first, on_board(&said(2, Some(3)), 1)];
        assert_eq!(read(&again), [said(1, Some(9)), said(2, Some(3))]);
    }

    #[test]
    fn what_is_no_note_counts_for_nothing() {
        let good = on_board(&said(1, Some(9)), 1);
        let of = |value: &[u8]| Note { value: value.to_vec(), ..good.clone() };
        let renamed = Note { key: "replica.0000000000000002".into(), ..good.clone() };
        let half = ReplicaNote { hash: None, ..said(1, Some(9)) };
        let short = ReplicaNote { id: "1".into(), ..said(1, Some(9)) };
        let upper = ReplicaNote { id: "00000000000000AA".into(), ..said(1, Some(9)) };
        let odd = [half, short, upper].map(|said| on_board(&said, 1));
        let garbage = [of(b""), of(b"{}"), of(b"null"), of(&[0xff; 9]), renamed];
        assert_eq!(read(&[garbage.as_slice(), &odd].concat()), []);
        assert_eq!(read(&[good]), [said(1, Some(9))]);
    }
}
