//! `dsc wait`: until roles are ready, the ledger has a height, or a transaction has ended.
//!
//! # Invariants
//!
//! 1. A role that does not answer yet is asked again until the time is over.
//! 2. Blocks and transactions are waited for with long polls: a server answers when there is news.

use std::{fmt, time::Duration};

use dsc_lib::{mempool::Status, units::Height};
use serde::Serialize;

use super::{
    Context,
    health::{self, Health},
    remote::{
        RETRY_PAUSE, Remote, Wait, confirmed, is_passing, next_height, refused, transaction_id,
    },
    role::ChainArgs,
    tx::TransactionDocument,
};
use crate::{
    clock::SystemClock,
    duration,
    exit::{Exit, Failure},
    output::Document,
    role::transport::Transport,
    shutdown::Shutdown,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Wait until roles are ready
    Ready(Ready),
    /// Wait until the ledger has a block of this height
    Height(Reach),
    /// Wait until a transaction is confirmed, or can never be
    Tx(Settle),
}

#[derive(Debug, clap::Args)]
struct Ready {
    #[command(flatten)]
    roles: health::Args,
    #[command(flatten)]
    most: Most,
}

#[derive(Debug, clap::Args)]
struct Reach {
    /// The height; +COUNT counts from the newest block
    #[arg(value_name = "HEIGHT|+COUNT", value_parser = parse_goal)]
    height: Goal,
    #[command(flatten)]
    most: Most,
}

#[derive(Debug, clap::Args)]
struct Settle {
    /// The transaction's id
    #[arg(value_name = "ID")]
    id: String,
    /// Blocks to wait for, counting the one the transaction is in
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    confirmations: u64,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    most: Most,
}

/// How long is waited.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Most {
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
}

/// A height, or so many blocks from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    At(u64),
    More(u64),
}

fn parse_goal(text: &str) -> Result<Goal, String> {
    let number = |text: &str| text.parse().map_err(|_| "expected a height, or + and a count");
    Ok(match text.strip_prefix('+') {
        Some(count) => Goal::More(number(count)?),
        None => Goal::At(number(text)?),
    })
}

impl Goal {
    /// The height, if `next` is that of the block which comes next.
    fn height(self, next: Height) -> Height {
        match self {
            Self::At(height) => Height(height),
            Self::More(count) => Height(next.0.saturating_add(count).saturating_sub(1)),
        }
    }
}

/// What the ledger has reached.
#[derive(Debug, Serialize)]
struct Reached {
    /// The height asked for.
    height: Height,
    /// The newest block.
    tip: Height,
}

impl Document for Reached {
    const SCHEMA: &'static str = "dsc.wait.height/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.tip)
    }
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
    match &args.what {
        What::Ready(args) => ready(args, context, &Waiting::new(args.most, shutdown)),
        What::Height(args) => height(args, context, &Waiting::new(args.most, shutdown)),
        What::Tx(args) => tx(args, context, &Waiting::new(args.most, shutdown)),
    }
}

fn ready(args: &Ready, context: &Context<'_>, waiting: &Waiting) -> Result<(), Failure> {
    let targets = health::targets(&args.roles, context);
    let mut roles = Vec::new();
    for (role, url) in &targets {
        // There is no long poll for this: a role that starts has nobody to hold the question.
        roles.push(waiting.patiently(|_| health::probe(role, url, context).map(Some))?);
    }
    context.output.document(&Health { roles })
}

fn height(args: &Reach, context: &Context<'_>, waiting: &Waiting) -> Result<(), Failure> {
    let blockchain = Transport::from_config(&context.config)?.blockchain;
    let mut goal = None;
    let reached = waiting.patiently(|left| {
        let next = next_height(&blockchain)?;
        let height = *goal.get_or_insert_with(|| args.height.height(next));
        if next > height {
            return Ok(Some(Reached { height, tip: Height(next.0.saturating_sub(1)) }));
        }
        confirmed(&blockchain, height, left)?;
        Ok(None)
    });
    context.output.document(&reached.map_err(|failure| late(failure, args, goal))?)
}

/// Says which height was not reached.
fn late(failure: Failure, args: &Reach, goal: Option<Height>) -> Failure {
    let Some(height) = goal.filter(|_| failure.exit() == Exit::OutcomeUnknown) else {
        return failure;
    };
    let after = duration::display(args.most.timeout);
    let message = format!("the ledger has no block {height} after {after}");
    Failure::outcome_unknown("height-not-reached", message)
        .with_hint("`dsc chain info` shows how high it is; `dsc metronome status` whether it grows")
}

fn tx(args: &Settle, context: &Context<'_>, waiting: &Waiting) -> Result<(), Failure> {
    let id = transaction_id(&args.id)?;
    let remote = waiting.patiently(|_| {
        Remote::of_blockchain_until(&args.chain, context, waiting.shutdown.clone()).map(Some)
    })?;
    let wait = Wait { is_async: false, confirmations: args.confirmations, timeout: waiting.left() };
    let status = remote.wait_for(&id, &wait)?;
    if let Some(failure) = refused(&id, &status) {
        return Err(failure);
    }
    let located = match status {
        Status::Confirmed { .. } => remote.standing(&id)?.and_then(|standing| standing.located),
        _ => None,
    };
    let index = located.as_ref().map(|located| located.index);
    let transaction = located.map(|located| located.transaction);
    context.output.document(&TransactionDocument { id, status, index, transaction })
}

/// A wait with an end.
struct Waiting {
    clock: SystemClock,
    most: Duration,
    shutdown: Shutdown,
}

impl Waiting {
    fn new(most: Most, shutdown: Shutdown) -> Self {
        Self { clock: SystemClock::new(), most: most.timeout, shutdown }
    }

    fn left(&self) -> Duration {
        self.most.saturating_sub(self.clock.elapsed())
    }

    /// Asks until there is an answer; whoever is asked may wait as long as it is told.
    fn patiently<T>(
        &self,
        mut ask: impl FnMut(Duration) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        loop {
            let asked = ask(self.left());
            let fault = match asked {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => None,
                Err(failure) if is_passing(&failure) => Some(failure),
                Err(failure) => return Err(failure),
            };
            if self.left() == Duration::ZERO {
                return Err(fault.map_or_else(|| self.late(), |failure| self.unready(&failure)));
            }
            let pause = if fault.is_some() { RETRY_PAUSE } else { Duration::ZERO };
            if self.shutdown.sleep(pause.min(self.left())) {
                return Err(Failure::interrupted("the wait was interrupted"));
            }
        }
    }

    fn late(&self) -> Failure {
        let after = duration::display(self.most);
        Failure::outcome_unknown("timed-out", format!("not after {after}"))
    }

    fn unready(&self, failure: &Failure) -> Failure {
        let after = duration::display(self.most);
        let message = format!("{failure} (waited {after})");
        let told = Failure::new(failure.exit(), failure.code().to_owned(), message);
        match failure.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(most: Duration) -> Waiting {
        Waiting::new(Most { timeout: most }, Shutdown::new())
    }

    #[test]
    fn a_goal_is_a_height_or_a_count() {
        assert_eq!(parse_goal("12"), Ok(Goal::At(12)));
        assert_eq!(parse_goal("+2"), Ok(Goal::More(2)));
        for text in ["", "+", "-1", "x", "+x"] {
            assert!(parse_goal(text).is_err(), "{text}");
        }
        assert_eq!(Goal::At(7).height(Height(3)), Height(7));
        assert_eq!(Goal::More(2).height(Height(3)), Height(4), "blocks 3 and 4");
        assert_eq!(Goal::More(0).height(Height(3)), Height(2), "the newest one");
    }

    #[test]
    fn who_does_not_answer_is_asked_again() {
        let mut turns = 0;
        let answer = waiting(Duration::from_secs(60)).patiently(|_| {
            turns += 1;
            match turns {
                1 => Err(Failure::unreachable("cannot-connect", "nobody")),
                2 => Ok(None),
                turns => Ok(Some(turns)),
            }
        });
        assert_eq!(answer, Ok(3));
    }

    #[test]
    fn the_end_of_the_wait_tells_nobody_from_not_yet() {
        let nobody = waiting(Duration::ZERO)
            .patiently(|_| Err::<Option<()>, _>(Failure::unreachable("cannot-connect", "nobody")));
        let failure = nobody.unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Unreachable, "cannot-connect"));
        assert_eq!(failure.message(), "nobody (waited 0.0s)");
        let failure = waiting(Duration::ZERO).patiently(|_| Ok(None::<()>)).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::OutcomeUnknown, "timed-out"));
        let wrong = || Failure::configuration("wrong-role", "another");
        let failure = waiting(Duration::from_secs(60)).patiently(|_| Err::<Option<()>, _>(wrong()));
        assert_eq!(failure, Err(wrong()));
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let waiting = waiting(Duration::from_secs(60));
        waiting.shutdown.request();
        let failure = waiting.patiently(|_| Ok(None::<()>)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Interrupted);
    }
}
