//! Wallets on a running chain: keys, payments, proofs of them, and everything that is refused.
#![cfg(unix)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{Dsc, Network};
use serde_json::Value;

const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000007";

fn pays<'a>(from: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let payer = ["--from", from, "--passphrase-file", "passphrase"];
    [&["wallet", "send"], args, &payer].concat()
}

fn id_of(document: &Value) -> &str {
    document["id"].as_str().unwrap()
}

/// A wallet with the keys alice, who has 100 coins, and bob, who has none.
fn alice_and_bob(network: &Network) -> (Dsc, String, String) {
    let dsc = Dsc::on(network);
    let (alice, bob) = (dsc.create("alice"), dsc.create("bob"));
    let paid = dsc.json("dsc.tx/1", &["wallet", "faucet", "alice"]);
    assert_eq!(paid["state"], "confirmed");
    (dsc, alice, bob)
}

#[test]
fn a_payment_is_made_confirmed_proved_and_listed() {
    let network = Network::shared();
    let (dsc, alice, bob) = alice_and_bob(&network);
    assert_eq!((dsc.balance("alice"), dsc.balance(&bob)), ("100".into(), "0".into()));

    let terms = ["--fee", "0.5", "--memo", "for lunch", "--confirmations", "2"];
    let sent = dsc.json("dsc.tx/1", &pays("alice", &[&["12.5", &bob], &terms[..]].concat()));
    let (id, height) = (id_of(&sent), sent["height"].as_u64().unwrap());
    assert_eq!(
        (&sent["state"], &sent["transaction"]["memo"]),
        (&"confirmed".into(), &"for lunch".into())
    );
    assert_eq!((dsc.balance("alice"), dsc.balance("bob")), ("87".into(), "12.5".into()));
    let all = dsc.json("dsc.balances/1", &["wallet", "balance"]);
    assert_eq!((&all["total"], all["accounts"].as_array().unwrap().len()), (&"99.5".into(), 2));

    for args in [["tx", "status", id], ["tx", "show", id], ["wallet", "transaction", id]] {
        let told = dsc.json("dsc.tx/1", &args);
        assert_eq!(
            (&told["state"], &told["height"], &told["transaction"]),
            (&"confirmed".into(), &height.into(), &sent["transaction"])
        );
    }
    let block = dsc.json("dsc.block/1", &["block", "show", &height.to_string()]);
    let index = usize::try_from(sent["index"].as_u64().unwrap()).unwrap();
    assert_eq!(block["transactions"][index], sent["transaction"]);
    let same = dsc.json("dsc.block/1", &["block", "show", block["hash"].as_str().unwrap()]);
    assert_eq!(same, block);

    let history = dsc.json("dsc.history/1", &["wallet", "transactions", "alice", "--limit", "1"]);
    assert_eq!(
        (id_of(&history["events"][0]["transaction"]), &history["address"]),
        (id, &alice.as_str().into())
    );
    let older = dsc.json(
        "dsc.history/1",
        &["wallet", "history", "alice", "--before", history["next"].as_str().unwrap()],
    );
    assert_eq!((older["events"].as_array().unwrap().len(), &older["next"]), (1, &Value::Null));
    assert_eq!(older["events"][0]["received"], "100");
    let text = dsc.text(&["wallet", "history", "bob"]);
    assert!(text.contains(&format!("+12.5 from {alice} {id}")), "{text}");
}

#[test]
fn an_inclusion_proof_holds_without_a_network_and_for_nothing_else() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = &network.accounts[5];
    let sent = dsc.json("dsc.tx/1", &["wallet", "send", to, "3", "--dev-account", "4"]);
    let id = id_of(&sent);
    let written = dsc.json("dsc.inclusion.verified/1", &["block", "proof", id, "--out", "proof"]);
    dsc.json("dsc.chain.file/1", &["chain", "genesis", "genesis"]);
    assert_eq!(fs::read(dsc.path("genesis")).unwrap(), fs::read(network.genesis()).unwrap());

    let far = Dsc::offline();
    for file in ["proof", "genesis"] {
        far.write(file, fs::read(dsc.path(file)).unwrap());
    }
    let verify = ["block", "verify", "proof", "--genesis", "genesis"];
    let verified = far.json("dsc.inclusion.verified/1", &verify);
    assert_eq!((&verified, id_of(&verified)), (&written, id));
    assert_eq!(verified["transaction"]["payments"][0]["to"], to.as_str());
    let (message, _) =
        far.fails(4, "inclusion-invalid", &[&verify[..], &["--id", UNKNOWN]].concat());
    assert!(message.contains(&format!("it shows transaction {id}")), "{message}");

    let text = fs::read_to_string(dsc.path("proof")).unwrap();
    let mut forged: Value = serde_json::from_str(&text).unwrap();
    forged["inclusion"]["header"]["state"] = UNKNOWN.into();
    far.write("proof", forged.to_string());
    let (message, _) = far.fails(4, "inclusion-invalid", &verify);
    assert!(message.contains("signature"), "{message}");
    forged["chain"] = UNKNOWN.into();
    far.write("proof", forged.to_string());
    far.fails(4, "wrong-chain", &verify);
    far.write("proof", "{}");
    far.fails(8, "not-an-inclusion", &verify);
    far.fails(3, "file-not-found", &["block", "verify", "none", "--genesis", "genesis"]);
    assert_eq!(dsc.json("dsc.inclusion/1", &["block", "proof", id])["id"], id);
}

#[test]
fn the_same_signed_bytes_pay_once() {
    let network = Network::shared();
    let (dsc, _, bob) = alice_and_bob(&network);
    let payer = ["--from", "alice", "--passphrase-file", "passphrase"];
    let signed =
        dsc.json("dsc.tx.signed/1", &[&["wallet", "sign", &bob, "40"], &payer[..]].concat());
    dsc.write("signed", signed["bytes"].as_str().unwrap());
    for _ in 0..2 {
        let sent = dsc.json("dsc.tx/1", &["wallet", "submit", "@signed"]);
        assert_eq!((id_of(&sent), &sent["state"]), (id_of(&signed), &"confirmed".into()));
    }
    assert_eq!((dsc.balance("alice"), dsc.balance("bob")), ("60".into(), "40".into()));

    let decode = ["tx", "decode", "@signed", "--genesis"];
    let genesis = network.genesis();
    let decoded =
        dsc.json("dsc.tx.decoded/1", &[&decode[..], &[genesis.to_str().unwrap()]].concat());
    assert_eq!((id_of(&decoded), &decoded["valid"]), (id_of(&signed), &true.into()));
    assert_eq!(decoded["payments"], signed["transaction"]["payments"]);
    let mut bytes = hex::decode(signed["bytes"].as_str().unwrap()).unwrap();
    bytes[300] ^= 1;
    dsc.write("forged", &bytes);
    let decoded = dsc.json(
        "dsc.tx.decoded/1",
        &["tx", "decode", "@forged", "--genesis", genesis.to_str().unwrap()],
    );
    assert_eq!(decoded["valid"], false);
    dsc.fails(4, "bad-signature", &["wallet", "submit", "@forged"]);
}

#[test]
fn a_prepared_file_is_signed_without_a_network_and_sent_once() {
    let network = Network::shared();
    let (dsc, near) = (Dsc::offline(), Dsc::on(&network));
    let to = near.create("dora");
    dsc.write("pay.csv", format!("{to},0.01\n").repeat(7));
    let genesis = network.genesis();
    let sign = "wallet sign --file pay.csv --out signed --per-transaction 2 --dev-account 9";
    let place = ["--genesis", genesis.to_str().unwrap(), "--sequence", "0", "--expires", "5000"];
    let sign = [&sign.split(' ').collect::<Vec<_>>()[..], &place].concat();
    let signed = dsc.json("dsc.signed/1", &sign);
    assert_eq!((&signed["transactions"], &signed["payments"]), (&4.into(), &7.into()));
    dsc.fails(4, "file-exists", &sign);

    let text = fs::read_to_string(dsc.path("signed")).unwrap();
    near.write("signed", &text);
    for _ in 0..2 {
        let sent = near.json("dsc.submitted/1", &["wallet", "submit", "signed", "--batch", "3"]);
        assert_eq!((&sent["confirmed"], &sent["rejected"]), (&4.into(), &0.into()));
        assert_eq!(
            (&sent["results"][3]["line"], &sent["results"][3]["state"]),
            (&5.into(), &"confirmed".into())
        );
    }
    assert_eq!(near.balance("dora"), "0.07");
    let (message, _) = near.fails(3, "file-not-found", &["wallet", "submit", "no.signed"]);
    assert!(message.contains("no.signed"), "{message}");
    near.fails(2, "invalid-hex", &["wallet", "submit", "abc"]);
    let deep = ["wallet", "submit", "signed", "--confirmations"];
    near.json("dsc.submitted/1", &[&deep[..], &["3"]].concat());
    let height = near.json("dsc.chain/1", &["chain", "info"])["height"].as_u64().unwrap();
    let sent = near.json("dsc.submitted/1", &["wallet", "submit", "signed"]);
    assert!(sent["results"][3]["height"].as_u64().unwrap() + 2 <= height, "{sent} {height}");
    let late = [&deep[..], &["1000000", "--timeout", "300ms"]].concat();
    near.fails(5, "not-confirmed", &late);

    // Nothing is sent of a file with a wrong line, and a taken sequence is told by line.
    let cut = text.trim_end().rsplit_once('\n').unwrap().0;
    near.write("cut", format!("{cut}\n{{\"id\":\"\"}}\n"));
    near.fails(8, "prepared-malformed", &["wallet", "submit", "cut"]);
    near.write("other", text.replacen(text.split('"').nth(7).unwrap(), UNKNOWN, 1));
    near.fails(4, "wrong-chain", &["wallet", "submit", "other"]);
    near.write("one.csv", format!("{to},0.02\n"));
    let again = [&sign[..], &["--file", "one.csv", "--out", "again"]].concat();
    assert!(!near.run(&again).status.success(), "a flag is given once");
    let again: Vec<_> = sign
        .iter()
        .map(|word| match *word {
            "pay.csv" => "one.csv",
            "signed" => "again",
            other => other,
        })
        .collect();
    near.json("dsc.signed/1", &again);
    let (message, _) = near.fails(4, "transactions-rejected", &["wallet", "submit", "@again"]);
    // A line that has to wait for another does not hide that one is rejected.
    let (head, line) = (text.lines().next().unwrap(), "again");
    let used = fs::read_to_string(near.path(line)).unwrap();
    let place = ["--sequence", "9", "--expires", "5000", "--genesis", genesis.to_str().unwrap()];
    let ahead = "wallet sign --file one.csv --out ahead --dev-account 9";
    near.json("dsc.signed/1", &[&ahead.split(' ').collect::<Vec<_>>()[..], &place].concat());
    let ahead = fs::read_to_string(near.path("ahead")).unwrap();
    let lines = [head, used.lines().nth(1).unwrap(), ahead.lines().nth(1).unwrap()];
    near.write("both", lines.join("\n"));
    let both = ["wallet", "submit", "both", "--timeout", "300ms"];
    let error = near.error(4, "transactions-rejected", &both);
    assert_eq!(
        (error["faults"].as_array().unwrap().len(), &error["faults"][0]["line"]),
        (1, &2.into())
    );
    assert!(message.contains("1 of 1 transactions were rejected; line 2: "), "{message}");
}

#[test]
fn a_wait_that_ends_names_the_command_that_tells_more() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let wait = ["--confirmations", "1000000", "--timeout", "1s"];
    let pay = ["wallet", "send", "1", &network.accounts[1], "--dev-account", "6"];
    let (message, hint) = dsc.fails(5, "not-confirmed", &[&pay[..], &wait].concat());
    assert!(message.ends_with("is not confirmed after 1.0s"), "{message}");
    let mut words = hint.split(' ');
    assert_eq!(
        (words.next(), words.next(), words.next()),
        (Some("dsc"), Some("tx"), Some("status"))
    );
    let args: Vec<_> = hint.split(' ').skip(1).collect();
    // It works as it stands, with nothing but what it says.
    assert_eq!(Dsc::offline().json("dsc.tx/1", &args)["state"], "confirmed");
    let sent = dsc.json("dsc.tx/1", &[&pay[..], &["--async"]].concat());
    assert_eq!(sent["state"], "submitted");
}

#[test]
fn everybody_in_a_file_is_paid() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let to = dsc.create("carol");
    let lines = format!("{to},0.01\n").repeat(300);
    dsc.write("many.csv", format!("address,amount\n{lines}"));
    let pay = ["wallet", "send-many", "many.csv", "--dev-account", "7"];
    let sent = dsc.json("dsc.send-many/1", &pay);
    assert_eq!((&sent["payments"], &sent["amount"]), (&300.into(), &"3".into()));
    let parts = sent["transactions"].as_array().unwrap();
    let counts: Vec<_> = parts.iter().map(|part| part["payments"].as_u64().unwrap()).collect();
    assert_eq!(counts, [256, 44]);
    assert!(parts.iter().all(|part| part["state"] == "confirmed"));
    assert_eq!(dsc.balance("carol"), "3");

    dsc.write("many.csv", format!("{to},1\n{to},1.5.0\n"));
    let (message, _) = dsc.fails(2, "invalid-payments", &pay);
    assert!(message.starts_with("many.csv line 2: an amount is digits"), "{message}");
    dsc.write("rich.csv", format!("{{\"address\":\"{to}\",\"amount\":\"1\"}}\n{to},999999999\n"));
    let pay = ["wallet", "send-many", "rich.csv", "--dev-account", "7"];
    dsc.fails(4, "insufficient-funds", &pay);
    assert_eq!(dsc.balance("carol"), "3");
}

#[test]
fn what_cannot_be_paid_is_refused_with_a_reason() {
    let network = Network::shared();
    let (dsc, alice, bob) = alice_and_bob(&network);
    let (message, _) = dsc.fails(4, "insufficient-funds", &pays("alice", &["100.00000001", &bob]));
    assert!(message.contains("needs 100.00000001 coins"), "{message}");
    let main = dsc.json("dsc.key/1", &["wallet", "show", "bob", "--prefix", "dsc"]);
    let (message, _) =
        dsc.fails(2, "invalid-address", &pays("alice", &["1", main["address"].as_str().unwrap()]));
    assert_eq!(message, "the address starts with \"dsc\", expected \"dscd\"");
    let last = if bob.ends_with('q') { "p" } else { "q" };
    let mistyped = format!("{}{last}", &bob[..bob.len() - 1]);
    let (message, _) = dsc.fails(2, "invalid-address", &pays("alice", &[&mistyped, "1"]));
    assert!(message.contains("checksum"), "{message}");
    dsc.fails(2, "usage", &pays("alice", &["0", &bob]));
    dsc.fails(2, "invalid-amount", &pays("alice", &["1,5", &bob]));
    dsc.fails(2, "usage", &["wallet", "send", "1", &bob]);
    dsc.fails(2, "usage", &["wallet", "send", "1", &bob, "--dev-account", "10"]);
    dsc.fails(2, "usage", &pays("alice", &["1", &bob, "--fee", "-1"]));
    dsc.fails(3, "key-not-found", &pays("nobody", &["1", &bob]));
    dsc.fails(3, "key-not-found", &pays("alice", &["1", "nobody"]));
    dsc.write("passphrase", "wrong");
    dsc.fails(7, "wrong-passphrase", &pays("alice", &["1", &bob]));
    assert_eq!(dsc.balance(&alice), "100");
}

#[test]
fn what_is_not_there_is_exit_3_and_what_does_not_answer_exit_6() {
    let network = Network::shared();
    let (dsc, far) = (Dsc::on(&network), Dsc::offline());
    for args in [["tx", "status", UNKNOWN], ["tx", "show", UNKNOWN], ["block", "proof", UNKNOWN]] {
        dsc.fails(3, "unknown-transaction", &args);
        far.fails(6, "cannot-connect", &args);
        dsc.fails(2, "usage", &[args[0], args[1], "7"]);
    }
    dsc.fails(3, "unknown-block", &["block", "show", UNKNOWN]);
    dsc.fails(3, "unknown-block", &["block", "show", "99999999"]);
    dsc.fails(2, "invalid-block", &["block", "show", "top"]);
    let to = &network.accounts[0];
    far.fails(6, "cannot-connect", &["wallet", "send", "1", to, "--dev-account", "1"]);
    far.fails(6, "cannot-connect", &["wallet", "balance", to]);
    far.fails(6, "cannot-connect", &["chain", "info"]);
    far.fails(6, "cannot-connect", &["chain", "verify"]);
    assert_eq!(dsc.balance(&far.create("new")), "0");
}

#[test]
fn published_keys_are_for_development_networks_only() {
    let far = Dsc::offline();
    far.create("metronome");
    far.write("metronome.pem", far.text(&["wallet", "show", "metronome", "--pem"]));
    far.json("dsc.genesis/1", &["genesis", "--network", "real", "--metronome", "metronome.pem"]);
    let to = far.json("dsc.key/1", &["wallet", "show", "metronome", "--prefix", "dsc"]);
    let to = to["address"].as_str().unwrap();
    let send = ["wallet", "send", "1", to, "--genesis", "genesis.json"];
    far.fails(9, "published-key", &[&send[..], &["--dev-account", "0"]].concat());
    far.write("account.pem", include_str!("../dev-keys/account-00.pem"));
    far.fails(9, "published-key", &[&send[..], &["--key", "account.pem"]].concat());
    // A key of one's own gets as far as the pool that is not there.
    let own = [&send[..], &["--passphrase-file", "passphrase", "--timeout", "300ms"]].concat();
    far.fails(6, "pool-unreachable", &own);
}

#[test]
fn a_chain_is_exported_verified_and_imported() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    dsc.json("dsc.tx/1", &["wallet", "send", "1", &network.accounts[2], "--dev-account", "8"]);
    let info = dsc.json("dsc.chain/1", &["chain", "info"]);
    let verified = dsc.json("dsc.chain.verified/1", &["chain", "verify"]);
    assert!(verified["blocks"].as_u64().unwrap() > info["height"].as_u64().unwrap());
    let exported = dsc.json("dsc.chain.file/1", &["chain", "export", "chain"]);
    assert_eq!(exported["chain"], info["chain"]);
    dsc.fails(4, "file-exists", &["chain", "export", "chain"]);

    let far = Dsc::offline();
    let bytes = fs::read(dsc.path("chain")).unwrap();
    far.write("chain", &bytes);
    let from_file = far.json("dsc.chain.verified/1", &["chain", "verify", "--file", "chain"]);
    assert_eq!(from_file["blocks"], exported["blocks"]);
    let imported = far.json("dsc.chain.import/1", &["chain", "import", "chain"]);
    assert_eq!(
        (&imported["added"], &imported["blocks"]),
        (&exported["blocks"], &exported["blocks"])
    );
    let again = far.json("dsc.chain.import/1", &["chain", "import", "chain"]);
    assert_eq!((&again["added"], &again["blocks"]), (&0.into(), &exported["blocks"]));
    assert_eq!(far.json("dsc.chain.verified/1", &["chain", "verify", "--offline"]), from_file);
    far.json("dsc.chain.file/1", &["chain", "export", "again", "--offline"]);
    assert_eq!(fs::read(far.path("again")).unwrap(), bytes);

    far.write("cut", &bytes[..bytes.len() - 1]);
    far.fails(8, "export-corrupt", &["chain", "verify", "--file", "cut"]);
    let mut flipped = bytes.clone();
    let place = bytes.len() - 400;
    flipped[place] ^= 1;
    far.write("flipped", &flipped);
    let output = far.run(&["chain", "verify", "--file", "flipped", "--json"]);
    assert_eq!(output.status.code(), Some(8));
    far.fails(3, "file-not-found", &["chain", "verify", "--file", "none"]);
    far.fails(3, "ledger-not-found", &["chain", "verify", "--ledger", "none"]);
}

#[test]
fn keys_are_kept_moved_and_removed() {
    let dsc = Dsc::offline();
    let address = dsc.create("alice");
    let create = ["wallet", "create", "alice", "--passphrase-file", "passphrase"];
    dsc.fails(4, "key-exists", &create);
    dsc.fails(2, "usage", &["wallet", "create", "Alice"]);
    dsc.fails(2, "no-terminal", &["wallet", "create", "bob"]);
    let text = dsc.text(&["wallet", "key", "alice"]);
    assert_eq!(text, format!("alice {address}\n"));

    dsc.write("alice.pem", dsc.text(&["wallet", "export", "alice"]));
    dsc.json("dsc.key.done/1", &["wallet", "export", "alice", "--out", "copy.pem"]);
    let mode = fs::metadata(dsc.path("copy.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    dsc.fails(4, "file-exists", &["wallet", "export", "alice", "--out", "copy.pem"]);
    let pem = fs::read_to_string(dsc.path("alice.pem")).unwrap();
    assert_eq!(fs::read_to_string(dsc.path("copy.pem")).unwrap(), pem);
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
    let source = ["--passphrase-file", "passphrase"];
    let moved =
        dsc.json("dsc.key/1", &[&["wallet", "import", "copy", "alice.pem"], &source[..]].concat());
    assert_eq!(moved["address"], address.as_str());
    dsc.write("other", "battery staple");
    let change = ["wallet", "passwd", "copy", "--new-passphrase-file", "other"];
    dsc.json("dsc.key.done/1", &[&change[..], &source].concat());
    dsc.fails(7, "wrong-passphrase", &[&change[..], &source].concat());
    dsc.fails(8, "invalid-key", &[&["wallet", "import", "x", "other"], &source[..]].concat());
    dsc.fails(2, "usage", &["wallet", "remove", "copy"]);
    dsc.json("dsc.key.done/1", &["wallet", "remove", "copy", "--yes"]);
    dsc.fails(3, "key-not-found", &["wallet", "show", "copy"]);
    let keys = dsc.json("dsc.keys/1", &["wallet", "list"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    dsc.write("dsc-data/wallet/broken.pem", "no key");
    dsc.fails(8, "key-corrupt", &["wallet", "show", "broken"]);
    let keys = dsc.json("dsc.keys/1", &["wallet", "list"]);
    assert!(keys["keys"][1]["fault"].as_str().unwrap().contains("damaged"));
}
