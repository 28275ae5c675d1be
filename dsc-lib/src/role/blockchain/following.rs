//! How far a server has read the log of blocks that it shares with others.
//!
//! # Invariants
//!
//! 1. A position is not a height: an entry that breaks a rule is passed over by every server, so
//!    that positions may run ahead of heights, never behind.
//! 2. A server goes on from where the log has its own tip, or not at all: it never guesses.
//! 3. What it has read last it can name, so that a log that shows something else there is found out
//!    before anything is appended to it or passed over because of it.

use thiserror::Error;

use crate::{
    block::{BlockHash, Header},
    cluster::{BlockLog, Entry, Position, ReadError},
    codec,
    hash::Digest,
    ledger::BlockError,
    units::Height,
};

use super::SubmitError;

/// Most bytes of entries read at once; one entry is always given.
const READ_BYTES_MAX: usize = 8 << 20;

/// Why a server cannot go on along the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FollowFault {
    /// The log does not have the block that this server's ledger ends with.
    #[error("the log has not got block {height} ({hash}), with which this ledger ends")]
    Elsewhere {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
    },
    /// The log has not got the block that this server's ledger ends with, but has lost an entry that
    /// may have been that.
    #[error(
        "the log has not got block {height} ({hash}), with which this ledger ends, and has lost what \
         was at position {position}"
    )]
    TipLost {
        /// Its height.
        height: Height,
        /// Its hash.
        hash: BlockHash,
        /// The first entry that is lost and may have been it.
        position: Position,
    },
    /// The log ends before what this server has read of it.
    #[error("the log ends before position {position}, which was read")]
    Regressed {
        /// What was read.
        position: Position,
    },
    /// At a position that was read there is something else now.
    #[error("the log has another entry at position {position} than was read there")]
    Changed {
        /// Where.
        position: Position,
    },
    /// What was read there is lost, so that nobody can tell whether the log is still the same.
    #[error("the log has lost the entry at position {position}, which tells it from another")]
    Unsure {
        /// Where.
        position: Position,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The last entry of the log that a server has read: where, and what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    position: Position,
    /// BLAKE3 of the entry's bytes; nothing before the first entry, or if its bytes are lost.
    seal: Option<Digest>,
}

impl Bookmark {
    /// Before the first entry.
    pub const START: Self = Self { position: Position::START, seal: None };

    /// At this entry.
    pub fn at(entry: &Entry) -> Self {
        Self { position: entry.position, seal: Some(seal_of(&entry.bytes)) }
    }

    /// At the entry that was appended with these bytes.
    pub fn of_own(position: Position, bytes: &[u8]) -> Self {
        Self { position, seal: Some(seal_of(bytes)) }
    }

    /// At an entry that the log has lost.
    pub const fn past_lost(position: Position) -> Self {
        Self { position, seal: None }
    }

    /// How many entries were read.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Finds the entry with the block that a ledger ends with.
    ///
    /// It is looked for from the first position on at which it can be. An entry after it tells as
    /// well, for that names its parent: so one that was lost does no harm.
    ///
    /// # Errors
    ///
    /// [`FollowFault`].
    pub fn find(
        log: &dyn BlockLog,
        height: Option<Height>,
        tip: &BlockHash,
    ) -> Result<Self, FollowFault> {
        let Some(height) = height else { return Ok(Self::START) };
        let (mut after, mut missing) = (Position(height.0), None);
        loop {
            let entries = match log.read(after, READ_BYTES_MAX) {
                Ok(entries) => entries,
                // One is lost: what comes after it may tell.
                Err(ReadError::Missing { position, .. }) if position > after => {
                    missing = missing.or(Some(position));
                    after = position;
                    continue;
                }
                Err(ReadError::Missing { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            if let Some(found) = entries.iter().find_map(|entry| at_tip(entry, tip)) {
                return Ok(found);
            }
            let Some(last) = entries.last() else {
                let hash = *tip;
                return Err(match missing {
                    Some(position) => FollowFault::TipLost { height, hash, position },
                    None => FollowFault::Elsewhere { height, hash },
                });
            };
            after = last.position;
        }
    }

    /// The bookmark of a ledger whose tip the log has lost, as [`Bookmark::find`] said by `fault`, if
    /// somebody who had come to that tip had read so many entries: what is after the one that was lost
    /// did not change it.
    ///
    /// # Errors
    ///
    /// [`FollowFault`] if that cannot be, or the log cannot be read.
    pub fn told(
        log: &dyn BlockLog,
        fault: &FollowFault,
        position: Position,
    ) -> Result<Self, FollowFault> {
        let FollowFault::TipLost { position: lost, .. } = fault else { return Err(fault.clone()) };
        if position < *lost {
            return Err(fault.clone());
        }
        let mark = Self::past_lost(position);
        match mark.read(log) {
            // The one after it is lost as well.
            Ok(_) | Err(FollowFault::Read(ReadError::Missing { .. })) => Ok(mark),
            Err(other) => Err(other),
        }
    }

    /// Whether the log still shows what was read last.
    ///
    /// # Errors
    ///
    /// [`FollowFault`] if it does not, or cannot be read.
    pub fn verify(&self, log: &dyn BlockLog) -> Result<(), FollowFault> {
        let position = self.position;
        let Some(before) = position.0.checked_sub(1).map(Position) else { return Ok(()) };
        let Some(seal) = self.seal else { return Err(FollowFault::Unsure { position }) };
        let entries = match log.read(before, 1) {
            Err(ReadError::Missing { position: lost, .. }) if lost == position => {
                return Err(FollowFault::Unsure { position });
            }
            Err(ReadError::Missing { .. }) => return Err(FollowFault::Regressed { position }),
            other => other?,
        };
        match entries.first() {
            None => Err(FollowFault::Regressed { position }),
            Some(entry) if seal_of(&entry.bytes) == seal => Ok(()),
            Some(_) => Err(FollowFault::Changed { position }),
        }
    }

    /// The entries that come next; none if this is the last one.
    ///
    /// # Errors
    ///
    /// [`FollowFault::Regressed`] if the log ends before; [`FollowFault::Read`] if the next entry
    /// is lost or the log cannot be read.
    pub fn read(&self, log: &dyn BlockLog) -> Result<Vec<Entry>, FollowFault> {
        match log.read(self.position, READ_BYTES_MAX) {
            Err(ReadError::Missing { position, .. }) if position <= self.position => {
                Err(FollowFault::Regressed { position: self.position })
            }
            // Further on one is lost: the next one is not.
            Err(ReadError::Missing { position, .. }) if position > self.position.next() => {
                Ok(log.read(self.position, 1)?)
            }
            read => Ok(read?),
        }
    }
}

/// The bookmark at a tip that this entry has, or is the child of.
fn at_tip(entry: &Entry, tip: &BlockHash) -> Option<Bookmark> {
    let (header, _) = codec::decode_first::<Header>(&entry.bytes).ok()?;
    if header.hash() == *tip {
        return Some(Bookmark::at(entry));
    }
    let before = entry.position.0.checked_sub(1).map(Position)?;
    (header.parent == *tip).then(|| Bookmark::past_lost(before))
}

fn seal_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// Whether an entry that breaks this rule would keep it on another chain of blocks: such a one is
/// passed over only if the log is known to be the one that was read so far.
pub const fn tells_apart(error: &SubmitError) -> bool {
    matches!(
        error,
        SubmitError::Equivocation { .. }
            | SubmitError::Block(BlockError::Height { .. } | BlockError::Parent { .. })
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        cluster::Embedded,
        ledger::Ledger,
        testing::{chain, faulty::Faulty, next_block},
    };

    /// A log of three blocks with garbage after the first, and the ledger of them.
    fn log() -> (Arc<Embedded>, Ledger) {
        let (engine, mut ledger) = (Embedded::in_memory(), Ledger::in_memory(chain()));
        let mut after = Position::START;
        for height in 0..3 {
            let block = next_block(ledger.state(), vec![], vec![]);
            ledger.commit(&block).unwrap();
            let garbage = (height == 0).then(|| b"garbage".to_vec());
            for bytes in [block.to_bytes()].into_iter().chain(garbage) {
                after = BlockLog::append(&*engine, after, &Digest::ZERO, &bytes).unwrap();
            }
        }
        (engine, ledger)
    }

    fn hash(ledger: &Ledger, height: u64) -> BlockHash {
        ledger.header(Height(height)).unwrap().unwrap().hash()
    }

    #[test]
    fn a_server_finds_its_tip_wherever_that_is() {
        let (engine, ledger) = log();
        assert_eq!(Bookmark::find(&*engine, None, &Digest::ZERO), Ok(Bookmark::START));
        for (height, position) in [(0, 1), (1, 3), (2, 4)] {
            let hash = hash(&ledger, height);
            let found = Bookmark::find(&*engine, Some(Height(height)), &hash).unwrap();
            assert_eq!(found.position(), Position(position));
            found.verify(&*engine).unwrap();
        }
        let height = Height(1);
        let fault = Bookmark::find(&*engine, Some(height), &Digest::ZERO).unwrap_err();
        assert_eq!(fault, FollowFault::Elsewhere { height, hash: Digest::ZERO });
        let far = Bookmark::find(&*engine, Some(Height(9)), &hash(&ledger, 2)).unwrap_err();
        assert!(far.to_string().starts_with("the log has not got block 9 "), "{far}");
    }

    #[test]
    fn a_tip_that_the_log_has_lost_is_known_by_its_child() {
        let (engine, ledger) = log();
        let faulty = Faulty::new(engine.cluster(), 1);
        faulty.lose(Position(3));
        let log = faulty.cluster().blocks;
        let found = Bookmark::find(&*log, Some(Height(1)), &hash(&ledger, 1)).unwrap();
        let position = Position(3);
        assert_eq!(found, Bookmark::past_lost(position));
        assert_eq!(found.verify(&*log), Err(FollowFault::Unsure { position }));
        assert_eq!(found.read(&*log).unwrap().len(), 1);
    }

    #[test]
    fn a_tip_that_the_log_has_lost_at_its_end_is_where_somebody_says_it_was() {
        let (engine, ledger) = log();
        let faulty = Faulty::new(engine.cluster(), 1);
        faulty.lose(Position(4));
        let log = faulty.cluster().blocks;
        let (height, hash, position) = (Height(2), hash(&ledger, 2), Position(4));
        let fault = Bookmark::find(&*log, Some(height), &hash).unwrap_err();
        assert_eq!(fault, FollowFault::TipLost { height, hash, position });
        assert!(fault.to_string().ends_with("has lost what was at position 4"), "{fault}");
        let told = |position| Bookmark::told(&*log, &fault, Position(position));
        assert_eq!(told(4), Ok(Bookmark::past_lost(position)));
        assert_eq!(told(3), Err(fault.clone()), "it stands there, and is another");
        assert_eq!(told(5), Err(FollowFault::Regressed { position: Position(5) }));
        let elsewhere = FollowFault::Elsewhere { height, hash };
        assert_eq!(Bookmark::told(&*log, &elsewhere, position), Err(elsewhere));
    }

    #[test]
    fn a_log_that_is_another_one_is_told_from_the_one_read() {
        let (log, _) = log();
        let entries = BlockLog::read(&*log, Position::START, 1 << 20).unwrap();
        let (second, third) = (Bookmark::at(&entries[1]), Bookmark::at(&entries[2]));
        let own = Bookmark::of_own(Position(2), b"garbage");
        assert_eq!((own, third.verify(&*log)), (second, Ok(())));
        let other = Bookmark::of_own(Position(2), b"something else");
        let changed = FollowFault::Changed { position: Position(2) };
        assert_eq!(other.verify(&*log), Err(changed));
        let shorter = Embedded::in_memory();
        for entry in &entries[..2] {
            let before = Position(entry.position.0 - 1);
            BlockLog::append(&*shorter, before, &entry.id, &entry.bytes).unwrap();
        }
        assert_eq!(second.verify(&*shorter), Ok(()));
        let regressed = FollowFault::Regressed { position: Position(3) };
        assert_eq!(third.verify(&*shorter), Err(regressed.clone()));
        assert_eq!(third.read(&*shorter), Err(regressed));
    }

    #[test]
    fn what_comes_before_a_gap_is_read() {
        let (engine, _) = log();
        let faulty = Faulty::new(engine.cluster(), 1);
        faulty.lose(Position(3));
        let log = faulty.cluster().blocks;
        let mut mark = Bookmark::START;
        for _ in 0..2 {
            mark = Bookmark::at(mark.read(&*log).unwrap().first().unwrap());
        }
        let fault = mark.read(&*log).unwrap_err();
        let is_gap = |fault: &FollowFault| {
            matches!(fault, FollowFault::Read(ReadError::Missing { position: Position(3), .. }))
        };
        assert!(is_gap(&fault), "{fault}");
    }
}
