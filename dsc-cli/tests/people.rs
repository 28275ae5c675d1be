//! What people do with a wallet on a running chain besides paying: sealed memos, watching, waiting.
#![cfg(unix)]

mod common;

use std::process::Command;

use common::{Beside, Door, Dsc, Network};
use serde_json::Value;

const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000007";
const BOB: [&str; 2] = ["--passphrase-file", "passphrase"];

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn id_of(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_sealed_memo_is_read_by_its_recipient_only() {
    let network = Network::shared();
    let (sender, far) = (Dsc::on(&network), Dsc::on(&network));
    let bob = far.create("bob");
    let seal = ["--memo", "under the mat", "--seal", "--dev-account", "0"];
    let send = [&["wallet", "send", "2", &bob], &seal[..]].concat();
    let (message, hint) = sender.fails(3, "no-public-key", &send);
    assert!(message.contains("has never sent anything"), "{message}");
    assert!(hint.contains("dsc wallet show NAME --pem") && hint.contains("--seal-to"), "{hint}");

    // The recipient hands out the public half.
    sender.write("bob.pem", far.text(&["wallet", "show", "bob", "--public"]));
    let to = [&send[..], &["--seal-to", "bob.pem"]].concat();
    let id = id_of(&sender.json("dsc.tx/1", &to));
    let read = [&["wallet", "read", &id], &BOB[..]].concat();
    let memo = far.json("dsc.memo/1", &read);
    assert_eq!(
        (&memo["kind"], &memo["text"], &memo["reader"]),
        (&"sealed".into(), &"under the mat".into(), &bob.as_str().into())
    );
    assert_eq!(memo["sender"], network.accounts[0].as_str());
    assert_eq!(far.text(&read), "under the mat\n");
    let (_, hint) = sender.fails(3, "no-key", &["wallet", "read", &id]);
    assert!(hint.contains("not even the sender"), "{hint}");
    sender.fails(4, "memo-not-opened", &["wallet", "read", &id, "--dev-account", "0"]);
    let wrong = [&["wallet", "send", "2", &network.accounts[3]], &seal[..]].concat();
    let wrong = [&wrong[..], &["--seal-to", "bob.pem"]].concat();
    sender.fails(4, "wrong-recipient-key", &wrong);

    // Once the recipient has signed something, the chain has the key.
    let pay = [&["wallet", "send", "1", &network.accounts[1]], &BOB[..]].concat();
    let plain = far.json("dsc.tx/1", &[&pay[..], &["--memo", "to\u{1b}[2Jall"]].concat());
    let again = sender.json("dsc.tx/1", &send);
    let again = id_of(&again);
    let read = [&["wallet", "read", &again, "--as", "bob"], &BOB[..]].concat();
    assert_eq!(far.text(&read), "under the mat\n");
    let read = sender.text(&["wallet", "read", &id_of(&plain)]);
    assert_eq!(read, "to\\u{1b}[2Jall\n");

    let history = far.json("dsc.history/1", &["wallet", "history", "bob"]);
    let sealed: Vec<_> = history["events"].as_array().unwrap().iter().collect();
    let sealed: Vec<_> = sealed.iter().map(|event| event["sealed"].as_bool().unwrap()).collect();
    assert_eq!(sealed, [true, false, true]);
    let text = far.text(&["wallet", "history", "bob"]);
    assert!(text.contains("(sealed memo)") && text.contains("\"to\\u{1b}[2Jall\""), "{text}");
    let text = sender.text(&["tx", "show", &id]);
    assert!(text.contains("memo     (sealed: `dsc wallet read ID` opens it"), "{text}");

    // Somebody who copies it into a payment of his own is found out.
    let copied = copy_memo(&network, &sender, &again, &bob);
    far.fails(4, "memo-not-opened", &[&["wallet", "read", &copied], &BOB[..]].concat());
    far.fails(3, "unknown-transaction", &["wallet", "read", UNKNOWN]);
}

/// Pays `to` one coin from account 5 with the memo of another transaction.
fn copy_memo(network: &Network, dsc: &Dsc, id: &str, to: &str) -> String {
    use dsc_lib::{
        codec,
        genesis::Genesis,
        keys::SecretKey,
        transaction::{Draft, Transaction},
    };
    let account = ["--dev-account", "5"];
    let sign = [&["wallet", "sign", "1", to], &account[..]].concat();
    let signed = dsc.json("dsc.tx.signed/1", &sign);
    let decode = |text: &Value| -> Transaction {
        codec::decode(&hex::decode(text.as_str().unwrap()).unwrap()).unwrap()
    };
    let (own, proof) =
        (decode(&signed["bytes"]), dsc.json("dsc.inclusion/1", &["block", "proof", id]));
    let memo = decode(&proof["inclusion"]["transaction"]).memo;
    let Transaction { sequence, expires, fee, payments, .. } = own;
    let key = SecretKey::from_pkcs8_pem(include_str!("../dev-keys/account-05.pem")).unwrap();
    let genesis: Genesis =
        serde_json::from_slice(&std::fs::read(network.genesis()).unwrap()).unwrap();
    let copied = Draft { sequence, expires, fee, payments, memo }.sign(&genesis.hash(), &key);
    dsc.write("copied", hex::encode(codec::encode(&copied)));
    id_of(&dsc.json("dsc.tx/1", &["wallet", "submit", "@copied"]))
}

#[test]
fn memos_are_sealed_offline_and_from_files() {
    let network = Network::shared();
    let (dsc, far) = (Dsc::offline(), Dsc::on(&network));
    let bob = far.create("bob");
    dsc.write("bob.pem", far.text(&["wallet", "show", "bob", "--pem"]));
    let genesis = network.genesis();
    let place = ["--genesis", genesis.to_str().unwrap(), "--sequence", "0", "--expires", "5000"];
    let sign = ["wallet", "sign", "1", &bob, "--dev-account", "8", "--memo", "x", "--seal"];
    let (_, hint) = dsc.fails(2, "usage", &[&sign[..], &place].concat());
    assert!(hint.contains("--seal-to"), "{hint}");
    let sign = [&sign[..], &place, &["--seal-to", "bob.pem"]].concat();
    let signed = dsc.json("dsc.tx.signed/1", &sign);
    let id = far.json("dsc.tx/1", &["wallet", "submit", signed["bytes"].as_str().unwrap()]);
    assert_eq!(far.text(&[&["wallet", "read", &id_of(&id)], &BOB[..]].concat()), "x\n");

    let lines = format!("address,amount,memo\n{bob},1,first\n{bob},2,\"second, last\"\n{bob},3\n");
    far.write("pay.csv", lines);
    let pay = words("wallet send-many pay.csv --dev-account 9 --seal");
    let paid = far.json("dsc.send-many/1", &pay);
    let ids: Vec<_> = paid["transactions"].as_array().unwrap().iter().map(id_of).collect();
    let texts = ids.iter().map(|id| far.text(&[&["wallet", "read", id], &BOB[..]].concat()));
    assert_eq!(texts.collect::<Vec<_>>(), ["first\n", "second, last\n", ""]);
    far.write("pay.csv", format!("{bob},1\n"));
    let (message, _) = far.fails(2, "invalid-payments", &pay);
    assert!(message.contains("no memo to seal"), "{message}");
    let long = "x".repeat(235);
    let too_long = ["wallet", "send", "1", &bob, "--dev-account", "9", "--seal", "--memo", &long];
    let (message, _) = far.fails(2, "usage", &too_long);
    assert_eq!(message, "the memo has 235 bytes, a sealed memo has at most 234");
    far.fails(2, "usage", &["wallet", "send", "1", &bob, "--dev-account", "9", "--seal"]);
}

/// A watch that has begun.
fn watching(command: Command) -> Beside {
    let mut watch = Beside::start(command);
    watch.said("watching ");
    watch
}

#[test]
fn what_touches_an_account_is_told_as_it_happens() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let (carol, dora) = (dsc.create("carol"), dsc.create("dora"));
    let mut all = watching(dsc.command(&["wallet", "watch", "--json"]));
    let mut one = watching(dsc.command(&["wallet", "watch", "carol", "--json"]));
    let send = ["wallet", "send", "--dev-account", "2"];
    let first = dsc.json("dsc.tx/1", &[&send[..], &["5", &carol, "--memo", "hello"]].concat());
    let pay = ["wallet", "send", "2", &dora, "--from", "carol"];
    let second = dsc.json("dsc.tx/1", &[&pay[..], &BOB].concat());

    let seen = one.next();
    assert_eq!(
        (&seen["schema"], &seen["name"], &seen["address"], &seen["received"]),
        (&"dsc.watch/1".into(), &"carol".into(), &carol.as_str().into(), &"5".into())
    );
    assert_eq!((id_of(&seen["transaction"]), &seen["sealed"]), (id_of(&first), &false.into()));
    let seen = one.next();
    assert_eq!((id_of(&seen["transaction"]), &seen["received"]), (id_of(&second), &"0".into()));
    let names: Vec<_> = (0..3).map(|_| all.next()["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| *name == "carol").count(), 2, "{names:?}");
    assert_eq!((one.end("-INT"), all.end("-INT")), (Some(0), Some(0)));

    let since = words("wallet watch carol --since 0 --count 2");
    let text = dsc.text(&since);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("+5 from ") && lines[0].ends_with(" \"hello\""), "{text}");
    assert!(lines[1].contains(&format!("-2 to {dora}")), "{text}");
    Dsc::offline().fails(6, "cannot-connect", &["wallet", "watch", &carol]);
    Dsc::on(&network).fails(2, "usage", &["wallet", "watch"]);
}

/// Nothing is lost and nothing is told twice while the server is away.
#[test]
fn a_watch_goes_on_after_the_server_was_away() {
    let mut network = Network::start_with(&[]);
    let door = Door::to(&network.place("blockchain"));
    let dsc = Dsc::on(&network);
    let to = dsc.create("carol");
    let watch = ["wallet", "watch", "carol", "--json", "--blockchain-url", &door.url];
    let mut watch = watching(dsc.command(&watch));
    let pay = |network: &Network, amount: &str| {
        let send = ["wallet", "send", amount, &to, "--dev-account", "1"];
        id_of(&Dsc::on(network).json("dsc.tx/1", &send))
    };
    let mut paid = vec![pay(&network, "1")];
    let mut seen = vec![id_of(&watch.next()["transaction"])];
    door.turn("");
    paid.push(pay(&network, "2"));
    network.restart();
    paid.push(pay(&network, "3"));
    door.turn(&network.place("blockchain"));
    paid.push(pay(&network, "4"));
    seen.extend((0..3).map(|_| id_of(&watch.next()["transaction"])));
    assert_eq!(seen, paid);

    let other = Network::start_with(&[("DSC_GENERAL__PROGRESS", "none")]);
    door.turn(&other.place("blockchain"));
    let last = watch.next();
    assert_eq!(last["error"]["code"], "wrong-chain", "{last}");
    assert_eq!(watch.child.wait().unwrap().code(), Some(4));
}

/// Whatever it asks first after another server has taken the place of the one it knew.
#[test]
fn a_watch_notices_another_chain_though_no_connection_was_lost() {
    let network = Network::shared();
    let other = Network::start_with(&[("DSC_GENERAL__PROGRESS", "none")]);
    let door = Door::for_one_request_each(&network.place("blockchain"));
    let dsc = Dsc::on(&network);
    dsc.create("erin");
    let watch = ["wallet", "watch", "erin", "--json", "--blockchain-url", &door.url];
    let mut watch = watching(dsc.command(&watch));
    door.lead(&other.place("blockchain"));
    let last = watch.next();
    assert_eq!(last["error"]["code"], "wrong-chain", "{last}");
    assert_eq!(watch.child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_wait_ends_with_what_was_waited_for() {
    let network = Network::shared();
    let (dsc, far) = (Dsc::on(&network), Dsc::offline());
    let ready = dsc.json("dsc.health/1", &["wait", "ready"]);
    assert_eq!(ready["roles"].as_array().unwrap().len(), 3);
    let ready = dsc.json("dsc.health/1", &["wait", "ready", "pool", "--timeout", "5s"]);
    assert_eq!(ready["roles"][0]["role"], "pool");
    far.fails(6, "cannot-connect", &words("wait ready --timeout 300ms"));
    far.fails(6, "cannot-connect", &words("wait height 1 --timeout 300ms"));
    far.fails(6, "cannot-connect", &["wait", "tx", UNKNOWN, "--timeout", "300ms"]);

    let now = dsc.json("dsc.wait.height/1", &words("wait height 0"))["tip"].as_u64().unwrap();
    let later = dsc.json("dsc.wait.height/1", &words("wait height +2"));
    assert!(later["height"].as_u64().unwrap() >= now + 2, "{later}");
    let (message, _) =
        dsc.fails(5, "height-not-reached", &words("wait height 99999999 --timeout 1s"));
    assert_eq!(message, "the ledger has no block 99999999 after 1.0s");
    dsc.fails(2, "usage", &words("wait height x"));

    let send = ["wallet", "send", "1", &network.accounts[4], "--dev-account", "3", "--async"];
    let id = id_of(&dsc.json("dsc.tx/1", &send));
    let ended = dsc.json("dsc.tx/1", &["wait", "tx", &id, "--confirmations", "2"]);
    assert_eq!((&ended["state"], id_of(&ended["transaction"])), (&"confirmed".into(), id));
    let unknown = ["wait", "tx", UNKNOWN, "--timeout", "300ms"];
    let (_, hint) = dsc.fails(5, "not-confirmed", &unknown);
    assert!(hint.starts_with("dsc tx status "), "{hint}");
}
