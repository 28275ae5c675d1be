//! `dsc man`: the manual pages of every command, made of the same tree as `--help`.

use std::{fmt, fs, path::PathBuf};

use clap::Command;
use clap_mangen::Man;
use serde::Serialize;

use crate::{
    cli::wiring,
    exit::Failure,
    output::{Document, Output},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Command whose page to print, such as `wallet send` [default: that of dsc itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands to this folder instead, such as `man/man1`
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Page {
    name: String,
    roff: String,
}

impl Document for Page {
    const SCHEMA: &'static str = "dsc.man/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.roff)
    }
}

#[derive(Serialize)]
struct Written {
    files: Vec<PathBuf>,
}

impl Document for Written {
    const SCHEMA: &'static str = "dsc.man.files/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|path| writeln!(f, "{}", path.display()))
    }
}

/// Standard output is the page, or the files that were written.
pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut root = wiring::command();
    root.build();
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
        let mut files = Vec::new();
        for page in pages(&root)? {
            let path = folder.join(format!("{}.1", page.name));
            fs::write(&path, page.roff).map_err(|error| Failure::file("write", &path, &error))?;
            files.push(path);
        }
        return output.document(&Written { files });
    }
    output.document(&page(find(&root, &args.command)?)?)
}

fn find<'a>(root: &'a Command, names: &[String]) -> Result<&'a Command, Failure> {
    names.iter().try_fold(root, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let of = command.get_bin_name().unwrap_or("dsc");
            Failure::usage(format!("`{of}` has no command `{name}`"))
                .with_hint(format!("`{of} --help` lists the commands"))
        })
    })
}

/// The pages of a command and of all below it that are shown.
fn pages(command: &Command) -> Result<Vec<Page>, Failure> {
    let mut all = vec![page(command)?];
    let is_shown = |inner: &&Command| !inner.is_hide_set() && inner.get_name() != "help";
    for inner in command.get_subcommands().filter(is_shown) {
        all.extend(pages(inner)?);
    }
    Ok(all)
}

fn page(command: &Command) -> Result<Page, Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let manual = Man::new(command.clone().disable_help_subcommand(true)).title(name.to_uppercase());
    let mut roff = Vec::new();
    manual.render(&mut roff).map_err(|error| Failure::other("output", error))?;
    let roff = String::from_utf8(roff).map_err(|error| Failure::other("output", error))?;
    Ok(Page { name, roff })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_of_its_own() {
        let mut root = wiring::command();
        root.build();
        let pages = pages(&root).unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
        for name in ["dsc", "dsc-pool", "dsc-wallet", "dsc-wallet-send", "dsc-vault-plot"] {
            assert_eq!(names.iter().filter(|of| **of == name).count(), 1, "{name}: {names:?}");
        }
        let pool = pages.iter().find(|page| page.name == "dsc-pool").unwrap();
        for part in [".TH DSC-POOL 1", "pool.listen"] {
            assert!(pool.roff.contains(part), "{part}: {}", pool.roff);
        }
    }

    #[test]
    fn a_page_is_found_by_the_words_of_its_command() {
        let mut root = wiring::command();
        root.build();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = find(&root, &words("wallet send")).unwrap();
        assert_eq!(found.get_display_name(), Some("dsc-wallet-send"));
        let failure = find(&root, &words("wallet fly")).unwrap_err();
        assert_eq!(failure.message(), "`dsc wallet` has no command `fly`");
    }
}
