//! The rule that moves an engine's target after every block.
//!
//! # Invariants
//!
//! 1. It depends on verified on-chain data alone: the target and the quality in the block.
//! 2. The result stays within the chain's limits, whatever the input.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::units::{Quality, Target};

/// The easiest and the hardest target a chain allows for an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct TargetLimits {
    /// The hardest target.
    pub min: Target,
    /// The easiest target.
    pub max: Target,
}

impl TargetLimits {
    fn clamp(self, target: u128) -> Target {
        let target = u64::try_from(target).unwrap_or(u64::MAX);
        Target(target.min(self.max.0).max(self.min.0))
    }
}

/// Returns the target of the next block from the one of this block and the quality of the
/// engine's proof in it, if there was one.
///
/// The quality of the best of many tries is exponential with some mean mu. The target settles at
/// 2.3 mu, where a proof is found in 90 % of rounds; a miss stands for its expected quality.
/// Exact in 128-bit integers: `target' = (15 target + observed) / 16` with `observed` 23/10 of the
/// quality, or 33/10 of the target after a miss.
#[allow(clippy::arithmetic_side_effects, reason = "64-bit values in 128 bits cannot overflow")]
pub fn retarget(target: Target, quality: Option<Quality>, limits: TargetLimits) -> Target {
    let held = u128::from(target.0);
    let observed = match quality {
        Some(Quality(quality)) => 23 * u128::from(quality) / 10,
        None => 33 * held / 10,
    };
    limits.clamp((15 * held + observed) / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: TargetLimits = TargetLimits { min: Target(1), max: Target::MAX };

    #[test]
    fn stays_within_limits() {
        assert_eq!(retarget(Target::MAX, None, FREE), Target::MAX);
        assert_eq!(retarget(Target::MAX, Some(Quality(u64::MAX)), FREE), Target::MAX);
        assert_eq!(retarget(Target(1), Some(Quality(0)), FREE), Target(1));
        let narrow = TargetLimits { min: Target(100), max: Target(101) };
        assert_eq!(retarget(Target(100), Some(Quality(0)), narrow), Target(100));
        assert_eq!(retarget(Target(100), None, narrow), Target(101));
    }

    /// In equilibrium nine rounds in ten have a proof, whatever the number of validators.
    #[test]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a simulation of random qualities"
    )]
    fn settles_where_nine_rounds_in_ten_have_a_proof() {
        let mean = (1_u64 << 40) as f64;
        let (mut target, mut hits) = (Target(1 << 50), 0);
        let rounds = 20_000_u64;
        for round in 0..rounds {
            let uniform =
                (crate::hash::derive(crate::hash::Context::State, &[&round.to_le_bytes()])
                    .first64()
                    >> 11) as f64
                    / (1_u64 << 53) as f64;
            let quality = Quality((-mean * (1.0 - uniform).ln()) as u64);
            let met = target.is_met_by(quality).then_some(quality);
            hits += u64::from(met.is_some());
            target = retarget(target, met, FREE);
        }
        let share = hits as f64 / rounds as f64;
        assert!((0.88..0.92).contains(&share), "{share}");
    }
}
