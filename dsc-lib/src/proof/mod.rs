//! Proof engines: one resource each, one shared contract.
//!
//! # Invariants
//!
//! 1. Completeness: a proof returned by [`Prover::prove`] verifies and meets the target.
//! 2. Binding: it verifies for one challenge and one miner only.
//! 3. Determinism: [`ProofEngine::verify`] depends on its arguments alone, and `prove` under a cap
//!    on attempts gives the same proof whatever the number of threads.
//! 4. Totality: `verify` never panics, whatever the kind and bytes of the proof.
//! 5. Nothing outside this module names an engine except through [`ENGINES`].
//!
//! `tests/conformance.rs` checks 1 to 4 for every entry of [`ENGINES`] and for a toy engine.

mod budget;
pub(crate) mod direct;
mod entry;
mod error;
pub(crate) mod file;
mod identity;
mod memory;
mod pages;
mod pairs;
pub mod space;
#[cfg(test)]
mod testing;
mod work;

use std::{fmt, path::PathBuf};

pub use budget::{Budget, Clock, NoProgress, Progress};
pub use entry::{Entry, Param, Params, Proof, ProofEntry, ProofKind, Shape, Trial};
pub use error::{
    BuildError, ParamError, PrepareError, ProveError, ThreadsError, UnknownEngine, VerifyError,
};
pub use identity::{Challenge, Fingerprint, Miner, ParseFingerprintError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::units::{Quality, Target};

/// Every engine, at the index that is its kind in blocks.
pub const ENGINES: &[&Entry] = &[&work::ENTRY, &space::ENTRY, &memory::ENTRY];

/// Number of engines.
pub const ENGINE_COUNT: usize = ENGINES.len();

/// Returns the engine called `name`.
///
/// # Errors
///
/// [`UnknownEngine`] if there is none.
pub fn find(name: &str) -> Result<&'static Entry, UnknownEngine> {
    let found = ENGINES.iter().copied().find(|entry| entry.name == name);
    found.ok_or_else(|| UnknownEngine { name: name.into() })
}

/// One kind of proof under the chain's parameters.
pub trait ProofEngine: fmt::Debug + Send + Sync {
    /// The kind of its proofs.
    fn kind(&self) -> ProofKind;

    /// Makes ready what a miner needs to prove: slow, once per identity.
    ///
    /// # Errors
    ///
    /// [`PrepareError`] if `resources` do not suffice or fail.
    fn prepare(
        &self,
        miner: &Miner,
        resources: &Resources,
        progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError>;

    /// Checks every rule of a proof but the target and returns its quality; takes microseconds.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] with the rule that was broken.
    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError>;
}

/// A resource bound to a miner.
pub trait Prover: fmt::Debug + Send {
    /// Returns the best proof found within `budget` that meets `target`, and the attempts made.
    ///
    /// # Errors
    ///
    /// [`ProveError`] if the resource failed; finding nothing is no error.
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError>;

    /// What it occupies.
    fn footprint(&self) -> Footprint;
}

/// Verifies `proof` and that it meets `target`.
///
/// # Errors
///
/// [`VerifyError::TargetMissed`] or whatever [`ProofEngine::verify`] finds.
pub fn verify_target(
    engine: &dyn ProofEngine,
    challenge: &Challenge,
    miner: &Miner,
    proof: &Proof,
    target: Target,
) -> Result<Quality, VerifyError> {
    let quality = engine.verify(challenge, miner, proof)?;
    if target.is_met_by(quality) {
        Ok(quality)
    } else {
        Err(VerifyError::TargetMissed { quality, target })
    }
}

/// What one call of [`Prover::prove`] came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The best proof that meets the target, with its quality.
    pub best: Option<(Proof, Quality)>,
    /// Tries made: hashes, entries scanned or look-ups, by the engine.
    pub attempts: u64,
}

/// What a prover occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes held in RAM.
    pub ram_bytes: u64,
    /// Bytes held on disk.
    pub disk_bytes: u64,
}

/// How the pages of a file are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupMode {
    /// Through a memory map: no copy and no system call for what is cached.
    ///
    /// The length is checked before every look-up. A file that another program cuts in the instant
    /// after that check, or a disk that fails to deliver, still ends this process: only for those
    /// who own both.
    Map,
    /// With positioned reads: every failure is an error.
    #[default]
    Read,
    /// With positioned reads past the cache of the system; [`Self::Read`] where the file system
    /// refuses. For files that should not push others out of the cache.
    Direct,
}

/// What a prover may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Folder for files.
    pub folder: PathBuf,
    /// Threads for preparing and proving; zero means one per core.
    pub threads: usize,
    /// RAM it may take.
    pub ram_bytes_max: u64,
    /// log2 of the entries of a table to plot; `None` means the least the chain accepts.
    ///
    /// Where the chain fixes the size, this is not looked at.
    pub size: Option<u8>,
    /// Which tables of this miner to hold.
    pub indices: Vec<u32>,
    /// How files are read.
    pub lookup: LookupMode,
}

impl Resources {
    /// One table of the least size, in `folder`, on every core, with unlimited RAM.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            threads: 0,
            ram_bytes_max: u64::MAX,
            size: None,
            indices: vec![0],
            lookup: LookupMode::default(),
        }
    }

    /// Starts the threads allowed.
    fn pool(&self) -> Result<ThreadPool, ThreadsError> {
        pool(self.threads)
    }
}

/// More threads than any machine has cores only hinder each other.
const THREADS_MAX: usize = 512;

/// Starts `threads` threads, zero for one per core.
fn pool(threads: usize) -> Result<ThreadPool, ThreadsError> {
    if threads > THREADS_MAX {
        let reason = format!("{threads} asked for, at most {THREADS_MAX} allowed");
        return Err(ThreadsError { reason });
    }
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(|error| ThreadsError { reason: error.to_string() })
}

/// Does something when it is dropped, in a panic too.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_stands_at_the_index_of_its_kind() {
        for (index, entry) in ENGINES.iter().enumerate() {
            assert_eq!(usize::from(entry.kind.index()), index);
            assert_eq!(find(entry.name).unwrap().kind, entry.kind);
            assert_eq!(entry.build_default().kind(), entry.kind);
            assert_eq!(entry.kind.name(), entry.name);
        }
    }

    #[test]
    fn more_threads_than_any_machine_has_are_refused() {
        let error = pool(THREADS_MAX + 1).unwrap_err();
        assert_eq!(error.to_string(), "no threads: 513 asked for, at most 512 allowed");
    }

    #[test]
    fn an_unknown_engine_is_named() {
        let error = find("stake").unwrap_err();
        assert!(error.to_string().starts_with("no engine is called \"stake\""), "{error}");
        assert_eq!("stake".parse::<ProofKind>(), Err(error));
    }
}
