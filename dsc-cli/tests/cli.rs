//! The contract of the command line, held by running the binary.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The binary in an empty folder with an empty environment.
struct Dsc {
    folder: tempfile::TempDir,
}

impl Dsc {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dsc"));
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn exit(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// Standard output has to be one JSON document with a schema.
fn document(output: &Output) -> Value {
    let text = text(&output.stdout);
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let document: Value = serde_json::from_str(text).unwrap();
    assert!(document["schema"].is_string(), "{document}");
    document
}

/// Standard output has to be one error document; returns its code, message and hint.
fn error(output: &Output) -> (String, String, String) {
    let document = document(output);
    assert_eq!(document["schema"], "dsc.error/1");
    let field = |name: &str| document["error"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(document["error"].as_object().unwrap().len(), 3);
    (field("code"), field("message"), field("hint"))
}

#[test]
fn a_wrong_command_line_is_exit_2_in_both_forms() {
    let dsc = Dsc::new();
    for args in [&["confg"] as &[&str], &["health", "--nothing"], &["config"], &[]] {
        let plain = dsc.run(args);
        assert_eq!((exit(&plain), text(&plain.stdout)), (2, ""), "{args:?}");
        assert!(text(&plain.stderr).starts_with("error: "), "{}", text(&plain.stderr));
        let json = dsc.run(&[args, &["-j"]].concat());
        assert_eq!((exit(&json), text(&json.stderr)), (2, ""), "{args:?}");
        let (code, message, hint) = error(&json);
        assert_eq!(code, "usage");
        assert!(!message.is_empty() && !hint.is_empty(), "{message} {hint}");
    }
    let value = dsc.run(&["config", "show", "--progress", "loud", "-j"]);
    let message = "invalid value 'loud' for '--progress <FORM>' [possible values: auto, bar, \
                   plain, json, none]";
    assert_eq!(error(&value).1, message);
}

#[test]
fn help_and_version_are_answers() {
    let dsc = Dsc::new();
    for flag in ["--help", "--version"] {
        let plain = dsc.run(&[flag]);
        assert_eq!((exit(&plain), text(&plain.stderr)), (0, ""));
        let json = dsc.run(&["--json", flag]);
        assert_eq!((exit(&json), document(&json)["schema"].as_str()), (0, Some("dsc.help/1")));
        assert_eq!(document(&json)["text"].as_str().unwrap(), text(&plain.stdout));
    }
}

#[test]
fn an_unknown_key_is_exit_9_with_a_suggestion() {
    let dsc = Dsc::new();
    fs::write(dsc.path().join("dsc.toml"), "[pool]\nulr = \"http://127.0.0.1:1\"\n").unwrap();
    for args in [&["config", "show"] as &[&str], &["config", "check"], &["health"]] {
        let output = dsc.run(&[args, &["-j"]].concat());
        let expected = (
            "unknown-key".to_owned(),
            "dsc.toml: unknown key `pool.ulr`".to_owned(),
            "did you mean `pool.url`?".to_owned(),
        );
        assert_eq!((exit(&output), error(&output)), (9, expected));
    }
    let plain = dsc.run(&["config", "check"]);
    let expected = "error: dsc.toml: unknown key `pool.ulr`\n  hint: did you mean `pool.url`?\n";
    assert_eq!(text(&plain.stderr), expected);
    // These help to mend it.
    assert_eq!(exit(&dsc.run(&["config", "path"])), 0);
    assert_eq!(exit(&dsc.run(&["config", "init"])), 0);
}

#[test]
fn an_unknown_variable_is_exit_9_with_a_suggestion() {
    let dsc = Dsc::new();
    let mut command = dsc.command(&["config", "show", "-j"]);
    let output = command.env("DSC_POOL__ULR", "x").output().unwrap();
    let (code, _, hint) = error(&output);
    assert_eq!((exit(&output), code.as_str()), (9, "unknown-key"));
    assert_eq!(hint, "did you mean `DSC_POOL__URL`?");
}

#[test]
fn a_value_that_does_not_fit_is_exit_2_in_a_flag_and_9_elsewhere() {
    let dsc = Dsc::new();
    assert_eq!(exit(&dsc.run(&["config", "show", "--pool-url", "nowhere"])), 2);
    let mut command = dsc.command(&["config", "show", "-j"]);
    let output = command.env("DSC_POOL__URL", "nowhere").output().unwrap();
    assert_eq!((exit(&output), error(&output).0.as_str()), (9, "invalid-value"));
    let missing = dsc.run(&["config", "show", "-j", "--config", "missing.toml"]);
    assert_eq!((exit(&missing), error(&missing).0.as_str()), (9, "config-unreadable"));
    let mut command = dsc.command(&["health", "-j"]);
    let output = command.env("RUST_LOG", "dsc=loud").output().unwrap();
    assert_eq!((exit(&output), error(&output).0.as_str()), (9, "invalid-log-filter"));
}

#[test]
fn show_says_where_each_value_is_from() {
    let dsc = Dsc::new();
    fs::write(dsc.path().join("dsc.toml"), "[http]\nconnections_max = 5\n").unwrap();
    let args = ["config", "show", "--origin", "-j", "--pool-url", "http://127.0.0.1:9"];
    let output = dsc.command(&args).env("DSC_HTTP__BODY_TIME", "3s").output().unwrap();
    let document = document(&output);
    let origin = |key: &str| {
        let settings = document["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (setting["value"].as_str().unwrap(), setting["origin"].as_str().unwrap())
    };
    assert_eq!(origin("http.connections_max"), ("5", "dsc.toml"));
    assert_eq!(origin("http.body_time"), ("3s", "DSC_HTTP__BODY_TIME"));
    assert_eq!(origin("pool.url"), ("http://127.0.0.1:9", "--pool-url"));
    assert_eq!(origin("blockchain.url"), ("http://127.0.0.1:7701", "default"));
}

#[test]
fn the_template_is_a_valid_file() {
    let dsc = Dsc::new();
    let template = dsc.run(&["config", "init"]);
    fs::write(dsc.path().join("dsc.toml"), &template.stdout).unwrap();
    let output = dsc.run(&["config", "check", "-j"]);
    assert_eq!((exit(&output), document(&output)["set"].as_u64()), (0, Some(0)));
}

#[test]
fn a_completion_script_names_the_commands() {
    let dsc = Dsc::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = dsc.run(&["completions", shell]);
        assert_eq!(exit(&output), 0);
        assert!(text(&output.stdout).contains("health"), "{shell}");
    }
}

#[test]
fn a_role_that_is_not_there_is_exit_6() {
    let dsc = Dsc::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = dsc.run(&["health", "--url", &url, "-j"]);
    let (code, message, _) = error(&output);
    assert_eq!((exit(&output), code.as_str()), (6, "cannot-connect"));
    assert_eq!(message, format!("a server cannot be reached at {url}: connection refused"));
}

#[test]
fn a_closed_standard_output_ends_the_command_quietly() {
    let dsc = Dsc::new();
    let mut child = dsc
        .command(&["config", "init"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((exit(&output), text(&output.stderr)), (0, ""));
}

/// A port that nobody listens at: it was free a moment ago.
fn silent_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_monitor_that_nobody_answers_is_exit_6() {
    let (dsc, url) = (Dsc::new(), silent_url());
    let urls = ["--blockchain-url", &url, "--pool-url", &url, "--metronome-url", &url];
    let once = ["monitor", "--once", "--listen", "127.0.0.1:0", "-j"];
    let output = dsc.run(&[&once[..], &urls].concat());
    assert_eq!(exit(&output), 6);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["error"]["code"], "cannot-connect", "{last}");
}

#[test]
fn flags_that_make_no_chain_are_exit_2_and_name_themselves() {
    let dsc = Dsc::new();
    let cases: [&[&str]; 3] = [
        &["dev", "--validators", "work=65", "--port-base", "0", "-j"],
        &["dev", "--block-time", "0s", "--port-base", "0", "-j"],
        &["genesis", "--development", "--block-time", "0s", "-j"],
    ];
    for args in cases {
        let output = dsc.run(args);
        assert_eq!(exit(&output), 2, "{args:?}");
        let (code, message, hint) = error(&output);
        assert_eq!(code, "usage");
        assert!(message.contains(args[1]) || message.contains("--block-time"), "{message}");
        assert!(!hint.is_empty());
    }
}

#[test]
fn a_taken_port_and_a_taken_folder_are_named() {
    let dsc = Dsc::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = dsc.run(&["blockchain", "--listen", &address, "-j"]);
    assert_eq!(exit(&output), 9);
    let (code, message, hint) = error(&output);
    assert_eq!(code, "port-taken");
    assert!(message.contains("blockchain") && hint.contains("--listen"), "{message} {hint}");

    let folder = dsc.path().join("dsc-data/blockchain");
    fs::create_dir_all(&folder).unwrap();
    let lock = dsc_cli::lock::FolderLock::acquire(&folder).unwrap();
    let output = dsc.run(&["blockchain", "--listen", "127.0.0.1:0", "-j"]);
    assert_eq!((exit(&output), error(&output).0.as_str()), (1, "data-folder-in-use"));
    drop(lock);
    let output = dsc.run(&["blockchain", "--listen", "127.0.0.1:0", "-j"]);
    assert_eq!((exit(&output), error(&output).0.as_str()), (3, "ledger-not-found"));
}

/// Looking at a place must not make a ledger of it.
#[test]
fn what_is_no_ledger_is_exit_3_or_8_and_stays_as_it_is() {
    let dsc = Dsc::new();
    let (file, folder) = (dsc.path().join("file"), dsc.path().join("folder"));
    fs::write(&file, []).unwrap();
    fs::create_dir(&folder).unwrap();
    let verify = |name: &str| {
        let output = dsc.run(&["chain", "verify", "--ledger", name, "-j"]);
        (exit(&output), error(&output).0)
    };
    assert_eq!(verify("file"), (8, "ledger-not-a-folder".into()));
    assert_eq!(verify("folder"), (3, "ledger-not-found".into()));
    assert_eq!(fs::metadata(file).unwrap().len(), 0);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    fs::write(folder.join("ledger.redb"), "of an earlier version").unwrap();
    assert_eq!(verify("folder"), (8, "ledger-old".into()));
    assert_eq!(verify("folder/ledger"), (8, "ledger-old".into()));
}
