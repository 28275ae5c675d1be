//! How often each thing happened: a network in which nothing happens proves nothing.

use std::{collections::BTreeMap, fmt};

/// Everything that must happen now and then, over many seeds.
const NAMES: &[&str] = &[
    "block",
    "block without winner",
    "block won by work",
    "block won by space",
    "block won by memory",
    "payment confirmed",
    "payment rejected",
    "payment expired",
    "rejected, then confirmed",
    "message lost",
    "message doubled",
    "message late",
    "message cut off",
    "call to a dead machine",
    "crash: process",
    "crash: power",
    "crash: in a write",
    "crash: in a start",
    "pause",
    "partition",
    "one-way partition",
    "isolation",
    "disk full",
    "disk failing",
    "disk not syncing",
    "disk slow",
    "disk operation failed",
    "block not stored",
    "ledger halted",
    "ledger not opened",
    "record not opened",
    "journal not opened",
    "journal not read",
    "journal taken in",
    "submission not stored",
    "torn block cut off",
    "stored, not acknowledged, kept",
    "clock wrong",
    "forger: noise",
    "forger: oversized proof",
    "forger: old proof",
    "forger: stolen proof",
    "forger: doubled proof",
    "forger: other height",
    "forger: flood",
    "forgery refused",
    "cheat: valid block",
    "cheat: second block",
    "cheat: withheld block",
    "cheat: old block",
    "cheat: block of another chain",
    "cheat: unknown key",
    "cheat: wrong signature",
    "cheat: broken rule",
    "cheat refused",
    "equivocation found",
    "round taken by a cheat",
    "ledger: absent falsely",
    "ledger: accepted another block",
    "ledger: accepted falsely",
    "ledger: altered block",
    "ledger: another chain, with a cheat",
    "ledger: block by an unknown key",
    "ledger: block of another chain",
    "ledger: blocks out of order",
    "ledger: forged inclusion",
    "ledger: forged snapshot",
    "ledger: old blocks",
    "ledger: old snapshot",
    "ledger: refused falsely",
    "ledger: withheld answer",
    "ledger: withheld blocks",
    "ledger: wrong height",
    "pool: added falsely",
    "pool: confirmed falsely",
    "pool: expired falsely",
    "pool: forged transactions",
    "pool: forgotten falsely",
    "pool: rejected falsely",
    "pool: stale and doubled transactions",
    "pool: too many transactions",
    "pool: withheld answer",
    "pool: withheld transactions",
    "pool: wrong sequence",
    "thief: altered payment",
    "thief: double spend",
    "thief: expired",
    "thief: flood",
    "thief: forged sender",
    "thief: gap",
    "thief: overspent",
    "thief: payment of another chain",
    "thief: replay",
    "theft refused",
    "set right by hand",
];

/// What happens in one run of a hundred at most.
const RARE: &[&str] = &["torn journal", "crowded out at a start"];

/// How often each of [`NAMES`] and [`RARE`] happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn add(&mut self, name: &str) {
        self.add_many(name, 1);
    }

    pub(crate) fn add_many(&mut self, name: &str, count: u64) {
        let known = NAMES.iter().chain(RARE).find(|known| **known == name);
        let known = known.unwrap_or_else(|| panic!("nobody looks for {name:?}"));
        *self.0.entry(known).or_default() += count;
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn include(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add_many(name, *count));
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        NAMES.iter().copied().filter(|name| self.of(name) == 0).collect()
    }
}

impl fmt::Display for Counts {
    /// A line for each, as `scripts/simulate` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rare = RARE.iter().filter(|name| self.of(name) > 0);
        let mut names = NAMES.iter().chain(rare);
        names.try_for_each(|name| writeln!(f, "count {:>8} {name}", self.of(name)))
    }
}
