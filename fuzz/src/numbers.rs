//! Arithmetic of consensus beside integers without a bound.

use std::{cmp::Ordering, str::FromStr};

use dsc_lib::{
    retarget::{TargetLimits, retarget},
    units::{Amount, Quality, Target, UNITS_PER_COIN},
};
use rsa::BigUint;

use crate::script::Script;

/// Retargeting, the order of proofs of two engines, and sums and text of money.
pub fn numbers(data: &[u8]) {
    let mut script = Script::new(data);
    check_retarget(&mut script);
    check_order(&mut script);
    check_sum(&mut script);
    check_text(script.take(data.len()));
}

fn check_retarget(script: &mut Script<'_>) {
    let (a, b) = (script.number().max(1), script.number().max(1));
    let limits = TargetLimits { min: Target(a.min(b)), max: Target(a.max(b)) };
    // A chain's target is within its limits; the rule holds for others too.
    let target = Target(script.number());
    let quality = script.flag().then(|| Quality(script.number()));
    let held = BigUint::from(target.0);
    let observed = match quality {
        Some(Quality(quality)) => BigUint::from(quality) * 23_u32 / 10_u32,
        None => &held * 33_u32 / 10_u32,
    };
    let next = (held * 15_u32 + observed) / 16_u32;
    let bounded = next.min(BigUint::from(limits.max.0)).max(BigUint::from(limits.min.0));
    assert_eq!(BigUint::from(retarget(target, quality, limits).0), bounded);
}

fn check_order(script: &mut Script<'_>) {
    let [q1, t1, q2, t2] = [(); 4].map(|()| script.number());
    let found = Quality(q1).compare_scaled(Target(t1), Quality(q2), Target(t2));
    let expected = (BigUint::from(q1) * t2).cmp(&(BigUint::from(q2) * t1));
    assert_eq!(found, expected);
    let reverse = Quality(q2).compare_scaled(Target(t2), Quality(q1), Target(t1));
    assert_eq!(found, reverse.reverse());
    assert_eq!(Target(t1).is_met_by(Quality(q1)), q1.cmp(&t1) != Ordering::Greater);
    assert_eq!(Target::for_tries(q1).0, u64::MAX / q1.max(1));
}

fn check_sum(script: &mut Script<'_>) {
    let units: Vec<u64> = (0..script.below(6)).map(|_| script.number()).collect();
    let sum = Amount::checked_sum(units.iter().copied().map(Amount::from_units));
    let expected: u128 = units.iter().copied().map(u128::from).sum();
    assert_eq!(sum.map(Amount::units), u64::try_from(expected).ok());
    let [a, b] = [script.number(), script.number()];
    let difference = Amount::from_units(a).checked_sub(Amount::from_units(b));
    assert_eq!(difference.map(Amount::units), (a >= b).then(|| a.wrapping_sub(b)));
    assert_eq!(Amount::from_coins(a).map(Amount::units), a.checked_mul(UNITS_PER_COIN));
}

/// An amount is what a reader of decimal digits makes of the text.
fn check_text(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    assert_eq!(Amount::from_str(text).ok().map(Amount::units), units(text));
}

fn units(text: &str) -> Option<u64> {
    let (coins, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(coins) || !is_number(fraction) || fraction.len() > 8 {
        return None;
    }
    let digits = format!("{coins}{fraction:0<8}");
    let units = BigUint::parse_bytes(digits.as_bytes(), 10)?;
    units.to_string().parse().ok()
}
