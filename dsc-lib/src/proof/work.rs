//! Proof of work: search nonces for a low tag.
//!
//! `K = derive(work; challenge, address, fingerprint)`, quality = `tag(K, nonce)`. A proof is the
//! nonce. Nonces are tried from zero, so a cap on attempts names the nonces that were tried.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rayon::ThreadPool;

use super::{
    Attempt, Budget, Challenge, Entry, Footprint, Miner, PrepareError, Progress, Proof,
    ProofEngine, ProofKind, ProveError, Prover, Resources, Shape, Trial, VerifyError,
};
use crate::{
    hash::{Context, derive},
    tag::Tagger,
    units::{Quality, Target},
};

const KIND: ProofKind = ProofKind::new(0);
const PROOF_LEN: usize = 8;
/// Nonces between two looks at the clock.
const CHUNK: u64 = 4096;

pub(super) const ENTRY: Entry = Entry {
    kind: KIND,
    name: "work",
    summary: "search nonces for a low tag",
    params: &[],
    shape: Shape { fixed_len: PROOF_LEN, item_len: 0, items_max: 0 },
    trial: Trial { params: &[], attempts_max: 1 << 18, draws: 1 << 18 },
    build: |_| Box::new(ProofOfWork),
};

#[derive(Debug)]
struct ProofOfWork;

fn tagger(challenge: &Challenge, miner: &Miner) -> Tagger {
    let parts = [challenge.0.as_bytes(), &miner.address.0[..], &miner.fingerprint.0];
    Tagger::new(derive(Context::Work, &parts).as_bytes())
}

impl ProofEngine for ProofOfWork {
    fn kind(&self) -> ProofKind {
        KIND
    }

    fn prepare(
        &self,
        miner: &Miner,
        resources: &Resources,
        _progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError> {
        Ok(Box::new(Searcher { miner: *miner, pool: resources.pool()? }))
    }

    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError> {
        let bytes = KIND.check(proof)?;
        let nonce = <[u8; PROOF_LEN]>::try_from(bytes)
            .map_err(|_| VerifyError::Length { got: bytes.len(), expected: PROOF_LEN })?;
        Ok(Quality(tagger(challenge, miner).tag(u64::from_le_bytes(nonce))))
    }
}

#[derive(Debug)]
struct Searcher {
    miner: Miner,
    pool: ThreadPool,
}

impl Prover for Searcher {
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError> {
        let search = Search {
            tagger: tagger(challenge, &self.miner),
            next: AtomicU64::new(0),
            found: Mutex::new(Found::default()),
        };
        let threads = budget.threads(self.pool.current_num_threads());
        self.pool.scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| search.run(budget));
            }
        });
        let Found { best, attempts } =
            search.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Attempt { best: best.and_then(|best| proof_within(best, target)), attempts })
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}

fn proof_within((quality, nonce): (u64, u64), target: Target) -> Option<(Proof, Quality)> {
    let proof = Proof { kind: KIND, bytes: nonce.to_le_bytes().to_vec() };
    target.is_met_by(Quality(quality)).then_some((proof, Quality(quality)))
}

/// The lowest `(quality, nonce)` of the nonces tried; ties go to the lower nonce.
#[derive(Debug, Default)]
struct Found {
    best: Option<(u64, u64)>,
    attempts: u64,
}

impl Found {
    fn merge(&mut self, other: &Self) {
        self.best = self.best.into_iter().chain(other.best).min();
        self.attempts = self.attempts.saturating_add(other.attempts);
    }
}

/// One search, shared by its threads: each takes the next chunk of nonces until all is over.
#[derive(Debug)]
struct Search {
    tagger: Tagger,
    next: AtomicU64,
    found: Mutex<Found>,
}

impl Search {
    fn run(&self, budget: &Budget<'_>) {
        let mut found = Found::default();
        while let Some((first, count)) = self.claim(budget) {
            let best = self.tagger.min_in_range(first, count);
            found.merge(&Found { best, attempts: count });
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).merge(&found);
    }

    /// Takes the next chunk: its first nonce and how many, unless the budget is over.
    fn claim(&self, budget: &Budget<'_>) -> Option<(u64, u64)> {
        if budget.is_over() {
            return None;
        }
        let take = |next: u64| next.checked_add(CHUNK);
        let first = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let left = budget.attempts_max().checked_sub(first).filter(|&left| left > 0)?;
        Some((first, left.min(CHUNK)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::testing::{Unhurried, vector_challenge, vector_miner};

    fn searcher(threads: usize) -> Box<dyn Prover> {
        let resources = Resources { threads, ..Resources::new("") };
        ProofOfWork.prepare(&vector_miner(), &resources, &super::super::NoProgress).unwrap()
    }

    #[test]
    fn the_published_vector_is_found_and_verified() {
        let (challenge, miner) = (vector_challenge(), vector_miner());
        let free = Unhurried::default();
        let budget = free.budget().with_attempts_max(20_000);
        let attempt = searcher(2).prove(&challenge, Target::MAX, &budget).unwrap();
        let (proof, quality) = attempt.best.unwrap();
        assert_eq!(attempt.attempts, 20_000);
        assert_eq!(proof.bytes, 10_045_u64.to_le_bytes());
        assert_eq!(quality, Quality(299_379_623_113_324));
        assert_eq!(ProofOfWork.verify(&challenge, &miner, &proof), Ok(quality));
    }

    #[test]
    fn a_miss_is_counted_and_gives_nothing() {
        let free = Unhurried::default();
        let budget = free.budget().with_attempts_max(10);
        let attempt = searcher(1).prove(&vector_challenge(), Target(0), &budget).unwrap();
        assert_eq!(attempt, Attempt { best: None, attempts: 10 });
    }

    #[test]
    fn ties_go_to_the_lower_nonce() {
        let mut found = Found { best: Some((3, 9)), attempts: 1 };
        found.merge(&Found { best: Some((3, 8)), attempts: 2 });
        assert_eq!((found.best, found.attempts), (Some((3, 8)), 3));
    }

    #[test]
    fn a_proof_of_another_length_is_refused() {
        let proof = Proof { kind: KIND, bytes: vec![0; 9] };
        let found = ProofOfWork.verify(&vector_challenge(), &vector_miner(), &proof).unwrap_err();
        assert_eq!(found, VerifyError::Length { got: 9, expected: 8 });
        assert_eq!(found.to_string(), "9 proof bytes, expected 8");
    }
}
