//! A slow task that shows how far it is and stops when Ctrl-C asks for it.

use dsc_lib::proof::Progress;

use super::Context;
use crate::{
    exit::Failure,
    progress::{Reporter, Style},
    shutdown::Shutdown,
};

#[derive(Debug)]
pub(crate) struct Watched {
    reporter: Reporter,
    pub(crate) shutdown: Shutdown,
}

impl Watched {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Failure> {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
        Ok(Self::until(shutdown, context))
    }

    /// One that stops when `shutdown` asks for it: for a command that listens to signals already.
    pub(crate) fn until(shutdown: Shutdown, context: &Context<'_>) -> Self {
        let style = Style::from_word(context.config.text("general.progress"));
        Self { reporter: Reporter::new(style), shutdown }
    }

    /// The failure of a task that was asked to stop, if it was.
    pub(crate) fn check(&self, task: &str) -> Result<(), Failure> {
        if self.shutdown.is_requested() {
            return Err(Failure::interrupted(format!("{task} was interrupted")));
        }
        Ok(())
    }
}

impl Progress for Watched {
    fn update(&self, stage: &'static str, done: u64, total: u64) {
        self.reporter.update(stage, done, total);
    }

    fn is_cancelled(&self) -> bool {
        self.shutdown.is_requested()
    }
}
