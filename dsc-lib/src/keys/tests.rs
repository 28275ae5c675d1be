use serde::Deserialize;

use super::*;
use crate::codec::{decode, encode};

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
    assert_eq!(decode(&encode(key.public())), Ok(*key.public()));
}
