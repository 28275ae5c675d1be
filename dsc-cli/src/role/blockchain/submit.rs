//! A block that is handed in.

use axum::{body::Bytes, extract::State};
use dsc_lib::{
    block::Header,
    codec,
    ledger::{Archive, Maintained},
    role::blockchain::{self, SubmitError},
    units::Millis,
};

use super::{
    super::{blocking, refused},
    Server,
};
use crate::{
    clock::SystemClock,
    crash::{self, Point},
    http::{Json, Problem},
};

/// How far ahead of this machine's clock a block may be. The rules bound its time from below only:
/// after one at the end of time no other could follow, whoever made it.
const AHEAD_MAX: Millis = Millis(2 * 60 * 60 * 1000);

pub(super) async fn submit(
    State(server): State<Server>,
    body: Bytes,
) -> Result<Json<blockchain::Accepted>, Problem> {
    let archive = server.archive.clone();
    let work = move || {
        if let Ok((header, _)) = codec::decode_first::<Header>(&body) {
            refuse_ahead(header.time, SystemClock::new().unix())?;
        }
        server.submit(&body).map_err(|fault| fault.problem())
    };
    let answer = blocking(work).await.map(Json);
    // Nobody waits for this: it goes on beside the answer.
    drop(tokio::task::spawn_blocking(move || maintain(&archive)));
    answer
}

/// Keeps the index of the ledger in order, so that no block has to wait for that.
fn maintain(archive: &Archive) {
    loop {
        match archive.maintain() {
            Ok(Maintained::More) => {}
            Ok(_) => return crash::point(Point::BlockchainMaintained),
            Err(error) => return tracing::error!(%error, "the ledger's index cannot be written"),
        }
    }
}

const CLOCK_HINT: &str = "the clock of the metronome is fast or that of this machine is slow: set \
                          both, then the metronome hands the block in again";

fn refuse_ahead(got: Millis, now: Millis) -> Result<(), Problem> {
    let max = now.plus(AHEAD_MAX);
    if got <= max {
        return Ok(());
    }
    let detail = format_args!("the block's time is {got}, this server takes none above {max}");
    Err(Problem::rejected("block-ahead", detail).with_hint(CLOCK_HINT))
}

pub(super) fn submit_problem(error: &SubmitError) -> Problem {
    if let SubmitError::Equivocation { seen, is_new: true } = error {
        let (first, second) = (seen.first.hash(), seen.second.hash());
        let (metronome, height) = (seen.first.metronome, seen.first.height);
        tracing::error!(%metronome, %height, %first, %second, "a metronome signed two blocks");
    }
    if let Some(refusal) = error.refusal() {
        return refused(&refusal);
    }
    tracing::error!(%error, "a block could not be stored");
    Problem::unavailable("store-failed", "this server could not store the block")
}

#[cfg(test)]
mod tests {
    use dsc_lib::{
        ledger::{Ledger, Proposal},
        role::blockchain::Blockchain,
        testing::{METRONOME, genesis},
        units::Height,
    };

    use super::*;
    use crate::role::Shared;

    /// A metronome with a wrong clock, or a bad one, could else end the chain for ever.
    #[test]
    fn a_block_far_ahead_of_the_clock_is_refused() {
        let ledger = Ledger::in_memory(genesis().check().unwrap());
        let server = Server::new(&Shared::new(Blockchain::new(ledger)), None);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let submit_at = |time| {
            let state = server.shared.lock().ledger().state().clone();
            let proposal = Proposal { proofs: vec![], transactions: vec![], time, epoch: 0 };
            let (block, _) = state.draft(proposal, &METRONOME).unwrap();
            runtime.block_on(submit(State(server.clone()), block.to_bytes().into()))
        };
        let now = SystemClock::new().unix();
        let problem = submit_at(Millis(u64::MAX)).unwrap_err();
        assert_eq!((problem.code(), problem.hint()), ("block-ahead", Some(CLOCK_HINT)));
        assert!(submit_at(now.plus(AHEAD_MAX).plus(Millis(60_000))).is_err());
        assert_eq!(submit_at(now.plus(Millis(1))).unwrap().0.height, Height(0));
    }
}
