//! The engine on disks that crash, fail and are full: what was acknowledged is there, and an answer
//! says no more than what is known.

use std::{io, sync::Arc};

use dsc_lib::{
    cluster::{
        AppendError, BlobError, Blobs, BlockLog, Board, Bounds, Cluster, Embedded, Entry, Note,
        Position, PutError, Revision, Shelf, TransactionLog,
    },
    disk::{Disk, Memory},
    hash::Digest,
    testing::disk::{Dice, Keep, NotingDisk, bytes_of},
};

use crate::seeds;

const ALL: usize = usize::MAX;
const FILE: &str = "engine.log";

/// Something to do.
#[derive(Clone, Debug)]
enum Work {
    Block(Vec<u8>),
    Batch(Vec<u8>),
    Remove(Position, Vec<Position>),
    Note(Shelf, String, Vec<u8>),
    Blob(String, Vec<u8>),
    RemoveBlob(String),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Done,
    NotDone,
    Unknown,
}

impl Work {
    fn draw(dice: &mut Dice) -> Self {
        let bytes = vec![u8::try_from(dice.below(256)).unwrap(); [0, 7, 300, 9000][dice.below(4)]];
        let place = |dice: &mut Dice| Position(dice.below(12) as u64);
        let name = format!("name-{}", dice.below(3));
        match dice.below(8) {
            0 | 1 => Self::Block(bytes),
            2 | 3 => Self::Batch([&dice.roll().to_le_bytes()[..], &bytes].concat()),
            4 => Self::Remove(place(dice), vec![place(dice), place(dice)]),
            5 => Self::Note(Shelf::ALL[dice.below(2)], format!("k{}", dice.below(5)), bytes),
            6 => Self::Blob(name, bytes),
            _ => Self::RemoveBlob(name),
        }
    }

    fn do_to(&self, cluster: &Cluster) -> Told {
        let log = &cluster.blocks;
        match self {
            Self::Block(bytes) => {
                let end = log.read(Position::START, ALL).map(|got| Position(got.len() as u64));
                end.map_or(Told::NotDone, |end| told(&log.append(end, &Digest::ZERO, bytes)))
            }
            Self::Batch(bytes) => told(&cluster.transactions.append(&id_of(bytes), bytes)),
            // Of these it cannot be said that they are in doubt.
            Self::Remove(to, also) => unsure(&cluster.transactions.remove(*to, also)),
            Self::Note(on, key, value) => match cluster.board.put(*on, key, value, None) {
                Ok(_) => Told::Done,
                Err(PutError::Unknown { .. }) => Told::Unknown,
                Err(_) => Told::NotDone,
            },
            Self::Blob(name, bytes) => unsure(&cluster.blobs.put(name, bytes)),
            Self::RemoveBlob(name) => unsure(&cluster.blobs.remove(name)),
        }
    }
}

/// What a batch is called: those that are drawn begin with numbers of their own. The short ones are
/// all called the same, and so only the first of them is taken.
fn id_of(bytes: &[u8]) -> Digest {
    Digest(bytes.first_chunk().copied().unwrap_or_default())
}

fn told(result: &Result<Position, AppendError>) -> Told {
    match result {
        Ok(_) => Told::Done,
        Err(AppendError::Unknown { .. }) => Told::Unknown,
        Err(_) => Told::NotDone,
    }
}

fn unsure<E>(result: &Result<(), E>) -> Told {
    if result.is_ok() { Told::Done } else { Told::Unknown }
}

/// What tells bytes from others: their first ones and how many there are.
type Outline = (Vec<u8>, usize);

fn outline(bytes: &[u8]) -> Outline {
    (bytes.iter().copied().take(9).collect(), bytes.len())
}

/// All that an engine holds.
#[derive(Debug, PartialEq, Eq)]
struct Dump {
    blocks: Vec<(u64, Outline)>,
    batches: Vec<(u64, Outline)>,
    notes: Vec<(String, u64, Outline)>,
    blobs: Vec<(String, Outline)>,
}

fn entries(entries: Vec<Entry>) -> Vec<(u64, Outline)> {
    entries.into_iter().map(|entry| (entry.position.0, outline(&entry.bytes))).collect()
}

fn dump(cluster: &Cluster) -> Dump {
    let notes = Shelf::ALL.map(|on| cluster.board.list(on, "").unwrap());
    let note = |note: Note| (note.key, note.revision.0, outline(&note.value));
    let blob = |name: String| {
        let bytes = cluster.blobs.get(&name, ALL).unwrap().unwrap();
        (name, outline(&bytes))
    };
    Dump {
        blocks: entries(cluster.blocks.read(Position::START, ALL).unwrap()),
        batches: entries(cluster.transactions.read(Position::START, ALL).unwrap()),
        notes: notes.concat().into_iter().map(note).collect(),
        blobs: cluster.blobs.list().unwrap().into_iter().map(blob).collect(),
    }
}

/// Which positions and revisions come next.
fn go_on(cluster: &Cluster) -> (Position, [Revision; 2]) {
    let batch = cluster.transactions.append(&Digest([255; 32]), b"next").unwrap();
    (batch, Shelf::ALL.map(|on| cluster.board.put(on, "next", b"", None).unwrap()))
}

/// Few proofs, so that some expire.
const BOUNDS: Bounds = Bounds { entry_bytes: 1 << 20, transactions_bytes: 1 << 30, proofs: 3 };

/// An engine to which all this was done.
fn model(done: &[Work]) -> Cluster {
    let cluster = Embedded::in_memory_with(BOUNDS).cluster();
    assert!(done.iter().all(|work| work.do_to(&cluster) == Told::Done));
    cluster
}

fn open(disk: &NotingDisk) -> io::Result<Arc<Embedded>> {
    Embedded::open_with(Arc::new(disk.clone()), BOUNDS)
}

/// Makes the disk fail somehow, or not.
fn injure(disk: &NotingDisk, dice: &mut Dice) {
    let (after, count) = (dice.below(12), [1, 2, ALL >> 1][dice.below(3)]);
    match dice.below(5) {
        0 => {}
        1 | 2 => disk.fail(after, count),
        3 => disk.fill(after, count),
        _ => disk.kill(after),
    }
}

/// One process: what it was told is done goes to `done`. Gives what was in doubt when it ended.
fn live(
    engine: &Arc<Embedded>,
    disk: &NotingDisk,
    dice: &mut Dice,
    done: &mut Vec<Work>,
) -> Option<Work> {
    let cluster = engine.cluster();
    let mut doubt = None;
    injure(disk, dice);
    for _ in 0..dice.below(25) {
        let is_sound = cluster.blobs.list().is_ok();
        if is_sound && let Some(work) = doubt.take() {
            // It is told now whether it was done, and stays as it is told.
            if dump(&cluster) != dump(&model(done)) {
                done.push(work);
            }
        }
        if is_sound {
            assert_eq!(dump(&cluster), dump(&model(done)));
        }
        let work = Work::draw(dice);
        match work.do_to(&cluster) {
            Told::Done => done.push(work),
            Told::Unknown if is_sound => doubt = Some(work),
            // If it is unknown, then because of the one in doubt.
            Told::NotDone | Told::Unknown => {}
        }
        if dice.below(6) == 0 {
            disk.mend();
        }
    }
    doubt
}

fn case(seed: u64) {
    let (mut dice, mut disk) = (Dice(seed), NotingDisk::default());
    let mut done = Vec::new();
    for _ in 0..4 {
        injure(&disk, &mut dice);
        let opened = open(&disk);
        disk.mend();
        let engine = opened.or_else(|_| open(&disk)).unwrap();
        let doubt = live(&engine, &disk, &mut dice, &mut done);
        let keep = [Keep::Nothing, Keep::Everything, Keep::Some(dice.roll())][dice.below(3)];
        disk = NotingDisk::of(&disk.crash(disk.operations(), keep));
        let found = dump(&open(&disk).unwrap().cluster());
        if let Some(work) = doubt.filter(|_| found != dump(&model(&done))) {
            done.push(work);
        }
        assert_eq!(found, dump(&model(&done)));
    }
    let left = open(&disk).unwrap();
    assert_eq!(go_on(&left.cluster()), go_on(&model(&done)));
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_else_is_there() {
    for seed in seeds(600) {
        let result = std::panic::catch_unwind(|| case(seed));
        assert!(result.is_ok(), "replay with DSC_CLUSTER_SEEDS={seed}..{}", seed + 1);
    }
}

/// A disk with an engine of three blocks, and where each record ends.
fn three_blocks() -> (Memory, Vec<usize>) {
    let disk = Memory::default();
    let engine = Embedded::open(Arc::new(disk.clone())).unwrap();
    let end = |_: &Embedded| bytes_of(&disk, FILE).len();
    let mut ends = vec![end(&engine)];
    for number in 0..3 {
        BlockLog::append(&*engine, Position(number), &Digest::ZERO, &[7; 5000]).unwrap();
        ends.push(end(&engine));
    }
    (disk, ends)
}

fn count(disk: &Memory) -> io::Result<usize> {
    let engine = Embedded::open(Arc::new(disk.clone()))?;
    Ok(BlockLog::read(&*engine, Position::START, ALL).unwrap().len())
}

#[test]
fn a_torn_end_is_left_out() {
    let (disk, ends) = three_blocks();
    let whole = bytes_of(&disk, FILE);
    for len in [ends[2], ends[2] + 1, ends[2] + 23, ends[2] + 24, ends[2] + 4000, ends[3] - 1] {
        let file = disk.create(FILE).unwrap();
        file.write_at(&whole[..len], 0).unwrap();
        assert_eq!(count(&disk).unwrap(), 2, "{len} of {} bytes", ends[3]);
        assert_eq!(count(&disk).unwrap(), 2);
    }
}

#[test]
fn damage_before_the_end_is_an_error() {
    let (disk, ends) = three_blocks();
    for (record, at) in [(0, 3), (ends[0], ends[0] + 9), (ends[1], ends[1] + 3000)] {
        let file = disk.open(FILE).unwrap();
        let byte = bytes_of(&disk, FILE)[at];
        file.write_at(&[byte ^ 1], at as u64).unwrap();
        let error = count(&disk).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = format!("the engine's file is damaged at byte {record}: records follow");
        assert_eq!(error.to_string(), text);
        file.write_at(&[byte], at as u64).unwrap();
    }
    assert_eq!(count(&disk).unwrap(), 3);
}

#[test]
fn what_a_disk_refuses_was_not_done() {
    let disk = NotingDisk::default();
    let engine = open(&disk).unwrap();
    let append = |after| BlockLog::append(&*engine, Position(after), &Digest::ZERO, b"block");
    disk.fail(0, 1);
    let refused = append(0).unwrap_err();
    let text = "the engine cannot be reached: the disk was told to fail";
    assert_eq!(refused.to_string(), text);
    assert_eq!(BlockLog::read(&*engine, Position::START, ALL), Ok(vec![]));
    assert_eq!(append(0), Ok(Position(1)));

    // Nobody can say whether it was done until the disk works again.
    disk.fail(0, usize::MAX >> 1);
    assert!(matches!(append(1), Err(AppendError::Unknown { .. })));
    assert!(BlockLog::read(&*engine, Position(1), ALL).is_err());
    assert!(matches!(append(1), Err(AppendError::Unavailable(_))));
    assert!(Board::get(&*engine, Shelf::Control, "a").is_err());
    disk.mend();
    assert_eq!(BlockLog::read(&*engine, Position(1), ALL), Ok(vec![]));
    assert_eq!(append(1), Ok(Position(2)));
}

#[test]
fn what_is_too_large_is_refused() {
    let engine = Embedded::in_memory_with(Bounds { entry_bytes: 10, ..Bounds::default() });
    let large = AppendError::TooLarge { got: 11, max: 10 };
    assert_eq!(large.to_string(), "11 bytes are more than the log takes: 10");
    let appended = BlockLog::append(&*engine, Position(0), &Digest::ZERO, &[0; 11]);
    assert_eq!(appended, Err(large.clone()));
    assert_eq!(TransactionLog::append(&*engine, &Digest::ZERO, &[0; 11]), Err(large));
}

#[test]
fn the_oldest_proofs_go() {
    let engine = Embedded::in_memory_with(BOUNDS);
    for key in ["a", "b", "c", "a", "d"] {
        for on in Shelf::ALL {
            Board::put(&*engine, on, key, b"", None).unwrap();
        }
    }
    let keys = |on| {
        let notes = Board::list(&*engine, on, "").unwrap();
        notes.into_iter().map(|note| note.key).collect::<String>()
    };
    assert_eq!((keys(Shelf::Proofs), keys(Shelf::Control)), ("acd".to_owned(), "abcd".to_owned()));
}

/// Opening it again gives back the room of what was replaced.
#[test]
fn opening_it_again_makes_it_small() {
    let disk = Memory::default();
    let engine = Embedded::open(Arc::new(disk.clone())).unwrap();
    for _ in 0..10 {
        Blobs::put(&*engine, "state", &[1; 10_000]).unwrap();
    }
    let len = || bytes_of(&disk, FILE).len();
    assert!(len() > 100_000);
    let engine = Embedded::open(Arc::new(disk.clone())).unwrap();
    assert!(len() < 11_000);
    assert_eq!(
        Blobs::get(&*engine, "state", 9999),
        Err(BlobError::TooLarge { got: 10_000, max: 9999 })
    );
}
