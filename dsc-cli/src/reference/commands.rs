//! The command tree, a page for each first word.

use clap::{Arg, Command, CommandFactory};

use super::{
    Page,
    text::{code, plain, sentence, table},
};
use crate::cli::Cli;

fn tree() -> Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

/// Commands that are shown to people.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// A page for each command below `dsc`.
pub(super) fn pages() -> Vec<Page> {
    let tree = tree();
    let page = |command: &Command| {
        let name = command.get_name();
        let mut body = String::new();
        describe(command, &format!("dsc {name}"), 1, &mut body);
        Page::new(format!("commands/{name}.md"), &format!("dsc {name}"), &body)
    };
    shown(&tree).map(page).collect()
}

/// What all commands share, and a line for each.
pub(super) fn index() -> Page {
    let tree = tree();
    let rows: Vec<_> = shown(&tree)
        .map(|command| {
            let name = command.get_name();
            [format!("[`dsc {name}`](commands/{name}.md)"), sentence(&about(command))]
        })
        .collect();
    let options = options(tree.get_arguments().filter(|arg| !arg.is_positional()));
    let body = format!(
        "Generated from `dsc --help`. Standard output is the answer; logs, prompts and progress go \
         to standard error. How a command ends is told by its [exit code](exit-codes.md).\n\n\
         {}## Options of every command\n\nThose with a key have it in the \
         [configuration](configuration.md) too.\n\n{options}## Other names\n\nKept for those who \
         know the original system.\n\n{}",
        table(["command", ""], &rows),
        other_names(&tree),
    );
    Page::new("commands.md", "Commands", &body)
}

fn other_names(tree: &Command) -> String {
    let mut rows = Vec::new();
    collect_names(tree, "dsc", &mut rows);
    rows.push([code("dsc validator pos_check"), code("dsc vault check")]);
    table(["name", "command"], &rows)
}

fn collect_names(command: &Command, path: &str, rows: &mut Vec<[String; 2]>) {
    for sub in shown(command) {
        let own = format!("{path} {}", sub.get_name());
        rows.extend(
            sub.get_all_aliases().map(|alias| [code(&format!("{path} {alias}")), code(&own)]),
        );
        collect_names(sub, &own, rows);
    }
}

/// Appends a command and what is below it; the heading of the page itself is there already.
fn describe(command: &Command, path: &str, level: usize, body: &mut String) {
    if level > 1 {
        *body += &format!("{} {path}\n\n", "#".repeat(level));
    }
    *body += &format!("{}\n\n", sentence(&about(command)));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim);
    *body += &format!("```text\n{}\n```\n\n", usage.collect::<Vec<_>>().join("\n"));
    let own = || command.get_arguments().filter(|arg| !arg.is_global_set());
    *body += &arguments(own().filter(|arg| arg.is_positional()));
    *body += &options(own().filter(|arg| !arg.is_positional()));
    for note in
        [command.get_after_long_help().or_else(|| command.get_after_help())].into_iter().flatten()
    {
        *body += &format!("```text\n{}\n```\n\n", note.to_string().trim());
    }
    for sub in shown(command) {
        describe(sub, &format!("{path} {}", sub.get_name()), level + 1, body);
    }
}

fn about(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about());
    text.map(ToString::to_string).unwrap_or_default()
}

fn arguments<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<_> =
        args.filter(|arg| !arg.is_hide_set()).map(|arg| [values(arg), help(arg)]).collect();
    table(["argument", ""], &rows)
}

fn options<'a>(args: impl Iterator<Item = &'a Arg>) -> String {
    let is_own =
        |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let rows: Vec<_> = args.filter(is_own).map(|arg| [flag(arg), help(arg)]).collect();
    table(["option", ""], &rows)
}

/// `-j`, `--json` or `--from <NAME>`.
fn flag(arg: &Arg) -> String {
    let value = if arg.get_action().takes_values() { placeholder(arg) } else { String::new() };
    let short = arg.get_short().map(|short| code(&format!("-{short}")));
    let long = arg.get_long().map(|long| {
        let gap = if value.is_empty() { "" } else { " " };
        code(&format!("--{long}{gap}{value}"))
    });
    short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
}

fn values(arg: &Arg) -> String {
    let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
    let dots = if many { "..." } else { "" };
    code(&format!("{}{dots}", placeholder(arg)))
}

fn placeholder(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ")
}

/// What `--help` says: meaning, default and possible values.
fn help(arg: &Arg) -> String {
    let text =
        arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut made = plain(&text);
    if arg.get_action().takes_values() {
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        // Some say in words what the value means.
        if !text.contains("[default: ") && !defaults.concat().is_empty() {
            made += &format!(" \\[default: {}\\]", plain(&defaults.join(" ")));
        }
        let possible: Vec<_> = arg.get_possible_values();
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let names: Vec<_> = shown.map(|value| code(value.get_name())).collect();
        if !names.is_empty() && !arg.is_hide_possible_values_set() {
            made += &format!(" \\[{}\\]", names.join(", "));
        }
    }
    made
}
