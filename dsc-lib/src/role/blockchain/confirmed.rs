//! Which transactions each block confirmed: ids only, for those who wait for many at once.
//!
//! # Invariants
//!
//! 1. What is kept in RAM of recent blocks is bounded, and without a gap up to the tip.
//! 2. A block reads the same whether from RAM or from the archive.

use std::{collections::VecDeque, sync::Arc};

use bincode::{Decode, Encode};
use rayon::prelude::*;

use crate::{
    block::{Block, BlockHash},
    codec::{self, List},
    genesis::{BLOCK_TRANSACTIONS_MAX, Chain},
    ledger::{Archive, CheckedBlock, StoreError},
    transaction::TransactionId,
    units::{Height, Millis},
};

/// Most blocks in one answer.
pub const CONFIRMED_MAX: usize = 1 << 16;
/// Bytes of one answer; one block is always given.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Bytes of older blocks read for one answer; one block is always read.
const READ_BYTES_MAX: usize = 32 << 20;
/// Bytes of recent blocks' ids kept in RAM.
const RECENT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a block without transactions: height, time, hash and the length of a list.
const FIXED_BYTES: usize = 8 + 8 + 32 + 8;

/// The transactions that one block confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Confirmed {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: Millis,
    /// The block's hash.
    pub hash: BlockHash,
    /// Its transactions, in their order.
    pub ids: List<TransactionId, 0, BLOCK_TRANSACTIONS_MAX>,
}

/// One answer: blocks in order of height.
pub type ConfirmedList = List<Arc<Confirmed>, 0, CONFIRMED_MAX>;

impl Confirmed {
    pub(super) fn of_checked(block: &CheckedBlock) -> Self {
        let ids = block.transactions().iter().map(|transaction| transaction.id()).collect();
        let ids = List::new(ids).expect("a block has no more transactions than its list");
        let (header, hash) = (block.header(), block.hash());
        Self { height: header.height, time: header.time, hash, ids }
    }

    fn of_stored(block: &Block, chain: &Chain) -> Result<Self, StoreError> {
        let (header, genesis) = (&block.header, chain.hash());
        let ids = block.transactions.par_iter().map(|t| t.id(&genesis)).collect();
        let ids = List::new(ids).map_err(|error| StoreError::corrupt(error.to_string()))?;
        Ok(Self { height: header.height, time: header.time, hash: header.hash(), ids })
    }

    fn encoded_len(&self) -> usize {
        self.ids.len().saturating_mul(32).saturating_add(FIXED_BYTES)
    }
}

/// The blocks committed last, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    blocks: VecDeque<Arc<Confirmed>>,
    bytes: usize,
}

impl Recent {
    /// Adds the tip, and forgets the oldest blocks beyond the bound.
    pub(super) fn push(&mut self, confirmed: Arc<Confirmed>) {
        self.bytes = self.bytes.saturating_add(confirmed.encoded_len());
        self.blocks.push_back(confirmed);
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.blocks.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.encoded_len());
        }
    }

    /// What is kept from a height on.
    pub(super) fn from(&self, height: Height) -> Vec<Arc<Confirmed>> {
        let newer = self.blocks.iter().rev().take_while(|block| block.height >= height);
        let mut newer: Vec<_> = newer.cloned().collect();
        newer.reverse();
        newer
    }
}

/// What was confirmed from a height on, as much as fits one answer: `recent` is what
/// [`super::Blockchain::recent`] gave for the same height, the archive has what is older.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub fn confirmed(
    archive: &Archive,
    chain: &Chain,
    recent: Vec<Arc<Confirmed>>,
    from: Height,
) -> Result<ConfirmedList, StoreError> {
    let (mut listed, mut room, mut unread) = (Vec::new(), ANSWER_BYTES_MAX, READ_BYTES_MAX);
    let mut recent = recent.into_iter().peekable();
    for height in (from.0..=u64::MAX).map(Height).take(CONFIRMED_MAX) {
        let block = match recent.next_if(|block| block.height == height) {
            Some(block) => Some(block),
            None if unread == 0 => break,
            None => stored(archive, chain, height, &mut unread)?,
        };
        let Some(block) = block.filter(|b| b.encoded_len() <= room || listed.is_empty()) else {
            break;
        };
        room = room.saturating_sub(block.encoded_len());
        listed.push(block);
    }
    List::new(listed).map_err(|error| StoreError::corrupt(error.to_string()))
}

fn stored(
    archive: &Archive,
    chain: &Chain,
    height: Height,
    unread: &mut usize,
) -> Result<Option<Arc<Confirmed>>, StoreError> {
    let Some(bytes) = archive.block_bytes(height)? else { return Ok(None) };
    *unread = unread.saturating_sub(bytes.len());
    let block: Block = codec::decode(&bytes)
        .map_err(|error| StoreError::corrupt(format!("block {height}: {error}")))?;
    Confirmed::of_stored(&block, chain).map(|confirmed| Some(Arc::new(confirmed)))
}

#[cfg(test)]
mod tests {
    use super::{super::Blockchain, *};
    use crate::{
        codec,
        ledger::Ledger,
        testing::{ALICE, BOB, address, chain, next_block, pay},
    };

    /// A server of three blocks, the second of which has two transactions.
    fn server() -> Blockchain {
        let mut server = Blockchain::new(Ledger::in_memory(chain()));
        let pays = [0, 1].map(|sequence| pay(&ALICE, sequence, address(&BOB), 1));
        for transactions in [vec![], pays.to_vec(), vec![]] {
            let block = next_block(server.ledger().state(), vec![], transactions);
            server.submit(&block.to_bytes()).unwrap();
        }
        server
    }

    fn asked(server: &Blockchain, recent: Vec<Arc<Confirmed>>, from: u64) -> ConfirmedList {
        confirmed(server.ledger(), &chain(), recent, Height(from)).unwrap()
    }

    #[test]
    fn ram_and_archive_tell_the_same() {
        let server = server();
        for from in 0..5 {
            let recent = server.recent(Height(from));
            assert_eq!(recent.len() as u64, 3_u64.saturating_sub(from));
            let partly = recent.get(1..).unwrap_or_default().to_vec();
            let expected = asked(&server, recent, from);
            assert_eq!(asked(&server, vec![], from), expected);
            // Blocks that were forgotten between are read where they are missing only.
            assert_eq!(asked(&server, partly, from), expected);
        }
        assert!(asked(&server, vec![], u64::MAX).is_empty());
        let all = asked(&server, vec![], 0);
        let tip = server.ledger().state().tip();
        assert_eq!((all[2].hash, all[2].time, all[2].height), (tip.hash, tip.time, Height(2)));
        let ids =
            [0, 1].map(|sequence| pay(&ALICE, sequence, address(&BOB), 1).id(&chain().hash()));
        assert_eq!(*all[1].ids, ids);
        assert_eq!(codec::decode::<ConfirmedList>(&codec::encode(&all)), Ok(all));
    }

    #[test]
    fn what_is_kept_and_what_is_answered_is_bounded() {
        let block = |height| Confirmed {
            height: Height(height),
            time: Millis(height),
            hash: crate::hash::Digest::ZERO,
            ids: List::new(vec![crate::hash::Digest::ZERO; BLOCK_TRANSACTIONS_MAX]).unwrap(),
        };
        let len = codec::encode(&block(0)).len();
        assert_eq!(block(0).encoded_len(), len);
        let mut recent = Recent::default();
        (0..9).map(block).for_each(|confirmed| recent.push(Arc::new(confirmed)));
        let kept = RECENT_BYTES_MAX / len;
        let newest: Vec<_> = recent.from(Height(0)).iter().map(|b| b.height.0).collect();
        assert_eq!(newest, (9 - kept as u64..9).collect::<Vec<_>>());
        let oldest = newest[0];
        let answer = asked(&server(), recent.from(Height(0)), oldest);
        assert_eq!(answer.len(), ANSWER_BYTES_MAX / len);
        assert!(!answer.is_empty());
    }
}
