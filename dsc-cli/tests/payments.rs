//! Files of payments: what they cost, what became of each line, and that nobody is paid twice
//! however often the command is stopped.
#![cfg(unix)]

mod common;

use std::{fs, io::Write, process::Stdio};

use common::{Beside, Dsc, Network};
use serde_json::Value;

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// As many lines of 0.5 coins as transactions: each has a memo of its own.
fn lines(to: &str, count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|line| format!("{to},0.5,memo {line}\n")).collect();
    lines.concat()
}

fn results(sent: &Value) -> &Vec<Value> {
    sent["results"].as_array().unwrap()
}

#[test]
fn nobody_is_paid_twice_however_often_it_is_killed() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = dsc.create("carol");
    dsc.write("pay.csv", lines(&to, 40));
    let pay = words("wallet send-many pay.csv --dev-account 1 --json --timeout 60s");
    // Killed when everything is signed, so while it is submitted; when it waits; by Ctrl-C.
    for (said, signal, code) in [
        ("signed 40 ", "-KILL", None),
        ("submitted ", "-KILL", None),
        ("submitted ", "-INT", Some(130)),
    ] {
        let stay = ["--confirmations", "1000000"];
        let mut running = Beside::start(dsc.command(&[&pay[..], &stay].concat()));
        running.said(said);
        assert_eq!(running.end(signal), code);
        if code.is_some() {
            let hint = running.next()["error"]["hint"].as_str().unwrap().to_owned();
            assert!(hint.contains("run the same command again"), "{hint}");
        }
    }
    let sent = dsc.json("dsc.send-many/1", &pay[..pay.len() - 3]);
    assert_eq!((results(&sent).len(), &sent["amount"]), (40, &"20".into()));
    for (line, result) in (1..).zip(results(&sent)) {
        assert_eq!(
            (&result["line"], &result["state"], &result["to"], &result["amount"]),
            (&line.into(), &"confirmed".into(), &to.as_str().into(), &"0.5".into())
        );
    }
    assert_eq!(dsc.balance("carol"), "20");
    // Once more is no more.
    assert_eq!(dsc.json("dsc.send-many/1", &pay[..pay.len() - 3]), sent);
    assert_eq!(dsc.balance("carol"), "20");
    dsc.write("pay.csv", lines(&to, 41));
    let (message, hint) = dsc.fails(4, "other-payments", &pay[..pay.len() - 3]);
    assert_eq!(message, "pay.csv.sent is for other payments than the file now has");
    assert!(hint.contains("--state"), "{hint}");
    dsc.write("pay.csv", lines(&to, 40));
    let other = words("wallet send-many pay.csv --dev-account 2");
    let (message, _) = dsc.fails(4, "other-payments", &other);
    assert!(message.contains("is for payments from "), "{message}");
}

/// A transaction whose place another one took is signed anew; one that may still come is not.
#[test]
fn what_can_never_get_on_the_ledger_is_signed_anew() {
    let network = Network::shared();
    let (dsc, far) = (Dsc::on(&network), Dsc::offline());
    let to = dsc.create("dora");
    dsc.write("pay.csv", format!("{to},3\n"));
    let pay = words("wallet send-many pay.csv --dev-account 3");
    dsc.json("dsc.send-many/1", &pay);
    // As if this had been signed in its place, and was never sent.
    let genesis = network.genesis();
    let sign = ["wallet", "sign", "3", &to, "--dev-account", "3", "--fee", "0.25"];
    let place = ["--genesis", genesis.to_str().unwrap(), "--sequence", "0", "--expires", "5000"];
    let signed = far.json("dsc.tx.signed/1", &[&sign[..], &place].concat());
    let state = fs::read_to_string(dsc.path("pay.csv.sent")).unwrap();
    let kept: Vec<_> = state.lines().collect();
    assert_eq!(kept.len(), 3, "{state}");
    let part = format!("{{\"part\":0,\"id\":{},\"bytes\":{}}}", signed["id"], signed["bytes"]);
    dsc.write("pay.csv.sent", [kept[0], &part, kept[2], ""].join("\n"));
    let sent = dsc.json("dsc.send-many/1", &pay);
    assert_eq!(results(&sent)[0]["state"], "confirmed");
    assert_ne!(results(&sent)[0]["id"], signed["id"]);
    assert_eq!(dsc.balance("dora"), "6");

    // What somebody else signed is no payment of this file.
    dsc.write("other.csv", format!("{to},4\n"));
    dsc.write("other.csv.sent", "notes");
    let other = words("wallet send-many other.csv --dev-account 3");
    dsc.fails(8, "payments-state-corrupt", &other);
    assert_eq!(fs::read_to_string(dsc.path("other.csv.sent")).unwrap(), "notes");
    fs::remove_file(dsc.path("other.csv.sent")).unwrap();
    let plan = dsc.json("dsc.send-many.plan/1", &[&other[..], &["--dry-run"]].concat());
    assert_eq!((&plan["amount"], &plan["paid"]), (&"4".into(), &0.into()));
    assert!(!dsc.path("other.csv.sent").exists(), "a dry run leaves nothing");
}

#[test]
fn a_dry_run_tells_the_cost_and_sends_nothing() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = dsc.create("emil");
    let many = format!("{{\"address\":\"{to}\",\"amount\":\"0.5\"}}\n").repeat(300);
    dsc.write("pay.ndjson", many);
    let pay = words("wallet send-many pay.ndjson --dev-account 4 --fee 0.25");
    let plan = dsc.json("dsc.send-many.plan/1", &[&pay[..], &["--dry-run"]].concat());
    assert_eq!(
        (&plan["payments"], &plan["transactions"], &plan["amount"], &plan["fees"]),
        (&300.into(), &2.into(), &"150".into(), &"0.5".into())
    );
    assert_eq!((&plan["needed"], &plan["paid"]), (&"150.5".into(), &0.into()));
    assert_eq!(dsc.balance("emil"), "0");
    let text = dsc.text(&pay);
    assert!(text.starts_with(&format!("line 1: 0.5 to {to} confirmed in block ")), "{text}");
    assert!(text.ends_with("300 payments of 150 coins in 2 transactions\n"), "{text}");
    let plan = dsc.json("dsc.send-many.plan/1", &[&pay[..], &["--dry-run"]].concat());
    assert_eq!((&plan["needed"], &plan["paid"]), (&"0".into(), &2.into()));
    dsc.write("rich.csv", format!("{to},999999999\n"));
    let rich = words("wallet send-many rich.csv --dev-account 4 --dry-run");
    let (message, _) = dsc.fails(4, "insufficient-funds", &rich);
    assert!(message.starts_with("needs 999999999 coins with fees, the sender has "), "{message}");
}

#[test]
fn standard_input_is_resumed_by_its_content() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = dsc.create("finn");
    let pay = |text: String| {
        let mut command = dsc.command(&words("wallet send-many - --dev-account 5 --json"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let sent = pay(format!("{to},1\n"));
    assert_eq!(sent["schema"], "dsc.send-many/1", "{sent}");
    assert_eq!(pay(format!("# the same\n{to},1.0\n"))["transactions"], sent["transactions"]);
    assert_eq!(dsc.balance("finn"), "1");
    assert_eq!(pay(format!("{to},2\n"))["amount"], "2");
    assert_eq!(dsc.balance("finn"), "3");
    let wrong = pay(format!("{to},2\n\n{to};3\n"));
    assert_eq!(wrong["error"]["message"], "- line 3: expected ADDRESS,AMOUNT");
}

/// A key that is only looked at needs no passphrase.
#[test]
fn a_passphrase_is_asked_for_only_to_sign() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = dsc.create("gina");
    dsc.json("dsc.tx/1", &["wallet", "faucet", "gina", "10"]);
    dsc.write("pay.csv", format!("{to},1\n"));
    let pay = words("wallet send-many pay.csv");
    dsc.json("dsc.send-many.plan/1", &[&pay[..], &["--dry-run"]].concat());
    dsc.fails(2, "no-terminal", &pay);
    let opened = [&pay[..], &["--passphrase-file", "passphrase"]].concat();
    let sent = dsc.json("dsc.send-many/1", &opened);
    assert_eq!(dsc.json("dsc.send-many/1", &pay), sent);
    dsc.write("poor.csv", format!("{to},10\n"));
    let poor = words("wallet send-many poor.csv --fee 1");
    dsc.fails(4, "insufficient-funds", &poor);
}
