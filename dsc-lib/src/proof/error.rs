//! Everything that can go wrong with a proof, apart by whose fault it is.
//!
//! [`VerifyError`] blames the sender of a proof, [`PrepareError`] and [`ProveError`] this machine,
//! [`ParamError`] and [`UnknownEngine`] whoever wrote the configuration.

use thiserror::Error;

use super::{
    ENGINES, ProofKind,
    space::{PlotError, VaultError},
};
use crate::units::{Quality, Target};

/// A proof that breaks a consensus rule: always the fault of its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The proof is for another engine.
    #[error("a proof of kind {got} was given to engine {expected}")]
    WrongKind {
        /// Kind of the proof.
        got: ProofKind,
        /// Kind of the engine.
        expected: ProofKind,
    },
    /// The proof has the wrong number of bytes.
    #[error("{got} proof bytes, expected {expected}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes such a proof has.
        expected: usize,
    },
    /// A field is outside its range.
    #[error("{field} is {got}, expected {min} to {max}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// What it holds.
        got: u64,
        /// Least value allowed.
        min: u64,
        /// Greatest value allowed.
        max: u64,
    },
    /// The members of a pair are equal or in the wrong order.
    #[error("x1 = {x1} is not below x2 = {x2}")]
    Order {
        /// First member.
        x1: u32,
        /// Second member.
        x2: u32,
    },
    /// The members of a pair do not match at level 1.
    #[error("{x1} and {x2} do not match")]
    NoMatch {
        /// First member.
        x1: u32,
        /// Second member.
        x2: u32,
    },
    /// The entry is in no bucket that the challenge asks for.
    #[error("the entry is in bucket group {got}, the challenge asks for {expected}")]
    WrongBucket {
        /// The entry's group.
        got: u64,
        /// The challenge's group.
        expected: u64,
    },
    /// A pair does not follow from the walk so far.
    #[error("step {step} leads to prefix {expected}, its pair has {got}")]
    StepMismatch {
        /// Which step, from 0.
        step: usize,
        /// Prefix of the pair.
        got: u64,
        /// Prefix that the walk asks for.
        expected: u64,
    },
    /// The proof is sound but not good enough.
    #[error("quality {quality} misses target {target}")]
    TargetMissed {
        /// The proof's quality.
        quality: Quality,
        /// The greatest quality allowed.
        target: Target,
    },
}

/// An engine could not be made ready on this machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The threads asked for could not be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// A table of this size is not accepted by the chain.
    #[error("size {got}, expected {min} to {max}")]
    Size {
        /// log2 of the entries asked for.
        got: u8,
        /// Least size accepted.
        min: u8,
        /// Greatest size there is.
        max: u8,
    },
    /// No table was asked for.
    #[error("no table index given, at least one is needed")]
    NoIndex,
    /// A table could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A vault could not be plotted.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A vault that exists could not be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The threads asked for could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no threads: {reason}")]
#[non_exhaustive]
pub struct ThreadsError {
    /// What the system said.
    pub reason: String,
}

/// A pair table could not be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The table needs more RAM than is allowed.
    #[error("building the table takes {needed} bytes of RAM, {allowed} are allowed")]
    RamTooSmall {
        /// Bytes that building takes.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The system gave no more RAM.
    #[error("the system has no {bytes} bytes of RAM left")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
    /// The disk is full of temporary files.
    #[error("no room is left for temporary files")]
    TemporaryFull,
    /// A temporary file failed.
    #[error("a temporary file failed: {reason}")]
    Temporary {
        /// What the system said.
        reason: String,
    },
}

impl BuildError {
    pub(super) const fn check_ram(needed: u64, allowed: u64) -> Result<(), Self> {
        if needed <= allowed { Ok(()) } else { Err(Self::RamTooSmall { needed, allowed }) }
    }
}

/// A prover's resource failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A vault could not be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// A value that is not allowed for a parameter of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamError {
    /// There are more or fewer values than parameters.
    #[error("engine {engine} has {expected} parameters, got {got}")]
    Count {
        /// Name of the engine.
        engine: &'static str,
        /// Values given.
        got: usize,
        /// Parameters it has.
        expected: usize,
    },
    /// A value is outside the range of its parameter.
    #[error("{engine} parameter {name} is {got}, expected {min} to {max}")]
    OutOfRange {
        /// Name of the engine.
        engine: &'static str,
        /// Name of the parameter.
        name: &'static str,
        /// Value given.
        got: u64,
        /// Least value allowed.
        min: u64,
        /// Greatest value allowed.
        max: u64,
    },
}

/// A name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no engine is called {name:?}, there are: {}", names())]
#[non_exhaustive]
pub struct UnknownEngine {
    /// The name given.
    pub name: String,
}

fn names() -> String {
    ENGINES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_test_can_provoke_has_a_sentence() {
        let error: PrepareError = ThreadsError { reason: "too many".into() }.into();
        assert_eq!(error.to_string(), "no threads: too many");
        let error: PrepareError = BuildError::OutOfMemory { bytes: 8 }.into();
        assert_eq!(error.to_string(), "the system has no 8 bytes of RAM left");
    }
}
