//! Every seed passes its target: a run without cargo-fuzz and without a sanitizer.

use std::{fs, path::Path};

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("accounts", dsc_fuzz::accounts),
    ("block", dsc_fuzz::block),
    ("configuration", dsc_fuzz::configuration),
    ("export", dsc_fuzz::export),
    ("genesis", dsc_fuzz::genesis),
    ("http", dsc_fuzz::http),
    ("inclusion", dsc_fuzz::inclusion),
    ("journal", dsc_fuzz::journal),
    ("json", dsc_fuzz::json),
    ("key_file", dsc_fuzz::key_file),
    ("lists", dsc_fuzz::lists),
    ("log", dsc_fuzz::log),
    ("mempool", dsc_fuzz::mempool),
    ("numbers", dsc_fuzz::numbers),
    ("proof", dsc_fuzz::proof),
    ("signature", dsc_fuzz::signature),
    ("signed", dsc_fuzz::signed),
    ("snapshot", dsc_fuzz::snapshot),
    ("store", dsc_fuzz::store),
    ("tag", dsc_fuzz::tag),
    ("text", dsc_fuzz::text),
    ("transaction", dsc_fuzz::transaction),
    ("vault", dsc_fuzz::vault),
    ("verify", dsc_fuzz::verify),
];

#[test]
fn every_seed_passes_its_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    assert_eq!(fs::read_dir(&seeds).unwrap().count(), TARGETS.len());
    for (name, target) in TARGETS {
        for file in fs::read_dir(seeds.join(name)).unwrap() {
            target(&fs::read(file.unwrap().path()).unwrap());
        }
        target(b"");
    }
}
