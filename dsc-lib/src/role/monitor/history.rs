//! An hour of samples, the last blocks and transactions, and what changed, by number.
//!
//! # Invariants
//!
//! 1. Memory is bounded: [`SAMPLES_MAX`] samples of about half a KiB without their validators,
//!    [`BLOCKS_MAX`] blocks, [`RECENT_MAX`] transactions, and the last [`EVENTS_MAX`] events, of which
//!    one holds at most [`super::VALIDATORS_MAX`] validators: in all some MiB, 30 at most.
//! 2. Events are numbered without a gap. Whoever knows one of them is told all that came after it,
//!    or that this is no longer known.
//! 3. Another chain, or one that was put back, begins a new history: nothing of the old one stays. Of
//!    several servers one that lags behind by no more than [`BLOCKS_MAX`] blocks is not taken for that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Figures, Sample};
use crate::{
    address::Prefix,
    block::BlockHash,
    hash::Digest,
    proof::{Fingerprint, ProofKind},
    role::{
        blockchain::{Info, Summary},
        pool::RecentTransaction,
    },
    transaction::TransactionId,
    units::{Amount, Height, Millis},
};

/// Samples kept: an hour of one a second.
pub const SAMPLES_MAX: usize = 3600;
/// Blocks kept, and asked for at once.
pub const BLOCKS_MAX: usize = 60;
/// Transactions kept.
pub const RECENT_MAX: usize = 50;
/// Events kept for those who were away.
pub const EVENTS_MAX: usize = 1024;

/// A block as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
    /// Its time.
    pub time: Millis,
    /// Transactions in it.
    pub transactions: u64,
    /// Payments in them.
    pub payments: u64,
    /// Bytes of its encoding.
    pub bytes: u64,
    /// What the payments are together.
    pub amount: Amount,
    /// The fees of its transactions.
    pub fees: Amount,
    /// New coins for its winner.
    pub reward: Amount,
    /// The engine whose proof won.
    pub winner: Option<ProofKind>,
    /// Whose account was paid, in Bech32m.
    pub miner: Option<String>,
    /// Which of the owner's validators won.
    pub fingerprint: Option<Fingerprint>,
    /// Proofs in it.
    pub proofs: u64,
}

impl BlockRow {
    /// The row of a block on a network whose addresses have this prefix.
    pub fn new(summary: &Summary, prefix: Prefix) -> Self {
        let miner = summary.winner.map(|winner| winner.miner);
        Self {
            height: summary.height,
            hash: summary.hash,
            time: summary.time,
            transactions: summary.transactions,
            payments: summary.payments,
            bytes: summary.bytes,
            amount: summary.amount,
            fees: summary.fees,
            reward: summary.reward,
            winner: summary.winner.map(|winner| winner.kind),
            miner: miner.map(|miner| miner.address.to_text(prefix)),
            fingerprint: miner.map(|miner| miner.fingerprint),
            proofs: summary.proofs,
        }
    }
}

/// A transaction as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its id.
    pub id: TransactionId,
    /// Who pays, in Bech32m.
    pub from: String,
    /// Who is paid, in Bech32m; nothing if there are several.
    pub to: Option<String>,
    /// How many payments it has.
    pub payments: u64,
    /// What they are together.
    pub amount: Amount,
    /// Its fee.
    pub fee: Amount,
    /// The name of its state.
    pub state: String,
    /// Its block, or the one it was handed out for or missed.
    pub height: Option<Height>,
    /// When it was confirmed, or submitted if it is not.
    pub time: Millis,
}

impl Row {
    fn new(recent: &RecentTransaction, prefix: Prefix) -> Option<Self> {
        let RecentTransaction { note, status } = recent;
        let status = status.as_ref()?;
        Some(Self {
            id: note.id,
            from: note.sender.to_text(prefix),
            to: note.to.map(|to| to.to_text(prefix)),
            payments: note.payments,
            amount: note.amount,
            fee: note.fee,
            state: status.name().to_owned(),
            height: status.height(),
            time: note.confirmed.unwrap_or(note.submitted),
        })
    }
}

/// Which event of which history: `EPOCH-NUMBER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventId {
    /// When the history began.
    pub epoch: Millis,
    /// Its number, from 1; 0 before the first.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

/// A text that is not the id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of an event is two numbers with a hyphen between them")]
pub struct ParseEventIdError;

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, ParseEventIdError> {
        let (epoch, number) = text.split_once('-').ok_or(ParseEventIdError)?;
        let (Ok(epoch), Ok(number)) = (epoch.parse(), number.parse()) else {
            return Err(ParseEventIdError);
        };
        Ok(Self { epoch: Millis(epoch), number })
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// There is a new sample.
    Sample(Arc<Sample>),
    /// There is a new block.
    Block(Arc<BlockRow>),
    /// These transactions are new, or stand in another way.
    Recent(Arc<Vec<Row>>),
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What it was.
    pub payload: Payload,
}

/// The chain that a history is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    chain: Digest,
    network: String,
    prefix: Prefix,
}

/// The last hour.
#[derive(Debug, Default)]
pub struct History {
    subject: Option<Subject>,
    samples: VecDeque<Arc<Figures>>,
    now: Option<Arc<Sample>>,
    /// Newest first.
    blocks: VecDeque<Arc<BlockRow>>,
    /// Newest first.
    recent: Vec<Row>,
    events: VecDeque<Event>,
    last: EventId,
}

impl History {
    /// Hash of the genesis, once it is known.
    pub fn chain(&self) -> Option<Digest> {
        self.subject.as_ref().map(|subject| subject.chain)
    }

    /// Name of the network, once it is known.
    pub fn network(&self) -> Option<&str> {
        self.subject.as_ref().map(|subject| subject.network.as_str())
    }

    /// The prefix of the network's addresses, once it is known.
    pub fn prefix(&self) -> Option<Prefix> {
        self.subject.as_ref().map(|subject| subject.prefix)
    }

    /// Figures, oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Arc<Figures>> {
        self.samples.iter()
    }

    /// The newest sample; nothing before the first.
    pub fn now(&self) -> Option<&Arc<Sample>> {
        self.now.as_ref()
    }

    /// Blocks, newest first.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &Arc<BlockRow>> {
        self.blocks.iter()
    }

    /// Transactions, newest first.
    pub fn recent(&self) -> &[Row] {
        &self.recent
    }

    /// The last event that what is shown here has in it.
    pub fn last(&self) -> EventId {
        self.last
    }

    /// At most `max` of the events after this one, in their order; nothing if that is not known: it is
    /// of another history, or of so long ago that some after it are forgotten.
    pub fn after(&self, id: EventId, max: usize) -> Option<Vec<Event>> {
        let missed = self.last.number.checked_sub(id.number)?;
        let missed = usize::try_from(missed).ok()?;
        let skip = self.events.len().checked_sub(missed)?;
        let is_known = id.epoch == self.last.epoch;
        is_known.then(|| self.events.iter().skip(skip).take(max).cloned().collect())
    }

    /// The newest block.
    pub(super) fn tip(&self) -> Option<(Height, BlockHash)> {
        self.blocks.front().map(|block| (block.height, block.hash))
    }

    pub(super) fn is_of(&self, info: &Info) -> bool {
        self.chain() == Some(info.chain)
    }

    /// Whether the tip is a block that is shown.
    fn has(&self, info: &Info) -> bool {
        let is_tip =
            |block: &Arc<BlockRow>| Some(block.height) == info.height && block.hash == info.tip;
        self.blocks.iter().any(is_tip)
    }

    /// Begins anew if the ledger is another one than before. Where `are_several` servers answer in
    /// turn, one that only has not come so far yet is not another one.
    pub(super) fn follow(&mut self, info: &Info, now: Millis, are_several: bool) {
        let is_late = are_several && self.has(info);
        let is_behind = |(height, hash)| match info.height {
            Some(tip) => (tip < height && !is_late) || (tip == height && info.tip != hash),
            None => !are_several,
        };
        let is_other = self.subject.is_some() && !self.is_of(info);
        if is_other || self.tip().is_some_and(is_behind) {
            let epoch = now.max(self.last.epoch.plus(Millis(1)));
            *self = Self { last: EventId { epoch, number: 0 }, ..Self::default() };
        }
        let prefix = if info.development { Prefix::Development } else { Prefix::Main };
        let (chain, network) = (info.chain, info.network.clone());
        self.subject.get_or_insert(Subject { chain, network, prefix });
    }

    /// Adds what one round of questions brought.
    pub(super) fn add(
        &mut self,
        sample: Sample,
        mut summaries: Vec<Summary>,
        recent: &[RecentTransaction],
    ) {
        if self.last == EventId::default() {
            self.last.epoch = sample.figures.time;
        }
        if let Some(prefix) = self.prefix() {
            summaries.sort_by_key(|summary| summary.height);
            for summary in summaries.iter().rev().take(BLOCKS_MAX).rev() {
                self.add_block(summary, prefix);
            }
            self.add_recent(recent, prefix);
        }
        let sample = Arc::new(sample);
        self.samples.push_back(Arc::new(sample.figures.clone()));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.now = Some(Arc::clone(&sample));
        self.tell(Payload::Sample(sample));
    }

    fn add_block(&mut self, summary: &Summary, prefix: Prefix) {
        if self.tip().is_some_and(|(tip, _)| summary.height <= tip) {
            return;
        }
        let row = Arc::new(BlockRow::new(summary, prefix));
        self.blocks.push_front(Arc::clone(&row));
        self.blocks.truncate(BLOCKS_MAX);
        self.tell(Payload::Block(row));
    }

    /// Takes what the pool tells of lately, newest first; tells what is new or has changed.
    fn add_recent(&mut self, recent: &[RecentTransaction], prefix: Prefix) {
        let rows = recent.iter().filter_map(|one| Row::new(one, prefix));
        let rows: Vec<Row> = rows.take(RECENT_MAX).collect();
        let known: HashMap<_, _> = self.recent.iter().map(|row| (row.id, row)).collect();
        let is_new = |row: &&Row| known.get(&row.id) != Some(row);
        let changed: Vec<Row> = rows.iter().filter(is_new).cloned().collect();
        let told: HashSet<_> = rows.iter().map(|row| row.id).collect();
        let old = self.recent.iter().filter(|row| !told.contains(&row.id)).cloned();
        let all: Vec<Row> = rows.iter().cloned().chain(old).take(RECENT_MAX).collect();
        self.recent = all;
        if !changed.is_empty() {
            self.tell(Payload::Recent(Arc::new(changed)));
        }
    }

    fn tell(&mut self, payload: Payload) {
        self.last.number = self.last.number.saturating_add(1);
        self.events.push_back(Event { id: self.last, payload });
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}
