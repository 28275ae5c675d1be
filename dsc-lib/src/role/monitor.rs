//! The monitor: asks every role how it stands and sums it up.
//!
//! # Invariants
//!
//! 1. A role that does not answer is shown as such; its last figures are not passed off as new.

use serde::{Deserialize, Serialize};

use super::{Active, Answer, Call, Lost, Next, blockchain, metronome};
use crate::{mempool, units::Millis};

/// What the roles said last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When this round of questions ended.
    pub time: Millis,
    /// The ledger, if the blockchain server answered.
    pub chain: Option<blockchain::Info>,
    /// The pool's holdings, if it answered.
    pub pool: Option<mempool::Counts>,
    /// The metronome and the validators it hears from, if it answered.
    pub metronome: Option<metronome::Status>,
    /// Who did not answer, and why.
    pub faults: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Chain,
    Pool,
    Metronome,
}

impl Phase {
    const fn role(self) -> &'static str {
        match self {
            Self::Chain => "blockchain",
            Self::Pool => "pool",
            Self::Metronome => "metronome",
        }
    }
}

/// The monitor.
#[derive(Debug)]
pub struct Monitor {
    interval: Millis,
    phase: Phase,
    wake_at: Millis,
    gathering: Report,
    report: Option<Report>,
}

impl Monitor {
    /// A monitor that asks everybody once in `interval`.
    pub fn new(interval: Millis) -> Self {
        let (phase, wake_at) = (Phase::Chain, Millis(0));
        Self { interval, phase, wake_at, gathering: Report::default(), report: None }
    }

    /// The last complete round of questions.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    fn note(&mut self, answer: Result<Answer, Lost>) {
        match (self.phase, answer) {
            (Phase::Chain, Ok(Answer::ChainInfo(info))) => self.gathering.chain = Some(*info),
            (Phase::Pool, Ok(Answer::PoolCounts(counts))) => self.gathering.pool = Some(counts),
            (Phase::Metronome, Ok(Answer::MetronomeStatus(status))) => {
                self.gathering.metronome = Some(*status);
            }
            (phase, Err(lost)) => {
                self.gathering.faults.push(format!("{}: {}", phase.role(), lost.reason));
            }
            (phase, Ok(_)) => {
                self.gathering.faults.push(format!("{} answered another question", phase.role()));
            }
        }
    }

    fn finish(&mut self, now: Millis) {
        let gathered = std::mem::take(&mut self.gathering);
        self.report = Some(Report { time: now, ..gathered });
        self.wake_at = now.plus(self.interval);
    }
}

impl Active for Monitor {
    fn next(&mut self, now: Millis) -> Next {
        if now < self.wake_at {
            return Next::Wait(self.wake_at);
        }
        Next::Call(match self.phase {
            Phase::Chain => Call::ChainInfo,
            Phase::Pool => Call::PoolCounts,
            Phase::Metronome => Call::MetronomeStatus,
        })
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        self.note(answer);
        self.phase = match self.phase {
            Phase::Chain => Phase::Pool,
            Phase::Pool => Phase::Metronome,
            Phase::Metronome => {
                self.finish(now);
                Phase::Chain
            }
        };
    }
}
