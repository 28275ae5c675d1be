//! Checking many signatures at once.
//!
//! # Invariants
//!
//! 1. [`verify_each`] gives the verdicts of [`PublicKey::verify`], whatever the CPU and the neighbours.
//!
//! `tests/batch.rs` compares it with both backends on honest, damaged and hostile claims.

#[cfg(target_arch = "x86_64")]
use super::lanes;
use super::{PublicKey, Signature, SignatureError};

/// Fewer claims than this are checked one by one: eight lanes take a little less time than one
/// signature by aws-lc, so two are worth it, and a tenth of one by `rsa`.
#[cfg(target_arch = "x86_64")]
const CLAIMS_MIN: usize = if cfg!(feature = "aws-lc") { 2 } else { 1 };

/// The claim that `signature` is that of `message` by `key`.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who is said to have signed.
    pub key: &'a PublicKey,
    /// What is said to have been signed.
    pub message: &'a [u8],
    /// What is said to prove it.
    pub signature: &'a Signature,
}

impl Claim<'_> {
    /// Checks this claim alone.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if it does not hold.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.key.verify(self.message, self.signature)
    }
}

/// Checks claims; verdicts are in their order and those of [`PublicKey::verify`].
///
/// Works on the calling thread: whoever has several splits the claims into multiples of
/// [`verify_lanes`].
pub fn verify_each(claims: &[Claim<'_>]) -> Vec<Result<(), SignatureError>> {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        return verify_in_lanes(claims);
    }
    claims.iter().map(Claim::verify).collect()
}

/// How many claims are best checked together on this CPU: 1 if each is checked by itself.
pub fn verify_lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() {
        return lanes::LANES;
    }
    1
}

#[cfg(target_arch = "x86_64")]
fn verify_in_lanes(claims: &[Claim<'_>]) -> Vec<Result<(), SignatureError>> {
    let mut verdicts = vec![Err(SignatureError::OutOfRange); claims.len()];
    let in_range = |(claim, _): &(&Claim<'_>, _)| claim.signature.0 < claim.key.0;
    let mut open: Vec<_> = claims.iter().zip(&mut verdicts).filter(in_range).collect();
    for open in open.chunks_mut(lanes::LANES) {
        if open.len() < CLAIMS_MIN {
            for (claim, verdict) in open {
                **verdict = claim.verify();
            }
            continue;
        }
        let claims: Vec<_> = open.iter().map(|(claim, _)| *claim).collect();
        for ((_, verdict), holds) in open.iter_mut().zip(lanes::verify(&claims)) {
            **verdict = if holds { Ok(()) } else { Err(SignatureError::Mismatch) };
        }
    }
    verdicts
}
