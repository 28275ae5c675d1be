//! Flags and settings brought together: the tree of commands as the table of keys completes it.
//!
//! # Invariants
//!
//! 1. A flag that sets a key has the default of that key, unless a command's own says more.
//! 2. A setting from elsewhere is to a flag what a default is: the flag beats it.
//! 3. Of two that exclude each other the one from the stronger source counts.

use std::collections::BTreeMap;

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, ValueHint, builder::PossibleValuesParser,
    parser::ValueSource,
};

use super::Cli;
use crate::config::{
    Config, ConfigError,
    keys::{self, KEYS, Key, Kind},
};

/// Values of the flags of one command, by their ids.
pub(super) type Values = BTreeMap<String, String>;
/// Keys set by flags: key, name of the flag, value.
type Flags = Vec<(&'static str, &'static str, String)>;

/// The tree of commands, with everything that help tells.
pub(crate) fn command() -> Command {
    let globals = KEYS.iter().filter(|key| !key.global.is_empty()).map(global);
    wire(Cli::command().args(globals), "")
}

/// The tree for a first look: what a setting may give is not missed.
pub(super) fn lenient() -> Command {
    fn lift(command: Command, path: &str) -> Command {
        let lifted =
            |arg: Arg| if key_of(path, &arg).is_some() { arg.required(false) } else { arg };
        below(command.mut_args(lifted), path, lift)
    }
    lift(command(), "")
}

/// The tree in which the command at `path` has `values` unless flags say otherwise.
pub(super) fn with_values(path: &[String], values: &Values) -> Command {
    fn descend(command: Command, path: &[String], values: &Values) -> Command {
        let Some((name, rest)) = path.split_first() else {
            return command.mut_args(|arg| match values.get(arg.get_id().as_str()) {
                Some(value) => arg.required(false).default_value(value.clone()),
                None => arg,
            });
        };
        command.mut_subcommand(name, |inner| descend(inner, rest, values))
    }
    descend(command(), path, values)
}

/// Does the same to every command below.
fn below(command: Command, path: &str, change: fn(Command, &str) -> Command) -> Command {
    let inner = |inner: Command| {
        let path = format!("{path} {}", inner.get_name());
        change(inner, path.trim_start())
    };
    command.mut_subcommands(inner)
}

fn wire(command: Command, path: &str) -> Command {
    let wired = command.mut_args(|arg| match key_of(path, &arg) {
        Some(key) => complete(arg, key),
        None => arg,
    });
    below(wired, path, wire)
}

/// The key that a flag of the command at `path` sets.
fn key_of(path: &str, arg: &Arg) -> Option<&'static Key> {
    let flag = arg.get_long()?;
    keys::at(path, flag).map(|(key, _)| key)
}

/// A flag of every command, made of its key.
fn global(key: &'static Key) -> Arg {
    let flag = key.global.trim_start_matches('-');
    let arg = Arg::new(flag).long(flag).global(true).help_heading("Global options");
    let arg = arg.value_name(key.kind.value_name()).help(help(key.summary, key));
    let arg = arg.value_hint(hint(key));
    match key.kind {
        Kind::Choice(words) => arg.value_parser(PossibleValuesParser::new(words)),
        _ => arg.value_parser(move |text: &str| {
            let checked = key.check(text).map(|()| text.to_owned());
            checked.map_err(|expected| format!("expected {expected}"))
        }),
    }
}

/// Gives a flag the default, the name of values, and the help of its key.
fn complete(arg: Arg, key: &'static Key) -> Arg {
    let text = arg.get_help().map_or_else(|| key.summary.to_owned(), ToString::to_string);
    let arg = arg.help(help(&text, key)).value_hint(hint(key));
    let arg = match arg.get_action() {
        ArgAction::Count => return arg,
        ArgAction::SetTrue => switch(arg),
        _ if is_unnamed(&arg) => arg.value_name(key.kind.value_name()),
        _ => arg,
    };
    if key.is_optional() || !arg.get_default_values().is_empty() {
        return arg;
    }
    arg.required(false).default_value(key.default)
}

/// Whether the value is only called after its flag.
fn is_unnamed(arg: &Arg) -> bool {
    let id = arg.get_id().as_str().to_uppercase();
    arg.get_value_names().is_none_or(|names| names.iter().all(|name| *name == id))
}

/// A switch that a flag can turn off again: `--faucet=false`.
fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("BOOL")
        .hide_possible_values(true)
        .hide_default_value(true)
}

/// What a shell offers for a value.
const fn hint(key: &Key) -> ValueHint {
    match key.kind {
        Kind::Path => ValueHint::AnyPath,
        Kind::Url | Kind::Urls | Kind::Engine => ValueHint::Url,
        _ => ValueHint::Unknown,
    }
}

fn help(text: &str, key: &Key) -> String {
    let default = match (key.global.is_empty(), key.default) {
        (false, default) if !default.is_empty() => format!(" [default: {default}]"),
        _ => String::new(),
    };
    format!("{text}{default} [key: {}]", key.name)
}

/// The innermost command that was called: its names, and what it was given.
pub(super) fn innermost(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, inner)) = last.subcommand() {
        path.push(name.to_owned());
        last = inner;
    }
    (path, last)
}

fn is_given(matches: &ArgMatches, arg: &Arg) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

fn raw(matches: &ArgMatches, arg: &Arg) -> String {
    let id = arg.get_id().as_str();
    if matches!(arg.get_action(), ArgAction::Count) {
        return matches.get_count(id).to_string();
    }
    let values = matches.get_raw(id).into_iter().flatten();
    values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
}

/// The flags of a command line that set keys.
pub(super) fn flags(root: &Command, path: &[String], matches: &ArgMatches) -> Flags {
    let leaf = find(root, path);
    let own = leaf.get_arguments().filter(|arg| !arg.is_global_set() && is_given(matches, arg));
    let own = own.filter_map(|arg| {
        let (key, flag) = keys::at(&path.join(" "), arg.get_long()?)?;
        Some((key.name, flag, raw(matches, arg)))
    });
    let everywhere = root.get_arguments().filter(|arg| arg.is_global_set());
    let everywhere = everywhere.filter(|arg| is_given(matches, arg)).filter_map(|arg| {
        let flag = format!("--{}", arg.get_long()?);
        let of_table = KEYS.iter().find(|key| key.global == flag).map(|key| (key, key.global));
        let (key, flag) = of_table.or_else(|| keys::at("", arg.get_long()?))?;
        Some((key.name, flag, raw(matches, arg)))
    });
    own.chain(everywhere).collect()
}

fn find<'a>(root: &'a Command, path: &[String]) -> &'a Command {
    path.iter().fold(root, |command, name| command.find_subcommand(name).unwrap_or(command))
}

/// What settings from elsewhere say for the flags of the command at `path`.
///
/// # Errors
///
/// [`ConfigError::Conflict`] if two of one source exclude each other.
pub(super) fn values(
    root: &Command,
    path: &[String],
    matches: &ArgMatches,
    config: &Config,
) -> Result<Values, ConfigError> {
    let leaf = find(root, path);
    let joined = path.join(" ");
    let place = |arg: &Arg| key_of(&joined, arg).map(|key| config.setting(key.name));
    let mut values = Values::new();
    for arg in leaf.get_arguments().filter(|arg| !arg.is_global_set() && !is_given(matches, arg)) {
        let Some(setting) = place(arg).filter(|setting| setting.is_set()) else { continue };
        let mut rivals = leaf.get_arguments().filter(|other| exclude(leaf, arg, other));
        let mut is_beaten = false;
        for rival in rivals.by_ref() {
            let theirs = place(rival).filter(|theirs| theirs.is_set());
            let strength = theirs.map_or(0, |theirs| theirs.origin.strength());
            if is_given(matches, rival) || strength > setting.origin.strength() {
                is_beaten = true;
            } else if let Some(theirs) = theirs.filter(|_| strength == setting.origin.strength()) {
                let (key, other) = (setting.key, theirs.key);
                return Err(ConfigError::Conflict { origin: setting.origin.clone(), key, other });
            }
        }
        if !is_beaten {
            values.insert(arg.get_id().to_string(), setting.value.clone());
        }
    }
    Ok(values)
}

/// Whether two flags may not be given together.
fn exclude(leaf: &Command, left: &Arg, right: &Arg) -> bool {
    let has = |of: &Arg, other: &Arg| {
        leaf.get_arg_conflicts_with(of).iter().any(|arg| arg.get_id() == other.get_id())
    };
    left.get_id() != right.get_id() && (has(left, right) || has(right, left))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod units;
