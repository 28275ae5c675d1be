//! The servers of each role, one by one, where there are several.
//!
//! All other questions of a monitor go to whichever server of a role answers. Each one is asked for
//! itself by somebody outside, so that one that is slow holds up no other, and told with
//! [`super::Monitor::hear`].
//!
//! # Invariants
//!
//! 1. What is shown of a server is what it said last, or why it said nothing: old figures go with
//!    the next question that it does not answer.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::bounded;
use crate::{
    role::{blockchain, metronome},
    units::{Height, Millis},
};

/// A server of a role that has several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// `blockchain`, `pool` or `metronome`.
    pub role: String,
    /// Where it is asked.
    pub url: String,
    /// Whether it answers at all.
    pub alive: bool,
    /// Whether it answers and has what it depends on.
    pub ready: bool,
    /// Why it is not ready.
    pub fault: Option<String>,
    /// Height of a blockchain server's tip.
    pub height: Option<Height>,
    /// Height up to which a blockchain server knows that another one has every block as well.
    pub final_height: Option<Height>,
    /// Since when a blockchain server hears nothing of the engine.
    pub stale_since: Option<Millis>,
    /// Whether a metronome leads.
    pub leading: Option<bool>,
    /// The number of the lease that a metronome held last.
    pub epoch: Option<u64>,
}

impl ServerRow {
    /// A server of which nothing is known but where it is.
    pub fn new(role: &str, url: &str) -> Self {
        Self { role: role.to_owned(), url: url.to_owned(), ..Self::default() }
    }

    /// It is ready, or it answers and says what it lacks, or it does not answer for this reason.
    #[must_use]
    pub fn standing(self, alive: bool, fault: Option<String>) -> Self {
        Self { alive, ready: alive && fault.is_none(), fault: fault.map(bounded), ..self }
    }

    /// With what a blockchain server says of itself.
    #[must_use]
    pub fn with_chain(self, info: &blockchain::Info) -> Self {
        let blockchain::Info { height, final_height, stale_since, .. } = *info;
        Self { height, final_height, stale_since, ..self }
    }

    /// With what a metronome says of itself.
    #[must_use]
    pub fn with_lease(self, status: &metronome::Status) -> Self {
        Self { leading: Some(status.leading), epoch: Some(status.epoch), ..self }
    }
}

impl fmt::Display for ServerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.url)?;
        if let Some(height) = self.height {
            write!(f, "  block {height}")?;
        }
        if let Some(height) = self.final_height {
            write!(f, ", final {height}")?;
        }
        match (self.leading, self.epoch) {
            (Some(true), Some(epoch)) => write!(f, "  leads with lease {epoch}")?,
            (Some(false), _) => f.write_str("  stands by")?,
            _ => {}
        }
        match &self.fault {
            Some(fault) if self.alive => write!(f, "  NOT READY: {fault}"),
            Some(fault) => write!(f, "  SILENT: {fault}"),
            None => Ok(()),
        }
    }
}

/// Every server, by its place among them.
#[derive(Debug, Default)]
pub(super) struct Servers(BTreeMap<usize, ServerRow>);

impl Servers {
    pub(super) fn hear(&mut self, place: usize, row: ServerRow) {
        self.0.insert(place, row);
    }

    /// Whether a role may be answered for by one server now and by another one next.
    pub(super) fn are_several(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn rows(&self) -> Vec<ServerRow> {
        self.0.values().cloned().collect()
    }
}

/// Whoever is not ready, and why.
pub(super) fn faults(rows: &[ServerRow]) -> impl Iterator<Item = String> {
    let fault = |row: &ServerRow| {
        let fault = row.fault.as_ref()?;
        Some(bounded(format!("{} at {}: {fault}", row.role, row.url)))
    };
    rows.iter().filter_map(fault)
}
