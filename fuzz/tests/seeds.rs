//! Every seed passes its target: a run without cargo-fuzz and without a sanitizer.

use std::{fs, path::Path};

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("block", dsc_fuzz::block),
    ("configuration", dsc_fuzz::configuration),
    ("export", dsc_fuzz::export),
    ("genesis", dsc_fuzz::genesis),
    ("key_file", dsc_fuzz::key_file),
    ("proof", dsc_fuzz::proof),
    ("snapshot", dsc_fuzz::snapshot),
    ("tag", dsc_fuzz::tag),
    ("text", dsc_fuzz::text),
    ("transaction", dsc_fuzz::transaction),
    ("vault", dsc_fuzz::vault),
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
