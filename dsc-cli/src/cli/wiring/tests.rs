use std::{ffi::OsString, fs, iter, path::PathBuf};

use super::*;
use crate::{
    cli::{Line, LineError},
    config::{Origin, Sources, variable},
};

/// Every flag of every command: the names of the command, and the flag.
fn every_flag(command: &Command, path: &str, found: &mut Vec<(String, Arg)>) {
    let own = command.get_arguments().filter(|arg| !arg.is_global_set() || path.is_empty());
    found.extend(own.map(|arg| (path.to_owned(), arg.clone())));
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name());
        every_flag(inner, path.trim_start(), found);
    }
}

fn all_flags() -> Vec<(String, Arg)> {
    let mut found = Vec::new();
    every_flag(&command(), "", &mut found);
    found.retain(|(_, arg)| arg.get_long().is_some());
    found
}

#[test]
fn every_flag_has_a_key_or_a_reason_for_none() {
    let mut without = Vec::new();
    for (path, arg) in all_flags() {
        let flag = arg.get_long().unwrap_or_default();
        let long = format!("--{flag}");
        let has_key = keys::at(&path, flag).is_some() || KEYS.iter().any(|key| key.global == long);
        if !has_key && keys::per_call(&path, flag).is_none() {
            without.push(format!("{path} {long}"));
        }
        let mut named = keys::PER_CALL.iter().filter(|(place, _)| place.contains("--"));
        let is_named = named.any(|(place, _)| keys::is_at(place, &path, flag));
        assert!(!has_key || !is_named, "{path} {long} has both");
    }
    assert!(without.is_empty(), "give these a key, or a reason in PER_CALL: {without:#?}");
}

#[test]
fn every_place_and_every_exception_is_there() {
    let flags = all_flags();
    let is_used = |place: &str| {
        flags.iter().any(|(path, arg)| keys::is_at(place, path, arg.get_long().unwrap_or_default()))
    };
    for place in KEYS.iter().flat_map(|key| key.places) {
        assert!(is_used(place), "no command has {place}");
    }
    for (place, _) in keys::PER_CALL {
        let is_command = command().find_subcommand(place).is_some();
        assert!(is_command || is_used(place), "no command has {place}");
    }
}

#[test]
fn a_default_of_a_command_is_that_of_its_key() {
    for (path, arg) in all_flags() {
        let Some(key) = key_of(&path, &arg).filter(|key| !key.is_optional()) else { continue };
        if matches!(arg.get_action(), ArgAction::Count) {
            continue;
        }
        let defaults: Vec<_> = arg.get_default_values().iter().collect();
        assert_eq!(defaults, [key.default], "{path} --{}", arg.get_long().unwrap_or_default());
        assert!(!arg.is_required_set(), "{path}");
    }
}

/// Two values that a key takes, other than its default.
fn samples(key: &Key) -> [String; 2] {
    let pair = |left: &str, right: &str| [left.to_owned(), right.to_owned()];
    match key.kind {
        Kind::Path => pair("/one", "/two"),
        Kind::Url => pair("http://a:1", "http://b:2"),
        Kind::Listen => pair("127.0.0.1:1", "127.0.0.1:2"),
        Kind::Time => pair("71s", "72s"),
        Kind::Count { min, max } => {
            let least = (min + 1).max(17).min(max - 1);
            [least.to_string(), (least + 1).to_string()]
        }
        Kind::Choice(words) => pair(words[words.len() - 1], words[0]),
        Kind::Switch => pair("true", "false"),
        Kind::Coins => pair("1.5", "2.5"),
        Kind::Size => pair("1MiB", "2MiB"),
        Kind::Address => pair(key.example, key.example),
        Kind::Fingerprint => pair(key.example, "10010203-0405-0607-0809-0a0b0c0d0e0f"),
        Kind::Numbers => pair("1,2", "3"),
        Kind::Validators => pair("work=2", "space=2,memory=3"),
        Kind::KeyName | Kind::User => pair("one", "two"),
        Kind::Urls => pair("http://a:1", "http://a:1,http://b:2"),
        Kind::Engine => pair("nats://a:1", "nats://a:1,nats://b:2"),
    }
}

/// What a command line needs beside its flags.
fn arguments(path: &str) -> &'static [&'static str] {
    match path {
        "validator" => &["--proof=work", "--address=dscd1x"],
        "wallet send" | "wallet sign" => &["1", "x"],
        "wallet send-many" => &["file"],
        "wallet create" | "wallet show" | "wallet export" | "wallet passwd" | "wallet faucet" => {
            &["name"]
        }
        _ => &[],
    }
}

/// The value that the command at `path` sees for a flag, whatever else it lacks.
fn seen(path: &str, flag: &str, extra: &[String], sources: Sources) -> Option<String> {
    let words = path.split_whitespace().map(str::to_owned);
    let own = arguments(path).iter().filter(|arg| !arg.starts_with(&format!("--{flag}=")));
    let args: Vec<OsString> = iter::once("dsc".to_owned())
        .chain(words)
        .chain(extra.iter().cloned())
        .chain(own.map(|arg| (*arg).to_owned()))
        .map(OsString::from)
        .collect();
    let draft = lenient().ignore_errors(true).try_get_matches_from(&args).unwrap();
    let mut root = command();
    root.build();
    let (path, given) = innermost(&draft);
    let flags = flags(&root, &path, given);
    let config = Config::load(&Sources { flags, ..sources }).unwrap();
    let values = values(&root, &path, given, &config).unwrap();
    let matches = with_values(&path, &values).ignore_errors(true).try_get_matches_from(&args);
    let matches = matches.unwrap();
    let (_, given) = innermost(&matches);
    let leaf = find(&root, &path);
    let arg = leaf.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
    let text = raw(given, arg);
    (!text.is_empty()).then_some(text)
}

fn file(folder: &std::path::Path, name: &str, key: &Key, value: &str) -> PathBuf {
    let (section, name_of) = key.name.split_once('.').unwrap();
    let quote = if key.kind.is_bare() { "" } else { "\"" };
    let path = folder.join(name);
    fs::write(&path, format!("[{section}]\n{name_of} = {quote}{value}{quote}\n")).unwrap();
    path
}

#[test]
fn for_every_flag_the_stronger_source_wins() {
    let folder = tempfile::tempdir().unwrap();
    for (path, arg) in all_flags() {
        let Some(key) = key_of(&path, &arg) else { continue };
        if matches!(arg.get_action(), ArgAction::Count) {
            continue;
        }
        let flag = arg.get_long().unwrap();
        let [one, two] = samples(key);
        let expect = |sources: &Sources, extra: &[String], expected: &str| {
            let got = seen(&path, flag, extra, sources.clone());
            assert_eq!(got.as_deref(), Some(expected), "{path} --{flag}");
        };
        let mut sources = Sources::default();
        if !key.is_optional() {
            expect(&sources, &[], key.default);
        }
        sources.user_file = Some(file(folder.path(), "user.toml", key, &one));
        expect(&sources, &[], &one);
        // Who pays is not left to the folder somebody is in.
        if !key.name.starts_with("wallet.") {
            sources.local_file = Some(file(folder.path(), "local.toml", key, &two));
            expect(&sources, &[], &two);
        }
        sources.file = Some(file(folder.path(), "file.toml", key, &one));
        expect(&sources, &[], &one);
        sources.variables = vec![(variable(key.name), two.clone())];
        expect(&sources, &[], &two);
        expect(&sources, &[format!("--{flag}={one}")], &one);
    }
}

fn read(args: &[&str], sources: Sources) -> Result<Line, LineError> {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let draft = lenient().try_get_matches_from(&args)?;
    Line::from_sources(&args, &draft, sources)
}

fn variables(of: &[(&str, &str)]) -> Sources {
    let variables = of.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect();
    Sources { variables, ..Sources::default() }
}

#[test]
fn a_flag_of_every_command_beats_the_environment_wherever_it_stands() {
    let sources = variables(&[("pool.url", "http://a:1"), ("general.verbose", "1")]);
    for args in [
        ["dsc", "--pool-url", "http://b:2", "-vv", "health"],
        ["dsc", "health", "--pool-url", "http://b:2", "-vv"],
    ] {
        let line = read(&args, sources.clone()).unwrap();
        let config = line.config.unwrap();
        assert_eq!(config.text("pool.url"), "http://b:2");
        assert_eq!(config.setting("pool.url").origin, Origin::Flag("--pool-url"));
        assert_eq!(config.count("general.verbose"), 2);
    }
}

#[test]
fn a_setting_stands_in_for_a_flag_that_a_command_needs() {
    let address = keys::find("validator.address").unwrap().example;
    let error = read(&["dsc", "validator"], Sources::default()).unwrap_err();
    assert!(matches!(error, LineError::Usage(_)), "{error}");
    let set = variables(&[("validator.proof", "space"), ("validator.address", address)]);
    assert!(read(&["dsc", "validator"], set).is_ok());
}

#[test]
fn of_two_that_exclude_each_other_the_stronger_counts() {
    let key = variables(&[("metronome.key", "key.pem")]);
    let line = read(&["dsc", "metronome", "--dev-key"], key).unwrap();
    assert!(!format!("{:?}", line.command).contains("key.pem"), "{:?}", line.command);
    let both = variables(&[("metronome.key", "key.pem"), ("metronome.dev_key", "true")]);
    let error = read(&["dsc", "metronome"], both).unwrap_err();
    assert!(matches!(error, LineError::Config(ConfigError::Conflict { .. })), "{error}");
    let file = variables(&[("wallet.passphrase_file", "p"), ("wallet.dev_account", "1")]);
    let args = ["dsc", "wallet", "send", "1", "x", "--from", "me", "--passphrase-fd", "3"];
    let shown = format!("{:?}", read(&args, file).unwrap().command);
    assert!(shown.contains("dev_account: None") && shown.contains("passphrase_file: None"));
}

#[test]
fn a_switch_that_a_file_turns_on_is_turned_off_by_its_flag() {
    let on = variables(&[("pool.faucet", "true")]);
    let shown = |args: &[&str]| format!("{:?}", read(args, on.clone()).unwrap().command);
    assert!(shown(&["dsc", "pool"]).contains("faucet: true"));
    assert!(shown(&["dsc", "pool", "--faucet"]).contains("faucet: true"));
    assert!(shown(&["dsc", "pool", "--faucet=false"]).contains("faucet: false"));
}

#[test]
fn help_names_the_key_of_a_flag() {
    let error = lenient().try_get_matches_from(["dsc", "pool", "--help"]).unwrap_err();
    let help = error.render().to_string();
    for part in ["[key: pool.listen]", "[default: 127.0.0.1:7702]", "--faucet[=<BOOL>]"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn commands_that_mend_settings_do_not_need_them() {
    let wrong = variables(&[("pool.url", "nowhere")]);
    let line = read(&["dsc", "config", "path"], wrong.clone()).unwrap();
    assert!(line.config.is_err());
    assert!(matches!(read(&["dsc", "pool"], wrong).unwrap_err(), LineError::Config(_)));
}
