//! Proving that no pair is missing: every pair of the table is made anew and counted.
//!
//! A page that was judged sound holds distinct pairs of its bucket. With fewer than 511 of them it
//! is complete if the bucket has no more; with 511, if no more pairs of the bucket have an `e` up
//! to the last one's. So one count for each bucket, made while all pairs pass by, decides it for
//! every page, and no pair has to be kept.
//!
//! # Invariants
//!
//! 1. A page that passes is, byte for byte, the one that plotting writes: its entries are the
//!    lowest of its bucket, all of them, in order, and nothing else is in it.
//! 2. The totals of the header are those of the table, however damaged the pages are.

use std::{
    collections::TryReserveError,
    sync::atomic::{AtomicU16, Ordering},
};

use rayon::ThreadPool;

use super::{
    super::{
        BuildError, Progress,
        pairs::{Placed, ram_bytes_least, select, top},
    },
    scan::{Held, Subject},
    vault::{ENTRIES_MAX, Header, Page, VaultId, write_bucket},
};

/// What stands for the number of entries of a page that is damaged.
const DAMAGED: u16 = u16::MAX;

/// Buckets that there is room to make anew at least.
pub(super) const SAMPLE: usize = 64;
/// RAM that each bucket takes in a census: a limit and two counts.
const BUCKET_LEN: u64 = (size_of::<u64>() + 2 * size_of::<u16>()) as u64;
/// RAM that the pairs of a bucket take while they are sought: 600 of them, in lists that grow.
const REBUILT_LEN: u64 = 600 * 2 * size_of::<Placed>() as u64;
const SAMPLE_LEN: u64 = SAMPLE as u64 * REBUILT_LEN;

/// What each page holds, and how many pairs it should.
#[derive(Debug)]
pub(super) struct Census {
    id: VaultId,
    ram_bytes_max: u64,
    rebuilt_max: usize,
    limits: Vec<u64>,
    held: Vec<u16>,
    found: Vec<AtomicU16>,
}

impl Census {
    /// RAM that the census of vault `id` takes.
    const fn ram_bytes(id: &VaultId) -> u64 {
        id.buckets().saturating_mul(BUCKET_LEN)
    }

    /// Starts with every page damaged; counting will take at most `ram_bytes_max` of RAM.
    ///
    /// That this suffices on `threads` threads is found out here, and not after hours.
    pub(super) fn new(
        id: &VaultId,
        threads: usize,
        ram_bytes_max: u64,
    ) -> Result<Self, BuildError> {
        let needed = Self::ram_bytes(id).saturating_add(ram_bytes_least(id.size(), threads));
        BuildError::check_ram(needed.saturating_add(SAMPLE_LEN), ram_bytes_max)?;
        // Not more than half: what they take, hashing has not.
        let spare = ram_bytes_max.saturating_sub(needed).min(ram_bytes_max / 2).max(SAMPLE_LEN);
        let rebuilt_max = usize::try_from(spare / REBUILT_LEN).unwrap_or(usize::MAX);
        let no_ram = |_| BuildError::OutOfMemory { bytes: Self::ram_bytes(id) };
        let count = usize::try_from(id.buckets()).unwrap_or(usize::MAX);
        let limits = filled(count, || u64::MAX).map_err(no_ram)?;
        let held = filled(count, || DAMAGED).map_err(no_ram)?;
        let found = filled(count, || AtomicU16::new(0)).map_err(no_ram)?;
        Ok(Self { id: *id, ram_bytes_max, rebuilt_max, limits, held, found })
    }

    /// Notes what the page of `bucket` holds; nothing if it is damaged.
    pub(super) fn note(&mut self, bucket: u64, page: Option<Held>) {
        let at = usize::try_from(bucket).unwrap_or(usize::MAX);
        let Held { count, limit } = page.unwrap_or(Held { count: DAMAGED, limit: u64::MAX });
        if let (Some(held), Some(slot)) = (self.held.get_mut(at), self.limits.get_mut(at)) {
            (*held, *slot) = (count, limit);
        }
    }

    /// The buckets whose pages are damaged.
    pub(super) fn damaged(&self) -> Vec<u64> {
        self.numbered(|held, _| held == DAMAGED)
    }

    /// The buckets of sound pages that do not hold as many pairs as they should.
    pub(super) fn wrong(&self) -> Vec<u64> {
        self.numbered(|held, found| held != DAMAGED && held != found)
    }

    /// Whether the page of `bucket` has as many entries as it should.
    pub(super) fn is_full(&self, bucket: u64, page: Option<Held>) -> bool {
        let at = usize::try_from(bucket).unwrap_or(usize::MAX);
        let found = self.found.get(at).map(|found| usize::from(found.load(ORDER)));
        found.is_some_and(|found| {
            page.is_some_and(|held| usize::from(held.count) == found.min(ENTRIES_MAX))
        })
    }

    /// Most buckets to make anew at once.
    pub(super) const fn rebuilt_max(&self) -> usize {
        self.rebuilt_max
    }

    fn numbered(&self, is_listed: impl Fn(u16, u16) -> bool) -> Vec<u64> {
        let pages = (0..).zip(self.held.iter().zip(&self.found));
        let listed = pages.filter(|(_, (held, found))| is_listed(**held, found.load(ORDER)));
        listed.map(|(bucket, _)| bucket).collect()
    }

    /// Makes every pair of the table, counts them and keeps those of `buckets`, which increase.
    pub(super) fn count(
        &mut self,
        subject: &Subject,
        buckets: &[u64],
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<Counted, BuildError> {
        self.found.iter_mut().for_each(|found| *found.get_mut() = 0);
        let bits = self.id.bucket_bits();
        let asked = Asked::new(&self.id, buckets);
        let wanted = |e: u64| {
            let bucket = top(e, bits);
            let at = usize::try_from(bucket).unwrap_or(usize::MAX);
            if let (Some(&limit), Some(found)) = (self.limits.get(at), self.found.get(at))
                && e <= limit
            {
                found.fetch_add(1, ORDER);
            }
            asked.has(bucket)
        };
        let rebuilt_len = REBUILT_LEN.saturating_mul(buckets.len() as u64);
        let own_len = Self::ram_bytes(&self.id).saturating_add(rebuilt_len);
        let left = self.ram_bytes_max.saturating_sub(own_len);
        let found = select(&subject.levels, left, pool, progress, &wanted)?;
        let kept = self.found.iter().map(|found| u64::from(found.load(ORDER)));
        let kept =
            kept.fold(0, |sum: u64, found| sum.saturating_add(found.min(ENTRIES_MAX as u64)));
        let dropped = found.pairs.saturating_sub(kept);
        let header = Header { id: self.id, complete: true, pairs: found.pairs, dropped };
        let rebuilt = Rebuilt { id: self.id, placed: found.placed };
        Ok(Counted { header, rebuilt })
    }
}

/// Nothing is read before all threads have joined.
const ORDER: Ordering = Ordering::Relaxed;

/// What counting all pairs gave.
#[derive(Debug)]
pub(super) struct Counted {
    /// The header that the vault should have.
    pub(super) header: Header,
    pub(super) rebuilt: Rebuilt,
}

/// Buckets made anew.
#[derive(Debug)]
pub(super) struct Rebuilt {
    id: VaultId,
    placed: Vec<Placed>,
}

impl Rebuilt {
    /// The page of `bucket`, which was asked for.
    pub(super) fn write(&self, bucket: u64, page: &mut Page) {
        write_bucket(page, bucket, &self.id, self.bucket(bucket));
    }

    /// The pairs of `bucket` that its page holds.
    pub(super) fn kept(&self, bucket: u64) -> &[Placed] {
        let all = self.bucket(bucket);
        all.get(..ENTRIES_MAX).unwrap_or(all)
    }

    fn bucket(&self, bucket: u64) -> &[Placed] {
        let bits = self.id.bucket_bits();
        let start = self.placed.partition_point(|placed| top(placed.e, bits) < bucket);
        let rest = self.placed.get(start..).unwrap_or_default();
        let count = rest.partition_point(|placed| top(placed.e, bits) == bucket);
        rest.get(..count).unwrap_or_default()
    }
}

/// A set of buckets, one bit for each.
struct Asked(Vec<u64>);

impl Asked {
    fn new(id: &VaultId, buckets: &[u64]) -> Self {
        let words = usize::try_from(id.buckets().div_ceil(64)).unwrap_or_default();
        let mut bits = vec![0_u64; words];
        for bucket in buckets {
            if let Some(word) = bits.get_mut(word_of(*bucket)) {
                *word |= 1 << (bucket % 64);
            }
        }
        Self(bits)
    }

    fn has(&self, bucket: u64) -> bool {
        self.0.get(word_of(bucket)).is_some_and(|word| word >> (bucket % 64) & 1 == 1)
    }
}

fn word_of(bucket: u64) -> usize {
    usize::try_from(bucket / 64).unwrap_or(usize::MAX)
}

fn filled<T>(count: usize, item: impl FnMut() -> T) -> Result<Vec<T>, TryReserveError> {
    let mut items = Vec::new();
    items.try_reserve_exact(count)?;
    items.resize_with(count, item);
    Ok(items)
}
