//! The monitor: asks every role how it stands, sums it up, and remembers an hour of it.
//!
//! # Invariants
//!
//! 1. A role that does not answer is shown as such; its last figures are not passed off as new.
//! 2. What is remembered is bounded, whatever the roles say: see [`History`].

mod history;
mod sample;
mod servers;
mod validators;

use serde::{Deserialize, Serialize};

pub use self::{
    history::{
        BLOCKS_MAX, BlockRow, EVENTS_MAX, Event, EventId, History, ParseEventIdError, Payload,
        RECENT_MAX, Row, SAMPLES_MAX,
    },
    sample::{ByEngine, Figures, LatencyFigures, RoundFigures, Sample},
    servers::ServerRow,
    validators::{TRACKED_MAX, VALIDATORS_MAX, ValidatorRow},
};
use self::{sample::Gauge, servers::Servers, validators::Validators};
use super::{
    Active, Answer, Call, Lost, Next,
    blockchain::{self, Audit, Summary},
    metronome,
    pool::Activity,
};
use crate::{
    mempool,
    units::{Height, Millis},
};

/// Bytes of a fault that are kept.
const FAULT_BYTES_MAX: usize = 400;

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
    /// Each server of every role, where one has several; nothing otherwise.
    #[serde(default)]
    pub servers: Vec<ServerRow>,
}

/// What the roles have said in a round of questions.
#[derive(Debug, Default)]
struct Gathering {
    report: Report,
    summaries: Vec<Summary>,
    audit: Option<Audit>,
    activity: Option<Activity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Chain,
    Summaries,
    Audit,
    Pool,
    Metronome,
}

impl Phase {
    const fn role(self) -> &'static str {
        match self {
            Self::Chain | Self::Summaries | Self::Audit => "blockchain",
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
    /// When the round of questions under way began.
    began: Option<Millis>,
    gathering: Gathering,
    report: Option<Report>,
    gauge: Gauge,
    validators: Validators,
    servers: Servers,
    /// What metronomes that are asked for themselves heard since the last round of questions.
    overheard: Vec<metronome::Validator>,
    history: History,
}

impl Monitor {
    /// A monitor that asks everybody once in `interval`.
    pub fn new(interval: Millis) -> Self {
        Self {
            interval,
            phase: Phase::Chain,
            wake_at: Millis(0),
            began: None,
            gathering: Gathering::default(),
            report: None,
            gauge: Gauge::default(),
            validators: Validators::default(),
            servers: Servers::default(),
            overheard: Vec::new(),
            history: History::default(),
        }
    }

    /// The last complete round of questions.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// What was found in the last hour.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes what the server at `place` among all servers says of itself, or why it says nothing. Of
    /// roles that have one server each nobody is heard this way.
    pub fn hear(&mut self, place: usize, row: ServerRow) {
        self.servers.hear(place, row);
    }

    /// Takes which validators one of several metronomes hears from.
    pub fn overhear(&mut self, validators: Vec<metronome::Validator>) {
        let room = TRACKED_MAX.saturating_sub(self.overheard.len());
        self.overheard.extend(validators.into_iter().take(room));
    }

    /// Every server that was heard, as it stands now.
    pub fn servers(&self) -> Vec<ServerRow> {
        self.servers.rows()
    }

    fn note(&mut self, answer: Result<Answer, Lost>) {
        let gathering = &mut self.gathering;
        match (self.phase, answer) {
            (Phase::Chain, Ok(Answer::ChainInfo(info))) => gathering.report.chain = Some(*info),
            (Phase::Summaries, Ok(Answer::Summaries(all))) => gathering.summaries = all,
            (Phase::Audit, Ok(Answer::Audit(audit))) => gathering.audit = audit,
            (Phase::Pool, Ok(Answer::PoolActivity(activity))) => {
                gathering.report.pool = Some(activity.counts);
                gathering.activity = Some(*activity);
            }
            (Phase::Metronome, Ok(Answer::MetronomeStatus(status))) => {
                gathering.report.metronome = Some(*status);
            }
            (phase, Ok(Answer::Refused(refusal))) => {
                gathering.fault(format!("{}: {refusal}", phase.role()));
            }
            (phase, Err(lost)) => gathering.fault(format!("{}: {}", phase.role(), lost.reason)),
            (phase, Ok(_)) => {
                gathering.fault(format!("{} answered another question", phase.role()));
            }
        }
    }

    /// The question after this one: of a server that did not answer one, no other is asked.
    fn next_phase(&self) -> Option<Phase> {
        let has_chain = self.gathering.report.chain.is_some();
        match self.phase {
            Phase::Chain if self.missing().is_some() => Some(Phase::Summaries),
            Phase::Chain | Phase::Summaries if has_chain => Some(Phase::Audit),
            Phase::Chain | Phase::Summaries | Phase::Audit => Some(Phase::Pool),
            Phase::Pool => Some(Phase::Metronome),
            Phase::Metronome => None,
        }
    }

    /// The blocks to ask for: those that are new, but no more than are shown.
    fn missing(&self) -> Option<Call> {
        let chain = self.gathering.report.chain.as_ref()?;
        let tip = chain.height?;
        let known = self.history.tip().filter(|_| self.history.is_of(chain));
        let new = known.map_or(u64::MAX, |(height, hash)| match tip.0.checked_sub(height.0) {
            Some(0) if chain.tip != hash => u64::MAX,
            Some(new) => new,
            // The ledger was put back.
            None => u64::MAX,
        });
        let max = usize::try_from(new).unwrap_or(usize::MAX).min(BLOCKS_MAX);
        (max > 0).then_some(Call::Summaries { before: tip.next(), max })
    }

    fn finish(&mut self, now: Millis) {
        let mut gathered = std::mem::take(&mut self.gathering);
        gathered.report.time = now;
        gathered.report.servers = self.servers.rows();
        if let Some(chain) = &gathered.report.chain {
            self.history.follow(chain, now, self.servers.are_several());
        }
        let overheard = std::mem::take(&mut self.overheard);
        let of_several = self.servers.are_several().then_some(&overheard[..]);
        self.validators.follow(&gathered.report, of_several);
        let rows = self.validators.rows(now, self.history.prefix());
        let sample = self.gauge.sample(&gathered, &self.validators, rows);
        let recent = gathered.activity.map(|activity| activity.recent).unwrap_or_default();
        self.history.add(sample, gathered.summaries, &recent);
        self.report = Some(gathered.report);
        let began = self.began.take().unwrap_or(now);
        self.wake_at = began.plus(self.interval).max(now);
    }
}

impl Gathering {
    fn fault(&mut self, fault: String) {
        self.report.faults.push(bounded(fault));
    }
}

/// As much of a fault as is kept: others may say whatever they like.
fn bounded(mut fault: String) -> String {
    let end = (0..=FAULT_BYTES_MAX).rev().find(|&end| fault.is_char_boundary(end));
    fault.truncate(end.unwrap_or(0));
    fault
}

impl Active for Monitor {
    fn next(&mut self, now: Millis) -> Next {
        if now < self.wake_at {
            return Next::Wait(self.wake_at);
        }
        self.began.get_or_insert(now);
        Next::Call(match self.phase {
            Phase::Chain => Call::ChainInfo,
            Phase::Summaries => {
                let nothing = Call::Summaries { before: Height(0), max: 0 };
                self.missing().unwrap_or(nothing)
            }
            Phase::Audit => Call::Audit,
            Phase::Pool => Call::PoolActivity,
            Phase::Metronome => Call::MetronomeStatus,
        })
    }

    fn answer(&mut self, now: Millis, answer: Result<Answer, Lost>) {
        self.note(answer);
        self.phase = self.next_phase().unwrap_or_else(|| {
            self.finish(now);
            Phase::Chain
        });
    }
}

#[cfg(test)]
mod tests;
