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

use crate::assert_exact;

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

/// A key, a first value and a count: every path of this CPU gives what the reference gives.
pub fn tag(data: &[u8]) {
    let Some((key, rest)) = data.split_first_chunk::<32>() else { return };
    let Some((first, rest)) = rest.split_first_chunk::<8>() else { return };
    let Some(&count) = rest.first() else { return };
    let (first, count) = (u64::from_le_bytes(*first), usize::from(count) % TAGS_MAX);
    let inputs: Vec<u64> = (0..count as u64).map(|offset| first.wrapping_add(offset)).collect();
    let expected: Vec<u64> = inputs.iter().map(|&input| tag::tag(key, input)).collect();
    let least = expected.iter().copied().zip(inputs.iter().copied());
    let least = least.min_by_key(|&(tag, input)| (tag, input.wrapping_sub(first)));
    for path in tag::Path::available() {
        let tagger = Tagger::with_path(key, path).expect("the path is available");
        let mut out = vec![0; count];
        tagger.fill_range(first, &mut out);
        assert_eq!(out, expected, "{path}");
        out.fill(0);
        tagger.fill_slice(&inputs, &mut out);
        assert_eq!(out, expected, "{path}");
        assert_eq!(tagger.min_in_range(first, count as u64), least, "{path}");
    }
}
