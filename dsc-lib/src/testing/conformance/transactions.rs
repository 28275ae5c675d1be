//! The transaction log.

use super::{LONG, Outcome, Subject, bytes_of, compete, list, same, wakes};
use crate::{
    cluster::{AppendError, Entry, Position, ReadError, TransactionLog},
    hash::Digest,
};

list! { "transactions":
    begins_with_nothing,
    keeps_batches_in_one_order,
    takes_a_batch_once,
    takes_batches_of_several,
    skips_what_was_removed,
    goes_on_after_all_was_removed,
    is_full_at_its_bound,
    reads_within_bounds,
    wakes_whoever_waits,
    is_the_same_after_a_restart,
}

const ALL: usize = usize::MAX;

fn id_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

fn append(log: &dyn TransactionLog, bytes: &[u8]) -> Result<Entry, AppendError> {
    let id = id_of(bytes);
    let position = log.append(&id, bytes)?;
    Ok(Entry { position, id, bytes: bytes.to_vec() })
}

/// Appends batches of these sizes.
fn fill(log: &dyn TransactionLog, sizes: &[usize]) -> Result<Vec<Entry>, AppendError> {
    (0..).zip(sizes).map(|(number, len)| append(log, &bytes_of(number, *len))).collect()
}

/// All entries, read a few at a time.
fn read_all(log: &dyn TransactionLog, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
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

fn begins_with_nothing(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().transactions;
    same!(log.read(Position::START, ALL)?, [], "an empty log");
    same!(log.read(Position(7), ALL)?, [], "an empty log after 7");
    same!(log.remove(Position(7), &[Position(9)]), Ok(()), "removing what never was there");
    Ok(())
}

fn keeps_batches_in_one_order(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().transactions, subject.handle().transactions);
    let mut entries = Vec::new();
    for number in 0..10 {
        let writer = if number % 2 == 0 { &one } else { &other };
        entries.push(append(&**writer, &bytes_of(number, 500))?);
    }
    let rise = entries.windows(2).all(|two| two[0].position < two[1].position);
    same!(
        rise,
        true,
        "positions rise: {:?}",
        entries.iter().map(|e| e.position).collect::<Vec<_>>()
    );
    same!(read_all(&*one, ALL)?, entries, "read from one handle");
    same!(read_all(&*other, ALL)?, entries, "read from the other");
    let after = entries[4].position;
    same!(one.read(after, ALL)?, entries[5..], "read after {after}");
    Ok(())
}

fn takes_a_batch_once(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().transactions, subject.handle().transactions);
    let entries = fill(&*one, &[100, 200, 300])?;
    for entry in &entries {
        let again = append(&*other, &entry.bytes)?.position;
        same!(again, entry.position, "where the same batch is, told again");
    }
    same!(read_all(&*one, ALL)?, entries, "what is there");
    Ok(())
}

fn takes_batches_of_several(subject: &dyn Subject) -> Outcome {
    let bytes = |round: u64, rival: usize| bytes_of(round * 100 + rival as u64, 200);
    let told = compete(subject, |cluster, round, rival| {
        append(&*cluster.transactions, &bytes(round, rival))
    });
    let mut told = told.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
    told.sort_unstable_by_key(|entry| entry.position);
    same!(read_all(&*subject.handle().transactions, ALL)?, told, "what all were told");
    Ok(())
}

fn skips_what_was_removed(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().transactions, subject.handle().transactions);
    let entries = fill(&*one, &[300; 10])?;
    let at = |index: usize| entries[index].position;
    let without = |gone: &[usize]| -> Vec<Entry> {
        let kept = entries.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        kept.map(|(_, entry)| entry.clone()).collect()
    };
    one.remove(at(2), &[at(5), at(7)])?;
    let left = without(&[0, 1, 2, 5, 7]);
    same!(read_all(&*one, ALL)?, left, "after removing the first 3, the 6th and the 8th");
    same!(read_all(&*other, 1)?, left, "the same from the other handle");
    same!(other.read(at(5), ALL)?, left[2..], "after a batch that is gone");
    other.remove(at(2), &[at(5)])?;
    same!(read_all(&*one, ALL)?, left, "after removing some again");
    one.remove(Position::START, &[at(9)])?;
    same!(read_all(&*one, ALL)?, without(&[0, 1, 2, 5, 7, 9]), "after removing the last one");
    Ok(())
}

fn goes_on_after_all_was_removed(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().transactions;
    let last = fill(&*log, &[100; 3])?[2].position;
    log.remove(last, &[])?;
    same!(log.read(Position::START, ALL)?, [], "after removing all");
    let log = subject.reopened().transactions;
    let next = append(&*log, b"next")?;
    same!(next.position > last, true, "a batch after {last} is at {}", next.position);
    same!(log.read(last, ALL)?, [next], "read after {last}");
    Ok(())
}

fn is_full_at_its_bound(subject: &dyn Subject) -> Outcome {
    const LEN: usize = 64 << 10;
    let log = subject.handle().transactions;
    let most = subject.transactions_bytes() / LEN as u64;
    let mut entries = Vec::new();
    let refused = loop {
        match append(&*log, &bytes_of(entries.len() as u64, LEN)) {
            Ok(entry) => entries.push(entry),
            Err(refused) => break refused,
        }
        same!(entries.len() as u64 <= most, true, "batches within its bound: {}", entries.len());
    };
    same!(refused, AppendError::Full, "one batch too many, after {}", entries.len());
    same!(read_all(&*log, 1 << 20)?, entries, "what a full log has");
    let last = entries[entries.len() - 1].position;
    log.remove(last, &[])?;
    let next = append(&*log, &bytes_of(u64::MAX, LEN))?;
    same!(read_all(&*log, ALL)?, [next], "what was emptied and takes again");
    Ok(())
}

fn reads_within_bounds(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().transactions;
    let entries = fill(&*log, &[1000; 6])?;
    for (bytes_max, most) in [(0, 1), (1000, 1), (2500, 2), (6000, 6)] {
        let got = log.read(Position::START, bytes_max)?;
        let is_some = (1..=most).contains(&got.len());
        same!(is_some, true, "{bytes_max} bytes: from 1 to {most} batches, got {}", got.len());
        same!(read_all(&*log, bytes_max)?, entries, "{bytes_max} bytes at a time");
    }
    Ok(())
}

fn wakes_whoever_waits(subject: &dyn Subject) -> Outcome {
    let (waiter, writer) = (subject.handle().transactions, subject.handle().transactions);
    let last = append(&*writer, b"first")?.position;
    let wait = move || {
        while waiter.read(last, ALL).is_ok_and(|got| got.is_empty()) {
            waiter.wait(last, LONG);
        }
    };
    wakes(wait, || Ok(append(&*writer, b"second").map(drop)?))
}

fn is_the_same_after_a_restart(subject: &dyn Subject) -> Outcome {
    let log = subject.handle().transactions;
    let entries = fill(&*log, &[0, 1, 256 << 10, 1000, 100])?;
    log.remove(Position::START, &[entries[3].position])?;
    let mut left = entries;
    left.remove(3);
    let log = subject.reopened().transactions;
    same!(read_all(&*log, ALL)?, left, "after a restart");
    left.push(append(&*log, b"more")?);
    same!(read_all(&*log, ALL)?, left, "after one more");
    same!(log.read(Position(1 << 40), ALL)?, [], "far after the end");
    Ok(())
}
