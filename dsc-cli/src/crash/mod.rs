//! Named steps of the block path at which a test makes this process die.
//!
//! `DSC_CRASH_AT=NAME:K` in the environment of a build with debug assertions kills the process when
//! it comes to step NAME for the K-th time. `dsc crash-points` lists the names, `scripts/crash.py`
//! goes through them.
//!
//! # Invariants
//!
//! 1. A step kills as SIGKILL does: nothing is unwound, flushed or answered.
//! 2. In a release build none of this is there: a step is an empty function.
//! 3. A name that is no step is refused at the start: a test that kills nobody would pass.

#[cfg(debug_assertions)]
mod at;
#[cfg(debug_assertions)]
mod disk;

use clap::ValueEnum;
use dsc_lib::{disk::Disk, ledger::OpenOptions, role::Call};

#[cfg(debug_assertions)]
pub(crate) use self::{at::arm, disk::Watched};

/// A step. What its comment says has just been done, and nothing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// Transactions were read from a request
    #[value(name = "pool.received")]
    PoolReceived,
    /// Their signatures were checked
    #[value(name = "pool.checked")]
    PoolChecked,
    /// They are held, and not on disk
    #[value(name = "pool.held")]
    PoolHeld,
    /// They are in the journal, and may be in memory alone
    #[value(name = "pool.journal-written")]
    PoolJournalWritten,
    /// They are on disk, and nobody was told
    #[value(name = "pool.journal-synced")]
    PoolJournalSynced,
    /// A segment of the journal was made
    #[value(name = "pool.segment-started")]
    PoolSegmentStarted,
    /// A segment was removed, all of which is on the ledger
    #[value(name = "pool.segment-removed")]
    PoolSegmentRemoved,
    /// The answer was handed to the connection
    #[value(name = "pool.answered")]
    PoolAnswered,
    /// Transactions for a block were taken, and not sent
    #[value(name = "pool.taken")]
    PoolTaken,
    /// A block of the ledger, or nothing new, was followed
    #[value(name = "pool.followed")]
    PoolFollowed,
    /// The journal was shortened as far as it could be
    #[value(name = "pool.retired")]
    PoolRetired,
    /// A batch is in the log that pools share, and nobody was told
    #[value(name = "cluster.published")]
    ClusterPublished,
    /// A batch of that log was applied, and nobody was told
    #[value(name = "cluster.applied")]
    ClusterApplied,
    /// Batches that the ledger has ended were removed from that log
    #[value(name = "cluster.removed")]
    ClusterRemoved,
    /// A validator's proof was taken, and not answered
    #[value(name = "metronome.proof-taken")]
    MetronomeProofTaken,
    /// A round closed and the next one opened
    #[value(name = "metronome.round-opened")]
    MetronomeRoundOpened,
    /// The pool's transactions came in
    #[value(name = "metronome.transactions-taken")]
    MetronomeTransactionsTaken,
    /// The place of a signed block was cut to its length
    #[value(name = "metronome.signed-cut")]
    MetronomeSignedCut,
    /// A signed block is kept, and may be in memory alone
    #[value(name = "metronome.signed-written")]
    MetronomeSignedWritten,
    /// A signed block is on disk, and nobody has seen it
    #[value(name = "metronome.signed-synced")]
    MetronomeSignedSynced,
    /// A block was signed and kept, and not handed in
    #[value(name = "metronome.submitting")]
    MetronomeSubmitting,
    /// The blockchain server answered, and the metronome has not looked at it
    #[value(name = "metronome.submitted")]
    MetronomeSubmitted,
    /// The metronome has moved on by its block
    #[value(name = "metronome.settled")]
    MetronomeSettled,
    /// A block came in
    #[value(name = "blockchain.received")]
    BlockchainReceived,
    /// A block was checked, and nothing of it is in the log
    #[value(name = "blockchain.checked")]
    BlockchainChecked,
    /// A part of a block is in the log
    #[value(name = "blockchain.log-begun")]
    BlockchainLogBegun,
    /// A block is in the log, and may be in memory alone
    #[value(name = "blockchain.log-written")]
    BlockchainLogWritten,
    /// A block is on disk, and not noted to be
    #[value(name = "blockchain.log-synced")]
    BlockchainLogSynced,
    /// A block is noted to be on disk
    #[value(name = "blockchain.log-noted")]
    BlockchainLogNoted,
    /// A block is on disk, and the ledger's state is the one before it
    #[value(name = "blockchain.stored")]
    BlockchainStored,
    /// A block is part of the state, and nobody was told
    #[value(name = "blockchain.applied")]
    BlockchainApplied,
    /// A part of the index is in a run, and may be in memory alone
    #[value(name = "blockchain.run-written")]
    BlockchainRunWritten,
    /// A run is on disk, and no manifest names it
    #[value(name = "blockchain.run-synced")]
    BlockchainRunSynced,
    /// A manifest is on disk, beside the one that holds
    #[value(name = "blockchain.manifest-written")]
    BlockchainManifestWritten,
    /// A manifest has taken the place of the one before
    #[value(name = "blockchain.manifest-renamed")]
    BlockchainManifestRenamed,
    /// A run that no manifest names any more was removed
    #[value(name = "blockchain.run-removed")]
    BlockchainRunRemoved,
    /// The index was kept in order after a block
    #[value(name = "blockchain.maintained")]
    BlockchainMaintained,
    /// A round came in
    #[value(name = "validator.proving")]
    ValidatorProving,
    /// What a validator found was not handed in
    #[value(name = "validator.handing-in")]
    ValidatorHandingIn,
    /// What a validator found was handed in
    #[value(name = "validator.handed-in")]
    ValidatorHandedIn,
    /// Nobody was asked yet
    #[value(name = "monitor.asking")]
    MonitorAsking,
    /// The chain told how it stands
    #[value(name = "monitor.told")]
    MonitorTold,
    /// A block is in the shared log, and not in this server's own
    #[value(name = "cluster.appended")]
    ClusterAppended,
    /// An entry of the shared log was read, and not applied
    #[value(name = "cluster.followed")]
    ClusterFollowed,
    /// The other servers were told how far this one has come
    #[value(name = "cluster.noted")]
    ClusterNoted,
    /// A metronome took the lease, and does not know it yet
    #[value(name = "cluster.lease-taken")]
    ClusterLeaseTaken,
    /// A metronome renewed or gave back its lease, and does not know it yet
    #[value(name = "cluster.lease-renewed")]
    ClusterLeaseRenewed,
    /// A proof that was handed in is where the other metronomes find it
    #[value(name = "cluster.proof-shared")]
    ClusterProofShared,
}

/// Dies here if a test has asked for it.
#[cfg(debug_assertions)]
pub(crate) fn point(here: Point) {
    at::pass(here);
}

/// Does nothing.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) const fn point(_here: Point) {}

/// A disk on which steps are noticed.
#[cfg(debug_assertions)]
pub(crate) fn disk<D: Disk>(disk: D) -> Watched<D> {
    Watched(disk)
}

/// The same disk.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn disk<D: Disk>(disk: D) -> D {
    disk
}

/// How to open a ledger: as ever, unless a test waits for a step of its index, which is then
/// written every few blocks.
pub(crate) fn ledger_options() -> OpenOptions {
    let options = OpenOptions::default();
    #[cfg(debug_assertions)]
    let options = at::hurry(options);
    options
}

/// The step before a role makes a call.
pub(crate) fn asking(call: &Call) {
    match call {
        Call::Take(_) => point(Point::MetronomeRoundOpened),
        Call::SubmitBlock(_) => point(Point::MetronomeSubmitting),
        Call::HandIn(_) => point(Point::ValidatorHandingIn),
        Call::ChainInfo => point(Point::MonitorAsking),
        _ => {}
    }
}

/// The step after a call has ended, before the role hears of it.
pub(crate) fn answered(call: &Call) {
    match call {
        Call::Take(_) => point(Point::MetronomeTransactionsTaken),
        Call::SubmitBlock(_) => point(Point::MetronomeSubmitted),
        Call::HandIn(_) => point(Point::ValidatorHandedIn),
        Call::ChainInfo => point(Point::MonitorTold),
        _ => {}
    }
}

/// The step after a role has heard how a call ended.
pub(crate) fn settled(call: &Call) {
    if matches!(call, Call::SubmitBlock(_)) {
        point(Point::MetronomeSettled);
    }
}
