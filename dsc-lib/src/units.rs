//! Units: integers that cannot be mistaken for each other.
//!
//! # Invariants
//!
//! 1. Arithmetic on money is checked; nothing wraps or saturates silently.
//! 2. An [`Amount`] reads and prints as decimal coins without a float in between.
//! 3. A proof is valid when its [`Quality`] is at most the [`Target`]; lower is better.

use std::{cmp::Ordering, fmt, iter, str::FromStr};

use bincode::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Base units in one coin.
pub const UNITS_PER_COIN: u64 = 100_000_000;
const FRACTION_DIGITS: usize = 8;

/// A sum of money, in base units of 10^-8 coin.
///
/// JSON and text carry decimal coins: `"12.5"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `units` base units.
    pub const fn from_units(units: u64) -> Self {
        Self(units)
    }

    /// An amount of whole coins, or `None` if it does not fit.
    pub const fn from_coins(coins: u64) -> Option<Self> {
        match coins.checked_mul(UNITS_PER_COIN) {
            Some(units) => Some(Self(units)),
            None => None,
        }
    }

    /// The amount in base units.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// The sum, or `None` if it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` if `other` is larger.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum of `amounts`, or `None` if it does not fit.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coins = self.0 / UNITS_PER_COIN;
        let fraction = format!("{:08}", self.0 % UNITS_PER_COIN);
        match fraction.trim_end_matches('0') {
            "" => f.pad(&coins.to_string()),
            digits => f.pad(&format!("{coins}.{digits}")),
        }
    }
}

/// A text that is not an amount of coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseAmountError {
    /// Something other than digits and one point.
    #[error("an amount is digits with at most one point, such as 12.5")]
    NotDecimal,
    /// Finer than the smallest unit.
    #[error("an amount has at most {FRACTION_DIGITS} digits after the point")]
    TooFine,
    /// More than an amount can hold.
    #[error("an amount is at most {}", Amount::from_units(u64::MAX))]
    TooLarge,
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let (coins, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(coins) || !digits(fraction) {
            return Err(ParseAmountError::NotDecimal);
        }
        if fraction.len() > FRACTION_DIGITS {
            return Err(ParseAmountError::TooFine);
        }
        let padded: String =
            fraction.chars().chain(iter::repeat('0')).take(FRACTION_DIGITS).collect();
        let whole: u64 = coins.parse().map_err(|_| ParseAmountError::TooLarge)?;
        let part: u64 = padded.parse().map_err(|_| ParseAmountError::TooLarge)?;
        let units = whole.checked_mul(UNITS_PER_COIN).and_then(|units| units.checked_add(part));
        units.map(Self).ok_or(ParseAmountError::TooLarge)
    }
}

/// A block's distance from the first one, which has height 0.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
pub struct Height(pub u64);

impl Height {
    /// The height above; the last one of all has itself above it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Milliseconds: since the Unix epoch in a block, else a span.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
pub struct Millis(pub u64);

impl Millis {
    /// This time `span` later; stops at the end of time.
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// The number a proof is ranked by: uniform over `u64` for one try, lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Quality(pub u64);

/// The threshold a quality must not exceed: lower is harder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Target(pub u64);

impl Target {
    /// The easiest target: every quality meets it.
    pub const MAX: Self = Self(u64::MAX);

    /// Whether `quality` meets this target.
    pub const fn is_met_by(self, quality: Quality) -> bool {
        quality.0 <= self.0
    }

    /// The target that one in `tries` tries meets on average; zero counts as one.
    pub const fn for_tries(tries: u64) -> Self {
        match u64::MAX.checked_div(tries) {
            Some(target) => Self(target),
            None => Self::MAX,
        }
    }

    /// log2 of the expected number of tries, for people only.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people, not for a rule")]
    pub fn difficulty_bits(self) -> f64 {
        64.0 - (self.0 as f64 + 1.0).log2()
    }
}

impl Quality {
    /// Orders two proofs of different engines by `quality / target`, lower first, exactly.
    pub fn compare_scaled(self, target: Target, other: Self, other_target: Target) -> Ordering {
        let scaled = |quality: Self, by: Target| u128::from(quality.0).wrapping_mul(by.0.into());
        scaled(self, other_target).cmp(&scaled(other, target))
    }
}

impl Amount {
    fn parse_json<E: de::Error>(text: &str) -> Result<Self, E> {
        text.parse().map_err(E::custom)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse_json(&String::deserialize(deserializer)?)
    }
}

/// Text and JSON of the 64-bit units: JSON numbers lose digits above 2^53, so these travel as
/// strings.
macro_rules! decimal_string {
    ($($unit:ident),*) => {$(
        impl fmt::Display for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
            }
        }
    )*};
}

decimal_string!(Quality, Target);

/// Text of the units that travel as JSON numbers.
macro_rules! plain_number {
    ($($unit:ident),*) => {$(
        impl fmt::Display for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

plain_number!(Height, Millis);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_read_and_print_decimal_coins() {
        for (text, units) in
            [("12.5", 1_250_000_000), ("0", 0), ("0.00000001", 1), ("200000", 20_000_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Amount(units)));
            assert_eq!(Amount(units).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.2.3", " 1", "0x10", "\u{0661}"] {
            assert_eq!(text.parse::<Amount>(), Err(ParseAmountError::NotDecimal), "{text:?}");
        }
        assert_eq!("0.123456789".parse::<Amount>(), Err(ParseAmountError::TooFine));
        for text in ["184467440737.09551616", "99999999999999999999999"] {
            assert_eq!(text.parse::<Amount>(), Err(ParseAmountError::TooLarge));
        }
        let message = ParseAmountError::TooLarge.to_string();
        assert_eq!(message, "an amount is at most 184467440737.09551615");
    }

    #[test]
    fn a_difference_is_what_is_left_or_nothing() {
        assert_eq!(Amount(3).checked_sub(Amount(2)), Some(Amount(1)));
        assert_eq!(Amount(3).checked_sub(Amount(3)), Some(Amount::ZERO));
        assert_eq!(Amount(2).checked_sub(Amount(3)), None);
    }

    #[test]
    fn difficulty_is_the_logarithm_of_tries() {
        for bits in [0_u8, 1, 20, 40] {
            let found = Target::for_tries(1 << bits).difficulty_bits();
            assert!((found - f64::from(bits)).abs() < 1e-6, "{found} for {bits}");
        }
        assert!((Target(0).difficulty_bits() - 64.0).abs() < 1e-9);
    }

    #[test]
    fn scaled_order_is_exact_at_the_ends() {
        let (high, low) = (Quality(u64::MAX), Quality(u64::MAX - 1));
        let order = low.compare_scaled(Target::MAX, high, Target::MAX);
        assert_eq!(order, Ordering::Less);
        assert_eq!(Quality(2).compare_scaled(Target(4), Quality(1), Target(2)), Ordering::Equal);
    }

    #[test]
    fn wide_units_are_strings_in_json() {
        assert_eq!(serde_json::to_string(&Target::MAX).unwrap(), "\"18446744073709551615\"");
        let amount: Amount = serde_json::from_str("\"12.5\"").unwrap();
        assert_eq!(amount, Amount(1_250_000_000));
        assert!(serde_json::from_str::<Amount>("12.5").is_err());
    }

    proptest! {
        #[test]
        fn amount_text_round_trips(units: u64) {
            prop_assert_eq!(Amount(units).to_string().parse(), Ok(Amount(units)));
        }

        /// Money is neither made nor lost by a transfer.
        #[test]
        fn transfer_conserves_the_sum(from: u64, to: u64, value: u64) {
            let (from, to, value) = (Amount(from), Amount(to), Amount(value));
            if let (Some(left), Some(right)) = (from.checked_sub(value), to.checked_add(value)) {
                prop_assert_eq!(left.checked_add(right), from.checked_add(to));
            }
        }
    }
}
