//! The lease: which of several metronomes makes blocks, by one record on the [`Board`].
//!
//! A metronome that holds the lease renews its record every fifth of the lease time. One that does
//! not looks at the record as often, and takes the lease over when the record has not moved for the
//! lease time.
//!
//! # Invariants
//!
//! 1. The record is replaced only by compare-and-swap from what was read last: nobody takes over a
//!    record that it has not seen, and of two that try one fails.
//! 2. Whoever takes over has an epoch above that of the record and above that of the ledger's tip:
//!    no two holders have the same one, and a board that was lost does not begin anew. A record
//!    whose epoch no next block may have ([`EPOCH_STEP_MAX`]) does not count: nobody could go on
//!    above it.
//! 3. A holder counts from before its renewal was sent and stops after four fifths of the lease
//!    time; a candidate counts from after it saw the record and waits for all of it. Both go by
//!    their own clock, so one has stopped before another begins unless it stood still meanwhile: then
//!    blockchain servers refuse its blocks, because the record names another.
//! 4. A put that was not acknowledged is settled by reading.
//! 5. Nothing here reads a clock or waits: time is an argument, and the caller does what
//!    [`Lease::next`] asks for.
//!
//! [`Board`]: super::Board

use serde::{Deserialize, Serialize};

use super::{PutError, Revision, Unavailable};
use crate::{address::Address, ledger::EPOCH_STEP_MAX, units::Millis};

/// The key of the record, on [`Shelf::Control`](super::Shelf::Control).
pub const KEY: &str = "metronome";
/// A holder leads for this part of the lease time after its last renewal was sent.
const LED_FIFTHS: u64 = 4;
const FIFTHS: u64 = 5;

/// Who holds the lease. On the board it is JSON; names that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Address of the key that the holder signs with.
    pub holder: Address,
    /// Which process of that key it is: drawn when it started.
    #[serde(default)]
    pub process: u64,
    /// Where the holder is reached.
    #[serde(default)]
    pub url: String,
    /// The number of the lease, for the blocks made under it.
    pub epoch: u64,
    /// How often it was renewed.
    #[serde(default)]
    pub beat: u64,
    /// Whether the holder gave it back: others who want it need not wait.
    #[serde(default)]
    pub released: bool,
}

/// A metronome, as it stands in its [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Address of the key that it signs with.
    pub key: Address,
    /// Which process of that key it is: drawn when it started.
    pub process: u64,
    /// Where it is reached.
    pub url: String,
}

/// What was read: the revision of the note, and the record in it if it is one.
pub type Found = (Revision, Option<Record>);

/// What a lease wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// Get the record, for [`Lease::read`].
    Read,
    /// Put this record if the note has this revision, for [`Lease::put`].
    Put(Record, Revision),
    /// Nothing before this time.
    Wait(Millis),
}

/// A lease that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its number.
    pub epoch: u64,
    /// The holder makes no block from then on, unless it was renewed.
    pub until: Millis,
}

/// What the board had, and since when nothing else.
#[derive(Clone, Debug)]
struct Seen {
    revision: Revision,
    record: Option<Record>,
    since: Millis,
}

/// A record that was put, and when it was for the first and for the last time.
#[derive(Clone, Debug)]
struct Sent {
    record: Record,
    first: Millis,
    last: Millis,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Reading,
    Deciding,
    /// Until the put that was asked for is answered.
    Putting,
    /// Held until it is to be renewed.
    Holding(Millis),
    /// Nothing before this time.
    Resting(Millis),
}

/// One metronome's view of the lease.
#[derive(Debug)]
pub struct Lease {
    me: Applicant,
    time: Millis,
    phase: Phase,
    seen: Option<Seen>,
    /// The last put, if nobody has said what became of it.
    sent: Option<Sent>,
    /// While it is held: when its last renewal was sent.
    renewed: Option<Millis>,
}

impl Lease {
    /// A lease that lasts `time` after each renewal, of which nothing is known yet.
    pub fn new(me: Applicant, time: Millis) -> Self {
        Self { me, time, phase: Phase::Reading, seen: None, sent: None, renewed: None }
    }

    /// The lease time.
    pub fn time(&self) -> Millis {
        self.time
    }

    /// Under which lease blocks may be made, and until when.
    pub fn term(&self) -> Option<Term> {
        let (renewed, epoch) = self.renewed.zip(self.record().map(|record| record.epoch))?;
        Some(Term { epoch, until: renewed.plus(Millis(self.fifth().0.saturating_mul(LED_FIFTHS))) })
    }

    /// Who makes blocks, as far as the board tells: nobody if the record has not moved for the lease
    /// time.
    pub fn leader(&self, now: Millis) -> Option<&Record> {
        let seen = self.seen.as_ref().filter(|seen| now.since(seen.since) < self.time)?;
        seen.record.as_ref().filter(|record| !record.released)
    }

    /// What to do at time `now`. `tip` is the epoch of the ledger's tip if this metronome could make
    /// the next block; without one it takes no lease, and gives back the one that it has.
    pub fn next(&mut self, now: Millis, tip: Option<u64>) -> Ask {
        match self.phase {
            Phase::Resting(until) if now < until => Ask::Wait(until),
            Phase::Holding(until) if now < until && tip.is_some() => Ask::Wait(until),
            // Who holds it knows what it replaces.
            Phase::Resting(_) if self.renewed.is_some() => self.decide(now, tip),
            Phase::Holding(_) | Phase::Deciding => self.decide(now, tip),
            // Whoever asks while a put is to be answered has lost the answer.
            Phase::Resting(_) | Phase::Reading | Phase::Putting => {
                self.phase = Phase::Reading;
                Ask::Read
            }
        }
    }

    /// Takes what was read at time `now`.
    pub fn read(&mut self, now: Millis, found: Result<Found, Unavailable>) {
        let Ok((revision, record)) = found else { return self.rest(now) };
        let since = self.seen.as_ref().filter(|seen| seen.revision == revision);
        let since = since.map_or(now, |seen| seen.since);
        let is_mine = record.as_ref().is_some_and(|record| self.is_mine(record));
        let sent = self.sent.take_if(|sent| Some(&sent.record) == record.as_ref());
        self.seen = Some(Seen { revision, record, since });
        self.renewed = match sent {
            // It was put after all, and nobody knows by which try.
            Some(sent) if is_mine => Some(sent.first),
            // One that came to be long after it was sent is held, and leads to nothing until it is
            // renewed.
            _ if is_mine => Some(self.renewed.unwrap_or_default()),
            _ => None,
        };
        self.phase = Phase::Deciding;
    }

    /// Takes what became of the put that [`Lease::next`] asked for.
    pub fn put(&mut self, now: Millis, done: &Result<Revision, PutError>) {
        self.phase = Phase::Reading;
        match done {
            Ok(revision) => self.acknowledged(now, *revision),
            // Unless it was put by a try before, another one is on the board.
            Err(PutError::Conflict { .. }) => self.renewed = None,
            Err(PutError::Unavailable(_) | PutError::Invalid { .. }) => self.rest(now),
            Err(_) => {}
        }
    }

    fn acknowledged(&mut self, now: Millis, revision: Revision) {
        let Some(Sent { record, last, .. }) = self.sent.take() else { return };
        let pause = last.plus(self.fifth());
        self.phase = if record.released { Phase::Resting(pause) } else { Phase::Holding(pause) };
        self.renewed = (!record.released).then_some(last);
        self.seen = Some(Seen { revision, record: Some(record), since: now });
    }

    fn decide(&mut self, now: Millis, tip: Option<u64>) -> Ask {
        let wanted = self.seen.as_ref().and_then(|seen| {
            let record = seen.record.as_ref();
            let next = match (record.filter(|_| self.renewed.is_some()), tip) {
                (Some(held), tip) => Some(renewed(held, tip)),
                (None, Some(tip)) if self.is_free(seen, now) => Some(self.taken(record, tip)),
                _ => None,
            };
            next.map(|next| (next, seen.revision))
        });
        let Some((record, expected)) = wanted else {
            self.rest(now);
            return Ask::Wait(now.plus(self.fifth()));
        };
        if record.released {
            // Others need not wait from now on, whenever it is acknowledged.
            self.renewed = Some(Millis::default());
        }
        let before = self.sent.take().filter(|sent| sent.record == record);
        let first = before.map_or(now, |sent| sent.first);
        self.sent = Some(Sent { record: record.clone(), first, last: now });
        self.phase = Phase::Putting;
        Ask::Put(record, expected)
    }

    fn is_free(&self, seen: &Seen, now: Millis) -> bool {
        // What was given back is for others first.
        let is_offered = |record: &Record| record.released && !self.is_by_me(record);
        let is_released = seen.record.as_ref().is_some_and(is_offered);
        seen.revision == Revision::NONE || is_released || now.since(seen.since) >= self.time
    }

    fn taken(&self, from: Option<&Record>, tip: u64) -> Record {
        let Applicant { key, process, url } = self.me.clone();
        let before = from.map(|record| record.epoch).filter(|epoch| may_follow(*epoch, tip));
        let epoch = before.unwrap_or(tip).saturating_add(1);
        Record { holder: key, process, url, epoch, beat: 0, released: false }
    }

    fn is_mine(&self, record: &Record) -> bool {
        self.is_by_me(record) && !record.released
    }

    fn is_by_me(&self, record: &Record) -> bool {
        record.holder == self.me.key && record.process == self.me.process
    }

    fn record(&self) -> Option<&Record> {
        self.seen.as_ref()?.record.as_ref()
    }

    fn rest(&mut self, now: Millis) {
        self.phase = Phase::Resting(now.plus(self.fifth()));
    }

    fn fifth(&self) -> Millis {
        Millis(self.time.0.checked_div(FIFTHS).unwrap_or_default())
    }
}

/// Whether a block of this epoch may come after a tip of that one, and a later one as well.
const fn may_follow(epoch: u64, tip: u64) -> bool {
    epoch >= tip && epoch < tip.saturating_add(EPOCH_STEP_MAX)
}

/// The record of a holder that goes on; without a tip it gives the lease back. Above its epoch there
/// are only blocks of a lease that the board has lost.
fn renewed(held: &Record, tip: Option<u64>) -> Record {
    let above = tip.filter(|tip| !may_follow(held.epoch, *tip)).map(|tip| tip.saturating_add(1));
    Record {
        epoch: above.unwrap_or(held.epoch),
        beat: held.beat.saturating_add(1),
        released: tip.is_none(),
        ..held.clone()
    }
}

#[cfg(test)]
mod tests;
