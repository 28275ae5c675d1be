//! `dsc bench compare` and `dsc bench report`: results that were written before.

use std::{fmt, fs, path::PathBuf};

use serde::Serialize;

use super::Context;
use crate::{
    bench::{
        compare,
        record::{self, Record},
        report::{self, Format},
    },
    exit::Failure,
    output::Document,
};

#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// Results of before; the last line counts
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Results of now; the last line counts
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Compare results of different machines, options or build profiles all the same
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Report {
    /// Files of results; the last line of each counts
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Report every line of the files
    #[arg(long)]
    all: bool,
    /// Form of the report
    #[arg(long, value_name = "FORM", value_enum, default_value = "markdown")]
    format: Format,
    /// Write it to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn compare(args: &Compare, context: &Context<'_>) -> Result<(), Failure> {
    let (old, new) = (record::read_last(&args.old)?, record::read_last(&args.new)?);
    context.output.document(&compare::compare(&old, &new, args.force)?)
}

/// A report, or where it is.
#[derive(Debug, Serialize)]
struct Rendered {
    format: &'static str,
    results: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

impl Document for Rendered {
    const SCHEMA: &'static str = "dsc.bench.report/1";

    /// The report and nothing else, so that it can be redirected.
    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.content, &self.file) {
            (Some(content), _) => f.write_str(content),
            (None, Some(file)) => writeln!(f, "{}", file.display()),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn report(args: &Report, context: &Context<'_>) -> Result<(), Failure> {
    let mut records: Vec<Record> = Vec::new();
    for file in &args.files {
        if args.all {
            records.extend(record::read(file)?);
        } else {
            records.push(record::read_last(file)?);
        }
    }
    let text = report::render(&records, args.format);
    let (format, results) = (args.format.word(), records.len());
    let Some(file) = args.out.clone() else {
        let text = Some(text);
        return context.output.document(&Rendered { format, results, file: None, content: text });
    };
    fs::write(&file, text).map_err(|error| Failure::file("write", &file, &error))?;
    context.output.document(&Rendered { format, results, file: Some(file), content: None })
}
