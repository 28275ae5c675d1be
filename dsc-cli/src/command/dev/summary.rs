//! What `dsc dev` says when it ends.

use std::{collections::BTreeMap, fmt};

use dsc_lib::{hash::Digest, ledger::Ledger, proof::ProofKind, units::Height};
use serde::Serialize;

use crate::{exit::Failure, output::Document};

/// What the ledger holds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    height: Option<Height>,
    blocks_by_proof: BTreeMap<&'static str, u64>,
    transactions_confirmed: u64,
    transactions_pending: u64,
    supply_ok: bool,
    state: Digest,
}

impl Summary {
    pub(super) fn new(ledger: &Ledger, transactions_pending: u64) -> Result<Self, Failure> {
        let wins = ledger.wins();
        let by_engine = ProofKind::all().map(ProofKind::name).zip(wins.by_engine());
        Ok(Self {
            height: ledger.state().height(),
            blocks_by_proof: by_engine.chain([("none", wins.none())]).collect(),
            transactions_confirmed: ledger.transaction_count()?,
            transactions_pending,
            supply_ok: ledger.state().supply_holds(),
            state: ledger.state().commitment(),
        })
    }
}

impl Document for Summary {
    const SCHEMA: &'static str = "dsc.dev/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.height {
            Some(height) => writeln!(f, "height        {height}")?,
            None => writeln!(f, "height        no block yet")?,
        }
        let won = self.blocks_by_proof.iter().map(|(proof, won)| format!("{proof} {won}"));
        writeln!(f, "blocks won by {}", won.collect::<Vec<_>>().join(", "))?;
        let Self { transactions_confirmed: confirmed, transactions_pending: pending, .. } = self;
        writeln!(f, "transactions  {confirmed} confirmed, {pending} pending")?;
        writeln!(
            f,
            "supply        {}",
            if self.supply_ok { "adds up" } else { "DOES NOT ADD UP" }
        )?;
        writeln!(f, "state         {}", self.state)
    }
}
