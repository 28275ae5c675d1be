//! The board.

use super::{LONG, Outcome, ROUNDS, Subject, compete, list, same, shape, wakes};
use crate::cluster::{
    Board, KEY_BYTES_MAX, NOTE_BYTES_MAX, Note, PutError, Revision, Shelf, Unavailable,
};

list! { "board":
    begins_with_nothing,
    replaces_a_note_as_a_whole,
    compares_the_revision,
    lets_one_of_several_put,
    keeps_shelves_apart,
    lists_by_prefix_in_order,
    takes_notes_up_to_its_bounds,
    refuses_what_is_no_note,
    wakes_whoever_waits,
    is_the_same_after_a_restart,
}

/// How often a list is asked for that may stay behind.
const TRIES: usize = 60;

fn values(notes: &[Note]) -> Vec<(&str, &[u8])> {
    notes.iter().map(|note| (&note.key[..], &note.value[..])).collect()
}

/// The notes with this prefix, once there are so many.
fn list_of(
    board: &dyn Board,
    on: Shelf,
    prefix: &str,
    count: usize,
) -> Result<Vec<Note>, Unavailable> {
    let mut seen = Revision::NONE;
    for _ in 0..TRIES {
        let notes = board.list(on, prefix)?;
        if notes.len() == count {
            return Ok(notes);
        }
        seen = board.wait(on, seen, std::time::Duration::from_millis(50));
    }
    board.list(on, prefix)
}

fn begins_with_nothing(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    for on in Shelf::ALL {
        same!(board.get(on, "metronome")?, None, "a note on an empty shelf");
        same!(board.list(on, "")?, [], "all of an empty shelf");
    }
    Ok(())
}

fn replaces_a_note_as_a_whole(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().board, subject.handle().board);
    let mut last = Revision::NONE;
    for value in [&b"first"[..], b"", b"the third", b"4"] {
        let revision = one.put(Shelf::Control, "a.b-c_D.7", value, None)?;
        same!(revision > last, true, "{revision:?} is later than {last:?}");
        let note = Note { key: "a.b-c_D.7".to_owned(), revision, value: value.to_vec() };
        same!(other.get(Shelf::Control, "a.b-c_D.7")?, Some(note), "what the other handle sees");
        last = revision;
    }
    Ok(())
}

fn compares_the_revision(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    let put =
        |key: &str, value: &[u8], expected| board.put(Shelf::Control, key, value, Some(expected));
    let conflict = |expected| Err(PutError::Conflict { expected });
    let early = Revision(7);
    same!(put("one", b"x", early), conflict(early), "replacing a note that is not there");
    same!(board.get(Shelf::Control, "one")?, None, "a note that was refused");
    let first = put("one", b"1", Revision::NONE)?;
    same!(put("one", b"x", Revision::NONE), conflict(Revision::NONE), "a note that is there");
    board.put(Shelf::Control, "other", b"", None)?;
    let second = put("one", b"2", first)?;
    same!(put("one", b"x", first), conflict(first), "replacing what was replaced");
    let note = Note { key: "one".to_owned(), revision: second, value: b"2".to_vec() };
    same!(board.get(Shelf::Control, "one")?, Some(note), "the note after refusals");
    Ok(())
}

fn lets_one_of_several_put(subject: &dyn Subject) -> Outcome {
    let rounds = compete(subject, |cluster, round, rival| {
        // The board is told by the round's number which revision all of them saw.
        let key = format!("round.{round}");
        cluster.board.put(
            Shelf::Control,
            &key,
            &[u8::try_from(rival).unwrap()],
            Some(Revision::NONE),
        )
    });
    let board = subject.handle().board;
    for (round, told) in (0..ROUNDS).zip(rounds) {
        let note = board.get(Shelf::Control, &format!("round.{round}"))?;
        let note = note.ok_or("nobody has put a note that was not there")?;
        for (rival, told) in told.into_iter().enumerate() {
            let is_mine = note.value == [u8::try_from(rival)?];
            let conflict = PutError::Conflict { expected: Revision::NONE };
            let wanted = if is_mine { Ok(note.revision) } else { Err(conflict) };
            same!(told, wanted, "what a rival is told in round {round}");
        }
    }
    Ok(())
}

fn keeps_shelves_apart(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    board.put(Shelf::Control, "same", b"control", Some(Revision::NONE))?;
    board.put(Shelf::Proofs, "same", b"proofs", Some(Revision::NONE))?;
    for (on, value) in [(Shelf::Control, &b"control"[..]), (Shelf::Proofs, b"proofs")] {
        let note = board.get(on, "same")?.ok_or("a note is gone")?;
        same!(note.value, value, "a note on {on:?}");
        same!(values(&list_of(&*board, on, "", 1)?), [("same", value)], "all of {on:?}");
    }
    Ok(())
}

fn lists_by_prefix_in_order(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().board, subject.handle().board);
    for key in ["proof.2.b", "proof.10.a", "proof.2.a", "proof", "aproof.2", "proof.20"] {
        one.put(Shelf::Proofs, key, key.as_bytes(), None)?;
    }
    let all = ["aproof.2", "proof", "proof.10.a", "proof.2.a", "proof.2.b", "proof.20"];
    for (prefix, wanted) in [("", &all[..]), ("proof.2.", &all[3..5]), ("proof.2", &all[3..])] {
        let wanted: Vec<_> = wanted.iter().map(|key| (*key, key.as_bytes())).collect();
        let notes = list_of(&*other, Shelf::Proofs, prefix, wanted.len())?;
        same!(values(&notes), wanted, "notes that begin with {prefix:?}");
    }
    same!(other.list(Shelf::Proofs, "replica.")?, [], "notes that are not there");
    let note = other.get(Shelf::Proofs, "proof.2.a")?.ok_or("a note is gone")?;
    let listed = list_of(&*other, Shelf::Proofs, "proof.2.a", 1)?;
    same!(listed, [note], "a note of the list and the note itself");
    Ok(())
}

fn takes_notes_up_to_its_bounds(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    let (key, value) = ("k".repeat(KEY_BYTES_MAX), vec![7; NOTE_BYTES_MAX]);
    board.put(Shelf::Control, &key, &value, None)?;
    let note = board.get(Shelf::Control, &key)?.ok_or("the largest note is gone")?;
    same!((note.key, note.value.len()), (key, value.len()), "the largest note");
    Ok(())
}

fn refuses_what_is_no_note(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for key in ["", ".", ".a", "a.", "a..b", "a b", "a/b", "a*", "a>", "\u{e4}", "a\n", &long] {
        for expected in [None, Some(Revision::NONE)] {
            let refused = board.put(Shelf::Control, key, b"", expected);
            shape!(refused, Err(PutError::Invalid { .. }), "putting {key:?}");
        }
    }
    let large = board.put(Shelf::Control, "large", &vec![0; NOTE_BYTES_MAX + 1], None);
    shape!(large, Err(PutError::Invalid { .. }), "putting a note of one byte too many");
    same!(board.list(Shelf::Control, "")?, [], "the board after refusals");
    Ok(())
}

fn wakes_whoever_waits(subject: &dyn Subject) -> Outcome {
    let (waiter, writer) = (subject.handle().board, subject.handle().board);
    writer.put(Shelf::Proofs, "first", b"", None)?;
    let wait = move || {
        let mut seen = Revision::NONE;
        while waiter.get(Shelf::Proofs, "second").is_ok_and(|got| got.is_none()) {
            seen = waiter.wait(Shelf::Proofs, seen, LONG);
        }
    };
    wakes(wait, || Ok(writer.put(Shelf::Proofs, "second", b"", None).map(drop)?))
}

fn is_the_same_after_a_restart(subject: &dyn Subject) -> Outcome {
    let board = subject.handle().board;
    board.put(Shelf::Control, "metronome", b"a", Some(Revision::NONE))?;
    let old = board.put(Shelf::Control, "metronome", b"b", None)?;
    let last = board.put(Shelf::Control, "replica.1", b"c", None)?;
    let board = subject.reopened().board;
    let notes = list_of(&*board, Shelf::Control, "", 2)?;
    same!(values(&notes), [("metronome", &b"b"[..]), ("replica.1", b"c")], "after a restart");
    same!(notes[0].revision, old, "the revision of a note after a restart");
    let next = board.put(Shelf::Control, "metronome", b"d", Some(old))?;
    same!(next > last, true, "{next:?} is later than {last:?}");
    Ok(())
}
