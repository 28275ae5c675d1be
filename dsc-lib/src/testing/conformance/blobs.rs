//! The store of blobs.

use super::{Outcome, Subject, bytes_of, list, same, shape};
use crate::cluster::{BlobError, KEY_BYTES_MAX};

list! { "blobs":
    begin_with_nothing,
    are_given_back_as_they_were,
    are_replaced_as_a_whole,
    are_given_within_bounds_alone,
    are_listed_in_order,
    can_be_removed,
    have_names_as_notes_have_keys,
    are_the_same_after_a_restart,
}

const ALL: usize = 1 << 30;

fn begin_with_nothing(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    same!(blobs.get("state-1", ALL)?, None, "a blob that is not there");
    same!(blobs.list()?, [""; 0], "names at first");
    same!(blobs.remove("state-1"), Ok(()), "removing nothing");
    Ok(())
}

fn are_given_back_as_they_were(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().blobs, subject.handle().blobs);
    for (seed, len) in (0..).zip([0, 1, 1000, 131_072, 3_000_000]) {
        let bytes = bytes_of(seed, len);
        one.put("state", &bytes)?;
        let got = other.get("state", ALL)?.ok_or("a blob is gone")?;
        same!((got.len(), got == bytes), (len, true), "a blob of {len} bytes");
    }
    Ok(())
}

fn are_replaced_as_a_whole(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    blobs.put("state", &bytes_of(1, 400_000))?;
    blobs.put("state", b"short")?;
    same!(blobs.get("state", ALL)?, Some(b"short".to_vec()), "what took the place of another");
    same!(blobs.list()?, ["state"], "names");
    Ok(())
}

fn are_given_within_bounds_alone(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    blobs.put("state", &[7; 1000])?;
    same!(blobs.get("state", 1000)?, Some(vec![7; 1000]), "as many bytes as allowed");
    let large = Err(BlobError::TooLarge { got: 1000, max: 999 });
    same!(blobs.get("state", 999), large, "one byte more than allowed");
    Ok(())
}

fn are_listed_in_order(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    for name in ["state-20", "state-00", "a.b_C", "state-10"] {
        blobs.put(name, name.as_bytes())?;
    }
    same!(blobs.list()?, ["a.b_C", "state-00", "state-10", "state-20"], "names");
    Ok(())
}

fn can_be_removed(subject: &dyn Subject) -> Outcome {
    let (one, other) = (subject.handle().blobs, subject.handle().blobs);
    for name in ["state-1", "state-2"] {
        one.put(name, &bytes_of(1, 300_000))?;
    }
    other.remove("state-1")?;
    same!(one.get("state-1", ALL)?, None, "a blob that was removed");
    same!(one.list()?, ["state-2"], "names after one was removed");
    same!(one.remove("state-1"), Ok(()), "removing it again");
    one.put("state-1", b"new")?;
    same!(other.get("state-1", ALL)?, Some(b"new".to_vec()), "a blob that came again");
    Ok(())
}

fn have_names_as_notes_have_keys(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    for name in ["", ".a", "a.", "a..b", "a b", "a/b", "\u{e4}", &long] {
        shape!(blobs.put(name, b""), Err(BlobError::Invalid { .. }), "putting {name:?}");
        shape!(blobs.get(name, ALL), Err(BlobError::Invalid { .. }), "asking for {name:?}");
        shape!(blobs.remove(name), Err(BlobError::Invalid { .. }), "removing {name:?}");
    }
    same!(blobs.list()?, [""; 0], "names after refusals");
    let most = "k".repeat(KEY_BYTES_MAX);
    blobs.put(&most, b"")?;
    same!(blobs.list()?, [most], "the longest name");
    Ok(())
}

fn are_the_same_after_a_restart(subject: &dyn Subject) -> Outcome {
    let blobs = subject.handle().blobs;
    let bytes = bytes_of(2, 200_000);
    blobs.put("gone", &bytes)?;
    blobs.put("kept", &bytes)?;
    blobs.remove("gone")?;
    let blobs = subject.reopened().blobs;
    same!(blobs.list()?, ["kept"], "names after a restart");
    same!(blobs.get("kept", ALL)? == Some(bytes), true, "the same bytes after a restart");
    Ok(())
}
