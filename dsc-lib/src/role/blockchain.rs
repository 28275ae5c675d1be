//! The blockchain server: keeps the ledger, checks every block again and answers questions.
//!
//! # Invariants
//!
//! 1. A block is acknowledged only after it is durable.
//! 2. The same block again is acknowledged again; another one at its height is refused.
//! 3. Who signs two blocks of one height is named, with both headers ([`Equivocation`]).
//! 4. Checking and storing a block need nothing of the role: [`Submission`] owns what they take, so
//!    questions are answered meanwhile.
//! 5. Where several servers share a log of blocks, each applies its entries in their order, by the
//!    same checks as a block that is handed in; what fails them is passed over by all
//!    ([`Bookmark`]).

mod audit;
mod confirmed;
mod equivocation;
mod following;
mod submission;
mod summary;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    audit::{Audit, Auditing},
    confirmed::{CONFIRMED_MAX, Confirmed, ConfirmedList, confirmed},
    equivocation::{
        EQUIVOCATIONS_MAX, EQUIVOCATIONS_PER_KEY_MAX, Equivocation, EquivocationFault, Evidence,
        EvidenceError,
    },
    following::{Bookmark, FollowFault, tells_apart},
    submission::{Sound, Stored, Submission},
    summary::{SUMMARIES_MAX, Summary, Winner, summaries},
};
use self::{confirmed::Recent, submission::Fresh, summary::Summaries};

use super::Refusal;
use crate::{
    block::{BlockHash, Header},
    codec::{self, DecodeError},
    commitment::Account,
    genesis::Chain,
    hash::Digest,
    keys::SignatureError,
    ledger::{
        self, Archive, BlockError, CommitError, Ledger, Located, StaleBlock, StoreError, Wins,
    },
    merkle::{self, InclusionError, InclusionProof},
    proof::ENGINE_COUNT,
    transaction::TransactionId,
    units::{Amount, Height, Millis, Target},
};

/// Bytes of blocks in one answer; one block is always given.
const BLOCKS_BYTES_MAX: usize = 8 << 20;

/// Where a blockchain server stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Genesis hash.
    pub chain: Digest,
    /// Name of the network.
    pub network: String,
    /// Whether it is a development network.
    #[serde(default)]
    pub development: bool,
    /// Height of the tip; nothing before the first block.
    pub height: Option<Height>,
    /// Hash of the tip, or of the genesis.
    pub tip: BlockHash,
    /// Time of the tip, or of the genesis.
    pub time: Millis,
    /// State commitment at the tip.
    pub state: Digest,
    /// Coins in being.
    pub supply: Amount,
    /// Accounts that are not empty.
    pub accounts: u64,
    /// Transactions on the ledger.
    pub transactions: u64,
    /// Challenge of the next block.
    pub challenge: Digest,
    /// Targets of the next block.
    pub targets: [Target; ENGINE_COUNT],
    /// Blocks won, by engine and miner.
    pub wins: Wins,
    /// Heights at which a metronome was seen to have signed two blocks.
    #[serde(default)]
    pub equivocations: u64,
    /// Height up to which at least two blockchain servers have every block on disk; nothing if there
    /// is one server, or if that is not known.
    #[serde(default)]
    pub final_height: Option<Height>,
    /// Since when the server hears nothing of the engine that it shares with others.
    #[serde(default)]
    pub stale_since: Option<Millis>,
}

/// What the ledger says of an address, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAt {
    /// Transactions it has sent, and so the sequence of the next one.
    pub sequence: u64,
    /// Height of the tip; nothing before the first block.
    pub height: Option<Height>,
}

/// A block that is durably on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
}

/// A transaction on the ledger with everything needed to prove that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Header of its block.
    pub header: Header,
    /// Its place in the transactions tree.
    pub proof: InclusionProof,
    /// The whole transaction, encoded.
    #[serde(with = "hex::serde")]
    pub transaction: Vec<u8>,
    /// Height of the tip when this was answered.
    pub tip: Height,
}

/// An inclusion that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InclusionFault {
    /// It shows another transaction.
    #[error("it shows transaction {got}, not {expected}")]
    OtherTransaction {
        /// The one shown.
        got: TransactionId,
        /// The one asked for.
        expected: TransactionId,
    },
    /// The transaction is not canonical.
    #[error("the transaction is not canonical: {0}")]
    Decode(#[from] DecodeError),
    /// No metronome of this chain signed the header.
    #[error("no metronome of this chain has key {0}")]
    UnknownMetronome(crate::address::Address),
    /// The header is of another chain.
    #[error("the header is of chain {0}")]
    OtherChain(Digest),
    /// The header's signature is wrong.
    #[error("the header's signature: {0}")]
    Signature(#[from] SignatureError),
    /// The tree is of another size than the header says.
    #[error("the tree has {got} leaves, the header says {expected}")]
    OtherCount {
        /// Leaves in the proof.
        got: u64,
        /// Transactions in the header.
        expected: u32,
    },
    /// The path does not lead to the header's root.
    #[error(transparent)]
    Path(#[from] InclusionError),
}

impl Inclusion {
    /// Reads it for the transaction `id`, if that is on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn read(archive: &Archive, id: &TransactionId) -> Result<Option<Self>, StoreError> {
        let Some(found) = archive.inclusion(id)? else { return Ok(None) };
        let ledger::Inclusion { header, proof, transaction } = found;
        let tip = archive.height()?.unwrap_or_default();
        Ok(Some(Self { header, proof, transaction, tip }))
    }

    /// Checks, trusting nobody, that a metronome of `chain` signed a block with transaction `id`.
    ///
    /// # Errors
    ///
    /// [`InclusionFault`] naming what does not fit.
    pub fn verify(&self, chain: &Chain, id: &TransactionId) -> Result<(), InclusionFault> {
        let transaction: crate::transaction::Transaction = codec::decode(&self.transaction)?;
        let (got, expected) = (transaction.id(&chain.hash()), *id);
        if got != expected {
            return Err(InclusionFault::OtherTransaction { got, expected });
        }
        if self.header.chain != chain.hash() {
            return Err(InclusionFault::OtherChain(self.header.chain));
        }
        let id = self.header.metronome;
        let key = chain.metronome(&id).ok_or(InclusionFault::UnknownMetronome(id))?;
        key.verify(self.header.hash().as_bytes(), &self.header.signature)?;
        let (got, expected) = (self.proof.count, self.header.transactions);
        if got != u64::from(expected) {
            return Err(InclusionFault::OtherCount { got, expected });
        }
        Ok(self.proof.verify(merkle::leaf(&self.transaction), self.header.transactions_root)?)
    }
}

/// A block that did not get onto the ledger.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The bytes are not a block.
    #[error("the block is not canonical: {0}")]
    Decode(#[from] DecodeError),
    /// It breaks a rule.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Its metronome signed another block of its height, which is on the ledger.
    #[error("the metronome {} signed another block of height {}", seen.second.metronome, seen.second.height)]
    Equivocation {
        /// Both headers.
        seen: Box<Equivocation>,
        /// Whether they are kept as evidence, and nothing was before of this height and key.
        is_new: bool,
    },
    /// This server could not store it: not the sender's fault.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Another block was stored meanwhile.
    #[error(transparent)]
    Stale(#[from] StaleBlock),
    /// This server could not read its store: not the sender's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SubmitError {
    /// The refusal to send back; nothing if this server is to blame.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Decode(_) => Some(Refusal::new("not-canonical", self)),
            Self::Block(error) => Some(Refusal::new(error.code(), self)),
            Self::Equivocation { .. } => Some(Refusal::new("equivocation", self)),
            Self::Stale(_) | Self::Commit(CommitError::Stale(_)) => {
                Some(Refusal::new("wrong-height", self))
            }
            Self::Commit(_) | Self::Store(_) => None,
        }
    }

    /// Whether the block is to blame whoever looks at it: every server with the same ledger comes to
    /// the same, today and tomorrow.
    pub const fn is_of_the_block(&self) -> bool {
        matches!(self, Self::Decode(_) | Self::Block(_) | Self::Equivocation { .. })
    }
}

/// Encoded blocks from a height on, as many as fit one answer.
///
/// # Errors
///
/// [`StoreError`] if the store cannot be read.
pub fn blocks(archive: &Archive, from: Height) -> Result<Vec<Vec<u8>>, StoreError> {
    archive.blocks(from, BLOCKS_BYTES_MAX)
}

/// The blockchain server.
#[derive(Debug)]
pub struct Blockchain {
    ledger: Ledger,
    recent: Recent,
    summaries: Summaries,
    evidence: Arc<Evidence>,
}

impl Blockchain {
    /// Serves this ledger. Evidence of equivocations is kept in RAM.
    pub fn new(ledger: Ledger) -> Self {
        Self::with_evidence(ledger, Evidence::default())
    }

    /// Serves this ledger, and adds to this evidence.
    pub fn with_evidence(ledger: Ledger, evidence: Evidence) -> Self {
        let (recent, summaries) = (Recent::default(), Summaries::default());
        Self { ledger, recent, summaries, evidence: Arc::new(evidence) }
    }

    /// Equivocations that were seen.
    pub fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where it stands.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn info(&self) -> Result<Info, StoreError> {
        let state = self.ledger.state();
        let (tip, round) = (state.tip(), state.round());
        Ok(Info {
            chain: state.chain().hash(),
            network: state.chain().network(),
            development: state.chain().genesis().development,
            height: state.height(),
            tip: tip.hash,
            time: tip.time,
            state: state.commitment(),
            supply: state.supply(),
            accounts: state.accounts().len() as u64,
            transactions: self.ledger.transaction_count()?,
            challenge: round.challenge,
            targets: round.targets,
            wins: self.ledger.wins().clone(),
            equivocations: self.evidence.count() as u64,
            final_height: None,
            stale_since: None,
        })
    }

    /// Checks a block and commits it durably.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; nothing has changed then.
    pub fn submit(&mut self, bytes: &[u8]) -> Result<Accepted, SubmitError> {
        let mut stored = self.begin(bytes).run()?;
        self.finish(&mut stored)
    }

    /// Takes an encoded block to be checked and stored. Submissions are made one after the other: of
    /// two that begin at once one is refused.
    pub fn begin<B: AsRef<[u8]>>(&self, bytes: B) -> Submission<B> {
        let (state, archive) = (self.ledger.shared_state(), self.archive().clone());
        Submission::new(bytes, state, archive, self.evidence.clone())
    }

    /// Moves on by a block that was stored.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] if another block was stored in between; nothing has changed then.
    pub fn finish(&mut self, stored: &mut Stored) -> Result<Accepted, SubmitError> {
        if let Some((block, fresh)) = stored.take_fresh() {
            let Fresh { persisted, confirmed, summary } = fresh;
            self.ledger.advance(block, persisted)?;
            self.recent.push(confirmed);
            self.summaries.push(summary);
        }
        Ok(stored.accepted())
    }

    /// What is on disk.
    pub fn archive(&self) -> &Archive {
        self.ledger.archive()
    }

    /// Encoded blocks from a height on, as many as fit one answer.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn blocks(&self, from: Height) -> Result<Vec<Vec<u8>>, StoreError> {
        blocks(&self.ledger, from)
    }

    /// What was confirmed from a height on, as far as it is still in RAM; [`confirmed`] adds what
    /// is not.
    pub fn recent(&self, from: Height) -> Vec<Arc<Confirmed>> {
        self.recent.from(from)
    }

    /// The newest blocks below a height at a glance, as far as they are still in RAM; [`summaries`]
    /// adds what is not.
    pub fn recent_summaries(&self, before: Height, max: usize) -> Vec<Arc<Summary>> {
        self.summaries.below(before, max)
    }

    /// Whether the balances add up, as of now: to be found out without the role.
    pub fn audit(&self) -> Auditing {
        let (state, balances) = (self.ledger.state(), self.ledger.balances());
        Auditing { height: state.height(), issued: state.supply(), balances }
    }

    /// All balances and the tip they belong to, encoded.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn snapshot(&self) -> Result<Vec<u8>, StoreError> {
        Ok(codec::encode(&self.ledger.snapshot()?))
    }

    /// What is known of an address.
    pub fn account(&self, address: &crate::address::Address) -> Account {
        self.ledger.state().account(address)
    }

    /// Which sequence an address uses next, and as of when.
    pub fn account_at(&self, address: &crate::address::Address) -> AccountAt {
        let state = self.ledger.state();
        AccountAt { sequence: state.account(address).sequence, height: state.height() }
    }

    /// Where a transaction stands, if it is on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn transaction(&self, id: &TransactionId) -> Result<Option<Located>, StoreError> {
        self.ledger.transaction(id)
    }

    /// A transaction's place and the proof of it, if it is on the ledger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    pub fn inclusion(&self, id: &TransactionId) -> Result<Option<Inclusion>, StoreError> {
        Inclusion::read(&self.ledger, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ALICE, BOB, address, chain, next_block, pay};

    fn server() -> Blockchain {
        Blockchain::new(Ledger::in_memory(chain()))
    }

    fn accept(
        server: &mut Blockchain,
        submission: Submission<Vec<u8>>,
    ) -> Result<Accepted, SubmitError> {
        let mut stored = submission.run()?;
        server.finish(&mut stored)
    }

    /// Until it is told of the stored block, the role answers as of the one before.
    #[test]
    fn questions_are_answered_while_a_block_is_checked_and_stored() {
        let mut server = server();
        let transactions = vec![pay(&ALICE, 0, address(&BOB), 1)];
        let block = next_block(server.ledger().state(), vec![], transactions);
        let place = Arc::as_ptr(&server.ledger().shared_state());
        let sequence = |server: &Blockchain| server.account(&address(&ALICE)).sequence;

        let submission = server.begin(block.to_bytes());
        assert_eq!((server.info().unwrap().height, sequence(&server)), (None, 0));
        let mut stored = submission.run().unwrap();
        assert_eq!((server.info().unwrap().height, sequence(&server)), (None, 0));
        server.finish(&mut stored).unwrap();
        assert_eq!((server.info().unwrap().height, sequence(&server)), (Some(Height(0)), 1));
        let moved = Arc::as_ptr(&server.ledger().shared_state());
        assert_eq!(moved, place, "accounts are changed where they are, not copied");
    }

    #[test]
    fn of_two_blocks_of_one_height_only_one_gets_onto_the_ledger() {
        let mut server = server();
        let state = server.ledger().state();
        let empty = next_block(state, vec![], vec![]);
        let full = next_block(state, vec![], vec![pay(&ALICE, 0, address(&BOB), 1)]);
        let (first, second) = (server.begin(empty.to_bytes()), server.begin(full.to_bytes()));
        let again = server.begin(empty.to_bytes());
        let accepted = accept(&mut server, first).unwrap();
        let error = accept(&mut server, second).unwrap_err();
        assert!(matches!(error, SubmitError::Commit(CommitError::Stale(_))), "{error}");
        assert_eq!(error.refusal().unwrap().code, "wrong-height");
        assert_eq!(accept(&mut server, again).unwrap(), accepted, "the same block is known");
        assert_eq!(server.ledger().state().tip().hash, empty.hash());
        server.ledger().verify(|_, _| {}).unwrap();
    }

    #[test]
    fn a_stored_block_moves_the_state_once() {
        let mut server = server();
        let block = next_block(server.ledger().state(), vec![], vec![]);
        let [mut first, mut second] =
            [(); 2].map(|()| server.begin(block.to_bytes()).run().unwrap());
        let accepted = server.finish(&mut first).unwrap();
        assert_eq!(server.finish(&mut first).unwrap(), accepted, "once more moves nothing");
        let error = server.finish(&mut second).unwrap_err();
        assert!(matches!(error, SubmitError::Stale(_)), "{error}");
        assert_eq!(error.refusal().unwrap().code, "wrong-height");
        assert_eq!(server.ledger().state().height(), Some(Height(0)));
    }
}
