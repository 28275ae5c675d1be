//! The validators that a metronome hears from, and those it heard from lately.
//!
//! # Invariants
//!
//! 1. Whether one is alive depends on this machine's clock: on when a newer report of it was seen.
//! 2. At most [`TRACKED_MAX`] are remembered, none that was silent for an hour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::{
    address::Prefix,
    ledger::Wins,
    proof::{Fingerprint, Miner, ProofKind},
    role::metronome::Validator,
    units::Millis,
};

/// Most validators remembered.
pub const TRACKED_MAX: usize = 2048;
/// Most validators shown, best first.
pub const VALIDATORS_MAX: usize = 128;
/// A silent validator is forgotten after this time.
const FORGET_AFTER: Millis = Millis(3_600_000);
/// One is taken for gone after as many planned block times, and not before [`SILENT_MIN`].
const SILENT_ROUNDS: u64 = 3;
const SILENT_MIN: Millis = Millis(5_000);

/// A validator as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidatorRow {
    /// Which of its owner's validators it is.
    pub fingerprint: Fingerprint,
    /// Whose account is paid, in Bech32m.
    pub address: String,
    /// With which engine.
    pub proof: ProofKind,
    /// Blocks won.
    pub won: u64,
    /// Of all blocks that anybody won, 0 to 1.
    pub share: f64,
    /// Tries in a second, in its last report.
    pub rate: f64,
    /// Bytes that its prover holds in RAM.
    pub ram_bytes: u64,
    /// Bytes that its prover holds on disk.
    pub disk_bytes: u64,
    /// When the metronome heard of it last, by the metronome's clock.
    pub last_seen: Millis,
    /// Whether it was heard of lately.
    pub alive: bool,
}

#[derive(Debug)]
struct Tracked {
    last: Validator,
    /// When this report was seen first, by this machine's clock.
    heard: Millis,
}

/// Everybody who is or lately was there.
#[derive(Debug, Default)]
pub(super) struct Validators {
    tracked: BTreeMap<(ProofKind, Miner), Tracked>,
    wins: Wins,
    window: Millis,
}

impl Validators {
    /// Takes what the roles said, and of several metronomes each one heard; what they did not say
    /// stays as it was.
    pub(super) fn follow(&mut self, report: &Report, of_several: Option<&[Validator]>) {
        let (now, are_several) = (report.time, of_several.is_some());
        for validator in of_several.into_iter().flatten().take(TRACKED_MAX) {
            self.hear(validator, now, are_several);
        }
        if let Some(chain) = &report.chain {
            self.wins = chain.wins.clone();
        }
        if let Some(status) = &report.metronome {
            let window = Millis(status.interval.0.saturating_mul(SILENT_ROUNDS));
            self.window = window.max(SILENT_MIN);
            let heard = status.validators.iter().take(TRACKED_MAX);
            heard.for_each(|validator| self.hear(validator, now, are_several));
        }
        self.tracked.retain(|_, one| now.since(one.heard) <= FORGET_AFTER);
        while self.tracked.len() > TRACKED_MAX {
            let silent = self.tracked.iter().min_by_key(|(_, one)| one.heard).map(|(key, _)| *key);
            silent.map(|key| self.tracked.remove(&key));
        }
    }

    /// Of several metronomes the one counts that a validator reports to now: the others tell when they
    /// heard of it last.
    fn hear(&mut self, validator: &Validator, now: Millis, are_several: bool) {
        let key = (validator.kind, validator.miner);
        let is_old = |known: &Tracked| validator.last_seen <= known.last.last_seen;
        if are_several && self.tracked.get(&key).is_some_and(is_old) {
            return;
        }
        let heard = match self.tracked.get(&key) {
            Some(known) if known.last.last_seen == validator.last_seen => known.heard,
            Some(_) => now,
            // How old the first report is that is seen of one, only the metronome's clock tells.
            None => validator.last_seen.min(now),
        };
        self.tracked.insert(key, Tracked { last: validator.clone(), heard });
    }

    fn is_alive(&self, one: &Tracked, now: Millis) -> bool {
        now.since(one.heard) <= self.window
    }

    pub(super) fn alive_count(&self, now: Millis) -> u64 {
        self.tracked.values().filter(|one| self.is_alive(one, now)).count() as u64
    }

    /// Those to show: the living first, then by blocks won. Without a prefix their addresses have no
    /// text, and none is shown.
    pub(super) fn rows(&self, now: Millis, prefix: Option<Prefix>) -> Vec<ValidatorRow> {
        let Some(prefix) = prefix else { return Vec::new() };
        let total = self.wins.by_engine().iter().fold(0_u64, |all, won| all.saturating_add(*won));
        let mut rows: Vec<_> =
            self.tracked.values().map(|one| self.row(one, now, prefix, total)).collect();
        rows.sort_by_key(|row| (!row.alive, std::cmp::Reverse(row.won)));
        rows.truncate(VALIDATORS_MAX);
        rows
    }

    #[allow(clippy::cast_precision_loss, reason = "figures for people, not for a rule")]
    fn row(&self, one: &Tracked, now: Millis, prefix: Prefix, total: u64) -> ValidatorRow {
        let Validator { miner, kind, last_seen, attempts, spent, footprint, .. } = one.last;
        let won = self.wins.by_miner().get(&(kind, miner)).copied().unwrap_or(0);
        ValidatorRow {
            fingerprint: miner.fingerprint,
            address: miner.address.to_text(prefix),
            proof: kind,
            won,
            share: if total == 0 { 0.0 } else { won as f64 / total as f64 },
            rate: attempts as f64 * 1000.0 / spent.0.max(1) as f64,
            ram_bytes: footprint.ram_bytes,
            disk_bytes: footprint.disk_bytes,
            last_seen,
            alive: self.is_alive(one, now),
        }
    }

    /// Milliseconds that the validators of an engine spent on the last round that any of them
    /// reported, on average; nothing if none is alive.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people, not for a rule")]
    pub(super) fn proof_time(&self, kind: ProofKind, now: Millis) -> Option<f64> {
        let of_kind = self.tracked.values().filter(|one| one.last.kind == kind);
        let alive: Vec<_> = of_kind.filter(|one| self.is_alive(one, now)).collect();
        let round = alive.iter().map(|one| one.last.height).max()?;
        let spent = alive.iter().filter(|one| one.last.height == round).map(|one| one.last.spent.0);
        let (count, sum) = spent.fold((0_u64, 0_u64), |(count, sum), spent| {
            (count.saturating_add(1), sum.saturating_add(spent))
        });
        Some(sum as f64 / count.max(1) as f64)
    }
}
