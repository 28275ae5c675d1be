//! What is on the ledger after a row, read from its file once every server is dead.
//!
//! # Invariants
//!
//! 1. Nothing that a server said is used: blocks are replayed from the genesis on, signatures and
//!    proofs included.
//! 2. Every transaction that counts as confirmed is on the ledger, and nothing else is.

use std::{collections::HashSet, path::Path};

use dsc_lib::{
    genesis::Chain,
    ledger::Ledger,
    transaction::TransactionId,
    units::{Amount, Height},
};
use rayon::prelude::*;

use crate::exit::Failure;

/// The code of a ledger that holds more or less coins than were issued.
pub(super) const SUPPLY_WRONG: &str = "supply-wrong";

/// What the ledger was found to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// Blocks that a proof won.
    pub(super) won: u64,
}

/// Replays the ledger in `folder` and compares what it holds with `expected`.
pub(super) fn audit(
    folder: &Path,
    chain: &Chain,
    expected: &HashSet<TransactionId>,
) -> Result<Audit, Failure> {
    let ledger = Ledger::open(&folder.join("ledger"), Some(chain.clone()))?;
    let summary = ledger.verify(|_, _| {});
    let summary = summary.map_err(|error| wrong("ledger-corrupt", error))?;
    let found = Found::read(&ledger, summary.blocks)?;
    let unique: HashSet<_> = found.ids.iter().copied().collect();
    if unique.len() < found.ids.len() {
        let more = found.ids.len() - unique.len();
        return Err(wrong("confirmed-twice", format_args!("{more} are there more than once")));
    }
    if unique != *expected {
        let lost = expected.difference(&unique).count();
        let foreign = unique.difference(expected).count();
        let what = format_args!("{lost} confirmed are missing, {foreign} others are there");
        return Err(wrong("confirmed-lost", what));
    }
    let supply = Amount::checked_sum(found.issued.iter().copied().chain([chain.endowed()]));
    if !ledger.state().supply_holds() || supply != Some(summary.supply) {
        let what = format_args!("the supply is {}, expected {supply:?}", summary.supply);
        return Err(wrong(SUPPLY_WRONG, what));
    }
    Ok(Audit { won: found.issued.len() as u64 })
}

/// What the blocks say.
#[derive(Debug, Default)]
struct Found {
    ids: Vec<TransactionId>,
    /// What each winner got; these rows pay no fees.
    issued: Vec<Amount>,
}

impl Found {
    fn read(ledger: &Ledger, blocks: u64) -> Result<Self, Failure> {
        let chain = ledger.state().chain();
        let (hash, mut found) = (chain.hash(), Self::default());
        for height in (0..blocks).map(Height) {
            let Some(block) = ledger.block(height)? else { break };
            let ids = block.transactions.par_iter().map(|transaction| transaction.id(&hash));
            found.ids.par_extend(ids);
            if !block.proofs.is_empty() {
                found.issued.push(chain.reward(height));
            }
        }
        Ok(found)
    }
}

fn wrong(code: &'static str, what: impl std::fmt::Display) -> Failure {
    Failure::corrupt(code, format_args!("the ledger of a row: {what}"))
        .with_hint("this must never happen: the servers' promise was broken")
}
