//! Verifiers held to other ways of telling the same: proofs of the engines, paths in trees,
//! signatures.

use std::sync::LazyLock;

use dsc_lib::{
    codec::{decode, encode},
    hash::Digest,
    keys::{Claim, EXPONENT, MODULUS_LEN, PublicKey, SecretKey, Signature, verify_each},
    merkle::{self, InclusionProof, Path},
    proof::{
        Challenge, ENGINES, Entry, Fingerprint, Miner, NoProgress, Proof, ProofEngine, Resources,
    },
    testing::{ALICE, BOB, CAROL, MINER, Unhurried, address},
    units::{Quality, Target},
};
use rsa::{
    BigUint, Pkcs1v15Sign, RsaPublicKey,
    sha2::{Digest as _, Sha256},
};

use crate::{assert_same, reference, script::Script};

/// A proof that holds.
struct Good {
    engine: usize,
    challenge: Challenge,
    miner: Miner,
    proof: Proof,
    quality: Quality,
}

/// An engine under some parameters.
struct Built {
    entry: &'static Entry,
    values: &'static [u64],
    engine: Box<dyn ProofEngine>,
}

/// Small tables, in more than one width and length of walk.
static BUILT: LazyLock<Vec<Built>> = LazyLock::new(|| {
    let values: [&[u64]; 5] = [&[], &[16, 0], &[16, 3], &[16, 1], &[16, 5]];
    let built = values.iter().zip([0, 1, 1, 2, 2]).map(|(values, kind): (_, usize)| {
        let entry = ENGINES[kind];
        Built { entry, values, engine: entry.build_with(values).expect("values in range") }
    });
    built.collect()
});

/// Rounds that the good proofs are from.
const ROUNDS: u8 = 3;

static GOOD: LazyLock<Vec<Good>> =
    LazyLock::new(|| (0..BUILT.len()).flat_map(|engine| answers(engine)).collect());

fn answers(engine: usize) -> Vec<Good> {
    let Built { entry, engine: built, .. } = &BUILT[engine];
    let fingerprint = Fingerprint([entry.kind.index(); 16]);
    let miner = Miner { address: address(&MINER), fingerprint };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let resources = Resources { threads: 1, ..Resources::new(folder.path()) };
    let mut prover = built.prepare(&miner, &resources, &NoProgress).expect("the least is small");
    let answer = |round| {
        let challenge = Challenge(Digest([round; 32]));
        let attempt = prover.prove(&challenge, Target::MAX, &Unhurried::default().budget());
        let (proof, quality) = attempt.expect("nothing fails here").best?;
        Some(Good { engine, challenge, miner, proof, quality })
    };
    (0..ROUNDS).filter_map(answer).collect()
}

/// A good proof, its round and its miner, changed as the script says: the engine and the text of
/// the protocol agree on what is valid and on its quality.
pub fn verify(data: &[u8]) {
    let mut script = Script::new(data);
    let good = script.pick(&GOOD);
    let mut challenge = good.challenge.0.0;
    let mut miner = encode(&good.miner);
    let mut bytes = good.proof.bytes.clone();
    let mut changed = false;
    while !script.is_over() {
        changed = true;
        match script.byte() % 8 {
            0 => flip(&mut script, &mut challenge),
            1 => flip(&mut script, &mut miner),
            2 => flip(&mut script, &mut bytes),
            _ => edit(&mut script, &mut bytes),
        }
    }
    let miner: Miner = decode(&miner).expect("any 48 bytes are a miner");
    let challenge = Challenge(Digest(challenge));
    for Built { entry, values, engine } in BUILT.iter() {
        let proof = Proof { kind: entry.kind, bytes: bytes.clone() };
        let found = engine.verify(&challenge, &miner, &proof).ok();
        let expected = reference::verify(entry.kind.index(), values, &challenge, &miner, &bytes);
        assert_eq!(found, expected, "{} {values:?}: {bytes:02x?}", entry.name);
    }
    if !changed {
        let found = BUILT[good.engine].engine.verify(&challenge, &miner, &good.proof);
        assert_same(found, &good.quality);
    }
}

fn flip(script: &mut Script<'_>, bytes: &mut [u8]) {
    let bit = script.byte();
    let place = script.below(bytes.len().clamp(1, 256));
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (bit % 8);
    }
}

/// What a forger does to a proof: other numbers, members swapped, pairs of other proofs, more or
/// fewer of them.
fn edit(script: &mut Script<'_>, bytes: &mut Vec<u8>) {
    const WORD: usize = 8;
    let words = bytes.len() / WORD;
    let offset = script.below(WORD);
    let at = script.below(words.max(1)) * WORD + offset % 6;
    match script.byte() % 7 {
        0 => bytes.truncate(at),
        1 => bytes.extend(script.array::<WORD>()),
        2 => overwrite(bytes, at, &script.number().to_le_bytes()),
        3 => overwrite(bytes, at, &u32::to_le_bytes(script.below(256) as u32)),
        4 => bytes.get_mut(at..at + WORD).into_iter().for_each(|pair| pair.rotate_left(4)),
        5 => {
            let other = &script.pick(&GOOD).proof.bytes;
            let from = script.below(other.len().min(256));
            overwrite(bytes, at, &other[from..]);
        }
        _ => {
            let word = bytes.get(at..at + WORD).map(<[u8]>::to_vec).unwrap_or_default();
            bytes.extend(word);
        }
    }
}

/// Puts as much of `with` as fits at `at`.
fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(rest) = bytes.get_mut(at..) {
        let len = rest.len().min(with.len());
        rest[..len].copy_from_slice(&with[..len]);
    }
}

/// Most leaves of a tree.
const LEAVES_MAX: usize = 40;

/// A path in a tree, changed as the script says: it verifies if and only if the place is in the
/// tree and the path is the one that the tree gives for that place and size.
pub fn inclusion(data: &[u8]) {
    let mut script = Script::new(data);
    let leaves: Vec<_> = (0..=script.below(LEAVES_MAX)).map(|n| merkle::leaf(&[n as u8])).collect();
    let index = script.below(leaves.len());
    let good = InclusionProof::new(&leaves, index).expect("the leaf exists");
    let root = merkle::root(&leaves);
    assert_eq!(good.verify(leaves[index], root), Ok(()));
    let proof = bent(&mut script, &good, &leaves);
    let leaf = leaves[script.below(leaves.len())];
    let holds = proof.count == leaves.len() as u64
        && usize::try_from(proof.index).ok().and_then(|at| leaves.get(at)) == Some(&leaf)
        && InclusionProof::new(&leaves, proof.index as usize).as_ref() == Some(&proof);
    // Another size may have the same path: of eight leaves, the first's is that of a tree of seven.
    let found = proof.verify(leaf, root).is_ok();
    assert!(found || !holds, "{proof:?} is refused");
    assert!(!found || proof.count != leaves.len() as u64 || holds, "{proof:?} is accepted");
    assert_same(decode(&encode(&proof)), &proof);
    let json = serde_json::to_vec(&proof).expect("a proof has a JSON form");
    assert_same(serde_json::from_slice(&json), &proof);
}

fn bent(script: &mut Script<'_>, good: &InclusionProof, leaves: &[Digest]) -> InclusionProof {
    let InclusionProof { mut index, mut count, path } = good.clone();
    let mut path = path.into_vec();
    while !script.is_over() {
        match script.byte() % 6 {
            0 => index = script.around(index),
            1 => count = script.around(count),
            2 => drop(path.pop()),
            3 => path.push(*script.pick(leaves)),
            4 if !path.is_empty() => {
                let at = script.below(path.len());
                path.swap(0, at);
            }
            _ if !path.is_empty() => {
                let at = script.below(path.len());
                path[at].0[script.below(32)] ^= 1;
            }
            _ => {}
        }
        path.truncate(64);
    }
    InclusionProof { index, count, path: Path::new(path).expect("at most 64") }
}

/// What `e` is raised by is public, so a signature under a modulus of known factors can be made for
/// any padded message: this is the prime of the 2048-bit MODP group (RFC 3526).
static PRIME: LazyLock<BigUint> = LazyLock::new(|| {
    let digits = "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a\
        08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed\
        6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da4836\
        1c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1\
        746c08ca18217c32905e462e36ce3be39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf69558\
        17183995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff";
    BigUint::parse_bytes(digits.as_bytes(), 16).expect("hexadecimal digits")
});

/// The inverse of the public exponent modulo `PRIME - 1`.
static ROOT: LazyLock<BigUint> = LazyLock::new(|| {
    let (order, e) = (&*PRIME - 1_u32, u64::from(EXPONENT));
    let residue: u64 = (&order % e).to_string().parse().expect("less than e");
    let factor = (1..e).find(|factor| (factor * residue + 1).is_multiple_of(e));
    (order * factor.expect("e is prime") + 1_u32) / e
});

/// A claim that owns its parts.
struct Owned {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

/// Claims, some good, some bent, some forged under a modulus of known factors: all verified at
/// once, one by one, and by the crate `rsa`, which always give the same verdicts.
pub fn signature(data: &[u8]) {
    let mut script = Script::new(data);
    let count = script.below(18);
    let owned: Vec<_> = (0..count).map(|_| claim(&mut script)).collect();
    let borrow = |owned| {
        let Owned { key, message, signature }: &Owned = owned;
        Claim { key, message, signature }
    };
    let claims: Vec<_> = owned.iter().map(borrow).collect();
    let together = verify_each(&claims);
    let alone: Vec<_> = claims.iter().map(Claim::verify).collect();
    assert_eq!(together, alone);
    let by_rsa: Vec<_> = owned.iter().map(holds).collect();
    assert_eq!(alone.iter().map(Result::is_ok).collect::<Vec<_>>(), by_rsa);
}

fn holds(Owned { key, message, signature }: &Owned) -> bool {
    let modulus = BigUint::from_bytes_be(key.modulus());
    RsaPublicKey::new(modulus, BigUint::from(EXPONENT))
        .and_then(|key| {
            key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), &signature.0)
        })
        .is_ok()
}

fn claim(script: &mut Script<'_>) -> Owned {
    let message = vec![script.byte(); script.below(70)];
    let keys: [&SecretKey; 3] = [&ALICE, &BOB, &CAROL];
    match script.byte() % 4 {
        0 => {
            let key = script.pick(&keys);
            Owned { key: *key.public(), signature: key.sign(&message), message }
        }
        1 => bend(script, &message, *keys[0].public(), keys[0].sign(&message).0),
        2 => {
            let modulus = number(&PRIME);
            let key = PublicKey::from_modulus(&modulus).expect("an odd number of 2048 bits");
            let padded = BigUint::from_bytes_be(&padded(script, &message)) % &*PRIME;
            Owned { key, signature: Signature(number(&padded.modpow(&ROOT, &PRIME))), message }
        }
        _ => {
            let mut modulus = filled(script);
            (modulus[0], modulus[255]) = (modulus[0] | 0x80, modulus[255] | 1);
            let key = PublicKey::from_modulus(&modulus).expect("an odd number of 2048 bits");
            let signature = filled(script);
            bend(script, &message, key, signature)
        }
    }
}

/// Changes some bytes of a claim.
fn bend(
    script: &mut Script<'_>,
    message: &[u8],
    key: PublicKey,
    mut signature: [u8; MODULUS_LEN],
) -> Owned {
    let mut modulus = *key.modulus();
    for _ in 0..script.below(4) {
        flip(script, &mut signature);
    }
    if script.flag() {
        flip(script, &mut modulus);
    }
    // A number next to the modulus, on either side.
    if script.byte() % 16 == 0 {
        signature = modulus;
        signature[255] = signature[255].wrapping_sub(script.byte() % 3);
    }
    let key = PublicKey::from_modulus(&modulus).unwrap_or(key);
    Owned { key, message: message.to_vec(), signature: Signature(signature) }
}

/// Long runs of few values: carries and borrows of big numbers run through them.
fn filled(script: &mut Script<'_>) -> [u8; MODULUS_LEN] {
    let mut number = [0; MODULUS_LEN];
    let mut at = 0;
    while at < MODULUS_LEN {
        let (len, value) = (usize::from(script.byte()) + 1, *script.pick(&[0, 0xff, 1, 0x80]));
        let value = if len % 4 == 0 { script.byte() } else { value };
        let end = MODULUS_LEN.min(at + len.min(64));
        number[at..end].fill(value);
        at = end;
    }
    number
}

fn number(value: &BigUint) -> [u8; MODULUS_LEN] {
    let digits = value.to_bytes_be();
    let mut number = [0; MODULUS_LEN];
    number[MODULUS_LEN - digits.len()..].copy_from_slice(&digits);
    number
}

/// The `DigestInfo` of SHA-256 up to the digest (RFC 8017, section 9.2).
const INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// The message as it is signed, with up to three bytes of the padding changed.
fn padded(script: &mut Script<'_>, message: &[u8]) -> [u8; MODULUS_LEN] {
    let mut padded = [0xff; MODULUS_LEN];
    let tail = [&[0][..], &INFO, &Sha256::digest(message)].concat();
    (padded[0], padded[1]) = (0, 1);
    padded[MODULUS_LEN - tail.len()..].copy_from_slice(&tail);
    for _ in 0..script.below(4) {
        let at = usize::from(script.byte());
        padded[at] = script.byte();
    }
    padded
}
