//! The validator: waits for a round, proves, and hands in what it found.
//!
//! # Invariants
//!
//! 1. It answers a round at most once, and never one it has answered. Another challenge at the same
//!    height is another round: the block before it was not the one that was expected.
//! 2. A hand-in whose answer was lost is repeated until the round is over.
//!
//! The prover itself stays with the caller: [`Step::Prove`] says what to prove and for how long,
//! and [`Validator::proved`] takes what came of it.

use super::{Answer, Call, HandIn, Lost, Refusal, metronome};
use crate::{
    hash::Digest,
    proof::{Attempt, Challenge, Footprint, Miner, ProofKind},
    units::{Height, Millis, Target},
};

/// How long a question for the next round may stay open.
const ROUND_WAIT: Millis = Millis(10_000);
/// Pause between questions when there is no new round.
const ASK_PAUSE: Millis = Millis(50);
/// Pause after a lost or unusable answer.
const RETRY_PAUSE: Millis = Millis(250);
/// Most time kept back from proving for handing in.
const HAND_IN_MAX: Millis = Millis(200);

/// What a validator does next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Make this call and hand the answer back.
    Call(Call),
    /// Prove this and hand the attempt back.
    Prove(Job),
    /// Nothing before this time.
    Wait(Millis),
}

/// What to prove, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The round.
    pub height: Height,
    /// What the proof answers.
    pub challenge: Challenge,
    /// What it must meet.
    pub target: Target,
    /// How long proving may take.
    pub time: Millis,
}

/// What a validator has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rounds proved for.
    pub rounds: u64,
    /// Tries made.
    pub attempts: u64,
    /// Proofs found.
    pub proofs: u64,
    /// Proofs that were the best of their engine when handed in.
    pub best: u64,
    /// Hand-ins refused.
    pub refused: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Asking,
    Proving { job: Job, closes_at: Millis },
    HandingIn { hand_in: HandIn, closes_at: Millis },
}

/// The validator.
#[derive(Debug)]
pub struct Validator {
    miner: Miner,
    kind: ProofKind,
    phase: Phase,
    /// The round answered last, and what it asked.
    last: Option<(Height, Digest)>,
    wake_at: Millis,
    tally: Tally,
    fault: Option<String>,
}

impl Validator {
    /// A validator for one miner and engine.
    pub fn new(miner: Miner, kind: ProofKind) -> Self {
        Self {
            miner,
            kind,
            phase: Phase::Asking,
            last: None,
            wake_at: Millis(0),
            tally: Tally::default(),
            fault: None,
        }
    }

    /// Whose proofs it makes.
    pub fn miner(&self) -> &Miner {
        &self.miner
    }

    /// The engine it proves with.
    pub fn kind(&self) -> ProofKind {
        self.kind
    }

    /// What it has done since it started.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What went wrong last, if it is not mended.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What to do at time `now`.
    pub fn next(&mut self, now: Millis) -> Step {
        if now < self.wake_at {
            return Step::Wait(self.wake_at);
        }
        match &self.phase {
            Phase::Asking => {
                let (after, challenge) = self.last.unzip();
                Step::Call(Call::Round { after, challenge, wait: ROUND_WAIT })
            }
            Phase::Proving { job, .. } => Step::Prove(*job),
            Phase::HandingIn { hand_in, .. } => Step::Call(Call::HandIn(hand_in.clone())),
        }
    }

    /// Takes the answer to the call that [`Validator::next`] asked for last.
    pub fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        match (&self.phase, answer) {
            (Phase::Asking, Ok(Answer::Round(round))) => self.take_round(now, round.as_ref()),
            (Phase::HandingIn { .. }, Ok(Answer::HandedIn(receipt))) => self.handed_in(receipt),
            (_, Ok(Answer::Refused(refusal))) => self.refused(now, &refusal),
            (_, Ok(_)) => self.fail(now, "the metronome answered another question".into()),
            (_, Err(lost)) => self.fail(now, lost.to_string()),
        }
    }

    fn take_round(&mut self, now: Millis, round: Option<&metronome::OpenRound>) {
        self.fault = None;
        let target = round.and_then(|r| r.targets.get(usize::from(self.kind.index())));
        let (Some(round), Some(&target)) = (round, target) else {
            self.wake_at = now.plus(ASK_PAUSE);
            return;
        };
        let asked = (round.height, round.challenge);
        if Some(asked) == self.last {
            self.wake_at = now.plus(ASK_PAUSE);
            return;
        }
        let reserve = Millis((round.closes_in.0 >> 2).min(HAND_IN_MAX.0));
        let job = Job {
            height: round.height,
            challenge: Challenge(round.challenge),
            target,
            time: round.closes_in.since(reserve),
        };
        self.last = Some(asked);
        self.phase = Phase::Proving { job, closes_at: now.plus(round.closes_in) };
    }

    /// Takes what came of the job that [`Validator::next`] asked for last.
    pub fn proved(&mut self, spent: Millis, attempt: Attempt, footprint: Footprint) {
        let Phase::Proving { job, closes_at } = &self.phase else { return };
        let closes_at = *closes_at;
        let proof = attempt.best.map(|(proof, _)| proof);
        self.tally.rounds = self.tally.rounds.saturating_add(1);
        self.tally.attempts = self.tally.attempts.saturating_add(attempt.attempts);
        self.tally.proofs = self.tally.proofs.saturating_add(proof.is_some().into());
        let (height, miner, kind) = (job.height, self.miner, self.kind);
        let attempts = attempt.attempts;
        let hand_in = HandIn { height, miner, kind, attempts, spent, footprint, proof };
        self.phase = Phase::HandingIn { hand_in, closes_at };
    }

    /// Gives a round up that could not be proved for; it is this node's fault, not the round's.
    pub fn give_up(&mut self, now: Millis, reason: &str) {
        self.phase = Phase::Asking;
        self.fail(now, reason.to_owned());
    }

    fn handed_in(&mut self, receipt: metronome::Receipt) {
        self.fault = None;
        let best = receipt == metronome::Receipt::Best;
        self.tally.best = self.tally.best.saturating_add(best.into());
        self.phase = Phase::Asking;
    }

    fn refused(&mut self, now: Millis, refusal: &Refusal) {
        self.tally.refused = self.tally.refused.saturating_add(1);
        self.phase = Phase::Asking;
        self.fail(now, refusal.to_string());
    }

    fn fail(&mut self, now: Millis, fault: String) {
        self.fault = Some(fault);
        self.wake_at = now.plus(RETRY_PAUSE);
        if matches!(&self.phase, Phase::HandingIn { closes_at, .. } if now >= *closes_at) {
            self.phase = Phase::Asking;
        }
    }
}
