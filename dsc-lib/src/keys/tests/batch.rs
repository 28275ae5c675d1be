//! `verify_each` beside the backends: honest, damaged and hostile claims, in every mixture of lanes.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_core::Rng;
use rsa::{
    BigUint,
    sha2::{Digest, Sha256},
};

use super::{
    backends::{Number, SHA256_INFO, number, pad, root_exponent},
    *,
};
#[cfg(feature = "aws-lc")]
use crate::keys::aws;
use crate::{
    keys::pure,
    testing::{ALICE, BOB, CAROL, METRONOME, MINER, STRANGER},
};

type Verdict = Result<(), SignatureError>;

/// A claim that owns its parts.
#[derive(Clone)]
struct Owned {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Owned {
    fn new(key: PublicKey, message: &[u8], signature: Number) -> Self {
        Self { key, message: message.to_vec(), signature: Signature(signature) }
    }

    fn claim(&self) -> Claim<'_> {
        Claim { key: &self.key, message: &self.message, signature: &self.signature }
    }

    /// The verdict of the backends, which have to agree.
    fn verdict(&self) -> Verdict {
        let Self { key, message, signature } = self;
        let found = key.verify_with(pure::verify, message, signature);
        #[cfg(feature = "aws-lc")]
        assert_eq!(key.verify_with(aws::verify, message, signature), found);
        found
    }
}

/// Compares with the backends, and returns how many claims hold.
fn compare(claims: &[Owned]) -> usize {
    let expected: Vec<_> = claims.iter().map(Owned::verdict).collect();
    let borrowed: Vec<_> = claims.iter().map(Owned::claim).collect();
    assert_eq!(verify_each(&borrowed), expected);
    expected.iter().filter(|verdict| verdict.is_ok()).count()
}

fn honest(count: usize) -> Vec<Owned> {
    let keys = [&*ALICE, &*BOB, &*CAROL, &*METRONOME, &*MINER, &*STRANGER];
    let sign = |(index, key): (usize, &&SecretKey)| {
        let message = vec![0x5a; index * 7];
        Owned::new(*key.public(), &message, key.sign(&message).0)
    };
    keys.iter().cycle().take(count).enumerate().map(sign).collect()
}

#[test]
fn every_count_of_honest_claims_holds() {
    let claims = honest(33);
    for count in 0..=claims.len() {
        assert_eq!(compare(&claims[..count]), count);
    }
}

/// One bad claim in each place, and one good one among bad ones.
#[test]
fn lanes_do_not_see_their_neighbours() {
    let good = honest(17);
    let damage = |(index, claim): (usize, &Owned)| {
        let mut claim = claim.clone();
        match index % 4 {
            0 => claim.signature.0[255 - index] ^= 1,
            1 => claim.signature = Signature(*claim.key.modulus()),
            2 => claim.message.push(0),
            _ => claim.signature = good[(index + 1) % good.len()].signature,
        }
        claim
    };
    let bad: Vec<_> = good.iter().enumerate().map(damage).collect();
    assert_eq!(compare(&bad), 0);
    for place in 0..good.len() {
        let (mut one_bad, mut one_good) = (good.clone(), bad.clone());
        std::mem::swap(&mut one_bad[place], &mut one_good[place]);
        assert_eq!(compare(&one_bad), good.len() - 1);
        assert_eq!(compare(&one_good), 1);
    }
}

#[test]
fn one_key_may_fill_every_lane() {
    let messages: Vec<_> = (0..16_u8).map(|index| vec![index; 32]).collect();
    let sign = |message: &Vec<u8>| Owned::new(*BOB.public(), message, BOB.sign(message).0);
    assert_eq!(compare(&messages.iter().map(sign).collect::<Vec<_>>()), 16);
}

#[test]
fn what_is_out_of_range_takes_no_lane() {
    let mut claims = honest(9);
    for claim in &mut claims[..8] {
        claim.signature = Signature([0xff; MODULUS_LEN]);
    }
    assert_eq!(compare(&claims), 1);
    let mut verdicts = verify_each(&[claims[0].claim(), claims[8].claim()]).into_iter();
    assert_eq!(verdicts.next(), Some(Err(SignatureError::OutOfRange)));
    assert_eq!(verdicts.next(), Some(Ok(())));
}

#[test]
fn lanes_are_a_power_of_two() {
    assert!(verify_lanes().is_power_of_two());
}

fn random(rng: &mut ChaCha8Rng) -> Number {
    let mut bytes = [0; MODULUS_LEN];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn random_key(rng: &mut ChaCha8Rng) -> PublicKey {
    let mut modulus = random(rng);
    (modulus[0], modulus[255]) = (modulus[0] | 0x80, modulus[255] | 1);
    PublicKey::from_modulus(&modulus).unwrap()
}

/// Whatever the modulus, random claims get one verdict: one in two moduli is above the number.
#[test]
fn thousands_of_random_claims() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut claim = || Owned::new(random_key(&mut rng), b"message", random(&mut rng));
    assert_eq!(compare(&(0..3_000).map(|_| claim()).collect::<Vec<_>>()), 0);
}

/// Whether an odd number below 2^32 is prime.
fn is_prime(number: u64) -> bool {
    (3..).step_by(2).take_while(|f| f * f <= number).all(|f| !number.is_multiple_of(f))
}

/// A modulus that is the product of 64 random primes, so that anyone can work out the private exponent;
/// returns both.
fn smooth_key(rng: &mut ChaCha8Rng) -> (BigUint, BigUint) {
    let e = u64::from(EXPONENT);
    loop {
        // Roots modulo p exist if e does not divide p - 1; the top bits make 2048 bits likely.
        let mut prime = || loop {
            let candidate = u64::from(rng.next_u32() | 0xfe00_0001);
            if is_prime(candidate) && candidate % e != 1 {
                return candidate;
            }
        };
        let mut primes: Vec<_> = (0..64).map(|_| prime()).collect();
        primes.sort_unstable();
        primes.dedup();
        let modulus = primes.iter().fold(BigUint::from(1_u32), |product, prime| product * *prime);
        if modulus.bits() == MODULUS_BITS {
            let order = primes.iter().fold(BigUint::from(1_u32), |lcm, prime| {
                let step = BigUint::from(prime - 1);
                &lcm * &step / gcd(lcm, step)
            });
            return (modulus, root_exponent(&order));
        }
    }
}

fn gcd(a: BigUint, b: BigUint) -> BigUint {
    if b == BigUint::default() { a } else { gcd(b.clone(), a % b) }
}

/// Every modulus gets a signature that holds, and that with one bit flipped.
#[test]
fn hundreds_of_smooth_moduli() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut claims = Vec::new();
    for index in 0..200_usize {
        let (modulus, exponent) = smooth_key(&mut rng);
        let padded = pad([0, 1], 0xff, &[&SHA256_INFO[..], &Sha256::digest([7])].concat());
        let root = BigUint::from_bytes_be(&padded).modpow(&exponent, &modulus);
        let key = PublicKey::from_modulus(&number(&modulus)).unwrap();
        let good = Owned::new(key, &[7], number(&root));
        let mut bad = good.clone();
        bad.signature.0[index] ^= 1 << (index % 8);
        claims.extend([good, bad]);
    }
    assert_eq!(compare(&claims), 200);
    claims.rotate_left(3);
    assert_eq!(compare(&claims[1..]), 199 + usize::from(claims[0].verdict().is_err()));
}
