//! One look at the whole network, as figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Gathering, ServerRow, ValidatorRow, Validators, bounded, servers};
use crate::{
    mempool::Latency,
    proof::{ENGINES, ProofKind},
    units::{Amount, Height, Millis, Target},
};

/// A figure of each engine; nothing where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByEngine(pub BTreeMap<ProofKind, Option<f64>>);

/// How long transactions took that were confirmed since the sample before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// How many there were.
    pub count: u64,
    /// Half of them took at most this, within a quarter.
    pub p50: Millis,
    /// Nine of ten took at most this, within a quarter.
    pub p90: Millis,
    /// All of them took at most this, within a quarter.
    pub max: Millis,
}

/// The round that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundFigures {
    /// Height of its block.
    pub height: Height,
    /// Time until the tick.
    pub closes_in: Millis,
}

/// What there is to plot. Whatever a role did not say is missing, not old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When the roles had been asked.
    pub time: Millis,
    /// Height of the tip.
    pub height: Option<Height>,
    /// Height up to which two blockchain servers have every block.
    #[serde(default)]
    pub final_height: Option<Height>,
    /// Time of the tip.
    pub tip_time: Option<Millis>,
    /// Planned time between blocks, as the metronome said last.
    pub interval: Option<Millis>,
    /// Transactions on the ledger.
    pub transactions: Option<u64>,
    /// Transactions that the pool has taken since its start.
    pub submitted_total: Option<u64>,
    /// Transactions waiting in the pool.
    pub pool_submitted: Option<u64>,
    /// Transactions handed out for a block that is not on the ledger yet.
    pub pool_unconfirmed: Option<u64>,
    /// Bytes of both together.
    pub pool_bytes: Option<u64>,
    /// Rejections since the pool's start.
    pub rejected_total: Option<u64>,
    /// Transactions expired since the pool's start.
    pub expired_total: Option<u64>,
    /// From submission to confirmation.
    pub latency: Option<LatencyFigures>,
    /// Accounts that are not empty.
    pub accounts: Option<u64>,
    /// Coins in being.
    pub supply: Option<Amount>,
    /// Whether the balances added up to the coins issued when they were counted last.
    pub supply_ok: Option<bool>,
    /// Expected tries for a proof, by engine.
    pub difficulty: Option<ByEngine>,
    /// Seconds that validators spent on the last round they reported, by engine.
    pub proof_seconds: ByEngine,
    /// The open round.
    pub round: Option<RoundFigures>,
    /// Validators heard of lately.
    pub validators_alive: u64,
    /// Who does not answer, lags behind or complains, and of what.
    pub faults: Vec<String>,
}

/// One look, with the validators and servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Validators that are or lately were there.
    pub validators: Vec<ValidatorRow>,
    /// Each server of every role, where one has several; nothing otherwise.
    #[serde(default)]
    pub servers: Vec<ServerRow>,
}

/// Blocks that a pool may be behind the ledger before that is a fault.
const LAG_MAX: u64 = 3;

/// What has to be known of the sample before.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    latency: Option<Latency>,
    interval: Option<Millis>,
}

impl Gauge {
    pub(super) fn sample(
        &mut self,
        gathered: &Gathering,
        validators: &Validators,
        rows: Vec<ValidatorRow>,
    ) -> Sample {
        let report = &gathered.report;
        let (chain, pool, status) = (&report.chain, &report.pool, &report.metronome);
        let (chain, pool, now) = (chain.as_ref(), pool.as_ref(), report.time);
        self.interval = status.as_ref().map(|status| status.interval).or(self.interval);
        let round = status.as_ref().and_then(|status| status.round.as_ref());
        let height = chain.and_then(|chain| chain.height);
        let seconds = |kind| validators.proof_time(kind, now).map(|millis| millis / 1000.0);
        let audit = gathered.audit.as_ref().filter(|_| chain.is_some());
        let figures = Figures {
            time: now,
            height,
            final_height: chain.and_then(|chain| chain.final_height),
            tip_time: chain.filter(|_| height.is_some()).map(|chain| chain.time),
            interval: self.interval,
            transactions: chain.map(|chain| chain.transactions),
            submitted_total: pool.map(|pool| pool.added),
            pool_submitted: pool.map(|pool| pool.submitted),
            pool_unconfirmed: pool.map(|pool| pool.unconfirmed),
            pool_bytes: pool.map(|pool| pool.bytes),
            rejected_total: pool.map(|pool| pool.rejected),
            expired_total: pool.map(|pool| pool.expired),
            latency: self.latency(gathered),
            accounts: chain.map(|chain| chain.accounts),
            supply: chain.map(|chain| chain.supply),
            supply_ok: audit.map(|audit| audit.holds),
            difficulty: chain.map(|chain| difficulty(&chain.targets)),
            proof_seconds: ByEngine(ENGINES.iter().map(|e| (e.kind, seconds(e.kind))).collect()),
            round: round.map(|r| RoundFigures { height: r.height, closes_in: r.closes_in }),
            validators_alive: validators.alive_count(now),
            faults: faults(gathered),
        };
        Sample { figures, validators: rows, servers: report.servers.clone() }
    }

    /// Of what was confirmed since the sample before.
    fn latency(&mut self, gathered: &Gathering) -> Option<LatencyFigures> {
        let now = &gathered.activity.as_ref()?.latency;
        let before = self.latency.replace(now.clone())?;
        let between = now.since(&before);
        Some(LatencyFigures {
            count: between.count(),
            p50: between.quantile(0.5)?,
            p90: between.quantile(0.9)?,
            max: between.quantile(1.0)?,
        })
    }
}

/// 2^64 divided by the target, the chance of a try.
#[allow(clippy::cast_precision_loss, reason = "a figure for people, not for a rule")]
fn difficulty(targets: &[Target]) -> ByEngine {
    let tries = |target: &Target| (u64::MAX as f64 + 1.0) / (target.0 as f64 + 1.0);
    ByEngine(ENGINES.iter().zip(targets).map(|(e, target)| (e.kind, Some(tries(target)))).collect())
}

/// Silence, and what those who answered complain of.
fn faults(gathered: &Gathering) -> Vec<String> {
    let mut faults = gathered.report.faults.clone();
    faults.extend(servers::faults(&gathered.report.servers));
    let metronome = gathered.report.metronome.as_ref();
    if let Some(fault) = metronome.and_then(|status| status.fault.as_ref()) {
        faults.push(bounded(format!("metronome: {fault}")));
    }
    if metronome.is_some_and(|status| !status.running) {
        faults.push("metronome: it is stopped and makes no blocks".into());
    }
    let Some(activity) = &gathered.activity else { return faults };
    let tip = gathered.report.chain.as_ref().and_then(|chain| chain.height);
    let count = |height: Option<Height>| height.map_or(0, |height| height.next().0);
    let behind = count(tip).saturating_sub(count(activity.height));
    if let Some(fault) = &activity.fault {
        faults.push(bounded(format!("pool: {fault}")));
    } else if behind > LAG_MAX {
        faults.push(format!("pool: it is {behind} blocks behind the ledger"));
    }
    if gathered.audit.is_some_and(|audit| !audit.holds) {
        faults.push("blockchain: the balances do not add up to the coins issued".into());
    }
    faults
}
