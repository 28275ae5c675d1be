//! `dsc bench`: the documents it writes, and what it refuses. Nothing here depends on speed.

mod common;

use std::fs;

use common::Dsc;
use serde_json::Value;

const SMALLEST: &str =
    "bench proof --k 16 --m 16 --rounds 2 --time 2ms --lookups 10 --threads 2 --folder .";

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The number at `path`, which has to be finite and positive.
#[track_caller]
fn positive(document: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(document, |value, field| &value[field]);
    let number = found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"));
    assert!(number.is_finite() && number > 0.0, "{path} is {number}");
    number
}

#[test]
fn every_figure_of_the_schema_is_there() {
    let dsc = Dsc::offline();
    let args = words(SMALLEST);
    let found = dsc.json("dsc.bench.proof/1", &[&args[..], &["--out", "results.jsonl"]].concat());
    for path in [
        "tag.mhs",
        "tag.ratio_naive",
        "tag.ratio_hash_many",
        "tag.cycles_per_8",
        "work.mhs",
        "work.threads",
        "work.verify_ns",
        "space.k",
        "space.entries_per_second",
        "space.fill",
        "space.lookup_us_min",
        "space.lookup_us_p50",
        "space.lookup_us_p99",
        "space.lookup_warm_us_p50",
        "space.verify_ns",
        "space.vault_bytes",
        "space.disk_write_bytes_per_second",
        "space.disk_read_us_p50",
        "memory.m",
        "memory.build_entries_per_second",
        "memory.lookups_per_second",
        "memory.random_access_limit",
        "memory.verify_ns",
        "machine.cores",
    ] {
        positive(&found, path);
    }
    assert_eq!((&found["space"]["k"], &found["memory"]["m"]), (&16.into(), &16.into()));
    for field in ["version", "commit", "profile", "time", "command"] {
        assert!(!found[field].as_str().unwrap().is_empty(), "{field}");
    }
    let us = |field: &str| positive(&found, &format!("space.lookup_us_{field}"));
    assert!(us("min") <= us("p50") && us("p50") <= us("p99"));
    for section in ["tag", "work", "space", "memory"] {
        let scaling = found[section]["scaling"].as_array().unwrap();
        let threads: Vec<_> = scaling.iter().map(|scale| scale["threads"].as_u64()).collect();
        assert_eq!(threads, [Some(1), Some(2)], "{section}");
        assert!(scaling.iter().all(|scale| positive(scale, "rate") > 0.0));
    }

    // The same document is in the file, and nothing else was left behind.
    let line = fs::read_to_string(dsc.path("results.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), found);
    let names = fs::read_dir(dsc.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["passphrase", "results.jsonl"]);
}

#[test]
fn one_proof_has_no_section_of_another() {
    let dsc = Dsc::offline();
    let args = words("bench proof --proof work --rounds 1 --time 1ms --threads 1");
    let found = dsc.json("dsc.bench.proof/1", &args);
    positive(&found, "tag.mhs");
    positive(&found, "work.mhs");
    assert_eq!((found.get("space"), found.get("memory")), (None, None));
    let options = &found["options"];
    assert_eq!(
        (options.get("k"), options.get("m"), options["rounds"].as_u64()),
        (None, None, Some(1))
    );
    let text = dsc.text(&args);
    assert!(text.starts_with("machine ") && text.contains("\nProof of work\n"), "{text}");
    assert!(!text.contains("Proof of space"), "{text}");
}

/// A result with few figures.
const RESULT: &str = r#"{"schema":"dsc.bench.proof/1","version":"0.1.0","commit":"0123456789ab","time":"2026-11-22T12:00:00Z","command":"dsc bench proof","machine":{"cpu":"Some CPU","cores":2,"arch":"x86_64","os":"linux"},"options":{"k":22},"work":{"mhs":100.0,"verify_ns":200.0,"spread":{"mhs":[99.0,101.0]}}}"#;

#[test]
fn results_are_compared_with_direction() {
    let dsc = Dsc::offline();
    dsc.write("old", format!("{RESULT}\n"));
    let newer = RESULT.replace("100.0", "50.0").replace("[99.0,101.0]", "[49.0,51.0]");
    dsc.write("new", format!("no result\n{}\n", newer.replace("200.0", "100.0")));
    let found = dsc.json("dsc.bench.compare/1", &["bench", "compare", "old", "new"]);
    let figure = |index: usize| {
        let change = &found["figures"][index];
        let text = |field: &str| change[field].as_str().unwrap();
        let percent = change["percent"].as_f64().unwrap();
        (text("figure"), text("better"), change["verdict"].as_str(), percent)
    };
    assert_eq!(figure(0), ("work.mhs", "higher", Some("worse"), -50.0));
    assert_eq!(figure(1), ("work.verify_ns", "lower", None, -50.0));
    let text = dsc.text(&["bench", "compare", "old", "new"]);
    assert!(text.contains("WORSE"), "{text}");
}

#[test]
fn results_of_other_machines_and_options_are_refused() {
    let dsc = Dsc::offline();
    dsc.write("here", RESULT);
    dsc.write("there", RESULT.replace("Some CPU", "Other CPU"));
    dsc.write("larger", RESULT.replace("\"k\":22", "\"k\":24"));
    dsc.write("unknown", RESULT.replace("proof/1", "proof/9"));
    dsc.write("cut", &RESULT[..100]);
    let compare = |new: &'static str| ["bench", "compare", "here", new];
    let (message, _) = dsc.fails(4, "different-machines", &compare("there"));
    assert!(message.ends_with("cpu is Other CPU, was Some CPU"), "{message}");
    dsc.fails(4, "different-options", &compare("larger"));
    dsc.fails(4, "unknown-schema", &compare("unknown"));
    dsc.fails(8, "result-malformed", &compare("cut"));
    dsc.write("empty", RESULT.replace("\"work\"", "\"none\""));
    dsc.write("other", RESULT.replace("\"work\":{\"mhs\"", "\"tag\":{\"mhs\""));
    dsc.fails(8, "result-malformed", &compare("empty"));
    dsc.fails(8, "result-malformed", &compare("other"));
    dsc.fails(8, "result-malformed", &["bench", "report", "empty"]);
    dsc.fails(3, "file-not-found", &compare("none"));
    let forced = dsc.json("dsc.bench.compare/1", &[&compare("there")[..], &["--force"]].concat());
    assert_eq!(forced["differences"][0], "cpu is Other CPU, was Some CPU");
}

#[test]
fn results_are_reported_in_every_form() {
    let dsc = Dsc::offline();
    dsc.write("results", format!("{RESULT}\n{RESULT}\n"));
    let report = |args: &str| dsc.text(&words(&format!("bench report results {args}")));
    assert_eq!(report("").matches("## Proof engines").count(), 1);
    assert_eq!(report("--all").matches("## Proof engines").count(), 2);
    assert_eq!(report("--format csv --all").lines().count(), 5);
    assert!(report("--format svg").starts_with("<svg "));
    let made = dsc.json("dsc.bench.report/1", &words("bench report results --out report.md"));
    assert_eq!((&made["file"], made.get("content")), (&"report.md".into(), None));
    assert!(fs::read_to_string(dsc.path("report.md")).unwrap().starts_with("## Proof engines"));
    dsc.fails(2, "usage", &["bench", "report"]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let dsc = Dsc::offline();
    dsc.fails(2, "usage", &words("bench proof --k 15"));
    dsc.fails(2, "usage", &words("bench proof --proof stake"));
    dsc.fails(2, "usage", &words("bench proof --rounds 0"));
    dsc.fails(3, "file-not-found", &words("bench proof --folder none"));
    dsc.fails(3, "file-not-found", &words("bench proof --out none/results.jsonl"));
    let small = "bench proof --proof memory --m 20 --memory 1MiB --rounds 1 --time 1ms";
    dsc.fails(10, "not-enough-memory", &words(small));
    // Before anything is measured: one round of this would take hours.
    dsc.fails(10, "not-enough-memory", &words("bench proof --m 20 --memory 1MiB --time 1h"));
}
