//! What the pool hands out for a block.

use std::sync::Arc;

use super::{Mempool, index::Head};
use crate::{transaction::CheckedTransaction, units::Height};

/// Senders passed over in one [`Mempool::take`] because their next one does not fit.
const MISFITS_MAX: usize = 64;

/// What one call of [`Mempool::take`] has left, and the heads it put aside.
#[derive(Debug)]
struct Room {
    height: Height,
    bytes: u64,
    misfits: Vec<Head>,
    late: Vec<Head>,
}

impl Mempool {
    /// Hands out transactions for the block at `height`: the best fee rates first, in the order
    /// of arrival among equals, and each sender's in sequence from its account's.
    ///
    /// Asked again for the same height, it hands out the same ones (or better ones that have come
    /// since): the answer may have been lost, or another metronome may ask. What is handed out
    /// for an earlier height is not given again; it is taken for included. A height that is on
    /// the ledger already gets nothing.
    pub fn take(
        &mut self,
        height: Height,
        count_max: usize,
        bytes_max: u64,
    ) -> Vec<Arc<CheckedTransaction>> {
        if self.tip >= Some(height) {
            return Vec::new();
        }
        for address in self.index.handed_from(height) {
            self.change(address, |queue| queue.release_from(height));
        }
        let mut room = Room { height, bytes: bytes_max, misfits: Vec::new(), late: Vec::new() };
        let mut taken = Vec::new();
        while taken.len() < count_max && room.misfits.len() < MISFITS_MAX {
            let Some(best) = self.index.ready.pop_first() else { break };
            taken.extend(self.hand(best, &mut room));
        }
        self.index.ready.extend(room.misfits.into_iter().chain(room.late));
        taken
    }

    /// Hands out a head that has been taken off the index, or puts it aside.
    fn hand(&mut self, head: Head, room: &mut Room) -> Option<Arc<CheckedTransaction>> {
        let queue = &mut self.senders.get_mut(&head.sender)?.queue;
        let next = queue.head()?;
        if next.transaction.expires() < room.height {
            room.late.push(head);
            return None;
        }
        let Some(bytes) = room.bytes.checked_sub(next.len()) else {
            room.misfits.push(head);
            return None;
        };
        room.bytes = bytes;
        if let Some(note) = self.notes.of(next.note) {
            note.unconfirmed = Some(self.now);
        }
        self.index.hand(room.height, head.sender);
        self.change(head.sender, |queue| queue.hand(room.height))?
    }
}
