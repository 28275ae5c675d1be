//! `dsc completions`: a completion script for a shell.

use std::fmt;

use clap_complete::Shell;
use serde::Serialize;

use crate::{
    cli::wiring,
    exit::Failure,
    output::{Document, Output},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to write for
    shell: Shell,
}

#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl Document for Script {
    const SCHEMA: &'static str = "dsc.completions/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}

/// Standard output is the script.
pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut wiring::command(), "dsc", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::other("output", error))?;
    output.document(&Script { shell: args.shell.to_string(), script })
}
