//! The threads of a server that shares its log with others: one follows the log, one says how far
//! it has come, one keeps a snapshot of the state where new servers find it.

use std::{thread::JoinHandle, time::Duration};

use dsc_lib::{ledger::Maintained, units::Millis};

use super::{Server, member::Member};
use crate::{exit::Failure, role::spawn, shutdown::Shutdown};

/// Longest wait for an entry before the engine is asked again, which tells whether it is there.
const WAIT: Duration = Duration::from_millis(500);
/// Pause after the engine made trouble.
const PAUSE: Duration = Duration::from_millis(250);
/// Least time between two notes.
const NOTE_PAUSE: Duration = Duration::from_millis(200);
/// Pause between two looks whether a snapshot is due.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);
/// Pause after the store took none: to make one costs as much as there are accounts.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Most time between two notes.
const BEAT: Millis = Millis(1_000);

/// Starts the threads.
pub(crate) fn follow(server: &Server, shutdown: &Shutdown) -> Result<Vec<JoinHandle<()>>, Failure> {
    let Some(member) = &server.member else { return Ok(Vec::new()) };
    let start = |name, run: fn(&Server, &Member, &Shutdown)| {
        let (server, member, shutdown) = (server.clone(), member.clone(), shutdown.clone());
        spawn(name, move || run(&server, &member, &shutdown))
    };
    Ok(vec![
        start("follower", follow_log)?,
        start("noter", note_place)?,
        start("snapshots", put_snapshots)?,
    ])
}

fn follow_log(server: &Server, member: &Member, shutdown: &Shutdown) {
    while !shutdown.is_requested() {
        match server.follow(member) {
            Ok(0) if is_done(server) => member.cluster.blocks.wait(member.position(), WAIT),
            Ok(_) => {}
            Err(_) => drop(shutdown.sleep(PAUSE)),
        }
    }
}

/// Does a part of what keeps the ledger's index in order; whether there is nothing left to do.
fn is_done(server: &Server) -> bool {
    match server.archive.maintain() {
        Ok(Maintained::More) => false,
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, "the ledger's index cannot be written");
            true
        }
    }
}

fn note_place(server: &Server, member: &Member, shutdown: &Shutdown) {
    let (mut said, mut last) = (None, None);
    while !shutdown.is_requested() {
        let now = member.now();
        let is_due = last.is_none_or(|last| now.since(last) >= BEAT);
        if is_due || said != Some(member.position()) {
            let position = member.position();
            match server.note(member) {
                Ok(()) => (said, last) = (Some(position), Some(now)),
                Err(error) => tracing::debug!(%error, "how far this server is cannot be said"),
            }
        }
        shutdown.sleep(NOTE_PAUSE);
    }
}

fn put_snapshots(server: &Server, member: &Member, shutdown: &Shutdown) {
    let (mut next, mut pause) = (None, SNAPSHOT_PAUSE);
    while !shutdown.sleep(pause) {
        pause = SNAPSHOT_PAUSE;
        if server.tip().0 < next {
            continue;
        }
        match server.put_snapshot(member) {
            Ok(due) => next = Some(due),
            Err(error) => {
                tracing::warn!(%error, "the shared store takes no snapshot");
                pause = REFUSED_PAUSE;
            }
        }
    }
}
