use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Values computed by an independent program: `(key, n, tag)`, all under one key.
const KEY: &str = "e543aeba77881ad95cf8d31c2753e31b2b9c08d9e4823b1a81251c99c9864bbe";
const GOLDEN: [(u64, u64); 12] = [
    (0, 11_968_966_603_849_923_225),
    (1, 198_618_544_072_197_985),
    (7, 7_714_446_422_950_804_025),
    (8, 8_251_227_639_753_939_361),
    (9, 15_928_640_632_303_647_754),
    (255, 14_784_274_358_487_715_860),
    (4_294_967_295, 7_222_112_127_962_920_822),
    (4_294_967_296, 13_381_337_224_271_209_409),
    (4_294_967_297, 534_390_706_642_591_525),
    (9_223_372_036_854_775_808, 6_279_563_919_029_988_806),
    (18_446_744_073_709_551_615, 5_528_856_110_458_720_305),
    (81_985_529_216_486_895, 16_269_807_230_424_301_703),
];

fn golden_key() -> Key {
    let mut key = [0; 32];
    hex::decode_to_slice(KEY, &mut key).unwrap();
    key
}

fn taggers(key: &Key) -> impl Iterator<Item = Tagger> {
    Path::available().map(|path| Tagger::with_path(key, path).unwrap())
}

/// Checks every path and bulk method on `first..first + count`.
fn check_range(key: &Key, first: u64, count: usize) {
    let inputs: Vec<u64> = (0..count as u64).map(|i| first.wrapping_add(i)).collect();
    let expected: Vec<u64> = inputs.iter().map(|&n| tag(key, n)).collect();
    for tagger in taggers(key) {
        let mut out = vec![0; count];
        tagger.fill_range(first, &mut out);
        assert_eq!(out, expected, "{} range at {first:#x}, {count}", tagger.path());
        out.fill(0);
        tagger.fill_slice(&inputs, &mut out);
        assert_eq!(out, expected, "{} slice at {first:#x}, {count}", tagger.path());
        let lowest = expected.iter().copied().zip(inputs.iter().copied()).min();
        let found = tagger.min_in_range(first, count as u64);
        assert_eq!(found, lowest, "{} minimum at {first:#x}, {count}", tagger.path());
    }
}

#[test]
fn reference_gives_golden_values() {
    for (n, expected) in GOLDEN {
        assert_eq!(tag(&golden_key(), n), expected);
    }
}

#[test]
fn every_path_gives_golden_values() {
    let inputs = GOLDEN.map(|(n, _)| n);
    let expected = GOLDEN.map(|(_, tag)| tag);
    for tagger in taggers(&golden_key()) {
        let mut out = [0; GOLDEN.len()];
        tagger.fill_slice(&inputs, &mut out);
        assert_eq!(out, expected, "{}", tagger.path());
        assert_eq!(inputs.map(|n| tagger.tag(n)), expected);
    }
}

#[test]
fn every_tail_length_agrees() {
    for count in 0..=40 {
        check_range(&golden_key(), 3, count);
    }
}

#[test]
fn ranges_cross_every_boundary() {
    for boundary in [0, 1 << 31, 1 << 32, 7 << 32, 1 << 63] {
        for before in 0..=33_u64 {
            check_range(&golden_key(), u64::wrapping_sub(boundary, before), 40);
        }
    }
}

#[test]
fn scalar_is_always_available_and_best_is_first() {
    assert!(Path::available().any(|path| path == Path::Scalar));
    assert_eq!(Path::available().next(), Some(Path::best()));
    assert_eq!(Tagger::new(&[0; 32]).path(), Path::best());
}

#[test]
fn only_available_paths_make_a_tagger() {
    let available: Vec<Path> = Path::available().collect();
    for path in Path::ALL {
        let tagger = Tagger::with_path(&[0; 32], path);
        assert_eq!(tagger.map(|tagger| tagger.path()), available.contains(&path).then_some(path));
    }
}

#[test]
fn paths_have_distinct_names() {
    let names: HashSet<String> = Path::ALL.iter().map(Path::to_string).collect();
    assert_eq!(names.len(), Path::ALL.len());
    assert_eq!(Path::Sse41.to_string(), "sse4.1");
}

#[test]
fn long_ranges_agree() {
    check_range(&golden_key(), (1 << 32) - 1000, 3001);
}

#[test]
#[should_panic(expected = "one output for each input")]
fn lengths_that_differ_panic() {
    Tagger::new(&[0; 32]).fill_slice(&[1, 2, 3], &mut [0; 2]);
}

#[test]
fn debug_output_hides_the_key() {
    let tagger = Tagger::with_path(&[0xab; 32], Path::Scalar).unwrap();
    assert_eq!(format!("{tagger:?}"), "Tagger { path: Scalar, .. }");
}

proptest! {
    /// Every path agrees with the reference on unrelated inputs.
    #[test]
    fn slices_agree(key: Key, inputs in prop::collection::vec(any::<u64>(), 0..70)) {
        let expected: Vec<u64> = inputs.iter().map(|&n| tag(&key, n)).collect();
        for tagger in taggers(&key) {
            let mut out = vec![0; inputs.len()];
            tagger.fill_slice(&inputs, &mut out);
            prop_assert_eq!(&out, &expected);
            let single: Vec<u64> = inputs.iter().map(|&n| tagger.tag(n)).collect();
            prop_assert_eq!(&single, &expected);
        }
    }

    /// Every path agrees with the reference on ranges.
    #[test]
    fn ranges_agree(key: Key, first: u64, count in 0_usize..70) {
        check_range(&key, first, count);
    }
}
