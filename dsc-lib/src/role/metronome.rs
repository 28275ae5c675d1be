//! The metronome: opens rounds, keeps the best proofs and makes a block at every tick.
//!
//! # Invariants
//!
//! 1. A proof is verified when it is handed in, and only the best of each engine is kept.
//! 2. A block stays the same until the ledger has taken or refused it, so a lost answer cannot
//!    lead to two blocks at one height.
//! 3. No round opens before the block of the last one is final.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Active, Answer, Call, HandIn, Lost, Next, Refusal, Replica};
use crate::{
    genesis::Chain,
    hash::Digest,
    keys::SecretKey,
    ledger::{CheckedBlock, LeftOut, Proposal},
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

#[derive(Debug)]
enum Phase {
    /// Catching up with the ledger.
    Following,
    /// Taking proofs until the tick.
    Open,
    /// Waiting for the pool's transactions.
    Taking,
    /// Waiting for the ledger to take the block.
    Submitting(Box<CheckedBlock>, Arc<Vec<u8>>),
}

/// The best proofs of one round.
#[derive(Debug)]
struct Candidates {
    height: Height,
    tick_at: Millis,
    best: [Option<(Quality, ProofEntry)>; ENGINE_COUNT],
}

/// The metronome.
#[derive(Debug)]
pub struct Metronome {
    settings: Settings,
    replica: Replica,
    phase: Phase,
    candidates: Option<Candidates>,
    validators: BTreeMap<(Miner, ProofKind), Validator>,
    left_out: Vec<LeftOut>,
    last_tick: Millis,
    wake_at: Millis,
    fault: Option<String>,
}

impl Metronome {
    /// A metronome for a chain.
    pub fn new(chain: Chain, settings: Settings) -> Self {
        Self {
            settings,
            replica: Replica::new(chain),
            phase: Phase::Following,
            candidates: None,
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
        self.settings.running = true;
        self.wake_at = Millis(0);
    }

    /// Makes no more blocks; one under way is finished.
    pub fn stop(&mut self) {
        self.settings.running = false;
    }

    /// The open round at time `now`, if there is one.
    pub fn round(&self, now: Millis) -> Option<OpenRound> {
        let candidates = self.open_candidates()?;
        let round = self.replica.state().round();
        Some(OpenRound {
            height: round.height,
            challenge: round.challenge,
            targets: round.targets,
            closes_in: candidates.tick_at.since(now),
        })
    }

    /// The open round, if it is another than the one at the height `known`.
    ///
    /// A lower one is another as well: a ledger that was started anew opens those.
    pub fn round_other_than(&self, now: Millis, known: Option<Height>) -> Option<OpenRound> {
        self.round(now).filter(|round| Some(round.height) != known)
    }

    fn open_candidates(&self) -> Option<&Candidates> {
        let open = self.settings.running && matches!(self.phase, Phase::Open);
        self.candidates.as_ref().filter(|_| open)
    }

    /// Whether it runs, and which validators it hears from.
    pub fn status(&self, now: Millis) -> Status {
        Status {
            running: self.settings.running,
            round: self.round(now),
            interval: self.settings.interval,
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
        let open = self.open_candidates().map(|candidates| candidates.height);
        if open != Some(height) {
            let reason = format!("round {height} is not open; ask for the round and prove again");
            return Err(Refusal::new("round-closed", reason));
        }
        if entry.proof.kind != kind {
            return Err(Refusal::new("wrong-kind", "the proof is of another engine than reported"));
        }
        let quality = self.verify(&entry)?;
        let index = usize::from(kind.index());
        let slot = self.candidates.as_mut().and_then(|c| c.best.get_mut(index));
        Ok(slot.map_or(Receipt::Outbid, |slot| keep_best(slot, quality, entry)))
    }

    fn verify(&self, entry: &ProofEntry) -> Result<Quality, Refusal> {
        let state = self.replica.state();
        let (round, kind) = (state.round(), entry.proof.kind);
        let known = state.chain().engine(kind).zip(round.targets.get(usize::from(kind.index())));
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

    fn open(&mut self, now: Millis) {
        let height = self.replica.next_height();
        self.phase = Phase::Open;
        if self.candidates.as_ref().is_some_and(|candidates| candidates.height == height) {
            // The ledger did not take the block: the same proofs make another one.
            return;
        }
        let half = Millis(self.settings.interval.0 >> 1);
        let tick_at = self.last_tick.plus(self.settings.interval).max(now.plus(half));
        self.candidates = Some(Candidates { height, tick_at, best: Default::default() });
    }

    /// What to do while the round is open: wait for the tick, then ask for transactions.
    fn next_open(&mut self, now: Millis) -> Next {
        let Some(candidates) = &mut self.candidates else {
            self.phase = Phase::Following;
            return Next::Wait(now);
        };
        if !self.settings.running {
            // A stopped metronome opens the round anew, with a whole interval, when it starts.
            candidates.tick_at = now.plus(self.settings.interval);
            return Next::Wait(candidates.tick_at);
        }
        if now < candidates.tick_at {
            return Next::Wait(candidates.tick_at);
        }
        self.last_tick = now;
        self.phase = Phase::Taking;
        Next::Call(Call::Take(candidates.height))
    }

    /// Makes the block; a pool that does not answer leaves it without transactions.
    fn make_block(&mut self, now: Millis, transactions: Vec<Encoded>) {
        let state = self.replica.state();
        let proofs = self.candidates.iter().flat_map(|c| c.best.iter().flatten());
        let proposal = Proposal {
            proofs: proofs.map(|(_, entry)| entry.clone()).collect(),
            transactions: check_all(state.chain(), transactions),
            time: now,
            epoch: self.settings.epoch,
        };
        match state.draft(proposal, &self.settings.key) {
            Ok((block, left_out)) => {
                self.left_out = left_out;
                let bytes = Arc::new(block.to_bytes());
                self.phase = Phase::Submitting(Box::new(block), bytes);
            }
            Err(error) => {
                self.candidates = None;
                self.fail(now, format!("no block can be made: {error}"));
                self.phase = Phase::Following;
            }
        }
    }

    fn finish(&mut self, now: Millis, answer: Result<Answer, Lost>, block: &CheckedBlock) {
        match answer {
            Ok(Answer::BlockAccepted(accepted)) if accepted.hash == block.hash() => {
                self.fault = None;
                match self.replica.apply(block) {
                    Ok(()) => self.open(now),
                    Err(_) => self.phase = Phase::Following,
                }
            }
            Ok(Answer::Refused(refusal)) => {
                self.fail(now, format!("the ledger refused the block: {refusal}"));
                self.phase = Phase::Following;
            }
            // It may or may not have been taken: the same block again settles it.
            Ok(_) => self.fail(now, "the blockchain server answered another question".into()),
            Err(lost) => self.fail(now, lost.to_string()),
        }
    }

    fn follow(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        let first = self.replica.is_fresh();
        let absorbed = match answer {
            Ok(answer) => self.replica.absorb(answer).map_err(|error| error.to_string()),
            Err(lost) => Err(lost.to_string()),
        };
        match absorbed {
            Ok(blocks) if blocks.is_empty() && !first => self.open(now),
            Ok(_) => self.wake_at = now,
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
        match &self.phase {
            Phase::Following => Next::Call(self.replica.call(Millis(0))),
            Phase::Open => self.next_open(now),
            Phase::Taking => Next::Call(Call::Take(self.replica.next_height())),
            Phase::Submitting(_, bytes) => Next::Call(Call::SubmitBlock(bytes.clone())),
        }
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        match std::mem::replace(&mut self.phase, Phase::Following) {
            Phase::Following => self.follow(now, answer),
            Phase::Open => self.phase = Phase::Open,
            Phase::Taking => {
                let taken = match answer {
                    Ok(Answer::Transactions(transactions)) => transactions,
                    _ => Vec::new(),
                };
                self.make_block(now, taken);
            }
            Phase::Submitting(block, bytes) => {
                self.phase = Phase::Submitting(block.clone(), bytes);
                self.finish(now, answer, &block);
            }
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
