//! Checking a vault: every rule that a page has to keep, not only its checksum.

use rayon::prelude::*;
use thiserror::Error;

use super::{
    super::{
        Progress, ThreadsError,
        pairs::{Levels, Pair, Placed, top},
        pool,
    },
    levels,
    lookup::Vault,
    vault::{Fault, Header, offset_of},
};
use crate::proof::BuildError;

/// Buckets looked at when not all are.
const SAMPLE: u64 = 512;
/// Buckets between two reports of progress.
const STEP: u64 = 1024;

/// How much of a vault to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// Some buckets, evenly spread; takes seconds and misses damage elsewhere.
    Sample,
    /// Every bucket, and that no pair is missing from the sum.
    Full,
}

/// What checking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the header says.
    pub header: Header,
    /// Buckets checked.
    pub buckets: u64,
    /// Entries in them.
    pub entries: u64,
    /// What is wrong, in the order of pages.
    pub faults: Vec<Fault>,
}

/// Checking did not finish.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The threads asked for could not be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<BuildError> for CheckError {
    fn from(_: BuildError) -> Self {
        Self::Cancelled
    }
}

/// Checks `vault` on `threads` threads, zero for one per core.
///
/// Every entry must be a matching pair in the right bucket and in order.
///
/// # Errors
///
/// [`CheckError`] if it did not finish; what is wrong with the vault is in the report.
pub fn check(
    vault: &Vault,
    depth: Depth,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    let (header, pool) = (*vault.header(), pool(threads)?);
    let all = header.id.buckets();
    let stride = match depth {
        Depth::Sample => all.div_ceil(SAMPLE).max(1),
        Depth::Full => 1,
    };
    let (buckets, levels) = (all.div_ceil(stride), levels(&header.id));
    let mut report = Report { header, buckets, entries: 0, faults: Vec::new() };
    let check = |number: u64| check_bucket(vault, &levels, number.saturating_mul(stride));
    let mut done = 0;
    while done < buckets {
        let end = done.saturating_add(STEP).min(buckets);
        let found: Vec<_> = pool.install(|| (done..end).into_par_iter().map(check).collect());
        for found in found {
            report.add(found);
        }
        done = end;
        progress.update("check", done, buckets);
        if progress.is_cancelled() {
            return Err(CheckError::Cancelled);
        }
    }
    report.faults.extend(header_fault(&report, depth));
    Ok(report)
}

impl Report {
    fn add(&mut self, found: Result<u64, Fault>) {
        match found {
            Ok(entries) => self.entries = self.entries.saturating_add(entries),
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// Checks that the header counts what the buckets hold.
fn header_fault(report: &Report, depth: Depth) -> Option<Fault> {
    let Header { pairs, dropped, .. } = report.header;
    let kept = pairs.saturating_sub(dropped);
    let wrong = depth == Depth::Full && report.faults.is_empty() && report.entries != kept;
    wrong.then(|| Fault::Content {
        page: 0,
        offset: 64,
        rule: format!("{pairs} pairs less {dropped} dropped, but {} entries", report.entries),
    })
}

fn check_bucket(vault: &Vault, levels: &Levels, bucket: u64) -> Result<u64, Fault> {
    let mut pairs = Vec::new();
    vault.try_read(bucket, &mut pairs)?;
    let content = |position: usize, rule: String| {
        let page = bucket.saturating_add(1);
        let at = position.saturating_mul(Pair::LEN) as u64;
        Fault::Content { page, offset: offset_of(page).saturating_add(at), rule }
    };
    let placed = levels.check_all(&pairs).map_err(|error| {
        let wrong = pairs.iter().position(|&pair| levels.check(pair).is_err());
        content(wrong.unwrap_or_default(), error.to_string())
    })?;
    let bits = vault.header().id.bucket_bits();
    if let Some(wrong) = placed.iter().position(|&e| top(e, bits) != bucket) {
        return Err(content(wrong, "the entry belongs to another bucket".into()));
    }
    let placed: Vec<_> = pairs.iter().zip(placed).map(|(&pair, e)| Placed { e, pair }).collect();
    let wrong = placed.iter().zip(placed.iter().skip(1)).position(|(left, right)| left >= right);
    match wrong {
        Some(wrong) => Err(content(wrong.saturating_add(1), "the entry is out of order".into())),
        None => Ok(placed.len() as u64),
    }
}
