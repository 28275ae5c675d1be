//! What a metronome tells of itself, of its round and of its validators.

use serde::{Deserialize, Serialize};

use crate::{
    hash::Digest,
    proof::{ENGINE_COUNT, Footprint, Miner, ProofKind},
    units::{Height, Millis, Target},
};

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
    /// Whether it makes blocks, when it leads.
    pub running: bool,
    /// Whether it leads: the only one always does.
    #[serde(default)]
    pub leading: bool,
    /// The number of its lease; 0 if it never held one.
    #[serde(default)]
    pub epoch: u64,
    /// Where the one that leads is reached, if there are several.
    #[serde(default)]
    pub leader: Option<String>,
    /// The round that is open, if one is.
    pub round: Option<OpenRound>,
    /// Planned time between blocks.
    pub interval: Millis,
    /// Validators in order of miner and engine.
    pub validators: Vec<Validator>,
    /// What went wrong last, if it is not mended.
    pub fault: Option<String>,
}
