//! Who has won how many blocks, for people: no rule depends on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::proof::{ENGINE_COUNT, Miner, ProofEntry, ProofKind};

/// Blocks won, by engine and miner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wins {
    by_miner: BTreeMap<(ProofKind, Miner), u64>,
    none: u64,
}

impl Wins {
    /// Blocks won by each miner with each engine.
    pub fn by_miner(&self) -> &BTreeMap<(ProofKind, Miner), u64> {
        &self.by_miner
    }

    /// Blocks won with each engine, in their order.
    pub fn by_engine(&self) -> [u64; ENGINE_COUNT] {
        let mut counts = [0_u64; ENGINE_COUNT];
        for ((kind, _), won) in &self.by_miner {
            if let Some(count) = counts.get_mut(usize::from(kind.index())) {
                *count = count.saturating_add(*won);
            }
        }
        counts
    }

    /// Blocks without a winner.
    pub fn none(&self) -> u64 {
        self.none
    }

    /// Counts one more block.
    pub(super) fn count(&mut self, winner: Option<&ProofEntry>) {
        let won = match winner {
            Some(entry) => self.by_miner.entry((entry.proof.kind, entry.miner)).or_default(),
            None => &mut self.none,
        };
        *won = won.saturating_add(1);
    }

    /// Takes a count as it was stored.
    pub(super) fn set(&mut self, winner: Option<(ProofKind, Miner)>, won: u64) {
        match winner {
            Some(key) => drop(self.by_miner.insert(key, won)),
            None => self.none = won,
        }
    }

    /// Blocks won by this winner, or without one.
    pub(super) fn of(&self, winner: Option<&ProofEntry>) -> u64 {
        match winner {
            Some(entry) => {
                self.by_miner.get(&(entry.proof.kind, entry.miner)).copied().unwrap_or(0)
            }
            None => self.none,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Win {
    kind: ProofKind,
    miner: Miner,
    blocks: u64,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    winners: Vec<Win>,
    none: u64,
}

impl Serialize for Wins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let win =
            |(&(kind, miner), &blocks): (&(ProofKind, Miner), &u64)| Win { kind, miner, blocks };
        let winners = self.by_miner.iter().map(win).collect();
        Listed { winners, none: self.none }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Wins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Listed { winners, none } = Listed::deserialize(deserializer)?;
        let by_miner = winners.into_iter().map(|win| ((win.kind, win.miner), win.blocks)).collect();
        Ok(Self { by_miner, none })
    }
}
