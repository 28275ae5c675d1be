//! Who does not keep to the rules, and must get nowhere with it.
//!
//! Adversaries see everything there is, and the rate at which they act is drawn for each run.

mod cheat;
mod false_ledger;
mod false_pool;
mod forger;
mod thief;

pub(crate) use self::{cheat::Cheat, false_ledger::FalseLedger, forger::Forger, thief::Thief};

use dsc_lib::role::{Answer, Lost};

/// What an honest role must answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A refusal, if it answers.
    #[default]
    Refusal,
    /// Whatever it finds right: what was done breaks no rule.
    Anything,
}

impl Expected {
    /// Whether the answer is a refusal that was expected.
    fn is_met(self, what: &str, answer: &Result<Answer, Lost>) -> bool {
        match (self, answer) {
            (Self::Refusal, Ok(Answer::Refused(_))) => true,
            (Self::Refusal, Ok(answer)) => panic!("{what}: not refused, but {answer:?}"),
            _ => false,
        }
    }
}
