//! Several runs made into one, step by step.
//!
//! # Invariants
//!
//! 1. Of records with one key, which differ in age alone, the newest is taken.
//! 2. A step writes a bounded number of bytes.

use std::{
    cmp::Ordering,
    io,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    run::{Cursor, Run, Writer},
    table::{Kind, prefix},
};
use crate::{disk::Disk, ledger::StoreError};

/// A run at the front of a merge.
#[derive(Debug)]
struct Front {
    prefix: u64,
    cursor: Cursor,
}

impl Front {
    fn new(cursor: Cursor) -> Option<Self> {
        Some(Self { prefix: prefix(cursor.record()?), cursor })
    }

    /// Goes on; says whether there is another record.
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.cursor.advance()?;
        let next = self.cursor.record();
        self.prefix = next.map_or(0, prefix);
        Ok(next.is_some())
    }
}

/// A merge that goes on.
#[derive(Debug)]
pub(super) struct Merge {
    /// What is merged, oldest first.
    pub(super) inputs: Vec<Arc<Run>>,
    pub(super) kind: Kind,
    /// The run that is made.
    pub(super) id: u64,
    /// The level of the run that is made.
    pub(super) level: u8,
    /// Runs that have records left, oldest first.
    fronts: Vec<Front>,
    writer: Writer,
}

/// What is first among the fronts.
enum First {
    /// The record of this one.
    Take(usize),
    /// This one has a record that a newer one replaces.
    Drop(usize),
}

impl Merge {
    pub(super) fn start(
        disk: &dyn Disk,
        kind: Kind,
        level: u8,
        inputs: Vec<Arc<Run>>,
        id: u64,
    ) -> Result<Self, StoreError> {
        let cursors = inputs.iter().map(|run| Cursor::last(run.clone()).map(Front::new));
        let fronts = cursors.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let writer = Writer::create(disk, kind, id).map_err(failed())?;
        Ok(Self { inputs, kind, id, level, fronts, writer })
    }

    /// Takes records until about `bytes` were written; says whether records are left.
    pub(super) fn step(&mut self, bytes: usize) -> Result<bool, StoreError> {
        let count = bytes.div_euclid(self.kind.record_len());
        for _ in 0..count {
            if !self.take_one()? {
                return Ok(false);
            }
        }
        self.writer.sync().map_err(failed())?;
        Ok(true)
    }

    fn take_one(&mut self) -> Result<bool, StoreError> {
        let Some(first) = self.first() else { return Ok(false) };
        let (First::Take(place) | First::Drop(place)) = first;
        let Some(front) = self.fronts.get_mut(place) else { return Ok(false) };
        if let (First::Take(_), Some(record)) = (first, front.cursor.record()) {
            self.writer.push(record).map_err(failed())?;
        }
        if !front.advance()? {
            self.fronts.remove(place);
        }
        Ok(true)
    }

    fn first(&self) -> Option<First> {
        let mut fronts = self.fronts.iter().enumerate();
        let (mut place, mut best) = fronts.next()?;
        for (other, front) in fronts {
            let order = front.prefix.cmp(&best.prefix).then_with(|| self.compare(front, best));
            match order {
                Ordering::Less => (place, best) = (other, front),
                Ordering::Equal => return Some(First::Drop(place)),
                Ordering::Greater => {}
            }
        }
        Some(First::Take(place))
    }

    fn compare(&self, left: &Front, right: &Front) -> Ordering {
        let len = self.kind.key_len();
        let (left, right) = (left.cursor.record(), right.cursor.record());
        left.and_then(|record| record.get(..len)).cmp(&right.and_then(|record| record.get(..len)))
    }

    /// Ends the run that was made.
    pub(super) fn finish(self, damaged: &Arc<AtomicBool>) -> Result<Run, StoreError> {
        self.writer.finish(damaged).map_err(failed())
    }
}

pub(super) fn failed() -> impl Fn(io::Error) -> StoreError {
    StoreError::io("write the index")
}
