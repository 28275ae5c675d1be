//! Where a pool keeps what it acknowledges: its own journal, or the log that several pools share.

use std::{fmt, sync::Arc};

use dsc_lib::{
    role::{
        Refusal,
        pool::{Outcome, Pool},
    },
    transaction::{CheckedTransaction, TransactionError, TransactionId},
};

use crate::http::{Check, Problem};

/// A transaction whose signature was checked.
pub(super) type Verdict = Result<Arc<CheckedTransaction>, (TransactionId, TransactionError)>;
/// What becomes of the transactions of one request, in order.
pub(super) type Outcomes = Result<Vec<Outcome>, Problem>;

/// Keeps transactions safe before anybody is told that they are held.
pub(super) trait Keeper: fmt::Debug + Send + Sync {
    /// Holds what was good of each request, and keeps it before saying so.
    fn hold(&self, requests: Vec<Vec<Verdict>>) -> Vec<Outcomes>;

    /// Whether everything that was acknowledged before the start is held again.
    fn is_restored(&self) -> bool;

    /// Follows the pool after each of its calls, once it knows the ledger's state; whether it is
    /// restored.
    fn follow(&self, pool: &mut Pool) -> bool;

    /// Removes what has ended; called between requests.
    fn retire(&self) {}

    /// Whether it works, and has what it kept.
    fn checks(&self) -> Vec<Check>;

    /// Figures of its own.
    fn write_figures(&self, _text: &mut String) {}

    /// Ends its threads.
    fn end(&self) {}
}

/// The outcome of a transaction that breaks a rule which needs no ledger.
pub(super) fn rejected((id, error): (TransactionId, TransactionError)) -> Outcome {
    Outcome::Rejected { id, refusal: Refusal::new(error.code(), error), retry: false }
}
