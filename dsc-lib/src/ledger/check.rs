//! Whether a block may come next: the rules of a header, and what its transactions and rewards
//! change.

use std::sync::Arc;

use super::{
    BlockError, CheckedBlock, EPOCH_STEP_MAX, State,
    checked::fixed_bytes,
    drafts::Drafts,
    execute::{Execution, commit},
    rules::{
        Proven, check_origin, check_proofs, check_proofs_root, check_transactions, next_round,
    },
};
use crate::{
    block::{Block, Header, Proofs},
    codec::{self, DecodeError},
    proof::ProofEntry,
    transaction::CheckedTransaction,
    units::Amount,
};

impl State {
    /// Checks everything about a block that would come next. Signatures are checked in parallel.
    ///
    /// # Errors
    ///
    /// The first rule broken, cheap ones first.
    pub fn check(&self, block: Block) -> Result<CheckedBlock, BlockError> {
        let Block { header, proofs, transactions } = block;
        let count = transactions.len();
        let bytes = transactions.iter().map(|t| t.bytes().len() as u64).sum();
        let proven = self.check_frame(&header, &proofs, count, bytes)?;
        let transactions = check_transactions(&self.chain, &header, transactions.into_vec())?;
        self.execute(header, proofs, transactions, &proven)
    }

    /// [`State::check`] of an encoded block. One that was drafted in this process
    /// has its header and proofs checked again and nothing else worked out anew.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes or the block.
    pub fn check_bytes<E>(&self, bytes: &[u8]) -> Result<Arc<CheckedBlock>, E>
    where
        E: From<DecodeError> + From<BlockError>,
    {
        // Whoever has no key of a metronome costs a header, not a body.
        let (header, _) = codec::decode_first::<Header>(bytes)?;
        self.check_header(&header)?;
        if let Some(block) = self.chain.kept::<Drafts>().find(bytes) {
            let transactions = block.transactions.iter().map(|t| t.bytes().len() as u64).sum();
            let count = block.transactions.len();
            self.check_frame(&block.header, &block.proofs, count, transactions)?;
            return Ok(block);
        }
        Ok(Arc::new(self.check(codec::decode(bytes)?)?))
    }

    /// Remembers a block drafted by this state, and its encoding, for all in this process who share
    /// its chain. Its transactions must have been checked for this chain.
    pub(crate) fn remember(&self, bytes: &[u8], block: Arc<CheckedBlock>) {
        self.chain.kept::<Drafts>().keep(bytes, block);
    }

    /// Checks all that needs none of the transactions, but how many there are and their bytes.
    fn check_frame(
        &self,
        header: &Header,
        proofs: &Proofs,
        count: usize,
        bytes: u64,
    ) -> Result<Proven, BlockError> {
        self.check_header(header)?;
        let proven = check_proofs(&self.chain, &self.round, proofs)?;
        check_proofs_root(header, proofs)?;
        self.check_count(header, count)?;
        self.check_size(proofs, bytes)?;
        Ok(proven)
    }

    fn check_header(&self, header: &Header) -> Result<(), BlockError> {
        check_origin(&self.chain, header)?;
        let (got, expected) = (header.height, self.round.height);
        if got != expected {
            return Err(BlockError::Height { got, expected });
        }
        let (got, expected) = (header.parent, self.tip.hash);
        if got != expected {
            return Err(BlockError::Parent { got, expected });
        }
        let (got, parent) = (header.time, self.tip.time);
        if got <= parent {
            return Err(BlockError::Time { got, parent });
        }
        self.check_epoch(header.epoch)?;
        self.check_round(header)
    }

    pub(super) fn check_epoch(&self, got: u64) -> Result<(), BlockError> {
        let parent = self.tip.epoch;
        let max = parent.saturating_add(EPOCH_STEP_MAX);
        match got {
            _ if got < parent => Err(BlockError::Epoch { got, parent }),
            _ if got > max => Err(BlockError::EpochAhead { got, max }),
            _ => Ok(()),
        }
    }

    fn check_round(&self, header: &Header) -> Result<(), BlockError> {
        let (got, expected) = (header.challenge, self.round.challenge);
        if got != expected {
            return Err(BlockError::Challenge { got, expected });
        }
        let (got, expected) = (header.targets, self.round.targets);
        if got != expected {
            return Err(BlockError::Targets { got, expected });
        }
        Ok(())
    }

    fn check_count(&self, header: &Header, got: usize) -> Result<(), BlockError> {
        let expected = header.transactions;
        if u32::try_from(got) != Ok(expected) {
            return Err(BlockError::TransactionCount { got, expected });
        }
        let max = self.chain.genesis().limits.block_transactions;
        if expected > max {
            return Err(BlockError::TooManyTransactions { got, max });
        }
        Ok(())
    }

    fn check_size(&self, proofs: &Proofs, transactions: u64) -> Result<(), BlockError> {
        let got = fixed_bytes(proofs).saturating_add(transactions);
        let max = self.chain.genesis().limits.block_bytes;
        if got > max {
            return Err(BlockError::TooLarge { got, max });
        }
        Ok(())
    }

    fn execute(
        &self,
        header: Header,
        proofs: Proofs,
        transactions: Vec<Arc<CheckedTransaction>>,
        proven: &Proven,
    ) -> Result<CheckedBlock, BlockError> {
        let mut execution = Execution::new(self);
        for (index, transaction) in transactions.iter().enumerate() {
            let id = transaction.id();
            let applied = execution.apply(transaction);
            applied.map_err(|error| BlockError::Transaction { index, id, error })?;
        }
        let checked = self.settle(execution, header, proofs, transactions, proven);
        let (got, expected) = (checked.commitment.digest(), checked.header.state);
        if got != expected {
            return Err(BlockError::State { got, expected });
        }
        Ok(checked)
    }

    /// Pays the winner and sums up; the header's state is not looked at.
    pub(super) fn settle(
        &self,
        mut execution: Execution<'_>,
        header: Header,
        proofs: Proofs,
        transactions: Vec<Arc<CheckedTransaction>>,
        proven: &Proven,
    ) -> CheckedBlock {
        let winner = proven.winner.and_then(|index| proofs.get(index));
        let (income, supply) = self.pay(&mut execution, winner);
        let changes = execution.into_changes();
        let commitment = commit(&self.commitment, &changes);
        let next = next_round(&self.chain, &self.round, &proofs, proven);
        let (hash, winner) = (header.hash(), proven.winner);
        CheckedBlock {
            header,
            hash,
            proofs,
            transactions,
            winner,
            income,
            changes,
            commitment,
            supply,
            next,
        }
    }

    /// Credits reward and fees, or burns the fees; returns what was credited and the new supply.
    fn pay(&self, execution: &mut Execution<'_>, winner: Option<&ProofEntry>) -> (Amount, Amount) {
        let (fees, reward) = (execution.fees(), self.chain.reward(self.round.height));
        let Some(winner) = winner else {
            let supply = self.supply.checked_sub(fees).expect("fees were part of the supply");
            return (Amount::ZERO, supply);
        };
        let bounded = "genesis bounds the sum of all coins";
        let income = reward.checked_add(fees).expect(bounded);
        execution.credit(winner.miner.address, income);
        (income, self.supply.checked_add(reward).expect(bounded))
    }
}
