//! The validator: a prover driven by rounds, with a site for its health.

use std::sync::Arc;

use dsc_lib::{
    proof::{Attempt, Budget, Clock, Prover},
    role::validator::{Job, Step, Validator},
    units::Millis,
};

use super::{NAP, Shared, span, transport::Transport};
use crate::{
    clock::Time,
    crash::{self, Point},
    http::{Check, Limits, Site, openapi::Outline},
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

/// The routes of a validator: health and metrics only.
pub(crate) fn site(shared: &Arc<Shared<Validator>>, limits: &Limits, shutdown: &Shutdown) -> Site {
    let (ready, figures) = (shared.clone(), shared.clone());
    Site::of(outline(), limits, shutdown, None)
        .ready(move || checks(&ready))
        .metrics(move |text| write_figures(&figures, text))
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

fn write_figures(shared: &Shared<Validator>, text: &mut String) {
    use std::fmt::Write;
    let validator = shared.lock();
    let (proof, tally) = (validator.kind().name(), validator.tally());
    drop(validator);
    let _ = writeln!(text, "# TYPE dsc_proof_attempts_total counter");
    let _ = writeln!(text, "dsc_proof_attempts_total{{proof=\"{proof}\"}} {}", tally.attempts);
    let _ = writeln!(text, "# TYPE dsc_proofs_total counter");
    let _ = writeln!(text, "dsc_proofs_total{{proof=\"{proof}\"}} {}", tally.proofs);
}

/// Proves round after round until everybody was asked to end.
pub(crate) fn drive(
    shared: &Shared<Validator>,
    prover: &mut dyn Prover,
    effort: Effort,
    transport: &Transport,
    time: &Time,
    shutdown: &Shutdown,
) {
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
                prove(shared, prover, effort, &job, time, shutdown);
            }
            Step::Wait(until) => {
                shutdown.sleep(span(until.since(time.now())).min(NAP));
            }
            _ => return,
        }
    }
}

fn prove(
    shared: &Shared<Validator>,
    prover: &mut dyn Prover,
    effort: Effort,
    job: &Job,
    time: &Time,
    shutdown: &Shutdown,
) {
    let started = time.now();
    let deadline = Clock::now(time).saturating_add(span(job.time));
    let budget = Budget::new(time, shutdown.flag())
        .with_deadline(deadline)
        .with_attempts_max(effort.attempts_max)
        .with_threads(effort.threads);
    match prover.prove(&job.challenge, job.target, &budget) {
        Ok(attempt) => note(shared, time.now().since(started), attempt, prover),
        Err(error) => {
            tracing::error!(%error, "the prover failed");
            shared.lock().give_up(time.now(), &error.to_string());
        }
    }
}

fn note(shared: &Shared<Validator>, spent: Millis, attempt: Attempt, prover: &dyn Prover) {
    shared.lock().proved(spent, attempt, prover.footprint());
}
