//! What the tests of the engines share: the published identity and a clock that stands still.

use std::{sync::atomic::AtomicBool, time::Duration};

use super::{Budget, Challenge, Clock, Fingerprint, Miner};
use crate::address::Address;

/// The challenge of the published vectors.
pub(super) fn vector_challenge() -> Challenge {
    let text = "5800dcf56aef0d37d3ddafd3db168828218943b355907a0f8e3522f06fe3eec8";
    Challenge(text.parse().unwrap())
}

/// The miner of the published vectors.
pub(super) fn vector_miner() -> Miner {
    Miner { address: Address(counting()), fingerprint: Fingerprint(counting()) }
}

fn counting<const LEN: usize>() -> [u8; LEN] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

/// A clock that stands still and a switch that nobody sets.
#[derive(Debug, Default)]
pub(super) struct Unhurried(AtomicBool);

impl Unhurried {
    pub(super) fn budget(&self) -> Budget<'_> {
        Budget::new(self, &self.0)
    }
}

impl Clock for Unhurried {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}
