//! The units under contrib/systemd against this program: what they start is understood.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::config::{Sources, variable};

const PROGRAM: &str = "/usr/bin/dsc";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd")
}

/// Name and text of every unit.
fn units() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

/// The values of a setting of a unit, as systemd would see them in the instance `work`.
fn values_of<'a>(text: &'a str, setting: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = text.lines().filter_map(move |line| line.strip_prefix(setting)?.strip_prefix('='));
    lines.map(|value| {
        value.replace("%i", "work").replace("%d", "/credentials").replace("%S", "/state")
    })
}

#[test]
fn every_unit_starts_a_command_that_is_understood() {
    let mut started = Vec::new();
    for (name, text) in units().into_iter().filter(|(name, _)| name.ends_with(".service")) {
        let [line] = <[String; 1]>::try_from(values_of(&text, "ExecStart").collect::<Vec<_>>())
            .expect("one command");
        let args: Vec<_> = line.split_whitespace().collect();
        assert_eq!(args[0], PROGRAM, "{name}");
        let matches = lenient().try_get_matches_from(&args);
        let matches = matches.unwrap_or_else(|error| panic!("{name}: {error}"));
        started.push(matches.subcommand_name().unwrap().to_owned());
        let settings: Vec<_> = values_of(&text, "Environment")
            .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .map(|pair| pair.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap())
            .collect();
        let known = |name: &str| KEYS.iter().any(|key| variable(key.name) == name);
        assert!(settings.iter().all(|(name, _)| name == "RUST_LOG" || known(name)), "{name}");
        Config::load(&Sources { variables: settings, ..Sources::default() }).unwrap();
    }
    started.sort_unstable();
    assert_eq!(started, ["blockchain", "metronome", "monitor", "pool", "validator"]);
}

#[test]
fn every_unit_is_hardened_alike() {
    for (name, text) in units().into_iter().filter(|(name, _)| name.ends_with(".service")) {
        for line in [
            "Type=notify",
            "DynamicUser=yes",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "Restart=on-failure",
            "RestartPreventExitStatus=2 7 8 9",
            "WantedBy=dsc.target",
        ] {
            assert!(text.lines().any(|of| of == line), "{name} lacks {line}");
        }
        for setting in ["StateDirectory", "MemoryMax"] {
            assert_eq!(values_of(&text, setting).count(), 1, "{name}: {setting}");
        }
        // A key or passphrase in a unit would be readable by everybody.
        assert!(!text.contains("PASSPHRASE="), "{name}");
    }
}

fn contrib(name: &str) -> String {
    fs::read_to_string(folder().join("..").join(name)).unwrap()
}

/// `contrib/nats/engine.conf`: systemd puts a unit's role where it says `%j`.
#[test]
fn the_drop_in_makes_each_role_the_user_of_its_name() {
    let (drop_in, accounts) = (contrib("nats/engine.conf"), contrib("nats/accounts.conf"));
    for role in ["blockchain", "pool", "metronome"] {
        let of_role = drop_in.replace("%j", role);
        let variables = values_of(&of_role, "Environment")
            .map(|pair| pair.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap());
        let sources = Sources { variables: variables.collect(), ..Sources::default() };
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.text("engine.user"), role);
        assert_eq!(config.text("engine.password_file"), "/credentials/engine.password");
        let credential: Vec<_> = values_of(&of_role, "LoadCredential").collect();
        assert_eq!(credential, [format!("engine.password:/etc/dsc/engine-{role}.password")]);
        assert!(accounts.contains(&format!("user: {role}, password: $")), "{role}");
    }
}

/// Where systemd is installed, it finds nothing to say against the units.
#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut names = Vec::new();
    for (name, text) in units() {
        let text = text.replace(PROGRAM, program.to_str().unwrap());
        let name = name.replace("@.", "@work.");
        fs::write(folder.path().join(&name), text).unwrap();
        names.push(name);
    }
    let beside = folder.path().join("dsc-pool.service.d");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("engine.conf"), contrib("nats/engine.conf")).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(&names).current_dir(folder.path());
    let Ok(output) = verify.output() else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("dsc"), "{said}");
}
