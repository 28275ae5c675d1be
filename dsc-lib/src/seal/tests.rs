//! Round trips, everything that must not open, and bytes that never change.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::testing::{ALICE, BOB, CAROL, address};

const CHAIN: Digest = Digest([7; 32]);

fn sealed(text: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let memo = seal(text, BOB.public(), &CHAIN, &address(&ALICE), &mut rng).unwrap();
    memo.to_vec()
}

fn opened(memo: &[u8]) -> Result<Vec<u8>, OpenError> {
    open(memo, &BOB, &CHAIN, &address(&ALICE)).map(|text| text.to_vec())
}

#[test]
fn a_text_of_any_length_that_fits_makes_a_memo_of_one_length() {
    for len in [0, 1, 100, TEXT_BYTES_MAX] {
        let text = vec![b'x'; len];
        let memo = sealed(&text, len as u64);
        assert_eq!((memo.len(), is_sealed(&memo)), (SEALED_BYTES, true));
        assert!(std::str::from_utf8(&memo).is_err(), "no text looks like it");
        assert_eq!(opened(&memo).unwrap(), text);
    }
    for got in [TEXT_BYTES_MAX + 1, 256, 512] {
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let text = vec![0; got];
        let error = seal(&text, BOB.public(), &CHAIN, &address(&ALICE), &mut rng).unwrap_err();
        assert_eq!(error, SealError::TooLong { got });
        let message = format!("the text has {got} bytes, at most 234 can be sealed");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_same_text_never_looks_the_same() {
    let (one, other) = (sealed(b"text", 1), sealed(b"text", 2));
    let same = one.iter().zip(&other).skip(START_LEN).filter(|(a, b)| a == b).count();
    assert!(same < 20, "{same}");
}

/// A memo that was copied into somebody else's transaction, or to another chain, is noticed.
#[test]
fn it_opens_for_its_recipient_from_its_sender_on_its_chain_only() {
    let memo = sealed(b"text", 1);
    let alice = address(&ALICE);
    let refused = [
        open(&memo, &CAROL, &CHAIN, &alice),
        open(&memo, &ALICE, &CHAIN, &alice),
        open(&memo, &BOB, &CHAIN, &address(&CAROL)),
        open(&memo, &BOB, &Digest([8; 32]), &alice),
    ];
    for result in refused {
        assert_eq!(result.unwrap_err(), OpenError::Refused);
    }
    let message = "the memo was not sealed to this key by the sender of this transaction";
    assert_eq!(OpenError::Refused.to_string(), message);
}

#[test]
fn a_change_anywhere_is_refused_in_one_way() {
    let memo = sealed(b"text", 1);
    for at in (START_LEN..SEALED_BYTES).step_by(17).chain([SEALED_BYTES - 1]) {
        let mut changed = memo.clone();
        changed[at] ^= 1;
        assert_eq!(opened(&changed), Err(OpenError::Refused), "byte {at}");
    }
}

#[test]
fn what_is_no_sealed_memo_is_told_apart() {
    let memo = sealed(b"text", 1);
    assert_eq!(opened(b"hello"), Err(OpenError::NotSealed));
    assert_eq!(opened(b""), Err(OpenError::NotSealed));
    assert_eq!(OpenError::NotSealed.to_string(), "the memo is not sealed");
    let mut other = memo.clone();
    other[4] = 2;
    let error = opened(&other).unwrap_err();
    assert_eq!(error, OpenError::Version { got: 2 });
    assert_eq!(error.to_string(), "the memo is sealed in version 2, expected 1");
    for len in [4, 5, 260, 261, 496, 511] {
        let error = opened(&memo[..len]).unwrap_err();
        assert_eq!(error, OpenError::Length { got: len });
    }
    let error = opened(&[&memo[..], &[0]].concat()).unwrap_err();
    assert_eq!(error.to_string(), "a sealed memo has 512 bytes, this one has 513");
}

/// What a key that everybody knows seals does not open, whatever is wrapped.
#[test]
fn a_wrapped_key_that_does_not_open_gives_way_to_a_secret_one() {
    let mut memo = sealed(b"text", 1);
    memo[5..HEAD_LEN].fill(3);
    let mut padded = pad(b"forged").unwrap();
    let associated = associated(&memo[..HEAD_LEN], &CHAIN, &address(&ALICE), &address(&BOB));
    let tag = cipher(&Secret::default())
        .encrypt_inout_detached(&Nonce::default(), &associated, (&mut padded[..]).into())
        .unwrap();
    memo[HEAD_LEN..SEALED_BYTES - TAG_LEN].copy_from_slice(&padded[..]);
    memo[SEALED_BYTES - TAG_LEN..].copy_from_slice(&tag);
    assert_eq!(opened(&memo), Err(OpenError::Refused));
}

#[test]
fn padding_has_one_form() {
    let good = pad(b"text").unwrap();
    assert_eq!(unpad(&good).unwrap()[..], *b"text");
    for (at, byte) in [(0, 235), (0, 255), (0, 3), (5, 1), (PADDED_LEN - 1, 1)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(unpad(&bad), None, "byte {at}");
    }
}

/// Opened by an independent program as well: see docs/protocol.md.
#[test]
fn the_bytes_of_version_1_never_change() {
    let text = include_str!("../../tests/data/sealed-memo.hex");
    let made = sealed(b"the key is under the mat", 2026);
    assert_eq!(hex::encode(made), text.trim());
    let memo = hex::decode(text.trim()).unwrap();
    assert_eq!(opened(&memo).unwrap(), b"the key is under the mat");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_opens(text in prop::collection::vec(any::<u8>(), 0..=TEXT_BYTES_MAX)) {
        prop_assert_eq!(opened(&sealed(&text, 9)).unwrap(), text);
    }

    #[test]
    fn hostile_bytes_never_open(
        mut memo in prop::collection::vec(any::<u8>(), 0..=600),
        is_marked: bool,
    ) {
        if is_marked {
            let mark = [&MAGIC[..], &[VERSION]].concat();
            memo.splice(..memo.len().min(mark.len()), mark);
        }
        prop_assert!(opened(&memo).is_err());
    }
}
