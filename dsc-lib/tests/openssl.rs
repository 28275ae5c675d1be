//! Keys and signatures against the `openssl` command, in both directions.
//!
//! Without that command the tests say so on standard error and check nothing.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::{Command, Output},
};

use dsc_lib::keys::{PublicKey, SecretKey, Signature};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;

const MESSAGE: &[u8] = b"a message that both sides sign";
const PASSPHRASE: &str = "correct horse";

/// Runs `openssl` in `folder`, or returns `None` if there is no such command.
fn openssl(folder: &Path, arguments: &str) -> Option<Output> {
    let arguments = arguments.split(' ');
    match Command::new("openssl").args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) => {
            // Straight to the stream: the test harness swallows what `eprintln` writes.
            let line =
                format!("left out: a comparison with openssl, which does not run: {error}\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

/// Runs `openssl`, which has to succeed, and returns its standard output.
fn succeed(folder: &Path, arguments: &str) -> Option<String> {
    let output = openssl(folder, arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn vector_key() -> SecretKey {
    SecretKey::from_pkcs8_pem(include_str!("data/keys/vector.pem")).unwrap()
}

/// A folder with the message, two passphrases and `key` in every form.
fn folder(key: &SecretKey) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let encrypted = key.to_encrypted_pem(PASSPHRASE.as_bytes(), &mut rng());
    for (name, bytes) in [
        ("message", MESSAGE),
        ("passphrase", PASSPHRASE.as_bytes()),
        ("wrong", b"wrong"),
        ("key.pem", key.to_pkcs8_pem().as_bytes()),
        ("encrypted.pem", encrypted.as_bytes()),
        ("public.pem", key.public().to_spki_pem().as_bytes()),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn openssl_verifies_our_signature() {
    let key = vector_key();
    let folder = folder(&key);
    fs::write(folder.path().join("signature"), key.sign(MESSAGE).0).unwrap();
    let verify = "dgst -sha256 -verify public.pem -signature signature message";
    if let Some(answer) = succeed(folder.path(), verify) {
        assert_eq!(answer.trim(), "Verified OK");
    }
}

#[test]
fn openssl_signs_as_we_do() {
    let key = vector_key();
    let folder = folder(&key);
    let sign = "dgst -sha256 -sign key.pem -out signature message";
    if succeed(folder.path(), sign).is_some() {
        let signature = fs::read(folder.path().join("signature")).unwrap();
        let signature = Signature(signature.try_into().unwrap());
        assert_eq!(key.sign(MESSAGE), signature);
        assert_eq!(key.public().verify(MESSAGE, &signature), Ok(()));
    }
}

#[test]
fn openssl_reads_our_keys() {
    let key = SecretKey::generate(&mut rng()).unwrap();
    let folder = folder(&key);
    let open = "pkey -in encrypted.pem -passin file:passphrase";
    if let Some(answer) = succeed(folder.path(), open) {
        assert_eq!(answer, *key.to_pkcs8_pem());
        let public = succeed(folder.path(), "pkey -pubin -in public.pem").unwrap();
        assert_eq!(public, key.public().to_spki_pem());
        let check = succeed(folder.path(), "pkey -in key.pem -check -noout").unwrap();
        assert_eq!(check.trim(), "Key is valid");
    }
}

#[test]
fn openssl_refuses_the_wrong_passphrase() {
    let folder = folder(&vector_key());
    let open = "pkey -in encrypted.pem -passin file:wrong";
    if let Some(output) = openssl(folder.path(), open) {
        assert!(!output.status.success());
    }
}

#[test]
fn we_read_the_keys_of_openssl() {
    let key = vector_key();
    let folder = folder(&key);
    let path = |name| folder.path().join(name);
    for options in ["-scrypt", "-v2 aes-256-cbc -iter 20000", "-v2 aes-128-cbc"] {
        let seal = "pkcs8 -topk8 -in key.pem -passout file:passphrase -out sealed.pem";
        if succeed(folder.path(), &format!("{seal} {options}")).is_none() {
            return;
        }
        let text = fs::read_to_string(path("sealed.pem")).unwrap();
        let found = SecretKey::from_encrypted_pem(&text, PASSPHRASE.as_bytes());
        assert_eq!(found.as_ref(), Ok(&key), "{options}");
    }
    let generate = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out made.pem";
    succeed(folder.path(), generate);
    let made = SecretKey::from_pkcs8_pem(&fs::read_to_string(path("made.pem")).unwrap()).unwrap();
    let public = succeed(folder.path(), "pkey -in made.pem -pubout").unwrap();
    assert_eq!(PublicKey::from_spki_pem(&public).as_ref(), Ok(made.public()));
}
