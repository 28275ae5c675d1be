//! The arithmetic against that of the crate `num-bigint-dig`, which `rsa` uses.

use std::arch::x86_64::{_mm256_extract_epi64, _mm512_extracti64x4_epi64};

use proptest::prelude::*;
use rsa::BigUint;

use super::*;

/// Eight numbers as the reference knows them.
type Values = [BigUint; LANES];

fn bytes(values: &Values) -> [[u8; MODULUS_LEN]; LANES] {
    std::array::from_fn(|lane| {
        let digits = values[lane].to_bytes_be();
        let mut bytes = [0; MODULUS_LEN];
        bytes[MODULUS_LEN - digits.len()..].copy_from_slice(&digits);
        bytes
    })
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn lanes_of(limb: Limb) -> [u64; LANES] {
    let lower = _mm512_extracti64x4_epi64::<0>(limb);
    let upper = _mm512_extracti64x4_epi64::<1>(limb);
    [
        _mm256_extract_epi64::<0>(lower),
        _mm256_extract_epi64::<1>(lower),
        _mm256_extract_epi64::<2>(lower),
        _mm256_extract_epi64::<3>(lower),
        _mm256_extract_epi64::<0>(upper),
        _mm256_extract_epi64::<1>(upper),
        _mm256_extract_epi64::<2>(upper),
        _mm256_extract_epi64::<3>(upper),
    ]
    .map(i64::cast_unsigned)
}

/// Reads a number whose limbs may hold rubbish above 52 bits.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn values(number: &Number) -> Values {
    let mut values: Values = Default::default();
    for limb in number.iter().rev() {
        for (value, limb) in values.iter_mut().zip(lanes_of(*limb)) {
            *value = (&*value << LIMB_BITS as usize) + (limb & ((1 << LIMB_BITS) - 1));
        }
    }
    values
}

/// What the functions under test make of eight moduli and two times eight numbers.
struct Found {
    loaded: Values,
    scaled: Values,
    product: Values,
    square: Values,
    power: Values,
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn compute(n: &Values, a: &Values, b: &Values) -> Found {
    let (n, a, b) = (bytes(n), bytes(a), bytes(b));
    let moduli = Moduli { inverse: inverses(&n.each_ref()), n: load(&n.each_ref()) };
    let (a, b) = (load(&a.each_ref()), load(&b.each_ref()));
    let (mut square, mut columns) = (a, [zero(); 2 * LIMBS]);
    mont::square(&mut square, &moduli, &mut columns);
    Found {
        loaded: values(&a),
        scaled: values(&enter::scale(&a, &moduli)),
        product: values(&mont::multiply(&a, &b, &moduli, &mut columns)),
        square: values(&square),
        power: values(&raise(&a, &moduli)),
    }
}

/// Checks every function on these moduli and numbers.
fn check(n: &Values, a: &Values, b: &Values) {
    if !available() {
        return;
    }
    // SAFETY: the CPU has the features, see above.
    let found = unsafe { compute(n, a, b) };
    let r = BigUint::from(1_u32) << (LIMBS * LIMB_BITS as usize);
    for lane in 0..LANES {
        let (n, a, b) = (&n[lane], &a[lane], &b[lane]);
        let below_2n = |value: &BigUint| assert!(value < &(n * 2_u32), "{value} is below 2 * {n}");
        assert_eq!(&found.loaded[lane], a);
        for (value, expected) in [
            (&found.scaled[lane], a * &r),
            (&(&found.product[lane] * &r), a * b),
            (&(&found.square[lane] * &r), a * a),
        ] {
            assert_eq!(value % n, expected % n, "modulo {n}, of {a} and {b}");
        }
        assert_eq!(&found.power[lane] % n, a.modpow(&BigUint::from(65_537_u32), n), "{a} mod {n}");
        for value in [&found.scaled, &found.product, &found.square, &found.power] {
            below_2n(&value[lane]);
        }
    }
}

fn two_to(exponent: usize) -> BigUint {
    BigUint::from(1_u32) << exponent
}

/// Moduli with long runs of ones and zeros, and with nothing else.
fn edges() -> Vec<BigUint> {
    let one = BigUint::from(1_u32);
    let top = two_to(2047);
    let mut edges = vec![&top + &one, two_to(2048) - &one, &top + two_to(1024) + &one];
    for bits in [26, 51, 52, 53, 104, 416, 1000, 1950, 1976, 1996] {
        edges.push(two_to(2048) - two_to(bits) + &one);
        edges.push(two_to(2048) - two_to(bits) - &one);
        edges.push(&top + two_to(bits) - &one);
        edges.push(&top + two_to(bits) + &one);
    }
    edges
}

/// Each of the numbers in a lane of its own, in all rotations, so that neighbours differ.
fn in_lanes(values: &[BigUint], first: usize, step: usize) -> Values {
    std::array::from_fn(|lane| values[(first + lane * step) % values.len()].clone())
}

#[test]
fn edges_of_every_range() {
    let moduli = edges();
    for first in 0..moduli.len() {
        let n = in_lanes(&moduli, first, 1);
        for (a, b) in [
            (n.clone().map(|_| BigUint::default()), n.clone().map(|n| n - 1_u32)),
            (n.clone().map(|_| BigUint::from(1_u32)), n.clone().map(|n| n - 2_u32)),
            (n.clone().map(|n| n - 1_u32), n.clone().map(|n| n - 1_u32)),
            (n.clone(), n.clone().map(|n| n >> 1)),
            (n.clone().map(|_| two_to(2048) - 1_u32), n.clone().map(|_| two_to(2048) - 1_u32)),
            (n.clone().map(|_| two_to(2028) - 1_u32), n.clone().map(|_| two_to(2028))),
            (in_lanes(&moduli, first + 7, 3), in_lanes(&moduli, first + 11, 5)),
        ] {
            check(&n, &a, &b);
        }
    }
}

/// A digit of the division is 2^52 where a number of ones meets a carry from below.
#[test]
fn the_digit_that_does_not_fit() {
    let ones = two_to(2048) - 1_u32;
    for bits in [100, 500, 1000, 1500, 1900, 1940] {
        let n = &ones - two_to(bits);
        let a: Values = std::array::from_fn(|lane| &ones - (two_to(lane * 8) >> 8));
        check(&std::array::from_fn(|_| n.clone()), &a, &a);
    }
}

fn eight() -> impl Strategy<Value = Values> {
    proptest::collection::vec(proptest::array::uniform32(any::<u64>()), LANES).prop_map(|words| {
        std::array::from_fn(|lane| {
            let bytes: Vec<_> = words[lane].iter().flat_map(|word| word.to_be_bytes()).collect();
            BigUint::from_bytes_be(&bytes)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn random_numbers(n in eight(), a in eight(), b in eight()) {
        let n = n.map(|n| (n | two_to(2047)) | BigUint::from(1_u32));
        check(&n, &a, &b);
    }
}
