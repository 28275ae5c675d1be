//! The rules of a block that need no account, as functions of what they look at.

use std::sync::Arc;

use super::{BlockError, Round};
use crate::{
    block::{self, Header, Proofs},
    genesis::Chain,
    merkle,
    proof::{Challenge, ENGINE_COUNT, ProofEntry},
    retarget::retarget,
    transaction::{CheckedTransaction, Encoded},
    units::{Quality, Target},
};

/// The proofs of a block, verified.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) qualities: [Option<Quality>; ENGINE_COUNT],
    pub(super) winner: Option<usize>,
}

/// Checks what a header shows without its parent: version, chain and signature.
pub(crate) fn check_origin(chain: &Chain, header: &Header) -> Result<(), BlockError> {
    if header.version != block::VERSION {
        return Err(BlockError::Version { got: header.version });
    }
    let (got, expected) = (header.chain, chain.hash());
    if got != expected {
        return Err(BlockError::Chain { got, expected });
    }
    let got = header.metronome;
    let key = chain.metronome(&got).ok_or(BlockError::UnknownMetronome { got })?;
    Ok(key.verify(header.hash().as_bytes(), &header.signature)?)
}

pub(super) fn check_proofs_root(header: &Header, proofs: &Proofs) -> Result<(), BlockError> {
    let (got, expected) = (block::proofs_root(proofs), header.proofs_root);
    if got != expected {
        return Err(BlockError::ProofsRoot { got, expected });
    }
    Ok(())
}

pub(super) fn check_proofs(
    chain: &Chain,
    round: &Round,
    proofs: &Proofs,
) -> Result<Proven, BlockError> {
    let mut proven = Proven { qualities: [None; ENGINE_COUNT], winner: None };
    let mut best: Option<(Quality, Target)> = None;
    let mut last = None;
    for (index, entry) in proofs.iter().enumerate() {
        let kind = entry.proof.kind;
        if last >= Some(kind) {
            return Err(BlockError::ProofOrder { index });
        }
        last = Some(kind);
        let (quality, target) = check_proof(chain, round, index, entry)?;
        if let Some(slot) = proven.qualities.get_mut(usize::from(kind.index())) {
            *slot = Some(quality);
        }
        if best.is_none_or(|(b, t)| quality.compare_scaled(target, b, t).is_lt()) {
            (best, proven.winner) = (Some((quality, target)), Some(index));
        }
    }
    Ok(proven)
}

/// The proof that won a block which is on the ledger.
pub(crate) fn winner_of<'a>(
    chain: &Chain,
    header: &Header,
    proofs: &'a Proofs,
) -> Result<Option<&'a ProofEntry>, BlockError> {
    let Header { height, challenge, targets, .. } = *header;
    let proven = check_proofs(chain, &Round { height, challenge, targets }, proofs)?;
    Ok(proven.winner.and_then(|index| proofs.get(index)))
}

pub(super) fn check_proof(
    chain: &Chain,
    round: &Round,
    index: usize,
    entry: &ProofEntry,
) -> Result<(Quality, Target), BlockError> {
    let kind = entry.proof.kind;
    let unknown = BlockError::ProofKind { index, kind };
    let (Some(engine), Some(&target)) =
        (chain.engine(kind), round.targets.get(usize::from(kind.index())))
    else {
        return Err(unknown);
    };
    let quality = engine
        .verify(&Challenge(round.challenge), &entry.miner, &entry.proof)
        .map_err(|error| BlockError::Proof { kind, error })?;
    if !target.is_met_by(quality) {
        return Err(BlockError::TargetMissed { kind, quality, target });
    }
    Ok((quality, target))
}

/// Checks the tree before any signature: whoever puts another body under a header that is not
/// his own costs no more than its hashes.
pub(super) fn check_transactions(
    chain: &Chain,
    header: &Header,
    transactions: Vec<Encoded>,
) -> Result<Vec<Arc<CheckedTransaction>>, BlockError> {
    let leaves = merkle::leaves(&transactions, Encoded::bytes);
    let (got, expected) = (merkle::root(&leaves), header.transactions_root);
    if got != expected {
        return Err(BlockError::TransactionsRoot { got, expected });
    }
    let verdicts = chain.checker().check_hashed(transactions, &leaves).into_iter().enumerate();
    let name = |(index, verdict): (usize, Result<_, _>)| {
        verdict.map_err(|(id, error)| BlockError::Transaction { index, id, error })
    };
    verdicts.map(name).collect()
}

pub(super) fn next_round(chain: &Chain, round: &Round, proofs: &Proofs, proven: &Proven) -> Round {
    let height = round.height.next();
    let winner = proven.winner.and_then(|index| proofs.get(index));
    let challenge = block::next_challenge(&round.challenge, height, winner);
    let mut targets = round.targets;
    let observed = proven.qualities.iter().zip(chain.target_limits());
    for (target, (quality, limits)) in targets.iter_mut().zip(observed) {
        *target = retarget(*target, *quality, limits);
    }
    Round { height, challenge, targets }
}
