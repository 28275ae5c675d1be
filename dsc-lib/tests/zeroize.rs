//! After a private key was dropped, its primes are nowhere in the memory of the process.
//!
//! The process reads all of its own memory, so it is alone in its test binary: another test's keys
//! would be found. What is looked for is kept masked, or it would find itself.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use dsc_lib::keys::SecretKey;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use rsa::{RsaPrivateKey, pkcs8::DecodePrivateKey, traits::PrivateKeyParts};

const MASK: u8 = 0xa5;
/// Bytes that are as good as the whole prime.
const PART: usize = 24;
const CHUNK: usize = 1 << 20;

const ALICE: &str = include_str!("data/keys/alice.pem");

/// The middle of both primes, in both byte orders, masked.
fn needles() -> Vec<[u8; PART]> {
    let key = RsaPrivateKey::from_pkcs8_pem(ALICE).unwrap();
    let middle = |bytes: Vec<u8>| -> [u8; PART] {
        let part: [u8; PART] = bytes[40..40 + PART].try_into().unwrap();
        part.map(|byte| byte ^ MASK)
    };
    let primes = key.primes().iter();
    primes.flat_map(|prime| [middle(prime.to_bytes_be()), middle(prime.to_bytes_le())]).collect()
}

/// Where any of the needles is in the memory of this process.
fn find(needles: &[[u8; PART]]) -> Vec<String> {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut bytes = vec![0; CHUNK + PART];
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap().min(bytes.len());
            // Some regions of the kernel's cannot be read.
            if memory.read_exact_at(&mut bytes[..len], at).is_ok() && holds(&bytes[..len], needles)
            {
                found.push(line.to_owned());
            }
            at += CHUNK as u64;
        }
        bytes.fill(0);
    }
    found
}

fn holds(bytes: &[u8], needles: &[[u8; PART]]) -> bool {
    let is_masked = |window: &[u8], needle: &[u8; PART]| {
        window.iter().zip(needle).all(|(byte, masked)| byte ^ MASK == *masked)
    };
    bytes.windows(PART).any(|window| needles.iter().any(|needle| is_masked(window, needle)))
}

/// Everything that a program does with a key: read, sign, encrypt, decrypt, write.
fn use_key() -> Vec<SecretKey> {
    let key = SecretKey::from_pkcs8_pem(ALICE).unwrap();
    let signature = key.sign(b"message");
    key.public().verify(b"message", &signature).unwrap();
    let sealed = key.to_encrypted_pem(b"passphrase", &mut ChaCha8Rng::seed_from_u64(1));
    let opened = SecretKey::from_encrypted_pem(&sealed, b"passphrase").unwrap();
    drop(opened.to_pkcs8_pem());
    #[cfg(feature = "seal")]
    read_memo(&key);
    vec![key.clone(), key, opened]
}

#[cfg(feature = "seal")]
fn read_memo(key: &SecretKey) {
    use dsc_lib::{hash::Digest, seal};
    let (chain, from) = (Digest([7; 32]), key.public().address());
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let memo = seal::seal(b"text", key.public(), &chain, &from, &mut rng).unwrap();
    assert_eq!(seal::open(&memo, key, &chain, &from).unwrap()[..], *b"text");
}

#[test]
fn a_dropped_key_is_wiped() {
    let needles = needles();
    let keys = use_key();
    assert!(!find(&needles).is_empty(), "a key in use is in memory: the search works");
    drop(keys);
    let left = find(&needles);
    assert!(left.is_empty(), "{left:#?}");
}
