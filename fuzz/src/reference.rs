//! The proofs of docs/protocol.md, section 5, written from that text: no vector, no table, and
//! nothing of the library but its types.

use dsc_lib::{
    proof::{Challenge, Miner},
    units::Quality,
};

type Key = [u8; 32];

/// The quality of a proof of engine `index`, whose parameters have these values; `None` if it is
/// not valid.
pub(crate) fn verify(
    index: u8,
    values: &[u64],
    challenge: &Challenge,
    miner: &Miner,
    proof: &[u8],
) -> Option<Quality> {
    let identity = [&miner.address.0[..], &miner.fingerprint.0].concat();
    let quality = match (index, values) {
        (0, []) => work(&challenge.0.0, &identity, proof),
        (1, &[k_min, s]) => space(k_min, s, &challenge.0.0, &identity, proof),
        (2, &[m, length]) => memory(m, length, &challenge.0.0, &identity, proof),
        other => unreachable!("no engine of that kind: {other:?}"),
    };
    quality.map(Quality)
}

fn derive(context: &str, parts: &[&[u8]]) -> Key {
    blake3::derive_key(&format!("dsc v1 {context}"), &parts.concat())
}

fn first64(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn tag(key: &Key, n: u64) -> u64 {
    let mut message = [0; 40];
    message[32..36].copy_from_slice(&n.to_le_bytes()[4..]);
    message[36..].copy_from_slice(&n.to_le_bytes()[..4]);
    first64(blake3::keyed_hash(key, &message).as_bytes())
}

fn work(challenge: &Key, identity: &[u8], proof: &[u8]) -> Option<u64> {
    let nonce = u64::from_le_bytes(proof.try_into().ok()?);
    Some(tag(&derive("work", &[challenge, identity]), nonce))
}

/// `e` of a pair of the table with this size exponent and these keys, if it is one.
fn placed(k: u64, keys: &[Key; 2], pair: u64) -> Option<u64> {
    let (x1, x2) = (pair % (1 << 32), pair >> 32);
    let top = |x| tag(&keys[0], x) >> (64 - (k - 1));
    let is_pair = x1 < x2 && x2 < 1 << k && top(x1) == top(x2);
    is_pair.then(|| tag(&keys[1], pair))
}

fn space(k_min: u64, s: u64, challenge: &Key, identity: &[u8], proof: &[u8]) -> Option<u64> {
    let proof: [u8; 13] = proof.try_into().ok()?;
    let (k, pair) = (u64::from(proof[0]), first64(&proof[5..]));
    if !(k_min..=32).contains(&k) {
        return None;
    }
    let vault = [identity, &proof[..5]].concat();
    let keys = [derive("space table 1", &[&vault]), derive("space table 2", &[&vault])];
    let d = derive("space challenge", &[challenge, &vault]);
    let (e, b) = (placed(k, &keys, pair)?, k - 9 - s);
    (e >> (64 - b) == first64(&d) >> (64 - b)).then(|| tag(&d, pair) >> b)
}

fn memory(m: u64, length: u64, challenge: &Key, identity: &[u8], proof: &[u8]) -> Option<u64> {
    let words: Vec<u64> = proof.chunks_exact(8).map(first64).collect();
    let [start, count, pairs @ ..] = &words[..] else { return None };
    if proof.len() % 8 != 0 || *count != length || pairs.len() as u64 != length {
        return None;
    }
    let table = [identity, &[u8::try_from(m).expect("at most 32")]].concat();
    let keys = [derive("memory table 1", &[&table]), derive("memory table 2", &[&table])];
    let step = derive("memory step", &[challenge, &table]);
    let mut state = tag(&derive("memory start", &[challenge, &table]), *start);
    for &pair in pairs {
        if placed(m, &keys, pair)? >> (64 - m) != state >> (64 - m) {
            return None;
        }
        state = tag(&step, state ^ pair);
    }
    Some(state)
}
