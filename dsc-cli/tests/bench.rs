//! `dsc bench`: the documents it writes, and what it refuses. Nothing here depends on speed.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use common::{Dsc, Network};
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

#[test]
fn the_tables_have_their_rows_and_plug_into_reports_and_comparisons() {
    let dsc = Dsc::offline();
    let run = "bench tables --profile ci --proof work --clients 2 --transactions 300 \
               --block-time 100ms --latency-time 300ms --batch 100 --folder . --out results.jsonl";
    let found = dsc.json("dsc.bench.tables/1", &words(run));
    assert_eq!(found["supply_ok"], true);
    positive(&found, "machine.cores");
    positive(&found, "signing.signed_per_second");
    let rows = |field: &str| found[field].as_array().unwrap().clone();
    assert_eq!((rows("single").len(), rows("send_many").len()), (2, 2));
    let processes: Vec<_> = rows("rows").iter().map(|row| row["processes"].clone()).collect();
    assert_eq!(processes, ["one", "six"]);
    for row in rows("rows") {
        assert_eq!((&row["proof"], &row["clients"]), (&"work".into(), &2.into()));
        assert_eq!((&row["transactions"], &row["confirmed"]), (&300.into(), &300.into()));
        for field in ["tx_per_second", "submit_tx_per_second", "blocks", "peak_mib"] {
            positive(&row, field);
        }
        let latency = |field: &str| positive(&row, &format!("latency_s.{field}"));
        // A sum of many is exact to some places only.
        let avg = [1.0 + 1e-9, 1.0 - 1e-9].map(|scale| scale * latency("avg"));
        assert!(latency("min") <= avg[0] && avg[1] <= latency("max"));
        assert!(latency("min") <= latency("p50") && latency("p50") <= latency("p99"));
    }
    let report = dsc.text(&words("bench report results.jsonl"));
    assert!(report.contains("### Latency and throughput: work, six\n\n| clients |"), "{report}");
    assert!(report.contains("| 160-274 |"), "{report}");
    assert!(report.contains("| supply as issued in every row | yes |"), "{report}");
    let csv = dsc.text(&words("bench report results.jsonl --format csv"));
    assert!(
        csv.contains(",\"rows[processes=one,proof=work,clients=2].tx_per_second\",1/s,"),
        "{csv}"
    );
    let svg = dsc.text(&words("bench report results.jsonl --format svg"));
    assert!(svg.contains("confirmed, processes one"), "{svg}");
    let compared =
        dsc.json("dsc.bench.compare/1", &words("bench compare results.jsonl results.jsonl"));
    assert!(compared["figures"].as_array().unwrap().len() > 10);
    // No ledger is left behind.
    let names = fs::read_dir(dsc.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with("dsc-bench")));
}

#[test]
fn tables_that_take_hours_are_not_started_unasked() {
    let dsc = Dsc::offline();
    let (message, hint) = dsc.fails(2, "usage", &words("bench tables --profile paper"));
    assert!(message.contains("was not confirmed") && hint.contains("--yes"), "{message}");
    dsc.fails(2, "usage", &words("bench tables --clients 11"));
    let nowhere = "bench tables --profile ci --folder none --out results.jsonl";
    dsc.fails(3, "file-not-found", &words(nowhere));
    assert!(!dsc.path("results.jsonl").exists(), "nothing was measured");
}

#[cfg(unix)]
#[test]
fn what_was_measured_before_ctrl_c_is_kept() {
    let dsc = Dsc::offline();
    let run = "bench tables --profile ci --proof work --clients 1,2 --transactions 100 \
               --block-time 100ms --latency-time 300ms --folder . --out results.jsonl \
               --progress plain --json";
    let mut command = dsc.command(&words(run));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("row ")), "a row is measured");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Read to the end: nobody writes into a closed pipe.
    drop(lines.map(Result::unwrap).collect::<Vec<_>>());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("finished rows are appended to results.jsonl"), "{message}");
    let line = fs::read_to_string(dsc.path("results.jsonl")).unwrap();
    let kept: Value = serde_json::from_str(&line).unwrap();
    let rows = kept["rows"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["confirmed"] == 100), "{kept}");
    assert_eq!((&kept["complete"], &kept["supply_ok"]), (&false.into(), &true.into()));
    assert!(dsc.text(&words("bench report results.jsonl")).contains("measured | no |"));
}

#[test]
fn nothing_is_lost_in_a_pool_that_is_much_too_small() {
    let network = Network::start_with(&[("DSC_POOL__TRANSACTIONS_MAX", "500")]);
    let dsc = Dsc::on(&network);
    let load = "bench load --transactions 2000 --batch 1000 --in-flight 2";
    let found = dsc.json("dsc.bench.load/1", &words(load));
    assert_eq!(found["load"]["confirmed"], 2000);
    assert!(found["load"]["busy"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn a_running_network_is_loaded_in_every_way() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let load = |args: &str| {
        let found = dsc.json("dsc.bench.load/1", &words(&format!("bench load {args}")));
        for path in ["load.tx_per_second", "load.latency_s.max", "load.answer_s.p50"] {
            positive(&found, path);
        }
        found["load"].clone()
    };
    let closed = load("--transactions 60 --clients 3 --batch 7 --payments 2 --recipients 5");
    assert_eq!((&closed["confirmed"], &closed["requests"]), (&60.into(), &9.into()));
    let open = load("--transactions 40 --rate 200 --batch 4 --seed 1");
    assert_eq!(open["confirmed"], 40);
    assert!(positive(&open, "seconds") > 0.17, "the last batch was due after 180 ms: {open}");
    let one_by_one = load("--transactions 4 --clients 2 --wait --seed 2");
    assert_eq!((&one_by_one["confirmed"], &one_by_one["requests"]), (&4.into(), &4.into()));

    dsc.write("pay.csv", format!("{},1\n", network.accounts[0]).repeat(3));
    let sign = "wallet sign --file pay.csv --out signed --per-transaction 1 --dev-account 5";
    dsc.json("dsc.signed/1", &words(sign));
    assert_eq!(load("--file signed")["confirmed"], 3);
    let again = dsc.json("dsc.bench.load/1", &words("bench load --file signed --timeout 1h"));
    let counts = ["known", "accepted", "confirmed"].map(|field| again["load"][field].as_u64());
    assert_eq!(counts, [Some(3), Some(0), Some(0)]);
    let text = dsc.text(&words("bench load --file signed"));
    assert!(text.contains("on the ledger before"), "{text}");
    // Other payments with the sequence of these.
    dsc.write("pay.csv", format!("{},2\n", network.accounts[0]));
    let place = format!("--genesis {} --sequence 0 --expires 5000", network.genesis().display());
    let sign = "wallet sign --file pay.csv --out used --dev-account 5";
    dsc.json("dsc.signed/1", &words(&format!("{sign} {place}")));
    let error = dsc.error(4, "transactions-rejected", &words("bench load --file used"));
    assert_eq!(error["faults"][0]["sequence-used"], 1, "{error}");

    dsc.fails(2, "usage", &words("bench load --rate 0"));
    dsc.fails(2, "usage", &words("bench load --wait --rate 10"));
    Dsc::offline().fails(6, "cannot-connect", &words("bench load"));
}
