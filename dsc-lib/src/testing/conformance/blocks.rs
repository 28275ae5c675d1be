//! The block log.

use super::{LONG, Outcome, ROUNDS, Subject, bytes_of, compete, list, same, shape, wakes};
use crate::{
    cluster::{AppendError, BlockLog, Cluster, Entry, Position, ReadError},
    hash::Digest,
};

list! { "blocks":
    begins_with_nothing,
    takes_an_entry_after_the_last_alone,
    takes_the_same_again_at_another_place_alone,
    gives_back_what_it_took,
    reads_without_a_gap_within_bounds,
    lacks_what_is_after_the_end,
    lets_one_of_several_append,
    shows_at_once_what_was_acknowledged,
    wakes_whoever_waits,
    has_nobody_wait_for_what_is_there,
    goes_on_after_a_restart,
}

const ALL: usize = usize::MAX;

/// What is appended as the `number`th.
fn sample(number: u64, len: usize) -> Entry {
    let id = Digest([u8::try_from(number % 251).unwrap(); 32]);
    Entry { position: Position(number), id, bytes: bytes_of(number, len) }
}

fn append(log: &dyn BlockLog, entry: &Entry) -> Result<Position, AppendError> {
    log.append(Position(entry.position.0 - 1), &entry.id, &entry.bytes)
}

/// Appends entries of these sizes to an empty log.
fn fill(cluster: &Cluster, sizes: &[usize]) -> Result<Vec<Entry>, Box<dyn std::error::Error>> {
    let mut entries = Vec::new();
    for (number, len) in (1..).zip(sizes) {
        let entry = sample(number, *len);
        let position = append(&*cluster.blocks, &entry)
            .map_err(|error| format!("appending {len} bytes after {}: {error}", number - 1))?;
        if position != entry.position {
            let wanted = entry.position;
            return Err(format!("appended at {position}, expected {wanted}").into());
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// All entries, read a few at a time.
fn read_all(log: &dyn BlockLog, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(Position::START, |last| last.position);
        let more = log.read(after, bytes_max)?;
        if more.is_empty() {
            return Ok(entries);
        }
        entries.extend(more);
    }
}

/// What can be told of entries without their bytes.
fn outline(entries: &[Entry]) -> Vec<(Position, Digest, Digest)> {
    let sum = |bytes: &[u8]| Digest(*blake3::hash(bytes).as_bytes());
    entries.iter().map(|entry| (entry.position, entry.id, sum(&entry.bytes))).collect()
}

fn begins_with_nothing(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().blocks;
    same!(log.read(Position::START, ALL)?, [], "an empty log");
    same!(log.read(Position::START, 0)?, [], "an empty log, read for no bytes");
    Ok(())
}

fn takes_an_entry_after_the_last_alone(subject: &dyn Subject) -> Outcome {
    let cluster = subject.handle();
    let refused = |after| Err(AppendError::Conflict { after: Position(after) });
    let other = sample(99, 100);
    let put = |after| cluster.blocks.append(Position(after), &other.id, &other.bytes);
    same!(put(1), refused(1), "appending after 1 to an empty log");
    let entries = fill(&cluster, &[10, 20, 30])?;
    for after in [0, 1, 2, 4, u64::MAX] {
        same!(put(after), refused(after), "appending after {after} to a log of 3");
    }
    same!(read_all(&*cluster.blocks, ALL)?, entries, "what is there after refusals");
    Ok(())
}

fn takes_the_same_again_at_another_place_alone(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().blocks;
    let first = sample(1, 1000);
    same!(append(&*log, &first), Ok(Position(1)), "the first one");
    let refused = Err(AppendError::Conflict { after: Position::START });
    same!(append(&*log, &first), refused, "the same again at the same place");
    let again = log.append(Position(1), &first.id, &first.bytes);
    same!(again, Ok(Position(2)), "the same again after itself: ids do not count");
    let entries = vec![first.clone(), Entry { position: Position(2), ..first }];
    same!(outline(&read_all(&*log, ALL)?), outline(&entries), "what is there");
    Ok(())
}

fn gives_back_what_it_took(subject: &dyn Subject) -> Outcome {
    let sizes = [0, 1, 600, 65_536, 12 << 20, 524_288, 524_289, 0, 1_500_000];
    let entries = outline(&fill(&subject.handle(), &sizes)?);
    let other = subject.handle().blocks;
    same!(outline(&read_all(&*other, ALL)?), entries, "read from another handle");
    same!(outline(&read_all(&*other, 1 << 20)?), entries, "read a MiB at a time");
    let reopened = subject.reopened().blocks;
    same!(outline(&read_all(&*reopened, ALL)?), entries, "read after a restart");
    Ok(())
}

fn reads_without_a_gap_within_bounds(subject: &dyn Subject) -> Outcome {
    let cluster = subject.handle();
    let entries = fill(&cluster, &[1000; 10])?;
    for (bytes_max, most) in [(0, 1), (999, 1), (1000, 1), (1999, 1), (2500, 2), (10_000, 10)] {
        for after in 0..=10_usize {
            let got = cluster.blocks.read(Position(after as u64), bytes_max)?;
            let is_some = got.is_empty() == (after == 10) && got.len() <= most;
            let about = format!("{bytes_max} bytes after {after}");
            same!(is_some, true, "{about}: from 1 to {most} entries, got {}", got.len());
            same!(got[..], entries[after..after + got.len()], "{about}");
        }
        same!(read_all(&*cluster.blocks, bytes_max)?, entries, "{bytes_max} bytes at a time");
    }
    Ok(())
}

fn lacks_what_is_after_the_end(subject: &dyn Subject) -> Outcome {
    let cluster = subject.handle();
    let missing = |after| cluster.blocks.read(Position(after), ALL);
    shape!(missing(1), Err(ReadError::Missing { .. }), "reading after 1, of 0");
    fill(&cluster, &[10; 3])?;
    same!(missing(3)?, [], "reading after 3, of 3");
    for after in [4, 5, 1000] {
        shape!(missing(after), Err(ReadError::Missing { .. }), "reading after {after}, of 3");
    }
    Ok(())
}

fn lets_one_of_several_append(subject: &dyn Subject) -> Outcome {
    let entry = |round: u64, rival: usize| sample(1 + round, 100 + rival);
    let rounds =
        compete(subject, |cluster, round, rival| append(&*cluster.blocks, &entry(round, rival)));
    let stored = read_all(&*subject.handle().blocks, ALL)?;
    same!(stored.len() as u64, ROUNDS, "entries after {ROUNDS} rounds");
    for ((round, told), stored) in (0..).zip(rounds).zip(stored) {
        for (rival, told) in told.into_iter().enumerate() {
            let is_there = entry(round, rival) == stored;
            let after = Position(round);
            let wanted =
                if is_there { Ok(after.next()) } else { Err(AppendError::Conflict { after }) };
            same!(told, wanted, "what a rival is told after {after}");
        }
    }
    Ok(())
}

fn shows_at_once_what_was_acknowledged(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().blocks, subject.handle().blocks);
    for number in 1..=20 {
        let (writer, reader) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let entry = sample(number, 500);
        same!(append(&**writer, &entry), Ok(entry.position), "appending in turns");
        let after = Position(number - 1);
        same!(reader.read(after, ALL)?, [entry], "the other handle after {after}");
    }
    Ok(())
}

fn wakes_whoever_waits(subject: &dyn Subject) -> Outcome {
    let (waiter, writer) = (subject.handle().blocks, subject.handle());
    fill(&writer, &[10; 2])?;
    let wait = move || {
        while waiter.read(Position(2), ALL).is_ok_and(|got| got.is_empty()) {
            waiter.wait(Position(2), LONG);
        }
    };
    wakes(wait, || Ok(append(&*writer.blocks, &sample(3, 10)).map(drop)?))
}

fn has_nobody_wait_for_what_is_there(subject: &dyn Subject) -> Outcome {
    let cluster = subject.handle();
    fill(&cluster, &[10; 2])?;
    wakes(move || cluster.blocks.wait(Position(1), LONG), || Ok(()))
}

fn goes_on_after_a_restart(subject: &dyn Subject) -> Outcome {
    let mut entries = Vec::new();
    for number in 1..=5 {
        let log = subject.reopened().blocks;
        same!(read_all(&*log, ALL)?, entries, "after {} restarts", number);
        let early = log.append(Position(number), &Digest::ZERO, b"early");
        shape!(early, Err(AppendError::Conflict { .. }), "appending after {number} too early");
        let entry = sample(number, 2000);
        same!(append(&*log, &entry), Ok(entry.position), "after {number} restarts");
        entries.push(entry);
    }
    Ok(())
}
