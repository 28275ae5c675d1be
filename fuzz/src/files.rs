//! What a role finds on its disk when it starts.

use std::sync::{Arc, LazyLock};

use dsc_lib::{
    block::Header,
    codec::{decode_first, encode},
    disk::{Disk, Memory},
    hash::Digest,
    ledger::{Ledger, OpenOptions, Recovery, State},
    mempool::journal::Journal,
    proof::{Fingerprint, Miner, Proof, ProofEntry, ProofKind},
    role::{
        blockchain::{Equivocation, Evidence},
        metronome::{LastSigned, SignedBlock},
    },
    testing::{
        ALICE, BOB, CAROL, METRONOME, MINER, address, chain, draft, next_block, pay, unchecked,
    },
    transaction::{CheckedTransaction, Encoded, Transaction},
    units::{Amount, Height, Millis},
};

use crate::script::Script;

/// A file and its bytes.
type Files = Vec<(String, Vec<u8>)>;

/// A ledger's folder, and what is true of it.
struct Image {
    files: Files,
    /// States before the first block and after each, by the hash of the tip.
    tips: Vec<Digest>,
    commitments: Vec<Digest>,
    blocks: Vec<Vec<u8>>,
    transactions: Vec<Encoded>,
}

/// Blocks that the index covers, and blocks after those.
const COVERED: u64 = 4;
const BLOCKS: u64 = 7;

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let disk = Memory::default();
    let opened = open(&disk, false).expect("an empty disk");
    let mut ledger = opened;
    let mut image = Image {
        files: Vec::new(),
        tips: vec![ledger.state().tip().hash],
        commitments: vec![ledger.state().commitment()],
        blocks: Vec::new(),
        transactions: Vec::new(),
    };
    for height in 0..BLOCKS {
        grow(&mut ledger, height, &mut image);
        if height + 1 == COVERED {
            ledger.flush().expect("memory does not fail");
        }
    }
    drop(ledger);
    image.files = read_all(&disk);
    image
});

/// Adds the block at `height`.
fn grow(ledger: &mut Ledger, height: u64, image: &mut Image) {
    let miner = Miner { address: address(&MINER), fingerprint: Fingerprint([1; 16]) };
    let proof = Proof { kind: ProofKind::new(0), bytes: height.to_le_bytes().to_vec() };
    let transactions = vec![
        pay(&ALICE, height, address(&CAROL), 5),
        pay(&BOB, height, address(&ALICE), height + 1),
    ];
    image.transactions.extend(transactions.iter().map(Encoded::from));
    let proofs = if height % 3 == 2 { vec![] } else { vec![ProofEntry { miner, proof }] };
    let block = next_block(ledger.state(), proofs, transactions);
    ledger.commit(&block).expect("memory does not fail");
    image.blocks.push(block.to_bytes());
    image.tips.push(block.hash());
    image.commitments.push(ledger.state().commitment());
}

fn open(disk: &Memory, read_only: bool) -> Result<Ledger, dsc_lib::ledger::OpenError> {
    let options = OpenOptions { read_only, ..OpenOptions::default() };
    Ledger::with_disk(Arc::new(disk.clone()), Some(chain()), options, |_, _| {})
}

fn read_all(disk: &Memory) -> Files {
    let read = |name: String| {
        let file = disk.open(&name).expect("it is listed");
        let mut bytes = vec![0; file.size().expect("memory does not fail") as usize];
        file.read_at(&mut bytes, 0).expect("all of it");
        (name, bytes)
    };
    disk.list().expect("memory does not fail").into_iter().map(read).collect()
}

fn disk_of(files: &Files) -> Memory {
    let disk = Memory::default();
    for (name, bytes) in files {
        let file = disk.create(name).expect("memory does not fail");
        file.write_at(bytes, 0).expect("memory does not fail");
    }
    disk
}

/// A ledger's files, damaged as the script says, with their checksums put right or not: opening
/// says that they are damaged, or gives a state that the ledger was in; whatever is read then is
/// what was written, or an error, or `verify` says that checksums were put right over something
/// else; and what was mended stays mended.
pub fn store(data: &[u8]) {
    let mut script = Script::new(data);
    let (mut files, sealed) = (IMAGE.files.clone(), script.flag());
    let read_only = script.byte() % 8 == 0;
    while !script.is_over() && !files.is_empty() {
        damage(&mut script, &mut files);
    }
    if sealed {
        files.iter_mut().for_each(|(name, bytes)| seal(name, bytes));
    }
    let disk = disk_of(&files);
    let Ok(ledger) = open(&disk, read_only) else { return };
    let blocks = check_state(ledger.state());
    let sound = ledger.verify(|_, _| {}).is_ok();
    // A checksum finds what decays, not what somebody has put right: that is for `verify`.
    check_reads(&ledger, blocks, sound || !sealed);
    drop(ledger);
    if !read_only {
        reopened(&disk, blocks, sound);
    }
}

/// The state is one that the ledger was in; returns how many blocks it has.
fn check_state(state: &State) -> u64 {
    let blocks = state.round().height.0;
    let place = usize::try_from(blocks).expect("a few blocks");
    assert_eq!(IMAGE.tips.get(place), Some(&state.tip().hash));
    assert_eq!(IMAGE.commitments[place], state.commitment());
    assert!(state.supply_holds());
    blocks
}

/// Reads everything; what is found has to be what was written if it `is_exact`.
fn check_reads(ledger: &Ledger, blocks: u64, is_exact: bool) {
    for height in 0..=BLOCKS {
        if let Ok(found) = ledger.block_bytes(Height(height)) {
            let expected = IMAGE.blocks.get(height as usize).filter(|_| height < blocks);
            let is_right = found.is_none() || found.as_ref() == expected;
            assert!(is_right || !is_exact, "block {height}");
        }
        drop(ledger.header(Height(height)));
    }
    drop((ledger.blocks(Height(0), usize::MAX), ledger.snapshot()));
    drop(ledger.height_of(&IMAGE.tips[1]));
    for encoded in &IMAGE.transactions {
        let id = encoded.id(&chain().hash());
        if let Ok(Some(found)) = ledger.transaction(&id) {
            // An index that lies may name another transaction; it names no bytes that are none.
            let is_right = IMAGE.transactions.contains(&Encoded::from(&found.transaction));
            assert!(is_right || !is_exact, "transaction {id}");
        }
        drop(ledger.inclusion(&id));
    }
    for of in [&ALICE, &BOB, &CAROL, &MINER].map(|key| address(key)) {
        drop(ledger.history(&of, None, 100));
    }
}

/// Opening again finds the same blocks and nothing to mend, unless an index lies.
fn reopened(disk: &Memory, blocks: u64, sound: bool) {
    let ledger = open(disk, false).expect("it was open before");
    assert_eq!(check_state(ledger.state()), blocks);
    let Recovery { torn, .. } = ledger.recovery();
    assert_eq!(*torn, None);
    if sound {
        ledger.verify(|_, _| {}).expect("it was sound before");
    }
}

fn damage(script: &mut Script<'_>, files: &mut Files) {
    let index = script.below(files.len());
    let (_, bytes) = &mut files[index];
    let at = script.place(bytes.len());
    match script.byte() % 10 {
        0..4 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 8)),
        4 => overwrite(bytes, at, &script.number().to_le_bytes()),
        5 => overwrite(bytes, at, &u64::to_be_bytes(script.byte().into())),
        6 => bytes.truncate(at),
        7 => bytes.extend(script.take(64)),
        8 => drop(files.remove(index)),
        _ => {
            let other = script.pick(&IMAGE.files).1.clone();
            let from = script.place(other.len());
            overwrite(bytes, at, &other[from..other.len().min(from + 512)]);
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(rest) = bytes.get_mut(at..) {
        let len = rest.len().min(with.len());
        rest[..len].copy_from_slice(&with[..len]);
    }
}

/// Puts right the checksums of a file of the ledger, as docs/storage.md describes them.
fn seal(name: &str, bytes: &mut [u8]) {
    match name {
        "blocks.log" => seal_log(bytes),
        "blocks.synced" => seal_end(bytes, 16),
        "index.manifest" => seal_end(bytes, bytes.len().saturating_sub(4)),
        _ if name.ends_with(".run") => seal_run(bytes),
        _ => {}
    }
}

/// Writes the sum of the first `len` bytes behind them.
fn seal_end(bytes: &mut [u8], len: usize) {
    if let Some((body, rest)) = bytes.split_at_mut_checked(len) {
        overwrite(rest, 0, &crc32c::crc32c(body).to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

fn seal_log(bytes: &mut [u8]) {
    let Some(genesis) = u32_at(bytes, 12) else { return };
    let Some(body) = bytes.get(20..20_usize.saturating_add(genesis)) else { return };
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), body);
    overwrite(bytes, 16, &sum.to_le_bytes());
    let mut at = 20 + genesis;
    while let Some(end) = seal_record(bytes, at) {
        at = end;
    }
}

/// Seals the record at `at`; returns its end.
fn seal_record(bytes: &mut [u8], at: usize) -> Option<usize> {
    const CHUNK: usize = 16 << 10;
    let len = u32_at(bytes, at)?;
    let sums_len = 4 * len.div_ceil(CHUNK);
    let end = at.checked_add(16)?.checked_add(sums_len)?.checked_add(len)?;
    let body = bytes.get(end - len..end).filter(|_| len > 0)?;
    let sums: Vec<u8> = body.chunks(CHUNK).flat_map(|c| crc32c::crc32c(c).to_le_bytes()).collect();
    overwrite(bytes, at + 16, &sums);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 12]), &sums);
    overwrite(bytes, at + 12, &sum.to_le_bytes());
    Some(end)
}

fn seal_run(bytes: &mut [u8]) {
    const PAGE: usize = 16 << 10;
    const FOOT: usize = 36;
    let Some(foot) = bytes.len().checked_sub(FOOT) else { return };
    let pages = foot / (PAGE + 8);
    let id = bytes[foot + 16..foot + 24].to_vec();
    for (number, page) in (0_u64..).zip(bytes.chunks_exact_mut(PAGE).take(pages)) {
        let place = crc32c::crc32c(&[&id[..], &number.to_le_bytes()].concat());
        let sum = crc32c::crc32c_append(place, &page[..PAGE - 4]);
        overwrite(page, PAGE - 4, &sum.to_le_bytes());
    }
    let fences = crc32c::crc32c(&bytes[pages * PAGE..foot]);
    overwrite(bytes, foot + 12, &fences.to_le_bytes());
    seal_end(&mut bytes[foot..], FOOT - 4);
}

/// Segments of a pool's journal, from which a transaction is read if and only if its record and all
/// before it are whole; what is added then is read as well.
pub fn journal(data: &[u8]) {
    let mut script = Script::new(data);
    let mut segments: Files = Vec::new();
    while !script.is_over() && segments.len() < 4 {
        segments.push((format!("{:010}.segment", segments.len()), segment(&mut script)));
    }
    let disk = disk_of(&segments);
    let mut journal = Journal::open(Arc::new(disk.clone())).expect("memory does not fail");
    let found = read_journal(&journal, journal.unread() + 1);
    let expected: Vec<Encoded> = segments.iter().flat_map(|(_, bytes)| records(bytes)).collect();
    assert_eq!(found, expected);
    let new = checked(&pay(&ALICE, 77, address(&BOB), 1));
    journal.append(&[Arc::clone(&new)]).expect("memory does not fail");
    drop(journal);
    let again = Journal::open(Arc::new(disk)).expect("memory does not fail");
    let all = read_journal(&again, again.unread() + 1);
    assert_eq!(all, [expected, vec![new.encoded().clone()]].concat());
}

fn read_journal(journal: &Journal, segments: usize) -> Vec<Encoded> {
    let read = |index| journal.read(index).expect("memory does not fail");
    (0..segments).flat_map(read).collect()
}

fn checked(transaction: &Transaction) -> Arc<CheckedTransaction> {
    Arc::new(transaction.check(&chain().hash()).expect("it is signed"))
}

/// Transactions that are signed once for all runs.
static SIGNED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let amount = Amount::from_units(1);
    let sign = |n| draft(n, address(&CAROL), amount, amount).sign(&chain().hash(), &ALICE);
    (0..3).map(|n| encode(&sign(n))).collect()
});

/// Records with right sums or wrong ones, cut or not, and other bytes among them.
fn segment(script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..script.below(6) {
        let mut body = script.pick(&SIGNED).clone();
        match script.byte() % 8 {
            0 => {
                let at = script.place(body.len());
                overwrite(&mut body, at, &[script.byte()]);
            }
            1 => {
                let len = script.below(64);
                body = script.take(len).to_vec();
            }
            2 => body.truncate(script.place(body.len())),
            _ => {}
        }
        let mut sum = crc32c::crc32c(&body).to_le_bytes();
        sum[0] ^= u8::from(script.byte() % 8 == 0);
        let len = body.len() as u32;
        let len = if script.byte() % 8 == 0 { script.number() as u32 } else { len };
        bytes.extend([len.to_le_bytes(), sum].concat());
        bytes.extend(body);
    }
    if script.byte() % 4 == 0 {
        bytes.truncate(script.place(bytes.len()));
    }
    bytes
}

/// The whole records at the front of a segment, read as its format is described.
fn records(bytes: &[u8]) -> Vec<Encoded> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let (Some(len), Some(sum)) = (u32_at(bytes, at), u32_at(bytes, at + 4)) {
        let Some(body) = bytes.get(at + 8..at + 8 + len) else { break };
        let Ok(transaction) = dsc_lib::codec::decode(body) else { break };
        if crc32c::crc32c(body) as usize != sum {
            break;
        }
        found.push(transaction);
        at += 8 + len;
    }
    found
}

/// Two blocks that a metronome signed at one height, and one more of the next.
static BLOCKS_SIGNED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let first = State::genesis(chain());
    let block = next_block(&first, vec![], vec![]);
    let mut other = unchecked(&block);
    other.header.time = Millis(other.header.time.0 + 1);
    other.header = other.header.sign(&METRONOME);
    let mut second = first;
    second.apply(&block).expect("it was drafted on this state");
    [block.to_bytes(), encode(&other), next_block(&second, vec![], vec![]).to_bytes()]
});

/// The files of a metronome's record, named by the library itself.
static SLOTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let disk = Memory::default();
    let key = address(&METRONOME);
    let signed = LastSigned::open(disk.clone(), &chain(), &key).expect("memory does not fail");
    for block in [&BLOCKS_SIGNED[0], &BLOCKS_SIGNED[2]] {
        let (header, _) = decode_first::<Header>(block).expect("a block begins with its header");
        let (height, hash, parent) = (header.height, header.hash(), header.parent);
        let block = SignedBlock { height, hash, parent, bytes: Arc::new(block.clone()) };
        signed.keep(block).expect("memory does not fail");
    }
    disk.list().expect("memory does not fail")
});

/// What a metronome signed last and what a ledger keeps as evidence, from any bytes under right
/// sums: the block read is one that a slot holds, and nobody is accused falsely.
pub fn signed(data: &[u8]) {
    let mut script = Script::new(data);
    let slots: Files = SLOTS.iter().map(|name| (name.clone(), slot(&mut script))).collect();
    let key = address(&METRONOME);
    if let Ok(signed) = LastSigned::open(disk_of(&slots), &chain(), &key) {
        let last = signed.last().map(|block| block.bytes.to_vec());
        assert!(last.is_none_or(|bytes| slots.iter().any(|(_, slot)| slot.ends_with(&bytes))));
    }
    let evidence = sealed(*b"DSCEQUI\x01", script.take(data.len()));
    let disk = disk_of(&vec![("equivocations".to_owned(), evidence)]);
    if let Ok(evidence) = Evidence::open(disk, &chain()) {
        let all: Vec<Equivocation> = evidence.all();
        assert_eq!(all.len(), evidence.count());
        assert!(all.iter().all(|found| found.verify(&chain()).is_ok()));
    }
}

fn slot(script: &mut Script<'_>) -> Vec<u8> {
    let mut block = script.pick(&*BLOCKS_SIGNED).clone();
    for _ in 0..script.below(3) {
        let at = script.place(block.len());
        overwrite(&mut block, at, &[script.byte()]);
    }
    let mut bytes = sealed(*b"DSCSIGN\x01", &block);
    if script.byte() % 8 == 0 {
        bytes.truncate(script.place(bytes.len()));
    }
    bytes
}

/// Magic, checksum and body.
fn sealed(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    [&magic[..], &crc32c::crc32c(body).to_le_bytes(), body].concat()
}
