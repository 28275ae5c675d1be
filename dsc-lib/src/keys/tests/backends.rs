//! Both backends on the same inputs: honest, damaged and hostile ones.

use proptest::prelude::*;
use rsa::{
    BigUint,
    sha2::{Digest, Sha256, Sha512},
};

use super::*;
#[cfg(feature = "aws-lc")]
use crate::keys::aws;
use crate::keys::pure;

pub(super) type Number = [u8; MODULUS_LEN];

/// The prime of the 2048-bit MODP group (RFC 3526): a modulus whose private exponent anyone can work
/// out, so that every padding can be "signed".
const PRIME: &str = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b\
    22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637\
    ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c\
    55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08\
    ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718399549\
    7cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff";

/// The `DigestInfo` of SHA-256 up to the digest (RFC 8017, section 9.2).
pub(super) const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// The verdict of `PublicKey::verify`, which every backend has to share.
fn verdict(key: &PublicKey, message: &[u8], signature: Number) -> Result<(), SignatureError> {
    let signature = Signature(signature);
    let found = key.verify(message, &signature);
    assert_eq!(key.verify_with(pure::verify, message, &signature), found, "pure");
    #[cfg(feature = "aws-lc")]
    assert_eq!(key.verify_with(aws::verify, message, &signature), found, "aws-lc");
    let claim = Claim { key, message, signature: &signature };
    assert_eq!(verify_each(&[claim; 8]), [found; 8], "batch");
    found
}

fn prime_key() -> PublicKey {
    PublicKey::from_modulus(&hex::decode(PRIME).unwrap()).unwrap()
}

/// Returns `padded^(1/e)` modulo [`PRIME`].
fn forge(padded: &[u8]) -> Number {
    let prime = BigUint::from_bytes_be(prime_key().modulus());
    let exponent = root_exponent(&(&prime - 1_u32));
    number(&BigUint::from_bytes_be(padded).modpow(&exponent, &prime))
}

/// The inverse of the public exponent modulo `order`.
pub(super) fn root_exponent(order: &BigUint) -> BigUint {
    let residue = (order % EXPONENT).to_string().parse::<u64>().unwrap();
    let e = u64::from(EXPONENT);
    let factor = (1..e).find(|factor| (factor * residue + 1).is_multiple_of(e)).unwrap();
    (order * factor + 1_u32) / EXPONENT
}

pub(super) fn number(value: &BigUint) -> Number {
    let digits = value.to_bytes_be();
    let mut number = [0; MODULUS_LEN];
    number[MODULUS_LEN - digits.len()..].copy_from_slice(&digits);
    number
}

/// Pads `tail` with `filler` in front to the length of a modulus.
pub(super) fn pad(head: [u8; 2], filler: u8, tail: &[u8]) -> Vec<u8> {
    let filler = vec![filler; MODULUS_LEN - head.len() - 1 - tail.len()];
    [&head[..], &filler, &[0], tail].concat()
}

#[test]
fn a_modulus_that_is_prime_is_no_special_case() {
    let digest = Sha256::digest(b"message");
    let padded = pad([0, 1], 0xff, &[&SHA256_INFO[..], &digest].concat());
    assert_eq!(verdict(&prime_key(), b"message", forge(&padded)), Ok(()));
}

/// Every other way of padding is refused: those that lax verifiers were broken by among them.
#[test]
fn other_paddings_are_refused() {
    let digest = Sha256::digest(b"message");
    let info = [&SHA256_INFO[..], &digest].concat();
    let (mut other_hash, mut no_null, mut long_length) = (info.clone(), info.clone(), info.clone());
    other_hash[14] = 3; // SHA-512's identifier with the length of SHA-256
    no_null.drain(15..17);
    (no_null[1], no_null[3]) = (0x2f, 0x0b);
    long_length.insert(1, 0x81);
    let garbage = [0x5a; 100];
    let sha512 = [
        &hex::decode("3051300d060960864801650304020305000440").unwrap()[..],
        &Sha512::digest(b"message"),
    ]
    .concat();
    for (name, padded) in [
        ("block type 2", pad([0, 2], 0xff, &info)),
        ("block type 0", pad([0, 0], 0x00, &info)),
        ("first byte not zero", pad([1, 1], 0xff, &info)),
        ("filler not FF", pad([0, 1], 0xfe, &info)),
        ("garbage after the digest", pad([0, 1], 0xff, &[&info[..], &garbage].concat())),
        ("garbage in the parameters", pad([0, 1], 0xff, &[&garbage[..], &info].concat())),
        ("no filler", [&[0, 1, 0][..], &info, &[0x5a; MODULUS_LEN - 3 - 51]].concat()),
        ("parameters left out", pad([0, 1], 0xff, &no_null)),
        ("length in long form", pad([0, 1], 0xff, &long_length)),
        ("other hash named", pad([0, 1], 0xff, &other_hash)),
        ("other hash used", pad([0, 1], 0xff, &sha512)),
        ("bare digest", pad([0, 1], 0xff, &digest)),
        ("no digest", pad([0, 1], 0xff, &SHA256_INFO)),
        ("zero", vec![0; MODULUS_LEN]),
        ("one", [&[0; 255][..], &[1]].concat()),
    ] {
        let found = verdict(&prime_key(), b"message", forge(&padded));
        assert_eq!(found, Err(SignatureError::Mismatch), "{name}");
    }
}

#[test]
fn edges_of_the_signature_range_agree() {
    let key = *vector().0.public();
    let one = [&[0; 255][..], &[1]].concat().try_into().unwrap();
    let (mut below, mut above) = (*key.modulus(), *key.modulus());
    below[255] -= 1;
    above[254] = above[254].wrapping_add(1).max(1);
    for signature in [[0; 256], one, below, *key.modulus(), above, [0xff; 256]] {
        assert!(verdict(&key, b"message", signature).is_err());
    }
}

/// Moduli that no honest person would make: smooth, square, all ones, nearly a power of two.
#[test]
fn hostile_moduli_agree() {
    let all_ones = [0xff; MODULUS_LEN];
    let mut nearly_power = [0; MODULUS_LEN];
    (nearly_power[0], nearly_power[255]) = (0x80, 1);
    let side = (BigUint::from(1_u32) << 1024) - 1_u32;
    let square: Number = (&side * &side).to_bytes_be().try_into().unwrap();
    let mut powers = std::iter::successors(Some(BigUint::from(1_u32)), |power| Some(power * 3_u32));
    let threes = powers.find(|power| power.bits() >= MODULUS_BITS).unwrap();
    assert_eq!(threes.bits(), MODULUS_BITS);
    let threes: Number = threes.to_bytes_be().try_into().unwrap();
    let (_, vector) = vector();
    for modulus in [all_ones, nearly_power, square, threes] {
        let key = PublicKey::from_modulus(&modulus).unwrap();
        let mut below = modulus;
        below[255] -= 1;
        for signature in [vector.signature.0, [0; 256], [1; 256], [0x7f; 256], below] {
            assert!(verdict(&key, &vector.id, signature).is_err());
        }
    }
}

#[test]
fn both_backends_sign_alike() {
    let (key, vector) = vector();
    let document = key.as_pkcs8_der();
    let signer = pure::Signer::new(document).unwrap();
    assert_eq!(signer.sign(&vector.id), Some(vector.signature.0));
    for len in [0, 1, 31, 32, 33, 55, 56, 64, 1000] {
        let message = vec![0xa5; len];
        let signature = signer.sign(&message).unwrap();
        assert_eq!(key.sign(&message).0, signature);
        assert_eq!(verdict(key.public(), &message, signature), Ok(()));
        #[cfg(feature = "aws-lc")]
        assert_eq!(aws::Signer::new(document).unwrap().sign(&message), Some(signature));
    }
    assert_eq!(format!("{signer:?}"), "Signer(rsa)");
    assert!(pure::Signer::new(&document[1..]).is_none());
}

#[cfg(feature = "aws-lc")]
#[test]
fn the_aws_signer_hides_its_key_and_refuses_rubbish() {
    let (key, _) = vector();
    let document = key.as_pkcs8_der();
    assert_eq!(format!("{:?}", aws::Signer::new(document).unwrap()), "Signer(aws-lc)");
    assert!(aws::Signer::new(&document[1..]).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One flipped bit of a good triple is refused by both.
    #[test]
    fn flipped_bits_are_refused(bit in 0..2048_usize, field in 0..3_usize) {
        let (key, vector) = vector();
        let (mut modulus, mut id) = (*key.public().modulus(), vector.id);
        let mut signature = vector.signature.0;
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        match field {
            0 => modulus[byte] ^= mask,
            1 => id[byte % 32] ^= mask,
            _ => signature[byte] ^= mask,
        }
        if let Ok(key) = PublicKey::from_modulus(&modulus) {
            prop_assert!(verdict(&key, &id, signature).is_err());
        }
    }

    /// Nothing random is accepted, and nothing makes the two disagree or panic.
    #[test]
    fn random_triples_are_refused(
        mut modulus: [u8; 256], message: Vec<u8>, signature: [u8; 256]
    ) {
        modulus[0] |= 0x80;
        modulus[255] |= 1;
        let key = PublicKey::from_modulus(&modulus).unwrap();
        prop_assert!(verdict(&key, &message, signature).is_err());
    }
}

/// What the backends open, and what neither does: another key, another label, any change.
#[cfg(feature = "seal")]
#[test]
fn both_backends_open_the_same_and_refuse_the_same() {
    use rand_core::SeedableRng;

    use crate::{
        keys::Secret,
        testing::{ALICE, BOB},
    };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let secret = Secret::new([5; 32]);
    let good = ALICE.public().encrypt(&secret, "label", &mut rng);
    let opened = |key: &SecretKey, encrypted: &Number, label: &str| {
        let found = pure::decrypt(key.as_pkcs8_der(), encrypted, label);
        assert_eq!(key.decrypt(encrypted, label), found);
        found
    };
    assert_eq!(opened(&ALICE, &good, "label"), Some(secret));
    assert_eq!(opened(&BOB, &good, "label"), None);
    assert_eq!(opened(&ALICE, &good, "other"), None);
    assert_eq!(opened(&ALICE, &[0; MODULUS_LEN], "label"), None);
    assert_eq!(opened(&ALICE, &[255; MODULUS_LEN], "label"), None);
    assert_eq!(opened(&ALICE, ALICE.public().modulus(), "label"), None);
    for at in (0..MODULUS_LEN).step_by(51) {
        let mut changed = good;
        changed[at] ^= 1;
        assert_eq!(opened(&ALICE, &changed, "label"), None);
    }
}
