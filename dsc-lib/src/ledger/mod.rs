//! The ledger: which block may come next, and what it changes.
//!
//! # Invariants
//!
//! 1. [`State::apply`] takes only a [`CheckedBlock`], which only [`State::check`] and
//!    [`State::draft`] make, by the same rules.
//! 2. `check` changes nothing and depends on the state and the block alone.
//! 3. The sum of all balances is the genesis coins, plus rewards, less burned fees.
//! 4. The state is trusted by nobody: every header commits to it.
//!
//! Checked by the unit tests (one for each rule), `tests/properties.rs`, `tests/simulation.rs`.

mod checked;
mod drafts;
mod durable;
mod error;
mod execute;
mod export;
mod index;
mod log;
mod replay;
mod rules;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod wins;

use std::{collections::HashMap, sync::Arc};

pub(crate) use self::rules::{check_origin, winner_of};
pub use self::{
    checked::CheckedBlock,
    durable::{Archive, Balances, Event, Inclusion, Ledger, Located, OpenOptions, Place},
    error::{
        BlockError, CommitError, ImportError, OpenError, ReplayError, RestoreError, StaleBlock,
        StoreError,
    },
    export::{Export, ExportError, Import, Record},
    index::Maintained,
    log::Torn,
    replay::Summary,
    snapshot::{SNAPSHOT_ACCOUNTS_MAX, Snapshot, SnapshotAccount, SnapshotTip},
    store::{Persisted, Recovery},
    wins::Wins,
};
use self::{
    checked::fixed_bytes,
    drafts::Drafts,
    execute::{Execution, commit},
    rules::{Proven, check_proofs, check_proofs_root, check_transactions, next_round},
};
use crate::{
    address::Address,
    block::{self, Block, BlockHash, Header, Proofs},
    codec::{self, DecodeError},
    commitment::{Account, Commitment},
    genesis::Chain,
    hash::Digest,
    keys::{SecretKey, Signature},
    merkle,
    proof::{ENGINE_COUNT, ProofEntry},
    transaction::{CheckedTransaction, TransactionError, TransactionId},
    units::{Amount, Height, Millis, Target},
};

/// What the next block answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its height.
    pub height: Height,
    /// Its challenge.
    pub challenge: Digest,
    /// Its targets, in the order of engines.
    pub targets: [Target; ENGINE_COUNT],
}

/// The block the next one extends; the genesis if there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Block hash, or genesis hash.
    pub hash: BlockHash,
    /// Its time.
    pub time: Millis,
    /// Its metronome's lease number.
    pub epoch: u64,
}

/// A changed account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose account.
    pub address: Address,
    /// Before the block.
    pub old: Account,
    /// After the block.
    pub new: Account,
}

/// What a metronome puts into a block.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// At most one valid proof per engine, in any order.
    pub proofs: Vec<ProofEntry>,
    /// Candidates in the order to try them.
    pub transactions: Vec<Arc<CheckedTransaction>>,
    /// The clock's time; moved up if it is not after the parent's.
    pub time: Millis,
    /// The metronome's lease number.
    pub epoch: u64,
}

/// A transaction left out of a draft, and why.
pub type LeftOut = (TransactionId, TransactionError);

/// All balances at one height, and what the next block must look like.
#[derive(Clone, Debug)]
pub struct State {
    chain: Chain,
    accounts: HashMap<Address, Account>,
    commitment: Commitment,
    supply: Amount,
    tip: Tip,
    round: Round,
}

impl State {
    /// The state before the first block.
    pub fn genesis(chain: Chain) -> Self {
        let genesis = chain.genesis();
        let fresh = |balance| Account { balance, sequence: 0 };
        let accounts: HashMap<_, _> =
            genesis.accounts.iter().map(|e| (e.address, fresh(e.balance))).collect();
        let supply = chain.endowed();
        let tip = Tip { hash: chain.hash(), time: genesis.time, epoch: 0 };
        let (challenge, targets) = (block::first_challenge(&chain.hash()), chain.first_targets());
        let round = Round { height: Height(0), challenge, targets };
        let commitment = sum_of(&accounts);
        Self { chain, accounts, commitment, supply, tip, round }
    }

    /// The state after a block of which header, proofs and resulting accounts are known.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the header is not signed by a metronome of this chain, its proofs do
    /// not verify, or the accounts are not those it commits to.
    pub fn restore(
        chain: Chain,
        header: &Header,
        proofs: &Proofs,
        accounts: HashMap<Address, Account>,
    ) -> Result<Self, RestoreError> {
        check_origin(&chain, header)?;
        let round =
            Round { height: header.height, challenge: header.challenge, targets: header.targets };
        let proven = check_proofs(&chain, &round, proofs)?;
        check_proofs_root(header, proofs)?;
        let commitment = sum_of(&accounts);
        let (got, expected) = (commitment.digest(), header.state);
        if got != expected {
            return Err(RestoreError::State { got, expected });
        }
        let supply = Amount::checked_sum(accounts.values().map(|account| account.balance));
        let max = chain.supply_max(header.height);
        let supply = supply.filter(|supply| *supply <= max).ok_or(RestoreError::Supply { max })?;
        let tip = Tip { hash: header.hash(), time: header.time, epoch: header.epoch };
        let round = next_round(&chain, &round, proofs, &proven);
        Ok(Self { chain, accounts, commitment, supply, tip, round })
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the next block answers.
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// The block the next one extends.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Height of the last block, if there is one.
    pub fn height(&self) -> Option<Height> {
        self.round.height.0.checked_sub(1).map(Height)
    }

    /// What is known of an address; nothing is an empty account.
    pub fn account(&self, address: &Address) -> Account {
        self.accounts.get(address).copied().unwrap_or_default()
    }

    /// All accounts that are not empty, in no order.
    pub fn accounts(&self) -> &HashMap<Address, Account> {
        &self.accounts
    }

    /// Coins in being: genesis plus rewards less burned fees.
    pub fn supply(&self) -> Amount {
        self.supply
    }

    /// Whether the balances add up to the supply.
    pub fn supply_holds(&self) -> bool {
        Amount::checked_sum(self.accounts.values().map(|a| a.balance)) == Some(self.supply)
    }

    /// The state commitment.
    pub fn commitment(&self) -> Digest {
        self.commitment.digest()
    }

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
    fn settle(
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

    /// Makes and signs the next block from the proposal's valid parts.
    ///
    /// Transactions that break a rule here are left out and named; those beyond the chain's
    /// limits on size are left out and not named, as they may come later.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if a proof is not valid, though the metronome verified them when they came,
    /// or if genesis does not authorise `key`.
    pub fn draft(
        &self,
        proposal: Proposal,
        key: &SecretKey,
    ) -> Result<(CheckedBlock, Vec<LeftOut>), BlockError> {
        self.check_authorised(key)?;
        self.check_epoch(proposal.epoch)?;
        let proofs = in_order(proposal.proofs)?;
        let proven = check_proofs(&self.chain, &self.round, &proofs)?;
        let mut execution = Execution::new(self);
        let (transactions, left_out) = self.select(&mut execution, proposal.transactions, &proofs);
        let mut header = self.blank_header(proposal.time, proposal.epoch);
        header.transactions = u32::try_from(transactions.len()).unwrap_or(u32::MAX);
        header.transactions_root = root_of(&transactions);
        header.proofs_root = block::proofs_root(&proofs);
        let mut checked = self.settle(execution, header, proofs, transactions, &proven);
        checked.header.state = checked.commitment.digest();
        checked.header = checked.header.sign(key);
        checked.hash = checked.header.hash();
        Ok((checked, left_out))
    }

    /// What the block after the next one answers, if the next one has these proofs, in any order.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if a proof is not valid for the next block.
    pub fn round_after(&self, proofs: Vec<ProofEntry>) -> Result<Round, BlockError> {
        let proofs = in_order(proofs)?;
        let proven = check_proofs(&self.chain, &self.round, &proofs)?;
        Ok(next_round(&self.chain, &self.round, &proofs, &proven))
    }

    fn check_epoch(&self, got: u64) -> Result<(), BlockError> {
        let parent = self.tip.epoch;
        if got < parent { Err(BlockError::Epoch { got, parent }) } else { Ok(()) }
    }

    fn check_authorised(&self, key: &SecretKey) -> Result<(), BlockError> {
        let got = key.public().address();
        self.chain.metronome(&got).map(|_| ()).ok_or(BlockError::UnknownMetronome { got })
    }

    fn select(
        &self,
        execution: &mut Execution<'_>,
        candidates: Vec<Arc<CheckedTransaction>>,
        proofs: &Proofs,
    ) -> (Vec<Arc<CheckedTransaction>>, Vec<LeftOut>) {
        let limits = self.chain.genesis().limits;
        let mut room = limits.block_bytes.saturating_sub(fixed_bytes(proofs));
        let (mut taken, mut left_out) = (Vec::new(), Vec::new());
        for transaction in candidates {
            let len = transaction.bytes().len() as u64;
            if len > room || taken.len() as u64 >= u64::from(limits.block_transactions) {
                break;
            }
            match execution.apply(&transaction) {
                Ok(()) => {
                    room = room.saturating_sub(len);
                    taken.push(transaction);
                }
                Err(error) => left_out.push((transaction.id(), error)),
            }
        }
        (taken, left_out)
    }

    fn blank_header(&self, time: Millis, epoch: u64) -> Header {
        let Round { height, challenge, targets } = self.round;
        Header {
            version: block::VERSION,
            chain: self.chain.hash(),
            height,
            epoch,
            parent: self.tip.hash,
            time: time.max(self.tip.time.plus(Millis(1))),
            challenge,
            targets,
            transactions: 0,
            transactions_root: Digest::ZERO,
            proofs_root: Digest::ZERO,
            state: Digest::ZERO,
            metronome: Address([0; 32]),
            signature: Signature([0; 256]),
        }
    }

    fn check_fresh(&self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        let (checked, tip) = (block.header.parent, self.tip.hash);
        if checked == tip { Ok(()) } else { Err(StaleBlock { checked, tip }) }
    }

    /// Moves to the state after `block`.
    ///
    /// # Errors
    ///
    /// [`StaleBlock`] if the block was checked against another tip; nothing changes then.
    pub fn apply(&mut self, block: &CheckedBlock) -> Result<(), StaleBlock> {
        self.check_fresh(block)?;
        for change in &block.changes {
            if change.new.is_empty() {
                self.accounts.remove(&change.address);
            } else {
                self.accounts.insert(change.address, change.new);
            }
        }
        self.commitment = block.commitment.clone();
        self.supply = block.supply;
        self.tip = block.tip();
        self.round = block.next;
        Ok(())
    }
}

fn root_of(transactions: &[Arc<CheckedTransaction>]) -> Digest {
    let leaves: Vec<_> = transactions.iter().map(|transaction| transaction.leaf()).collect();
    merkle::root(&leaves)
}

/// Proofs as they stand in a block.
fn in_order(mut proofs: Vec<ProofEntry>) -> Result<Proofs, BlockError> {
    proofs.sort_by_key(|entry| entry.proof.kind);
    Proofs::new(proofs).map_err(|_| BlockError::ProofOrder { index: ENGINE_COUNT })
}

fn sum_of(accounts: &HashMap<Address, Account>) -> Commitment {
    let changes: Vec<_> = accounts
        .iter()
        .map(|(&address, &new)| Change { address, old: Account::default(), new })
        .collect();
    commit(&Commitment::default(), &changes)
}
