//! How a table of one size is cut up, and what building it takes.
//!
//! # Invariants
//!
//! 1. Partitions and groups depend on the size alone, so that what one plot finished another can
//!    take over, whatever its threads and memory.
//! 2. The arena of a plan that spills has room for every chunk that is being filled and for the
//!    partitions that are being read, so that nobody waits for a chunk that nobody will free.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "`Size` bounds every shift, and what RAM holds fits `usize`"
)]

use super::{
    super::{BuildError, pages::Pages},
    Placed, Size,
    arena::Chunk,
    group::CAPACITY,
    line::Line,
};

/// log2 of the entries expected in a group: a page of a vault, and what the first-level cache
/// sorts.
pub(super) const GROUP_BITS: u32 = 9;
/// More lists than this written at once miss the caches.
const PARTITION_BITS_MAX: u32 = 11;
/// A partition larger than this misses the second-level cache too often.
const PARTITION_VALUES_BITS_MAX: u32 = 20;
/// A chunk is a unit of direct input and output.
const CHUNK_BYTES_MIN: u64 = 1 << 12;
const CHUNK_BYTES_MAX: u64 = 1 << 16;
/// Partitions read from disk ahead of those that are worked on.
pub(super) const READ_AHEAD: usize = 4;

/// How a table is built.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Plan {
    pub(super) size: Size,
    pub(super) threads: usize,
    /// log2 of the partitions of either level.
    pub(super) partition_bits: u32,
    /// Bytes in a chunk, a power of two.
    pub(super) chunk_bytes: u64,
    /// Chunks of the arena.
    pub(super) chunks: u64,
    /// Whether more is written than the arena holds.
    pub(super) spills: bool,
}

impl Plan {
    /// Plans a table that is built in RAM, whatever that takes.
    pub(in super::super) fn in_ram(size: Size, threads: usize) -> Self {
        let partition_bits = partition_bits(size);
        let mut plan = Self {
            size,
            threads: threads.max(1),
            partition_bits,
            chunk_bytes: CHUNK_BYTES_MIN,
            chunks: 0,
            spills: false,
        };
        // A sixteenth of a list, so that what is reserved and not used stays small.
        let list_bytes = (plan.records_bytes() / (plan.threads as u64)) >> partition_bits;
        plan.chunk_bytes = chunk_bytes(list_bytes / 16);
        let full = plan.records_bytes().div_ceil(plan.chunk_bytes);
        plan.chunks = full + 2 * plan.tails() + plan.partition_chunks() * plan.threads as u64;
        plan
    }

    /// Plans a table that is built within `ram_bytes_max`, with temporary files if need be.
    ///
    /// # Errors
    ///
    /// [`BuildError::RamTooSmall`] if not even that is enough.
    pub(in super::super) fn within(
        size: Size,
        threads: usize,
        ram_bytes_max: u64,
    ) -> Result<Self, BuildError> {
        let plan = Self::in_ram(size, threads);
        if plan.ram_bytes() <= ram_bytes_max {
            return Ok(plan);
        }
        let spilling = |chunk_bytes| {
            let plan = Self { chunk_bytes, spills: true, ..plan };
            let chunks = ram_bytes_max.saturating_sub(plan.others_bytes()) / chunk_bytes;
            Self { chunks, ..plan }
        };
        let sizes = [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX >> 1, CHUNK_BYTES_MAX >> 2];
        let sizes = sizes.into_iter().chain([CHUNK_BYTES_MIN << 1, CHUNK_BYTES_MIN]);
        let mut plans = sizes.map(spilling);
        plans.clone().find(|plan| plan.chunks >= plan.chunks_min()).ok_or_else(|| {
            let least = |plan: Self| plan.others_bytes() + plan.chunks_min() * plan.chunk_bytes;
            let needed = plans.by_ref().map(least).min().unwrap_or(u64::MAX);
            BuildError::RamTooSmall { needed, allowed: ram_bytes_max }
        })
    }

    /// Asks the system for the arena.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfMemory`] if it does not have as much.
    pub(in super::super) fn allocate(&self) -> Result<Pages, BuildError> {
        let bytes = self.chunks * self.chunk_bytes;
        let bytes = usize::try_from(bytes).map_err(|_| BuildError::OutOfMemory { bytes })?;
        Pages::zeroed(bytes)
    }

    /// RAM that building takes at its peak, within a few percent.
    pub(in super::super) const fn ram_bytes(&self) -> u64 {
        self.chunks * self.chunk_bytes + self.others_bytes()
    }

    /// The most that temporary files hold: both levels.
    pub(in super::super) const fn disk_bytes(&self) -> u64 {
        if self.spills { 2 * self.records_bytes() } else { 0 }
    }

    /// Number of partitions of either level.
    pub(in super::super) const fn partitions(&self) -> usize {
        1 << self.partition_bits
    }

    /// Values, or entries expected, in a partition.
    pub(super) const fn partition_values(&self) -> u64 {
        self.size.values() >> self.partition_bits
    }

    /// log2 of the groups in a partition.
    pub(super) fn group_bits(&self) -> u32 {
        self.size.bits() - self.partition_bits - GROUP_BITS
    }

    /// Words in a chunk.
    pub(super) const fn chunk_len(&self) -> usize {
        self.chunk_bytes as usize / size_of::<u64>()
    }

    /// Chunks that are being filled by all threads.
    pub(super) const fn tails(&self) -> u64 {
        (self.threads as u64) << self.partition_bits
    }

    /// Chunks of the partitions that are being read.
    pub(super) const fn reading(&self) -> u64 {
        (self.threads + READ_AHEAD) as u64 * self.partition_chunks()
    }

    /// The least an arena has that spills: both levels are filled in turn, and what a list ends
    /// with stays in RAM.
    const fn chunks_min(&self) -> u64 {
        2 * self.tails() + self.reading()
    }

    const fn partition_chunks(&self) -> u64 {
        (self.records_bytes() >> self.partition_bits).div_ceil(self.chunk_bytes) + 1
    }

    /// Bytes of all records of one level, with room for a few pairs more than expected.
    const fn records_bytes(&self) -> u64 {
        let values = self.size.values();
        (values + values / 64) * size_of::<u64>() as u64
    }

    /// Bytes of all but the chunks.
    const fn others_bytes(&self) -> u64 {
        // Lists grow by doubling; those of one level go while those of the other come.
        let names = self.records_bytes() / self.chunk_bytes * size_of::<Chunk<'_>>() as u64;
        self.workers_bytes() + 2 * names
    }

    /// Bytes of what each thread has for itself.
    const fn workers_bytes(&self) -> u64 {
        let groups = self.size.values() >> self.partition_bits >> GROUP_BITS;
        let lines = (size_of::<Line>() as u64) << self.partition_bits;
        let sorting = groups * (CAPACITY * (size_of::<Placed>() + size_of::<u64>())) as u64;
        self.threads as u64 * (lines + sorting)
    }
}

fn partition_bits(size: Size) -> u32 {
    let cut = size.bits().saturating_sub(12).clamp(4, PARTITION_BITS_MAX);
    cut.max(size.bits().saturating_sub(PARTITION_VALUES_BITS_MAX))
}

fn chunk_bytes(wanted: u64) -> u64 {
    let wanted = wanted.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    1 << wanted.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(k: u8) -> Size {
        Size::new(k).unwrap()
    }

    #[test]
    fn what_fits_is_built_in_ram_and_the_rest_spills() {
        let ram = Plan::in_ram(size(28), 2);
        assert!(!ram.spills && ram.disk_bytes() == 0);
        assert!((2 << 30..3 << 30).contains(&ram.ram_bytes()), "{}", ram.ram_bytes());
        assert!(!Plan::within(size(28), 2, 3 << 30).unwrap().spills);
        let small = Plan::within(size(28), 2, 512 << 20).unwrap();
        assert!(small.spills && small.ram_bytes() <= 512 << 20);
        assert_eq!(small.partition_bits, ram.partition_bits);
    }

    #[test]
    fn too_little_ram_is_told_with_what_is_enough() {
        for k in [16, 24, 32] {
            let error = Plan::within(size(k), 2, 1).unwrap_err();
            let BuildError::RamTooSmall { needed, allowed: 1 } = error else { panic!("{error}") };
            let plan = Plan::within(size(k), 2, needed).unwrap();
            assert!(plan.ram_bytes() <= needed, "k {k}");
            assert!(Plan::within(size(k), 2, needed - 1).is_err(), "k {k}");
        }
    }

    /// Each list names its chunks: of a large table in little memory they outweigh them.
    #[test]
    fn what_names_the_chunks_is_counted() {
        let plan = Plan::within(size(32), 2, 512 << 20).unwrap();
        let names = plan.records_bytes() / plan.chunk_bytes * size_of::<Chunk<'_>>() as u64;
        let chunks = plan.chunks * plan.chunk_bytes;
        assert!(chunks + plan.workers_bytes() + names <= 512 << 20);
    }
}
