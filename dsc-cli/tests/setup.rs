//! Setting a program up, held by running the binary: settings, manual pages, what a supervisor is
//! told, and logs.

mod common;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use common::{Dsc, Network, PASSPHRASE};

#[test]
fn a_setting_of_a_file_is_shown_with_its_place_and_used() {
    let dsc = Dsc::offline();
    dsc.write("dsc.toml", "[monitor]\nlisten = \"127.0.0.1:0\"\n[pool]\nfaucet = true\n");
    let shown = dsc.json("dsc.config/1", &["config", "show", "--origin"]);
    let settings = shown["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|of| of["key"] == key).unwrap();
    assert_eq!(of("pool.faucet")["origin"], "dsc.toml");
    assert_eq!(of("pool.url")["origin"], "DSC_POOL__URL");
    assert_eq!(dsc.json("dsc.config.check/1", &["config", "check"])["set"], 5);
    // Nobody answers a monitor that listens at the port of the file.
    dsc.fails(6, "cannot-connect", &["monitor", "--once"]);
}

#[test]
fn a_wrong_setting_is_refused_with_its_place_and_what_to_do() {
    let dsc = Dsc::offline();
    dsc.write("dsc.toml", "[validator]\nthreds = 2\n");
    let (message, hint) = dsc.fails(9, "unknown-key", &["health"]);
    assert_eq!(message, "dsc.toml: unknown key `validator.threds`");
    assert_eq!(hint, "did you mean `validator.threads`?");
    dsc.write("dsc.toml", "[validator]\nthreads = \"two\"\n");
    let (message, _) = dsc.fails(9, "invalid-value", &["config", "check"]);
    assert!(message.contains("expected a whole number from 0 to 1024"), "{message}");
    dsc.write("dsc.toml", dsc.text(&["--config", "/dev/null", "config", "init"]));
    assert_eq!(dsc.json("dsc.config.check/1", &["config", "check", "dsc.toml"])["set"], 0);
}

/// What the units under contrib/systemd wait for (`Type=notify`).
#[cfg(target_os = "linux")]
#[test]
fn a_supervisor_is_told_once_a_role_serves() {
    let dsc = Dsc::offline();
    let socket = std::os::unix::net::UnixDatagram::bind(dsc.path("notify")).unwrap();
    let mut command = dsc.command(&["monitor", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", dsc.path("notify")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut message = [0; 200];
    let len = socket.recv(&mut message).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let message = String::from_utf8_lossy(&message[..len]).into_owned();
    assert!(message.starts_with("READY=1\nSTATUS=serves at http://127.0.0.1:"), "{message}");
}

#[test]
fn manual_pages_are_printed_or_written() {
    let dsc = Dsc::offline();
    assert!(dsc.text(&["man"]).contains(".TH DSC 1"));
    assert!(dsc.text(&["man", "wallet", "send"]).contains("wallet.fee"));
    let written = dsc.json("dsc.man.files/1", &["man", "--out", "pages"]);
    assert!(written["files"].as_array().unwrap().len() > 40, "{written}");
    assert!(dsc.path("pages/dsc-validator.1").exists());
    dsc.fails(2, "usage", &["man", "walet"]);
}

/// Every line is one event, and none tells a secret, however much is asked for.
#[test]
fn logs_are_one_json_object_a_line_without_secrets() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    // Otherwise people are warned of it beside the log.
    fs::set_permissions(dsc.path("passphrase"), Permissions::from_mode(0o600)).unwrap();
    let address = dsc.create("payer");
    let from = ["--from", "payer", "--passphrase-file", "passphrase"];
    let pay = [&["wallet", "send", "1", network.accounts[1].as_str()][..], &from].concat();
    let give = ["wallet", "faucet", address.as_str(), "5"];
    let listen = ["--listen", "127.0.0.1:0"];
    let look = [&["monitor", "--once"][..], &listen].concat();
    for args in [&give[..], &pay, &look] {
        let args = [args, &["--log-format", "json", "--json"]].concat();
        let log = File::create(dsc.path("log")).unwrap();
        let mut command = dsc.command(&args);
        let status = command.env("RUST_LOG", "trace").stdout(Stdio::null()).stderr(log).status();
        assert!(status.unwrap().success(), "{args:?}");
        let log = fs::read_to_string(dsc.path("log")).unwrap();
        assert!(!log.is_empty(), "{args:?}");
        for line in log.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect(line);
            assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
        }
        for secret in [PASSPHRASE, "PRIVATE KEY"] {
            assert!(!log.contains(secret), "{args:?}");
        }
    }
}
