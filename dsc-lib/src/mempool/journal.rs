//! What a pool has acknowledged and the ledger does not have yet, on disk.
//!
//! # Invariants
//!
//! 1. A transaction is in a segment and synced before [`Journal::append`] returns.
//! 2. What [`Journal::read`] gives is on disk, even if the process that wrote it ended before its
//!    sync returned, or after its sync had failed.
//! 3. After a failed write or sync nobody knows what is on disk, and a second sync may claim
//!    success: that segment takes no more.
//! 4. What ends a segment too early, as a torn record of a crash does, is never cut off; it is set
//!    aside before the segment is removed, in case it was not a crash that broke it.
//! 5. A segment is removed only when every transaction in it has ended, so nothing pending is ever
//!    without one. Nothing is written twice unless one that never ends holds many others up.
//!
//! A journal is a folder of segments with growing numbers, `<ten digits>.segment`. A record is `u32`
//! length, `u32` CRC-32C of the bytes, and the bytes of one transaction, all little-endian. What was
//! set aside is in `<ten digits>.damaged`.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
};

use crate::{
    codec,
    disk::{Disk, DiskFile, read_all, set_aside},
    transaction::{CheckedTransaction, Encoded, TRANSACTION_BYTES_MAX, TransactionId},
};

/// A segment takes no more once it has this many bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Segments beyond those that what is pending needs, before the oldest is emptied.
const SPARE_SEGMENTS: u64 = 4;
const EXTENSION: &str = ".segment";

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    segment_bytes: u64,
}

/// A segment with bytes at its end that are no record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The segment's file.
    pub segment: String,
    /// How many bytes.
    pub bytes: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Bytes of whole, synced records.
    len: u64,
    /// Bytes behind them when the journal was opened.
    torn: u64,
    /// Whether something else may follow them, on disk or in memory: an append failed.
    broken: bool,
    /// The transactions in it, in their order.
    held: Vec<TransactionId>,
    /// How many at the front have ended.
    ended: usize,
}

impl Journal {
    /// Opens the journal in `disk`. What it holds is read with [`Journal::unread`] and
    /// [`Journal::read`].
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        Self::open_with(disk, SEGMENT_BYTES)
    }

    /// As [`Journal::open`]; a segment takes no more once it has `segment_bytes`.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn open_with(disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<Self> {
        let numbers = numbers(&*disk)?;
        let segments = numbers.into_iter().map(|number| Segment::open(&*disk, number));
        let segments = segments.collect::<io::Result<_>>()?;
        let mut journal = Self { disk, segments, segment_bytes };
        match journal.segments.back() {
            // Left by an opening after which nothing came.
            Some(last) if last.len == 0 && last.torn == 0 => journal.disk.sync()?,
            last => {
                last.map_or(Ok(()), Segment::write_anew)?;
                journal.start_segment()?;
            }
        }
        Ok(journal)
    }

    /// Where opening found bytes that are no record: a crash tore the last one, or something has
    /// damaged the file.
    pub fn torn(&self) -> impl Iterator<Item = Torn> {
        let torn = self.segments.iter().filter(|segment| segment.torn > 0);
        torn.map(|segment| Torn { segment: file_name(segment.number), bytes: segment.torn })
    }

    /// How many segments there were when the journal was opened.
    pub fn unread(&self) -> usize {
        self.segments.len().saturating_sub(1)
    }

    /// Reads the transactions of the segment at `index`, oldest first.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn read(&self, index: usize) -> io::Result<Vec<Encoded>> {
        let Some(segment) = self.segments.get(index) else { return Ok(Vec::new()) };
        Ok(records(&segment.whole()?).0)
    }

    /// Notes that the segment at `index` holds these, which are pending again.
    pub fn adopt(&mut self, index: usize, pending: impl Iterator<Item = TransactionId>) {
        if let Some(segment) = self.segments.get_mut(index) {
            segment.held = pending.collect();
        }
    }

    /// Adds transactions; they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// What the disk says. Any of them may be read when the journal is opened again; the same call
    /// may be tried again.
    pub fn append(&mut self, transactions: &[Arc<CheckedTransaction>]) -> io::Result<()> {
        if transactions.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        last.append(transactions)
    }

    /// Sees to it that the last segment may be written to.
    fn make_room(&mut self) -> io::Result<()> {
        match self.segments.back() {
            Some(last) if last.broken => {
                // Whoever opens the journal trusts whatever is before the last segment.
                last.cut()?;
                self.start_segment()?;
                self.remove_broken();
                Ok(())
            }
            Some(last) if last.len < self.segment_bytes => Ok(()),
            _ => self.start_segment(),
        }
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(0, |last| last.number.saturating_add(1));
        // There may be one already, empty: of a start that failed after it had made the file.
        let file = self.disk.create(&file_name(number))?;
        self.disk.sync()?;
        self.segments.push_back(Segment::new(number, file));
        Ok(())
    }

    /// Removes the segment before the last one if nothing ever was in it, so that there are not
    /// more and more of them while a disk is full.
    fn remove_broken(&mut self) {
        let Some(index) = self.segments.len().checked_sub(2) else { return };
        let empty = self.segments.get(index).filter(|segment| segment.broken && segment.len == 0);
        let removed = empty.map(|segment| self.disk.remove(&file_name(segment.number)));
        if let Some(Ok(())) = removed {
            self.segments.remove(index);
        }
    }

    /// Removes the oldest segments whose transactions have all ended. If one that is pending
    /// keeps too much from being removed (what is pending has `pending_bytes`), it is written anew.
    ///
    /// # Errors
    ///
    /// What the disk says; what is pending is in the journal then as before.
    pub fn retire(
        &mut self,
        find: impl Fn(&TransactionId) -> Option<Arc<CheckedTransaction>>,
        pending_bytes: u64,
    ) -> io::Result<()> {
        while self.segments.len() > 1 {
            let Some(oldest) = self.segments.front_mut() else { break };
            oldest.skip_ended(|id| find(id).is_none());
            if !oldest.left().is_empty() && !self.is_overgrown(pending_bytes) {
                break;
            }
            self.remove_oldest(&find)?;
        }
        Ok(())
    }

    /// Whether the journal is much larger than what is pending.
    fn is_overgrown(&self, pending_bytes: u64) -> bool {
        let len = self.segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.len));
        let spare = self.segment_bytes.saturating_mul(SPARE_SEGMENTS);
        len > pending_bytes.saturating_mul(2).saturating_add(spare)
    }

    fn remove_oldest(
        &mut self,
        find: impl Fn(&TransactionId) -> Option<Arc<CheckedTransaction>>,
    ) -> io::Result<()> {
        let Some(oldest) = self.segments.front() else { return Ok(()) };
        if oldest.torn > 0 {
            let lost = oldest.rest()?;
            set_aside(&*self.disk, &format!("{:010}.damaged", oldest.number), &lost)?;
        }
        let name = file_name(oldest.number);
        let pending: Vec<_> = self.only_in_oldest().filter_map(find).collect();
        self.append(&pending)?;
        self.segments.pop_front();
        self.disk.remove(&name)
    }

    /// What the oldest segment holds and no later one, each once. One that was evicted and came
    /// again is in several, and writing each copy anew would make the journal no smaller, for ever.
    fn only_in_oldest(&self) -> impl Iterator<Item = &TransactionId> {
        let left = self.segments.front().map_or(&[][..], Segment::left);
        let later = self.segments.iter().skip(1).filter(|_| !left.is_empty());
        let mut seen: HashSet<_> = later.flat_map(Segment::left).collect();
        left.iter().filter(move |id| seen.insert(id))
    }
}

impl Segment {
    fn new(number: u64, file: Arc<dyn DiskFile>) -> Self {
        Self { number, file, len: 0, torn: 0, broken: false, held: Vec::new(), ended: 0 }
    }

    fn open(disk: &dyn Disk, number: u64) -> io::Result<Self> {
        let mut segment = Self::new(number, disk.open(&file_name(number))?);
        let bytes = read_all(&*segment.file)?;
        let whole = records(&bytes).1;
        segment.len = whole as u64;
        segment.torn = bytes.len().saturating_sub(whole) as u64;
        Ok(segment)
    }

    /// The bytes of its whole records.
    fn whole(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or_default()];
        self.file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The bytes after them.
    fn rest(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.torn).unwrap_or_default()];
        self.file.read_at(&mut bytes, self.len)?;
        Ok(bytes)
    }

    /// Puts on disk what may so far be in the system's memory alone: it may come from a process that
    /// was killed before its sync returned, or from one whose sync has failed, after which the
    /// system need not write those bytes any more unless they are written again.
    fn write_anew(&self) -> io::Result<()> {
        self.file.write_at(&self.whole()?, 0)?;
        self.file.sync()
    }

    fn append(&mut self, transactions: &[Arc<CheckedTransaction>]) -> io::Result<()> {
        let bytes = encode(transactions);
        let written = self.file.write_at(&bytes, self.len).and_then(|()| self.file.sync());
        if let Err(error) = written {
            self.broken = true;
            // If this fails it is done before anything else is written.
            let _ = self.cut();
            return Err(error);
        }
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.held.extend(transactions.iter().map(|transaction| transaction.id()));
        Ok(())
    }

    /// Takes away what a failed append has left.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.len)
    }

    /// The transactions after those at the front that have ended.
    fn left(&self) -> &[TransactionId] {
        self.held.get(self.ended..).unwrap_or_default()
    }

    fn skip_ended(&mut self, has_ended: impl Fn(&TransactionId) -> bool) {
        let more = self.left().iter().take_while(|id| has_ended(id)).count();
        self.ended = self.ended.saturating_add(more);
    }
}

/// What the segment with this number is called.
fn file_name(number: u64) -> String {
    format!("{number:010}{EXTENSION}")
}

/// The numbers of the segments in `disk`, in order.
fn numbers(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let names = disk.list()?.into_iter();
    let number = |name: String| {
        let number = name.strip_suffix(EXTENSION)?.parse().ok()?;
        (file_name(number) == name).then_some(number)
    };
    let mut numbers: Vec<_> = names.filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn encode(transactions: &[Arc<CheckedTransaction>]) -> Vec<u8> {
    let lens = transactions.iter().map(|transaction| transaction.bytes().len().saturating_add(8));
    let mut bytes = Vec::with_capacity(lens.sum());
    for transaction in transactions {
        let transaction = transaction.bytes();
        let len = u32::try_from(transaction.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(transaction).to_le_bytes());
        bytes.extend_from_slice(transaction);
    }
    bytes
}

/// The whole records at the front of `bytes`, and how many bytes they take.
fn records(bytes: &[u8]) -> (Vec<Encoded>, usize) {
    let (mut held, mut rest) = (Vec::new(), bytes);
    while let Some((transaction, after)) = next_record(rest) {
        held.push(transaction);
        rest = after;
    }
    (held, bytes.len().saturating_sub(rest.len()))
}

fn next_record(bytes: &[u8]) -> Option<(Encoded, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let body = rest.get(..len).filter(|_| len <= TRANSACTION_BYTES_MAX)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((codec::decode(body).ok()?, rest.get(len..)?))
}

#[cfg(test)]
mod tests;
