//! Records of the block log: how they are written, found and read.
//!
//! # Invariants
//!
//! 1. No byte of a block is handed out that its checksum does not fit.
//! 2. A head is good only if it is whole, of the height asked for, and fits its checksum.

use crate::{
    codec,
    disk::DiskFile,
    genesis::BLOCK_BYTES_MAX,
    ledger::{CheckedBlock, StoreError, checked::fixed_bytes},
    units::Height,
};

pub(super) const RECORD_BYTES: usize = 16;
/// Bytes of a block under one checksum.
const CHUNK: u32 = 16 << 10;
pub(super) const CHUNK_BYTES: usize = CHUNK as usize;
/// Bytes that are written at once: what fits the processor's cache.
const WRITE_BYTES: usize = 64 * CHUNK_BYTES;

/// Bytes of the largest record there can be.
pub(super) const RECORD_MAX: u64 =
    RECORD_BYTES as u64 + 4 * BLOCK_BYTES_MAX.div_ceil(CHUNK_BYTES as u64) + BLOCK_BYTES_MAX;

/// Where a block's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) struct Extent {
    /// Its first byte.
    pub(in crate::ledger) offset: u64,
    /// Bytes of the block in it.
    pub(in crate::ledger) len: u32,
}

impl Extent {
    /// The first byte of the block.
    pub(super) fn body(self) -> u64 {
        self.offset.saturating_add(RECORD_BYTES as u64).saturating_add(self.sums_bytes())
    }

    pub(super) fn sums_bytes(self) -> u64 {
        u64::from(self.len).div_ceil(CHUNK_BYTES as u64).saturating_mul(4)
    }

    /// The first byte after the record.
    pub(in crate::ledger) fn end(self) -> u64 {
        self.body().saturating_add(u64::from(self.len))
    }
}

/// What is where a record should start.
pub(super) enum Head {
    /// Nothing.
    None,
    /// No head of the record that comes next.
    Bad,
    /// The head of a record that may be cut.
    Good(Extent),
}

pub(super) fn head_at(
    file: &dyn DiskFile,
    offset: u64,
    height: Height,
    left: u64,
) -> Result<Head, StoreError> {
    if left == 0 {
        return Ok(Head::None);
    }
    let fixed = read_exact(file, offset, left.min(RECORD_BYTES as u64))?;
    let Some(extent) = (fixed.len() == RECORD_BYTES)
        .then(|| Extent { offset, len: u32_at(&fixed, 0) })
        .filter(|extent| u64::from(extent.len) <= BLOCK_BYTES_MAX)
    else {
        return Ok(Head::Bad);
    };
    let bytes = (RECORD_BYTES as u64).saturating_add(extent.sums_bytes());
    let head = read_exact(file, offset, bytes.min(left))?;
    Ok(parse_head(&head, offset, height).map_or(Head::Bad, Head::Good))
}

/// Reads a record's head from the front of `bytes`; `None` unless it is whole and of `height`.
pub(super) fn parse_head(bytes: &[u8], offset: u64, height: Height) -> Option<Extent> {
    let (fields, rest) = bytes.split_at_checked(12)?;
    let (sum, rest) = rest.split_at_checked(4)?;
    let extent = Extent { offset, len: u32_at(fields, 0) };
    let sums = rest.get(..usize::try_from(extent.sums_bytes()).ok()?)?;
    let good = extent.len > 0
        && fields.get(4..) == Some(&height.0.to_le_bytes())
        && sum == head_sum(fields, sums).to_le_bytes();
    good.then_some(extent)
}

fn head_sum(fields: &[u8], sums: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(fields), sums)
}

pub(super) fn read_exact(
    file: &dyn DiskFile,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_at(&mut bytes, offset).map_err(StoreError::io("read the block log"))?;
    Ok(bytes)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

pub(super) fn read(
    file: &dyn DiskFile,
    extent: Extent,
    height: Height,
) -> Result<Vec<u8>, StoreError> {
    read_part(file, extent, height, 0, extent.len)
}

/// Reads a part of a block; whatever chunks it touches are checked.
pub(super) fn read_part(
    file: &dyn DiskFile,
    extent: Extent,
    height: Height,
    from: u32,
    len: u32,
) -> Result<Vec<u8>, StoreError> {
    let damaged = |what: &str| {
        StoreError::corrupt(format!("block {height} at byte {}: {what}", extent.offset))
    };
    let head_len = (RECORD_BYTES as u64).saturating_add(extent.sums_bytes());
    let head = read_exact(file, extent.offset, head_len)?;
    if parse_head(&head, extent.offset, height) != Some(extent) {
        return Err(damaged("its head is not what was written"));
    }
    let to = from.saturating_add(len).min(extent.len);
    let first = from.min(extent.len) / CHUNK;
    let start = first.saturating_mul(CHUNK);
    let end = to.div_ceil(CHUNK).saturating_mul(CHUNK).clamp(start, extent.len.max(start));
    let body = extent.body().saturating_add(u64::from(start));
    let mut bytes = read_exact(file, body, u64::from(end.saturating_sub(start)))?;
    let sums = head.get(RECORD_BYTES..).unwrap_or_default().chunks_exact(4);
    for (part, sum) in bytes.chunks(CHUNK_BYTES).zip(sums.skip(first as usize)) {
        if crc32c::crc32c(part).to_le_bytes() != *sum {
            return Err(damaged("its checksum is wrong"));
        }
    }
    bytes.truncate(to.saturating_sub(start) as usize);
    bytes.drain(..(from.saturating_sub(start) as usize).min(bytes.len()));
    Ok(bytes)
}

/// Writes a record at `offset`: the body in parts that fit the processor's cache, the head last.
pub(super) fn write(
    file: &dyn DiskFile,
    offset: u64,
    block: &CheckedBlock,
) -> std::io::Result<Extent> {
    let len = block_len(block).ok_or(std::io::ErrorKind::FileTooLarge)?;
    let extent = Extent { offset, len };
    let sums = Vec::with_capacity(usize::try_from(extent.sums_bytes()).unwrap_or(0));
    let buffer = Vec::with_capacity(WRITE_BYTES.min(len as usize));
    let mut body = Body { file, at: extent.body(), buffer, sums };
    body.take(&codec::encode(block.header()))?;
    body.take(&codec::encode(block.proofs()))?;
    body.take(&(block.transactions().len() as u64).to_le_bytes())?;
    block.transactions().iter().try_for_each(|transaction| body.take(transaction.bytes()))?;
    body.flush()?;
    let mut head = len.to_le_bytes().to_vec();
    head.extend(block.header().height.0.to_le_bytes());
    head.extend(head_sum(&head, &body.sums).to_le_bytes());
    head.extend(body.sums);
    file.write_at(&head, offset)?;
    Ok(extent)
}

/// Writes a record anew where it is, with the same bytes.
pub(super) fn write_anew(file: &dyn DiskFile, extent: Extent) -> std::io::Result<()> {
    let (mut at, end) = (extent.offset, extent.end());
    let mut buffer = vec![0; WRITE_BYTES];
    while at < end {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(WRITE_BYTES);
        let part = buffer.get_mut(..left.min(WRITE_BYTES)).unwrap_or_default();
        file.read_at(part, at)?;
        file.write_at(part, at)?;
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

/// Bytes of the block's encoding, if a block may have as many.
fn block_len(block: &CheckedBlock) -> Option<u32> {
    let transactions = block.transactions().iter().map(|t| t.bytes().len() as u64);
    let len = transactions.fold(fixed_bytes(block.proofs()), u64::saturating_add);
    u32::try_from(len).ok().filter(|len| u64::from(*len) <= BLOCK_BYTES_MAX)
}

/// The body of a record being written.
struct Body<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    buffer: Vec<u8>,
    sums: Vec<u8>,
}

impl Body<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let room = WRITE_BYTES.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == WRITE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        for chunk in self.buffer.chunks(CHUNK_BYTES) {
            self.sums.extend(crc32c::crc32c(chunk).to_le_bytes());
        }
        self.file.write_at(&self.buffer, self.at)?;
        self.at = self.at.saturating_add(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}
