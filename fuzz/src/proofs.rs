//! Proofs, vaults and tags.

use std::{io::Write, path::Path, sync::LazyLock};

use dsc_lib::{
    codec::{decode, encode},
    proof::{
        Challenge, ENGINES, LookupMode, Miner, NoProgress, Proof, ProofEngine, ProofEntry,
        space::{Depth, PAGE_LEN, Upkeep, Vault, check},
    },
    tag::{self, Tagger},
};
use tempfile::NamedTempFile;

use crate::{assert_exact, reference, script::Script};

/// Every engine with the least of each parameter.
static LEAST: LazyLock<Vec<Box<dyn ProofEngine>>> = LazyLock::new(|| {
    let least = |entry: &&dsc_lib::proof::Entry| {
        let values: Vec<_> = entry.params.iter().map(|param| param.min).collect();
        entry.build_with(&values).expect("the least is in range")
    };
    ENGINES.iter().map(least).collect()
});

/// Bytes of a challenge.
const CHALLENGE_LEN: usize = 32;
/// Bytes of an entry before the proof's own: kind, address and fingerprint.
const ENTRY_HEAD_LEN: usize = 1 + 32 + 16;

/// A challenge, then an entry as it stands in a block: verifying is total and gives the same
/// answer twice, entries are exact, and what verifies is canonical.
pub fn proof(data: &[u8]) {
    let Some((challenge, entry)) = data.split_first_chunk::<CHALLENGE_LEN>() else { return };
    let challenge = decode::<Challenge>(challenge).expect("any 32 bytes are a challenge");
    let decoded = decode::<ProofEntry>(entry);
    if let Ok(found) = &decoded {
        assert_exact(&encode(found), entry);
        assert!(found.proof.bytes.len() <= ENGINES[usize::from(entry[0])].shape.len_max());
    }
    let Some((head, bytes)) = entry.split_at_checked(ENTRY_HEAD_LEN) else { return };
    let miner: Miner = decode(&head[1..]).expect("any 48 bytes are a miner");
    for engine in LEAST.iter() {
        let proof = Proof { kind: engine.kind(), bytes: bytes.to_vec() };
        let verdict = engine.verify(&challenge, &miner, &proof);
        assert_eq!(verdict, engine.verify(&challenge, &miner, &proof));
        let kind = engine.kind().index();
        let values: Vec<_> = ENGINES[usize::from(kind)].params.iter().map(|p| p.min).collect();
        let expected = reference::verify(kind, &values, &challenge, &miner, &proof.bytes);
        assert_eq!(verdict.as_ref().ok(), expected.as_ref());
        if verdict.is_ok() && engine.kind().index() == head[0] {
            assert_eq!(decoded.as_ref().map(|found| &found.proof), Ok(&proof));
        }
    }
}

/// Pages of a vault, header first, with their checksums put right: opening, looking up and checking
/// are total, and what is found does not depend on how the file is read.
pub fn vault(data: &[u8]) {
    let Ok(file) = vault_file(data) else { return };
    let modes = [LookupMode::Map, LookupMode::Read, LookupMode::Direct];
    let [mapped, read, direct] = modes.map(|mode| entries(file.path(), mode));
    assert_eq!(mapped, read);
    assert_eq!(read, direct);
    let report = check(file.path(), Depth::Sample, &Upkeep::default(), &NoProgress);
    if let Ok(report) = report {
        assert_eq!(report.damaged == 0, report.faults.is_empty());
        assert!(report.faults.is_sorted_by_key(|fault| (fault.page(), fault.offset())));
        assert!(report.header.is_none_or(|header| header.id == report.id && header.complete));
    }
}

/// What every bucket holds, or why it cannot be told.
fn entries(path: &Path, mode: LookupMode) -> Result<Vec<String>, String> {
    let header = Vault::read_header(path).map_err(|error| error.to_string())?;
    let vault = Vault::open(path, mode).map_err(|error| error.to_string())?;
    assert_eq!((vault.header(), header.complete), (&header, true));
    Ok((0..header.id.buckets()).map(|bucket| format!("{:?}", vault.entries(bucket))).collect())
}

/// Writes `data` as pages, the last one filled up, to a file as long as the header's `k` asks for.
fn vault_file(data: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    let header = page(data.chunks(PAGE_LEN).next().unwrap_or_default());
    for (number, bytes) in (0_u64..).zip(data.chunks(PAGE_LEN)) {
        file.write_all(&sealed(page(bytes), number, &header))?;
    }
    // The least size, and the next: a real vault of those is small.
    if let k @ 16..=17 = header[10] {
        file.as_file().set_len(((1 << (k - 9)) + 1) * PAGE_LEN as u64)?;
    }
    Ok(file)
}

fn page(bytes: &[u8]) -> [u8; PAGE_LEN] {
    let mut page = [0; PAGE_LEN];
    page[..bytes.len()].copy_from_slice(bytes);
    page
}

/// Seals a page as docs/protocol.md says: its number and the vault's id go into the checksum.
fn sealed(mut page: [u8; PAGE_LEN], number: u64, header: &[u8; PAGE_LEN]) -> [u8; PAGE_LEN] {
    let id = [&header[16..64], &header[10..11], &header[12..16]].concat();
    let (body, crc) = page.split_at_mut(PAGE_LEN - 4);
    let sum = crc32c::crc32c_append(crc32c::crc32c(body), &number.to_le_bytes());
    crc.copy_from_slice(&crc32c::crc32c_append(sum, &id).to_le_bytes());
    page
}

/// Most values in one comparison: some batches of the widest path, and a rest.
const TAGS_MAX: usize = 100;

/// A key, values and lengths: every path of this CPU gives what the reference gives, on ranges and
/// on values of any order, from any place in memory, and touches nothing beside.
pub fn tag(data: &[u8]) {
    let mut script = Script::new(data);
    let (key, first) = (script.array(), script.number());
    let (count, shift) = (script.below(TAGS_MAX), script.below(SHIFT_MAX));
    let range: Vec<u64> = (0..count as u64).map(|offset| first.wrapping_add(offset)).collect();
    let any: Vec<u64> = (0..count).map(|_| script.number()).collect();
    for path in tag::Path::available() {
        let tagger = Tagger::with_path(&key, path).expect("the path is available");
        check_tags(&tagger, &key, &range, shift, |out| tagger.fill_range(first, out));
        for inputs in [&range, &any] {
            let moved = [&vec![0; shift][..], inputs].concat();
            let fill = |out: &mut [u64]| tagger.fill_slice(&moved[shift..], out);
            check_tags(&tagger, &key, inputs, shift, fill);
        }
        let tags = range.iter().map(|&input| (tag::tag(&key, input), input));
        let least = tags.min_by_key(|&(tag, input)| (tag, input.wrapping_sub(first)));
        assert_eq!(tagger.min_in_range(first, count as u64), least, "{path}");
    }
}

/// Words that outputs are moved by: more than the widest vector has.
const SHIFT_MAX: usize = 9;
const UNTOUCHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

fn check_tags(
    tagger: &Tagger,
    key: &tag::Key,
    inputs: &[u64],
    shift: usize,
    fill: impl Fn(&mut [u64]),
) {
    let mut out = vec![UNTOUCHED; inputs.len() + 2 * SHIFT_MAX];
    fill(&mut out[shift..shift + inputs.len()]);
    let expected = inputs.iter().map(|&input| tag::tag(key, input));
    let (before, rest) = out.split_at(shift);
    let (found, after) = rest.split_at(inputs.len());
    assert!(found.iter().copied().eq(expected), "{}", tagger.path());
    assert!(before.iter().chain(after).all(|word| *word == UNTOUCHED), "{}", tagger.path());
}
