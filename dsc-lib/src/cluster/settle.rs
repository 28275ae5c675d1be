//! The one rule by which something is put into the block log, whatever becomes of acknowledgements.
//!
//! # Invariants
//!
//! 1. The position named is always the one that the caller gave, which is what it has applied: never
//!    one that the log was asked for. What is asked for again is asked for at the same place, so that
//!    it cannot be there twice.
//! 2. What was not acknowledged is settled by reading the place. What stands there is compared by its
//!    bytes, for what others call it proves nothing.
//! 3. *Not appended* is said only if no try is in doubt.
//!
//! Checked by the tests here, and over many faults by `tests/cluster`.

use super::{AppendError, BlockLog, Entry, Position, ReadError};
use crate::hash::Digest;

/// Most bytes read to settle what was appended; the first entry is read whatever it has.
const READ_BYTES_MAX: usize = 8 << 20;

/// What stands after the position that the appender named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Appended {
    /// What was to be appended, at this position, whoever put it there.
    Mine(Position),
    /// Something else, and maybe more: at least one entry, the first right after that position. What
    /// was to be appended is not in the log because of this call, and never will be.
    Other(Vec<Entry>),
}

/// Puts `bytes` after the position `after`, which is the one that the caller has applied, and finds
/// out what stands there when it was not acknowledged; asks at most `tries` times.
///
/// # Errors
///
/// * [`AppendError::Unknown`]: it may be there, now or later. To settle it, ask for the same after
///   the same position again.
/// * [`AppendError::Conflict`]: it was not appended, and what stands there instead cannot be read, as
///   if the log had lost it; another node has been asked for
///   ([`distrust`](BlockLog::distrust)).
/// * [`AppendError::Unavailable`], [`AppendError::TooLarge`], [`AppendError::Full`]: it was not
///   appended.
pub fn append(
    log: &dyn BlockLog,
    after: Position,
    id: &Digest,
    bytes: &[u8],
    tries: u32,
) -> Result<Appended, AppendError> {
    let mut doubt = None;
    for _ in 0..tries.max(1) {
        match put(log, after, id, bytes) {
            Ok(position) => return Ok(Appended::Mine(position)),
            Err(AppendError::Conflict { .. }) => {}
            Err(unknown @ AppendError::Unknown { .. }) => doubt = Some(unknown),
            Err(refused) => return Err(doubt.unwrap_or(refused)),
        }
        match look(log, after, bytes) {
            Ok(Some(appended)) => return Ok(appended),
            Ok(None) => {}
            Err(ReadError::Missing { .. }) => log.distrust(),
            Err(ReadError::Unavailable(error)) => return Err(doubt.unwrap_or_else(|| error.into())),
        }
    }
    Err(doubt.unwrap_or(AppendError::Conflict { after }))
}

/// Asks once. An acknowledgement of another place than the one asked for is none.
fn put(
    log: &dyn BlockLog,
    after: Position,
    id: &Digest,
    bytes: &[u8],
) -> Result<Position, AppendError> {
    let position = log.append(after, id, bytes)?;
    if position == after.next() {
        return Ok(position);
    }
    let reason = format!("asked to append after {after}, the log says it is at {position}");
    Err(AppendError::Unknown { reason })
}

/// What stands after `after`, if there is anything.
fn look(log: &dyn BlockLog, after: Position, bytes: &[u8]) -> Result<Option<Appended>, ReadError> {
    let found = log.read(after, READ_BYTES_MAX)?;
    Ok(match found.first() {
        None => None,
        Some(first) if first.bytes == bytes => Some(Appended::Mine(first.position)),
        Some(_) => Some(Appended::Other(found)),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Mutex, time::Duration};

    use super::{super::Unavailable, *};

    const AFTER: Position = Position(6);
    const MINE: &[u8] = b"mine";

    type Read = Result<Vec<Entry>, ReadError>;

    /// A log that gives the answers it was told, in turn.
    #[derive(Debug, Default)]
    struct Told {
        appends: Mutex<VecDeque<Result<Position, AppendError>>>,
        reads: Mutex<VecDeque<Read>>,
        distrusted: Mutex<u32>,
    }

    impl BlockLog for Told {
        fn append(
            &self,
            after: Position,
            _: &Digest,
            bytes: &[u8],
        ) -> Result<Position, AppendError> {
            assert_eq!((after, bytes), (AFTER, MINE));
            self.appends.lock().unwrap().pop_front().unwrap()
        }

        fn read(&self, after: Position, _: usize) -> Read {
            assert_eq!(after, AFTER);
            self.reads.lock().unwrap().pop_front().unwrap()
        }

        fn wait(&self, _: Position, _: Duration) {}

        fn distrust(&self) {
            *self.distrusted.lock().unwrap() += 1;
        }
    }

    /// What comes of it, and how often another node was asked for; every answer has to be used up.
    fn settle<const A: usize, const R: usize>(
        appends: [Result<Position, AppendError>; A],
        reads: [Read; R],
    ) -> (Result<Appended, AppendError>, u32) {
        let tries = u32::try_from(A).unwrap();
        let log = Told {
            appends: Mutex::new(appends.into()),
            reads: Mutex::new(reads.into()),
            ..Told::default()
        };
        let settled = append(&log, AFTER, &Digest::ZERO, MINE, tries);
        assert!(log.appends.lock().unwrap().is_empty() && log.reads.lock().unwrap().is_empty());
        let distrusted = *log.distrusted.lock().unwrap();
        (settled, distrusted)
    }

    fn unknown() -> AppendError {
        AppendError::Unknown { reason: "time is up".to_owned() }
    }

    fn conflict() -> AppendError {
        AppendError::Conflict { after: AFTER }
    }

    fn missing() -> Read {
        Err(ReadError::Missing { position: AFTER.next(), reason: "no such message".to_owned() })
    }

    fn entry(bytes: &[u8]) -> Entry {
        Entry { position: AFTER.next(), id: Digest::ZERO, bytes: bytes.to_vec() }
    }

    #[test]
    fn what_is_acknowledged_or_found_is_mine() {
        let mine = || (Ok(Appended::Mine(AFTER.next())), 0);
        assert_eq!(settle([Ok(AFTER.next())], []), mine());
        assert_eq!(settle([Err(unknown())], [Ok(vec![entry(MINE)])]), mine());
        assert_eq!(settle([Err(conflict())], [Ok(vec![entry(MINE)])]), mine());
        assert_eq!(settle([Err(unknown()), Ok(AFTER.next())], [Ok(vec![])]), mine());
        // It was under way when the log was read.
        let late = [Ok(vec![]), Ok(vec![entry(MINE)])];
        assert_eq!(settle([Err(unknown()), Err(conflict())], late), mine());
    }

    #[test]
    fn an_acknowledgement_of_another_place_is_none() {
        let (settled, _) = settle([Ok(Position(9))], [Ok(vec![])]);
        let text = settled.unwrap_err().to_string();
        assert_eq!(text, "no acknowledgement: asked to append after 6, the log says it is at 9");
    }

    #[test]
    fn what_others_put_there_is_told() {
        let theirs = vec![entry(b"theirs")];
        let found = (Ok(Appended::Other(theirs.clone())), 0);
        assert_eq!(settle([Err(conflict())], [Ok(theirs.clone())]), found);
        assert_eq!(settle([Err(unknown())], [Ok(theirs)]), found);
    }

    #[test]
    fn only_what_is_in_no_doubt_is_said_not_to_be_there() {
        let down = || Unavailable::new("no quorum");
        let refused = || AppendError::from(down());
        assert_eq!(settle([Err(refused())], []), (Err(refused()), 0));
        assert_eq!(settle([Err(conflict())], [Err(down().into())]), (Err(refused()), 0));
        assert_eq!(settle([Err(unknown())], [Err(down().into())]), (Err(unknown()), 0));
        assert_eq!(settle([Err(unknown()), Err(refused())], [Ok(vec![])]), (Err(unknown()), 0));
        let none = [Ok(vec![]), Ok(vec![])];
        assert_eq!(settle([Err(unknown()), Err(conflict())], none), (Err(unknown()), 0));
    }

    #[test]
    fn a_log_that_has_lost_entries_is_distrusted() {
        assert_eq!(settle([Err(conflict())], [missing()]), (Err(conflict()), 1));
        assert_eq!(settle([Err(unknown())], [missing()]), (Err(unknown()), 1));
        let told = settle([Err(conflict()), Err(conflict())], [missing(), Ok(vec![entry(MINE)])]);
        assert_eq!(told, (Ok(Appended::Mine(AFTER.next())), 1));
    }
}
