//! What was removed from a stream and stays in it: its last message, until there is a later one.
//!
//! Of a stream that was emptied a node knows only from notes that it does not sync where it ended. After
//! a power cut of all nodes each takes itself to be behind what it once agreed to, waits for
//! another one to tell it the rest, and none ever leads.
//!
//! # Invariants
//!
//! 1. The last message of a stream is never removed.
//! 2. Whoever asked for it to be removed does not see it any more; another process may.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use dsc_lib::hash::Digest;

use super::stored::Stored;

/// Places of messages that this process has removed and that are there still, with what they are: in
/// a stream that has begun anew there is something else.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<BTreeMap<u64, Digest>>);

impl Kept {
    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, stored: &Stored) {
        self.places().insert(stored.sequence, hash_of(stored));
    }

    pub(super) fn has(&self, stored: &Stored) -> bool {
        self.places().get(&stored.sequence).is_some_and(|kept| *kept == hash_of(stored))
    }

    /// Forgets those before `last`, which can be removed now that there is a later message.
    pub(super) fn take_before(&self, last: u64) -> impl Iterator<Item = u64> + use<> {
        let mut places = self.places();
        let later = places.split_off(&last);
        std::mem::replace(&mut *places, later).into_keys()
    }
}

fn hash_of(stored: &Stored) -> Digest {
    Digest(*blake3::hash(&stored.bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_known_by_its_place_and_bytes_until_it_can_go() {
        let stored = |sequence, bytes: &[u8]| Stored {
            sequence,
            subject: String::new(),
            id: Digest::ZERO,
            parts: None,
            bytes: bytes.to_vec(),
        };
        let kept = Kept::default();
        kept.add(&stored(7, b"a"));
        kept.add(&stored(9, b"b"));
        assert!(kept.has(&stored(7, b"a")) && kept.has(&stored(9, b"b")));
        assert!(!kept.has(&stored(7, b"b")), "the stream has begun anew");
        assert_eq!(kept.take_before(9).collect::<Vec<_>>(), [7]);
        assert!(!kept.has(&stored(7, b"a")) && kept.has(&stored(9, b"b")));
    }
}
