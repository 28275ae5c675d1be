//! The command line of DataSys Coin: the `dsc` binary and the parts it is made of.
//!
//! The protocol is in `dsc_lib`; what that crate takes as arguments is here: sockets ([`http`]),
//! clock, entropy, configuration, and a terminal.

mod bench;
pub mod cli;
pub mod clock;
mod command;
pub mod config;
mod crash;
mod dashboard;
pub mod duration;
mod engine;
pub mod entropy;
pub mod exit;
pub mod http;
mod key_file;
mod keystore;
pub mod lock;
pub mod logging;
mod memory;
mod metrics;
mod network;
mod node;
pub mod output;
mod passphrase;
mod private;
pub mod progress;
#[cfg(test)]
mod reference;
mod role;
pub mod shutdown;
pub mod size;
mod supervisor;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

use std::{ffi::OsString, fmt};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::Serialize;

use crate::{
    cli::{Line, LineError},
    config::keys::Kind,
    exit::{Exit, Failure},
    output::{Document, Output},
};

/// Runs one command line, program name first, and returns how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args = with_new_verbs(args.into_iter().collect());
    let output = Output::stdout(asks_for_json(&args));
    let result = match Line::read(&args) {
        Ok(line) => command::run(line, &output),
        Err(LineError::Usage(error)) => usage(&error, &output),
        Err(LineError::Config(error)) => Err(error.into()),
    };
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if failure.exit() != Exit::Done {
                output.failure(&failure);
            }
            failure.exit()
        }
    }
}

/// The one verb of the original system that is no alias of clap's: it moved to another command.
fn with_new_verbs(mut args: Vec<OsString>) -> Vec<OsString> {
    if let Some(place) = args.windows(2).position(|pair| pair == ["validator", "pos_check"]) {
        args[place] = "vault".into();
        args[place + 1] = "check".into();
    }
    args
}

#[derive(Serialize)]
struct Help {
    text: String,
}

impl Document for Help {
    const SCHEMA: &'static str = "dsc.help/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Help and version are answers; anything else that clap says is a failure.
fn usage(error: &clap::Error, output: &Output) -> Result<(), Failure> {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let text = without_secrets(error, error.render().to_string());
    if is_answer {
        return output.document(&Help { text });
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let failure = Failure::usage("a command is required");
        return Err(failure.with_hint("`--help` lists the commands"));
    }
    let (message, hint) = split_usage(&text);
    Err(Failure::usage(message).with_hint(hint))
}

/// What clap says, without the password that somebody has put into an address.
fn without_secrets(error: &clap::Error, text: String) -> String {
    let quoted = [ContextKind::InvalidValue, ContextKind::InvalidArg].map(|what| error.get(what));
    quoted.into_iter().flatten().fold(text, |text, quoted| match quoted {
        ContextValue::String(value) if value.contains("://") => {
            text.replace(value, &Kind::Url.shown(value))
        }
        _ => text,
    })
}

/// Turns the lines of clap into one sentence, and one about what to do.
fn split_usage(text: &str) -> (String, String) {
    let (mut message, mut hint) = (Vec::new(), Vec::new());
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_end =
        |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
    for line in lines.take_while(|line| !is_end(line)) {
        match line.strip_prefix("tip: ") {
            Some(tip) => hint.push(likeliest(tip)),
            None => message.push(line.strip_prefix("error: ").unwrap_or(line)),
        }
    }
    if hint.is_empty() {
        hint.push("`--help` lists what is accepted".into());
    }
    (message.join(" "), hint.join("; "))
}

/// The likeliest of several suggestions alone: clap lists that one last.
fn likeliest(tip: &str) -> String {
    match (tip.strip_prefix("some similar subcommands exist:"), tip.rsplit_once(", ")) {
        (Some(_), Some((_, last))) => format!("a similar subcommand exists: {last}"),
        _ => tip.to_owned(),
    }
}

/// Whether JSON was asked for, known before the command line is parsed or even valid.
fn asks_for_json(args: &[OsString]) -> bool {
    let is_cluster = |flags: &str| {
        !flags.is_empty() && flags.chars().all(|c| "jv".contains(c)) && flags.contains('j')
    };
    args.iter()
        .skip(1)
        .filter_map(|arg| arg.to_str())
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--json" || arg.strip_prefix('-').is_some_and(is_cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(args: &[&str]) -> bool {
        asks_for_json(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_tree_is_sound() {
        cli::wiring::command().debug_assert();
    }

    #[test]
    fn json_is_recognised_before_parsing() {
        assert!(
            json(&["dsc", "health", "-j"]) && json(&["dsc", "--json"]) && json(&["dsc", "-vj"])
        );
        assert!(!json(&["dsc", "-v"]) && !json(&["dsc", "--", "-j"]) && !json(&["dsc", "-jx"]));
    }

    #[test]
    fn the_old_check_of_a_vault_is_understood() {
        let new = |args: &[&str]| with_new_verbs(args.iter().map(OsString::from).collect());
        assert_eq!(
            new(&["dsc", "-j", "validator", "pos_check", "f"])[2..],
            ["vault", "check", "f"]
        );
        assert_eq!(new(&["dsc", "validator", "--proof"])[1..], ["validator", "--proof"]);
    }

    #[test]
    fn what_clap_says_becomes_a_message_and_a_hint() {
        let error = cli::wiring::command().try_get_matches_from(["dsc", "confg"]).unwrap_err();
        let (message, hint) = split_usage(&error.render().to_string());
        assert_eq!(message, "unrecognized subcommand 'confg'");
        assert_eq!(hint, "a similar subcommand exists: 'config'");
    }
}
