//! What the monitor tells, as far as it is shown; fields that are missing are not known.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::feed::News;

/// Samples that are kept: as many as the widest chart shows.
const SAMPLES_MAX: usize = 600;
const BLOCKS_MAX: usize = 60;
const RECENT_MAX: usize = 50;

/// How the network stood at one time; times are in ms since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) time: u64,
    pub(super) height: Option<u64>,
    /// Up to here two blockchain servers have every block.
    pub(super) final_height: Option<u64>,
    pub(super) tip_time: Option<u64>,
    /// Planned time of a block, in ms.
    pub(super) interval: Option<u64>,
    /// On the ledger.
    pub(super) transactions: Option<u64>,
    pub(super) submitted_total: Option<u64>,
    pub(super) pool_submitted: Option<u64>,
    pub(super) pool_unconfirmed: Option<u64>,
    pub(super) latency: Option<Latency>,
    pub(super) accounts: Option<u64>,
    pub(super) supply: Option<String>,
    pub(super) supply_ok: Option<bool>,
    pub(super) round: Option<Round>,
    pub(super) validators_alive: u64,
    pub(super) validators: Vec<Validator>,
    pub(super) faults: Vec<String>,
}

/// From submitted to confirmed, in ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) max: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Round {
    pub(super) height: u64,
    /// In ms from the time of the sample.
    pub(super) closes_in: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Validator {
    pub(super) fingerprint: String,
    pub(super) proof: String,
    pub(super) won: u64,
    pub(super) share: f64,
    /// Tries a second.
    pub(super) rate: f64,
    pub(super) ram_bytes: u64,
    pub(super) disk_bytes: u64,
    pub(super) last_seen: u64,
    pub(super) alive: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Block {
    pub(super) height: u64,
    pub(super) transactions: u64,
    /// The engine that won.
    pub(super) winner: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) amount: String,
    pub(super) payments: u64,
    pub(super) state: String,
    pub(super) height: Option<u64>,
}

/// All that a monitor knows, oldest samples and newest blocks first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    /// Not known until the ledger has answered once.
    pub(super) network: Option<String>,
    /// Of the last event that is in it.
    pub(super) id: String,
    pub(super) samples: Vec<Sample>,
    pub(super) now: Option<Sample>,
    pub(super) blocks: Vec<Block>,
    pub(super) recent: Vec<Transaction>,
}

/// What is shown.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct State {
    pub(super) network: String,
    #[serde(skip)]
    pub(super) id: String,
    #[serde(skip)]
    pub(super) samples: VecDeque<Sample>,
    pub(super) now: Option<Sample>,
    pub(super) blocks: Vec<Block>,
    pub(super) recent: Vec<Transaction>,
    /// Why nothing is heard of the monitor, if nothing is.
    pub(super) lost: Option<String>,
}

impl State {
    pub(super) fn of(history: History) -> Self {
        let History { network, id, samples, now, blocks, recent } = history;
        let network = network.unwrap_or_else(|| "unknown network".to_owned());
        let skipped = samples.len().saturating_sub(SAMPLES_MAX);
        let samples = samples.into_iter().skip(skipped).collect();
        Self { network, id, samples, now, blocks, recent, lost: None }
    }

    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Lost(reason) => self.lost = Some(reason),
            News::Back => self.lost = None,
            News::History(history) => *self = Self::of(*history),
            News::Sample(sample) => {
                self.lost = None;
                self.samples.push_back(Sample { validators: Vec::new(), ..(*sample).clone() });
                let surplus = self.samples.len().saturating_sub(SAMPLES_MAX);
                self.samples.drain(..surplus);
                self.now = Some(*sample);
            }
            News::Block(block) => {
                self.blocks.retain(|known| known.height != block.height);
                self.blocks.insert(0, block);
                self.blocks.truncate(BLOCKS_MAX);
            }
            News::Recent(rows) => {
                self.recent.retain(|known| rows.iter().all(|row| row.id != known.id));
                self.recent.splice(0..0, rows);
                self.recent.truncate(RECENT_MAX);
            }
        }
    }

    /// Events a second between neighbouring samples of a total, as far as it was known.
    pub(super) fn rates(&self, total: fn(&Sample) -> Option<u64>) -> Vec<Option<f64>> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let rate = |(before, after): (&Sample, &Sample)| {
            let count = total(after)?.checked_sub(total(before)?)?;
            let ms = after.time.checked_sub(before.time).filter(|ms| *ms > 0)?;
            Some(number(count) * 1000.0 / number(ms))
        };
        pairs.map(rate).collect()
    }
}

/// A count for a chart.
#[allow(clippy::cast_precision_loss, reason = "a chart has eight levels")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}
