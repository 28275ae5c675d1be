//! The metronome: opens rounds, keeps the best proofs and makes a block at every tick.
//!
//! What the next round asks depends on the proofs of this one alone, so it opens at the tick,
//! while the block of this one is drafted, handed in and committed.
//!
//! # Invariants
//!
//! 1. A proof is verified when it is handed in, and only the best of each engine is kept.
//! 2. A block stays the same until the ledger has taken or refused it, so a lost answer cannot
//!    lead to two blocks at one height.
//! 3. A round closes only when the block of the one before is final, so at most one block is under
//!    way and at most one round is open ahead of the ledger.
//! 4. A round that is open ahead of the ledger is dropped when the block before it is not taken:
//!    the ledger has another one, or is asked to take another.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Active, Answer, Call, HandIn, Lost, Next, Refusal, Replica,
    work::{Finished, Job, Outcome, Work},
};
use crate::{
    genesis::Chain,
    hash::Digest,
    keys::SecretKey,
    ledger::{BlockError, CheckedBlock, LeftOut, Proposal, Round, State},
    proof::{Challenge, ENGINE_COUNT, Footprint, Miner, ProofEntry, ProofKind},
    transaction::{CheckedTransaction, Encoded},
    units::{Height, Millis, Quality, Target},
};

/// Pause after a lost or unusable answer.
const RETRY_PAUSE: Millis = Millis(250);
/// Most validators remembered; the one not heard from for longest is forgotten.
const VALIDATORS_MAX: usize = 1_000;

/// The round that validators may answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRound {
    /// Height of its block.
    pub height: Height,
    /// What proofs answer.
    pub challenge: Digest,
    /// What they must meet, in the order of engines.
    pub targets: [Target; ENGINE_COUNT],
    /// Time until the tick.
    pub closes_in: Millis,
}

/// What became of a proof that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Receipt {
    /// It is the best of its engine so far.
    Best,
    /// It is valid, and another is at least as good.
    Outbid,
    /// No proof was handed in; the report is noted.
    Noted,
}

/// What is known of a validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// Who.
    pub miner: Miner,
    /// With which engine.
    pub kind: ProofKind,
    /// When it was heard of last.
    pub last_seen: Millis,
    /// The last round it reported.
    pub height: Height,
    /// Tries in that round.
    pub attempts: u64,
    /// Time spent on them.
    pub spent: Millis,
    /// What its prover holds.
    pub footprint: Footprint,
}

/// Whether the metronome runs, and which validators it hears from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it makes blocks.
    pub running: bool,
    /// The round that is open, if one is.
    pub round: Option<OpenRound>,
    /// Planned time between blocks.
    pub interval: Millis,
    /// Validators in order of miner and engine.
    pub validators: Vec<Validator>,
    /// What went wrong last, if it is not mended.
    pub fault: Option<String>,
}

/// How often and as whom a metronome ticks.
#[derive(Debug)]
pub struct Settings {
    /// The key it signs with.
    pub key: SecretKey,
    /// Its lease number; 0 when it is alone.
    pub epoch: u64,
    /// Time between ticks.
    pub interval: Millis,
    /// Whether it makes blocks from the start.
    pub running: bool,
}

/// What is done for the block that comes next.
#[derive(Debug)]
enum Phase {
    /// Catching up with the ledger.
    Following,
    /// Nothing until the tick.
    Open,
    /// Waiting for the pool's transactions.
    Taking,
    /// The pool's transactions are there.
    Taken(Vec<Encoded>),
    /// Waiting for the draft.
    Drafting,
    /// Waiting for the ledger to take the block.
    Submitting(Arc<CheckedBlock>, Arc<Vec<u8>>),
}

/// A round and its best proofs.
#[derive(Debug)]
struct Candidates {
    round: Round,
    tick_at: Millis,
    best: [Option<(Quality, ProofEntry)>; ENGINE_COUNT],
}

impl Candidates {
    fn proofs(&self) -> Vec<ProofEntry> {
        self.best.iter().flatten().map(|(_, entry)| entry.clone()).collect()
    }
}

/// All that a block is made from.
#[derive(Debug)]
pub(super) struct Drafting {
    state: Arc<State>,
    key: Arc<SecretKey>,
    transactions: Vec<Encoded>,
    proofs: Vec<ProofEntry>,
    time: Millis,
    epoch: u64,
}

/// A block, its bytes, and the transactions that were left out of it.
pub(super) type Drafted = Result<(Arc<CheckedBlock>, Arc<Vec<u8>>, Vec<LeftOut>), BlockError>;

impl Drafting {
    pub(super) fn run(self) -> Drafted {
        let Self { state, key, transactions, proofs, time, epoch } = self;
        let transactions = check_all(state.chain(), transactions);
        let (block, left_out) =
            state.draft(Proposal { proofs, transactions, time, epoch }, &key)?;
        let bytes = Arc::new(block.to_bytes());
        let block = Arc::new(block);
        state.remember(&bytes, block.clone());
        Ok((block, bytes, left_out))
    }
}

/// The metronome.
#[derive(Debug)]
pub struct Metronome {
    key: Arc<SecretKey>,
    epoch: u64,
    interval: Millis,
    running: bool,
    replica: Replica,
    phase: Phase,
    /// The round that takes proofs: the ledger's next one, or the one after while the block of
    /// that is under way.
    open: Option<Candidates>,
    /// The round whose block is under way.
    closed: Option<Candidates>,
    /// A round that was open ahead of the ledger. Its proofs count if the same round opens again.
    dropped: Option<Candidates>,
    validators: BTreeMap<(Miner, ProofKind), Validator>,
    left_out: Vec<LeftOut>,
    last_tick: Millis,
    wake_at: Millis,
    fault: Option<String>,
}

impl Metronome {
    /// A metronome for a chain.
    pub fn new(chain: Chain, settings: Settings) -> Self {
        let Settings { key, epoch, interval, running } = settings;
        Self {
            key: Arc::new(key),
            epoch,
            interval,
            running,
            replica: Replica::new(chain),
            phase: Phase::Following,
            open: None,
            closed: None,
            dropped: None,
            validators: BTreeMap::new(),
            left_out: Vec::new(),
            last_tick: Millis(0),
            wake_at: Millis(0),
            fault: None,
        }
    }

    /// The replica of the ledger's state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What went wrong last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Transactions the last draft had to leave out, and why.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Makes blocks from now on.
    pub fn start(&mut self) {
        self.running = true;
        self.wake_at = Millis(0);
    }

    /// Makes no more blocks; one under way is finished.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// The open round at time `now`, if there is one.
    pub fn round(&self, now: Millis) -> Option<OpenRound> {
        let Candidates { round, tick_at, .. } = self.open_candidates()?;
        Some(OpenRound {
            height: round.height,
            challenge: round.challenge,
            targets: round.targets,
            closes_in: tick_at.since(now),
        })
    }

    /// The open round, if it is another than the one at the height `known`, or at that height
    /// another than the one that asked `challenge`.
    ///
    /// A lower one is another as well: a ledger that was started anew opens those. One at the same
    /// height is another if the ledger has not taken the block that this one was to follow.
    pub fn round_other_than(
        &self,
        now: Millis,
        known: Option<Height>,
        challenge: Option<Digest>,
    ) -> Option<OpenRound> {
        let is_known = |round: &OpenRound| {
            Some(round.height) == known && challenge.is_none_or(|asked| asked == round.challenge)
        };
        self.round(now).filter(|round| !is_known(round))
    }

    fn open_candidates(&self) -> Option<&Candidates> {
        self.open.as_ref().filter(|_| self.running)
    }

    /// Whether it runs, and which validators it hears from.
    pub fn status(&self, now: Millis) -> Status {
        Status {
            running: self.running,
            round: self.round(now),
            interval: self.interval,
            validators: self.validators.values().cloned().collect(),
            fault: self.fault.clone(),
        }
    }

    /// Takes what a validator did in a round, and verifies its proof if it has one.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the round is not open, or the proof is invalid or misses its target.
    pub fn hand_in(&mut self, now: Millis, hand_in: &HandIn) -> Result<Receipt, Refusal> {
        let receipt = match hand_in.proof.clone() {
            Some(proof) => {
                let entry = ProofEntry { miner: hand_in.miner, proof };
                self.take_proof(hand_in.height, hand_in.kind, entry)?
            }
            None => Receipt::Noted,
        };
        self.note(now, hand_in);
        Ok(receipt)
    }

    fn take_proof(
        &mut self,
        height: Height,
        kind: ProofKind,
        entry: ProofEntry,
    ) -> Result<Receipt, Refusal> {
        let open = self.open_candidates().map(|candidates| candidates.round);
        let Some(round) = open.filter(|round| round.height == height) else {
            let reason = format!("round {height} is not open; ask for the round and prove again");
            return Err(Refusal::new("round-closed", reason));
        };
        if entry.proof.kind != kind {
            return Err(Refusal::new("wrong-kind", "the proof is of another engine than reported"));
        }
        let quality = self.verify(&round, &entry)?;
        let index = usize::from(kind.index());
        let slot = self.open.as_mut().and_then(|c| c.best.get_mut(index));
        Ok(slot.map_or(Receipt::Outbid, |slot| keep_best(slot, quality, entry)))
    }

    fn verify(&self, round: &Round, entry: &ProofEntry) -> Result<Quality, Refusal> {
        let (chain, kind) = (self.replica.state().chain(), entry.proof.kind);
        let known = chain.engine(kind).zip(round.targets.get(usize::from(kind.index())));
        let Some((engine, &target)) = known else {
            return Err(Refusal::new("unknown-proof-kind", format!("no engine {kind} here")));
        };
        let quality = engine
            .verify(&Challenge(round.challenge), &entry.miner, &entry.proof)
            .map_err(|error| Refusal::new("bad-proof", error))?;
        if !target.is_met_by(quality) {
            let reason = format!("quality {quality} misses target {target}");
            return Err(Refusal::new("target-missed", reason));
        }
        Ok(quality)
    }

    fn note(&mut self, now: Millis, hand_in: &HandIn) {
        let HandIn { height, miner, kind, attempts, spent, footprint, proof: _ } = *hand_in;
        let validator =
            Validator { miner, kind, last_seen: now, height, attempts, spent, footprint };
        self.validators.insert((miner, kind), validator);
        if self.validators.len() > VALIDATORS_MAX {
            let oldest = self.validators.iter().min_by_key(|(_, v)| v.last_seen);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.validators.remove(&key);
            }
        }
    }

    /// Opens the ledger's next round; one that is open already, or whose block the ledger did not
    /// take, goes on with its proofs.
    fn open(&mut self, now: Millis) {
        self.phase = Phase::Open;
        let round = *self.replica.state().round();
        let held = [&mut self.closed, &mut self.open, &mut self.dropped];
        let same = held.into_iter().find_map(|held| held.take_if(|c| c.round == round));
        self.closed = None;
        self.open = Some(same.unwrap_or_else(|| {
            let half = Millis(self.interval.0 >> 1);
            let tick_at = self.last_tick.plus(self.interval).max(now.plus(half));
            Candidates { round, tick_at, best: Default::default() }
        }));
    }

    /// Opens the round after `closed` ahead of the ledger.
    fn open_ahead(&mut self, closed: &Candidates) {
        let tick_at = self.last_tick.plus(self.interval);
        let dropped = self.dropped.take();
        // Every proof was verified for this round, so there is a next one.
        let next = self.replica.state().round_after(closed.proofs()).ok();
        self.open = next.map(|round| {
            let same = dropped.filter(|candidates| candidates.round == round);
            let best = same.map(|candidates| candidates.best).unwrap_or_default();
            Candidates { round, tick_at, best }
        });
    }

    /// What to do while no block is under way: wait for the tick, then ask for transactions.
    fn next_open(&mut self, now: Millis) -> Next {
        let Some(mut candidates) = self.open.take() else {
            self.phase = Phase::Following;
            return Next::Wait(now);
        };
        if !self.running {
            // A stopped metronome opens the round anew, with a whole interval, when it starts.
            candidates.tick_at = now.plus(self.interval);
        }
        if now < candidates.tick_at {
            let tick_at = candidates.tick_at;
            self.open = Some(candidates);
            return Next::Wait(tick_at);
        }
        self.last_tick = now;
        self.open_ahead(&candidates);
        self.closed = Some(candidates);
        self.phase = Phase::Taking;
        Next::Call(Call::Take(self.replica.next_height()))
    }

    /// Hands the making of the block out; a pool that did not answer leaves it without
    /// transactions.
    fn draft(&mut self, now: Millis, transactions: Vec<Encoded>) -> Next {
        self.phase = Phase::Drafting;
        Next::Work(Work(Job::Draft(Box::new(Drafting {
            state: self.replica.shared_state(),
            key: self.key.clone(),
            transactions,
            proofs: self.closed.as_ref().map(Candidates::proofs).unwrap_or_default(),
            time: now,
            epoch: self.epoch,
        }))))
    }

    fn take_draft(&mut self, now: Millis, drafted: Drafted) {
        match drafted {
            Ok((block, bytes, left_out)) => {
                self.left_out = left_out;
                self.phase = Phase::Submitting(block, bytes);
            }
            Err(error) => {
                (self.open, self.closed) = (None, None);
                self.fail(now, format!("no block can be made: {error}"));
                self.phase = Phase::Following;
            }
        }
    }

    fn settle(
        &mut self,
        now: Millis,
        answer: Result<Answer, Lost>,
        block: Arc<CheckedBlock>,
        bytes: Arc<Vec<u8>>,
    ) {
        let unsettled = match answer {
            Ok(Answer::BlockAccepted(accepted)) if accepted.hash == block.hash() => {
                return self.accepted(now, &block);
            }
            Ok(Answer::Refused(refusal)) => {
                self.fail(now, format!("the ledger refused the block: {refusal}"));
                return self.drop_ahead();
            }
            Ok(_) => "the blockchain server answered another question".into(),
            Err(lost) => lost.to_string(),
        };
        // It may or may not have been taken: the same block again settles it.
        self.fail(now, unsettled);
        self.phase = Phase::Submitting(block, bytes);
    }

    fn accepted(&mut self, now: Millis, block: &CheckedBlock) {
        self.fault = None;
        match self.replica.apply(block) {
            Ok(()) => self.open(now),
            Err(_) => self.drop_ahead(),
        }
    }

    /// The block was not taken: the ledger is looked at before any round goes on.
    fn drop_ahead(&mut self) {
        self.dropped = self.open.take();
        self.phase = Phase::Following;
    }

    fn follow(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        let received = match answer {
            Ok(answer) => self.replica.receive(answer).map_err(|error| error.to_string()),
            Err(lost) => Err(lost.to_string()),
        };
        match received {
            Ok(()) if self.replica.is_idle() => self.open(now),
            Ok(()) => self.wake_at = now,
            Err(fault) => self.fail(now, fault),
        }
    }

    fn fail(&mut self, now: Millis, fault: String) {
        self.fault = Some(fault);
        self.wake_at = now.plus(RETRY_PAUSE);
    }
}

impl Active for Metronome {
    fn next(&mut self, now: Millis) -> Next {
        if now < self.wake_at {
            return Next::Wait(self.wake_at);
        }
        match &mut self.phase {
            Phase::Following => match self.replica.work() {
                Some(work) => Next::Work(work),
                None => Next::Call(self.replica.call(Millis(0))),
            },
            Phase::Open => self.next_open(now),
            Phase::Taken(transactions) => {
                let transactions = std::mem::take(transactions);
                self.draft(now, transactions)
            }
            // Whoever asks while a draft is to come has lost it: it is made anew.
            Phase::Taking | Phase::Drafting => {
                self.phase = Phase::Taking;
                Next::Call(Call::Take(self.replica.next_height()))
            }
            Phase::Submitting(_, bytes) => Next::Call(Call::SubmitBlock(bytes.clone())),
        }
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        match std::mem::replace(&mut self.phase, Phase::Following) {
            Phase::Following => self.follow(now, answer),
            Phase::Taking => {
                self.phase = Phase::Taken(match answer {
                    Ok(Answer::Transactions(transactions)) => transactions,
                    _ => Vec::new(),
                });
            }
            Phase::Submitting(block, bytes) => self.settle(now, answer, block, bytes),
            other => self.phase = other,
        }
    }

    fn finish(&mut self, now: Millis, done: Finished) {
        match (&self.phase, done.0) {
            (Phase::Drafting, Outcome::Drafted(drafted)) => self.take_draft(now, *drafted),
            (Phase::Following, followed @ Outcome::Followed(_)) => {
                if let Err(error) = self.replica.finish(Finished(followed)) {
                    self.fail(now, error.to_string());
                }
            }
            _ => {}
        }
    }
}

/// Keeps the better of two proofs of an engine; of two equal ones the first.
fn keep_best(
    slot: &mut Option<(Quality, ProofEntry)>,
    quality: Quality,
    entry: ProofEntry,
) -> Receipt {
    match slot {
        Some((best, held)) if *best == quality && *held == entry => Receipt::Best,
        Some((best, _)) if *best <= quality => Receipt::Outbid,
        _ => {
            *slot = Some((quality, entry));
            Receipt::Best
        }
    }
}

/// Checks the pool's transactions in parallel; those that break a rule are dropped.
fn check_all(chain: &Chain, transactions: Vec<Encoded>) -> Vec<Arc<CheckedTransaction>> {
    chain.checker().check_all(transactions).into_iter().filter_map(Result::ok).collect()
}
