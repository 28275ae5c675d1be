//! What the pool has acknowledged and the ledger does not have yet, on disk.
//!
//! # Invariants
//!
//! 1. A transaction is in a segment and synced before the pool acknowledges it.
//! 2. A torn last record, as a crash leaves, is cut off; what was acknowledged is before it. What
//!    is cut off is set aside, in case it was not a crash that broke it.
//! 3. A segment is removed only when every transaction in it has ended, so nothing pending is ever
//!    without one. Nothing is written twice unless one that never ends holds many others up.
//! 4. Every chain has a journal of its own beside the others.
//!
//! A journal is a folder of segments with growing numbers. A record is `u32` length, `u32` CRC-32C
//! of the bytes, and the bytes of one transaction, all little-endian.

use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use dsc_lib::{
    codec,
    transaction::{CheckedTransaction, Encoded, TRANSACTION_BYTES_MAX, TransactionId},
};

/// A segment takes no more once it has this many bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Segments beyond those that what is pending needs, before the oldest is emptied.
const SPARE_SEGMENTS: u64 = 4;
const EXTENSION: &str = "segment";

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    segment_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    /// Bytes of whole, synced records.
    len: u64,
    /// Whether something else may follow them: an append failed.
    torn: bool,
    /// The transactions in it, in their order.
    held: Vec<TransactionId>,
    /// How many at the front have ended.
    ended: usize,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if there is none. What it holds is read with
    /// [`Journal::unread`] and [`Journal::read`].
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        adopt_file(folder)?;
        fs::create_dir_all(folder)?;
        let mut journal = Self {
            folder: folder.to_owned(),
            segments: VecDeque::new(),
            segment_bytes: SEGMENT_BYTES,
        };
        for number in numbers(folder)? {
            journal.segments.push_back(Segment::open(folder, number)?);
        }
        journal.start_segment()?;
        Ok(journal)
    }

    /// How many segments there were when the journal was opened.
    pub(crate) fn unread(&self) -> usize {
        self.segments.len().saturating_sub(1)
    }

    /// Reads the transactions of the segment at `index`, oldest first.
    pub(crate) fn read(&self, index: usize) -> io::Result<Vec<Encoded>> {
        let Some(segment) = self.segments.get(index) else { return Ok(Vec::new()) };
        let bytes = fs::read(path_of(&self.folder, segment.number))?;
        Ok(records(&bytes).0)
    }

    /// Notes that the segment at `index` holds these, which are pending again.
    pub(crate) fn adopt(&mut self, index: usize, pending: impl Iterator<Item = TransactionId>) {
        if let Some(segment) = self.segments.get_mut(index) {
            segment.held = pending.collect();
        }
    }

    /// Adds transactions; they are on disk when this returns.
    pub(crate) fn append(&mut self, transactions: &[Arc<CheckedTransaction>]) -> io::Result<()> {
        if transactions.is_empty() {
            return Ok(());
        }
        if self.segments.back().is_none_or(|last| last.len >= self.segment_bytes) {
            self.start_segment()?;
        }
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        last.append(transactions)
    }

    /// Removes the oldest segments whose transactions have all ended. If one that is pending
    /// keeps too much from being removed (what is pending has `pending_bytes`), it is written anew.
    pub(crate) fn retire(
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
        let len: u64 = self.segments.iter().map(|segment| segment.len).sum();
        let spare = self.segment_bytes.saturating_mul(SPARE_SEGMENTS);
        len > pending_bytes.saturating_mul(2).saturating_add(spare)
    }

    fn remove_oldest(
        &mut self,
        find: impl Fn(&TransactionId) -> Option<Arc<CheckedTransaction>>,
    ) -> io::Result<()> {
        let Some(oldest) = self.segments.front() else { return Ok(()) };
        let path = path_of(&self.folder, oldest.number);
        let pending: Vec<_> = self.only_in_oldest().filter_map(find).collect();
        self.append(&pending)?;
        self.segments.pop_front();
        fs::remove_file(path)
    }

    /// What the oldest segment holds and no later one, each once. One that was evicted and came
    /// again is in several, and writing each copy anew would make the journal no smaller, for ever.
    fn only_in_oldest(&self) -> impl Iterator<Item = &TransactionId> {
        let left = self.segments.front().map_or(&[][..], Segment::left);
        let later = self.segments.iter().skip(1).filter(|_| !left.is_empty());
        let mut seen: HashSet<_> = later.flat_map(Segment::left).collect();
        left.iter().filter(move |id| seen.insert(id))
    }

    fn start_segment(&mut self) -> io::Result<()> {
        let number = self.segments.back().map_or(0, |last| last.number.saturating_add(1));
        self.segments.push_back(Segment::create(&self.folder, number)?);
        Ok(())
    }

    /// Makes every later append fail, as on a full disk, until [`Journal::open`].
    #[cfg(test)]
    pub(crate) fn make_unwritable(&mut self) {
        for segment in &mut self.segments {
            segment.file = File::open(path_of(&self.folder, segment.number)).unwrap();
        }
    }
}

impl Segment {
    fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path_of(folder, number);
        // There may be one already, empty: of a start that failed after it had made the file.
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        File::open(folder)?.sync_all()?;
        Ok(Self { number, file, len: 0, torn: false, held: Vec::new(), ended: 0 })
    }

    /// Opens a segment and cuts off what is no whole record at its end.
    fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path_of(folder, number);
        let bytes = fs::read(&path)?;
        let file = OpenOptions::new().write(true).open(&path)?;
        let len = whole(&bytes);
        let lost = bytes.get(len..).unwrap_or_default();
        let len = len as u64;
        if !lost.is_empty() {
            let aside = path.with_extension("damaged");
            tracing::warn!(
                bytes = lost.len(), to = %aside.display(), "set the torn end of the journal aside"
            );
            fs::write(&aside, lost)?;
            file.set_len(len)?;
            file.sync_all()?;
        }
        Ok(Self { number, file, len, torn: false, held: Vec::new(), ended: 0 })
    }

    fn append(&mut self, transactions: &[Arc<CheckedTransaction>]) -> io::Result<()> {
        let bytes = encode(transactions);
        if self.torn {
            // Half a record in the middle would hide what follows it: go back to the last end.
            self.file.set_len(self.len)?;
        }
        self.torn = true;
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data())?;
        self.torn = false;
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.held.extend(transactions.iter().map(|transaction| transaction.id()));
        Ok(())
    }

    /// The transactions after those at the front that have ended.
    fn left(&self) -> &[TransactionId] {
        self.held.get(self.ended..).unwrap_or_default()
    }

    fn skip_ended(&mut self, has_ended: impl Fn(&TransactionId) -> bool) {
        self.ended += self.left().iter().take_while(|id| has_ended(id)).count();
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.{EXTENSION}"))
}

/// The numbers of the segments in `folder`, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        numbers.extend(stem.filter(|_| is_segment).and_then(|stem| stem.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes over the single file that a journal was before it had segments.
fn adopt_file(folder: &Path) -> io::Result<()> {
    if !folder.is_file() {
        return Ok(());
    }
    let aside = folder.with_extension("old");
    fs::rename(folder, &aside)?;
    fs::create_dir_all(folder)?;
    fs::rename(aside, path_of(folder, 0))?;
    File::open(folder)?.sync_all()
}

fn encode(transactions: &[Arc<CheckedTransaction>]) -> Vec<u8> {
    let len: usize = transactions.iter().map(|transaction| transaction.bytes().len() + 8).sum();
    let mut bytes = Vec::with_capacity(len);
    for transaction in transactions {
        let transaction = transaction.bytes();
        let len = u32::try_from(transaction.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(transaction).to_le_bytes());
        bytes.extend_from_slice(transaction);
    }
    bytes
}

/// Bytes of the whole records at the front.
fn whole(bytes: &[u8]) -> usize {
    records(bytes).1
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
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, chain, pay};

    use super::*;

    fn transactions(count: u64) -> Vec<Arc<CheckedTransaction>> {
        let checked = |sequence| pay(&ALICE, sequence, address(&BOB), 1).check(&chain().hash());
        (0..count).map(|sequence| Arc::new(checked(sequence).unwrap())).collect()
    }

    fn read(journal: &Journal) -> Vec<Encoded> {
        (0..journal.unread()).flat_map(|index| journal.read(index).unwrap()).collect()
    }

    fn encoded(transactions: &[Arc<CheckedTransaction>]) -> Vec<Encoded> {
        transactions.iter().map(|transaction| transaction.encoded().clone()).collect()
    }

    /// A journal of three transactions, and the path of its only segment.
    fn filled(folder: &Path) -> (Vec<Arc<CheckedTransaction>>, PathBuf) {
        let mut journal = Journal::open(folder).unwrap();
        assert_eq!(journal.unread(), 0);
        journal.append(&transactions(3)).unwrap();
        (transactions(3), path_of(folder, 0))
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (all, _) = filled(folder.path());
        let mut journal = Journal::open(folder.path()).unwrap();
        assert_eq!(read(&journal), encoded(&all));
        journal.append(&all[1..2]).unwrap();
        let again = [&all[..], &all[1..2]].concat();
        assert_eq!(read(&Journal::open(folder.path()).unwrap()), encoded(&again));
    }

    /// Cut at any byte, the whole records before the cut are read and the next append follows.
    #[test]
    fn a_torn_record_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (all, path) = filled(folder.path());
        let bytes = fs::read(&path).unwrap();
        let len = bytes.len() / 3;
        for cut in (0..bytes.len()).step_by(97) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(path_of(folder.path(), 0), &bytes[..cut]).unwrap();
            let mut journal = Journal::open(folder.path()).unwrap();
            assert_eq!(read(&journal), encoded(&all[..cut / len]), "cut at {cut}");
            journal.append(&all[2..]).unwrap();
            let last = read(&Journal::open(folder.path()).unwrap()).pop();
            assert_eq!(last.as_ref(), Some(all[2].encoded()), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_byte_ends_what_is_read_and_the_rest_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (all, path) = filled(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&Journal::open(folder.path()).unwrap()), encoded(&all[..1]));
        let aside = fs::read(path.with_extension("damaged")).unwrap();
        assert_eq!(aside, bytes[bytes.len() / 3..]);
    }

    #[test]
    fn the_file_of_an_earlier_version_becomes_a_segment() {
        let folder = tempfile::tempdir().unwrap();
        let (all, path) = filled(&folder.path().join("new"));
        let old = folder.path().join("old");
        fs::rename(path, &old).unwrap();
        assert_eq!(read(&Journal::open(&old).unwrap()), encoded(&all));
    }

    /// Half a record of a failed append must not hide what is appended later.
    #[test]
    fn an_append_after_a_failed_one_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (all, path) = filled(folder.path());
        let mut journal = Journal::open(folder.path()).unwrap();
        let last = journal.segments.back_mut().unwrap();
        let path = path_of(folder.path(), last.number).max(path);
        last.torn = true;
        fs::write(path, b"half").unwrap();
        journal.append(&all[..1]).unwrap();
        let again = [&all[..], &all[..1]].concat();
        assert_eq!(read(&Journal::open(folder.path()).unwrap()), encoded(&again));
    }

    /// A journal with a transaction in each segment.
    fn split(folder: &Path, count: u64) -> (Journal, Vec<Arc<CheckedTransaction>>) {
        let mut journal = Journal::open(folder).unwrap();
        journal.segment_bytes = 1;
        let all = transactions(count);
        all.chunks(1).for_each(|one| journal.append(one).unwrap());
        (journal, all)
    }

    #[test]
    fn segments_go_when_all_in_them_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, all) = split(folder.path(), 5);
        let pending = |from: usize| {
            let rest = all[from..].to_vec();
            move |id: &TransactionId| rest.iter().find(|t| t.id() == *id).cloned()
        };
        journal.retire(pending(0), 1 << 20).unwrap();
        assert_eq!(numbers(folder.path()).unwrap(), [0, 1, 2, 3, 4]);
        journal.retire(pending(3), 1 << 20).unwrap();
        assert_eq!(numbers(folder.path()).unwrap(), [3, 4]);
        journal.retire(pending(5), 1 << 20).unwrap();
        assert_eq!(numbers(folder.path()).unwrap(), [4], "the last one is written to");
    }

    #[test]
    fn one_that_stays_is_written_anew_when_it_holds_up_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, all) = split(folder.path(), 40);
        let first = all[0].clone();
        let only_first = |id: &TransactionId| (first.id() == *id).then(|| first.clone());
        journal.retire(only_first, first.bytes().len() as u64).unwrap();
        assert!(numbers(folder.path()).unwrap().len() < 5);
        drop(journal);
        let left = read(&Journal::open(folder.path()).unwrap());
        assert!(left.contains(first.encoded()));
    }

    /// One that was evicted and submitted again is in the journal more than once.
    #[test]
    fn one_that_came_again_and_again_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.segment_bytes = 1;
        let (all, one) = (transactions(2), transactions(1));
        journal.append(&all).unwrap();
        (0..20).for_each(|_| journal.append(&one).unwrap());
        let pending = |id: &TransactionId| all.iter().find(|t| t.id() == *id).cloned();
        journal.retire(pending, 2 * one[0].bytes().len() as u64).unwrap();
        assert!(numbers(folder.path()).unwrap().len() < 5);
        drop(journal);
        let left = read(&Journal::open(folder.path()).unwrap());
        assert!(all.iter().all(|transaction| left.contains(transaction.encoded())));
    }

    /// The file was made, and its folder could not be synced.
    #[test]
    fn a_segment_that_was_started_in_vain_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, all) = split(folder.path(), 2);
        File::create(path_of(folder.path(), 2)).unwrap();
        journal.append(&all[..1]).unwrap();
        assert_eq!(numbers(folder.path()).unwrap(), [0, 1, 2]);
    }
}
