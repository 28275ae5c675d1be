//! What a role has to compute and does not compute itself.
//!
//! Checking or drafting a large block takes longer than a request may wait. A role hands it out as
//! [`Work`] that owns all it needs, goes on answering, and takes what came of it when it is done.
//!
//! # Invariants
//!
//! 1. Work depends on what it holds alone and changes no role: only [`super::Active::finish`] does.
//!    A draft is kept on the metronome's disk as soon as it is signed.
//! 2. When work has run it holds no part of a role's state any more, so applying its outcome
//!    copies none.

use super::{metronome, replica};

/// Something to compute: on any thread, without the role.
#[derive(Debug)]
#[must_use = "the role waits for what comes of it"]
pub struct Work(pub(super) Job);

#[derive(Debug)]
pub(super) enum Job {
    Follow(Box<replica::Following>),
    Draft(Box<metronome::Drafting>),
}

/// What came of [`Work`]: for the role that handed it out.
#[derive(Debug)]
pub struct Finished(pub(super) Outcome);

#[derive(Debug)]
pub(super) enum Outcome {
    Followed(Box<replica::Followed>),
    Drafted(Box<Result<metronome::Draft, metronome::DraftError>>),
}

impl Work {
    /// Does it.
    pub fn run(self) -> Finished {
        Finished(match self.0 {
            Job::Follow(job) => Outcome::Followed(Box::new(job.run())),
            Job::Draft(job) => Outcome::Drafted(Box::new(job.run())),
        })
    }
}
