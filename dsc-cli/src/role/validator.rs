//! The validator: a prover driven by rounds, with a site for its health.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use dsc_lib::{
    proof::{Budget, Clock, Prover},
    role::validator::{Job, Step, Validator},
};

use super::{NAP, Shared, span, transport::Transport};
use crate::{
    clock::Time,
    crash::{self, Point},
    http::{Check, Limits, Site, openapi::Outline},
    metrics::{self, Histogram, PROOF_BOUNDS, Sort},
    shutdown::Shutdown,
};

/// What a validator may spend in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Tries at most.
    pub(crate) attempts_max: u64,
    /// Threads at most.
    pub(crate) threads: usize,
}

/// What a validator counts beside what the metronome is told.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Time to each proof.
    proof_times: Histogram,
    vault_bytes: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Self { proof_times: Histogram::new(PROOF_BOUNDS), vault_bytes: AtomicU64::new(0) }
    }
}

/// A validator, and what it counts.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared<Validator>>,
    figures: Arc<Figures>,
}

impl Server {
    pub(crate) fn new(validator: Validator) -> Self {
        Self { shared: Shared::new(validator), figures: Arc::default() }
    }
}

/// The routes of a validator: health and metrics only.
pub(crate) fn site(server: &Server, limits: &Limits, shutdown: &Shutdown) -> Site {
    let (ready, counting) = (server.shared.clone(), server.clone());
    Site::of(outline(), limits, shutdown, None)
        .ready(move || checks(&ready))
        .metrics(move |text| write_figures(&counting, text))
}

/// No routes of its own.
pub(crate) fn outline() -> Outline {
    Outline::new(
        "validator",
        "Wins blocks with one kind of proof. A free port unless told otherwise.",
    )
}

fn checks(shared: &Shared<Validator>) -> Vec<Check> {
    let fault = shared.lock().fault().map(str::to_owned);
    let ok = fault.is_none();
    vec![Check { name: "metronome", ok, detail: fault.unwrap_or_else(|| "answers".into()) }]
}

fn write_figures(server: &Server, text: &mut String) {
    let validator = server.shared.lock();
    let (kind, tally) = (validator.kind(), validator.tally());
    drop(validator);
    let labels = [("proof", kind.name())];
    let about = "Tries of the validator.";
    metrics::counter(text, "dsc_proof_attempts_total", about, &labels, tally.attempts);
    let about = "Proofs that met the target of their round.";
    metrics::counter(text, "dsc_proofs_total", about, &labels, tally.proofs);
    let about = "Time that the work of a round took, of rounds that gave a proof.";
    metrics::family(text, "dsc_proof_seconds", Sort::Histogram, about);
    server.figures.proof_times.write(text, "dsc_proof_seconds", &labels);
    let (about, bytes) = ("Bytes of vaults on disk.", &server.figures.vault_bytes);
    metrics::gauge(text, "dsc_vault_bytes", about, bytes.load(Relaxed));
}

/// Proves round after round until everybody was asked to end.
pub(crate) fn drive(
    server: &Server,
    prover: &mut dyn Prover,
    effort: Effort,
    transport: &Transport,
    time: &Time,
    shutdown: &Shutdown,
) {
    let Server { shared, figures } = server;
    figures.vault_bytes.store(prover.footprint().disk_bytes, Relaxed);
    while !shutdown.is_requested() {
        let step = shared.lock().next(time.now());
        match step {
            Step::Call(call) => {
                crash::asking(&call);
                let answer = transport.call(&call);
                crash::answered(&call);
                shared.lock().answer(time.now(), answer);
            }
            Step::Prove(job) => {
                crash::point(Point::ValidatorProving);
                prove(server, prover, effort, &job, time, shutdown);
            }
            Step::Wait(until) => {
                shutdown.sleep(span(until.since(time.now())).min(NAP));
            }
            _ => return,
        }
    }
}

fn prove(
    server: &Server,
    prover: &mut dyn Prover,
    effort: Effort,
    job: &Job,
    time: &Time,
    shutdown: &Shutdown,
) {
    let (started, begun) = (time.now(), Clock::now(time));
    let deadline = begun.saturating_add(span(job.time));
    let budget = Budget::new(time, shutdown.flag())
        .with_deadline(deadline)
        .with_attempts_max(effort.attempts_max)
        .with_threads(effort.threads);
    match prover.prove(&job.challenge, job.target, &budget) {
        Ok(attempt) => {
            if attempt.best.is_some() {
                server.figures.proof_times.observe(Clock::now(time).saturating_sub(begun));
            }
            let footprint = prover.footprint();
            server.shared.lock().proved(time.now().since(started), attempt, footprint);
        }
        Err(error) => {
            tracing::error!(%error, "the prover failed");
            server.shared.lock().give_up(time.now(), &error.to_string());
        }
    }
}
