//! A fourth engine in one file: guess a byte. It needs nothing but the public interface.

use dsc_lib::{
    proof::{
        Attempt, Budget, Challenge, Entry, Footprint, Miner, Param, PrepareError, Progress, Proof,
        ProofEngine, ProofKind, ProveError, Prover, Resources, Shape, Trial, VerifyError,
    },
    units::{Quality, Target},
};

const KIND: ProofKind = ProofKind::new(200);

/// What the list of engines would hold.
pub(crate) const ENTRY: Entry = Entry {
    kind: KIND,
    name: "toy",
    summary: "guess a byte",
    params: &[Param { name: "guesses", summary: "bytes allowed", min: 1, max: 256, default: 256 }],
    shape: Shape { fixed_len: 1, item_len: 0, items_max: 0 },
    trial: Trial { params: &[64], attempts_max: 64, draws: 64 },
    build: |params| Box::new(Toy { guesses: params.get("guesses") }),
};

#[derive(Clone, Copy, Debug)]
struct Toy {
    guesses: u64,
}

impl ProofEngine for Toy {
    fn kind(&self) -> ProofKind {
        KIND
    }

    fn prepare(
        &self,
        miner: &Miner,
        _resources: &Resources,
        _progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError> {
        Ok(Box::new(Guesser { engine: *self, miner: *miner }))
    }

    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError> {
        match KIND.check(proof)? {
            &[guess] if u64::from(guess) < self.guesses => Ok(quality(challenge, miner, guess)),
            &[guess] => {
                let (field, got, max) = ("guess", guess.into(), self.guesses - 1);
                Err(VerifyError::OutOfRange { field, got, min: 0, max })
            }
            bytes => Err(VerifyError::Length { got: bytes.len(), expected: 1 }),
        }
    }
}

fn quality(challenge: &Challenge, miner: &Miner, guess: u8) -> Quality {
    let material = [&challenge.0.0[..], &miner.address.0, &miner.fingerprint.0, &[guess]].concat();
    let digest = blake3::derive_key("dsc toy engine", &material);
    Quality(u64::from_le_bytes(*digest.first_chunk().unwrap()))
}

#[derive(Debug)]
struct Guesser {
    engine: Toy,
    miner: Miner,
}

impl Prover for Guesser {
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError> {
        let mut attempt = Attempt::default();
        let guesses = self.engine.guesses.min(budget.attempts_max());
        for guess in (0..=u8::MAX).take(guesses.try_into().unwrap_or(usize::MAX)) {
            if budget.is_over() {
                break;
            }
            attempt.attempts += 1;
            let quality = quality(challenge, &self.miner, guess);
            let better = attempt.best.as_ref().is_none_or(|(_, best)| quality < *best);
            if better && target.is_met_by(quality) {
                attempt.best = Some((Proof { kind: KIND, bytes: vec![guess] }, quality));
            }
        }
        Ok(attempt)
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}
