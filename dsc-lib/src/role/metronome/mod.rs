//! The metronome: opens rounds, keeps the best proofs and makes a block at every tick.
//!
//! What the next round asks depends on the proofs of this one alone, so it opens at the tick,
//! while the block of this one is drafted, handed in and committed.
//!
//! # Invariants
//!
//! 1. A proof is verified when it is handed in, and only the best of each engine is kept.
//! 2. A block is on this metronome's disk before it is handed in, and is handed in until the ledger
//!    has it or another one: neither a lost answer, a refusal nor a crash leads to two blocks of
//!    one height with the same signer.
//! 3. A round closes only when the block of the one before is final, so at most one block is under
//!    way and at most one round is open ahead of the ledger.
//! 4. A round that is open ahead of the ledger is dropped when the block before it is not taken:
//!    the ledger has another one, or is asked to take another.
//! 5. Of several metronomes only one that leads drafts a block. Whatever becomes of a block that
//!    was signed by one that leads no more, it goes on following the ledger.

mod draft;
pub mod exchange;
mod signed;
mod standing;
mod status;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use self::draft::{Draft, DraftError, Drafting};
use self::standing::Standing;
pub use self::{
    signed::{LastSigned, SignedBlock, SignedError},
    status::{OpenRound, Receipt, Status, Validator},
};
use super::{
    Active, Answer, Call, HandIn, Lost, Next, Refusal, Replica,
    work::{Finished, Job, Outcome, Work},
};
use crate::{
    block::BlockHash,
    genesis::Chain,
    hash::Digest,
    keys::SecretKey,
    ledger::{CheckedBlock, LeftOut, Round},
    proof::{Challenge, ENGINE_COUNT, Miner, ProofEntry, ProofKind},
    transaction::Encoded,
    units::{Height, Millis, Quality},
};

/// Pause after a lost or unusable answer.
const RETRY_PAUSE: Millis = Millis(250);
/// Most validators remembered; the one not heard from for longest is forgotten.
const VALIDATORS_MAX: usize = 1_000;

/// How often and as whom a metronome ticks.
#[derive(Debug)]
pub struct Settings {
    /// The key it signs with.
    pub key: SecretKey,
    /// Its lease number; 0 when it is alone.
    pub epoch: u64,
    /// Time between ticks.
    pub interval: Millis,
    /// Whether it makes blocks from the start, when it leads.
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
    /// Waiting for the ledger to take the block, which was checked if it was made just now.
    Submitting(SignedBlock, Option<Arc<CheckedBlock>>),
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

/// The metronome.
#[derive(Debug)]
pub struct Metronome {
    key: Arc<SecretKey>,
    signed: Arc<LastSigned>,
    epoch: u64,
    interval: Millis,
    running: bool,
    standing: Standing,
    /// Where the one that leads is reached, as far as that is known.
    leader: Option<String>,
    replica: Replica,
    phase: Phase,
    /// The round that takes proofs: the ledger's next one, or the one after while the block of
    /// that is under way.
    open: Option<Candidates>,
    /// The round whose block is under way.
    closed: Option<Candidates>,
    /// A round that was open ahead of the ledger. Its proofs count if the same round opens again.
    dropped: Option<Candidates>,
    /// A block of which the ledger said that it has it, and which was not seen there yet.
    unseen: Option<BlockHash>,
    validators: BTreeMap<(Miner, ProofKind), Validator>,
    left_out: Vec<LeftOut>,
    last_tick: Millis,
    wake_at: Millis,
    fault: Option<String>,
    /// When it last did what it is there for: made a block, or followed one that does.
    well_at: Millis,
}

impl Metronome {
    /// A metronome for a chain, which signs no block of a height that is in `signed`. It is the
    /// only one unless it is told to stand by or to lead.
    pub fn new(chain: Chain, settings: Settings, signed: LastSigned) -> Self {
        let Settings { key, epoch, interval, running } = settings;
        Self {
            key: Arc::new(key),
            signed: Arc::new(signed),
            epoch,
            interval,
            running,
            standing: Standing::Alone,
            leader: None,
            replica: Replica::new(chain),
            phase: Phase::Following,
            open: None,
            closed: None,
            dropped: None,
            unseen: None,
            validators: BTreeMap::new(),
            left_out: Vec::new(),
            last_tick: Millis(0),
            wake_at: Millis(0),
            fault: None,
            well_at: Millis(0),
        }
    }

    /// The replica of the ledger's state.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The record of the block it signed last.
    pub fn signed(&self) -> &LastSigned {
        &self.signed
    }

    /// What went wrong last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Transactions the last draft had to leave out, and why.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Makes blocks from now on, when it leads.
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

    /// The best proofs for the open round, in the order of engines.
    pub fn proofs(&self) -> Vec<ProofEntry> {
        self.open_candidates().map(Candidates::proofs).unwrap_or_default()
    }

    fn open_candidates(&self) -> Option<&Candidates> {
        // Whoever else leads takes what is handed in here.
        self.open.as_ref().filter(|_| self.running || self.is_standing_by())
    }

    /// Whether it runs, and which validators it hears from.
    pub fn status(&self, now: Millis) -> Status {
        Status {
            running: self.running,
            leading: self.leads(now),
            epoch: self.epoch,
            leader: self.leader.clone(),
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

    /// Goes on where the ledger is: with the block signed for its next height, if there is one.
    fn go_on(&mut self, now: Millis) {
        if !self.leads(now) {
            return self.watch(now);
        }
        if let Some(signed) = self.strayed() {
            self.phase = Phase::Following;
            return self.fail(now, self.behind(signed));
        }
        let next = self.replica.next_height();
        match self.signed.last().filter(|kept| kept.height == next) {
            Some(kept) => {
                if self.unseen == Some(kept.hash) {
                    self.fail(
                        now,
                        format!("the ledger accepted block {next} and does not have it"),
                    );
                }
                self.phase = Phase::Submitting(kept, None);
            }
            None => self.open(now),
        }
    }

    /// The ledger was put back, or has other blocks: it misses some that this metronome signed, and
    /// none of their heights is signed a second time.
    fn behind(&self, signed: Height) -> String {
        let next = self.replica.next_height();
        format!(
            "block {signed} was signed here and does not follow the ledger, which waits for block \
             {next}: give it the blocks it lost, or take the record of signed blocks away if it \
             was put back on purpose"
        )
    }

    /// Opens the ledger's next round; one that is open already, or whose block the ledger did not
    /// take, goes on with its proofs.
    fn open(&mut self, now: Millis) {
        self.phase = Phase::Open;
        if self.unseen.take().is_some() {
            self.fault = None;
        }
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
            signed: self.signed.clone(),
            transactions,
            proofs: self.closed.as_ref().map(Candidates::proofs).unwrap_or_default(),
            time: now,
            epoch: self.epoch,
        }))))
    }

    fn take_draft(&mut self, now: Millis, drafted: Result<Draft, DraftError>) {
        match drafted {
            Ok(Draft { block, kept, left_out }) => {
                self.left_out = left_out;
                self.phase = Phase::Submitting(kept, Some(block));
            }
            Err(error) => {
                self.fail(now, error.to_string());
                // What was handed in counts when the same round is closed again.
                self.drop_ahead();
                if let DraftError::Block(_) = error {
                    (self.closed, self.dropped) = (None, None);
                }
            }
        }
    }

    fn settle(
        &mut self,
        now: Millis,
        answer: Result<Answer, Lost>,
        kept: SignedBlock,
        block: Option<Arc<CheckedBlock>>,
    ) {
        let unsettled = match answer {
            Ok(Answer::BlockAccepted(accepted)) if accepted.hash == kept.hash => {
                return self.accepted(now, &kept, block.as_deref());
            }
            Ok(Answer::Refused(refusal)) => {
                self.heed_refusal(&refusal);
                self.fail(now, format!("the ledger refused block {}: {refusal}", kept.height));
                return self.drop_ahead();
            }
            Ok(_) => "the blockchain server answered another question".into(),
            Err(lost) => lost.to_string(),
        };
        // It may or may not have been taken: the same block again settles it.
        self.fail(now, unsettled);
        self.phase = Phase::Submitting(kept, block);
    }

    /// The ledger has the block; one that was not checked here is followed like any other.
    fn accepted(&mut self, now: Millis, kept: &SignedBlock, block: Option<&CheckedBlock>) {
        if let Some(Ok(())) = block.map(|block| self.replica.apply(block)) {
            (self.fault, self.well_at) = (None, now);
            return self.open(now);
        }
        if self.unseen.replace(kept.hash) != Some(kept.hash) {
            self.fault = None;
        }
        self.drop_ahead();
    }

    /// The block was not taken: the ledger is looked at before any round goes on.
    fn drop_ahead(&mut self) {
        self.dropped = self.open.take().or_else(|| self.dropped.take());
        self.phase = Phase::Following;
    }

    fn follow(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        let received = match answer {
            Ok(answer) => self.replica.receive(answer).map_err(|error| error.to_string()),
            Err(lost) => Err(lost.to_string()),
        };
        match received {
            // Nobody has the blocks that come next: a snapshot is asked for, as at the start.
            Ok(()) if self.replica.is_fresh() && self.replica.is_idle() => {
                self.wake_at = now.plus(RETRY_PAUSE);
            }
            Ok(()) if self.replica.is_idle() => self.go_on(now),
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
        let leads = self.leads(now);
        match &mut self.phase {
            Phase::Following => match self.replica.work() {
                Some(work) => Next::Work(work),
                None => Next::Call(self.replica.call(self.patience(now))),
            },
            // It leads no more: whoever does closes the round.
            Phase::Open if !leads => {
                self.phase = Phase::Following;
                self.next(now)
            }
            Phase::Taking | Phase::Taken(_) if !leads => {
                self.drop_ahead();
                self.next(now)
            }
            Phase::Open => self.next_open(now),
            Phase::Taken(transactions) => {
                let transactions = std::mem::take(transactions);
                self.draft(now, transactions)
            }
            Phase::Taking => Next::Call(Call::Take(self.replica.next_height())),
            // Whoever asks while a draft is to come has lost it: what was signed is on disk.
            Phase::Drafting => {
                self.drop_ahead();
                self.next(now)
            }
            Phase::Submitting(kept, _) => Next::Call(Call::SubmitBlock(kept.bytes.clone())),
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
            Phase::Submitting(kept, block) => self.settle(now, answer, kept, block),
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
