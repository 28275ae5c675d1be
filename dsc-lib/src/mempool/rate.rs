//! Fee rates, compared exactly.

use std::{cmp::Ordering, fmt};

use crate::{transaction::CheckedTransaction, units::Amount};

/// What a transaction pays for each byte of its encoding.
///
/// Rates are equal when the quotients are: 2 for 4 bytes is 1 for 2 bytes.
#[derive(Clone, Copy, Debug)]
pub struct FeeRate {
    fee: Amount,
    bytes: u64,
}

impl FeeRate {
    /// The rate of a transaction.
    pub fn of(transaction: &CheckedTransaction) -> Self {
        Self { fee: transaction.fee(), bytes: transaction.bytes().len() as u64 }
    }

    /// What 1000 bytes cost at this rate, in base units, rounded up.
    pub fn per_kilobyte(self) -> u64 {
        let fee = u128::from(self.fee.units()).saturating_mul(1000);
        u64::try_from(fee.div_ceil(u128::from(self.bytes.max(1)))).unwrap_or(u64::MAX)
    }

    /// Whether this is higher than `other` by at least a tenth of it.
    pub fn outbids(self, other: Self) -> bool {
        let (mine, others) = self.scaled(other);
        self > other && mine.saturating_mul(10) >= others.saturating_mul(11)
    }

    /// Two integers in the order of the two rates; each stays below 2^128.
    fn scaled(self, other: Self) -> (u128, u128) {
        let scale = |fee: Amount, by: u64| u128::from(fee.units()).saturating_mul(by.into());
        (scale(self.fee, other.bytes), scale(other.fee, self.bytes))
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, others) = self.scaled(*other);
        mine.cmp(&others)
    }
}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FeeRate {}

impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} base units per 1000 bytes", self.per_kilobyte())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(fee: u64, bytes: u64) -> FeeRate {
        FeeRate { fee: Amount::from_units(fee), bytes }
    }

    #[test]
    fn rates_are_ordered_exactly() {
        assert_eq!(rate(2, 4), rate(1, 2));
        assert!(rate(u64::MAX, 3) > rate(u64::MAX - 1, 3));
        assert!(rate(u64::MAX, 3) > rate(u64::MAX, 4));
    }

    #[test]
    fn outbidding_takes_a_tenth_more_and_more_than_nothing() {
        assert!(rate(110, 7).outbids(rate(100, 7)));
        assert!(!rate(109, 7).outbids(rate(100, 7)));
        assert!(!rate(0, 7).outbids(rate(0, 8)));
        assert!(rate(1, 7).outbids(rate(0, 7)));
    }

    #[test]
    fn a_rate_prints_rounded_up() {
        assert_eq!(rate(1, 3).to_string(), "334 base units per 1000 bytes");
    }
}
