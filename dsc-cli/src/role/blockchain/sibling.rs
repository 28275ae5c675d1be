//! What the shared log has lost, asked of the other servers.
//!
//! # Invariants
//!
//! 1. A block is taken only if all that answer have the same one; it is checked as ever.

use dsc_lib::{
    cluster::Position,
    codec::{self, List},
    units::Height,
};

use super::{
    Server,
    faults::Fault,
    member::{Member, SIBLING_TIME},
    note::ReplicaNote,
};
use crate::{
    http::{Client, ClientError},
    role::transport::{BULK_BYTES_MAX, BlockList},
};

/// Where something was had, and the block; nothing if the entry was none.
pub(super) type Found = (String, Option<Vec<u8>>);

impl Server {
    /// What other servers have for the entry at `position`, which the log has lost.
    pub(super) fn ask_siblings(&self, member: &Member, position: Position) -> Result<Found, Fault> {
        let tip = self.tip();
        let next = tip.0.map_or(Height(0), Height::next);
        let others = member.others();
        let (mut found, mut reasons): (Option<Found>, _) = (None, Vec::new());
        for other in others.iter().filter(|other| other.position >= position.0) {
            let has_tip = (other.height, other.hash) == (tip.0, tip.0.map(|_| tip.1));
            let had = if has_tip { Ok(None) } else { block_of(other, next).map(Some) };
            match (had, &found) {
                (Err(error), _) => reasons.push(error.to_string()),
                (Ok(block), Some((from, known))) if block != *known => {
                    let reason = format!("{from} and {} have other blocks {next}", other.url);
                    return Err(Fault::Lost { position, reason });
                }
                (Ok(block), _) => found = Some((other.url.clone(), block)),
            }
        }
        found.ok_or_else(|| Fault::Lost { position, reason: all(&reasons) })
    }
}

fn all(reasons: &[String]) -> String {
    if reasons.is_empty() { "there is none that has read it".into() } else { reasons.join("; ") }
}

/// The block at a height, as another server has it.
fn block_of(other: &ReplicaNote, height: Height) -> Result<Vec<u8>, ClientError> {
    let client = Client::new(&other.url, SIBLING_TIME, SIBLING_TIME, BULK_BYTES_MAX)?;
    let bytes = client.get_bytes(&format!("/v1/blocks?from={height}"))?;
    let malformed = |reason: &dyn std::fmt::Display| ClientError::Malformed {
        url: other.url.clone(),
        reason: reason.to_string(),
    };
    let blocks: BlockList = codec::decode(&bytes).map_err(|error| malformed(&error))?;
    let first = blocks.into_vec().into_iter().next().map(List::into_vec);
    first.ok_or_else(|| malformed(&format_args!("it has no block {height} yet")))
}
