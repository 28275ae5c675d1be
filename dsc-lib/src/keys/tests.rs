mod backends;
mod batch;
mod secret;

use serde::Deserialize;

use super::*;
use crate::codec::{self, decode, encode};

const VECTOR_PEM: &str = include_str!("../../tests/data/keys/vector.pem");

/// The key of the transaction in the protocol's test vectors.
#[derive(Deserialize)]
struct Vector {
    address: Address,
    #[serde(with = "hex::serde")]
    id: [u8; 32],
    signature: Signature,
}

fn vector() -> (SecretKey, Vector) {
    let key = SecretKey::from_pkcs8_pem(VECTOR_PEM).unwrap();
    let vector = include_str!("../../tests/data/keys/vector.json");
    (key, serde_json::from_str(vector).unwrap())
}

#[test]
fn the_vector_key_signs_as_the_protocol_says() {
    let (key, vector) = vector();
    assert_eq!(key.public().address(), vector.address);
    assert_eq!(key.sign(&vector.id), vector.signature);
    assert_eq!(key.public().verify(&vector.id, &vector.signature), Ok(()));
}

#[test]
fn a_signature_holds_for_one_message_and_one_key() {
    let (key, vector) = vector();
    let mismatch = key.public().verify(b"another", &vector.signature).unwrap_err();
    assert_eq!(mismatch, SignatureError::Mismatch);
    assert_eq!(mismatch.to_string(), "the signature is not that of the message by the key");
    let mut modulus = *key.public().modulus();
    modulus[100] ^= 1;
    let other = PublicKey::from_modulus(&modulus).unwrap();
    assert_eq!(other.verify(&vector.id, &vector.signature), Err(SignatureError::Mismatch));
}

#[test]
fn a_signature_is_below_the_modulus() {
    let key = *vector().0.public();
    let error = key.verify(b"", &Signature(*key.modulus())).unwrap_err();
    assert_eq!(error, SignatureError::OutOfRange);
    assert_eq!(error.to_string(), "the signature is not below the modulus of the key");
    assert_eq!(key.verify(b"", &Signature([0xff; 256])), Err(SignatureError::OutOfRange));
    let mut below = *key.modulus();
    below[255] -= 1;
    assert_eq!(key.verify(b"", &Signature(below)), Err(SignatureError::Mismatch));
    assert_eq!(key.verify(b"", &Signature([0; 256])), Err(SignatureError::Mismatch));
}

#[test]
fn what_is_not_a_modulus_is_refused() {
    let mut modulus = *vector().0.public().modulus();
    for (bytes, text) in [
        (&modulus[1..], "the modulus has 255 bytes, expected 256"),
        (&[0; 256][..], "the modulus has 0 bits, expected 2048"),
        (&[&[0x7f; 255][..], &[1]].concat(), "the modulus has 2047 bits, expected 2048"),
        (&[&[0, 0, 3][..], &[1; 253]].concat(), "the modulus has 2026 bits, expected 2048"),
    ] {
        assert_eq!(PublicKey::from_modulus(bytes).unwrap_err().to_string(), text);
    }
    modulus[255] ^= 1;
    assert_eq!(PublicKey::from_modulus(&modulus), Err(PublicKeyError::Even));
    let reason = PublicKeyError::Even.to_string();
    assert_eq!(decode::<PublicKey>(&modulus), Err(codec::DecodeError::Malformed { reason }));
    let json = format!("\"{}\"", hex::encode(modulus));
    assert!(serde_json::from_str::<PublicKey>(&json).is_err());
}

#[test]
fn keys_and_signatures_travel_as_their_bytes() {
    let (key, vector) = vector();
    assert_eq!(encode(key.public()), key.public().modulus());
    assert_eq!(decode(&encode(key.public())), Ok(*key.public()));
    assert_eq!(encode(&vector.signature), vector.signature.0);
    assert_eq!(decode(&encode(&vector.signature)), Ok(vector.signature));
    let json = serde_json::to_string(key.public()).unwrap();
    assert_eq!(json, format!("\"{}\"", hex::encode(key.public().modulus())));
    assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), *key.public());
}

#[test]
fn debug_is_short_and_secrets_are_hidden() {
    let (key, vector) = vector();
    assert_eq!(format!("{:?}", key.public()), "PublicKey(a5be3629178a95a5..)");
    assert_eq!(format!("{:?}", vector.signature), "Signature(8c56e7d0418a5a35..)");
    assert_eq!(format!("{key:?}"), "SecretKey { public: PublicKey(a5be3629178a95a5..), .. }");
}

#[test]
fn spki_round_trips_and_nothing_else_is_read() {
    let key = *vector().0.public();
    let pem = key.to_spki_pem();
    assert_eq!(PublicKey::from_spki_pem(&pem), Ok(key));
    for text in ["", "no PEM", VECTOR_PEM, &pem.replace("PUBLIC KEY", "PUBLIC  KEY")] {
        assert_eq!(PublicKey::from_spki_pem(text), Err(PublicKeyError::NotSpki));
    }
    let text = PublicKeyError::NotSpki.to_string();
    assert_eq!(text, "not an RSA-2048 public key with exponent 65537 in PEM");
}
