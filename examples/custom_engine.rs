//! A fourth engine in one file: proof of patience.
//!
//! A try is a chain of hashes, each of the one before, from a start that the miner chooses; the
//! quality is the end. Nothing but time helps: the steps of one chain cannot be shared out. A proof
//! is the start, 8 bytes. Checking takes as long as one try, which a chain must be able to afford.
//!
//! In `dsc-lib` the engine would be `src/proof/patience.rs`, with two lines more in
//! `src/proof/mod.rs`: `mod patience;` and its entry in `ENGINES`. Blocks, ledger, roles, commands,
//! benches and fuzz targets then take it from there.
//!
//! ```text
//! $ cargo run --release --package dsc-examples --example custom_engine
//! patience: 1000 tries, best quality 52081790228895796
//! for another challenge: quality 10991466544167707782 misses target 184467440737095516
//! cut: 7 proof bytes, expected 8
//! ```

use dsc_lib::{
    address::Address,
    hash::{Context, Digest, derive},
    proof::{
        Attempt, Budget, Challenge, Entry, Fingerprint, Footprint, Miner, NoProgress, Param,
        PrepareError, Progress, Proof, ProofEngine, ProofKind, ProveError, Prover, Resources,
        Shape, Trial, VerifyError, verify_target,
    },
    testing::Unhurried,
    units::{Quality, Target},
};

/// The index after those of the engines there are.
const KIND: ProofKind = ProofKind::new(3);
const PROOF_LEN: usize = 8;

const ENTRY: Entry = Entry {
    kind: KIND,
    name: "patience",
    summary: "hash a hash again and again",
    params: &[Param {
        name: "steps",
        summary: "hashes in one chain",
        min: 1,
        max: 1 << 20,
        default: 1 << 10,
    }],
    shape: Shape { fixed_len: PROOF_LEN, item_len: 0, items_max: 0 },
    trial: Trial { params: &[1024], attempts_max: 1 << 10, draws: 1 << 10 },
    build: |params| Box::new(ProofOfPatience { steps: params.get("steps") }),
};

#[derive(Clone, Copy, Debug)]
struct ProofOfPatience {
    steps: u64,
}

impl ProofOfPatience {
    fn quality(self, challenge: &Challenge, miner: &Miner, start: u64) -> Quality {
        let Miner { address, fingerprint } = miner;
        let parts = [&challenge.0.0[..], &address.0, &fingerprint.0, &start.to_le_bytes()];
        let first = derive(Context::Work, &parts);
        let step = |hash: Digest, _| derive(Context::Work, &[hash.as_bytes()]);
        Quality((1..self.steps).fold(first, step).first64())
    }
}

impl ProofEngine for ProofOfPatience {
    fn kind(&self) -> ProofKind {
        KIND
    }

    fn prepare(
        &self,
        miner: &Miner,
        _resources: &Resources,
        _progress: &dyn Progress,
    ) -> Result<Box<dyn Prover>, PrepareError> {
        Ok(Box::new(Patient { engine: *self, miner: *miner }))
    }

    fn verify(
        &self,
        challenge: &Challenge,
        miner: &Miner,
        proof: &Proof,
    ) -> Result<Quality, VerifyError> {
        let bytes = KIND.check(proof)?;
        let start = <[u8; PROOF_LEN]>::try_from(bytes)
            .map_err(|_| VerifyError::Length { got: bytes.len(), expected: PROOF_LEN })?;
        Ok(self.quality(challenge, miner, u64::from_le_bytes(start)))
    }
}

#[derive(Debug)]
struct Patient {
    engine: ProofOfPatience,
    miner: Miner,
}

impl Prover for Patient {
    /// Tries starts from zero: a cap on attempts names those that were tried.
    fn prove(
        &mut self,
        challenge: &Challenge,
        target: Target,
        budget: &Budget<'_>,
    ) -> Result<Attempt, ProveError> {
        let mut attempt = Attempt::default();
        for start in 0..budget.attempts_max() {
            if budget.is_over() {
                break;
            }
            attempt.attempts += 1;
            let quality = self.engine.quality(challenge, &self.miner, start);
            let better = attempt.best.as_ref().is_none_or(|(_, best)| quality < *best);
            if target.is_met_by(quality) && better {
                let proof = Proof { kind: KIND, bytes: start.to_le_bytes().to_vec() };
                attempt.best = Some((proof, quality));
            }
        }
        Ok(attempt)
    }

    fn footprint(&self) -> Footprint {
        Footprint::default()
    }
}

fn main() -> anyhow::Result<()> {
    let engine = ENTRY.build_default();
    let miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
    let mut prover = engine.prepare(&miner, &Resources::new("."), &NoProgress)?;

    let free = Unhurried::default();
    let budget = free.budget().with_attempts_max(1_000);
    let (challenge, target) = (Challenge(Digest([3; 32])), Target::for_tries(100));
    let attempt = prover.prove(&challenge, target, &budget)?;
    let (proof, quality) = attempt.best.expect("one start in a hundred meets the target");
    assert_eq!(verify_target(&*engine, &challenge, &miner, &proof, target)?, quality);
    println!("{}: {} tries, best quality {quality}", ENTRY.name, attempt.attempts);

    let other = Challenge(Digest([4; 32]));
    let refused = verify_target(&*engine, &other, &miner, &proof, target).unwrap_err();
    println!("for another challenge: {refused}");
    let short = Proof { bytes: vec![0; 7], ..proof };
    println!("cut: {}", engine.verify(&challenge, &miner, &short).unwrap_err());
    Ok(())
}
