//! Checking a vault: every rule that its bytes have to keep, not only the checksums.
//!
//! # Invariants
//!
//! 1. A full check that finds nothing wrong has shown that the file is, byte for byte, the one
//!    that plotting makes.
//! 2. The file is only read; whatever its bytes are, the check ends with a report or an error.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use thiserror::Error;

use super::{
    super::{BuildError, Progress, ThreadsError, pairs::Pair, pool},
    census::{self, Census, Rebuilt},
    file::{AlignedBytes, open_file},
    lookup::{io_fault, read_pages},
    scan::{FAULTS_MAX, Subject, Upkeep, Verdict, entry_fault},
    vault::{DROPPED_AT, Fault, Header, PAGE_LEN, PAIRS_AT, VaultError, VaultId, read_bucket},
};
use crate::{
    disk::{Disk, DiskFile, Real},
    proof::pairs::top,
    tag::Tagger,
};

/// Buckets looked at when not all are.
const SAMPLE: u64 = 512;

/// How much of a vault to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Depth {
    /// The header and some buckets, evenly spread; takes seconds and misses damage elsewhere.
    Sample,
    /// Every bucket, that each holds all the pairs that it should, and the totals of the header.
    Full,
}

/// What checking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose vault it is.
    pub id: VaultId,
    /// What the header says, if it can be read.
    pub header: Option<Header>,
    /// Buckets checked.
    pub buckets: u64,
    /// Entries in those that are sound.
    pub entries: u64,
    /// Buckets shown to hold every pair that they should, by counting the pairs of the table.
    pub complete: u64,
    /// Buckets made anew and compared entry by entry.
    pub rebuilt: u64,
    /// Pages that are damaged or missing, the header's included.
    pub damaged: u64,
    /// What is wrong, in the order of pages; the first 65,536 of them.
    pub faults: Vec<Fault>,
}

/// Checking did not finish.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The file cannot be read, or it cannot be told whose vault it is.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The threads asked for could not be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// There was not enough memory to make the pairs anew, or it was told to stop.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Checks the vault at `path`, which may be damaged anywhere.
///
/// A file whose header is damaged is checked as far as it can be told whose it is: from the
/// caller, or from what is left of the header if pages bear it out.
///
/// # Errors
///
/// [`CheckError`] if it did not finish; what is wrong with the vault is in the report.
pub fn check(
    path: &Path,
    depth: Depth,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    let open = || Ok(Arc::new(Real(open_file(path)?)) as Arc<dyn DiskFile>);
    check_file(path, open(), depth, upkeep, progress)
}

/// Checks the vault called `name` on `disk` as [`check`] does.
///
/// # Errors
///
/// As there.
pub fn check_on(
    disk: &dyn Disk,
    name: &str,
    depth: Depth,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    check_file(Path::new(name), disk.open(name), depth, upkeep, progress)
}

fn check_file(
    path: &Path,
    file: io::Result<Arc<dyn DiskFile>>,
    depth: Depth,
    upkeep: &Upkeep,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    let subject = file
        .map_err(|error| io_fault(0, &error))
        .and_then(|file| Subject::new(path, file, upkeep.id.as_ref()))
        .and_then(Subject::complete)
        .map_err(|fault| VaultError::new(path, fault))?;
    let mut report = Report::new(&subject);
    match depth {
        Depth::Sample => report.check_sample(&subject, progress)?,
        Depth::Full => report.check_all(&subject, upkeep, progress)?,
    }
    report.faults.sort_by_key(|fault| (fault.page(), fault.offset()));
    report.faults.truncate(FAULTS_MAX);
    Ok(report)
}

impl Report {
    fn new(subject: &Subject) -> Self {
        let header = subject.header.as_ref();
        let mut faults: Vec<_> = header.err().cloned().into_iter().collect();
        let damaged = faults.len() as u64;
        faults.extend(subject.length_fault());
        let (id, header) = (subject.id, header.ok().copied());
        Self { id, header, buckets: 0, entries: 0, complete: 0, rebuilt: 0, damaged, faults }
    }

    fn check_sample(
        &mut self,
        subject: &Subject,
        progress: &dyn Progress,
    ) -> Result<(), CheckError> {
        let all = self.id.buckets();
        let stride = all.div_ceil(SAMPLE).max(1);
        let count = all.div_ceil(stride);
        for done in 0..count {
            self.add(&subject.judge(done.saturating_mul(stride)));
            progress.update("check", done.saturating_add(1), count);
            if progress.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
        }
        Ok(())
    }

    fn check_all(
        &mut self,
        subject: &Subject,
        upkeep: &Upkeep,
        progress: &dyn Progress,
    ) -> Result<(), CheckError> {
        let (pool, ram_bytes_max) = (pool(upkeep.threads)?, upkeep.ram_bytes_max);
        let mut census = Census::new(&self.id, pool.current_num_threads(), ram_bytes_max)?;
        subject.judge_all(&pool, progress, |bucket, verdict| {
            census.note(bucket, verdict.held);
            self.add(&verdict);
        })?;
        let (sample, damaged) = (sample(&self.id), census.damaged());
        let counted = census.count(subject, &sample, &pool, progress)?;
        let wrong = census.wrong();
        let sound = |bucket: &&u64| damaged.binary_search(bucket).is_err();
        let of_sample = sample.iter().filter(sound).filter(|b| wrong.binary_search(b).is_err());
        self.compare(subject, of_sample, &counted.rebuilt);
        // Of two pairs with the same `e` one may be dropped, and the count does not tell which.
        for wrong in wrong.chunks(census.rebuilt_max()) {
            let counted = census.count(subject, wrong, &pool, progress)?;
            self.compare(subject, wrong.iter(), &counted.rebuilt);
        }
        let of_header = u64::from(self.header.is_none());
        self.complete = self.id.buckets().saturating_sub(self.damaged.saturating_sub(of_header));
        self.compare_totals(&counted.header);
        Ok(())
    }

    fn add(&mut self, verdict: &Verdict) {
        self.buckets = self.buckets.saturating_add(1);
        match verdict.held {
            Some(held) => self.entries = self.entries.saturating_add(held.count.into()),
            None => self.damaged = self.damaged.saturating_add(1),
        }
        let room = FAULTS_MAX.saturating_sub(self.faults.len());
        self.faults.extend(verdict.faults.iter().take(room).cloned());
    }

    /// Compares sound pages with the same buckets made anew.
    fn compare<'b>(
        &mut self,
        subject: &Subject,
        buckets: impl Iterator<Item = &'b u64>,
        rebuilt: &Rebuilt,
    ) {
        for &bucket in buckets {
            self.rebuilt = self.rebuilt.saturating_add(1);
            if let Some(fault) = difference(subject, bucket, rebuilt) {
                self.damaged = self.damaged.saturating_add(1);
                self.faults.push(fault);
            }
        }
    }

    fn compare_totals(&mut self, expected: &Header) {
        let Some(header) = self.header else { return };
        let totals = [
            (PAIRS_AT, "pairs", header.pairs, expected.pairs),
            (DROPPED_AT, "dropped", header.dropped, expected.dropped),
        ];
        let wrong = totals.into_iter().filter(|(_, _, got, expected)| got != expected);
        let faults: Vec<_> = wrong
            .map(|(at, name, got, expected)| {
                Fault::content(0, at, format!("{name} is {got}, expected {expected}"))
            })
            .collect();
        self.damaged = self.damaged.saturating_add(u64::from(!faults.is_empty()));
        self.faults.extend(faults);
    }
}

/// The first entry in which the page of `bucket` is not what it should be.
fn difference(subject: &Subject, bucket: u64, rebuilt: &Rebuilt) -> Option<Fault> {
    let mut bytes = AlignedBytes::zeroed(PAGE_LEN);
    let number = bucket.saturating_add(1);
    if let Err(fault) = read_pages(&*subject.file, &subject.id, number, bytes.as_mut()) {
        return Some(fault);
    }
    let page = bytes.as_mut().first_chunk()?;
    let held: Vec<Pair> = match read_bucket(page, bucket, &subject.id) {
        Ok(pairs) => pairs.collect(),
        Err(fault) => return Some(fault),
    };
    let expected = rebuilt.kept(bucket);
    let same = held.iter().zip(expected).take_while(|(held, placed)| **held == placed.pair).count();
    match (held.get(same), expected.get(same)) {
        (None, None) => None,
        (_, Some(placed)) => {
            let (x1, x2) = (placed.pair.x1(), placed.pair.x2());
            Some(entry_fault(bucket, same, format!("the pair of {x1} and {x2} is missing")))
        }
        (Some(_), None) => Some(entry_fault(bucket, same, "the bucket has no such entry")),
    }
}

/// The buckets to make anew: any, but the same for every check of a vault.
fn sample(id: &VaultId) -> Vec<u64> {
    let tagger = Tagger::new(blake3::hash(&id.to_bytes()).as_bytes());
    let (mut buckets, mut drawn) = (BTreeSet::new(), 0_u64);
    // A full check makes as many anew, and the smallest vault has twice as many.
    while buckets.len() < census::SAMPLE {
        buckets.insert(top(tagger.tag(drawn), id.bucket_bits()));
        drawn = drawn.saturating_add(1);
    }
    buckets.into_iter().collect()
}
