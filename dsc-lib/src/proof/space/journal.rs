//! Which segments of a vault are on disk already, so that a plot can be taken up again.
//!
//! A segment is the pages of one partition. A record is appended after the pages it names were
//! made durable, so it may be missing and never be wrong.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `DSCPLOT1` |
//! | 8 | 1 | log2 of the segments |
//! | 9 | 53 | id of the vault |
//! | 62 | 4 | CRC-32C of the bytes before |
//! | 66 | 16 each | segment u32, pairs u32, dropped u32, CRC-32C of the file's head and these |
//!
//! # Invariants
//!
//! 1. A journal of another vault, plan or version counts as empty.
//! 2. Records end at the first that is not whole and right; what follows is cut off.

use std::{io, sync::Arc};

use super::vault::{ID_LEN, VaultId};
use crate::disk::{Disk, DiskFile, read_all};

const MAGIC: [u8; 8] = *b"DSCPLOT1";
const HEAD_LEN: usize = 9 + ID_LEN + 4;
const RECORD_LEN: usize = 16;

/// A segment that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Which one.
    pub(super) index: u32,
    /// Pairs of its partition.
    pub(super) pairs: u32,
    /// Those that found their bucket full.
    pub(super) dropped: u32,
}

impl Segment {
    fn to_bytes(self, head: &[u8]) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        let words = [self.index, self.pairs, self.dropped];
        let (fields, crc) = bytes.split_at_mut(12);
        fields.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
        crc.copy_from_slice(&crc32c::crc32c_append(crc32c::crc32c(head), fields).to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_LEN], head: &[u8]) -> Option<Self> {
        let [index, pairs, dropped, _] = bytemuck::cast::<_, [[u8; 4]; 4]>(*bytes);
        let [index, pairs, dropped] = [index, pairs, dropped].map(u32::from_le_bytes);
        let segment = Self { index, pairs, dropped };
        (segment.to_bytes(head) == *bytes).then_some(segment)
    }
}

/// An open journal, to which records are appended.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<dyn DiskFile>,
    head: [u8; HEAD_LEN],
    /// Where the next record goes.
    end: u64,
}

impl Journal {
    /// Opens the journal called `name` for vault `id` in `2^bits` segments, or makes it.
    ///
    /// Returns the segments it names, in the order they were written.
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        id: &VaultId,
        bits: u32,
    ) -> io::Result<(Self, Vec<Segment>)> {
        let file = disk.open_or_create(name)?;
        let head = head(id, bits);
        let segments = segments(&read_all(&*file)?, &head, bits);
        let end = segments.len().saturating_mul(RECORD_LEN).saturating_add(HEAD_LEN) as u64;
        if segments.is_empty() {
            file.set_len(0)?;
            file.write_at(&head, 0)?;
        } else {
            file.set_len(end)?;
        }
        Ok((Self { file, head, end }, segments))
    }

    /// Forgets every segment, durably: pages written from now on are not those that it named.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.end = HEAD_LEN as u64;
        self.file.set_len(self.end)?;
        self.file.sync()
    }

    /// Appends segments whose pages are durable.
    pub(super) fn append(&mut self, segments: &[Segment]) -> io::Result<()> {
        let records = segments.iter().map(|segment| segment.to_bytes(&self.head));
        let records: Vec<_> = records.collect();
        let bytes = records.as_flattened();
        self.file.write_at(bytes, self.end)?;
        self.file.sync()?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

fn head(id: &VaultId, bits: u32) -> [u8; HEAD_LEN] {
    let mut head = Vec::with_capacity(HEAD_LEN);
    head.extend(MAGIC);
    head.extend(u8::try_from(bits));
    head.extend(id.to_bytes());
    head.extend(crc32c::crc32c(&head).to_le_bytes());
    head.try_into().unwrap_or([0; HEAD_LEN])
}

fn segments(bytes: &[u8], head: &[u8; HEAD_LEN], bits: u32) -> Vec<Segment> {
    let records = bytes.strip_prefix(head).unwrap_or_default();
    let read = records.as_chunks().0.iter().map_while(|bytes| Segment::from_bytes(bytes, head));
    read.take_while(|segment| u64::from(segment.index) < 1 << bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::Memory,
        proof::testing::vector_miner,
        testing::disk::{bytes_of, memory_of},
    };

    const NAME: &str = "journal";

    const SEGMENTS: [Segment; 2] = [
        Segment { index: 7, pairs: 4096, dropped: 3 },
        Segment { index: 2, pairs: 4100, dropped: 0 },
    ];

    fn id(index: u32) -> VaultId {
        VaultId::new(vector_miner(), 20, index).unwrap()
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again() {
        let disk = Memory::default();
        let (mut journal, found) = Journal::open(&disk, NAME, &id(0), 8).unwrap();
        assert!(found.is_empty());
        journal.append(&SEGMENTS[..1]).unwrap();
        let (mut journal, found) = Journal::open(&disk, NAME, &id(0), 8).unwrap();
        assert_eq!(found, SEGMENTS[..1]);
        journal.append(&SEGMENTS[1..]).unwrap();
        let (mut journal, found) = Journal::open(&disk, NAME, &id(0), 8).unwrap();
        assert_eq!(found, SEGMENTS);
        journal.clear().unwrap();
        journal.append(&SEGMENTS[1..]).unwrap();
        assert_eq!(Journal::open(&disk, NAME, &id(0), 8).unwrap().1, SEGMENTS[1..]);
    }

    #[test]
    fn another_vault_or_plan_finds_nothing() {
        let disk = Memory::default();
        let write = || Journal::open(&disk, NAME, &id(0), 8).unwrap().0.append(&SEGMENTS).unwrap();
        write();
        assert!(Journal::open(&disk, NAME, &id(1), 8).unwrap().1.is_empty());
        write();
        assert!(Journal::open(&disk, NAME, &id(0), 9).unwrap().1.is_empty());
    }

    #[test]
    fn whatever_the_bytes_only_whole_and_right_records_count() {
        let disk = Memory::default();
        Journal::open(&disk, NAME, &id(0), 8).unwrap().0.append(&SEGMENTS).unwrap();
        let whole = bytes_of(&disk, NAME);
        for cut in 0..whole.len() {
            let disk = memory_of([(NAME, &whole[..cut])]);
            let count = cut.saturating_sub(HEAD_LEN) / RECORD_LEN;
            assert_eq!(
                Journal::open(&disk, NAME, &id(0), 8).unwrap().1,
                SEGMENTS[..count],
                "{cut}"
            );
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let disk = memory_of([(NAME, &damaged[..])]);
            let count = at.checked_sub(HEAD_LEN).map_or(0, |at| at / RECORD_LEN);
            assert_eq!(Journal::open(&disk, NAME, &id(0), 8).unwrap().1, SEGMENTS[..count], "{at}");
        }
    }

    #[test]
    fn a_segment_that_cannot_be_ends_the_journal() {
        let disk = Memory::default();
        Journal::open(&disk, NAME, &id(0), 2).unwrap().0.append(&SEGMENTS).unwrap();
        assert!(Journal::open(&disk, NAME, &id(0), 2).unwrap().1.is_empty());
    }
}
