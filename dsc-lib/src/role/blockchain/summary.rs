//! What people see of a block at a glance, made when it is committed: no body is read for it again.
//!
//! # Invariants
//!
//! 1. What is kept in RAM is bounded: the last [`RECENT_MAX`] blocks, some 300 bytes each.
//! 2. A block looks the same whether from RAM or from the archive.

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    block::{Block, BlockHash, Header},
    codec,
    genesis::Chain,
    ledger::{self, Archive, CheckedBlock, StoreError},
    proof::{Miner, ProofEntry, ProofKind},
    transaction::Payment,
    units::{Amount, Height, Millis},
};

/// Most blocks in one answer.
pub const SUMMARIES_MAX: usize = 100;
/// Blocks kept in RAM.
const RECENT_MAX: usize = 1024;
/// Bytes of older blocks read for one answer; one block is always read.
const READ_BYTES_MAX: usize = 32 << 20;

/// A block at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The block's height.
    pub height: Height,
    /// The block's hash.
    pub hash: BlockHash,
    /// The block's time.
    pub time: Millis,
    /// Transactions in it.
    pub transactions: u64,
    /// Payments in them.
    pub payments: u64,
    /// Bytes of its encoding.
    pub bytes: u64,
    /// What the payments are together; the largest amount if that is more.
    pub amount: Amount,
    /// The fees of its transactions.
    pub fees: Amount,
    /// New coins for its winner.
    pub reward: Amount,
    /// Whose proof won, if there was any.
    pub winner: Option<Winner>,
    /// Proofs in it.
    pub proofs: u64,
}

/// Who has won a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Winner {
    /// With which engine.
    pub kind: ProofKind,
    /// Who.
    pub miner: Miner,
}

/// What a block's transactions come to.
#[derive(Default)]
struct Sums {
    payments: u64,
    amount: u64,
    fees: u64,
}

impl Sums {
    fn add(&mut self, fee: Amount, payments: impl Iterator<Item = Payment>) {
        self.fees = self.fees.saturating_add(fee.units());
        for payment in payments {
            self.payments = self.payments.saturating_add(1);
            self.amount = self.amount.saturating_add(payment.amount.units());
        }
    }
}

impl Summary {
    pub(super) fn of_checked(block: &CheckedBlock, chain: &Chain) -> Self {
        let mut sums = Sums::default();
        block.transactions().iter().for_each(|one| sums.add(one.fee(), one.payments()));
        let (bytes, proofs) = (block.encoded_len() as u64, block.proofs().len());
        Self::new(chain, block.header(), bytes, proofs, block.winner(), &sums)
    }

    fn of_stored(block: &Block, bytes: usize, chain: &Chain) -> Result<Self, StoreError> {
        let (header, mut sums) = (&block.header, Sums::default());
        block.transactions.iter().for_each(|one| sums.add(one.fee(), one.payments()));
        let winner = ledger::winner_of(chain, header, &block.proofs)
            .map_err(|error| StoreError::corrupt(format!("block {}: {error}", header.height)))?;
        Ok(Self::new(chain, header, bytes as u64, block.proofs.len(), winner, &sums))
    }

    fn new(
        chain: &Chain,
        header: &Header,
        bytes: u64,
        proofs: usize,
        winner: Option<&ProofEntry>,
        sums: &Sums,
    ) -> Self {
        let winner = winner.map(|entry| Winner { kind: entry.proof.kind, miner: entry.miner });
        Self {
            height: header.height,
            hash: header.hash(),
            time: header.time,
            transactions: u64::from(header.transactions),
            payments: sums.payments,
            bytes,
            amount: Amount::from_units(sums.amount),
            fees: Amount::from_units(sums.fees),
            reward: winner.map_or(Amount::ZERO, |_| chain.reward(header.height)),
            winner,
            proofs: proofs as u64,
        }
    }
}

/// The blocks committed last, oldest first.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    blocks: VecDeque<Arc<Summary>>,
}

impl Summaries {
    /// Adds the tip, and forgets the oldest block beyond the bound.
    pub(super) fn push(&mut self, summary: Arc<Summary>) {
        self.blocks.push_back(summary);
        if self.blocks.len() > RECENT_MAX {
            self.blocks.pop_front();
        }
    }

    /// What is kept below a height, newest first, at most `max`.
    pub(super) fn below(&self, before: Height, max: usize) -> Vec<Arc<Summary>> {
        let newest = self.blocks.iter().rev();
        newest.skip_while(|block| block.height >= before).take(max).cloned().collect()
    }
}

/// At most `max` blocks below a height, newest first, or as many as fit one answer: `recent` is what
/// [`super::Blockchain::recent_summaries`] gave for the same height, the archive has what is older.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub fn summaries(
    archive: &Archive,
    chain: &Chain,
    recent: &[Arc<Summary>],
    before: Height,
    max: usize,
) -> Result<Vec<Summary>, StoreError> {
    let end = archive.height()?.map_or(Height(0), Height::next).min(before);
    let (mut listed, mut recent, mut unread) =
        (Vec::new(), recent.iter().peekable(), READ_BYTES_MAX);
    for height in (0..end.0).rev().map(Height).take(max.min(SUMMARIES_MAX)) {
        if let Some(summary) = recent.next_if(|summary| summary.height == height) {
            listed.push(**summary);
            continue;
        }
        if unread == 0 {
            break;
        }
        let Some(bytes) = archive.block_bytes(height)? else { break };
        unread = unread.saturating_sub(bytes.len());
        let block: Block = codec::decode(&bytes)
            .map_err(|error| StoreError::corrupt(format!("block {height}: {error}")))?;
        listed.push(Summary::of_stored(&block, bytes.len(), chain)?);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::{super::Blockchain, *};
    use crate::{
        ledger::Ledger,
        testing::{ALICE, BOB, Miners, address, chain, next_block, pay},
    };

    /// A server of three blocks: the second has two payments, the third all proofs.
    fn server() -> Blockchain {
        let mut server = Blockchain::new(Ledger::in_memory(chain()));
        let pays = [0, 1].map(|sequence| pay(&ALICE, sequence, address(&BOB), 1));
        for (proven, transactions) in [(false, vec![]), (false, pays.to_vec()), (true, vec![])] {
            let state = server.ledger().state();
            let proofs = if proven { Miners::new(&chain()).mine(state) } else { vec![] };
            let block = next_block(state, proofs, transactions);
            server.submit(&block.to_bytes()).unwrap();
        }
        server
    }

    fn asked(
        server: &Blockchain,
        recent: &[Arc<Summary>],
        before: u64,
        max: usize,
    ) -> Vec<Summary> {
        summaries(server.ledger(), &chain(), recent, Height(before), max).unwrap()
    }

    #[test]
    fn ram_and_archive_tell_the_same() {
        let server = server();
        for (before, max) in [(u64::MAX, 100), (3, 2), (2, 100), (1, 1), (0, 5)] {
            let recent = server.recent_summaries(Height(before), max);
            assert_eq!(recent.len(), max.min(usize::try_from(before.min(3)).unwrap()));
            let expected = asked(&server, &recent, before, max);
            assert_eq!(expected.len(), recent.len());
            assert_eq!(asked(&server, &[], before, max), expected);
            // Blocks that were forgotten are read.
            assert_eq!(asked(&server, recent.get(..1).unwrap_or_default(), before, max), expected);
        }
    }

    #[test]
    fn a_summary_says_what_is_in_the_block() {
        let server = server();
        let [won, paid, empty] = asked(&server, &[], u64::MAX, 9)[..] else {
            panic!("three blocks")
        };
        assert_eq!((paid.transactions, paid.payments, paid.winner), (2, 2, None));
        let amount: u64 = [0, 1]
            .iter()
            .flat_map(|&sequence| pay(&ALICE, sequence, address(&BOB), 1).payments.into_vec())
            .map(|payment| payment.amount.units())
            .sum();
        assert_eq!(paid.amount, Amount::from_units(amount));
        assert_eq!((empty.amount, empty.reward, empty.proofs), (Amount::ZERO, Amount::ZERO, 0));
        assert!(won.proofs > 0 && won.winner.is_some(), "{won:?}");
        assert_eq!(won.reward, chain().reward(Height(2)));
        let bytes = server.archive().block_bytes(Height(1)).unwrap().unwrap();
        assert_eq!(paid.bytes, bytes.len() as u64);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut kept, one) = (Summaries::default(), asked(&server(), &[], 1, 1)[0]);
        for height in (0..3000).map(Height) {
            kept.push(Arc::new(Summary { height, ..one }));
        }
        let all = kept.below(Height(u64::MAX), usize::MAX);
        assert_eq!((all.len(), all[0].height), (RECENT_MAX, Height(2999)));
        assert_eq!(
            kept.below(Height(2990), 2).iter().map(|s| s.height.0).collect::<Vec<_>>(),
            [2989, 2988]
        );
    }
}
