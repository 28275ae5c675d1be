//! Private keys: making, reading, writing, and everything that is refused.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rsa::{
    BigUint, RsaPrivateKey,
    pkcs8::{
        EncodePrivateKey, EncryptedPrivateKeyInfo,
        der::Encode,
        pkcs5::{
            pbes1,
            pbes2::{Kdf, Pbkdf2Params, ScryptParams},
        },
    },
    traits::PrivateKeyParts,
};

use super::*;
use crate::keys::encrypted;

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/keys/", $name))
    };
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

#[test]
fn a_key_comes_from_its_entropy_alone() {
    let key = SecretKey::generate(&mut rng()).unwrap();
    assert_eq!(key, SecretKey::generate(&mut rng()).unwrap());
    let signature = key.sign(b"message");
    assert_eq!(key.public().verify(b"message", &signature), Ok(()));
    let again = SecretKey::from_pkcs8_pem(&key.to_pkcs8_pem()).unwrap();
    assert_eq!(again.sign(b"message"), signature);
}

#[test]
fn pem_is_written_as_openssl_writes_it() {
    let (key, _) = vector();
    assert_eq!(key.to_pkcs8_pem().as_str(), VECTOR_PEM);
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_only() {
    let (key, _) = vector();
    let text = key.to_encrypted_pem(b"correct", &mut rng());
    assert_eq!(SecretKey::from_encrypted_pem(&text, b"correct"), Ok(key));
    for passphrase in [&b"wrong"[..], b"", b"Correct", b"correct\n"] {
        let error = SecretKey::from_encrypted_pem(&text, passphrase).unwrap_err();
        assert_eq!(error, KeyError::WrongPassphrase);
    }
    let text = KeyError::WrongPassphrase.to_string();
    assert_eq!(text, "wrong passphrase, or the encrypted key is damaged");
}

#[test]
fn keys_encrypted_by_openssl_are_read() {
    let (key, _) = vector();
    for text in [data!("scrypt.pem"), data!("pbkdf2.pem")] {
        assert_eq!(SecretKey::from_encrypted_pem(text, b"correct").as_ref(), Ok(&key));
        let wrong = SecretKey::from_encrypted_pem(text, b"wrong");
        assert_eq!(wrong, Err(KeyError::WrongPassphrase));
    }
}

/// A wrong passphrase that happens to leave valid padding is a wrong passphrase all the same.
#[test]
fn lucky_padding_is_still_a_wrong_passphrase() {
    let (salt, iv) = ([1; 8], [2; 16]);
    let kdf = Kdf::Pbkdf2(Pbkdf2Params::hmac_with_sha256(1, &salt).unwrap());
    let document = encrypted::tests::document(kdf, &iv, &[0x55; 64]);
    for passphrase in 0..2000_u16 {
        let found = encrypted::open(&document, &passphrase.to_le_bytes());
        assert_eq!(found.unwrap_err(), KeyError::WrongPassphrase);
    }
}

#[test]
fn the_cost_of_opening_is_bounded() {
    let scrypt = |cost_parameter, parallelization| {
        Kdf::Scrypt(ScryptParams {
            salt: &[1; 16],
            cost_parameter,
            block_size: 8,
            parallelization,
            key_length: None,
        })
    };
    let pbkdf2 = Kdf::Pbkdf2(Pbkdf2Params::hmac_with_sha256(10_000_001, &[1; 16]).unwrap());
    for (kdf, text) in [
        (
            scrypt(1 << 20, 1),
            "opening the key costs 1073741824 units of memory bytes, more than the 268435456 allowed",
        ),
        (
            scrypt(1 << 18, 9),
            "opening the key costs 2415919104 units of mixed bytes, more than the 2147483648 allowed",
        ),
        (
            pbkdf2,
            "opening the key costs 10000001 units of iterations, more than the 10000000 allowed",
        ),
    ] {
        let document = encrypted::tests::document(kdf, &[0; 16], &[0; 32]);
        assert_eq!(encrypted::open(&document, b"").unwrap_err().to_string(), text);
    }
}

#[test]
fn scrypt_parameters_out_of_range_are_unsupported() {
    for (cost_parameter, block_size, parallelization) in
        [(0, 8, 1), (1, 8, 1), (3, 8, 1), (16_385, 8, 1), (2, 0, 1), (2, 8, 0), (1 << 16, 1, 1)]
    {
        let salt = &[1; 16];
        let scrypt =
            ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None };
        let document = encrypted::tests::document(Kdf::Scrypt(scrypt), &[0; 16], &[0; 32]);
        let error = encrypted::open(&document, b"").unwrap_err();
        assert!(matches!(error, KeyError::Unsupported { .. }), "{cost_parameter}: {error:?}");
    }
}

#[test]
fn other_encryptions_are_unsupported() {
    for (text, oid) in [
        (data!("pbes1.pem"), "1.2.840.113549.1.12.1.3"),
        (data!("triple-des.pem"), "1.2.840.113549.3.7"),
    ] {
        let error = SecretKey::from_encrypted_pem(text, b"correct").unwrap_err().to_string();
        let start = "the encryption of the key is not supported: algorithm";
        assert!(error.starts_with(start) && error.contains(oid), "{error}");
    }
}

#[test]
fn the_older_scheme_is_unsupported() {
    let parameters = pbes1::Parameters { salt: [1; 8], iteration_count: 1 };
    let encryption = pbes1::EncryptionScheme::PbeWithSha1AndDesCbc;
    let algorithm = pbes1::Algorithm { encryption, parameters };
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: algorithm.into(),
        encrypted_data: &[0; 32],
    };
    let error = encrypted::open(&info.to_der().unwrap(), b"").unwrap_err();
    assert_eq!(error.to_string(), "the encryption of the key is not supported: only PBES2 is read");
}

#[test]
fn a_passphrase_is_wanted_exactly_when_there_is_one() {
    let encrypted = SecretKey::from_pkcs8_pem(data!("scrypt.pem"));
    assert_eq!(encrypted, Err(KeyError::Encrypted));
    let plain = SecretKey::from_encrypted_pem(VECTOR_PEM, b"correct");
    assert_eq!(plain, Err(KeyError::NotEncrypted));
}

#[test]
fn other_texts_are_refused() {
    let label = SecretKey::from_pkcs8_pem(data!("pkcs1.pem")).unwrap_err().to_string();
    assert_eq!(label, "the PEM text holds a \"RSA PRIVATE KEY\", expected \"PRIVATE KEY\"");
    let len = SecretKey::from_pkcs8_pem(&" ".repeat(16_385)).unwrap_err().to_string();
    assert_eq!(len, "16385 bytes are more than the 16384 a key file may have");
    for document in [&b""[..], b"0", &[0x30, 0x80], &[0xff; 300]] {
        let error = SecretKey::from_pkcs8_der(document).unwrap_err();
        assert!(error.to_string().starts_with("not a PKCS#8 key: "), "{error}");
    }
    assert!(matches!(SecretKey::from_pkcs8_pem("x"), Err(KeyError::Malformed { .. })));
}

#[test]
fn other_keys_are_refused() {
    for (text, message) in [
        (
            data!("ed25519.pem"),
            "the key is of algorithm 1.3.101.112, expected RSA (1.2.840.113549.1.1.1)",
        ),
        (data!("rsa-1024.pem"), "the modulus has 1024 bits, expected 2048"),
        (data!("rsa-exponent-3.pem"), "the public exponent is 3, expected 65537"),
    ] {
        assert_eq!(SecretKey::from_pkcs8_pem(text).unwrap_err().to_string(), message);
    }
}

/// Returns the numbers of the vector key.
fn numbers() -> RsaPrivateKey {
    rsa::pkcs8::DecodePrivateKey::from_pkcs8_pem(VECTOR_PEM).unwrap()
}

#[test]
fn primes_that_are_not_prime_are_found_by_trial() {
    let [p, q] = numbers().primes().to_vec().try_into().unwrap();
    let e = BigUint::from(EXPONENT);
    let key = (1_u32..)
        .find_map(|step| RsaPrivateKey::from_p_q(&p + 2 * step, q.clone(), e.clone()).ok())
        .unwrap();
    let document = key.to_pkcs8_der().unwrap();
    let found = SecretKey::from_pkcs8_der(document.as_bytes());
    assert_eq!(found, Err(KeyError::Inconsistent));
}

/// A file in which one number does not fit the others is refused, whichever it is.
#[test]
fn numbers_that_do_not_belong_together_are_refused() {
    let (key, _) = vector();
    let info = rsa::pkcs8::PrivateKeyInfo::try_from(key.as_pkcs8_der()).unwrap();
    let inner = rsa::pkcs1::RsaPrivateKey::try_from(info.private_key).unwrap();
    let offset = |number: rsa::pkcs1::UintRef<'_>| {
        let bytes = number.as_bytes();
        key.as_pkcs8_der().windows(bytes.len()).position(|window| window == bytes).unwrap() + 40
    };
    for number in [inner.modulus, inner.private_exponent, inner.prime1, inner.prime2] {
        let mut document = key.as_pkcs8_der().to_vec();
        document[offset(number)] ^= 1;
        assert_eq!(SecretKey::from_pkcs8_der(&document), Err(KeyError::Inconsistent));
    }
    let text = KeyError::Inconsistent.to_string();
    assert_eq!(text, "the numbers of the key do not belong together");
}

/// A private exponent that is right but not reduced is refused: the backends treat it differently.
#[test]
fn an_oversized_private_exponent_is_refused() {
    let key = numbers();
    let order: BigUint = key.primes().iter().map(|prime| prime - 1_u32).product();
    let d = key.d() + order * 4_u32;
    let (n, e) = (BigUint::from_bytes_be(vector().0.public().modulus()), EXPONENT.into());
    let key = RsaPrivateKey::from_components(n, e, d, key.primes().to_vec()).unwrap();
    let document = key.to_pkcs8_der().unwrap();
    let found = SecretKey::from_pkcs8_der(document.as_bytes());
    assert_eq!(found, Err(KeyError::Inconsistent));
}

/// No document makes the reader panic, and what it accepts is the vector key.
#[test]
fn damaged_documents_do_no_harm() {
    let (key, _) = vector();
    for at in (0..key.as_pkcs8_der().len()).step_by(7) {
        let mut document = key.as_pkcs8_der().to_vec();
        document[at] ^= 0x81;
        if let Ok(found) = SecretKey::from_pkcs8_der(&document) {
            assert_eq!(found, key, "byte {at}");
        }
        assert!(SecretKey::from_pkcs8_der(&key.as_pkcs8_der()[..at]).is_err());
    }
    let plain = key.as_pkcs8_der().to_vec().to_der().unwrap();
    assert!(encrypted::open(&plain, b"").is_err());
}
