//! A block on its way onto the ledger: checked, then stored, then told to the role.

use std::sync::Arc;

use super::{Accepted, Confirmed, Equivocation, Evidence, SubmitError, Summary};
use crate::{
    block::Header,
    codec,
    genesis::Chain,
    ledger::{Archive, BlockError, CheckedBlock, Persisted, State, StoreError},
};

/// A block that nobody has looked at yet.
#[derive(Debug)]
#[must_use = "the block is not on the ledger yet"]
pub struct Submission<B> {
    bytes: B,
    state: Arc<State>,
    archive: Archive,
    evidence: Arc<Evidence>,
}

/// A block that may come next, or is on the ledger already.
#[derive(Debug)]
#[must_use = "the block is not on the ledger yet"]
pub struct Sound<B> {
    bytes: B,
    accepted: Accepted,
    /// Nothing if it is on the ledger already.
    block: Option<Arc<CheckedBlock>>,
    chain: Chain,
    archive: Archive,
}

/// A block that is durably stored, of which the role does not know yet.
///
/// Dropping it frees all of the block's transactions: better not while the role is waited for.
#[derive(Debug)]
#[must_use = "the role does not know of the block yet"]
pub struct Stored {
    accepted: Accepted,
    /// Nothing if it was on the ledger before.
    block: Option<Arc<CheckedBlock>>,
    fresh: Option<Fresh>,
}

/// What the role is told of a block that is new.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) persisted: Persisted,
    pub(super) confirmed: Arc<Confirmed>,
    pub(super) summary: Arc<Summary>,
}

impl<B: AsRef<[u8]>> Submission<B> {
    pub(super) const fn new(
        bytes: B,
        state: Arc<State>,
        archive: Archive,
        evidence: Arc<Evidence>,
    ) -> Self {
        Self { bytes, state, archive, evidence }
    }

    /// Checks the block; that takes long, and needs nothing of the role.
    ///
    /// # Errors
    ///
    /// [`SubmitError`].
    pub fn check(self) -> Result<Sound<B>, SubmitError> {
        let Self { bytes, state, archive, evidence } = self;
        let (header, _) = codec::decode_first::<Header>(bytes.as_ref())?;
        let (height, hash) = (header.height, header.hash());
        let (accepted, chain) = (Accepted { height, hash }, state.chain().clone());
        if archive.height_of(&hash)? == Some(height) {
            return Ok(Sound { bytes, accepted, block: None, chain, archive });
        }
        let block = match state.check_bytes::<SubmitError>(bytes.as_ref()) {
            Err(SubmitError::Block(error @ BlockError::Height { .. })) => {
                return Err(refused(header, error, &chain, &archive, &evidence)?);
            }
            checked => checked?,
        };
        Ok(Sound { bytes, accepted, block: Some(block), chain, archive })
    }

    /// Checks the block and stores it durably.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; nothing has changed then.
    pub fn run(self) -> Result<Stored, SubmitError> {
        self.check()?.store()
    }
}

impl<B: AsRef<[u8]>> Sound<B> {
    /// What is answered once it is on the ledger.
    pub const fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// The header, unless the block is on the ledger already.
    pub fn header(&self) -> Option<&Header> {
        self.block.as_ref().map(|block| block.header())
    }

    /// The block as it came.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Stores it durably, unless it is on the ledger already.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Commit`]; nothing has changed then.
    pub fn store(self) -> Result<Stored, SubmitError> {
        let Self { accepted, block, chain, archive, .. } = self;
        let Some(block) = block else { return Ok(Stored { accepted, block, fresh: None }) };
        let persisted = archive.persist(&block)?;
        let confirmed = Arc::new(Confirmed::of_checked(&block));
        let summary = Arc::new(Summary::of_checked(&block, &chain));
        let fresh = Some(Fresh { persisted, confirmed, summary });
        Ok(Stored { accepted, block: Some(block), fresh })
    }
}

impl Stored {
    /// What is answered once the role knows of it.
    pub(super) const fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// What the role is to be told, once.
    pub(super) fn take_fresh(&mut self) -> Option<(&CheckedBlock, Fresh)> {
        let block = self.block.as_deref()?;
        Some((block, self.fresh.take()?))
    }
}

/// Why a block of another height than the next is refused: if its metronome signed the block that
/// the ledger has there, this is kept as evidence.
fn refused(
    second: Header,
    error: BlockError,
    chain: &Chain,
    archive: &Archive,
    evidence: &Evidence,
) -> Result<SubmitError, StoreError> {
    let Some(first) = archive.header(second.height)? else { return Ok(error.into()) };
    let equivocation = Equivocation { first, second };
    // Anybody can send the same again for nothing: it costs as little.
    let is_known = evidence.knows(&equivocation);
    if !is_known && equivocation.verify(chain).is_err() {
        return Ok(error.into());
    }
    let kept = if is_known { Ok(false) } else { evidence.add(&equivocation) };
    let is_new = kept.map_err(|source| StoreError::Io { action: "keep the evidence", source })?;
    Ok(SubmitError::Equivocation { seen: Box::new(equivocation), is_new })
}
