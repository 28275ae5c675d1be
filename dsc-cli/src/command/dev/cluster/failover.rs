//! What happens when a process of the cluster is killed, measured from block to block.

use std::{fmt, time::Duration};

use dsc_lib::{
    role::{Answer, Call},
    units::Height,
};
use serde::{Deserialize, Serialize};

use super::{child::Child, engine::Nodes, roles::Roles};
use crate::{
    clock::SystemClock, exit::Failure, http::Client, output::note, role::transport::Transport,
    shutdown::Shutdown,
};

/// Time between two looks at the tip.
const LOOK: Duration = Duration::from_millis(50);
/// Blocks that are seen before something is killed, and after.
const BLOCKS: u64 = 3;
/// How long the chain may take to go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that was killed, and how long no block came.
#[derive(Debug, Serialize)]
pub(super) struct Failover {
    killed: String,
    /// Nothing if no block came in time.
    gap_ms: Option<u64>,
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gap_ms {
            Some(gap) => write!(f, "killed {}: the next block came after {gap} ms", self.killed),
            None => write!(f, "killed {}: NO BLOCK within {PATIENCE:?}", self.killed),
        }
    }
}

/// Kills one process after the other, starts it again each time, and tells how long that was felt.
/// Asked to end, it tells what was seen until then.
pub(super) fn show(
    roles: &mut Roles,
    nodes: &mut Nodes,
    transport: &Transport,
    shutdown: &Shutdown,
) -> Result<Vec<Failover>, Failure> {
    let mut watch = Watch { transport, shutdown, clock: SystemClock::new(), seen: Vec::new() };
    if watch.advance(BLOCKS).is_some() {
        match kill_each(roles, nodes, &mut watch) {
            Err(failure) if !shutdown.is_requested() => return Err(failure),
            _ => {}
        }
    }
    Ok(watch.seen)
}

fn kill_each(roles: &mut Roles, nodes: &mut Nodes, watch: &mut Watch<'_>) -> Result<(), Failure> {
    if let Some(index) = nodes.leader_of("_BLOCKS") {
        let what = format!("{}, which led the log of blocks", nodes.name(index));
        nodes.kill(index);
        watch.feel(what);
        nodes.restart(index, watch.shutdown)?;
        watch.advance(BLOCKS);
    }
    let leading = roles.metronomes().find(|url| leads(url)).map(str::to_owned);
    if let Some(metronome) = leading.and_then(|url| roles.metronome_at(&url)) {
        let what = format!("{}, which led", metronome.name());
        watch.kill(metronome, what)?;
    }
    if let Some(server) = roles.blockchain() {
        watch.kill(server, server.name().to_owned())?;
    }
    if let Some(pool) = roles.pool() {
        watch.kill(pool, pool.name().to_owned())?;
    }
    Ok(())
}

/// What a metronome tells of itself, as far as it matters here.
#[derive(Deserialize)]
struct Standing {
    #[serde(default)]
    leading: bool,
}

fn leads(url: &str) -> bool {
    let time = Duration::from_secs(2);
    let client = Client::new(url, time, time, 1 << 20).ok();
    let standing = client.and_then(|client| client.get_json::<Standing>("/v1/status").ok());
    standing.is_some_and(|standing| standing.leading)
}

/// Somebody who looks at the tip.
struct Watch<'a> {
    transport: &'a Transport,
    shutdown: &'a Shutdown,
    clock: SystemClock,
    seen: Vec<Failover>,
}

impl Watch<'_> {
    fn height(&self) -> Option<Height> {
        match self.transport.call(&Call::ChainInfo) {
            Ok(Answer::ChainInfo(info)) => info.height,
            _ => None,
        }
    }

    /// Waits until there are `count` more blocks; nothing if they do not come.
    fn advance(&mut self, count: u64) -> Option<()> {
        let goal = self.height().map_or(0, |height| height.0).saturating_add(count);
        let start = self.clock.elapsed();
        while self.height().is_none_or(|height| height.0 < goal) {
            let waited = self.clock.elapsed().saturating_sub(start);
            if waited > PATIENCE || self.shutdown.sleep(LOOK) {
                return None;
            }
        }
        Some(())
    }

    /// Kills a process, and starts it again once that was felt.
    fn kill(&mut self, child: &mut Child, what: String) -> Result<(), Failure> {
        if self.shutdown.is_requested() {
            return Ok(());
        }
        child.kill();
        self.feel(what);
        child.restart()?;
        self.advance(BLOCKS);
        Ok(())
    }

    /// Tells how long it takes from now until the next block, unless that is not waited for.
    fn feel(&mut self, killed: String) {
        let start = self.clock.elapsed();
        let came = self.advance(1);
        if came.is_none() && self.shutdown.is_requested() {
            return;
        }
        let gap = self.clock.elapsed().saturating_sub(start);
        let gap_ms = came.map(|()| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
        let failover = Failover { killed, gap_ms };
        note(&failover);
        self.seen.push(failover);
    }
}
