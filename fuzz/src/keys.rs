//! Keys at rest, and text that people type.

use dsc_lib::{
    address::{Address, Prefix},
    hash::Digest,
    keys::{PublicKey, SecretKey},
    proof::Fingerprint,
    units::Amount,
};

use crate::assert_same;

/// The passphrase of the encrypted seeds.
pub const PASSPHRASE: &[u8] = b"correct";

/// A key that is read is written and read again, in every form, and signs.
pub fn key_file(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = SecretKey::from_pkcs8_pem(text) {
        through_file(&key);
    }
    if let Ok(key) = SecretKey::from_encrypted_pem(text, PASSPHRASE) {
        through_file(&key);
    }
    if let Ok(key) = PublicKey::from_spki_pem(text) {
        assert_same(PublicKey::from_spki_pem(&key.to_spki_pem()), &key);
    }
}

fn through_file(key: &SecretKey) {
    assert_same(SecretKey::from_pkcs8_pem(&key.to_pkcs8_pem()), key);
    assert_same(SecretKey::from_pkcs8_der(key.as_pkcs8_der()), key);
    let message = b"message";
    assert_eq!(key.public().verify(message, &key.sign(message)), Ok(()));
}

/// What reads prints, and reads again as the same; an address has one text.
pub fn text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for prefix in Prefix::ALL {
        if let Ok(address) = Address::from_text(text, prefix) {
            assert_eq!(address.to_text(prefix), text.to_ascii_lowercase());
        }
    }
    if let Ok(amount) = text.parse::<Amount>() {
        assert_same(amount.to_string().parse(), &amount);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string(), text.to_ascii_lowercase());
    }
}
