//! What is measured: the profiles, and how much of everything.

use dsc_lib::proof::{ENGINES, ProofKind};
use serde::{Serialize, Serializer};

use super::network::Processes;

/// Sizes that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// As the paper: a block every six seconds, twelve validators; hours
    Paper,
    /// All rows in under ten minutes on two cores
    Quick,
    /// A few rows with little in them, in under a minute
    Ci,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Options {
    pub(crate) profile: Profile,
    pub(crate) processes: Vec<Processes>,
    #[serde(serialize_with = "names")]
    pub(crate) proofs: Vec<ProofKind>,
    pub(crate) clients: Vec<usize>,
    /// Of each row's throughput.
    pub(crate) transactions: usize,
    /// Time between blocks.
    pub(crate) interval_ms: u64,
    /// Of the one proof that has any.
    pub(crate) validators: u32,
    /// How long each row's latency is measured.
    pub(crate) latency_ms: u64,
    /// Transactions in a request.
    pub(crate) batch: usize,
    /// Requests of one client under way at once.
    pub(crate) in_flight: usize,
    /// Whether one transaction a request and many payments under one signature are measured.
    pub(crate) extras: bool,
}

fn names<S: Serializer>(proofs: &[ProofKind], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(proofs.iter().map(|proof| proof.name()))
}

impl Options {
    /// What a profile measures unless something else is asked for.
    pub(crate) fn of(profile: Profile) -> Self {
        let (transactions, interval_ms, validators, latency_ms) = match profile {
            Profile::Paper => (128_000, 6_000, 12, 120_000),
            Profile::Quick => (128_000, 500, 1, 5_000),
            Profile::Ci => (4_000, 200, 1, 800),
        };
        let is_small = profile == Profile::Ci;
        Self {
            profile,
            processes: vec![Processes::One, Processes::Six],
            proofs: ENGINES.iter().map(|entry| entry.kind).collect(),
            clients: if is_small { vec![1, 4] } else { vec![1, 2, 4, 8] },
            transactions,
            interval_ms,
            validators,
            latency_ms,
            batch: 1000,
            in_flight: 2,
            extras: true,
        }
    }

    pub(super) fn clients_max(&self) -> usize {
        self.clients.iter().copied().max().unwrap_or(1)
    }

    /// Transactions that one client may send while latency is measured: at least a tenth of an
    /// interval passes for each.
    pub(super) fn latency_count(&self) -> usize {
        let most = self.latency_ms.saturating_mul(10) / self.interval_ms.max(1);
        usize::try_from(most).unwrap_or(usize::MAX).clamp(2, 2_000)
    }

    /// How many transactions each sender signs, so that it has enough for every row.
    pub(super) fn senders(&self) -> Vec<usize> {
        let share = |sender: usize| {
            let with = self.clients.iter().filter(|&&clients| clients > sender);
            with.map(|clients| self.transactions.div_ceil(*clients)).max().unwrap_or_default()
        };
        (0..self.clients_max()).map(|sender| share(sender) + self.latency_count()).collect()
    }

    /// Transactions of the rows with many payments in each: four times as many payments as the
    /// other rows have.
    pub(super) fn many_transactions(&self) -> usize {
        (4 * self.transactions).div_ceil(super::row::MANY)
    }

    /// Rows, and seconds for all of them: what is known ahead of time.
    pub(crate) fn estimate(&self) -> (usize, u64) {
        let rows = self.processes.len() * self.proofs.len() * self.clients.len();
        // Two cores sign about 6,000 a second; a row confirms 20,000, and is checked as fast.
        let sign = self.senders().iter().sum::<usize>() / 6_000;
        let load = self.transactions as u64 / 10 + 3 * self.interval_ms;
        let row_ms = self.latency_ms.saturating_add(load).saturating_add(2_000);
        (rows, (sign as u64).saturating_add(row_ms.saturating_mul(rows as u64) / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sender_has_enough_for_every_row_and_no_more() {
        let options = Options::of(Profile::Quick);
        let extra = options.latency_count();
        let shares: Vec<_> = options.senders().iter().map(|count| count - extra).collect();
        let expected = [128_000, 64_000, 32_000, 32_000, 16_000, 16_000, 16_000, 16_000];
        assert_eq!(shares, expected);
    }

    #[test]
    fn profiles_keep_to_their_times() {
        let seconds = |profile| Options::of(profile).estimate().1;
        assert!(seconds(Profile::Quick) < 600, "{}", seconds(Profile::Quick));
        assert!(seconds(Profile::Ci) < 60, "{}", seconds(Profile::Ci));
        assert!(seconds(Profile::Paper) > 3_000);
    }
}
