//! Vaults, single proofs and bytes of transactions: what needs no network.

mod common;

use std::{fs, sync::Arc};

use common::Dsc;
use dsc_lib::{
    ledger::{Ledger, OpenOptions},
    proof::ENGINES,
    testing::{chain, next_block},
};
use serde_json::json;

const ADDRESS: &str = "dscd1c5598s0p0h9w23q3pyllyq3mtwhfn3n4k4v9280lwmyx7xqkjddqkwj3fr";
const FINGERPRINT: &str = "00010203-0405-0607-0809-0a0b0c0d0e0f";
const CHALLENGE: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const OTHER: &str = "0807070707070707070707070707070707070707070707070707070707070707";
const MINER: [&str; 4] = ["--address", ADDRESS, "--fingerprint", FINGERPRINT];

#[test]
fn a_vault_is_plotted_checked_and_found_damaged() {
    let dsc = Dsc::offline();
    let plot = [&["vault", "plot", "--size", "16", "--folder", "v"], &MINER[..]].concat();
    let plotted = dsc.json("dsc.vault/1", &plot);
    let file = plotted["file"].as_str().unwrap();
    assert_eq!((&plotted["complete"], &plotted["address"]), (&true.into(), &ADDRESS.into()));
    assert_eq!(dsc.json("dsc.vault/1", &["vault", "info", file]), plotted);
    for check in [
        &["vault", "check", file, "--full"] as &[&str],
        &["validator", "pos_check", file, "--full"],
    ] {
        let checked = dsc.json("dsc.vault.check/1", check);
        assert_eq!(
            (&checked["buckets_checked"], &checked["pairs"]),
            (&plotted["buckets"], &plotted["pairs"])
        );
    }
    dsc.fails(4, "vault-exists", &plot);

    let mut bytes = fs::read(dsc.path(file)).unwrap();
    bytes[4096 * 5 + 3] ^= 1;
    dsc.write(file, &bytes);
    let (message, _) = dsc.fails(8, "vault-corrupt", &["vault", "check", file, "--full"]);
    assert!(message.ends_with("page 5 at offset 20480 fails its checksum"), "{message}");
    let (message, _) =
        dsc.fails(10, "not-enough-memory", &["vault", "repair", file, "--memory", "4KiB"]);
    assert!(message.ends_with("4096 are allowed"), "{message}");
    let repaired = dsc.json("dsc.vault.repair/1", &["vault", "repair", file, "--memory", "64MiB"]);
    assert_eq!(
        (&repaired["pages"], &repaired["pages_repaired"]),
        (&[5].as_slice().into(), &1.into())
    );
    bytes[4096 * 5 + 3] ^= 1;
    assert!(fs::read(dsc.path(file)).unwrap() == bytes);
    let sound = bytes.clone();
    bytes[4096 * 5 + 3] ^= 1;
    dsc.write(file, &bytes);
    let text = dsc.text(&["vault", "repair", file]);
    assert!(text.ends_with("is sound again: 1 page was made anew: 5\n"), "{text}");
    assert!(fs::read(dsc.path(file)).unwrap() == sound);
    dsc.write("v/bad.vault", "no vault");
    dsc.fails(8, "vault-corrupt", &["vault", "info", "v/bad.vault"]);
    let listed = dsc.json("dsc.vaults/1", &["vault", "list", "v"]);
    assert_eq!(listed["vaults"][0]["fault"], "not a vault file");
    assert_eq!(listed["vaults"][1]["file"], file);
    dsc.fails(3, "file-not-found", &["vault", "check", "none"]);
    dsc.fails(3, "file-not-found", &["vault", "repair", "none"]);
    dsc.fails(3, "file-not-found", &["vault", "list", "none"]);
    dsc.fails(2, "usage", &[&["vault", "plot", "--size", "15"], &MINER[..]].concat());
    let small = ["vault", "plot", "--size", "28", "--memory", "1MiB", "--folder", "v"];
    let (_, hint) = dsc.fails(10, "not-enough-memory", &[&small[..], &MINER].concat());
    assert!(hint.contains("fewer --threads"), "{hint}");
}

#[test]
fn a_vault_without_a_header_is_checked_and_repaired_for_whom_it_is_said_to_be() {
    let dsc = Dsc::offline();
    let plot = [&["vault", "plot", "--size", "16", "--folder", "v"], &MINER[..]].concat();
    let plotted = dsc.json("dsc.vault/1", &plot);
    let file = plotted["file"].as_str().unwrap();
    let sound = fs::read(dsc.path(file)).unwrap();
    let mut bytes = sound.clone();
    bytes[..100].fill(0);
    bytes.truncate(4096 * 100);
    dsc.write(file, &bytes);
    dsc.fails(8, "vault-corrupt", &["vault", "repair", file]);
    dsc.fails(2, "usage", &["vault", "repair", file, "--size", "16"]);
    let stated = |verb| [&["vault", verb, file, "--size", "16"], &MINER[..]].concat();
    let (message, _) = dsc.fails(8, "vault-corrupt", &stated("check"));
    assert!(message.contains("409600 bytes, expected 528384; not a vault file"), "{message}");
    let other = [&stated("repair")[..], &["--index", "1"]].concat();
    dsc.fails(8, "vault-foreign", &other);
    let repaired = dsc.json("dsc.vault.repair/1", &stated("repair"));
    assert_eq!(
        (&repaired["pages_repaired"], &repaired["bytes_before"]),
        (&30.into(), &409_600.into())
    );
    assert!(fs::read(dsc.path(file)).unwrap() == sound);
    assert!(dsc.text(&["vault", "repair", file]).contains("no page was written"));
    assert!(
        dsc.text(&["vault", "check", file, "--full"]).contains("128 lack no entry; 64 were made")
    );
    let held = fs::File::open(dsc.path(file)).unwrap();
    held.lock().unwrap();
    dsc.fails(1, "vault-busy", &["vault", "repair", file]);
}

#[test]
fn what_cannot_be_read_is_not_called_damaged() {
    let dsc = Dsc::offline();
    fs::create_dir(dsc.path("folder")).unwrap();
    for verb in ["info", "check", "repair"] {
        dsc.fails(1, "file", &["vault", verb, "folder"]);
    }
}

#[test]
fn an_unfinished_plot_is_called_so() {
    let dsc = Dsc::offline();
    dsc.write("a.vault.partial", vec![0; 8192]);
    for verb in ["info", "check", "repair"] {
        let (message, hint) = dsc.fails(8, "vault-unfinished", &["vault", verb, "a.vault.partial"]);
        assert!(message.contains("unfinished"), "{message}");
        assert!(hint.contains("`dsc vault plot` goes on with it"), "{hint}");
    }
}

#[test]
fn unfinished_plots_are_listed_and_an_empty_folder_is_called_so() {
    let dsc = Dsc::offline();
    fs::create_dir(dsc.path("v")).unwrap();
    let empty = dsc.run(&["vault", "list", "v"]);
    assert_eq!(
        (empty.status.code(), &empty.stdout[..], &empty.stderr[..]),
        (Some(0), &b""[..], &b"no vaults in v\n"[..])
    );
    let none = String::from_utf8(dsc.run(&["vault", "list"]).stderr).unwrap();
    assert!(none.starts_with("no vaults in "), "{none}");
    dsc.write("v/a.vault.partial", "");
    dsc.write("v/a.vault.journal", "");
    assert_eq!(dsc.text(&["vault", "list", "v"]), "v/a.vault.partial: unfinished\n");
    let listed = dsc.json("dsc.vaults/1", &["vault", "list", "v"]);
    let part = json!([{"file": "v/a.vault.partial", "unfinished": true}]);
    assert_eq!(listed["vaults"], part);
}

#[test]
fn a_failing_check_names_every_fault_for_programs() {
    let dsc = Dsc::offline();
    let plot = [&["vault", "plot", "--size", "16", "--folder", "v"], &MINER[..]].concat();
    let plotted = dsc.json("dsc.vault/1", &plot);
    let file = plotted["file"].as_str().unwrap();
    let mut bytes = fs::read(dsc.path(file)).unwrap();
    for page in 1..=7 {
        bytes[4096 * page] ^= 1;
    }
    bytes.truncate(4096 * 100 + 1);
    dsc.write(file, &bytes);
    let (message, _) = dsc.fails(8, "vault-corrupt", &["vault", "info", file]);
    assert_eq!(message, format!("{file}: 409601 bytes, expected 528384"));
    let error = dsc.error(8, "vault-corrupt", &["vault", "check", file]);
    let faults = error["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 8);
    let cut = json!({"page": 100, "offset": 409_600, "rule": "409601 bytes, expected 528384"});
    assert!(faults.contains(&cut), "{error}");
    for page in 1..=7 {
        let offset = 4096 * page;
        let rule = format!("page {page} at offset {offset} fails its checksum");
        assert!(faults.contains(&json!({"page": page, "offset": offset, "rule": rule})), "{error}");
    }
}

#[test]
fn a_proof_of_every_engine_is_solved_and_verified() {
    let dsc = Dsc::offline();
    for engine in ENGINES {
        // The least values that the engine takes, to be quick.
        let params = engine.params.iter().map(|param| format!("{}={}", param.name, param.min));
        let params: Vec<_> = params.flat_map(|param| ["--param".to_owned(), param]).collect();
        let params: Vec<&str> = params.iter().map(String::as_str).collect();
        let solve =
            ["proof", "solve", "--proof", engine.name, "--challenge", CHALLENGE, "--folder", "f"];
        let solve = [&solve[..], &MINER, &params].concat();
        let solved = dsc.json("dsc.proof/1", &[&solve[..], &["--attempts", "4096"]].concat());
        assert_eq!((&solved["proof"], &solved["address"]), (&engine.name.into(), &ADDRESS.into()));
        dsc.write("solved", solved.to_string());
        let entry = solved["entry"].as_str().unwrap();
        for given in [entry, "@solved"] {
            let verify =
                [&["proof", "verify", given, "--challenge", CHALLENGE], &params[..]].concat();
            let verified = dsc.json("dsc.proof/1", &verify);
            assert_eq!(
                (&verified["quality"], &verified["entry"]),
                (&solved["quality"], &solved["entry"])
            );
            dsc.fails(4, "target-missed", &[&verify[..], &["--target", "0"]].concat());
        }
        let hopeless = [&solve[..], &["--attempts", "10", "--target", "0"]].concat();
        dsc.fails(3, "no-proof", &hopeless);
        let (message, _) = dsc.fails(2, "usage", &[&solve[..], &["--param", "colour=1"]].concat());
        assert_eq!(message, format!("proof of {} has no parameter colour", engine.name));
    }
}

#[test]
fn a_vault_that_is_being_plotted_is_busy_for_an_engine_too() {
    let dsc = Dsc::offline();
    let plot = [&["vault", "plot", "--size", "16", "--folder", "f"], &MINER[..]].concat();
    let plotted = dsc.json("dsc.vault/1", &plot);
    let file = dsc.path(plotted["file"].as_str().unwrap());
    let partial = file.with_extension("vault.partial");
    fs::rename(file, &partial).unwrap();
    let held = fs::File::open(&partial).unwrap();
    held.lock().unwrap();
    let solve = ["proof", "solve", "--proof", "space", "--param", "k=16", "--folder", "f"];
    dsc.fails(1, "vault-busy", &[&solve[..], &["--challenge", CHALLENGE], &MINER].concat());
}

#[test]
fn a_proof_is_bound_to_its_challenge() {
    let dsc = Dsc::offline();
    let solve = [
        "proof",
        "solve",
        "--proof",
        "space",
        "--param",
        "k=16",
        "--folder",
        "f",
        "--challenge",
        CHALLENGE,
    ];
    let entry = dsc.text(&[&solve[..], &MINER].concat());
    let verify = ["proof", "verify", entry.trim(), "--param", "k=16", "--challenge"];
    assert!(dsc.text(&[&verify[..], &[CHALLENGE]].concat()).starts_with("proof of space holds"));
    dsc.fails(4, "bad-proof", &[&verify[..], &[OTHER]].concat());
    dsc.fails(2, "usage", &[&verify[..], &["07"]].concat());
    dsc.fails(8, "not-canonical", &["proof", "verify", "00ff", "--challenge", CHALLENGE]);
    dsc.fails(2, "invalid-hex", &["proof", "verify", "xyz", "--challenge", CHALLENGE]);
}

#[test]
fn bytes_that_are_no_transaction_are_refused() {
    let dsc = Dsc::offline();
    dsc.fails(2, "invalid-hex", &["tx", "decode", "xyz"]);
    dsc.fails(8, "not-canonical", &["tx", "decode", "0100"]);
    dsc.fails(8, "not-canonical", &["tx", "decode", "-"]);
    dsc.fails(3, "file-not-found", &["tx", "decode", "@none"]);
    dsc.write("long", vec![0; 1 << 20]);
    dsc.fails(8, "too-long", &["tx", "decode", "@long"]);
}

/// A ledger that has no block before a snapshot: it says where it begins, takes the blocks that come
/// after, and is not exported as if it were whole.
#[test]
fn a_ledger_from_a_snapshot_is_verified_and_not_exported() {
    let dsc = Dsc::offline();
    let mut whole = Ledger::in_memory(chain());
    let commit = |ledger: &mut Ledger| {
        let block = next_block(ledger.state(), vec![], vec![]);
        ledger.commit(&block).unwrap();
    };
    commit(&mut whole);
    commit(&mut whole);
    let snapshot = whole.snapshot().unwrap();
    commit(&mut whole);
    let mut exported = Vec::new();
    whole.export(&mut exported).unwrap();
    dsc.write("chain", exported);
    let folder = Ledger::lock(&dsc.path("based"), true, false).unwrap();
    drop(Ledger::start_from(Arc::new(folder), chain(), snapshot, OpenOptions::default()).unwrap());

    let imported =
        dsc.json("dsc.chain.import/1", &["chain", "import", "chain", "--ledger", "based"]);
    assert_eq!((&imported["added"], &imported["blocks"]), (&1.into(), &3.into()));
    let verify = ["chain", "verify", "--ledger", "based"];
    let verified = dsc.json("dsc.chain.verified/1", &verify);
    assert_eq!((&verified["base"], &verified["blocks"]), (&1.into(), &1.into()));
    let text = dsc.text(&verify);
    assert!(text.starts_with("the ledger begins after block 1, whose state is "), "{text}");
    let export = ["chain", "export", "again", "--ledger", "based"];
    let (message, _) = dsc.fails(4, "ledger-has-base", &export);
    assert_eq!(message, "the ledger begins after block 1: it has none of those before");
    assert!(!dsc.path("again").exists());
}
