//! `dsc config`: show, check or write the configuration.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use crate::{
    config::{self, Config, Origin, Setting, Sources},
    exit::Failure,
    output::{Document, Output},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print every setting with its value
    Show {
        /// Also print where each value is from
        #[arg(long)]
        origin: bool,
    },
    /// Check a file, or everything that is in effect
    Check {
        /// File to check
        file: Option<PathBuf>,
    },
    /// Print the files that are read, weakest first
    Path,
    /// Print a file with every key at its default, commented out
    Init,
}

#[derive(Serialize)]
struct Settings<'a> {
    #[serde(skip)]
    with_origin: bool,
    settings: Vec<&'a Setting>,
}

impl Document for Settings<'_> {
    const SCHEMA: &'static str = "dsc.config/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.iter().try_for_each(|setting| {
            let Setting { key, value, origin } = setting;
            let value = if value.is_empty() { "(not set)" } else { value };
            if self.with_origin {
                writeln!(f, "{key:32} {value:26} {origin}")
            } else {
                writeln!(f, "{key} = {value}")
            }
        })
    }
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    set: usize,
}

impl Document for Checked {
    const SCHEMA: &'static str = "dsc.config.check/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration is valid; {} keys are not at their default", self.set)
    }
}

#[derive(Serialize)]
struct Place {
    path: Origin,
    exists: bool,
}

#[derive(Serialize)]
struct Places {
    files: Vec<Place>,
}

impl Document for Places {
    const SCHEMA: &'static str = "dsc.config.path/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.iter().try_for_each(|Place { path, exists }| {
            writeln!(f, "{path}{}", if *exists { "" } else { " (absent)" })
        })
    }
}

#[derive(Serialize)]
struct Template {
    toml: String,
}

impl Document for Template {
    const SCHEMA: &'static str = "dsc.config.init/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.toml)
    }
}

/// Standard output is the answer.
pub(crate) fn run(args: &Args, sources: &Sources, output: &Output) -> Result<(), Failure> {
    match &args.verb {
        Verb::Show { origin } => {
            let config = Config::load(sources)?;
            let settings = config.settings().collect();
            output.document(&Settings { with_origin: *origin, settings })
        }
        Verb::Check { file } => {
            let config = match file {
                Some(file) => Config::load_file(file)?,
                None => Config::load(sources)?,
            };
            let is_set = |setting: &&Setting| setting.origin != Origin::Default;
            output.document(&Checked { ok: true, set: config.settings().filter(is_set).count() })
        }
        Verb::Path => {
            let files = sources.files().into_iter();
            let files = files.map(|(path, exists)| Place { path, exists }).collect();
            output.document(&Places { files })
        }
        Verb::Init => output.document(&Template { toml: config::template() }),
    }
}
