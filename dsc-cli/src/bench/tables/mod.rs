//! The paper's Tables 1-3 again: each proof with more and more clients, latency at low load and
//! throughput of everything at once, on a ledger that is new for each row and on disk.
//!
//! # Invariants
//!
//! 1. Every row does the same work: transactions are signed once, for one genesis, and sent again.
//! 2. Only the proof of the row has validators.
//! 3. A row counts only if its ledger, read back after the servers were killed, keeps every rule,
//!    holds every confirmed transaction once and nothing else, and supply is what was issued.
//! 4. A client is one sender; every payment goes to another new address, the worst case of a state.

mod audit;
mod network;
mod plan;
mod row;
mod schema;

use std::{path::Path, time::Duration};

use dsc_lib::{
    genesis::{Chain, Limits},
    keys::SecretKey,
    proof::{ENGINES, Progress, ProofKind},
    units::{Amount, Height},
};
use serde::Serialize;

use self::{audit::SUPPLY_WRONG, network::Layout, row::Row};
pub(crate) use self::{
    network::Processes,
    plan::{Options, Profile},
    schema::SCHEMA,
};
use super::{
    load::{Sender, Terms, Workload},
    record::Body,
    schema::Schema,
    stats::float,
};
use crate::{
    clock::SystemClock,
    command::genesis::{self, Plan as NewGenesis},
    exit::Failure,
    network as chains,
    shutdown::Shutdown,
};

const NETWORK: &str = "dsc-bench";
/// Height until which a transaction is good: the pool takes no later one, and no row gets there.
const EXPIRES: Height = Height(60_000);
/// The largest block: what a second at full speed makes, within what a request may hold.
const LIMITS: Limits = Limits { block_transactions: 1 << 16, block_bytes: 48 << 20 };

/// The figures of `dsc.bench.tables/1`.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    options: Options,
    /// The paper's tables.
    rows: Vec<Row>,
    /// One transaction a request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    single: Vec<Row>,
    /// As many payments under one signature as there may be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    send_many: Vec<Row>,
    signing: Signing,
    /// Whether every row's supply is what was issued.
    supply_ok: bool,
    /// Whether every row that was asked for is there.
    complete: bool,
}

impl Figures {
    /// How many networks were measured.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len() + self.single.len() + self.send_many.len()
    }
}

/// The rows that were measured, in their lists.
#[derive(Debug, Default)]
struct Done {
    rows: Vec<Row>,
    single: Vec<Row>,
    send_many: Vec<Row>,
}

impl Body for Figures {
    const SCHEMA: &'static Schema = &SCHEMA;
}

/// What signing took: ahead of time, on all cores, with nothing else running.
#[derive(Clone, Copy, Debug, Serialize)]
struct Signing {
    transactions: u64,
    seconds: f64,
    signed_per_second: f64,
    /// The fastest row over this rate: how many times signing live would slow it down at least.
    live_bound: f64,
}

/// Transactions a second that the paper reports over all of its rows: 128,000 transactions, 1 to 8
/// clients, 24 machines.
const PAPER: &str = "160-274";

/// What all rows share.
struct Bench<'a> {
    options: &'a Options,
    chain: Chain,
    folder: &'a Path,
    progress: &'a dyn Progress,
    shutdown: &'a Shutdown,
}

/// Measures every row, with ledgers in `folder`; also returns what ended it early, if something
/// did: what was measured before is good.
pub(crate) fn measure(
    options: &Options,
    folder: &Path,
    progress: &dyn Progress,
    shutdown: &Shutdown,
) -> Result<(Figures, Option<Failure>), Failure> {
    let bench = Bench { options, chain: chain(options)?, folder, progress, shutdown };
    let (workload, seconds) = bench.sign(&options.senders(), 1)?;
    let transactions = workload.ids().len() as u64;
    let mut done = Done::default();
    let ended = bench.all(workload, &mut done).err();
    let Done { rows, single, send_many } = done;
    let signed_per_second = float(transactions) / seconds;
    let fastest = rows.iter().map(Row::tx_per_second).fold(0.0, f64::max);
    let live_bound = fastest / signed_per_second;
    let signing = Signing { transactions, seconds, signed_per_second, live_bound };
    let supply_ok = ended.as_ref().is_none_or(|failure| failure.code() != SUPPLY_WRONG);
    let (options, complete) = (options.clone(), ended.is_none());
    let figures = Figures { options, rows, single, send_many, signing, supply_ok, complete };
    Ok((figures, ended))
}

/// A chain on which every published account pays and every proof has validators of its own.
fn chain(options: &Options) -> Result<Chain, Failure> {
    let balance = Amount::from_coins(200_000).unwrap_or_default();
    let trial = |entry: &&dsc_lib::proof::Entry| {
        genesis::engine_genesis(entry.trial.params.to_vec(), entry.trial.draws)
    };
    let plan = NewGenesis {
        network: NETWORK.to_owned(),
        development: true,
        block_time: Duration::from_millis(options.interval_ms),
        metronomes: vec![*chains::metronome_key().public()],
        accounts: genesis::published(chains::PUBLISHED_ACCOUNTS, balance)?,
        engines: ENGINES.iter().map(trial).collect::<Result<_, _>>()?,
    };
    let genesis = dsc_lib::genesis::Genesis { limits: LIMITS, ..plan.genesis()? };
    chains::check(genesis)
}

impl Bench<'_> {
    /// Signs `counts` transactions, a sender each, and tells how long that took.
    fn sign(&self, counts: &[usize], payments: usize) -> Result<(Workload, f64), Failure> {
        let keys = (0..counts.len()).filter_map(chains::account_key);
        let sender = |(key, &count): (SecretKey, &usize)| Sender { key, sequence: 0, count };
        let senders: Vec<_> = keys.zip(counts).map(sender).collect();
        let (fee, recipients, seed) = (Amount::ZERO, None, 0);
        let terms = Terms { expires: EXPIRES, fee, payments, recipients, seed };
        let clock = SystemClock::new();
        let signed = Workload::sign(&self.chain.hash(), &senders, terms, self.progress)?;
        Ok((signed, clock.elapsed().as_secs_f64()))
    }

    fn layout(&self, processes: Processes, proof: ProofKind) -> Layout<'_> {
        Layout { chain: &self.chain, processes, proof, validators: self.options.validators }
    }

    /// Measures everything; what was measured before a failure is in `done` all the same.
    fn all(&self, workload: Workload, done: &mut Done) -> Result<(), Failure> {
        self.rows(&workload, &mut done.rows)?;
        self.single(&workload, &mut done.single)?;
        drop(workload);
        self.send_many(&mut done.send_many)
    }

    fn rows(&self, workload: &Workload, rows: &mut Vec<Row>) -> Result<(), Failure> {
        let total = self.options.estimate().0 as u64;
        for &processes in &self.options.processes {
            for &proof in &self.options.proofs {
                for &clients in &self.options.clients {
                    let layout = self.layout(processes, proof);
                    rows.push(row::full(self, layout, workload, clients)?);
                    self.progress.update("row", rows.len() as u64, total);
                }
            }
        }
        Ok(())
    }

    /// As many clients as there are in any row, the first proof.
    fn single(&self, workload: &Workload, rows: &mut Vec<Row>) -> Result<(), Failure> {
        self.each(rows, |layout, clients| row::single(self, layout, workload, clients))
    }

    fn send_many(&self, rows: &mut Vec<Row>) -> Result<(), Failure> {
        if !self.options.extras {
            return Ok(());
        }
        let clients = self.options.clients_max();
        let counts = vec![self.options.many_transactions().div_ceil(clients); clients];
        let (workload, _) = self.sign(&counts, row::MANY)?;
        self.each(rows, |layout, clients| row::send_many(self, layout, &workload, clients))
    }

    fn each(
        &self,
        rows: &mut Vec<Row>,
        measure: impl Fn(Layout<'_>, usize) -> Result<Row, Failure>,
    ) -> Result<(), Failure> {
        let Some(&proof) = self.options.proofs.first().filter(|_| self.options.extras) else {
            return Ok(());
        };
        let clients = self.options.clients_max();
        for &processes in &self.options.processes {
            rows.push(measure(self.layout(processes, proof), clients)?);
        }
        Ok(())
    }
}
